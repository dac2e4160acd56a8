"""The confirmer: what became of a key's transactions.

Only receipts, blocks, and the account's nonce at a named block count. A transaction is mined, failed, final, or thrown
out again by a reorganisation; or another wallet used its nonce. Each change goes into the journal.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any

import structlog

from oracle.chain.places import Places
from oracle.chain.rpc import Rpc
from oracle.chain.sender_types import OUT_OF_GAS, Report, SenderSettings
from oracle.chain.simulator import Simulator
from oracle.chain.spent import spenders
from oracle.chain.types import Block, Receipt
from oracle.errors import FinalityViolated, ForeignTransaction, RpcUnavailable
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import Journal
from oracle.journal.outbox import Attempt, IntentRow, NonceRow, Outbox

log = structlog.get_logger()

AT_ONCE = 8
"""Most questions about transactions on their way to an endpoint."""
ALL_GAS_PERCENT = 98
"""Of its gas limit, from which on a failed transaction ran out of gas: calls within it keep a 64th back."""


class Confirmer:
    """The confirmer of one key."""

    def __init__(
        self, rpc: Rpc, journal: Journal, address: str, settings: SenderSettings, simulator: Simulator, places: Places
    ) -> None:
        """places: told of each transaction that was mined."""
        self._rpc = rpc
        self._journal = journal
        self.address = address
        self._settings = settings
        self._simulator = simulator
        self._places = places
        self._must_look = True  # at all that is mined and not final: after a start, and after a reorganisation
        self._last_head: Block | None = None
        self._strange: dict[int, int] = {}  # nonce that another wallet used: chain time when first seen
        self._strangers_since: int | None = None
        self._pending_at_start: int | None = None  # with an empty journal: next nonce when it was first looked at
        self._blocks: dict[int, asyncio.Task[Block | None]] = {}  # by number: asked for at this head
        self._nonces: asyncio.Task[list[int]] | None = None  # of all endpoints at this head

    def reorganised(self) -> None:
        """The chain has other blocks than before: the next look is at every transaction that is not final."""
        self._must_look = True

    async def look_back(self, head: Block) -> None:
        """Notes whether the last head is an ancestor of this one: nothing else notices when the youngest blocks are
        replaced."""
        last = self._last_head
        if last is not None and head.hash != last.hash:
            if head.number > last.number + 1:
                same = await self._rpc.block(last.number)
                goes_on = same is not None and same.hash == last.hash
            else:
                goes_on = head.parent_hash == last.hash
            self._must_look |= not goes_on
        self._last_head = head

    async def used(self, head: Block) -> int:
        """How many nonces are used up to this head: one endpoint's word, unless it contradicts what is final."""
        used = await self._rpc.nonce(self.address, head)
        with self._journal.read() as tx:
            final = Outbox(tx, self.address).highest_final()
        if final is None or used > final.nonce:
            return used
        if head.number < final.seen_at:
            raise RpcUnavailable(f"the endpoints are behind block {final.seen_at}, which this journal has seen")
        others = [said for said in await self._rpc.nonces(self.address, head) if said > final.nonce]
        if not others:
            raise FinalityViolated(f"transaction {final.nonce} of {self.address} was final and is no longer mined")
        log.warning("an endpoint contradicts what is final", nonce=final.nonce, said=used, others=others)
        return min(others)

    async def confirm(self, head: Block, used: int, report: Report) -> None:
        """Compares nonce rows with the account's nonce and receipts."""
        self._blocks, self._nonces = {}, None
        with self._journal.read() as tx:
            outbox = Outbox(tx, self.address)
            span, lowest, is_idle = outbox.nonce_range(), outbox.lowest(), not outbox.keys("planned")
            rows = outbox.nonces("open", "mined") if self._must_look else self._due(outbox, head, used)
        if span is None or lowest is None:
            if not is_idle or self._pending_at_start is None or used > self._pending_at_start:
                await self._adopt(head, used, report)
            return
        low, high = span
        self._strange = {nonce: since for nonce, since in self._strange.items() if nonce < used}
        if used > high + 1:
            await self._identify(high + 1, [], head, report)
        if used < low and head.number >= lowest.seen_at:
            self._fill(low, used, head)
            return  # the new rows are pushed in this tick, confirmed in the next
        await _all(self._confirm_used(row, head, report) for row in rows if row.nonce < used)
        for row in rows:
            if row.nonce >= used and row.state == "mined":
                await self._unmine(row, head)
        self._must_look = False

    def _due(self, outbox: Outbox, head: Block, used: int) -> list[NonceRow]:
        """Nonces that may take another state: open ones, mined ones that become final or are mined no longer."""
        finals = outbox.mined(head.number - self._settings.depth)
        thrown_out = outbox.nonces("mined", at_least=used)
        known = {row.nonce: row for row in (*outbox.nonces("open"), *finals, *thrown_out)}
        return [known[nonce] for nonce in sorted(known)]

    async def _adopt(self, head: Block, used: int, report: Report) -> None:
        """An empty journal: a key never used, or one whose journal is lost and whose transactions may be pooled."""
        pending = await self._rpc.pending_nonce(self.address)
        if self._pending_at_start is None:
            self._pending_at_start = max(pending, used)
        if used > self._pending_at_start:  # somebody signs with this key now
            await self._identify(self._pending_at_start, [], head, report)
            return
        if pending <= used:
            self._strangers_since = None
            return
        if self._strangers_since is None:
            self._strangers_since = head.number
        if head.number - self._strangers_since < self._settings.adopt_blocks:
            report.holding = "the pool holds transactions of this key that the journal does not know"

    def _fill(self, low: int, used: int, head: Block) -> None:
        """A reorg took transactions from before the journal: their nonces come back as self-transfers."""
        log.warning("filling nonce gap", address=self.address, first=used, last=low - 1)
        with self._journal.write() as tx:
            for nonce in range(low - 1, used - 1, -1):
                Outbox(tx, self.address).add_nonce(nonce, None, head.number)

    async def _confirm_used(self, row: NonceRow, head: Block, report: Report) -> None:
        with self._journal.read() as tx:
            attempts = Outbox(tx, self.address).attempts(row.nonce)
        for attempt in reversed(attempts):
            receipt = await self._rpc.receipt(attempt.hash)
            if receipt is not None and receipt.block_number <= head.number:
                self._strange.pop(row.nonce, None)
                await self._mined(row, attempt, receipt, head, report)
                return
        if row.key is None:  # what a reorg had removed was mined again before our filler
            block, _ = await spenders(self._rpc, self.address, row.nonce, head)
            if block is not None:
                state = "final" if head.number - block.number >= self._settings.depth else "mined"
                with self._journal.write() as tx:
                    Outbox(tx, self.address).set_nonce(row.nonce, state, head.number)
            return
        found = await self._identify(row.nonce, attempts, head, report)
        if found is not None and row.state == "open":
            self._mined_without_receipt(row, *found, head)

    async def _identify(
        self, nonce: int, attempts: Sequence[Attempt], head: Block, report: Report
    ) -> tuple[Attempt, Block] | None:
        """Looks into the block in which a nonce was used, for an attempt of ours whose receipt is late. None while no
        endpoint shows the transaction, or all show a stranger's; then nothing new is signed. Raises ForeignTransaction
        once all have shown a stranger's for a while.
        """
        block, hashes = await spenders(self._rpc, self.address, nonce, head)
        for attempt in attempts:
            if block is not None and attempt.hash in hashes:
                self._strange.pop(nonce, None)
                return attempt, block
        if len(hashes) != 1 or b"" in hashes:
            self._strange.pop(nonce, None)
            report.holding = f"nonce {nonce} is used, and no endpoint shows by which transaction"
            return None
        since = self._strange.setdefault(nonce, head.timestamp)
        if head.timestamp - since >= self._settings.foreign_seconds:
            raise ForeignTransaction(self._foreign(nonce, *hashes))
        report.holding = f"nonce {nonce} was used by transaction 0x{next(iter(hashes)).hex()} of another wallet"
        return None

    def _mined_without_receipt(self, row: NonceRow, attempt: Attempt, block: Block, head: Block) -> None:
        """It is in a block: that much is known before its receipt comes."""
        log.warning("receipt is late", key=row.key, nonce=row.nonce, tx_hash=attempt.hash.hex(), block=block.number)
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            outbox.set_nonce(row.nonce, "mined", head.number)
            known = None if row.key is None else outbox.intent(row.key)
            if known is not None and known.nonce == row.nonce:
                state = "replacing" if attempt.cancels else "mined"
                outbox.set_intent(known.intent.key, state, tx_hash=attempt.hash)  # no block: the receipt is asked for
        crashpoint("after_mined")

    async def _mined(self, row: NonceRow, attempt: Attempt, receipt: Receipt, head: Block, report: Report) -> None:
        final = head.number - receipt.block_number >= self._settings.depth
        if final:
            canonical = await self._block(receipt.block_number)
            if canonical is None or canonical.hash != receipt.block_hash:
                return  # the receipt's endpoint is on another fork; look again later
            if any(said <= row.nonce for said in await self._nonces_at(head)):
                log.warning("endpoints disagree on a final transaction", nonce=row.nonce, block=canonical.number)
                return
        with self._journal.read() as tx:
            known = None if row.key is None else Outbox(tx, self.address).intent(row.key)
        if known is not None and known.nonce != row.nonce:
            known = None  # it has been sent anew
        if attempt.cancels:
            state = "replaced" if final else "replacing"
        elif receipt.succeeded:
            state = "final" if final else "mined"
        else:
            state = "reverted" if final else "failed"
        reason = "" if known is None or state in ("mined", "final") else known.reason
        if known is not None and state in ("failed", "reverted") and known.state not in ("failed", "reverted"):
            reason = await self._failure(known, attempt, receipt, report)
        nonce_state = "final" if final else "mined"
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            outbox.set_nonce(row.nonce, nonce_state, head.number)
            outbox.set_cost(row.nonce, receipt.gas_used, receipt.fee_wei, head.timestamp)
            if known is not None:
                changed = {"tx_hash": receipt.tx_hash, "mined_block": receipt.block_number, "reason": reason}
                outbox.set_intent(known.intent.key, state, **changed)
        if row.state == "open":
            self._places.mined(receipt.block_number)
        if row.state != nonce_state:
            log.info(
                "transaction final" if final else "transaction mined",
                key=row.key,
                nonce=row.nonce,
                tx_hash=receipt.tx_hash.hex(),
                block=receipt.block_number,
                gas=receipt.gas_used,
                fee_wei=receipt.fee_wei,
                succeeded=receipt.succeeded,
            )
            crashpoint("after_final" if final else "after_mined")

    async def _block(self, number: int) -> Block | None:
        """Asked for once a head: many transactions become final together."""
        if number not in self._blocks:
            self._blocks[number] = asyncio.ensure_future(self._rpc.block(number))
        return await self._blocks[number]

    async def _nonces_at(self, head: Block) -> list[int]:
        """What every endpoint says of the account's nonce; asked for once a head."""
        if self._nonces is None:
            self._nonces = asyncio.ensure_future(self._rpc.nonces(self.address, head))
        return await self._nonces

    async def _failure(self, row: IntentRow, attempt: Attempt, receipt: Receipt, report: Report) -> str:
        """Notes a transaction of ours that was mined and failed. Returns why."""
        report.failed += 1
        if receipt.gas_used * 100 >= attempt.gas_limit * ALL_GAS_PERCENT:
            reason = OUT_OF_GAS
            self._simulator.ran_out_of_gas(row.intent, attempt.gas_limit)
        else:
            reason = await self._simulator.why(row.intent, receipt)
        log.warning(
            "transaction failed",
            key=row.intent.key,
            tx_hash=receipt.tx_hash.hex(),
            block=receipt.block_number,
            gas=receipt.gas_used,
            fee_wei=receipt.fee_wei,
            gas_limit=attempt.gas_limit,
            reason=reason,
        )
        return reason

    async def _unmine(self, row: NonceRow, head: Block) -> None:
        """A reorg threw a mined transaction out: it is open again, and dropped if it would now fail."""
        log.warning("transaction reorged away", key=row.key, nonce=row.nonce)
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            outbox.set_nonce(row.nonce, "open", head.number)
            outbox.forget_cost(row.nonce)
            attempts = outbox.attempts(row.nonce)
            if attempts:
                outbox.restart(attempts[-1].hash, head.number)
            known = None if row.key is None else outbox.intent(row.key)
            if known is not None and known.nonce == row.nonce:
                back = "replacing" if attempts[-1].cancels else "sent"
                outbox.set_intent(known.intent.key, back, tx_hash=None, mined_block=None)
        if row.key is not None:
            await self._simulator.drop_if_failing(row.key, head)

    def _foreign(self, nonce: int, tx_hash: bytes) -> str:
        return (
            f"nonce {nonce} of {self.address} was used by transaction 0x{tx_hash.hex()}, which this journal did not "
            "sign: another wallet or daemon has this key, or the journal is an old copy. Give the node a key of its "
            "own, or restore the right journal; after a loss, move the file away and run `didyma node rebuild`"
        )


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs independent steps side by side, to their ends, then raises what one of them raised."""
    together = asyncio.Semaphore(AT_ONCE)

    async def one(step: Coroutine[Any, Any, None]) -> None:
        async with together:
            await step

    for outcome in await asyncio.gather(*map(one, steps), return_exceptions=True):
        if outcome is not None:
            raise outcome
