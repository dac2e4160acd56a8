"""The other side of a Merkle tree: whoever checks a proof or an opening, as the contracts do."""

from collections.abc import Sequence

from oracle.merkle.tree import node_hash


def fold(children: Sequence[bytes]) -> bytes:
    """Root over a power of two of neighbouring nodes."""
    level = list(children)
    if len(level) < 1 or len(level) & (len(level) - 1):
        raise ValueError(f"{len(level)} nodes are no power of two")
    while len(level) > 1:
        level = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=True)]
    return level[0]


def climb(leaf: bytes, index: int, proof: Sequence[bytes]) -> bytes:
    """Root that `proof` leads to. leaf: a leaf's hash."""
    node = leaf
    for level, sibling in enumerate(proof):
        node = node_hash(sibling, node) if index >> level & 1 else node_hash(node, sibling)
    return node
