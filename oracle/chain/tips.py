"""What a block's producer gets: the largest of what is suggested, what the chain's last blocks paid, and what a refusal
asked for. Of what endpoints suggest, and of what they say was paid, the least counts: one alone cannot have us overpay.

Some chains take no transaction below a floor (25 gwei, say), and their endpoints suggest less. Suggestion and history
are both optional methods.
"""

import re

from oracle.chain.rpc import Rpc
from oracle.chain.types import Block

HISTORY_BLOCKS, PERCENTILE = 10, 20
BLIND_FACTOR = 3
"""By which a tip grows after a refusal that names no amount."""
FLOOR_BLOCKS = 32
"""For so many after the last refusal its floor counts: a crowd passes, and words may be wrong."""
GWEI = 10**9
# geth, bor, bsc: "gas tip cap 1, minimum needed 25000000000"; older bor: "tip needed 25000000000, tip permitted 1";
# coreth: "have gas tip cap (0) < pool minimum (1)"; Nethermind: "EffectivePriorityFeePerGas too low 10 < 20".
_LEAST = re.compile(
    r"(?:minimum(?: needed| required)?|needed|required|at least|<)[\s:=(]*(\d{1,30})(\s*gwei)?", re.IGNORECASE
)
_OF_BASE_FEE = re.compile(r"base.?fee", re.IGNORECASE)


def least_tip(words: str) -> int | None:
    """The tip in wei per gas that a refusal says is needed; None if it names none."""
    found = _LEAST.search(words)
    if found is None or _OF_BASE_FEE.search(words):
        return None
    return int(found[1]) * (GWEI if found[2] else 1)


def _median(tips: list[int]) -> int:
    """The median over blocks that hold transactions; 0 if none does."""
    paid = sorted(tip for tip in tips if tip)
    return paid[len(paid) // 2] if paid else 0


class Tips:
    """The tips of one sender."""

    def __init__(self, rpc: Rpc) -> None:
        self._rpc = rpc
        self.floor_wei = 0
        """What endpoints were found to take at least."""
        self._refused_at = 0
        self._head = 0
        self._at: bytes | None = None
        self._wei = 0

    async def wei(self, head: Block) -> int:
        """The tip to begin with, wei per gas; asked once a head."""
        self._head = head.number
        if head.number - self._refused_at >= FLOOR_BLOCKS:
            self.floor_wei = 0
        if self._at != head.hash:
            suggested = await self._rpc.priority_fee()
            paid = min(map(_median, await self._rpc.tips_paid(HISTORY_BLOCKS, PERCENTILE)), default=0)
            self._wei = max(suggested, paid)
            self._at = head.hash
        return max(self._wei, self.floor_wei)

    def refused(self, tip_wei: int, words: str, most_wei: int) -> None:
        """An endpoint would not take a transaction with that tip. most_wei: an amount above it is not believed, since
        nothing could be sent then."""
        if _OF_BASE_FEE.search(words):
            return
        named = least_tip(words)
        wanted = BLIND_FACTOR * tip_wei if named is None or named > most_wei else named
        self.floor_wei, self._refused_at = max(self.floor_wei, wanted), self._head
