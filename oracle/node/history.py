"""What the journal keeps for people alone: every move of a dispute game, and what each week brought whom.

Both come from events, like all that `ledger.py` writes, and are taken back with their blocks. No plan rests on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from oracle.ids import CaseId, GameId, RequestId, ServiceId
from oracle.journal.journal import Job, Tx

DAY_SECONDS = 86_400
MOST_VALUES = 2_048
"""Bytes of opened values that are kept: a leaf of numbers, not a part of the tokens."""
WEIGHTY = ("nodes", "values")
"""Arguments of which only the number is kept, or the first bytes."""


@dataclass(frozen=True)
class MoveRecord:
    """One event of a dispute game."""

    request: RequestId
    case: CaseId
    game: GameId
    """0 where the tokens alone were at fault, and no game was needed."""
    event: str
    args: Mapping[str, Any]
    """Without ids. Of `nodes`, as many zeros; of `values`, the first MOST_VALUES bytes, filled up with zeros."""
    block: int
    at: int
    """The block's time, in Unix seconds."""
    tx_hash: bytes
    place: bytes = b""
    """Where something was shown; empty for other moves."""

    @classmethod
    def of(cls, job: Job) -> "MoveRecord":
        p = job.payload
        _, request, block, _ = job.key.split(":")
        args = {name: _thawed(name, value) for name, value in p["args"].items()}
        return cls(
            RequestId(int(request, 16)),
            CaseId(bytes.fromhex(p["case"])),
            GameId(int(p["game"], 16)),
            p["event"],
            args,
            int(block),
            p["at"],
            bytes.fromhex(p["tx_hash"]),
            bytes.fromhex(p["place"]),
        )


def move_key(request: RequestId, block: int, index: int) -> str:
    """In the chain's order. index: of the log."""
    return f"move:{request:064x}:{block:012d}:{index:06d}"


def keep_move(
    tx: Tx, request: RequestId, event: str, e: Mapping[str, Any], *, block: int, at: int, index: int, tx_hash: bytes
) -> None:
    """Writes a move down. e: the event's arguments, those of ids among them."""
    ids = ("gameId", "caseId", "requestId", "place", "node")
    payload = {
        "case": e["caseId"].hex(),
        "game": f"{e['gameId']:x}",
        "event": event,
        "args": {name: _frozen(name, value) for name, value in e.items() if name not in ids},
        "at": at,
        "tx_hash": tx_hash.hex(),
        "place": e["place"].hex() if "place" in e else "",
    }
    tx.put_job("move", move_key(request, block, index), "made", payload, block)


def moves_of(tx: Tx, request: RequestId) -> list[MoveRecord]:
    """All moves about a request's answers, in the chain's order."""
    return [MoveRecord.of(job) for job in tx.jobs_below(f"move:{request:064x}:")]


def _frozen(name: str, value: Any) -> Any:
    if name == "nodes":
        return len(value)
    if name == "values":
        return [len(value), value[:MOST_VALUES].hex()]
    return str(value) if name.endswith("Wei") else value


def _thawed(name: str, value: Any) -> Any:
    if name == "nodes":
        return (b"",) * value
    if name == "values":
        return bytes.fromhex(value[1]).ljust(value[0], b"\0")
    return int(value) if name.endswith("Wei") else value


# -- money -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sums:
    """What came in and what was lost, in wei; all are zero or more."""

    fees_wei: int = 0
    """Of answers that became final."""
    callbacks_wei: int = 0
    """Prices of callbacks made."""
    votes_wei: int = 0
    """Fees of panel votes, to the seat's owner."""
    disputes_wei: int = 0
    """What disputes paid out: rewards and shares, bonds that came back, change of a challenge, payment for openings."""
    fines_wei: int = 0
    """For missed turns and votes, and for answering after others' missed turns."""
    slashed_wei: int = 0
    """Of bonds of the seat's own answers."""

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    @property
    def income_wei(self) -> int:
        return self.fees_wei + self.callbacks_wei + self.votes_wei + self.disputes_wei

    @property
    def losses_wei(self) -> int:
        return self.fines_wei + self.slashed_wei


@dataclass(frozen=True)
class WeekRecord:
    """What one week of one service brought a seat or an address."""

    service: ServiceId
    week: int
    who: str
    """"seat-3", or an address in lower case."""
    sums: Sums = field(default_factory=Sums)

    @classmethod
    def of(cls, job: Job) -> "WeekRecord":
        _, service, week, who = job.key.split(":")
        sums = Sums(**{name: int(value) for name, value in job.payload.items()})
        return cls(ServiceId(bytes.fromhex(service)), int(week), who, sums)


def week_of(at: int) -> int:
    """The number of the week, from Monday on, that holds a Unix time. Week 0 began on 29 December 1969."""
    return (at // DAY_SECONDS + 3) // 7


def week_begins(week: int) -> int:
    """The Unix time at which a week begins: Monday, 0:00 UTC."""
    return (week * 7 - 3) * DAY_SECONDS


def book(tx: Tx, service: ServiceId, who: int | str, *, block: int, at: int, **amounts: int) -> None:
    """Adds amounts to a week's sums. who: a seat's number, or an address. at: Unix seconds."""
    if not any(amounts.values()):
        return
    name = f"seat-{who}" if isinstance(who, int) else who.lower()
    key = f"week:{service.hex()}:{week_of(at):06d}:{name}"
    job = tx.job(key)
    sums = (Sums() if job is None else WeekRecord.of(job).sums) + replace(Sums(), **amounts)
    payload = {name: str(value) for name, value in vars(sums).items()}
    tx.put_job("week", key, "known", payload, block)
