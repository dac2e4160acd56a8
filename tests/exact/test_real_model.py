"""SmolLM2 as it is downloaded: it loads, and its numbers are those of real arithmetic and its tokens llama.cpp's."""

import numpy as np
import pytest
from exact.test_tokenizer import SCRIPTS, SIGNS, SPACES, WORDS
from rig.real import smollm2

from oracle.disputes import exactness
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.float64 import Float64, divergence
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.weights import load
from oracle.engines.llama_native import NativeModel
from oracle.models.gguf import read

TEXT = b"user\nWhat is the capital of France? Tell me of its history, and why it became the seat of kings."


@pytest.fixture(scope="module")
def path():
    return smollm2()


def test_smollm2__as_downloaded__loads_and_saturates_nowhere(path):
    assert exactness.refusal(path) is None
    assert not exactness.saturated(path)


def test_smollm2__beside_float64__kl_and_choices(path):
    weights = load(path)
    tokens = [1, *Tokenizer(read(path)).encode(TEXT), 2]
    model = CpuForward(weights)
    (logits,) = model.run([Chunk(tokens, model.cache(len(tokens)), len(tokens))])
    floats = Float64(path, weights).logits(tokens)
    assert divergence(logits.astype(np.int64), floats).mean() <= 1e-5
    assert (logits.argmax(axis=-1) == floats.argmax(axis=-1)).mean() >= 0.99


def test_smollm2__texts_of_all_scripts__are_llama_cpp_s_tokens(path):
    ours, theirs = Tokenizer(read(path)), NativeModel(path, vocabulary_only=True)
    for part in zip(WORDS * 3, SPACES * 5, SIGNS * 3, SCRIPTS * 3, strict=False):
        text = "".join(part).encode()
        assert ours.encode(text) == theirs.tokenize(text, special=False), text
