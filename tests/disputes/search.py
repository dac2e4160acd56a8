"""A search for lines of play by which a coalition would gain on the dispute game's rules, or an honest side lose.

A line is a row of numbers, each a choice of the coalition's among what it can do just then: open a game, pick, prove,
show, refute its own answer or copy a refutation, or let a second pass. When a line is at its end the coalition keeps
silent. Honest sides play by themselves: a node of exactly the speed that its terms ask for, or a challenger that acts a
second after it sees. So a line is a whole game, and lines can be enumerated (`every_line`) or bred from the most
promising (`best_lines`).
"""

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from disputes.rules import OPENINGS, Claim, GameId, Place, Refused, Rules, Terms, place
from disputes.toy import LEVELS, STEPS, VOCABULARY, Toy, ToyReferee, honest_answer

from oracle.disputes.game import Game, Stage

Line = tuple[int, ...]
BOND = 10_000
TERMS = Terms(
    bond=BOND,
    window=4,
    challenge_bond=1_000,
    opening=90,
    clock=40,
    move=2,
    first=4,
    queue=2 * OPENINGS,
    levels=LEVELS,
)
"""In seconds, of which few make a game: a node makes one opening a second, and a prefill in four."""
PROMPT = (3, 1)
RIGHT = honest_answer(PROMPT, 3)
HONEST = "honest"
MOST_GAMES = 12
MOST_SECONDS = 1_000
FAULT = "what is wrong with the tokens"


@cache
def view(ids: tuple[int, ...], lie: tuple[int, int, int] | None = None) -> Toy:
    """A pass, with at most one lie in it."""
    return Toy(ids, {} if lie is None else {lie: 7})


@dataclass
class Choices:
    """A line as it is played."""

    line: Line
    widths: list[int] = field(default_factory=list)
    """Among how many each choice was made, as far as the line goes; and the first beyond it."""

    def next(self, width: int) -> int:
        at = len(self.widths)
        if at <= len(self.line):
            self.widths.append(width)
        return self.line[at] % width if at < len(self.line) else 0


@dataclass(frozen=True)
class Outcome:
    """How a line ended. gain: the coalition's. loss: the honest side's."""

    line: Line
    widths: tuple[int, ...]
    gain: int
    loss: int
    dead: bool
    final: bool
    robbed: bool
    """Whether somebody else was paid for a refutation that the honest side had posted before anybody."""
    pressure: int
    """The larger, the nearer the honest side was to losing: how late a node was with a move, less than nothing if in
    time; how often a challenger was refused, and how long the lie lived."""
    games: int


