"""Prompt tokens that are at fault, and the proof of it: one fault, shown by a few tokens of the answer and of the
vocabulary.

An answer commits its prompt's tokens with their ends in the reading, and with a flag where a piece begins. `is_wrong`
is the judge; it sees two or three tokens. `find` is the party that looks for what to show. Of all rows of tokens for
a prompt, the right one is the one that no proof touches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from oracle.engines.exact.text_prompts import Part, Reading, known, wrapper
from oracle.engines.exact.vocabulary import Kind, Status, Token, Vocabulary, unit_bytes, units
from oracle.errors import BadProof
from oracle.merkle.tokens import ID_BYTES
from oracle.models.manifest import Manifest

LONGEST_UNIT = 4


class TextFault(IntEnum):
    """What is wrong, by what shows it: `ITextReferee.Fault`, which leaves WRAPPER to `ITokenReferee`."""

    COUNT = 0
    """Fewer tokens than the wrapper has, or more with the answer's than the context."""
    END = 1
    """The last token does not end where the reading does; or there is none, and there is something to read."""
    SPELLING = 2
    """A token does not spell the bytes up to its end, or reaches into another part."""
    STATUS = 3
    """A token that no text gives; or one that is a piece as a whole, and is not here."""
    FLAG = 4
    """A part whose first token begins no piece; a flag where there are no pieces."""
    BYTE = 5
    """A byte of a character that has a token."""
    CUT = 6
    """A piece is not cut where the cutter cuts it."""
    WHOLE = 7
    """A piece that is one token is others."""
    PAIR = 8
    """Two neighbours would not have come to be: another merge comes first."""
    ID = 9
    """Not the id that the prompt names."""
    WRAPPER = 10
    """Another token than the wrapper's stands there."""


@dataclass(frozen=True)
class TextProof:
    """What `is_wrong` judges."""

    fault: TextFault
    index: int = 0
    """The token at fault among the prompt's, wrapper included. CUT: the one that begins the piece."""
    other: int = 0
    """CUT: index of the token that shows it. BYTE, WHOLE, PAIR: the id of a token that should be."""
    depths: tuple[int, int] = (0, 0)
    """PAIR: how far down the right spine of `index` and the left spine of its follower `other` takes its parts."""


@dataclass(frozen=True)
class Case:
    """A prompt's reading and the tokens that an answer claims of it."""

    vocabulary: Vocabulary
    manifest: Manifest
    reading: Reading
    tokens: Sequence[Token]
    output_tokens: int
    """So many follow."""

    @property
    def first(self) -> int:
        """Index of the first token that the reading has; of the wrapper's suffix, if it has none."""
        return len(wrapper(self.reading, self.manifest)[0])

    @property
    def last(self) -> int:
        """Index after the reading's tokens."""
        return len(self.tokens) - len(wrapper(self.reading, self.manifest)[1])

    def start(self, index: int) -> int:
        return self.tokens[index - 1].end if index > self.first else 0

    def inner(self, index: int) -> None:
        """Raises BadProof for a token that is not the reading's."""
        if not self.first <= index < self.last:
            raise BadProof(f"token {index} is not of the prompt's reading")

    def part(self, index: int, *, of_ids: bool) -> Part:
        """The part that a token begins in. Raises BadProof."""
        self.inner(index)
        part = self.reading.part_at(self.start(index))
        if part is None or part.of_ids != of_ids:
            raise BadProof(f"token {index} does not begin in a part of {'ids' if of_ids else 'text'}")
        return part


def is_wrong(case: Case, shown: TextProof) -> bool:
    """Whether a proof shows that the tokens are not the prompt's. Raises BadProof for what is no proof."""
    lacks = case.last < case.first
    if shown.fault == TextFault.COUNT:
        return lacks or len(case.tokens) + case.output_tokens > case.manifest.context_length
    if lacks:
        raise BadProof("the answer has fewer tokens than the wrapper")
    if shown.fault == TextFault.END:
        end = case.tokens[case.last - 1].end if case.last > case.first else 0
        return end != len(case.reading.data)
    if not 0 <= shown.index < len(case.tokens):
        raise BadProof(f"the answer has no prompt token {shown.index}")
    return _JUDGES[shown.fault](case, shown)


def _wrapper(case: Case, shown: TextProof) -> bool:
    prefix, suffix = wrapper(case.reading, case.manifest)
    if shown.index < case.first:
        asked = prefix[shown.index]
    elif shown.index >= case.last:
        asked = suffix[shown.index - case.last]
    else:
        raise BadProof(f"token {shown.index} is not the wrapper's")
    return case.tokens[shown.index] != Token(asked, 0, False)


