"""A party's own computing of an answer: one prefill for all passes, one step's trace for all games at it.

A pass over fewer tokens is the beginning of a pass over more, number for number: whatever a position makes depends on
those before it alone. So the residual stream after each step (int32, positions by width) is computed once for all of an
answer's tokens, and so is a step's trace; a pass takes its rows of them, and its trees are beginnings of theirs. What
is kept are residuals, trees up to a limit, and the few steps looked at last.

The reference computes, so that what is defended or attacked is the specification itself; its matrix products are made
by the C kernels where there are any.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from oracle.disputes import graph
from oracle.disputes.graph import BEFORE, Operator
from oracle.disputes.inputs import ModelInputs, Step, StepInputs
from oracle.engines.base import the_job
from oracle.engines.exact import cpu_kernels
from oracle.engines.exact.constants import INT32
from oracle.engines.exact.cpu_linear import CpuLinear
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.model import Reference, Trace
from oracle.engines.exact.weights import load
from oracle.errors import JobCancelled
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Beginning, Tree

Residual = npt.NDArray[np.int32] | Integers
"""Of int32 where its numbers fit."""
KEPT_TRACES, KEPT_STEPS = 2, 6
KEPT_LEAVES = 1 << 22
"""Of trees: 256 MiB."""
RESIDUALS = ("embedding", "residual")
Made = TypeVar("Made")


class Tracer:
    """Steps of a model's pass, each from the residual stream before it."""

    def __init__(self, path: Path, threads: int | None = None, *, plain: bool = False) -> None:
        """threads: None for as many as there are processors. plain: without the C kernels; the numbers are the same."""
        kernels = not plain and cpu_kernels.available()
        self._reference = Reference(load(path), CpuLinear(threads) if kernels else None)
        self.architecture = self._reference.architecture

    def residuals(self, tokens: Sequence[int]) -> list[Residual]:
        """After the embedding and after each layer; each (positions, width). Tells the job how far it is.

        Raises JobCancelled.
        """
        found = list[Residual]()
        for residual in self._reference.residuals(tokens):
            found.append(_narrow(residual))
            _tell("prefill", len(found), self.architecture.layers + 1)
        return found

    def step(self, step: int, before: Integers | None, tokens: Sequence[int]) -> Trace:
        """Every operator's output, with peaks. before: the residual after the step before; None for the embedding."""
        if before is None:
            return {"embedding": self._reference.embed(tokens)}
        if step <= self.architecture.layers:
            made, before_peaks = self._reference.layer(step - 1, before), before
        else:
            made, before_peaks = self._reference.end(before[-1:]), before[-1:]
        return graph.with_peaks(self.architecture, step, made, before_peaks)


def _tell(what: str, done: int, total: int) -> None:
    """Raises JobCancelled."""
    job = the_job()
    if not job.wanted():
        raise JobCancelled("nobody wants what is traced any more")
    job.told(what, done, total)


def _narrow(residual: Integers) -> Residual:
    return residual.astype(np.int32) if np.abs(residual).max(initial=0) <= INT32 else residual


