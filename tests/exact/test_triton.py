"""What a node runs on a GPU: Triton kernels, interpreted here, compiled without a GPU, and run on one if it is there.

The interpreter runs in one process for all tests (`interpreted.py`).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exact.random_model import SHAPES, write

from oracle.engines.exact import self_test
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.device import Device
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.quants import MATRIX_TYPES
from oracle.engines.exact.weights import load

pytest.importorskip("triton", reason="Triton is not installed; make install does it")

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.fixture(scope="module")
def interpreted():
    script = Path(__file__).parent / "interpreted.py"
    places = os.pathsep.join(map(str, (script.parents[1], script.parents[2])))
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": places}
    run = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout)


def test_products__every_type_extreme_numbers_and_rows_that_fill_no_block__are_exact(interpreted):
    found = interpreted["products"]
    named = {f"{name} {tokens}" for name in MATRIX_TYPES.values() for tokens in (1, 9)}
    assert set(found) == named | {"sums of Q4_K", "sums of F16"}
    assert [name for name, is_right in found.items() if not is_right] == []


@pytest.mark.parametrize("name", ["llama", "qwen2-loud", "qwen3-odd", "gemma3"])
def test_forward__two_sequences_in_passes_of_any_size__the_reference_s_logits_and_counts(interpreted, name):
    expected = ("pass 0", "pass 1", "pass 2", "saturated", "cut", "beyond the cache")
    assert interpreted["forward"][name] == dict.fromkeys(expected, True)


def test_step__captured__is_proven_first_and_then_serves_steps_of_one_token(interpreted):
    assert interpreted["decides"]["replays"] == [1, 2]
    assert interpreted["decides"]["counted while proving"] == {}
    assert interpreted["decides"]["counts"]


def test_step__cannot_be_captured__a_warning_and_the_same_bits_without(interpreted):
    (line,) = interpreted["decides"]["log"]
    assert (line["log_level"], line["event"]) == ("warning", "decoding without a captured graph")
    assert "not permitted" in line["reason"]
    assert interpreted["decides"]["without"]


def test_step__captured_step_gives_other_bits__is_refused(interpreted):
    assert interpreted["decides"]["other bits"] == "a graph captured on cpu computes something else than its launches"


def test_kernels__compiled_without_a_gpu__all_of_them_and_within_a_multiprocessor(monkeypatch, tmp_path):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    from tools.compile_triton import sources, used  # noqa: PLC0415  it imports Triton

    found = dict(sources())
    quantized = [name for name in MATRIX_TYPES.values() if name not in ("F16", "BF16", "F32")]
    names = {f"_few {name}" for name in MATRIX_TYPES.values()} | {f"_tile {name}" for name in quantized}
    heads = {f"{kernel} {family}" for kernel in ("query_heads", "key_heads") for family in ("llama", "qwen3")}
    others = ("_finish_sums", "norm_rows", "largest_scores", "mixed_values", "mean_values", "gated", "quantized")
    gemma = {"gated gemma3", "norm_added gemma3"}
    assert set(found) == names | heads | gemma | {f"{kernel} llama" for kernel in others}
    registers, shared, spilled = used(found["_few Q4_K"], 90)
    assert 16 <= registers <= 255
    assert 0 < shared <= 164 << 10
    assert spilled == 0


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("name", SHAPES)
def test_forward__on_a_gpu__the_reference_s_logits_and_counts(tmp_path, name):
    weights = load(write(tmp_path / "model.gguf", SHAPES[name], seed=5))
    tokens = np.random.default_rng(1).integers(0, weights.architecture.vocabulary, 23).tolist()
    reference, model = Reference(weights), Device.named("cuda").forward(weights)
    (want,) = reference.run([Chunk(tokens, reference.cache(23), 23)])
    cache = model.cache(23)
    passes = ((0, 17), (17, 18), (18, 19), (19, 23))
    found = [model.run([Chunk(tokens[a:b], cache, b - a)])[0] for a, b in passes]
    assert (np.concatenate(found) == want).all()
    assert model.saturated == reference.saturated


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("batch", [1, 2, 7, 64, 512])
def test_forward__gpu_in_any_batch__the_cpu_s_logits(batch):
    weights = self_test.model("qwen3")
    tokens = np.random.default_rng(3).integers(0, weights.architecture.vocabulary, 512).tolist()
    cpu, gpu = CpuForward(weights, 1), Device.named("cuda").forward(weights)
    (want,) = cpu.run([Chunk(tokens, cpu.cache(512), 512)])
    cache = gpu.cache(512)
    for first in range(0, 512, batch):
        part = tokens[first : first + batch]
        assert (gpu.run([Chunk(part, cache, len(part))])[0] == want[first : first + batch]).all()
