"""What commands say: errors in one line, values as JSON, bars for what takes long."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from web3.exceptions import BadFunctionCallOutput, TimeExhausted, Web3Exception

from oracle.errors import OracleError, printable
from oracle.node import logs

MOST_ERROR = 1000
"""Characters of an error that are shown."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]


@contextmanager
def reported() -> Iterator[None]:
    """Shows what a user, an endpoint or a disk can cause as one line on standard error, and ends with status 1.

    Warnings of what a command sets to work go there too: standard output is for what was asked for.
    """
    logs.configure("console", "warning")
    try:
        yield
    except (OracleError, Web3Exception, OSError) as error:
        typer.secho(short(_told(error)), fg="red", err=True)
        raise typer.Exit(1) from None


def short(text: str) -> str:
    """What may quote a stranger at any length, as people can read it."""
    shown = printable(text)
    return shown if len(shown) <= MOST_ERROR else shown[: MOST_ERROR - 3] + "..."


def _told(error: OracleError | Web3Exception | OSError) -> str:
    match error:
        case BadFunctionCallOutput():
            told = "no contract of Didyma answers at the deployment's addresses: is the deployment file this chain's?"
        case TimeExhausted():
            told = f"the chain has not mined the transaction yet ({error}): look again later, or pay more for gas"
        case Web3Exception():
            what = f"{type(error).__name__}: {error}"
            told = f"the endpoint's reply does not fit the contracts ({what}): is the deployment file this chain's?"
        case FileNotFoundError():
            told = f"no such file: {error.filename}"
        case OSError() if error.filename:
            told = f"{error.filename}: {error.strerror}"
        case _:
            told = f"{type(error).__name__}: {error}"
    return told


def utc(seconds: int) -> str:
    """A Unix time for people. Chains may say any number."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{seconds} (Unix time)"


def print_json(value: Any) -> None:
    """One value on standard output: bytes as 0x…, dataclasses as objects."""
    typer.echo(json.dumps(_plain(value), indent=2))


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


@contextmanager
def waiting(what: str, console: Console) -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is being done; what it is told may be a stranger's words."""
    with console.status(escape(what)) as status:
        yield lambda now: status.update(escape(printable(now)))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for bytes done of bytes in all; nothing where there is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)


class BlocksBar:
    """A bar for blocks read of a long history. It comes with the first of them, and goes with the last."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __call__(self, done: int, of: int) -> None:
        if self._bar is None:
            console = Console(stderr=True)
            columns = (
                TextColumn("reading the chain, blocks"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
            self._bar.start()
            self._task = self._bar.add_task("", total=of)
        self._bar.update(self._task, completed=done, total=of)
        if done >= of:
            self.close()

    def close(self) -> None:
        """Takes the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
