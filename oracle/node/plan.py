"""The words of the planner: what a plan rests on, and what it asks for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from oracle.chain.requests import Request
from oracle.chain.types import Block
from oracle.ids import CaseId, RequestId, ServiceId
from oracle.node.checks import Checks
from oracle.node.records import (
    CaseRecord,
    GameRecord,
    Judgement,
    Output,
    PlaceRecord,
    PostedAnswer,
    RequestRecord,
    SeatRecord,
    ServiceRecord,
)

LAST_RANK = 20
"""After so many ranks nobody waits for another."""

Salt = Callable[[CaseId, int, bytes], bytes]
"""(case, seat, answer hash) -> 32 bytes that only this node's key knows."""


@dataclass(frozen=True)
class Rules:
    """The operator's choices that planning depends on; see Settings for their meaning."""

    answer: bool = True
    watch: bool = True
    vote: bool = True
    finalize_batch: int = 20
    finalize_wait_seconds: int = 0
    finalize_others: bool = True
    refund_expired: bool = True
    stagger_seconds: int = 6


@dataclass(frozen=True)
class View:
    """All that a plan rests on."""

    head: Block
    operator: str
    """Address that answers and votes."""
    disputer: str
    """Address that challenges; may be the same."""
    services: Mapping[ServiceId, ServiceRecord]
    seats: Sequence[SeatRecord]
    requests: Sequence[RequestRecord]
    """Those not closed."""
    cases: Mapping[RequestId, CaseRecord]
    """Those not decided; a request has at most one."""
    seeds: Mapping[int, Block]
    """Confirmed headers of seed blocks, by number."""
    left: Sequence[RequestRecord] = ()
    """Those closed whose callbacks wait for whoever makes them."""
    places: Mapping[tuple[ServiceId, int], PlaceRecord] = field(default_factory=dict)
    """By service and place: those that do not, or did not always, lead to the seat of their own number."""
    outputs: Mapping[tuple[RequestId, bytes], Output] = field(default_factory=dict)
    """By request and seed block hash."""
    verdicts: Mapping[tuple[RequestId, bytes], Judgement] = field(default_factory=dict)
    """By request and answer hash."""
    checks: Mapping[ServiceId, Checks] = field(default_factory=dict)
    """Of others' answers, by service."""
    games: Sequence[GameRecord] = ()
    """Dispute games that are not over."""
    batched: frozenset[tuple[RequestId, bytes]] = frozenset()
    """Request and answer hash of what a finalizing transaction on its way covers."""
    solvent: bool = True
    """Whether the balance is above the reserve for disputes."""
    sampled: Callable[[RequestId], bool] = lambda request: True
    """Whether to check others' answers to that request."""
    salt: Salt | None = None
    """None if the node cannot vote."""
    readable: frozenset[RequestId] = frozenset()
    """Requests whose private prompts this node can read."""
    attestations: Mapping[tuple[RequestId, bytes], tuple[str, bytes]] = field(default_factory=dict)
    """By request and seed block hash: signer and signature inside a TEE that the service counts."""

    def seat_in(self, request: Request, place: int) -> int:
        """The seat that `request` draws in `place`."""
        record = self.places.get((request.service, place))
        return place if record is None else record.seat(request.block_number)

    def own_seats(self, service: ServiceId) -> frozenset[int]:
        """Seats of this node's that may act."""
        return self._own.get(service, frozenset())

    @cached_property
    def _own(self) -> Mapping[ServiceId, frozenset[int]]:
        acting = [seat for seat in self.seats if seat.operator == self.operator and seat.acts]
        return {
            service: frozenset(seat.seat for seat in acting if seat.service == service)
            for service in {seat.service for seat in acting}
        }

    def is_own(self, posted: PostedAnswer) -> bool:
        """Whether this node gave an answer."""
        return posted.operator == self.operator


@dataclass(frozen=True)
class Compute:
    """Run the model for a request whose turn is ours."""

    record: RequestRecord
    seed_block: Block
    due: int = field(default=0, compare=False)
    """Unix seconds: when the turn ends."""


@dataclass(frozen=True)
class Judge:
    """Run the model over somebody's answer."""

    record: RequestRecord
    posted: PostedAnswer
    seed_block: Block
    urgent: bool
    """For a vote, not out of vigilance."""

    @property
    def due(self) -> int:
        """Unix seconds: when the answer can no longer be challenged."""
        return self.posted.answer.closes_at


@dataclass(frozen=True)
class Wanted:
    """A transaction worth sending now."""

    key: str
    """Unique for ever: it names everything its payload depends on."""
    to: str
    data: bytes
    stake_wei: int
    """What getting it mined is worth."""
    value_wei: int = 0
    deadline: int | None = None
    urgent: bool = False
    by_disputer: bool = False
    once: bool = False
    """Never to be tried again after it reverted on the chain."""
    service: ServiceId | None = None
    """The service that it is about; None if it is about several, or none."""
    covers: tuple[tuple[RequestId, bytes], ...] = ()
    """Of a finalizing transaction: request and answer hash of each item."""


def priority(work: Compute | Judge) -> tuple[int, int]:
    """Votes first, then own turns, then watching; of each, what is due first. For `sorted`."""
    kind = 1 if isinstance(work, Compute) else 0 if work.urgent else 2
    return kind, work.due


@dataclass(frozen=True)
class Plan:
    """What should be done now."""

    work: tuple[Compute | Judge, ...]
    """Most urgent first."""
    wanted: tuple[Wanted, ...]


def posted_in(record: RequestRecord) -> PostedAnswer:
    """The answer of a request that has one."""
    assert record.posted is not None
    return record.posted
