"""Engines on the measured copy of their model: real workers, whatever becomes of the file; and the gate before GPUs."""

import json
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attestation.test_gpu import UUIDS, Double

from oracle.attestation.gpu import Appraisal
from oracle.attestation.measured import MeasuredModel, measure
from oracle.chain.services import PanelTerms
from oracle.client import devnet
from oracle.engines import worker, worker_sandbox
from oracle.engines.base import Completion, Engine, Params
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.worker_setup import exact_setup
from oracle.engines.worker import Limits, WorkerEngine, WorkerSetup
from oracle.engines.worker_pool import WorkerPool
from oracle.errors import BadModelFile, GpuRefused
from oracle.merkle.tokens import prompt_bytes
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore
from oracle.node import engines as node_engines
from oracle.node.engines import llama_engines
from oracle.node.settings import Settings

TESTS = Path(__file__).resolve().parents[1]
PARAMS = Params(max_tokens=12, temperature=1 << 16, seed=bytes(range(32)))
PANEL, GAME = "0xaa", "0xbb"
NONCE = bytes(range(32))
KINDS = pytest.mark.parametrize(
    ("arbiter", "tolerance", "prompt"),
    [
        pytest.param(PANEL, 0, text_prompt(b"The soup was cold."), id="exact"),
        pytest.param(GAME, 0, prompt_bytes(range(9)), id="game"),
        pytest.param(PANEL, 65_536, text_prompt(b"The soup was cold."), id="llama"),
    ],
)


@pytest.fixture(autouse=True)
def copies(monkeypatch) -> Iterator[dict[bytes, MeasuredModel]]:
    """What the product keeps as long as the process, and a test as long as the test."""
    made: dict[bytes, MeasuredModel] = {}
    monkeypatch.setattr(node_engines, "_copies", made)
    yield made
    for model in made.values():
        model.close()


@pytest.fixture
def no_worker(monkeypatch) -> None:
    def start(*arguments: Any) -> None:
        pytest.fail("a worker was started")

    monkeypatch.setattr(worker, "WorkerProcess", start)


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def manifest(folder) -> Manifest:
    return devnet.add_model(folder, SHIPPED_MODEL, committed=True)


@pytest.fixture
def file(folder, manifest) -> Path:
    return ModelStore(folder).file(manifest).path


@pytest.fixture
def make(folder, manifest) -> Iterator[Callable[..., WorkerPool]]:
    """Engines of the product's factory, a new factory each time."""
    pools: list[WorkerPool] = []

    def make(arbiter: str = PANEL, tolerance: int = 0, *, tee: str = "dev", gpus: Any = (), **options: Any) -> Engine:
        settings = Settings(
            rpc_urls=["http://127.0.0.1:1"],
            deployment=folder / "deployment.json",
            services=["0x" + "ab" * 32],
            models=folder,
            threads=1,
            tee=tee,
            gpus=list(gpus),
        )
        terms = SimpleNamespace(model=manifest.model_id, turn_seconds=60, window_seconds=60, arbiter=arbiter)
        service = SimpleNamespace(terms=terms, panel=PanelTerms(1, 1, 1, 1, 1, 3, tolerance))
        pools.append(llama_engines(settings, lambda arbiter: arbiter == GAME, **options)(service))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


def answer(engine: Engine, prompt: bytes) -> Completion:
    tokens = engine.tokenize(prompt)
    completion = engine.generate(tokens, PARAMS)
    assert engine.check(tokens, completion.tokens, PARAMS).correct
    return completion


