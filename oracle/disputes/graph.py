"""What a forward pass over p positions commits to when somebody disputes it: which tensors, in which order and layout.

Two levels of lists. The steps: embedding, each layer, the end; a step's root is that of its last operator's output (the
residual stream, or the last position's largest logit). A step's operators: every tensor that it makes, in order of
computing, each with the names of those it is computed from; "residual.before" is the step before. So whoever finds the
first root that differs from its own agrees with every input of the operator behind it. All of it is arithmetic on the
architecture and p; no party supplies a program.

A tensor is a matrix in the orientation that keeps proofs short: whatever a reduction reads is one row (attention values
are transposed, one row a number of a head). A row is cut into leaves of 256 numbers (fewer where rows are shorter), the
last filled with zeros, and padded to a power of two of leaves with empty ones, so that a row is a subtree and its proof
has one hash for each level above it. Where a position sees no score or share, 0 stands.

Rows follow positions, and those of scores and shares are whole leaves however many positions there are. So the tree of
a pass is the beginning of the trees of longer passes, and whoever plays games at many positions hashes each number
once: all but values, whose rows grow, and scores and shares once for every 256 positions (`longest`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from oracle.disputes import lanes
from oracle.engines.exact.architecture import Architecture
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.model import Trace
from oracle.merkle.tree import Tree, depth, empty, leaf_hash

LEAF_NUMBERS = 256
BEFORE = "residual.before"
SEEN = ("score", "share")
"""Operators with a row for each position and head, and in it a number for each position."""


class Width(Enum):
    """How a number lies in a leaf, and the bytes it takes; big-endian."""

    SHIFT = 1
    LANE = 2  # a mantissa, packed by 32 as `lanes.py` says
    INT32 = 4
    INT64 = 8


@dataclass(frozen=True)
class Operator:
    """One tensor and where it comes from."""

    name: str
    """As in `model.Trace`."""
    inputs: tuple[str, ...]
    rows: int
    columns: int
    width: Width = Width.INT32
    transposed: bool = False
    """The trace holds columns first."""

    @property
    def leaf_numbers(self) -> int:
        return min(self.columns, LEAF_NUMBERS)

    @property
    def leaf_bytes(self) -> int:
        numbers = self.leaf_numbers
        return -(-numbers // lanes.BLOCK) * lanes.BLOCK * 2 if self.width is Width.LANE else numbers * self.width.value

    @property
    def row_leaves(self) -> int:
        """Leaves that hold numbers of a row."""
        return -(-self.columns // self.leaf_numbers)

    @property
    def row_depth(self) -> int:
        """Levels from leaves to a row's subtree."""
        return depth(self.row_leaves)

    @property
    def depth(self) -> int:
        return self.row_depth + depth(self.rows)

    def check(self, row: int, column: int) -> None:
        """Raises IndexError unless there is a number. What fills up a leaf, a row or the tree is none."""
        if not 0 <= row < self.rows or not 0 <= column < self.columns:
            raise IndexError(f"{self.name} has no number at ({row}, {column})")

    def leaf_of(self, row: int, column: int) -> int:
        """Index in the tree of the leaf with a number. Raises IndexError."""
        self.check(row, column)
        return (row << self.row_depth) + column // self.leaf_numbers

    def row_and_chunk(self, leaf: int) -> tuple[int, int]:
        """The row that a leaf is in, and which of its leaves it is; either may be beyond what there is."""
        return leaf >> self.row_depth, leaf & ((1 << self.row_depth) - 1)


def steps(a: Architecture) -> int:
    """How many roots the first list has."""
    return a.layers + 2


def operators(a: Architecture, step: int, positions: int) -> list[Operator]:
    """The second list. step: 0 for the embedding, 1 to `a.layers` for layers, then the end. Raises IndexError."""
    if not 0 <= step < steps(a):
        raise IndexError(f"no step {step} among {steps(a)}")
    if positions < 1:
        raise ValueError("a pass has at least one position")
    if step == 0:
        return [Operator("embedding", (), positions, a.width, Width.INT64)]
    if step == a.layers + 1:
        return [*_norm_row("output_norm", BEFORE, 1, a.width), *_logits(a)]
    return [*_attention(a, positions), *_feed_forward(a, positions)]


