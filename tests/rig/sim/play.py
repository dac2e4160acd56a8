"""A real daemon on the simulated chain, stepped block by block: it reads, computes, signs, sends, dies and comes back.

It operates four of five seats and has a dispute key. Nothing waits for real time, except for engine threads.
"""

import asyncio
from pathlib import Path
from typing import Any

from e2e.world import ACCOUNTS, NODES, World, is_busy, make_node

from oracle.engines.base import Completion, Params, Verdict
from oracle.errors import EngineCrashed, Transient
from oracle.node.daemon import Node
from rig.fake_engine import FakeEngine
from rig.sim.deaths import Deaths, Killed
from rig.sim.faults import SimEndpoint, connected
from rig.sim.local import Local

OPERATOR, DISPUTER = NODES[0], ACCOUNTS[8]
OWN_SEATS = range(4)
MOST_ROUNDS = 60
"""In one turn of the daemon."""
FINALITY = 12


class Engine(FakeEngine):
    """Loses its worker in the next `crashes` jobs."""

    def __init__(self) -> None:
        super().__init__()
        self.crashes = 0

    def generate(self, prompt: Any, params: Params) -> Completion:
        self._crash()
        return super().generate(prompt, params)

    def check(self, prompt: Any, output: Any, params: Params) -> Verdict:
        self._crash()
        return super().check(prompt, output, params)

    def _crash(self) -> None:
        if self.crashes:
            self.crashes -= 1
            raise EngineCrashed("the worker was killed")


class Play:
    """One life of chain and daemon. Close it at the end."""

    def __init__(self, earth: World, folder: Path, fates: Deaths) -> None:
        self.earth, self.folder, self.fates = earth, folder, fates
        assert isinstance(earth.chain, Local)
        self.chain = earth.chain
        self.sim = self.chain.sim
        self.endpoints = [SimEndpoint(self.chain.serve) for _ in range(2)]
        self.engine = Engine()
        self.seconds = 0.0
        """On the daemon's own clock."""
        self.clock_off = 0.0
        """By how many seconds its machine's clock is ahead of the chain's."""
        self._loop = asyncio.new_event_loop()
        self.node: Node | None = None

    # -- the daemon ----------------------------------------------------------------------------------------------

    def live(self, blocks: int, seconds: int = 1) -> None:
        """The daemon does what it can, then a block comes; so many times."""
        for _ in range(blocks):
            self.work()
            self.mine(1, seconds)

    def work(self) -> None:
        """The daemon does what it can at this head. A death on the way is a restart."""
        try:
            self._loop.run_until_complete(self._work())
        except Killed:
            self.kill()

    def kill(self) -> None:
        """The daemon's process is gone; the next work is a new one's."""
        node, self.node = self.node, None
        if node is not None:
            self._loop.run_until_complete(self._close(node))

    async def _work(self) -> None:
        if self.node is None:
            rpc = connected(self.endpoints, lambda: self.seconds)
            options = {"rpc": rpc, "disputer": DISPUTER, "clock": lambda: self.seconds, "finality": FINALITY}
            options["wall"] = lambda: self.sim.head.header.timestamp + self.clock_off
            self.node = await make_node(self.earth, self.folder, OPERATOR, self.engine, **options)
        node = self.node
        for _ in range(MOST_ROUNDS):
            failed = not await self._round(node)
            if not is_busy(node):
                node.again()  # what has just been computed may have to be sent
                failed = not await self._round(node) or failed
                if failed or not is_busy(node):
                    return
            while is_busy(node) and not any(task.done() for task in node.workshop._running.values()):
                await asyncio.sleep(0.0005)
            node.again()
        raise AssertionError("the daemon does not come to rest")

    @staticmethod
    async def _round(node: Node) -> bool:
        """As `Node.run` does one. Returns whether it went well."""
        try:
            await node.round()
            node.status.trouble = ""
        except Transient as error:
            node.status.trouble = f"{type(error).__name__}: {error}"
        return not node.status.trouble

    async def _close(self, node: Node) -> None:
        tasks = list(node.workshop._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        node.workshop._running.clear()
        self.fates.forget()
        await node.workshop.close(0)
        await node.close()

    def close(self) -> None:
        """Ends the daemon."""
        self.kill()
        self._loop.close()

    # -- the chain -----------------------------------------------------------------------------------------------

    def mine(self, blocks: int, seconds: int = 1) -> None:
        for _ in range(blocks):
            self.sim.mine(timestamp=self.now + seconds)
            self.seconds += seconds

    @property
    def now(self) -> int:
        """Time of the head, Unix seconds."""
        return self.sim.head.header.timestamp

    @property
    def height(self) -> int:
        """Number of the head."""
        return self.sim.head.header.number
