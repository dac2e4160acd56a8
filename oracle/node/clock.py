"""Whether this machine's clock agrees with the chain's.

The node decides nothing by it: turns, windows and deadlines are compared with the head's timestamp, and pauses with a
clock that only ever counts on. But certificates and logs go by it, and a chain whose time is wrong is worth a look.
"""

from datetime import UTC, datetime

OFF_SECONDS = 60.0
"""What is no cause for a warning: blocks take their time, and proposers may run ahead a little."""


def disagreement(machine: float, head: int, patience: float = 0.0) -> str:
    """Both times, if they are too far apart; empty otherwise.

    machine, head: Unix seconds of the machine's clock, and of the newest block. patience: seconds between two looks at
    the chain.
    """
    off = machine - head
    if abs(off) <= OFF_SECONDS + patience:
        return ""
    where = "ahead of" if off > 0 else "behind"
    times = f"this machine's clock says {_written(machine)}, {where} the chain's head of {_written(head)}"
    cause = ", unless the chain stands still" if off > 0 else ", unless the chain runs ahead"
    return f"{times}: set it{cause}; nothing is decided by it"


def _written(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s"
