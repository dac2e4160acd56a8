"""How an operator runs llama.cpp. None of it changes what a right answer is, only how fast it comes.

Apart from `llama.py`, so that the daemon can describe a worker without loading native code itself.
"""

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from oracle.engines.devices import Devices
from oracle.engines.servers import EngineServer
from oracle.engines.worker import WorkerSetup
from oracle.models.manifest import Manifest

COARSE_BATCH = 64  # from here on llama.cpp's CPU attention is another


@dataclass(frozen=True)
class LlamaSettings:
    gpu_layers: int = 0
    """Layers kept in the GPU's memory (`n_gpu_layers`); -1 for all, 0 for the CPU."""
    threads: int = field(default_factory=lambda: max(1, (os.cpu_count() or 1) // 2))
    """Half the logical CPUs: llama.cpp's threads spin, and one thread more than there are free cores makes each step
    many times slower."""
    batch: int = 32
    """Tokens evaluated at a time. Below 64, llama.cpp 0.3.36 gives on one CPU the same logits whatever the batch; from
    64 on it computes attention by a coarser method, and checking meets more near ties. On a GPU more is faster."""

    @property
    def same_in_any_batch(self) -> bool:
        """Whether llama.cpp gives the same logits however tokens are cut into batches of at most `batch`."""
        return self.gpu_layers == 0 and self.batch < COARSE_BATCH


def llama_setup(
    manifest: Manifest,
    path: Path,
    tolerance: int,
    settings: LlamaSettings,
    gpu: str | None = None,
    *,
    model_fd: int | None = None,
) -> WorkerSetup:
    """A worker that serves `manifest` from `path` with llama.cpp.

    tolerance: fixed point, 16 fraction bits of a logit, from the service's terms.
    gpu: as `Devices.parse` reads it; None for the CPU. llama.cpp divides its layers among several by itself.
    model_fd: what workers inherit; `path` is then its name in them (`MeasuredModel.passed_path`).
    Raises BadSettings.
    """
    arguments = {
        "manifest": manifest.to_json(),
        "path": str(path.resolve() if model_fd is None else path),
        "tolerance": tolerance,
        "settings": asdict(settings),
    }
    file, visible = path if model_fd is None else None, Devices.parse(gpu).visible
    return WorkerSetup("oracle.engines.llama:load", arguments, model_file=file, model_fd=model_fd, gpu=visible)


def remote_setup(
    manifest: Manifest, path: Path, tolerance: int, settings: LlamaSettings, server: EngineServer
) -> WorkerSetup:
    """A worker that serves `manifest` with what `server` computes; `path` is the manifest's file all the same.

    settings: of the comparison of both, at the start.
    """
    setup = llama_setup(manifest, path, tolerance, settings)
    return replace(setup, factory="oracle.engines.remote:load", relay=server)


def vocabulary_setup(path: Path) -> WorkerSetup:
    """A worker that loads the vocabulary of `path` alone; for `WorkerEngine.describe`."""
    arguments = {"path": str(path.resolve())}
    return WorkerSetup("oracle.engines.llama_vocabulary:load", arguments, model_file=path, proves=False)
