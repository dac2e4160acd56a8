"""What computes: C kernels on the CPU, torch where they were not built, Triton kernels on a GPU, or torch on several
devices that hold a model together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from eth_hash.auto import keccak

from oracle.engines.exact import cpu_kernels
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.model import Forward
from oracle.engines.exact.weights import Weights
from oracle.engines.sampling import DRAWS_PER_HASH


@dataclass(frozen=True)
class Device:
    name: str
    forward: Callable[[Weights], Forward]
    """Loads a model."""
    kernels: cpu_kernels.Kernels | None
    """The C kernels, if they were built."""

    @classmethod
    def named(cls, name: str, threads: int | None = None, count: int = 1) -> "Device":
        """name: "cpu" or, as torch names them, a GPU; threads: of the CPU, all of them if None.

        count: GPUs, or processes on the CPU, that hold a model together. Of more than one, this process has the first
        and starts the others, and has one such device at a time. Raises DeviceLost.
        """
        threads = cpu_kernels.default_threads() if threads is None else threads
        built = cpu_kernels.available()
        kernels = cpu_kernels.Kernels(cpu_kernels.best_variant(), threads) if built else None
        if count > 1:
            from oracle.engines.exact.group import Group  # noqa: PLC0415  these load torch as well
            from oracle.engines.exact.shared_forward import SharedForward  # noqa: PLC0415

            group = Group(name, count, threads)
            return cls(f"{count} devices ({name})", lambda weights: SharedForward(weights, group), kernels)
        if name == "cpu" and built:
            return cls(name, lambda weights: CpuForward(weights, threads), kernels)
        if name.startswith("cuda"):
            from oracle.engines.exact.triton_forward import TritonForward, captured  # noqa: PLC0415  absent elsewhere

            return cls(name, lambda weights: TritonForward(weights, name, captured), kernels)
        from oracle.engines.exact.torch_forward import TorchForward  # noqa: PLC0415  torch takes a second and 200 MB

        return cls(name, lambda weights: TorchForward(weights, name), kernels)

    @property
    def in_words(self) -> str:
        """What multiplies, for people."""
        return (
            f"C kernels for {cpu_kernels.in_words()}"
            if self.kernels and self.name == "cpu"
            else f"torch on {self.name}"
        )

    def draws(self, seed: bytes, position: int, tokens: int) -> Integers:
        """The 32-bit draws of `sampling` for all token ids below `tokens`."""
        if self.kernels is not None:
            return self.kernels.draws(seed, position, tokens).astype(np.int64)
        head = seed + position.to_bytes(32, "big")
        hashes = b"".join(keccak(head + block.to_bytes(32, "big")) for block in range(-(-tokens // DRAWS_PER_HASH)))
        numbers: npt.NDArray[np.int64] = np.frombuffer(hashes, ">u4")[:tokens].astype(np.int64)
        return numbers
