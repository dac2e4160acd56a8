"""What the referee must be shown to compute one number: which data, and the proofs that it is the right data.

`Step.reads` names the inputs of a number in the order in which the referee's contracts read them. `ModelInputs` and
`StepInputs` make them from a party's own model file and trace. A party may show its own values wherever both sides have
the same root, and so for all inputs of the first root that differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from oracle.disputes import commitments, graph
from oracle.disputes.graph import BEFORE, LEAF_NUMBERS, Operator, Width
from oracle.disputes.text_proofs import Row
from oracle.engines.exact.architecture import Architecture, architecture
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.model import Trace
from oracle.engines.exact.rotations import Turns
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import Entry as VocabularyEntry
from oracle.engines.exact.vocabulary import Vocabulary, text_table, unread, vocabulary_tree
from oracle.engines.exact.weights import load
from oracle.merkle.tokens import ENTRIES
from oracle.merkle.tree import Tree
from oracle.models.gguf import read

Input = tuple[bytes, bytes, list[bytes], list[bytes]]
"""IReferee.Input: data, root, proof of the root in its list, proof of the data under the root."""
NO_ROOT = bytes(32)
MAX_LEVELS = 8  # of a tree in one opening: 256 nodes
TENSORS = {
    **{name: "attn_" + name for name in ("q", "k", "v", "q_norm", "k_norm")},
    **{name: "ffn_" + name for name in ("gate", "up", "down")},
    "attn_post_norm": "post_attention_norm",
    "ffn_post_norm": "post_ffw_norm",
    "logits": "output",
}
"""Operators that the file calls otherwise."""


@dataclass(frozen=True)
class Number:
    """The leaf with one number of a tensor of this step, or of the step before."""

    name: str
    row: int
    column: int


@dataclass(frozen=True)
class WholeRow:
    """All leaves of a tensor's row."""

    name: str
    row: int


@dataclass(frozen=True)
class Weight:
    """A leaf of a tensor of the file."""

    name: str
    leaf: int


@dataclass(frozen=True)
class Rotation:
    position: int


@dataclass(frozen=True)
class Entry:
    """A token, by its index among prompt and output."""

    index: int


@dataclass(frozen=True)
class Spelling:
    """What a token spells."""

    token: int


Read = Number | WholeRow | Weight | Rotation | Entry | Spelling


