"""Linear layers by the kernels inside the reference's pass: the same numbers, whatever the tensor type."""

import numpy as np
import pytest
from exact.random_model import Kind, Shape, write

from oracle.disputes import graph
from oracle.disputes.passes import Tracer
from oracle.engines.exact import cpu_kernels
from oracle.engines.exact.cpu_linear import CpuLinear
from oracle.engines.exact.model import Reference, plain_linear
from oracle.engines.exact.operators import quantize
from oracle.engines.exact.weights import load

SHAPES = [
    Shape(family="llama", width=96, hidden=160),
    Shape(family="qwen2", kind=Kind.Q4_0, width=96, hidden=160),
    Shape(family="qwen3", kind=Kind.F16, width=80, hidden=112),
    Shape(family="llama", kind=Kind.Q4_K, width=256, hidden=512, head_width=64, rope_width=64),
    Shape(family="llama", kind=Kind.Q6_K, width=256, hidden=512, head_width=64, rope_width=64, gain=40.0),
]
TOKENS = [7, 1, 30, 30, 12]

needs_kernels = pytest.mark.skipif(not cpu_kernels.available(), reason="the C kernels are not built here")


@needs_kernels
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.family}-{shape.kind.name}")
def test_tracer__with_and_without_kernels__makes_the_same_pass(tmp_path, shape):
    path = write(tmp_path / "model.gguf", shape)
    fast, plain = Tracer(path, 2), Tracer(path, plain=True)
    ours, theirs = fast.residuals(TOKENS), plain.residuals(TOKENS)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    for step in range(graph.steps(fast.architecture)):
        before = None if step == 0 else ours[step - 1].astype(np.int64)
        made, expected = fast.step(step, before, TOKENS), plain.step(step, before, TOKENS)
        assert made.keys() == expected.keys()
        for name, values in made.items():
            assert np.array_equal(values, expected[name]), name


@needs_kernels
def test_linear__rows_quantized_elsewhere__are_taken_as_they_are(tmp_path):
    weights = load(write(tmp_path / "model.gguf", SHAPES[0]))
    rng = np.random.default_rng(3)
    matrix = weights.layers[0].ffn_up
    for lead in ((1,), (3,), (2, 3)):
        row = quantize(rng.integers(-(1 << 30), 1 << 30, (*lead, matrix.columns)))
        made = CpuLinear(1)(row, matrix, 20, 16)
        assert made.shape == (*lead, matrix.rows)
        assert np.array_equal(made, plain_linear(row, matrix, 20, 16))


def test_reference__unless_told_otherwise__is_plain(tmp_path):
    assert Reference(load(write(tmp_path / "model.gguf", SHAPES[0])))._linear is plain_linear
