"""`didyma type`: what may answer a question, compiled for one model's vocabulary."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from oracle.cli.arguments import bytes32, shown
from oracle.cli.connection import reading
from oracle.cli.prompts import StoreOfModels, day, models_here, whole
from oracle.cli.report import JsonOption, print_json, reported
from oracle.client import OracleClient
from oracle.client.choices import Choices, Reader
from oracle.client.patterns import forms, schema
from oracle.client.patterns.automaton import ANY_BYTE
from oracle.client.patterns.forms import Form
from oracle.engines.answer_types import MARGIN_BITS
from oracle.errors import Refused, printable
from oracle.ids import ServiceId
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest

app = typer.Typer(help="Types of answers, as contracts and prompts name them.", no_args_is_help=True)


@app.callback()
def types() -> None:
    """Types of answers, as contracts and prompts name them."""


ModelOption = Annotated[
    str,
    typer.Option(
        help="The model's id, or the beginning of one; the store's only one if not given. With --file, a manifest.",
        show_default=False,
    ),
]
FileOption = Annotated[
    Path | None, typer.Option(help="The model's file, where it is not in the store.", show_default=False)
]


@app.command()
def choice(
    words: Annotated[list[str], typer.Argument(help="What the model may answer: 2 to 16 words.")],
    *,
    model: ModelOption = "",
    file: FileOption = None,
    space: Annotated[
        bool | None,
        typer.Option(
            "--space/--no-space",
            help="Whether a space comes before each word; what the model's wrapper makes likely if not given.",
            show_default=False,
        ),
    ] = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the type of an answer that is one of a few words: the bytes that a contract or a prompt names it by.

    It holds for one model's vocabulary. A request needs at least the `maxTokens` that is printed.
    """
    with reported():
        manifest, path = _named(model, file, store)
        made = Choices.of(words, manifest, path, after_space=space)
        rows = [{"word": word, "ids": row} for word, row in zip(made.words, made.rows, strict=True)]
        if as_json:
            size = len(made.type_bytes)
            told = {"model": manifest.model_id, "type": made.type_bytes, "bytes": size}
            print_json({**told, "least_max_tokens": made.least_tokens, "rows": rows})
            return
        typer.echo(f"0x{made.type_bytes.hex()}")
        typer.echo(f"bytes      {len(made.type_bytes)}", err=True)
        typer.echo(f"maxTokens  at least {made.least_tokens}", err=True)
        for number, row in enumerate(rows):
            ids = " ".join(map(str, row["ids"]))
            typer.echo(f"{number:<9}  {printable(repr(row['word']))}: token ids {ids}", err=True)


