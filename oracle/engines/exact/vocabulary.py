"""A vocabulary as a table, by which a text has one tokenization that arithmetic can judge.

An entry for each token says how it merges: of which two tokens, and how early. The table is the norm for text prompts
under the dispute game; `Tokenizer`, which reads the file as llama.cpp does, is what it is compared with. docs/text.md
has the rules, so that they can be written again from there.

**Pairs.** Merging takes the pair of neighbours of the lowest rank, the leftmost on a tie, and a pair's rank depends on
its two tokens alone. So a row of tokens is the tokenization of its text if and only if each token is its own text's,
and each two neighbours are their text's: until the first merge across a border, both sides run as they would alone.
(Berglund, Martens and van der Merwe, "Constructing a BPE Tokenization DFA"; the `bpe` crate of GitHub's rust-gems.)
"""

import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from oracle.engines.exact.cutter import CUTTERS, ENDS, WHOLE_WORDS
from oracle.engines.exact.tokenizer import (
    BYTE,
    BYTE_LETTERS,
    CONTROL,
    NORMAL,
    UNKNOWN,
    Merge,
    Priority,
    Tokenizer,
    merge_ranks,
    merged,
    token_pieces,
)
from oracle.engines.prompts import SPACE_MARK
from oracle.errors import BadModelFile
from oracle.merkle.tree import Tree, leaf_hash
from oracle.models.gguf import Gguf

NO_TOKEN = 0xFFFFFF  # in place of a part
UNMERGED = (NO_TOKEN, NO_TOKEN, 0)
DEEPEST_WALK = 32
QUESTION_MARK = ord("?")


class Kind(IntEnum):
    """What a vocabulary merges."""

    BYTES = 1
    """The bytes of each piece that a cutter makes of a text ("gpt2" in GGUF files)."""
    SENTENCEPIECE = 2
    """The characters of a whole text; those that no token spells become byte tokens, which never merge ("llama")."""


class Status(IntEnum):
    """What may come of text."""

    NEVER = 0
    """Not this token: control, unknown, unused and user-defined tokens, and those which no merge reaches."""
    PLAIN = 1
    """A token to which its own text merges. Without parts: one byte, or one character."""
    WHOLE = 2
    """No merge reaches it, and a piece which is this token's text is this token all the same."""
    BYTE = 3
    """One byte of a character that no token spells."""


@dataclass(frozen=True)
class Entry:
    """A token of the table."""

    status: Status
    left: int
    right: int
    """Its parts, or NO_TOKEN."""
    rank: int
    """Above both parts' ranks; 0 without parts. Tokens of equal rank merge from the left."""
    spelled: bytes
    """Also by tokens that come of no text: in an output."""

    @property
    def leaf(self) -> bytes:
        """What the vocabulary's tree holds: `status(1) left(3) right(3) rank(3) spelled`."""
        numbers = (self.left, self.right, self.rank)
        return bytes([self.status]) + b"".join(number.to_bytes(3, "big") for number in numbers) + self.spelled


@dataclass(frozen=True)
class Token:
    """A token of a text part, as an answer commits it."""

    id: int
    end: int
    """In the text, in bytes."""
    begins: bool
    """Whether a piece begins with it."""


def units(text: bytes) -> list[int]:
    """The text's code points. A byte of no well-formed UTF-8 sequence (Unicode, table 3-7) is 0xDC00 and the byte."""
    return list(map(ord, text.decode("utf-8", "surrogateescape")))


