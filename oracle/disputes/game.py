"""The dispute game as a party plays it: from where a game stands and what is open to the next move.

Pure functions of the chain's state and the party's own pass, so that a crash loses nothing: the next move is found
again. The contract is `IDisputeGame`; names and stages are its.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
from eth_abi.abi import encode
from eth_hash.auto import keccak

from oracle.disputes import answer_referee, lanes, pattern_referee
from oracle.disputes.graph import Operator, Width
from oracle.disputes.inputs import (
    Entry,
    Input,
    ModelInputs,
    Number,
    Spelling,
    StepInputs,
    WholeRow,
    entry_input,
    list_tree,
    rounds,
)
from oracle.engines.answer_types import AnswerType, Pattern
from oracle.engines.base import Params
from oracle.engines.exact.fixed import Integers
from oracle.engines.sampling import choice
from oracle.ids import CaseId, GameId
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Tree
from oracle.models.manifest import Manifest


class Stage(IntEnum):
    """IDisputeGame.Stage: what is to be opened, or open and to be picked from."""

    NONE = 0
    TOKENS = 1
    STEPS = 2
    OPERATORS = 3
    NODES = 4
    VALUES = 5
    OVER = 6


@dataclass(frozen=True)
class Game:
    """IDisputeGame.Game"""

    challenger: str
    bond_wei: int
    number: int
    case: CaseId
    disputed: bytes
    stage: Stage
    openings: int
    positions: int
    step: int
    operator: int
    level: int
    index: int
    deadline: int
    node_seconds: int
    challenger_seconds: int
    node_to_move: bool

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> "Game":
        """From a call of `gameOf`."""
        challenger, bond, number, case, disputed, (stage, *turn) = values
        return cls(challenger, bond, number, case, disputed, Stage(stage), *turn)

    @property
    def place(self) -> bytes:
        """What the contract calls the place where this game stands."""
        return place(self.case, self.stage, self.positions, self.step, self.operator, self.level, self.index)


def place(case: CaseId, stage: int, positions: int, *path: int) -> bytes:
    """path: step, operator, level, index; as far as picked."""
    words = [stage, positions, *path, *[0] * (4 - len(path))]
    return keccak(encode(["bytes32", *["uint256"] * 6], [case, *words]))


MORE_PARTS = 7
"""Of an answer's tokens, that one game asks for after the first: `GameServices.MORE_PARTS`."""


def part_place(case: CaseId, asked: int, below: int, part: int) -> bytes:
    """Where a part of the tokens is shown. asked: how many the game asked for before. below: levels of its tree."""
    return place(case, Stage.VALUES, 0, asked, 0, below, part)


Openings = Mapping[bytes, Sequence[bytes]]
"""What the node opened, by place: nodes, or a leaf's bytes alone."""


REFUTING = ("refute", "refutePrompt", "refuteAnswer", "refutePattern")
PROVING = {
    **{"prove": "Referee", "proveChoice": "TokenReferee"},
    **{"proveMargin": "AnswerReferee", "provePattern": "AnswerReferee"},
}
REFEREES = PROVING | dict.fromkeys(REFUTING, "Refutations")
"""Moves that another contract takes, referees with the game's address first; the rest are the game's ours."""


@dataclass(frozen=True)
class Move:
    """A call of the game, after the game's id; or of one of its referees."""

    function: str
    arguments: tuple[Any, ...]

    @property
    def contract(self) -> str:
        """The name of the contract that takes it."""
        return REFEREES.get(self.function, "DisputeGame")

    def words(self, address: str, game: GameId) -> tuple[Any, ...]:
        """All arguments of the call. address: of the game's contract."""
        if self.function in REFUTING:
            return self.arguments
        return (address, game, *self.arguments) if self.function in REFEREES else (game, *self.arguments)


class AnyPass(Protocol):
    """A pass as a party says it is: `passes.Pass`, or a liar's stand-in."""

    model: ModelInputs
    tokens: Tokens
    positions: int

    @property
    def roots(self) -> list[bytes]: ...
    def step(self, step: int) -> StepInputs: ...


@dataclass(frozen=True)
class Claim:
    """Request and answer as calls pass them, and how the answer's tokens were to be chosen."""

    request: tuple[Any, ...]
    answer: tuple[Any, ...]
    params: Params
    prompt: bytes
    output: bytes
    manifest: Manifest
    header: bytes = b""
    """Of the seed's block, RLP: what a sampled choice is proven with."""

    def answer_type(self, prompt_count: int) -> AnswerType | None:
        """What may answer the prompt, which has so many tokens; None for any text."""
        return answer_referee.answer_type(self.prompt, prompt_count, self.params.max_tokens, self.manifest)


def defend(game: Game, ours: AnyPass) -> Move:
    """The node's move: it shows what it says stands there."""
    if game.stage is Stage.STEPS:
        return Move("open", (ours.roots,))
    step = ours.step(game.step)
    if game.stage is Stage.OPERATORS:
        return Move("open", (step.roots,))
    name = step.layout.operators[game.operator].name
    if game.stage is Stage.VALUES:
        return Move("openValues", (step.leaf(name, game.index),))
    return Move("open", (step.tree(name).opening(game.level, game.index, rounds(game.level)[0]),))


def reveal(game: Game, claim: Claim, tokens: Tokens) -> Move:
    """The node's move where its tokens are asked for."""
    if game.stage is Stage.TOKENS:
        return Move("openTokens", (claim.request, claim.answer, len(tokens.prompt), tokens.upper))
    return Move("openValues", (tokens.part(game.index),))


