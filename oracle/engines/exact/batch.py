"""Many jobs in one forward pass: sequences that join and leave a running batch, each with its own keys and values.

Whatever is computed together, every sequence gets the same bits (`model.py`), so what runs with what is a matter of
speed and memory alone. A job is a generator: it says what it reads next, is sent the logits, and knows of no other.
`alone` runs one by itself, plainly; `Batch` runs all there are. The caller says which is the most urgent. Long prompts
are read in pieces between other jobs' tokens, so that none waits for another's prompt.
"""

import itertools
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from oracle.engines.base import GUEST, Job
from oracle.engines.exact.model import Cache, Chunk, Forward, Logits
from oracle.engines.exact.prefixes import Prefixes
from oracle.errors import JobCancelled

T = TypeVar("T")

TOGETHER = 16  # sequences in a pass; more would make each slower and all together hardly faster
SHORT = 8  # tokens that are read whole in a pass; the kernels multiply so many rows at a time
PASS, PIECE = 512, 64  # tokens of prompts in a pass: alone, and beside short reads, which wait for them


@dataclass(frozen=True)
class Read:
    """What a job reads next."""

    start: int
    """Position in its sequence of the first token; what was read from there on is forgotten."""
    tokens: Sequence[int]
    """At least one."""
    rows: int
    """Logits are wanted after each of the last `rows` tokens, at least 1."""
    guess: Sequence[int] = ()
    """What may come after them. As much of it as costs next to nothing is read too, with a row of logits each."""


Work = Generator[Read, Logits, T]
"""A job. It is sent logits of (rows + guessed tokens read, vocabulary)."""


def alone(forward: Forward, work: Work[T], length: int) -> T:
    """One job by itself, without guesses. length: of its whole sequence at most."""
    cache = forward.cache(length)
    try:
        read = next(work)
        while True:
            cache.truncate(read.start)
            (logits,) = forward.run([Chunk(read.tokens, cache, read.rows)])
            read = work.send(logits)
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass(eq=False)
class Sequenced(Generic[T]):
    """A job in a batch."""

    work: Work[T]
    length: int
    """Tokens of its sequence at most; memory is set aside for all of them."""
    job: Job
    number: int
    """In order of arrival."""
    cache: Cache | None = None
    """None until there is memory for it."""
    left: list[int] = field(default_factory=list)
    """Of what it wants to read."""
    read: Read = Read(0, (), 0)
    tokens: list[int] = field(default_factory=list)
    """Of its sequence, as far as its cache goes."""
    found: list[Logits] = field(default_factory=list)
    result: T | None = None
    error: BaseException | None = None
    is_done: bool = False

    @property
    def is_guest(self) -> bool:
        return self.job.priority >= GUEST

    @property
    def place(self) -> tuple[int, int]:
        return self.job.priority, self.number


