"""The ledger: events become jobs. It runs inside the follower's transactions and knows nothing but the event at hand.

Events of services outside the allow-list are passed over. What a reorganisation removes is undone by the journal.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import sqlalchemy as sa
import structlog
from eth_utils.crypto import keccak

from oracle.chain.bindings import Event
from oracle.chain.contracts import Contracts
from oracle.chain.requests import Answer, Request, Round, Ruling, Vote
from oracle.chain.services import Terms
from oracle.chain.types import Log
from oracle.ids import CaseId, GameId, RequestId, ServiceId
from oracle.journal.journal import BlockRef, Tx
from oracle.journal.schema import blocks, jobs, undo
from oracle.node.history import book, keep_move
from oracle.node.records import (
    CHAIN_KINDS,
    LIVE_CASE,
    LIVE_GAME,
    LIVE_REQUEST,
    CaseRecord,
    GameRecord,
    PlaceRecord,
    PostedAnswer,
    RequestRecord,
    RewardRecord,
    SeatRecord,
    ServiceRecord,
    case_key,
    game_key,
    opening_key,
    place_key,
    request_key,
    reward_key,
    seat_key,
    service_key,
)

log = structlog.get_logger()

Apply = Callable[["Ledger", Tx, BlockRef, Mapping[str, Any]], None]


class Ledger:
    """The follower's handler."""

    def __init__(self, contracts: Contracts, services: Collection[bytes]) -> None:
        self._contracts = contracts
        self._services = frozenset(services)
        self._left: set[int] = set()
        """Requests whose callbacks are left in the block at hand: their outputs will be needed."""
        self._events: Sequence[Event] = ()
        """Of the transaction at hand."""
        self._at = 0
        """The event at hand, in `_events`."""

    def apply(self, tx: Tx, block: BlockRef, logs: Sequence[Log]) -> None:
        """The wanted events of one block, in order."""
        events = [event for event in map(self._contracts.event, logs) if event is not None]
        self._left = {event.args["requestId"] for event in events if event.name == "CallbackLeft"}
        for _, together in groupby(events, lambda event: event.log.tx_hash):
            self._events = list(together)
            for at, event in enumerate(self._events):
                self._at = at
                APPLY[event.name](self, tx, block, event.args)
                self._say(event)

    def rolled_back(self, tx: Tx, to: BlockRef, keys: Sequence[str]) -> None:
        """Nothing to add to what the journal has undone."""
        log.warning("events undone", jobs=len(keys), block=to.number)

    def _say(self, event: Event) -> None:
        named = {name: event.args[key] for name, key in _LOGGED if key in event.args}
        fields = {name: f"{value:#x}" if name == "request_id" else _readable(value) for name, value in named.items()}
        fields |= {_words(name).replace(" ", "_"): value for name, value in event.args.items() if name.endswith("Wei")}
        log.info(_words(event.name), block=event.log.block_number, tx_hash=event.log.tx_hash.hex(), **fields)

    # -- services and seats --------------------------------------------------------------------------------------

    def service_created(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        if e["service"] in self._services:
            record = ServiceRecord(e["service"], Terms(*e["terms"].values()))
            tx.put_job("service", service_key(record.id), "known", record.payload(), block.number)

    def seat_taken(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        if e["service"] in self._services:
            seat = SeatRecord(e["service"], e["seat"], "joining", e["owner"], e["operator"], e["readyAt"])
            self._put_seat(tx, block, seat)

    def seat_activated(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._change_seat(tx, block, e, state="active", ready_at=block.timestamp)

    def seat_placed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        if e["service"] in self._services:
            job = tx.job(place_key(e["service"], e["place"]))
            known = PlaceRecord(e["service"], e["place"]) if job is None else PlaceRecord.of(job)
            placed = known.leads_to(e["seat"], block.number)
            tx.put_job("place", placed.key, "known", placed.payload(), block.number)

    def seat_suspended(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._change_seat(tx, block, e, state="suspended")

    def seat_leaving(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._change_seat(tx, block, e, state="leaving", ready_at=e["readyAt"])

    def seat_left(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._change_seat(tx, block, e, state="left")

    def seat_fined(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        if e["service"] in self._services:
            self._book(tx, block, e["service"], e["seat"], fines_wei=e["amountWei"])

    def operator_changed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._change_seat(tx, block, e, operator=e["operator"])

    def _change_seat(self, tx: Tx, block: BlockRef, e: Mapping[str, Any], **changes: Any) -> None:
        job = tx.job(seat_key(e["service"], e["seat"]))
        if job is not None:
            self._put_seat(tx, block, replace(SeatRecord.of(job), **changes))

    def _count(self, tx: Tx, block: BlockRef, service: ServiceId, seat: int, **changes: int) -> None:
        job = tx.job(seat_key(service, seat))
        if job is not None:
            record = SeatRecord.of(job)
            self._put_seat(tx, block, replace(record, tally=record.tally.plus(**changes)))

    @staticmethod
    def _put_seat(tx: Tx, block: BlockRef, seat: SeatRecord) -> None:
        tx.put_job("seat", seat.key, seat.state, seat.payload(), block.number)

    # -- requests ------------------------------------------------------------------------------------------------

    def request_posted(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        if e["service"] in self._services:
            request, prompt = Request.from_abi(e["request"]), e["prompt"]
            start = Round(0, block.timestamp)
            self._put(tx, block, RequestRecord(request, "open", prompt, len(prompt), block.timestamp, start))

    def answer_posted(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is not None:
            answer, output = Answer.from_abi(e["answer"]), e["output"]
            posted = PostedAnswer(answer, e["operator"], output, len(output))
            self._put(tx, block, replace(record, state="answered", posted=posted, upheld=False))
            self._count(tx, block, record.request.service, answer.seat, answered=1)
            missed = [event.args for event in self._events if event.name == "TurnMissed"]
            late_wei = sum(args["penaltyWei"] for args in missed if args["requestId"] == record.id)
            self._book(tx, block, record.request.service, answer.seat, fines_wei=late_wei)

    def answer_disputed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is not None:
            self._put(tx, block, replace(record, state="disputed"))

    def answer_ruled(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is None or record.posted is None:
            return
        seat, lost = record.posted.answer.seat, e["slashedWei"]
        if e["ruling"] == Ruling.UPHELD:
            self._put(tx, block, replace(record, state="answered", upheld=True))
            return
        rejected = int(e["ruling"] == Ruling.REJECTED)
        next_round = Round(e["next"]["firstTurn"], e["next"]["startsAt"])
        self._put(tx, block, replace(record, state="open", posted=None, round=next_round))
        self._count(tx, block, record.request.service, seat, rejected=rejected)
        self._book(tx, block, record.request.service, seat, slashed_wei=lost)

    def request_finalized(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is not None and record.posted is not None:
            is_left = e["requestId"] in self._left
            self._put(tx, block, record.left(block.timestamp) if is_left else record.closed("final"))
            service, seat = record.request.service, record.posted.answer.seat
            self._count(tx, block, service, seat, finalized=1)
            self._book(tx, block, service, seat, fees_wei=e["paidWei"])
            callback_wei = 0 if is_left else record.request.callback_wei
            self._book(tx, block, service, e["finalizer"], callbacks_wei=callback_wei)

    def callback_failed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._close(tx, block, e, "undelivered")

    def callback_left(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        """Nothing to add to what `request_finalized` did, in the same transaction."""

    def callback_reclaimed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._close(tx, block, e, "undelivered")

    def callback_retried(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is not None and record.state == "left":
            self._book(tx, block, record.request.service, e["by"], callbacks_wei=record.request.callback_wei)
        self._close(tx, block, e, "final")

    def request_refunded(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._close(tx, block, e, "refunded")

    def request_cancelled(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._close(tx, block, e, "cancelled")

    def turn_missed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is not None:
            self._count(tx, block, record.request.service, e["seat"], missed=1)
            self._book(tx, block, record.request.service, e["seat"], fines_wei=e["penaltyWei"])

    def _close(self, tx: Tx, block: BlockRef, e: Mapping[str, Any], state: str) -> None:
        record = self._request(tx, e["requestId"])
        if record is not None:
            self._put(tx, block, record.closed(state))

    @staticmethod
    def _request(tx: Tx, request_id: RequestId) -> RequestRecord | None:
        job = tx.job(request_key(request_id))
        return None if job is None else RequestRecord.of(job)

    @staticmethod
    def _put(tx: Tx, block: BlockRef, record: RequestRecord) -> None:
        tx.put_job("request", record.key, record.state, record.payload(), block.number)

    # -- cases ---------------------------------------------------------------------------------------------------

    def case_opened(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        if self._request(tx, e["requestId"]) is None:
            return
        answer = Answer.from_abi(e["answer"])
        case = CaseRecord(
            id=CaseId(e["caseId"]),
            state="undrawn",
            request=RequestId(e["requestId"]),
            turn=answer.turn,
            answer_hash=answer.hash,
            challenger=e["challenger"],
            seed_block=e["seedBlock"],
            opened_at=block.timestamp,
        )
        self._put_case(tx, block, case)

    def draw_postponed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._change_case(tx, block, e, lambda case: {"seed_block": e["seedBlock"], "opened_at": block.timestamp})

    def panel_drawn(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        drawn = {"state": "voting", "members": tuple(e["members"]), "commit_ends_at": e["commitEndsAt"]}
        self._change_case(tx, block, e, lambda case: drawn)

    def vote_committed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        committed = {e["seat"]: e["commitment"]}
        self._change_case(tx, block, e, lambda case: {"commitments": {**case.commitments, **committed}})

    def vote_revealed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        vote = {e["seat"]: Vote(e["vote"])}
        changes = {"voted_at": block.timestamp}
        self._change_case(tx, block, e, lambda case: {**changes, "votes": {**case.votes, **vote}})

    def case_decided(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        ruling = Ruling(e["ruling"])
        self._change_case(tx, block, e, lambda case: {"state": "decided", "ruling": ruling})
        job = tx.job(case_key(e["caseId"]))
        record = None if job is None else self._request(tx, CaseRecord.of(job).request)
        if job is None or record is None:
            return
        case, service = CaseRecord.of(job), record.request.service
        terms = self._service(tx, service).panel
        for seat in case.votes:
            self._book(tx, block, service, seat, votes_wei=terms.vote_fee_wei)
        paid_wei = terms.paid_to_challenger_wei(ruling, len(case.votes), record.request.bond_wei)
        self._book(tx, block, service, case.challenger, disputes_wei=paid_wei)

    def _change_case(
        self, tx: Tx, block: BlockRef, e: Mapping[str, Any], change: Callable[[CaseRecord], dict[str, Any]]
    ) -> None:
        job = tx.job(case_key(e["caseId"]))
        if job is not None:
            case = CaseRecord.of(job)
            self._put_case(tx, block, replace(case, **change(case)))

    @staticmethod
    def _put_case(tx: Tx, block: BlockRef, case: CaseRecord) -> None:
        tx.put_job("case", case.key, case.state, case.payload(), block.number)

    # -- games ---------------------------------------------------------------------------------------------------

    def game_opened(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record = self._request(tx, e["requestId"])
        if record is None or record.posted is None:
            return
        service, seat, case = record.request.service, record.posted.answer.seat, CaseId(e["caseId"])
        live = [GameRecord.of(job) for job in tx.jobs("game", ("live",))]
        against = [game for game in live if (game.service, game.seat) == (service, seat)]
        terms = self._service(tx, service).game
        game = GameRecord(
            id=GameId(e["gameId"]),
            state="live",
            case=case,
            request=record.id,
            challenger=e["challenger"],
            service=service,
            seat=seat,
            bond_wei=terms.price_wei(sum(game.case == case for game in against)),
            node_seconds=terms.node_clock_seconds(len(against), len({game.case for game in against})),
            opened_at=block.timestamp,
        )
        tx.put_job("game", game.key, game.state, game.payload(), block.number)
        self._keep_move(tx, block, e)

    def tokens_opened(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._put_opening(tx, block, e, [e["promptCount"].to_bytes(32, "big"), *e["nodes"]])

    def list_opened(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._put_opening(tx, block, e, e["nodes"])

    def values_opened(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        self._put_opening(tx, block, e, [e["values"]])

    def game_ended(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        job = tx.job(game_key(e["gameId"]))
        if job is not None:
            tx.put_job("game", job.key, "over", job.payload, block.number)
            self._keep_move(tx, block, e)

    def answer_killed(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        for job in tx.jobs("game", ("live",)):
            if job.payload["case"] == e["caseId"].hex():
                tx.put_job("game", job.key, "stranded", job.payload, block.number)
        self._keep_move(tx, block, e)
        record = self._about(tx)
        if record is not None:
            self._book(tx, block, record.request.service, e["prover"], disputes_wei=e["rewardWei"])

    def reward_waits(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        # Whoever takes a reward over says nothing of the request: the reward that waited before does.
        record, before = self._about(tx), tx.job(reward_key(e["caseId"]))
        service = RewardRecord.of(before).service if before else record.request.service if record else None
        if service is None:
            return
        payload = {
            "refuter": e["refuter"],
            "posted_at": e["postedAt"],
            "until": e["waitsUntil"],
            "amount_wei": e["amountWei"],
            "made_by": self._events[self._at].log.tx_hash.hex(),
            "service": service.hex(),
        }
        tx.put_job("reward", reward_key(e["caseId"]), "waits", payload, block.number)

    def reward_paid(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        job = tx.job(reward_key(e["caseId"]))
        if job is not None:
            tx.put_job("reward", job.key, "paid", job.payload, block.number)

    def deposited(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        """What the dispute game and the contract of refutations pay. Others may deposit what they like."""
        payers = (self._contracts.game, self._contracts.refutations)
        if e["from"].lower() not in [each.address.lower() for each in payers if each is not None]:
            return
        before = self._events[self._at - 1] if self._at else None
        if before is not None and before.name == "RewardPaid":
            job = tx.job(reward_key(before.args["caseId"]))
            service = None if job is None else RewardRecord.of(job).service
        else:
            record = self._about(tx)
            service = None if record is None else record.request.service
        if service is not None:
            self._book(tx, block, service, e["account"], disputes_wei=e["amountWei"])

    def _put_opening(self, tx: Tx, block: BlockRef, e: Mapping[str, Any], nodes: Sequence[bytes]) -> None:
        if tx.job(game_key(e["gameId"])) is not None:
            payload = {"case": e["caseId"].hex(), "nodes": [node.hex() for node in nodes]}
            tx.put_job("opening", opening_key(e["place"]), "open", payload, block.number)
            self._keep_move(tx, block, e)

    def _keep_move(self, tx: Tx, block: BlockRef, e: Mapping[str, Any]) -> None:
        record, event = self._about(tx), self._events[self._at]
        if record is not None:
            at = {"block": block.number, "at": block.timestamp, "index": event.log.index}
            keep_move(tx, record.id, event.name, e, tx_hash=event.log.tx_hash, **at)

    def _about(self, tx: Tx) -> RequestRecord | None:
        """The request of the event at hand: named by it, or by an event before it in the transaction, or after it."""
        for event in (*reversed(self._events[: self._at + 1]), *self._events[self._at + 1 :]):
            request = event.args.get("requestId")
            if request is None and event.args.get("gameId"):
                job = tx.job(game_key(event.args["gameId"]))
                request = None if job is None else GameRecord.of(job).request
            if request is not None:
                return self._request(tx, request)
        return None

    # -- money ---------------------------------------------------------------------------------------------------

    @staticmethod
    def _book(tx: Tx, block: BlockRef, service: ServiceId, who: int | str, **amounts: int) -> None:
        book(tx, service, who, block=block.number, at=block.timestamp, **amounts)

    @staticmethod
    def _service(tx: Tx, service: ServiceId) -> ServiceRecord:
        """Of the allow-list: its creation stands before all that is about it."""
        job = tx.job(service_key(service))
        assert job is not None
        return ServiceRecord.of(job)


APPLY: dict[str, Apply] = {
    "ServiceCreated": Ledger.service_created,
    "SeatTaken": Ledger.seat_taken,
    "SeatActivated": Ledger.seat_activated,
    "SeatPlaced": Ledger.seat_placed,
    "SeatSuspended": Ledger.seat_suspended,
    "SeatLeaving": Ledger.seat_leaving,
    "SeatLeft": Ledger.seat_left,
    "SeatFined": Ledger.seat_fined,
    "OperatorChanged": Ledger.operator_changed,
    "RequestPosted": Ledger.request_posted,
    "AnswerPosted": Ledger.answer_posted,
    "AnswerDisputed": Ledger.answer_disputed,
    "AnswerRuled": Ledger.answer_ruled,
    "RequestFinalized": Ledger.request_finalized,
    "CallbackFailed": Ledger.callback_failed,
    "CallbackLeft": Ledger.callback_left,
    "CallbackRetried": Ledger.callback_retried,
    "CallbackReclaimed": Ledger.callback_reclaimed,
    "RequestRefunded": Ledger.request_refunded,
    "RequestCancelled": Ledger.request_cancelled,
    "TurnMissed": Ledger.turn_missed,
    "CaseOpened": Ledger.case_opened,
    "DrawPostponed": Ledger.draw_postponed,
    "PanelDrawn": Ledger.panel_drawn,
    "VoteCommitted": Ledger.vote_committed,
    "VoteRevealed": Ledger.vote_revealed,
    "CaseDecided": Ledger.case_decided,
    "GameOpened": Ledger.game_opened,
    "TokensOpened": Ledger.tokens_opened,
    "PositionPicked": Ledger._keep_move,
    "Picked": Ledger._keep_move,
    "ListOpened": Ledger.list_opened,
    "ValuesOpened": Ledger.values_opened,
    "GameEnded": Ledger.game_ended,
    "GameSettled": Ledger.game_ended,
    "AnswerKilled": Ledger.answer_killed,
    "RewardWaits": Ledger.reward_waits,
    "RewardPaid": Ledger.reward_paid,
    "Deposited": Ledger.deposited,
}

_LOGGED = (
    ("request_id", "requestId"),
    ("case_id", "caseId"),
    ("service", "service"),
    ("seat", "seat"),
    ("turn", "turn"),
    ("ruling", "ruling"),
    ("operator", "operator"),
)

STAYS = {
    "request": (*LIVE_REQUEST, "left"),
    "case": LIVE_CASE,
    "game": LIVE_GAME,
    "reward": ("waits",),
}
"""States in which jobs are kept whatever is pruned; jobs of other kinds always are, openings and moves with games."""


def restart(tx: Tx) -> None:
    """Forgets all that comes from events, so that the follower reads the chain from its start; signed things stay."""
    keys = tx.connection.execute(sa.select(jobs.c.key).where(jobs.c.kind.in_(CHAIN_KINDS))).scalars()
    tx.delete_jobs(list(keys))
    tx.connection.execute(sa.delete(undo))
    tx.connection.execute(sa.delete(blocks))


def digest(tx: Tx) -> bytes:
    """A hash over all that comes from events and is not over: equal for journals that have read the same chain equally
    far, whatever `didyma node prune` has deleted. What closed requests earned and cost is in the weeks' sums."""
    games = {str(job.payload["case"]) for job in tx.jobs("game", LIVE_GAME)}
    query = sa.select(jobs.c.key, jobs.c.kind, jobs.c.state, jobs.c.payload).where(jobs.c.kind.in_(CHAIN_KINDS))
    told = tx.connection.execute(query.order_by(jobs.c.key)).all()
    rows = [
        row
        for row in told
        if row.state in STAYS.get(row.kind, (row.state,))
        and (row.kind not in ("opening", "move") or row.payload["case"] in games)
    ]
    return keccak(repr([(row.key, row.state, sorted(row.payload.items())) for row in rows]).encode())


def _readable(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _words(name: str) -> str:
    return "".join(" " + letter.lower() if letter.isupper() else letter for letter in name).strip()
