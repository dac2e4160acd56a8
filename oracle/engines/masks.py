"""Which tokens a pattern allows where an output stands: found once for each state, of all tokens together, and kept.

`Pattern.allows` says it of one token, and is the plain version. Here the vocabulary is a tree over what its tokens
spell, which the pattern's table leads through, level by level and no further than it leads. So a state costs at most
one look at each node of the tree, whatever the table: a hostile one costs no more than that for each token of its
answer. What is kept is bounded too, and dropped by age.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from oracle.engines.answer_types import (
    HEAD,
    MOST_RANGES,
    MOST_TEXT,
    OFFSET,
    RANGE,
    RELATIVE,
    STATE,
    Pattern,
)

BUDGET = 64 << 20  # bytes of what is kept of states
TABLES = 8  # that are kept; one has at most some 5 MB
NOWHERE = -1
LOWEST = -(1 << 62)
"""In place of the logit of a token that is not allowed: below any logit by more than any tolerance."""

Ids = npt.NDArray[np.int32]
States = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Reach:
    """The tokens whose bytes lead somewhere from a state."""

    tokens: Ids
    """(n,) rising; no stop tokens."""
    needs: npt.NDArray[np.uint16]
    """(n,) of the states that they lead to."""
    most_need: int
    longest: int
    """Bytes of a token."""

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self.tokens.nbytes + self.needs.nbytes


class Table:
    """A pattern's table, ready for many states and bytes at a time, and for one after the other."""

    def __init__(self, pattern: Pattern, digest: bytes) -> None:
        """digest: that tells it from other tables."""
        table, self.digest = pattern.table, digest
        heads = np.frombuffer(table, np.uint8, STATE * pattern.states, HEAD).reshape(-1, STATE)
        self._states, shapes = pattern.states, table[2]
        self.needs = heads[:, 1].astype(np.uint16) * np.uint16(256) + heads[:, 2]
        self._shapes = np.minimum(heads[:, 0], shapes).astype(np.int32) << 8  # the last row leads nowhere
        targets = np.full((shapes + 1, 256), NOWHERE, np.int32)
        for shape in range(shapes):
            at = HEAD + STATE * self._states + OFFSET * shape
            row = int.from_bytes(table[at : at + OFFSET], "big")
            count = table[row] if row < len(table) else 0
            if count > MOST_RANGES or row + 1 + RANGE * count > len(table):
                continue
            for place in reversed(range(row + 1, row + 1 + RANGE * count, RANGE)):  # the first one decides
                low, high = table[place], table[place + 1]
                targets[shape, low : high + 1] = int.from_bytes(table[place + 2 : place + RANGE], "big")
        self._targets, self._is_relative = targets.ravel(), bool((targets >= RELATIVE).any())
        self._one_by_one: tuple[list[int], list[int], list[int]]
        self._one_by_one = self._shapes.tolist(), self._targets.tolist(), self.needs.tolist()

    def after(self, states: States, read: npt.NDArray[np.uint8]) -> States:
        """Where bytes lead from states, one each; NOWHERE if nowhere."""
        found: States = self._targets.take(self._shapes.take(states) + read)
        if self._is_relative:
            found += (found >= RELATIVE) * (states - RELATIVE)
        found[found >= self._states] = NOWHERE
        return found

    def walk(self, text: bytes, state: int) -> int:
        """Where bytes lead from a state, one after the other; NOWHERE if nowhere."""
        shapes, targets, _ = self._one_by_one
        for byte in text:
            target = targets[shapes[state] + byte]
            if target >= RELATIVE:
                target += state - RELATIVE
            if not 0 <= target < self._states:
                return NOWHERE
            state = target
        return state

    def need(self, state: int) -> int:
        return self._one_by_one[2][state]


