"""Gemma 3: files as they are published load and are llama.cpp's model; what means something else is refused by name."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from exact.random_model import Kind, gemma3, write
from exact.test_odd_models import ARRAY, BOOL, F16, FLOAT32, STRING, File, changed, entry, single, tensor, without

from oracle.disputes import exactness
from oracle.engines.exact.architecture import architecture
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.float64 import Float64, divergence
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.weights import load
from oracle.engines.llama_native import NativeModel
from oracle.models.gguf import read

PUBLISHED = (
    ("attention.sliding_window", 8),
    ("rope.scaling.type", "linear"),
    ("rope.scaling.factor", 8.0),
)
"""What converters write of a model with windows: no pattern, no base of local layers."""
SHAPE = gemma3(kind=Kind.F16, layers=8, width=96, hidden=80, heads=4, kv_heads=1, head_width=32, rope_width=32)
SHAPE = replace(SHAPE, extra=PUBLISHED)
TOKENS = np.random.default_rng(2).integers(3, 377, 40).tolist()
U32 = 4


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "m.gguf", SHAPE, seed=3)


def logits(model):
    (found,) = model.run([Chunk(TOKENS, model.cache(len(TOKENS)), len(TOKENS))])
    return found


# WHAT LOADS


def test_architecture__as_published__five_of_six_layers_see_a_window(path):
    a = load(path).architecture
    assert [a.window_of(layer) for layer in range(8)] == [8, 8, 8, 8, 8, 0, 8, 8]
    assert (a.rope_base, a.rope_divisor, a.local_base) == (1_000_000, 8, 10_000)
    assert (a.head_width, a.width // a.heads, a.scale_width) == (32, 24, 32)
    assert (a.head_norms, a.is_gemma, a.interleaved) == (True, True, False)


@pytest.mark.parametrize("window", [(), (("attention.sliding_window", 0), ("rope.freq_base_swa", 5.0))])
def test_architecture__no_window__every_layer_sees_all(tmp_path, window):
    shape = replace(SHAPE, layers=2, extra=window)
    a = load(write(tmp_path / "m.gguf", shape)).architecture
    assert [a.window_of(layer) for layer in range(2)] == [0, 0]
    assert (a.window, a.period) == (0, 0)


def test_architecture__another_pattern_and_base__are_read(tmp_path):
    extra = ("attention.sliding_window", 8), ("attention.sliding_window_pattern", 2), ("rope.freq_base_swa", 5000.0)
    a = load(write(tmp_path / "m.gguf", replace(SHAPE, layers=3, extra=extra))).architecture
    assert [a.window_of(layer) for layer in range(3)] == [8, 0, 8]
    assert a.local_base == Fraction(5000)


def test_architecture__62_layers__scores_are_scaled_as_the_27b_s(tmp_path):
    shape = replace(SHAPE, layers=62, width=80, hidden=16)
    assert architecture(read(write(tmp_path / "m.gguf", shape))).scale_width == 20


def test_architecture__62_layers_and_more_heads_than_numbers__is_refused(tmp_path):
    """Scores would be divided by the root of 0."""
    shape = replace(SHAPE, layers=62, width=16, hidden=16, heads=20, head_width=2, rope_width=2)
    assert "the root of 0" in str(exactness.refusal(write(tmp_path / "m.gguf", shape)))


def test_logits__beside_llama_cpp__its_own_up_to_its_rounding(path):
    """Also whether float64, which all else is compared with, computes the right model: llama.cpp has its own."""
    sequence, theirs = NativeModel(path).sequence(len(TOKENS), len(TOKENS), 2), []
    sequence.extend(TOKENS, 0, lambda _, row: theirs.append(row.astype(np.float64)))
    weights = load(path)
    floats = Float64(path, weights).logits(TOKENS)
    ours = logits(Reference(weights))
    assert len(theirs) == len(TOKENS)
    assert np.abs(np.stack(theirs) - floats).max() < 0.002 * np.abs(floats).max()
    assert divergence(ours.astype(np.int64), floats).max() < 1e-5
    assert np.array_equal(logits(CpuForward(weights)), ours)


# WHAT DOES NOT


def embedding(file):
    """One weight of 128."""
    shape, kind, raw = file.tensors["token_embd.weight"]
    file.tensors["token_embd.weight"] = shape, kind, raw[:-2] + np.float16(-128).tobytes()


KEY = "gemma3.attention.sliding_window"
BAD = {
    "a window that is a float": (entry(KEY, FLOAT32, 8.0), KEY),
    "a window below zero": (entry(KEY, 5, -8), "attention.sliding_window is -8"),
    "a pattern by layer": (entry(KEY + "_pattern", ARRAY, (BOOL, [True] * 8)), KEY + "_pattern"),
    "a pattern of 0": (entry(KEY + "_pattern", U32, 0), "attention.sliding_window_pattern is 0"),
    "a local base of 1": (entry("gemma3.rope.freq_base_swa", FLOAT32, 1.0), "rotary base"),
    "a local base that is a text": (entry("gemma3.rope.freq_base_swa", STRING, "1e4"), "rope.freq_base_swa"),
    "soft caps of logits": (entry("gemma3.final_logit_softcapping", FLOAT32, 30.0), "final_logit_softcapping"),
    "soft caps of scores": (entry("gemma3.attn_logit_softcapping", FLOAT32, 50.0), "attn_logit_softcapping"),
    "numbers of vision": (entry("gemma3.vision.block_count", U32, 27), "gemma3.vision.block_count"),
    "a tensor of vision": (tensor("v.patch_embd.weight", (4, 4), F16, bytes(32)), "v.patch_embd.weight"),
    "a bias": (tensor("blk.0.attn_q.bias", (128,), 0, bytes(512)), "blk.0.attn_q.bias"),
    "rotary factors": (tensor("rope_freqs.weight", (16,), 0, single(*[1.0] * 16)), "rope_freqs.weight"),
    "no norm after attention": (without("blk.1.post_attention_norm.weight"), "blk.1.post_attention_norm.weight"),
    "no norm after the hidden layer": (without("blk.0.post_ffw_norm.weight"), "blk.0.post_ffw_norm.weight"),
    "no norm of keys": (without("blk.0.attn_k_norm.weight"), "blk.0.attn_k_norm.weight"),
    "a weight of 128 that is scaled": (embedding, "token_embd.weight holds weights of 128 and more"),
}


@pytest.mark.parametrize(("change", "word"), BAD.values(), ids=BAD)
def test_refusal__part_that_means_something_else__is_named(path, tmp_path, change, word):
    reason = changed(path, tmp_path, change)
    assert reason is not None
    assert word in reason


def test_refusal__file_as_it_was__is_none(path, tmp_path):
    assert exactness.refusal(File.of(path).write(tmp_path / "m.gguf")) is None


@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_refusal__window_of_another_family__is_named(tmp_path, family):
    shape = replace(gemma3(layers=1), family=family, extra=(("rope.freq_base_swa", 10_000.0),))
    assert f"{family}.rope.freq_base_swa" in str(exactness.refusal(write(tmp_path / "m.gguf", shape)))


@pytest.mark.parametrize("kind", [Kind.Q8_0, Kind.Q4_0])
def test_load__quantized_embedding_with_one_large_weight__is_refused_and_scales_alone_are_not(tmp_path, kind):
    """A large scale is looked at by its weights, which may all be small."""
    path = write(tmp_path / "m.gguf", replace(SHAPE, kind=kind, layers=1, hidden=96))
    place = read(path).tensors["token_embd.weight"].start
    scale, zeros = np.float16(64).tobytes(), bytes([0] * 32 if kind == Kind.Q8_0 else [0x88] * 16)
    data = path.read_bytes()
    for block, word in ((scale + zeros, None), (scale + b"\x02" + zeros[1:], "128")):
        path.write_bytes(data[:place] + block + data[place + len(block) :])
        reason = exactness.refusal(path)
        assert reason is None if word is None else word in str(reason)
