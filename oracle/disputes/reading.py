"""Reading an answer's tokens where they do not follow from its text: its node shows the tree over them, part by part.

The challenger knows what the model answers, so it needs no more of the tree than the way to the first entry that
differs from its own. There either the tokens are at fault (`token_referee.py`), or the model chooses another token,
which a game about the pass then shows. Of a text's tokens the fault may show behind the first that differs: the
challenger then asks for the parts that follow, up to MORE_PARTS.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate

from oracle.disputes.answer_referee import NOTHING, AnswerRefutation, says_nothing
from oracle.disputes.game import MORE_PARTS, Claim, Game, Move, Openings, Stage, part_place, picked, place
from oracle.disputes.inputs import Input, ModelInputs, Spelling, entry_input
from oracle.disputes.pattern_referee import PatternFault, PatternRefutation, is_too_long
from oracle.disputes.token_referee import (
    AnyRefutation,
    Fault,
    Refutation,
    find_in_pattern,
    find_in_prompt,
    refuting,
    token_of,
)
from oracle.engines.answer_types import AnswerType, Pattern
from oracle.engines.exact.vocabulary import Token
from oracle.ids import CaseId
from oracle.merkle.tokens import BELOW, ENTRIES, ENTRY_BYTES, LEAF_BYTES, Tokens
from oracle.merkle.tree import Tree, depth, leaf_hash

NO_TOKEN = (1 << 32) - 1


def own_tokens(prompt: Sequence[int], output: Sequence[int], lengths: Sequence[int], count: int) -> Tokens:
    """What the model answers, cut to `count` output tokens; where it stops before, filled up with what no token is."""
    missing = count - len(output)
    ends = [*list(accumulate(lengths))[:count], *[NO_TOKEN] * missing]
    return replace(Tokens.spelled(prompt, (), ()), output=(*output[:count], *[NO_TOKEN] * missing), ends=tuple(ends))


def computable(tokens: Tokens) -> tuple[int, ...]:
    """Those that a pass may go over: all but the last, or up to where the model stops."""
    ids = tokens.ids[:-1]
    return ids[: ids.index(NO_TOKEN)] if NO_TOKEN in ids else ids


@dataclass(frozen=True)
class Upper:
    """What the node showed first."""

    prompt_count: int
    nodes: tuple[bytes, ...]

    @classmethod
    def of(cls, opened: Sequence[bytes]) -> "Upper":
        count, *nodes = opened
        return cls(int.from_bytes(count, "big"), tuple(nodes))

    @property
    def words(self) -> tuple[int, bytes]:
        """IReferee.Tokens"""
        return self.prompt_count, self.tree.root

    @cached_property
    def tree(self) -> Tree:
        return Tree(self.nodes)

    def below(self, own: Tokens) -> int:
        """Levels of the tree below these nodes. own: with as many output tokens as the answer."""
        return min(depth(-(-(self.prompt_count + len(own.output)) // ENTRIES)), BELOW)

    def difference(self, own: Tokens) -> int | None:
        """The first part of the tokens that is not the challenger's; None if all are."""
        below = self.below(own)
        for part, node in enumerate(self.nodes):
            if Tree(leaf_hash(leaf) for leaf in _leaves(own.part(part, below))).root != node:
                return part
        return None


@dataclass(frozen=True)
class Shown(Tokens):
    """An answer's tokens up to the first that differs, and what proves each of them.

    All parts before the one that was opened are the challenger's own.
    """

    upper_part: Upper
    own: Tokens
    index: int
    """Of the first entry that differs, among prompt and output."""
    shown_part: int
    entries: bytes
    """All leaves of that part."""

    @property
    def words(self) -> tuple[int, bytes]:
        return self.upper_part.words

    def leaf(self, index: int) -> bytes:
        if index >> self.own.below != self.shown_part:
            return self.own.leaf(index)
        return _leaves(self.entries)[index - (self.shown_part << self.own.below)]

    def proof(self, leaf: int) -> list[bytes]:
        below, part = self.own.below, leaf >> self.own.below
        leaves = _leaves(self.entries if part == self.shown_part else self.own.part(part))
        within = Tree(leaf_hash(each) for each in leaves).proof(leaf - (part << below))
        return [*within, *self.upper_part.tree.proof(part)]


