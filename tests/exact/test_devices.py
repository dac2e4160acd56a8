"""One model over several devices, here processes that meet by gloo: the bits of one device, whatever the model's shape;
and what becomes of a group that loses one.
"""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from exact.random_model import SHAPES, write
from exact.test_engine import PANEL, plays, service_of
from rig import tiny_gguf

from oracle.engines.base import Params, TokenId
from oracle.engines.devices import Devices
from oracle.engines.exact import self_test, shares
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.group import DeviceLost, Group
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.shared_forward import SharedForward
from oracle.engines.exact.torch_forward import TorchForward
from oracle.engines.exact.weights import load
from oracle.errors import BadSettings, EngineCrashed
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile
from oracle.models.shipped import SHIPPED_MODEL, known_answer
from oracle.node.engines import llama_engines
from oracle.node.settings import Settings

# WHAT AN OPERATOR MAY WRITE


@pytest.mark.parametrize(
    ("text", "said"), [("0+", "without a name"), ("cpu+0", "joins GPUs with processors"), ("1+1", "names a GPU twice")]
)
def test_devices__that_cannot_share_a_model__are_refused_by_name(text, said):
    with pytest.raises(BadSettings, match=said):
        Devices.parse(text)


@pytest.mark.parametrize(
    ("text", "visible", "count", "kind"),
    [(None, None, 1, "cpu"), ("3", "3", 1, "cuda"), ("0+GPU-7a", "0,GPU-7a", 2, "cuda"), ("cpu+cpu", None, 2, "cpu")],
)
def test_devices__joined__are_those_of_one_worker(text, visible, count, kind):
    found = Devices.parse(text)
    assert (found.visible, found.count, found.kind) == (visible, count, kind)


# WHAT EACH DEVICE HOLDS


@pytest.mark.parametrize("devices", [2, 3, 5])
@pytest.mark.parametrize("name", ["llama-f16-odd", "llama-q4_k", "qwen2", "qwen3"])
def test_cut__into_shares__every_weight_is_held_once_and_no_block_is_cut(tmp_path, name, devices):
    weights = load(write(tmp_path / "model.gguf", SHAPES[name]))
    parts = [shares.cut(weights, device, devices) for device in range(devices)]
    a, layer = weights.architecture, weights.layers[0]
    assert sum(part.architecture.heads for part in parts) == a.heads
    assert parts[0].architecture.kv_heads == max(part.architecture.kv_heads for part in parts)
    held = [part.layers[0] for part in parts]
    for matrix, axis in (("attn_q", 0), ("attn_v", 0), ("ffn_up", 0), ("attn_output", 1), ("ffn_down", 1)):
        found = [getattr(each, matrix) for each in held]
        assert all(each.integers().shape == (each.rows, each.columns) for each in found if each.rows * each.columns)
        raw = np.concatenate([each.raw for each in found], axis=axis)
        assert (raw == getattr(layer, matrix).raw).all()
    assert sum(part.output.rows for part in parts) == a.vocabulary
    assert [part.embedding.rows for part in parts] == [a.vocabulary] + [0] * (devices - 1)


# DEVICES THAT ARE LOST


def test_group__process_is_stopped__is_told_as_silent_and_nothing_more_is_computed():
    told, lost = [], threading.Event()

    def on_loss(what):
        told.append(what)
        lost.set()

    group = Group("cpu", 2, 2, on_loss, silence_seconds=2.0)
    try:
        forward = SharedForward(self_test.model("qwen3"), group)
        (other,) = group.others
        os.kill(other.pid, signal.SIGSTOP)
        assert lost.wait(60)
        assert told == ["process 2 of the 2 that hold a model together (cpu) gave no sign of life for 2 s"]
        os.kill(other.pid, signal.SIGKILL)
        with pytest.raises(DeviceLost, match="gave no sign of life"):
            forward.run([Chunk([1], forward.cache(8), 1)])
    finally:
        group.close()


