"""Blocks that were read as empty although their bloom filter speaks of our logs, and nobody had their receipts.

A bloom filter may be wrong, so such a block holds nobody up for long. But a provider's indexes may stand still for
hours, and a request that stands in such a block must not be lost: the block is asked for again, less and less often.
It does not know how blocks are asked for; a node that is started anew has forgotten them.
"""

from dataclasses import dataclass

from oracle.chain.types import Block

FIRST_PAUSE, LAST_PAUSE = 5, 1_280  # blocks; twice as long each time, some eight hours of 12-second blocks in all
MOST = 1_000
"""Blocks that are remembered, the latest."""


@dataclass(frozen=True)
class _Waiting:
    block: Block
    ask_at: int
    """Head."""
    pause: int


class Unseen:
    """Those blocks, and when to ask for them."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Waiting] = {}

    def add(self, block: Block, head: int) -> None:
        """At this head it was read as empty."""
        self._waiting[block.hash] = _Waiting(block, head + FIRST_PAUSE, FIRST_PAUSE)
        while len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]

    def due(self, head: int) -> list[Block]:
        """Those to ask for at this head."""
        return [each.block for each in self._waiting.values() if head >= each.ask_at]

    def forget(self, block: Block) -> None:
        """It is settled, or gone."""
        self._waiting.pop(block.hash, None)

    def still(self, block: Block, head: int) -> None:
        """Nobody shows it at this head either."""
        pause = 2 * self._waiting[block.hash].pause
        if pause > LAST_PAUSE:
            self.forget(block)
        else:
            self._waiting[block.hash] = _Waiting(block, head + pause, pause)
