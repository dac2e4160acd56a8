"""A machine that computes for a node: it takes jobs from the fleet's database and has local engines do them.

It holds no key, no journal and no connection to a chain, and says nothing to anybody but the database. Each has a name
of its own, made when it starts: two that ran on one machine one after the other are not the same. For dispute games it
also keeps what passes compute, and answers questions about that one at a time, from a queue of its own.
"""

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any

import structlog
from procrastinate import App, JobContext
from procrastinate.exceptions import ConnectorException

from oracle.engines.base import Engine, Job, as_job
from oracle.engines.worker_main import perform
from oracle.errors import EngineCrashed, FleetUnavailable, OracleError
from oracle.fleet.board import BEAT_SECONDS, LEASE_SECONDS, TASK, WIRE, Board, Message, Offer, own_queue
from oracle.fleet.wakes import SparingConnector

POLL_SECONDS = 10.0
"""Between two looks for a job of a free worker that nobody tells of one."""
GIVE_UP_SECONDS = 5.0
"""Between two looks at whether a job in hand was withdrawn, and gives its place to another."""
KNOWN_SECONDS = 30.0
"""Between two words of a worker to procrastinate that it is there. Nothing follows from them: jobs have leases."""
Tracing = Callable[[Message], Any]
"""Answers a question about a pass. Raises ValueError, TypeError, LookupError for what is none."""
log = structlog.get_logger(__name__)


