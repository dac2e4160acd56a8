"""The servers keep no connection that only holds a place, as raw sockets find."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic

import pytest
from fastapi import FastAPI, Response

from oracle.api.server import listen, serve_app

LARGE = 4 << 20
"""Bytes of a reply that no socket's buffers hold."""
ASK = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n"
SECONDS = 0.3


@asynccontextmanager
async def serving(connections: int = 8, most_seconds: float = SECONDS):
    """Yields what connects to a server, and an event: requests to /busy wait for it."""
    app, go_on = FastAPI(), asyncio.Event()

    @app.get("/livez")
    async def livez() -> dict[str, bool]:
        return {"alive": True}

    @app.get("/busy")
    async def busy() -> str:
        await go_on.wait()
        return "done"

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(LARGE))

    listener = listen("127.0.0.1", 0, "port")
    address = listener.getsockname()
    server = asyncio.create_task(serve_app(app, listener, connections, most_seconds))
    opened: list[asyncio.StreamWriter] = []

    async def connect():
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        await asyncio.get_running_loop().sock_connect(plain, address)
        reader, writer = await asyncio.open_connection(sock=plain, limit=4096)
        opened.append(writer)
        return reader, writer

    try:
        yield connect, go_on
    finally:
        go_on.set()
        for writer in opened:
            writer.close()
        server.cancel()
        await asyncio.gather(server, return_exceptions=True)


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What came before the end; fails if there is none soon."""
    async with asyncio.timeout(5):
        try:
            return await reader.read()
        except ConnectionError:
            return b""


async def alive(connect: Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]) -> bool:
    """Whether a new connection is answered."""
    reader, writer = await connect()
    writer.write(ASK)
    async with asyncio.timeout(5):
        try:
            return b"200 OK" in await reader.read(4096)
        except ConnectionError:
            return False


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nhost: x\r\n"])
async def test_connection__head_not_complete_in_time__is_closed(sent):
    async with serving() as (connect, _):
        reader, writer = await connect()
        writer.write(sent)
        assert await ended(reader) == b""


async def test_connection__head_that_comes_byte_by_byte__is_closed_all_the_same():
    async with serving() as (connect, _):
        reader, writer = await connect()
        writer.write(ASK)
        assert b"alive" in await reader.read(4096)
        began = monotonic()
        while not reader.at_eof() and monotonic() - began < 5:  # of the second request
            writer.write(b"G")
            await asyncio.sleep(SECONDS / 10)
            if reader.exception() is not None:
                break
        assert SECONDS / 2 < monotonic() - began < 5


async def test_connection__reply_that_nobody_reads__is_closed_and_a_slow_reader_is_not():
    async with serving() as (connect, _):
        reader, writer = await connect()
        writer.write(ASK.replace(b"livez", b"large"))
        await asyncio.sleep(4 * SECONDS)
        assert len(await ended(reader)) < LARGE
        reader, writer = await connect()
        writer.write(ASK.replace(b"livez", b"large").replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
        found, began = 0, monotonic()
        while piece := await reader.read(1 << 16):
            found += len(piece)
            if monotonic() - began < 4 * SECONDS:
                await asyncio.sleep(SECONDS / 60)
        assert found > LARGE


async def test_connection__request_at_work__is_not_hurried():
    async with serving() as (connect, go_on):
        reader, writer = await connect()
        writer.write(ASK.replace(b"livez", b"busy"))
        await asyncio.sleep(2 * SECONDS)
        go_on.set()
        async with asyncio.timeout(5):
            assert b"200 OK" in await reader.read(4096)


async def test_limit__idle_connections__give_way_the_oldest_first():
    async with serving(connections=3, most_seconds=60) as (connect, _):
        oldest, *others = [(await connect())[0] for _ in range(3)]
        await asyncio.sleep(0.05)
        assert await alive(connect)
        assert await ended(oldest) == b""
        assert not any(reader.at_eof() for reader in others)
        for _ in range(20):
            await connect()
        assert await alive(connect)


async def test_limit__all_at_work__new_ones_are_closed_at_once():
    async with serving(connections=2, most_seconds=60) as (connect, go_on):
        readers = []
        for _ in range(2):
            reader, writer = await connect()
            writer.write(ASK.replace(b"livez", b"busy"))
            readers.append(reader)
        await asyncio.sleep(0.1)
        late, _ = await connect()
        assert await ended(late) == b""
        go_on.set()
        for reader in readers:
            async with asyncio.timeout(5):
                assert b"done" in await reader.read(4096)
        assert await alive(connect)
