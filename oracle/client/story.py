"""A dispute game told from the chain's events alone: what was opened, what was picked, how it ended, who won what.

What the numbers are called follows from the model's registered architecture; values are decoded as the trace's layout
says. Whoever tells a story needs no model file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from web3 import Web3
from web3.contract import Contract

from oracle.chain.requests import Answer, game_case_id
from oracle.chain.units import ETHER
from oracle.client import gains, refuted
from oracle.client.client import OracleClient, asked
from oracle.disputes import commitments
from oracle.disputes.game import Game, Stage, numbers
from oracle.disputes.telling import Place, sentence
from oracle.engines.exact.architecture import Architecture
from oracle.errors import Refused
from oracle.ids import CaseId, GameId, RequestId, ServiceId

BAR, BRANCH = "│   ", "├── "


@dataclass(frozen=True)
class Line:
    """One step of the story."""

    depth: int
    text: str
    who: str
    block: int
    tx_hash: str
    gas_used: int


@dataclass(frozen=True)
class Opened:
    """A game as its first event says."""

    game: GameId
    case: CaseId
    request: RequestId
    challenger: str
    positions: int


def games(client: OracleClient, wanted: int) -> list[Opened]:
    """The game with that id, or all games about the request with that id, oldest first. Raises Refused."""
    about = client.game.events.GameOpened
    logs = [*client.history(about(), gameId=wanted), *client.history(about(), requestId=wanted)]
    return [
        Opened(
            game=GameId(a["gameId"]),
            case=CaseId(bytes(a["caseId"])),
            request=RequestId(a["requestId"]),
            challenger=a["challenger"],
            positions=a["positions"],
        )
        for a in (log["args"] for log in logs)
    ]


def drawn(client: OracleClient, opened: Opened, names: Mapping[str, str] | None = None) -> str:
    """A game as text, indented one step more with every round. names: of addresses."""
    state = Game.from_abi(client.game.functions.gameOf(opened.game).call())
    lines = [f"game {opened.game:#066x}", f"about request {opened.request:#066x}"]
    for line in tell(client, opened):
        said = f"{line.who} {line.text}"
        lines.append(f"{BAR * line.depth}{BRANCH}{said}  (block {line.block}, gas {line.gas_used:,})")
    if state.stage is not Stage.OVER:
        side = "the node" if state.node_to_move else "the challenger"
        lines.append(f"{side} is to move until {state.deadline} (Unix time)")
    else:
        answerer = _answerer(client, opened)
        won = gains.of_case(client, opened.case, answerer, case_logs(client, opened.case), opened.game)
        lines += gains.told(won) or ["the challenger's bond came back"]
    text = "\n".join(lines)
    for address, name in (names or {}).items():
        text = text.replace(address, name)
    return text


def tell(client: OracleClient, opened: Opened) -> Iterator[Line]:
    """Every step of a game so far, in order."""
    a = _architecture(client, opened.request)
    place = Place.opened(opened.positions)
    depth = 0
    for log in case_logs(client, opened.case):
        event, args = log["event"], log["args"]
        if args["gameId"] != opened.game and event != "AnswerKilled":
            continue
        place = place.after(event, args, a)
        depth += event == "Picked"
        text = _end(client, args, place, log) if event == "GameEnded" else sentence(event, args, place, a)
        if event == "AnswerKilled" and (shown := refuted.reason(client, log)):
            text = f"shows that {shown}, and {text}"
        tx = client.w3.eth.get_transaction(log["transactionHash"])
        gas = client.w3.eth.get_transaction_receipt(log["transactionHash"])["gasUsed"]
        yield Line(depth, text, tx["from"], log["blockNumber"], log["transactionHash"].to_0x_hex(), gas)


def case_logs(client: OracleClient, case: CaseId) -> list[Any]:
    """All decoded events about a case."""
    id_, killed = Web3.to_hex(case), Web3.to_hex(Web3.keccak(text=client.game.events.AnswerKilled().signature))
    logs = [*client.logs_with(client.game, [None, None, id_]), *client.logs_with(client.game, [killed, id_])]
    return sorted(logs, key=lambda log: (log["blockNumber"], log["logIndex"]))


def _answerer(client: OracleClient, opened: Opened) -> str:
    """Who gave the answer that a game is about. Raises Refused."""
    for event in client.events_about(RequestId(opened.request)):
        if event["event"] == "AnswerPosted":
            answer = Answer.from_abi(event["args"]["answer"])
            if game_case_id(opened.request, answer) == opened.case:
                return str(event["args"]["operator"])
    raise Refused(f"the endpoint has forgotten the answer that game {opened.game:#066x} is about")


def _architecture(client: OracleClient, request: RequestId) -> Architecture:
    """Of the model that a request was for. Raises Refused."""
    posted = asked(RequestId(request), client.events_about(RequestId(request)))
    terms = client.terms(ServiceId(posted.service))
    return commitments.shape(client.manifest(terms["model"]).architecture)


ENDS = {
    "timeout": "ends the game: the node was silent",
    "proveChoice": "proves that token {better} was to be chosen",
    "proveMargin": "proves the choice, its margin or its witness wrong: token {other} shows it",
    "provePattern": "proves that token {other}, which the pattern allows there, was to be chosen",
}
"""Calls that end games, but for a number's."""


def _proving(client: OracleClient) -> tuple[Contract, ...]:
    """Contracts whose calls end games."""
    return client.game, client.referee, client.token_referee, client.answer_referee


def _end(client: OracleClient, args: Mapping[str, Any], place: Place, log: Any) -> str:
    if not args["challengerWon"]:
        return f"ends the game: the challenger was silent; {args['toNodeWei'] / ETHER:g} ether to the node"
    tx = client.w3.eth.get_transaction(log["transactionHash"])
    called = {contract.address: contract for contract in _proving(client)}
    if "to" not in tx or tx["to"] not in called:  # through somebody's contract
        return "proves the answer wrong"
    function, given = called[tx["to"]].decode_function_input(tx["input"])
    if function.fn_name in ENDS:
        return ENDS[function.fn_name].format(**given)
    operator = place.operator
    assert operator is not None
    row, chunk = operator.row_and_chunk(place.index)
    column = chunk * operator.leaf_numbers + given["element"]
    shown = numbers(operator, given["values"])
    if given["element"] >= len(shown):
        return f"proves that {operator.name} has no such numbers"
    return f"proves that {operator.name}[{row}, {column}] is not {shown[given['element']]}"
