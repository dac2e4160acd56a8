"""Types of answers, their right answers, and answers that are not, made of the right one as a liar would."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any
from zlib import crc32

import numpy as np
from disputes.claims import typed

from oracle.disputes import answer_referee
from oracle.engines.answer_types import MOST_MARGIN, AnswerType, Choice, Malformed, Verdict, choice_type, typed_prompt
from oracle.merkle.tokens import Tokens

LogitsAt = Callable[[Sequence[int]], Sequence[int]]
"""The model's logits after some output tokens."""
CLOSE = 3
"""So few values have logits that ties are many."""


@dataclass(frozen=True)
class Said:
    """An answer: its tokens, their ends, its output."""

    tokens: tuple[int, ...]
    ends: tuple[int, ...]
    output: bytes


def right_answer(type_: AnswerType, logits: LogitsAt) -> Said:
    """By the rules of docs/answers.md and nothing else."""
    if isinstance(type_, Malformed):
        return Said((type_.stop,), (0,), b"")
    tokens, contests = list[int](), list[tuple[int, int, int]]()
    while allowed := type_.allowed(tokens):
        row = logits(tokens)
        best = max(allowed, key=lambda token: (row[token], -token))
        contests += [(row[best] - row[other], len(tokens), other) for other in allowed if other != best]
        tokens.append(best)
    index = type_.index(tokens)
    assert index is not None
    return Said(tuple(tokens), (0,) * len(tokens), bytes(Verdict(index, *min(contests))))


@dataclass(frozen=True)
class InventedRow(Sequence[int]):
    """Logits that no model made: the same for the same seed, close to each other, at times far apart."""

    seed: str
    size: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, token: Any) -> Any:
        if not 0 <= token < self.size:
            raise IndexError(token)
        random = Random(f"{self.seed} {token}")
        near, far = random.randrange(CLOSE), random.choice((-(2**31), 2**31 - 1))
        return far if crc32(self.seed.encode()) % 5 == 0 and random.random() < 0.6 else near


def invented_logits(seed: int, size: int) -> LogitsAt:
    """Of a model that nobody has."""
    return lambda tokens: InventedRow(f"{seed} {tuple(tokens)}", size)


def close_logits(seed: int, size: int) -> LogitsAt:
    """The same of a large vocabulary, made as a whole; each row is kept."""

    @cache
    def after(tokens: tuple[int, ...]) -> Sequence[int]:
        random = np.random.default_rng([seed, crc32(repr(tokens).encode())])
        far = random.random(size) < 0.1
        row: list[int] = np.where(
            far, random.choice((-(2**31), 2**31 - 1), size), random.integers(CLOSE, size=size)
        ).tolist()
        return row

    return lambda tokens: after(tuple(tokens))


def rows(random: Random, ids: Sequence[int]) -> list[tuple[int, ...]]:
    """Of a choice: many begin alike, some are the beginning of another. ids: that they are made of."""
    few = random.sample(ids, min(len(ids), random.randrange(2, 6)))
    made: set[tuple[int, ...]] = set()
    while len(made) < 2 or random.random() < 0.7:
        begun = random.choice([(), *made])[: random.randrange(5)]
        made.add((*begun, *(random.choice(few) for _ in range(random.randrange(0 if begun else 1, 4)))))
    found = sorted(made, key=lambda row: random.random())
    return found[:16]


def prompt(random: Random, root: bytes, size: int, inner: bytes) -> bytes:
    """Typed: well made most times; else with something wrong, near to right or not."""
    ids = list(range(size))
    made = rows(random, ids[3:])  # the first are stop tokens, in these tests
    bad = random.random()
    if bad < 0.6:
        return typed_prompt(choice_type(made, root), inner)
    if bad < 0.75:
        return typed(random, inner) or b"\x03"
    at = random.randrange(len(made))
    wrong = {
        "one row": made[:1],
        "seventeen rows": [(3 + each,) for each in range(17)],
        "sixteen rows": [(3 + each,) for each in range(16)],
        "a row twice": [*made[:15], made[at]],
        "an empty row": [*made[:15], ()],
        "a long row": [*made[:15], tuple(random.choices(ids[3:], k=random.choice((16, 17, 40))))],
        "a stop token": [*made[:15], (random.randrange(3),)],
        "no token": [*made[:15], (size + random.randrange(2),)],
        "rows enough": made,
    }
    answer_type = bytearray(choice_type(random.choice(list(wrong.values())), root))
    if random.random() < 0.3:
        answer_type[random.randrange(len(answer_type))] ^= 1 << random.randrange(8)
    return typed_prompt(bytes(answer_type), inner)


def wrong_answers(random: Random, type_: AnswerType, right: Said, size: int) -> Iterator[Said]:
    """Each a change of the right one."""
    at = random.randrange(len(right.tokens))
    other_tokens = [*right.tokens[:at], (right.tokens[at] + 1) % size, *right.tokens[at + 1 :]]
    yield replace(right, tokens=tuple(other_tokens))
    yield Said((*right.tokens, right.tokens[at]), (*right.ends, 0), right.output)
    yield replace(right, ends=tuple(random.randrange(2) if each != at else 1 for each in range(len(right.ends))))
    yield replace(right, output=right.output + bytes(random.randrange(1, 3)))
    if len(right.tokens) > 1:
        yield Said(right.tokens[:-1], right.ends[:-1], right.output)
    if isinstance(type_, Choice):
        yield replace(right, output=right.output[:-1])
        yield replace(right, output=b"")
        yield from (_saying(type_, each) for each in _verdicts(random, type_, Verdict.of(right.output), size))


def _saying(choice: Choice, verdict: Verdict) -> Said:
    """With the tokens that it says, where there are such."""
    row = choice.rows[min(verdict.index, len(choice.rows) - 1)]
    tokens = (*row, choice.stop)
    return Said(tokens, (0,) * len(tokens), bytes(verdict))


def _verdicts(random: Random, choice: Choice, right: Verdict | None, size: int) -> Iterator[Verdict]:
    """That are not the right one: a unit more or less, other witnesses, other rows with any margin."""
    assert right is not None
    margins = {0, 1, right.margin, MOST_MARGIN, random.randrange(CLOSE), random.randrange(1 << 32)}
    for margin in sorted(margins | {max(right.margin - 1, 0), min(right.margin + 1, MOST_MARGIN)}):
        for index in {right.index, random.randrange(len(choice.rows))}:
            tokens = (*choice.rows[index], choice.stop)
            for step in range(len(tokens)):
                for other in answer_referee.others(choice, tokens, step):
                    made = Verdict(index, margin, step, other)
                    if made != right:
                        yield made
    yield replace(right, index=len(choice.rows) + random.randrange(3))
    yield replace(right, step=right.step + random.randrange(1, 20))
    yield replace(right, other=random.choice((choice.stop, random.randrange(size), 2**24 - 1)), margin=right.margin ^ 1)


def tokens_of(asked: Sequence[int], said: Said) -> Tokens:
    """Of an answer. asked: the prompt's, with their marks."""
    return replace(Tokens.spelled(asked, (), ()), output=said.tokens, ends=said.ends)
