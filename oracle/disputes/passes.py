"""A party's own computing of a disputed pass: one prefill for the first list, then one step's trace at a time.

What is kept is the residual stream after each step (int32, positions by width) and the
step that is looked at. The reference computes it, so that what is defended or attacked is the specification itself; its
matrix products are made by the C kernels where there are any.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oracle.disputes import trace
from oracle.disputes.evidence import ModelExhibits, Step, StepExhibits
from oracle.disputes.tokens import Tokens
from oracle.engines.exact import fast_kernels
from oracle.engines.exact.fast_linear import FastLinear
from oracle.engines.exact.integers import Integers
from oracle.engines.exact.model import Reference, Trace
from oracle.engines.exact.weights import load

Residual = npt.NDArray[np.int32]


class Tracer:
    """Steps of a model's pass, each from the residual stream before it."""

    def __init__(self, path: Path, threads: int | None = None, *, plain: bool = False) -> None:
        """threads: None for as many as there are processors. plain: without the C kernels; the numbers are the same."""
        fast = not plain and fast_kernels.available()
        self._reference = Reference(load(path), FastLinear(threads) if fast else None)
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


class Pass:
    """The pass over the first `positions` tokens of an answer."""

    def __init__(self, model: ModelExhibits, tracer: Tracer, tokens: Tokens, positions: int) -> None:
        self.model, self.tokens, self.positions = model, tokens, positions
        self._tracer = tracer
        self._step: tuple[int, StepExhibits] | None = None

    @cached_property
    def _residuals(self) -> list[Residual]:
        return self._tracer.residuals(self.tokens.ids[: self.positions])

    @cached_property
    def roots(self) -> list[bytes]:
        """The first list."""
        a = self._tracer.architecture
        roots = []
        for step, residual in enumerate(self._residuals):
            operator = trace.operators(a, step, self.positions)[-1]
            roots.append(trace.tree(operator, residual.astype(np.int64)).root)
        return [*roots, self.step(a.layers + 1).roots[-1]]

    def step(self, step: int) -> StepExhibits:
        """The last one asked for is kept."""
        if self._step is None or self._step[0] != step:
            self._step = None  # the memory first
            a = self._tracer.architecture
            before = None if step == 0 else self._residuals[step - 1].astype(np.int64)
            layout = Step(a, step, self.positions, self.model.tensors)
            values = self._tracer.step(step, before, self.tokens.ids[: self.positions])
            self._step = (step, StepExhibits(layout, values, before))
        return self._step[1]