def _attention(a: Architecture, p: int) -> Iterator[Operator]:
    width, queries, keys = a.width, a.heads * a.head_width, a.kv_heads * a.head_width
    yield from _norm_row("attn_norm", BEFORE, p, width)
    yield Operator("q", _row("attn_norm"), p, queries)
    yield Operator("k", _row("attn_norm"), p, keys)
    yield Operator("v", _row("attn_norm"), keys, p, transposed=True)
    yield from _rotated("q", p, a.heads, a)
    yield from _rotated("k", p, a.kv_heads, a)
    seen = _leaves(p) * LEAF_NUMBERS
    yield Operator("score", (*_row("q_rope"), *_row("k_rope")), p * a.heads, seen)
    yield Operator("score.max", ("score",), p, a.heads, transposed=True)
    yield Operator("share", ("score", "score.max"), p * a.heads, seen)
    yield Operator("share.sum", ("share",), p, a.heads, Width.INT64, transposed=True)
    yield Operator("context", ("share", "v", "share.sum"), p, queries)
    yield from _quantized("context", p, queries)
    yield Operator("attn_output", _row("context"), p, width, Width.INT64)
    yield from _added("attn", BEFORE, "attn_output", p, a)


def _feed_forward(a: Architecture, p: int) -> Iterator[Operator]:
    yield from _norm_row("ffn_norm", "attn_residual", p, a.width)
    yield Operator("gate", _row("ffn_norm"), p, a.hidden)
    yield Operator("up", _row("ffn_norm"), p, a.hidden)
    yield Operator("act", ("gate", "up"), p, a.hidden, Width.INT64)
    yield from _quantized("act", p, a.hidden)
    yield Operator("down", _row("act"), p, a.width, Width.INT64)
    yield from _added("ffn", "attn_residual", "down", p, a)


def _added(block: str, before: str, made: str, p: int, a: Architecture) -> Iterator[Operator]:
    """The residual stream after a block's output, which is normalised where the family does."""
    if a.is_gemma:
        of, made = made, f"{block}_post_norm"
        yield from _norm(made, of, p, a.width, width=Width.INT64)
    name = "attn_residual" if block == "attn" else "residual"
    yield Operator(name, (before, made), p, a.width, Width.INT64)


def _logits(a: Architecture) -> Iterator[Operator]:
    """With the largest logit, by leaves and of all: which tokens may be sampled depends on it."""
    yield Operator("logits", _row("output_norm"), 1, a.vocabulary)
    yield Operator("logits.peak", ("logits",), 1, _leaves(a.vocabulary), Width.INT64)
    yield Operator("logits.max", ("logits.peak",), 1, 1)


