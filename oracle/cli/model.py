"""`didyma model`: which models this node may serve, watch and vote on."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from oracle.cli.model_add import Wrapper, make_manifest
from oracle.cli.report import JsonOption, print_json, progress, reported, short
from oracle.disputes import exactness, recomputed
from oracle.engines.exact.tokenizer import tokenized
from oracle.engines.prompts import check_stops
from oracle.errors import BadModelFile, UnknownModel, WrongCommitments, printable
from oracle.merkle.tokens import ids_in
from oracle.models.files import at_home
from oracle.models.manifest import Manifest
from oracle.models.source import Located, fetch, locate
from oracle.models.store import ModelStore

app = typer.Typer(help="Models that this node may serve, watch and vote on.", no_args_is_help=True)

StoreOption = Annotated[
    Path, typer.Option("--store", envvar="DIDYMA_MODELS", help="The folder of models.", show_default=True)
]
DEFAULT_STORE = Path("~/.didyma/models")


@app.command()
def add(
    source: Annotated[str, typer.Argument(help="hf:ORG/REPO/FILE.gguf[@REVISION], https://... or a local file.")],
    *,
    name: Annotated[str, typer.Option(help="Name for people; by default the file's name.")] = "",
    prefix: Annotated[
        str, typer.Option(help=r"Text before every prompt; special tokens count, \n is a new line.")
    ] = "",
    suffix: Annotated[str, typer.Option(help="Text after every prompt.")] = "",
    stop: Annotated[list[str] | None, typer.Option(help="A token that ends an answer: its text or id.")] = None,
    context: Annotated[int | None, typer.Option(min=2, help="Most tokens of prompt and answer together.")] = None,
    sha256: Annotated[str, typer.Option(help="Accept no other file; makes a download from https resumable.")] = "",
    manifest: Annotated[Path | None, typer.Option(help="Serve exactly this manifest; its file must match.")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model file, check it, and allow this node to serve it."""
    with reported():
        models = ModelStore(at_home(store))
        given = None if manifest is None else Manifest.from_json(manifest.read_bytes())
        located = locate(source)
        expected = given.file_sha256 if given is not None else _sha256(sha256)
        digest = _obtain(located, expected, given.file_bytes if given is not None else None, models)
        if given is None:
            uri = located.uri if isinstance(located, Located) else ""
            wrapper = Wrapper(_text(prefix), _text(suffix), tuple(stop or ()))
            label = name or Path(source.partition("@")[0]).stem
            given = make_manifest(models, digest, name=label, uri=uri, wrapper=wrapper, context=context)
        check_stops(given.stop_tokens)
        with progress(f"recomputing what the manifest of {printable(given.name)} commits to") as on_bytes:
            recomputed.verify(models, given, on_bytes)
        models.allow(given)
        if as_json:
            print_json(_summary(given))
        else:
            _print(given)
            reason = exactness.refusal(models.file_path(digest), given)
            typer.echo(f"exact    {short(exactness.told(reason))}")
            if reason is None:
                typer.echo(f"text     {short(exactness.told(exactness.text_refusal(models.file_path(digest))))}")
                _warn_of_limits(exactness.saturated(models.file_path(digest)))


