"""The rules of `DisputeGame` a second time, in plain Python: whose move it is, what binds it, where the money goes.

Pure: time is an argument, nothing is sent, and a refused move changes nothing. `test_game_anvil.py` holds the contract
to this model move by move; `test_rules.py` plays thousands of games on it. What a pass looks like and what the referee
finds wrong is a `Referee`'s: here a root is whatever `Referee.root` makes of its children.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from oracle.disputes.game import Game, Stage

RAMP = 16
WITNESSES = 8
REWARD_PERCENT, WITNESSES_PERCENT = 30, 20
OPENINGS = 9
MORE_PARTS = OPENINGS - 2
"""Of an answer's tokens, that a challenger may ask for after the first, if it then names no pass."""
ENTRIES = 4
WAIT_BLOCKS = 16
NOTHING = bytes(32)

Node = Hashable
Place = tuple[Stage, int, int, int, int, int]
"""Stage, positions, step, operator, level, index."""
GameId = tuple[int, int]
"""Answer, and the game's number among its games, from one."""


class Refused(Exception):
    """A move that reverts: the custom error and the arguments that the model knows."""

    def __init__(self, error: str, *args: Any) -> None:
        super().__init__(error, *args)
        self.error = error


@dataclass(frozen=True)
class Terms:
    """Wei and seconds; levels: that one opening of a tree goes down, at most."""

    bond: int
    window: int
    challenge_bond: int
    opening: int
    clock: int
    move: int
    first: int
    queue: int
    ceiling: int = 200
    levels: int = 8

    def longest(self, games: int = 0, answers: int = 0) -> int:
        """Seconds from a challenge to the last moment of the last move, if nobody lets a clock run out before.

        games, answers: against the same seat, open when this game is opened.

        A side's clock holds what its turn leaves of max(clock, least), so that all its turns together last no longer
        than the clock and, for each turn but the first, one least. A game has OPENINGS turns a side at most, tokens,
        some of them, steps, operators, four times nodes, values. Of the node's, steps, the third, is granted `first`.
        """
        backlog = games * self.queue + answers * self.first
        return 2 * self.clock + backlog + self.first + (2 * OPENINGS - 3) * self.move


@dataclass(frozen=True)
class Claim:
    """The tokens that an answer commits to."""

    prompt: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.output


class Referee(Protocol):
    """The shape of a pass, how roots are made, and what is wrong."""

    steps: int
    wrapper: int
    """Least tokens of a prompt."""
    context: int
    """Most tokens of prompt and output."""
    token_bytes: int
    """Of a leaf of the tree over an answer's tokens."""

    def token_levels(self, claim: Claim) -> tuple[int, int]:
        """Of that tree: all, and those below the nodes that are shown first."""

    def token_nodes(self, claim: Claim) -> Sequence[Node]:
        """Those nodes."""

    def token_root(self, entries: bytes) -> Node:
        """Over leaves."""

    def operators(self, step: int) -> int: ...
    def depth(self, positions: int, step: int, operator: int) -> int: ...
    def root(self, nodes: Sequence[Node]) -> Node: ...
    def leaf(self, values: Any) -> Node: ...
    def is_wrong(self, claim: Claim, game: Game, steps: Sequence[Node], operators: Sequence[Node], proof: Any) -> bool:
        """Whether `proof` shows the leaf that `game` disputes wrong. steps, operators: lists as opened."""

    def is_wrong_choice(self, claim: Claim, game: Game, operators: Sequence[Node], proof: Any) -> bool:
        """Whether `proof` shows that the logits choose another token than the answer's."""


@dataclass
class Answer:
    """A claim, its bond, and what all its games share."""

    node: str
    claim: Claim
    closes: int
    games: list[Game] = field(default_factory=list)
    openings: dict[Place, tuple[Any, ...]] = field(default_factory=dict)
    opened_at: dict[Place, int] = field(default_factory=dict)
    first: dict[Place, int] = field(default_factory=dict)
    """Of places where a proof may end a game: the number of the game that came there first."""
    oldest: dict[Place, int] = field(default_factory=dict)
    """The least number of all that came there."""
    open: int = 0
    won: int = 0
    shares: int = 0
    share: int = 0
    dead: bool = False
    final: bool = False


@dataclass(frozen=True)
class Reward:
    """What a refutation earned, while it waits for one whose hash is older, and after. since, until: blocks."""

    who: str
    since: int
    until: int
    amount: int


