"""`didyma node init`: asks for what its options leave open, writes the settings, makes the keys, says what to fund.

Nothing is written before all answers can be used, and nothing that is there is overwritten.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer
from web3.exceptions import Web3Exception

from oracle.chain.deployment import Deployment
from oracle.chain.services import GameTerms, PanelTerms
from oracle.chain.units import ether
from oracle.cli.arguments import address, bytes32
from oracle.cli.connection import DeploymentOption, Network, RpcUrlOption, dev_deployment
from oracle.cli.keys import create_keystore
from oracle.cli.report import JsonOption, print_json, reported
from oracle.errors import BadSettings, OracleError, Refused, printable
from oracle.models.files import at_home
from oracle.node.operator.settings_file import Choices, write
from oracle.node.settings import load

T = TypeVar("T")


@dataclass(frozen=True)
class Need:
    """What somebody must hold."""

    whom: str
    least_wei: int
    what: str


def init(
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings file to write.")] = Path("didyma.toml"),
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
    service: Annotated[
        list[str] | None, typer.Option(help="Service to answer, watch and vote for. Repeatable.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Folder for the journal and for answers found wrong.")] = Path(
        "~/.didyma"
    ),
    withdraw_to: Annotated[str, typer.Option(help="Cold address that the node's credit goes to.")] = "",
    keystore: Annotated[bool, typer.Option(help="Make an operator key; without it the node runs dry.")] = True,
    dispute_keystore: Annotated[bool, typer.Option(help="Make a second key for disputes.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a settings file and make the node's keys. Asks for what the options leave open."""
    with reported():
        names = [name for name, wanted in (("operator", keystore), ("dispute", dispute_keystore)) if wanted]
        files = {name: config.resolve().parent / f"{name}.json" for name in names}
        for path in (config, *files.values()):
            if path.exists():
                raise BadSettings(f"{path} exists and is not overwritten; --config names a file in another folder")
        asks = deployment is None or rpc_url is None or not service
        running = str(dev_deployment()) if dev_deployment().exists() else None
        file = _asked("Deployment file", _deployment, running) if deployment is None else _deployment(str(deployment))
        network = Network.find(file, rpc_url)
        urls = _asked("RPC endpoints, best first", _urls, network.rpc_url) if rpc_url is None else _urls(rpc_url)
        services = _services(service) if service else _asked("Services", lambda text: _services(_split(text)))
        cold = _asked("Cold address for credit, or none", _cold, "") if asks and not withdraw_to else _cold(withdraw_to)
        seat_wei, bond_wei, missing = _terms(replace(network, rpc_url=urls[0]), services)
        write(config, Choices(urls, file, services, data_dir, cold, tuple(names)))
        try:
            reserve_wei = load(config).reserve_wei
            keys = {name: _key(path) for name, path in files.items()}
        except BaseException:  # so that the next run can begin anew
            config.unlink()
            raise
        funds = _funds(names, seat_wei, bond_wei, reserve_wei)
        if as_json:
            print_json({"settings": config, "services": services, "keys": keys, "funds": funds})
            return
        for name, key in keys.items():
            places = f"encrypted in {key['keystore']}, password in {key['password_file']}"
            typer.echo(f"{name} key   {key['address']}  ({places})")
        _say(config, funds, missing)


def _say(config: Path, funds: list[Need], missing: str) -> None:
    typer.echo(f"settings       {config}  (every setting, with its meaning)")
    for need in funds:
        typer.echo(f"fund           {need.whom}: {ether(need.least_wei)} ether or more, {need.what}")
    if missing and funds:
        typer.echo(f"               what services ask for is not known ({missing}): didyma service show SERVICE")
    typer.echo(
        "Next: send that, take a seat for the operator from your cold key (didyma seat join), then:"
        if funds
        else "Without a key the node runs dry: it checks and signs nothing. Next:"
    )
    typer.echo(f"  didyma node check --config {config}\n  didyma node run --config {config}")


# -- answers -----------------------------------------------------------------------------------------------------------


def _asked(question: str, read: Callable[[str], T], default: str | None = None) -> T:
    """Asks until the answer can be read. default: what an empty answer stands for; "" for nothing."""

    def answer(text: str) -> T:
        try:
            return read(text.strip())
        except OracleError as error:
            raise typer.BadParameter(printable(str(error))) from None

    found: T = typer.prompt(question, default=default, show_default=bool(default), value_proc=answer, err=True)
    return found


def _deployment(text: str) -> Path:
    path = at_home(Path(text)).resolve()
    Deployment.load(path)
    return path


def _urls(text: str) -> tuple[str, ...]:
    """Raises Refused, which repeats no URL: it may hold a credential."""
    urls = tuple(dict.fromkeys(_split(text)))
    try:
        parts = [urlsplit(url) for url in urls]
        right = all(part.scheme in ("http", "https") and part.hostname for part in parts)
    except ValueError:
        right = False
    if not urls or not right:
        raise Refused("an endpoint is named as http://HOST:PORT or https://HOST/PATH; several are separated by blanks")
    return urls


def _services(words: list[str]) -> tuple[str, ...]:
    services = tuple(dict.fromkeys(f"0x{bytes32(each).hex()}" for each in words))
    if not services:
        raise Refused("a node needs a service; `didyma service list` shows all")
    return services


def _cold(text: str) -> str | None:
    return address(text) if text else None


def _split(text: str) -> list[str]:
    return text.replace(",", " ").split()


# -- keys and money ----------------------------------------------------------------------------------------------------


def _key(keystore: Path) -> dict[str, Any]:
    password_file = keystore.with_suffix(".password")
    made = create_keystore(keystore, password_file)
    return {"address": made, "keystore": keystore, "password_file": password_file}


def _terms(network: Network, services: tuple[str, ...]) -> tuple[int, int, str]:
    """The stake of a seat in each service; the highest bond of a challenge; why the chain does not tell them all, if
    it does not: it may not answer yet. Raises Refused if it answers, and is another chain or has no such service.
    """
    seat_wei = bond_wei = 0
    try:
        client = network.client()
        for service in services:
            terms = client.terms(bytes32(service))
            seat_wei += terms["seatWei"]
            plays = terms["arbiter"] == client.deployment.game
            decoded = (GameTerms if plays else PanelTerms).decoded(terms["arbiterTerms"])
            first_wei = decoded.ceiling_wei if isinstance(decoded, GameTerms) else decoded.challenge_bond_wei
            bond_wei = max(bond_wei, first_wei)
    except Refused:
        raise
    except (OracleError, Web3Exception, OSError) as error:
        return seat_wei, bond_wei, type(error).__name__
    return seat_wei, bond_wei, ""


def _funds(keys: list[str], seat_wei: int, bond_wei: int, reserve_wei: int) -> list[Need]:
    """keys: the one that challenges last."""
    if not keys:
        return []
    needs = []
    for name in keys:
        challenges = name == keys[-1] and bond_wei > 0
        what = "for gas, and for the bond of a challenge" if challenges else "for gas"
        needs.append(Need(f"{name} key", 2 * reserve_wei + (bond_wei if challenges else 0), what))
    if seat_wei:
        needs.append(Need("cold key", seat_wei, "the stake of a seat in each service"))
    return needs
