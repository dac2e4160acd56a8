"""Many games at once: a node of the speed that its terms ask for is never timed out, whatever is opened and picked.

The proof is in docs/economics.md, "Many games at once"; here the same is played. The node makes one opening at a time,
in order of deadline, each in half of its share of `queue`; each is mined `move` seconds later, the longest that terms
allow for. Prefills, one an answer, take `first` each and are made beside openings, one after the other.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from disputes.rules import OPENINGS, Claim, GameId, Place, Refused, Rules, Terms, place
from disputes.test_rules import TERMS, conserved, defending
from disputes.toy import STEPS, Toy, ToyReferee, honest_answer

from oracle.disputes.game import Game, Stage

PROMPT = (3, 1)
LONG = honest_answer(PROMPT, 64)
SPEED = TERMS.queue // (2 * OPENINGS)
"""Seconds of the node's time that an opening takes."""

Patience = Callable[[Game, int], int]
"""When a challenger moves whose turn began at a time."""


@dataclass
class Siege:
    """An honest node among attackers."""

    rules: Rules
    patience: Patience
    rng: random.Random
    speed: int = SPEED
    now: int = 0
    moves: int = 0
    _busy_until: int = 0
    _traced: dict[int, int] = field(default_factory=dict)
    _tracing_until: int = 0
    _landing: list[tuple[int, GameId]] = field(default_factory=list)
    _due: dict[tuple[GameId, Game], int] = field(default_factory=dict)

    def live(self) -> Iterator[tuple[GameId, Game]]:
        for answer in range(len(self.rules.answers)):
            if not self.rules.answers[answer].dead:
                for game in self.rules.live(answer):
                    yield game, self.rules.game(game)

    def run(self) -> None:
        """Until no game is live. Raises AssertionError where the node is late."""
        while games := list(self.live()):
            self._start(games)
            events = [at for at, _ in self._landing]
            events += [self._busy_until] if self._busy_until > self.now else []
            events += [at for at in self._traced.values() if at > self.now]
            for game, state in games:
                if not state.node_to_move:
                    if (game, state) not in self._due:
                        self._due[game, state] = min(max(self.patience(state, self.now), self.now), state.deadline + 1)
                    events.append(self._due[game, state])
            self.now = min(events)
            self._land()
            self._attack()
            for game, state in self.live():
                assert not state.node_to_move or self.now <= state.deadline, (self.now, game, state)
            self.fall_due()

    def fall_due(self) -> None:
        """In any time to come no more can fall due than the node can make in it."""
        left = []
        for _, state in self.live():
            remaining = (
                state.deadline - self.now if state.node_to_move else max(state.node_seconds, self.rules.terms.move)
            )
            left.append((remaining, (OPENINGS - state.openings) * self.speed))
        total = 0
        for remaining, work in sorted(left):
            total += work
            assert total <= remaining + self.rules.terms.move * OPENINGS + self.rules.terms.first, (total, remaining)

    def _start(self, games: list[tuple[GameId, Game]]) -> None:
        """The node's next opening: the earliest deadline among places that nobody works on."""
        if self._busy_until > self.now:
            return
        on_their_way = {self._place(game, self.rules.stored(game)) for _, game in self._landing}
        waiting = []
        for game, state in games:
            if not state.node_to_move or self._place(game, state) in on_their_way:
                continue
            if game[0] not in self._traced:
                self._tracing_until = max(self._tracing_until, self.now) + self.rules.terms.first
                self._traced[game[0]] = self._tracing_until
            if not state.positions or self._traced[game[0]] <= self.now:
                waiting.append((state.deadline, game))
        if waiting:
            _, game = min(waiting)
            self._busy_until = self.now + self.speed
            self._landing.append((self._busy_until + self.rules.terms.move, game))

    def _place(self, game: GameId, state: Game) -> tuple[int, Place]:
        return game[0], place(state)

    def _land(self) -> None:
        for at, game in [each for each in self._landing if each[0] <= self.now]:
            self._landing.remove((at, game))
            claim = self.rules.answers[game[0]].claim
            move = defending(lambda positions, ids=claim.ids: Toy(ids[:positions]))(self.rules, game, self.now)
            assert move is not None
            self.moves += 1
            move()

    def _attack(self) -> None:
        for game, state in list(self.live()):
            if state.node_to_move or self._due.get((game, state), self.now + 1) > self.now:
                continue
            if self.now > state.deadline:
                self.rules.timeout(game, self.now)
                continue
            who, claim = state.challenger, self.rules.answers[game[0]].claim
            if state.stage is Stage.TOKENS and self.rng.random() < 0.9:
                shown = self.rules.opened(game)
                child = self.rng.randrange(len(shown))
                self.rules.pick(game, who, child, shown[child], self.now)
            elif not state.positions:
                positions = self.rng.randrange(len(claim.prompt), len(claim.ids))
                self.rules.pick_position(game, who, claim, positions, self.now)
            elif state.stage is Stage.VALUES:
                self._due[game, state] = state.deadline + 1  # nothing to prove
            else:
                shown = self.rules.opened(game)
                child = self.rng.randrange(len(shown))
                self.rules.pick(game, who, child, shown[child], self.now)


