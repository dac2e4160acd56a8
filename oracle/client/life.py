"""The life of a request, from events alone: who asked, who answered, who disputed and won what, what the consumer got.

What hashes can check is checked: the request hashes to its id, prompt and outputs to what request and answers say. That
an event is there, and that none is missing, is the endpoint's word.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_utils.crypto import keccak
from web3 import Web3

from oracle.chain.requests import Answer, Request, Ruling, Vote, case_id, game_case_id
from oracle.chain.services import PanelTerms
from oracle.chain.units import FINNEY
from oracle.client import gains, refuted, story
from oracle.client.client import OracleClient, asked, contradiction
from oracle.client.gains import Gain
from oracle.ids import RequestId, ServiceId


@dataclass(frozen=True)
class Moment:
    """A transaction in which something happened."""

    block: int
    tx_hash: str

    @classmethod
    def of(cls, event: Any) -> "Moment":
        return cls(event["blockNumber"], event["transactionHash"].to_0x_hex())


@dataclass(frozen=True)
class Given:
    """An answer that a node gave."""

    at: Moment
    operator: str
    answer: Answer
    output: bytes
    signer: str | None = None
    """The key inside a TEE that vouched for it."""
    ruling: Ruling | None = None
    """Of the dispute about it, if there was one and it is over."""


@dataclass(frozen=True)
class Dispute:
    """About one answer."""

    turn: int
    challengers: tuple[str, ...]
    votes: Mapping[str, int] | None
    """Before a panel: votes that the answer is "right", and "wrong"."""
    games: tuple[int, ...]
    """Ids of dispute games."""
    ruling: Ruling | None
    """None as long as it is open."""
    gains: tuple[Gain, ...]
    shown: str = ""
    """What a refutation showed of the answer's tokens."""


@dataclass(frozen=True)
class Life:
    """All that is known of a request. Amounts in wei."""

    id: RequestId
    request: Request
    prompt: bytes
    asked: Moment
    answers: tuple[Given, ...]
    disputed: frozenset[int]
    """Turns."""
    slashed_wei: Mapping[int, int]
    """From answers' bonds, by turn."""
    state: str
    """open, answered, disputed, final, refunded or cancelled"""
    closed: Moment | None
    paid_wei: int
    """To the seat that answered."""
    refund_wei: int
    """Back to the payer."""
    callback: str
    """none, pending, delivered, failed, or repeated: delivered at a later try. left by its node for whoever makes it;
    collected: so made; reclaimed: made by nobody, and the payer has its price back"""

    @property
    def standing(self) -> Given | None:
        """The answer that stands: the last one that was not rejected."""
        last = self.answers[-1] if self.answers else None
        return None if last is None or last.ruling in (Ruling.REJECTED, Ruling.ANNULLED) else last

    @property
    def value_wei(self) -> int:
        """The value at stake, by the payer's word."""
        return self.request.value_finney * FINNEY


def of_request(client: OracleClient, request_id: RequestId) -> Life:
    """Raises Refused where there is no such request, and where the endpoint contradicts itself."""
    return told(request_id, client.events_about(request_id))


def told(request_id: RequestId, events: Sequence[Any]) -> Life:
    """A request's life, from the oracle's events about it, oldest first. Raises as `of_request`."""
    request = asked(request_id, events)
    by_name: dict[str, list[Any]] = {}
    for event in events:
        by_name.setdefault(event["event"], []).append(event)
    (posted, *_) = by_name["RequestPosted"]
    prompt = bytes(posted["args"]["prompt"])
    if keccak(prompt) != request.prompt_hash:
        raise contradiction("the prompt does not hash to what the request says")
    answers = _answers(by_name)
    disputed = frozenset(event["args"]["turn"] for event in by_name.get("AnswerDisputed", ()))
    closing = next((by_name[name][-1] for name in ENDS if name in by_name), None)
    return Life(
        id=request_id,
        request=request,
        prompt=prompt,
        asked=Moment.of(posted),
        answers=tuple(answers),
        disputed=disputed,
        slashed_wei={event["args"]["turn"]: event["args"]["slashedWei"] for event in by_name.get("AnswerRuled", ())},
        state=_state(by_name, answers, disputed),
        closed=None if closing is None else Moment.of(closing),
        paid_wei=_paid(by_name),
        refund_wei=_refund(request, by_name),
        callback=_callback(request, by_name),
    )


AFTER_LEAVING = {"CallbackRetried": "collected", "CallbackReclaimed": "reclaimed"}
ENDS = {"RequestFinalized": "final", "RequestRefunded": "refunded", "RequestCancelled": "cancelled"}


