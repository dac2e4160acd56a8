"""Answers to typed prompts that are at fault, and what shows it: `IAnswerReferee`'s rules, and the party's search.

Of patterns: `pattern_referee`. Of all others an answer's output says its tokens: of a choice a row and the first stop
token, of a malformed type that token alone. So a fault lies in the output, in a token that is another, or in two logits
(docs/answers.md). Of all answers to a typed prompt one is right, and no proof touches it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oracle.disputes.commitments import shape, vocabulary_root
from oracle.disputes.inputs import NO_ROOT, Input, entry_input
from oracle.engines.answer_types import AnswerType, Choice, Malformed, Verdict, is_typed, type_of
from oracle.engines.typed_answers import tokens_said
from oracle.errors import BadProof
from oracle.merkle.tokens import Tokens
from oracle.models.manifest import Manifest

Logits = Mapping[int, int] | Sequence[int]
NOTHING: Input = (b"", NO_ROOT, [], [])
Named = Choice | Malformed
"""Types of which an output names the answer's tokens."""


@dataclass(frozen=True)
class AnswerRefutation:
    """What `refuteAnswer` takes after request, answer and tokens."""

    prompt: bytes
    output: bytes
    index: int
    token: Input


def answer_type(prompt: bytes, prompt_count: int, max_tokens: int, manifest: Manifest) -> AnswerType | None:
    """The type of a prompt's answer; None if it is not typed. prompt_count: tokens before the output."""
    if not is_typed(prompt):
        return None
    limit = min(max_tokens, manifest.context_length - prompt_count)
    root, size = vocabulary_root(manifest.architecture), shape(manifest.architecture).vocabulary
    return type_of(prompt, root, size, manifest.stop_tokens, limit)


def named_tokens(type_: Named, output: bytes) -> tuple[int, ...] | None:
    """The tokens that an output names, whatever witness it does; None if it names none."""
    return tuple(tokens_said(type_, type_.stop, output)) or None


def said_tokens(type_: Named, output: bytes) -> tuple[int, ...] | None:
    """The tokens of the answer that an output says; None if it says none."""
    verdict, tokens = Verdict.of(output), named_tokens(type_, output)
    if verdict is None or tokens is None:
        return tokens
    return tokens if verdict.other in others(type_, tokens, verdict.step) else None


def says_nothing(type_: Named, output: bytes, count: int) -> bool:
    """Whether an output says no answer of so many tokens: wrong, whatever its tokens are."""
    tokens = said_tokens(type_, output)
    return tokens is None or len(tokens) != count


def is_wrong(type_: Named, output: bytes, count: int, step: int, token: int, end: int) -> bool:
    """Whether an answer of `count` tokens is wrong by its output, or by token number `step` of it and its end.

    Raises BadProof where it has no such token.
    """
    tokens = said_tokens(type_, output)
    if tokens is None or len(tokens) != count:
        return True
    if not 0 <= step < count:
        raise BadProof(f"the output has no token {step}")
    return token != tokens[step] or end != 0


def is_wrong_margin(type_: Named, output: bytes, step: int, other: int, logits: Logits) -> bool:
    """Whether two of the logits before output token `step` show wrong what a choice's output says.

    logits: by id, at least the answer's token's and that of `other`. Raises BadProof if `other` may not stand there.
    """
    tokens = said_tokens(type_, output)
    if tokens is None:
        return True
    verdict = Verdict.of(output)
    if verdict is None or other not in others(type_, tokens, step):
        raise BadProof(f"token {other} does not compete at step {step}")
    margin = int(logits[tokens[step]]) - int(logits[other])
    if margin < 0 or (margin == 0 and other < tokens[step]):
        return True
    if (step, other) == (verdict.step, verdict.other):
        return margin != verdict.margin
    return (margin, step, other) < (verdict.margin, verdict.step, verdict.other)


def others(type_: Named, tokens: Sequence[int], step: int) -> list[int]:
    """What may stand in place of token `step` of an answer."""
    if isinstance(type_, Malformed) or step >= len(tokens):
        return []
    return [other for other in type_.allowed(tokens[:step]) if other != tokens[step]]


def beaten(type_: Named, output: bytes, step: int, logits: Logits) -> tuple[int, int] | None:
    """The answer's token `step`, and another, whose logits show it wrong; None if none does."""
    tokens = said_tokens(type_, output)
    if tokens is None:
        return None
    wrong = (other for other in others(type_, tokens, step) if is_wrong_margin(type_, output, step, other, logits))
    return next(((tokens[step], other) for other in wrong), None)


def find(type_: Named, tokens: Tokens, prompt: bytes, output: bytes) -> AnswerRefutation | None:
    """The first fault that shows without computing, or None."""
    start, count = len(tokens.prompt), len(tokens.output)
    if says_nothing(type_, output, count):
        return AnswerRefutation(prompt, output, start, NOTHING)
    for step, (token, end) in enumerate(zip(tokens.output, tokens.ends, strict=True)):
        if is_wrong(type_, output, count, step, token, end):
            return AnswerRefutation(prompt, output, start + step, entry_input(tokens, start + step))
    return None