@dataclass(frozen=True)
class Step:
    """The layout of one step of a pass over `positions` tokens."""

    architecture: Architecture
    step: int
    positions: int
    tensors: frozenset[str]
    """Names of the model's tensors."""

    @cached_property
    def operators(self) -> list[Operator]:
        return graph.operators(self.architecture, self.step, self.positions)

    @cached_property
    def _by_name(self) -> dict[str, Operator]:
        before = Operator(BEFORE, (), self.positions, self.architecture.width, Width.INT64)
        return {BEFORE: before, **{operator.name: operator for operator in self.operators}}

    def operator(self, name: str) -> Operator:
        return self._by_name[name]

    def reads(  # noqa: PLR0911, PLR0912 (a table of operators)
        self, operator: Operator, row: int, column: int, tokens: Sequence[int]
    ) -> list[Read]:
        """The inputs of one number. tokens: ids of the pass. [] for numbers that no input makes: they are 0.

        Raises IndexError for a number that the operator does not have.
        """
        operator.check(row, column)
        name, a = operator.name, self.architecture
        kind = name.rsplit(".", 1)[-1]
        if name == "embedding":
            return [Entry(row), Weight("token_embd.weight", tokens[row])]
        if name == "logits.peak":
            return [Number("logits", 0, column * LEAF_NUMBERS)]
        if name == "logits.max":
            return [WholeRow("logits.peak", 0)]
        if kind == "peak":
            return [self._peak_source(operator, row, column)]
        if kind == "shift":
            return [WholeRow(operator.inputs[0], row * operator.columns + column)]
        if kind == "mantissa":
            return [self._within(operator.inputs[0], row, column, operator.columns), self._of_row(operator, 1, row)]
        if kind == "sum" or name == "score.max":
            return [WholeRow(operator.inputs[0], row * operator.columns + column)]
        if kind == "root":
            return [Number(of, row, column) for of in operator.inputs]
        if name.endswith("_norm"):
            x = self._within(operator.inputs[0], row, column, operator.columns)
            weight = Weight(self._tensor(name, ".weight"), column // commitments.VECTOR_LEAF)
            return [x, self._of_row(operator, 1, row), self._of_row(operator, 2, row), weight]
        if name.endswith("_rope"):
            return self._rotated(operator, row, column)
        if name in ("score", "share"):
            return self._attended(operator, row, column)
        if name == "context":
            head = column // a.head_width
            value = head // a.group * a.head_width + column % a.head_width
            shares = WholeRow("share", row * a.heads + head)
            return [shares, WholeRow("v", value), Number("share.sum", row, head)]
        if name in ("act", "attn_residual", "residual"):
            return [Number(of, row, column) for of in operator.inputs]
        if name == "v":
            row, column = column, row
        return self._linear(operator, row, column)

    def _linear(self, operator: Operator, row: int, column: int) -> list[Read]:
        shift, mantissa = operator.inputs
        tensor = self._tensor(operator.name, ".weight")
        made: list[Read] = [WholeRow(mantissa, row), Number(shift, row, 0), Weight(tensor, column)]
        bias = self._tensor(operator.name, ".bias")
        if bias in self.tensors:
            made.append(Weight(bias, column // commitments.VECTOR_LEAF))
        return made

    def _tensor(self, operator: str, kind: str) -> str:
        """The file's name for an operator's weights."""
        name = TENSORS.get(operator, operator) + kind
        if 0 < self.step <= self.architecture.layers:
            return f"blk.{self.step - 1}.{name}"
        return name if name in self.tensors or name != "output.weight" else "token_embd.weight"

    def _within(self, source: str, row: int, column: int, columns: int) -> Number:
        """Where a number of a row of `columns` stands in `source`, whose rows may hold several, head after head."""
        split = self.operator(source).columns // columns
        if source == BEFORE and self.step > self.architecture.layers:
            row = self.positions - 1
        return Number(source, row // split, row % split * columns + column)

    def _of_row(self, operator: Operator, which: int, row: int) -> Number:
        source = self.operator(operator.inputs[which])
        return Number(source.name, row // source.columns, row % source.columns)

    def _peak_source(self, operator: Operator, row: int, column: int) -> Read:
        columns = self.operator(operator.name.removesuffix(".peak") + ".mantissa").columns
        start = column * LEAF_NUMBERS
        count = min(LEAF_NUMBERS, columns - start)
        first = self._within(operator.inputs[0], row, start, columns)
        numbers = self.operator(first.name).leaf_numbers
        if first.column // numbers == (first.column + count - 1) // numbers:
            return first
        return WholeRow(first.name, first.row)

    def _rotated(self, operator: Operator, row: int, column: int) -> list[Read]:
        a, (source,) = self.architecture, operator.inputs
        pairs = a.rope_width // 2
        if column >= 2 * pairs:
            return [self._within(source, row, column, a.head_width)]
        first = column // 2 * 2 if a.interleaved else column % pairs
        second = first + (1 if a.interleaved else pairs)
        heads = operator.rows // self.positions
        both = [self._within(source, row, each, a.head_width) for each in (first, second)]
        return [*both, Rotation(row // heads)]

    def _attended(self, operator: Operator, row: int, column: int) -> list[Read]:
        a = self.architecture
        position, head = divmod(row, a.heads)
        window = a.window_of(self.step - 1)
        if column > position or 0 < window <= position - column:
            return []
        if operator.name == "share":
            return [Number("score", row, column), Number("score.max", position, head)]
        kv = head // a.group
        return [
            WholeRow("q_rope.mantissa", row),
            WholeRow("k_rope.mantissa", column * a.kv_heads + kv),
            Number("q_rope.shift", position, head),
            Number("k_rope.shift", column, kv),
        ]


class ModelInputs:
    """Trees over a model file and its tables, made when first needed. An 8 GB file takes a minute, once."""

    def __init__(self, path: Path, weights_root: bytes | None = None) -> None:
        """weights_root: what a kept tree must have; None to make it anew in any case."""
        self._path, self._weights_root = path, weights_root
        self.header = read(path)
        self.architecture = architecture(self.header)
        self._data = np.memmap(path, np.uint8, mode="r")
        placed = commitments.parts(self.header, self.architecture)
        self._parts = {part.tensor.name: part for part in placed}
        self._placed = placed
        self.tensors = frozenset(self._parts)

    @cached_property
    def weights(self) -> Tree:
        if self._weights_root is None:
            return commitments.weights_tree(self._path, self._placed)
        known = commitments.kept(self._path, self._weights_root)
        if known is None:
            known = commitments.weights_tree(self._path, self._placed)
            commitments.keep(self._path, known)
        return known

    @cached_property
    def _rotations(self) -> Turns:
        return Turns(self.architecture, load(self._path).rope_factors)

    @cached_property
    def rotations(self) -> Tree:
        return commitments.rotations_tree(self._rotations, self.architecture.context)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer(self.header)

    @cached_property
    def words(self) -> Vocabulary | None:
        """By which prompts of words are judged; None if prompts are ids."""
        return text_table(self.header)

    @cached_property
    def entries(self) -> Sequence[VocabularyEntry]:
        """Of each token."""
        return unread(self.tokenizer.pieces) if self.words is None else self.words.entries

    @cached_property
    def vocabulary(self) -> Tree:
        return vocabulary_tree(self.entries)

    def input(self, wanted: Weight | Rotation | Spelling) -> Input:
        if isinstance(wanted, Weight):
            part = self._parts[wanted.name]
            data = commitments.leaf(self._data, part, wanted.leaf)
            return data, NO_ROOT, [], self.weights.proof(part.first + wanted.leaf)
        if isinstance(wanted, Rotation):
            data = commitments.rotation_leaf(self._rotations, wanted.position)
            return data, NO_ROOT, [], self.rotations.proof(wanted.position)
        return self.entries[wanted.token].leaf, NO_ROOT, [], self.vocabulary.proof(wanted.token)


class StepInputs:
    """One step's tensors and trees, of a party's own making."""

    def __init__(self, layout: Step, values: Trace, before: Integers | None) -> None:
        """values: with peaks. before: the step before's residual, (positions, width); None for the embedding."""
        self.layout, self._values = layout, values
        self._before = before
        self._trees: dict[str, Tree] = {}

    def matrix(self, name: str) -> Integers:
        """(rows, columns)."""
        if name == BEFORE:
            assert self._before is not None
            return self._before
        return graph.matrix(self.layout.operator(name), self._values)

    def tree(self, name: str) -> Tree:
        if name not in self._trees:
            self._trees[name] = graph.tree(self.layout.operator(name), self.matrix(name))
        return self._trees[name]

    @cached_property
    def roots(self) -> list[bytes]:
        """The second list."""
        return [self.tree(operator.name).root for operator in self.layout.operators]

    def leaf(self, name: str, index: int) -> bytes:
        """A leaf's bytes; 32 zeros where the layout has none."""
        operator = self.layout.operator(name)
        row, chunk = operator.row_and_chunk(index)
        if row >= operator.rows or chunk >= operator.row_leaves:
            return bytes(32)
        return graph.leaf(operator, self.matrix(name)[row], chunk)

    def input(self, wanted: Number | WholeRow, steps: Tree, operators: Tree) -> Input:
        """steps, operators: over the lists that the node opened."""
        operator = self.layout.operator(wanted.name)
        if wanted.name == BEFORE:
            list_proof = steps.proof(self.layout.step - 1)
        else:
            list_proof = operators.proof(self.layout.operators.index(operator))
        tree = self.tree(wanted.name)
        if isinstance(wanted, Number):
            index = operator.leaf_of(wanted.row, wanted.column)
            return self.leaf(wanted.name, index), tree.root, list_proof, _proof(tree, index, 0)
        first = operator.leaf_of(wanted.row, 0)
        data = b"".join(self.leaf(wanted.name, first + chunk) for chunk in range(operator.row_leaves))
        return data, tree.root, list_proof, _proof(tree, wanted.row, operator.row_depth)


def _proof(tree: Tree, index: int, level: int) -> list[bytes]:
    """Siblings from a node `level` steps above the leaves."""
    return [tree.node(each, (index >> (each - level)) ^ 1) for each in range(level, tree.depth)]


def entry_input(tokens: Row, index: int) -> Input:
    """The leaf with token `index`."""
    leaf = index // ENTRIES
    return tokens.leaf(leaf), NO_ROOT, [], tokens.proof(leaf)


def list_tree(roots: Sequence[bytes]) -> Tree:
    """Over a list that the node opened."""
    return Tree(roots)


def rounds(levels: int) -> list[int]:
    """Levels that each opening of a tree goes down: as few openings as 256 nodes at a time allow, evenly."""
    count = -(-levels // MAX_LEVELS)
    return [(levels + index) // count for index in reversed(range(count))]
