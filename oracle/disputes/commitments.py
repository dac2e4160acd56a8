"""What an exact model's manifest commits to, so that a contract can compute with the model: made from its file alone.

The weights root stands over the file's raw bytes: a leaf is one row of a matrix, or 256 numbers of a vector. Tensors
follow each other in the order of the forward pass, not of the file, so that a leaf's index is arithmetic on numbers of
the architecture. Cosines and sines, and the vocabulary's entries (docs/text.md), have roots of their own. The other
tables are the same for all models and part of the referee.

One pass over the file, hashing as it reads: memory is 64 bytes a leaf. Nothing here checks the file against a manifest.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError

from oracle.engines.exact.architecture import FAMILIES, Architecture, epsilon_units
from oracle.engines.exact.constants import INNER_BITS, RESIDUAL_BITS, SCALE_BITS, WEIGHT_BITS
from oracle.engines.exact.cutter import CUTTER_NUMBERS
from oracle.engines.exact.quants import BF16, F32, Bytes
from oracle.engines.exact.rotations import Turns
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import Vocabulary, text_table, unread, vocabulary_tree
from oracle.engines.exact.weights import Weights, load
from oracle.engines.prompts import longest_prompt
from oracle.errors import BadModelFile
from oracle.merkle.tree import HASH_BYTES, Tree, leaf_hash
from oracle.models.download import disk_errors
from oracle.models.gguf import BLOCKS, Gguf, Tensor, read
from oracle.models.manifest import Manifest

VECTOR_LEAF = 256  # numbers
LAYER_ROLES = (
    "attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_q.bias", "attn_k.bias", "attn_v.bias",
    "attn_q_norm.weight", "attn_k_norm.weight", "attn_output.weight",
    "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight",
    "post_attention_norm.weight", "post_ffw_norm.weight",
)  # fmt: skip
ABSENT = 255
VECTOR_TYPES = 16
FLOAT_MATRICES = {BF16: 64, F32: 96}
"""As `Quants` in Solidity has them."""
TEXT = (*["uint8"] * 4, "uint256")
"""How a vocabulary reads text: `Commitments.Text` in Solidity."""
NUMBERS = ("uint8", *["uint32"] * 11, "uint64", "uint64", "bytes32", "bytes32", *TEXT, "bytes")
"""ABI types of a manifest's architecture: index in FAMILIES; layers, width, hidden, heads, key heads, head width, rope
width, context, vocabulary; window and period of local layers; epsilon for residual rows and for heads; roots of
rotations and vocabulary; kind of vocabulary, cutter, whether a piece may be a token whole, whether a space comes first,
bytes that no token spells; `kinds`."""
NUMBERS_BEFORE_TEXT = 16
FIELDS = (
    "family", "layers", "width", "hidden width", "heads", "key heads", "head width", "rope width", "context",
    "vocabulary", "window", "period of windows", "epsilon of rows", "epsilon of heads", "rotations root",
    "vocabulary root", "kind of vocabulary",
    "cutter", "whole words", "space before a text", "bytes without a token", "kinds of tensors",
)  # fmt: skip
"""What they are called."""

OnProgress = Callable[[int, int], None]
"""(bytes of weights hashed, bytes in all)."""


@dataclass(frozen=True)
class Part:
    """One tensor's place among the leaves."""

    tensor: Tensor
    first: int
    """Index of its first leaf."""
    leaves: int
    leaf_bytes: int
    """Of each leaf; a vector's last may be shorter."""


@dataclass(frozen=True)
class Commitments:
    """For a manifest."""

    weights: Tree
    architecture: bytes

    @property
    def weights_root(self) -> bytes:
        return self.weights.root


def parts(header: Gguf, a: Architecture) -> list[Part]:
    """All committed tensors in the order of their leaves. Raises BadModelFile if layers differ in what they have."""
    names = ["token_embd.weight"]
    present = [role for role in LAYER_ROLES if f"blk.0.{role}" in header.tensors]
    for layer in range(a.layers):
        if [role for role in LAYER_ROLES if f"blk.{layer}.{role}" in header.tensors] != present:
            raise BadModelFile(f"layer {layer} has other tensors than layer 0")
        names += [f"blk.{layer}.{role}" for role in present]
    names.append("output_norm.weight")
    if "output.weight" in header.tensors:
        names.append("output.weight")
    placed, first = [], 0
    for name in names:
        placed.append(_part(header.tensors[name], first))
        first += placed[-1].leaves
    return placed


