"""How to start a worker with the exact engine; apart from `engine.py`, so that the daemon loads no native code."""

from pathlib import Path

from oracle.engines.devices import Devices
from oracle.engines.worker import WorkerSetup
from oracle.models.manifest import Manifest

TOGETHER = 64  # jobs that a worker has in hand; it computes the most urgent


def exact_setup(
    manifest: Manifest,
    path: Path,
    threads: int | None = None,
    gpu: str | None = None,
    *,
    for_game: bool = False,
    model_fd: int | None = None,
    cache_bytes: int | None = None,
) -> WorkerSetup:
    """A worker that serves `manifest` from `path` in integers.

    threads: None for as many as there are processors. gpu: as `Devices.parse` reads it; None for the CPU.
    for_game: as `ExactEngine` has it.
    cache_bytes: most memory for keys and values; None for the engine's own limit.
    model_fd: what workers inherit; `path` is then its name in them (`MeasuredModel.passed_path`).
    Raises BadSettings.
    """
    devices = Devices.parse(gpu)
    arguments = {
        "manifest": manifest.to_json(),
        "path": str(path.resolve() if model_fd is None else path),
        "threads": threads,
        "device": devices.kind,
        "devices": devices.count,
        "for_game": for_game,
    }
    if cache_bytes is not None:
        arguments["cache_bytes"] = cache_bytes
    file = path if model_fd is None else None
    return WorkerSetup(
        "oracle.engines.exact.engine:load",
        arguments,
        model_file=file,
        model_fd=model_fd,
        gpu=devices.visible,
        together=TOGETHER,
    )
