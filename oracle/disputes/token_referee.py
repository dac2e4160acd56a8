"""Answers whose tokens are at fault before anything is computed: what kills them at once.

A prompt's tokens are `text_referee`'s to judge where the model's vocabulary reads text, but for the wrapper's; the
output's are `answer_referee`'s where the prompt is typed. Of a pattern's answers it judges whether the tokens spell the
output, and `pattern_referee` the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from oracle.disputes import answer_referee, pattern_referee, text_proofs, text_referee
from oracle.disputes.answer_referee import NOTHING, AnswerRefutation
from oracle.disputes.game import Claim, Move
from oracle.disputes.inputs import Input, ModelInputs, Spelling, entry_input
from oracle.disputes.pattern_referee import PatternFault, PatternRefutation
from oracle.disputes.text_proofs import Row
from oracle.disputes.text_referee import Case, TextFault
from oracle.engines.answer_types import Pattern
from oracle.engines.exact.text_prompts import asked, read_prompt
from oracle.engines.exact.vocabulary import Token
from oracle.engines.prompts import FULL_OUTPUT_BYTES
from oracle.merkle.tokens import BEGINS, Tokens
from oracle.models.manifest import Manifest


class Fault(IntEnum):
    """ITokenReferee.Fault"""

    PROMPT = 0
    END = 1
    TEXT = 2
    PADDING = 3


@dataclass(frozen=True)
class Refutation:
    """What `refute` takes after request, answer and tokens."""

    fault: Fault
    index: int
    prompt: bytes
    output: bytes
    inputs: tuple[Input, ...]


@dataclass(frozen=True)
class PromptRefutation:
    """What `refutePrompt` takes after request, answer and tokens."""

    prompt: bytes
    proof: tuple[object, ...]
    """ITextReferee.Proof"""


AnyRefutation = Refutation | PromptRefutation | AnswerRefutation | PatternRefutation


def refuting(claim: Claim, tokens: tuple[int, bytes], found: AnyRefutation) -> Move:
    """The call. tokens: as the answer commits them."""
    if isinstance(found, AnswerRefutation):
        shown = (found.prompt, found.output, found.index, found.token)
        return Move("refuteAnswer", (claim.request, claim.answer, tokens, *shown))
    if isinstance(found, PatternRefutation):
        rest = (int(found.fault), found.which, found.prompt, found.output, list(found.inputs))
        return Move("refutePattern", (claim.request, claim.answer, tokens, *rest))
    if isinstance(found, PromptRefutation):
        return Move("refutePrompt", (claim.request, claim.answer, tokens, found.prompt, found.proof))
    words = (int(found.fault), found.index, found.prompt, found.output, list(found.inputs))
    return Move("refute", (claim.request, claim.answer, tokens, *words))


def find(
    tokens: Tokens, prompt: bytes, output: bytes, manifest: Manifest, model: ModelInputs, max_tokens: int
) -> AnyRefutation | None:
    """The first fault, or None. prompt, output: the request's and the answer's bytes."""
    count = len(tokens.prompt)
    if model.words is not None:
        marks = tokens.marks or (0,) * count
        said = [token_of(*entry) for entry in zip(tokens.prompt, marks, strict=True)]
        wrong = find_in_prompt(said, count, len(tokens.output), prompt, manifest, model, tokens)
    else:
        wrong = _prompt_of_ids(tokens, prompt, manifest, model)
    if wrong is not None:
        return wrong
    typed = answer_referee.answer_type(prompt, count, max_tokens, manifest)
    if isinstance(typed, Pattern):
        return find_in_pattern(typed, tokens, len(tokens.output), prompt, output, model)
    if typed is not None:
        return answer_referee.find(typed, tokens, prompt, output)
    end = _end(tokens, prompt, output, manifest, max_tokens)
    return end or _spelling(tokens, prompt, output, manifest.stop_tokens, model)


def _end(tokens: Tokens, prompt: bytes, output: bytes, manifest: Manifest, max_tokens: int) -> Refutation | None:
    """Why an untyped answer ends too late, too early, or not where its text does; None if it does not."""
    count = len(tokens.prompt)
    last = len(tokens.ids) - 1
    if len(tokens.ids) > manifest.context_length:
        return Refutation(Fault.END, last, prompt, output, (entry_input(tokens, last),))
    ended = [
        token in manifest.stop_tokens or end >= FULL_OUTPUT_BYTES
        for token, end in zip(tokens.output, tokens.ends, strict=True)
    ]
    for index, stops in enumerate(ended[:-1], count):
        if stops:
            return Refutation(Fault.END, index, prompt, output, (entry_input(tokens, index),))
    limit = min(max_tokens, manifest.context_length - count)
    early = not ended[-1] and len(tokens.output) < limit
    if early or tokens.ends[-1] != len(output):
        return Refutation(Fault.END, last, prompt, output, (entry_input(tokens, last),))
    return None


def find_in_pattern(
    type_: Pattern, tokens: Tokens, count: int, prompt: bytes, output: bytes, model: ModelInputs
) -> Refutation | PatternRefutation | None:
    """The first fault of a pattern's answer, or None. tokens: as far as they are known of `count` output tokens."""
    if pattern_referee.is_too_long(output):
        return PatternRefutation(PatternFault.OUTPUT, 0, prompt, output, ())
    spelled = _spelling(tokens, prompt, output, [*type_.stops], model)
    return spelled or pattern_referee.find(type_, tokens, count, prompt, output, model)


