"""An `Engine` whose workers are anywhere: each call is a job for whoever offers this model in the fleet's database."""

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from oracle import errors
from oracle.engines.base import Trouble, the_job
from oracle.engines.calls import Calls, digest_of
from oracle.engines.worker import REFUSALS, Quarantine
from oracle.engines.worker_wire import BadMessage
from oracle.fleet.board import LEASE_SECONDS, WIRE, Board, Message, Offer, own_queue

_QUEUE_LETTERS = 40
"""procrastinate makes a channel's name of a queue's, which Postgres cuts at 63 bytes; 20 digits of a model are left."""
T = TypeVar("T")
log = structlog.get_logger(__name__)


def queue_of(model: bytes, tolerance: int | None) -> str:
    """Where jobs for an engine wait. tolerance: as `engine_setup` takes it: it decides which engine a model has."""
    kind = "game" if tolerance is None else f"panel-{tolerance}"
    return f"{WIRE}-{kind}-{model.hex()}"[:_QUEUE_LETTERS]


def version_of(queue: str, like: str) -> str:
    """The version of the messages in `queue`, if it is for the same engine as `like` in another one; else empty."""
    version, _, engine = queue.partition("-")
    own_version, _, own = like.partition("-")
    same = bool(engine) and (engine.startswith(own) or own.startswith(engine))
    return version if same and version != own_version else ""


@dataclass(frozen=True)
class Depth:
    """How a queue stands, for the metrics."""

    waiting: int
    """Jobs that nobody has taken."""
    workers: int
    """That live."""


