"""The sender: gets intents mined, once each, through crashes, reorgs, fee spikes and lying endpoints.

The order is always: intent in the journal, simulate at one named block, sign, journal the bytes, only then send. So
whatever was ever sent is in the journal, and a restart continues by doing what it always does: `tick` looks at the
journal and the chain and takes the next step. There is no separate recovery.

Signed bytes are sent again unchanged until a bump is due. What endpoints say about a transaction changes nothing but
the pace; the confirmer finds out what became of it. An intent that has become useless gives its nonce to a
self-transfer, so that later ones are not stuck behind it.

One Sender per key. It does not know what its transactions mean.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from oracle.chain.confirmer import Confirmer
from oracle.chain.fees import FeePolicy, Fees
from oracle.chain.keys import SignedTx, Signer, UnsignedTx
from oracle.chain.places import Places
from oracle.chain.rpc import Rpc
from oracle.chain.rpc_errors import SendOutcome
from oracle.chain.sender_types import Report, SenderSettings
from oracle.chain.simulator import Simulator
from oracle.chain.tips import Tips
from oracle.chain.types import Block
from oracle.errors import CallReverted, WrongChain
from oracle.journal.crashpoints import crashpoint
from oracle.journal.journal import Journal, Tx
from oracle.journal.outbox import Attempt, Intent, IntentRow, NonceRow, Outbox
from oracle.journal.signed import Signed

__all__ = ["Intent", "IntentRow", "Report", "Sender", "SenderSettings"]

log = structlog.get_logger()

TRANSFER_GAS = 21_000
IN_POOL = (SendOutcome.ACCEPTED.value, SendOutcome.KNOWN.value)
NOT_SO_MUCH_GAS = SendOutcome.GAS_LIMIT.value  # too little, or too much: what was estimated was wrong
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
        record: Callable[[Signed], Awaitable[None]] | None = None,
    ) -> None:
        """signer: None for a dry run, which simulates as `address` and abandons. explain: decodes revert data. record:
        told of each signature before anybody else; where it raises, what was signed goes nowhere."""
        if signer is None and address is None:
            raise ValueError("a dry run needs an address to simulate from")
        self.address = signer.address if signer is not None else str(address)
        self._rpc = rpc
        self._journal = journal
        self._signer = signer
        self._settings = settings or SenderSettings()
        limits = self._settings
        self._places = Places(limits.first_pending, limits.max_pending, limits.max_before_moves)
        self._simulator = Simulator(rpc, journal, self.address, limits, explain)
        self._confirmer = Confirmer(rpc, journal, self.address, limits, self._simulator, self._places)
        self._record = record
        self._busy = asyncio.Lock()
        self._tips = Tips(rpc)
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
        Outbox(tx, self.address).drop(key, reason)

    def status(self, tx: Tx, key: str) -> IntentRow | None:
        """What became of an intent."""
        return Outbox(tx, self.address).intent(key)

    def reorganised(self) -> None:
        """The chain has other blocks than before: the next tick looks at every transaction that is not final."""
        self._confirmer.reorganised()

    async def tick(self, head: Block, *, signs: bool = True) -> Report:
        """Does everything that can be done at this head. Call it for each new head, and again whenever it is due.

        signs: False to find out only what became of what was signed.
        Raises Transient errors (nothing is lost, call again) and the Fatal ForeignTransaction, FinalityViolated,
        WrongChain.
        """
        async with self._busy:
            report = Report()
            self._journal.recover_space()
            await self._confirmer.look_back(head)
            used = await self._confirmer.used(head)
            report.balance_wei = await self._rpc.balance(self.address, head)
            await self._confirmer.confirm(head, used, report)
            if signs:
                await self._push(head, used, report)
            if signs and not report.holding:
                await self._launch(head, used, report)
            with self._journal.read() as tx:
                report.pending = len(Outbox(tx, self.address).nonces("open"))
            return report

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
                if not useless and known is not None and await self._simulator.drop_if_failing(known.intent.key, head):
                    known = None
                    useless = True
                await self._replace(row, last, None if useless else known, head, report)
            elif await self._is_lost(last, head):
                await self._send(last)

    def _is_stuck(self, row: NonceRow, last: Attempt, head: Block, used: int) -> bool:
        """Whether a higher fee or another gas limit is called for: only for the next in line, or if a pool said so."""
        waited = head.number - last.block
        return (row.nonce == used and waited >= self._settings.bump_blocks) or (
            last.outcome in (*TOO_CHEAP, NOT_SO_MUCH_GAS) and waited > 0
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
        """Signs the next attempt for a nonce: the intent with higher fees, or a self-transfer if `known` is None.

        An intent whose gas limit was refused is estimated anew: else all that is signed after it would wait for ever.
        """
        tip = await self._tips.wei(head)
        policy = self._policy
        gas_limit = TRANSFER_GAS if known is None or last is None else last.gas_limit
        is_refused = last is not None and last.outcome == NOT_SO_MUCH_GAS and known is not None
        if is_refused and known is not None:
            gas_limit = await self._simulator.gas_limit_anew(known.intent, head, gas_limit)
        cap = policy.ceiling_wei if known is None else self._cap(known, gas_limit, head)
        if last is None:
            fees = policy.first(head.base_fee_wei, tip, cap)
        elif is_refused and gas_limit != last.gas_limit:
            fees = Fees(last.max_fee_wei, last.tip_wei)  # no pool took it: there is nothing to outbid
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
        attempt = _attempt(row.nonce, signed, gas_limit, fees, head, cancels=known is None)
        await self._tell(row.key, known, attempt)
        crashpoint("after_cancel_sign")
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
        """Whether an urgent transaction that could pay waits behind one that may not pay more."""
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
            pending, bound, waiting = len(outbox.nonces("open")), len(outbox.bound("sent")), outbox.bound("planned")
            free_wei = report.balance_wei - self._committed(outbox)
        tip = await self._tips.wei(head) if planned else 0
        self._places.look(head.number)
        for position, key in enumerate(planned):
            if self._places.are_full(pending, moves=moves):
                report.waiting += len(planned) - position
                return
            if self._places.are_kept(bound) and waiting.get(key, 0) > head.timestamp:
                report.waiting += 1
                continue
            with self._journal.read() as tx:
                row = Outbox(tx, self.address).require(key)
            crashpoint("after_plan")
            intent = row.intent
            if _expired(intent, head):
                self._abandon(intent.key, "deadline passed", report)
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
                bound += key in waiting
                report.sent += 1

    async def _gas_of(self, intent: Intent, head: Block, report: Report) -> int | None:
        """Its gas limit, if it would succeed and may be signed; else None, and the report or the journal says why."""
        if intent.value_wei > report.balance_wei:
            report.low_funds = True
            return None
        try:
            gas_limit = await self._simulator.gas_limit(intent, head)
        except CallReverted as error:
            self._abandon(intent.key, self._simulator.explain(error.data), report)
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
        attempt = _attempt(nonce, signed, gas_limit, fees, head, cancels=False)
        key = row.intent.key
        await self._tell(key, row, attempt)
        crashpoint("after_sign")
        with self._journal.write() as tx:
            outbox = Outbox(tx, self.address)
            if outbox.require(key).state != "planned" and self._record is None:
                return False
            outbox.add_nonce(nonce, key, head.number)
            outbox.add_attempt(attempt)
            outbox.set_intent(key, "sent", nonce=nonce, gas_limit=gas_limit, reason="")
        crashpoint("after_persist")
        log.info("transaction signed", key=key, nonce=nonce, tx_hash=attempt.hash.hex(), gas_limit=gas_limit)
        await self._send(attempt)
        return True

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

    async def _tell(self, key: str | None, known: IntentRow | None, attempt: Attempt) -> None:
        """Others with this key learn of a signature before any endpoint does. Raises what `record` raises."""
        if self._record is None:
            return
        intent, planned_at = (None, 0) if known is None else (known.intent, known.planned_at)
        await self._record(Signed(self.address, key, intent, planned_at, attempt))

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
