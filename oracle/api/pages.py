"""What the dashboard reads from the journal, in threads: history, one request with its disputes, money."""

from collections.abc import Iterable

import sqlalchemy as sa
from pydantic import BaseModel, Field

from oracle.api.models import RequestDetail, RequestOut
from oracle.api.state import Wei
from oracle.client.gains import BURNT, Gain
from oracle.ids import GameId, RequestId, ServiceId
from oracle.journal.journal import Job, Tx
from oracle.journal.schema import jobs
from oracle.models.store import ModelStore
from oracle.node import money, playback
from oracle.node.history import week_of
from oracle.node.records import CaseRecord, GameRecord, Judgement, RequestRecord, request_key, verdict_key

SEARCHED = 2_000
"""Requests that one search looks at, the newest first; the next page goes on from there."""
COPIED = 16
"""Digits of a search that somebody copied: requests whose ids begin so are looked up in all of history."""
SEARCH = r"^(0x)?[0-9a-fA-F]{4,64}$"


class GainOut(BaseModel):
    """What a dispute brought somebody."""

    who: str
    amount_wei: Wei = Field(description="Negative for a loss.")
    why: str
    burnt: bool

    @classmethod
    def all_of(cls, gains: Iterable[Gain]) -> "list[GainOut]":
        return [cls(who=g.who, amount_wei=g.amount_wei, why=g.why, burnt=g.who == BURNT) for g in gains if g.amount_wei]


class StepOut(BaseModel):
    """One move of a game."""

    depth: int = Field(description="How many picks lie above it.")
    who: str = Field(description="node, challenger or anybody.")
    text: str
    at: int = Field(description="Unix time in seconds.")
    block: int
    tx_hash: str
    node_seconds: int = Field(description="The node's clock after the move.")
    challenger_seconds: int
    gas_wei: Wei | None = Field(description="What it cost this node; null for others' transactions.")


class GameOut(BaseModel):
    """A dispute game, move by move."""

    game_id: str
    case_id: str = Field(description="Of the answer: games about one answer share it.")
    request_id: str
    service: str
    challenger: str
    challenger_is_ours: bool
    seat: int = Field(description="That gave the answer.")
    seat_is_ours: bool
    state: str = Field(description="live, stranded (another game killed the answer) or over.")
    opened_at: int
    bond_wei: Wei
    openings: int
    openings_wei: Wei = Field(description="What the challenger pays the node for its openings, if it loses.")
    to_move: str | None
    deadline: int | None
    node_seconds: int = Field(description="The node's clock, as it was kept when it was last the other's turn.")
    challenger_seconds: int
    steps: list[StepOut]
    outcome: str = Field(description="Empty while it goes on.")
    gains: list[GainOut]


class PanelOut(BaseModel):
    """A case before the panel."""

    case_id: str
    request_id: str
    state: str
    challenger: str
    challenger_is_ours: bool
    turn: int
    opened_at: int
    commit_ends_at: int | None
    reveal_ends_at: int | None
    members: list[int]
    committed: list[int]
    votes: dict[int, str]
    ruling: str | None
    gains: list[GainOut]


class RequestPage(RequestDetail):
    """One request with everything the journal has about it."""

    fee_wei: Wei
    bond_wei: Wei
    callback_wei: Wei
    turn_seconds: int
    window_seconds: int
    round_starts_at: int
    is_private: bool
    reason: str = Field(description="Why this node judged the answer as it did.")
    games: list[GameOut]
    refuted: list[StepOut]
    panels: list[PanelOut]


class History(BaseModel):
    """Some requests, the newest first."""

    requests: list[RequestOut]
    next: int | None = Field(description="Give it as `before` for the next page; null at the end.")


class DisputeRow(BaseModel):
    """A dispute in the list."""

    kind: str = Field(description="game or case.")
    id: str
    request_id: str
    state: str
    challenger: str
    opened_at: int
    is_ours: bool = Field(description="This node is a side of it.")


class Disputes(BaseModel):
    """Some disputes, the newest first."""

    disputes: list[DisputeRow]
    next: int | None


