"""`didyma node`: set a node up, check it, run it, look into it, take money out."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from web3.exceptions import Web3Exception

from oracle.api.process import run as run_node
from oracle.chain.services import GameTerms, PanelTerms
from oracle.chain.units import ether
from oracle.cli import earnings
from oracle.cli.arguments import ConfigOption, bytes32
from oracle.cli.connection import DeploymentOption, Network, RpcUrlOption, dev_deployment
from oracle.cli.keys import create_keystore
from oracle.cli.report import BlocksBar, JsonOption, print_json, progress, reported
from oracle.client.readiness import readiness
from oracle.errors import BadSettings, OracleError
from oracle.node import logs
from oracle.node.operator import check as checks
from oracle.node.operator import manual
from oracle.node.operator.settings_file import Choices, write
from oracle.node.settings import load

app = typer.Typer(help="Run a node: answer, watch, judge.", no_args_is_help=True)
console = Console()
T = TypeVar("T")


@app.command()
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
        if config.exists():
            raise BadSettings(f"{config} exists and is not overwritten")
        running = dev_deployment()
        named = str(running) if running.exists() else None
        file = deployment or Path(typer.prompt("Deployment file", default=named, err=True))
        network = Network.find(file, rpc_url)
        url = rpc_url or str(typer.prompt("RPC endpoint", default=network.rpc_url, err=True))
        typed = service or typer.prompt("Services, by blanks", err=True).split()
        services = [f"0x{bytes32(each).hex()}" for each in typed]
        folder = config.resolve().parent
        keys: dict[str, dict[str, Any]] = {}
        for name, wanted in (("operator", keystore), ("dispute", dispute_keystore)):
            if wanted:
                password = folder / f"{name}.password"
                address = create_keystore(folder / f"{name}.json", password)
                keys[name] = {"address": address, "keystore": folder / f"{name}.json", "password_file": password}
                if not as_json:
                    keystore_file = keys[name]["keystore"]
                    typer.echo(f"{name} key   {address}  (encrypted in {keystore_file}, password in {password})")
        write(config, Choices(url, file, tuple(services), data_dir, withdraw_to or None, tuple(keys)))
        load(config)
        funds, missing = _funding(network, url, services, tuple(keys), load(config).reserve_wei)
        if as_json:
            print_json({"settings": config, "services": services, "keys": keys, "funds": funds})
            return
        typer.echo(f"settings       {config}  (every setting, with its meaning)")
        for need in funds:
            typer.echo(f"fund           {need.whom}: {ether(need.least_wei)} ether or more, {need.what}")
        if missing:
            typer.echo(f"               what services ask for is not known ({missing}): didyma service show SERVICE")
        typer.echo(
            "Next: send that, take a seat for the operator from your cold key (didyma seat join), then:"
            if keys
            else "Without a key the node runs dry: it checks and signs nothing. Next:"
        )
        typer.echo(f"  didyma node check --config {config}\n  didyma node run --config {config}")


@dataclass(frozen=True)
class Need:
    """What somebody must hold."""

    whom: str
    least_wei: int
    what: str


def _funding(
    network: Network, url: str, services: list[str], keys: tuple[str, ...], reserve_wei: int
) -> tuple[list[Need], str]:
    """What to fund, and why that is not all, if it is not: the chain may not answer yet."""
    if not keys:
        return [], ""
    seat_wei = challenge_wei = 0
    why = ""
    try:
        client = replace(network, rpc_url=url).client()
        for service in services:
            terms = client.terms(bytes32(service))
            seat_wei += terms["seatWei"]
            plays = terms["arbiter"] == client.deployment.game
            decoded = (GameTerms if plays else PanelTerms).decoded(terms["arbiterTerms"])
            first_wei = decoded.ceiling_wei if isinstance(decoded, GameTerms) else decoded.challenge_bond_wei
            challenge_wei = max(challenge_wei, first_wei)
    except (OracleError, Web3Exception, OSError) as error:
        why = type(error).__name__
    challenger = keys[-1]
    needs = [
        Need(
            f"{name} key",
            2 * reserve_wei + (challenge_wei if name == challenger else 0),
            "for gas" + (", and for the bond of a challenge" if name == challenger and challenge_wei else ""),
        )
        for name in keys
    ]
    if seat_wei:
        needs.append(Need("cold key", seat_wei, "the stake of a seat in each service"))
    return needs, why


@app.command()
def check(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Compare settings, chain, contracts, keys, balances and model files, and run one self-test inference."""
    with reported():
        settings = load(config)
        with progress("reading model files") as on_bytes:
            found = _wait(checks.everything(settings, on_bytes=on_bytes, on_blocks=BlocksBar()))
        failed = any(not finding.right for finding in found)
        if as_json:
            print_json(found)
        for finding in [] if as_json else found:
            mark = "[red]WRONG[/]" if not finding.right else "[yellow]look [/]" if finding.warns else "[green]right[/]"
            console.print(mark, f"{finding.what:<12}", finding.detail, highlight=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def run(config: ConfigOption = None) -> None:
    """Run the node until SIGTERM."""
    with reported():
        settings = load(config)
        logs.configure(settings.log_format, settings.log_level)
        run_node(settings)


@app.command()
def status(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Ask the running node whether it is ready, and why not. The exit status is 0 if it is."""
    with reported():
        settings = load(config)
        if not settings.api_port:
            raise BadSettings("the node has no API to ask: set api_port")
        token = settings.api_token.get_secret_value() if settings.api_token else ""
        said = readiness(settings.api_host, settings.api_port, token)
    if as_json:
        print_json({"ready": not said.reasons, "reasons": said.reasons, "warnings": said.warnings})
    else:
        typer.echo("\n".join(f"not ready: {reason}" for reason in said.reasons) or "ready")
        for warning in said.warnings:
            typer.echo(f"warning: {warning}")
    if said.reasons:
        raise typer.Exit(1)


@app.command()
def jobs(
    config: ConfigOption = None,
    state: Annotated[str, typer.Option(help="Only requests in this state.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List what the journal holds: requests, cases, transactions on their way."""
    with reported():
        rows = manual.list_jobs(load(config), state)
        if as_json:
            print_json(rows)
            return
        table = Table("kind", "key", "state", "since block")
        for row in rows:
            table.add_row(row["kind"], row["key"], row["state"], str(row["block"] or ""))
        console.print(table)


app.command("report")(earnings.report)


@app.command()
def withdraw(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the calldata and send nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the credit of the node's keys to `withdraw_to`. The node must not be running."""
    with reported():
        done = _wait(manual.withdraw(load(config), dry_run=dry_run))
        if as_json:
            print_json(done)
        for each in [] if as_json else done:
            typer.echo(str(each))


@app.command()
def rebuild(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read the chain again from the contracts' first block; what was signed is kept where the journal can be read."""
    with reported():
        settings = load(config)
        digest = _wait(manual.rebuild(settings, BlocksBar()))
        if as_json:
            print_json({"digest": digest})
        else:
            typer.echo(f"rebuilt; digest of what the chain says: 0x{digest.hex()}")


@app.command()
def prune(
    config: ConfigOption = None,
    older_than: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Blocks since anything about a request changed, `finality` at least. By default its deadline and "
            "window must have ended 60 days of the chain's time ago: no callback can be repeated any more.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count and delete nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete closed requests and all about them from the journal; what was signed stays. Not while the node runs."""
    with reported():
        counts = manual.prune(load(config), older_than, dry_run=dry_run)
        if as_json:
            print_json({"deleted": not dry_run, **counts})
            return
        found = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count) or "nothing"
        typer.echo(f"{'would delete' if dry_run else 'deleted'}: {found}")


def _wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)