@dataclass(frozen=True)
class Prompt:
    """An answer's prompt tokens as far as they are shown, and what proves each."""

    upper: Upper
    own: Tokens
    parts: Mapping[int, bytes]
    """All leaves of those that were opened."""

    @property
    def known(self) -> int:
        """So many of the prompt's tokens are known, from the first on: the challenger's own up to the first part that
        differs, and those opened from there on."""
        first = self.upper.difference(self.own)
        part = len(self.upper.nodes) if first is None else first
        while part in self.parts:
            part += 1
        return min(part * ENTRIES << self.upper.below(self.own), self.upper.prompt_count)

    def part(self, index: int) -> bytes:
        return self.parts[index] if index in self.parts else self.own.part(index, self.upper.below(self.own))

    def leaf(self, index: int) -> bytes:
        below = self.upper.below(self.own)
        return _leaves(self.part(index >> below))[index & ((1 << below) - 1)]

    def proof(self, leaf: int) -> list[bytes]:
        below = self.upper.below(self.own)
        part = leaf >> below
        within = Tree(leaf_hash(each) for each in _leaves(self.part(part))).proof(leaf - (part << below))
        return [*within, *self.upper.tree.proof(part)]

    @property
    def tokens(self) -> list[Token]:
        """What is not known begins pieces, and ends nowhere."""
        known = self.known
        entries = [each for leaf in range(-(-known // ENTRIES)) for each in _entries(self.leaf(leaf))][:known]
        unknown = [Token(NO_TOKEN, 0, True)] * (self.upper.prompt_count - known)
        return [*(token_of(*entry) for entry in entries), *unknown]


def opened_prompt(own: Tokens, case: CaseId, upper: Upper, openings: Openings) -> Prompt:
    """What is open of an answer's prompt tokens."""
    below, parts = upper.below(own), dict[int, bytes]()
    for asked in range(MORE_PARTS + 1):
        for part in range(len(upper.nodes)):
            values = openings.get(part_place(case, asked, below, part))
            if values is not None:
                (parts[part],) = values
    return Prompt(upper, own, parts)


def shown(own: Tokens, case: CaseId, openings: Openings) -> Shown | None:
    """What is open of an answer's tokens; None as long as the part with the first difference is not."""
    opened = openings.get(place(case, Stage.TOKENS, 0))
    upper = None if opened is None else Upper.of(opened)
    if upper is None or upper.prompt_count != len(own.prompt):
        return None
    part = upper.difference(own)
    values = None if part is None else openings.get(part_place(case, 0, own.below, part))
    if part is None or values is None:
        return None
    (entries,) = values
    theirs, mine = _entries(entries), _entries(own.part(part))
    at = next(at for at, (one, other) in enumerate(zip(theirs, mine, strict=True)) if one != other)
    index, before = (part * ENTRIES << own.below) + at, len(own.prompt)
    known = min(max(index - before, 0), len(own.output))
    output, ends = own.output[:known], own.ends[:known]
    if before <= index < len(own.ids):
        output, ends = (*output, theirs[at][0]), (*ends, theirs[at][1])
    return Shown(own.prompt, output, ends, upper, own, index, part, entries, marks=own.marks)


def move(game: Game, openings: Openings, own: Tokens, claim: Claim, model: ModelInputs) -> Move | None:
    """The challenger's: what is to be opened next, which pass the game is about, or a refutation.

    own: by `own_tokens`; of an answer to a typed prompt that is no pattern, what its output says.
    """
    tokens = shown(own, game.case, openings)
    upper = Upper.of(openings[place(game.case, Stage.TOKENS, 0)])
    typed = claim.answer_type(len(own.prompt))
    wrong = None if typed is None or upper.prompt_count != len(own.prompt) else _output_fault(typed, own, claim)
    if wrong is not None:
        return refuting(claim, upper.words, wrong)
    if model.words is not None and (tokens is None or tokens.index < len(own.prompt)):
        return _in_text(game, openings, own, claim, model)
    if tokens is not None:
        fault = _fault(tokens, claim, model, typed)
        if fault is None:
            return Move("pickPosition", (claim.request, claim.answer, tokens.words, tokens.index))
        return refuting(claim, tokens.words, fault)
    if upper.prompt_count != len(own.prompt):
        return refuting(claim, upper.words, Refutation(Fault.PROMPT, 0, claim.prompt, b"", ()))
    part = upper.difference(own)
    return None if part is None else picked(upper.nodes, part)


def _in_text(game: Game, openings: Openings, own: Tokens, claim: Claim, model: ModelInputs) -> Move | None:
    """The challenger's, where the prompt's tokens or their number are not its own, or where that is not yet known."""
    upper = Upper.of(openings[place(game.case, Stage.TOKENS, 0)])
    read = opened_prompt(own, game.case, upper, openings)
    first = upper.difference(own)
    if first is not None and first not in read.parts:
        return picked(upper.nodes, first)
    said = (read.tokens, read.known, len(own.output))
    fault = find_in_prompt(*said, claim.prompt, claim.manifest, model, read)
    if fault is not None:
        return refuting(claim, upper.words, fault)
    following = next((part for part in range(first or 0, len(upper.nodes)) if part not in read.parts), None)
    if read.known == upper.prompt_count or following is None or game.step == MORE_PARTS:
        return None
    return picked(upper.nodes, following)


def _output_fault(typed: AnswerType, own: Tokens, claim: Claim) -> AnyRefutation | None:
    """Why an output is wrong, whatever its tokens are; None if it may be right."""
    prompt, output = claim.prompt, claim.output
    if isinstance(typed, Pattern):
        return PatternRefutation(PatternFault.OUTPUT, 0, prompt, output, ()) if is_too_long(output) else None
    if not says_nothing(typed, output, len(own.output)):
        return None
    return AnswerRefutation(prompt, output, len(own.prompt), NOTHING)


def _fault(tokens: Shown, claim: Claim, model: ModelInputs, typed: AnswerType | None) -> AnyRefutation | None:
    """Why the first entry that differs cannot be; None if it can, and is not the model's choice."""
    index, own = tokens.index, tokens.own
    entry, prompt, output = entry_input(tokens, index), claim.prompt, claim.output
    if index < len(own.prompt):
        return Refutation(Fault.PROMPT, index, prompt, b"", (entry,))
    if index >= len(own.ids):
        return Refutation(Fault.PADDING, index, b"", b"", (entry,))
    if isinstance(typed, Pattern):
        return find_in_pattern(typed, tokens, len(own.output), prompt, output, model)
    if typed is not None:
        return AnswerRefutation(prompt, output, index, entry)
    return _untyped_fault(tokens, claim, model)


def _untyped_fault(tokens: Shown, claim: Claim, model: ModelInputs) -> Refutation | None:
    index, own, count = tokens.index, tokens.own, len(tokens.own.prompt)
    entry, prompt, output = entry_input(tokens, index), claim.prompt, claim.output
    if own.ids[index] == NO_TOKEN:
        last = own.ids.index(NO_TOKEN) - 1
        return Refutation(Fault.END, last, prompt, output, (entry_input(tokens, last),))
    token = tokens.ids[index]
    known = token < model.architecture.vocabulary
    if known and token != own.ids[index]:
        return None
    before: Input = entry_input(tokens, index - 1) if index > count else NOTHING
    spelled = model.input(Spelling(token)) if known else NOTHING
    return Refutation(Fault.TEXT, index, prompt, output, (entry, before, spelled))


def _leaves(entries: bytes) -> list[bytes]:
    return [entries[at : at + LEAF_BYTES] for at in range(0, len(entries), LEAF_BYTES)]


def _entries(data: bytes) -> list[tuple[int, int]]:
    """Ids and ends."""
    pieces = [data[at : at + ENTRY_BYTES] for at in range(0, len(data), ENTRY_BYTES)]
    return [(int.from_bytes(each[:4], "big"), int.from_bytes(each[4:], "big")) for each in pieces]
