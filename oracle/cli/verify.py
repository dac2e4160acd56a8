"""`didyma verify`: run a past answer again, and say whether it is right."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from oracle.cli.arguments import request_id
from oracle.cli.connection import DeploymentOption, Network, RpcUrlOption
from oracle.cli.prompts import StoreOfModels, models_here, models_of
from oracle.cli.report import JsonOption, print_json, reported, waiting
from oracle.cli.request import text_of
from oracle.client import typed
from oracle.client.replies import Reply, verify_reply
from oracle.client.typed import type_asked
from oracle.client.verify import Checked, Verdict
from oracle.client.verify import verify as run_again
from oracle.errors import Refused, printable

console = Console(highlight=False, soft_wrap=True, markup=False)
WRONG, NOT_CHECKABLE = 3, 4
"""Exit statuses. 0 is right, 1 what every command fails with, 2 a mistyped command."""


def verify(
    identity: Annotated[
        str, typer.Argument(metavar="[REQUEST]", help="The request's id; not with --reply.", show_default=False)
    ] = "",
    *,
    reply: Annotated[
        Path | None,
        typer.Option(help="Judge this reply of a node's HTTP API, a JSON file; asks no chain.", show_default=False),
    ] = None,
    rpc_url: RpcUrlOption = None,
    deployment: DeploymentOption = None,
    turn: Annotated[
        int | None, typer.Option(min=0, help="Judge the answer of this turn; the one that stands if not given.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The model's file, where it is not in the store.", show_default=False)
    ] = None,
    store: StoreOfModels = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the engine; as many as the machine has if not given.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a past answer again, from the chain's events and the model's file, and say whether it is right.

    Exit status: 0 right, or within tolerance where a panel judges; 3 wrong; 4 not checkable, with the reason; 1 if the
    chain could not be read; 2 for a mistyped command.
    """
    if reply is not None:
        with reported():
            _verify_reply(reply, identity, store, file, threads, as_json=as_json)
        return
    with reported():
        wanted = request_id(identity)
        network = Network.find(deployment, rpc_url)
        client, models = network.client(), models_of(network, store)
        try:
            with _progress() as on_progress:
                found = run_again(
                    client, wanted, models, turn=turn, file=file, threads=threads, on_progress=on_progress
                )
        except Refused as error:
            if as_json:
                print_json({"request": f"{wanted:#066x}", "verdict": "not checkable", "reason": str(error)})
            else:
                console.print(f"not checkable: {printable(str(error))}")
            raise typer.Exit(NOT_CHECKABLE) from None
    if as_json:
        print_json(_as_json(found))
    else:
        for line in _lines(found):
            console.print(line)
    raise typer.Exit(WRONG if found.verdict is Verdict.WRONG else 0)


def _verify_reply(
    reply: Path, identity: str, store: Path | None, file: Path | None, threads: int | None, *, as_json: bool
) -> None:
    if identity:
        raise Refused("--reply judges a file, without a request's id")
    try:
        said, models = Reply.read(reply), models_here(store)
        manifest = models.manifest(said.model)
        with _progress() as on_progress:
            found = verify_reply(said, models, file=file, threads=threads, on_progress=on_progress)
    except Refused as error:
        if as_json:
            print_json({"reply": reply, "verdict": "not checkable", "reason": str(error)})
        else:
            console.print(f"not checkable: {printable(str(error))}")
        raise typer.Exit(NOT_CHECKABLE) from None
    verdict = Verdict.RIGHT if found.correct else Verdict.WRONG
    if as_json:
        shown = {"model": said.model, "prompt": said.prompt, "output": said.posted.text}
        print_json({"reply": reply, "verdict": verdict, "reason": found.reason} | shown)
    else:
        console.print(f"{'right' if found.correct else 'WRONG'}: {printable(found.reason)}")
        console.print(f"model        {printable(manifest.name)} (0x{said.model.hex()})")
        console.print(f"prompt       {text_of(said.prompt)}")
        console.print(f"output       {text_of(said.posted.text)}, temperature {said.params.temperature / 65536:g}")
        if said.said is None:
            console.print("note         the file holds no text besides: only what it carries was judged")
    raise typer.Exit(0 if found.correct else WRONG)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Says on a terminal what is being done."""
    with waiting("reading the chain", Console(stderr=True)) as say:
        yield lambda what, done, total: say(f"{what} {done:,} of {total:,}")


def _lines(found: Checked) -> Iterator[str]:
    given, request = found.given, found.life.request
    name = {Verdict.WRONG: "WRONG"}.get(found.verdict, found.verdict.value)
    yield f"{name}: {printable(found.reason)}"
    difference = found.difference
    if difference is not None:
        instead = f" where the model says {text_of(difference.expected)}" if difference.expected is not None else ""
        yield f"first differs at token {difference.position}: {text_of(difference.given)}{instead}"
    yield f"request      {found.life.id:#066x}"
    sampled = f"temperature {request.temperature / 65536:g}" if request.temperature else "temperature 0"
    yield f"answer       turn {given.answer.turn}, by {given.operator}, {given.answer.token_count} tokens, {sampled}"
    yield f"             {_said(found, given.output)}"
    if found.expected is not None:
        yield f"the model    {_said(found, found.expected)}"
    engine = "the exact engine" if found.engine == "exact" else found.engine
    yield f"run with     {printable(found.model.name)} (0x{found.model.model_id.hex()}), {engine}"
    for remark in found.remarks:
        yield f"note         {printable(remark)}"


def _said(found: Checked, output: bytes) -> str:
    kind = type_asked(found.life.prompt, found.model, found.life.request.max_tokens)
    return text_of(output) if kind is None else typed.told(kind, output, lambda row: found.choices[tuple(row)])


def _fields(found: Checked, output: bytes) -> dict[str, Any] | None:
    kind = type_asked(found.life.prompt, found.model, found.life.request.max_tokens)
    return None if kind is None else typed.fields(kind, output, lambda row: found.choices[tuple(row)])


def _as_json(found: Checked) -> dict[str, Any]:
    given, difference = found.given, found.difference
    return {
        "request": f"{found.life.id:#066x}",
        "verdict": found.verdict,
        "reason": found.reason,
        "state": found.life.state,
        "service": found.life.request.service,
        "model": found.model.model_id,
        "engine": found.engine,
        "turn": given.answer.turn,
        "operator": given.operator,
        "prompt": found.life.prompt,
        "output": given.output,
        "token_count": given.answer.token_count,
        "first_difference": difference,
        "expected_output": found.expected,
        "choice": _fields(found, given.output),
        "expected_choice": None if found.expected is None else _fields(found, found.expected),
        "remarks": found.remarks,
    }
