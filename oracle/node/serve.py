"""Running a node as a process: the loop and its API, until SIGTERM."""

import asyncio
import contextlib
import signal

from oracle.api.server import listen, serve_api
from oracle.node.daemon import open_node
from oracle.node.engines import EngineFactory
from oracle.node.settings import Settings


async def serve(settings: Settings, engine_factory: EngineFactory | None = None) -> None:
    """Opens the node and its API, and works until SIGTERM or SIGINT. Raises Fatal errors."""
    node = await open_node(settings, engine_factory)
    api: asyncio.Task[None] | None = None
    try:
        if settings.api_port:
            api = asyncio.create_task(serve_api(node, listen(settings)))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stop)
        await node.run()
    finally:
        if api is not None:
            api.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await api
        await node.workshop.close(0)
        await node.close()


def run(settings: Settings, engine_factory: EngineFactory | None = None) -> None:
    """`serve` for callers without an event loop."""
    asyncio.run(serve(settings, engine_factory))