def attack(game: Game, openings: Openings, ours: AnyPass, claim: Claim) -> Move | None:
    """The challenger's move: the first part that differs from its own, so that all inputs are agreed upon.

    None where nothing differs: the answer is right.
    """
    opened = openings[game.place]
    if game.stage is Stage.STEPS:
        child = _first_difference(ours.roots, opened)
        return picked(opened, len(opened) - 1 if child is None else child)
    step = ours.step(game.step)
    if game.stage is Stage.OPERATORS:
        child = _first_difference(step.roots, opened)
        if child is None:
            return choose(ours, list_tree(opened), claim) if game.step == len(ours.roots) - 1 else None
        return picked(opened, child)
    operator = step.layout.operators[game.operator]
    if game.stage is Stage.NODES:
        own = step.tree(operator.name).opening(game.level, game.index, rounds(game.level)[0])
        child = _first_difference(own, opened)
        return None if child is None else picked(opened, child)
    return _prove(game, openings, ours, claim)


def _first_difference(own: Sequence[bytes], opened: Sequence[bytes]) -> int | None:
    pairs = zip(own, opened, strict=True)
    return next((index for index, (mine, theirs) in enumerate(pairs) if mine != theirs), None)


def picked(opened: Sequence[bytes], child: int) -> Move:
    """The challenger's move that names a child."""
    return Move("pick", (child, opened[child], Tree(opened).proof(child)))


def _prove(game: Game, openings: Openings, ours: AnyPass, claim: Claim) -> Move | None:
    step = ours.step(game.step)
    operator = step.layout.operators[game.operator]
    (theirs,) = openings[game.place]
    mine = step.leaf(operator.name, game.index)
    if mine == theirs:
        return None
    row, chunk = operator.row_and_chunk(game.index)
    element, inputs = 0, list[Input]()
    if len(theirs) == operator.leaf_bytes and row < operator.rows and chunk < operator.row_leaves:
        element = int(np.flatnonzero(numbers(operator, mine) != numbers(operator, theirs))[0])
        column = chunk * operator.leaf_numbers + element
        if element < operator.leaf_numbers and column < operator.columns:
            inputs = element_inputs(game, openings, ours, operator, row, column)
    return Move("prove", (claim.request, claim.answer, ours.tokens.words, theirs, element, inputs))


def numbers(operator: Operator, leaf: bytes) -> Integers:
    """All numbers of a leaf, what fills it up included."""
    if operator.width is Width.LANE:
        return lanes.unpack(leaf)
    return np.frombuffer(leaf, f">i{operator.width.value}").astype(np.int64)


def element_inputs(
    game: Game, openings: Openings, ours: AnyPass, operator: Operator, row: int, column: int
) -> list[Input]:
    """What the referee is shown for one number."""
    steps = list_tree(openings[place(game.case, Stage.STEPS, game.positions)])
    operators = list_tree(openings[place(game.case, Stage.OPERATORS, game.positions, game.step)])
    step = ours.step(game.step)
    found = []
    for wanted in step.layout.reads(operator, row, column, ours.tokens.ids):
        if isinstance(wanted, Number | WholeRow):
            found.append(step.input(wanted, steps, operators))
        elif isinstance(wanted, Entry):
            found.append(entry_input(ours.tokens, wanted.index))
        else:
            found.append(ours.model.input(wanted))
    return found


def choose(ours: AnyPass, operators: Tree, claim: Claim) -> Move | None:
    """Shows that agreed logits choose another token than the answer's, or with another margin. None if they do not."""
    step, params = ours.step(len(ours.roots) - 1), claim.params
    logits = step.matrix("logits")[0]
    position = ours.positions - len(ours.tokens.prompt)

    def logit(token: int) -> Input:
        return step.input(Number("logits", 0, token), operators, operators)

    words = (claim.request, claim.answer, ours.tokens.words, claim.prompt)
    typed = claim.answer_type(len(ours.tokens.prompt))
    if isinstance(typed, Pattern):
        span = pattern_referee.spans(ours.tokens)[position]
        right = pattern_referee.right_token(typed, claim.output[: span.start], position, logits, ours.model.entries)
        if right is None or right == span.token:
            return None
        before = entry_input(ours.tokens, ours.positions - 1) if position else pattern_referee.NOTHING
        inputs = [entry_input(ours.tokens, ours.positions), before, logit(span.token), logit(right)]
        spelled = ours.model.input(Spelling(right))
        return Move("provePattern", (*words, claim.output, right, [*inputs, spelled]))
    if typed is not None:
        two = answer_referee.beaten(typed, claim.output, position, logits)
        return (
            None if two is None else Move("proveMargin", (*words, claim.output, two[1], [logit(each) for each in two]))
        )
    better, chosen = choice(logits, params, position), ours.tokens.ids[ours.positions]
    if better == chosen:
        return None
    known = (min(each, len(logits) - 1) for each in (chosen, better))
    inputs = [entry_input(ours.tokens, ours.positions), *(logit(each) for each in known)]
    if params.temperature:
        inputs.append((claim.header, bytes(32), [], []))
        if params.cutoff:
            inputs.append(step.input(Number("logits.max", 0, 0), operators, operators))
    return Move("proveChoice", (*words, better, inputs))
