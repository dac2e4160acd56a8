"""Which engine serves a service, in sandboxed workers with the operator's model files: llama.cpp, or the exact engine
where the dispute game judges, or a panel that tolerates no difference."""

from collections.abc import Callable
from dataclasses import replace

from oracle.engines.base import Engine
from oracle.engines.exact.spec import exact_spec
from oracle.engines.llama_settings import LlamaSettings, worker_spec
from oracle.engines.worker import Limits, OnProgress, ignore_progress
from oracle.engines.worker_pool import WorkerPool
from oracle.models.store import ModelStore
from oracle.node.records import ServiceRecord
from oracle.node.settings import Settings

EngineFactory = Callable[[ServiceRecord], Engine]
"""Makes the engine of a service; called once for each, in a thread. Raises UnknownModel, BadModelFile.

The engine must bear calls from as many threads as the settings name GPUs. One with a `close` method is closed.
"""


def llama_engines(
    settings: Settings, plays: Callable[[str], bool], on_progress: OnProgress = ignore_progress
) -> EngineFactory:
    """The product's factory. plays: whether an arbiter is the dispute game."""
    store = ModelStore(settings.models)
    llama = LlamaSettings(gpu_layers=settings.gpu_layers)
    if settings.threads is not None:
        llama = replace(llama, threads=settings.threads)
    if settings.batch is not None:
        llama = replace(llama, batch=settings.batch)

    def make(service: ServiceRecord) -> Engine:
        manifest = store.manifest(service.terms.model)
        path = store.file(manifest).path
        gpus: list[str | None] = [*settings.gpus] or [None]
        if plays(service.terms.arbiter):
            specs = [exact_spec(manifest, path, settings.threads, gpu, prompt_ids=True) for gpu in gpus]
        elif service.panel.exact:
            specs = [exact_spec(manifest, path, settings.threads, gpu) for gpu in gpus]
        else:
            specs = [worker_spec(manifest, path, service.panel.tolerance, llama, gpu) for gpu in gpus]
        # A check has the whole window; no job is worth more time than that, and an answer must fit its turn.
        limits = Limits(job=max(service.terms.turn_seconds, min(service.terms.window_seconds, 600)))
        return WorkerPool(specs, limits, on_progress)

    return make