def _part(tensor: Tensor, first: int) -> Part:
    block, size = BLOCKS[tensor.type]
    if len(tensor.shape) == 1:
        return Part(tensor, first, -(-tensor.shape[0] // VECTOR_LEAF), VECTOR_LEAF // block * size)
    return Part(tensor, first, tensor.shape[1], tensor.shape[0] // block * size)


def leaf(data: Bytes, part: Part, index: int) -> bytes:
    """Raw bytes of leaf `index` of a part. data: the whole file."""
    if not 0 <= index < part.leaves:
        raise IndexError(f"no leaf {index} among {part.leaves} of {part.tensor.name}")
    start, end = part.tensor.start + index * part.leaf_bytes, part.tensor.start + part.tensor.size
    return bytes(data[start : min(start + part.leaf_bytes, end)])


def weights_tree(path: Path, placed: list[Part], on_progress: OnProgress = lambda done, total: None) -> Tree:
    """Calls `on_progress` after each tensor."""
    data = np.memmap(path, np.uint8, mode="r")
    total = sum(part.tensor.size for part in placed)

    def hashes() -> Iterator[bytes]:
        done = 0
        for part in placed:
            yield from (leaf_hash(leaf(data, part, index)) for index in range(part.leaves))
            done += part.tensor.size
            on_progress(done, total)

    return Tree(hashes())


def keep(path: Path, tree: Tree) -> None:
    """Writes the weights' leaf hashes beside the model file, so that they need not be made again."""
    partial = path.with_suffix(".leaves.partial")
    with disk_errors():
        partial.write_bytes(tree.leaves)
    os.replace(partial, path.with_suffix(".leaves"))


def kept(path: Path, root: bytes) -> Tree | None:
    """The tree that `keep` wrote; None if there is none, or not one with this root."""
    try:
        data = path.with_suffix(".leaves").read_bytes()
    except FileNotFoundError:
        return None
    if not data or len(data) % HASH_BYTES:
        return None
    tree = Tree(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES))
    return tree if tree.root == root else None


def rotation_leaf(rotations: Turns, position: int) -> bytes:
    """Cosines, then sines, of a position, and those of local layers: int32, big-endian, 24 fraction bits."""
    return bytes(np.concatenate([part[0] for part in rotations(position, 1)]).astype(">i4"))


def rotations_tree(rotations: Turns, context: int) -> Tree:
    """A leaf for each position."""
    return Tree(leaf_hash(rotation_leaf(rotations, position)) for position in range(context))


def text_numbers(found: Vocabulary | None) -> tuple[int, int, int, int, int]:
    """As TEXT has them."""
    if found is None:
        return 0, 0, 0, 0, 0
    cutter = CUTTER_NUMBERS[found.cutter] if found.cutter else 0
    missing = sum(1 << byte for byte in found.missing)
    return int(found.kind), cutter, int(found.whole_words), int(bool(found.prefix)), missing


def vocabulary_root(architecture: bytes) -> bytes:
    """Over the entries of a model with such numbers."""
    root: bytes = decode(NUMBERS, architecture)[NUMBERS_BEFORE_TEXT - 1]
    return root


def takes_text(architecture: bytes) -> bool:
    """Whether the dispute game judges prompts of words for a model with such numbers."""
    kind: int = decode(NUMBERS, architecture)[NUMBERS_BEFORE_TEXT]
    return kind != 0


def vocabulary_of(architecture: bytes) -> tuple[bytes, int] | None:
    """Root and size of the vocabulary of a model with such numbers; None for what are none, as panels' models have."""
    try:
        numbers = decode(NUMBERS, architecture)
    except DecodingError:
        return None
    return numbers[NUMBERS_BEFORE_TEXT - 1], numbers[9]


def kinds(weights: Weights, header: Gguf) -> bytes:
    """Of the embedding, output norm, output matrix, then `LAYER_ROLES` of each layer; `ABSENT` for none.

    The GGML type, and what is not in a leaf: norms add VECTOR_TYPES for each fraction bit that their weights have below
    24; matrices of floats say FLOAT_MATRICES and how many fraction bits they have beyond 24.
    """
    names = ["token_embd.weight", "output_norm.weight", "output.weight"]
    names += [f"blk.{layer}.{role}" for layer in range(weights.architecture.layers) for role in LAYER_ROLES]
    made = {matrix.name: FLOAT_MATRICES[matrix.kind] + matrix.bits - WEIGHT_BITS for matrix in weights.matrices()
            if matrix.kind in FLOAT_MATRICES}  # fmt: skip
    for name, norm in weights.norms():
        made[name] = header.tensors[name].type + VECTOR_TYPES * (SCALE_BITS - norm.bits)
    return bytes(made.get(name, header.tensors[name].type) if name in header.tensors else ABSENT for name in names)


def shape(numbers: bytes) -> Architecture:
    """The architecture that a manifest's numbers describe, as far as a trace's layout depends on it: its rope and its
    epsilon are zero."""
    family, *sizes = decode(NUMBERS, numbers)[:12]
    layers, width, hidden, heads, kv_heads, head_width, rope_width, context, vocabulary, window, period = sizes
    zero = Fraction(0)
    return Architecture(
        *(FAMILIES[family], layers, width, hidden, heads, kv_heads, head_width, rope_width),
        *(zero, zero, zero, context, vocabulary, window, period),
    )


def longest_asked(manifest: Manifest) -> int:
    """Bytes up to which every prompt leaves room for an answer, where the dispute game judges."""
    return longest_prompt(manifest, takes_text=takes_text(manifest.architecture))


def commit(path: Path, on_progress: OnProgress = lambda done, total: None) -> Commitments:
    """All of a file's commitments. Raises BadModelFile for files that the exact engine does not compute."""
    weights, header = load(path), read(path)
    words = text_table(header)
    entries = unread(Tokenizer(header).pieces) if words is None else words.entries
    a = weights.architecture
    numbers = (
        FAMILIES.index(a.family),
        *(a.layers, a.width, a.hidden, a.heads, a.kv_heads, a.head_width, a.rope_width, a.context, a.vocabulary),
        *(a.window, a.period),
        *(epsilon_units(a.epsilon, bits) for bits in (RESIDUAL_BITS, INNER_BITS)),
        rotations_tree(Turns(a, weights.rope_factors), a.context).root,
        vocabulary_tree(entries).root,
        *text_numbers(words),
        kinds(weights, header),
    )
    tree = weights_tree(path, parts(header, a), on_progress)
    return Commitments(tree, encode(NUMBERS, numbers))
