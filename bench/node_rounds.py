"""What a round of the daemon costs with much open, what a start costs, and what closed requests take of memory.

Requests are put straight into the journal; the chain (Anvil) brings an empty block before each round. The engine never
ends, so every round plans for all that is open, and sends nothing.
"""

import asyncio
import statistics
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog
from e2e.world import NODES, World, make_node, world
from eth_utils.crypto import keccak
from rig.anvil import anvil
from rig.fake_engine import FakeEngine

from bench.node_speed import Figures, resident_mib, rpc_requests
from oracle.engines.base import Completion, Params, TokenId
from oracle.errors import EngineCrashed
from oracle.node.daemon import Node
from oracle.node.records import RequestRecord

ROUNDS = 15
CLOSED = 100_000
AT_ONCE = 5_000
IDLE_BLOCKS = 20


class Endless(FakeEngine):
    """Computes until it is told to stop, and has nothing then."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        self.over.wait()
        raise EngineCrashed("the measurement is over")


@asynccontextmanager
async def node_of(earth: World, folder: Path) -> AsyncIterator[Node]:
    """A node that has read the chain and has an engine; it signs nothing, for nothing is ever computed."""
    engine = Endless()
    node = await make_node(earth, folder, NODES[0], engine, finality=64)
    try:
        await node.round()
        yield node
    finally:
        engine.over.set()
        await node.workshop.close(1)
        await node.close()


def fill(node: Node, like: RequestRecord, count: int, state: str) -> None:
    """Puts `count` requests like that one into the journal."""
    for start in range(0, count, AT_ONCE):
        with node.journal.write() as tx:
            for number in range(start, min(start + AT_ONCE, count)):
                request = replace(like.request, prompt_hash=keccak(f"{state} {number}".encode()))
                record = replace(like, request=request, state=state)
                record = record if state == "open" else record.closed(state)
                tx.put_job("request", record.key, state, record.payload(), request.block_number)


async def round_ms(node: Node, earth: World) -> float:
    """The median of some rounds, each at a head of its own."""
    taken = []
    for _ in range(ROUNDS):
        earth.chain.mine()
        started = time.perf_counter()
        await node.round()
        taken.append(1e3 * (time.perf_counter() - started))
    return statistics.median(taken)


async def measured(earth: World, folder: Path) -> Figures:
    """All figures."""
    asked = earth.ask(lifetime=590)
    earth.chain.mine(6)
    found: Figures = {}
    async with node_of(earth, folder / "idle") as node:
        (like,) = node._working.requests
        for count in (0, 99):
            fill(node, like, count, "open")
            await node.round()
            before = rpc_requests(node)
            for _ in range(IDLE_BLOCKS):
                earth.chain.mine()
                await node.round()
            calls = (rpc_requests(node) - before) / IDLE_BLOCKS
            found["rpc_calls_a_block"] = max(found.get("rpc_calls_a_block", 0), calls)
    for count in (1_000, 10_000):
        async with node_of(earth, folder / str(count)) as node:
            fill(node, like, count - 1, "open")
            found[f"round_ms_{count}"] = await round_ms(node, earth)
    started = time.perf_counter()
    async with node_of(earth, folder / "10000") as node:
        found["restart_10000_s"] = time.perf_counter() - started
        assert len(node._working.requests) == 10_000
    async with node_of(earth, folder / "closed") as node:
        fill(node, like, CLOSED, "final")
        found["round_ms_100000_closed"] = await round_ms(node, earth)
    async with node_of(earth, folder / "closed") as node:
        earth.chain.mine()
        await node.round()
        found["memory_mib_100000"] = resident_mib()
    assert earth.status(asked) == "open", "something was sent"
    return found


def run() -> Figures:
    """All figures."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with world(made=anvil) as earth, tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measured(earth, Path(folder)))


if __name__ == "__main__":
    for name, value in run().items():
        print(f"{name:24} {value:.4g}")
