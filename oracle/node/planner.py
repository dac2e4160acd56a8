"""The planner: from what is known to what should be done now. A pure function; the only clock is the head's timestamp.

It says what the engine should compute and which transactions are wanted. A transaction that was wanted and no longer is
gets dropped by the daemon, so every rule here says only when a thing is useful. It knows nothing of fees, nonces or
crashes.

What anybody may send (drawing a panel, deciding, refunds, finalizing for others, challenges) would be sent by all nodes
at once: ranks, staggered in time, let one go first.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

from eth_utils.crypto import keccak

from oracle.chain.contracts import Contracts
from oracle.chain.requests import Request
from oracle.node.panel import Panels
from oracle.node.plan import LAST_RANK, Compute, Judge, Plan, Rules, View, Wanted, posted_in, priority
from oracle.node.records import (
    PostedAnswer,
    RequestRecord,
)

FINALIZE_GAS = 90_000
"""Of one item beside its callback; measured 45,000 to 75,000."""
BATCH_GAS = 14_000_000
LEAVING_SECONDS = 15 * 86_400
"""For so long after its window an answer's callback can be left; contracts allow as much more as a dispute may take."""
RETRY_SECONDS = 30 * 86_400
"""The same of a callback that was left, for making it."""
CALLDATA_KEPT = 16_384
"""Calls that answer, as bytes: a call is wanted in every round until it is mined."""
REFUND_PATIENCE = 30
"""Seconds after the deadline that the payer has to itself."""


