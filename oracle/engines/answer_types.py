"""Types of answers: what may answer a typed prompt. Each prompt has one type, whatever its bytes.

A typed prompt names the type of its answer before it asks: its kind (1 byte), the first bytes of the root of the
vocabulary that the type was made for (4), the type's form (1), the type's length (3, big-endian), the type, and the
prompt proper, of any other kind. A type that is malformed, or too long for what the request allows, has one answer,
too: the model's first stop token, and an empty output.

A choice is two to sixteen rows of token ids. Before each output token only the ids compete with which a row goes on
that begins as the output does; where a row ends, the model's first stop token. The margin is the least by which a logit
won over another that competed. An answer's output is ten bytes: the row's index (1), the margin (4), and its witness,
the step (2) and the other id (3) at which it is reached.

A pattern is a table of states in which bytes lead from one to the next: an answer's output is bytes that lead from the
first state to one that needs no more. Its tokens spell these bytes, and the model's first stop token ends them. A table
may be anything: what it does not say leads nowhere, so whatever it is, one answer is right.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

from oracle.merkle.tokens import ID_BYTES, id_bytes, ids_in

TYPED = 3
"""A prompt's first byte."""
ROOT_BYTES, LENGTH_BYTES = 4, 3
HEADER_BYTES = 1 + ROOT_BYTES + 1 + LENGTH_BYTES
"""Before a type."""
LEAST_ROWS, MOST_ROWS, MOST_IDS = 2, 16, 16
"""Of a choice."""
MARGIN_BITS = 16
"""Fraction bits of a margin."""
MOST_MARGIN = 2**32 - 1
"""Larger ones are this."""
MOST_TEXT = 8192
"""Bytes of an output that follows a pattern."""
MOST_RANGES = 16
"""Of bytes, in a row of a pattern's table."""
HEAD, STATE, OFFSET, RANGE = 3, 3, 2, 4
"""Bytes of a pattern's table before the states, of a state, of a shape's offset, and of a range of its row."""
RELATIVE = 1 << 15
"""A target from here on is a distance from the state itself."""


class Form(IntEnum):
    """A type's form. Any other is malformed."""

    CHOICE = 1
    PATTERN = 2


@dataclass(frozen=True)
class Malformed:
    """A type that nothing answers but an empty output."""

    reason: str
    stop: int
    """The model's first stop token, the answer's only one."""


@dataclass(frozen=True)
class Choice:
    """One of a few rows of token ids."""

    rows: tuple[tuple[int, ...], ...]
    stop: int
    """The model's first stop token, which ends a row."""

    @property
    def longest(self) -> int:
        """Tokens of the longest answer, the stop token included."""
        return max(map(len, self.rows)) + 1

    def allowed(self, output: Sequence[int]) -> tuple[int, ...]:
        """The ids that compete after `output`, rising; none after what is no beginning of an answer."""
        at = len(output)
        whole = ((*row, self.stop) for row in self.rows)
        return tuple(sorted({row[at] for row in whole if len(row) > at and row[:at] == tuple(output)}))

    def index(self, output: Sequence[int]) -> int | None:
        """Which row `output` is, its stop token included."""
        return next((index for index, row in enumerate(self.rows) if (*row, self.stop) == tuple(output)), None)


@dataclass(frozen=True)
class Pattern:
    """Bytes that a table of states accepts. docs/answers.md has the layout."""

    table: bytes
    stop: int
    """The model's first stop token, which ends an answer."""
    stops: frozenset[int]
    """All of the model's."""
    limit: int
    """Output tokens that the request and the context allow, the stop token included."""

    @property
    def states(self) -> int:
        """How many; numbers from 0, with which an output begins."""
        return self._number(0, 2)

    @property
    def heads(self) -> int:
        """Bytes before the first row."""
        return HEAD + STATE * self.states + OFFSET * self.table[2]

    def need(self, state: int) -> int:
        """How many bytes a state needs at least, as the table says; 0 where an output may end."""
        return self._number(HEAD + STATE * state + 1, 2)

    def after(self, state: int, byte: int) -> int | None:
        """Where a byte leads; None if nowhere. The first range of the state's row that holds the byte decides."""
        shape = self.table[HEAD + STATE * state]
        if shape >= self.table[2]:
            return None
        row = self._number(HEAD + STATE * self.states + OFFSET * shape, 2)
        count = self.table[row] if row < len(self.table) else 0
        if count > MOST_RANGES or row + 1 + RANGE * count > len(self.table):
            return None
        for at in range(row + 1, row + 1 + RANGE * count, RANGE):
            if self.table[at] <= byte <= self.table[at + 1]:
                target = self._number(at + 2, 2)
                target = state + target - RELATIVE if target >= RELATIVE else target
                return target if target < self.states else None
        return None

    def walk(self, text: bytes, state: int = 0) -> int | None:
        """Where bytes lead from a state; None if nowhere."""
        at: int | None = state
        for byte in text:
            at = None if at is None else self.after(at, byte)
        return at

    def allows(self, state: int, length: int, step: int, token: int, spelled: bytes) -> bool:
        """Whether a token that is not the stop token may be output token `step`.

        state, length: of the output before it. token, spelled: one of the vocabulary, and its bytes.
        """
        after = self.walk(spelled, state)
        left = self.limit - step - 1
        fits = bool(spelled) and length + len(spelled) <= MOST_TEXT
        return token not in self.stops and fits and after is not None and self.need(after) < left

    def _number(self, at: int, size: int) -> int:
        return int.from_bytes(self.table[at : at + size], "big")


