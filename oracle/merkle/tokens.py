"""An answer's token ids as its `tokensRoot` commits them. The dispute game and panels have a root each.

The game's (`Tokens`) lets a contract ask for any one token: keccak256(abi.encode(tokens before the output, Merkle
root)); the tree is `tree.py`'s. A leaf is four entries of eight bytes: the id, and the end, which for an output token
is the length of the output up to and including it, and 0 for a prompt token. With ends, a token that does not spell its
part of the output is shown by two entries.

A panel's (`tokens_root`) is the tree over the output's ids alone, eight to a leaf, the last padded with zeros. The
count is not in the root: whoever uses the root binds the count beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from eth_abi.abi import encode
from eth_hash.auto import keccak

from oracle.merkle.tree import HASH_BYTES, Tree, leaf_hash

ENTRIES, ENTRY_BYTES = 4, 8
LEAF_BYTES = ENTRIES * ENTRY_BYTES
BELOW = 6  # levels of the tree whose leaves are opened at once: `Paths.tokensBelow`
ID_BYTES = 3
"""A token id in a prompt, where prompts are ids."""


@dataclass(frozen=True)
class Tokens:
    """Ids of prompt and output, and where each output token ends in the output."""

    prompt: tuple[int, ...]
    output: tuple[int, ...]
    ends: tuple[int, ...]
    """In bytes, one for each of `output`."""

    @classmethod
    def spelled(cls, prompt: Sequence[int], output: Sequence[int], lengths: Sequence[int]) -> "Tokens":
        """lengths: of what each output token spells, in bytes; 0 for stop tokens."""
        return cls(tuple(prompt), tuple(output), tuple(accumulate(lengths)))

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt + self.output

    @cached_property
    def data(self) -> bytes:
        """All entries."""
        ends = (0,) * len(self.prompt) + self.ends
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

    def part(self, index: int) -> bytes:
        """All leaves below one of them."""
        size = LEAF_BYTES << self.below
        return self.data[index * size :][:size].ljust(size, b"\0")

    @property
    def words(self) -> tuple[int, bytes]:
        """IReferee.Tokens"""
        return (len(self.prompt), self.tree.root)

    @property
    def root(self) -> bytes:
        """The answer's `tokensRoot`."""
        return keccak(encode(["uint256", "bytes32"], self.words))


def prompt_bytes(ids: Sequence[int]) -> bytes:
    """Token ids as a prompt of a service whose answers are judged by the dispute game."""
    return b"".join(token.to_bytes(ID_BYTES, "big") for token in ids)


def prompt_ids(prompt: bytes) -> list[int]:
    """Inverse of `prompt_bytes`, whatever the bytes: a rest of one or two is ignored."""
    return [int.from_bytes(prompt[at : at + ID_BYTES], "big") for at in range(0, len(prompt) - ID_BYTES + 1, ID_BYTES)]


def tokens_root(tokens: Sequence[int]) -> bytes:
    """The `tokensRoot` of answers that a panel judges, 32 bytes. tokens: at least one id, each below 2^32."""
    if not tokens:
        raise ValueError("an answer holds at least one token")
    data = b"".join(token.to_bytes(4, "big") for token in tokens)
    starts = range(0, len(data), HASH_BYTES)
    return Tree(leaf_hash(data[start : start + HASH_BYTES].ljust(HASH_BYTES, b"\0")) for start in starts).root
