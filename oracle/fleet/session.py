"""Sessions with the fleet's database: how long they wait, and what their failures are called.

The database's words are not repeated in errors: they name hosts and users.
"""

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import psycopg_pool
from procrastinate.exceptions import ConnectorException

from oracle.errors import FleetUnavailable

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 4.0
"""A session in which a statement takes longer is given up: its database, or the way there, stands still."""
PATIENCE: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "tcp_user_timeout": 5000,  # milliseconds
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}
"""Of sessions whose other side is gone without a word."""

logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # it names hosts, and says nothing that we do not


def connect(url: str) -> psycopg.Connection[Any]:
    """A session of its own. Raises FleetUnavailable."""
    with told():
        return psycopg.connect(url, autocommit=True, **PATIENCE)


@contextlib.contextmanager
def bounded(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Cuts the connection if what is done with it takes too long: it then raises psycopg.OperationalError."""
    timer = threading.Timer(STATEMENT_SECONDS, _cut, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(connection: psycopg.Connection[Any]) -> None:
    with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as wire:
        wire.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Errors of the database as FleetUnavailable, without its words."""
    try:
        yield
    except (psycopg.Error, psycopg_pool.PoolTimeout, ConnectorException) as error:
        cause = error.__cause__ if isinstance(error, ConnectorException) and error.__cause__ else error
        state = getattr(cause, "sqlstate", None)
        code = f", SQLSTATE {state}" if state else ""
        raise FleetUnavailable(
            f"the fleet's database: {type(cause).__name__}{code}; is it up, and has `didyma fleet prepare` run?"
        ) from None
