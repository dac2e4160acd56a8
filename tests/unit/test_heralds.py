"""New heads by websocket: an announcement makes the node look at once, and nothing that a websocket does harms it."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web
from pydantic import SecretStr
from rig.anvil import anvil, free_port

from oracle.chain import heralds
from oracle.chain.heralds import Heralds

ANNOUNCEMENT = json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": {"result": {"number": "0x1"}}})


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.01)


async def test_anvil__mines__each_block_is_announced():
    with anvil() as chain:
        heard: list[int] = []
        listening = Heralds([SecretStr(chain.url.replace("http", "ws"))], lambda: heard.append(1))
        listening.start()
        try:
            await until(lambda: listening.connected == 1)
            for count in range(1, 4):
                await asyncio.to_thread(chain.mine)
                await until(lambda count=count: len(heard) == count)  # type: ignore[misc]
                await asyncio.sleep(heralds.LEAST_SECONDS)
        finally:
            await listening.close()


async def served(play: Callable[[web.WebSocketResponse], Awaitable[None]]) -> tuple[web.AppRunner, str]:
    """A websocket that plays this to whoever subscribes."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        message = await socket.receive()
        assert message.type is WSMsgType.TEXT
        assert json.loads(message.data)["method"] == "eth_subscribe"
        await play(socket)
        await socket.close()
        return socket

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner, f"ws://127.0.0.1:{port}/"


async def test_websocket__closes_after_each__is_connected_again():
    calls = heard = 0

    async def play(socket: web.WebSocketResponse) -> None:
        nonlocal calls
        calls += 1
        await socket.send_str(ANNOUNCEMENT)

    def hear() -> None:
        nonlocal heard
        heard += 1

    runner, url = await served(play)
    listening = Heralds([SecretStr(url)], hear)
    listening.start()
    try:
        await until(lambda: calls >= 2 and heard >= 2)
    finally:
        await listening.close()
        await runner.cleanup()


async def test_websocket__announces_a_thousand_at_once__one_is_heard():
    done, heard = asyncio.Event(), 0

    async def play(socket: web.WebSocketResponse) -> None:
        for _ in range(1_000):
            await socket.send_str(ANNOUNCEMENT)
        await socket.receive()
        done.set()

    def hear() -> None:
        nonlocal heard
        heard += 1

    runner, url = await served(play)
    listening = Heralds([SecretStr(url)], hear, clock=lambda: 7.0)
    listening.start()
    try:
        await until(lambda: heard > 0)
        await asyncio.sleep(0.1)
        assert heard == 1
    finally:
        await listening.close()
        await runner.cleanup()


@pytest.mark.parametrize("said", ["[", "[" * 100_000, '{"error": {"code": -32601}}', "7"])
async def test_websocket__talks_nonsense__is_left_for_a_while_and_nothing_is_raised(said):
    calls = 0

    async def play(socket: web.WebSocketResponse) -> None:
        nonlocal calls
        calls += 1
        await socket.send_str(said)
        await socket.receive()

    runner, url = await served(play)
    listening = Heralds([SecretStr(url), SecretStr("ws://127.0.0.1:1/"), SecretStr("no url")], lambda: None)
    listening.start()
    try:
        await until(lambda: calls >= 1)
        await asyncio.sleep(0.1)
        assert (calls, listening.connected) == (1, 0)
        assert not any(task.done() for task in listening._tasks)
    finally:
        await listening.close()
        await runner.cleanup()
