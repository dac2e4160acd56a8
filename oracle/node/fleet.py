"""Where a node's fleet is, and its engines there: only for those who have installed what a fleet needs."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oracle import ENVIRONMENT_PREFIX
from oracle.engines.base import Engine
from oracle.errors import BadSettings

if TYPE_CHECKING:
    from oracle.fleet.board import Board
    from oracle.fleet.engine import Depth, FleetEngine
    from oracle.fleet.leader import Leader

URL_NAME = f"{ENVIRONMENT_PREFIX}FLEET_URL"
_boards: dict[str, "Board"] = {}
_engines: dict[str, "FleetEngine"] = {}
_opening = threading.Lock()


def url_in(file: Path | None) -> str:
    """The database's URL, of a file or the environment: not of a command line, which every process can read.

    Raises BadSettings.
    """
    found = os.environ.get(URL_NAME, "") if file is None else file.read_text()
    if not found.strip():
        raise BadSettings(f"no database: set {URL_NAME}, or name a file with --url-file")
    return found.strip()


def fleet_engine(url: str, model: bytes, tolerance: int | None, limit_seconds: float) -> Engine:
    """What serves a model by workers of the fleet; all of a process share one connection to their database.

    Raises BadSettings where what a fleet needs is not installed, FleetUnavailable.
    """
    try:
        from oracle.fleet.board import Board  # noqa: PLC0415
        from oracle.fleet.engine import FleetEngine, queue_of  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadSettings(f"fleet_url needs the package {error.name}: pip install 'didyma[fleet]'") from None
    with _opening:
        board = _boards.get(url)
        if board is None:
            board = _boards[url] = Board(url, connections=16).open()
    queue = queue_of(model, tolerance)
    _engines[queue] = FleetEngine(board, queue, limit_seconds)
    return _engines[queue]


def depths() -> dict[str, "Depth"]:
    """By queue of this process' engines in fleets: what waits there, and who lives; as of a second ago."""
    return {queue: engine.depth for queue, engine in _engines.items()}


def make_leader(url: str, signers: Sequence[str]) -> "Leader":
    """This daemon's part among those with the same keys; to be opened. Raises BadSettings."""
    try:
        from oracle.fleet.leader import Leader  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise BadSettings(f"standby needs the package {error.name}: pip install 'didyma[fleet]'") from None
    return Leader(url, signers)
