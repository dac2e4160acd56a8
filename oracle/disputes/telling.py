"""What the moves of a dispute game say, in words: from events' names and arguments, and the model's architecture.

Whoever tells a game needs no model file. Where the architecture is not known, steps and operators go by number.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from oracle.chain.units import ETHER
from oracle.disputes import graph
from oracle.disputes.game import Stage, numbers, part_place, place
from oracle.disputes.graph import Operator
from oracle.disputes.inputs import rounds
from oracle.engines.exact.architecture import Architecture
from oracle.ids import CaseId
from oracle.merkle.tokens import BELOW, ENTRIES

SHOWN_NUMBERS = 6
PART = ENTRIES << BELOW  # tokens that are shown at once
Args = Mapping[str, Any]
"""Of an event."""


@dataclass(frozen=True)
class Place:
    """Where a game stands: the path that the challenger has picked so far."""

    positions: int
    stage: Stage = Stage.STEPS
    step: int = 0
    number: int = 0
    """The operator's, in its step."""
    operator: Operator | None = None
    """None before one is picked, and where the architecture is not known."""
    level: int = 0
    index: int = 0

    @classmethod
    def opened(cls, positions: int) -> "Place":
        """Where a game begins. positions: 0 where the answer's tokens are not known yet."""
        return cls(positions, Stage.STEPS if positions else Stage.TOKENS)

    def after(self, event: str, args: Args, a: Architecture | None) -> "Place":
        """The place after a move."""
        if event == "PositionPicked":
            return replace(self, positions=args["positions"], stage=Stage.STEPS, index=0, level=0)
        if event != "Picked":
            return self
        stage, child = Stage(args["stage"]), args["child"]
        if stage is Stage.TOKENS or not self.positions:  # the tokens, or more of them
            return replace(self, stage=Stage.VALUES, step=self.step + (stage is Stage.VALUES), index=child)
        if stage is Stage.STEPS:
            return replace(self, stage=Stage.OPERATORS, step=child)
        if stage is Stage.OPERATORS:
            operator = None if a is None else graph.operators(a, self.step, self.positions)[child]
            level = 0 if operator is None else operator.depth
            stage = Stage.NODES if level or operator is None else Stage.VALUES
            return replace(self, stage=stage, number=child, operator=operator, level=level)
        down = rounds(self.level)[0] if self.operator is not None else 0
        level = self.level - down
        stage = Stage.NODES if level else Stage.VALUES
        return replace(self, stage=stage, level=level, index=self.index << down | child)

    def names(self, case: CaseId) -> frozenset[bytes]:
        """What the contract calls it: one of these, since among an answer's tokens it depends on how many there are.

        None where the architecture would be needed and is not known.
        """
        if self.stage is Stage.VALUES and not self.positions:
            return frozenset(part_place(case, self.step, below, self.index) for below in range(BELOW + 1))
        if self.stage in (Stage.NODES, Stage.VALUES) and self.operator is None:
            return frozenset()
        return frozenset([place(case, self.stage, self.positions, self.step, self.number, self.level, self.index)])


def sentence(event: str, args: Args, at: Place, a: Architecture | None) -> str:
    """What a move says. at: the place after it. Raises KeyError for an event that has no sentence."""
    return _SENTENCES[event](args, at, a)


def _shown_list(args: Args, at: Place, a: Architecture | None) -> str:
    count = len(args["nodes"])
    if at.operator is not None:
        return f"shows {_counted(count, 'node')} of {at.operator.name}"
    if at.stage in (Stage.NODES, Stage.VALUES):
        return f"shows {_counted(count, 'node')} of operator {at.number}"
    return f"shows {_counted(count, 'root')}, one {'a step' if at.stage is Stage.STEPS else 'an operator'}"


def _shown_values(args: Args, at: Place, a: Architecture | None) -> str:
    if not at.positions:
        return f"shows these tokens, {len(args['values'])} bytes"
    if at.operator is None:
        return f"shows numbers, {len(args['values'])} bytes"
    shown = list(numbers(at.operator, bytes(args["values"])))
    start = ", ".join(str(number) for number in shown[:SHOWN_NUMBERS])
    more = ", …" if len(shown) > SHOWN_NUMBERS else ""
    return f"shows {_counted(len(shown), 'number')}: {start}{more}"


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


_SENTENCES: Mapping[str, Callable[[Args, Place, Architecture | None], str]] = {
    "GameOpened": lambda args, at, a: (
        f"challenges the token after {args['positions']}" if args["positions"] else "challenges unknown tokens"
    ),
    "TokensOpened": lambda args, at, a: (
        f"shows {_counted(len(args['nodes']), 'node')} of the tree over its tokens;"
        f" the prompt has {_counted(args['promptCount'], 'token')}"
    ),
    "PositionPicked": lambda args, at, a: f"disagrees first about the token after {args['positions']}",
    "ListOpened": _shown_list,
    "Picked": lambda args, at, a: f"disagrees first at {where(at, a)}",
    "ValuesOpened": _shown_values,
    "AnswerKilled": lambda args, at, a: (
        f"has the answer rejected; {args['rewardWei'] / ETHER:g} ether of its bond to {args['prover']}"
    ),
    "GameSettled": lambda args, at, a: f"settles with a share of {args['shareWei'] / ETHER:g} ether",
}


def where(at: Place, a: Architecture | None) -> str:
    """A place in words."""
    if not at.positions:
        return f"tokens {at.index * PART} to {(at.index + 1) * PART - 1}"
    if at.stage in (Stage.STEPS, Stage.OPERATORS):
        last = None if a is None else a.layers + 1
        return f"step {at.step}, {({0: 'the embedding', last: 'the end'}).get(at.step, f'layer {at.step - 1}')}"
    if at.operator is None:
        return f"operator {at.number} of step {at.step}"
    first, last = at.index << at.level, ((at.index + 1) << at.level) - 1
    if at.level == at.operator.depth:
        return f"{at.operator.name}, {at.operator.rows} x {at.operator.columns} numbers"
    return f"leaves {first} to {last} of {at.operator.name}" if last > first else _leaf(at.operator, first)


def _leaf(operator: Operator, index: int) -> str:
    row, chunk = operator.row_and_chunk(index)
    start = chunk * operator.leaf_numbers
    last = min(start + operator.leaf_numbers, operator.columns) - 1
    return f"row {row}, numbers {start} to {last} of {operator.name}"
