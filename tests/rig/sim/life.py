"""One daemon's life through any order of faults: what may happen to it, as rules of a state machine.

Faults of endpoints, chain, engine, disk and process fall on it in any order and overlap. Some rules first end all
faults that still work, then play one thing, and see that it ends as it must; at the end all faults stop, and within a
number of blocks everything must be done.
"""

import os
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from e2e.world import TURN
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from oracle.errors import ForeignTransaction
from oracle.journal.crashpoints import DAEMON_POINTS, POINTS
from rig.sim.checks import Checks
from rig.sim.deaths import Deaths
from rig.sim.play import FINALITY, Earth, Play, scratch
from rig.sim.strangers import HONEST, LYING, Strangers

RUNS, ROUNDS = int(os.environ.get("SIM_RUNS", "4")), int(os.environ.get("SIM_ROUNDS", "1"))
"""Lives, and how often each plays every move."""
LEAST_TURNS = 500 * RUNS * ROUNDS
"""Of the daemon, in all lives. After each turn, everything that must hold is looked at."""
LEAST_SECONDS = 900 * RUNS * ROUNDS
"""Of the chain's time: CI plays an hour."""
NEVER_PASSED = ("in_migration", "after_backup")
"""Crash points at which no daemon passes that runs; see unit/test_crashpoints.py."""
DEADLY = [point for point in (*POINTS, *DAEMON_POINTS) if point not in NEVER_PASSED]
SOME = st.sampled_from([(0,), (1,), (0, 1)])
"""Endpoints."""
TIMES = st.integers(1, 8)
GWEI = 10**9
ANSWERED_BLOCKS = 3 * TURN
"""Without faults: a stranger's turn, and the daemon's."""
UNDERESTIMATED_GAS = 32_000
"""With the margin that the daemon adds, less than an answer needs."""
MOST_REFUSALS = 4
"""Of one transaction by one endpoint, for its tip."""
AUTHORITY_BYTES = 97
"""In a header's extra data: vanity, signer and signature."""
REBUILT_MOVES = 4
"""After so many, whatever they were, a new journal is made from the chain and compared."""
FOREIGN_BLOCKS = 120
"""In which one of two daemons with one key must have stopped."""

MOVES: dict[str, st.SearchStrategy[dict[str, Any]]] = {}
"""What may happen: methods of `Life`, by name, and their arguments."""


