"""Which engine serves a service, in sandboxed workers with the operator's model files: llama.cpp, or the exact engine
where the dispute game judges, or a panel that tolerates no difference; a server in llama.cpp's place, where the
operator names one.

In a TEE, engines never see the disk: they run on a sealed copy of their model that was compared with its manifest, and
on GPUs only if all of these have just passed NVIDIA's verifier. That is done before an engine is made. A worker that is
lost starts again on the same copy, but its GPU is not appraised again.

No engine is made for a manifest whose commitments its file does not bear out.
"""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from oracle.attestation.gpu import GpuAppraiser, Nvattest, gate
from oracle.attestation.measured import MeasuredModel, measure
from oracle.disputes import recomputed
from oracle.engines.base import Engine, OnProgress, ignore_progress, the_job
from oracle.engines.choice import engine_setup
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.worker import Limits
from oracle.engines.worker_pool import WorkerPool
from oracle.errors import GpuRefused, UnmeasuredServer
from oracle.ids import ModelId
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.fleet import fleet_engine
from oracle.node.records import ServiceRecord
from oracle.node.settings import Settings

EngineFactory = Callable[[ServiceRecord], Engine]
"""Makes the engine of a service; called once for each, in a thread. Raises UnknownModel, BadModelFile,
WrongCommitments; in a TEE also NotEnoughMemory, GpuRefused.

The engine must bear calls from as many threads as it says (`together`). One with a `close` method is closed.
"""

log = structlog.get_logger()

_copies: dict[ModelId, MeasuredModel] = {}
"""Sealed copies by the model's id, which says what is in them: whoever asks in this process gets the same one. They
are never closed, since workers inherit them by number."""
_copying = threading.Lock()  # one at a time, so that two of them do not take the same free memory for theirs


def llama_engines(
    settings: Settings,
    plays: Callable[[str], bool],
    on_progress: OnProgress = ignore_progress,
    *,
    gpu_nonce: Callable[[ModelId], bytes] | None = None,
    appraiser: GpuAppraiser | None = None,
) -> EngineFactory:
    """The product's factory.

    plays: whether an arbiter is the dispute game.
    gpu_nonce: from a model's id, what GPUs' evidence must contain now; in a TEE no GPU is used without it.
    appraiser: NVIDIA's tools if it is None.
    Raises UnmeasuredServer.
    """
    store = ModelStore(settings.models)
    servers = settings.servers
    if servers and settings.tee != "none":
        raise UnmeasuredServer(
            "engine_servers cannot be used with tee: what a server computes, from which model, is in no measurement. "
            "Take engine_servers out, and serve the model with the engine of this package"
        )
    llama = LlamaSettings(gpu_layers=settings.gpu_layers)
    if settings.threads is not None:
        llama = replace(llama, threads=settings.threads)
    if settings.batch is not None:
        llama = replace(llama, batch=settings.batch)

    def make(service: ServiceRecord) -> Engine:
        panel = None if plays(service.terms.arbiter) else service.panel
        tolerance = None if panel is None else panel.tolerance
        # A check has the whole window; no job is worth more time than that, and an answer must fit its turn.
        job_seconds = max(service.terms.turn_seconds, min(service.terms.window_seconds, 600))
        if settings.fleet_url is not None:
            return fleet_engine(settings.fleet_url.get_secret_value(), service.terms.model, tolerance, job_seconds)
        manifest = store.manifest(service.terms.model)
        path = store.file(manifest).path
        fd: int | None = None
        tell = _both(on_progress, the_job().told)
        if settings.tee != "none":
            if settings.gpus:
                _pass_gate(settings.gpus, manifest.model_id, gpu_nonce, appraiser or Nvattest())
            copy = _sealed_copy(manifest, path, tell)
            path, fd = copy.passed_path, copy.fd
        else:
            recomputed.verify(store, manifest, partial(tell, "commit"))
        server = servers.get(manifest.model_id)
        gpus: list[str | None] = [None] if server is not None and tolerance else [*settings.gpus] or [None]
        cache_bytes = None if settings.cache_mib is None else settings.cache_mib << 20
        setups = [
            engine_setup(
                manifest,
                path,
                tolerance,
                llama,
                threads=settings.threads,
                gpu=gpu,
                model_fd=fd,
                cache_bytes=cache_bytes,
                server=server,
            )
            for gpu in gpus
        ]
        if settings.tee == "none":  # what is loaded from there is in no measurement
            setups = [replace(setup, kernel_cache=settings.data_dir / "kernels") for setup in setups]
        return WorkerPool(setups, Limits(job=job_seconds), on_progress)

    return make


def _both(first: OnProgress, second: OnProgress) -> OnProgress:
    def tell(what: str, done: int, total: int) -> None:
        first(what, done, total)
        second(what, done, total)

    return tell


def logged_progress(seconds: float = 10.0) -> OnProgress:
    """Logs, every so many seconds, how far something is that takes long before an engine can work."""
    told = dict.fromkeys(("measure", "commit", "hash", "load", "prove"), -math.inf)

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what in told and now - told[what] >= seconds:
            told[what] = now
            log.info("preparing an engine", step=what, percent=100 * done // max(total, 1))

    return tell


def _pass_gate(
    gpus: list[str], model: ModelId, nonce: Callable[[ModelId], bytes] | None, appraiser: GpuAppraiser
) -> None:
    """Raises GpuRefused unless engines may have the GPUs."""
    if nonce is None:
        raise GpuRefused("GPUs cannot be appraised before this node has a key that their evidence can name")
    value = nonce(model)
    gate(appraiser.appraise(value), value, gpus)


def _sealed_copy(manifest: Manifest, file: Path, on_progress: OnProgress) -> MeasuredModel:
    """Made from the file when it is first asked for. Raises BadModelFile, NotEnoughMemory."""
    with _copying:
        if manifest.model_id not in _copies:
            _copies[manifest.model_id] = measure(manifest, file, partial(on_progress, "measure"))
        return _copies[manifest.model_id]
