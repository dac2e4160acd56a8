"""What the API says, as types. Texts of strangers appear as digest and length only."""

from pydantic import BaseModel, Field

from oracle.chain.requests import Ruling
from oracle.journal.outbox import IntentRow
from oracle.node.in_hand import Work
from oracle.node.records import CaseRecord, Judgement, PostedAnswer, RequestRecord


class Refusal(BaseModel):
    """Why a request was refused."""

    detail: str


class Readiness(BaseModel):
    """Whether the node can do its work."""

    ready: bool
    reasons: list[str] = Field(description="Why not; empty if ready.")
    warnings: list[str] = Field(description="What to look at, though the node does its work.")


class AnswerOut(BaseModel):
    """The answer that stands."""

    turn: int
    seat: int
    operator: str
    closes_at: int = Field(description="Unix time in seconds: the last moment for a challenge.")
    token_count: int
    output_digest: str
    output_bytes: int
    judgement: str | None = Field(description="What this node found: right, wrong, unknown; null if it did not look.")

    @classmethod
    def of(cls, posted: PostedAnswer, found: Judgement | None) -> "AnswerOut":
        words = {True: "right", False: "wrong", None: "unknown"}
        return cls(
            turn=posted.answer.turn,
            seat=posted.answer.seat,
            operator=posted.operator,
            closes_at=posted.answer.closes_at,
            token_count=posted.answer.token_count,
            output_digest="0x" + posted.answer.output_hash.hex(),
            output_bytes=posted.output_bytes,
            judgement=None if found is None else words[found.correct],
        )


class CaseOut(BaseModel):
    """A dispute before the panel."""

    case_id: str
    state: str
    turn: int
    challenger: str
    members: list[int]
    commitments: int
    votes: int
    ruling: str | None

    @classmethod
    def of(cls, case: CaseRecord) -> "CaseOut":
        return cls(
            case_id="0x" + case.id.hex(),
            state=case.state,
            turn=case.turn,
            challenger=case.challenger,
            members=list(case.members),
            commitments=len(case.commitments),
            votes=len(case.votes),
            ruling=None if case.ruling is None else Ruling(case.ruling).name.lower(),
        )


class TransactionOut(BaseModel):
    """A transaction of this node."""

    key: str
    state: str
    reason: str
    tx_hash: str | None
    mined_block: int | None

    @classmethod
    def of(cls, row: IntentRow) -> "TransactionOut":
        return cls(
            key=row.intent.key,
            state=row.state,
            reason=row.reason,
            tx_hash=None if row.tx_hash is None else "0x" + row.tx_hash.hex(),
            mined_block=row.mined_block,
        )


class RequestOut(BaseModel):
    """A request as the node sees it, at its confirmation depth."""

    request_id: str
    service: str
    state: str
    payer: str
    posted_at: int
    deadline: int
    prompt_digest: str
    prompt_bytes: int
    max_tokens: int
    first_turn: int
    answer: AnswerOut | None

    @classmethod
    def of(cls, record: RequestRecord, found: Judgement | None) -> "RequestOut":
        request = record.request
        return cls(
            request_id=f"0x{record.id:064x}",
            service="0x" + request.service.hex(),
            state=record.state,
            payer=request.payer,
            posted_at=record.posted_at,
            deadline=request.deadline,
            prompt_digest="0x" + request.prompt_hash.hex(),
            prompt_bytes=record.prompt_bytes,
            max_tokens=request.max_tokens,
            first_turn=record.round.first_turn,
            answer=None if record.posted is None else AnswerOut.of(record.posted, found),
        )


class RequestDetail(RequestOut):
    """A request with its disputes and this node's transactions about it."""

    cases: list[CaseOut]
    transactions: list[TransactionOut]


class WorkOut(BaseModel):
    """What the node computes now, and how far it is."""

    key: str
    request_id: str | None = Field(description="That it is about; null for an engine that is being prepared.")
    doing: str
    far: str = Field(description="In words; empty before anything is known.")
    done: int = Field(description="Of `total`.")
    total: int

    @classmethod
    def of(cls, work: Work) -> "WorkOut":
        request = None if work.request is None else f"0x{work.request:064x}"
        return cls(key=work.key, request_id=request, doing=work.doing, far=work.far, done=work.done, total=work.total)


class JobsOut(BaseModel):
    """What the node is at."""

    requests: list[RequestOut]
    cases: list[CaseOut]
    engine: list[str] = Field(description="Keys of the engine jobs in hand.")
    work: list[WorkOut] = Field(description="What is computed now, for answers, checks and disputes, the oldest first.")
    total_requests: int = Field(description="Open requests in all; the list is cut at `limit`.")