class _Unquoted(logging.Filter):
    """procrastinate's line about a job that failed quotes what it was to compute, prompts among that."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = str(record.msg).partition("(")[0], ()
        record.__dict__.pop("job", None)
        return True


logging.getLogger("procrastinate.worker").addFilter(_Unquoted())


class FleetWorker:
    """Serves queues with engines until it is told to stop, or one of them cannot be relied on any more."""

    def __init__(self, url: str, engines: Mapping[str, Engine], traces: Mapping[str, Tracing] | None = None) -> None:
        """engines, traces: by queue (`engine.queue_of`)."""
        self.name = f"worker-{secrets.token_hex(8)}"
        self._url, self._engines, self._traces = url, dict(engines), dict(traces or {})
        self._own = own_queue(self.name)
        self._places = sum(engine.together for engine in engines.values())
        self._board = Board(url, connections=2, asks=False)
        self._threads = ThreadPoolExecutor(max(1, self._places), thread_name_prefix="fleet")
        self._tracing = ThreadPoolExecutor(1, thread_name_prefix="fleet traces")
        self._words = ThreadPoolExecutor(3, thread_name_prefix="fleet words")
        """With the database; none waits for what computes, which may go on long after its job was given up."""
        self._in_hand: dict[int, threading.Event] = {}
        """Jobs, and whether they are to stop."""
        self.done = 0
        self._broken: OracleError | None = None

    async def run(self, stop: asyncio.Event, grace_seconds: float = 20.0) -> None:
        """Until `stop` is set; then jobs in hand have so long to end, and others do the rest.

        Raises FleetUnavailable when the database is away, EngineCrashed and Refused errors of engines that cannot be
        proven.
        """
        loop = asyncio.get_running_loop()
        shown = {
            queue: await loop.run_in_executor(self._threads, engine.prove) for queue, engine in self._engines.items()
        }
        app = App(connector=SparingConnector(self._url, self._engines, connections=4))
        tracing = App(connector=SparingConnector(self._url, [self._own], connections=2))
        for each in (app, tracing):
            each.task(name=TASK, pass_context=True)(self._compute)
        try:
            with self._board:
                async with AsyncExitStack() as open_apps:
                    await open_apps.enter_async_context(app.open_async())
                    if self._traces:
                        await open_apps.enter_async_context(tracing.open_async())
                    await self._serve(app, tracing, shown, stop, grace_seconds)
        except ConnectorException as error:
            raise FleetUnavailable(f"the fleet's database: {type(error.__cause__ or error).__name__}") from None
        finally:
            for threads in (self._threads, self._tracing, self._words):
                threads.shutdown(wait=False, cancel_futures=True)
        if self._broken is not None:
            raise self._broken

    async def _serve(
        self, app: App, tracing: App, shown: Mapping[str, str], stop: asyncio.Event, grace_seconds: float
    ) -> None:
        beats = asyncio.create_task(self._beat(shown, stop))
        jobs = self._taking(app, [*self._engines], self._places, grace_seconds)
        works = [jobs, *([self._taking(tracing, [self._own], 1, grace_seconds)] if self._traces else [])]
        stopped = asyncio.create_task(stop.wait())
        log.info("fleet worker ready", worker=self.name, queues=list(self._engines))
        try:
            await asyncio.wait({beats, *works, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()  # procrastinate then takes no more, and waits for what it has
            await asyncio.wait(works, timeout=grace_seconds + LEASE_SECONDS)
            for task in (beats, stopped):
                task.cancel()
            with suppress(FleetUnavailable):
                self._board.leave(self.name)
        for task in (beats, *works):
            if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
                raise failure
        if not stop.is_set() and self._broken is None:
            raise FleetUnavailable("the fleet's database gives no jobs any more")

    def _taking(self, app: App, queues: list[str], together: int, grace_seconds: float) -> asyncio.Task[None]:
        return asyncio.create_task(
            app.run_worker_async(
                queues=queues,
                name=self.name,
                concurrency=together,
                install_signal_handlers=False,
                shutdown_graceful_timeout=grace_seconds,
                delete_jobs="always",
                fetch_job_polling_interval=POLL_SECONDS,  # should nobody have been told of a job
                abort_job_polling_interval=GIVE_UP_SECONDS,
                update_heartbeat_interval=KNOWN_SECONDS,
                stalled_worker_timeout=6 * KNOWN_SECONDS,
            )
        )

    async def _compute(self, context: JobContext, /, message: Any = None, **_others: Any) -> None:
        """A job as the database has it, which may hold anything."""
        job, queue = context.job.id, context.job.queue
        assert job is not None
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(self._words, self._board.take, job, self.name):
            return  # it is done
        stop = self._in_hand[job] = threading.Event()
        try:
            threads = self._tracing if queue == self._own else self._threads
            reply = await loop.run_in_executor(threads, self._reply, queue, message, stop)
            if not stop.is_set():
                await loop.run_in_executor(self._words, self._board.answer, job, reply)
                self.done += 1
        finally:  # also when procrastinate ends this task, which the thread does not hear of
            stop.set()
            del self._in_hand[job]

    def _reply(self, queue: str, message: Any, stop: threading.Event) -> Message:
        try:
            if message.pop("wire") != WIRE:
                return {"error": "BadMessage", "message": f"this worker speaks version {WIRE} of the messages"}
            job = Job(int(message.pop("priority")), lambda: not stop.is_set(), bool(message.pop("anew")))
            with as_job(job):
                if queue == self._own:
                    return {"result": self._traces[message["queue"]](message["question"])}
                return {"result": perform(self._engines[queue], message)}
        except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
            log.warning("a job that is none", reason=type(error).__name__)
            return {"error": "BadMessage", "message": f"not a job of version {WIRE}: {type(error).__name__}"}
        except OracleError as error:
            if isinstance(error, EngineCrashed):
                self._prove_again(self._engines[queue])
            return {"error": type(error).__name__, "message": str(error)}

    def _prove_again(self, engine: Engine) -> None:
        """If an engine cannot be proven again its worker ends; a supervisor restarts it."""
        try:
            engine.prove()
        except OracleError as error:
            self._broken = error

    async def _beat(self, shown: Mapping[str, str], stop: asyncio.Event) -> None:
        """Raises FleetUnavailable when the database is away: others have this worker's jobs soon."""
        loop = asyncio.get_running_loop()
        while not stop.is_set() and self._broken is None:
            offers = [Offer(q, engine.together, shown[q], engine.saturated) for q, engine in self._engines.items()]
            offers += [Offer(self._own, 1, "what passes compute, for dispute games")] if self._traces else []
            unwanted = await loop.run_in_executor(self._words, self._board.beat, self.name, offers, [*self._in_hand])
            for job in unwanted & self._in_hand.keys():
                self._in_hand[job].set()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)
