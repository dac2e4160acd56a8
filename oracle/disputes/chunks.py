"""Parts of a pass that other machines have traced, on demand: a fleet's workers hold the tensors, a node asks for what
a move needs.

The lists of roots come first, from two machines that must say the same. Everything else comes from the first of them,
in pieces with a path to a root that is known by then, and counts only if it hashes to it. A machine that shows anything
else, is late or is gone is asked no more about that answer, and the next one is. So machines that lie can make a move
fail to be found, in a time that is known, never a wrong one; the node then computes by itself.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import structlog

from oracle.disputes.game import numbers
from oracle.disputes.graph import BEFORE, Operator, operators, steps
from oracle.disputes.inputs import MAX_LEVELS, Input, ModelInputs, Number, Step, StepInputs, WholeRow
from oracle.disputes.passes import Pass, Tracer, Whole
from oracle.engines.base import Traces
from oracle.engines.exact.fixed import Integers
from oracle.engines.worker_wire import BadMessage, bytes_from_wire
from oracle.errors import BadProof, FleetUnavailable, OracleError
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import HASH_BYTES, Tree, leaf_hash, node_hash

KEPT_ANSWERS = 2
"""Of those that were asked about last: what is kept of each, `Whole` says."""

MOST_FAILED = 3
"""Machines that may fail a node over one answer, before it asks nobody any more about that."""
QUICK = 1 / 2
"""Of the time for a question, what each may take. What more it takes, all questions about an answer share."""

Question = dict[str, Any]
T = TypeVar("T")
log = structlog.get_logger(__name__)


# -- the machine that computes


class Shelf:
    """What one machine has traced of late. Thread-safe: one question after the other."""

    def __init__(self, path: Path, threads: int | None = None, verify: Callable[[], None] = lambda: None) -> None:
        """path: the model's file. verify: whether it still is that; raises BadModelFile."""
        self._path, self._threads, self._verify = path, threads, verify
        self._answers: OrderedDict[tuple[int, ...], Whole] = OrderedDict()
        self._using = threading.Lock()

    @cached_property
    def _model(self) -> ModelInputs:
        return ModelInputs(self._path)

    @cached_property
    def _tracer(self) -> Tracer:
        return Tracer(self._path, self._threads)

    def answer(self, question: Question) -> Any:
        """A list of roots, nodes with their path, or leaves with theirs, in hexadecimal.

        Raises ValueError, TypeError, LookupError for what is no question, BadModelFile, JobCancelled.
        """
        with self._using:
            self._verify()
            ids, positions = self._ids(question["tokens"]), question["positions"]
            if not 0 < positions <= len(ids):
                raise ValueError(f"no pass over {positions} of {len(ids)} tokens")
            ours = Pass(self._model, self._tracer, Tokens(ids, (), ()), positions, self._whole(ids))
            if question["of"] == "steps":
                return _hex(ours.roots)
            step = question["step"]
            if not 0 <= step < steps(self._tracer.architecture):
                raise IndexError(f"no step {step}")
            if question["of"] == "operators":
                return _hex(ours.step(step).roots)
            return _piece(ours.step(step), question)

    def _ids(self, tokens: Any) -> tuple[int, ...]:
        a = self._tracer.architecture
        if not isinstance(tokens, list) or not 0 < len(tokens) <= a.context:
            raise ValueError("no tokens, or more than the context holds")
        if not all(type(token) is int and 0 <= token < a.vocabulary for token in tokens):
            raise ValueError("a token that is none of the vocabulary's")
        return tuple(tokens)

    def _whole(self, ids: tuple[int, ...]) -> Whole:
        if ids not in self._answers:
            while len(self._answers) >= KEPT_ANSWERS:
                self._answers.popitem(last=False)
            self._answers[ids] = Whole(self._tracer, ids)
        self._answers.move_to_end(ids)
        return self._answers[ids]


def _piece(step: StepInputs, question: Question) -> list[list[str]]:
    operator = step.layout.operator(question["name"])
    if operator.name == BEFORE:
        raise ValueError("what was before is of the step before")
    tree, level, index = step.tree(operator.name), question["level"], question["index"]
    path = [tree.node(each, (index >> (each - level)) ^ 1) for each in range(level, tree.depth)]
    if question["of"] == "nodes":
        down = question["down"]
        if not 0 <= down <= min(MAX_LEVELS, level):
            raise ValueError(f"no {down} levels at once")
        return [_hex(tree.opening(level, index, down)), _hex(path)]
    if question["of"] != "leaves" or level not in (0, operator.row_depth):
        raise ValueError("neither a leaf nor a row of them")
    chunks = operator.row_leaves if level else 1
    return [[step.leaf(operator.name, (index << level) + chunk).hex() for chunk in range(chunks)], _hex(path)]


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [each.hex() for each in hashes]


# -- the node that asks


