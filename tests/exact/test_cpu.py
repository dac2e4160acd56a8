"""The C kernels against the reference, bit for bit: every variant, batch, number of threads and kind of matrix."""

import contextlib

import numpy as np
import pytest
from exact.extremes import extreme
from exact.random_model import SHAPES, write
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.shapes import LOUD, shapes

from oracle.engines.exact import cpu, self_test
from oracle.engines.exact import operators as ops
from oracle.engines.exact.constants import INT32, LARGEST_MANTISSA, LARGEST_RESIDUAL
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.cpu_kernels import Kernels, Packed, Rows, best_variant, variants
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.quants import (
    F16,
    MATRIX_TYPES,
    Q4_0,
    Q4_1,
    Q4_K,
    Q6_K,
    Q8_0,
    SCALES_AT,
)
from oracle.engines.exact.weights import Matrix, check_bound, load
from oracle.engines.sampling import gumbel, noise
from oracle.errors import BadModelFile
from oracle.models.gguf import BLOCKS

LENGTH = 512
SHORT = {1: 70, 2: 70, 7: 140, 64: 192}
"""Tokens of what is computed in such batches; where the plain variant computes, in batches of any other size too."""
VARIANTS = variants()
EVERY_VARIANT = pytest.mark.parametrize("variant", range(len(VARIANTS)), ids=VARIANTS)
EVERY_KIND = pytest.mark.parametrize("kind", MATRIX_TYPES, ids=MATRIX_TYPES.values())


@pytest.fixture(autouse=True)
def runnable(request):
    variant = request.node.callspec.params.get("variant", 0) if hasattr(request.node, "callspec") else 0
    if variant > best_variant():
        pytest.skip(f"this processor cannot run {VARIANTS[variant]}")


@pytest.fixture(scope="module", params=["llama", "qwen3", "gemma3"])
def known(request):
    """A model with every kind of matrix, tokens, and the reference's logits after each."""
    weights = self_test.model(request.param)
    tokens = np.random.default_rng(3).integers(0, weights.architecture.vocabulary, LENGTH).tolist()
    reference = Reference(weights)
    (logits,) = reference.run([Chunk(tokens, reference.cache(LENGTH), LENGTH)])
    return weights, tokens, logits


# WHAT IS REFUSED


def test_cache__too_short__refuses_to_run(known):
    model = CpuForward(known[0], 1)
    with pytest.raises(ValueError, match="more tokens than the cache holds"):
        model.run([Chunk([1, 2, 3], model.cache(2), 1)])


def test_kernels__variant_that_does_not_exist__is_refused():
    with pytest.raises(ValueError, match="no variant"):
        Kernels(best_variant() + 1, 1)


# WHOLE MODELS


@EVERY_VARIANT
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 2, 7, 64, 512])
def test_forward__any_batch_and_threads__same_logits(known, variant, threads, batch):
    weights, tokens, logits = known
    length = SHORT.get(batch, LENGTH) if batch <= 2 or VARIANTS[variant] == "plain" else LENGTH
    model = CpuForward(weights, threads, variant)
    cache = model.cache(LENGTH)
    for first in range(0, length, batch):
        part = tokens[first : min(first + batch, length)]
        (found,) = model.run([Chunk(part, cache, len(part))])
        assert (found == logits[first : first + len(part)]).all()


@EVERY_VARIANT
def test_forward__sequences_side_by_side__as_alone(known, variant, monkeypatch):
    weights, tokens, logits = known
    monkeypatch.setattr(cpu, "TOGETHER", 24)  # so that passes end within sequences
    model = CpuForward(weights, 2, variant)
    caches = [model.cache(64) for _ in range(3)]
    for first, lengths in ((0, (30, 1, 13)), (1, (1, 1, 1)), (2, (5, 17, 40))):
        starts = [cache.length for cache in caches]
        assert first == 0 or all(starts)
        chunks = [
            Chunk(tokens[start : start + length], cache, min(length, 9))
            for start, length, cache in zip(starts, lengths, caches, strict=True)
        ]
        for start, chunk, found in zip(starts, chunks, model.run(chunks), strict=True):
            end = start + len(chunk.tokens)
            assert found.shape == (chunk.rows, weights.architecture.vocabulary)
            assert (found == logits[end - chunk.rows : end]).all()


