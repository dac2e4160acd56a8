"""Reading a long range of blocks in spans that endpoints serve, several on their way, in order.

Endpoints limit what one call may ask for: 10, 100, 500, 2,000 blocks, 10,000 results, some seconds. None says so in a
way that all share, so after a refusal spans are halved, and they grow again, less eagerly after each refusal. The
node and the client read with this; it knows neither of endpoints nor of logs.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from oracle.errors import RpcRefused

T = TypeVar("T")

AT_ONCE = 8
"""Spans on their way."""
FIRST_WIDTH, MOST_WIDTH = 2_000, 1 << 20
FIRST_PATIENCE, MOST_PATIENCE = 4, 1 << 12


class Width:
    """How many blocks to ask for at once; remembered from one reading to the next."""

    def __init__(self, blocks: int = FIRST_WIDTH) -> None:
        self.blocks = blocks
        self._refused = MOST_WIDTH + 1
        """The shortest span that was refused."""
        self._served = 0
        self._patience = FIRST_PATIENCE
        """Spans served in a row before a longer one is tried."""

    def refused(self, blocks: int) -> None:
        """A span of so many blocks was too much."""
        self._refused = min(self._refused, blocks)
        self.blocks = max(1, min(self.blocks, blocks // 2))
        self._served = 0

    def served(self, blocks: int) -> None:
        """A span of so many blocks was given."""
        if blocks < self.blocks:
            return
        self._served += 1
        if self._served < self._patience:
            return
        self._served = 0
        if 2 * self.blocks >= self._refused:  # it was refused before: the limit may have been of results
            self._patience = min(2 * self._patience, MOST_PATIENCE)
            self._refused = MOST_WIDTH + 1
        self.blocks = min(2 * self.blocks, MOST_WIDTH)


async def in_spans(
    ask: Callable[[int, int], Awaitable[T]], first: int, last: int, width: Width
) -> AsyncIterator[tuple[int, T]]:
    """Each span's last block and what `ask` gives of the span, in order, for blocks `first` to `last`, both included.

    Raises as `ask`; RpcRefused only for a span of one block.
    """
    on_the_way: deque[tuple[int, int, asyncio.Task[T]]] = deque()

    def give_up() -> None:
        for _, _, task in on_the_way:
            task.cancel()
        on_the_way.clear()

    try:
        while on_the_way or first <= last:
            while first <= last and len(on_the_way) < AT_ONCE:
                end = min(last, first + width.blocks - 1)
                on_the_way.append((first, end, asyncio.create_task(_awaited(ask, first, end))))
                first = end + 1
            start, end, task = on_the_way.popleft()
            try:
                found = await task
            except RpcRefused:
                if start == end:
                    raise
                width.refused(end - start + 1)
                give_up()  # those after it are too long as well
                first = start
                continue
            width.served(end - start + 1)
            yield end, found
    finally:
        give_up()


async def _awaited(ask: Callable[[int, int], Awaitable[T]], start: int, end: int) -> T:
    return await ask(start, end)