def _spelling(case: Case, shown: TextProof) -> bool:
    case.inner(shown.index)
    token, start = case.tokens[shown.index], case.start(shown.index)
    part = case.reading.part_at(start)
    if part is None:
        return True
    if part.of_ids:
        raise BadProof(f"token {shown.index} is an id")
    if token.id >= len(case.vocabulary.entries) or not start < token.end <= part.end:
        return True
    return case.vocabulary.entries[token.id].spelled != case.reading.data[start : token.end]


def _status(case: Case, shown: TextProof) -> bool:
    part, token = case.part(shown.index, of_ids=False), case.tokens[shown.index]
    status = _entry_status(case, token.id)
    if status != Status.WHOLE:
        return status == Status.NEVER
    if not token.begins:
        return True  # whatever follows, which a challenger may not have seen
    following = shown.index + 1
    ends = token.end == part.end or following == case.last or case.tokens[following].begins
    return not ends


def _entry_status(case: Case, token: int) -> Status:
    if token >= len(case.vocabulary.entries):
        raise BadProof(f"the vocabulary has no token {token}")
    return case.vocabulary.entries[token].status


def _flag(case: Case, shown: TextProof) -> bool:
    part, token = case.part(shown.index, of_ids=False), case.tokens[shown.index]
    if case.vocabulary.kind == Kind.SENTENCEPIECE:
        return token.begins
    return case.start(shown.index) == part.start and not token.begins


def _byte(case: Case, shown: TextProof) -> bool:
    part = case.part(shown.index, of_ids=False)
    if _entry_status(case, case.tokens[shown.index].id) != Status.BYTE:
        raise BadProof(f"token {shown.index} is not a byte's")
    spelled = case.vocabulary.entries[shown.other].spelled
    if case.vocabulary.bases.get(spelled) != shown.other:
        raise BadProof(f"{shown.other} is not the token of a character")
    at = case.start(shown.index)
    starts = range(max(part.start, at - len(spelled) + 1), at + 1)
    return any(case.reading.data[start : min(start + len(spelled), part.end)] == spelled for start in starts)


def _cut(case: Case, shown: TextProof) -> bool:
    part = case.part(shown.index, of_ids=False)
    piece = _piece_end(case, shown.index, part)
    if not shown.index <= shown.other < len(case.tokens) or case.part(shown.other, of_ids=False) != part:
        raise BadProof("the two tokens are not of one part")
    start, other = case.start(shown.other), case.tokens[shown.other]
    within = shown.other > shown.index and other.begins and case.start(shown.index) < start < piece
    return within or start < piece < other.end or (start == piece and not other.begins)


def _piece_end(case: Case, index: int, part: Part) -> int:
    """Where the piece ends that a token begins. Raises BadProof if it begins none."""
    if case.vocabulary.kind != Kind.BYTES or not case.tokens[index].begins:
        raise BadProof(f"no piece begins with token {index}")
    read = case.reading.data[part.start : part.end]
    return part.start + case.vocabulary.piece_end(read, case.start(index) - part.start)


def _whole(case: Case, shown: TextProof) -> bool:
    part = case.part(shown.index, of_ids=False)
    piece = _piece_end(case, shown.index, part)
    if not case.vocabulary.whole_words or _entry_status(case, shown.other) not in (Status.PLAIN, Status.WHOLE):
        raise BadProof(f"no piece is token {shown.other} as a whole")
    spelled = case.vocabulary.entries[shown.other].spelled
    return spelled == case.reading.data[case.start(shown.index) : piece] and case.tokens[shown.index].id != shown.other


def _pair(case: Case, shown: TextProof) -> bool:
    part, following = case.part(shown.index, of_ids=False), shown.index + 1
    if following >= case.last or case.part(following, of_ids=False) != part or case.tokens[following].begins:
        raise BadProof(f"token {shown.index} has no neighbour to merge with")
    entries = case.vocabulary.entries
    _entry_status(case, shown.other)
    left, left_limit = _down(case, case.tokens[shown.index].id, shown.depths[0], of_right=True)
    right, right_limit = _down(case, case.tokens[following].id, shown.depths[1], of_right=False)
    made = entries[shown.other]
    if (made.left, made.right) != (left, right):
        raise BadProof(f"token {shown.other} is made of other parts")
    return (left_limit is None or made.rank < left_limit) and (right_limit is None or made.rank <= right_limit)


def _down(case: Case, token: int, depth: int, *, of_right: bool) -> tuple[int, int | None]:
    """A token on a spine, and the rank of the one that swallows it there; None for the spine's first."""
    _entry_status(case, token)
    spine = case.vocabulary.right_spine(token) if of_right else case.vocabulary.left_spine(token)
    if not 0 <= depth < len(spine):
        raise BadProof(f"token {token} has no part at depth {depth}")
    return spine[depth], case.vocabulary.entries[spine[depth - 1]].rank if depth else None


