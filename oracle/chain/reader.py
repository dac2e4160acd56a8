"""The one way in which blocks and logs of some contracts are read, and what is doubted of them.

History is read in ranges, of which two endpoints tell if there are two; blocks in which they differ are read singly.
Young blocks are read singly, by hash, many at once. No logs are believed at once where something speaks against it:
the block's bloom filter, or another endpoint. All endpoints are asked then, and the block's receipts, another index of
theirs. What nobody settles is a doubt: it is told, the block is asked for again at later heads, and only after some
blocks it is taken for what a bloom filter is allowed to be, wrong.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog

from oracle.chain.rpc import Rpc
from oracle.chain.spans import Width, in_spans
from oracle.chain.types import Block, Log
from oracle.errors import ReorgedAway, RpcUnavailable

log = structlog.get_logger()

AT_ONCE = 16
"""Young blocks on their way."""
DOUBT_BLOCKS = 5
"""Heads for which a block's missing logs are asked for again."""


@dataclass(frozen=True)
class Piece:
    """What was read of some blocks."""

    last: Block
    blocks: list[Block]
    """Those of young blocks, all; of a range, those with wanted logs, and the last."""
    logs: list[Log]
    """The wanted ones, each once, in order."""


class Reader:
    """Reads blocks and the logs of some contracts. Remembers what endpoints serve and what is doubted."""

    def __init__(
        self, rpc: Rpc, addresses: Sequence[str], topics: Sequence[bytes], *, width: Width | None = None
    ) -> None:
        """addresses: contracts, checksummed. topics: first topics (event ids) that are wanted."""
        self._rpc = rpc
        self._addresses = list(addresses)
        self._topics = frozenset(topics)
        self._width = width or Width()
        self._doubted: dict[bytes, int] = {}
        """Block hash, and the head at which its missing logs were first doubted."""
        self._fills_blooms: bool | None = None
        """Whether blocks of this chain say in their bloom filters who logged; None before anybody did."""
        self.doubt = ""
        """What could not be settled at the last reading; empty if nothing."""

    async def history(
        self, first: int, last: int, on_progress: Callable[[int, int], None] = lambda done, of: None
    ) -> AsyncIterator[Piece]:
        """Final blocks `first` to `last`, in pieces, in order. on_progress: blocks read, of how many.

        Raises ReorgedAway, RpcUnavailable; RpcRefused where no endpoint gives even one block's logs.
        """
        async for end, piece in in_spans(self._span, first, last, self._width):
            on_progress(end - first + 1, last - first + 1)
            yield piece

    async def young(self, parent: bytes, first: int, last: int, head: Block) -> list[tuple[Block, list[Log]]]:
        """Blocks `first` to `last` and their wanted logs, each the child of the one before; fewer where endpoints do
        not have them all, or one is doubted. Raises ReorgedAway, RpcUnavailable."""
        self.doubt = ""
        found: list[tuple[Block, list[Log]]] = []
        for start in range(first, last + 1, AT_ONCE):
            numbers = range(start, min(last, start + AT_ONCE - 1) + 1)
            blocks = []
            for block in await asyncio.gather(*map(self._rpc.block, numbers)):
                if block is None:
                    break
                if block.parent_hash != parent:
                    raise ReorgedAway(f"block {block.number} is not a child of the block before it")
                blocks.append(block)
                parent = block.hash
            logs = await asyncio.gather(*(self._logs_of(block, head) for block in blocks))
            for block, own in zip(blocks, logs, strict=True):
                if own is None:
                    return found
                found.append((block, own))
            if len(blocks) < len(numbers):
                break
        if not found:
            raise RpcUnavailable(f"no endpoint has block {first}")
        return found

    def wanted(self, logs: Sequence[Log]) -> list[Log]:
        """Logs of our contracts and events, each once, in order: endpoints repeat, shuffle and invent them."""
        unique = {(entry.block_hash, entry.index): entry for entry in logs}
        wanted = [
            entry
            for entry in unique.values()
            if entry.address in self._addresses and entry.topics and entry.topics[0] in self._topics
        ]
        return sorted(wanted, key=lambda entry: (entry.block_number, entry.index))

    # -- ranges --------------------------------------------------------------------------------------------------

    async def _span(self, first: int, last_number: int) -> Piece:
        last = await self._require(last_number)
        said = [self.wanted(logs) for logs in await self._rpc.logs_range(first, last, self._addresses)]
        logs = self.wanted([entry for each in said for entry in each])
        disputed = sorted({e.block_number for e in logs for each in said if e not in each})
        numbers = sorted({entry.block_number for entry in logs} - {last.number})
        blocks = [*await asyncio.gather(*map(self._require, numbers)), last]
        if disputed:
            log.warning("endpoints give different logs", blocks=len(disputed), first=disputed[0])
            named = {block.number: block for block in blocks}
            again = await asyncio.gather(*(self._logs_of(named[number], None) for number in disputed))
            logs = [entry for entry in logs if entry.block_number not in disputed]
            logs = self.wanted([*logs, *(entry for each in again for entry in each or ())])
        hashes = {block.number: block.hash for block in blocks}
        if any(hashes[entry.block_number] != entry.block_hash for entry in logs):
            raise ReorgedAway(f"logs of blocks {first} to {last.number} come from another fork")
        for block in blocks:
            self._learn(block, [entry for entry in logs if entry.block_number == block.number])
        return Piece(last, blocks, logs)

    async def _require(self, number: int) -> Block:
        block = await self._rpc.block(number)
        if block is None:
            raise RpcUnavailable(f"no endpoint has block {number}")
        return block

    # -- single blocks -------------------------------------------------------------------------------------------

    async def _logs_of(self, block: Block, head: Block | None) -> list[Log] | None:
        """The wanted logs of a block; None while it is doubted that there are none. head: None to believe it now."""
        suspect = self._may_log(block) or self._fills_blooms is False
        said = await self._rpc.logs(block, self._addresses, everywhere=suspect)
        logs = self.wanted([entry for each in said for entry in each])
        self._learn(block, logs)
        if logs or not suspect:
            self._doubted.pop(block.hash, None)
            return logs
        shown = await self._rpc.logs_by_receipts(block)
        if shown is not None:
            self._doubted.pop(block.hash, None)
            found = self.wanted(shown)
            if found:
                log.warning("endpoints leave logs out", block=block.number, logs=len(found))
            return found
        if head is None or self._fills_blooms is False:
            return []
        since = self._doubted.setdefault(block.hash, head.number)
        if head.number - since >= DOUBT_BLOCKS:
            del self._doubted[block.hash]
            log.warning("bloom filter not borne out", block=block.number)
            return []
        self.doubt = self.doubt or (
            f"block {block.number}: its bloom filter says that there may be logs of ours, and no endpoint shows any; "
            f"asking until block {since + DOUBT_BLOCKS}"
        )
        return None

    def _may_log(self, block: Block) -> bool:
        return block.may_have(self._addresses, self._topics)

    def _learn(self, block: Block, logs: Sequence[Log]) -> None:
        """Whether blooms say who logged, by a block that somebody did log in."""
        if logs:
            self._fills_blooms = self._may_log(block)
