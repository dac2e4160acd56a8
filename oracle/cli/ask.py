"""`didyma ask`: one request from a shell, followed to its end. What cannot be asked is refused before it is sent."""

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from oracle.attestation.dev import MACHINE
from oracle.attestation.keeper import DevSource, Pccs
from oracle.attestation.verifier import Policy
from oracle.chain.units import ETHER, FINNEY
from oracle.cli.arguments import bytes32, wei
from oracle.cli.connection import DeploymentOption, KeystoreOption, Network, PasswordOption, RpcUrlOption, payer
from oracle.cli.model import DEFAULT_STORE
from oracle.cli.report import JsonOption, print_json, reported
from oracle.cli.tee import AdvisoryOption, ConfigurationOption, EvaluationOption
from oracle.client import OracleClient, RequestId, ServiceId, Step
from oracle.client.private import PrivateQuestion, question
from oracle.client.trust import Trust
from oracle.engines.exact.tokenizer import tokenized
from oracle.errors import PromptTooLong, Refused, RpcUnavailable, printable
from oracle.merkle.tokens import prompt_ids
from oracle.models.files import at_home
from oracle.models.store import ModelStore
from oracle.node.settings import INTEL

TOKENS = 24
MOST_FAILURES, PAUSE_SECONDS = 10, 2.0
"""How often an endpoint may fail while a request is followed, and the rest after each time."""
MOST_VALUE_WEI = ((1 << 24) - 1) * FINNEY
"""The highest value at stake that a request can state."""
OUTCOMES = {
    "RequestFinalized": "final",
    "RequestRefunded": "nobody answered in time: the fee was refunded, and is the payer's credit",
    "RequestCancelled": "cancelled by its payer",
}
console = Console(highlight=False, soft_wrap=True)

StoreOfModels = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of models, for services that take token ids; `didyma dev`'s, or ~/.didyma/models.",
        envvar="DIDYMA_MODELS",
        show_default=False,
    ),
]


@dataclass
class Asked:
    """A request on its way, and what has become of it."""

    request: RequestId
    service: ServiceId
    fee_wei: int
    sealed: PrivateQuestion | None
    steps: list[Step] = field(default_factory=list)

    @property
    def is_final(self) -> bool:
        return any(step.name == "RequestFinalized" for step in self.steps)

    def answer(self) -> tuple[bytes, str] | None:
        """The newest answer, and who gave it; of a private request, once it is final. Raises Refused, Unreadable."""
        posted = [step.args for step in self.steps if step.name == "AnswerPosted"]
        if not posted:
            return None
        if self.sealed is None:
            return bytes(posted[-1]["output"]), str(posted[-1]["operator"])
        return (self.sealed.read(self.request, self.steps), str(posted[-1]["operator"])) if self.is_final else None

    def as_json(self) -> dict[str, Any]:
        found = self.answer()
        text, operator = ("", None) if found is None else (found[0].decode("utf-8", "replace"), found[1])
        return {
            "request": f"{self.request:#066x}",
            "service": self.service,
            "final": self.is_final,
            "outcome": next((OUTCOMES[step.name] for step in self.steps if step.name in OUTCOMES), "open"),
            "answer": None if found is None else text,
            "operator": operator,
            "attested": any(step.name == "AnswerAttested" for step in self.steps),
            "fee_wei": self.fee_wei,
            "steps": [
                {"name": step.name, "block": step.block, "transaction": step.tx_hash, "gas_used": step.gas_used}
                for step in self.steps
            ],
        }


