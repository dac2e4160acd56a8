"""`didyma ask`: one request from a shell, followed to its end."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from oracle import devnet
from oracle.attestation.asking import question
from oracle.attestation.dev import MACHINE
from oracle.attestation.keeper import DevSource, Pccs
from oracle.attestation.trust import Trust
from oracle.cli.arguments import bytes32, wei
from oracle.cli.connection import (
    DEV_CHAIN,
    DeploymentOption,
    KeystoreOption,
    Network,
    PasswordOption,
    RpcUrlOption,
    unlocked,
)
from oracle.cli.model import DEFAULT_STORE
from oracle.cli.report import reported
from oracle.cli.tee import Status, accepting
from oracle.client import OracleClient, ServiceId, Step
from oracle.disputes.tokens import tokenized
from oracle.errors import Refused, printable
from oracle.models.store import ModelStore
from oracle.node.settings import INTEL

console = Console(highlight=False, soft_wrap=True)


def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
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
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    store: Annotated[
        Path | None,
        typer.Option(
            help="Folder of models, for services that take token ids; `didyma dev`'s, or ~/.didyma/models.",
            envvar="DIDYMA_MODELS",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask the oracle and follow the request to its end."""
    with reported():
        if (leave_with or measurement) and not private:
            raise Refused("--leave-with and --measurement are for prompts asked with --private")
        if platform and not measurement:
            raise Refused("--platform goes with --measurement: any code could run on that machine")
        network = Network.find(deployment, rpc_url)
        if keystore is None and network.deployment.chain_id != DEV_CHAIN:
            raise Refused("give --keystore: who pays. Only development chains have an account for everybody")
        client = network.client(devnet.account(devnet.ASKER) if keystore is None else unlocked(keystore, password_file))
        offered = client.services()
        if service is None and not offered:
            raise Refused("no service exists on this deployment")
        chosen = offered[-1] if service is None else bytes32(service)
        models = ModelStore((store or network.models or DEFAULT_STORE).expanduser())
        asked = _as_taken(client, chosen, prompt.encode(), models)
        params = client.params(max_tokens, temperature, value_wei=wei(value), is_private=private)
        trust = None
        if measurement:
            source = DevSource(MACHINE) if dev_root else Pccs(url)
            builds, machines = [[bytes32(each) for each in ids or ()] for ids in (measurement, platform)]
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
