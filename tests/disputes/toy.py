"""A model so small that thousands of games are played on it: a pass is a few numbers, each made from roots before it.

Whatever a party says about a pass is a `Toy` with lies in it; it computes on from them as honestly as it can.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from disputes.rules import Claim, Node
from eth_hash.auto import keccak

from oracle.disputes.game import Game
from oracle.merkle.tree import depth

STEPS = 4
LEVELS = 2
VOCABULARY = 7


def digest(*parts: Any) -> bytes:
    return keccak(repr(parts).encode())


class ToyReferee:
    """The shape of a pass and what is right."""

    steps = STEPS
    wrapper, context = 1, 1 << 16
    token_bytes = 1

    def token_levels(self, claim: Claim) -> tuple[int, int]:
        """A token is a leaf; at most two levels are opened at once."""
        levels = depth(len(claim.ids))
        return levels, min(levels, LEVELS)

    def token_part(self, claim: Claim, index: int) -> bytes:
        """The leaves below one of the nodes that are shown first."""
        size = 1 << self.token_levels(claim)[1]
        return bytes(claim.ids[index * size : (index + 1) * size]).ljust(size, b"\xff")

    def token_nodes(self, claim: Claim) -> list[Node]:
        levels, below = self.token_levels(claim)
        return [self.token_root(self.token_part(claim, index)) for index in range(1 << (levels - below))]

    def token_root(self, entries: bytes) -> Node:
        return self.root([digest("token", entry) for entry in entries])

    def operators(self, step: int) -> int:
        return 1 if step == 0 else 3

    def depth(self, positions: int, step: int, operator: int) -> int:
        """From a single leaf to three openings."""
        return (positions + 2 * step + 3 * operator) % 6

    def root(self, nodes: Sequence[Node]) -> Node:
        level = list(nodes)
        while len(level) > 1:
            level = [digest(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
        return level[0]

    def leaf(self, values: int) -> Node:
        return digest("leaf", values)

    def number(self, ids: Sequence[int], step: int, before: Node, operators: Sequence[Node], index: int) -> int:
        """What stands in a leaf. before: root of the step before. operators: roots of those before this one."""
        return digest(tuple(ids), step, before, tuple(operators), index)[0]

    def token(self, last: Node) -> int:
        """What the last root chooses."""
        assert isinstance(last, bytes)
        return last[0] % VOCABULARY

    def is_wrong(self, claim: Claim, game: Game, steps: Sequence[Node], operators: Sequence[Node], proof: int) -> bool:
        """proof: the values of the leaf."""
        before = steps[game.step - 1] if game.step else None
        ids = claim.ids[: game.positions]
        return self.number(ids, game.step, before, operators[: game.operator], game.index) != proof

    def is_wrong_choice(self, claim: Claim, game: Game, operators: Sequence[Node], proof: Any) -> bool:
        return self.token(operators[-1]) != claim.ids[game.positions]


@dataclass
class Toy:
    """What a party says the pass over `ids` was. lies: (step, operator, leaf) -> what is added to the number there."""

    ids: tuple[int, ...]
    lies: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    made_up: int = STEPS
    """From this step on roots are made up and nothing stands below them."""
    referee: ToyReferee = field(default_factory=ToyReferee)

    @cached_property
    def _made(self) -> list[list[list[int]]]:
        """Numbers by step, operator and leaf."""
        made: list[list[list[int]]] = []
        before: Node = None
        for step in range(STEPS):
            operators: list[list[int]] = []
            roots: list[Node] = []
            for operator in range(self.referee.operators(step)):
                count = 1 << self.referee.depth(len(self.ids), step, operator)
                leaves = [
                    self.referee.number(self.ids, step, before, roots, index)
                    + self.lies.get((step, operator, index), 0)
                    for index in range(count)
                ]
                operators.append(leaves)
                roots.append(self.referee.root([self.referee.leaf(number) for number in leaves]))
            made.append(operators)
            before = roots[-1]
        return made

    def roots(self, step: int) -> list[Node]:
        """The second list."""
        return [self.referee.root([self.referee.leaf(number) for number in leaves]) for leaves in self._made[step]]

    @cached_property
    def steps(self) -> list[Node]:
        """The first list."""
        true = [self.roots(step)[-1] for step in range(STEPS)]
        return [root if step < self.made_up else digest("made up", root) for step, root in enumerate(true)]

    def nodes(self, step: int, operator: int, level: int, index: int, down: int) -> list[Node]:
        """Those `down` levels below a node."""
        leaves = [self.referee.leaf(number) for number in self._made[step][operator]]
        width = 1 << (level - down)
        first = index << down
        return [self.referee.root(leaves[at * width : (at + 1) * width]) for at in range(first, first + (1 << down))]

    def leaf(self, step: int, operator: int, index: int) -> int:
        return self._made[step][operator][index]

    @property
    def token(self) -> int:
        return self.referee.token(self.steps[-1])


def honest_answer(prompt: tuple[int, ...], count: int) -> Claim:
    """What the model answers."""
    output: tuple[int, ...] = ()
    while len(output) < count:
        output = (*output, Toy(prompt + output).token)
    return Claim(prompt, output)