@dataclass
class Play:
    """One answer: an honest node's, or a liar's that one honest challenger meets."""

    choices: Choices
    rules: Rules
    lying: bool
    now: int = 0
    pressure: int = -MOST_SECONDS
    _lie: tuple[int, int, int] | None = None
    _traced_at: int | None = None
    _busy_until: int = 0
    _landing: list[tuple[int, GameId]] = field(default_factory=list)
    _met: GameId | None = None
    _kept_out: int = 0
    _malformed: bool = False
    _posted_at: int | None = None
    """When the coalition first knew of the refutation, as far as anybody can tell."""
    _copied: bool = False

    def __post_init__(self) -> None:
        claim = RIGHT
        if self.lying:
            wrong = self.choices.next(len(RIGHT.output))
            output = list(RIGHT.output)
            output[wrong] = (output[wrong] + 1) % VOCABULARY
            claim = Claim(PROMPT, tuple(output))
            if step := self.choices.next(STEPS + 1):
                self._lie = (step - 1, self.choices.next(ToyReferee().operators(step - 1)), 0)
            self._malformed = self.choices.next(4) == 1
        self.node = "liar" if self.lying else HONEST
        self.rules.answer(self.node, claim, 0)
        self.answer = self.rules.answers[0]

    @property
    def claim(self) -> Claim:
        return self.answer.claim

    def run(self) -> Outcome:
        while self.now < MOST_SECONDS and not (self.answer.final or self.answer.dead):
            self._coalition()
            if self._malformed:
                self._refute()
            elif self.lying:
                self._challenge()
            else:
                self._defend()
            self._stop_clocks()
            self.now += 1
            if not (self.answer.dead or self.rules.live(0) or self.now <= self.answer.closes):
                self.rules.finalize(0, self.now)
        for game in self.rules.live(0):
            self.rules.settle(game)
        if self._copied:
            # The call that was copied is mined as well.
            with suppress(Refused):
                self.rules.refute(0, HONEST, malformed=True, block=self.now, call=FAULT)
        if reward := self.rules.rewards.get(0):
            self.rules.pay(0, reward.until + 1)
        return self._outcome()

    def _outcome(self) -> Outcome:
        rules, answer = self.rules, self.answer
        assert rules.paid_in == sum(rules.credit.values()) + rules.burnt
        own = sum(game.bond_wei for game in answer.games if game.challenger == HONEST)
        spent = rules.paid_in - (own if self.lying else BOND)
        honest = rules.credit[HONEST]
        gain = sum(rules.credit.values()) - honest - spent
        loss = rules.paid_in - spent - honest
        pressure = 100 * self._kept_out + self.now if self.lying else self.pressure
        later = self._copied and self._posted_at is not None and self._posted_at > 1
        ended = (answer.dead, answer.final, later and not honest, pressure, len(answer.games))
        return Outcome(self.choices.line, tuple(self.choices.widths), gain, loss, *ended)

    # COALITION

    def _coalition(self) -> None:
        """Does something, as often as it likes in one second."""
        for _ in range(2 * MOST_GAMES):
            deeds = list(self._deeds())
            chosen = self.choices.next(len(deeds) + 1)
            if not chosen or self.answer.dead:
                return
            try:
                deeds[chosen - 1]()
            except Refused:
                return

    def _deeds(self) -> Iterator[Callable[[], object]]:
        rules, claim = self.rules, self.claim
        who = f"puppet {len(self.answer.games)}"
        if self.now <= self.answer.closes and len(self.answer.games) < MOST_GAMES:
            for positions in range(len(PROMPT), len(claim.ids)):
                yield lambda p=positions: rules.challenge(0, who, claim, p, rules.price(0), self.now)
            yield lambda: rules.challenge_unread(0, who, rules.price(0), self.now)
            yield self._open_some
        if self._malformed and (self.now <= self.answer.closes or self.rules.live(0)):
            yield self._post
            yield self._copy
        yield self._move_all
        for game in rules.live(0):
            state = rules.game(game)
            if state.node_to_move and self.lying:
                yield lambda g=game, s=state: self._show(g, s)
            elif not state.node_to_move and state.challenger != HONEST and self.now <= state.deadline:
                yield from self._picks(game, state)

    def _open_some(self) -> None:
        """Four games at once."""
        for _ in range(4):
            who, positions = f"puppet {len(self.answer.games)}", len(PROMPT) + self.choices.next(len(RIGHT.output))
            self.rules.challenge(0, who, self.claim, positions, self.rules.price(0), self.now)

    def _post(self) -> None:
        """A hash of the refutation that the coalition will send."""
        if self._posted_at is None:
            self._posted_at = self.now
            self.rules.post("copier", FAULT, self.now)

    def _copy(self) -> None:
        """Refutes, as the coalition knew from the first that it can, or as it has just seen somebody else do."""
        if self._posted_at is None:
            self._posted_at = self.now
        self._copied = True
        self.rules.refute(0, "copier", malformed=True, block=self.now, call=FAULT)

    def _move_all(self) -> None:
        """One move in every game in which it is the coalition's."""
        for game in self.rules.live(0):
            state = self.rules.game(game)
            if self.answer.dead or self.now > state.deadline:
                continue
            if state.node_to_move and self.lying:
                self._show(game, state)
            elif not state.node_to_move and state.challenger != HONEST:
                picks = list(self._picks(game, state))
                with suppress(Refused):
                    picks[self.choices.next(len(picks))]()

    def _picks(self, game: GameId, state: Game) -> Iterator[Callable[[], object]]:
        rules, claim, who, now = self.rules, self.claim, state.challenger, self.now
        shown = rules.opened(game)
        if not state.positions:
            for positions in range(len(PROMPT), len(claim.ids)):
                yield lambda p=positions: rules.pick_position(game, who, claim, p, now)
            if state.stage is Stage.VALUES:
                yield lambda: rules.prove(game, claim, shown[0], shown[0], now)
                return
        if state.stage is Stage.VALUES:
            yield lambda: rules.prove(game, claim, shown[0], shown[0], now)
            return
        if state.stage is Stage.OPERATORS and state.step == STEPS - 1:
            yield lambda: rules.prove_choice(game, claim, None, now)
        for child in range(len(shown)):
            yield lambda c=child: rules.pick(game, who, c, shown[c], now)

    # NODES

    def _view(self, positions: int) -> Toy:
        return view(self.claim.ids[:positions], self._lie)

    def _show(self, game: GameId, state: Game) -> None:
        rules, now = self.rules, self.now
        if state.stage is Stage.TOKENS:
            rules.open_tokens(game, self.claim, now)
            return
        if not state.positions:
            rules.open_values(game, ToyReferee().token_part(self.claim, state.index), now)
            return
        own, step, operator = self._view(state.positions), state.step, state.operator
        if state.stage is Stage.STEPS:
            rules.open(game, self.node, own.steps, now)
        elif state.stage is Stage.OPERATORS:
            rules.open(game, self.node, own.roots(step), now)
        elif state.stage is Stage.NODES:
            down = rules.down(state.level)
            rules.open(game, self.node, own.nodes(step, operator, state.level, state.index, down), now)
        else:
            rules.open_values(game, own.leaf(step, operator, state.index), now)

    def _defend(self) -> None:
        """One opening a second, the most urgent first, each mined after as long as a move lasts."""
        for at, game in [each for each in self._landing if each[0] <= self.now]:
            self._landing.remove((at, game))
            state = self.rules.game(game)
            self.pressure = max(self.pressure, self.now - state.deadline)
            try:
                self._show(game, state)
            except Refused as refused:
                if refused.error != "ClockRanOut":
                    raise
        if self._busy_until > self.now:
            return
        coming: set[Place] = {place(self.rules.stored(game)) for _, game in self._landing}
        waiting = []
        for game in self.rules.live(0):
            state = self.rules.game(game)
            if not state.node_to_move or place(state) in coming:
                continue
            if self._traced_at is None:
                self._traced_at = self.now + self.rules.terms.first
            if not state.positions or self._traced_at <= self.now:
                waiting.append((state.deadline, game))
        if waiting:
            speed = self.rules.terms.queue // (2 * OPENINGS)
            self._busy_until = self.now + speed
            self._landing.append((self._busy_until + self.rules.terms.move, min(waiting)[1]))

    # CHALLENGER

    def _challenge(self) -> None:
        """Meets the wrong answer in its second second, then follows the first difference down."""
        rules, claim, now = self.rules, self.claim, self.now
        if self._met is None:
            wrong = next(n for n in range(len(PROMPT), len(claim.ids)) if view(claim.ids[:n]).token != claim.ids[n])
            if 0 < now <= self.answer.closes:
                try:
                    self._met = rules.challenge(0, HONEST, claim, wrong, self._offer(), now)
                except Refused:
                    self._kept_out += 1
            return
        state = rules.game(self._met)
        if state.node_to_move or state.stage is Stage.OVER or self.answer.dead:
            return
        own, shown = view(claim.ids[: state.positions]), rules.opened(self._met)
        step, operator = state.step, state.operator
        if state.stage is Stage.VALUES:
            rules.prove(self._met, claim, shown[0], shown[0], now)
            return
        if state.stage is Stage.STEPS:
            mine = own.steps
        elif state.stage is Stage.OPERATORS:
            mine = own.roots(step)
        else:
            mine = own.nodes(step, operator, state.level, state.index, rules.down(state.level))
        child = next((n for n, (a, b) in enumerate(zip(mine, shown, strict=True)) if a != b), None)
        if child is None and state.stage is Stage.OPERATORS:
            rules.prove_choice(self._met, claim, None, now)
        else:
            child = len(shown) - 1 if child is None else child
            rules.pick(self._met, HONEST, child, shown[child], now)

    def _refute(self) -> None:
        """Posts a hash in its second second, and refutes in the last of the window, so that all others have their time.
        A block comes every second."""
        if self.now == 1:
            self.rules.post(HONEST, FAULT, self.now)
        if self.now == self.answer.closes:
            with suppress(Refused):
                self.rules.refute(0, HONEST, malformed=True, block=self.now, call=FAULT)

    def _offer(self) -> int:
        """What the challenger sends: whatever is asked of it in this second, it is enough."""
        return self.rules.ceiling

    def _stop_clocks(self) -> None:
        for game in self.rules.live(0):
            if not self.answer.dead and self.now > self.rules.game(game).deadline:
                self.rules.timeout(game, self.now)