class Spellings:
    """A tree over what tokens spell. Its nodes are numbered level by level, so that siblings are neighbours."""

    def __init__(self, pieces: Sequence[bytes], without: Sequence[int]) -> None:
        """pieces: what each token spells. without: tokens that are not looked for."""
        left_out = set(without)
        order = sorted((t for t, piece in enumerate(pieces) if piece and t not in left_out), key=pieces.__getitem__)
        self.lengths: npt.NDArray[np.int32] = np.array([len(piece) for piece in pieces], np.int32)
        ids = np.array(order, np.int32)
        lengths = self.lengths[ids]
        text = np.frombuffer(b"".join(pieces[token] for token in order), np.uint8)
        starts = np.cumsum(lengths) - lengths
        ends = np.zeros(len(ids), np.int32)  # the node at which a token ends, as far as it is known
        count, depth, inside = 1, 0, np.arange(len(ids))
        read, parents = [np.zeros(1, np.uint8)], [np.full(1, -1, np.int32)]
        while inside.size:
            byte, parent = text[starts[inside] + depth], ends[inside]
            is_new = np.ones(len(inside), bool)
            is_new[1:] = (parent[1:] != parent[:-1]) | (byte[1:] != byte[:-1])
            ends[inside] = count - 1 + np.cumsum(is_new)
            read.append(byte[is_new])
            parents.append(parent[is_new])
            count += len(read[-1])
            depth += 1
            inside = inside[lengths[inside] > depth]
        self._bytes = np.concatenate(read)
        self._children = np.searchsorted(np.concatenate(parents), np.arange(count + 1)).astype(np.int32)
        by_node = np.argsort(ends, kind="stable")
        self._tokens = ids[by_node]
        self._ends = np.searchsorted(ends[by_node], np.arange(count + 1)).astype(np.int32)

    def reach(self, table: Table, state: int) -> Reach:
        nodes, states = np.zeros(1, np.int32), np.array([state], np.int32)
        tokens, needs = [np.zeros(0, np.int32)], [np.zeros(0, np.uint16)]
        while nodes.size:
            nodes, of = _spread(self._children, nodes)
            states = table.after(states.take(of), self._bytes.take(nodes))
            lives = np.flatnonzero(states >= 0)
            nodes, states = nodes.take(lives), states.take(lives)
            at, of = _spread(self._ends, nodes)
            tokens.append(self._tokens.take(at))
            needs.append(table.needs.take(states.take(of)))
        found, hungry = np.concatenate(tokens), np.concatenate(needs)
        order = np.argsort(found)
        longest = int(self.lengths[found].max(initial=0))
        return Reach(found[order], hungry[order], int(hungry.max(initial=0)), longest)


def _spread(starts: Ids, at: Ids) -> tuple[Ids, Ids]:
    """All places from `starts[k]` up to `starts[k + 1]` for each k of `at`, and of which each is."""
    first = starts.take(at)
    counts = starts.take(at + 1) - first
    of = np.repeat(np.arange(len(at), dtype=np.int32), counts)
    places = np.arange(len(of), dtype=np.int32) + (first - (np.cumsum(counts, dtype=np.int32) - counts)).take(of)
    return places, of


class Masks:
    """What patterns allow of one vocabulary. Thread-safe."""

    def __init__(self, pieces: Sequence[bytes], stop_tokens: Sequence[int], budget: int = BUDGET) -> None:
        """pieces: what each token spells. budget: bytes of what is kept of states."""
        self.pieces, self._stops, self._budget = pieces, tuple(stop_tokens), budget
        self._lock = threading.RLock()
        self._tables: OrderedDict[bytes, Table] = OrderedDict()
        self._states: OrderedDict[tuple[bytes, int], bytes] = OrderedDict()
        """What each was found to be, the one that was used longest ago first."""
        self._found: dict[bytes, tuple[Reach, int]] = {}
        """Of equal ones one, and how many states have it: those within a bounded text are alike."""
        self.kept = 0
        """Bytes."""

    @cached_property
    def spellings(self) -> Spellings:
        """Made when the first pattern comes: of 49,152 tokens in some 0.1 s, of 150,000 in some 0.4 s."""
        return Spellings(self.pieces, self._stops)

    def course(self, pattern: Pattern) -> "Course":
        """Of an output that has no token yet."""
        digest = blake2b(pattern.table, digest_size=16).digest()
        with self._lock:
            table = self._tables.get(digest)
            if table is None:
                table = self._tables[digest] = Table(pattern, digest)
            self._tables.move_to_end(digest)
            if len(self._tables) > TABLES:
                self._tables.popitem(last=False)
        return Course(self, pattern, table)

    def reach(self, table: Table, state: int) -> Reach:
        key = (table.digest, state)
        with self._lock:
            known = self._states.get(key)
            if known is not None:
                self._states.move_to_end(key)
                return self._found[known][0]
            return self._keep(key, self.spellings.reach(table, state))

    def _keep(self, key: tuple[bytes, int], reach: Reach) -> Reach:
        same = blake2b(reach.tokens.tobytes() + reach.needs.tobytes(), digest_size=16).digest()
        reach, states = self._found.get(same, (reach, 0))
        self._found[same], self._states[key] = (reach, states + 1), same
        self.kept += _COST + (0 if states else reach.size)
        while self.kept > self._budget:
            _, last = self._states.popitem(last=False)
            other, states = self._found.pop(last)
            self.kept -= _COST + (0 if states > 1 else other.size)
            if states > 1:
                self._found[last] = other, states - 1
        return reach


