"""A party's own computing of an answer: one prefill for all passes, one step's trace for all games at it.

A pass over fewer tokens is the beginning of a pass over more, number for number: whatever a position makes depends on
those before it alone. So the residual stream after each step (int32, positions by width) is computed once for all of an
answer's tokens, and so is a step's trace; a pass takes its rows of them. What is kept are residuals, the roots that
were made, and the few steps looked at last.

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

from oracle.disputes import trace
from oracle.disputes.evidence import ModelExhibits, Step, StepExhibits
from oracle.engines.exact import cpu_kernels
from oracle.engines.exact.cpu_linear import CpuLinear
from oracle.engines.exact.integers import Integers
from oracle.engines.exact.model import Reference, Trace
from oracle.engines.exact.weights import load
from oracle.merkle.tokens import Tokens

Residual = npt.NDArray[np.int32]
KEPT_TRACES, KEPT_STEPS = 2, 6
Made = TypeVar("Made")


class Tracer:
    """Steps of a model's pass, each from the residual stream before it."""

    def __init__(self, path: Path, threads: int | None = None, *, plain: bool = False) -> None:
        """threads: None for as many as there are processors. plain: without the C kernels; the numbers are the same."""
        fast = not plain and cpu_kernels.available()
        self._reference = Reference(load(path), CpuLinear(threads) if fast else None)
        self.architecture = self._reference.architecture

    def residuals(self, tokens: Sequence[int]) -> list[Residual]:
        """After the embedding and after each layer; each (positions, width)."""
        return [residual.astype(np.int32) for residual in self._reference.residuals(tokens)]

    def step(self, step: int, before: Integers | None, tokens: Sequence[int]) -> Trace:
        """Every operator's output, with peaks. before: the residual after the step before; None for the embedding."""
        if before is None:
            return {"embedding": self._reference.embed(tokens)}
        if step <= self.architecture.layers:
            made, before_peaks = self._reference.layer(step - 1, before), before
        else:
            made, before_peaks = self._reference.end(before[-1:]), before[-1:]
        return trace.with_peaks(self.architecture, step, made, before_peaks)


class Whole:
    """What all passes over the beginnings of some tokens share."""

    def __init__(self, tracer: Tracer, ids: Sequence[int]) -> None:
        self.tracer, self._ids = tracer, ids
        self._traces: OrderedDict[Hashable, Trace] = OrderedDict()
        self._steps: OrderedDict[Hashable, StepExhibits] = OrderedDict()

    @cached_property
    def residuals(self) -> list[Residual]:
        """The one prefill."""
        return self.tracer.residuals(self._ids)

    def step(self, layout: Step) -> StepExhibits:
        """One step of the pass over the first `layout.positions` tokens; the last few are kept, with their trees."""
        return _kept(self._steps, (layout.positions, layout.step), KEPT_STEPS, lambda: self._step(layout))

    def _step(self, layout: Step) -> StepExhibits:
        step, positions = layout.step, layout.positions
        before = None if step == 0 else self.residuals[step - 1][:positions].astype(np.int64)
        if step == 0:
            return StepExhibits(layout, {"embedding": self.residuals[0][:positions].astype(np.int64)}, None)
        if step > self.tracer.architecture.layers:
            return StepExhibits(layout, self.tracer.step(step, before, self._ids[:positions]), before)
        made = _kept(self._traces, step, KEPT_TRACES, lambda: self._trace(step))
        return StepExhibits(layout, trace.beginning(layout.operators, made, positions), before)

    def _trace(self, step: int) -> Trace:
        """For all tokens."""
        return self.tracer.step(step, self.residuals[step - 1].astype(np.int64), self._ids)


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
        self, model: ModelExhibits, tracer: Tracer, tokens: Tokens, positions: int, whole: Whole | None = None
    ) -> None:
        """whole: of the answer's other passes; None to compute this one alone."""
        self.model, self.tokens, self.positions = model, tokens, positions
        self._whole = Whole(tracer, tokens.ids[:positions]) if whole is None else whole

    @cached_property
    def roots(self) -> list[bytes]:
        """The first list."""
        a = self._whole.tracer.architecture
        roots = []
        for step, residual in enumerate(self._whole.residuals):
            operator = trace.operators(a, step, self.positions)[-1]
            roots.append(trace.tree(operator, residual[: self.positions].astype(np.int64)).root)
        return [*roots, self.step(a.layers + 1).roots[-1]]

    def step(self, step: int) -> StepExhibits:
        """Its tensors and their trees."""
        return self._whole.step(Step(self._whole.tracer.architecture, step, self.positions, self.model.tensors))
