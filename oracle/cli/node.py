"""`didyma node`: set a node up, check it, run it, look into it, take money out."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from oracle.api.process import run as run_node
from oracle.cli import earnings, init
from oracle.cli.arguments import ConfigOption
from oracle.cli.report import BlocksBar, JsonOption, print_json, progress, reported
from oracle.client.readiness import readiness
from oracle.errors import BadSettings
from oracle.node import logs
from oracle.node.operator import check as checks
from oracle.node.operator import manual
from oracle.node.settings import load

app = typer.Typer(help="Run a node: answer, watch, judge.", no_args_is_help=True)
console = Console()
T = TypeVar("T")


app.command("init")(init.init)


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
