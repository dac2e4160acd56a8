"""A daemon's life in which answers are disputed by the game as well: the fifth seat lies there, puppets challenge.

Opponents move in every block from then on, beside whatever else happens to the daemon.
"""

import random

from hypothesis import strategies as st

from rig.sim.endurance import Endurance
from rig.sim.life import DEADLY, step
from rig.sim.opponents import Opponents
from rig.sim.play import FINALITY
from rig.sim.strangers import Strangers

FOUGHT_BLOCKS = 6
"""In which a daemon without faults does something against a wrong answer."""
GAME_BLOCKS = 700
"""In which all games come to their ends."""
GAMES, PICKS = st.integers(1, 2), st.integers(0, 12)


class Disputed(Endurance):
    """One daemon, two services."""

    def __init__(self) -> None:
        super().__init__()
        self.arena = self.earth.arena
        self.plaintiffs = Strangers(self.arena.earth)
        self.opponents = Opponents(self.arena, self.plaintiffs, random.Random(0))
        self.play.before_block = self.opponents.move
        self.checks.watch(self.arena, self.plaintiffs, self.opponents)

    # -- helpers -----------------------------------------------------------------------------------------------------

    def claim(self) -> None:
        """A question whose answer the game would judge."""
        self.asked += 1
        self.plaintiffs.ask(self.arena.prompt(self.asked), 3)

    def before_leaving(self) -> None:
        super().before_leaving()
        self.end_games()

    def end_games(self) -> None:
        """Lives until no game is open: who is away from a game loses it."""
        end = self.play.height + GAME_BLOCKS
        while self.opponents.open_games():
            assert self.play.node is None or self.play.height < end, (
                f"a game does not end: {self.opponents.open_games()}"
            )
            self.play.live(1, self.checks.pace)

    def _lies(self, kind: str) -> None:
        self.before_leaving()
        self.claim()
        self.play.mine(3)
        request = list(self.plaintiffs.asked)[-1]
        lied = self.away(request, lambda: self.opponents.lie(request, kind))
        self.count(f"lie before the game: {kind}", lied)
        if lied:
            self.play.live(FOUGHT_BLOCKS)
            assert self.opponents.is_fought(request), "a lie stands"

    def _games(self, games: int, picks: int, unread: bool) -> bool:
        """Opens games against a right answer. Whether there was one."""
        self.claim()
        return self._soon(lambda: self.opponents.challenge(games, picks, unread=unread))

    # -- moves -------------------------------------------------------------------------------------------------------

    @step()
    def claim_only(self) -> None:
        self.claim()
        self.count("question for the game")

    @step()
    def lie_about_choice(self) -> None:
        self._lies("choice")

    @step()
    def lie_about_number(self) -> None:
        self._lies("number")

    @step()
    def lie_in_silence(self) -> None:
        self._lies("silence")

    @step()
    def lie_about_end(self) -> None:
        self._lies("end")

    @step()
    def lie_in_riddles(self) -> None:
        self._lies("nobody's")

    @step(games=GAMES, picks=PICKS)
    def puppets(self, games: int, picks: int) -> None:
        self.count("games against a right answer", self._games(games, picks, False), 4)

    @step(picks=PICKS)
    def unread_puppet(self, picks: int) -> None:
        self.count("game about unread tokens", self._games(1, picks, True), 4)

    @step(point=st.sampled_from(DEADLY), nth=st.integers(1, 4))
    def die_in_game(self, point: str, nth: int) -> None:
        self.calm()
        begun = self._games(2, 12, False)
        self.fates.plan(point, nth)
        self.play.live(8)
        self.count("died in a game", begun and bool(self.fates.struck))
        self.fates.struck.clear()

    @step(blocks=st.integers(1, 8), depth=st.integers(1, FINALITY), back_to_pool=st.booleans())
    def reorg_in_game(self, blocks: int, depth: int, back_to_pool: bool) -> None:
        self.calm()
        begun = self._games(2, 12, False)
        self.play.live(blocks)
        moves = self._moves()
        self.play.sim.reorg(min(depth, self.play.height - self.deepest), back_to_pool=back_to_pool)
        self.count("reorg in a game", begun and self._moves() < moves, 4)

    def _moves(self) -> int:
        return sum(1 for _ in self.arena.told("GameOpened", "ListOpened", "TokensOpened", "ValuesOpened", "Picked"))

    @step(jobs=st.integers(1, 3))
    def crash_engine_in_game(self, jobs: int) -> None:
        self.calm()
        begun = self._games(1, 12, True)
        self.play.exact.crashes = jobs
        self.claim()  # the game alone does not always need the engine
        self.play.live(6)
        self.count("engine crashes in a game", begun and self.play.exact.crashes < jobs)

    @step()
    def ends(self) -> None:
        """All games."""
        self.end_games()
        self.count("games ended")