class Whole:
    """What all passes over the beginnings of some tokens share."""

    def __init__(self, tracer: Tracer, ids: Sequence[int]) -> None:
        self.tracer, self.ids = tracer, ids
        self._traces: OrderedDict[Hashable, Trace] = OrderedDict()
        self._steps: OrderedDict[Hashable, StepInputs] = OrderedDict()
        self._trees: OrderedDict[Hashable, Tree] = OrderedDict()

    @cached_property
    def residuals(self) -> list[Residual]:
        """The one prefill."""
        return self.tracer.residuals(self.ids)

    def step(self, layout: Step) -> StepInputs:
        """One step of the pass over the first `layout.positions` tokens; the last few are kept."""
        return _kept(self._steps, (layout.positions, layout.step), KEPT_STEPS, lambda: self._step(layout))

    def _step(self, layout: Step) -> StepInputs:
        step, positions = layout.step, layout.positions
        if step <= self.tracer.architecture.layers:
            return _Beginning(layout, self)
        before = self.residuals[step - 1][:positions].astype(np.int64)
        return StepInputs(layout, self.tracer.step(step, before, self.ids[:positions]), before)

    def matrix(self, step: int, operator: Operator, positions: int) -> Integers:
        """An operator's output in the pass over so many positions; the residual stream is there without a trace."""
        if operator.name in RESIDUALS:
            return self.residuals[step][:positions].astype(np.int64)
        made = _kept(self._traces, step, KEPT_TRACES, lambda: self._trace(step))
        return graph.matrix(operator, graph.beginning([operator], made, positions))

    def _trace(self, step: int) -> Trace:
        """A step's trace over all tokens."""
        return self.tracer.step(step, self.residuals[step - 1].astype(np.int64), self.ids)

    def tree(self, step: int, operator: Operator) -> Tree:
        """operator: of a pass over some of the tokens."""
        positions = graph.longest(operator, len(self.ids))
        key = step, operator.name, positions
        if key not in self._trees:
            self._trees[key] = self._hashed(step, operator.name, positions)
            while len(self._trees) > 1 and sum(tree.count for tree in self._trees.values()) > KEPT_LEAVES:
                self._trees.popitem(last=False)
        self._trees.move_to_end(key)
        return Beginning(self._trees[key], operator.rows << operator.row_depth)

    def _hashed(self, step: int, name: str, positions: int) -> Tree:
        layout = graph.operators(self.tracer.architecture, step, positions)
        operator = next(each for each in layout if each.name == name)
        return graph.tree(operator, self.matrix(step, operator, positions))


class _Beginning(StepInputs):
    """One step of a pass, as the beginning of that over all tokens."""

    def __init__(self, layout: Step, whole: Whole) -> None:
        super().__init__(layout, {}, None)
        self._whole = whole

    def matrix(self, name: str) -> Integers:
        return self._whole.matrix(*self._named(name), self.layout.positions)

    def tree(self, name: str) -> Tree:
        if name not in self._trees:
            self._trees[name] = self._whole.tree(*self._named(name))
        return self._trees[name]

    def _named(self, name: str) -> tuple[int, Operator]:
        """The step that an operator is of, and the operator: what was before is the last of its own step."""
        if name != BEFORE:
            return self.layout.step, self.layout.operator(name)
        step = self.layout.step - 1
        return step, graph.operators(self.layout.architecture, step, self.layout.positions)[-1]


def _kept(made: OrderedDict[Hashable, Made], key: Hashable, most: int, make: Callable[[], Made]) -> Made:
    if key in made:
        made.move_to_end(key)
        return made[key]
    while len(made) >= most:
        made.popitem(last=False)  # the memory first
    made[key] = make()
    return made[key]


class Pass:
    """The pass over the first `positions` tokens of an answer."""

    def __init__(
        self, model: ModelInputs, tracer: Tracer, tokens: Tokens, positions: int, whole: Whole | None = None
    ) -> None:
        """whole: of the answer's other passes; None to compute this one alone."""
        self.model, self.tokens, self.positions = model, tokens, positions
        self._whole = Whole(tracer, tokens.ids[:positions]) if whole is None else whole

    @cached_property
    def roots(self) -> list[bytes]:
        """The first list."""
        a, whole = self._whole.tracer.architecture, self._whole
        last = [graph.operators(a, step, self.positions)[-1] for step in range(a.layers + 1)]
        roots = list[bytes]()
        for step, operator in enumerate(last):
            roots.append(whole.tree(step, operator).root)
            _tell("trees", len(roots), len(last))
        return [*roots, self.step(a.layers + 1).roots[-1]]

    def step(self, step: int) -> StepInputs:
        """Its tensors and their trees."""
        return self._whole.step(Step(self._whole.tracer.architecture, step, self.positions, self.model.tensors))