def test_forward__truncated_and_extended__as_if_never_longer(known):
    weights, tokens, logits = known
    model = CpuForward(weights, 2)
    cache = model.cache(100)
    model.run([Chunk([5] * 100, cache, 0)])
    cache.truncate(0)
    model.run([Chunk([*tokens[:20], 9, 9, 9], cache, 1)])
    cache.truncate(20)
    (found,) = model.run([Chunk(tokens[20:50], cache, 30)])
    assert (found == logits[20:50]).all()


@pytest.fixture(scope="module")
def long(known):
    """The model, with a cache of 1,300 tokens."""
    model = CpuForward(known[0], 2)
    cache = model.cache(1400)
    model.run([Chunk((known[1] * 3)[:1300], cache, 1)])
    return model, cache


@pytest.mark.parametrize("start", [767, 1300])
@EVERY_VARIANT
def test_forward__few_tokens_and_many_threads__positions_in_parts_give_the_same(known, long, variant, start):
    """Eight threads cut the positions of so few tokens; one thread takes them as a whole."""
    weights, tokens, _ = known
    found = []
    for threads in (1, 8):
        model = CpuForward(weights, threads, variant)
        cache, short = model.cache(1400), model.cache(16)
        cache.append(long[1].block(0, start))
        (alone,) = model.run([Chunk(tokens[:1], cache, 1)])
        beside = model.run([Chunk(tokens[1:3], cache, 2), Chunk(tokens[:1], short, 1)])
        found.append((np.concatenate([alone, *beside]), model.saturated))
    assert (found[0][0] == found[1][0]).all()
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize("name", SHAPES)
@EVERY_VARIANT
def test_forward__every_family_and_kind__same_logits(tmp_path, name, variant):
    weights = load(write(tmp_path / "model.gguf", SHAPES[name], seed=5))
    assert_same(weights, variant)


@settings(max_examples=25, deadline=None)
@given(shape=shapes(), seed=st.integers(0, 1000), variant=st.integers(0, best_variant()))
def test_forward__random_models__same_logits(tmp_path_factory, shape, seed, variant):
    path = write(tmp_path_factory.mktemp("random") / "m.gguf", shape, seed)
    with contextlib.suppress(*([BadModelFile] if shape.gain > LOUD else [])):
        assert_same(load(path), variant)


def assert_same(weights, variant):
    tokens = np.random.default_rng(1).integers(0, weights.architecture.vocabulary, 23).tolist()
    reference, model = Reference(weights), CpuForward(weights, 2, variant)
    (want,) = reference.run([Chunk(tokens, reference.cache(23), 23)])
    cache = model.cache(23)
    parts = [model.run([Chunk(tokens[a:b], cache, b - a)])[0] for a, b in ((0, 17), (17, 18), (18, 23))]
    assert (np.concatenate(parts) == want).all()
    assert model.saturated == reference.saturated


# MATRICES


@EVERY_VARIANT
@EVERY_KIND
@pytest.mark.parametrize("seed", range(4))
def test_linear__extreme_weights_and_activations__as_the_reference(kind, variant, seed):
    columns = 1024
    matrix = extreme(kind, 37, columns, seed)
    check_bound(matrix)
    rng = np.random.default_rng(seed)
    kernels, packed = Kernels(variant, 2), Packed(matrix, 2)
    weights, more = matrix.integers(), matrix.bits
    x = rng.integers(-(2**31) + 1, 2**31, (21, columns)) >> rng.integers(0, 31, (21, 1))
    x[0], x[1], x[2] = 2**31 - 1, -(2**31) + 1, 0
    bias = rng.integers(-(2**31), 2**31, 37)
    rows, quantized = kernels.quantize(x.astype(np.int32), Rows(21, columns)), ops.quantize(x)
    assert (rows.x[:21, :columns] == quantized.mantissa).all()
    assert (rows.shift[:21] == quantized.shift).all()
    for bits, to_bits in ((20, 18), (18, 16)):
        down = more + bits - to_bits
        want = ops.linear(quantized, weights, bits, to_bits, bias, INT32, more)
        kernels.saturated.clear()
        got = kernels.linear(packed, rows, 21, down, bias, np.empty((21, 37), np.int32), ("y",))
        assert (got == want).all()
        assert kernels.saturated["y"] == (np.abs(want) == INT32).sum()
        residual = rng.integers(-(2**47) + 1, 2**47, (21, 37))
        product = ops.linear(quantized, weights, bits, to_bits, None, LARGEST_RESIDUAL, more)
        want = ops.add(residual, product)
        assert (kernels.linear(packed, rows, 21, down, None, residual, ("y", "sum"), add=True) == want).all()
        assert kernels.saturated["sum"] == (np.abs(want) == LARGEST_RESIDUAL).sum()