class Rules:
    """All answers, games and money. What was paid in is credited, burnt or locked."""

    def __init__(self, terms: Terms, referee: Referee) -> None:
        self.terms, self.referee = terms, referee
        self.answers: list[Answer] = []
        self.credit: Counter[str] = Counter()
        self.backlog: Counter[str] = Counter()
        """By node: seconds that its open games add to its clock in the next."""
        self.posted: dict[tuple[str, Hashable], int] = {}
        """Block of a refutation's hash, by who will send it and what it shows."""
        self.rewards: dict[int, Reward] = {}
        """Of refutations, by answer."""
        self.burnt = 0
        self.paid_in = 0

    # ANSWERS

    def answer(self, node: str, claim: Claim, now: int) -> int:
        self.answers.append(Answer(node, claim, now + self.terms.window))
        self.paid_in += self.terms.bond
        return len(self.answers) - 1

    def finalize(self, answer: int, now: int) -> None:
        state = self.answers[answer]
        if state.dead or state.final or state.open or now <= state.closes:
            raise Refused("NothingToFinalize")
        state.final = True
        self.credit[state.node] += self.terms.bond

    # VIEWS

    def price(self, answer: int) -> int:
        bond = self.terms.challenge_bond
        return min(bond + bond * self.answers[answer].open // RAMP, self.ceiling)

    @property
    def ceiling(self) -> int:
        """What no challenge costs more than."""
        return self.terms.challenge_bond * self.terms.ceiling // 100

    def stored(self, game: GameId) -> Game:
        answer, number = game
        return self.answers[answer].games[number - 1]

    def game(self, game: GameId) -> Game:
        """As it stands now: what another game's opening has brought counts from when it was made, unless too late."""
        state = self.stored(game)
        opened_at = self.answers[game[0]].opened_at.get(place(state))
        if not state.node_to_move or state.stage is Stage.OVER or opened_at is None or opened_at > state.deadline:
            return state
        deadline = opened_at + max(state.challenger_seconds, self.terms.move)
        return replace(state, node_seconds=state.deadline - opened_at, node_to_move=False, deadline=deadline)

    def games(self, answer: int) -> list[GameId]:
        return [(answer, number) for number in range(1, len(self.answers[answer].games) + 1)]

    def live(self, answer: int) -> list[GameId]:
        return [game for game in self.games(answer) if self.stored(game).stage is not Stage.OVER]

    def locked(self) -> int:
        """Bonds that nobody has won or lost yet, and shares that nobody has taken yet."""
        total = 0
        for index, answer in enumerate(self.answers):
            total += answer.shares * answer.share if answer.dead else 0 if answer.final else self.terms.bond
            total += sum(self.stored(game).bond_wei for game in self.live(index))
        return total + sum(reward.amount for reward in self.rewards.values())

    def down(self, level: int) -> int:
        """Levels that the next opening of a tree goes down."""
        rounds = -(-level // self.terms.levels)
        return -(-level // rounds)

    def opened(self, game: GameId) -> tuple[Any, ...]:
        """What is open where a game stands."""
        return self.answers[game[0]].openings[place(self.game(game))]

    # CHALLENGER

    def challenge(self, answer: int, who: str, claim: Claim, positions: int, paid: int, now: int) -> GameId:
        self._check_position(answer, claim, positions)
        return self._challenge(answer, who, Stage.STEPS, positions, paid, now)

    def challenge_unread(self, answer: int, who: str, paid: int, now: int) -> GameId:
        return self._challenge(answer, who, Stage.TOKENS, 0, paid, now)

    def _challenge(self, answer: int, who: str, stage: Stage, positions: int, paid: int, now: int) -> GameId:
        state = self.answers[answer]
        if state.dead:
            raise Refused("AnswerDead")
        price = self.price(answer)
        if paid < price:
            raise Refused("ChallengeUnderpaid", price, paid)
        if state.final:
            raise Refused("WrongStatus")
        if now > state.closes:
            raise Refused("WindowClosed")
        self.paid_in += paid
        self.credit[who] += paid - price
        clock = self.terms.clock
        node_clock = min(clock + self.backlog[state.node], 2**32 - 1)
        self.backlog[state.node] += self.terms.queue + (0 if state.open else self.terms.first)
        state.open += 1
        number = len(state.games) + 1
        path = (stage, 0, positions, 0, 0, 0, 0)
        made = Game(who, price, number, answer, NOTHING, *path, 0, node_clock, clock, True)  # type: ignore[arg-type]
        state.games.append(self._handed_over(made, now))
        return answer, number

    def pick_position(self, game: GameId, who: str, claim: Claim, positions: int, now: int) -> None:
        state = self._challenger_moves(game, who, now)
        if state.positions or state.step:
            raise Refused("WrongStage")
        self._check_position(game[0], claim, positions)
        self._next(game, replace(state, stage=Stage.STEPS, positions=positions, level=0, index=0), now)

    def pick(self, game: GameId, who: str, child: int, node: Node, now: int) -> None:
        """Whoever picks proves with the list that is open that `node` is its child number `child`."""
        state = self._challenger_moves(game, who, now)
        more = state.stage is Stage.VALUES and not state.positions and state.step < MORE_PARTS
        if not more and state.stage not in (Stage.TOKENS, Stage.STEPS, Stage.OPERATORS, Stage.NODES):
            raise Refused("WrongStage")
        nodes = self.answers[game[0]].openings[Stage.TOKENS, 0, 0, 0, 0, 0] if more else self.opened(game)
        if not 0 <= child < len(nodes):
            raise Refused("NoSuchOperator" if state.stage is Stage.OPERATORS else "IndexOutOfRange")
        if nodes[child] != node:
            raise Refused("WrongRoot")
        if state.stage is Stage.TOKENS or more:
            below = self.referee.token_levels(self.answers[game[0]].claim)[1]
            state = replace(state, level=below, index=child, stage=Stage.VALUES, step=state.step + more)
        elif state.stage is Stage.STEPS:
            state = replace(state, step=child, stage=Stage.OPERATORS)
        elif state.stage is Stage.OPERATORS:
            level = self.referee.depth(state.positions, state.step, child)
            state = replace(state, operator=child, level=level, stage=Stage.NODES if level else Stage.VALUES)
        else:
            down = self.down(state.level)
            level, index = state.level - down, state.index << down | child
            state = replace(state, level=level, index=index, stage=Stage.NODES if level else Stage.VALUES)
        self._next(game, replace(state, disputed=node), now)
        if state.positions and state.stage is not Stage.NODES:
            answer, here = self.answers[game[0]], place(state)
            answer.first.setdefault(here, game[1])
            answer.oldest[here] = min(answer.oldest.get(here, game[1]), game[1])

    def prove(self, game: GameId, claim: Claim, values: Any, proof: Any, now: int) -> None:
        """The referee looks first; whose move it is, the game says when it hears of the proof."""
        state = self.game(game)
        if state.stage is not Stage.VALUES or not state.positions:
            raise Refused("WrongStage")
        self._check_tokens(game[0], claim)
        if self.referee.leaf(values) != state.disputed:
            raise Refused("WrongLeaf")
        held = self.answers[game[0]].openings
        steps = held[Stage.STEPS, state.positions, 0, 0, 0, 0]
        operators = held[Stage.OPERATORS, state.positions, state.step, 0, 0, 0]
        if not self.referee.is_wrong(claim, state, steps, operators, proof):
            raise Refused("NothingWrong")
        self._won(game, now)

    def prove_choice(self, game: GameId, claim: Claim, proof: Any, now: int) -> None:
        state = self.game(game)
        if state.stage is not Stage.OPERATORS or state.step + 1 != self.referee.steps:
            raise Refused("WrongStage")
        self._check_tokens(game[0], claim)
        if state.node_to_move:
            raise Refused("WrongRoot")
        if not self.referee.is_wrong_choice(claim, state, self.opened(game), proof):
            raise Refused("NothingWrong")
        self._won(game, now)

    def _won(self, game: GameId, now: int) -> None:
        """As a referee says."""
        state = self._moves(game, now, node=False)
        if not state.positions:
            raise Refused("WrongStage")
        # Whoever follows a challenger and copies its proof is neither the first there nor the oldest.
        answer, here = self.answers[game[0]], place(state)
        ahead = [answer.first.get(here, game[1]), answer.oldest.get(here, game[1])]
        for number in ahead if game[1] not in ahead else []:
            theirs = self.game((game[0], number))
            if place(theirs) == here and now <= theirs.deadline:
                self._win((game[0], number), theirs)
                return
        self._win(game, state)

    # REFUTATIONS. Time is counted in blocks.

    def post(self, who: str, call: Hashable, block: int) -> None:
        """Notes that `who` will make that call; nobody can tell what it is. who: whose hash it is, whoever posts it."""
        self.posted.setdefault((who, call), block)

    def refute(self, answer: int, who: str, malformed: bool, block: int = 0, call: Hashable = None) -> None:
        """call: all that it shows."""
        state = self.answers[answer]
        if not malformed:
            raise Refused("NothingWrong")
        since = self.posted.get((who, call), block)
        reward = self.rewards.get(answer)
        if reward is not None and block <= reward.until:
            if since >= reward.since:
                raise Refused("PostedTooLate")
            self.rewards[answer] = replace(reward, who=who, since=since)
            return
        if state.dead:
            raise Refused("AnswerDead")
        self._unqueue(state, state.open, last=True)
        if block - since >= WAIT_BLOCKS:
            self._kill(state, who)
        else:
            self._kill(state, None)
            self.rewards[answer] = Reward(who, since, block + WAIT_BLOCKS, self.reward)

    def pay(self, answer: int, block: int) -> None:
        reward = self.rewards.get(answer)
        if reward is None or not reward.amount:
            raise Refused("NothingToPay")
        if block <= reward.until:
            raise Refused("RewardStillWaits")
        self.credit[reward.who] += reward.amount
        self.rewards[answer] = replace(reward, amount=0)

    # NODE

    def open_tokens(self, game: GameId, claim: Claim, now: int) -> None:
        """Whoever calls."""
        state = self._moves(game, now, node=True)
        if state.stage is not Stage.TOKENS:
            raise Refused("WrongStage")
        own = self.answers[game[0]].claim
        if not self.referee.wrapper <= len(claim.prompt) <= self.referee.context - len(own.output):
            raise Refused("PromptOutOfRange")
        if claim != own:
            raise Refused("WrongTokens")
        self._opened(game, state, tuple(self.referee.token_nodes(claim)), now)

    def open(self, game: GameId, who: str, nodes: Sequence[Node], now: int) -> None:
        state = self._moves(game, now, node=True)
        if state.stage is Stage.NODES:
            count = 1 << self.down(state.level)
        else:
            if who != self.answers[game[0]].node:
                raise Refused("NotNode", who)
            if state.stage not in (Stage.STEPS, Stage.OPERATORS):
                raise Refused("WrongStage")
            steps = state.stage is Stage.STEPS
            count = self.referee.steps if steps else self.referee.operators(state.step)
        if len(nodes) != count:
            raise Refused("WrongOpeningLength", count, len(nodes))
        if state.stage is Stage.OPERATORS and nodes[-1] != state.disputed:
            raise Refused("WrongOpening")
        if state.stage is Stage.NODES and self.referee.root(nodes) != state.disputed:
            raise Refused("WrongOpening")
        self._opened(game, state, tuple(nodes), now)

    def open_values(self, game: GameId, values: Any, now: int) -> None:
        """Whoever calls."""
        state = self._moves(game, now, node=True)
        if state.stage is not Stage.VALUES:
            raise Refused("WrongStage")
        if state.positions:
            shown = self.referee.leaf(values)
        else:
            if len(values) != self.referee.token_bytes << state.level:
                raise Refused("WrongOpeningLength")
            shown = self.referee.token_root(values)
        if shown != state.disputed:
            raise Refused("WrongOpening")
        self._opened(game, state, (values,), now)

    # ANYONE

    def timeout(self, game: GameId, now: int) -> None:
        state, answer = self.game(game), self.answers[game[0]]
        if state.stage is Stage.OVER:
            raise Refused("WrongStage")
        if answer.dead:
            raise Refused("AnswerDead")
        if now <= state.deadline:
            raise Refused("ClockRuns", state.deadline)
        if state.node_to_move:
            self._win(game, state)
            return
        answer.open -= 1
        self._unqueue(answer, 1, last=not answer.open)
        self._store(game, replace(self.stored(game), stage=Stage.OVER))
        gas = min(state.bond_wei, self.terms.opening * state.openings * 6 // 5)
        self.credit[answer.node] += gas
        self.burnt += state.bond_wei - gas

    def settle(self, game: GameId) -> None:
        state, answer = self.stored(game), self.answers[game[0]]
        if state.stage is Stage.OVER:
            raise Refused("WrongStage")
        if not answer.dead:
            raise Refused("AnswerAlive")
        share = 0
        if answer.shares and is_on_the_way(state, answer.games[answer.won - 1]):
            share = answer.share
            answer.shares -= 1
        answer.open -= 1
        if not answer.open:
            self.burnt += answer.shares * answer.share
            answer.shares = 0
        self._store(game, replace(state, stage=Stage.OVER))
        self.credit[state.challenger] += state.bond_wei + share

    # INSIDE

    def _store(self, game: GameId, state: Game) -> None:
        self.answers[game[0]].games[game[1] - 1] = state

    def _moves(self, game: GameId, now: int, *, node: bool) -> Game:
        state = self.game(game)
        if state.stage is Stage.OVER:
            raise Refused("WrongStage")
        if self.answers[game[0]].dead:
            raise Refused("AnswerDead")
        if state.node_to_move != node:
            raise Refused("NotYourMove")
        if now > state.deadline:
            raise Refused("ClockRanOut", state.deadline)
        return state

    def _challenger_moves(self, game: GameId, who: str, now: int) -> Game:
        state = self._moves(game, now, node=False)
        if who != state.challenger:
            raise Refused("NotChallenger", who)
        return state

    def _check_tokens(self, answer: int, claim: Claim) -> None:
        if claim != self.answers[answer].claim:
            raise Refused("WrongTokens")

    def _check_position(self, answer: int, claim: Claim, positions: int) -> None:
        self._check_tokens(answer, claim)
        if not max(len(claim.prompt), 1) <= positions < len(claim.ids):
            raise Refused("BadPosition", positions)

    def _handed_over(self, state: Game, now: int) -> Game:
        """After the challenger's move: the node's turn, unless what it has to show is open already."""
        node = place(state) not in self.answers[state.case].openings  # type: ignore[call-overload]
        first = state.stage in (Stage.STEPS, Stage.TOKENS)
        least = self.terms.first if node and first else self.terms.move
        clock = state.node_seconds if node else state.challenger_seconds
        return replace(state, node_to_move=node, deadline=now + max(clock, least))

    def _next(self, game: GameId, state: Game, now: int) -> None:
        self._store(game, self._handed_over(replace(state, challenger_seconds=state.deadline - now), now))

    def _opened(self, game: GameId, state: Game, shown: tuple[Any, ...], now: int) -> None:
        self.answers[game[0]].openings[place(state)] = shown
        self.answers[game[0]].opened_at[place(state)] = now
        deadline = now + max(state.challenger_seconds, self.terms.move)
        left = state.deadline - now
        turn = {"openings": state.openings + 1, "node_seconds": left, "node_to_move": False, "deadline": deadline}
        self._store(game, replace(state, **turn))

    def _unqueue(self, answer: Answer, games: int, *, last: bool) -> None:
        """`games` of an answer are over. last: no other game of it asks anything of the node."""
        if games:
            self.backlog[answer.node] -= games * self.terms.queue + (self.terms.first if last else 0)

    def _win(self, game: GameId, state: Game) -> None:
        answer = self.answers[game[0]]
        self._unqueue(answer, answer.open, last=True)
        answer.open -= 1
        answer.won = game[1]
        self._store(game, replace(state, stage=Stage.OVER))
        self._kill(answer, state.challenger)
        self.credit[state.challenger] += state.bond_wei

    @property
    def reward(self) -> int:
        """Of whoever shows an answer wrong."""
        return self.terms.bond * REWARD_PERCENT // 100

    def _kill(self, answer: Answer, prover: str | None) -> None:
        """prover: None where the reward waits."""
        bond = self.terms.bond
        answer.dead = True
        answer.share = bond * WITNESSES_PERCENT // 100 // WITNESSES
        answer.shares = min(answer.open, WITNESSES) if answer.won else 0
        if prover is not None:
            self.credit[prover] += self.reward
        self.burnt += bond - self.reward - answer.shares * answer.share


def place(game: Game) -> Place:
    return (game.stage, game.positions, game.step, game.operator, game.level, game.index)


def is_on_the_way(game: Game, won: Game) -> bool:
    """Whether `game` is where `won` is or has been."""
    if game.positions == 0 or game.positions != won.positions:
        return False
    if game.stage < Stage.OPERATORS:
        return True
    if game.step != won.step:
        return False
    if game.stage is Stage.OPERATORS:
        return True
    above = game.level - won.level
    return game.operator == won.operator and above >= 0 and won.index >> above == game.index
