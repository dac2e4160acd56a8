"""The follower: the events of some contracts, applied once each, and taken back when their block leaves the chain.

It stays `confirmations` blocks behind the head. Blocks that are final (`finality` blocks deep) are read in ranges;
younger ones singly, by hash, so that an endpoint on another fork or behind the head cannot answer at all. Events of a
batch and the new cursor are written in one transaction of the journal: a crash repeats a whole batch or nothing.

A reorg above the final depth is undone to the last common block; below it, the node stops: FinalityViolated. It does
not know what events mean: the handler does; nor how logs are read: see `reader.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from oracle.chain.reader import AT_ONCE, Reader
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block, Log
from oracle.errors import Doubtful, FinalityViolated, ReorgedAway, RpcUnavailable
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import BlockRef, Journal, Tx

log = structlog.get_logger()

LONG_HISTORY = 5_000
"""Blocks whose reading is told in tenths."""


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
    applied: int = 0
    """Events applied."""
    reorg_depth: int = 0
    """Blocks taken back; 0 without a reorg."""
    behind: int = 0
    """Blocks still to read until the confirmation depth of `head`: because of a doubt, or told to stop."""
    doubt: str = ""
    """Why it does not read on."""


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
        on_progress: Callable[[int, int], None] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """addresses: contracts, checksummed. topics: first topics (event ids) that the handler wants.

        start_block: first block to read, the contracts' deployment. on_progress: blocks read of a long history, of how
        many; logged in tenths by default. stopping: whether to end a long reading before its end.
        """
        if not 0 <= confirmations < finality:
            raise ValueError("confirmations must be below finality")
        self._rpc = rpc
        self._journal = journal
        self._handler = handler
        self._reader = Reader(rpc, addresses, topics)
        self._start = start_block
        self._confirmations = confirmations
        self._finality = finality
        self._on_progress = on_progress or self._say
        self._stopping = stopping
        self._seen: bytes | None = None  # hash of a head up to which everything is applied
        self._told = 0  # tenths of the history being read
        self.left = 0
        """Blocks still to read in the history being read."""

    async def poll(self) -> Progress:
        """Reads on to the confirmation depth of the head; what came meanwhile, too, until that is a few blocks.

        Raises Transient errors (what was applied stays, call again) and FinalityViolated.
        """
        applied = depth = 0
        before: int | None = None
        while True:
            head = await self._rpc.head()
            start = await self._cursor(head)
            part = await self._towards(head, start)
            applied, depth = applied + part.applied, max(depth, part.reorg_depth)
            read = part.cursor.number - start.number
            is_near = not part.reorg_depth and read <= AT_ONCE
            if is_near or part.behind or self._stopping() or (before is not None and read >= before):
                return replace(part, applied=applied, reorg_depth=depth)
            before = None if part.reorg_depth else read

    async def late(self, head: Block) -> int | None:
        """See `Reader.late`."""
        return await self._reader.late(head)

    async def _towards(self, head: Block, cursor: BlockRef) -> Progress:
        """One pass, to the confirmation depth of `head`."""
        target, final = head.number - self._confirmations, head.number - self._finality
        behind = max(target - cursor.number, 0)
        if head.hash == self._seen and not behind:
            return Progress(head, cursor)
        if behind == 0 or cursor.number < final:
            depth = await self._undo_reorg(cursor, head)
            if depth or behind == 0:
                self._seen = None if depth else head.hash
                return Progress(head, await self._cursor(head), reorg_depth=depth)
        applied, start = 0, cursor
        try:
            if cursor.number < final:
                cursor, applied = await self._read_history(cursor, final)
            while cursor.number < target and not self._stopping():
                cursor, events = await self._read_young(cursor, min(target, cursor.number + 4 * AT_ONCE), head, final)
                applied += events
                if self._reader.doubt:
                    break
        except ReorgedAway:
            with self._journal.read() as tx:
                cursor = tx.cursor() or start
            depth = await self._undo_reorg(cursor, head)
            if not depth:
                raise
            return Progress(head, await self._cursor(head), reorg_depth=depth)
        if cursor.number == target:
            self._seen = head.hash
        return Progress(head, cursor, applied, 0, target - cursor.number, self._reader.doubt)

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
                if common.hash in await self._rpc.hashes_at(common.number):
                    raise Doubtful(
                        f"endpoints disagree on final block {common.number}: find out which is right, and take the "
                        "other one out"
                    )
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
        self._seen = None
        return depth

    # -- reading -------------------------------------------------------------------------------------------------

    async def _read_history(self, cursor: BlockRef, final: int) -> tuple[BlockRef, int]:
        """Final blocks, up to number `final`. Returns the new cursor and the number of events."""
        last = await self._require(final)
        await self._rpc.check_final(last.number, last.hash)
        applied, start = 0, cursor.number
        try:
            async for piece in self._reader.history(start + 1, final):
                crashpoint("before_apply")
                self._apply(piece.blocks, piece.logs, final)
                cursor, applied = _ref(piece.last), applied + len(piece.logs)
                self.left = final - cursor.number
                if final - start > LONG_HISTORY:
                    self._on_progress(cursor.number - start, final - start)
                if self._stopping():
                    break
        finally:
            self.left = 0
        return cursor, applied

    async def _read_young(self, cursor: BlockRef, last: int, head: Block, final: int) -> tuple[BlockRef, int]:
        """Blocks that may still be replaced, up to number `last`, or a doubted one. Returns as `_read_history`."""
        found = await self._reader.young(cursor.hash, cursor.number + 1, last, head)
        if not found:
            return cursor, 0
        await self._check_final(final)
        crashpoint("before_apply")
        logs = [entry for _, own in found for entry in own]
        self._apply([block for block, _ in found], logs, final)
        return _ref(found[-1][0]), len(logs)

    async def _require(self, number: int) -> Block:
        block = await self._rpc.block(number)
        if block is None:
            raise RpcUnavailable(f"no endpoint has block {number}")
        return block

    def _say(self, done: int, of: int) -> None:
        """Each tenth once."""
        tenth = 10 * done // of
        if tenth != self._told:
            self._told = tenth
            log.info("reading the chain", blocks=done, of=of)

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
