"""How many transactions of one key may be on their way at once, and which kinds share the places.

A transaction waits for every one of the same key before it. So there are only as many as the chain takes in about two
blocks, as far as blocks have shown it; while an urgent one is wanted, only a few. Those with a deadline leave some
places to those without one: else a node with much to answer would never get to finalizing.
"""

from collections import Counter

RECENT_BLOCKS = 3


class Places:
    """The places of one key."""

    def __init__(self, first: int, most: int, before_moves: int) -> None:
        """first: places as long as nothing is known. most: however many blocks take. before_moves: while an urgent
        transaction is wanted."""
        self._first = first
        self._most = most
        self._before_moves = before_moves
        self._taken: Counter[int] = Counter()
        self.limit = min(first, most)
        """All places."""

    def mined(self, block: int) -> None:
        """The chain took a transaction of this key in that block."""
        self._taken[block] += 1

    def look(self, head: int) -> None:
        """Sets the limit by what the last blocks took."""
        self._taken = Counter({block: count for block, count in self._taken.items() if head - block <= RECENT_BLOCKS})
        twice = 2 * max(self._taken.values(), default=0)
        self.limit = min(max(twice, self._first), self._most)

    def are_full(self, pending: int, *, moves: bool) -> bool:
        """Whether nothing more may be sent. moves: whether an urgent transaction is wanted or on its way."""
        return pending >= (min(self.limit, self._before_moves) if moves else self.limit)

    def are_kept(self, bound: int) -> bool:
        """Whether the places that are left are for those without a deadline. bound: how many that have one, and are
        not urgent, are on their way."""
        return bound >= max(self.limit * 3 // 4, 1)
