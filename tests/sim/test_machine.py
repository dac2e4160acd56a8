"""A real daemon through any order of faults: whatever happens, it signs nothing twice and loses nothing.

Each run prints its seed and how often every rule was played. `SIM_SEED`, `SIM_RUNS` and
`SIM_ROUNDS` choose others.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from e2e.world import TURN, World
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from rig.sim.checks import Checks
from rig.sim.deaths import Deaths, deaths
from rig.sim.play import FINALITY, Play
from rig.sim.strangers import HONEST, LYING, Strangers

from oracle.journal.crashpoints import DAEMON_POINTS, POINTS

RUNS, ROUNDS = int(os.environ.get("SIM_RUNS", "2")), int(os.environ.get("SIM_ROUNDS", "2"))
"""Lives, and how often each plays every move."""
NEVER_PASSED = ("in_migration", "after_backup")
"""Crash points at which no daemon passes that runs; see unit/test_crashpoints.py."""
DEADLY = [point for point in (*POINTS, *DAEMON_POINTS) if point not in NEVER_PASSED]
SOME = st.sampled_from([(0,), (1,), (0, 1)])
"""Endpoints."""
TIMES = st.integers(1, 8)


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

    earth: World
    fates: Deaths
    played: Counter[str]

    def __init__(self) -> None:
        super().__init__()
        self.earth.chain.rpc("evm_revert", "0x0")
        self.earth.chain.sim.random.seed(0)
        self._folder = TemporaryDirectory()
        self.fates.forget()
        self.play = Play(self.earth, Path(self._folder.name), self.fates)
        self.strangers = Strangers(self.earth)
        self.checks = Checks(self.play, self.strangers)
        self.asked = self.played_here = 0
        self.deepest = self.play.height + 1

    def count(self, what: str, happened: bool = True) -> None:
        """Notes that something happened, and lets the daemon meet it."""
        self.played[what] += happened
        self.play.live(2)

    # -- what goes on ----------------------------------------------------------------------------------------------

    @initialize(requests=st.integers(1, 3), order=st.deferred(lambda: st.permutations(list(MOVES))))
    def begin(self, requests, order):
        self.order = order
        for n in range(requests):
            self.strangers.ask(b"first question %d" % n, 8)
        self.count("begun")

    @step(blocks=st.integers(1, 12), seconds=st.sampled_from([1, 1, 1, 2, 5]))
    def live(self, blocks, seconds):
        self.play.live(blocks, seconds)
        self.count("live")

    @step(blocks=st.integers(1, 5))
    def mine(self, blocks):
        """Blocks come while the daemon sees none of them."""
        self.play.mine(blocks)
        self.count("mine")

    def question(self, max_tokens):
        self.asked += 1
        self.strangers.ask(b"question %d" % self.asked, max_tokens)

    @step(max_tokens=st.integers(1, 16))
    def ask(self, max_tokens):
        self.question(max_tokens)
        self.count("ask")

    @step(lie=st.booleans())
    def foreign_answer(self, lie):
        """The daemon is away until the fifth seat's turn has come."""
        self.question(8)
        self.play.mine(3)
        answered = False
        while not answered and self.play.now < self.play.earth.request(list(self.strangers.asked)[-1]).deadline - 100:
            answered = self.strangers.answer(LYING if lie else HONEST)
            self.play.mine(1, TURN)
        self.count("foreign lie" if lie else "foreign answer", answered)

    @step()
    def foreign_challenge(self):
        self.question(8)
        challenged = False
        for _ in range(2 * TURN):
            self.play.live(1)
            challenged = self.strangers.challenge()
            if challenged:
                break
        self.count("foreign challenge", challenged)

    # -- the chain ---------------------------------------------------------------------------------------------------

    @step(depth=st.integers(1, FINALITY), back_to_pool=st.booleans(), grow=st.integers(0, 2))
    def reorg(self, depth, back_to_pool, grow):
        depth = min(depth, self.play.height - self.deepest)
        if depth > 0:
            self.play.sim.reorg(depth, back_to_pool=back_to_pool, grow=grow)
            self.count("reorg back to pool" if back_to_pool else "reorg")

    @step()
    def drop(self):
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
    def fee_spike(self, factor):
        self.play.sim.next_base_fee_wei = factor * 10**9
        self.play.mine(1)
        self.count("fee spike")

    @step(seconds=st.integers(2, 90))
    def chain_jump(self, seconds):
        self.play.mine(1, seconds)
        self.count("chain's clock jumps")

    @step(seconds=st.sampled_from([10, 60, 3600]))
    def clock_jump(self, seconds):
        """The daemon's clock never goes back, but a machine may sleep."""
        self.play.seconds += seconds
        self.count("daemon's clock jumps")

    # -- endpoints ---------------------------------------------------------------------------------------------------

    def script(self, what, where, method, kind, value=None, times=1):
        for place in where:
            self.play.endpoints[place].script(method, kind, value, times)
        self.count(what)

    @step(where=SOME, times=TIMES)
    def hide_logs(self, where, times):
        """The blocks that look empty hold a question."""
        self.heal_all()
        self.question(8)
        self.script("logs hidden", where, "eth_getLogs", "result", [], times)

    @step(where=SOME, times=TIMES)
    def repeat_logs(self, where, times):
        self.script("logs doubled and shuffled", where, "eth_getLogs", "repeat", None, times)

    @step(where=SOME, times=TIMES, kind=st.sampled_from(["lose_reply", "drop"]))
    def lose(self, where, times, kind):
        self.script("replies lost", where, "eth_sendRawTransaction", kind, None, times)

    @step(where=SOME, times=st.integers(1, 60))
    def slow(self, where, times):
        self.script("time-outs", where, "*", "delay", 60, times)

    @step(where=SOME, times=st.integers(1, 60), value=st.sampled_from([429, 503, (429, '{"error":"slow down"}')]))
    def refuse(self, where, times, value):
        self.script("refusals", where, "*", "status", value, times)

    @step(where=SOME, times=TIMES, kind=st.sampled_from(["html", "truncate"]))
    def babble(self, where, times, kind):
        self.script("nonsense", where, "*", kind, None, times)

    @step(where=SOME, blocks=st.integers(1, 6), times=st.integers(1, 60))
    def lag(self, where, blocks, times):
        self.script("lagging", where, "*", "lag", blocks, times)

    @step(method=st.sampled_from(["eth_getTransactionReceipt", "eth_getTransactionByHash"]), where=SOME, times=TIMES)
    def forget(self, method, where, times):
        self.heal_all()
        self.script("late receipts", where, method, "result", None, times)

    @step()
    def heal(self):
        self.heal_all()
        self.count("healed")

    def heal_all(self):
        for endpoint in self.play.endpoints:
            endpoint.heal()

    # -- the daemon --------------------------------------------------------------------------------------------------

    @step(point=st.sampled_from(DEADLY), nth=st.integers(1, 3))
    def die_at(self, point, nth):
        """While a question is answered, unless that point is not passed so often."""
        self.fates.plan(point, nth)
        self.question(8)
        self.play.live(6)
        self.count("died", bool(self.fates.struck))
        self.fates.struck.clear()

    @step()
    def kill(self):
        self.play.kill()
        self.count("killed between rounds")

    @step(jobs=st.integers(1, 3))
    def crash_engine(self, jobs):
        self.play.engine.crashes = jobs
        self.count("engine crashes")

    @rule(data=st.data())
    def play_on(self, data):
        name = self.order[self.played_here % len(self.order)]
        self.played_here += 1
        getattr(self, name)(**data.draw(MOVES[name], label=name))

    # -- what must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def holds(self):
        self.checks.all()

    def teardown(self):
        try:
            self.fates.forget()
            self.play.engine.crashes = 0
            self.heal_all()
            self.play.seconds += 60
            self.checks.settle()
        finally:
            self.play.close()
            self._folder.cleanup()


def test_daemon__any_order_of_faults__signs_nothing_twice_and_loses_nothing(earth, capsys):
    chosen = int(os.environ.get("SIM_SEED", "1"))
    Life.played = Counter()
    with deaths() as fates:
        Life.earth, Life.fates = earth, fates
        machine = seed(chosen)(Life)
        options = settings(
            max_examples=RUNS,
            stateful_step_count=ROUNDS * len(MOVES) + 1,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        )
        try:
            run_state_machine_as_test(machine, settings=options)
        finally:
            with capsys.disabled():
                print(f"\nseed {chosen}: {dict(sorted(Life.played.items()))}")
    assert [name for name, times in Life.played.items() if not times] == []
    assert len(Life.played) >= len(MOVES)
