"""The follower: the events of some contracts, applied once each, and taken back when their block leaves the chain.

It stays `confirmations` blocks behind the head. Blocks that are final (`finality` blocks deep) are read in ranges;
younger ones singly, by hash, so that an endpoint on another fork or behind the head cannot answer at all. Events of a
batch and the new cursor are written in one transaction of the journal: a crash repeats a whole batch or nothing.

A reorg above the final depth is undone to the last common block; below it, the node stops: FinalityViolated. It does
not know what events mean: the handler does.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from oracle.chain.rpc import Rpc
from oracle.chain.types import Block, Log
from oracle.errors import FinalityViolated, ReorgedAway, RpcUnavailable
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import BlockRef, Journal, Tx

log = structlog.get_logger()


class Handler(Protocol):
    """Turns events into jobs. Runs inside a transaction: no waiting, no network, no signing."""

    def apply(self, tx: Tx, block: BlockRef, logs: Sequence[Log]) -> None:
        """The wanted events of one block, in order. Write with `block=block.number` so that a reorg undoes it."""

    def rolled_back(self, tx: Tx, to: BlockRef, keys: Sequence[str]) -> None:
        """The journal has undone all blocks above `to`, and the jobs `keys` with them."""


@dataclass(frozen=True)
class Progress:
    """What one poll did."""

    head: Block
    cursor: BlockRef
    applied: int
    """Events applied."""
    reorg_depth: int
    """Blocks taken back; 0 without a reorg."""
    behind: int
    """Blocks still to read until the confirmation depth."""


@dataclass(frozen=True)
class LogCounter:
    """An independent count of events, to notice those that an endpoint leaves out.

    `count` reads a number from the chain at exactly a block (say, how many requests a contract has had), or returns
    None where the endpoint has no such state; between two blocks it must grow by the number of logs that `counts`.
    """

    count: Callable[[Block], Awaitable[int | None]]
    counts: Callable[[Log], bool]


class Follower:
    """One reader of one chain, for one journal."""

    def __init__(
        self,
        rpc: Rpc,
        journal: Journal,
        handler: Handler,
        *,
        addresses: Sequence[str],
        topics: Sequence[bytes],
        start_block: int,
        confirmations: int = 2,
        finality: int = 64,
        batch: int = 500,
        counter: LogCounter | None = None,
    ) -> None:
        """addresses: contracts, checksummed. topics: first topics (event ids) that the handler wants.

        start_block: first block to read, the contracts' deployment. batch: most blocks in one read.
        """
        if not 0 <= confirmations < finality:
            raise ValueError("confirmations must be below finality")
        self._rpc = rpc
        self._journal = journal
        self._handler = handler
        self._addresses = list(addresses)
        self._topics = frozenset(topics)
        self._start = start_block
        self._confirmations = confirmations
        self._finality = finality
        self._batch = batch
        self._counter = counter
        self._counted: tuple[bytes, int] | None = None  # block hash, count there
        self._seen: bytes | None = None  # hash of a head up to which everything is applied

    async def poll(self) -> Progress:
        """Reads at most one batch. Call it again at once while `behind` > 0.

        Raises Transient errors (nothing was applied, call again) and FinalityViolated.
        """
        head = await self._rpc.head()
        cursor = await self._cursor(head)
        target, final = head.number - self._confirmations, head.number - self._finality
        behind = max(target - cursor.number, 0)
        if head.hash == self._seen and not behind:
            return Progress(head, cursor, 0, 0, behind)
        if behind == 0 or cursor.number < final:
            depth = await self._undo_reorg(cursor, head)
            if depth or behind == 0:
                self._seen = None if depth else head.hash
                return await self._progress(head, depth)
        try:
            if cursor.number < final:
                blocks, logs = await self._read_range(cursor, min(final, cursor.number + self._batch))
            else:
                blocks, logs = await self._read_singly(cursor, min(target, cursor.number + self._batch))
        except ReorgedAway:
            depth = await self._undo_reorg(cursor, head)
            if not depth:
                raise
            return await self._progress(head, depth)
        await self._check_count(cursor, blocks[-1], logs)
        await self._check_final(final)
        crashpoint("before_apply")
        self._apply(blocks, logs, final)
        if blocks[-1].number == target:
            self._seen = head.hash
        return Progress(head, _ref(blocks[-1]), len(logs), 0, target - blocks[-1].number)

    async def _progress(self, head: Block, depth: int) -> Progress:
        cursor = await self._cursor(head)
        return Progress(head, cursor, 0, depth, max(head.number - self._confirmations - cursor.number, 0))

    async def _cursor(self, head: Block) -> BlockRef:
        """The stored cursor; on the first run the block before the start."""
        with self._journal.read() as tx:
            cursor = tx.cursor()
        if cursor is not None:
            return cursor
        before = max(self._start - 1, 0)
        if before > head.number:
            raise RpcUnavailable(f"the chain has not reached block {before} yet")
        ref = _ref(await self._require(before))
        with self._journal.write() as tx:
            tx.add_block(ref)
        return ref

    async def _check_final(self, final: int) -> None:
        """Lets all endpoints confirm the block that has just become final."""
        with self._journal.read() as tx:
            ref = tx.block_at_or_below(final)
        if ref is not None:
            await self._rpc.check_final(ref.number, ref.hash)

    # -- reorgs --------------------------------------------------------------------------------------------------

    async def _undo_reorg(self, cursor: BlockRef, head: Block) -> int:
        """Compares stored hashes with the chain and rolls back to the last common block. Returns how many it undid."""
        top = cursor
        if cursor.number > head.number:  # the endpoints lag, or the chain has become shorter
            with self._journal.read() as tx:
                known = tx.block_at_or_below(head.number)
            if known is None:
                raise RpcUnavailable(f"the endpoints are behind block {cursor.number}, which this journal has seen")
            top = known
        common = top
        canonical = await self._require(common.number)
        while canonical.hash != common.hash:
            with self._journal.read() as tx:
                lower = tx.block_at_or_below(common.number - 1)
            number = common.number - 1 if lower is None else lower.number
            if cursor.number + self._confirmations - number > self._finality or number < 0:
                raise FinalityViolated(
                    f"the chain has another block {common.number} than the one applied, more than {self._finality} "
                    "blocks deep: the chain or the endpoints broke their promise. Find out which; if the new chain is "
                    "right, move the journal away and run `didyma node rebuild`"
                )
            canonical = await self._require(number)
            common = _ref(canonical) if lower is None else lower
        if common == top:
            return 0
        depth = cursor.number - common.number
        log.warning("chain reorganised", depth=depth, common_block=common.number)
        with self._journal.write() as tx:
            keys = tx.rollback(common.number)
            if tx.cursor() is None:  # the reorg went below the first block read
                tx.add_block(common)
            self._handler.rolled_back(tx, common, keys)
            crashpoint("in_rollback")
        self._seen = self._counted = None
        return depth

    # -- reading -------------------------------------------------------------------------------------------------

    async def _read_range(self, cursor: BlockRef, last_number: int) -> tuple[list[Block], list[Log]]:
        """Final blocks: one query for the logs, and the headers of the blocks that have any."""
        last = await self._require(last_number)
        await self._rpc.check_final(last.number, last.hash)
        logs = self._wanted(await self._rpc.logs_range(cursor.number + 1, last, self._addresses))
        blocks = {last.number: last}
        for entry in logs:
            if entry.block_number not in blocks:
                blocks[entry.block_number] = await self._require(entry.block_number)
            if blocks[entry.block_number].hash != entry.block_hash:
                raise ReorgedAway(f"logs of block {entry.block_number} come from another fork")
        return [blocks[number] for number in sorted(blocks)], logs

    async def _read_singly(self, cursor: BlockRef, last_number: int) -> tuple[list[Block], list[Log]]:
        """Young blocks: each must be the child of the one before, its logs are asked for by its hash."""
        blocks: list[Block] = []
        logs: list[Log] = []
        parent = cursor.hash
        for number in range(cursor.number + 1, last_number + 1):
            block = await self._require(number)
            if block.parent_hash != parent:
                raise ReorgedAway(f"block {number} is not a child of the block before it")
            logs += self._wanted(await self._rpc.logs(block, self._addresses))
            blocks.append(block)
            parent = block.hash
        return blocks, logs

    async def _require(self, number: int) -> Block:
        block = await self._rpc.block(number)
        if block is None:
            raise RpcUnavailable(f"no endpoint has block {number}")
        return block

    def _wanted(self, logs: Sequence[Log]) -> list[Log]:
        """Logs of our contracts and events, each once, in order: endpoints repeat, shuffle and invent them."""
        unique = {(entry.block_hash, entry.index): entry for entry in logs}
        wanted = [
            entry
            for entry in unique.values()
            if entry.address in self._addresses and entry.topics and entry.topics[0] in self._topics
        ]
        return sorted(wanted, key=lambda entry: (entry.block_number, entry.index))

    async def _check_count(self, cursor: BlockRef, last: Block, logs: Sequence[Log]) -> None:
        """Raises RpcUnavailable when the chain counts other events than the endpoints returned."""
        if self._counter is None:
            return
        if self._counted is None or self._counted[0] != cursor.hash:
            start = await self._rpc.block_by_hash(cursor.hash)
            before = None if start is None else await self._counter.count(start)
            self._counted = None if before is None else (cursor.hash, before)
        after = await self._counter.count(last)
        if self._counted is not None and after is not None:
            found = sum(1 for entry in logs if self._counter.counts(entry))
            if after - self._counted[1] != found:
                self._rpc.demote()
                raise RpcUnavailable(
                    f"blocks {cursor.number + 1}..{last.number}: {found} events returned, the contract counts "
                    f"{after - self._counted[1]}; asking another endpoint next"
                )
        self._counted = None if after is None else (last.hash, after)

    def _apply(self, blocks: Sequence[Block], logs: Sequence[Log], final: int) -> None:
        with self._journal.write() as tx:
            for block in blocks:
                ref = _ref(block)
                tx.add_block(ref)
                own = [entry for entry in logs if entry.block_hash == block.hash]
                if own:
                    self._handler.apply(tx, ref, own)
            tx.prune(final - 1)
            crashpoint("in_apply")
        crashpoint("after_apply")


def _ref(block: Block) -> BlockRef:
    return BlockRef(block.number, block.hash, block.timestamp)
