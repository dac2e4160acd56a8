"""What the journal's jobs mean: services, seats, requests and cases as the chain tells them, and this node's findings.

Jobs of the first four kinds come from events alone and can be made again from them; findings (outputs computed, answers
judged) are named by hashes of what they rest on, so that a reorganisation cannot make them wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from oracle.chain.requests import Answer, Request, Round, Ruling, Vote
from oracle.chain.services import GameTerms, PanelTerms, Terms
from oracle.ids import CaseId, GameId, RequestId, ServiceId
from oracle.journal.journal import Job

CHAIN_KINDS = ("service", "seat", "place", "request", "case", "game", "opening", "reward", "move", "week")
LIVE_REQUEST = ("open", "answered", "disputed")
CLOSED_REQUEST = ("final", "undelivered", "left", "refunded", "cancelled")
OVER_REQUEST = ("final", "undelivered", "refunded", "cancelled")
"""Closed, and nobody waits for its callback."""
LIVE_CASE = ("undrawn", "voting")
LIVE_GAME = ("live", "stranded")


@dataclass(frozen=True)
class PostedAnswer:
    """The answer that stands."""

    answer: Answer
    operator: str
    output: bytes
    """Empty once the request is closed, unless its callback was left; `output_bytes` stays."""
    output_bytes: int


@dataclass(frozen=True)
class RequestRecord:
    """A request. state: one of LIVE_REQUEST or CLOSED_REQUEST."""

    request: Request
    state: str
    prompt: bytes
    """Empty once the request is closed; `prompt_bytes` stays."""
    prompt_bytes: int
    posted_at: int
    round: Round
    posted: PostedAnswer | None = None
    upheld: bool = False
    """The answer stood up to a panel and cannot be challenged again."""
    left_at: int = 0
    """When its callback was left, in Unix seconds; the output is kept for whoever makes it."""

    @property
    def id(self) -> RequestId:
        return self.request.id

    @property
    def key(self) -> str:
        return request_key(self.id)

    def closed(self, state: str) -> "RequestRecord":
        """Texts are forgotten: they stay in the chain's events."""
        posted = None if self.posted is None else replace(self.posted, output=b"")
        return replace(self, state=state, prompt=b"", posted=posted)

    def left(self, time: int) -> "RequestRecord":
        """Closed, but for its callback."""
        return replace(self, state="left", prompt=b"", left_at=time)

    def payload(self) -> dict[str, Any]:
        posted = self.posted
        return {
            "request": self.request.to_json(),
            "prompt": self.prompt.hex(),
            "prompt_bytes": self.prompt_bytes,
            "posted_at": self.posted_at,
            "round": [self.round.first_turn, self.round.starts_at],
            "upheld": self.upheld,
            "left_at": self.left_at,
            "posted": None
            if posted is None
            else {
                "answer": posted.answer.to_json(),
                "operator": posted.operator,
                "output": posted.output.hex(),
                "output_bytes": posted.output_bytes,
            },
        }

    @classmethod
    def of(cls, job: Job) -> "RequestRecord":
        p, posted = job.payload, job.payload["posted"]
        return cls(
            request=Request.from_json(p["request"]),
            state=job.state,
            prompt=bytes.fromhex(p["prompt"]),
            prompt_bytes=p["prompt_bytes"],
            posted_at=p["posted_at"],
            round=Round(*p["round"]),
            upheld=p["upheld"],
            left_at=p["left_at"],
            posted=None
            if posted is None
            else PostedAnswer(
                Answer.from_json(posted["answer"]),
                posted["operator"],
                bytes.fromhex(posted["output"]),
                posted["output_bytes"],
            ),
        )


