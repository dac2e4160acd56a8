"""Prompts and their right tokens; and rows of tokens that are not, made of the right one by small changes, as a liar
would."""

from bisect import bisect_left
from dataclasses import replace
from random import Random

from exact import invented

from oracle.disputes.text_referee import Case
from oracle.engines.answer_types import ROOT_BYTES, typed_prompt
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, prompt_tokens, read_prompt, text_prompt
from oracle.engines.exact.vocabulary import Token, Vocabulary
from oracle.models.manifest import Manifest

MOST = 12  # bytes that a change makes other tokens of
WRAPPERS = (((), ()), ((1,), ()), ((), (2,)), ((1, 1), (2, 1)))
OUTPUT = 3  # tokens after the prompt's


def manifest(prefix: tuple[int, ...], suffix: tuple[int, ...]) -> Manifest:
    return Manifest(
        name="invented", file_sha256=b"m" * 32, file_bytes=1, uri="", context_length=8192, prefix_tokens=prefix,
        suffix_tokens=suffix, stop_tokens=(0,), replacement_token=1, weights_root=bytes(32), architecture=b"",
    )  # fmt: skip


def case(vocabulary: Vocabulary, prompt: bytes, wrapper: Manifest) -> Case:
    """The right one."""
    reading = read_prompt(prompt, vocabulary)
    return Case(vocabulary, wrapper, reading, prompt_tokens(reading, vocabulary, wrapper), OUTPUT)


def typed(random: Random, inner: bytes) -> bytes:
    """A prompt behind a type that is any bytes, of any length, cut or too long."""
    body = random.randbytes(random.randrange(12))
    length = len(body) if random.random() < 0.7 else random.choice((0, len(body) + 1, 1 << 16, (1 << 24) - 1))
    made = typed_prompt(random.randbytes(ROOT_BYTES + 1) + length.to_bytes(3, "big") + body, inner)
    return made[: random.randrange(len(made) + 1)] if random.random() < 0.2 else made


def prompt(random: Random, most: int) -> bytes:
    """Of any kind, well made or not."""
    inner = _untyped(random, most)
    return typed(random, inner) if random.random() < 0.2 else inner


def _untyped(random: Random, most: int) -> bytes:
    kind = random.random()
    if kind < 0.5:
        return text_prompt(invented.text(random, most))
    if kind < 0.9:
        ids = b"".join(bytes([0, random.randrange(2), random.randrange(60)]) for _ in range(random.randrange(3)))
        made = [(PromptKind.TEXT, invented.text(random, most // 2)), (PromptKind.IDS, ids)]
        return parts_prompt(random.choices(made, k=random.randrange(4)))
    return bytes([random.randrange(5)]) * random.randrange(2) + random.randbytes(random.randrange(9))


class Liar:
    """Changes rows of one vocabulary's tokens."""

    def __init__(self, vocabulary: Vocabulary, random: Random) -> None:
        self._vocabulary, self._random = vocabulary, random
        spelled = ((entry.spelled, token) for token, entry in enumerate(vocabulary.entries) if entry.spelled)
        self._spelled = sorted(spelled)

    def claim(self, right: Case) -> list[Token] | None:
        """Other tokens; None where nothing was found."""
        change = self._random.choice((self._spelled_otherwise,) * 4 + (self._flag, self._id, self._end, self._count))
        tokens = change(right, list(right.tokens))
        return None if tokens == list(right.tokens) else tokens

    def _place(self, right: Case) -> int:
        return self._random.randrange(len(right.tokens))

    def _flag(self, right: Case, tokens: list[Token]) -> list[Token]:
        at = self._place(right)
        tokens[at] = replace(tokens[at], begins=not tokens[at].begins)
        return tokens

    def _id(self, right: Case, tokens: list[Token]) -> list[Token]:
        at = self._place(right)
        tokens[at] = replace(tokens[at], id=self._random.randrange(len(self._vocabulary.entries) + 2))
        return tokens

    def _end(self, right: Case, tokens: list[Token]) -> list[Token]:
        at = self._place(right)
        tokens[at] = replace(tokens[at], end=max(0, tokens[at].end + self._random.choice((-3, -1, 1, 3))))
        return tokens

    def _count(self, right: Case, tokens: list[Token]) -> list[Token]:
        at = self._place(right)
        if self._random.random() < 0.5:
            del tokens[at]
        else:
            tokens.insert(at, tokens[at])
        return tokens

    def _spelled_otherwise(self, right: Case, tokens: list[Token]) -> list[Token]:
        """Some bytes by other tokens that spell them, with the flags that fit."""
        if right.first >= right.last:
            return tokens
        first = self._random.randrange(right.first, right.last)
        start, last = right.start(first), first
        while last < right.last and right.tokens[last].end - start <= MOST:
            last += 1
        if last == first:
            return tokens
        last = self._random.randrange(first, last)
        end, at, made = right.tokens[last].end, start, list[Token]()
        pieces = {right.start(index) for index in range(right.first, right.last) if right.tokens[index].begins}
        while at < end:
            fits = self._spelling(right.reading.data[at:end])
            if not fits:
                return tokens
            token, length = self._random.choice(fits)
            made.append(Token(token, at + length, at in pieces))
            at += length
        return [*tokens[:first], *made, *tokens[last + 1 :]]

    def _spelling(self, data: bytes) -> list[tuple[int, int]]:
        """(token, its length) of those that spell the beginning of some bytes."""
        found = []
        for length in range(1, len(data) + 1):
            at = bisect_left(self._spelled, (data[:length], -1))
            while at < len(self._spelled) and self._spelled[at][0] == data[:length]:
                found.append((self._spelled[at][1], length))
                at += 1
        return found
