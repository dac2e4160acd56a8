"""`didyma ask`: one request from a shell, followed to its end. What cannot be asked is refused before it is sent."""

import math
import time
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console

from oracle.chain.units import ETHER, FINNEY
from oracle.cli.arguments import wei
from oracle.cli.connection import DeploymentOption, KeystoreOption, PasswordOption, RpcUrlOption, payer
from oracle.cli.prompts import (
    ChoiceOption,
    StoreOfModels,
    TypeOption,
    as_taken,
    chosen_service,
    compiled,
    enough_tokens,
    wanted_of,
)
from oracle.cli.report import JsonOption, print_json, reported
from oracle.cli.trust import judging
from oracle.client import OracleClient, Step
from oracle.client.choices import Choices, Heard
from oracle.client.patterns.patterned import Patterned
from oracle.client.private import PrivateQuestion, question
from oracle.client.trust import Trust
from oracle.errors import PromptTooLong, Refused, RpcUnavailable, printable
from oracle.ids import RequestId, ServiceId

TOKENS = 24
UNKNOWN = "unknown"
"""What a choice says that is no verdict, or not clear enough."""
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


@dataclass
class Asked:
    """A request on its way, and what has become of it."""

    request: RequestId
    service: ServiceId
    fee_wei: int
    sealed: PrivateQuestion | None
    kind: Choices[str] | Patterned[Any] | None
    """What may answer; None for any text."""
    least_margin: float
    """Of a choice, in logits."""
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

    def heard(self, output: bytes) -> Heard[str] | None:
        """What an answer says where it is a choice."""
        return self.kind.heard(output, self.least_margin) if isinstance(self.kind, Choices) else None

    def is_whole(self, output: bytes) -> bool:
        """Whether an answer is of its type, as far as that can be said of its bytes."""
        return not isinstance(self.kind, Patterned) or self.kind.matches(output)

    def as_json(self) -> dict[str, Any]:
        found = self.answer()
        text, operator = ("", None) if found is None else (found[0].decode("utf-8", "replace"), found[1])
        heard = None if found is None else self.heard(found[0])
        if heard is not None:
            text = heard.value or UNKNOWN
        return {
            "request": f"{self.request:#066x}",
            "service": self.service,
            "final": self.is_final,
            "outcome": next((OUTCOMES[step.name] for step in self.steps if step.name in OUTCOMES), "open"),
            "answer": None if found is None else text,
            "margin": None if heard is None else heard.margin,
            "is_whole": None if found is None else self.is_whole(found[0]),
            "operator": operator,
            "attested": any(step.name == "AnswerAttested" for step in self.steps),
            "fee_wei": self.fee_wei,
            "steps": [
                {"name": step.name, "block": step.block, "transaction": step.tx_hash, "gas_used": step.gas_used}
                for step in self.steps
            ],
        }


@judging
def ask(
    trust: Trust | None,
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
        str,
        typer.Option(
            help="Value at stake, in ether. Above the service's cap even a TEE's answer has a challenge window."
        ),
    ] = "0",
    private: Annotated[
        bool, typer.Option("--private", help="Seal prompt and answer: only TEEs of the service can read them.")
    ] = False,
    leave_with: Annotated[
        list[str] | None, typer.Option(help="Node that gets the sealed prompt; the chain only names it. Repeatable.")
    ] = None,
    system: Annotated[str, typer.Option(help="What the model is told before the question.")] = "",
    after: Annotated[
        list[str] | None,
        typer.Option(help="What was said before: a question, then its answer. Repeatable."),
    ] = None,
    choice: ChoiceOption = None,
    type_: TypeOption = "",
    margin: Annotated[
        float, typer.Option(min=0.0, max=65535.0, help="With --choice: logits; an answer by less is unknown.")
    ] = 0.0,
    keystore: KeystoreOption = None,
    password_file: PasswordOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the oracle and follow the request to its end. The exit status is 0 if an answer became final."""
    with reported():
        *before, text = (said.encode("utf-8", "surrogateescape") for said in (*(after or ()), prompt))
        value_wei = wei(value)
        _possible(text, temperature, value_wei)
        if math.isnan(margin):
            raise Refused("--margin is a number of logits")
        if margin and not choice:
            raise Refused("--margin is for answers that are one of several --choice")
        wanted = wanted_of(choice, type_)
        if (leave_with or trust) and not private:
            raise Refused("--leave-with and --measurement are for prompts asked with --private")
        purse = payer(rpc_url, deployment, keystore, password_file, False, as_json)
        network, client = purse.network, purse.client
        chosen = chosen_service(client, service)
        terms = client.terms(chosen)
        tokens = min(TOKENS, terms["maxTokens"]) if max_tokens is None else max_tokens
        if tokens > terms["maxTokens"]:
            raise Refused(f"--max-tokens {tokens:,}: the service gives at most {terms['maxTokens']:,}")
        told = system.encode("utf-8", "surrogateescape")
        taken = as_taken(network, client, chosen, [*before, text], store, tokens if wanted is None else 1, told)
        kind = None
        if wanted is not None:
            kind, taken = compiled(network, client, chosen, wanted, taken, store)
            tokens = enough_tokens(kind, max_tokens, terms["maxTokens"], TOKENS)
        params = client.params(tokens, temperature, deadline, value_wei=value_wei, is_private=private)
        sealed = None
        if private:
            sealed = question(client, chosen, taken, params, trust=trust, is_left=bool(leave_with))
            taken = sealed.prompt
        elif len(taken) > terms["maxPromptBytes"]:
            raise PromptTooLong(f"the prompt has {len(taken):,} bytes, the service takes {terms['maxPromptBytes']:,}")
        request, receipt = client.ask(chosen, taken, params)
        paid_wei = client.w3.eth.get_transaction(receipt["transactionHash"])["value"]
        asked = Asked(request, chosen, paid_wei, sealed, kind, margin)
        purse.say(f"request      {request:#066x}  for {asked.fee_wei / ETHER:g} ether")
        if sealed is not None and leave_with:
            purse.say(f"left with    {', '.join(sealed.leave(leave_with))}")
        _follow(client, asked, receipt["blockNumber"], quiet=as_json)
        if as_json:
            print_json(asked.as_json())
    if not asked.is_final:
        raise typer.Exit(1)


def _verdict(heard: Heard[str]) -> str:
    return f"{heard.value or UNKNOWN}, by {heard.margin:.4f} logits"


def _possible(text: bytes, temperature: float, value_wei: int) -> None:
    """Raises Refused for what no service can be asked."""
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
        remark = "" if asked.is_whole(found[0]) else "not of the type that was asked for, "
        remark += f"by {found[1]}" if asked.sealed is None else "nobody else can read it"
        heard = asked.heard(found[0])
        text = found[0].decode("utf-8", "replace") if heard is None else _verdict(heard)
        console.print(f"{printable(text)}  ({remark})", style="bold", markup=False)
    if step.name in OUTCOMES and step.name != "RequestFinalized":
        console.print(OUTCOMES[step.name])