class Batch:
    """Runs jobs together. Thread-safe: the callers of `run` compute by turns, for all."""

    def __init__(self, forward: Forward, budget: int) -> None:
        """budget: positions whose keys and values lie in memory, of all jobs and of kept prefixes. A job that is longer
        runs when no other does."""
        self._forward, self._budget = forward, budget
        self._prefixes = Prefixes()
        self._jobs: list[Sequenced[Any]] = []
        """By urgency."""
        self._arrived: list[Sequenced[Any]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._is_computing = False

    def run(self, work: Work[T], length: int, job: Job) -> T:
        """Does a job, and whatever else is to be done until it is. Raises JobCancelled, and what the job raises."""
        sequence = self.add(work, length, job)
        while not sequence.is_done:
            with self._changed:
                if self._is_computing:
                    self._changed.wait()
                    continue
                self._is_computing = True
            try:
                self.step()
            finally:
                with self._changed:
                    self._is_computing = False
                    self._changed.notify_all()
        if sequence.error is not None:
            raise sequence.error
        return sequence.result  # type: ignore[return-value]

    def add(self, work: Work[T], length: int, job: Job) -> Sequenced[T]:
        sequence = Sequenced(work, length, job, next(self._numbers))
        with self._changed:
            self._arrived.append(sequence)
        return sequence

    def step(self) -> bool:
        """One pass; False once nothing is left to do. One thread at a time."""
        with self._changed:
            self._jobs = sorted([*self._jobs, *self._arrived], key=lambda sequence: sequence.place)
            self._arrived.clear()
        for sequence in [sequence for sequence in self._jobs if not sequence.job.wanted()]:
            self._end(sequence, error=JobCancelled("nobody wants this job any more"))
        self._admit()
        chosen = self._chosen()
        if not chosen:
            return bool(self._jobs)
        try:
            logits = self._forward.run([chunk for _, chunk, _ in chosen])
        except BaseException as error:
            for sequence in self._jobs[:]:  # whose caches nobody can vouch for
                self._end(sequence, error=error)
            raise
        for (sequence, chunk, guessed), rows in zip(chosen, logits, strict=True):
            self._took(sequence, chunk, guessed, rows)
        return True

    def _admit(self) -> None:
        """Gives memory to the most urgent jobs that wait for it, in their order: a small one does not overtake."""
        taken = sum(sequence.length for sequence in self._jobs if sequence.cache is not None)
        for index, sequence in enumerate(self._jobs[:]):
            if sequence.cache is not None or sequence.is_done:
                continue
            if index < TOGETHER and not sequence.is_guest:
                taken -= self._dismiss(taken + sequence.length - self._budget)
            if index >= TOGETHER or (taken and taken + sequence.length > self._budget):
                break
            taken += sequence.length
            self._prefixes.shrink(self._budget - taken)
            sequence.cache = self._forward.cache(sequence.length)
            self._next(sequence, None)
        self._room = self._budget - taken

    def _dismiss(self, wanted: int) -> int:
        """Ends guests, the last first, until so many positions are free; returns how many became so."""
        freed = 0
        inside = [sequence for sequence in self._jobs if sequence.is_guest and sequence.cache is not None]
        for sequence in reversed(inside):
            if freed >= wanted:
                break
            freed += sequence.length
            self._end(sequence, error=JobCancelled("its memory was needed for what is more urgent"))
        return freed

    def _chosen(self) -> list[tuple[Sequenced[Any], Chunk, int]]:
        """What the next pass reads: sequence, tokens, how many of them are guessed. Guests wait for others."""
        running = [sequence for sequence in self._jobs if sequence.cache is not None][:TOGETHER]
        running = [sequence for sequence in running if not sequence.is_guest] or running
        short = [sequence for sequence in running if len(sequence.left) <= SHORT]
        room = PIECE if short else PASS
        spare = 0 if len(short) < len(running) else SHORT - sum(len(sequence.left) for sequence in short)
        each = max(0, spare) // max(1, len(short))
        chosen = []
        for sequence in running:
            assert sequence.cache is not None
            tokens, guess = sequence.left, []
            if sequence in short:
                end = sequence.read.start + len(sequence.read.tokens)
                guess = list(sequence.read.guess[: min(each, sequence.length - end)])
            else:
                tokens = tokens[:room]
                room -= len(tokens)
            later = len(sequence.left) - len(tokens)
            rows = max(0, min(len(tokens), sequence.read.rows - later)) + len(guess)
            if tokens:
                chosen.append((sequence, Chunk([*tokens, *guess], sequence.cache, rows), len(guess)))
        return chosen

    def _took(self, sequence: Sequenced[Any], chunk: Chunk, guessed: int, logits: Logits) -> None:
        """What a pass found for a sequence."""
        sequence.tokens += chunk.tokens
        del sequence.left[: len(chunk.tokens) - guessed]
        if len(logits):
            sequence.found.append(logits)
        whole = len(sequence.read.tokens)
        if whole > SHORT:
            sequence.job.told("read", whole - len(sequence.left), whole)
        if sequence.read.start == 0:
            asked = len(sequence.read.tokens) - sequence.read.rows + 1  # what comes after is an answer
            self._prefixes.keep(sequence.tokens[:asked], chunk.cache, self._room)
        if not sequence.left:
            found = sequence.found
            sequence.found = []
            self._next(sequence, found[0] if len(found) == 1 else np.concatenate(found))

    def _next(self, sequence: Sequenced[Any], logits: Logits | None) -> None:
        """Lets a job say what it wants to read next; or it is done."""
        cache = sequence.cache
        assert cache is not None
        try:
            read = next(sequence.work) if logits is None else sequence.work.send(logits)
        except StopIteration as end:
            self._end(sequence, end.value)
            return
        except BaseException as error:  # the job's own; its caller gets it
            self._end(sequence, error=error)
            return
        cache.truncate(read.start)
        del sequence.tokens[read.start :]
        sequence.read, sequence.left = read, list(read.tokens)
        if read.start == 0 and not sequence.job.anew:
            known = self._prefixes.fill(read.tokens[: len(read.tokens) - read.rows], cache)
            sequence.tokens += sequence.left[:known]
            del sequence.left[:known]

    def _end(self, sequence: Sequenced[Any], result: Any = None, error: BaseException | None = None) -> None:
        self._jobs.remove(sequence)
        sequence.work.close()
        sequence.cache = None
        with self._changed:
            sequence.result, sequence.error, sequence.is_done = result, error, True
