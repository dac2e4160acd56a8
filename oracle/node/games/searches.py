"""Searches for moves, in two threads, so that a long prefill holds no other game up.

One thread makes prefills, one for each answer, and finds first moves. The other finds all other moves from what is
traced, the one with the earliest deadline first. `docs/economics.md`, "Many games at once", says how fast that must be.
"""

import asyncio
from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog

from oracle.disputes.game import Move
from oracle.engines.base import Job, as_job
from oracle.errors import OracleError, Transient
from oracle.ids import RequestId
from oracle.node.games.moves import AnswerKey, Matter
from oracle.node.in_hand import InHand

log = structlog.get_logger()

LANES = ("first", "next")
"""Prefills and first moves; all other moves."""

PREFILL = "prefill:"


@dataclass(frozen=True)
class Search:
    """A move to be found."""

    deadline: int
    find: Callable[[], Move | None]
    prefilled: bool = True
    """Whether it needs the answer's prefill; False if it makes one of its own."""


@dataclass(frozen=True)
class _Task:
    request: RequestId
    deadline: int
    find: Callable[[], Move | None]
    traced: AnswerKey | None
    """The answer whose prefill must be made first."""


class Searches:
    """In each round: `begin`, then `move` for each move that is due, then `forget`."""

    def __init__(self, prefill: Callable[[Matter], None], wake: Callable[[], None], in_hand: InHand) -> None:
        self._prefill, self._wake, self._in_hand = prefill, wake, in_hand
        self._threads = {
            lane: ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"litigant-{lane}") for lane in LANES
        }
        self._queue: dict[str, _Task] = {}
        self._busy: set[str] = set()
        """Lanes whose thread is at work."""
        self._running: dict[str, asyncio.Future[Move | None]] = {}
        self._found: dict[str, Move | None] = {}
        self._traced: set[AnswerKey] = set()
        self._asked: set[str] = set()
        self.missing: set[str] = set()
        """Moves asked for in this round that are not found yet."""

    @property
    def running(self) -> list[str]:
        """Names of the moves in hand."""
        return [*self._running, *self._queue]

    def close(self) -> None:
        """Lets the threads end after the moves in hand."""
        self._queue.clear()
        for thread in self._threads.values():
            thread.shutdown(wait=False, cancel_futures=True)

    def begin(self) -> None:
        """Takes in what was found since the last round. A search that failed for a time is repeated. Raises bugs."""
        self._asked, self.missing = set(), set()
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[name]
            try:
                self._found[name] = future.result()
                found = self._found[name]
                log.info("move found", move=name, function=None if found is None else found.function)
            except (Transient, OSError) as error:  # its model's disk may fail
                log.warning("search for a move failed, to be repeated", move=name, reason=str(error))
            except (OracleError, LookupError, ValueError) as error:  # no game stands where an endpoint said it does
                log.error("move cannot be found", move=name, reason=f"{type(error).__name__}: {error}")
                self._found[name] = None

    def move(self, name: str, matter: Matter, search: Search) -> Move | None:
        """What was found under this name; if nobody has looked yet, starts looking.

        Once a round: of games that wait for the same move the first gets it, and each may make it more urgent.
        """
        if name in self._asked:
            self._sooner(name, search.deadline)
            return None
        self._asked.add(name)
        if name in self._found:
            return self._found[name]
        self.missing.add(name)
        if name not in self._running and name not in self._queue:
            log.info("looking for a move", request_id=f"0x{matter.record.id:064x}", move=name)
            traced = matter.key if search.prefilled else None
            self._queue[name] = _Task(matter.record.id, search.deadline, search.find, traced)
        self._sooner(name, search.deadline)
        if search.prefilled and matter.key not in self._traced:
            prefill = _prefill_name(matter.key)
            if prefill not in self._running and prefill not in self._queue:
                make = partial(self._prefilled, matter)
                self._queue[prefill] = _Task(matter.record.id, search.deadline, make, None)
            self._sooner(prefill, search.deadline)
        self._start()
        return None

    def forget(self, kept: Container[RequestId]) -> None:
        """Ends a round: drops searches that nobody asked for in it, and what belongs to requests other than these."""
        self._found = {name: move for name, move in self._found.items() if name in self._asked}
        self._queue = {
            name: task for name, task in self._queue.items() if name in self._asked or name.startswith(PREFILL)
        }
        for answer in {*self._traced}:
            if answer[0] not in kept:
                self._traced.discard(answer)

    def _sooner(self, name: str, deadline: int) -> None:
        task = self._queue.get(name)
        if task is not None and deadline < task.deadline:
            self._queue[name] = replace(task, deadline=deadline)

    def _prefilled(self, matter: Matter) -> None:
        """Makes the prefill, in the thread. If it fails, so do the moves that need it, each with its own reason."""
        try:
            self._prefill(matter)
        finally:
            self._traced.add(matter.key)

    def _start(self) -> None:
        """Gives each idle thread the most urgent search that it can do."""
        for lane in LANES:
            able = [
                (task.deadline, name)
                for name, task in self._queue.items()
                if (task.traced is None if lane == "first" else task.traced in self._traced)
            ]
            if lane in self._busy or not able:
                continue
            _, name = min(able)
            self._busy.add(lane)
            task = self._queue.pop(name)
            job = Job(told=self._in_hand.begin(name, task.request))
            future = asyncio.get_running_loop().run_in_executor(self._threads[lane], _placed, job, task.find)
            self._running[name] = future
            future.add_done_callback(partial(self._done, lane, name))

    def _done(self, lane: str, name: str, future: asyncio.Future[Any]) -> None:
        self._in_hand.end(name)
        self._busy.discard(lane)
        self._start()
        if future.cancelled() or not isinstance(future.exception(), OSError):  # that is tried again with the next block
            self._wake()


def _placed(job: Job, find: Callable[[], Move | None]) -> Move | None:
    with as_job(job):
        return find()


def _prefill_name(answer: AnswerKey) -> str:
    return f"{PREFILL}{answer[0]:064x}:{answer[1].hex()}"
