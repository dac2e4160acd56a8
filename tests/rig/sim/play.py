"""A real daemon on the simulated chain, stepped block by block: it reads, computes, signs, sends, dies and comes back.

It operates four of five seats and has a dispute key. Nothing waits for real time, and threads take turns (jobs.py): the
same seed is the same life.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from e2e.world import ACCOUNTS, NODES, is_busy, make_node, seated, world

from oracle.engines.base import Completion, InProcess, Params, TokenId, Verdict
from oracle.engines.exact.engine import ExactEngine
from oracle.errors import EngineCrashed, Transient
from oracle.node import ledger
from oracle.node.assembly import make_follower, open_journal
from oracle.node.daemon import Node
from oracle.node.settings import Settings
from rig.fake_engine import FakeEngine
from rig.sim.arena import DEPOSIT_WEI, WINDOW_SECONDS, Arena, SimWorld, arena, by_game, small_model
from rig.sim.deaths import Deaths, Killed
from rig.sim.faults import SimEndpoint, connected
from rig.sim.jobs import Jobs
from rig.sim.local import Local, local
from rig.sim.pool import Signed

OPERATOR, DISPUTER = NODES[0], ACCOUNTS[8]
OWN_SEATS = range(4)
MOST_ROUNDS = 60
"""In one turn of the daemon."""
FINALITY = 12
MANY = 1_000_000
"""Calls."""
STEPS = 8
"""Of the loop, in which a job's end comes to the task that waits for it."""
MEMORY = Path("/dev/shm")


def scratch() -> TemporaryDirectory[str]:
    """A folder for journals. In memory where the machine has one there: a disk makes each commit wait for it, and no
    power fails in a life."""
    return TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)


class Engine(InProcess):
    """An honest engine whose worker dies in the next `crashes` jobs, hangs in the next `hangs`, and answers the next
    `lies` wrongly.

    `dead`: no worker lives.
    """

    def __init__(self, honest: FakeEngine | ExactEngine, jobs: Jobs) -> None:
        self._honest, self._jobs = honest, jobs
        self._freed = threading.Event()
        self.is_stuck = False
        """A job hangs."""
        self.heal()

    def heal(self) -> None:
        """Works from now on; a job that hangs ends as one whose worker is killed at its time limit."""
        self.crashes = self.hangs = self.lies = 0
        self.dead = False
        self._freed.set()
        self._jobs.freed()

    def prove(self) -> str:
        if self.dead:
            raise EngineCrashed("the worker was killed")
        return self._honest.prove()

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        return self._honest.tokenize(prompt)

    def detokenize(self, tokens: Any) -> bytes:
        return self._honest.detokenize(tokens)

    def recover(self, *about: Any) -> list[TokenId] | None:
        return self._honest.recover(*about)

    def generate(self, prompt: Any, params: Params) -> Completion:
        self._mishap()
        given = self._honest.generate(prompt, params)
        if not self.lies:
            return given
        self.lies -= 1
        return replace(given, tokens=(TokenId(given.tokens[0] ^ 1), *given.tokens[1:]))

    def check(self, prompt: Any, output: Any, params: Params, text: bytes = b"") -> Verdict:
        self._mishap()
        return self._honest.check(prompt, output, params, text)

    def _mishap(self) -> None:
        if self.crashes or self.dead:
            self.crashes = max(self.crashes - 1, 0)
            raise EngineCrashed("the worker was killed")
        if self.hangs:
            self.hangs -= 1
            self._freed.clear()
            self.is_stuck = True
            self._jobs.hangs()
            self._freed.wait()
            self.is_stuck = False
            raise EngineCrashed("the worker was killed at its time limit")


@dataclass
class Earth(SimWorld):
    """A world with a second service, which the dispute game judges."""

    arena: Arena = field(kw_only=True)

    def settings(self, folder: Path, **changes: Any) -> Settings:
        services = ["0x" + service.hex() for service in (self.service, self.arena.earth.service)]
        return super().settings(folder, **{"services": services, "models": self.arena.store.root, **changes})


