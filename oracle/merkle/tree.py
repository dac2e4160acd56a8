"""The one kind of Merkle tree that disputes use: over weights, tables, vocabularies and traces.

A leaf hashes as keccak256(0x00 || leaf), an inner node as keccak256(0x01 || left || right), so that neither passes for
the other. A tree of N leaves has the least depth that holds them; leaves beyond N hash as 32 zero bytes do. N is not in
the root: it is arithmetic on a model's architecture, and whoever checks a proof brings it. The same rules in Solidity:
`contracts/libraries/MerkleTree.sol`; vectors that both must agree with: `tests/vectors/merkle.json`.
"""

from collections.abc import Iterable

from eth_hash.auto import keccak

LEAF_TAG, NODE_TAG = b"\x00", b"\x01"
HASH_BYTES = 32


def leaf_hash(leaf: bytes) -> bytes:
    return keccak(LEAF_TAG + leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    return keccak(NODE_TAG + left + right)


def depth(count: int) -> int:
    """Depth of a tree of `count` leaves, at least one."""
    if count < 1:
        raise ValueError("a tree has at least one leaf")
    return (count - 1).bit_length()


def empty(level: int) -> bytes:
    """Node `level` steps above leaves that are all missing."""
    node = leaf_hash(bytes(HASH_BYTES))
    for _ in range(level):
        node = node_hash(node, node)
    return node


class Tree:
    """All nodes of a tree, 64 bytes a leaf: an 8 GB model has some 1.7 million."""

    def __init__(self, leaves: Iterable[bytes]) -> None:
        """leaves: hashes, at least one."""
        self._levels = [b"".join(leaves)]
        self.count = len(self._levels[0]) // HASH_BYTES
        self.depth = depth(self.count)
        padding = empty(0)
        for _ in range(self.depth):
            below = self._levels[-1]
            if len(below) // HASH_BYTES % 2:
                below += padding
            step = 2 * HASH_BYTES
            self._levels.append(b"".join(keccak(NODE_TAG + below[at : at + step]) for at in range(0, len(below), step)))
            padding = node_hash(padding, padding)

    @property
    def root(self) -> bytes:
        return self.node(self.depth, 0)

    @property
    def leaves(self) -> bytes:
        """Hashes of all leaves."""
        return self._levels[0]

    def node(self, level: int, index: int) -> bytes:
        """A node `level` steps above the leaves; nodes over missing leaves alone included. Raises IndexError."""
        if not 0 <= level <= self.depth or not 0 <= index < 1 << (self.depth - level):
            raise IndexError(f"no node {index} at level {level} of a tree of depth {self.depth}")
        at = index * HASH_BYTES
        return self._levels[level][at : at + HASH_BYTES] or empty(level)

    def proof(self, index: int) -> list[bytes]:
        """Siblings of leaf `index` and of the nodes above it, lowest first. Raises IndexError."""
        if not 0 <= index < self.count:
            raise IndexError(f"no leaf {index} among {self.count}")
        return [self.node(level, index >> level ^ 1) for level in range(self.depth)]

    def opening(self, level: int, index: int, down: int) -> list[bytes]:
        """The 2^down nodes that stand `down` levels below a node; they hash to it. Raises IndexError."""
        return [self.node(level - down, (index << down) + child) for child in range(1 << down)]


class Beginning(Tree):
    """The tree over another tree's first leaves. One hash a level: nodes over these leaves alone are the other's."""

    def __init__(self, whole: Tree, count: int) -> None:
        """count: 1 to all. Raises ValueError."""
        if not 0 < count <= whole.count:
            raise ValueError(f"no {count} leaves among {whole.count}")
        self._whole, self.count, self.depth = whole, count, depth(count)
        self._edge = [b""]
        """On each level the node over the last leaves, if others would stand under it too."""
        for level in range(self.depth):
            left = count >> level + 1 << 1
            full = left << level == count
            self._edge.append(b"" if full else node_hash(self.node(level, left), self.node(level, left + 1)))

    @property
    def leaves(self) -> bytes:
        return self._whole.leaves[: self.count * HASH_BYTES]

    def node(self, level: int, index: int) -> bytes:
        if not 0 <= level <= self.depth or not 0 <= index < 1 << (self.depth - level):
            raise IndexError(f"no node {index} at level {level} of a tree of depth {self.depth}")
        whole = self.count >> level
        if index < whole:
            return self._whole.node(level, index)
        return (self._edge[level] if index == whole else b"") or empty(level)
