"""An engine in a process of its own, so that a crash of native code costs a job's retry and not the daemon.

`WorkerEngine` is an `Engine`: it starts the worker when first needed, hands it as many jobs at a time as its engine
computes together and waits for the replies under a time limit and a heartbeat. Each new worker answers its known
question before any job (`proof.py`); until then, and while workers die again and again, `trouble` says why the engine
is not to be relied on. A worker that dies, hangs or talks nonsense is killed and started again, after a pause that
doubles each time. A job that kills its worker twice is refused from then on: a prompt that crashes llama.cpp would
otherwise take the node down one turn after the other. Jobs that were computed together when their worker died are tried
again one by one, so that the one at fault is found. A worker that dies while loading is tried again for as long as the
node runs, at the longest pause: a GPU or memory may come back. Calls block; the daemon makes them from a thread.
"""

import contextlib
import os
import signal
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog

from oracle import errors
from oracle.engines.base import Description, OnProgress, Trouble, ignore_progress, the_job
from oracle.engines.calls import Calls, digest_of
from oracle.engines.worker_process import (
    REFUSALS,
    Died,
    Limits,
    WorkerProcess,
    WorkerSetup,
)
from oracle.engines.worker_wire import BadMessage, Message, description_from_wire

__all__ = ["REFUSALS", "Limits", "OnProgress", "Quarantine", "WorkerEngine", "WorkerSetup", "ignore_progress"]

log = structlog.get_logger(__name__)
T = TypeVar("T")

REMEMBERED_JOBS = 1024
OFTEN, LATELY_SECONDS = 3, 3600.0  # so many deaths in such a time are no accident


class Quarantine:
    """Which jobs have killed workers, and how often. Shared by all workers that may try the same job."""

    def __init__(self) -> None:
        self._crashes: OrderedDict[bytes, int] = OrderedDict()
        self._lock = threading.Lock()

    def crashes(self, job: bytes) -> int:
        with self._lock:
            return self._crashes.get(job, 0)

    def admit(self, job: bytes) -> None:
        """Raises JobQuarantined for a job that has crashed two."""
        if self.crashes(job) >= 2:
            raise errors.JobQuarantined("this job has crashed the engine twice; restart the node to try it again")

    def record(self, job: bytes) -> int:
        """One more crash; returns how many there were."""
        with self._lock:
            self._crashes[job] = self._crashes.pop(job, 0) + 1
            if len(self._crashes) > REMEMBERED_JOBS:
                self._crashes.popitem(last=False)
            return self._crashes[job]

    def forget(self, job: bytes) -> None:
        """The job went well, so its crash was the worker's fault."""
        with self._lock:
            self._crashes.pop(job, None)


class _Room:
    """Admits so many jobs at a time. A job that must be alone enters when all others have left, before later ones."""

    def __init__(self, together: int) -> None:
        self._together = together
        self._changed = threading.Condition()
        self._inside = self._loners = 0
        self._has_loner = False

    @contextlib.contextmanager
    def entered(self, *, alone: bool) -> Iterator[None]:
        with self._changed:
            self._loners += alone
            self._changed.wait_for(lambda: self._has_room(alone))
            self._loners -= alone
            self._inside += 1
            self._has_loner = alone
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._has_loner = False
                self._changed.notify_all()

    def _has_room(self, alone: bool) -> bool:
        if alone:
            return self._inside == 0
        return self._inside < self._together and not self._has_loner and not self._loners


