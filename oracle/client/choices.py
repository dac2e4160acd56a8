"""Choices: a question's possible answers as words, and what a request's output says in them.

A model answers in tokens, so a choice is made for one vocabulary: each word becomes the row of token ids by which the
model would write it after its wrapper. `engines/answer_types.py` has the format, docs/dapps.md how to ask.

    kind = Choices.of(["yes", "no", "unknown"], manifest, path)
    prompt = kind.asking(client.prompt(service, b"Is the sky blue?"))
    kind.heard(output, least_margin=1.5).value  # "yes", or None: unknown
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Generic, TypeVar, overload

from oracle.engines.answer_types import (
    LEAST_ROWS,
    MARGIN_BITS,
    MOST_IDS,
    MOST_ROWS,
    Malformed,
    Verdict,
    choice_type,
    type_of,
    typed_prompt,
)
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import entries_of, vocabulary_tree
from oracle.engines.prompts import markers
from oracle.errors import BadType, printable
from oracle.models import gguf
from oracle.models.manifest import Manifest

MOST_SHOWN = 80
"""Characters of a word in a message."""
T = TypeVar("T")
E = TypeVar("E", bound=Enum)


@dataclass(frozen=True)
class Heard(Generic[T]):
    """What an output says."""

    value: T | None
    """None is "unknown": the output is no verdict, or its margin is below the one asked for."""
    margin: float
    """Logits by which the model prefers its choice to any other; 0 for what is no verdict."""


@dataclass(frozen=True)
class Choices(Generic[T]):
    """A choice for one vocabulary, and what each of its rows stands for."""

    values: tuple[T, ...]
    words: tuple[str, ...]
    rows: tuple[tuple[int, ...], ...]
    """Token ids, a row for each word."""
    type_bytes: bytes
    """The type, as prompts and contracts have it after the prompt's kind."""

    @overload
    @classmethod
    def of(cls, words: type[E], manifest: Manifest, path: Path, *, after_space: bool | None = None) -> "Choices[E]": ...

    @overload
    @classmethod
    def of(
        cls, words: Sequence[str], manifest: Manifest, path: Path, *, after_space: bool | None = None
    ) -> "Choices[str]": ...

    @classmethod
    def of(
        cls,
        words: type[Enum] | Sequence[str],
        manifest: Manifest,
        path: Path,
        *,
        after_space: bool | None = None,
    ) -> "Choices[Enum] | Choices[str]":
        """words: an Enum whose values are words, or the words. path: the model's file. after_space: whether each word
        comes after a space; None for what the model's wrapper makes likely (`begins_with_space`).

        Raises BadType for what cannot be judged, BadModelFile.
        """
        header = gguf.read(path)
        tokenizer, marked = Tokenizer(header), markers(header, manifest)
        if after_space is None:
            after_space = begins_with_space(manifest, tokenizer)
        values = tuple(words)
        texts = tuple(str(value.value if isinstance(value, Enum) else value) for value in values)
        _check_words(texts)
        rows = tuple(_row(text, tokenizer, marked, manifest, after_space=after_space) for text in texts)
        _check_apart(texts, rows)
        root = vocabulary_tree(entries_of(header)).root
        made = choice_type(rows, root)
        limit = manifest.context_length - manifest.wrapper_tokens - 1
        found = type_of(typed_prompt(made, b""), root, len(tokenizer.pieces), manifest.stop_tokens, limit)
        if isinstance(found, Malformed):
            raise BadType(f"these words make no choice: {found.reason}")
        return Choices(values, texts, rows, made)  # type: ignore[return-value]

    @property
    def least_tokens(self) -> int:
        """`maxTokens` of a request must be at least this: the longest row, and the token that ends it."""
        return max(map(len, self.rows)) + 1

    def asking(self, prompt: bytes) -> bytes:
        """The prompt that asks the same of this choice. prompt: of words, ids or parts."""
        return typed_prompt(self.type_bytes, prompt)

    def heard(self, output: bytes, least_margin: float = 0.0) -> Heard[T]:
        """What an output says. least_margin: logits; a verdict by less is "unknown"."""
        verdict = Verdict.of(output)
        if verdict is None or verdict.index >= len(self.values):
            return Heard(None, 0.0)
        margin = verdict.margin / (1 << MARGIN_BITS)
        return Heard(self.values[verdict.index] if margin >= least_margin else None, margin)


def begins_with_space(manifest: Manifest, tokenizer: Tokenizer) -> bool:
    """Whether the model's answer to a question is likely to begin with a space.

    It does unless the wrapper ends with a space or a new line, or with a token that spells nothing; after such a token
    a text begins as the vocabulary has every text begin.
    """
    if not manifest.suffix_tokens:
        return True
    before = tokenizer.pieces[manifest.suffix_tokens[-1]]
    return not before[-1:].isspace() if before else bool(tokenizer.prefix)


def _check_words(words: Sequence[str]) -> None:
    """Raises BadType."""
    if not LEAST_ROWS <= len(words) <= MOST_ROWS:
        raise BadType(f"a choice is between {LEAST_ROWS} and {MOST_ROWS} words, not {len(words)}")
    for word in words:
        if not word.strip():
            raise BadType("a word is empty: name what the model may answer")
        if words.count(word) > 1:
            raise BadType(f"{_shown(word)} is there twice")


def _row(
    word: str, tokenizer: Tokenizer, marked: Sequence[bytes], manifest: Manifest, *, after_space: bool
) -> tuple[int, ...]:
    """Raises BadType."""
    text = (b" " if after_space else b"") + word.encode("utf-8", "surrogateescape")
    row = tuple(tokenizer.encode(text, marked, goes_on=True))
    stops = [token for token in row if token in manifest.stop_tokens]
    if stops:
        raise BadType(f"{_shown(word)} holds token {stops[0]}, which ends the model's answers")
    if b"".join(tokenizer.pieces[token] for token in row) != text:
        raise BadType(f"the model cannot spell {_shown(word)}: no tokens of its vocabulary give these bytes")
    if len(row) > MOST_IDS:
        raise BadType(f"{_shown(word)} is {len(row)} tokens for this model; a choice takes {MOST_IDS}")
    return row


def _check_apart(words: Sequence[str], rows: Sequence[tuple[int, ...]]) -> None:
    """Raises BadType."""
    for number, row in enumerate(rows):
        if row in rows[:number]:
            raise BadType(f"{_shown(words[rows.index(row)])} and {_shown(words[number])} are the same tokens")


def _shown(word: str) -> str:
    return repr(printable(word if len(word) <= MOST_SHOWN else word[:MOST_SHOWN] + "..."))
