"""Which head counts: the highest block that two endpoints have.

One endpoint alone can invent any chain. What only one has waits until another has it, too. An endpoint that stands
still while others go on, or that has fallen behind what was agreed, is left out: it would hold the node up. Where no
other answers, one endpoint's word counts.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from oracle.chain.types import Block
from oracle.errors import Doubtful

STILL_SECONDS = 60.0
"""Without a new block, while others go on: it is left out."""
DEEPEST_FORK = 8
"""Blocks below the lowest head in which two endpoints must agree."""

Ask = Callable[[int, int], Awaitable[Block | None]]
"""An endpoint's block of a height; None where it has none."""


class Heads:
    """What endpoints, by their numbers, have said of their heads."""

    def __init__(self, max_lag: int, clock: Callable[[], float]) -> None:
        """max_lag: blocks behind the best for which an endpoint is never left out. clock: in seconds."""
        self._max_lag = max_lag
        self._clock = clock
        self._agreed = 0
        self._since: dict[int, tuple[bytes, float]] = {}  # an endpoint's head, and when it first said so
        self.waiting = ""
        """Which blocks nobody confirms; empty if nobody is far ahead of what counts."""

    async def agreed(self, said: Sequence[tuple[int, Block]], ask: Ask) -> Block:
        """said: heads by endpoint, at least one. Raises Doubtful if no two endpoints agree."""
        now = self._clock()
        for endpoint, block in said:
            if self._since.get(endpoint, (b"", now))[0] != block.hash:
                self._since[endpoint] = block.hash, now
        first, best = max(said, key=lambda each: each[1].number)
        voices = [(endpoint, block) for endpoint, block in said if not self._is_left_out(endpoint, block, best)]
        if len(voices) == 1:
            self.waiting = ""
            return voices[0][1]
        found = await _common(sorted(voices, key=lambda each: -each[1].number), ask)
        self._agreed = found.number
        self.waiting = ""
        if best.number - found.number > self._max_lag:
            self.waiting = (
                f"endpoint {first} has block {best.number}, no other confirms it; block {found.number} counts"
            )
        return found

    def _is_left_out(self, endpoint: int, block: Block, best: Block) -> bool:
        if best.number - block.number <= self._max_lag:
            return False
        is_still = self._clock() - self._since.get(endpoint, (b"", self._clock()))[1] >= STILL_SECONDS
        return is_still or block.number + self._max_lag < self._agreed


async def _common(voices: Sequence[tuple[int, Block]], ask: Ask) -> Block:
    """The highest block that two have. voices: highest first."""
    for place, (_, block) in enumerate(voices):
        if any(block.hash in (higher.hash, higher.parent_hash) for _, higher in voices[:place]):
            return block
    for place, (_, block) in enumerate(voices):
        for endpoint, higher in voices[:place]:
            own = await ask(endpoint, block.number) if higher.number > block.number else higher
            if own is not None and own.hash == block.hash:
                return block
    lowest = voices[-1][1].number
    for number in range(lowest - 1, max(lowest - 1 - DEEPEST_FORK, -1), -1):
        blocks = await asyncio.gather(*(ask(endpoint, number) for endpoint, _ in voices))
        counted = Counter(block.hash for block in blocks if block is not None)
        for each in blocks:
            if each is not None and counted[each.hash] > 1:
                return each
    raise Doubtful(
        f"endpoints disagree on all blocks from {max(lowest - DEEPEST_FORK, 0)} to {lowest}: find out which is right, "
        "and take the other one out"
    )
