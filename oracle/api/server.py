"""The API's HTTP server, inside the node's event loop."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn

from oracle.api.app import create_app
from oracle.errors import BadSettings
from oracle.node.daemon import Node
from oracle.node.settings import Settings

MOST_CONNECTIONS = 64
MOST_HEADER_BYTES = 16_384


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the daemon's."""
        yield


def listen(settings: Settings) -> socket.socket:
    """Binds before anything else starts, so that a taken port is a clear error. Raises BadSettings."""
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    try:
        return socket.create_server((settings.api_host, settings.api_port), family=family)
    except OSError as error:
        where = f"{settings.api_host}:{settings.api_port}"
        raise BadSettings(f"the API cannot listen on {where} ({error.strerror}): set api_port or api_host") from None


async def serve_api(node: Node, listener: socket.socket) -> None:
    """Serves until cancelled."""
    config = uvicorn.Config(
        create_app(node),
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=MOST_HEADER_BYTES,
        http="h11",
        ws="none",
        lifespan="off",
    )
    await _Server(config).serve(sockets=[listener])
