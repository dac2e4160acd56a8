"""What an operator writes about the devices of one worker: `0` is a GPU, `0+1` are two that hold one model together,
each a share of it; `cpu+cpu` are two processes on the machine's processors, to try that where there are no GPUs.
"""

from dataclasses import dataclass

from oracle.errors import BadSettings

CPU = "cpu"


@dataclass(frozen=True)
class Devices:
    """Of one worker."""

    visible: str | None
    """CUDA_VISIBLE_DEVICES for it; None for the CPU."""
    count: int = 1
    """How many share its model."""

    @classmethod
    def parse(cls, text: str | None) -> "Devices":
        """text: None for the CPU. Raises BadSettings."""
        if text is None:
            return cls(None)
        names = [name.strip() for name in text.split("+")]
        if not all(names):
            raise BadSettings(f"gpus: {text!r} leaves a device without a name")
        if CPU in names:
            if set(names) != {CPU}:
                raise BadSettings(f"gpus: {text!r} joins GPUs with processors, which cannot share a model")
            return cls(None, len(names))
        if len(set(names)) < len(names):
            raise BadSettings(f"gpus: {text!r} names a GPU twice")
        return cls(",".join(names), len(names))

    @property
    def kind(self) -> str:
        """As torch names it."""
        return CPU if self.visible is None else "cuda"