@dataclass(frozen=True)
class CaseRecord:
    """A dispute before the panel. state: undrawn, voting or decided."""

    id: CaseId
    state: str
    request: RequestId
    turn: int
    answer_hash: bytes
    challenger: str
    seed_block: int
    opened_at: int
    members: tuple[int, ...] = ()
    commit_ends_at: int = 0
    commitments: Mapping[int, bytes] = field(default_factory=dict)
    votes: Mapping[int, Vote] = field(default_factory=dict)
    voted_at: int = 0
    """When the last vote came in."""
    ruling: Ruling | None = None

    @property
    def key(self) -> str:
        return case_key(self.id)

    def payload(self) -> dict[str, Any]:
        return {
            "request": f"{self.request:064x}",
            "turn": self.turn,
            "answer_hash": self.answer_hash.hex(),
            "challenger": self.challenger,
            "seed_block": self.seed_block,
            "opened_at": self.opened_at,
            "members": list(self.members),
            "commit_ends_at": self.commit_ends_at,
            "commitments": {str(seat): value.hex() for seat, value in self.commitments.items()},
            "votes": {str(seat): int(vote) for seat, vote in self.votes.items()},
            "voted_at": self.voted_at,
            "ruling": None if self.ruling is None else int(self.ruling),
        }

    @classmethod
    def of(cls, job: Job) -> "CaseRecord":
        p = job.payload
        return cls(
            id=CaseId(bytes.fromhex(job.key.removeprefix("case:"))),
            state=job.state,
            request=RequestId(int(p["request"], 16)),
            turn=p["turn"],
            answer_hash=bytes.fromhex(p["answer_hash"]),
            challenger=p["challenger"],
            seed_block=p["seed_block"],
            opened_at=p["opened_at"],
            members=tuple(p["members"]),
            commit_ends_at=p["commit_ends_at"],
            commitments={int(seat): bytes.fromhex(value) for seat, value in p["commitments"].items()},
            votes={int(seat): Vote(vote) for seat, vote in p["votes"].items()},
            voted_at=p["voted_at"],
            ruling=None if p["ruling"] is None else Ruling(p["ruling"]),
        )


@dataclass(frozen=True)
class RewardRecord:
    """What a refutation earned, as long as it waits."""

    case: CaseId
    refuter: str
    posted_at: int
    """Block of its hash, or of the refutation."""
    until: int
    """The last block in which an older hash takes it."""
    amount_wei: int
    made_by: bytes
    """Hash of the transaction that refuted."""
    service: ServiceId

    @classmethod
    def of(cls, job: Job) -> "RewardRecord":
        p = job.payload
        return cls(
            CaseId(bytes.fromhex(job.key.removeprefix("reward:"))),
            p["refuter"],
            p["posted_at"],
            p["until"],
            p["amount_wei"],
            bytes.fromhex(p["made_by"]),
            ServiceId(bytes.fromhex(p["service"])),
        )


@dataclass(frozen=True)
class GameRecord:
    """A dispute game. state: live; stranded, where another game has killed the answer; or over."""

    id: GameId
    state: str
    case: CaseId
    request: RequestId
    challenger: str
    service: ServiceId
    seat: int
    """That gave the answer."""
    bond_wei: int
    """The challenger's."""
    node_seconds: int
    """The answerer's clock when the game began; the challenger's is the service's."""
    opened_at: int
    """Unix time in seconds."""

    @property
    def key(self) -> str:
        return game_key(self.id)

    def payload(self) -> dict[str, Any]:
        return {
            "case": self.case.hex(),
            "request": f"{self.request:064x}",
            "challenger": self.challenger,
            "service": self.service.hex(),
            "seat": self.seat,
            "bond_wei": str(self.bond_wei),
            "node_seconds": self.node_seconds,
            "opened_at": self.opened_at,
        }

    @classmethod
    def of(cls, job: Job) -> "GameRecord":
        p = job.payload
        game, case = GameId(int(job.key.removeprefix("game:"), 16)), CaseId(bytes.fromhex(p["case"]))
        return cls(
            game,
            job.state,
            case,
            RequestId(int(p["request"], 16)),
            p["challenger"],
            ServiceId(bytes.fromhex(p["service"])),
            p["seat"],
            int(p["bond_wei"]),
            p["node_seconds"],
            p["opened_at"],
        )


@dataclass(frozen=True)
class Tally:
    """What a seat has done since it was taken. What it earned and lost is in `history.WeekRecord`."""

    answered: int = 0
    missed: int = 0
    finalized: int = 0
    rejected: int = 0

    def plus(self, **changes: int) -> "Tally":
        return replace(self, **{name: getattr(self, name) + change for name, change in changes.items()})


@dataclass(frozen=True)
class SeatRecord:
    """A seat. state: joining, active, suspended, leaving or left."""

    service: ServiceId
    seat: int
    state: str
    owner: str
    operator: str
    ready_at: int
    tally: Tally = field(default_factory=Tally)

    @property
    def key(self) -> str:
        return seat_key(self.service, self.seat)

    @property
    def acts(self) -> bool:
        """Whether it may answer and vote."""
        return self.state in ("active", "suspended", "leaving")

    def payload(self) -> dict[str, Any]:
        tally = dict(vars(self.tally))
        return {"owner": self.owner, "operator": self.operator, "ready_at": self.ready_at, "tally": tally}

    @classmethod
    def of(cls, job: Job) -> "SeatRecord":
        p = job.payload
        _, service, seat = job.key.split(":")
        tally = Tally(**p["tally"])
        return cls(
            ServiceId(bytes.fromhex(service)), int(seat), job.state, p["owner"], p["operator"], p["ready_at"], tally
        )


