"""What a node earned and paid, by service and week, from the journal alone.

Income, fines and bonds come from the chain's events; gas and bonds paid in from the transactions that the node signed.
Not counted: what a payer pays who cancels after the seed is known (no event names the seat that gets it), and ether
that only moves between the operator's own accounts (deposits of seats, withdrawals).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import sqlalchemy as sa

from oracle.ids import ServiceId
from oracle.journal.journal import Tx
from oracle.journal.schema import attempts, intents, nonces
from oracle.node.history import Sums, WeekRecord, week_begins, week_of
from oracle.node.records import (
    LIVE_CASE,
    LIVE_GAME,
    CaseRecord,
    GameRecord,
    RequestRecord,
    RewardRecord,
    SeatRecord,
    ServiceRecord,
    request_key,
    service_key,
)

SUCCEEDED = ("mined", "final")


@dataclass(frozen=True)
class Line:
    """One week of one service. Amounts in wei."""

    service: ServiceId | None
    """None for transactions about several services, or none."""
    week: int
    sums: Sums = field(default_factory=Sums)
    paid_in_wei: int = 0
    """Sent along with transactions: bonds of challenges."""
    gas_used: int = 0
    gas_wei: int = 0
    transactions: int = 0

    @property
    def begins(self) -> str:
        """The week's Monday, as a date."""
        return f"{datetime.fromtimestamp(week_begins(self.week), UTC):%Y-%m-%d}"

    @property
    def before_gas_wei(self) -> int:
        """May be negative."""
        return self.sums.income_wei - self.sums.losses_wei - self.paid_in_wei

    @property
    def net_wei(self) -> int:
        return self.before_gas_wei - self.gas_wei

    @property
    def break_even_wei(self) -> int | None:
        """The price of gas, in wei for each, at which the line nets nothing; None without gas."""
        return self.before_gas_wei // self.gas_used if self.gas_used else None

    def plus(self, other: "Line") -> "Line":
        """With another line's amounts."""
        return replace(
            self,
            sums=self.sums + other.sums,
            paid_in_wei=self.paid_in_wei + other.paid_in_wei,
            gas_used=self.gas_used + other.gas_used,
            gas_wei=self.gas_wei + other.gas_wei,
            transactions=self.transactions + other.transactions,
        )


@dataclass(frozen=True)
class Stakes:
    """What is bound now, and what waits to be fetched. In wei."""

    answers_wei: int
    """Bonds of own answers that are not final."""
    challenges_wei: int
    """Bonds of own challenges in disputes that have not ended: the bonds out."""
    rewards_wei: int
    """Own refutations' rewards that wait."""
    to_settle: int
    """Own games about answers that others' games killed: each has its bond back, and perhaps a share, once settled."""


def own_addresses(tx: Tx) -> set[str]:
    """Addresses that this journal's transactions are signed with, in lower case, and the operator's."""
    signers = set(tx.connection.execute(sa.select(nonces.c.signer).distinct()).scalars())
    operator = tx.get("operator")
    return {address.lower() for address in (*signers, *([operator] if operator else []))}


def own_seats(tx: Tx) -> list[SeatRecord]:
    """The seats of the operator's address; none if the node runs dry without an address."""
    operator = tx.get("operator")
    return [seat for job in tx.jobs("seat") if (seat := SeatRecord.of(job)).operator == operator]


def lines(tx: Tx, since: int = 0) -> list[Line]:
    """What this node's seats and keys earned and paid, by week and service. since: the first week's number."""
    own = {(seat.service, f"seat-{seat.seat}") for seat in own_seats(tx)}
    addresses = own_addresses(tx)
    found: dict[tuple[int, ServiceId | None], Line] = {}
    for job in tx.jobs("week"):
        week = WeekRecord.of(job)
        if week.week >= since and ((week.service, week.who) in own or week.who in addresses):
            _add(found, Line(week.service, week.week, week.sums))
    for line in _transactions(tx, since):
        _add(found, line)
    return [found[key] for key in sorted(found, key=lambda key: (key[0], key[1] or b""))]


def _transactions(tx: Tx, since: int) -> Iterable[Line]:
    sent = sa.and_(intents.c.key == nonces.c.key, intents.c.nonce == nonces.c.nonce)
    columns = (nonces.c.paid_at, nonces.c.gas_used, nonces.c.fee_wei)
    query = sa.select(*columns, intents.c.service, intents.c.value_wei, intents.c.state).join(
        intents, sent, isouter=True
    )
    for row in tx.connection.execute(query.where(nonces.c.paid_at >= week_begins(since))):
        service = None if row.service is None else ServiceId(row.service)
        value_wei = row.value_wei if row.state in SUCCEEDED else 0
        yield Line(service, week_of(row.paid_at), Sums(), value_wei, row.gas_used, row.fee_wei, 1)


def gas_by_hash(tx: Tx, hashes: set[bytes]) -> dict[bytes, int]:
    """What those of the transactions cost that this node sent, in wei."""
    signed = sa.and_(nonces.c.signer == attempts.c.signer, nonces.c.nonce == attempts.c.nonce)
    query = sa.select(attempts.c.hash, nonces.c.fee_wei).join(nonces, signed)
    rows = tx.connection.execute(query.where(attempts.c.hash.in_(hashes), nonces.c.fee_wei.is_not(None)))
    return {row.hash: row.fee_wei for row in rows}


def _add(found: dict[tuple[int, ServiceId | None], Line], line: Line) -> None:
    key = line.week, line.service
    found[key] = found[key].plus(line) if key in found else line


def total(some: Sequence[Line]) -> Line:
    """The sum of lines; of no service, and of the last one's week."""
    whole = Line(None, max((line.week for line in some), default=0))
    for line in some:
        whole = whole.plus(line)
    return whole


def stakes(tx: Tx, service: ServiceId | None = None) -> Stakes:
    """Of all services, or of one."""
    own, seats = own_addresses(tx), {(seat.service, seat.seat) for seat in own_seats(tx)}
    answers = challenges = 0
    for job in tx.jobs("request", ("answered", "disputed")):
        record = RequestRecord.of(job)
        if record.posted is not None and (record.request.service, record.posted.answer.seat) in seats:
            answers += record.request.bond_wei if service in (None, record.request.service) else 0
    games = [GameRecord.of(job) for job in tx.jobs("game", LIVE_GAME)]
    mine = [g for g in games if g.challenger.lower() in own and service in (None, g.service)]
    challenges += sum(game.bond_wei for game in mine)
    for job in tx.jobs("case", LIVE_CASE):
        case = CaseRecord.of(job)
        about = tx.job(request_key(case.request))
        if about is None or case.challenger.lower() not in own:
            continue
        of = RequestRecord.of(about).request.service
        terms = tx.job(service_key(of))
        if terms is not None and service in (None, of):
            challenges += ServiceRecord.of(terms).panel.challenge_bond_wei
    rewards = [RewardRecord.of(job) for job in tx.jobs("reward", ("waits",))]
    waiting = [r.amount_wei for r in rewards if r.refuter.lower() in own and service in (None, r.service)]
    return Stakes(answers, challenges, sum(waiting), sum(game.state == "stranded" for game in mine))
