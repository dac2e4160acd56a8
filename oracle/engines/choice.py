"""Which engine a service is served and checked with: the exact one where the dispute game judges, or a panel that
tolerates no difference; llama.cpp before other panels."""

from pathlib import Path

from oracle.engines.exact.spec import exact_spec
from oracle.engines.llama_settings import LlamaSettings, worker_spec
from oracle.engines.worker import EngineSpec
from oracle.models.manifest import Manifest
from oracle.services import PanelTerms


def engine_spec(
    manifest: Manifest,
    path: Path,
    panel: PanelTerms | None,
    llama: LlamaSettings,
    *,
    threads: int | None = None,
    gpu: str | None = None,
    model_fd: int | None = None,
) -> EngineSpec:
    """panel: the terms of the panel that judges; None for the dispute game, whose prompts are token ids.

    llama: how llama.cpp runs, if it does. The others as for `exact_spec` and `worker_spec`.
    """
    if panel is None or panel.exact:
        return exact_spec(manifest, path, threads, gpu, prompt_ids=panel is None, model_fd=model_fd)
    return worker_spec(manifest, path, panel.tolerance, llama, gpu, model_fd=model_fd)
