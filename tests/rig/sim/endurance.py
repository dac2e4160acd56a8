"""What people who run nodes report beyond single faults: states of endpoints and of the chain that last.

One address behind which stand servers of different heights; logs and receipts that are missing for long; blocks without
our transactions; and a reorganisation deeper than what the node takes for final.
"""

import random
from collections.abc import Sequence
from typing import Any

from e2e.world import TURN
from hypothesis import strategies as st

from oracle.errors import FinalityViolated
from rig.sim.life import ANSWERED_BLOCKS, SOME, Life, step
from rig.sim.play import FINALITY, MANY

HIDDEN: tuple[tuple[str, Any], ...] = (("eth_getLogs", []), ("eth_getBlockReceipts", None))
"""Methods, and what a server says whose index stands still."""
NOTICED_BLOCKS = 30
"""In which a daemon stops whose final blocks are gone."""


class Endurance(Life):
    """One daemon on one chain."""

    @step(where=SOME, most=st.integers(1, 4), chance=st.integers(0, 1 << 32))
    def sway(self, where: Sequence[int], most: int, chance: int) -> None:
        """Each call meets another server, up to so many blocks behind. A question is answered meanwhile."""
        self.calm()
        self.question(8)
        self.script("servers of different heights", where, "*", "sway", (random.Random(chance), most), MANY)
        self.answered(3 * ANSWERED_BLOCKS)
        self.heal_all()
        self.play.seconds += 60

    @step(blocks=st.integers(10, 30))
    def drought(self, blocks: int) -> None:
        """Nobody shows the logs of blocks that hold a question, nor their receipts, for longer than the daemon waits.
        Once somebody does, it is answered."""
        self.calm()
        self.question(8)
        for endpoint in self.play.endpoints:
            for method, shown in HIDDEN:
                endpoint.script(method, "result", shown, MANY)
        self.count("logs missing for long", blocks=blocks)
        self.heal_all()
        self.answered(3 * ANSWERED_BLOCKS)

    @step(blocks=st.integers(5, 25))
    def stick(self, blocks: int) -> None:
        """Blocks come without the daemon's transactions, which wait in the pool."""
        self.calm()
        self.question(8)
        for _ in range(2 * TURN):
            self.play.work()
            if self.play.sim.pool.waiting:
                break
            self.play.mine(1)
        waited = len(self.play.sim.pool.waiting)
        for _ in range(blocks):
            self.play.work()
            self.play.mine(1, wanted=lambda signed: False)
        self.count("transactions left out of blocks", waited > 0)

    @step(deeper=st.integers(2, 8))
    def deep_reorg(self, deeper: int) -> None:
        """What was final is gone: the daemon stops, and its operator has the journal made anew."""
        self.before_leaving()
        depth = FINALITY + deeper
        self.play.live(max(depth + 1 - (self.play.height - self.deepest), 0))
        self.play.sim.reorg(depth, back_to_pool=True, grow=1)
        assert self._stops(), "final blocks are gone, and the daemon goes on"
        self.play.lose_journal()
        self.count("reorg below what was final", blocks=12)

    def _stops(self) -> bool:
        for _ in range(NOTICED_BLOCKS):
            try:
                self.play.live(1)
            except FinalityViolated:
                return True
        return False