@dataclass
class WorkerEngine(Calls):
    """An `Engine` in a worker process. Thread-safe; as many jobs run at a time as its setup says, after its proof.

    Every method may raise EngineCrashed (try again later) and JobQuarantined (do not). `limit_seconds` replaces
    `limits.job` for one job: what is left of the answer window, say.
    """

    setup: WorkerSetup
    limits: Limits = field(default_factory=Limits)
    on_progress: OnProgress = ignore_progress
    quarantine: Quarantine = field(default_factory=Quarantine)
    clock: Callable[[], float] = time.monotonic
    restarts: int = 0
    """How often a worker was lost, for the metrics."""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._room = _Room(self.setup.together)
        self._process: WorkerProcess | None = None
        self._losses_in_a_row = 0
        self._losses: deque[float] = deque(maxlen=OFTEN)
        self._last_loss = ""
        self._not_before = 0.0
        self._failure: Trouble | None = Trouble("unproven", "the engine is being loaded")
        self._shown = ""
        self._saturated = 0  # in workers that are gone
        self._is_closed = False

    def start(self) -> None:
        """Loads the model now rather than with the first job. Raises what the engine refused with, or EngineCrashed."""
        with self._lock:
            self._ready()

    def prove(self) -> str:
        """What the worker showed when it started; starts one if none runs. Raises as `start`."""
        with self._lock:
            self._ready()
            return self._shown

    @property
    def trouble(self) -> Trouble | None:
        """Why this engine is not to be relied on; None if its worker has proven itself and does not die often."""
        if self._failure is not None:
            return self._failure
        process = self._process
        if process is not None and not process.alive():
            return Trouble("crashed", "the engine's worker ended while it had nothing to do")
        if len(self._losses) == OFTEN and self.clock() - self._losses[0] < LATELY_SECONDS:
            minutes = (self.clock() - self._losses[0]) / 60
            return Trouble("crashing", f"its worker died {OFTEN} times in {minutes:.0f} minutes: {self._last_loss}")
        return None

    def close(self) -> None:
        """Ends the worker, after the jobs that are running. Whoever calls later, or waits, gets EngineCrashed."""
        self._is_closed = True
        with self._room.entered(alone=True), self._lock:
            if self._process is not None:
                self._process.kill()
                self._process = None
            self._failure = Trouble("unproven", "the engine is closed")

    def kill(self) -> None:
        """Ends the worker at once, whatever it does; a call in hand raises EngineCrashed."""
        pid = self.pid
        if pid is not None:
            log.warning("engine worker killed", pid=pid)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)

    @property
    def together(self) -> int:
        return self.setup.together

    @property
    def saturated(self) -> int:
        return self._saturated + (0 if self._process is None else self._process.saturated)

    @property
    def pid(self) -> int | None:
        """The worker's process id, if it runs."""
        return self._process.pid if self._process is not None else None

    @property
    def groups(self) -> list[int]:
        return [] if self.pid is None else [self.pid]

    def describe(self, texts: Sequence[bytes]) -> Description:
        """Only of a worker whose factory loads a vocabulary (`llama_settings.vocabulary_setup`)."""
        return self._call({"op": "describe", "texts": [text.hex() for text in texts]}, description_from_wire)

    def _call(self, message: Message, parse: Callable[[Any], T], limit_seconds: float | None = None) -> T:
        digest, job = digest_of(message), the_job()
        with self._room.entered(alone=self.quarantine.crashes(digest) > 0):
            self.quarantine.admit(digest)
            try:
                with self._lock:
                    process = self._ready()
            except errors.Refused as error:  # the worker's fault and not the job's
                raise errors.EngineCrashed(f"no worker: {type(error).__name__}: {error}") from error
            told = message | ({"priority": job.priority, "anew": job.anew} if self.setup.together > 1 else {})
            try:
                parsed = parse(process.call(told, limit_seconds or self.limits.job, job.wanted, job.told))
            except (Died, BadMessage) as death:
                with self._lock:
                    raise self._lost(process, digest, str(death)) from None
            except errors.EngineServerFailed as failure:  # no fault of the job; the next worker proves it is back
                with self._lock:
                    raise self._lost(process, None, str(failure)) from None
            self._losses_in_a_row = 0
            self.quarantine.forget(digest)
            return parsed

    def _ready(self) -> WorkerProcess:
        """A process that has loaded the model and proven it."""
        if self._is_closed:
            raise errors.EngineCrashed("the engine is closed")
        if self._process is not None and self._process.alive():
            return self._process
        if self._process is not None:
            how = self._process.how_it_ended("while it had nothing to do")
            self._bury(self._process, how)
            log.error("engine worker lost", pid=self._process.pid, how=how)
            self._process = None
        wait = self._not_before - self.clock()
        if wait > 0:
            raise errors.EngineCrashed(f"the engine's worker starts again in {wait:.1f} s: {self._last_loss}")
        try:
            process = WorkerProcess(self.setup, self.limits, self.on_progress)
        except OSError as error:
            raise errors.EngineCrashed(f"the engine's worker cannot be started: {error}") from error
        try:
            self._shown = process.start(the_job().told, proves=self.setup.proves)
        except (Died, BadMessage, errors.EngineServerFailed) as death:
            raise self._lost(process, None, str(death)) from None
        except errors.Refused as error:
            process.kill()
            self._pause(f"{type(error).__name__}: {error}")
            self._failure = Trouble("refused", self._last_loss)
            raise
        log.info("engine worker ready", pid=process.pid, shown=self._shown)
        self._process, self._failure = process, None
        return process

    def _lost(self, process: WorkerProcess, job: bytes | None, how: str) -> errors.OracleError:
        """Removes a dead worker, sets the pause and returns the error to raise. job: None if it died while loading."""
        pause = 0.0
        if not process.is_buried:  # by another job that it had in hand
            self._bury(process, how)
            self._process = None
            pause = self._pause(how)
        crashes = self.quarantine.record(job) if job is not None else 0
        log.error("engine worker lost", pid=process.pid, how=how, pause_seconds=pause, crashes_of_job=crashes)
        if crashes >= 2:
            return errors.JobQuarantined(f"this job crashed the engine twice, the last time thus: {how}")
        return errors.EngineCrashed(f"the engine's worker failed: {how}")

    def _bury(self, process: WorkerProcess, how: str) -> None:
        process.kill()
        process.is_buried = True
        self._saturated += process.saturated
        self.restarts += 1
        self._losses.append(self.clock())
        self._last_loss = how
        self._failure = Trouble("crashed", f"the engine's worker failed: {how}")

    def _pause(self, why: str) -> float:
        """Seconds until the next worker may start, longer each time."""
        pause: float = min(self.limits.longest_pause, self.limits.first_pause * 2**self._losses_in_a_row)
        self._losses_in_a_row += 1
        self._last_loss = why
        self._not_before = self.clock() + pause
        return pause