MakePlay = Callable[[Choices, bool], Play]


def standard(choices: Choices, lying: bool) -> Play:
    return Play(choices, Rules(TERMS, ToyReferee()), lying)


def played(line: Line, lying: bool, make: MakePlay = standard) -> Outcome:
    return make(Choices(line), lying).run()


def broken(outcome: Outcome, lying: bool) -> str | None:
    """Which promise the outcome breaks, if any."""
    promises = {
        "a right answer died": not lying and outcome.dead,
        "a wrong answer stands": lying and not outcome.dead,
        "a refutation was copied": outcome.robbed,
        "the honest side lost": outcome.loss > 0,
        "the coalition gained": outcome.gain > 0,
        "a lie cost less than half its bond": lying and outcome.gain > -BOND // 2,
    }
    return next((promise for promise, is_broken in promises.items() if is_broken), None)


def every_line(lying: bool, most: int, make: MakePlay = standard) -> Iterator[Outcome]:
    """Breadth first: all lines of one choice, of two, and so on, `most` in all. Trailing silence is not repeated."""
    level: list[Line] = [()]
    made = 0
    while level and made < most:
        longer: list[Line] = []
        for line in level:
            outcome = played(line, lying, make)
            made += 1
            yield outcome
            if made >= most:
                return
            if len(outcome.widths) > len(line):
                longer += [(*line, choice) for choice in range(outcome.widths[len(line)])]
        level = longer


