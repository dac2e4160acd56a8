"""What the dashboard shows live: the node, its chain, services, seats, engines, keys, open requests. From memory alone.

Texts of strangers (a model's name, an endpoint's words) stand in it as they are: whoever shows them must show text.
"""

import time
from collections import Counter
from typing import Annotated

from pydantic import BaseModel, Field, PlainSerializer

from oracle.api.models import RequestOut, WorkOut
from oracle.engines.memory import resident_bytes
from oracle.errors import OracleError
from oracle.ids import ModelId, ServiceId
from oracle.models.store import ModelStore
from oracle.node.budget import bonds_out_wei
from oracle.node.checks import Checks
from oracle.node.daemon import Node
from oracle.node.plan import View
from oracle.node.records import Judgement, RequestRecord, SeatRecord, ServiceRecord

MOST_LISTED = 100
"""Open requests, and seats: the rest is counted. The journal's pages have all requests."""

Wei = Annotated[int, PlainSerializer(str, return_type=str), Field(description="In wei, as decimal text.")]


class EndpointState(BaseModel):
    """One endpoint, by its place in `rpc_urls`: its URL may hold a credential."""

    index: int
    fresh: bool
    head: int | None
    trouble: str | None
    requests: int


class ChainState(BaseModel):
    """What the node knows of the chain."""

    chain_id: int
    oracle: str
    head: int | None
    timestamp: int | None = Field(description="Of the head, in Unix seconds.")
    age_seconds: float = Field(description="Since the head last changed, by this machine's clock.")
    read_to: int | None = Field(description="The block up to which events are applied.")
    behind: int
    confirmations: int
    finality: int
    last_reorg_depth: int
    base_fee_wei: Wei
    endpoints: list[EndpointState]


class KeyState(BaseModel):
    """One of the node's keys."""

    name: str
    address: str
    balance_wei: Wei
    credit_wei: Wei
    pending: int = Field(description="Transactions signed and not mined.")
    holding: str = Field(description="Why nothing new is signed; empty if nothing stands in the way.")


class ChecksState(BaseModel):
    """Checks of others' answers since the journal began."""

    made: int
    wrong: int
    unknown: int
    late: int
    seconds_each: float | None

    @classmethod
    def of(cls, checks: Checks) -> "ChecksState":
        return cls(
            made=checks.made,
            wrong=checks.wrong,
            unknown=checks.unknown,
            late=checks.late,
            seconds_each=checks.seconds_each,
        )


class EngineState(BaseModel):
    """What computes a service's answers."""

    proven: str = Field(description="What its known question showed; empty if it has not proven itself.")
    trouble: str = Field(description="Why it cannot be relied on; empty if it can.")
    together: int = Field(description="Jobs that it takes at a time.")
    working: int
    waiting: int
    jobs: int = Field(description="Done since the start.")
    tokens: int = Field(description="Of answers computed and checked since the start.")
    busy_seconds: float
    restarts: int = Field(description="Workers lost since the start.")
    memory_bytes: int = Field(description="Of its workers; 0 where it works in the daemon's own process.")


class TeeState(BaseModel):
    """This node's key inside a TEE, for one service."""

    until: int = Field(description="Unix time at which the service ceases to count it.")


class ServiceState(BaseModel):
    """A service of the allow-list."""

    service: str
    model: str
    model_name: str
    mode: str
    base_price_wei: Wei
    byte_price_wei: Wei
    token_price_wei: Wei
    bond_wei: Wei
    seat_wei: Wei
    miss_penalty_wei: Wei
    challenge_bond_wei: Wei
    turn_seconds: int
    window_seconds: int
    max_prompt_bytes: int
    max_tokens: int
    active_seats: int
    queue: dict[str, int] = Field(description="Open requests by state.")
    troubles: list[str]
    engine: EngineState
    checks: ChecksState
    tee: TeeState | None