@EVERY_VARIANT
@EVERY_KIND
def test_linear__any_number_of_tokens__no_row_beside_them_counts(kind, variant):
    """Some are multiplied together with rows that nobody asked for."""
    columns, rows_of = 256, 21
    matrix = extreme(kind, rows_of, columns, 7)
    rng = np.random.default_rng(kind)
    kernels, packed = Kernels(variant, 1), Packed(matrix, 1)
    x = rng.integers(-(2**31) + 1, 2**31, (17, columns))
    rows, down = kernels.quantize(x.astype(np.int32), Rows(17, columns)), matrix.bits + 2
    want = ops.linear(ops.quantize(x), matrix.integers(), 18, 16, None, INT32, matrix.bits)
    for count in range(1, 18):
        kernels.saturated.clear()
        got = kernels.linear(packed, rows, count, down, None, np.empty((count, rows_of), np.int32), ("y",))
        assert (got == want[:count]).all()
        assert kernels.saturated["y"] == (np.abs(want[:count]) == INT32).sum()


ONE_WEIGHT = {F16: {}, Q8_0: {2: 127}, Q4_0: {2: 0x89}, Q4_K: {4: 1, 16: 1}, Q6_K: {0: 1, 192: 1}, Q4_1: {4: 1}}
"""Bytes of a block that make its first weight the scale, for Q8_0 127 times that, and leave the others 0."""


@EVERY_VARIANT
@pytest.mark.parametrize("kind", ONE_WEIGHT, ids=MATRIX_TYPES.get)
def test_linear__largest_scale__as_the_reference(kind, variant):
    """One weight of the largest fp16 scale in a row: as far as a file may go, and too wide for 32-bit scales."""
    raw = np.zeros((3, 256 // BLOCKS[kind][0], BLOCKS[kind][1]), np.uint8)
    if kind == Q4_0:
        raw[..., 2:] = 0x88
    if kind == Q6_K:
        raw[..., 128:192] = 0xAA
    for at, byte in ONE_WEIGHT[kind].items():
        raw[:, 0, at] = byte
    at = SCALES_AT[kind][0]
    raw[:, 0, at : at + 2] = np.array([[0xFF, 0x7B], [0xFF, 0xFB], [1, 0]], np.uint8)
    matrix = Matrix("largest", kind, 3, 256, raw.reshape(3, -1))
    check_bound(matrix)
    packed, kernels = Packed(matrix, 1), Kernels(variant, 1)
    assert packed.wide
    x = np.stack([np.full(256, LARGEST_MANTISSA), np.full(256, -LARGEST_MANTISSA)])
    rows = kernels.quantize(x.astype(np.int32), Rows(2, 256))
    want = ops.linear(ops.quantize(x), matrix.integers(), 20, 16)
    assert want.any()
    assert (kernels.linear(packed, rows, 2, 28, None, np.empty((2, 3), np.int32), ("y",)) == want).all()


def test_pack__scales_beyond_int32__only_the_plain_variant_multiplies():
    raw = np.zeros((2, 34), np.uint8)
    raw[0, :3] = 0xFF, 0x7B, 1
    assert Packed(Matrix("wide", Q8_0, 2, 32, raw), 1).wide
    raw[0, 1] = 0x3B
    assert not Packed(Matrix("narrow", Q8_0, 2, 32, raw), 1).wide


# SAMPLING


@EVERY_VARIANT
def test_draws__any_position__give_the_noise_of_sampling(variant):
    seed, tokens = bytes(range(32)), 1000
    kernels = Kernels(variant, 2)
    for position in (0, 7, 1 << 20):
        draws = kernels.draws(seed, position, tokens).astype(np.int64)
        assert (gumbel(draws) == noise(seed, position, np.arange(tokens))).all()