class Far:
    """Passes over the beginnings of an answer's tokens, as two machines have traced them.

    Whatever is asked here raises errors of the fleet, and BadProof for what does not fit.
    """

    def __init__(
        self, model: ModelInputs, ids: Sequence[int], traces: Traces, *, prefill_seconds: float, limit_seconds: float
    ) -> None:
        """limit_seconds: for a question, of which each may take QUICK; prefill_seconds: for one that needs a prefill.
        What questions take beyond QUICK may not be more than these in all."""
        self.model, self._ids = model, [int(each) for each in ids]
        self._traces, self._quick = traces, limit_seconds * QUICK
        self._spare = {True: prefill_seconds, False: limit_seconds}
        """Seconds that are left, by whether a question may need a prefill."""
        self._failed: set[str] = set()
        """Machines that are asked no more."""
        self._digest = hashlib.sha256(repr(self._ids).encode()).digest()

    def prefill(self) -> None:
        """Has the machines make the part that all passes share."""
        self.over(Tokens(tuple(self._ids), (), ()), len(self._ids)).roots  # noqa: B018

    def over(self, tokens: Tokens, positions: int) -> "FarPass":
        return FarPass(self, tokens, positions)

    def agreed(self, count: int, question: Question) -> list[bytes]:
        """Roots of which two machines say the same."""
        said: dict[str, list[bytes]] = {}
        while len(said) < 2:
            others = [worker for worker in self._machines() if worker not in said][: 2 - len(said)]
            if len(said) + len(others) < 2:
                raise BadProof("fewer than two workers trace for disputes, and nobody is believed alone")
            said |= self._asked(others, question, lambda answer: hashes(answer, count))
        (one, roots), (other, its_roots) = said.items()
        if roots != its_roots:
            raise BadProof(f"two workers disagree about a pass: {one} and {other}")
        return roots

    def piece(self, question: Question, take: Callable[[Any, Any], T]) -> T:
        """What stands somewhere, of the first machine that shows it. take: of a piece and its path; raises BadProof or
        BadMessage where they are not what they should be."""

        def taken(answer: Any) -> T:
            if not isinstance(answer, list) or len(answer) != 2:
                raise BadProof("neither a piece nor its path")
            return take(*answer)

        while True:
            machines = self._machines()[:1]
            if not machines:
                raise BadProof("no worker traces for disputes any more")
            for found in self._asked(machines, question, taken).values():
                return found

    def _machines(self) -> list[str]:
        if len(self._failed) >= MOST_FAILED:
            raise BadProof(f"{len(self._failed)} workers failed to trace an answer")
        return [worker for worker in self._traces.tracers(self._digest) if worker not in self._failed]

    def _asked(self, workers: Sequence[str], question: Question, take: Callable[[Any], T]) -> dict[str, T]:
        """What machines say that are asked at once. One of which nothing can be taken is asked no more."""
        whole = question["of"] == "steps"
        limit, begun = self._quick + self._spare[whole], time.monotonic()

        def ask(worker: str) -> T | OracleError | BadMessage:
            try:
                return take(self._traces.traced(worker, {"tokens": self._ids, **question}, limit))
            except FleetUnavailable:
                raise
            except (OracleError, BadMessage) as error:
                return error

        if len(workers) == 1:
            answers = [ask(workers[0])]
        else:
            with ThreadPoolExecutor(len(workers)) as threads:
                answers = [*threads.map(ask, workers)]
        self._spare[whole] -= min(self._spare[whole], max(0.0, time.monotonic() - begun - self._quick))
        found: dict[str, T] = {}
        for worker, answer in zip(workers, answers, strict=True):
            if isinstance(answer, OracleError | BadMessage):
                self._failed.add(worker)
                log.warning("a worker failed to trace an answer", worker=worker, of=question["of"], reason=str(answer))
            else:
                found[worker] = answer
        return found


class FarPass:
    """`game.AnyPass`"""

    def __init__(self, far: Far, tokens: Tokens, positions: int) -> None:
        self.model, self.tokens, self.positions = far.model, tokens, positions
        self._far = far
        self._steps: dict[int, FarStep] = {}

    @cached_property
    def roots(self) -> list[bytes]:
        return self._far.agreed(steps(self.model.architecture), {"of": "steps", "positions": self.positions})

    def step(self, step: int) -> "FarStep":
        if step not in self._steps:
            layout = Step(self.model.architecture, step, self.positions, self.model.tensors)
            self._steps[step] = FarStep(layout, self._far, self.roots)
        return self._steps[step]