@app.command(name="list")
def list_models(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> None:
    """List the models this node may serve."""
    with reported():
        found = ModelStore(at_home(store)).manifests()
        if as_json:
            print_json([_summary(manifest) for manifest in found])
            return
        for manifest in found:
            size = f"{manifest.file_bytes / 1e6:,.1f} MB"
            typer.echo(f"0x{manifest.model_id.hex()}  {size:>12}  {printable(manifest.name)}")


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A model id, or the beginning of one.")],
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Print a model's manifest as JSON: what `register` takes, and what other nodes add with --manifest.

    Whether the exact engine computes it goes to standard error.
    """
    with reported():
        models = ModelStore(at_home(store))
        manifest = models.find(model)
        typer.echo(manifest.to_json(), nl=False)
        reason = exactness.refusal(models.file_path(manifest.file_sha256), manifest)
        typer.echo(f"exact: {short(exactness.told(reason))}", err=True)


@app.command()
def verify(
    model: Annotated[str, typer.Argument(help="A model id, or the beginning of one; none for all.")] = "",
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Hash model files again and compare them, and the numbers in them, with their manifests."""
    with reported():
        models = ModelStore(at_home(store))
        failed, rows = 0, list[dict[str, Any]]()
        wanted = [models.find(model)] if model else models.manifests()
        if not wanted:
            raise UnknownModel(f"no models in {models.root}, so nothing was verified; `didyma model add` adds one")
        for manifest in wanted:
            try:
                with progress(f"hashing {printable(manifest.name)}") as on_bytes:
                    models.file(manifest).verify(on_bytes)
                    recomputed.verify(models, manifest, on_bytes)
                said = ""
            except (BadModelFile, WrongCommitments) as error:
                failed += 1
                said = str(error)
            rows.append({**_summary(manifest), "right": not said, "reason": said})
            if not as_json:
                mark, colour = ("WRONG", "red") if said else ("right", None)
                typer.secho(f"{mark}  0x{manifest.model_id.hex()}  {short(said or manifest.name)}", fg=colour)
        if as_json:
            print_json(rows)
    if failed:
        raise typer.Exit(1)


@app.command()
def tokens(
    model: Annotated[str, typer.Argument(help="A model id, or the beginning of one.")],
    text: Annotated[str, typer.Argument(help="A prompt.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Print a prompt of token ids as services that the dispute game judges take it: its kind, three bytes an id."""
    with reported():
        models = ModelStore(at_home(store))
        manifest = models.find(model)
        prompt = tokenized(models.file(manifest).path, text.encode("utf-8", "surrogateescape"), manifest)
        if as_json:
            print_json({"model": manifest.model_id, "prompt": prompt, "ids": ids_in(prompt[1:])})
        else:
            typer.echo(f"0x{prompt.hex()}")


def _obtain(located: Located | Path, expected: bytes | None, size: int | None, models: ModelStore) -> bytes:
    """Brings the file into the store; returns its SHA-256."""
    if isinstance(located, Path):
        with progress(f"copying {located.name}") as on_bytes:
            digest = models.take_copy(located, on_bytes)
    else:
        if expected is not None and located.sha256 not in (None, expected):
            raise BadModelFile(f"the hub's file has SHA-256 {(located.sha256 or b'').hex()}, not {expected.hex()}")
        pinned = replace(located, sha256=located.sha256 or expected, size=located.size or size)
        with progress(f"fetching {os.path.basename(located.url)}") as on_bytes:
            digest = fetch(pinned, models, on_bytes)
    if expected is not None and digest != expected:
        raise BadModelFile(f"the file has SHA-256 {digest.hex()}, not {expected.hex()}")
    return digest


def _sha256(text: str) -> bytes | None:
    if not text:
        return None
    try:
        digest = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise typer.BadParameter("a SHA-256 is 64 hexadecimal digits")
    return digest


def _text(option: str) -> str:
    return option.replace(r"\n", "\n")


def _summary(manifest: Manifest) -> dict[str, Any]:
    return {"model": manifest.model_id, "name": manifest.name, "file_bytes": manifest.file_bytes}


def _warn_of_limits(saturated: Mapping[str, int]) -> None:
    for operator, count in saturated.items():
        typer.secho(
            f"warning: {count} numbers of {operator} reach their limit on a usual text: the exact engine's answers may "
            "be worse than this model's; offer another quantization or model",
            fg="yellow",
        )


def _print(manifest: Manifest) -> None:
    typer.echo(f"model    0x{manifest.model_id.hex()}")
    typer.echo(f"file     {manifest.file_sha256.hex()}, {manifest.file_bytes:,} bytes")
    typer.echo(f"wrapper  {list(manifest.prefix_tokens)} prompt {list(manifest.suffix_tokens)}")
    typer.echo(f"stops    {list(manifest.stop_tokens)}, context {manifest.context_length:,}")