class Play:
    """One life of chain and daemon. Close it at the end."""

    def __init__(self, earth: Earth, folder: Path, fates: Deaths) -> None:
        self.earth, self.folder, self.fates = earth, folder, fates
        assert isinstance(earth.chain, Local)
        self.chain = earth.chain
        self.sim = self.chain.sim
        self.endpoints = [SimEndpoint(self.chain.serve) for _ in range(2)]
        self.jobs = Jobs()
        self.engine, self.exact = Engine(FakeEngine(), self.jobs), Engine(earth.arena.engine, self.jobs)
        """Those of the service that a panel judges, and of the one that the game does."""
        self.before_block: Callable[[], None] = lambda: None
        """Others move."""
        self.after_turn: Callable[[], None] = lambda: None
        """Somebody looks."""
        self.seconds = 0.0
        """On the daemon's own clock."""
        self.clock_off = 0.0
        """By how many seconds its machine's clock is ahead of the chain's."""
        self._loop = asyncio.new_event_loop()
        self.node: Node | None = None
        self.turns = 0
        """How often the daemon did what it could at a head."""

    # -- the daemon ----------------------------------------------------------------------------------------------

    def live(self, blocks: int, seconds: int = 1) -> None:
        """The daemon does what it can, then a block comes; so many times."""
        for _ in range(blocks):
            self.work()
            self.mine(1, seconds)

    def work(self) -> None:
        """The daemon does what it can at this head. A death on the way is a restart."""
        self.turns += 1
        try:
            self._loop.run_until_complete(self._work())
        except Killed:
            self.kill()
        self.after_turn()

    def kill(self) -> None:
        """The daemon's process is gone; the next work is a new one's."""
        node, self.node = self.node, None
        self.engine.heal()
        self.exact.heal()
        if node is not None:
            self._loop.run_until_complete(self._close(node))

    async def _work(self) -> None:
        if self.node is None:
            rpc = connected(self.endpoints, lambda: self.seconds)
            options = {"rpc": rpc, "disputer": DISPUTER, "clock": lambda: self.seconds, "finality": FINALITY}
            options["wall"] = lambda: self.sim.head.header.timestamp + self.clock_off
            options["engine_of"] = lambda service: self.engine if service.id == self.earth.service else self.exact
            self.node = await make_node(self.earth, self.folder, OPERATOR, **options)
            self.node.workshop._threads = self.jobs  # type: ignore[assignment]
            searches = self.node._litigant._searches
            searches._threads = dict.fromkeys(searches._threads, self.jobs)  # type: ignore[arg-type]
        node = self.node
        for _ in range(MOST_ROUNDS):
            was_busy = is_busy(node)
            failed = not await self._round(node)
            if not is_busy(node) and (failed or not was_busy):
                return  # else what has just been computed may have to be sent
            while is_busy(node) and not self._is_any_done(node):
                if not self.jobs.run_one() and self.engine.is_stuck:
                    return
                for _ in range(STEPS):
                    await asyncio.sleep(0)
                    if self._is_any_done(node):
                        break
            node.again()
        raise AssertionError("the daemon does not come to rest")

    @staticmethod
    def _tasks(node: Node) -> list[asyncio.Future[Any]]:
        """Jobs of engines and searches for moves."""
        return [*node.workshop._running.values(), *node._litigant._searches._running.values()]

    def _is_any_done(self, node: Node) -> bool:
        return any(task.done() for task in self._tasks(node))

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
        tasks = self._tasks(node)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        node.workshop._running.clear()
        self.fates.forget()
        while self.jobs.run_one():
            """Engines that were given up are closed."""
        await node.workshop.close(0)
        await node.close()

    def close(self) -> None:
        """Ends the daemon."""
        self.kill()
        self._loop.close()

    # -- its journal -----------------------------------------------------------------------------------------------

    def lose_journal(self) -> None:
        """The daemon's process is gone, and its disk with it.

        Pools have forgotten what waited behind a gap: mined later, it would be another wallet's to a journal that never
        signed it, and stop the daemon as docs/operators.md says.
        """
        self.kill()
        self._forget_behind_gaps()
        for path in self.folder.glob("journal.sqlite*"):
            path.unlink()

    def _forget_behind_gaps(self) -> None:
        waiting = self.sim.pool.waiting
        for key in (OPERATOR.address, DISPUTER.address):
            sender = bytes.fromhex(key[2:])
            nonce = self.sim.pool.nonce(sender, self.sim.head.state.accounts[sender][0])
            for behind in [place for place in waiting if place[0] == sender and place[1] > nonce]:
                del waiting[behind]

    def fill_disk(self) -> None:
        """The journal's file cannot grow any more."""
        assert self.node is not None
        with self.node.journal.write() as tx:
            pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar()
            tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def free_disk(self) -> None:
        """It can again."""
        if self.node is not None:
            with self.node.journal.read() as tx:
                tx.connection.exec_driver_sql("PRAGMA max_page_count = 1000000")

    def digests(self) -> tuple[bytes, bytes]:
        """Of the journal's ledger, and of one that is made anew from the chain up to the same block, as `didyma node
        rebuild` does. Raises AssertionError if that block is no more on the chain."""
        return self._loop.run_until_complete(self._digests())

    async def _digests(self) -> tuple[bytes, bytes]:
        assert self.node is not None
        with self.node.journal.read() as tx:
            kept, cursor = ledger.digest(tx), tx.cursor()
        assert cursor is not None
        with scratch() as folder:
            settings = self.earth.settings(Path(folder), finality=FINALITY)
            journal = open_journal(settings, self.earth.deployment)
            endpoint = SimEndpoint(self.chain.serve)
            if left := self.height - settings.confirmations - cursor.number:
                endpoint.script("*", "lag", left, MANY)
            rpc = connected([endpoint])
            try:
                await make_follower(settings, self.earth.contracts, rpc, journal).poll()
                with journal.read() as tx:
                    assert tx.cursor() == cursor, "the daemon has not read the chain"
                    return kept, ledger.digest(tx)
            finally:
                journal.close()
                await rpc.close()

    # -- the chain -----------------------------------------------------------------------------------------------

    def mine(self, blocks: int, seconds: int = 1, wanted: Callable[[Signed], bool] = lambda signed: True) -> None:
        """wanted: what producers do not leave out."""
        for _ in range(blocks):
            self.before_block()
            self.sim.mine(timestamp=self.now + seconds, wanted=wanted)
            self.seconds += seconds

    @contextmanager
    def hurried(self, calls: int, most: int) -> Iterator[None]:
        """A block comes with each so many calls of the daemon. Raises AssertionError after `most` blocks."""
        made = 0

        def call() -> None:
            nonlocal made
            made += 1
            if made % calls == 0:
                assert made < most * calls, "no round comes to its end"
                self.mine(1)

        for endpoint in self.endpoints:
            endpoint.before_call = call
        try:
            yield
        finally:
            for endpoint in self.endpoints:
                endpoint.before_call = lambda: None

    @property
    def now(self) -> int:
        """Time of the head, Unix seconds."""
        return self.sim.head.header.timestamp

    @property
    def height(self) -> int:
        """Number of the head."""
        return self.sim.head.header.number


@contextmanager
def simulated() -> Iterator[Earth]:
    """A simulated chain with the contracts, on which the daemon operates its seats; kept as snapshot 0."""
    with TemporaryDirectory() as folder, world(made=local) as made:
        store = small_model(Path(folder))
        (manifest,) = store.manifests()
        made.chain.rpc("evm_setAutomine", True)
        terms = {"window_seconds": WINDOW_SECONDS, "deposit_wei": DEPOSIT_WEI}
        service = seated(made.chain, made.client, manifest, by_game(made.deployment), **terms)
        made.chain.rpc("evm_setAutomine", False)
        for each in (made.service, service):
            for seat in OWN_SEATS[1:]:
                made.act(NODES[seat], "setOperator", each, seat, OPERATOR.address)
        made.chain.mine(2)
        made.chain.rpc("evm_snapshot")
        yield Earth(**vars(made), arena=arena(made, service, store))
