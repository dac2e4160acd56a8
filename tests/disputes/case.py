"""A random model, its honest trace, and how to ask the referee about one number of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from disputes.stand import Stand

from oracle.disputes import graph
from oracle.disputes.graph import Operator
from oracle.disputes.inputs import Entry, ModelInputs, Number, Step, StepInputs, WholeRow, entry_input, list_tree
from oracle.engines.exact.architecture import Architecture
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.model import FullTrace, Reference, Trace
from oracle.engines.exact.weights import load
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Tree

PROMPT, OUTPUT = (1, 3, 4, 1, 5, 6), (9, 2, 2)
POSITIONS = 8


def step_trace(a: Architecture, full: FullTrace, step: int) -> Trace:
    """The outputs of one step; the end's of the last position alone."""
    if step == 0:
        return {"embedding": full.embedding}
    before = residual(full, step - 1)
    if step <= len(full.layers):
        return graph.with_peaks(a, step, full.layers[step - 1], before)
    return graph.with_peaks(a, step, {name: values[-1:] for name, values in full.end.items()}, before[-1:])


def residual(full: FullTrace, step: int) -> Integers:
    """The residual stream after the embedding or a layer. (p, width)."""
    return full.embedding if step == 0 else full.layers[step - 1]["residual"]


@dataclass
class Case:
    """A model, its trace, and how to ask the referee about one number."""

    stand: Stand
    model_id: bytes
    model: ModelInputs
    steps: list[StepInputs]
    tokens: Tokens

    @classmethod
    def of(cls, stand: Stand, path: Path) -> "Case":
        """Registers the model and traces it over POSITIONS."""
        manifest = stand.register(path)
        weights = load(path)
        a, full = weights.architecture, Reference(weights).trace((PROMPT + OUTPUT)[:POSITIONS])
        model = ModelInputs(path)
        steps = [
            StepInputs(
                Step(a, step, POSITIONS, model.tensors),
                step_trace(a, full, step),
                None if step == 0 else residual(full, step - 1),
            )
            for step in range(graph.steps(a))
        ]
        return cls(stand, manifest.model_id, model, steps, Tokens(PROMPT, OUTPUT, (1, 2, 2)))

    @property
    def list_of_steps(self) -> Tree:
        return list_tree([step.roots[-1] for step in self.steps])

    def inputs(self, step: int, operator: Operator, row: int, column: int) -> list[Any]:
        view = self.steps[step]
        found = []
        for wanted in view.layout.reads(operator, row, column, self.tokens.ids):
            if isinstance(wanted, Number | WholeRow):
                found.append(view.input(wanted, self.list_of_steps, list_tree(view.roots)))
            elif isinstance(wanted, Entry):
                found.append(entry_input(self.tokens, wanted.index))
            else:
                found.append(self.model.input(wanted))
        return found

    def ask(self, step: int, name: str, leaf: int, values: bytes, element: int, inputs: list[Any]) -> Any:
        view = self.steps[step]
        place = (POSITIONS, step, view.layout.operators.index(view.layout.operator(name)), leaf)
        roots = (self.list_of_steps.root, list_tree(view.roots).root)
        return self.stand.referee.functions.isWrong(
            self.model_id, place, roots, self.tokens.words, len(self.tokens.output), values, element, inputs
        )
