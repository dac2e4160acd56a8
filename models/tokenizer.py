"""Byte-level BPE as GPT-2 has it: learned from word counts here, run by llama.cpp from the merges in the GGUF.

The encoder here exists to make training data; a test holds it equal to llama.cpp's. Digits never merge, so a number is
read digit by digit. Special tokens have no spelling: nothing in a prompt turns into one.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from gguf import GGUFReader

SPECIALS = ("<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|done|>")
BEGIN, END, USER, ASSISTANT, DONE = range(len(SPECIALS))
UNUSED = "<|unused"
PRE_TOKENIZER = "gpt-2"  # llama.cpp's name of the pattern below
# \p{L} and \p{N} of the original as near as `re` comes; signs such as ½, which training never shows, fall otherwise.
_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

Pair = tuple[str, str]


def _byte_letters() -> list[str]:
    """GPT-2's printable stand-in for each byte: itself where printable, else the next letter from U+0100."""
    plain = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(b) if b in plain else chr(next(spare)) for b in range(256)]


LETTERS = _byte_letters()


def pieces(text: str) -> list[str]:
    """The stretches of `text` that merges never cross, each spelled in byte letters."""
    return ["".join(LETTERS[b] for b in piece.encode()) for piece in _PIECE.findall(text)]


@dataclass(frozen=True)
class Tokenizer:
    merges: tuple[Pair, ...]
    _known: dict[str, list[int]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, path: Path) -> "Tokenizer":
        """The tokenizer inside a GGUF."""
        merges = GGUFReader(path).fields["tokenizer.ggml.merges"].contents()
        return cls(tuple((a, b) for a, b in (merge.split(" ") for merge in merges)))

    @cached_property
    def vocabulary(self) -> list[str]:
        """Spellings in the order of ids. What two merges spell has the later one's id; the earlier is never used."""
        spelled = [*SPECIALS, *LETTERS, *(a + b for a, b in self.merges)]
        last = {spelling: i for i, spelling in enumerate(spelled)}
        return [spelling if last[spelling] == i else f"{UNUSED}{i}|>" for i, spelling in enumerate(spelled)]

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {token: i for i, token in enumerate(self.vocabulary)}

    @cached_property
    def _ranks(self) -> dict[Pair, int]:
        return {pair: rank for rank, pair in enumerate(self.merges)}

    def encode(self, text: str) -> list[int]:
        return [token for piece in pieces(text) for token in self._encode_piece(piece)]

    def _encode_piece(self, piece: str) -> list[int]:
        if piece not in self._known:
            parts = list(piece)
            while len(parts) > 1:
                best = min(pairwise(parts), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
                if best not in self._ranks:
                    break
                parts = _merged(parts, best)
            self._known[piece] = [self._ids[part] for part in parts]
        return self._known[piece]


def learn(texts: Iterable[str], size: int) -> Tokenizer:
    """The tokenizer of `size` tokens whose merges are, one after the other, the most frequent pair in `texts`."""
    counts = Counter(piece for text in texts for piece in pieces(text))
    spelled = {word: list(word) for word in counts}
    where: dict[Pair, Counter[str]] = {}
    frequency: Counter[Pair] = Counter()

    def count(word: str, sign: int) -> None:
        for pair in zip(spelled[word], spelled[word][1:], strict=False):
            if not any(part.isdigit() for part in "".join(pair)):
                frequency[pair] += sign * counts[word]
                where.setdefault(pair, Counter())[word] += sign

    for word in spelled:
        count(word, +1)
    merges: list[Pair] = []
    while len(SPECIALS) + len(LETTERS) + len(merges) < size:
        best = max(frequency, key=lambda pair: (frequency[pair], pair))  # the pair itself breaks ties
        merges.append(best)
        for word in [word for word, times in where[best].items() if times > 0]:
            count(word, -1)
            spelled[word] = _merged(spelled[word], best)
            count(word, +1)
    return Tokenizer(tuple(merges))


def _merged(parts: list[str], pair: Pair) -> list[str]:
    out: list[str] = []
    i = 0
    while i < len(parts):
        if tuple(parts[i : i + 2]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out