@app.command(context_settings={"ignore_unknown_options": True})  # a minus sign begins no option here
def integer(
    low: Annotated[str, typer.Argument(help="The least integer, as -100.")],
    high: Annotated[str, typer.Argument(help="The greatest integer.")],
    *,
    model: ModelOption = "",
    file: FileOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the type of an answer that is an integer, as `Answers.integer` reads it."""
    _print(lambda: forms.integer(whole(low), whole(high)), model, file, store, as_json=as_json)


@app.command("date")
def date_(
    first: Annotated[str, typer.Argument(help="The first day, as 2026-01-31; from 1970 on.")] = "1970-01-01",
    last: Annotated[str, typer.Argument(help="The last day.")] = "9999-12-31",
    *,
    model: ModelOption = "",
    file: FileOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the type of an answer that is a day of the calendar, as `Answers.date` reads it."""
    _print(lambda: forms.dates(day(first), day(last)), model, file, store, as_json=as_json)


@app.command("address")
def address_(
    *,
    model: ModelOption = "",
    file: FileOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the type of an answer that is an address in lower case, as `Answers.account` reads it."""
    _print(forms.address, model, file, store, as_json=as_json)


@app.command("pattern")
def pattern_(
    regex: Annotated[str, typer.Argument(help="A regular expression that the whole answer must match.")],
    *,
    model: ModelOption = "",
    file: FileOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the type of an answer that matches a regular expression of Python's."""
    _print(lambda: forms.regex(regex), model, file, store, as_json=as_json)


@app.command("schema")
def schema_(
    schema_file: Annotated[Path, typer.Argument(help="A JSON schema of one flat object, or of one value.")],
    *,
    model: ModelOption = "",
    file: FileOption = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the type of an answer in JSON, as `Answers.fields` reads it."""
    _print(lambda: forms.schema(schema.read(schema_file)), model, file, store, as_json=as_json)


@app.command()
@reading
def council(
    client: OracleClient,
    words: Annotated[list[str], typer.Argument(help="What the models may answer: 2 to 16 words.")],
    *,
    service: Annotated[list[str], typer.Option(help="A member's service id; repeat it for each.")],
    margin: Annotated[
        list[float] | None,
        typer.Option(
            min=0.0,
            max=65535.0,
            help="Logits below which a member has no opinion: one for all, or one for each service in order.",
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        list[int] | None,
        typer.Option(min=1, max=255, help="A member's weight: one for all, or one for each.", show_default=False),
    ] = None,
    store: StoreOfModels = None,
    as_json: JsonOption = False,
) -> None:
    """Print the members of a council, as its contract takes them: services asked for the same words.

    Each has a type in its own model's tokens. The files of all models must be in the store.
    """
    services = [bytes32(each) for each in service]
    if len(set(services)) < len(services):
        raise Refused("a service is there twice: it is one voice")
    margins, weights = _each("margin", margin, services, 0.0), _each("weight", weight, services, 1)
    if any(math.isnan(each) for each in margins):
        raise Refused("--margin is a number of logits")
    models, members, least = models_here(store), list[dict[str, Any]](), 0
    for each, own_margin, own_weight in zip(services, margins, weights, strict=True):
        manifest = models.manifest(client.terms(each)["model"])
        made = Choices.of(words, manifest, models.file(manifest).path)
        least = max(least, made.least_tokens)
        units = round(own_margin * (1 << MARGIN_BITS))
        named = {"service": each, "model": manifest.model_id, "type": made.type_bytes}
        members.append({**named, "minimum_margin": units, "weight": own_weight})
    if as_json:
        print_json({"words": words, "least_max_tokens": least, "members": members})
        return
    for member in members:
        typer.echo(
            f'Council.Member(ServiceId.wrap(0x{member["service"].hex()}), hex"{member["type"].hex()}", '
            f"{member['minimum_margin']}, {member['weight']})"
        )
    typer.echo(f"maxTokens  at least {least}", err=True)


N = TypeVar("N", int, float)


def _each(what: str, given: list[N] | None, services: Sequence[ServiceId], usual: N) -> list[N]:
    """One for each service. Raises Refused."""
    given = given or [usual]
    if len(given) not in (1, len(services)):
        raise Refused(f"{len(given)} times --{what} for {len(services)} services: give one for all, or one for each")
    return given * len(services) if len(given) == 1 else given


def _print(
    wanted: Callable[[], Form[Any]], model: str, file: Path | None, store: Path | None, *, as_json: bool
) -> None:
    """The type of a form, for one model's vocabulary: its bytes, and what a request for it needs."""
    with reported():
        form = wanted()
        manifest, path = _named(model, file, store)
        vocabulary = Reader.of(manifest, path)
        made = vocabulary.pattern(form)
        size, unspelled = len(made.type_bytes), bytes(sorted(ANY_BYTE - vocabulary.spelled))
        if as_json:
            told = {"model": manifest.model_id, "type": made.type_bytes, "bytes": size, "states": made.states}
            told |= {"least_max_tokens": made.least_tokens, "most_max_tokens": made.most_tokens}
            print_json({**told, "dropped": made.dropped, "root": vocabulary.root, "unspelled": unspelled})
            return
    typer.echo(f"0x{made.type_bytes.hex()}")
    typer.echo(f"bytes      {size:,}, {made.states:,} states", err=True)
    longest = "no answer is the longest" if made.most_tokens is None else f"{made.most_tokens:,} are always enough"
    typer.echo(f"maxTokens  at least {made.least_tokens:,}; {longest}", err=True)
    if made.dropped:
        typer.echo(f"left out   bytes that no token of the model spells alone: {made.dropped.hex(' ')}", err=True)


def _named(model: str, file: Path | None, store: Path | None) -> tuple[Manifest, Path]:
    """A model's manifest and file. Raises Refused, UnknownModel, BadManifest, BadModelFile."""
    if file is None:
        models = models_here(store)
        manifest = models.find(model)
        return manifest, models.file(manifest).path
    manifest = _manifest(model)
    ModelFile.of(manifest, file).verify()
    return manifest, file


def _manifest(path: str) -> Manifest:
    """Raises Refused, BadManifest."""
    try:
        return Manifest.from_json(Path(path).read_bytes())
    except OSError as error:
        raise Refused(
            f"{shown(path)} cannot be read ({error.strerror}): with --file, --model names the model's manifest, which "
            "`didyma model show` prints"
        ) from None
