"""The node's HTTP servers, inside its event loop."""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from oracle.errors import BadSettings

MOST_CONNECTIONS = 64
MOST_HEADER_BYTES = 16_384
SEND_BUFFER_BYTES = 1 << 17
"""That the system is asked to hold of a reply: with its usual megabytes, a slow reader's progress would not be seen."""
MOST_SECONDS = 10.0
"""That a caller may let the server wait: for a request's whole head, or for some of a reply to be read."""


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield


class _Connection(H11Protocol):
    """One of a bounded number, which a caller who only holds it loses.

    Above the limit, the one that has let the server wait longest gives way to the new one. If all others are at work,
    the new one is closed.
    """

    def __init__(self, *args: Any, most_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_seconds = most_seconds
        self._clock: asyncio.TimerHandle | None = None
        self._unread_bytes = 0
        self._waits_since: float | None = None
        """The loop's time since when the server waits for the caller; None while it does not."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look()
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            others = [each for each in self.connections if isinstance(each, _Connection) and each is not self]
            waits = {each: each._waits_since for each in others if each._waits_since is not None}
            (min(waits, key=waits.__getitem__) if waits else self)._drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        self._stop()
        self._look()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._look()

    def _look(self) -> None:
        """Starts or stops the clock."""
        waits = self.cycle is None or self.cycle.response_complete or self.flow.write_paused
        if not waits:
            self._stop()
        elif self._waits_since is None:
            self._waits_since = self.loop.time()
            self._start()

    def _start(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._clock = self.loop.call_later(self._most_seconds, self._late)

    def _stop(self) -> None:
        self._waits_since = None
        if self._clock is not None:
            self._clock.cancel()

    def _late(self) -> None:
        if 0 < self.transport.get_write_buffer_size() < self._unread_bytes:
            self._start()  # a slow reader, but it reads
        else:
            self._drop()

    def _drop(self) -> None:
        self._stop()
        self.connections.discard(self)
        self.transport.abort()


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Binds before anything else starts, so that a taken port is a clear error. Raises BadSettings with `setting`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadSettings(f"nothing can listen on {host}:{port} ({error.strerror}): change {setting}") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener


async def serve_app(
    app: FastAPI, listener: socket.socket, connections: int = MOST_CONNECTIONS, most_seconds: float = MOST_SECONDS
) -> None:
    """Serves until cancelled. connections: at a time. most_seconds: for a request's head, or to read on."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=connections + 1,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        http=functools.partial(_Connection, most_seconds=most_seconds),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
    )
    await _Server(config).serve(sockets=[listener])
