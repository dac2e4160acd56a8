"""Guesses at what a model says next: what followed the same few tokens before, in the prompt or in the answer itself.

A guess changes nothing about an answer: it is read in the same pass as the token before it, and taken only as far as
the model chooses the same tokens. Answers that quote their prompt are longer a pass so; where guesses miss, they grow
shorter until there are none, for a while. The idea is prompt look-up decoding (A. Saxena, 2023).
"""

from collections.abc import Sequence

GRAM = 3  # tokens that must be the same
LONGEST = 7  # tokens of a guess: with the one before, as many rows as the kernels multiply at a time
REST = 16  # tokens without a guess, once they miss


class Lookup:
    """The tokens of one sequence, and guesses at the next."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens: list[int] = []
        self._after: dict[tuple[int, ...], int] = {}
        """Where what follows a few tokens stands, the last time."""
        self._length, self._rest = LONGEST, 0
        for token in tokens:
            self.add(token)

    def add(self, token: int) -> None:
        """Adds tokens that are certain."""
        if len(self._tokens) >= GRAM:
            self._after[tuple(self._tokens[-GRAM:])] = len(self._tokens)
        self._tokens.append(token)
        self._rest = max(0, self._rest - 1)

    def guess(self) -> Sequence[int]:
        """What may come next; empty if nothing is known, or guesses missed of late."""
        at = None if self._rest else self._after.get(tuple(self._tokens[-GRAM:]))
        return () if at is None else self._tokens[at : at + self._length]

    def judged(self, right: int, read: int) -> None:
        """Learns that `right` of the `read` tokens of the last guess were right."""
        if read == 0:
            return
        if right == read:
            self._length = min(LONGEST, 2 * self._length)
        elif right == 0:
            self._length //= 2
            if self._length == 0:
                self._length, self._rest = 1, REST