def test_node__two_processes_for_a_model__answers_as_one_and_goes_on_when_one_is_killed(tmp_path, monkeypatch):
    """As an operator sets it: jobs together, a prefix that they share, guesses at what repeats."""
    path = tmp_path / "tiny.gguf"
    manifest = replace(tiny_gguf.write(path), stop_tokens=(1,))
    store = SimpleNamespace(manifest=lambda model: manifest, file=lambda manifest: SimpleNamespace(path=path))
    monkeypatch.setattr("oracle.node.engines.ModelStore", lambda folder: store)
    settings = Settings(
        rpc_urls=["http://127.0.0.1:1"],
        deployment=tmp_path / "d.json",
        services=["0x" + "ab" * 32],
        threads=2,
        gpus=["cpu+cpu"],
    )
    there = llama_engines(settings, plays)(service_of(manifest, PANEL, 0))
    here = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1))
    greedy, sampled = Params(5), Params(5, temperature=1 << 16, seed=bytes(range(32)))
    jobs = [([TokenId(7)] * 40, greedy), ([TokenId(7)] * 39 + [TokenId(9)], greedy), ([TokenId(30)] * 9, sampled)]

    def answered(engine, job):
        prompt, params = job
        completion = engine.generate(prompt, params)
        assert engine.check(prompt, completion.tokens, params).correct
        return completion

    try:
        with ThreadPoolExecutor(len(jobs)) as threads:
            found = list(threads.map(lambda job: answered(there, job), jobs))
        assert found == [answered(here, job) for job in jobs]
        (worker,) = there.workers
        assert "torch on 2 devices (cpu)" in worker.prove()
        (other,) = processes("oracle.engines.exact.share_main", worker.pid)
        os.kill(other, signal.SIGKILL)
        with pytest.raises(EngineCrashed, match=r"process 2 of the 2 that hold a model together \(cpu\) was killed"):
            there.generate([TokenId(11)] * 20, Params(200))
        assert worker.restarts == 1
        worker._not_before = 0.0
        assert answered(there, jobs[0]) == found[0]
    finally:
        there.close()


def processes(module, group):
    """Ids of processes of a process group that run a module."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if module.encode() in line.split(b"\0") and os.getpgid(int(entry.name)) == group:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


# ONE DEVICE'S BITS


@pytest.fixture(scope="module")
def group():
    made = Group("cpu", 2, 2, on_loss=lambda what: None)
    yield made
    made.close()


@pytest.mark.parametrize("name", ["llama-f16-odd", "llama-q4_k", "llama-loud", "qwen2", "qwen3", "gemma3"])
def test_forward__over_devices__the_logits_of_one_in_any_batch_and_from_kept_prefixes(tmp_path, group, name):
    """Of one key head, of four that share a block, of three: the second device gets none, none, and one."""
    weights = load(write(tmp_path / "model.gguf", SHAPES[name], seed=5))
    tokens = np.random.default_rng(1).integers(0, weights.architecture.vocabulary, 40).tolist()
    alone, shared = TorchForward(weights, "cpu"), SharedForward(weights, group)
    (want,) = alone.run([Chunk(tokens, alone.cache(40), 40)])
    cache, other = shared.cache(40), shared.cache(10)
    found = shared.run([Chunk(tokens[:17], cache, 17), Chunk(tokens[:9], other, 0)])
    assert (found[0] == want[:17]).all()
    assert found[1].shape == (0, want.shape[1])
    found = shared.run([Chunk(tokens[17:], cache, 3), Chunk(tokens[9:10], other, 1)])
    assert (found[0] == want[37:]).all()
    assert (found[1] == want[9:10]).all()
    begun, block = shared.cache(40), cache.block(0, 16)
    del cache
    begun.append(block)
    (again,) = shared.run([Chunk(tokens[16:30], begun, 14)])
    assert (again == want[16:30]).all()
    begun.truncate(20)
    (again,) = shared.run([Chunk(tokens[20:24], begun, 4)])
    assert (again == want[20:24]).all()


def test_forward__shipped_model_over_devices__logits_of_one(group):
    path = SHIPPED_MODEL.with_suffix(".gguf")
    weights = load(path)
    question = known_answer(file_sha256(path)).prompt
    alone, shared = CpuForward(weights, 1), SharedForward(weights, group)
    rows = len(question)
    (want,) = alone.run([Chunk(question, alone.cache(rows), rows)])
    cache = shared.cache(rows)
    (found,) = shared.run([Chunk(question[:-1], cache, rows - 1)])
    (last,) = shared.run([Chunk(question[-1:], cache, 1)])
    assert (np.concatenate([found, last]) == want).all()


def test_saturated__over_devices__counts_what_one_counts(tmp_path, group):
    weights = load(write(tmp_path / "model.gguf", replace(SHAPES["llama-loud"], gain=3000.0), seed=5))
    alone, shared = TorchForward(weights, "cpu"), SharedForward(weights, group)
    for forward in (alone, shared):
        forward.run([Chunk([5, 300, 12, 7], forward.cache(4), 3)])
    assert shared.saturated == alone.saturated
    assert {"v", "score", "down", "logits"} <= set(alone.saturated)  # spread or not
