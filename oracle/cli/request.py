"""`didyma request`: what became of a request, and what its payer may still do about it."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console

from oracle.chain.requests import Ruling
from oracle.chain.units import ETHER
from oracle.cli.arguments import request_id
from oracle.cli.connection import Wallet, paying, reading
from oracle.cli.report import JsonOption, print_json, utc
from oracle.client import OracleClient, story, typed
from oracle.client.gains import told
from oracle.client.life import Dispute, Life, Moment, disputes, of_request
from oracle.client.typed import type_asked
from oracle.engines.answer_types import AnswerType, Choice, Pattern, is_typed
from oracle.engines.exact.text_prompts import parts_of
from oracle.errors import Refused, printable
from oracle.ids import RequestId, ServiceId
from oracle.merkle.tokens import ids_in

app = typer.Typer(help="Requests: what became of them, and second tries.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True, markup=False)
SHOWN_IDS = 16

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The request's id, as `didyma ask` prints it.")]


@app.command()
@reading
def show(
    client: OracleClient,
    identity: Annotated[str, typer.Argument(metavar="ID", help="A request's id, or a dispute game's.")],
    as_json: JsonOption = False,
) -> None:
    """The life of a request: who, when, how much, what its consumer got, who won which dispute and what."""
    life = _found(client, request_id(identity))
    about = disputes(client, life)
    kind = _type(client, life)
    if as_json:
        print_json(_as_json(client, life, about, kind))
        return
    for line in _lines(client, life, about, kind):
        console.print(line)
    for dispute in about:
        for opened in story.games(client, life.id) if dispute.games else ():
            if opened.game in dispute.games:
                console.print("\n" + story.drawn(client, opened))


@app.command()
@paying
def retry(
    wallet: Wallet,
    identity: IdArgument,
    gas: Annotated[
        int | None, typer.Option(min=1, max=1 << 32, help="Gas for the callback; what was bought if not given.")
    ] = None,
) -> None:
    """Repeat a callback that failed, or make one that was left; anyone may, at least 30 days after the window."""
    wallet.send(wallet.client.retrying(request_id(identity), gas))


@app.command()
@paying
def refund(wallet: Wallet, identity: IdArgument) -> None:
    """Give the payer of a request back what it cost, once its deadline has passed unanswered; anyone may."""
    wallet.send(wallet.client.refunding(request_id(identity)))
    _say_how_to_withdraw(wallet)


@app.command()
@paying
def cancel(wallet: Wallet, identity: IdArgument) -> None:
    """Take back a request of yours that nobody has answered: free for two blocks, later for base and prompt price."""
    wallet.send(wallet.client.cancellation(request_id(identity)))
    _say_how_to_withdraw(wallet)


def _say_how_to_withdraw(wallet: Wallet) -> None:
    if not wallet.dry_run:
        wallet.say("The payer has the amount as credit; `didyma withdraw` takes it out.")


def _found(client: OracleClient, wanted: RequestId) -> Life:
    """The request with that id, or the one that a game with that id is about. Raises Refused."""
    try:
        return of_request(client, wanted)
    except Refused:
        games = story.games(client, wanted) if client.deployment.game else []
        if not games:
            raise
        return of_request(client, RequestId(games[0].request))


def _type(client: OracleClient, life: Life) -> AnswerType | None:
    """Of the answer, where the prompt is typed and can be read."""
    if life.request.is_private or not is_typed(life.prompt):
        return None
    manifest = client.manifest(client.terms(ServiceId(life.request.service))["model"])
    return type_asked(life.prompt, manifest, life.request.max_tokens)


def _lines(client: OracleClient, life: Life, about: list[Dispute], kind: AnswerType | None) -> Iterator[str]:
    request, terms = life.request, client.terms(ServiceId(life.request.service))
    is_game = terms["arbiter"] == client.deployment.game
    yield f"request      {life.id:#066x}"
    yield f"state        {life.state}"
    yield f"asked        {_when(client, life.asked)}"
    yield f"payer        {client.w3.to_checksum_address(request.payer)}"
    yield f"service      0x{request.service.hex()}, judged by {'the dispute game' if is_game else 'a panel'}"
    yield f"prompt       {len(life.prompt):,} bytes: {_prompt(life, kind)}"
    sampled = f"temperature {request.temperature / 65536:g}" if request.temperature else "temperature 0"
    yield f"parameters   at most {request.max_tokens} tokens, {sampled}, answered by {utc(request.deadline)}"
    if life.value_wei:
        yield f"at stake     {_ether(life.value_wei)}, by the payer's word"
    callback = f", and {_ether(request.callback_wei)} for a callback" if request.callback_gas else ""
    yield f"escrow       {_ether(request.fee_wei)} for the answer{callback}"
    by_turn = {dispute.turn: dispute for dispute in about}
    for given in life.answers:
        answer = given.answer
        yield f"answer       turn {answer.turn}, seat {answer.seat}, by {given.operator}, {_when(client, given.at)}"
        yield f"             {answer.token_count} tokens: {_output(life, given.output, kind)}"
        if given.signer is not None:
            yield f"             signed by {given.signer}, a key inside a TEE"
        if answer.turn in by_turn:
            yield from _dispute_lines(by_turn[answer.turn])
    yield from _end_lines(client, life)


def _dispute_lines(dispute: Dispute) -> Iterator[str]:
    yield f"  disputed   by {', '.join(dispute.challengers)}"
    if dispute.votes is not None:
        yield f"  votes      {dispute.votes['right']} say right, {dispute.votes['wrong']} say wrong"
    if dispute.shown:
        yield f"  shown      {dispute.shown}"
    outcome = {
        None: "still open",
        Ruling.UPHELD: "the node won: the answer stands",
        Ruling.REJECTED: "the challenger won: the answer was rejected",
        Ruling.ANNULLED: "nobody won: the panel was tied or incomplete, and the question was asked again",
    }[dispute.ruling]
    yield f"  outcome    {outcome}"
    for line in told(dispute.gains):
        yield f"             {line}"


def _end_lines(client: OracleClient, life: Life) -> Iterator[str]:
    if life.closed is None:
        return
    paid = f": {_ether(life.paid_wei)} to the node" if life.state == "final" else ""
    yield f"closed       {life.state}, {_when(client, life.closed)}{paid}"
    if life.refund_wei:
        yield f"             {_ether(life.refund_wei)} back to the payer, as credit"
    price = _ether(life.request.callback_wei)
    callback = {
        "none": "none was asked for",
        "pending": "to come",
        "delivered": "delivered",
        "failed": f"FAILED: `didyma request retry {life.id:#066x}` repeats it, perhaps with more --gas",
        "repeated": "failed at first, delivered at a later try",
        "left": f"LEFT by the node: `didyma request retry {life.id:#066x}` makes it, and earns {price}",
        "collected": f"left by the node, made by somebody for {price}",
        "reclaimed": f"left by the node, made by nobody; the payer has {price} back, as credit",
    }[life.callback]
    yield f"callback     {callback}"


def _as_json(client: OracleClient, life: Life, about: list[Dispute], kind: AnswerType | None) -> dict[str, Any]:
    """Amounts in wei, times in Unix seconds; ids and bytes in hexadecimal."""
    request = life.request
    return {
        "request": f"{life.id:#066x}",
        "state": life.state,
        "asked": _moment(client, life.asked),
        "payer": client.w3.to_checksum_address(request.payer),
        "service": request.service,
        "prompt": life.prompt,
        "is_private": request.is_private,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature / 65536,
        "deadline": request.deadline,
        "value_wei": life.value_wei,
        "fee_wei": request.fee_wei,
        "callback_wei": request.callback_wei,
        "callback_gas": request.callback_gas,
        "answers": [
            {
                "turn": given.answer.turn,
                "seat": given.answer.seat,
                "operator": given.operator,
                "at": _moment(client, given.at),
                "token_count": given.answer.token_count,
                "closes_at": given.answer.closes_at,
                "output": given.output,
                "choice": None if kind is None else typed.fields(kind, given.output),
                "signer": given.signer,
                "ruling": _ruling(given.ruling),
            }
            for given in life.answers
        ],
        "disputes": [
            {
                "turn": dispute.turn,
                "challengers": dispute.challengers,
                "votes": dispute.votes,
                "games": [f"{game:#066x}" for game in dispute.games],
                "shown": dispute.shown,
                "ruling": _ruling(dispute.ruling),
                "gains": dispute.gains,
            }
            for dispute in about
        ],
        "closed": None if life.closed is None else _moment(client, life.closed),
        "paid_wei": life.paid_wei,
        "refund_wei": life.refund_wei,
        "callback": life.callback,
    }


def _ruling(ruling: Ruling | None) -> str | None:
    return None if ruling is None else ruling.name.lower()


def _moment(client: OracleClient, moment: Moment) -> dict[str, Any]:
    return {"time": _time(client, moment), "block": moment.block, "tx_hash": moment.tx_hash}


def _when(client: OracleClient, moment: Moment) -> str:
    return f"{utc(_time(client, moment))}, block {moment.block:,}, transaction {moment.tx_hash}"


def _time(client: OracleClient, moment: Moment) -> int:
    return client.w3.eth.get_block(moment.block)["timestamp"]


def _prompt(life: Life, kind: AnswerType | None) -> str:
    if life.request.is_private:
        return "sealed, private"
    what = "" if kind is None else "of a malformed type, "
    if isinstance(kind, Choice):
        what = f"{len(kind.rows)} choices, "
    elif isinstance(kind, Pattern):
        what = f"a pattern of {kind.states:,} states, "
    return what + " + ".join(_ids(part) if of_ids else text_of(part) for of_ids, part in parts_of(life.prompt))


def _ids(data: bytes) -> str:
    ids = ids_in(data)
    return f"token ids {' '.join(map(str, ids[:SHOWN_IDS]))}{' ...' if len(ids) > SHOWN_IDS else ''}"


def _output(life: Life, output: bytes, kind: AnswerType | None) -> str:
    if kind is not None:
        return typed.told(kind, output)
    return f"{len(output):,} sealed bytes, private" if life.request.is_private else text_of(output)


def text_of(data: bytes) -> str:
    """A stranger's bytes, fit for a terminal."""
    return repr(printable(data.decode("utf-8", "replace")))


def _ether(wei: int) -> str:
    return f"{wei / ETHER:g} ether"