AnswerType = Choice | Pattern | Malformed


@dataclass(frozen=True)
class Verdict:
    """What answers a choice."""

    index: int
    margin: int
    """The least by which a logit won over another that competed; 16 fraction bits, at most MOST_MARGIN."""
    step: int
    """Of the output tokens, the earliest at which it is reached."""
    other: int
    """The id over which it is reached there; of equal ones the lowest."""

    def __bytes__(self) -> bytes:
        """The output. Raises OverflowError where something does not fit."""
        numbers = ((self.index, 1), (self.margin, 4), (self.step, 2), (self.other, ID_BYTES))
        return b"".join(number.to_bytes(size, "big") for number, size in numbers)

    @classmethod
    def of(cls, output: bytes) -> "Verdict | None":
        """None for what is not ten bytes."""
        if len(output) != VERDICT_BYTES:
            return None
        return cls(*(int.from_bytes(output[a:b], "big") for a, b in pairwise((0, 1, 5, 7, VERDICT_BYTES))))


VERDICT_BYTES = 10


@dataclass(frozen=True)
class Contest:
    """The logits of the ids that compete before an output token."""

    step: int
    """Of the output tokens."""
    logits: Mapping[int, int]
    """Of two ids or more, 16 fraction bits."""

    @property
    def winner(self) -> int:
        """The id of the largest logit, the lowest on a tie."""
        return min(self.logits, key=lambda token: (-self.logits[token], token))

    def lead(self, other: int) -> int:
        """By how much the winner lies above another that competes; 16 fraction bits, at most MOST_MARGIN."""
        return min(self.logits[self.winner] - self.logits[other], MOST_MARGIN)

    @property
    def closest(self) -> tuple[int, int, int]:
        """The least lead, the step, and over whom; of equal ones the lowest."""
        winner = self.winner
        lead, other = min((self.lead(token), token) for token in self.logits if token != winner)
        return lead, self.step, other


def verdict(index: int, contests: Iterable[Contest]) -> Verdict:
    """What answers with row `index`. contests: all before its tokens, each won by its own; at least one."""
    return Verdict(index, *min(contest.closest for contest in contests))


def choice_type(rows: Sequence[Sequence[int]], root: bytes) -> bytes:
    """What stands between a typed prompt's kind and the prompt proper. root: of the vocabulary.

    Raises ValueError or OverflowError for rows and ids that do not fit their fields; nothing else is looked for.
    """
    body = bytes([len(rows)]) + b"".join(bytes([len(row)]) + id_bytes(row) for row in rows)
    return root[:ROOT_BYTES] + bytes([Form.CHOICE]) + len(body).to_bytes(LENGTH_BYTES, "big") + body


def pattern_type(table: bytes, root: bytes) -> bytes:
    """What stands between a typed prompt's kind and the prompt proper. root: of the vocabulary.

    Raises OverflowError for a table that does not fit its field; nothing else is looked for.
    """
    return root[:ROOT_BYTES] + bytes([Form.PATTERN]) + len(table).to_bytes(LENGTH_BYTES, "big") + table


def typed_prompt(answer_type: bytes, prompt: bytes) -> bytes:
    """answer_type: as `choice_type` gives it. prompt: of any other kind."""
    return bytes([TYPED]) + answer_type + prompt