def at_once(rng: random.Random) -> Patience:
    return lambda state, now: now


def at_any_time(rng: random.Random) -> Patience:
    return lambda state, now: now + rng.choice([0, rng.randrange(60), rng.randrange(max(state.deadline - now, 1))])


def in_waves(rng: random.Random) -> Patience:
    """All together, so that whatever can be asked for is asked for in one second."""
    return lambda state, now: min(-(-(now + 1) // 400) * 400, state.deadline)


def at_the_last_moment(rng: random.Random) -> Patience:
    return lambda state, now: state.deadline


def besieged(
    positions: list[int | None],
    strategy: Callable[[random.Random], Patience],
    seed: int = 0,
    *,
    answers: int = 1,
    rules: Rules | None = None,
) -> Siege:
    """A game at each of the positions, all in the first second."""
    rng = random.Random(seed)
    rules = Rules(TERMS, ToyReferee()) if rules is None else rules
    siege = Siege(rules, strategy(rng), rng)
    for n in range(answers):
        rules.answer("node", LONG, 0)
        for k, each in enumerate(positions):
            who = f"sybil {k}"
            if each is None:
                rules.challenge_unread(n, who, rules.ceiling, 0)
            else:
                rules.challenge(n, who, LONG, each, rules.ceiling, 0)
    return siege


FIRST = len(PROMPT)
SIEGES = {
    "33 games on one path": [FIRST] * 33,
    "64 positions": list(range(FIRST, FIRST + 64)),
    "200 games": [FIRST + n % 5 for n in range(200)],
    "unread": [None] * 40,
}
STRATEGIES = [at_once, at_any_time, in_waves, at_the_last_moment]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("positions", SIEGES.values(), ids=SIEGES)
def test_node__of_the_speed_that_terms_ask_for__is_never_timed_out(positions, strategy):
    siege = besieged(positions, strategy, seed=3)
    siege.run()
    rules = siege.rules
    assert not rules.answers[0].dead
    assert rules.backlog["node"] == 0
    assert siege.moves >= 4
    ended = rules.terms.longest(len(positions), 1)
    assert siege.now <= ended + 1
    rules.finalize(0, max(siege.now, TERMS.window) + 1)
    conserved(rules)


def test_node__five_answers_attacked_at_once__is_never_timed_out():
    siege = besieged([FIRST + n % 9 for n in range(12)], in_waves, answers=5)
    siege.run()
    assert not any(answer.dead for answer in siege.rules.answers)


class Zeroing(Rules):
    """What was: an opening made for another game counts as made at the last moment, and games do not queue."""

    def game(self, game: GameId) -> Game:
        state = self.stored(game)
        if not state.node_to_move or state.stage is Stage.OVER or place(state) not in self.answers[game[0]].openings:
            return state
        deadline = state.deadline + max(state.challenger_seconds, self.terms.move)
        return replace(state, node_seconds=0, node_to_move=False, deadline=deadline)


@pytest.mark.parametrize("kind", ["33 games on one path", "200 games"])
def test_node__where_games_do_not_queue__is_timed_out(kind):
    """So that the tests above can tell."""
    siege = besieged(SIEGES[kind], in_waves, rules=Zeroing(replace(TERMS, queue=0), ToyReferee()))
    with pytest.raises((AssertionError, Refused)):
        siege.run()


@pytest.mark.parametrize("puppets", [0, 1, 33, 200])
def test_honest_challenger__behind_puppets__waits_no_longer_than_the_formula_says(puppets):
    """The liar opens all puppets first and makes every move of its own at the last moment."""
    rules = Rules(TERMS, ToyReferee())
    wrong = replace(LONG, output=(LONG.output[0], (LONG.output[1] + 1) % 7, *LONG.output[2:]))
    answer = rules.answer("liar", wrong, 0)
    for n in range(puppets):
        rules.challenge(answer, f"puppet {n}", wrong, FIRST + n % 60, rules.ceiling, 0)
    game = rules.challenge(answer, "honest", wrong, FIRST + 1, rules.ceiling, 0)
    assert rules.stored(game).number == puppets + 1
    now = killed(rules, game, wrong)
    assert rules.answers[answer].dead
    assert now <= TERMS.longest(puppets, 1 if puppets else 0)
    alone = TERMS.longest()
    assert TERMS.longest(puppets, 1) - alone == puppets * TERMS.queue + TERMS.first


def killed(rules: Rules, game: GameId, wrong: Claim) -> int:
    """When the honest challenger has killed the answer, who moves at once."""
    from disputes.test_rules import honest_challenger  # noqa: PLC0415

    lies = {(STEPS - 1, 1, 0): 1}
    now = 0
    while not rules.answers[game[0]].dead:
        state = rules.game(game)
        if state.node_to_move:
            now = state.deadline
            move = defending(lambda positions: Toy(wrong.ids[:positions], lies))(rules, game, now)
        else:
            move = honest_challenger(rules, game, now)
        assert move is not None
        move()
    return now


def test_backlog__of_games_that_are_over__is_gone():
    rules = Rules(TERMS, ToyReferee())
    for _ in range(2):
        rules.answer("node", LONG, 0)
    games = [rules.challenge(n % 2, "sybil", LONG, FIRST, rules.ceiling, 0) for n in range(6)]
    assert rules.backlog["node"] == 6 * TERMS.queue + 2 * TERMS.first
    rules.refute(1, "prover", malformed=True)
    assert rules.backlog["node"] == 3 * TERMS.queue + TERMS.first
    for game in games[::2]:
        rules.timeout(game, rules.game(game).deadline + 1) if not rules.answers[0].dead else None
    assert rules.answers[0].dead
    assert rules.backlog["node"] == 0


def test_race__of_a_whole_window_against_100_times_the_capital__the_honest_challenge_gets_in():
    """Puppets challenge in every block before the honest one; more than the price is accepted, and it has a ceiling."""
    rules = Rules(TERMS, ToyReferee())
    wrong = replace(LONG, output=((LONG.output[0] + 1) % 7, *LONG.output[1:]))
    answer = rules.answer("liar", wrong, 0)
    capital, honest = 100 * rules.ceiling, rules.ceiling
    now = 0
    while capital >= rules.price(answer) and now < TERMS.window - 12:
        now += 12
        for _ in range(3):
            if capital >= rules.price(answer):
                capital -= rules.price(answer)
                rules.challenge(answer, "puppet", wrong, FIRST, rules.price(answer), now)
    assert rules.answers[answer].open >= 100
    game = rules.challenge(answer, "honest", wrong, FIRST, honest, TERMS.window)
    rules = rules if rules.stored(game).bond_wei <= honest else pytest.fail("dearer than the ceiling")
    killed_at = killed(rules, game, wrong)
    assert rules.answers[answer].dead
    assert killed_at <= TERMS.window + TERMS.longest(rules.answers[answer].open, 1)


def test_challenge__more_than_the_price__is_credited_and_less_is_refused():
    rules = Rules(TERMS, ToyReferee())
    answer = rules.answer("node", LONG, 0)
    with pytest.raises(Refused, match="ChallengeUnderpaid"):
        rules.challenge(answer, "poor", LONG, FIRST, rules.price(answer) - 1, 0)
    rules.challenge(answer, "rich", LONG, FIRST, rules.price(answer) + 5, 0)
    assert rules.credit == {"rich": 5}
    conserved(rules)


def test_terms__for_one_game__are_those_of_a_game_alone():
    assert Terms(1, 1, 1, 1, 3600, 300, 600, 126).longest() == 2 * 3600 + 600 + 15 * 300
