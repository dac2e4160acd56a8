"""Sessions with the fleet's database: how long they wait, and what their failures are called.

The database's words are not repeated in errors: they name hosts and users.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import psycopg_pool
from procrastinate.exceptions import ConnectorException

from oracle.errors import FleetUnavailable

CONNECT_SECONDS = 5
STATEMENT_SECONDS = 4.0
"""A session in which a statement takes longer is given up: its database, or the way there, stands still."""
_LOOK_SECONDS = 0.25
"""Between two looks for such statements."""
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


class _Watch:
    """One thread that cuts connections whose statement takes too long."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._due: dict[object, tuple[float, psycopg.Connection[Any]]] = {}
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def over(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        statement = object()
        with self._changing:
            self._due[statement] = time.monotonic() + STATEMENT_SECONDS, connection
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="database watch", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._changing:
                self._due.pop(statement, None)

    def _look(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            with self._changing:
                now = time.monotonic()
                for statement, (due, connection) in [*self._due.items()]:
                    if now >= due:
                        del self._due[statement]
                        _cut(connection)


_watch = _Watch()


def bounded(connection: psycopg.Connection[Any]) -> contextlib.AbstractContextManager[None]:
    """Cuts the connection if what is done with it takes too long: it then raises psycopg.OperationalError."""
    return _watch.over(connection)


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