class FarStep(StepInputs):
    """One step of it."""

    def __init__(self, layout: Step, far: Far, roots: Sequence[bytes]) -> None:
        """roots: of the pass' steps."""
        super().__init__(layout, {}, None)
        self._far, self._of = far, roots
        self._rows: dict[tuple[str, int], list[bytes]] = {}

    @cached_property
    def roots(self) -> list[bytes]:
        question = {"of": "operators", "positions": self.layout.positions, "step": self.layout.step}
        found = self._far.agreed(len(self.layout.operators), question)
        if found[-1] != self._of[self.layout.step]:
            raise BadProof("a step's last operator is not what the pass has there")
        return found

    def matrix(self, name: str) -> Integers:
        operator = self.layout.operator(name)
        rows = [[numbers(operator, leaf) for leaf in self._row(name, row)] for row in range(operator.rows)]
        return np.stack([np.concatenate(row)[: operator.columns] for row in rows])

    def tree(self, name: str) -> "FarTree":
        if name not in self._trees:
            self._trees[name] = FarTree(self._root(name), self.layout.operator(name), self._asking(name))
        found = self._trees[name]
        assert isinstance(found, FarTree)
        return found

    def leaf(self, name: str, index: int) -> bytes:
        operator = self.layout.operator(name)
        row, chunk = operator.row_and_chunk(index)
        if row >= operator.rows or chunk >= operator.row_leaves:
            return bytes(HASH_BYTES)
        if (name, row) in self._rows:
            return self._rows[name, row][chunk]
        return self.tree(name).leaves_at(0, index, 1)[0]

    def input(self, wanted: Number | WholeRow, steps: Tree, operators: Tree) -> Input:
        if isinstance(wanted, WholeRow):
            self._row(wanted.name, wanted.row)
        return super().input(wanted, steps, operators)

    def _row(self, name: str, row: int) -> list[bytes]:
        if (name, row) not in self._rows:
            operator = self.layout.operator(name)
            self._rows[name, row] = self.tree(name).leaves_at(operator.row_depth, row, operator.row_leaves)
        return self._rows[name, row]

    def _root(self, name: str) -> bytes:
        if name == BEFORE:
            return self._of[self.layout.step - 1]
        return self.roots[self.layout.operators.index(self.layout.operator(name))]

    def _asking(self, name: str) -> "Asking":
        step, of = self.layout.step, name
        if name == BEFORE:
            step -= 1
            of = operators(self.layout.architecture, step, self.layout.positions)[-1].name
        about = {"positions": self.layout.positions, "step": step, "name": of}
        return Asking(self._far, about)


class Asking:
    """For pieces of one tensor."""

    def __init__(self, far: Far, about: Mapping[str, Any]) -> None:
        self._far, self._about = far, about

    def __call__(self, take: Callable[[Any, Any], T], of: str, level: int, index: int, **more: int) -> T:
        return self._far.piece({"of": of, **self._about, "level": level, "index": index, **more}, take)


class FarTree(Tree):
    """A tree of which the root is known, and each node and leaf once it was asked for and hashed up to it."""

    def __init__(self, root: bytes, operator: Operator, ask: Asking) -> None:
        self._operator, self._ask = operator, ask
        self.count, self.depth = operator.rows << operator.row_depth, operator.depth
        self._known = {(self.depth, 0): root}

    @property
    def leaves(self) -> bytes:
        raise NotImplementedError("nobody holds all leaves here")

    def node(self, level: int, index: int) -> bytes:
        if not 0 <= level <= self.depth or not 0 <= index < 1 << (self.depth - level):
            raise IndexError(f"no node {index} at level {level} of a tree of depth {self.depth}")
        if (level, index) not in self._known:
            self._opened(level, index, 0)
        return self._known[level, index]

    def opening(self, level: int, index: int, down: int) -> list[bytes]:
        return self._opened(level, index, down)

    def leaves_at(self, level: int, index: int, count: int) -> list[bytes]:
        """The first `count` leaves below a node, all that are not empty."""

        def take(found: Any, path: Any) -> list[bytes]:
            if not isinstance(found, list) or len(found) != count:
                raise BadProof(f"not the {count} leaves that there are")
            leaves = [bytes_from_wire(leaf) for leaf in found]
            if any(len(leaf) != self._operator.leaf_bytes for leaf in leaves):
                raise BadProof("a leaf of another size")
            self._climb(level, index, Tree(leaf_hash(leaf) for leaf in leaves).root, path)
            return leaves

        return self._ask(take, "leaves", level, index)

    def _opened(self, level: int, index: int, down: int) -> list[bytes]:
        """Nodes so many levels below one."""

        def take(found: Any, path: Any) -> list[bytes]:
            nodes = hashes(found, 1 << down)
            self._climb(level, index, Tree(nodes).root, path)
            self._known |= {(level - down, (index << down) + child): node for child, node in enumerate(nodes)}
            return nodes

        return self._ask(take, "nodes", level, index, down=down)

    def _climb(self, level: int, index: int, node: bytes, path: Any) -> None:
        """Takes a node and its path in if they hash to what is known. Raises BadProof."""
        new: dict[tuple[int, int], bytes] = {}
        for sibling in hashes(path, self.depth - level):
            new |= {(level, index): node, (level, index ^ 1): sibling}
            node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
            level, index = level + 1, index >> 1
        if node != self._known[self.depth, 0]:
            raise BadProof("a piece of a tensor that is not in it")
        self._known |= new


def hashes(data: Any, count: int) -> list[bytes]:
    """Raises BadMessage, BadProof."""
    if not isinstance(data, list) or len(data) != count:
        raise BadProof(f"expected {count} hashes")
    found = [bytes_from_wire(each) for each in data]
    if any(len(each) != HASH_BYTES for each in found):
        raise BadProof("a hash has 32 bytes")
    return found