def kill(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until the last of its threads is gone


# THE MODEL


@KINDS
def test_factory__file_differs__is_refused_before_any_worker_starts(
    make, file, copies, no_worker, arbiter, tolerance, prompt
):
    """One bit, and size and times as before."""
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[1_200_000] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(BadModelFile, match="SHA-256"):
        make(arbiter, tolerance)
    assert not copies


@KINDS
def test_engine__on_the_copy_and_the_file_gone__answers_as_from_the_file(
    make, file, manifest, copies, arbiter, tolerance, prompt
):
    expected = answer(make(arbiter, tolerance, tee="none"), prompt)
    assert not copies
    engine = make(arbiter, tolerance)
    file.unlink()
    assert answer(engine, prompt) == expected
    (setup,) = [each.setup for each in engine.workers]
    assert (setup.arguments["path"], setup.model_fd) == (
        f"/proc/self/fd/{setup.model_fd}",
        copies[manifest.model_id].fd,
    )
    assert setup.model_file is None


@KINDS
def test_worker__killed_when_the_file_is_gone__starts_again_on_the_copy(make, file, arbiter, tolerance, prompt):
    engine = make(arbiter, tolerance)
    expected = answer(engine, prompt)
    (only,) = engine.workers
    first = only.pid
    file.unlink()
    kill(first)
    assert answer(engine, prompt) == expected
    assert only.pid not in (first, None)


def test_workers__two_on_one_copy_at_once__read_it_independently(manifest, file):
    with measure(manifest, file) as model:
        pool = WorkerPool([exact_setup(manifest, model.passed_path, 1, model_fd=model.fd)] * 2, Limits(first_pause=0))
        try:
            with ThreadPoolExecutor(2) as threads:
                one, other = threads.map(lambda _: answer(pool, b"The soup was cold."), range(2))
            assert one == other
            assert None not in {each.pid for each in pool.workers}
        finally:
            pool.close()


@pytest.mark.skipif(worker_sandbox.bubblewrap() is None, reason="bubblewrap is not installed or not permitted here")
def test_worker__bubblewrap__sees_the_copy_and_not_the_file(manifest, file):
    with measure(manifest, file) as model:
        arguments = {"look_at": [str(model.passed_path), str(file), str(model.path)]}
        setup = WorkerSetup("rig.nosy_engine:load", arguments, model_fd=model.fd, python_path=(TESTS,), proves=False)
        engine = WorkerEngine(setup)
        try:
            assert json.loads(engine.detokenize([]))["visible"] == [str(model.passed_path)]
        finally:
            engine.close()


def test_factory__several_services_and_factories_at_once__measure_a_model_once(make, copies, monkeypatch):
    measured: list[Manifest] = []

    def counted(manifest: Manifest, *rest: Any) -> MeasuredModel:
        measured.append(manifest)
        return measure(manifest, *rest)

    monkeypatch.setattr(node_engines, "measure", counted)
    with ThreadPoolExecutor(3) as threads:
        pools = list(threads.map(lambda kind: make(*kind), [(PANEL, 0), (GAME, 0), (PANEL, 65_536)]))
    assert len(measured) == 1
    assert {each.setup.model_fd for pool in pools for each in pool.workers} == {model.fd for model in copies.values()}


def test_factory__file_repaired_after_a_refusal__is_measured_again(make, file):
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with pytest.raises(BadModelFile):
        make()
    file.write_bytes(data)
    assert answer(make(), b"The soup was cold.").tokens


def test_factory__while_it_measures__reports_progress(make, manifest):
    seen: list[tuple[str, int, int]] = []
    make(on_progress=lambda *event: seen.append(event))
    size = manifest.file_bytes
    assert {(what, total) for what, _, total in seen} == {("measure", 2 * size)}
    assert seen[-1][1] == 2 * size


# THE GPUS


class Untouchable:
    """A `GpuAppraiser` that nobody may ask."""

    def appraise(self, nonce: bytes) -> Appraisal:
        pytest.fail("GPUs were appraised")


class Yesterdays:
    """One that shows what it was told for another nonce."""

    def appraise(self, nonce: bytes) -> Appraisal:
        return Double({}).appraise(bytes(32))


@pytest.mark.parametrize(
    ("appraiser", "why"),
    [
        (Double({"secboot": False}), "GPU 1: the claim secboot"),
        (Double({"measres": "fail"}), "GPU 1: the claim measres"),
        (Yesterdays(), "GPU 0: the claim eat_nonce"),
    ],
    ids=["secboot", "measres", "replayed"],
)
@KINDS
def test_factory__gpu_with_a_bad_claim__is_refused_before_anything_is_measured(
    make, copies, no_worker, appraiser, why, arbiter, tolerance, prompt
):
    with pytest.raises(GpuRefused, match=why):
        make(arbiter, tolerance, gpus=["0"], gpu_nonce=lambda model: NONCE, appraiser=appraiser)
    assert not copies


def test_factory__gpu_the_driver_does_not_show__is_refused(make, no_worker):
    with pytest.raises(GpuRefused, match="none of the 2"):
        make(gpus=["0", "2"], gpu_nonce=lambda model: NONCE, appraiser=Double({}))


def test_factory__gpus_and_no_nonce__are_refused(make, no_worker):
    with pytest.raises(GpuRefused, match="before this node has a key"):
        make(gpus=["0"], appraiser=Untouchable())


def test_factory__nvidias_tools_absent__is_refused(make, no_worker, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GpuRefused, match="nvidia-smi is not installed"):
        make(gpus=["0"], gpu_nonce=lambda model: NONCE)


@KINDS
def test_factory__gpus_sealed__makes_a_worker_for_each_on_the_copy(make, copies, arbiter, tolerance, prompt):
    pool = make(arbiter, tolerance, gpus=["1", UUIDS[0]], gpu_nonce=lambda model: NONCE, appraiser=Double({}))
    (model,) = copies.values()
    setups = [each.setup for each in pool.workers]
    assert [setup.gpu for setup in setups] == ["1", UUIDS[0]]
    assert {(setup.arguments["path"], setup.model_fd) for setup in setups} == {(str(model.passed_path), model.fd)}


def test_factory__each_engine__has_gpus_appraised_for_the_nonce_of_that_time(make):
    nonces = [bytes([number]) * 32 for number in range(2)]
    asked: list[bytes] = []

    class Recorder:
        def appraise(self, nonce: bytes) -> Appraisal:
            asked.append(nonce)
            return Double({}).appraise(nonce)

    pending = iter(nonces)
    for _ in nonces:
        make(gpus=["0"], gpu_nonce=lambda model: next(pending), appraiser=Recorder())
    assert asked == nonces


@pytest.mark.parametrize(("tee", "gpus"), [("none", ["0"]), ("dev", [])])
def test_factory__no_tee_or_no_gpu__appraises_nothing(make, tee, gpus):
    pool = make(tee=tee, gpus=gpus, appraiser=Untouchable())
    assert [each.setup.gpu for each in pool.workers] == (gpus or [None])
