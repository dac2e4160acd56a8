"""`didyma service` and `didyma seat`: what creators of services and owners of seats do. No node holds their keys."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from oracle.attestation.attested_keys import EXACT_ENGINE
from oracle.chain.deployment import Deployment
from oracle.chain.services import GameTerms, PanelTerms, Policy, Terms
from oracle.chain.units import ETHER, GWEI, NOBODY
from oracle.cli.arguments import ServiceArgument, address, bytes32, wei
from oracle.cli.connection import Wallet, reading, sending
from oracle.cli.model import DEFAULT_STORE, StoreOption
from oracle.cli.report import JsonOption, print_json, utc
from oracle.client import OracleClient
from oracle.client.offers import Offer, offers
from oracle.disputes.commitments import longest_asked
from oracle.engines.prompts import longest_prompt
from oracle.errors import Refused, printable
from oracle.models.files import at_home
from oracle.models.store import ModelStore

service_app = typer.Typer(help="Services: offers to answer for a model.", no_args_is_help=True)
seat_app = typer.Typer(help="Seats: the stake of a node in a service, held by a cold owner.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)

SeatArgument = Annotated[int, typer.Argument(min=0, max=65_535, help="The seat's number.")]


@service_app.command("list")
@reading
def list_services(client: OracleClient, as_json: JsonOption = False) -> None:
    """All services, oldest first: model, mode, price, longest prompt, live seats, last answer."""
    found = offers(client)
    if as_json:
        print_json(found)
        return
    for offer in found:
        console.print(f"0x{offer.service.hex()}", markup=False)
        for line in _in_words(client, offer):
            console.print(f"  {line}", markup=False)


def _in_words(client: OracleClient, offer: Offer) -> Iterator[str]:
    yield f"model      {printable(offer.model_name)} (0x{offer.model.hex()[:8]}), mode {offer.mode}"
    yield (
        f"price      {offer.base_price_wei / ETHER:g} ether, {offer.byte_price_wei / GWEI:g} gwei a byte of prompt, "
        f"{offer.token_price_wei / GWEI:g} gwei a token of answer"
    )
    yield f"takes      prompts of at most {offer.max_prompt_bytes:,} bytes, gives at most {offer.max_tokens:,} tokens"
    last = "no answer yet"
    if offer.last_answer is not None:
        block = offer.last_answer.block
        last = f"last answer {utc(client.w3.eth.get_block(block)['timestamp'])}, block {block:,}"
    yield f"answers    {offer.live_seats} of {offer.seats} seats are live; {last}"


@service_app.command()
@reading
def show(client: OracleClient, service: ServiceArgument, as_json: JsonOption = False) -> None:
    """The terms of a service, and who sits in it."""
    terms, functions, id_ = dict(_terms(client, service)), client.oracle.functions, bytes32(service)
    judged: dict[str, Any] = {}
    if terms["arbiter"] == client.deployment.panel:
        judged["panel"] = asdict(PanelTerms.decoded(terms["arbiterTerms"]))
    elif terms["arbiter"] == client.deployment.game:
        judged["game"] = asdict(GameTerms.decoded(terms["arbiterTerms"]))
    if terms["attester"] != NOBODY:
        judged["attested"] = asdict(Policy.decoded(terms["attesterTerms"]))
    seats = []
    for number in range(functions.counts(id_).call()[0]):
        owner, operator, balance, locks, status, _ = functions.seatOf(id_, number).call()
        state = ("empty", "joining", "active", "leaving", "suspended", "active")[status]
        who = {"owner": owner, "operator": operator}
        seats.append({"seat": number, "state": state, **who, "balance_wei": balance, "locks": locks})
    if as_json:
        print_json({"service": id_, "terms": terms, **judged, "seats": seats})
        return
    for name, value in terms.items():
        console.print(f"{name:<18} {_shown(value)}")
    for prefix, fields in judged.items():
        for name, value in fields.items():
            console.print(f"  {f'{prefix}.{name}':<26} {_shown(value)}")
    for seat in seats:
        stake = f"{seat['balance_wei'] / ETHER:g} ether, {seat['locks']} locks"
        holders = f"owner {seat['owner']} operator {seat['operator']}"
        console.print(f"seat {seat['seat']:<4} {seat['state']:<8} {holders} {stake}")


@service_app.command()
@sending
def create(
    wallet: Wallet,
    terms_file: Annotated[Path, typer.Argument(help="Terms as TOML; docs/operators.md shows one.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Create a service judged by a panel or by the dispute game; registers a panel's model first if nobody has."""
    client = wallet.client
    manifest, terms = _read_terms(terms_file, client.deployment, ModelStore(at_home(store)))
    if terms.arbiter == client.deployment.game and not client.referee.functions.enrolled(manifest.model_id).call():
        raise Refused("the referee does not know this model; see `didyma model register`")
    longest = longest_asked(manifest) if terms.arbiter == client.deployment.game else longest_prompt(manifest)
    if terms.max_prompt_bytes > longest:
        raise Refused(
            f"max_prompt_bytes = {terms.max_prompt_bytes:,}: such a prompt may not fit the model's context of "
            f"{manifest.context_length:,} tokens; the largest that fits is {longest:,}"
        )
    wallet.say(
        f"prompts    at most {terms.max_prompt_bytes:,} bytes; up to {longest:,} would fit", longest_prompt=longest
    )
    if not client.registry.functions.registered(manifest.model_id).call():
        wallet.send(client.registry.functions.register(astuple(manifest)))
        if wallet.dry_run:
            wallet.say("Register the model first; then this command shows the rest.")
            return
    wallet.send(client.oracle.functions.createService(astuple(terms)))
    wallet.say(f"service    0x{terms.service_id().hex()}", service=terms.service_id())