def _id(case: Case, shown: TextProof) -> bool:
    part, start = case.part(shown.index, of_ids=True), case.start(shown.index)
    named = int.from_bytes(case.reading.data[start : start + ID_BYTES], "big")
    return start + ID_BYTES > part.end or case.tokens[shown.index] != Token(
        known(named, len(case.vocabulary.entries), case.manifest), start + ID_BYTES, False
    )


_JUDGES = {
    TextFault.WRAPPER: _wrapper,
    TextFault.SPELLING: _spelling,
    TextFault.STATUS: _status,
    TextFault.FLAG: _flag,
    TextFault.BYTE: _byte,
    TextFault.CUT: _cut,
    TextFault.WHOLE: _whole,
    TextFault.PAIR: _pair,
    TextFault.ID: _id,
}


def find(case: Case, known: int | None = None) -> TextProof | None:
    """The first fault of the tokens; None if they are the prompt's.

    known: how many are, if not all. Then None if those show no fault; what stands for the others begins pieces, so that
    no fault shows by it.
    """
    if is_wrong(case, TextProof(TextFault.COUNT)):
        return TextProof(TextFault.COUNT)
    known = len(case.tokens) if known is None else known
    for index in [*range(case.first), *range(case.last, len(case.tokens))]:
        if index < known and _wrapper(case, shown := TextProof(TextFault.WRAPPER, index)):
            return shown
    walk = _Walk(case)
    for index in range(case.first, min(case.last, known)):
        found = _fault_at(case, index, walk)
        if found is not None:
            return found
    if known < case.last:
        return None
    return TextProof(TextFault.END) if is_wrong(case, TextProof(TextFault.END)) else None


def _fault_at(case: Case, index: int, walk: "_Walk") -> TextProof | None:
    """The first fault of one token, if all before it are right."""
    part = case.reading.part_at(case.start(index))
    of_ids = part is not None and part.of_ids
    for fault in (TextFault.ID,) if of_ids else (TextFault.SPELLING, TextFault.FLAG, TextFault.STATUS):
        if _JUDGES[fault](case, shown := TextProof(fault, index)):
            return shown
    if part is None or of_ids:
        return None
    return _byte_fault(case, part, index) or walk.fault(part, index) or _pair_fault(case, part, index)


def _byte_fault(case: Case, part: Part, index: int) -> TextProof | None:
    if case.vocabulary.entries[case.tokens[index].id].status != Status.BYTE:
        return None
    base = _base_around(case, part, case.start(index))
    return None if base is None else TextProof(TextFault.BYTE, index, base)


def _pair_fault(case: Case, part: Part, index: int) -> TextProof | None:
    """Of a token and the one before it."""
    token = case.tokens[index]
    if case.start(index) == part.start or token.begins:
        return None
    crossing = case.vocabulary.crossing(case.tokens[index - 1].id, token.id)
    return None if crossing is None else TextProof(TextFault.PAIR, index - 1, crossing[2], crossing[:2])


def _base_around(case: Case, part: Part, at: int) -> int | None:
    """The token of the character that holds a byte, if it has one."""
    for start in range(max(part.start, at - LONGEST_UNIT + 1), at + 1):
        spelled = unit_bytes(units(case.reading.data[start : min(start + LONGEST_UNIT, part.end)])[0])
        if start + len(spelled) > at and spelled in case.vocabulary.bases:
            return case.vocabulary.bases[spelled]
    return None


class _Walk:
    """A walk over the tokens that compares where pieces begin; each part is cut once."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._cut: dict[int, dict[int, int]] = {}
        self._begun, self._end = 0, 0
        """The token that begins the piece, and where the piece ends."""

    def fault(self, part: Part, index: int) -> TextProof | None:
        """The next token's."""
        case, start, token = self._case, self._case.start(index), self._case.tokens[index]
        if case.vocabulary.kind != Kind.BYTES:
            return None
        first = start in (part.start, self._end)
        if first and token.begins:
            self._begun, self._end = index, self._piece_end(part, start)
        if token.begins != first or token.end > self._end:
            return TextProof(TextFault.CUT, self._begun, index)
        whole = case.vocabulary.words.get(case.reading.data[start : self._end]) if first else None
        return None if whole is None or whole == token.id else TextProof(TextFault.WHOLE, index, whole)

    def _piece_end(self, part: Part, start: int) -> int:
        cut = self._cut.get(part.start)
        if cut is None:
            cut, at = {}, part.start
            for piece in self._case.vocabulary.pieces(self._case.reading.data[part.start : part.end]):
                cut[at] = at + len(piece)
                at += len(piece)
            self._cut[part.start] = cut
        return cut[start]
