"""Running a node as a process: the loop and its HTTP servers, until SIGTERM."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from oracle.api.app import create_app
from oracle.api.inference import MOST_WAITING, create_inference_app
from oracle.api.prompts import create_prompts_app
from oracle.api.server import listen, serve_app
from oracle.node.daemon import Node, open_node
from oracle.node.engines import EngineFactory
from oracle.node.settings import Settings

log = structlog.get_logger()


async def serve(
    settings: Settings,
    engine_factory: EngineFactory | None = None,
    beside: Callable[[Node], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Opens the node and its servers, and works until SIGTERM or SIGINT. Raises Fatal errors.

    beside: runs as long as the node does, to show what it does.
    """
    node = await open_node(settings, engine_factory)
    servers: list[asyncio.Task[None]] = []

    def start(name: str, work: Coroutine[Any, Any, None]) -> None:
        servers.append(asyncio.create_task(work, name=name))
        servers[-1].add_done_callback(_tell)

    try:
        if beside is not None:
            start("display", beside(node))
        if settings.api_port:
            listener = listen(settings.api_host, settings.api_port, "api_port or api_host")
            start("api", serve_app(create_app(node), listener))
        if settings.prompts_port:
            listener = listen(settings.prompts_host, settings.prompts_port, "prompts_port or prompts_host")
            start("prompts", serve_app(create_prompts_app(node), listener))
        if settings.inference_port:
            listener = listen(settings.inference_host, settings.inference_port, "inference_port or inference_host")
            app = create_inference_app(node)
            start("inference", serve_app(app, listener, 2 * MOST_WAITING))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, node.stop)
        await node.run()
    finally:
        for server in servers:
            server.cancel()
        await asyncio.gather(*servers, return_exceptions=True)
        await node.workshop.close(0)
        await node.close()


def _tell(ended: asyncio.Task[None]) -> None:
    """What works beside the loop must not end it, nor end unheard."""
    if not ended.cancelled() and (error := ended.exception()) is not None:
        log.error("no longer works until the node is started again", part=ended.get_name(), exc_info=error)


def run(settings: Settings, engine_factory: EngineFactory | None = None) -> None:
    """`serve` for callers without an event loop."""
    asyncio.run(serve(settings, engine_factory))
