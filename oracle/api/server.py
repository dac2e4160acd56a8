"""The node's HTTP servers, inside its event loop."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI

from oracle.errors import BadSettings

MOST_CONNECTIONS = 64
MOST_HEADER_BYTES = 16_384


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield


def listen(host: str, port: int, setting: str) -> socket.socket:
    """Binds before anything else starts, so that a taken port is a clear error. Raises BadSettings with `setting`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise BadSettings(f"nothing can listen on {host}:{port} ({error.strerror}): change {setting}") from None


async def serve_app(app: FastAPI, listener: socket.socket, connections: int = MOST_CONNECTIONS) -> None:
    """Serves until cancelled. connections: at a time; others hear that there are too many."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=connections,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        http="h11",
        ws="none",
        lifespan="off",
    )
    await _Server(config).serve(sockets=[listener])