_COST = 512  # bytes, about, of a state beside what was found for it


@dataclass(frozen=True)
class Course:
    """Where an output stands that follows a pattern."""

    _masks: Masks
    pattern: Pattern
    _table: Table
    state: int = 0
    length: int = 0
    """Bytes so far."""
    step: int = 0
    """Tokens so far."""
    ended: bool = False

    def then(self, token: int) -> "Course":
        """After one more token, which must be allowed."""
        if token == self.pattern.stop:
            return replace(self, step=self.step + 1, ended=True)
        spelled = self._masks.pieces[token]
        state = self._table.walk(spelled, self.state)
        assert state >= 0, "a token that is not allowed"
        return Course(self._masks, self.pattern, self._table, state, self.length + len(spelled), self.step + 1)

    @cached_property
    def tokens(self) -> Ids:
        """(n,) rising: what is allowed, but for the stop token."""
        if self.ended:
            return np.zeros(0, np.int32)
        reach = self._masks.reach(self._table, self.state)
        left, room = self.pattern.limit - self.step - 1, MOST_TEXT - self.length
        if reach.most_need < left and reach.longest <= room:
            return reach.tokens
        lengths = self._masks.spellings.lengths
        return reach.tokens[(reach.needs < left) & (lengths[reach.tokens] <= room)]

    @property
    def may_stop(self) -> bool:
        return not self.ended and (self._table.need(self.state) == 0 or not self.tokens.size)

    @property
    def only(self) -> int | None:
        """What must come next, where nothing else may; None where several may, or nothing."""
        if self.ended or self.tokens.size > 1:
            return None
        if not self.tokens.size:
            return self.pattern.stop
        return None if self.may_stop else int(self.tokens[0])

    def allows(self, token: int) -> bool:
        """Of any number."""
        if token == self.pattern.stop:
            return self.may_stop
        if self.ended or token in self.pattern.stops or not 0 <= token < len(self._masks.pieces):
            return False
        spelled = self._masks.pieces[token]
        after = self._table.walk(spelled, self.state) if spelled else NOWHERE
        fits = after >= 0 and self.length + len(spelled) <= MOST_TEXT
        return fits and self._table.need(after) < self.pattern.limit - self.step - 1

    def pick(self, row: npt.NDArray[Any]) -> int:
        """The allowed token of the largest logit, the lowest on a tie. row: (vocabulary,)

        The largest of all often is allowed; then nobody asks what else is.
        """
        first = int(row.argmax())
        if self.allows(first):
            return first
        stop, tokens = self.pattern.stop, self.tokens
        if not tokens.size:
            return stop
        best = int(tokens[row[tokens].argmax()])
        stops = self.may_stop and (row[stop], -stop) > (row[best], -best)
        return stop if stops else best

    def masked(self, row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The logits, with LOWEST for what is not allowed. row: (vocabulary,)"""
        found = np.full_like(row, LOWEST)
        found[self.tokens] = row[self.tokens]
        if self.may_stop:
            found[self.pattern.stop] = row[self.pattern.stop]
        return found

    def fitting(self, guess: Sequence[int]) -> Sequence[int]:
        """As much of what may come as the pattern allows."""
        course, fits = self, 0
        for token in guess:
            if not course.allows(token):
                break
            course, fits = course.then(token), fits + 1
        return guess[:fits]