def is_typed(prompt: bytes) -> bool:
    """Whether the prompt's kind is typed, however malformed its type."""
    return prompt[:1] == bytes([TYPED])


def asks_for_choice(prompt: bytes) -> bool:
    """Whether a prompt, or its heading, names a choice, however malformed."""
    return is_typed(prompt) and prompt[1 + ROOT_BYTES : HEADER_BYTES - LENGTH_BYTES] == bytes([Form.CHOICE])


def heading(prompt: bytes) -> bytes:
    """What a typed prompt says of its type: all before the prompt proper. Empty if it is not typed."""
    return prompt[: _type_ends(prompt)] if is_typed(prompt) else b""


def proper(prompt: bytes) -> bytes:
    """What a prompt asks: of a typed one what follows its type, nothing if that is longer than the prompt."""
    return prompt[_type_ends(prompt) :] if is_typed(prompt) else prompt


def type_of(prompt: bytes, root: bytes, size: int, stop_tokens: Sequence[int], limit: int) -> AnswerType | None:
    """The type of a prompt's answer; None if it is not typed. prompt: or its heading, which says the same.

    root: of the model's vocabulary, of `size` tokens. limit: output tokens that the request and the context allow.
    """
    if not is_typed(prompt):
        return None
    try:
        form, body = _body(prompt, root)
        if form == Form.PATTERN:
            return _pattern(body, stop_tokens, limit)
        choice = Choice(_rows(body), stop_tokens[0])
        _check(choice, size, stop_tokens, limit)
    except _BadTypeError as error:
        return Malformed(str(error), stop_tokens[0])
    return choice


class _BadTypeError(Exception):
    """Its reason."""


def _body(prompt: bytes, root: bytes) -> tuple[Form, bytes]:
    """A type's form, and the type."""
    end = _type_ends(prompt)
    if len(prompt) < HEADER_BYTES or end > len(prompt):
        raise _BadTypeError("it is longer than the prompt")
    if prompt[1 : 1 + ROOT_BYTES] != root[:ROOT_BYTES]:
        raise _BadTypeError("it was made for another vocabulary")
    form = prompt[1 + ROOT_BYTES]
    if form not in [*Form]:
        raise _BadTypeError(f"no type has the form {form}")
    return Form(form), prompt[HEADER_BYTES:end]


def _pattern(table: bytes, stop_tokens: Sequence[int], limit: int) -> Pattern:
    pattern = Pattern(table, stop_tokens[0], frozenset(stop_tokens), limit)
    if len(table) < HEAD or pattern.states == 0 or pattern.heads > len(table):
        raise _BadTypeError("a pattern is how many states and shapes it has, and these, and the shapes' rows")
    if pattern.need(0) >= limit:
        raise _BadTypeError(f"an answer may need {pattern.need(0) + 1} tokens, and {limit} are allowed")
    return pattern


def _rows(body: bytes) -> tuple[tuple[int, ...], ...]:
    """The rows of a choice."""
    at, rows = 1, list[tuple[int, ...]]()
    for _ in range(body[0] if body else 0):
        start = at + 1
        at = start + (body[at] * ID_BYTES if at < len(body) else 0)
        rows.append(tuple(ids_in(body[start:at])))
    if at != len(body):
        raise _BadTypeError("a choice is how many rows it has, and for each its length and so many ids")
    return tuple(rows)


def _check(choice: Choice, size: int, stop_tokens: Sequence[int], limit: int) -> None:
    rows = choice.rows
    if not LEAST_ROWS <= len(rows) <= MOST_ROWS:
        raise _BadTypeError(f"a choice has {LEAST_ROWS} to {MOST_ROWS} rows")
    if not all(1 <= len(row) <= MOST_IDS for row in rows):
        raise _BadTypeError(f"a row of a choice has 1 to {MOST_IDS} ids")
    if len(set(rows)) < len(rows):
        raise _BadTypeError("two rows of a choice are the same")
    bad = [token for row in rows for token in row if token >= size or token in stop_tokens]
    if bad:
        raise _BadTypeError(f"token {bad[0]} stops an answer, or the vocabulary ends before it")
    if choice.longest > limit:
        raise _BadTypeError(f"an answer may need {choice.longest} tokens, and {limit} are allowed")


def _type_ends(prompt: bytes) -> int:
    """Where a typed prompt says that its type ends."""
    return HEADER_BYTES + int.from_bytes(prompt[HEADER_BYTES - LENGTH_BYTES : HEADER_BYTES], "big")