@dataclass(frozen=True)
class PlaceRecord:
    """A place in a service's draw that led, or leads, to another seat than that of its own number."""

    service: ServiceId
    place: int
    seats: tuple[tuple[int, int], ...] = ()
    """(block, seat): requests of later blocks draw that seat; before the first, the seat of the place's number."""

    @property
    def key(self) -> str:
        return place_key(self.service, self.place)

    def seat(self, block: int) -> int:
        """The seat that a request made in `block` draws here."""
        return next((seat for since, seat in reversed(self.seats) if since < block), self.place)

    def leads_to(self, seat: int, block: int) -> "PlaceRecord":
        """From the block after `block` on."""
        return replace(self, seats=(*(entry for entry in self.seats if entry[0] < block), (block, seat)))

    def payload(self) -> dict[str, Any]:
        return {"seats": [list(entry) for entry in self.seats]}

    @classmethod
    def of(cls, job: Job) -> "PlaceRecord":
        _, service, place = job.key.split(":")
        seats = tuple((block, seat) for block, seat in job.payload["seats"])
        return cls(ServiceId(bytes.fromhex(service)), int(place), seats)


@dataclass(frozen=True)
class ServiceRecord:
    """A service of the allow-list and its terms."""

    id: ServiceId
    terms: Terms

    @property
    def panel(self) -> PanelTerms:
        """Its terms for disputes."""
        return PanelTerms.decoded(self.terms.arbiter_terms)

    @property
    def game(self) -> GameTerms:
        """Its terms for disputes, if the dispute game judges it."""
        return GameTerms.decoded(self.terms.arbiter_terms)

    def payload(self) -> dict[str, Any]:
        return {
            name: value.hex() if isinstance(value, bytes) else str(value) for name, value in vars(self.terms).items()
        }

    @classmethod
    def of(cls, job: Job) -> "ServiceRecord":
        parsed: dict[str, Any] = {
            name: bytes.fromhex(text)
            if name in ("model", "arbiter_terms", "attester_terms")
            else text
            if name in ("arbiter", "attester")
            else int(text)
            for name, text in job.payload.items()
        }
        return cls(ServiceId(bytes.fromhex(job.key.removeprefix("service:"))), Terms(**parsed))


@dataclass(frozen=True)
class Output:
    """An answer this node computed, or why it will not."""

    text: bytes = b""
    token_count: int = 0
    tokens_root: bytes = b""
    refusal: str = ""

    def payload(self) -> dict[str, Any]:
        return {
            "text": self.text.hex(),
            "token_count": self.token_count,
            "tokens_root": self.tokens_root.hex(),
            "refusal": self.refusal,
        }

    @classmethod
    def of(cls, job: Job) -> "Output":
        p = job.payload
        return cls(bytes.fromhex(p["text"]), p["token_count"], bytes.fromhex(p["tokens_root"]), p["refusal"])


@dataclass(frozen=True)
class Judgement:
    """What this node found out about somebody's answer. correct: None if it cannot tell."""

    correct: bool | None
    reason: str

    def payload(self) -> dict[str, Any]:
        return {"correct": self.correct, "reason": self.reason}

    @classmethod
    def of(cls, job: Job) -> "Judgement":
        return cls(job.payload["correct"], job.payload["reason"])


def request_key(request_id: RequestId) -> str:
    return f"request:{request_id:064x}"


def case_key(case: CaseId) -> str:
    return f"case:{case.hex()}"


def game_key(game: GameId) -> str:
    return f"game:{game:064x}"


def reward_key(case: CaseId) -> str:
    """Key of a refutation's waiting reward."""
    return f"reward:{case.hex()}"


def opening_key(place: bytes) -> str:
    """What a node opened at a place of the dispute game."""
    return f"opening:{place.hex()}"


def place_key(service: ServiceId, place: int) -> str:
    return f"place:{service.hex()}:{place}"


def seat_key(service: ServiceId, seat: int) -> str:
    return f"seat:{service.hex()}:{seat}"


def service_key(service: ServiceId) -> str:
    return f"service:{service.hex()}"


def output_key(request_id: RequestId, seed_block_hash: bytes) -> str:
    """An output depends on the request and the seed."""
    return f"output:{request_id:064x}:{seed_block_hash.hex()}"


def verdict_key(request_id: RequestId, answer_hash: bytes) -> str:
    """A judgement depends on the request and the whole answer."""
    return f"verdict:{request_id:064x}:{answer_hash.hex()}"


def batch_key(request_id: RequestId, answer_hash: bytes) -> str:
    """Which finalizing transaction an answer went into."""
    return f"batch:{request_id:064x}:{answer_hash.hex()}"
