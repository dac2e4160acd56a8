"""SmolLM2 as it is downloaded: it loads, its numbers are real arithmetic's, and its tokens and texts llama.cpp's."""

import numpy as np
import pytest
from exact.test_tokenizer import SCRIPTS, SIGNS, SPACES, WORDS, texts_of_llama_cpp
from rig.real import smollm2

from oracle.client.devnet import read_description
from oracle.disputes import exactness
from oracle.engines.exact.constants import RESIDUAL_BITS
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.float64 import Float64, divergence
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.weights import load
from oracle.engines.llama_native import NativeModel
from oracle.models.gguf import read
from oracle.models.shipped import SMOLLM2

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


def test_smollm2__texts_of_llama_cpp_s_own_tests__are_its_tokens(path):
    ours, theirs = Tokenizer(read(path)), NativeModel(path, vocabulary_only=True)
    for text in texts_of_llama_cpp():
        assert ours.encode(text) == theirs.tokenize(text, special=False), text


QUESTIONS = (b"What is the capital of France?", b"Write a short poem about the sea.")
GREEDY = 32
NEAR = 0.5
"""Difference of two logits, in nats, below which llama.cpp's 8-bit activations may decide which is larger."""


def greedy(weights, prompts):
    """The exact engine's choices after each prompt, and the logits that it chose from, as floats."""
    model = CpuForward(weights, 2)
    caches = [model.cache(len(prompt) + GREEDY) for prompt in prompts]
    answers, rows = [[] for _ in prompts], [[] for _ in prompts]
    parts = prompts
    for _ in range(GREEDY):
        found = model.run([Chunk(part, cache, 1) for part, cache in zip(parts, caches, strict=True)])
        for answer, row, (logits,) in zip(answers, rows, found, strict=True):
            row.append(logits / 2.0**RESIDUAL_BITS)
            answer.append(int(logits.argmax()))
        parts = [[answer[-1]] for answer in answers]
    return answers, rows


def test_smollm2__greedy_texts__are_llama_cpp_s_up_to_near_ties_and_there_float64_s(path):
    """After a tie the texts would part: llama.cpp reads ours, and says at each place what it would have chosen."""
    (manifest, _), tokenizer = read_description(SMOLLM2), Tokenizer(read(path))
    prompts = [[*manifest.prefix_tokens, *tokenizer.encode(text), *manifest.suffix_tokens] for text in QUESTIONS]
    model, weights, ties, places = NativeModel(path), load(path), [], 0
    answers, rows = greedy(weights, prompts)
    for prompt, answer, row in zip(prompts, answers, rows, strict=True):
        end = next((at for at, token in enumerate(answer) if token in manifest.stop_tokens), GREEDY - 1)
        tokens, theirs = [*prompt, *answer[:end]], []
        sequence = model.sequence(len(tokens), len(tokens), 2)
        sequence.extend(tokens, len(prompt) - 1, lambda _, logits, kept=theirs: kept.append(logits.copy()))
        floats = Float64(path, weights).logits(tokens)[len(prompt) - 1 :]
        assert floats.argmax(axis=-1).tolist() == answer[: end + 1]
        places += end + 1
        for ours, chosen, *logits in zip(answer, np.argmax(theirs, axis=-1), row, theirs, floats, strict=False):
            if chosen != ours:
                margins = [float(abs(each[ours] - each[chosen])) for each in logits]
                ties.append(f"{tokenizer.pieces[ours]}, not {tokenizer.pieces[chosen]}: {margins} nats apart")
                assert max(margins) < NEAR, f"{ties[-1]} by ours, llama.cpp and float64"
    print(*ties, sep="\n")
    assert 0 < len(ties) <= places // 4, "of these texts some places are near ties, and few"
