"""Kills at crash points inside this process: an exception that nothing of the node catches stands for SIGKILL.

What is open is closed for the dead process, as the kernel does; what it had not committed is lost. The real signal, and
a process of its own, are tested in e2e/test_crash.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

from oracle.journal import crashpoints


class Killed(BaseException):
    """The process is gone."""


class Deaths:
    """Says where the next death is."""

    def __init__(self) -> None:
        self.environ: dict[str, str] = {}
        self.struck: list[str] = []
        """Points at which the node died."""

    def plan(self, point: str, nth: int = 1) -> None:
        """The nth pass of `point` from now on is the last of this life."""
        crashpoints._passes.clear()
        self.environ["DIDYMA_CRASH_AT"] = f"{point}:{nth}"

    def forget(self) -> None:
        """Nobody dies."""
        self.environ.clear()

    def kill(self, _pid: int, _signal: int) -> None:
        """In place of `os.kill`."""
        self.struck.append(self.environ.pop("DIDYMA_CRASH_AT").partition(":")[0])
        raise Killed


@contextmanager
def deaths() -> Iterator[Deaths]:
    """Crash points raise `Killed` meanwhile."""
    made, real = Deaths(), crashpoints.os
    crashpoints.os = SimpleNamespace(environ=made.environ, kill=made.kill, getpid=real.getpid)  # type: ignore[assignment]
    try:
        yield made
    finally:
        crashpoints.os = real
        crashpoints._passes.clear()  # else a process forked by a later test would begin with passes behind it
