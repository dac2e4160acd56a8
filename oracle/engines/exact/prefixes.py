"""Keys and values of what sequences begin with, kept for the next that begins so: a prompt that is answered, checked
and disputed, or a wrapper and a document that many prompts share.

Positions are kept in blocks, each under the hash of all tokens up to its end, since these alone decide its numbers.
What was not used for longest goes first. A kept block is only ever copied, so no job can change what another reads.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from oracle.engines.exact.model import Cache

BLOCK = 16  # positions; caches are laid out in groups of as many


class Prefixes:
    """Blocks by hash. Not thread-safe."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[bytes, Any] = OrderedDict()
        """The least recently used first; of a prefix, its last block."""

    @property
    def positions(self) -> int:
        """How many are kept."""
        return BLOCK * len(self._blocks)

    def fill(self, tokens: Sequence[int], cache: Cache) -> int:
        """Puts into an empty cache what is kept of `tokens`; returns for how many of them."""
        used = []
        for name in _names(tokens):
            if name not in self._blocks:
                break
            cache.append(self._blocks[name])
            used.append(name)
        self._touch(used)
        return BLOCK * len(used)

    def keep(self, tokens: Sequence[int], cache: Cache, positions: int) -> None:
        """Keeps what a cache holds of `tokens`, its first ones, as far as so many positions hold it beside all else."""
        names = list(_names(tokens))[: max(0, positions) // BLOCK]
        for index, name in enumerate(names):
            if name not in self._blocks:
                self._blocks[name] = cache.block(index * BLOCK, (index + 1) * BLOCK)
        self._touch(names)
        self.shrink(positions)

    def shrink(self, positions: int) -> None:
        """Forgets until no more than so many are kept."""
        while self._blocks and self.positions > positions:
            self._blocks.popitem(last=False)

    def _touch(self, names: Sequence[bytes]) -> None:
        for name in reversed(names):  # a block is of no use without those before it
            self._blocks.move_to_end(name)


def _names(tokens: Sequence[int]) -> Iterator[bytes]:
    """Each whole block's name: the hash of all tokens up to its end."""
    digest = hashlib.sha256()
    for first in range(0, len(tokens) - BLOCK + 1, BLOCK):
        digest.update(np.asarray(tokens[first : first + BLOCK], "<u4").tobytes())
        yield digest.digest()