class FleetEngine(Calls):
    """An `Engine`. Thread-safe: as many jobs run at a time as all workers that live take together.

    A job whose worker crashed over it is tried once more, by whoever is free; if that crashes too it is refused.
    """

    def __init__(self, board: Board, queue: str, limit_seconds: float) -> None:
        """limit_seconds: of a job."""
        self._board, self._queue, self._limit = board, queue, limit_seconds
        self._quarantine = Quarantine()
        self._offers: list[Offer] = []
        self._waiting = 0
        self._trouble: Trouble | None = Trouble("unproven", "nobody has looked for workers of the fleet yet")
        self._looked = threading.Event()
        self._is_closed = threading.Event()
        self._is_leaving = False
        self._watch = threading.Thread(target=self._watch_over, name="fleet watch", daemon=True)
        self.restarts = 0
        """How often jobs were given to another worker, for the metrics."""

    def prove(self) -> str:
        """What the workers that live have shown. Raises EngineCrashed if none does."""
        if self._watch.ident is None:
            self._watch.start()
        self._look()
        if not self._offers:
            raise errors.EngineCrashed(self._trouble.text if self._trouble else "no worker lives")
        return f"{len(self._offers)} workers of the fleet: {errors.printable(self._offers[0].shown)}"

    @property
    def depth(self) -> Depth:
        """As of the last look."""
        return Depth(self._waiting, len(self._offers))

    @property
    def trouble(self) -> Trouble | None:
        """Why nobody computes; None while a worker lives that has proven itself."""
        return self._trouble

    @property
    def saturated(self) -> int:
        return sum(offer.saturated for offer in self._offers)

    @property
    def together(self) -> int:
        return max(1, sum(offer.together for offer in self._offers))

    @property
    def groups(self) -> list[int]:
        """None on this host that are this node's."""
        return []

    def close(self) -> None:
        self._is_closed.set()

    def kill(self) -> None:
        """Jobs in hand are left to whoever asks for the same next."""
        self._is_leaving = True
        self._is_closed.set()

    def tracers(self, of: bytes) -> list[str]:
        return sorted(
            self._board.tracers(self._queue), key=lambda worker: hashlib.sha256(worker.encode() + of).digest()
        )

    def traced(self, worker: str, question: Message, limit_seconds: float) -> Any:
        message = {"queue": self._queue, "question": question, "priority": 0, "anew": False, "wire": WIRE}
        deadline = time.monotonic() + limit_seconds
        return self._ask(own_queue(worker), message, 0, deadline, lambda: worker in self._board.tracers(self._queue))

    def _call(self, message: Message, parse: Callable[[Any], T], limit_seconds: float | None = None) -> T:
        digest, job = digest_of(message), the_job()
        self._quarantine.admit(digest)
        told = message | {"priority": job.priority, "anew": job.anew, "wire": WIRE}
        deadline = time.monotonic() + (limit_seconds or self._limit)
        while True:
            try:
                result = self._ask(
                    self._queue, told, rank(job.priority), deadline, job.wanted, None if job.anew else digest
                )
                parsed = parse(result)
            except (errors.EngineCrashed, BadMessage) as death:
                if self._quarantine.record(digest) >= 2:
                    raise errors.JobQuarantined(f"this job crashed two workers, the last thus: {death}") from None
                self.restarts += 1
                log.error("fleet worker failed", reason=str(death))
            else:
                self._quarantine.forget(digest)
                return parsed

    def _ask(
        self,
        queue: str,
        told: Message,
        place: int,
        deadline: float,
        wanted: Callable[[], bool],
        digest: bytes | None = None,
    ) -> Any:
        """A job's result. Raises what the engine refused with, EngineCrashed, JobCancelled, FleetUnavailable."""

        def is_wanted() -> bool:
            return wanted() and not self._is_closed.is_set()

        seconds = deadline - time.monotonic()
        reply = self._board.ask(queue, told, place, seconds, is_wanted, digest, lambda: self._is_leaving)
        if reply is None:
            late = time.monotonic() >= deadline
            raise errors.JobCancelled("it took longer than it may" if late else "nobody wants it any more")
        if "error" in reply:
            kind = KINDS.get(str(reply["error"]), errors.EngineCrashed)
            raise kind(str(reply.get("message"))[:1000])
        return reply.get("result")

    def _watch_over(self) -> None:
        """As long as the engine is used: who lives, and whose jobs go to others."""
        while not self._is_closed.wait(LEASE_SECONDS / 5):
            with contextlib.suppress(errors.FleetUnavailable):
                moved = self._board.sweep()
                self.restarts += len(moved)
                if moved:
                    log.warning("jobs of vanished workers given to others", jobs=moved)
                self._board.bury()
            self._look()

    def _look(self) -> None:
        try:
            self._waiting = self._board.waiting(self._queue).get(self._queue, 0)
            self._offers = self._board.offers(self._queue)
            self._board.free(self._queue, self._offers)
            self._trouble = None if self._offers else Trouble("crashed", self._nobody())
        except errors.FleetUnavailable as error:
            self._offers, self._trouble = [], Trouble("crashed", str(error))

    def _nobody(self) -> str:
        """Why no worker offers this model. Raises FleetUnavailable."""
        found = {version_of(offer.queue, self._queue) for offer in self._board.offers()} - {""}
        if found:
            spoken = errors.printable(", ".join(sorted(found))[:100])
            return f"workers of the fleet speak version {spoken} of the messages, and this node {WIRE}: upgrade them"
        return "no worker of the fleet offers this model: start `didyma fleet work` on one that has it"


KINDS = REFUSALS | {"JobQuarantined": errors.JobQuarantined}
"""What a reply may refuse with; anything else is a crash."""
_DUE_BITS = 28
_EPOCH = 1_700_000_000
"""Before any job is due."""


def rank(priority: int) -> int:
    """A job's priority, of which the smaller goes first, as procrastinate's: 32 bits, the larger first.

    priority: as `Job` has it: a kind above 40 bits of Unix time, which are kept to eight seconds.
    """
    kind, due = min(priority >> 40, 7), priority & ((1 << 40) - 1)
    return -((kind << _DUE_BITS) + min(max(0, due - _EPOCH) >> 3, (1 << _DUE_BITS) - 1))
