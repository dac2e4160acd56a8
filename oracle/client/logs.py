"""Reading logs over any range of blocks through an endpoint that may refuse long ones: the node's way, for callers that
wait. See `chain/spans.py`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from web3.exceptions import Web3RPCError

from oracle.chain.spans import MOST_WIDTH, Width, in_spans
from oracle.errors import RpcRefused

TOO_MUCH = frozenset([400, 413, 422, 500, 502, 503, 504])
"""HTTP statuses with which endpoints turn down a range, of a Web3 that is not `chain.connect`'s."""
OnBlocks = Callable[[int, int], None]
"""Told of blocks read, and of how many."""


def unheard(_done: int, _of: int) -> None:
    """Nobody is told."""


def whole_history() -> Width:
    """Everything at once, where an endpoint gives it."""
    return Width(MOST_WIDTH)


def in_order(
    read: Callable[[int, int], list[Any]], first: int, last: int, width: Width, on_blocks: OnBlocks = unheard
) -> list[Any]:
    """What `read` gives from block `first` to block `last`, both included, in order. `read` runs in other threads where
    that takes several calls. Raises as `read`, and RpcRefused where it refuses a single block."""
    if first > last:
        return []
    if last - first < width.blocks:
        try:
            return list(_refusing(read, first, last))
        except RpcRefused:
            if first == last:
                raise
            width.refused(last - first + 1)

    async def collect() -> list[Any]:
        async def ask(start: int, end: int) -> list[Any]:
            return await asyncio.to_thread(_refusing, read, start, end)

        found: list[Any] = []
        async for end, logs in in_spans(ask, first, last, width):
            found += logs
            on_blocks(end - first + 1, last - first + 1)
        return found

    with ThreadPoolExecutor(1) as apart:  # the caller may be inside a loop of its own
        return apart.submit(asyncio.run, collect()).result()


def _refusing(read: Callable[[int, int], list[Any]], first: int, last: int) -> list[Any]:
    """Raises RpcRefused for whatever a shorter range might cure; else as `read`."""
    try:
        return read(first, last)
    except Web3RPCError as error:
        raise RpcRefused(str(error)) from error
    except requests.HTTPError as error:
        if error.response is None or error.response.status_code not in TOO_MUCH:
            raise
        raise RpcRefused(str(error)) from error