class MoneyLine(BaseModel):
    """One week of one service; of no service where transactions were about several, or none."""

    service: str | None
    week: int
    begins: str
    fees_wei: Wei
    callbacks_wei: Wei
    votes_wei: Wei
    disputes_wei: Wei
    fines_wei: Wei
    slashed_wei: Wei
    paid_in_wei: Wei
    gas_used: int
    gas_wei: Wei
    transactions: int
    net_wei: Wei
    break_even_wei: Wei | None = Field(description="The price of a unit of gas at which it nets nothing.")

    @classmethod
    def of(cls, line: money.Line) -> "MoneyLine":
        return cls(
            service=None if line.service is None else "0x" + line.service.hex(),
            week=line.week,
            begins=line.begins,
            **vars(line.sums),
            paid_in_wei=line.paid_in_wei,
            gas_used=line.gas_used,
            gas_wei=line.gas_wei,
            transactions=line.transactions,
            net_wei=line.net_wei,
            break_even_wei=line.break_even_wei,
        )


class Money(BaseModel):
    """What came in and what was paid, by week and service, and in all of these weeks."""

    lines: list[MoneyLine]
    total: MoneyLine
    answers_wei: Wei = Field(description="Bonds of own answers that are not final.")
    challenges_wei: Wei = Field(description="Bonds of own challenges that have not ended.")
    rewards_wei: Wei = Field(description="Own rewards that wait to be fetched.")
    to_settle: int = Field(description="Own games that wait to be settled.")


def history(tx: Tx, search: str, state: str | None, before: int | None, limit: int) -> History:
    """search: digits of an id, a service or an address; empty for all."""
    query = sa.select(jobs).where(jobs.c.kind == "request")
    if state is not None:
        query = query.where(jobs.c.state == state)
    if before is not None:
        query = query.where(jobs.c.id < before)
    digits = search.lower().removeprefix("0x")
    if len(digits) >= COPIED:
        key = f"request:{digits}"
        named = query.where(jobs.c.key >= key, jobs.c.key < key + "g")
        query = named if tx.connection.execute(named.limit(1)).first() is not None else query
    newest = query.order_by(jobs.c.id.desc()).limit(SEARCHED if digits else limit)
    rows = list(tx.connection.execute(newest))
    found = [row for row in rows if _holds(row, digits)] if digits else rows
    last = found[limit - 1].id if len(found) >= limit else rows[-1].id if len(rows) == SEARCHED else None
    if not digits:
        last = rows[-1].id if len(rows) == limit else None
    records = [RequestRecord.of(Job(*row)) for row in found[:limit]]
    wanted = {verdict_key(r.id, r.posted.answer.hash): r.id for r in records if r.posted is not None}
    verdicts = {wanted[job.key]: Judgement.of(job) for job in tx.jobs_of(wanted)}
    return History(requests=[RequestOut.of(r, verdicts.get(r.id)) for r in records], next=last)


def _holds(row: sa.Row[tuple[object, ...]], digits: str) -> bool:
    """Whether a request's id begins so, or its service does, its payer, or the address that answered it."""
    payload = row.payload
    service, _, head, *_ = payload["request"]
    posted = payload["posted"]
    names = (row.key.removeprefix("request:"), service, head[-40:], "" if posted is None else posted["operator"][2:])
    return any(name.lower().startswith(digits) for name in names)


def disputes(tx: Tx, before: int | None, limit: int) -> Disputes:
    """Games and panel cases."""
    own, seats = money.own_addresses(tx), {(seat.service, seat.seat) for seat in money.own_seats(tx)}
    query = sa.select(jobs).where(jobs.c.kind.in_(("game", "case")))
    if before is not None:
        query = query.where(jobs.c.id < before)
    rows = [Job(*row) for row in tx.connection.execute(query.order_by(jobs.c.id.desc()).limit(limit))]
    found = []
    for job in rows:
        record = GameRecord.of(job) if job.kind == "game" else CaseRecord.of(job)
        ours = record.challenger.lower() in own
        if isinstance(record, GameRecord):
            ours |= (record.service, record.seat) in seats
        found.append(
            DisputeRow(
                kind=job.kind,
                id=f"0x{record.id:064x}" if isinstance(record, GameRecord) else f"0x{record.id.hex()}",
                request_id=f"0x{record.request:064x}",
                state=record.state,
                challenger=record.challenger,
                opened_at=record.opened_at,
                is_ours=ours,
            )
        )
    return Disputes(disputes=found, next=rows[-1].id if len(rows) == limit else None)


