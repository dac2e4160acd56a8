"""`didyma fleet`: machines that compute for a node, with a Postgres database between. They hold no key."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from oracle.cli.model import DEFAULT_STORE, StoreOption
from oracle.cli.report import JsonOption, print_json, progress, reported
from oracle.disputes import recomputed
from oracle.disputes.chunks import Shelf
from oracle.engines.base import Engine
from oracle.engines.choice import engine_setup
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.worker import Limits
from oracle.engines.worker_pool import WorkerPool
from oracle.errors import BadSettings, printable
from oracle.models.files import ModelFile, at_home
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node import logs
from oracle.node.fleet import url_in

if TYPE_CHECKING:
    from oracle.fleet.work import FleetWorker

app = typer.Typer(help="Machines that compute for a node, with a Postgres database between.", no_args_is_help=True)
LOAD_SECONDS, JOB_SECONDS = 1800.0, 600.0

UrlFileOption = Annotated[
    Path | None,
    typer.Option(help="File with the database's URL; $DIDYMA_FLEET_URL if not given.", show_default=False),
]


@app.command()
def prepare(
    *,
    node: Annotated[list[str] | None, typer.Option(help="A role that may do what a node needs; repeat it.")] = None,
    worker: Annotated[list[str] | None, typer.Option(help="A role that may do what a worker needs; repeat it.")] = None,
    url_file: UrlFileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the tables that the database lacks. The role needs CREATE there; nodes and workers do not."""
    with reported(), installed():
        from oracle.fleet import tables  # noqa: PLC0415

        tables.prepare(url_in(url_file), node or [], worker or [])
        if as_json:
            print_json({"prepared": True})
        else:
            typer.echo("the database is ready for a fleet")


@app.command()
def status(*, url_file: UrlFileOption = None, as_json: JsonOption = False) -> None:
    """Say which workers live, what each has shown, and how many jobs wait for whom."""
    with reported(), installed():
        from oracle.fleet.board import Board  # noqa: PLC0415

        with Board(url_in(url_file), asks=False) as board:
            offers, waiting = board.offers(), board.waiting()
    if as_json:
        workers = [{"queue": o.queue, "together": o.together, "shown": o.shown} for o in offers]
        print_json({"workers": workers, "waiting": waiting})
        return
    for offer in offers:
        typer.echo(f"worker   {printable(offer.queue)}  {offer.together} at a time  {printable(offer.shown)}")
    for queue, count in waiting.items():
        typer.echo(f"waiting  {printable(queue)}  {count}")
    if not offers:
        typer.echo("no worker lives: start `didyma fleet work` on a machine that has a model")


@app.command()
def work(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Beginnings of models' ids; all of the store if none is given.", show_default=False),
    ] = None,
    *,
    tolerance: Annotated[
        int | None,
        typer.Option(min=0, help="For a panel with this tolerance; for the dispute game if not given."),
    ] = None,
    gpu: Annotated[list[str] | None, typer.Option(help="A GPU, as CUDA_VISIBLE_DEVICES names it; repeat it.")] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of each engine; as many as the machine has if not given.")
    ] = None,
    grace: Annotated[int, typer.Option(min=0, help="Seconds that jobs in hand have to end after SIGTERM.")] = 20,
    store: StoreOption = DEFAULT_STORE,
    url_file: UrlFileOption = None,
) -> None:
    """Compute for a node until stopped. Ends with status 1 if the database or an engine is away: let a supervisor
    start it again."""
    with reported(), installed():
        from oracle.fleet.engine import queue_of  # noqa: PLC0415
        from oracle.fleet.work import FleetWorker  # noqa: PLC0415

        url = url_in(url_file)
        logs.configure("console", "info")
        found = ModelStore(at_home(store))
        chosen = [found.find(start) for start in models] if models else found.manifests()
        if not chosen:
            raise BadSettings("the store has no model: `didyma model add` fetches one")
        engines: dict[str, Engine] = {
            queue_of(manifest.model_id, tolerance): _engine(found, manifest, tolerance, gpu or [], threads)
            for manifest in chosen
        }
        traces = {
            queue_of(manifest.model_id, tolerance): _shelf(found.file(manifest), threads).answer
            for manifest in chosen
            if tolerance is None and recomputed.commits(manifest)
        }
        try:
            asyncio.run(_until_stopped(FleetWorker(url, engines, traces), grace))
        finally:
            for engine in engines.values():
                engine.close()


def _engine(
    store: ModelStore, manifest: Manifest, tolerance: int | None, gpus: list[str], threads: int | None
) -> WorkerPool:
    """As the node makes it. Raises BadModelFile, WrongCommitments."""
    path = store.file(manifest).path
    with progress("recomputing what the manifest commits to") as on_bytes:
        recomputed.verify(store, manifest, on_bytes)
    make = partial(engine_setup, manifest, path, tolerance, LlamaSettings(), threads=threads)
    devices: list[str | None] = [*gpus] or [None]
    setups = [make(gpu=gpu) for gpu in devices]
    return WorkerPool(setups, Limits(job=JOB_SECONDS, load=LOAD_SECONDS))


def _shelf(file: ModelFile, threads: int | None) -> Shelf:
    return Shelf(file.path, threads, file.verify)


async def _until_stopped(worker: "FleetWorker", grace: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await worker.run(stop, float(grace))


@contextmanager
def installed() -> Iterator[None]:
    """Raises BadSettings where what a fleet needs is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise BadSettings(f"a fleet needs the package {error.name}: pip install 'didyma[fleet]'") from None