def best_lines(lying: bool, most: int, seed: int, make: MakePlay = standard, keep: int = 20) -> Iterator[Outcome]:
    """Bred from the most profitable so far and from those that pressed hardest: longer, changed in one place, or two of
    them joined; `most` in all."""
    rng = random.Random(seed)
    kept: list[Outcome] = []
    for _ in range(most):
        if len(kept) < keep or rng.random() < 0.1:
            line = tuple(rng.choice([0, rng.randrange(40)]) for _ in range(rng.randrange(1, 60)))
        else:
            line = _bred(rng, rng.choice(kept).line, rng.choice(kept).line)
        outcome = played(line, lying, make)
        yield outcome
        kept.append(outcome)
        if len(kept) > 4 * keep:
            by_gain = sorted(kept, key=lambda each: (each.gain - each.loss, each.pressure))
            by_pressure = sorted(kept, key=lambda each: (each.pressure, each.gain - each.loss))
            kept = by_gain[-keep:] + by_pressure[-keep:]


def _bred(rng: random.Random, one: Line, other: Line) -> Line:
    kind = rng.randrange(4)
    at = rng.randrange(len(one) + 1)
    if kind == 0:
        return one[:at] + other[at:]
    if kind == 1:
        return (*one[:at], rng.randrange(40), *one[at:])
    if kind == 2:
        return (*one[:at], rng.randrange(40), *one[at + 1 :])
    return (*one, *(rng.randrange(40) for _ in range(rng.randrange(1, 8))))