def page(tx: Tx, request_id: RequestId, detail: RequestDetail, store: ModelStore) -> RequestPage:
    """detail: the request as `/requests/ID` tells it."""
    job = tx.job(request_key(request_id))
    assert job is not None  # it was there in the same transaction
    record = RequestRecord.of(job)
    own, seats = money.own_addresses(tx), {(seat.service, seat.seat) for seat in money.own_seats(tx)}
    cases = cases_of(tx, request_id)
    told = playback.told(tx, record, store, cases)
    gas = money.gas_by_hash(tx, {bytes.fromhex(t.tx_hash[2:]) for t in detail.transactions if t.tx_hash})
    reason = ""
    if record.posted is not None:
        verdict = tx.job(verdict_key(record.id, record.posted.answer.hash))
        reason = "" if verdict is None else Judgement.of(verdict).reason
    return RequestPage(
        **detail.model_dump(),
        fee_wei=record.request.fee_wei,
        bond_wei=record.request.bond_wei,
        callback_wei=record.request.callback_wei,
        turn_seconds=record.request.turn_seconds,
        window_seconds=record.request.window_seconds,
        round_starts_at=record.round.starts_at,
        is_private=record.request.is_private,
        reason=reason,
        games=[_game(played, tx, own, seats, told) for played in told.games],
        refuted=[_step(step, gas) for step in told.refuted],
        panels=[_panel(case, gains, told, own) for case, gains in told.cases],
    )


def cases_of(tx: Tx, request_id: RequestId) -> list[CaseRecord]:
    """Panel cases about a request, the oldest first."""
    about = jobs.c.payload.cast(sa.Text).contains(f'"request":"{request_id:064x}"')
    query = sa.select(jobs).where(jobs.c.kind == "case", about).order_by(jobs.c.id)
    return [CaseRecord.of(Job(*row)) for row in tx.connection.execute(query)]


def earned(tx: Tx, weeks: int) -> Money:
    """Of so many weeks, the present one among them."""
    at = tx.cursor()
    lines = money.lines(tx, 0 if at is None else week_of(at.timestamp) - weeks + 1)
    stakes = money.stakes(tx)
    return Money(
        lines=[MoneyLine.of(line) for line in lines],
        total=MoneyLine.of(money.total(lines)),
        answers_wei=stakes.answers_wei,
        challenges_wei=stakes.challenges_wei,
        rewards_wei=stakes.rewards_wei,
        to_settle=stakes.to_settle,
    )


def _step(step: playback.Step, gas: dict[bytes, int]) -> StepOut:
    return StepOut(
        depth=step.depth,
        who=step.who,
        text=step.text,
        at=step.at,
        block=step.block,
        tx_hash="0x" + step.tx_hash.hex(),
        node_seconds=step.clocks.node_seconds,
        challenger_seconds=step.clocks.challenger_seconds,
        gas_wei=gas.get(step.tx_hash),
    )


def _game(
    played: playback.Played, tx: Tx, own: set[str], seats: set[tuple[ServiceId, int]], told: playback.Told
) -> GameOut:
    game, clocks = played.game, played.clocks
    gas = money.gas_by_hash(tx, {step.tx_hash for step in played.steps})
    running = clocks.to_move is not None and game.state == "live"
    return GameOut(
        game_id=f"0x{GameId(game.id):064x}",
        case_id="0x" + game.case.hex(),
        request_id=f"0x{game.request:064x}",
        service="0x" + game.service.hex(),
        challenger=game.challenger,
        challenger_is_ours=game.challenger.lower() in own,
        seat=game.seat,
        seat_is_ours=(game.service, game.seat) in seats,
        state=game.state,
        opened_at=game.opened_at,
        bond_wei=game.bond_wei,
        openings=played.openings,
        openings_wei=min(game.bond_wei, played.openings * told.opening_wei),
        to_move=clocks.to_move if running else None,
        deadline=clocks.deadline if running else None,
        node_seconds=clocks.node_seconds,
        challenger_seconds=clocks.challenger_seconds,
        steps=[_step(step, gas) for step in played.steps],
        outcome=played.outcome,
        gains=GainOut.all_of(played.gains),
    )


def _panel(case: CaseRecord, gains: Iterable[Gain], told: playback.Told, own: set[str]) -> PanelOut:
    return PanelOut(
        case_id="0x" + case.id.hex(),
        request_id=f"0x{case.request:064x}",
        state=case.state,
        challenger=case.challenger,
        challenger_is_ours=case.challenger.lower() in own,
        turn=case.turn,
        opened_at=case.opened_at,
        commit_ends_at=case.commit_ends_at or None,
        reveal_ends_at=case.commit_ends_at + told.reveal_seconds if case.commit_ends_at else None,
        members=list(case.members),
        committed=sorted(case.commitments),
        votes={seat: vote.name.lower() for seat, vote in sorted(case.votes.items())},
        ruling=None if case.ruling is None else case.ruling.name.lower(),
        gains=GainOut.all_of(gains),
    )