def _answers(by_name: Mapping[str, Sequence[Any]]) -> list[Given]:
    """Raises Refused."""
    signers = {event["transactionHash"]: event["args"]["signer"] for event in by_name.get("AnswerAttested", ())}
    rulings = {event["args"]["turn"]: Ruling(event["args"]["ruling"]) for event in by_name.get("AnswerRuled", ())}
    found = []
    for event in by_name.get("AnswerPosted", ()):
        answer, output = Answer.from_abi(event["args"]["answer"]), bytes(event["args"]["output"])
        if keccak(output) != answer.output_hash:
            raise contradiction(f"the output of turn {answer.turn} does not hash to what its answer says")
        given = Given(Moment.of(event), event["args"]["operator"], answer, output)
        signer, ruling = signers.get(event["transactionHash"]), rulings.get(answer.turn)
        found.append(replace(given, signer=signer, ruling=ruling))
    return found


def _state(by_name: Mapping[str, Sequence[Any]], answers: Sequence[Given], disputed: frozenset[int]) -> str:
    closed = next((state for name, state in ENDS.items() if name in by_name), None)
    if closed is not None:
        return closed
    if not answers or answers[-1].ruling in (Ruling.REJECTED, Ruling.ANNULLED):
        return "open"
    return "disputed" if answers[-1].answer.turn in disputed and answers[-1].ruling is None else "answered"


def _paid(by_name: Mapping[str, Sequence[Any]]) -> int:
    paid_wei: int = sum(event["args"]["paidWei"] for event in by_name.get("RequestFinalized", ()))
    return paid_wei


def _refund(request: Request, by_name: Mapping[str, Sequence[Any]]) -> int:
    if "RequestFinalized" in by_name:
        return request.fee_wei - _paid(by_name)
    returned = [*by_name.get("RequestRefunded", ()), *by_name.get("RequestCancelled", ())]
    refund_wei: int = sum(event["args"]["refundWei"] for event in returned)
    return refund_wei


def _callback(request: Request, by_name: Mapping[str, Sequence[Any]]) -> str:
    if not request.callback_gas:
        return "none"
    if "RequestFinalized" not in by_name:
        return "none" if {"RequestRefunded", "RequestCancelled"} & set(by_name) else "pending"
    if "CallbackLeft" in by_name:
        return next((word for name, word in AFTER_LEAVING.items() if name in by_name), "left")
    if "CallbackFailed" not in by_name:
        return "delivered"
    return "repeated" if "CallbackRetried" in by_name else "failed"


def disputes(client: OracleClient, life: Life) -> list[Dispute]:
    """About the request's answers, oldest first. Raises Refused."""
    found: list[Dispute] = []
    if not life.disputed:
        return found
    terms = client.terms(ServiceId(life.request.service))
    for given in life.answers:
        if given.answer.turn not in life.disputed:
            continue
        if terms["arbiter"] == client.deployment.game:
            found.append(_by_game(client, life.request, given))
        elif terms["arbiter"] == client.deployment.panel:
            panel, slashed_wei = PanelTerms.decoded(terms["arbiterTerms"]), life.slashed_wei.get(given.answer.turn, 0)
            found.append(_by_panel(client, life.request, given, panel, slashed_wei))
        else:
            found.append(Dispute(given.answer.turn, (), None, (), given.ruling, ()))
    return found


def _by_game(client: OracleClient, request: Request, given: Given) -> Dispute:
    case = game_case_id(request.id, given.answer)
    logs = story.case_logs(client, case)
    opened = [log["args"] for log in logs if log["event"] == "GameOpened"]
    kills = [log for log in logs if log["event"] == "AnswerKilled"]
    provers = [log["args"]["prover"] for log in kills]
    return Dispute(
        turn=given.answer.turn,
        challengers=tuple(dict.fromkeys([*(args["challenger"] for args in opened), *provers])),
        votes=None,
        games=tuple(args["gameId"] for args in opened),
        ruling=given.ruling,
        gains=tuple(gains.of_case(client, case, given.operator, logs)),
        shown=next((refuted.reason(client, log) for log in kills), ""),
    )


def _by_panel(client: OracleClient, request: Request, given: Given, terms: PanelTerms, slashed_wei: int) -> Dispute:
    case = case_id(request.id, given.answer.turn)
    votes = gains.Votes.of(client.logs_with(client.panel, [None, Web3.to_hex(case)]))
    return Dispute(
        turn=given.answer.turn,
        challengers=(votes.challenger,),
        votes={"right": votes.count(Vote.RIGHT), "wrong": votes.count(Vote.WRONG)},
        games=(),
        ruling=given.ruling,
        gains=tuple(gains.of_panel(votes, terms, given.operator, slashed_wei)),
    )
