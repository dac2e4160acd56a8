"""Passes of large models of which only one number's inputs exist: enough to play a whole dispute and to weigh it.

All other nodes of all trees are made up. Data are as dear as real ones: no bytes are zero that are not always.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from eth_abi import encode
from eth_utils import keccak
from rig.merkle import fold

from oracle.disputes import commitments, lanes
from oracle.disputes.graph import BEFORE, Operator, Width, steps
from oracle.disputes.inputs import Entry, Number, Rotation, Step, Weight, rounds
from oracle.engines.exact.architecture import FAMILIES, Architecture
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Tree, depth, leaf_hash, node_hash
from oracle.models.gguf import BLOCKS

Q8_0, F32, ABSENT = 8, 0, commitments.ABSENT
POSITIONS = 512


def llama(layers: int, width: int, hidden: int, heads: int, vocabulary: int) -> Architecture:
    return Architecture(
        family="llama",
        layers=layers,
        width=width,
        hidden=hidden,
        heads=heads,
        kv_heads=8,
        head_width=128,
        rope_width=128,
        rope_base=Fraction(500_000),
        rope_divisor=Fraction(1),
        epsilon=Fraction(1, 100_000),
        context=8192,
        vocabulary=vocabulary,
    )


LLAMA_8B = llama(32, 4096, 14336, 32, 128_256)
LLAMA_70B = llama(80, 8192, 28672, 64, 128_256)
GEMMA_12B = replace(
    llama(48, 3840, 15_360, 16, 262_144), family="gemma3", head_width=256, rope_width=256, window=1024, period=6
)


def made_up(*names: Any) -> bytes:
    return keccak(repr(names).encode())


def climb_up(node: bytes, index: int, levels: int, name: str) -> tuple[bytes, list[bytes]]:
    """The root that a node has among made-up ones, and its proof."""
    proof = []
    for level in range(levels):
        sibling = made_up(name, level)
        proof.append(sibling)
        node = node_hash(sibling, node) if index >> level & 1 else node_hash(node, sibling)
    return node, proof


@dataclass
class SparsePass:
    """One element of one operator at one step."""

    a: Architecture
    step: int
    name: str
    row: int
    column: int
    positions: int = POSITIONS

    def __post_init__(self) -> None:
        tensors = frozenset({"token_embd.weight", "output.weight", "output_norm.weight"})
        self.layout = Step(self.a, self.step, self.positions, tensors)
        self.operator = self.layout.operator(self.name)
        prompt = tuple(range(1000, 1000 + self.positions - 8))
        self.tokens = Tokens(prompt, tuple(range(2000, 2016)), tuple(range(3, 51, 3)))
        self.rng = np.random.default_rng(7)
        self.weights_root = made_up("weights")
        self.rotations_root = made_up("rotations")
        self.vocabulary_root = made_up("vocabulary")
        self.roots: dict[str, bytes] = {}
        self._found = [self._input(read) for read in self._reads()]
        self._disputed()

    def _reads(self) -> list[Any]:
        return self.layout.reads(self.operator, self.row, self.column, self.tokens.ids)

    # DATA

    def _numbers(self, operator: Operator, count: int) -> bytes:
        """Leaves of an operator."""
        if operator.width is Width.LANE:
            return lanes.pack(self.rng.integers(-32000, 32000, count))
        if operator.width is Width.SHIFT:
            return bytes([3] * count)
        bits = 30 if operator.width is Width.INT32 else 44
        if operator.name in ("share", "score", "score.max", "residual", "down"):
            bits = 20
        values = self.rng.integers(1 << (bits - 1), 1 << bits, count)
        signs = self.rng.choice([-1, 1], count) if operator.width is Width.INT32 else 1
        if operator.name in ("share", "score.max"):
            signs = 1
        return (values * signs).astype(f">i{operator.width.value}").tobytes()

    def _raw_row(self, kind: int, columns: int) -> bytes:
        block, size = BLOCKS[kind]
        data = self.rng.integers(1, 256, columns // block * size, dtype=np.uint8)
        if kind == Q8_0:
            data[1::size] = 0x1B
        else:
            data.view("<f4")[:] = self.rng.uniform(0.5, 1.5, columns)
        return data.tobytes()

    def _input(self, read: Any) -> tuple[bytes, bytes, str | None, list[bytes]]:
        """Data, root, the operator that the root belongs to, proof."""
        if isinstance(read, Entry):
            leaf = read.index // 4
            return self.tokens.leaf(leaf), bytes(32), None, self.tokens.tree.proof(leaf)
        if isinstance(read, Rotation):
            count = self.a.rope_width * (2 if self.a.window else 1)
            data = self.rng.integers(1 << 22, 1 << 24, count).astype(">i4").tobytes()
            self.rotations_root, proof = climb_up(leaf_hash(data), read.position, depth(self.a.context), "rotations")
            return data, bytes(32), None, proof
        if isinstance(read, Weight):
            vector = "norm" in read.name
            data = self._raw_row(F32, 256) if vector else self._raw_row(Q8_0, self._columns(read.name))
            levels = depth(leaves(self.a))
            self.weights_root, proof = climb_up(leaf_hash(data), first_leaf(self.a, read), levels, "weights")
            return data, bytes(32), None, proof
        operator = self.layout.operator(read.name)
        if isinstance(read, Number):
            data = self._numbers(operator, operator.leaf_numbers)
            node, at, levels = leaf_hash(data), operator.leaf_of(read.row, read.column), operator.depth
        else:
            count = operator.row_leaves * operator.leaf_numbers
            data = self._numbers(operator, count)
            size = operator.leaf_bytes
            node = Tree(leaf_hash(data[i * size : (i + 1) * size]) for i in range(operator.row_leaves)).root
            at, levels = read.row, depth(operator.rows)
        if read.name in self.roots:
            # A second number of the same leaf.
            same = next(found for found in self._made if found[2] == read.name)
            return same
        root, proof = climb_up(node, at, levels, read.name)
        self.roots[read.name] = root
        found = (data, root, read.name, proof)
        self._made.append(found)
        return found

    @property
    def _made(self) -> list[Any]:
        return self.__dict__.setdefault("_made_inputs", [])

    def _columns(self, name: str) -> int:
        queries = self.a.heads * self.a.head_width
        return self.a.hidden if "ffn_down" in name else queries if "attn_output" in name else self.a.width

    # WHAT THE NODE SHOWS

    def _disputed(self) -> None:
        """The disputed leaf and the nodes above it, as the node opens them."""
        self.values = self._numbers(self.operator, self.operator.leaf_numbers)
        self.leaf = self.operator.leaf_of(self.row, self.column)
        self.element = self.column % self.operator.leaf_numbers
        self.openings: list[list[bytes]] = []
        node, level = leaf_hash(self.values), 0
        for down in reversed(rounds(self.operator.depth)):
            index = self.leaf >> level
            children = [made_up("child", level, each) for each in range(1 << down)]
            children[index & ((1 << down) - 1)] = node
            self.openings.insert(0, children)
            node, level = fold(children), level + down
        self.roots[self.name] = node
        operators = self.layout.operators
        self.operators = [self.roots.get(each.name) or made_up("operator", each.name) for each in operators]
        before = self.roots.get(BEFORE) or made_up("before")
        self.steps = [made_up("step", each) for each in range(steps(self.a))]
        if self.step:
            self.steps[self.step - 1] = before
        self.steps[self.step] = self.operators[-1]

    @property
    def inputs(self) -> list[Any]:
        """For the referee."""
        names = [operator.name for operator in self.layout.operators]
        made = []
        for data, root, name, proof in self._found:
            listed = []
            if name == BEFORE:
                listed = Tree(self.steps).proof(self.step - 1)
            elif name is not None:
                listed = Tree(self.operators).proof(names.index(name))
            made.append((data, root, listed, proof))
        return made

    @property
    def place(self) -> tuple[int, int, int, int]:
        return (self.positions, self.step, self.layout.operators.index(self.operator), self.leaf)

    def manifest(self) -> dict[str, Any]:
        """Of a model whose weights root is over what this pass reads."""
        a = self.a
        layer = [F32 if "norm" in role else Q8_0 for role in commitments.LAYER_ROLES]
        for index, role in enumerate(commitments.LAYER_ROLES):
            if not has(a, role):
                layer[index] = ABSENT
        kinds = bytes([Q8_0, F32, Q8_0, *layer * a.layers])
        sizes = a.layers, a.width, a.hidden, a.heads, a.kv_heads, a.head_width, a.rope_width, a.context
        architecture = encode(
            commitments.NUMBERS,
            (
                FAMILIES.index(a.family),
                *sizes,
                *(a.vocabulary, a.window, a.period),
                42_950,
                687_195,
                self.rotations_root,
                self.vocabulary_root,
                *commitments.text_numbers(None),
                kinds,
            ),
        )
        return {
            "name": f"{self.step}.{self.name}.{self.a.layers}",
            "fileSha256": keccak(b"file"),
            "fileBytes": 8_000_000_000,
            "uri": "",
            "contextLength": self.a.context,
            "prefixTokens": [128_000],
            "suffixTokens": [128_009, 128_006],
            "stopTokens": [128_009],
            "replacementToken": 0,
            "weightsRoot": self.weights_root,
            "architecture": architecture,
        }


def has(a: Architecture, role: str) -> bool:
    """Whether the model's layers have such a tensor."""
    if "_norm" in role and not role.startswith(("attn_norm", "ffn_norm")):
        return a.is_gemma if role.startswith("post_") else a.head_norms
    return "bias" not in role