class SeatState(BaseModel):
    """A seat of this node's."""

    service: str
    seat: int
    state: str
    owner: str
    ready_at: int
    answered: int
    missed: int
    finalized: int
    rejected: int
    free_wei: Wei | None = Field(description="Its balance on chain, as read some blocks ago; null before.")
    locked_wei: Wei = Field(description="Bonds of its answers that are not final.")


class GameState(BaseModel):
    """A dispute game that this node is a side of."""

    request_id: str
    side: str
    deadline: int | None


class State(BaseModel):
    """All of it."""

    ready: bool
    reasons: list[str]
    warnings: list[str]
    dry_run: bool
    tasks: list[str] = Field(description="What the node does by its settings: answer, watch, vote.")
    version: str
    chain: ChainState
    keys: list[KeyState]
    reserve_wei: Wei
    services: list[ServiceState]
    seats: list[SeatState]
    open_requests: list[RequestOut]
    open_total: int
    disputes: int = Field(description="Panel cases and games that have not ended.")
    games: list[GameState]
    bonds_out_wei: Wei = Field(description="Bonds of own challenges that have not ended.")
    tee_documents_end: int | None
    tee_trouble: str
    jobs: list[WorkOut] = Field(description="What is computed now, the oldest first.")


class Names:
    """Models' names, by this machine's list: read once each."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._known: dict[ModelId, str] = {}

    def name(self, model: ModelId) -> str:
        """As its author wrote it; empty for a model that is not on the list."""
        if model not in self._known:
            try:
                self._known[model] = self._store.manifest(model).name
            except OracleError:
                return ""
        return self._known[model]


def state(node: Node, names: Names, version: str) -> State:
    """From memory."""
    view, settings, troubles = node.status.view, node.settings, node.troubles()
    own = [] if view is None else [s for s in view.seats if s.operator == view.operator and s.state != "left"]
    requests = [] if view is None else list(view.requests)
    enclave = node.enclave
    listed = sorted(requests, key=lambda record: (record.state != "disputed", record.posted_at))[:MOST_LISTED]
    return State(
        ready=not troubles,
        reasons=troubles,
        warnings=node.warnings(),
        dry_run=not settings.can_sign,
        tasks=[name for name in ("answer", "watch", "vote") if getattr(settings, name)],
        version=version,
        chain=_chain(node),
        keys=_keys(node),
        reserve_wei=settings.reserve_wei,
        services=[] if view is None else [_service(node, view, s, names) for s in view.services.values()],
        seats=[_seat(node, seat, requests) for seat in own[:MOST_LISTED]],
        open_requests=[RequestOut.of(record, _verdict(view, record)) for record in listed],
        open_total=len(requests),
        disputes=0 if view is None else len(view.cases) + len(view.games),
        games=[
            GameState(request_id=f"0x{game.request:064x}", side=game.side, deadline=game.deadline)
            for game in node.games
        ],
        bonds_out_wei=0 if view is None else bonds_out_wei(view),
        tee_documents_end=None if enclave is None else enclave.documents_end,
        tee_trouble="" if enclave is None else enclave.trouble,
        jobs=[WorkOut.of(work) for work in node.workshop.in_hand.now()[:MOST_LISTED]],
    )


def _verdict(view: View | None, record: RequestRecord) -> Judgement | None:
    return None if view is None or record.posted is None else view.verdicts.get((record.id, record.posted.answer.hash))


def _chain(node: Node) -> ChainState:
    status, settings = node.status, node.settings
    head, progress = status.head, status.progress
    return ChainState(
        chain_id=node.contracts.deployment.chain_id,
        oracle=node.contracts.oracle.address,
        head=None if head is None else head.number,
        timestamp=None if head is None else head.timestamp,
        age_seconds=0 if head is None else round(time.monotonic() - status.head_seen_at, 1),
        read_to=None if progress is None else progress.cursor.number,
        behind=0 if progress is None else progress.behind,
        confirmations=settings.confirmations,
        finality=settings.finality,
        last_reorg_depth=status.last_reorg_depth,
        base_fee_wei=0 if head is None else head.base_fee_wei,
        endpoints=[
            EndpointState(
                index=each.index,
                fresh=each.fresh,
                head=each.head,
                trouble=each.trouble,
                requests=sum(each.requests.values()),
            )
            for each in node.rpc.health()
        ],
    )


def _keys(node: Node) -> list[KeyState]:
    found = []
    for name, address in node.addresses.items():
        report = node.status.reports.get(name)
        found.append(
            KeyState(
                name=name,
                address=address,
                balance_wei=0 if report is None else report.balance_wei,
                credit_wei=node.status.credit_wei.get(address, 0),
                pending=0 if report is None else report.pending,
                holding="" if report is None else report.holding,
            )
        )
    return found


def _service(node: Node, view: View, service: ServiceRecord, names: Names) -> ServiceState:
    terms, by_game = service.terms, node.contracts.plays(service.terms.arbiter)
    queue = Counter(record.state for record in view.requests if record.request.service == service.id)
    seats = [seat for seat in view.seats if seat.service == service.id and seat.acts]
    admitted = {} if node.enclave is None else node.enclave.admitted
    return ServiceState(
        service="0x" + service.id.hex(),
        model="0x" + terms.model.hex(),
        model_name=names.name(terms.model),
        mode=_mode(service, by_game=by_game),
        base_price_wei=terms.base_price_wei,
        byte_price_wei=terms.byte_price_wei,
        token_price_wei=terms.token_price_wei,
        bond_wei=terms.bond_wei,
        seat_wei=terms.seat_wei,
        miss_penalty_wei=terms.miss_penalty_wei,
        challenge_bond_wei=service.game.challenge_bond_wei if by_game else service.panel.challenge_bond_wei,
        turn_seconds=terms.turn_seconds,
        window_seconds=terms.window_seconds,
        max_prompt_bytes=terms.max_prompt_bytes,
        max_tokens=terms.max_tokens,
        active_seats=len(seats),
        queue=dict(queue),
        troubles=[
            f"{trouble.kind}: {trouble.text}" for about, trouble in node.service_troubles() if about == service.id
        ],
        engine=_engine(node, service.id),
        checks=ChecksState.of(view.checks.get(service.id, Checks())),
        tee=TeeState(until=admitted[service.id]) if service.id in admitted else None,
    )


def _mode(service: ServiceRecord, *, by_game: bool) -> str:
    if by_game:
        judged = "dispute game: a contract recomputes one number"
    elif service.panel.exact:
        judged = f"panel of {service.panel.panel_size}, exact engine"
    else:
        judged = f"panel of {service.panel.panel_size}, tolerance {service.panel.tolerance / 65536:g} logits"
    return judged if service.terms.policy is None else f"{judged}; answers from TEEs final at once"


def _engine(node: Node, service: ServiceId) -> EngineState:
    workshop = node.workshop
    engine, done, trouble = workshop.engine(service), workshop.done[service], workshop.troubles.get(service)
    working, waiting = workshop.queued(service)
    return EngineState(
        proven=workshop.proofs.get(service, ""),
        trouble="" if trouble is None else trouble.text,
        together=0 if engine is None else engine.together,
        working=working,
        waiting=waiting,
        jobs=done.jobs,
        tokens=done.tokens,
        busy_seconds=round(workshop.busy_seconds(service), 1),
        restarts=0 if engine is None else engine.restarts,
        memory_bytes=0 if engine is None else resident_bytes(engine.groups),
    )


def _seat(node: Node, seat: SeatRecord, requests: list[RequestRecord]) -> SeatState:
    locked = [
        record.request.bond_wei
        for record in requests
        if record.posted is not None
        and (record.request.service, record.posted.answer.seat) == (seat.service, seat.seat)
    ]
    return SeatState(
        service="0x" + seat.service.hex(),
        seat=seat.seat,
        state=seat.state,
        owner=seat.owner,
        ready_at=seat.ready_at,
        answered=seat.tally.answered,
        missed=seat.tally.missed,
        finalized=seat.tally.finalized,
        rejected=seat.tally.rejected,
        free_wei=node.status.free_wei.get((seat.service, seat.seat)),
        locked_wei=sum(locked),
    )
