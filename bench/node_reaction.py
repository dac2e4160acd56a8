"""How soon a node answers: from a block's arrival to the broadcast of the answer that it makes possible.

A whole daemon with an engine that takes no time, on Anvil, told of new heads by websocket. Blocks are mined one by one;
the pool says when the answer has come.
"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import structlog
from e2e.world import NODES, World, make_node, world
from pydantic import SecretStr
from rig.anvil import anvil

from oracle.chain.units import ETHER

REQUESTS = 15
MOST_BLOCKS = 20
LONGEST_SECONDS, PAUSE_SECONDS = 5.0, 0.3
"""In which an answer comes, or needs another block; between blocks that are too early for it."""
POLL_SECONDS = 30.0

Figures = dict[str, float]


def pending(earth: World) -> int:
    """Transactions of the node, those in the pool included."""
    return int(earth.chain.rpc("eth_getTransactionCount", NODES[0].address, "pending"), 16)


async def next_answer(earth: World, request: int) -> float:
    """Mines until the node sends something. Returns the seconds since the last block."""
    before = await asyncio.to_thread(pending, earth)
    seed_block = (await asyncio.to_thread(earth.request, request)).seed_block
    for _ in range(MOST_BLOCKS):
        started = time.perf_counter()
        await asyncio.to_thread(earth.chain.mine)
        may_come = await asyncio.to_thread(earth.chain.height) > seed_block
        while (waited := time.perf_counter() - started) < (LONGEST_SECONDS if may_come else PAUSE_SECONDS):
            if await asyncio.to_thread(pending, earth) > before:
                return waited
    raise AssertionError("the node does not answer")


async def measured(earth: World, folder: Path, requests: int = REQUESTS) -> Figures:
    """The median."""
    socket = SecretStr(earth.chain.url.replace("http", "ws"))
    node = await make_node(
        earth, folder, NODES[0], ws_urls=[socket], poll_seconds=POLL_SECONDS, finalize_wait_seconds=10_000
    )
    task = asyncio.create_task(node.run())
    try:
        taken = []
        for number in range(requests):
            request = await asyncio.to_thread(earth.ask, b"question %d" % number)
            taken.append(await next_answer(earth, request))
        return {"reaction_ms": 1e3 * statistics.median(taken)}
    finally:
        node.stop()
        await asyncio.wait_for(task, 60)
        await node.close()


def run() -> Figures:
    """All figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with world(made=anvil) as earth, tempfile.TemporaryDirectory() as folder:
        for seat, account in enumerate(NODES):
            earth.act(account, "topUp", earth.service, seat, value_wei=REQUESTS * ETHER)
            earth.act(account, "setOperator", earth.service, seat, NODES[0].address)
        return asyncio.run(measured(earth, Path(folder)))


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:24} {value:.4g}")
