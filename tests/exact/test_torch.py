"""The torch engine against the reference, bit for bit: on the CPU here, on a GPU where there is one.

What a node runs on a GPU is tested in `test_triton.py`.
"""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from exact.random_model import SHAPES, write

from oracle.engines.exact import self_test, torch_matrices
from oracle.engines.exact.device import Device
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.quants import F16, FLOATS, MATRIX_TYPES, Q8_0, integers
from oracle.engines.exact.torch_forward import TorchForward
from oracle.engines.exact.torch_matrices import Quants, unpacked
from oracle.engines.exact.weights import load
from oracle.errors import WrongNumbers

QUANTIZED = [kind for kind in MATRIX_TYPES if kind != F16 and kind not in FLOATS]
ON_GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
DEVICES = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_GPU)])


@pytest.mark.parametrize("kind", QUANTIZED)
def test_unpacked__any_blocks__scale_times_q_is_the_weight(kind):
    matrix = self_test.matrix("some", kind, 9, 512)
    q, scale, minimum = unpacked(kind, matrix.raw)
    weights = q.reshape(*scale.shape, -1).astype(np.int64) * scale[..., None]
    if minimum is not None:
        weights = weights.reshape(*minimum.shape, -1) - minimum[..., None]
    assert (weights.reshape(9, -1) == integers(kind, matrix.raw)).all()


@DEVICES
@pytest.mark.parametrize("kind", MATRIX_TYPES)
def test_product__sums_beyond_float64__are_exact(kind, device):
    raw = self_test.matrix("big", kind, 20, 512).raw.copy()
    if kind == F16:
        raw[:, 1:8:2] = 0x7B  # a few weights near 65504
    if kind == Q8_0:
        raw[:, 1:34:34] = 0x7B
    matrix = replace(self_test.matrix("big", kind, 20, 512), raw=raw)
    x = np.random.default_rng(2).integers(-32767, 32768, (6, 512))
    x[0] = 32767
    w = Quants(matrix, device)
    assert w.split or kind not in (F16, Q8_0)
    got = torch_matrices.product(torch.from_numpy(x).to(device), w)
    assert (got.cpu().numpy() == x @ matrix.integers().T).all()


@DEVICES
@pytest.mark.parametrize("name", SHAPES)
def test_forward__every_family_and_kind__same_logits(tmp_path, name, device):
    weights = load(write(tmp_path / "model.gguf", SHAPES[name], seed=5))
    tokens = np.random.default_rng(1).integers(0, weights.architecture.vocabulary, 23).tolist()
    reference, model = Reference(weights), TorchForward(weights, device)
    (want,) = reference.run([Chunk(tokens, reference.cache(23), 23)])
    cache, other = model.cache(23), model.cache(10)
    found = [model.run([Chunk(tokens[:17], cache, 17), Chunk(tokens[:10], other, 2)])]
    found += [model.run([Chunk(tokens[a:b], cache, b - a)]) for a, b in ((17, 18), (18, 23))]
    assert (found[0][1] == want[8:10]).all()
    assert (np.concatenate([each[0] for each in found]) == want).all()
    cache.truncate(5)
    (again,) = model.run([Chunk(tokens[5:9], cache, 4)])
    assert (again == want[5:9]).all()
    alone = TorchForward(weights, device)
    alone.run([Chunk(tokens, alone.cache(23), 23)])
    assert alone.saturated == reference.saturated


@DEVICES
def test_float64__sums_just_below_2_53__are_proven_exact(device):
    torch_matrices.prove_float64(device)


@pytest.mark.parametrize("bits", [24, 45, 52])
def test_float64__emulated_with_fewer_bits__is_refused_before_a_model_loads(monkeypatch, bits):
    exact = torch.Tensor.__matmul__

    def emulated(a, b):
        mantissa, exponent = torch.frexp(exact(a, b))
        return torch.ldexp((mantissa * 2.0**bits).round() / 2.0**bits, exponent)

    monkeypatch.setattr(torch.Tensor, "__matmul__", emulated)
    with pytest.raises(WrongNumbers, match="cpu multiplies float64 inexactly"):
        TorchForward(self_test.model("llama"), "cpu")


def test_float64__emulation_wanted_by_the_environment__is_switched_off(monkeypatch):
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", "1")
    TorchForward(self_test.model("llama"), "cpu")
    assert os.environ["CUBLAS_EMULATE_DOUBLE_PRECISION"] == "0"


def test_device__without_kernels__torch_gives_the_known_answer(monkeypatch):
    monkeypatch.setattr("oracle.engines.exact.cpu_kernels.available", lambda: False)
    device = Device.named("cpu")
    assert device.kernels is None
    self_test.check(device.forward)
    with_kernels = device.draws(bytes(32), 5, 100)
    monkeypatch.undo()
    assert (Device.named("cpu").draws(bytes(32), 5, 100) == with_kernels).all()