def step(**drawn: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A move. Hypothesis leaves many rules of a machine out; here every life plays every move, in any order."""

    def add(method: Callable[..., None]) -> Callable[..., None]:
        MOVES[method.__name__] = st.fixed_dictionaries(drawn)
        return method

    return add


class Life(RuleBasedStateMachine):
    """One daemon on one chain."""

    earth: Earth
    fates: Deaths
    played: Counter[str]
    lived: list[str]
    """Of each life that is over: how many turns the daemon had, and at which block it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.earth.chain.rpc("evm_revert", "0x0")
        self._folder = scratch()
        self.fates.forget()
        self.play = Play(self.earth, Path(self._folder.name), self.fates)
        self.play.sim.random.seed(0)
        random.seed(0)  # of endpoints' pauses
        self.strangers = Strangers(self.earth)
        self.checks = Checks(self.play, self.strangers)
        self.play.after_turn = self.checks.all
        self.asked = self.played_here = 0
        self.order: list[str] = []
        self.deepest = self.play.height + 1
        self._born = self.play.now

    def count(self, what: str, happened: bool = True, blocks: int = 2) -> None:
        """Notes that something happened, and lets the daemon meet it."""
        self.played[what] += happened
        self.play.live(blocks)

    def calm(self) -> None:
        """Ends all faults that still work: what follows depends on the daemon alone."""
        self.fates.forget()
        self.heal_all()
        self.play.engine.heal()
        self.play.free_disk()
        self.play.seconds += 60
        self.play.sim.next_base_fee_wei = GWEI
        self.play.live(4)

    def before_leaving(self) -> None:
        """The daemon has nothing to lose while it is away."""
        self.calm()

    def answered(self, most: int = ANSWERED_BLOCKS) -> None:
        """Lives until the last question has an answer. Raises AssertionError."""
        request = list(self.strangers.asked)[-1]
        end = self.play.height + most
        while self.play.earth.status(request) == "open":
            assert self.play.node is None or self.play.height < end, (
                f"a request has no answer after {most} blocks, and the node says: {self.troubles() or 'ready'}"
            )
            self.play.live(1)

    # -- what goes on ----------------------------------------------------------------------------------------------

    @initialize(requests=st.integers(1, 3), order=st.deferred(lambda: st.permutations(list(MOVES))))
    def begin(self, requests: int, order: list[str]) -> None:
        self.order = order
        self.play.jobs.chance.seed(repr(order))
        self._begin(requests)

    def _begin(self, requests: int) -> None:
        for n in range(requests):
            self.strangers.ask(b"first question %d" % n, 8)
        self.count("begun")

    @step(blocks=st.integers(1, 12), seconds=st.sampled_from([1, 1, 1, 2, 5]))
    def live(self, blocks: int, seconds: int) -> None:
        self.play.live(blocks, seconds)
        self.count("live")

    @step(blocks=st.integers(1, 5))
    def mine(self, blocks: int) -> None:
        """Blocks come while the daemon sees none of them."""
        self.play.mine(blocks)
        self.count("mine")

    def question(self, max_tokens: int) -> None:
        self.asked += 1
        self.strangers.ask(b"question %d" % self.asked, max_tokens)

    @step(max_tokens=st.integers(1, 16))
    def ask(self, max_tokens: int) -> None:
        self.question(max_tokens)
        self.count("ask")

    @step(lie=st.booleans())
    def foreign_answer(self, lie: bool) -> None:
        """The daemon is away until the fifth seat's turn has come. A lie dies."""
        self.before_leaving()
        self.question(8)
        self.play.mine(3)
        request = list(self.strangers.asked)[-1]
        answered = self.away(request, lambda: self.strangers.answer(LYING if lie else HONEST))
        self.count("foreign lie" if lie else "foreign answer", answered)
        if lie and answered:
            self.play.live(6)
            assert self.strangers.ruled(request) or self.play.earth.status(request) == "disputed", "a lie stands"

    def away(self, request: int, answers: Callable[[], bool]) -> bool:
        """The daemon is, until the fifth seat answers `request`. Whether it did, before it was too late."""
        answered = False
        while not answered and self.play.now < self.play.earth.request(request).deadline - 100:
            answered = answers()
            self.play.mine(1, 1 if answered else TURN)
        return answered

    @step()
    def foreign_challenge(self) -> None:
        self.question(8)
        self.count("foreign challenge", self._soon(self.strangers.challenge))

    def _soon(self, happens: Callable[[], bool]) -> bool:
        """Lives on until something happens, for two turns at most. Whether it did."""
        for _ in range(2 * TURN):
            self.play.live(1)
            if happens():
                return True
        return False

    # -- the chain ---------------------------------------------------------------------------------------------------

    @step(depth=st.integers(1, FINALITY), back_to_pool=st.booleans(), grow=st.integers(0, 2))
    def reorg(self, depth: int, back_to_pool: bool, grow: int) -> None:
        depth = min(depth, self.play.height - self.deepest)
        if depth > 0:
            self.play.sim.reorg(depth, back_to_pool=back_to_pool, grow=grow)
            self.count("reorg back to pool" if back_to_pool else "reorg")

    @step()
    def drop(self) -> None:
        """The pool forgets everything, as soon as it holds anything."""
        self.question(8)
        for _ in range(2 * TURN):
            self.play.work()
            if self.play.sim.pool.waiting:
                break
            self.play.mine(1)
        waited = len(self.play.sim.pool.waiting)
        self.play.sim.pool.waiting.clear()
        self.count("drop", waited > 0)

    @step(factor=st.sampled_from([3, 10, 100, 2000]))
    def fee_spike(self, factor: int) -> None:
        self.play.sim.next_base_fee_wei = factor * 10**9
        self.play.mine(1)
        self.count("fee spike")

    @step(seconds=st.integers(2, 90))
    def chain_jump(self, seconds: int) -> None:
        self.play.mine(1, seconds)
        self.count("chain's clock jumps")

    @step(seconds=st.sampled_from([10, 60, 3600]))
    def clock_jump(self, seconds: int) -> None:
        """The daemon's clock never goes back, but a machine may sleep."""
        self.play.seconds += seconds
        self.count("daemon's clock jumps")

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def script(
        self, what: str, where: Sequence[int], method: str, kind: str, value: Any = None, times: int = 1
    ) -> None:
        for place in where:
            self.play.endpoints[place].script(method, kind, value, times)
        self.count(what)

    @step(where=st.sampled_from([(0,), (0, 1)]), times=st.integers(6, 12))
    def hide_logs(self, where: Sequence[int], times: int) -> None:
        """The blocks that look empty hold a question, which is answered all the same."""
        self.calm()
        self.question(8)
        self.script("logs hidden", where, "eth_getLogs", "result", [], times)
        self.play.live(2)
        self.heal_all()
        self.answered(2 * ANSWERED_BLOCKS)

    @step(where=SOME, times=TIMES)
    def repeat_logs(self, where: Sequence[int], times: int) -> None:
        self.script("logs doubled and shuffled", where, "eth_getLogs", "repeat", None, times)

    @step(where=SOME, times=TIMES, kind=st.sampled_from(["lose_reply", "drop"]))
    def lose(self, where: Sequence[int], times: int, kind: str) -> None:
        self.script("replies lost", where, "eth_sendRawTransaction", kind, None, times)

    @step(where=SOME, times=st.integers(1, 60))
    def slow(self, where: Sequence[int], times: int) -> None:
        self.script("time-outs", where, "*", "delay", 60, times)

    @step(where=SOME, times=st.integers(1, 60), value=st.sampled_from([429, 503, (429, '{"error":"slow down"}')]))
    def refuse(self, where: Sequence[int], times: int, value: Any) -> None:
        self.script("refusals", where, "*", "status", value, times)

    @step(where=SOME, times=TIMES, kind=st.sampled_from(["html", "truncate"]))
    def babble(self, where: Sequence[int], times: int, kind: str) -> None:
        self.script("nonsense", where, "*", kind, None, times)

    @step(where=SOME, blocks=st.integers(1, 6), times=st.integers(1, 60))
    def lag(self, where: Sequence[int], blocks: int, times: int) -> None:
        self.script("lagging", where, "*", "lag", blocks, times)

    @step(times=TIMES)
    def forget(self, times: int) -> None:
        """A transaction is mined, and no endpoint shows its receipt yet."""
        self.calm()
        self.question(8)
        for _ in range(2 * TURN):
            self.play.work()
            if self.play.sim.pool.waiting:
                break
            self.play.mine(1)
        waited = len(self.play.sim.pool.waiting)
        for endpoint in self.play.endpoints:
            endpoint.script("eth_getTransactionReceipt", "result", None, times)
            endpoint.script("eth_getTransactionByHash", "result", None, times)
        self.play.mine(1)
        self.count("late receipts", waited > 0)

    @step()
    def heal(self) -> None:
        self.heal_all()
        self.count("healed")

    def heal_all(self) -> None:
        for endpoint in self.play.endpoints:
            endpoint.heal()

    @step(where=st.sampled_from([(0,), (1,)]), times=TIMES)
    def invent_logs(self, where: Sequence[int], times: int) -> None:
        """An endpoint shows an old log in blocks that have none. Only one: two that say the same are believed."""
        self.calm()
        self.question(8)
        self.play.live(2)
        log = self.strangers.log(list(self.strangers.asked)[-1])
        self.script("logs invented", where, "eth_getLogs", "invent", log, times)
        self.heal_all()
        self.play.live(2)
        self.checks.rebuilt_is_the_same()

    @step(where=st.sampled_from([(0,), (1,)]), times=st.integers(10, 60), chance=st.integers(0, 1 << 32))
    def twist(self, where: Sequence[int], times: int, chance: int) -> None:
        """One of two endpoints lies about whatever it is asked."""
        self.calm()
        self.question(8)
        self.script("lies", where, "*", "twist", random.Random(chance), times)
        self.play.live(4)
        self.heal_all()
        self.play.seconds += 60
        self.play.live(2)

    @step(status=st.sampled_from([429, 503]))
    def blame(self, status: int) -> None:
        """Refusals that repeat the endpoints' addresses."""
        self.calm()
        said = '{"error":"http://sim.invalid/0 and http://sim.invalid/1 are busy"}'
        for endpoint in self.play.endpoints:
            endpoint.script("*", "status", (status, said))
        self.play.mine(1)
        self.play.work()
        self.checks.troubles_name_endpoints_by_number()
        refused = self.play.node is not None and "no RPC endpoint answered" in self.play.node.status.trouble
        self.heal_all()
        self.play.seconds += 60
        self.count("addresses in refusals", refused)

    @step(calls=st.integers(4, 6))
    def hurry(self, calls: int) -> None:
        """Blocks come faster than rounds go."""
        self.calm()
        self.question(8)
        request = list(self.strangers.asked)[-1]
        with self.play.hurried(calls, 2 * ANSWERED_BLOCKS):
            while self.play.earth.status(request) == "open":
                self.play.work()
        self.count("blocks faster than rounds")

    @step()
    def authority(self) -> None:
        """Headers are as long as proof of authority makes them; a dapp asks as users do."""
        self.calm()
        self.play.sim.extra = bytes(AUTHORITY_BYTES)
        self.play.live(1)
        self.asked += 1
        self.strangers.ask(b"question %d" % self.asked, 8, connected=True)
        self.answered(2 * ANSWERED_BLOCKS)
        self.play.sim.extra = b""
        self.count("long headers")

    @step(gwei=st.integers(2, 3))
    def floor(self, gwei: int) -> None:
        """The pools take no tip below a floor."""
        self.calm()
        for endpoint in self.play.endpoints:
            endpoint.least_tip_wei = gwei * GWEI
        self.question(8)
        self.answered(2 * ANSWERED_BLOCKS)
        refused = max(max(endpoint.refused.values(), default=0) for endpoint in self.play.endpoints)
        assert refused <= MOST_REFUSALS, f"a transaction was refused {refused} times for its tip"
        for endpoint in self.play.endpoints:
            endpoint.least_tip_wei = 0
            endpoint.refused.clear()
        self.count("floor for tips")

    @step(times=st.integers(4, 8))
    def underestimate(self, times: int) -> None:
        """A transaction runs out of gas, and is noticed before it is final."""
        self.calm()
        for endpoint in self.play.endpoints:
            endpoint.script("eth_estimateGas", "result", hex(UNDERESTIMATED_GAS), times)
        self.question(8)
        self.count("out of gas", self._soon(self.checks.has_failed))
        self.checks.failures_are_known()

    # -- the machine -------------------------------------------------------------------------------------------------

    @step(blocks=st.integers(1, 6))
    def fill_disk(self, blocks: int) -> None:
        self.calm()
        if self.play.node is not None:
            self.play.fill_disk()
            for _ in range(3):
                self.question(8)
            struck = False
            for n in range(2 * TURN):
                self.play.live(1)
                struck |= self.play.node is not None and "JournalFull" in self.play.node.status.trouble
                if struck and n >= blocks:
                    break
            self.count("disk full", struck)
            self.play.free_disk()

    @step(hidden=st.integers(0, 3), most_blocks=st.sampled_from([3, 10, 100]))
    def new_disk(self, hidden: int, most_blocks: int) -> None:
        """The journal is lost; the chain is read again, from endpoints that give few blocks at once, at first empty."""
        self.calm()
        self.play.lose_journal()
        for endpoint in self.play.endpoints:
            endpoint.most_blocks = most_blocks
        self.script("journal lost", (0, 1), "eth_getLogs", "result", [], hidden)
        self.play.live(10)
        self.question(8)
        self.answered(2 * ANSWERED_BLOCKS)

    @step()
    def rebuild(self) -> None:
        self.calm()
        self.checks.rebuilt_is_the_same()
        self.count("rebuilt")

    @step()
    def twin(self) -> None:
        """Another daemon with the same key, on another machine. One stops, and its operator takes the other."""
        self.calm()
        with scratch() as folder:
            twin = Play(self.earth, Path(folder), self.fates)
            self.checks.hear(twin)
            try:
                stopped = self.both_go_on(twin)
            finally:
                twin.close()
        assert stopped is not None, f"both went on for {FOREIGN_BLOCKS} blocks"
        if stopped is self.play:
            self.play.lose_journal()
        self.play.live(12)
        self.count("two daemons with one key")

    def both_go_on(self, twin: Play) -> Play | None:
        """Returns the one that stops."""
        for n in range(FOREIGN_BLOCKS):
            if n % 10 == 0:
                self.question(8)
            for play in (self.play, twin):
                try:
                    play.work()
                except ForeignTransaction:
                    return play
            self.play.mine(1)
            twin.seconds += 1
        return None

    # -- the daemon --------------------------------------------------------------------------------------------------

    @step(point=st.sampled_from(DEADLY), nth=st.integers(1, 3))
    def die_at(self, point: str, nth: int) -> None:
        """While a question is answered, unless that point is not passed so often."""
        self.fates.plan(point, nth)
        self.question(8)
        self.play.live(6)
        self.count("died", bool(self.fates.struck))
        self.fates.struck.clear()

    @step()
    def kill(self) -> None:
        self.play.kill()
        self.count("killed between rounds")

    @step(jobs=st.integers(1, 3))
    def crash_engine(self, jobs: int) -> None:
        self.play.engine.crashes = jobs
        self.count("engine crashes")

    @step()
    def kill_engine(self) -> None:
        """No worker lives for a while, and the node is not green."""
        self.calm()
        self.play.engine.dead = True
        self.question(8)
        request = list(self.strangers.asked)[-1]
        self.count("engine dies", blocks=6)
        for _ in range(2 * ANSWERED_BLOCKS):
            if self.play.earth.status(request) != "open" or any("worker was killed" in t for t in self.troubles()):
                break
            self.play.live(1)
        assert self.play.earth.status(request) != "open" or any("worker was killed" in t for t in self.troubles())
        self.play.engine.heal()

    def troubles(self) -> list[str]:
        return [] if self.play.node is None else self.play.node.troubles()

    @step(blocks=st.integers(1, 6))
    def hang_engine(self, blocks: int) -> None:
        self.calm()
        self.play.engine.hangs = 1
        for _ in range(2):
            self.question(8)
        for _ in range(2 * TURN):
            self.play.live(1)
            if self.play.engine.is_stuck:
                break
        self.count("engine hangs", self.play.engine.is_stuck, blocks)
        self.play.engine.heal()

    @step()
    def corrupt_engine(self) -> None:
        """It gives wrong tokens, and finds that out; its operator starts the daemon again."""
        self.calm()
        self.play.engine.lies = 1
        self.question(8)
        for _ in range(2 * TURN):
            self.play.live(1)
            if not self.play.engine.lies:
                break
        self.count("engine lies", not self.play.engine.lies)
        self.play.kill()

    @rule(data=st.data())
    def play_on(self, data: Any) -> None:
        name = self.order[self.played_here % len(self.order)]
        self.played_here += 1
        self.played["turns of the daemon"] -= self.play.turns
        try:
            self._play(data, name)
        finally:
            self.played["turns of the daemon"] += self.play.turns

    def _play(self, data: Any, name: str) -> None:
        getattr(self, name)(**data.draw(MOVES[name], label=name))

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        self._look()

    def _look(self) -> None:
        self.checks.all()
        if self.played_here % REBUILT_MOVES == 0:
            self.played["rebuilt on the way"] += self.checks.rebuilt_on_the_way()

    def teardown(self) -> None:
        try:
            self.calm()
            self.checks.settle()
            self.checks.rebuilt_is_the_same()
            self.played["books compared"] += self.checks.books()
        finally:
            self.played["seconds of the chain"] += self.play.now - self._born
            self.lived.append(f"{self.play.turns} turns, to block {self.play.height} 0x{self.play.sim.head.hash.hex()}")
            self.play.close()
            self._folder.cleanup()


def play_lives(
    kind: type[Life], earth: Earth, fates: Deaths, chosen: int, *, lives: int = RUNS, moves: int | None = None
) -> Counter[str]:
    """So many lives, each with so many moves, or every move as often as wanted. Returns how often each was played."""
    kind.earth, kind.fates, kind.played, kind.lived = earth, fates, Counter(), []
    options = settings(
        max_examples=lives,
        stateful_step_count=(ROUNDS * len(MOVES) if moves is None else moves) + 1,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    run_state_machine_as_test(seed(chosen)(kind), settings=options)
    return kind.played
