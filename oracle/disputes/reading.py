"""Reading an answer's tokens where they do not follow from its text: its node shows the tree over them, part by part.

The challenger knows what the model answers, so it needs no more of the tree than the way to the first entry that
differs from its own. There either the tokens are at fault (`faults.py`), or the model chooses another token, which a
game about the pass then shows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from oracle.disputes.faults import NOTHING, Fault, Refutation, refuting
from oracle.disputes.game import Claim, Game, Move, Openings, Stage, picked, place
from oracle.disputes.inputs import Input, ModelInputs, Spelling, entry_input
from oracle.ids import CaseId
from oracle.merkle.tokens import ENTRIES, ENTRY_BYTES, LEAF_BYTES, Tokens
from oracle.merkle.tree import Tree, leaf_hash

NO_TOKEN = (1 << 32) - 1


def own_tokens(prompt: Sequence[int], output: Sequence[int], lengths: Sequence[int], count: int) -> Tokens:
    """What the model answers, cut to `count` output tokens; where it stops before, filled up with what no token is."""
    missing = count - len(output)
    ends = [*list(accumulate(lengths))[:count], *[NO_TOKEN] * missing]
    return Tokens(tuple(prompt), (*output[:count], *[NO_TOKEN] * missing), tuple(ends))


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

    def difference(self, own: Tokens) -> int | None:
        """The first part of the tokens that is not the challenger's; None if all are. Prompts must be of one length."""
        pairs = enumerate(zip(self.nodes, own.upper, strict=False))
        return next((index for index, (theirs, mine) in pairs if theirs != mine), None)


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


def shown(own: Tokens, case: CaseId, openings: Openings) -> Shown | None:
    """What is open of an answer's tokens; None as long as the part with the first difference is not."""
    opened = openings.get(place(case, Stage.TOKENS, 0))
    upper = None if opened is None else Upper.of(opened)
    if upper is None or upper.prompt_count != len(own.prompt):
        return None
    part = upper.difference(own)
    values = None if part is None else openings.get(place(case, Stage.VALUES, 0, 0, 0, own.below, part))
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
    return Shown(own.prompt, output, ends, upper, own, index, part, entries)


def move(
    game: Game,
    openings: Openings,
    own: Tokens,
    claim: Claim,
    prompt: bytes,
    output: bytes,
    model: ModelInputs,
) -> Move | None:
    """The challenger's: what is to be opened next, which pass the game is about, or a refutation.

    own: by `own_tokens`. prompt, output: the request's and the answer's bytes.
    """
    tokens = shown(own, game.case, openings)
    if tokens is not None:
        fault = _fault(tokens, prompt, output, model)
        if fault is None:
            return Move("pickPosition", (claim.request, claim.answer, tokens.words, tokens.index))
        return refuting(claim, tokens.words, fault)
    upper = Upper.of(openings[game.place])
    if upper.prompt_count != len(own.prompt):
        return refuting(claim, upper.words, Refutation(Fault.PROMPT, 0, prompt, ()))
    part = upper.difference(own)
    return None if part is None else picked(upper.nodes, part)


def _fault(tokens: Shown, prompt: bytes, output: bytes, model: ModelInputs) -> Refutation | None:
    """Why the first entry that differs cannot be; None if it can, and is not the model's choice."""
    index, own, count = tokens.index, tokens.own, len(tokens.own.prompt)
    entry = entry_input(tokens, index)
    if index < count:
        return Refutation(Fault.PROMPT, index, prompt, (entry,))
    if index >= len(own.ids):
        return Refutation(Fault.PADDING, index, b"", (entry,))
    if own.ids[index] == NO_TOKEN:
        last = own.ids.index(NO_TOKEN) - 1
        return Refutation(Fault.END, last, b"", (entry_input(tokens, last),))
    token = tokens.ids[index]
    known = token < model.architecture.vocabulary
    if known and token != own.ids[index]:
        return None
    before: Input = entry_input(tokens, index - 1) if index > count else NOTHING
    spelled = model.input(Spelling(token)) if known else NOTHING
    return Refutation(Fault.TEXT, index, output, (entry, before, spelled))


def _leaves(entries: bytes) -> list[bytes]:
    return [entries[at : at + LEAF_BYTES] for at in range(0, len(entries), LEAF_BYTES)]


def _entries(data: bytes) -> list[tuple[int, int]]:
    """Ids and ends."""
    pieces = [data[at : at + ENTRY_BYTES] for at in range(0, len(data), ENTRY_BYTES)]
    return [(int.from_bytes(each[:4], "big"), int.from_bytes(each[4:], "big")) for each in pieces]
