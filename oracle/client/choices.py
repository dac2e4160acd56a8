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
from typing import Any, Generic, TypeVar, overload

from oracle.client.given import margin_of
from oracle.client.patterns.forms import Form
from oracle.client.patterns.patterned import Patterned, pattern
from oracle.engines.answer_types import (
    LEAST_ROWS,
    MARGIN_BITS,
    MOST_IDS,
    MOST_ROWS,
    Malformed,
    Verdict,
    choice_type,
    is_typed,
    type_of,
    typed_prompt,
)
from oracle.engines.exact.text_prompts import asked as read_in_game
from oracle.engines.exact.text_prompts import asked_of_panel
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import text_table, unread, vocabulary_tree
from oracle.engines.prompts import markers
from oracle.errors import BadType, PromptTooLong, printable
from oracle.models import gguf
from oracle.models.gguf import Gguf
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
        cls, words: type[Enum] | Sequence[str], manifest: Manifest, path: Path, *, after_space: bool | None = None
    ) -> "Choices[Any]":
        """As `Reader.choices`. path: the model's file. Raises BadType, BadModelFile."""
        return Reader.of(manifest, path).choices(words, after_space=after_space)

    @property
    def least_tokens(self) -> int:
        """`maxTokens` of a request must be at least this: the longest row, and the token that ends it."""
        return max(map(len, self.rows)) + 1

    def asking(self, prompt: bytes) -> bytes:
        """The prompt that asks the same of this choice. prompt: of words, ids or parts. Raises BadType for another."""
        if is_typed(prompt):
            raise BadType("the prompt names a type already: give the one that it asks behind it")
        return typed_prompt(self.type_bytes, prompt)

    def heard(self, output: bytes, least_margin: float = 0.0) -> Heard[T]:
        """What an output says. least_margin: logits; a verdict by less is "unknown". Raises BadArgument."""
        least = margin_of(least_margin)
        verdict = Verdict.of(output)
        if verdict is None or verdict.index >= len(self.values):
            return Heard(None, 0.0)
        margin = verdict.margin / (1 << MARGIN_BITS)
        return Heard(self.values[verdict.index] if margin >= least else None, margin)


class Reader:
    """A model's vocabulary, as far as whoever asks needs it."""

    def __init__(self, manifest: Manifest, header: Gguf) -> None:
        """header: of the model's file. Raises BadModelFile for vocabularies that are not read."""
        self._manifest = manifest
        self._tokenizer = Tokenizer(header, of_any_family=True)
        self._markers = markers(header, manifest)
        self._table = text_table(header)
        self._size = len(self._tokenizer.pieces)
        entries = unread(self._tokenizer.pieces) if self._table is None else self._table.entries
        self.root = vocabulary_tree(entries).root
        """Of the vocabulary; a type names its first bytes."""
        lone = {p[0] for t, p in enumerate(self._tokenizer.pieces) if len(p) == 1 and t not in manifest.stop_tokens}
        self.spelled = frozenset(lone)
        """Bytes that a token spells alone."""

    @classmethod
    def of(cls, manifest: Manifest, path: Path) -> "Reader":
        """path: the model's file. Raises BadModelFile."""
        return cls(manifest, gguf.read(path))

    def choices(self, words: type[Enum] | Sequence[str], *, after_space: bool | None = None) -> Choices[Any]:
        """words: an Enum whose values are words, or the words. after_space: whether each word comes after a space; None
        for what the model's wrapper makes likely (`begins_with_space`).

        Raises BadType for what cannot be judged.
        """
        values = tuple(words)
        texts = tuple(str(value.value if isinstance(value, Enum) else value) for value in values)
        _check_words(texts)
        spaced = begins_with_space(self._manifest, self._tokenizer) if after_space is None else after_space
        rows = tuple(self._row(text, after_space=spaced) for text in texts)
        for number, row in enumerate(rows):
            if row in rows[:number]:
                same = _shown(texts[rows.index(row)])
                raise BadType(f"{same} and {_shown(texts[number])} are the same tokens")
        made = choice_type(rows, self.root)
        self._check(made, "these words make no choice")
        return Choices(values, texts, rows, made)

    def pattern(self, form: Form[T]) -> Patterned[T]:
        """Raises BadType for what cannot be judged."""
        made = pattern(form, self.root, self.spelled)
        self._check(made.type_bytes, "this model's context is too short")
        return made

    def check_room(self, prompt: bytes, asked: Choices[Any] | Patterned[Any], *, in_game: bool) -> None:
        """Raises PromptTooLong where the model's context does not hold prompt and answer.

        prompt: not sealed. in_game: whether the dispute game judges.
        """
        if in_game:
            count = len(read_in_game(prompt, self._table, self._manifest, self._size))
        else:
            count = len(asked_of_panel(prompt, self._encode, self._manifest, self._size))
        context = self._manifest.context_length
        if count + asked.least_tokens > context:
            raise PromptTooLong(
                f"the prompt has {count:,} tokens with its wrapper; with {asked.least_tokens} that an answer may need, "
                f"the model's context of {context:,} does not hold it: ask in fewer words"
            )

    def _check(self, made: bytes, what: str) -> None:
        """Raises BadType where no request could ask a type."""
        limit = self._manifest.context_length - self._manifest.wrapper_tokens - 1
        found = type_of(typed_prompt(made, b""), self.root, self._size, self._manifest.stop_tokens, limit)
        if isinstance(found, Malformed):
            raise BadType(f"{what}: {found.reason}")

    def _encode(self, text: bytes) -> list[int]:
        return self._tokenizer.encode(text, self._markers)

    def _row(self, word: str, *, after_space: bool) -> tuple[int, ...]:
        """Raises BadType."""
        text = (b" " if after_space else b"") + word.encode("utf-8", "surrogateescape")
        row = tuple(self._tokenizer.encode(text, self._markers, goes_on=True))
        stops = [token for token in row if token in self._manifest.stop_tokens]
        if stops:
            raise BadType(f"{_shown(word)} holds token {stops[0]}, which ends the model's answers")
        if b"".join(self._tokenizer.pieces[token] for token in row) != text:
            raise BadType(f"the model cannot spell {_shown(word)}: no tokens of its vocabulary give these bytes")
        if len(row) > MOST_IDS:
            raise BadType(f"{_shown(word)} is {len(row)} tokens for this model; a choice takes {MOST_IDS}")
        return row


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


def _shown(word: str) -> str:
    return repr(printable(word if len(word) <= MOST_SHOWN else word[:MOST_SHOWN] + "..."))
