"""How to start a worker with the exact engine; apart from `engine.py`, so that the daemon loads no native code."""

from pathlib import Path

from oracle.engines.worker import WorkerSetup
from oracle.models.manifest import Manifest


def exact_setup(
    manifest: Manifest,
    path: Path,
    threads: int | None = None,
    gpu: str | None = None,
    *,
    prompt_ids: bool = False,
    model_fd: int | None = None,
) -> WorkerSetup:
    """A worker that serves `manifest` from `path` in integers.

    threads: None for as many as there are processors. gpu: CUDA_VISIBLE_DEVICES for it; None for the CPU.
    prompt_ids: prompts are token ids.
    model_fd: what workers inherit; `path` is then its name in them (`MeasuredModel.passed_path`).
    """
    arguments = {
        "manifest": manifest.to_json(),
        "path": str(path.resolve() if model_fd is None else path),
        "threads": threads,
        "device": "cpu" if gpu is None else "cuda",
        "prompt_ids": prompt_ids,
    }
    file = path if model_fd is None else None
    return WorkerSetup("oracle.engines.exact.engine:load", arguments, model_file=file, model_fd=model_fd, gpu=gpu)
