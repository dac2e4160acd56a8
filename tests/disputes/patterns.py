"""Patterns of answers, vocabularies to spell them with, their right answers, and answers that are not, as a liar would
make them of the right one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from random import Random
from types import SimpleNamespace
from typing import Any

from disputes.typed import LogitsAt, Said, tokens_of
from exact.plain_patterns import table_of, true_table

from oracle.disputes import pattern_referee, token_referee
from oracle.disputes.inputs import NO_ROOT
from oracle.disputes.pattern_referee import PatternRefutation
from oracle.disputes.token_referee import Refutation
from oracle.engines.answer_types import Pattern, pattern_type, typed_prompt
from oracle.engines.exact.vocabulary import Entry, unread
from oracle.errors import BadProof

Row = Sequence[tuple[int, int, int]]
"""Of a table: lowest byte, highest byte and target of each range."""
LETTERS = b"abc"
DEAD = 65_535
"""The need of a state from which nothing ends an output."""


def table(rows: Sequence[Row], needs: Sequence[int]) -> bytes:
    """Of a pattern. rows, needs: of each state. States with the same row share a shape."""
    shapes = list(dict.fromkeys(map(tuple, rows)))
    return table_of([(shapes.index(tuple(row)), need) for row, need in zip(rows, needs, strict=True)], shapes)


def some_table(random: Random) -> bytes:
    """True, lying about what its states need, or hostile: with anything in it."""
    states = random.randrange(1, 7)
    rows = [[_some_range(random, states) for _ in range(random.randrange(4))] for _ in range(states)]
    ends = {state for state in range(states) if random.random() < 0.4}
    if random.random() < 0.5:
        return true_table(rows, ends)
    needs = [random.choice((0, 1, 2, 3, DEAD)) for _ in rows]
    if random.random() < 0.4:
        return table(rows, needs)
    rows[0] = [_some_range(random, states) for _ in range(random.choice((8, 9, 15, 16, 17)))]
    beyond = (97, 99, random.choice((32_768, 32_769, 40_000, states, 65_535)))
    rows = [[*row, beyond] if len(row) < 4 else row for row in rows]
    made = bytearray(table(rows, needs))
    for _ in range(random.randrange(4)):
        made[random.randrange(len(made))] = random.randrange(256)
    return bytes(made[: random.randrange(len(made) + 1)] if random.random() < 0.3 else made)


def _some_range(random: Random, states: int) -> tuple[int, int, int]:
    low, high = sorted(random.choices(LETTERS, k=2)) if random.random() < 0.9 else (random.randrange(256), 97)
    return low, high, random.randrange(states)


def some_entries(random: Random, size: int) -> tuple[Entry, ...]:
    """Of a vocabulary of short words, some spelled by several tokens, some by none."""
    return unread(bytes(random.choices(LETTERS, k=random.choice((0, 1, 1, 1, 2, 2, 3)))) for _ in range(size))


def invented_model(entries: Sequence[Entry]) -> Any:
    """As much of `ModelInputs` as the search for faults needs; what it shows of an entry has no proof."""
    shape = SimpleNamespace(vocabulary=len(entries))
    shown = lambda wanted: (entries[wanted.token].leaf, NO_ROOT, [], [])  # noqa: E731
    return SimpleNamespace(entries=entries, architecture=shape, input=shown)


def prompt(random: Random, root: bytes, inner: bytes) -> bytes:
    """Typed, its type a pattern, well made most times."""
    made = bytearray(typed_prompt(pattern_type(some_table(random), root), inner))
    if random.random() < 0.1:
        made[random.randrange(1, min(len(made), 20))] ^= 1 << random.randrange(8)
    return bytes(made[: random.randrange(1, len(made))] if random.random() < 0.1 else made)


# ANSWERS


def said(type_: Pattern, tokens: Sequence[int], entries: Sequence[Entry]) -> Said:
    """With the ends and the output that the tokens have. Tokens that the vocabulary lacks spell nothing."""
    known = [token < len(entries) and token not in type_.stops for token in tokens]
    spelled = [entries[token].spelled if real else b"" for token, real in zip(tokens, known, strict=True)]
    return Said(tuple(tokens), tuple(accumulate(map(len, spelled))), b"".join(spelled))


def may_follow(type_: Pattern, tokens: Sequence[int], entries: Sequence[Entry]) -> list[int]:
    """What a pattern allows after some tokens that it allows, by docs/answers.md."""
    output = said(type_, tokens, entries).output
    state = type_.walk(output)
    assert state is not None
    others = [
        token
        for token, entry in enumerate(entries)
        if type_.allows(state, len(output), len(tokens), token, entry.spelled)
    ]
    return sorted([*others, type_.stop]) if type_.need(state) == 0 or not others else others


def right_answer(type_: Pattern, logits: LogitsAt, entries: Sequence[Entry]) -> Said:
    """By the rules of docs/answers.md and nothing else."""
    tokens: list[int] = []
    while type_.stop not in tokens:
        row = logits(tokens)
        tokens.append(max(may_follow(type_, tokens, entries), key=lambda token: (row[token], -token)))
    return said(type_, tokens, entries)


def wrong_answers(
    random: Random, type_: Pattern, right: Said, entries: Sequence[Entry], logits: LogitsAt
) -> Iterator[Said]:
    """Each a change of the right one: other tokens, another end, another text."""
    size, length = len(entries), len(right.tokens)
    for at in range(length):
        allowed = may_follow(type_, right.tokens[:at], entries)
        others = [token for token in allowed if token != right.tokens[at]]
        for token in {random.randrange(size), *random.sample(others, min(2, len(others))), *type_.stops}:
            if token != right.tokens[at]:
                yield said(type_, [*right.tokens[:at], token, *right.tokens[at + 1 :]], entries)
                yield said(type_, [*right.tokens[:at], token, type_.stop], entries)
                if token in others:
                    yield _gone_on(type_, [*right.tokens[:at], token], entries, logits)
        yield (
            said(type_, right.tokens[: at + 1], entries)
            if at + 1 < length
            else said(type_, [*right.tokens, random.randrange(size)], entries)
        )
        yield replace(right, ends=(*right.ends[:at], right.ends[at] + random.randrange(1, 3), *right.ends[at + 1 :]))
    yield said(type_, [*right.tokens[:-1], size + random.randrange(3), type_.stop], entries)
    yield replace(right, output=right.output + b"a")
    yield replace(right, output=b"a" + right.output)
    yield replace(right, output=right.output.ljust(8_193, b"a"))
    if right.output:
        yield replace(right, output=right.output[:-1])
        yield replace(right, output=right.output[:-1] + bytes([right.output[-1] ^ 1]))


def _gone_on(type_: Pattern, begun: Sequence[int], entries: Sequence[Entry], logits: LogitsAt) -> Said:
    """What the model would have answered had it begun so."""
    tokens = [*begun]
    while type_.stop not in tokens:
        row = logits(tokens)
        tokens.append(max(may_follow(type_, tokens, entries), key=lambda token: (row[token], -token)))
    return said(type_, tokens, entries)


@dataclass(frozen=True)
class Better:
    """Another token at a step whose logit shows an answer wrong."""

    step: int
    other: int


@dataclass(frozen=True)
class Asked:
    """A pattern, and how a model would answer it."""

    type: Pattern
    model: Any
    logits: LogitsAt
    before: Sequence[int] = (1, 9, 5, 6)
    """The prompt's tokens, with their marks."""
    prompt: bytes = b""
    _right: dict[tuple[int, ...], int | None] = field(default_factory=dict)

    @property
    def entries(self) -> Sequence[Entry]:
        return tuple(self.model.entries)

    def shown_wrong(self, said: Said) -> Refutation | PatternRefutation | Better | None:
        """What shows an answer wrong, as a challenger finds it; None if nothing does."""
        tokens = tokens_of(self.before, said)
        count = len(tokens.output)
        found = token_referee.find_in_pattern(self.type, tokens, count, self.prompt, said.output, self.model)
        if found is not None:
            return found
        for step, span in enumerate(pattern_referee.spans(tokens)):
            right = self._right_token(tokens.output[:step], said.output[: span.start])
            if right is not None and right != span.token:
                return Better(step, right)
        return None

    def _right_token(self, tokens: tuple[int, ...], output: bytes) -> int | None:
        """Spelled right, so that the output follows from the tokens."""
        if tokens not in self._right:
            row = self.logits(tokens)
            self._right[tokens] = pattern_referee.right_token(self.type, output, len(tokens), row, self.model.entries)
        return self._right[tokens]

    def is_shown(self, said: Said, better: Better) -> bool:
        """By the rule about two logits. Raises BadProof."""
        span = pattern_referee.spans(tokens_of(self.before, said))[better.step]
        spelled, row = self.model.entries[better.other].spelled, self.logits(said.tokens[: better.step])
        return pattern_referee.is_wrong_choice(self.type, said.output, better.step, span, better.other, spelled, row)

    def touched(self, said: Said) -> list[Any]:
        """Every proof there is that shows an answer wrong."""
        tokens, count, found = tokens_of(self.before, said), len(said.tokens), list[Any]()
        wrong = token_referee.find_in_pattern(self.type, tokens, count, self.prompt, said.output, self.model)
        found += [] if wrong is None else [wrong]
        for step, span in enumerate(pattern_referee.spans(tokens)):
            if pattern_referee.is_wrong_token(self.type, said.output, count, step, span):
                found.append((step, span))
            for other in range(len(self.model.entries)):
                try:
                    if self.is_shown(said, Better(step, other)):
                        found.append((step, other))
                except BadProof:
                    continue
        for other, entry in enumerate(self.model.entries):
            if pattern_referee.is_wrong_stop(self.type, said.output, count, other, entry.spelled):
                found.append(("stop", other))
        return found
