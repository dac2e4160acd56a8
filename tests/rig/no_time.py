"""Simulated time for asyncio: nothing waits, and the loop's clock jumps to whatever is due next.

A coroutine that sleeps for an hour is done at once, and `loop.time()` is an hour later. Nothing in it may wait for
threads or sockets.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _NoWait(selectors.DefaultSelector):
    """Instead of waiting, time passes."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        ready = super().select(0)
        if timeout is None and not ready:
            raise AssertionError("everything waits for something that will never happen")
        if not ready:
            self.now += timeout or 0.0
        return ready


class NoTimeLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s."""

    def __init__(self) -> None:
        self._jumping = _NoWait()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def in_no_time(work: Coroutine[Any, Any, T]) -> T:
    """Runs it."""
    loop = NoTimeLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def now() -> float:
    """Simulated seconds since the beginning."""
    return asyncio.get_running_loop().time()
