"""Prompts of words, of token ids and of both, in an envelope; each has one reading and one row of tokens, whatever its
bytes.

A prompt's first byte is its kind, which whoever builds it chooses: a contract or a client. A stranger's words stand
inside a text part, and nothing in them can end it. docs/text.md has the rules.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from oracle.engines.answer_types import proper
from oracle.engines.exact.vocabulary import Token, Vocabulary
from oracle.merkle.tokens import ID_BYTES, ids_in, marked
from oracle.models.manifest import Manifest

LENGTH_BYTES = 3
"""Of a part: how long it is, big-endian."""


class PromptKind(IntEnum):
    """A prompt's first byte, and a part's. Any other reads as TEXT."""

    TEXT = 0
    IDS = 1
    PARTS = 2
    """Of a prompt only: parts, each with a byte for its kind, three for its length, and so many bytes."""
    TYPED = 3
    """Of a prompt only: its answer's type, and a prompt of another kind (`answer_types.py`)."""


def text_prompt(text: bytes) -> bytes:
    """The prompt that asks a text."""
    return bytes([PromptKind.TEXT]) + text


def parts_prompt(parts: Sequence[tuple[PromptKind, bytes]]) -> bytes:
    """A row of texts and of ids (`id_bytes`). Raises OverflowError for a part of 16 MiB."""
    return bytes([PromptKind.PARTS]) + b"".join(
        bytes([kind]) + len(data).to_bytes(LENGTH_BYTES, "big") + data for kind, data in parts
    )


@dataclass(frozen=True)
class Part:
    """Bytes of a reading that are read alike. Tokens never cross its ends."""

    of_ids: bool
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """What a prompt says: bytes that its tokens spell, or three for each id."""

    data: bytes
    parts: tuple[Part, ...]
    """None is empty. They follow each other and are all of `data`."""

    def part_at(self, at: int) -> Part | None:
        return next((part for part in self.parts if part.start <= at < part.end), None)


def read_prompt(prompt: bytes, vocabulary: Vocabulary) -> Reading:
    """The one reading of any bytes."""
    data, bounds, kinds = b"", [0], list[bool]()
    for of_ids, part in parts_of(prompt):
        data += part[: len(part) // ID_BYTES * ID_BYTES] if of_ids else vocabulary.read(part)
        if len(data) > bounds[-1]:
            kinds.append(of_ids)
            bounds.append(len(data))
    return Reading(data, tuple(Part(of_ids, *ends) for of_ids, ends in zip(kinds, pairwise(bounds), strict=True)))


def parts_of(prompt: bytes) -> Iterator[tuple[bool, bytes]]:
    """(whether it is ids, its bytes). A part that says it is longer than the prompt ends with it; a rest that is too
    short to begin one is ignored. A typed prompt says what stands after its type."""
    prompt = proper(prompt)
    if prompt[:1] != bytes([PromptKind.PARTS]):
        yield prompt[:1] == bytes([PromptKind.IDS]), prompt[1:]
        return
    at = 1
    while at + 1 + LENGTH_BYTES <= len(prompt):
        start = at + 1 + LENGTH_BYTES
        end = start + int.from_bytes(prompt[at + 1 : start], "big")
        yield prompt[at] == PromptKind.IDS, prompt[start:end]
        at = end


def asked(prompt: bytes, vocabulary: Vocabulary | None, manifest: Manifest, size: int) -> list[int]:
    """The tokens before an answer, wrapper included, with their marks (`merkle/tokens.py`): the one reading, whatever
    the bytes.

    vocabulary: None if it reads no text; a prompt is then its kind and ids, and nothing is marked. size: how many
    tokens the model has.
    """
    if vocabulary is not None:
        tokens = prompt_tokens(read_prompt(prompt, vocabulary), vocabulary, manifest)
        return [marked(token.id, token.end, begins=token.begins) for token in tokens]
    return manifest.wrapped([known(token, size, manifest) for token in ids_in(proper(prompt)[1:])])


def asked_of_panel(prompt: bytes, encode: Callable[[bytes], Sequence[int]], manifest: Manifest, size: int) -> list[int]:
    """The same where a panel judges: nothing is marked, and each text reads as the engine's own tokenizer has it.

    encode: the tokens of a text that is not empty. size: how many tokens the model has.
    """
    tokens: list[int] = []
    for of_ids, part in parts_of(prompt):
        if of_ids:
            tokens += (known(token, size, manifest) for token in ids_in(part))
        elif part:
            tokens += encode(part)
    return manifest.wrapped(tokens)


def prompt_tokens(reading: Reading, vocabulary: Vocabulary, manifest: Manifest) -> list[Token]:
    """The tokens before an answer, wrapper included, with their ends in the reading; 0 for the wrapper's."""
    inner: list[Token] = []
    for part in reading.parts:
        data = reading.data[part.start : part.end]
        if part.of_ids:
            ids = (known(token, len(vocabulary.entries), manifest) for token in ids_in(data))
            inner += (Token(token, part.start + ID_BYTES * count, False) for count, token in enumerate(ids, 1))
        else:
            inner += (Token(token.id, part.start + token.end, token.begins) for token in vocabulary.encode(data))
    prefix, suffix = wrapper(reading, manifest)
    outer = ([Token(token, 0, False) for token in tokens] for tokens in (prefix, suffix))
    return [*next(outer), *inner, *next(outer)]


def known(token: int, size: int, manifest: Manifest) -> int:
    """What an id reads as: itself, or the replacement token if the vocabulary, of `size` tokens, ends before it."""
    return token if token < size else manifest.replacement_token


def wrapper(reading: Reading, manifest: Manifest) -> tuple[Sequence[int], Sequence[int]]:
    """Tokens before and after the reading's. The replacement token alone where there would be none at all."""
    if not reading.data and not manifest.wrapper_tokens:
        return (manifest.replacement_token,), ()
    return manifest.prefix_tokens, manifest.suffix_tokens