def ask(
    prompt: Annotated[str, typer.Argument(help="The question.")],
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
    service: Annotated[
        str | None, typer.Option(help="Service id; the newest if not given.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help=f"Most tokens of the answer; {TOKENS} or the service's most.", show_default=False),
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=100.0, help="0 for the most probable answer; more for variety.")
    ] = 0.0,
    deadline: Annotated[
        int, typer.Option(min=1, max=1 << 31, help="Seconds until the fee can be refunded if nobody has answered.")
    ] = 600,
    value: Annotated[
        str, typer.Option(help="Value at stake on the answer, in ether: TEEs answer at once up to a cap.")
    ] = "0",
    private: Annotated[
        bool, typer.Option("--private", help="Seal prompt and answer: only TEEs of the service can read them.")
    ] = False,
    measurement: Annotated[
        list[str] | None, typer.Option(help="Seal only to keys of this build, by evidence judged here. Repeatable.")
    ] = None,
    platform: Annotated[
        list[str] | None, typer.Option(help="With --measurement: only on this machine. Repeatable.")
    ] = None,
    url: Annotated[str, typer.Option(help="Where Intel's documents are fetched to judge by.")] = INTEL,
    evaluation: EvaluationOption = 0,
    configuration: ConfigurationOption = False,
    advisory: AdvisoryOption = None,
    dev_root: Annotated[bool, typer.Option("--dev-root", help="Judge by the root of the dev TEE.")] = False,
    leave_with: Annotated[
        list[str] | None, typer.Option(help="Node that gets the sealed prompt; the chain only names it. Repeatable.")
    ] = None,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the oracle and follow the request to its end. The exit status is 0 if an answer became final."""
    with reported():
        text = prompt.encode("utf-8", "surrogateescape")
        value_wei = wei(value)
        _possible(text, temperature, value_wei)
        if (leave_with or measurement) and not private:
            raise Refused("--leave-with and --measurement are for prompts asked with --private")
        if platform and not measurement:
            raise Refused("--platform goes with --measurement: any code could run on that machine")
        builds, machines = [[bytes32(each) for each in ids or ()] for ids in (measurement, platform)]
        purse = payer(rpc_url, deployment, keystore, password_file, False, as_json)
        network, client = purse.network, purse.client
        chosen = chosen_service(client, service)
        terms = client.terms(chosen)
        tokens = min(TOKENS, terms["maxTokens"]) if max_tokens is None else max_tokens
        if tokens > terms["maxTokens"]:
            raise Refused(f"--max-tokens {tokens:,}: the service gives at most {terms['maxTokens']:,}")
        taken = as_taken(network, client, chosen, text, store, tokens)
        params = client.params(tokens, temperature, deadline, value_wei=value_wei, is_private=private)
        sealed = None
        if private:
            source = DevSource(MACHINE) if dev_root else Pccs(url)
            policy = Policy(configuration, 0, tuple(advisory or ()), evaluation)
            trust = Trust(builds, source, int(time.time()), policy, machines) if measurement else None
            sealed = question(client, chosen, taken, params, trust=trust, is_left=bool(leave_with))
            taken = sealed.prompt
        if len(taken) > terms["maxPromptBytes"]:
            raise PromptTooLong(f"the prompt has {len(taken):,} bytes, the service takes {terms['maxPromptBytes']:,}")
        request, receipt = client.ask(chosen, taken, params)
        asked = Asked(request, chosen, client.w3.eth.get_transaction(receipt["transactionHash"])["value"], sealed)
        purse.say(f"request      {request:#066x}  for {asked.fee_wei / ETHER:g} ether")
        if sealed is not None and leave_with:
            purse.say(f"left with    {', '.join(sealed.leave(leave_with))}")
        _follow(client, asked, receipt["blockNumber"], quiet=as_json)
        if as_json:
            print_json(asked.as_json())
    if not asked.is_final:
        raise typer.Exit(1)


def _possible(text: bytes, temperature: float, value_wei: int) -> None:
    """What no service can be asked. Raises Refused."""
    if not text.strip():
        raise Refused("the prompt is empty: ask something")
    if math.isnan(temperature):
        raise Refused("--temperature is a number from 0 to 100")
    if value_wei > MOST_VALUE_WEI:
        raise Refused(f"--value {value_wei / ETHER:,g}: a request can name at most {MOST_VALUE_WEI / ETHER:,g} ether")


def _follow(client: OracleClient, asked: Asked, block: int, *, quiet: bool) -> None:
    """Until the request is closed; shows each step unless `quiet`. Raises RpcUnavailable if the endpoint stays away."""
    failures = 0
    while True:
        try:
            for number, step in enumerate(client.follow(asked.request, block)):
                failures = 0
                if number >= len(asked.steps):
                    asked.steps.append(step)
                    if not quiet:
                        _show(asked, step)
            return
        except RpcUnavailable as error:
            failures += 1
            if failures > MOST_FAILURES:
                what = f"the request goes on: `didyma request show {asked.request:#066x}` tells how"
                raise RpcUnavailable(f"{error}; {what}") from None
            time.sleep(PAUSE_SECONDS)


def _show(asked: Asked, step: Step) -> None:
    console.print(f"{step.name:<18} block {step.block}  gas {step.gas_used:>7}  {step.tx_hash}")
    found = asked.answer() if step.name == ("AnswerPosted" if asked.sealed is None else "RequestFinalized") else None
    if found is not None:
        remark = f"by {found[1]}" if asked.sealed is None else "nobody else can read it"
        console.print(f"{printable(found[0].decode('utf-8', 'replace'))}  ({remark})", style="bold", markup=False)
    if step.name in OUTCOMES and step.name != "RequestFinalized":
        console.print(OUTCOMES[step.name])


def chosen_service(client: OracleClient, service: str | None) -> ServiceId:
    """The one named, or the newest. Raises Refused."""
    if service is not None:
        return bytes32(service)
    offered = client.services()
    if not offered:
        raise Refused("no service exists on this deployment; `didyma service create` makes one")
    return offered[-1]


def models_of(network: Network, store: Path | None) -> ModelStore:
    """The folder named, or the dev network's, or this account's."""
    return ModelStore(at_home(store or network.models or DEFAULT_STORE))


def as_taken(
    network: Network, client: OracleClient, service: ServiceId, prompt: bytes, store: Path | None, max_tokens: int = 1
) -> bytes:
    """The prompt as the service takes it: token ids where the dispute game judges.

    Raises Refused, UnknownModel, and PromptTooLong where prompt and answer do not fit the model's context.
    """
    if client.oracle.functions.arbiterOf(service).call() != client.deployment.game:
        return prompt
    models = models_of(network, store)
    manifest = models.manifest(client.terms(service)["model"])
    taken = tokenized(models.file(manifest).path, prompt)
    count = len(manifest.prefix_tokens) + len(prompt_ids(taken) or ()) + len(manifest.suffix_tokens)
    if count + max_tokens > manifest.context_length:
        raise PromptTooLong(
            f"the prompt has {count:,} tokens with its wrapper; with {max_tokens:,} of the answer, the model's context "
            f"of {manifest.context_length:,} does not hold it"
        )
    return taken
