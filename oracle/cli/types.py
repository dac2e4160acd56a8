"""`didyma type`: what may answer a question, compiled for one model's vocabulary."""

from pathlib import Path
from typing import Annotated

import typer

from oracle.cli.arguments import shown
from oracle.cli.prompts import StoreOfModels, models_here
from oracle.cli.report import JsonOption, print_json, reported
from oracle.client.choices import Choices
from oracle.errors import Refused, printable
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest

app = typer.Typer(help="Types of answers, as contracts and prompts name them.", no_args_is_help=True)


@app.callback()
def types() -> None:
    """Types of answers, as contracts and prompts name them."""


@app.command()
def choice(
    words: Annotated[list[str], typer.Argument(help="What the model may answer: 2 to 16 words.")],
    *,
    model: Annotated[
        str,
        typer.Option(
            help="The model's id, or the beginning of one; the store's only one if not given. With --file, a manifest.",
            show_default=False,
        ),
    ] = "",
    file: Annotated[
        Path | None, typer.Option(help="The model's file, where it is not in the store.", show_default=False)
    ] = None,
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
        models = models_here(store)
        if file is None:
            manifest = models.find(model)
            path = models.file(manifest).path
        else:
            manifest, path = _manifest(model), file
            ModelFile.of(manifest, path).verify()
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


def _manifest(path: str) -> Manifest:
    """Raises Refused, BadManifest."""
    try:
        return Manifest.from_json(Path(path).read_bytes())
    except OSError as error:
        raise Refused(
            f"{shown(path)} cannot be read ({error.strerror}): with --file, --model names the model's manifest, which "
            "`didyma model show` prints"
        ) from None
