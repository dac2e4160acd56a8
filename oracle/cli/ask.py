"""`didyma ask`: one request from a shell, followed to its end."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from web3 import Web3

from oracle import devnet
from oracle.attestation.asking import question
from oracle.attestation.dev import MACHINE
from oracle.attestation.keeper import DevSource, Pccs
from oracle.attestation.trust import Trust
from oracle.cli.chain import _bytes32, unlocked, wei
from oracle.cli.dev import DEV_FOLDER
from oracle.cli.model import printable, reported
from oracle.cli.tee import Status, accepting
from oracle.client import OracleClient, ServiceId, Step
from oracle.deployment import Deployment
from oracle.disputes.tokens import tokenized
from oracle.errors import Refused
from oracle.models.store import ModelStore
from oracle.node.settings import INTEL

console = Console(highlight=False, soft_wrap=True)


def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    rpc_url: Annotated[str, typer.Option(help="RPC endpoint.")] = "http://127.0.0.1:8545",
    deployment: Annotated[Path, typer.Option(help="Deployment file.")] = DEV_FOLDER / "deployment.json",
    service: Annotated[str | None, typer.Option(help="Service id; the newest if not given.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1)] = 24,
    temperature: Annotated[float, typer.Option(min=0.0, max=100.0)] = 0.0,
    value: Annotated[str, typer.Option(help="Ether that hangs on the answer; TEEs answer at once up to a cap.")] = "0",
    private: Annotated[bool, typer.Option(help="Seal prompt and answer: only TEEs of the service can read.")] = False,
    measurement: Annotated[
        list[str] | None, typer.Option(help="Seal only to keys of this build, by evidence judged here. Repeatable.")
    ] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="With --measurement: only on this machine. Repeatable.")
    ] = None,
    url: Annotated[str, typer.Option(help="Where Intel's documents are fetched to judge by.")] = INTEL,
    accept: Annotated[
        list[Status] | None, typer.Option(help="TCB status to accept besides UpToDate. Repeatable.")
    ] = None,
    dev_root: Annotated[bool, typer.Option("--dev-root", help="Judge by the root of the dev TEE.")] = False,
    leave_with: Annotated[
        list[str] | None, typer.Option(help="Node that gets the sealed prompt; the chain only names it. Repeatable.")
    ] = None,
    keystore: Annotated[Path | None, typer.Option(help="Who pays; a development account if not given.")] = None,
    password_file: Annotated[Path | None, typer.Option()] = None,
    store: Annotated[Path, typer.Option(help="Models, for services that take token ids.")] = DEV_FOLDER / "models",
) -> None:
    """Ask the oracle and follow the request to its end."""
    with reported():
        if (leave_with or measurement) and not private:
            raise Refused("--leave-with and --measurement are for prompts asked with --private")
        if platform and not measurement:
            raise Refused("--platform goes with --measurement: any code could run on that machine")
        w3 = Web3(Web3.HTTPProvider(rpc_url))
        if not w3.is_connected():
            raise Refused("no chain answers at the RPC endpoint; `didyma dev` starts one")
        payer = devnet.account(devnet.ASKER) if keystore is None else unlocked(keystore, password_file)
        client = OracleClient(w3, Deployment.load(deployment), payer)
        offered = client.services()
        if service is None and not offered:
            raise Refused("no service exists on this deployment")
        chosen = offered[-1] if service is None else ServiceId(bytes.fromhex(service.removeprefix("0x")))
        asked = _as_taken(client, chosen, prompt.encode(), ModelStore(store.expanduser()))
        params = client.params(max_tokens, temperature, value_wei=wei(value), is_private=private)
        trust = None
        if measurement:
            source = DevSource(MACHINE) if dev_root else Pccs(url)
            builds, machines = [[_bytes32(each) for each in ids or ()] for ids in (measurement, platform)]
            trust = Trust(builds, source, int(time.time()), accepting(accept), machines)
        sealed = question(client, chosen, asked, params, trust=trust, is_left=bool(leave_with)) if private else None
        request_id, receipt = client.ask(chosen, asked if sealed is None else sealed.prompt, params)
        console.print(f"request      {request_id:#066x}")
        if sealed is not None and leave_with:
            console.print(f"left with    {', '.join(sealed.leave(leave_with))}")
        steps: list[Step] = []
        for step in client.follow(request_id, receipt["blockNumber"]):
            steps.append(step)
            console.print(f"{step.name:<18} block {step.block}  gas {step.gas_used:>7}  {step.tx_hash}")
            if step.name == "AnswerPosted" and sealed is None:
                _show(step.args["output"], f"by {step.args['operator']}")
            if step.name == "RequestFinalized" and sealed is not None:
                _show(sealed.read(request_id, steps), "nobody else can read it")


def _show(output: bytes, remark: str) -> None:
    console.print(f"[bold]{printable(bytes(output).decode('utf-8', 'replace'))}[/]  ({remark})")


def _as_taken(client: OracleClient, service: ServiceId, prompt: bytes, store: ModelStore) -> bytes:
    """The prompt as the service takes it: token ids where the dispute game judges. Raises Refused, UnknownModel."""
    if client.oracle.functions.arbiterOf(service).call() != client.deployment.game:
        return prompt
    return tokenized(store.file(store.manifest(client.terms(service)["model"])).path, prompt)
