"""Answers whose tokens are at fault before anything is computed: what kills them at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from oracle.disputes.game import Claim, Move
from oracle.disputes.inputs import Input, ModelInputs, Spelling, entry_input
from oracle.engines.prompts import FULL_OUTPUT_BYTES, reading
from oracle.merkle.tokens import Tokens
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
    text: bytes
    inputs: tuple[Input, ...]


def refuting(claim: Claim, tokens: tuple[int, bytes], found: Refutation) -> Move:
    """The call. tokens: as the answer commits them."""
    shown = (int(found.fault), found.index, found.text, list(found.inputs))
    return Move("refute", (claim.request, claim.answer, tokens, *shown))


NOTHING: Input = (b"", bytes(32), [], [])


def find(
    tokens: Tokens, prompt: bytes, output: bytes, manifest: Manifest, model: ModelInputs, max_tokens: int
) -> Refutation | None:
    """The first fault, or None. prompt, output: the request's and the answer's bytes."""
    asked = reading(prompt, manifest, model.architecture.vocabulary)
    count = len(tokens.prompt)
    if len(asked) != count:
        return Refutation(Fault.PROMPT, 0, prompt, (entry_input(tokens, 0),))
    for index, (token, wanted) in enumerate(zip(tokens.prompt, asked, strict=True)):
        if token != wanted:
            return Refutation(Fault.PROMPT, index, prompt, (entry_input(tokens, index),))
    last = len(tokens.ids) - 1
    if len(tokens.ids) > manifest.context_length:
        return Refutation(Fault.END, last, b"", (entry_input(tokens, last),))
    ended = [
        token in manifest.stop_tokens or end >= FULL_OUTPUT_BYTES
        for token, end in zip(tokens.output, tokens.ends, strict=True)
    ]
    for index, stops in enumerate(ended[:-1], count):
        if stops:
            return Refutation(Fault.END, index, b"", (entry_input(tokens, index),))
    limit = min(max_tokens, manifest.context_length - count)
    early = not ended[-1] and len(tokens.output) < limit
    if early or tokens.ends[-1] != len(output):
        return Refutation(Fault.END, last, output, (entry_input(tokens, last),))
    return _spelling(tokens, output, manifest.stop_tokens, model)


def _spelling(tokens: Tokens, output: bytes, stop_tokens: Sequence[int], model: ModelInputs) -> Refutation | None:
    """The first token that does not spell its part of the output."""
    start, count = 0, len(tokens.prompt)
    for index, (token, end) in enumerate(zip(tokens.output, tokens.ends, strict=True), count):
        known = token < model.architecture.vocabulary
        piece = b"" if token in stop_tokens or not known else model.tokenizer.pieces[token]
        if not known or not start <= end <= len(output) or output[start:end] != piece:
            before = entry_input(tokens, index - 1) if index > count else NOTHING
            shown = model.input(Spelling(token)) if known else NOTHING
            return Refutation(Fault.TEXT, index, output, (entry_input(tokens, index), before, shown))
        start = end
    return None
