"""Which engine a service is served and checked with: the exact one where the dispute game judges, or a panel that
tolerates no difference; before other panels llama.cpp, or a server that the operator names."""

from pathlib import Path

from oracle.engines.exact.worker_setup import exact_setup
from oracle.engines.llama_settings import LlamaSettings, llama_setup, remote_setup
from oracle.engines.servers import EngineServer
from oracle.engines.worker import WorkerSetup
from oracle.models.manifest import Manifest


def engine_setup(
    manifest: Manifest,
    path: Path,
    tolerance: int | None,
    llama: LlamaSettings,
    *,
    threads: int | None = None,
    gpu: str | None = None,
    model_fd: int | None = None,
    cache_bytes: int | None = None,
    server: EngineServer | None = None,
) -> WorkerSetup:
    """tolerance: of the panel that judges; None for the dispute game.

    llama: how llama.cpp runs, if it does. server: what computes in its place.
    The others as for `exact_setup` and `llama_setup`.
    """
    if not tolerance:
        game = tolerance is None
        return exact_setup(manifest, path, threads, gpu, for_game=game, model_fd=model_fd, cache_bytes=cache_bytes)
    if server is not None:
        return remote_setup(manifest, path, tolerance, llama, server)
    return llama_setup(manifest, path, tolerance, llama, gpu, model_fd=model_fd)