def _role_leaves(a: Architecture) -> list[tuple[str, int]]:
    queries, keys = a.heads * a.head_width, a.kv_heads * a.head_width
    rows = {"attn_q": queries, "attn_k": keys, "attn_v": keys, "ffn_gate": a.hidden, "ffn_up": a.hidden}
    made = []
    for role in commitments.LAYER_ROLES:
        if not has(a, role):
            continue
        length = a.head_width if role in ("attn_q_norm.weight", "attn_k_norm.weight") else a.width
        made.append((role, -(-length // 256) if "norm" in role else rows.get(role.removesuffix(".weight"), a.width)))
    return made


def leaves(a: Architecture) -> int:
    """Of all weights."""
    return 2 * a.vocabulary + a.layers * sum(count for _, count in _role_leaves(a)) + -(-a.width // 256)


def first_leaf(a: Architecture, read: Weight) -> int:
    """Index of a leaf among all weights."""
    if read.name == "token_embd.weight":
        return read.leaf
    layer = sum(count for _, count in _role_leaves(a))
    if not read.name.startswith("blk."):
        at = a.vocabulary + a.layers * layer
        return at + read.leaf + (0 if "norm" in read.name else -(-a.width // 256))
    _, number, role = read.name.split(".", 2)
    at = a.vocabulary + int(number) * layer
    for name, count in _role_leaves(a):
        if name == role:
            return at + read.leaf
        at += count
    raise KeyError(read.name)
