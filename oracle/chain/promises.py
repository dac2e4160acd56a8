"""What a service's terms need of its chain, and whether the chain can keep it.

An answer that was sampled is proven wrong with the header of its seed's block: the header's fields must hash to the
block's hash. A seed must be remembered as long as a request may be answered: EIP-2935 keeps 8,191 block hashes,
27 hours of twelve-second blocks, four and a half of two-second ones. This module measures both and changes nothing.
"""

from dataclasses import dataclass
from typing import Protocol

from oracle.chain.types import Block
from oracle.errors import UnknownHeader

REMEMBERED_BLOCKS = 8_191
SPAN = 256
"""Blocks over which the time between them is measured."""


class Chain(Protocol):
    """What is asked of an endpoint; see `Rpc`."""

    async def block(self, number: int) -> Block | None: ...

    async def header(self, block_hash: bytes) -> bytes | None: ...


@dataclass(frozen=True)
class Promises:
    """What a chain can keep."""

    shows_headers: bool
    """Whether the fields of a header hash to the block's hash."""
    remembers_seconds: float
    """How long contracts know a block hash, at the pace of the latest blocks; infinite if there are too few."""

    def broken(self, lifetime_seconds: int, *, by_game: bool) -> str | None:
        """Why a service of such terms must not be served here; None if it may. by_game: the dispute game judges it."""
        if by_game and not self.shows_headers:
            return "this chain's headers do not hash to its block hashes: no sampled answer could be proven wrong"
        if self.remembers_seconds < lifetime_seconds:
            return (
                f"requests live {lifetime_seconds} s, but this chain forgets their seeds after "
                f"{self.remembers_seconds:.0f} s: whoever answers late could not"
            )
        return None


async def measured(chain: Chain, head: Block) -> Promises:
    """What the chain can keep, measured at `head`. Raises Transient errors."""
    try:
        shows = await chain.header(head.hash) is not None
    except UnknownHeader:
        shows = False
    older = await chain.block(head.number - SPAN) if head.number >= SPAN else None
    pace = float("inf") if older is None else (head.timestamp - older.timestamp) / SPAN
    return Promises(shows, REMEMBERED_BLOCKS * pace)