class Planner:
    """`plan` is a function of its argument; the rest is configuration."""

    def __init__(self, contracts: Contracts, rules: Rules) -> None:
        self._oracle = contracts.oracle
        self._panel = contracts.panel
        self._plays = contracts.plays
        self._chain_id = contracts.deployment.chain_id
        self._rules = rules
        self._panels = Panels(contracts, rules)
        self._answer_data = lru_cache(maxsize=CALLDATA_KEPT)(partial(contracts.oracle.encode, "answer"))

    def plan(self, view: View) -> Plan:
        """What to compute and what to send, at this head."""
        work: list[Compute | Judge] = []
        wanted: list[Wanted] = []
        ready: list[RequestRecord] = []
        watched = {record.id for record, _ in self.watched(view)}
        for record in view.requests:
            if record.request.service not in view.services:
                continue
            steps: Iterator[Compute | Judge | Wanted]
            if record.state != "open" and self._plays(view.services[record.request.service].terms.arbiter):
                steps = self._judged(view, record) if record.id in watched else iter(())
                if record.state == "answered" and self._is_ripe(view, record):
                    ready.append(record)
            elif record.state == "open":
                steps = self._open(view, record)
            elif record.state == "answered":
                steps = self._answered(view, record) if record.id in watched else iter(())
                if self._is_ripe(view, record):
                    ready.append(record)
            else:
                steps = self._panels.steps(view, record)
            for step in steps:
                (wanted if isinstance(step, Wanted) else work).append(step)  # type: ignore[arg-type]
        left = [record for record in ready if self._is_left(view, record)]
        called = [record for record in ready if record not in left]
        wanted += [*self._batches(view, called, "finalize"), *self._batches(view, left, "leaveCallbacks")]
        wanted += self._bounties(view)
        wanted += self._activations(view)
        return Plan(tuple(sorted(work, key=priority)), tuple(wanted))

    def watched(self, view: View) -> Iterator[tuple[RequestRecord, PostedAnswer]]:
        """The answers of others that this node means to judge while their windows are open, judged or not."""
        for record in view.requests:
            service, posted = view.services.get(record.request.service), record.posted
            if service is None or posted is None or not self._rules.watch or not view.sampled(record.id):
                continue
            plays = self._plays(service.terms.arbiter)
            stands = record.state != "open" if plays else record.state == "answered" and not record.upheld
            if stands and view.head.timestamp < posted.answer.closes_at and not view.is_own(posted):
                yield record, posted

    # -- open: answer in turn, refund when expired -----------------------------------------------------------------

    def _open(self, view: View, record: RequestRecord) -> Iterator[Compute | Judge | Wanted]:
        request, now = record.request, view.head.timestamp
        if now > request.deadline:
            yield from self._refund(view, record)
            return
        seed = view.seeds.get(request.seed_block)
        if not self._rules.answer or seed is None or view.head.number <= seed.number:
            return
        turn = record.round.turn(now, request.turn_seconds)
        seat = view.seat_in(request, request.place_of_turn(seed.hash, turn))
        if seat not in view.own_seats(request.service) or (request.is_private and record.id not in view.readable):
            return
        output = view.outputs.get((record.id, seed.hash))
        if output is None:
            if view.solvent:
                yield Compute(record, seed, min(record.round.ends_at(turn, request.turn_seconds), request.deadline + 1))
        elif not output.refusal:
            key = f"answer:{self._chain_id}:{self._oracle.address}:{record.id:064x}:{turn}:{seed.hash.hex()}"
            words = (request.words, output.text, output.token_count, output.tokens_root, seed.hash)
            attested = view.attestations.get((record.id, seed.hash))
            pays = self._callback_pays(view, request)
            if attested is not None:
                signer, signature = attested
                key = f"{key}:{signer}" if pays else f"{key}:{signer}:left"
                data = self._oracle.encode("answerAttested", *words, signature, not pays)
            elif request.is_private:
                return
            else:
                data = self._answer_data(*words)
            yield Wanted(
                key=key,
                to=self._oracle.address,
                data=data,
                stake_wei=request.fee_wei
                + (request.callback_wei if attested and pays else 0)
                + view.services[request.service].terms.miss_penalty_wei,
                deadline=min(record.round.ends_at(turn, request.turn_seconds), request.deadline + 1),
                once=True,
                service=request.service,
            )

    @staticmethod
    def _callback_pays(view: View, request: Request) -> bool:
        """Whether calling back is worth its gas; otherwise the callback is left to others, with what it escrowed."""
        return request.callback_wei >= request.callback_gas * view.head.base_fee_wei

    def _is_left(self, view: View, record: RequestRecord) -> bool:
        """Whether to close an answer of this node without calling back."""
        posted = posted_in(record)
        in_time = view.head.timestamp <= posted.answer.closes_at + LEAVING_SECONDS
        return in_time and view.is_own(posted) and not self._callback_pays(view, record.request)

    def _refund(self, view: View, record: RequestRecord) -> Iterator[Wanted]:
        own = view.own_seats(record.request.service)
        due = record.request.deadline + REFUND_PATIENCE + self._delay(record.request, min(own, default=0))
        if self._rules.refund_expired and own and view.head.timestamp > due:
            data = self._oracle.encode("refund", record.request.words)
            yield Wanted(
                f"refund:{record.id:064x}",
                self._oracle.address,
                data,
                record.request.fee_wei,
                service=record.request.service,
            )

    # -- answered: watch, finalize ---------------------------------------------------------------------------------

    def _answered(self, view: View, record: RequestRecord) -> Iterator[Compute | Judge | Wanted]:
        posted = posted_in(record)
        verdict = view.verdicts.get((record.id, posted.answer.hash))
        seed = view.seeds.get(record.request.seed_block)
        if verdict is None and seed is not None:
            yield Judge(record, posted, seed, urgent=False)
        if verdict is None or verdict.correct is not False:
            return
        if view.head.timestamp >= self.challenge_due(view, record, posted):
            panel = view.services[record.request.service].panel
            yield Wanted(
                key=f"challenge:{record.id:064x}:{posted.answer.hash.hex()}",
                to=self._panel.address,
                data=self._panel.encode("challenge", record.request.words, posted.answer.words),
                stake_wei=record.request.bond_wei // 2,
                value_wei=panel.challenge_bond_wei,
                deadline=posted.answer.closes_at + 1,
                urgent=True,
                by_disputer=True,
                service=record.request.service,
            )

    def challenge_due(self, view: View, record: RequestRecord, posted: PostedAnswer) -> int:
        """When this node begins to challenge a wrong answer: watchers let each other go first."""
        opened_at = posted.answer.closes_at - record.request.window_seconds
        seat = min(view.own_seats(record.request.service), default=None)
        return opened_at + min(self._delay(record.request, seat), record.request.window_seconds // 4)

    def _judged(self, view: View, record: RequestRecord) -> Iterator[Judge]:
        """Judges an answer of a service that the game judges, whatever games there are: a lost one proves nothing."""
        posted, seed = posted_in(record), view.seeds.get(record.request.seed_block)
        if seed is not None and (record.id, posted.answer.hash) not in view.verdicts:
            yield Judge(record, posted, seed, urgent=False)

    def _is_ripe(self, view: View, record: RequestRecord) -> bool:
        """Whether this node should see to the end of an answer."""
        posted = record.posted
        if posted is None or (record.id, posted.answer.hash) in view.batched:
            return False
        age = view.head.timestamp - posted.answer.closes_at
        if view.is_own(posted):
            return age > 0
        own = view.own_seats(record.request.service)
        patience = 10 * self._rules.stagger_seconds + self._delay(record.request, min(own, default=None))
        return self._rules.finalize_others and age > patience and self._price_pays(view, record)

    def _price_pays(self, view: View, record: RequestRecord) -> bool:
        """Whether making a callback for its price alone is a gain, at twice today's price of gas."""
        return record.request.callback_wei > 2 * self._gas(record, "finalize") * view.head.base_fee_wei

    def _bounties(self, view: View) -> Iterator[Wanted]:
        """Callbacks that were left, by this node too, and whose price pays for them by now."""
        for record in view.left:
            request, posted = record.request, posted_in(record)
            own = view.own_seats(request.service)
            due = record.left_at + self._delay(request, min(own, default=None))
            closed = view.head.timestamp > posted.answer.closes_at + RETRY_SECONDS
            if not self._rules.finalize_others or closed or view.head.timestamp < due:
                continue
            if self._price_pays(view, record):
                item = (request.words, posted.answer.words, posted.output)
                yield Wanted(
                    key=f"bounty:{record.id:064x}",
                    to=self._oracle.address,
                    data=self._oracle.encode("retryCallback", item, request.callback_gas),
                    stake_wei=request.callback_wei,
                    service=request.service,
                )

    def _batches(self, view: View, ready: Sequence[RequestRecord], how: str) -> Iterator[Wanted]:
        """Transactions of several items each, if there are enough or one has waited long enough.

        how: "finalize", or "leaveCallbacks" for those whose callback is worth less than its gas.
        """
        batch: list[RequestRecord] = []
        gas = 0
        for record in [*ready, None]:
            more = 0 if record is None else self._gas(record, how)
            if batch and (record is None or len(batch) == self._rules.finalize_batch or gas + more > BATCH_GAS):
                oldest = min(posted.answer.closes_at for posted in map(posted_in, batch))
                full = record is not None or len(batch) == self._rules.finalize_batch
                if full or view.head.timestamp - oldest > self._rules.finalize_wait_seconds:
                    yield self._finalize(batch, how)
                batch, gas = [], 0
            if record is not None:
                batch.append(record)
                gas += more

    @staticmethod
    def _gas(record: RequestRecord, how: str) -> int:
        callback_gas = record.request.callback_gas * 65 // 64 if how == "finalize" else 0
        return FINALIZE_GAS + callback_gas + 40 * posted_in(record).output_bytes

    def _finalize(self, batch: Sequence[RequestRecord], how: str) -> Wanted:
        items = [(r.request.words, posted_in(r).answer.words, posted_in(r).output) for r in batch]
        covers = tuple((record.id, posted_in(record).answer.hash) for record in batch)
        services = {record.request.service for record in batch}
        name = keccak(b"".join(request.to_bytes(32, "big") + answer for request, answer in covers))
        return Wanted(
            key=f"{how}:{name.hex()}",
            to=self._oracle.address,
            data=self._oracle.encode(how, items),
            stake_wei=sum(
                r.request.bond_wei + r.request.fee_wei + (r.request.callback_wei if how == "finalize" else 0)
                for r in batch
            ),
            service=services.pop() if len(services) == 1 else None,
            covers=covers,
        )

    # -- seats -----------------------------------------------------------------------------------------------------

    def _activations(self, view: View) -> Iterator[Wanted]:
        for seat in view.seats:
            due = seat.state == "joining" and view.head.timestamp >= seat.ready_at
            if due and seat.operator == view.operator and seat.service in view.services:
                yield Wanted(
                    key=f"activate:{seat.service.hex()}:{seat.seat}:{seat.ready_at}",
                    to=self._oracle.address,
                    data=self._oracle.encode("activate", seat.service, seat.seat),
                    stake_wei=view.services[seat.service].terms.seat_wei,
                    service=seat.service,
                )

    def _delay(self, request: Request, seat: int | None) -> int:
        """Seconds that this node lets others go first; a node without a seat comes last."""
        rank = LAST_RANK if seat is None else (seat + request.id) % max(request.seat_count, 1)
        return min(rank, LAST_RANK) * self._rules.stagger_seconds