def unit_bytes(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Vocabulary:
    """The table and the numbers that say how it is used."""

    kind: Kind
    cutter: str
    """A name in `cutter.ENDS`; empty for SENTENCEPIECE."""
    whole_words: bool
    prefix: bytes
    """What is put before a text that is not empty: a space or nothing."""
    missing: frozenset[int]
    """Bytes that no token spells; each reads as `?`."""
    entries: tuple[Entry, ...]

    @cached_property
    def merges(self) -> dict[tuple[int, int], int]:
        """The token of two neighbours."""
        parts = ((entry.left, entry.right, token) for token, entry in enumerate(self.entries))
        return {(left, right): token for left, right, token in parts if left != NO_TOKEN}

    @cached_property
    def bases(self) -> dict[bytes, int]:
        """By what they spell: tokens with which merging begins."""
        entries = enumerate(self.entries)
        return {e.spelled: token for token, e in entries if e.status == Status.PLAIN and e.left == NO_TOKEN}

    @cached_property
    def byte_tokens(self) -> dict[int, int]:
        """BYTE tokens by their byte."""
        return {e.spelled[0]: token for token, e in enumerate(self.entries) if e.status == Status.BYTE}

    @cached_property
    def words(self) -> dict[bytes, int]:
        """Tokens that a piece may be as it is."""
        if not self.whole_words:
            return {}
        wholes = (Status.PLAIN, Status.WHOLE)
        return {e.spelled: token for token, e in enumerate(self.entries) if e.status in wholes}

    def read(self, text: bytes) -> bytes:
        """The text as it is tokenized: with its prefix, and `?` for each byte that no token spells."""
        if not text:
            return b""
        if self.missing:
            text = bytes(QUESTION_MARK if byte in self.missing else byte for byte in text)
        return self.prefix + text

    def encode(self, read: bytes) -> list[Token]:
        """Tokens of a text that was `read`. They spell it."""
        tokens: list[Token] = []
        end = 0
        for piece in self.pieces(read):
            for index, token in enumerate(self.tokens(piece)):
                end += len(self.entries[token].spelled)
                tokens.append(Token(token, end, self.kind == Kind.BYTES and index == 0))
        return tokens

    def pieces(self, read: bytes) -> Iterator[bytes]:
        """The parts of a text within which tokens merge."""
        if self.kind == Kind.SENTENCEPIECE:
            yield from [read] if read else []
            return
        codes, at = units(read), 0
        for length in CUTTERS[self.cutter](codes):
            yield b"".join(map(unit_bytes, codes[at : at + length]))
            at += length

    def piece_end(self, read: bytes, start: int) -> int:
        """Where the piece ends that begins at byte `start`, which depends on nothing before it. Of BYTES only."""
        codes = units(read[start:])
        return start + sum(len(unit_bytes(code)) for code in codes[: ENDS[self.cutter](codes, 0)])

    def tokens(self, piece: bytes) -> list[int]:
        """Of one piece."""
        whole = self.words.get(piece)
        return self.merged(piece) if whole is None else [whole]

    def merged(self, piece: bytes) -> list[int]:
        """Of one piece by its merges alone. Two neighbours of the lowest rank merge, the leftmost first on a tie, until
        no two merge."""
        return self._merged(list(self._symbols(piece)))

    def _symbols(self, piece: bytes) -> Iterator[int]:
        if self.kind == Kind.BYTES:
            yield from (self.bases[bytes([byte])] for byte in piece)
            return
        for code in units(piece):
            spelled = unit_bytes(code)
            base = self.bases.get(spelled)
            yield from (self.byte_tokens[byte] for byte in spelled) if base is None else [base]

    def _merged(self, symbols: list[int]) -> list[int]:
        count = len(symbols)
        before, after = list(range(-1, count - 1)), [*range(1, count), count]
        queue: list[tuple[int, int, int, int, int]] = []  # (rank, left's place, union, left, right)

        def offer(left: int, right: int) -> None:
            if left < 0 or right >= count:
                return
            union = self.merges.get((symbols[left], symbols[right]))
            if union is not None:
                heapq.heappush(queue, (self.entries[union].rank, left, union, symbols[left], symbols[right]))

        for place in range(count - 1):
            offer(place, place + 1)
        while queue:
            _, place, union, left, right = heapq.heappop(queue)
            following = after[place]
            if symbols[place] != left or following >= count or symbols[following] != right:
                continue
            symbols[place], symbols[following] = union, NO_TOKEN
            after[place] = after[following]
            if after[place] < count:
                before[after[place]] = place
            offer(before[place], place)
            offer(place, after[place])
        return [symbol for symbol in symbols if symbol != NO_TOKEN]

    def right_spine(self, token: int) -> list[int]:
        """The token, its right part, that one's right part, and so on."""
        return self._spine(token, lambda entry: entry.right)

    def left_spine(self, token: int) -> list[int]:
        """The token, its left part, that one's left part, and so on."""
        return self._spine(token, lambda entry: entry.left)

    def _spine(self, token: int, part: Callable[[Entry], int]) -> list[int]:
        spine = []
        while token != NO_TOKEN:
            spine.append(token)
            token = part(self.entries[token])
        return spine

    def crossing(self, left: int, right: int) -> tuple[int, int, int] | None:
        """A merge across the border of two neighbours that comes before they are made: how far down the left token's
        right spine and the right token's left spine it takes its parts, and what it makes. None if there is none.

        It comes first unless the token on the left spine that swallows its left part ranks no higher (it stands
        further left), or the one on the right that swallows its right part ranks lower.
        """
        rights = self.left_spine(right)
        for depth, x in enumerate(spine := self.right_spine(left)):
            for other, y in enumerate(rights):
                z = self.merges.get((x, y))
                if z is None:
                    continue
                rank = self.entries[z].rank
                early = depth == 0 or rank < self.entries[spine[depth - 1]].rank
                if early and (other == 0 or rank <= self.entries[rights[other - 1]].rank):
                    return depth, other, z
        return None


def text_table(header: Gguf) -> Vocabulary | None:
    """By which the file's vocabulary reads text; None if texts cannot be judged by one."""
    try:
        return table(header)
    except BadModelFile:
        return None


def unread(pieces: Iterable[bytes]) -> tuple[Entry, ...]:
    """Entries of a vocabulary that reads no text, of what each token spells in an output."""
    return tuple(Entry(Status.NEVER, *UNMERGED, piece) for piece in pieces)


def entries_of(header: Gguf) -> tuple[Entry, ...]:
    """A file's entries, whether or not texts can be judged by them. Raises BadModelFile."""
    words = text_table(header)
    return unread(token_pieces(header)) if words is None else words.entries


def vocabulary_tree(entries: Sequence[Entry]) -> Tree:
    """A leaf for each token id. The manifest names stop tokens."""
    return Tree(leaf_hash(entry.leaf) for entry in entries)


def table(header: Gguf) -> Vocabulary:
    """A file's table. Raises BadModelFile, with the reason, where texts cannot be judged by one."""
    tokenizer = Tokenizer(header)
    kind = Kind.SENTENCEPIECE if header.metadata["tokenizer.ggml.model"] == "llama" else Kind.BYTES
    cutter = str(header.metadata.get("tokenizer.ggml.pre", "default")) if kind == Kind.BYTES else ""
    if kind == Kind.BYTES and cutter not in ENDS:
        raise _refused(f"the referee does not cut texts as {cutter!r}")
    spelled, types = tokenizer.pieces, tokenizer.types
    normal = [
        token
        for token, text in enumerate(header.texts)
        if types[token] == NORMAL and spelled[token] and text == _written(spelled[token], kind)
    ]
    bytes_of = {token: spelled[token] for token, type_ in enumerate(types) if type_ == BYTE}
    if len({spelled[token] for token in normal}) < len(normal):
        raise _refused("two tokens spell the same")
    if kind == Kind.SENTENCEPIECE:
        bases = {token for token in normal if _characters(spelled[token]) == 1}
        if sorted(bytes_of.values()) != [bytes([byte]) for byte in range(256)]:
            raise _refused("the bytes do not have one token each")
        if b" " not in {spelled[token] for token in bases}:
            raise _refused("no token spells a space")
        missing: frozenset[int] = frozenset()
    else:
        bases = {token for token in normal if len(spelled[token]) == 1}
        missing = frozenset(range(256)) - {spelled[token][0] for token in bases}
        if QUESTION_MARK in missing:
            raise _refused("no token spells '?'")
    found = _merges(header, tokenizer, kind, set(normal) - bases)
    whole_words = cutter in WHOLE_WORDS
    unreached = Status.WHOLE if whole_words else Status.NEVER
    statuses = dict.fromkeys(normal, unreached) | dict.fromkeys(bases, Status.PLAIN)
    statuses |= dict.fromkeys(bytes_of, Status.BYTE) if kind == Kind.SENTENCEPIECE else {}
    while True:
        ranked = _ranked(found, spelled)
        reached = {token: Entry(Status.PLAIN, *merge, spelled[token]) for token, merge in ranked.items()}
        entries = tuple(
            reached.get(token) or Entry(statuses.get(token, Status.NEVER), *UNMERGED, text)
            for token, text in enumerate(spelled)
        )
        made = Vocabulary(kind, cutter, whole_words, tokenizer.prefix, missing, entries)
        lost = [token for token in found if made.merged(spelled[token]) != [token]]
        if not lost:
            return _checked(made)
        for token in lost:
            del found[token]


def _refused(reason: str) -> BadModelFile:
    return BadModelFile(f"text prompts cannot be judged: {reason}")


def _checked(made: Vocabulary) -> Vocabulary:
    reached = [token for token, entry in enumerate(made.entries) if entry.left != NO_TOKEN]
    walk = max((max(len(made.left_spine(token)), len(made.right_spine(token))) for token in reached), default=0)
    if walk > DEEPEST_WALK:
        raise _refused(f"a token is merged {walk} deep; {DEEPEST_WALK} are read")
    return made


def _written(spelled: bytes, kind: Kind) -> bytes:
    """How the tokenizer writes a text to look for its token. Of a token that is written otherwise no text comes."""
    if kind == Kind.SENTENCEPIECE:
        return spelled.replace(b" ", SPACE_MARK)
    return b"".join(BYTE_LETTERS[byte] for byte in spelled)


def _characters(spelled: bytes) -> int:
    try:
        return len(spelled.decode())
    except UnicodeDecodeError as error:
        raise _refused(f"the token {spelled!r} is not UTF-8") from error


_Merge = tuple[int, int, float]
"""A token's left part and right part, and how early the file makes it of them, the least first."""


def _merges(header: Gguf, tokenizer: Tokenizer, kind: Kind, normal: set[int]) -> dict[int, _Merge]:
    """Of each token to which its own text merges by the file: the last of these merges."""
    texts = header.texts
    ids = {text: token for token, text in enumerate(texts) if tokenizer.types[token] not in (CONTROL, UNKNOWN)}
    if kind == Kind.SENTENCEPIECE:
        scores = header.metadata.get("tokenizer.ggml.scores", [0.0] * len(texts))

        def priority(left: bytes, right: bytes) -> float | None:
            union = ids.get(left + right)
            return None if union is None else -scores[union]
    else:
        ranks = merge_ranks(header)

        def priority(left: bytes, right: bytes) -> float | None:
            return ranks.get((left, right))

    found = {}
    for token, text in enumerate(texts):
        made_of = _last_merge(text, priority) if token in normal or tokenizer.types[token] == BYTE else None
        if made_of is None:
            continue
        if token not in normal:
            raise _refused(f"the token {text!r} of a byte comes of text")
        left, right, early = made_of
        parts = ids.get(left), ids.get(right)
        for part in parts:
            if part is None or tokenizer.types[part] != NORMAL:
                raise _refused(f"the token {text!r} is made of what is not a token of text")
        found[token] = (parts[0] or 0, parts[1] or 0, early)
    return found


def _last_merge(text: bytes, priority: Priority) -> Merge | None:
    """The merge that makes a text one symbol, if its own merging does. Of characters, as files write them."""
    symbols, last = merged([unit_bytes(code) for code in units(text)], priority)
    return last if len(symbols) == 1 else None


def _ranked(found: dict[int, _Merge], spelled: Sequence[bytes]) -> dict[int, tuple[int, int, int]]:
    """Parts and rank of each merged token. Ranks are dense, above both parts', and in the file's order wherever that
    has every token after its parts; equal priorities share one."""
    levels: dict[int, tuple[float, int]] = {}
    """The latest priority among the token's own and its parts', and how many of them share it, one in the other."""
    for token in sorted(found, key=lambda token: len(spelled[token])):  # parts are shorter
        left, right, own = found[token]
        parts = [levels.get(part, (-math.inf, 0)) for part in (left, right)]
        latest = max(own, *(early for early, _ in parts))
        levels[token] = latest, max((depth + 1 for early, depth in parts if early == latest), default=0)
    order = {at: rank for rank, at in enumerate(sorted(set(levels.values())), 1)}
    return {token: (left, right, order[levels[token]]) for token, (left, right, _) in found.items()}
