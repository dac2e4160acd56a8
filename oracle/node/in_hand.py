"""What this node computes now, and how far it is: for its page, `/jobs` and the log.

The workshop's jobs and the searches for moves are entered here by their keys when they begin. How far they are, their
engines say (`Job.told`), from any thread. Engines elsewhere, in a fleet or on a server, tell nothing before they are
done. Nothing is decided by what stands here.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from oracle.engines.base import OnProgress
from oracle.ids import RequestId

log = structlog.get_logger()

DOING = {
    "engine": "prepares an engine",
    "output": "computes an answer",
    "verdict": "checks an answer",
    "prefill": "reads an answer for its disputes",
    "move": "looks for a move",
    "challenge": "looks for what shows an answer wrong",
}
"""By the kind that a key begins with."""
UNITS = {
    "read": "tokens of the prompt",
    "generate": "tokens",
    "check": "tokens",
    "prove": "tokens of a known answer",
    "prefill": "layers",
    "trees": "trees",
}
"""Of steps."""
FILES = ("measure", "commit", "hash", "load")
"""Steps of which the share is told."""
LOGGED_SECONDS = 10.0
"""What takes longer tells the log so often how far it is."""


@dataclass(frozen=True)
class Work:
    """One thing in hand."""

    key: str
    """Its kind, a colon, and what it is about."""
    request: RequestId | None
    """That it is about; None for an engine that is being prepared."""
    step: str = ""
    """As `OnProgress` names it; empty before the first word."""
    done: int = 0
    total: int = 0
    """Units of the step done, and in all; at least 0, and `done` at most `total`."""

    @property
    def doing(self) -> str:
        """What it is, in words."""
        return DOING[self.key.partition(":")[0]]

    @property
    def far(self) -> str:
        """How far it is, in words; empty before the first word."""
        if not self.total:
            return ""
        unit = UNITS.get(self.step)
        share = f"{100 * self.done // self.total} %"
        return f"{self.step}: {share}" if unit is None else f"{self.step}: {self.done:,} of {self.total:,} {unit}"


class InHand:
    """Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._work: dict[str, Work] = {}
        self._logged: dict[str, float] = {}

    def begin(self, key: str, request: RequestId | None = None) -> OnProgress:
        """Enters it. Returns whom to tell how far it is."""
        with self._lock:
            self._work[key] = Work(key, request)
            self._logged[key] = self._clock()

        def told(step: str, done: int, total: int) -> None:
            self._tell(key, step, done, total)

        return told

    def end(self, key: str) -> None:
        with self._lock:
            self._work.pop(key, None)
            self._logged.pop(key, None)

    def now(self) -> list[Work]:
        """The oldest first."""
        with self._lock:
            return list(self._work.values())

    def _tell(self, key: str, step: str, done: int, total: int) -> None:
        """A word that comes late, after the end, is nobody's, and one that no engine says is none."""
        with self._lock:
            work = self._work.get(key)
            if work is None or step not in (*UNITS, *FILES):
                return
            total = max(0, total)
            self._work[key] = work = replace(work, step=step, done=min(max(0, done), total), total=total)
            now = self._clock()
            if now - self._logged[key] < LOGGED_SECONDS:
                return
            self._logged[key] = now
        if work.request is not None:  # of engines, whoever prepares them tells
            request = f"0x{work.request:064x}"
            log.info("still at work", request_id=request, step=step, done=work.done, total=work.total)