def _leaves(columns: int) -> int:
    return -(-columns // LEAF_NUMBERS)


def _row(name: str) -> tuple[str, str]:
    return name + ".shift", name + ".mantissa"


def _quantized(name: str, rows: int, columns: int, of: str | None = None, per_row: int = 1) -> Iterator[Operator]:
    """The largest magnitude of each 256 numbers, shifts, mantissas.

    Shifts have a row for each position: one number, or one for each of `per_row` heads. With the peaks in between, a
    shift is shown wrong by a short row, however wide what it is the shift of.
    """
    yield Operator(name + ".peak", (of or name,), rows, _leaves(columns), Width.INT64)
    yield Operator(name + ".shift", (name + ".peak",), rows // per_row, per_row, Width.SHIFT)
    yield Operator(name + ".mantissa", (of or name, name + ".shift"), rows, columns, Width.LANE)


def _norm(
    name: str, of: str, rows: int, columns: int, per_row: int = 1, width: Width = Width.INT32
) -> Iterator[Operator]:
    """The root's sum of squares is a reduction of its own; heads are rows. width: of the result."""
    yield from _quantized(name + ".in", rows, columns, of, per_row)
    yield Operator(name + ".sum", (name + ".in.mantissa",), rows // per_row, per_row, Width.INT64)
    yield Operator(name + ".root", (name + ".sum", name + ".in.shift"), rows // per_row, per_row, Width.INT64)
    yield Operator(name, (of, name + ".root", name + ".in.shift"), rows, columns, width)


def _norm_row(name: str, of: str, rows: int, columns: int) -> Iterator[Operator]:
    """A normalised residual row and what linear layers take of it; 8 bytes a number, as in the residual stream."""
    yield from _norm(name, of, rows, columns, width=Width.INT64)
    yield from _quantized(name, rows, columns)


def _rotated(name: str, p: int, heads: int, a: Architecture) -> Iterator[Operator]:
    if a.head_norms:
        yield from _norm(name + "_norm", name, p * heads, a.head_width, heads)
    of = name + "_norm" if a.head_norms else name
    yield Operator(name + "_rope", (of,), p * heads, a.head_width)
    yield from _quantized(name + "_rope", p * heads, a.head_width, per_row=heads)


def with_peaks(a: Architecture, step: int, trace: Trace, before: Integers | None) -> Trace:
    """A step's trace with the reductions that the reference has no use for. before: the step before's residual."""
    made = dict(trace)
    for operator in operators(a, step, 1):
        name = operator.name
        if name.endswith(".peak"):
            of = operator.inputs[0]
            values = before if of == BEFORE else trace[of]
            assert values is not None
            if name == "logits.peak":
                made[name] = _by_leaf(values).max(axis=-1)
                made["logits.max"] = made[name].max(axis=-1, keepdims=True)
            else:
                width = trace[name.removesuffix(".peak") + ".mantissa"].shape[-1]
                made[name] = _by_leaf(np.abs(values.reshape(-1, width))).max(axis=-1)
    return made


def beginning(operators: Sequence[Operator], made: Trace, positions: int) -> Trace:
    """A layer's trace over its first positions. operators: of the layer over that many. made: over more."""

    def first(operator: Operator) -> Integers:
        values = made[operator.name]
        if operator.name in SEEN:
            return values[:, :positions, :positions]
        if operator.name in ("score.max", "share.sum"):
            return values[:, :positions]
        return values[: operator.rows if operator.name.endswith(".peak") else positions]

    return {operator.name: first(operator) for operator in operators}


def _by_leaf(rows: Integers) -> Integers:
    """(..., N) -> (..., leaves, 256); the last leaf repeats its last number."""
    missing = -rows.shape[-1] % LEAF_NUMBERS
    padded = np.concatenate([rows, np.repeat(rows[..., -1:], missing, axis=-1)], axis=-1)
    result: Integers = padded.reshape(*rows.shape[:-1], -1, LEAF_NUMBERS)
    return result


def matrix(operator: Operator, trace: Trace) -> Integers:
    """(rows, columns) of an operator's output."""
    values = trace[operator.name]
    if operator.name in SEEN:
        rows = values.transpose(1, 0, 2).reshape(operator.rows, -1)
        return np.pad(rows, ((0, 0), (0, operator.columns - rows.shape[1])))
    return (values.T if operator.transposed else values).reshape(operator.rows, operator.columns)


def longest(operator: Operator, positions: int) -> int:
    """Over how many positions, of so many, passes have a tree that begins with this operator's."""
    if operator.name == "v":
        return operator.columns
    return min(operator.columns, positions) if operator.name in SEEN else positions


def leaf(operator: Operator, row: Integers, chunk: int) -> bytes:
    """`leaf_bytes` bytes. row: (columns,). chunk: which leaf of the row."""
    numbers = np.zeros(operator.leaf_numbers, np.int64)
    part = row[chunk * operator.leaf_numbers :][: operator.leaf_numbers]
    numbers[: len(part)] = part
    if operator.width is Width.LANE:
        return lanes.pack(numbers)
    return numbers.astype(f">i{operator.width.value}").tobytes()


def tree(operator: Operator, values: Integers) -> Tree:
    """values: (rows, columns). Its depth is `operator.depth`, its root what a party opens."""
    padding = [empty(0)] * ((1 << operator.row_depth) - operator.row_leaves)

    def hashes() -> Iterator[bytes]:
        for row in values:
            yield from (leaf_hash(leaf(operator, row, chunk)) for chunk in range(operator.row_leaves))
            yield from padding

    return Tree(hashes())
