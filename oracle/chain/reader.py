"""The one way in which blocks and logs of some contracts are read, and what is doubted of them.

History is read in ranges, from two endpoints if there are two; blocks in which they differ are read singly. Young
blocks are read singly, many at once, as ancestors of a head that counts (see `heads.py`); their logs by hash.

What is contradicted is not believed at once. A block's bloom filter, or another endpoint, may contradict that the block
has no logs: then all endpoints are asked, and the block's receipts, which are another index. The bloom filter, or an
endpoint that does not show it, may contradict a log: then the log is believed if two endpoints show it, in logs or
receipts. What nobody settles is a doubt: the reader reports it, and asks for the block again at later heads. After some
blocks it gives the doubt up: it takes the bloom filter for wrong, and believes a log that only one endpoint shows,
unless two others have the block and do not show it. Where nobody had the receipts either, it goes on asking (`late`).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog

from oracle.chain.rpc import Rpc
from oracle.chain.spans import Width, in_spans
from oracle.chain.types import Block, Log
from oracle.chain.unseen import Unseen
from oracle.errors import Doubtful, ReorgedAway, RpcUnavailable

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
        """Block hash, and the head at which its logs were first doubted."""
        self._known: dict[int, Block] = {}
        """Young blocks that are ancestors of the last head, and it."""
        self._proves_blooms = False
        """Whether headers of this chain hash to its block hashes: a bloom filter without that is nobody's but its
        endpoint's."""
        self._fills_blooms: bool | None = None
        """Whether blocks of this chain say in their bloom filters who logged; None before anything says so."""
        self._unseen = Unseen()
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
        """Blocks `first` to `last` and their wanted logs, ancestors of `head`; fewer where one is doubted.

        Raises ReorgedAway if the first is not a child of `parent`; RpcUnavailable.
        """
        self.doubt = ""
        ancestors = await self._ancestors(first, head)
        if ancestors[0].parent_hash != parent:
            raise ReorgedAway(f"block {first} is not a child of the block before it")
        found: list[tuple[Block, list[Log]]] = []
        blocks = ancestors[: last - first + 1]
        for block in blocks:
            self._look(block)
        for start in range(0, len(blocks), AT_ONCE):
            part = blocks[start : start + AT_ONCE]
            logs = await asyncio.gather(*(self._logs_of(block, head) for block in part))
            for block, own in zip(part, logs, strict=True):
                if own is None:
                    return found
                found.append((block, own))
        return found

    async def late(self, head: Block) -> int | None:
        """The number of a block that was read as empty and of which somebody shows logs of ours by now.

        Raises RpcUnavailable.
        """
        for block in self._unseen.due(head.number):
            try:
                shown = await self._rpc.logs(block, self._addresses, everywhere=True)
            except ReorgedAway:
                self._unseen.forget(block)
                continue
            receipts = await self._rpc.logs_by_receipts(block)
            is_late = any(map(self.wanted, (*shown.values(), *receipts.values())))
            if is_late or receipts:
                self._unseen.forget(block)
            else:
                self._unseen.still(block, head.number)
            if is_late:
                return block.number
        return None

    async def _ancestors(self, first: int, head: Block) -> list[Block]:
        """Blocks `first` to `head`, each the child of the one before. They are kept: heads become ancestors.

        Raises RpcUnavailable if no endpoint has one that belongs there.
        """
        known = {number: block for number, block in self._known.items() if number >= first} | {head.number: head}
        missing = [number for number in range(first, head.number) if number not in known]
        for start in range(0, len(missing), AT_ONCE):
            found = await asyncio.gather(*map(self._rpc.block, missing[start : start + AT_ONCE]))
            known |= {block.number: block for block in found if block is not None}
        for number in range(head.number - 1, first - 1, -1):
            wanted = known[number + 1].parent_hash
            if number not in known or known[number].hash != wanted:
                block = await self._rpc.block_by_hash(wanted)
                if block is None or (block.number, block.hash) != (number, wanted):
                    self._known.clear()
                    raise RpcUnavailable(f"no endpoint has block {number}, 0x{wanted.hex()}")
                known[number] = block
        self._known = {number: known[number] for number in range(first, head.number + 1)}
        return list(self._known.values())

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
        if len(said) < 2:
            await self._rpc.check_final(last.number, last.hash)
        logs = self.wanted([entry for each in said for entry in each])
        numbers = sorted({entry.block_number for entry in logs} - {last.number})
        blocks = [*await asyncio.gather(*map(self._require, numbers)), last]
        for block in blocks:
            self._look(block)
        named = {block.number: block for block in blocks}
        differ = {entry.block_number for entry in logs for each in said if entry not in each}
        disputed = sorted(differ | {e.block_number for e in logs if self._is_odd(named[e.block_number], e)})
        if disputed:
            log.warning("endpoints give different logs", blocks=len(disputed), first=disputed[0])
            for number in disputed:
                await self._rpc.check_final(number, named[number].hash)
            again = await asyncio.gather(*(self._logs_of(named[number], None) for number in disputed))
            logs = [entry for entry in logs if entry.block_number not in disputed]
            logs = self.wanted([*logs, *(entry for each in again for entry in each or ())])
        if any(named[entry.block_number].hash != entry.block_hash for entry in logs):
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
        """The wanted logs of a block; None while they are doubted. head: None to settle doubts now. Raises Doubtful if
        they must be settled now and endpoints contradict each other.
        """
        logs = await self._told_of(block, head)
        if logs is not None:
            self._doubted.pop(block.hash, None)
        return logs

    async def _told_of(self, block: Block, head: Block | None) -> list[Log] | None:
        self._look(block)
        is_unproven = self._proves_blooms and not block.is_hashed
        suspect = self._may_log(block) or self._fills_blooms is False or is_unproven
        said = await self._rpc.logs(block, self._addresses, everywhere=suspect)
        if not suspect and any(map(self.wanted, said.values())):
            said = await self._rpc.logs(block, self._addresses, everywhere=True)
        shown = {endpoint: self.wanted(logs) for endpoint, logs in said.items()}
        logs = await self._settled(block, shown, head)
        if logs is None:
            return None
        self._learn(block, logs)
        if logs or not (self._may_log(block) or self._fills_blooms is False):
            return logs
        by_receipts = await self._rpc.logs_by_receipts(block)
        if any(map(self.wanted, by_receipts.values())):
            by_receipts = await self._rpc.logs_by_receipts(block, everywhere=True)
        if by_receipts:
            nothing: dict[int, list[Log]] = {endpoint: [] for endpoint in said}
            shown = nothing | {endpoint: self.wanted(logs) for endpoint, logs in by_receipts.items()}
            found = await self._settled(block, shown, head)
            if found:
                log.warning("endpoints leave logs out", block=block.number, logs=len(found))
            return found
        if head is None or self._fills_blooms is False:
            return []
        why = "its bloom filter says that there may be logs of ours, and no endpoint shows any"
        if self._is_doubted(block, head, why):
            return None
        log.warning("bloom filter not borne out", block=block.number)
        if not by_receipts:
            self._unseen.add(block, head.number)
        return []

    async def _settled(self, block: Block, shown: dict[int, list[Log]], head: Block | None) -> list[Log] | None:
        """Logs that can be believed, of those that each endpoint shows; None while they are doubted.

        Raises Doubtful.
        """
        logs = await self._borne_out(block, shown)
        return self._in_the_end(block, shown, head) if logs is None else logs

    def _in_the_end(self, block: Block, shown: dict[int, list[Log]], head: Block | None) -> list[Log] | None:
        """What is believed of logs about which endpoints contradict each other, once they were asked for some blocks.

        None before, and where they show one log with two contents: time tells nothing of that. Then it raises Doubtful
        where there is no head.
        """
        possible = [e for e in dict.fromkeys(e for each in shown.values() for e in each) if not self._is_odd(block, e)]
        why, is_two = "endpoints contradict each other about logs of ours", False
        if len({entry.index for entry in possible}) < len(possible):
            why, is_two = "endpoints show a log of ours with different contents; find out which is right", True
        if head is None:
            since = self._doubted[block.hash] = self._doubted.get(block.hash, -1) + 1
            if since < DOUBT_BLOCKS or is_two:
                raise Doubtful(f"block {block.number}: {why}; asking again")
        elif is_two:
            self.doubt = self.doubt or f"block {block.number}: {why}, and take the other one out"
            return None
        elif self._is_doubted(block, head, why):
            return None
        self._doubted.pop(block.hash, None)
        believed = [entry for entry in possible if not self._is_outvoted(entry, shown)]
        log.warning("settled what endpoints show", block=block.number, logs=len(possible), believed=len(believed))
        return self.wanted(believed)

    def _is_outvoted(self, entry: Log, shown: dict[int, list[Log]]) -> bool:
        """Whether two endpoints or more do not show what one does, which then lies."""
        voices = [endpoint for endpoint, logs in shown.items() if entry in logs]
        if len(voices) > 1 or len(shown) < 3:
            return False
        for endpoint in voices:
            self._rpc.lied(endpoint, "invented")
        return True

    def _is_doubted(self, block: Block, head: Block, why: str) -> bool:
        """Notes a doubt. False once it is old enough to be given up."""
        since = self._doubted.setdefault(block.hash, head.number)
        if head.number - since >= DOUBT_BLOCKS:
            return False
        self.doubt = self.doubt or f"block {block.number}: {why}; asking until block {since + DOUBT_BLOCKS}"
        return True

    async def _borne_out(self, block: Block, shown: dict[int, list[Log]]) -> list[Log] | None:
        """Logs that can be believed, of those that each endpoint shows; None where no two agree about one."""
        believed = []
        said = Counter(e for each in shown.values() for e in each)
        most = {entry.index: times for entry, times in reversed(said.most_common())}
        for entry in said:
            voices = {endpoint for endpoint, logs in shown.items() if entry in logs}
            if len(voices) == 1 < most[entry.index]:  # two say that it is another
                for endpoint in voices:
                    self._rpc.lied(endpoint, "invented")
                continue
            if self._is_odd(block, entry) and (block.is_hashed or len(voices) == 1):
                log.warning("endpoints invent logs", block=block.number, endpoints=sorted(voices))
                for endpoint in voices:
                    self._rpc.lied(endpoint, "invented")
                continue
            if len(voices) == 1 and len(shown) > 1:
                receipts = await self._rpc.receipts(entry.tx_hash)
                if not any(entry in receipt.logs for e, receipt in receipts.items() if e not in voices):
                    return None
            believed.append(entry)
            for endpoint in shown.keys() - voices:
                self._rpc.lied(endpoint, "incomplete")
        return self.wanted(believed)

    def _is_odd(self, block: Block, entry: Log) -> bool:
        """Whether the bloom filter says that this is no log of the block. One that is all empty says nothing on chains
        that do not fill it."""
        return not block.can_hold(entry) and (any(block.bloom) or bool(self._fills_blooms))

    def _may_log(self, block: Block) -> bool:
        return block.may_have(self._addresses, self._topics)

    def _look(self, block: Block) -> None:
        """What a block says of this chain's headers."""
        self._proves_blooms |= block.is_hashed
        if any(block.bloom):
            self._fills_blooms = True

    def _learn(self, block: Block, logs: Sequence[Log]) -> None:
        """Blooms do not say who logged if that of a block with logs is empty."""
        if logs and not any(block.bloom):
            self._fills_blooms = False
