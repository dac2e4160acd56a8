"""What services offer, in words: model, mode, price, longest prompt, who would answer, and when somebody last did."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from web3 import Web3

from oracle.chain.services import PanelTerms
from oracle.chain.units import NOBODY
from oracle.client.client import OracleClient
from oracle.client.life import Moment
from oracle.ids import ModelId, ServiceId

ACTIVE = 2
"""IServices.SeatStatus: seats from here on answer; one that is leaving still does."""
NEWEST = 50
"""Requests of a service among which its last answer is looked for."""


@dataclass(frozen=True)
class Offer:
    """A service. Amounts in wei."""

    service: ServiceId
    model: ModelId
    model_name: str
    """As its author wrote it: a stranger's text."""
    mode: str
    """panel, exact panel or game; with ", tee" where keys inside TEEs may answer at once."""
    base_price_wei: int
    byte_price_wei: int
    token_price_wei: int
    max_prompt_bytes: int
    max_tokens: int
    live_seats: int
    seats: int
    last_answer: Moment | None


def offers(client: OracleClient) -> list[Offer]:
    """The offers of all services, oldest first."""
    created = client.history(client.oracle.events.ServiceCreated())
    names = {
        bytes(event["args"]["model"]): event["args"]["manifest"]["name"]
        for event in client.history(client.registry.events.ModelRegistered())
    }
    return [_offer(client, ServiceId(bytes(e["args"]["service"])), e["args"]["terms"], names) for e in created]


def _offer(client: OracleClient, service: ServiceId, terms: Mapping[str, Any], names: Mapping[bytes, str]) -> Offer:
    functions, model = client.oracle.functions, ModelId(bytes(terms["model"]))
    seats = functions.counts(service).call()[0]
    statuses = [functions.seatOf(service, seat).call()[4] for seat in range(seats)]
    return Offer(
        service=service,
        model=model,
        model_name=names.get(model, ""),
        mode=_mode(client, terms),
        base_price_wei=terms["basePriceWei"],
        byte_price_wei=terms["bytePriceWei"],
        token_price_wei=terms["tokenPriceWei"],
        max_prompt_bytes=terms["maxPromptBytes"],
        max_tokens=terms["maxTokens"],
        live_seats=sum(1 for status in statuses if status >= ACTIVE),
        seats=seats,
        last_answer=_last_answer(client, service),
    )


def _mode(client: OracleClient, terms: Mapping[str, Any]) -> str:
    judged = "another arbiter"
    if terms["arbiter"] == client.deployment.game:
        judged = "game"
    elif terms["arbiter"] == client.deployment.panel:
        judged = "exact panel" if PanelTerms.decoded(terms["arbiterTerms"]).exact else "panel"
    return judged if terms["attester"] == NOBODY else f"{judged}, tee"


def _last_answer(client: OracleClient, service: ServiceId) -> Moment | None:
    asked = client.history(client.oracle.events.RequestPosted(), service=service)
    requests = {event["args"]["requestId"] for event in asked[-NEWEST:]}
    if not requests:
        return None
    posted = Web3.to_hex(Web3.keccak(text=client.oracle.events.AnswerPosted().signature))
    answers = client.logs_with(client.oracle, [posted], from_block=asked[-NEWEST:][0]["blockNumber"])
    given = [event for event in answers if event["args"]["requestId"] in requests]
    return Moment.of(given[-1]) if given else None
