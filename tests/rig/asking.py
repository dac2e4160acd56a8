"""A request's life without daemons: anybody's answer in whoever's turn it is, and its end."""

from typing import Any

from e2e.world import NODES, World
from eth_account.signers.local import LocalAccount

from oracle.chain.requests import Answer
from oracle.client import OracleClient
from oracle.engines.base import Completion
from oracle.errors import CallReverted
from oracle.ids import RequestId

TURNS = 40


def answer(earth: World, request: RequestId, given: Completion) -> Answer:
    """Posts `given` as the answer of the seat whose turn it is."""
    words = earth.request(request).words
    by_address: dict[str, LocalAccount] = {node.address: node for node in NODES}
    for _ in range(TURNS):
        earth.chain.mine(2)
        operator = earth.turn_of(request)
        if operator not in by_address:
            continue
        seed = earth.client.w3.eth.get_block(earth.request(request).seed_block)["hash"]
        args = (words, given.text, len(given.tokens), given.root, seed)
        try:
            earth.act(by_address[operator], "answer", *args)
        except CallReverted as error:  # the turn has just passed
            if error.name != "NotYourTurn":
                raise
            continue
        return Answer.from_abi(said(earth, request, "AnswerPosted")[-1]["answer"])
    raise AssertionError("nobody's turn came")


def finalize(earth: World, request: RequestId, answer: Answer, output: bytes) -> None:
    """Once the window is over."""
    pass_until(earth, answer.closes_at + 1)
    earth.act(NODES[0], "finalize", [(earth.request(request).words, answer.words, output)])


def pass_until(earth: World, moment: int) -> None:
    """moment: Unix seconds. Changes nothing where it is past."""
    if earth.client.w3.eth.get_block("latest")["timestamp"] < moment:
        earth.chain.rpc("evm_setNextBlockTimestamp", moment)
    earth.chain.mine()


def live_until(earth: World, moment: int) -> None:
    """The same, with a block each second, as on a chain in good health: turns that pass so are missed."""
    earth.chain.mine(max(1, moment - earth.client.w3.eth.get_block("latest")["timestamp"]))


def said(earth: World, request: RequestId, event: str) -> list[Any]:
    """Arguments of the oracle's events of that name about a request."""
    return [each["args"] for each in earth.client.events_about(request) if each["event"] == event]


def client_of(earth: World, account: Any) -> OracleClient:
    return OracleClient(earth.client.w3, earth.deployment, account)
