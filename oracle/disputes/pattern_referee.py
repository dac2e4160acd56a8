"""Answers to patterns that are at fault, and what shows it: `IAnswerReferee`'s rules on them, and the party's search.

A pattern's output is what its tokens spell; whether they do is `token_referee`'s to judge, as of untyped answers. What
else can be wrong: the output is too long; a token may not stand where it does; the answer ends where it may not; or
another token that may stand somewhere has the larger logit (docs/answers.md). Of all answers one is right, and no proof
touches it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from oracle.disputes.inputs import NO_ROOT, Input, ModelInputs, Spelling, entry_input
from oracle.engines.answer_types import MOST_TEXT, Pattern
from oracle.engines.exact.vocabulary import Entry
from oracle.errors import BadProof
from oracle.merkle.tokens import Tokens

NOTHING: Input = (b"", NO_ROOT, [], [])


class PatternFault(IntEnum):
    """IAnswerReferee.PatternFault"""

    OUTPUT = 0
    TOKEN = 1
    STOP = 2


@dataclass(frozen=True)
class PatternRefutation:
    """What `refutePattern` takes after request, answer and tokens."""

    fault: PatternFault
    which: int
    """The token's index among prompt and output; where the answer stops, the id of another."""
    prompt: bytes
    output: bytes
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class Span:
    """An output token, and which bytes of the output its entry and the one before say that it spells."""

    token: int
    start: int
    end: int


def spans(tokens: Tokens) -> list[Span]:
    """Of the output tokens that are known."""
    starts = (0, *tokens.ends)
    return [Span(*each) for each in zip(tokens.output, starts, tokens.ends, strict=False)]


# RULES


def is_too_long(output: bytes) -> bool:
    """Whether an answer with such an output is wrong, whatever its tokens are."""
    return len(output) > MOST_TEXT


def is_wrong_token(type_: Pattern, output: bytes, count: int, step: int, span: Span) -> bool:
    """Whether an answer of `count` tokens is wrong by its output, or by token number `step` of it.

    Raises BadProof where it has no such token.
    """
    if is_too_long(output):
        return True
    if not 0 <= step < count:
        raise BadProof(f"the output has no token {step}")
    if step + 1 == count:
        return span.token != type_.stop or span.end != len(output)
    if not span.start < span.end <= len(output) or span.token in type_.stops:
        return True
    return not _leaves(type_, type_.walk(output[: span.end]), step)


def is_wrong_stop(type_: Pattern, output: bytes, count: int, other: int, spelled: bytes) -> bool:
    """Whether an answer of `count` tokens is wrong because it ends though token `other` may follow.

    spelled: by that token.
    """
    if is_too_long(output):
        return True
    state = type_.walk(output)
    if state is None:
        return True
    return type_.need(state) != 0 and type_.allows(state, len(output), count - 1, other, spelled)


def is_wrong_choice(
    type_: Pattern, output: bytes, step: int, span: Span, other: int, spelled: bytes, logits: Sequence[int]
) -> bool:
    """Whether two of the logits before output token `step`, which is `span`, show that `other` was to be chosen.

    spelled: by that token. logits: of the whole vocabulary. Raises BadProof if `other` may not stand there.
    """
    if is_too_long(output) or span.start > len(output) or span.token >= len(logits):
        return True
    state = type_.walk(output[: span.start])
    if state is None:
        return True
    if other == span.token or not _competes(type_, state, span.start, step, other, spelled):
        raise BadProof(f"token {other} does not compete at step {step}")
    over = int(logits[span.token]) - int(logits[other])
    return over < 0 or (over == 0 and other < span.token)


def _leaves(type_: Pattern, state: int | None, step: int) -> bool:
    """Whether a token that leads to `state` leaves tokens enough to end, if it is output token `step`."""
    return state is not None and type_.need(state) < type_.limit - step - 1


def _competes(type_: Pattern, state: int, length: int, step: int, token: int, spelled: bytes) -> bool:
    """Whether `token` may stand where another token than the stop token does."""
    return type_.need(state) == 0 if token == type_.stop else type_.allows(state, length, step, token, spelled)


# THE SEARCH


def allowed(type_: Pattern, state: int, length: int, step: int, entries: Sequence[Entry]) -> Iterator[int]:
    """Tokens, no stop tokens, that may be output token `step` after `length` bytes that led to `state`; rising."""
    for token, entry in enumerate(entries):
        if type_.allows(state, length, step, token, entry.spelled):
            yield token


def right_token(
    type_: Pattern, output: bytes, step: int, logits: Sequence[int], entries: Sequence[Entry]
) -> int | None:
    """The token that the model chooses as output token `step`, after all of `output`; None if that leads nowhere."""
    state = type_.walk(output)
    if state is None:
        return None
    order = sorted(range(len(entries)), key=lambda token: (-int(logits[token]), token))
    wins = (each for each in order if _competes(type_, state, len(output), step, each, entries[each].spelled))
    return next(wins, type_.stop)


def find(
    type_: Pattern, tokens: Tokens, count: int, prompt: bytes, output: bytes, model: ModelInputs
) -> PatternRefutation | None:
    """The first fault that shows without computing, or None.

    tokens: as far as they are known of an answer with `count` output tokens. output: not too long.
    """
    before, state = len(tokens.prompt), 0
    for step, span in enumerate(spans(tokens)):
        if step + 1 == count:
            wrong = is_wrong_token(type_, output, count, step, span)
        else:
            fits = span.start < span.end <= len(output) and span.token not in type_.stops
            after = type_.walk(output[span.start : span.end], state) if fits else None
            wrong = not _leaves(type_, after, step)
            state = state if after is None else after
        if wrong:
            own = (entry_input(tokens, before + step), entry_input(tokens, before + step - 1) if step else NOTHING)
            return PatternRefutation(PatternFault.TOKEN, before + step, prompt, output, own)
    if len(tokens.output) < count or type_.need(state) == 0:
        return None
    other = next(allowed(type_, state, len(output), count - 1, model.entries), None)
    if other is None:
        return None
    return PatternRefutation(PatternFault.STOP, other, prompt, output, (model.input(Spelling(other)),))
