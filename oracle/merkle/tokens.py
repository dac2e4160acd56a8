"""An answer's token ids as its `tokensRoot` commits them. The dispute game and panels have a root each.

The game's (`Tokens`) lets a contract ask for any one token: keccak256(abi.encode(tokens before the output, Merkle
root)); the tree is `tree.py`'s. A leaf is four entries of eight bytes: the id, and the end, which for an output token
is the length of the output up to and including it. With ends, a token that does not spell its part of the output is
shown by two entries. A prompt token has its end in the prompt's reading there, and a flag in the top bit
(docs/text.md); where prompts are ids alone, and for the wrapper's tokens, 0.

A panel's (`tokens_root`) is the tree over the output's ids alone, eight to a leaf, the last padded with zeros. The
count is not in the root: whoever uses the root binds the count beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate

from eth_abi.abi import encode
from eth_hash.auto import keccak

from oracle.merkle.tree import HASH_BYTES, Tree, leaf_hash

ENTRIES, ENTRY_BYTES = 4, 8
LEAF_BYTES = ENTRIES * ENTRY_BYTES
BELOW = 6  # levels of the tree whose leaves are opened at once: `Paths.tokensBelow`
ID_BYTES = 3
"""A token id in a prompt."""
IDS = b"\x01"
"""The first byte of a prompt that is ids."""
BEGINS = 1 << 31
"""In a prompt token's end: a piece of a text begins with it."""
ID_BITS = 32


@dataclass(frozen=True)
class Tokens:
    """Ids of prompt and output, and where each output token ends in the output."""

    prompt: tuple[int, ...]
    output: tuple[int, ...]
    ends: tuple[int, ...]
    """In bytes, one for each of `output`."""
    marks: tuple[int, ...] = field(default=(), kw_only=True)
    """Of each of `prompt`: its end, with BEGINS. Empty: all 0."""

    @classmethod
    def spelled(cls, prompt: Sequence[int], output: Sequence[int], lengths: Sequence[int]) -> "Tokens":
        """prompt: ids, with their marks where they have any (`marked`). lengths: of what each output token spells, in
        bytes; 0 for stop tokens, and for all of a typed answer."""
        marks = tuple(token >> ID_BITS for token in prompt)
        ends = tuple(accumulate(lengths))
        return cls(tuple(unmarked(prompt)), tuple(output), ends, marks=marks if any(marks) else ())

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.output

    @cached_property
    def data(self) -> bytes:
        """All entries."""
        ends = (self.marks or (0,) * len(self.prompt)) + self.ends
        pairs = zip(self.ids, ends, strict=True)
        return b"".join(token.to_bytes(4, "big") + end.to_bytes(4, "big") for token, end in pairs)

    def leaf(self, index: int) -> bytes:
        """With entries 4 * index and following."""
        return self.data[index * LEAF_BYTES :][:LEAF_BYTES].ljust(LEAF_BYTES, b"\0")

    @cached_property
    def tree(self) -> Tree:
        count = -(-len(self.ids) // ENTRIES)
        return Tree(leaf_hash(self.leaf(index)) for index in range(count))

    def proof(self, leaf: int) -> list[bytes]:
        return self.tree.proof(leaf)

    @property
    def below(self) -> int:
        """Levels of the tree below the nodes that are shown first."""
        return min(self.tree.depth, BELOW)

    @property
    def upper(self) -> list[bytes]:
        """The nodes that are shown first."""
        return self.tree.opening(self.tree.depth, 0, self.tree.depth - self.below)

    def part(self, index: int, below: int | None = None) -> bytes:
        """All leaves below one of them, or below another node, so many levels above the leaves."""
        size = LEAF_BYTES << (self.below if below is None else below)
        return self.data[index * size :][:size].ljust(size, b"\0")

    @property
    def words(self) -> tuple[int, bytes]:
        """IReferee.Tokens"""
        return (len(self.prompt), self.tree.root)

    @property
    def root(self) -> bytes:
        """The answer's `tokensRoot`."""
        return keccak(encode(["uint256", "bytes32"], self.words))


def marked(token: int, end: int, *, begins: bool) -> int:
    """A prompt token as engines hand it on: its id, and above it its end in the prompt's reading and its flag."""
    return (BEGINS * begins | end) << ID_BITS | token


def unmarked(prompt: Sequence[int]) -> list[int]:
    """The ids alone."""
    return [token & ((1 << ID_BITS) - 1) for token in prompt]


def id_bytes(ids: Sequence[int]) -> bytes:
    """Token ids, three bytes each."""
    return b"".join(token.to_bytes(ID_BYTES, "big") for token in ids)


def ids_in(data: bytes) -> list[int]:
    """Inverse of `id_bytes`, whatever the bytes: a rest of one or two is ignored."""
    return [int.from_bytes(data[at : at + ID_BYTES], "big") for at in range(0, len(data) - ID_BYTES + 1, ID_BYTES)]


def prompt_bytes(ids: Sequence[int]) -> bytes:
    """Token ids as a prompt of a service that the dispute game judges."""
    return IDS + id_bytes(ids)


def tokens_root(tokens: Sequence[int]) -> bytes:
    """The `tokensRoot` of answers that a panel judges, 32 bytes. tokens: at least one id, each below 2^32."""
    if not tokens:
        raise ValueError("an answer holds at least one token")
    data = b"".join(token.to_bytes(4, "big") for token in tokens)
    starts = range(0, len(data), HASH_BYTES)
    return Tree(leaf_hash(data[start : start + HASH_BYTES].ljust(HASH_BYTES, b"\0")) for start in starts).root
