"""`didyma node`: set a node up, check it, run it, look into it, take money out."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from oracle.cli.keys import create_keystore
from oracle.cli.report import reported
from oracle.deployment import Deployment
from oracle.errors import BadSettings
from oracle.node import check as checks
from oracle.node import logs, manual
from oracle.node.serve import run as run_node
from oracle.node.settings import load
from oracle.node.settings_file import Choices, write

app = typer.Typer(help="Run a node: answer, watch, judge.", no_args_is_help=True)
console = Console()
T = TypeVar("T")

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file (TOML); $DIDYMA_CONFIG by default.")
]
ETHER = 10**18


@app.command()
def init(
    *,
    config: Annotated[Path, typer.Option("--config", "-c", help="Settings file to write.")] = Path("didyma.toml"),
    rpc_url: Annotated[str, typer.Option(help="RPC endpoint; asked for if not given.")] = "",
    deployment: Annotated[Path | None, typer.Option(help="Deployment file of the contracts.")] = None,
    service: Annotated[list[str] | None, typer.Option(help="Service to answer, watch and vote for.")] = None,
    data_dir: Annotated[Path, typer.Option(help="Journal and evidence.")] = Path("~/.didyma"),
    withdraw_to: Annotated[str, typer.Option(help="Cold address that the node's credit goes to.")] = "",
    keystore: Annotated[bool, typer.Option(help="Make an operator key; without it the node runs dry.")] = True,
    dispute_keystore: Annotated[bool, typer.Option(help="Make a second key for disputes.")] = False,
) -> None:
    """Write a settings file and make the node's keys. Asks for what the options leave open."""
    with reported():
        if config.exists():
            raise BadSettings(f"{config} exists and is not overwritten")
        url = rpc_url or typer.prompt("RPC endpoint", default="http://127.0.0.1:8545")
        file = deployment or Path(typer.prompt("Deployment file", default="deployment.json"))
        Deployment.load(file)
        services = service or typer.prompt("Services, separated by blanks").split()
        folder = config.resolve().parent
        keys: dict[str, Path] = {}
        for name, wanted in (("operator", keystore), ("dispute", dispute_keystore)):
            if wanted:
                password = folder / f"{name}.password"
                address = create_keystore(folder / f"{name}.json", password)
                keys[name] = folder / f"{name}.json"
                typer.echo(f"{name} key   {address}  (encrypted in {keys[name]}, password in {password})")
        write(config, Choices(url, file, tuple(services), data_dir, withdraw_to or None, tuple(keys)))
        load(config)
        typer.echo(f"settings       {config}")
        typer.echo(
            "Next: send the keys some ether, take a seat for the operator from your cold key, then:"
            if keys
            else "Without a key the node runs dry: it checks and signs nothing. Next:"
        )
        typer.echo(f"  didyma node check --config {config}\n  didyma node run --config {config}")


@app.command()
def check(config: ConfigOption = None) -> None:
    """Compare settings, chain, contracts, keys, balances and model files, and run one self-test inference."""
    with reported():
        settings = load(config)
        failed = False
        for finding in _wait(checks.everything(settings)):
            mark = "[green]right[/]" if finding.right else "[red]WRONG[/]"
            console.print(mark, f"{finding.what:<12}", finding.detail, highlight=False, soft_wrap=True)
            failed |= not finding.right
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
def jobs(
    config: ConfigOption = None,
    state: Annotated[str, typer.Option(help="Only requests in this state.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List what the journal holds: requests, cases, transactions on their way."""
    with reported():
        rows = manual.list_jobs(load(config), state)
        if as_json:
            typer.echo(json.dumps(rows, indent=2))
            return
        table = Table("kind", "key", "state", "since block")
        for row in rows:
            table.add_row(row["kind"], row["key"], row["state"], str(row["block"] or ""))
        console.print(table)


@app.command()
def report(config: ConfigOption = None) -> None:
    """What each of the node's seats has done, earned and lost."""
    with reported():
        table = Table("service", "seat", "operator", "state", "answered", "missed", "rejected", "earned", "lost, ether")
        for seat in manual.own_seats(load(config)):
            t = seat.tally
            table.add_row(
                "0x" + seat.service.hex()[:8],
                str(seat.seat),
                seat.operator,
                seat.state,
                str(t.answered),
                str(t.missed),
                str(t.rejected),
                f"{t.earned_wei / ETHER:.6f}",
                f"{t.lost_wei / ETHER:.6f}",
            )
        console.print(table)


@app.command()
def withdraw(
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the calldata and send nothing.")] = False,
) -> None:
    """Send the credit of the node's keys to `withdraw_to`. The node must not be running."""
    with reported():
        for line in _wait(manual.withdraw(load(config), dry_run=dry_run)):
            typer.echo(line)


@app.command()
def rebuild(config: ConfigOption = None) -> None:
    """Read the chain again from the contracts' first block; what was signed is kept where the journal can be read."""
    with reported():
        settings = load(config)
        logs.configure(settings.log_format, "warning")
        with console.status("reading the chain") as status:
            digest = _wait(manual.rebuild(settings, status.update))
        typer.echo(f"rebuilt; digest of what the chain says: 0x{digest.hex()}")


def _wait(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)
