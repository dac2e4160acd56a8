"""What a dishonest node says its pass was: one number changed, and everything after it made up."""

from dataclasses import dataclass, field
from functools import cached_property

from eth_hash.auto import keccak

from oracle.disputes.game import AnyPass
from oracle.disputes.graph import BEFORE, Width
from oracle.disputes.inputs import ModelInputs, StepInputs
from oracle.engines.exact.fixed import Integers
from oracle.merkle.tokens import Tokens


@dataclass
class FalsePass:
    """The honest pass up to one number, which it changes; no root behind it is the honest one.

    Whoever compares with the honest pass finds that number first, as with a liar who computes on from the lie.
    """

    honest: AnyPass
    at_step: int
    name: str
    row: int
    column: int
    by: int = 1
    _made: dict[int, StepInputs] = field(default_factory=dict)

    @property
    def model(self) -> ModelInputs:
        return self.honest.model

    @property
    def tokens(self) -> Tokens:
        return self.honest.tokens

    @property
    def positions(self) -> int:
        return self.honest.positions

    @cached_property
    def roots(self) -> list[bytes]:
        true = self.honest.roots
        later = [keccak(root) for root in true[self.at_step + 1 :]]
        return [*true[: self.at_step], self.step(self.at_step).roots[-1], *later]

    def step(self, step: int) -> StepInputs:
        if step != self.at_step:
            return self.honest.step(step)
        if step not in self._made:
            true = self.honest.step(step)
            operators = true.layout.operators
            values = {operator.name: true.matrix(operator.name).copy() for operator in operators}
            lie = true.layout.operator(self.name)
            largest = 32767 if lie.width is Width.LANE else 127 if lie.width is Width.SHIFT else 2**31 - 1
            number = int(values[self.name][self.row, self.column])
            values[self.name][self.row, self.column] += self.by if number + self.by <= largest else -self.by
            last = operators[-1].name
            if last != self.name:
                values[last][0, 0] += 1 if values[last][0, 0] < 2**31 - 1 else -1
            before = None if step == 0 else true.matrix(BEFORE)
            self._made[step] = Matrices(true.layout, values, before)
        return self._made[step]


class Matrices(StepInputs):
    """A step's values that are matrices already."""

    def matrix(self, name: str) -> Integers:
        if name == BEFORE:
            return super().matrix(name)
        values: Integers = self._values[name]
        return values