@seat_app.command()
@sending
def join(
    wallet: Wallet,
    service: ServiceArgument,
    operator: Annotated[str, typer.Argument(help="The node's operator address.")],
    ether: Annotated[str, typer.Option(help="Stake; the service's least by default.")] = "",
) -> None:
    """Take a seat. It can act after the service's lifetime; the node activates it then."""
    least = int(_terms(wallet.client, service)["seatWei"])
    call = wallet.client.oracle.functions.join(bytes32(service), address(operator))
    wallet.send(call, wei(ether) if ether else least)


@seat_app.command("top-up")
@sending
def top_up(
    wallet: Wallet,
    service: ServiceArgument,
    seat: SeatArgument,
    ether: Annotated[str, typer.Argument(help="Amount.")],
) -> None:
    """Add to a seat's balance: a seat answers as many requests at once as its balance holds bonds."""
    wallet.send(wallet.client.oracle.functions.topUp(bytes32(service), seat), wei(ether))


@seat_app.command()
@sending
def operator(
    wallet: Wallet,
    service: ServiceArgument,
    seat: SeatArgument,
    operator: Annotated[str, typer.Argument(help="The new operator address.")],
) -> None:
    """Replace a seat's hot key."""
    wallet.send(wallet.client.oracle.functions.setOperator(bytes32(service), seat, address(operator)))


@seat_app.command()
@sending
def leave(wallet: Wallet, service: ServiceArgument, seat: SeatArgument) -> None:
    """Announce that a seat is given up; or, once the delay is over, give it up."""
    functions, leaving = wallet.client.oracle.functions, 3
    *_, status, _ = functions.seatOf(bytes32(service), seat).call()
    call = functions.exit if status == leaving else functions.announceExit
    wallet.send(call(bytes32(service), seat))
    if status != leaving and not wallet.dry_run:
        *_, ready_at = functions.seatOf(bytes32(service), seat).call()
        when = f"{datetime.fromtimestamp(ready_at, UTC):%Y-%m-%d %H:%M:%S} UTC"
        wallet.say(f"ready at   {when}; then leave again", ready_at=ready_at)


def _terms(client: OracleClient, service: str) -> Mapping[str, Any]:
    """A service's terms, as its event says. Raises Refused."""
    return client.terms(bytes32(service))


def _read_terms(path: Path, deployment: Deployment, store: ModelStore) -> tuple[Any, Terms]:
    """Manifest and terms of a TOML file: a table of panel or game, perhaps one of a policy. Raises Refused."""
    try:
        values = tomllib.loads(path.read_text())
        judged: PanelTerms | GameTerms
        if "game" in values:
            arbiter, judged = deployment.game, GameTerms(**values.pop("game"))
        else:
            arbiter, judged = deployment.panel, PanelTerms(**values.pop("panel"))
        if arbiter is None:
            raise Refused("this deployment has no dispute game")
        manifest = store.find(str(values.pop("model")))
        attested = {"attester": NOBODY, "attester_terms": b""}
        if "attested" in values:
            if deployment.attester is None:
                raise Refused("this deployment knows no TEEs")
            if isinstance(judged, PanelTerms) and not judged.exact:
                raise Refused(
                    "keys inside TEEs vouch for the exact engine: judge by [game], or a panel with tolerance 0"
                )
            attested = {"attester": deployment.attester, "attester_terms": _policy(values.pop("attested")).encoded()}
        judges = {"arbiter": arbiter, "arbiter_terms": judged.encoded()}
        terms = Terms(**{"model": manifest.model_id, **judges, **attested, **values})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise Refused(f"{path} does not hold the terms of a service: {error}") from None
    return manifest, terms


def _shown(value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(str(_shown(each)) for each in value) or "none"
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _policy(values: dict[str, Any]) -> Policy:
    """A policy of keys inside TEEs. Raises TypeError, ValueError for what is not one."""
    listed = {name: tuple(map(bytes32, values.pop(name))) for name in ("measurements", "platforms")}
    advisories, guardian = tuple(values.pop("advisories", ())), address(values.pop("guardian", NOBODY))
    return Policy(**{"guardian": guardian, "engine_id": EXACT_ENGINE, "advisories": advisories, **listed, **values})