def token_of(token: int, mark: int) -> Token:
    """A prompt token as its entry says. mark: its end and flag."""
    return Token(token, mark & ~BEGINS, bool(mark & BEGINS))


def find_in_prompt(
    said: Sequence[Token],
    known: int,
    output_tokens: int,
    prompt: bytes,
    manifest: Manifest,
    model: ModelInputs,
    row: Row,
) -> Refutation | PromptRefutation | None:
    """The first fault of the tokens before an answer, of a model whose vocabulary reads text.

    said: all of them; what is not known begins pieces. known: how many are, from the first on.
    """
    assert model.words is not None
    case = Case(model.words, manifest, read_prompt(prompt, model.words), said, output_tokens)
    found = text_referee.find(case, known)
    if found is None:
        return None
    if found.fault is TextFault.WRAPPER:
        return Refutation(Fault.PROMPT, found.index, prompt, b"", (entry_input(row, found.index),))
    return PromptRefutation(prompt, text_proofs.shown(case, found, model, row))


def _prompt_of_ids(tokens: Tokens, prompt: bytes, manifest: Manifest, model: ModelInputs) -> Refutation | None:
    wanted = asked(prompt, None, manifest, model.architecture.vocabulary)
    if len(wanted) != len(tokens.prompt):
        return Refutation(Fault.PROMPT, 0, prompt, b"", (entry_input(tokens, 0),))
    for index, (one, other) in enumerate(zip(tokens.prompt, wanted, strict=True)):
        if one != other or (tokens.marks and tokens.marks[index]):
            return Refutation(Fault.PROMPT, index, prompt, b"", (entry_input(tokens, index),))
    return None


def _spelling(
    tokens: Tokens, prompt: bytes, output: bytes, stop_tokens: Sequence[int], model: ModelInputs
) -> Refutation | None:
    """The first token that does not spell its part of the output."""
    start, count = 0, len(tokens.prompt)
    for index, (token, end) in enumerate(zip(tokens.output, tokens.ends, strict=True), count):
        known = token < model.architecture.vocabulary
        piece = b"" if token in stop_tokens or not known else model.entries[token].spelled
        if not known or not start <= end <= len(output) or output[start:end] != piece:
            before = entry_input(tokens, index - 1) if index > count else NOTHING
            shown = model.input(Spelling(token)) if known else NOTHING
            return Refutation(Fault.TEXT, index, prompt, output, (entry_input(tokens, index), before, shown))
        start = end
    return None
