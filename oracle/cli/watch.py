"""`didyma watch`: checks others' answers in one service, without a seat; with a key it challenges wrong ones."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import SecretStr, ValidationError
from rich.console import Console
from rich.live import Live
from rich.table import Table

from oracle.api.process import serve
from oracle.chain.units import ETHER
from oracle.cli.arguments import ServiceArgument, bytes32, wei
from oracle.cli.connection import (
    DeploymentOption,
    KeystoreOption,
    Network,
    RpcUrlOption,
    dev_deployment,
    unlocked,
)
from oracle.cli.prompts import StoreOfModels, models_of
from oracle.cli.report import JsonOption, reported
from oracle.errors import BadSettings, Refused, Transient, printable
from oracle.models.files import at_home
from oracle.node import logs, money
from oracle.node.checks import Checks
from oracle.node.daemon import Node
from oracle.node.in_hand import Work
from oracle.node.settings import Settings

EVERY_SECONDS = 1.0
CONFIRMATIONS, FINALITY = 2, 64


def watch(
    service: ServiceArgument,
    *,
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
    store: StoreOfModels = None,
    keystore: KeystoreOption = None,
    password_file: Annotated[Path | None, typer.Option(help="File with the keystore's password.")] = None,
    budget: Annotated[
        str, typer.Option(help="Most ether in bonds of challenges at a time; with --keystore alone.")
    ] = "1",
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder for the journal and for answers found wrong.", show_default=False)
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where the dashboard listens, on this machine alone; 0 for none.")
    ] = 8548,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engine; as many as the machine has if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check others' answers in a service until SIGTERM. It needs no seat, but the service's model.

    Without a keystore it only alerts. With one it challenges wrong answers, as long as the bonds stay within the
    budget: the key needs that much ether, and some for gas.
    """
    with reported():
        if keystore is not None and password_file is None:
            raise Refused("a watcher signs as long as it runs: give the keystore's password in a file, --password-file")
        wanted = bytes32(service)
        most_wei = wei(budget)
        network = Network.find(deployment, rpc_url)
        client, models = network.client(), models_of(network, store)
        if keystore is not None:
            unlocked(keystore, password_file)  # before the model is looked for
        models.manifest(client.terms(wanted)["model"])
        folder = at_home(data_dir or Path(f"~/.didyma/watch/{wanted.hex()[:16]}"))
        try:
            settings = Settings(
                rpc_urls=[SecretStr(network.rpc_url)],
                deployment=at_home(deployment) if deployment is not None else dev_deployment(),
                services=["0x" + wanted.hex()],
                data_dir=folder,
                models=models.root,
                keystore=keystore,
                password_file=password_file,
                answer=False,
                vote=False,
                finalize_others=False,
                refund_expired=False,
                bond_budget_wei=None if keystore is None else most_wei,
                confirmations=CONFIRMATIONS,
                finality=FINALITY,
                api_port=port,
                threads=threads,
            )
        except ValidationError as error:
            raise BadSettings("; ".join(each["msg"] for each in error.errors())) from None
        logs.configure("console", "error")
        asyncio.run(serve(settings, beside=partial(_shown, as_json=as_json)))


async def _shown(node: Node, *, as_json: bool) -> None:
    """A table on a terminal; elsewhere, and as JSON, a line whenever something has changed."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    told: set[str] = set()
    last: dict[str, Any] = {}
    with Live(console=console, auto_refresh=False, transient=True) as live:
        if as_json or not console.is_terminal:
            live.stop()
        while True:
            for line, fields in _wrong(node):
                if line not in told:
                    told.add(line)
                    console.print(json.dumps(fields) if as_json else line)
            try:
                found = figures(node)
            except Transient as error:
                found = {"unreadable": printable(str(error))}
            if console.is_terminal and not as_json:
                live.update(_table(found, node.workshop.in_hand.now()), refresh=True)
            elif found != last:
                last = found
                console.print(json.dumps(found) if as_json else "; ".join(": ".join(row) for row in _rows(found)))
            await asyncio.sleep(EVERY_SECONDS)


def _wrong(node: Node) -> Iterator[tuple[str, dict[str, str]]]:
    """Each answer that this node has judged wrong and that its journal still knows: a line, and the same as JSON."""
    view = node.status.view
    for (request, answer), verdict in ({} if view is None else view.verdicts).items():
        if verdict.correct is False:
            reason = printable(verdict.reason)
            fields = {"wrong": f"0x{request:064x}", "answer": f"0x{answer.hex()}", "reason": reason}
            yield f"WRONG: request 0x{request:064x}: {reason}", fields


def figures(node: Node) -> dict[str, Any]:
    """What a watcher wants to know. Amounts in wei."""
    view, (service,) = node.status.view, node.settings.service_ids
    checks = Checks() if view is None else view.checks.get(service, Checks())
    with node.journal.read() as tx:
        stakes, earned = money.stakes(tx, service), money.total(money.lines(tx))
    return {
        "ready": not node.troubles(),
        "troubles": [printable(trouble) for trouble in (*node.troubles(), *node.warnings())],
        "alerts_only": not node.settings.can_sign,
        "checked": checks.made,
        "wrong": checks.wrong,
        "unchecked": checks.late + checks.unknown,
        "seconds_each": checks.seconds_each,
        "bonds_out_wei": stakes.challenges_wei,
        "rewards_wei": stakes.rewards_wei,
        "to_settle": stakes.to_settle,
        "credit_wei": sum(node.status.credit_wei.values()),
        "net_wei": earned.net_wei,
    }


def _table(found: dict[str, Any], work: Sequence[Work]) -> Table:
    table = Table(show_header=False)
    at_work = "; ".join(f"{each.doing}, {each.far}" if each.far else each.doing for each in work)
    for row in (*_rows(found), ("at work", at_work)):
        table.add_row(*row)
    return table


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    if "unreadable" in found:
        return [("state", f"watching; the figures cannot be read now: {found['unreadable']}")]
    each = "none yet" if found["seconds_each"] is None else f"{found['seconds_each']:.2f} s"
    watching = "watching, alerts only" if found["alerts_only"] else "watching"
    return [
        ("state", "; ".join(found["troubles"]) or watching),
        ("answers checked", str(found["checked"])),
        ("judged wrong", str(found["wrong"])),
        ("unchecked", str(found["unchecked"])),
        ("cost of a check", each),
        ("bonds out", f"{found['bonds_out_wei'] / ETHER:g} ether"),
        ("rewards that wait", f"{found['rewards_wei'] / ETHER:g} ether"),
        ("games to settle", str(found["to_settle"])),
        ("credit to withdraw", f"{found['credit_wei'] / ETHER:g} ether"),
        ("net so far", f"{found['net_wei'] / ETHER:g} ether"),
    ]
