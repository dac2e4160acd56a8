"""The question that a loaded model answers before anything it says is believed.

Tokens are read one at a time and the next ones chosen; then all are read again in one pass, which computes the same by
other kernels. Of a file whose answer is written down (the shipped model's) the tokens must be those. An engine that
native code kills dies here, where no turn depends on it. What this cannot find: a device that is wrong in the same way
both times, about a model whose answer nobody has written down.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from oracle.engines.base import TokenId
from oracle.errors import ProofFailed
from oracle.models.shipped import KnownAnswer

READ, CHOSEN = 16, 4  # tokens of the question and of the answer, where none is written down

Logits = npt.NDArray[Any]
"""Of what comes next: (V,) integers, 16 fraction bits."""


class Reader(Protocol):
    """A loaded model that reads tokens one after the other."""

    def forget(self) -> None:
        """Goes back to the beginning."""

    def read(self, tokens: Sequence[TokenId], rows: int) -> list[Logits]:
        """Reads on; returns the logits after each of the last `rows` tokens."""


def prove(
    reader: Reader,
    vocabulary: int,
    context: int,
    known: KnownAnswer | None,
    slack: int | None,
    on_progress: Callable[[str, int, int], None],
) -> str:
    """What was shown, for people.

    known: of this very file. slack: how far a chosen token may lie below the best in either pass, 16 fraction bits;
    None if both passes must give the same bits.
    Raises ProofFailed.
    """
    known = None if known is None else _fitting(known, context)
    question = spread(vocabulary, context) if known is None else [TokenId(token) for token in known.prompt]
    count = max(1, min(CHOSEN, context - len(question))) if known is None else len(known.tokens)
    total = len(question) + count
    reader.forget()
    for done, token in enumerate(question):
        (row,) = reader.read([token], 1)
        on_progress("prove", done, total)
    apart, tokens = [row], [TokenId(int(row.argmax()) if known is None else known.tokens[0])]
    while len(tokens) < count:
        (row,) = reader.read(tokens[-1:], 1)
        apart.append(row)
        tokens.append(TokenId(int(row.argmax()) if known is None else known.tokens[len(tokens)]))
        on_progress("prove", len(question) + len(tokens), total)
    reader.forget()
    together = reader.read([*question, *tokens[:-1]], count)
    for token, alone, row in zip(tokens, apart, together, strict=True):
        _compare(token, alone, row, slack, is_known=known is not None)
    on_progress("prove", total, total)
    what = "the tokens that are known of this file" if known is not None else f"{count} tokens"
    return f"{what}, after {len(question)}, one at a time and in one pass"


def _fitting(known: KnownAnswer, context: int) -> KnownAnswer | None:
    """As much of the answer as a context holds; its last token is never read."""
    room = context + 1 - len(known.prompt)
    return KnownAnswer(known.prompt, known.tokens[:room]) if room > 0 else None


def spread(vocabulary: int, context: int) -> list[TokenId]:
    """Ids from all over the vocabulary, never the same two in a row, and room for one more."""
    return [TokenId((index * 2_654_435_761 + 7) % vocabulary) for index in range(max(1, min(READ, context - 1)))]


def _compare(token: TokenId, alone: Logits, row: Logits, slack: int | None, *, is_known: bool) -> None:
    if alone.min() == alone.max():
        raise ProofFailed("all tokens are as likely as each other: this engine computes nothing")
    if slack is None and not np.array_equal(alone, row):
        raise ProofFailed("the same tokens give other logits in one pass than one at a time")
    for logits in (alone, row):
        short = int(logits.max()) - int(logits[token])
        if short > (slack or 0):
            asked = "known of this file" if is_known else "chosen one at a time"
            raise ProofFailed(f"token {token}, {asked}, lies {short / 65536:.4f} logits below the best")
