"""Typed prompts as the chain has them: whether a service's model can answer one, and what its answers say."""

from collections.abc import Callable, Sequence
from typing import Any

from oracle.disputes.commitments import vocabulary_of
from oracle.engines.answer_types import (
    MARGIN_BITS,
    ROOT_BYTES,
    AnswerType,
    Choice,
    Malformed,
    Pattern,
    Verdict,
    is_typed,
    type_of,
)
from oracle.errors import BadType, printable
from oracle.merkle.tokens import ID_BYTES
from oracle.models.manifest import Manifest

Spell = Callable[[Sequence[int]], bytes]
"""What token ids spell."""


def type_asked(prompt: bytes, manifest: Manifest, max_tokens: int) -> AnswerType | None:
    """The type of a prompt's answer, as far as the chain says it; None if it is not typed.

    Without the model's file, a prompt of words may turn out longer than the context allows, and the vocabulary of a
    model that no dispute game judges is unknown: its root is then taken to be the one that the type names.
    """
    root, size = vocabulary_of(manifest.architecture) or (prompt[1 : 1 + ROOT_BYTES], 1 << 8 * ID_BYTES)
    room = manifest.context_length - max(1, manifest.wrapper_tokens)
    return type_of(prompt, root, size, manifest.stop_tokens, min(room, max_tokens))


def check_type(prompt: bytes, manifest: Manifest, max_tokens: int) -> None:
    """Raises BadType for a typed prompt that nothing but an empty output can answer."""
    found = type_asked(prompt, manifest, max_tokens) if is_typed(prompt) else None
    if isinstance(found, Malformed):
        raise BadType(
            f"nothing could answer this type: {found.reason}. `didyma type` makes one for the service's model, and "
            "says how many tokens it needs"
        )


def told(answer_type: AnswerType, output: bytes, spell: Spell | None = None) -> str:
    """An answer to a typed prompt, in words. spell: None if nobody here has the model's vocabulary."""
    found = fields(answer_type, output, spell)
    if isinstance(answer_type, Malformed):
        said = "nothing" if not output else f"{len(output):,} bytes"
        return f"{said}, to a malformed type: {answer_type.reason}"
    if isinstance(answer_type, Pattern):
        remark = "" if is_whole(answer_type, output) else ", which is not whole"
        return printable(repr(output.decode("utf-8", "replace"))) + remark
    if found is None:
        return f"unknown: {len(output):,} bytes that are no verdict"
    word = "" if found["word"] is None else f"{printable(repr(found['word']))}, "
    return f"{word}choice {found['choice']} of {len(answer_type.rows)}, margin {found['margin']:.4f} logits"


def is_whole(pattern: Pattern, output: bytes) -> bool:
    """Whether an output leads to where one may end."""
    state = pattern.walk(output)
    return state is not None and pattern.need(state) == 0


def fields(answer_type: AnswerType, output: bytes, spell: Spell | None = None) -> dict[str, Any] | None:
    """A verdict for scripts; None for what is none. margin: in logits. word: None if it is not known here."""
    said = Verdict.of(output)
    if not isinstance(answer_type, Choice) or said is None or said.index >= len(answer_type.rows):
        return None
    row = answer_type.rows[said.index]
    word = None if spell is None else spell(row).decode("utf-8", "replace")
    return {"choice": said.index, "word": word, "ids": row, "margin": said.margin / (1 << MARGIN_BITS)}
