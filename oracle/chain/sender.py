"""The sender: gets intents mined, once each, through crashes, reorgs, fee spikes and lying endpoints.

The order is always: intent in the journal, simulate at one named block, sign, journal the bytes, only then send. So
whatever was ever sent is in the journal, and a restart continues by doing what it always does: `tick` looks at the
journal and the chain and takes the next step. There is no separate recovery.

Signed bytes are sent again unchanged until a bump is due. What endpoints say about a transaction changes nothing but
the pace; only receipts and the account's nonce at a named block count. An intent that has become useless gives its
nonce to a self-transfer, so that later ones are not stuck behind it.

One Sender per key. It does not know what its transactions mean.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from typing import Any

import structlog

from oracle.chain.fees import FeePolicy, Fees
from oracle.chain.keys import SignedTx, Signer, UnsignedTx
from oracle.chain.places import Places, is_bound
from oracle.chain.rpc import Rpc
from oracle.chain.rpc_errors import SendOutcome
from oracle.chain.sender_types import OUT_OF_GAS, Report, SenderSettings
from oracle.chain.spent import spenders
from oracle.chain.tips import Tips
from oracle.chain.types import Block, Receipt
from oracle.errors import CallReverted, FinalityViolated, ForeignTransaction, RpcUnavailable, WrongChain
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import Journal, Tx
from oracle.journal.outbox import Attempt, Intent, IntentRow, NonceRow, Outbox

__all__ = ["Intent", "IntentRow", "Report", "Sender", "SenderSettings"]

log = structlog.get_logger()

TRANSFER_GAS = 21_000
AT_ONCE = 8
"""Most questions about transactions on their way to an endpoint."""
ALL_GAS_PERCENT = 98
"""Of its gas limit, from which on a failed transaction ran out of gas: calls within it keep a 64th back."""
IN_POOL = (SendOutcome.ACCEPTED.value, SendOutcome.KNOWN.value)
TOO_CHEAP = (SendOutcome.UNDERPRICED.value, SendOutcome.FEE_TOO_LOW.value)


def raw_reason(data: bytes) -> str:
    """A revert without an ABI: its bytes in hex."""
    return "0x" + data.hex() if data else "no reason given"


class Sender:
    """One key's transactions."""

    def __init__(
        self,
        rpc: Rpc,
        journal: Journal,
        signer: Signer | None,
        *,
        address: str | None = None,
        settings: SenderSettings | None = None,
        explain: Callable[[bytes], str] = raw_reason,
    ) -> None:
        """signer: None for a dry run, which simulates as `address` and abandons. explain: decodes revert data."""
        if signer is None and address is None:
            raise ValueError("a dry run needs an address to simulate from")
        self.address = signer.address if signer is not None else str(address)
        self._rpc = rpc
        self._journal = journal
        self._signer = signer
        self._settings = settings or SenderSettings()
        self._explain = explain
        limits = self._settings
        self._places = Places(limits.first_pending, limits.max_pending, limits.max_before_moves)
        self._busy = asyncio.Lock()
        self._must_look = True  # at all that is mined and not final: after a start, and after a reorganisation
        self._last_head: Block | None = None
        self._needs_gas: dict[bytes, int] = {}  # intent's digest: least gas limit, after it ran out of less
        self._tips = Tips(rpc)
        self._strange: dict[int, int] = {}  # nonce that another wallet used: chain time when first seen
        self._strangers_since: int | None = None
        self._pending_at_start: int | None = None  # with an empty journal: next nonce when it was first looked at
        self._asked: dict[bytes, int] = {}  # attempt: head at which the pool was last asked about it

    # -- for the daemon ------------------------------------------------------------------------------------------

    def plan(self, tx: Tx, intent: Intent, now: int) -> IntentRow:
        """Enters an intent within the caller's transaction; the next tick works on it. now: chain time.

        Entering it again returns what became of it; abandoned and replaced ones start anew.
        Raises ConflictingAnswer when the key may have been signed with another payload.
        """
        return Outbox(tx, self.address).plan(intent, now)

    def drop(self, tx: Tx, key: str, reason: str) -> None:
        """Declares an intent useless. A planned one is abandoned; a sent one loses its nonce to a self-transfer."""
        outbox = Outbox(tx, self.address)
        row = outbox.intent(key)
        if row is not None and row.state == "planned":
            outbox.set_intent(key, "abandoned", reason=reason)
        elif row is not None and row.state == "sent":
            outbox.set_intent(key, "replacing", reason=reason)

    def status(self, tx: Tx, key: str) -> IntentRow | None:
        """What became of an intent."""
        return Outbox(tx, self.address).intent(key)

    def reorganised(self) -> None:
        """The chain has other blocks than before: the next tick looks at every transaction that is not final."""
        self._must_look = True

    async def tick(self, head: Block) -> Report:
        """Does everything that can be done at this head. Call it for each new head, and again whenever it is due.

        Raises Transient errors (nothing is lost, call again) and the Fatal ForeignTransaction, FinalityViolated,
        WrongChain.
        """
        async with self._busy:
            report = Report()
            self._journal.recover_space()
            await self._look_back(head)
            used = await self._used(head)
            report.balance_wei = await self._rpc.balance(self.address, head)
            await self._settle(head, used, report)
            await self._push(head, used, report)
            if not report.holding:
                await self._launch(head, used, report)
            with self._journal.read() as tx:
                report.pending = len(Outbox(tx, self.address).nonces("open"))
            return report

    async def _look_back(self, head: Block) -> None:
        """Whether this head's chain holds the last one: transactions are settled in blocks so young that nobody else
        sees them replaced."""
        last = self._last_head
        if last is not None and head.hash != last.hash:
            if head.number > last.number + 1:
                same = await self._rpc.block(last.number)
                goes_on = same is not None and same.hash == last.hash
            else:
                goes_on = head.parent_hash == last.hash
            self._must_look |= not goes_on
        self._last_head = head

    async def _used(self, head: Block) -> int:
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

    # -- what became of nonces -----------------------------------------------------------------------------------

    async def _settle(self, head: Block, used: int, report: Report) -> None:
        """Compares nonce rows with the account's nonce and receipts."""
        with self._journal.read() as tx:
            outbox = Outbox(tx, self.address)
            span, lowest = outbox.nonce_range(), outbox.lowest()
            rows = outbox.nonces("open", "mined") if self._must_look else self._due(outbox, head, used)
        if span is None or lowest is None:
            await self._adopt(head, used, report)
            return
        low, high = span
        self._strange = {nonce: since for nonce, since in self._strange.items() if nonce < used}
        if used > high + 1:
            await self._identify(high + 1, [], head, report)
        if used < low and head.number >= lowest.seen_at:
            self._fill(low, used, head)
            return  # the new rows are pushed in this tick, settled in the next
        await _all(self._settle_used(row, head, report) for row in rows if row.nonce < used)
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

    async def _settle_used(self, row: NonceRow, head: Block, report: Report) -> None:
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
        """Looks into the block in which a nonce was used: the attempt of ours that is there, whose receipt is late.

        None, and nothing new is signed, while nobody shows the transaction or all show a stranger's. Raises
        ForeignTransaction once they have done so for a while.
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
            canonical = await self._rpc.block(receipt.block_number)
            if canonical is None or canonical.hash != receipt.block_hash:
                return  # the receipt's endpoint is on another fork; look again later
            if any(said <= row.nonce for said in await self._rpc.nonces(self.address, head)):
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
        reason = "" if known is None else known.reason
        if known is not None and state in ("failed", "reverted") and known.state not in ("failed", "reverted"):
            reason = await self._failure(known, attempt, receipt, report)
        nonce_state = "final" if final else "mined"
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            outbox.set_nonce(row.nonce, nonce_state, head.number)
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
                succeeded=receipt.succeeded,
            )
            crashpoint("after_final" if final else "after_mined")

    async def _failure(self, row: IntentRow, attempt: Attempt, receipt: Receipt, report: Report) -> str:
        """Notes a transaction of ours that was mined and failed. Returns why."""
        report.failed += 1
        if receipt.gas_used * 100 >= attempt.gas_limit * ALL_GAS_PERCENT:
            reason = OUT_OF_GAS
            self._needs_gas[row.intent.digest] = min(2 * attempt.gas_limit, self._settings.gas_cap)
        else:
            reason = await self._why(row.intent.key, receipt)
        log.warning(
            "transaction failed",
            key=row.intent.key,
            tx_hash=receipt.tx_hash.hex(),
            block=receipt.block_number,
            gas=receipt.gas_used,
            gas_limit=attempt.gas_limit,
            reason=reason,
        )
        return reason

    async def _why(self, key: str, receipt: Receipt) -> str:
        """Why a mined transaction reverted, as far as the state after its block still tells."""
        with self._journal.read() as tx:
            intent = Outbox(tx, self.address).require(key).intent
        block = await self._rpc.block_by_hash(receipt.block_hash)
        if block is None:
            return "reverted"
        try:
            await self._rpc.call(intent.to, intent.data, block, sender=self.address, value_wei=intent.value_wei)
        except CallReverted as error:
            return self._explain(error.data)
        return "reverted; would succeed after its block"

    async def _unmine(self, row: NonceRow, head: Block) -> None:
        """A reorg threw a mined transaction out: it is open again, and dropped if it would now fail."""
        log.warning("transaction reorged away", key=row.key, nonce=row.nonce)
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            outbox.set_nonce(row.nonce, "open", head.number)
            attempts = outbox.attempts(row.nonce)
            if attempts:
                outbox.restart(attempts[-1].hash, head.number)
            known = None if row.key is None else outbox.intent(row.key)
            if known is not None and known.nonce == row.nonce:
                back = "replacing" if attempts[-1].cancels else "sent"
                outbox.set_intent(known.intent.key, back, tx_hash=None, mined_block=None)
        if row.key is not None:
            await self._drop_if_failing(row.key, head)

    async def _drop_if_failing(self, key: str, head: Block) -> bool:
        """Simulates a sent intent again; declares it useless if it would revert. Returns whether it is useless."""
        with self._journal.read() as tx:
            row = Outbox(tx, self.address).require(key)
        if row.state != "sent":
            return True
        try:
            await self._simulate(row.intent, head)
        except CallReverted as error:
            with self._journal.write() as tx:
                self.drop(tx, key, self._explain(error.data))
            return True
        return False

    def _foreign(self, nonce: int, tx_hash: bytes) -> str:
        return (
            f"nonce {nonce} of {self.address} was used by transaction 0x{tx_hash.hex()}, which this journal did not "
            "sign: another wallet or daemon has this key, or the journal is an old copy. Give the node a key of its "
            "own, or restore the right journal; after a loss, move the file away and run `didyma node rebuild`"
        )

    # -- transactions on their way -------------------------------------------------------------------------------

    async def _push(self, head: Block, used: int, report: Report) -> None:
        """Sends again, bumps or cancels what is signed and unmined."""
        if self._signer is None:
            return
        with self._journal.read() as tx:
            rows = [row for row in Outbox(tx, self.address).nonces("open") if row.nonce >= used]
        for row in rows:
            with self._journal.read() as tx:
                outbox = Outbox(tx, self.address)
                attempts = outbox.attempts(row.nonce)
                known = None if row.key is None else outbox.intent(row.key)
            last = attempts[-1] if attempts else None
            if known is not None and known.nonce != row.nonce:
                known = None  # it was sent anew with another nonce
            if known is not None and known.state == "sent" and _expired(known.intent, head):
                with self._journal.write() as tx:
                    self.drop(tx, known.intent.key, "deadline passed")
                known = None
            useless = known is None or known.state != "sent"
            if last is None or (useless and not last.cancels):
                await self._replace(row, last, None, head, report)
            elif self._is_stuck(row, last, head, used):
                if not useless and known is not None and await self._drop_if_failing(known.intent.key, head):
                    known = None
                    useless = True
                await self._replace(row, last, None if useless else known, head, report)
            elif await self._is_lost(last, head):
                await self._send(last)

    def _is_stuck(self, row: NonceRow, last: Attempt, head: Block, used: int) -> bool:
        """Whether a higher fee is called for: only for the next in line, or when a pool said so."""
        waited = head.number - last.block
        return (row.nonce == used and waited >= self._settings.bump_blocks) or (
            last.outcome in TOO_CHEAP and waited > 0
        )

    async def _is_lost(self, last: Attempt, head: Block) -> bool:
        if last.outcome not in IN_POOL:
            return True
        if self._asked.get(last.hash) == head.number:
            return False
        self._asked = {h: n for h, n in self._asked.items() if head.number - n < 256} | {last.hash: head.number}
        return not await self._rpc.knows(last.hash)

    async def _replace(
        self, row: NonceRow, last: Attempt | None, known: IntentRow | None, head: Block, report: Report
    ) -> None:
        """Signs the next attempt for a nonce: the intent with higher fees, or a self-transfer if `known` is None."""
        tip = await self._tips.wei(head)
        policy = self._policy
        gas_limit = TRANSFER_GAS if known is None or last is None else last.gas_limit
        cap = policy.ceiling_wei if known is None else self._cap(known, gas_limit, head)
        if last is None:
            fees = policy.first(head.base_fee_wei, tip, cap)
        else:
            fees = policy.bump(Fees(last.max_fee_wei, last.tip_wei), head.base_fee_wei, tip, cap)
        if fees is None:
            report.fee_cap_hits += 1
            if known is not None and last is not None and self._is_in_the_way(row, known, head):
                with self._journal.write() as tx:
                    self.drop(tx, known.intent.key, "its fee is capped, and what cannot wait stands behind it")
                await self._replace(row, last, None, head, report)
            elif last is not None and await self._is_lost(last, head):
                await self._send(last)
            return
        signed = await self._sign(row.nonce, None if known is None else known.intent, gas_limit, fees)
        crashpoint("after_cancel_sign")
        attempt = _attempt(row.nonce, signed, gas_limit, fees, head, cancels=known is None)
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            if known is not None and outbox.require(known.intent.key).state != "sent":
                return  # dropped while we signed
            outbox.add_attempt(attempt)
        crashpoint("after_cancel_persist")
        if known is None:
            report.cancelled += 1
        else:
            report.bumped += 1
        log.info(
            "transaction replaced",
            key=row.key,
            nonce=row.nonce,
            cancels=attempt.cancels,
            tx_hash=attempt.hash.hex(),
            max_fee_wei=fees.max_fee_wei,
        )
        await self._send(attempt)

    def _is_in_the_way(self, row: NonceRow, known: IntentRow, head: Block) -> bool:
        """Whether something that cannot wait, and could pay, stands behind a transaction that may pay no more."""
        if known.intent.urgent:
            return False
        price_wei = head.base_fee_wei + self._policy.min_tip_wei
        with self._journal.read() as tx:
            outbox = Outbox(tx, self.address)
            behind = [each for each in outbox.intents("sent") if (each.nonce or 0) > row.nonce]
            urgent_planned = outbox.has_urgent("planned")
        return urgent_planned or any(
            each.intent.urgent or (known.intent.deadline is None and each.intent.deadline is not None)
            for each in behind
            if self._cap(each, each.intent.gas_limit or self._settings.gas_cap, head) >= price_wei
        )

    # -- new transactions ----------------------------------------------------------------------------------------

    async def _launch(self, head: Block, used: int, report: Report) -> None:
        """Simulates, signs, journals and sends planned intents."""
        with self._journal.read() as tx:
            outbox = Outbox(tx, self.address)
            planned = outbox.keys("planned")
            moves = outbox.has_urgent("planned", "sent")
            pending, bound = len(outbox.nonces("open")), outbox.with_deadline("sent")
            free_wei = report.balance_wei - self._committed(outbox)
        tip = await self._tips.wei(head) if planned else 0
        self._places.look(head.number)
        for position, key in enumerate(planned):
            if self._places.are_full(pending, moves=moves):
                report.waiting += len(planned) - position
                return
            with self._journal.read() as tx:
                row = Outbox(tx, self.address).require(key)
            crashpoint("after_plan")
            intent = row.intent
            if _expired(intent, head):
                self._abandon(intent.key, "deadline passed", report)
                continue
            if self._places.are_kept_from(intent, bound):
                report.waiting += 1
                continue
            gas_limit = await self._gas_of(intent, head, report)
            if gas_limit is None:
                continue
            fees = self._policy.first(head.base_fee_wei, tip, self._cap(row, gas_limit, head))
            if fees is None:
                report.fee_cap_hits += 1
                continue
            cost_wei = intent.value_wei + gas_limit * fees.max_fee_wei
            if cost_wei > free_wei - (0 if intent.urgent else self._settings.reserve_wei):
                report.low_funds = True
                continue
            if await self._start(row, gas_limit, fees, head, used):
                free_wei -= cost_wei
                pending += 1
                bound += is_bound(intent)
                report.sent += 1

    async def _gas_of(self, intent: Intent, head: Block, report: Report) -> int | None:
        """Its gas limit, if it would succeed and may be signed; else None, and the report or the journal says why."""
        if intent.value_wei > report.balance_wei:
            report.low_funds = True
            return None
        try:
            gas_limit = await self._simulate(intent, head)
        except CallReverted as error:
            self._abandon(intent.key, self._explain(error.data), report)
            return None
        crashpoint("after_simulate")
        if gas_limit > self._settings.gas_cap:
            why = f"needs {gas_limit} gas, a transaction may have {self._settings.gas_cap}"
        elif self._signer is None:
            why = f"dry run: would be sent with {gas_limit} gas"
        else:
            if self._journal.full and not intent.urgent:
                report.holding = "the disk is full"
                return None
            return gas_limit
        self._abandon(intent.key, why, report)
        return None

    async def _start(self, row: IntentRow, gas_limit: int, fees: Fees, head: Block, used: int) -> bool:
        """The first attempt of an intent, with the next nonce. False if it was dropped meanwhile."""
        with self._journal.read() as tx:
            span = Outbox(tx, self.address).nonce_range()
        nonce = used if span is None else span[1] + 1
        signed = await self._sign(nonce, row.intent, gas_limit, fees)
        crashpoint("after_sign")
        attempt = _attempt(nonce, signed, gas_limit, fees, head, cancels=False)
        key = row.intent.key
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            if outbox.require(key).state != "planned":
                return False
            outbox.add_nonce(nonce, key, head.number)
            outbox.add_attempt(attempt)
            outbox.set_intent(key, "sent", nonce=nonce, gas_limit=gas_limit, reason="")
        crashpoint("after_persist")
        log.info("transaction signed", key=key, nonce=nonce, tx_hash=attempt.hash.hex(), gas_limit=gas_limit)
        await self._send(attempt)
        return True

    async def _simulate(self, intent: Intent, head: Block) -> int:
        """Gas limit for the intent in the state after `head`. Raises CallReverted."""
        if intent.gas_limit is not None:
            await self._rpc.call(intent.to, intent.data, head, sender=self.address, value_wei=intent.value_wei)
            return intent.gas_limit
        gas = await self._rpc.estimate_gas(
            intent.to, intent.data, head, sender=self.address, value_wei=intent.value_wei
        )
        if gas > self._settings.gas_cap:
            return gas
        wanted = max(gas * (100 + self._settings.gas_margin_percent) // 100, self._needs_gas.get(intent.digest, 0))
        return min(wanted, self._settings.gas_cap)

    async def _sign(self, nonce: int, intent: Intent | None, gas_limit: int, fees: Fees) -> SignedTx:
        assert self._signer is not None
        return await self._signer.sign(
            UnsignedTx(
                chain_id=self._rpc.chain_id,
                nonce=nonce,
                to=self.address if intent is None else intent.to,
                value_wei=0 if intent is None else intent.value_wei,
                data=b"" if intent is None else intent.data,
                gas_limit=gas_limit,
                max_fee_wei=fees.max_fee_wei,
                tip_wei=fees.tip_wei,
            )
        )

    async def _send(self, attempt: Attempt) -> None:
        """Hands journalled bytes to the endpoints. What they say is noted; only WRONG_CHAIN stops the node."""
        outcome, message = await self._rpc.send(attempt.raw)
        crashpoint("after_send")
        if outcome is SendOutcome.WRONG_CHAIN:
            raise WrongChain(f"endpoints refuse transactions for chain {self._rpc.chain_id}")
        if outcome is SendOutcome.FEE_TOO_LOW:
            self._tips.refused(attempt.tip_wei, message, self._settings.fees.ceiling_wei)
        if outcome.value not in IN_POOL:
            log.warning(
                "transaction not accepted", tx_hash=attempt.hash.hex(), outcome=outcome.value, said=message[:200]
            )
        if outcome.value != attempt.outcome:
            with self._journal.write() as tx:
                Outbox(tx, self.address).set_outcome(attempt.hash, outcome.value)

    def _abandon(self, key: str, reason: str, report: Report) -> None:
        log.info("intent abandoned", key=key, reason=reason)
        report.abandoned += 1
        with self._journal.write() as tx:
            self.drop(tx, key, reason)

    @property
    def _policy(self) -> FeePolicy:
        """The operator's, with the least tip that endpoints were found to take."""
        policy = self._settings.fees
        return replace(policy, min_tip_wei=min(max(policy.min_tip_wei, self._tips.floor_wei), policy.ceiling_wei))

    def _cap(self, row: IntentRow, gas_limit: int, head: Block) -> int:
        return self._settings.fees.cap(
            row.intent.stake_wei,
            gas_limit,
            planned_at=row.planned_at,
            deadline=row.intent.deadline,
            now=head.timestamp,
            urgent=row.intent.urgent,
        )

    def _committed(self, outbox: Outbox) -> int:
        """Wei that unmined transactions may still take."""
        total = 0
        for row in outbox.nonces("open"):
            for last in outbox.attempts(row.nonce)[-1:]:
                known = None if row.key is None or last.cancels else outbox.intent(row.key)
                total += last.gas_limit * last.max_fee_wei + (known.intent.value_wei if known else 0)
        return total


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs independent steps side by side, to their ends, then raises what one of them raised."""
    together = asyncio.Semaphore(AT_ONCE)

    async def one(step: Coroutine[Any, Any, None]) -> None:
        async with together:
            await step

    for outcome in await asyncio.gather(*map(one, steps), return_exceptions=True):
        if outcome is not None:
            raise outcome


def _expired(intent: Intent, head: Block) -> bool:
    return intent.deadline is not None and head.timestamp >= intent.deadline


def _attempt(nonce: int, signed: SignedTx, gas_limit: int, fees: Fees, head: Block, *, cancels: bool) -> Attempt:
    return Attempt(
        hash=signed.hash,
        nonce=nonce,
        cancels=cancels,
        raw=signed.raw,
        gas_limit=gas_limit,
        max_fee_wei=fees.max_fee_wei,
        tip_wei=fees.tip_wei,
        block=head.number,
        outcome="",
    )
