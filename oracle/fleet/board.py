"""What a node and its fleet keep in Postgres: jobs, who computes them, and what came of them.

Jobs wait in procrastinate's queues, one for each kind of engine and model. Whoever takes one writes a lease beside it
and renews it as long as it computes; `sweep` gives jobs whose lease is old, or was never written, to others. So it does
not matter how their worker went: it may have vanished, have been forgotten by procrastinate, or live and not know of
the job (procrastinate's issue 1518). The first reply stands. Jobs are pure functions, so a second one says the same.

Beside each job stands who asks for it, and a digest of what it computes. If the one who asks is gone, whoever asks for
the same next takes the job over, as far as it is: a leader those of the last one, a node after a restart its own.
"""

import contextlib
import json
import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg
import psycopg_pool
import structlog
from procrastinate import App, SyncPsycopgConnector

from oracle.engines.worker_wire import MAX_MESSAGE_BYTES
from oracle.errors import FleetUnavailable
from oracle.fleet.session import CONNECT_SECONDS, PATIENCE, bounded, connect, told
from oracle.fleet.statements import ADOPT, AHEAD, ASK, IN_WORK, LIVES, RECENT
from oracle.fleet.wakes import channel, told_of

TASK = "didyma.compute"
WIRE = 1
"""Of the messages. Nodes and workers of another version do not meet: both may run while a fleet is changed over."""
REPLIES = "didyma_replies"
"""The channel on which the database tells of replies, each by its job's number."""
LEASE_SECONDS = 5.0
"""A job whose worker has not renewed its lease for so long goes to another."""
BEAT_SECONDS = 1.0
MOST_LOSSES = 2
"""A job that has lost so many workers is given to no more."""
LOOK_SECONDS = 0.5
"""Between two looks at whether a job is still wanted."""
UNTOLD_SECONDS = 2.0
"""Between two looks at its reply, should the database's word have been missed."""
PAUSE_SECONDS = 0.1
"""After a word in vain: whoever can send words may send many, and each would be a question to the database."""
MOST_DIGITS = 19
"""Of a job's number."""
MOST_SWEPT, MOST_REMOVED = 100, 1000
"""Jobs that are given to others together, and those that are forgotten together since nobody has asked for them."""
MOST_TOGETHER, MOST_SHOWN, MOST_NAME, MOST_OFFERS = 1024, 1000, 64, 10_000
"""What is believed of one worker: jobs at a time, characters of what it shows and of its names; and how many workers
or queues are looked at."""
FORGET_SECONDS = 3600.0
"""After so long nobody asks for a reply any more."""
SILENT_SECONDS = 3.0
"""Whoever asks and has said nothing for so long may be gone; shorter than what a leader may be silent for, so that the
next one finds its jobs free."""
HEIRS_SECONDS = 60.0
"""So long after whoever asked for it is gone, a job waits for somebody else to ask for the same."""

Message = dict[str, Any]
log = structlog.get_logger(__name__)


def own_queue(worker: str) -> str:
    """Where questions wait that one worker alone can answer."""
    return f"{WIRE}-{worker}"


@dataclass(frozen=True)
class Offer:
    """What a worker says of itself, for one queue."""

    queue: str
    together: int
    """Jobs that it takes at a time."""
    shown: str
    """What its engine showed when it proved itself."""
    saturated: int = 0
    """As `Engine` has it."""


class _Adopted(Exception):
    """Somebody else took a job over: this process had given no sign of life."""


class Board:
    """One process's view of the database. Thread-safe. Every method may raise FleetUnavailable."""

    def __init__(self, url: str, connections: int = 4, *, asks: bool = True) -> None:
        """asks: whether it waits for replies; those who compute need not be woken by each."""
        self._url, self._asks = url, asks
        self._name = f"asker-{secrets.token_hex(8)}"
        self._said = -math.inf
        self._pool = psycopg_pool.ConnectionPool(
            url,
            min_size=1,
            max_size=connections,
            timeout=CONNECT_SECONDS,
            reconnect_timeout=CONNECT_SECONDS,  # the pauses between its attempts double; who asks next begins anew
            kwargs={"autocommit": True, **PATIENCE},
            open=False,
        )
        self._app = App(connector=SyncPsycopgConnector())
        self._waited_for: dict[int, threading.Event] = {}
        """Jobs, and whether the database has told of their reply."""
        self._left: set[int] = set()
        """Jobs that were given up while the database was away, and must be withdrawn yet."""
        self._free: dict[str, int] = {}
        """By queue: about how many jobs its workers could take now."""
        self._chance = random.Random()
        self._is_closing = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="fleet", daemon=True)

    def open(self) -> Self:
        """To be closed, unless its process ends."""
        self._pool.open()
        self._app.open(self._pool)
        if self._asks:
            self._listener.start()
        return self

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._is_closing.set()
        for event in [*self._waited_for.values()]:
            event.set()
        if self._listener.ident is not None:
            self._listener.join(10)
        self._pool.close()

    # -- whoever asks

    def ask(
        self,
        queue: str,
        message: Message,
        rank: int,
        limit_seconds: float,
        wanted: Callable[[], bool],
        digest: bytes | None = None,
        leaves: Callable[[], bool] = lambda: False,
    ) -> Message | None:
        """Has a job done, and returns its reply; None if nobody wants it any more, or it took longer than it may.

        rank: the larger, the sooner. digest: of what is computed; None for a job that nobody may take over. leaves:
        whether a job that is not wanted here is left to whoever asks for the same next, as by a board that closes.
        """
        deadline = time.monotonic() + limit_seconds
        if digest is None:
            digest = secrets.token_bytes(32)
        while time.monotonic() < deadline and wanted() and not self._is_closing.is_set():
            with contextlib.suppress(_Adopted):
                return self._wait_for(self._entered(queue, message, rank, digest), digest, deadline, wanted, leaves)
        return None

    def _wait_for(
        self, job: int, digest: bytes, deadline: float, wanted: Callable[[], bool], leaves: Callable[[], bool]
    ) -> Message | None:
        """Raises _Adopted."""
        replied = self._waited_for.setdefault(job, threading.Event())
        try:
            looked = time.monotonic()
            while time.monotonic() < deadline and wanted() and not self._is_closing.is_set():
                is_told = replied.wait(LOOK_SECONDS)
                replied.clear()
                if is_told or time.monotonic() - looked >= UNTOLD_SECONDS:
                    looked = time.monotonic()
                    reply = self._collect(job, digest)
                    if reply is not None:
                        return reply
                    if is_told:
                        self._is_closing.wait(PAUSE_SECONDS)
            if not self._is_closing.is_set() and not leaves():
                self._withdraw(job)
            return None
        except FleetUnavailable:
            self._left.add(job)
            raise
        finally:
            if self._waited_for.get(job) is replied:
                del self._waited_for[job]

    def _entered(self, queue: str, message: Message, rank: int, digest: bytes | None) -> int:
        """A job that waits for this process: one that lost whoever asked for it, or a new one."""
        job, is_orphan_there = self._post(queue, message, rank, digest)
        if not is_orphan_there:
            return job
        with contextlib.suppress(FleetUnavailable):  # then the new one stands, and somebody finds it
            for (orphan,) in self._rows(ADOPT, self._name, digest, queue, SILENT_SECONDS):
                self._waited_for[orphan] = self._waited_for.pop(job)
                self._waited_for[orphan].set()  # it may be done
                log.info("job taken over", job=orphan)
                self._left.add(job)
                self._withdraw_left()
                return int(orphan)
            self._tell(queue)
        return job

    def _post(self, queue: str, message: Message, rank: int, digest: bytes | None = None) -> tuple[int, bool]:
        """The job's number, and whether there is another for the same whose asker is gone. If so nobody is told yet."""
        if self._said == -math.inf:  # before the first job, or it would seem to be nobody's
            self._live(None)
        with told():
            task = self._app.configure_task(TASK, queue=queue, priority=rank, allow_unknown=True)
            job: int = task.defer(message=message)
        self._waited_for[job] = threading.Event()
        try:
            ((is_orphan_there, _),) = self._rows(
                ASK, job, self._name, queue, digest, digest, queue, SILENT_SECONDS, self._told_next(queue)
            )
        except FleetUnavailable:
            del self._waited_for[job]
            raise
        return job, is_orphan_there

    def _tell(self, queue: str) -> None:
        """Some of its workers, that there is a job."""
        self._rows("SELECT pg_notify(name, '') FROM unnest(%s::text[]) AS name", self._told_next(queue))

    def _told_next(self, queue: str) -> list[str]:
        """The channels on which a few free workers hear that there is a job."""
        free = self._free.get(queue, 0)
        self._free[queue] = free - 1
        return [channel(queue, slot) for slot in told_of(free, self._chance)]

    def _collect(self, job: int, digest: bytes | None = None) -> Message | None:
        """As text, and read here: a database may hold anything. digest: of what was asked: a database that was brought
        back gives numbers once more. Raises _Adopted."""
        ((is_ours, is_done, is_open, text),) = self._rows(
            """
            WITH ours AS (SELECT job FROM didyma_asked WHERE job = %s AND asker = %s AND coalesce(digest = %s, true)),
            done AS (
                DELETE FROM didyma_work work USING ours WHERE work.job = ours.job AND work.reply IS NOT NULL
                RETURNING work.job, CASE WHEN octet_length(work.reply::text) <= %s THEN work.reply::text END AS reply
            ),
            forgotten AS (DELETE FROM didyma_asked WHERE job IN (SELECT job FROM done))
            SELECT EXISTS (SELECT 1 FROM ours), EXISTS (SELECT 1 FROM done),
                EXISTS (SELECT 1 FROM procrastinate_jobs WHERE id = %s AND status IN ('todo', 'doing')),
                (SELECT reply FROM done)
            """,
            job,
            self._name,
            digest,
            MAX_MESSAGE_BYTES,
            job,
        )
        if not is_ours:
            raise _Adopted
        if not is_done:
            if is_open:
                return None
            self._withdraw(job)
            return {"error": "Lost", "message": "the job ended without a reply"}
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            reply = json.loads(text)
            if isinstance(reply, dict):
                return reply
        return {"error": "BadMessage", "message": "a reply that is no object, or too long"}

    def _withdraw_left(self) -> None:
        for job in [*self._left]:
            with contextlib.suppress(FleetUnavailable):
                self._withdraw(job)
                self._left.discard(job)

    def _withdraw(self, job: int) -> None:
        """Its worker finds no lease any more, and stops."""
        self._rows("DELETE FROM didyma_work WHERE job = %s", job)
        self._rows("DELETE FROM didyma_asked WHERE job = %s", job)
        with told():
            self._app.job_manager.cancel_job_by_id(job, abort=True, delete_job=True)

    def offers(self, queue: str | None = None) -> list[Offer]:
        """Of the workers that live; for one queue, or all."""
        rows = self._rows(
            "SELECT queue, least(greatest(together, 0), %s), left(shown, %s), greatest(saturated, 0)"
            " FROM didyma_workers WHERE coalesce(queue = %s, true) AND length(queue) <= %s AND length(worker) <= %s"
            f" AND beat {RECENT} ORDER BY queue, worker LIMIT %s",
            MOST_TOGETHER,
            MOST_SHOWN,
            queue,
            MOST_NAME,
            MOST_NAME,
            LEASE_SECONDS,
            MOST_OFFERS,
        )
        return [Offer(*row) for row in rows]

    def tracers(self, queue: str) -> list[str]:
        """Names of workers that live, offer `queue`, and answer questions of their own queue as well."""
        rows = self._rows(
            "SELECT worker FROM didyma_workers tracing WHERE queue = %s || worker"
            " AND EXISTS (SELECT 1 FROM didyma_workers serving"
            " WHERE serving.worker = tracing.worker AND serving.queue = %s)"
            f" AND beat {RECENT} AND length(worker) <= %s ORDER BY worker LIMIT %s",
            own_queue(""),
            queue,
            LEASE_SECONDS,
            MOST_NAME,
            MOST_OFFERS,
        )
        return [str(worker) for (worker,) in rows]

    def free(self, queue: str, offers: Sequence[Offer]) -> int:
        """About how many jobs those who make these offers could take now. So many are told of the next ones."""
        ((doing,),) = self._rows(
            "SELECT count(*) FROM procrastinate_jobs WHERE queue_name = %s AND status = 'doing'", queue
        )
        self._free[queue] = sum(offer.together for offer in offers) - doing
        return self._free[queue]

    def waiting(self, queue: str | None = None) -> dict[str, int]:
        """By queue, for one or all: jobs that nobody has taken."""
        rows = self._rows(
            "SELECT queue_name, count(*) FROM procrastinate_jobs WHERE status = 'todo' AND task_name = %s"
            " AND coalesce(queue_name = %s, true) AND length(queue_name) <= %s"
            " GROUP BY queue_name ORDER BY queue_name LIMIT %s",
            TASK,
            queue,
            MOST_NAME,
            MOST_OFFERS,
        )
        return dict(rows)

    def sweep(self, lease_seconds: float = LEASE_SECONDS) -> list[int]:
        """Gives jobs that have lost their worker to others; returns them. Forgets what nobody asks for any more."""
        moved: dict[int, str] = {}
        with told(), self._pool.connection() as connection, bounded(connection), connection.transaction():
            lost = connection.execute(
                f"SELECT job.id, job.attempts, work.reply IS NOT NULL, job.queue_name FROM {IN_WORK}"
                " AND job.id IN (SELECT job FROM didyma_asked) ORDER BY job.id LIMIT %s FOR UPDATE OF job SKIP LOCKED",
                (TASK, lease_seconds, MOST_SWEPT),
            ).fetchall()
            for job, attempts, is_done, queue in lost:
                try:
                    with connection.transaction():
                        if self._moved(connection, job, attempts, is_done=is_done):
                            moved[job] = queue
                except psycopg.DatabaseError as error:  # one row that nobody can move must not hold up the rest
                    log.warning("a job that cannot be given to another", job=job, reason=type(error).__name__)
                    connection.execute("DELETE FROM procrastinate_jobs WHERE id = %s", (job,))
            connection.execute(
                f"DELETE FROM procrastinate_jobs WHERE id IN (SELECT job.id FROM {IN_WORK}"
                " AND job.id NOT IN (SELECT job FROM didyma_asked) LIMIT %s FOR UPDATE OF job SKIP LOCKED)",
                (TASK, HEIRS_SECONDS, MOST_REMOVED),
            )
            old = "beat < clock_timestamp() - make_interval(secs => %s)"
            unasked = "NOT EXISTS (SELECT 1 FROM didyma_asked asked WHERE asked.job = work.job)"
            for table, forgotten in (
                ("didyma_workers", f"beat NOT {RECENT}"),
                ("didyma_work", f"{old} OR (beat {AHEAD} AND {unasked})"),
            ):
                connection.execute(
                    f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} work WHERE {forgotten} LIMIT %s)",
                    (FORGET_SECONDS, MOST_REMOVED),
                )
        for queue in moved.values():
            with contextlib.suppress(FleetUnavailable):  # somebody finds the job who was not told
                self._tell(queue)
        return [*moved]

    def _moved(self, connection: psycopg.Connection[Any], job: int, attempts: int, *, is_done: bool) -> bool:
        """Whether a job that has lost its worker goes to another; else it is over."""
        if not is_done and attempts + 1 < MOST_LOSSES:
            connection.execute("DELETE FROM didyma_work WHERE job = %s", (job,))
            connection.execute("SELECT procrastinate_retry_job_v2(%s, now(), NULL, NULL, NULL)", (job,))
            return True
        if not is_done:
            reply = {"error": "JobQuarantined", "message": f"{MOST_LOSSES} workers vanished over this job"}
            connection.execute(
                "INSERT INTO didyma_work (job, worker, reply) VALUES (%s, '', %s::jsonb)"
                " ON CONFLICT (job) DO UPDATE SET reply = excluded.reply, beat = clock_timestamp()",
                (job, json.dumps(reply)),
            )
            connection.execute(f"NOTIFY {REPLIES}, '{job}'")
        connection.execute("SELECT procrastinate_finish_job_v1(%s, 'failed', true)", (job,))
        return False

    def bury(self, seconds: float = HEIRS_SECONDS) -> None:
        """Withdraws jobs whose asker is gone and for which nobody else has asked."""
        left = self._rows(
            f"SELECT job FROM didyma_asked asked WHERE NOT EXISTS (SELECT 1 FROM didyma_askers living WHERE {LIVES})",
            seconds,
        )
        for (job,) in left:
            self._withdraw(job)
        self._withdraw_left()
        self._rows(
            f"DELETE FROM didyma_askers gone WHERE beat NOT {RECENT}"
            " AND NOT EXISTS (SELECT 1 FROM didyma_asked asked WHERE asked.asker = gone.asker)",
            seconds,
        )

    # -- whoever computes

    def take(self, job: int, worker: str) -> bool:
        """Whether a job that procrastinate gave out is to be computed; if so, under a lease of `worker`."""
        return bool(
            self._rows(
                "INSERT INTO didyma_work (job, worker) VALUES (%s, %s) ON CONFLICT (job) DO UPDATE"
                " SET worker = excluded.worker, beat = clock_timestamp() WHERE didyma_work.reply IS NULL RETURNING job",
                job,
                worker,
            )
        )

    def answer(self, job: int, reply: Message) -> None:
        """The first one stands; none does where nobody asks any more."""
        self._rows(
            "WITH done AS (UPDATE didyma_work SET reply = %s::jsonb, beat = clock_timestamp()"
            " WHERE job = %s AND reply IS NULL RETURNING job) SELECT pg_notify(%s, job::text) FROM done",
            json.dumps(reply),
            job,
            REPLIES,
        )

    def beat(self, worker: str, offers: Sequence[Offer], jobs: Sequence[int]) -> set[int]:
        """Says what `worker` does for others, from now on for LEASE_SECONDS, and renews its leases of the jobs in hand.
        Returns those of them that nobody wants of it any more. One statement, since every worker says it every second.
        """
        rows = self._rows(
            "WITH offered AS (INSERT INTO didyma_workers (worker, queue, together, shown, saturated)"
            " SELECT %s, * FROM unnest(%s::text[], %s::integer[], %s::text[], %s::bigint[])"
            " ON CONFLICT (worker, queue) DO UPDATE SET beat = clock_timestamp(), saturated = excluded.saturated)"
            " UPDATE didyma_work SET beat = clock_timestamp() WHERE job = ANY(%s) AND worker = %s AND reply IS NULL"
            " RETURNING job",
            worker,
            [offer.queue for offer in offers],
            [offer.together for offer in offers],
            [offer.shown for offer in offers],
            [offer.saturated for offer in offers],
            list(jobs),
            worker,
        )
        return set(jobs) - {job for (job,) in rows}

    def leave(self, worker: str) -> None:
        self._rows("DELETE FROM didyma_workers WHERE worker = %s", worker)

    # -- the database

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with told(), self._pool.connection() as connection, bounded(connection):
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def _listen(self) -> None:
        """Wakes whoever waits for a reply, and says that this process asks. Without it they look from time to time."""
        is_told = False
        while not self._is_closing.is_set():
            try:
                with connect(self._url) as connection:
                    connection.execute(f"LISTEN {REPLIES}")
                    is_told = False
                    while not self._is_closing.is_set():
                        self._live(connection.info.backend_pid)
                        for notice in connection.notifies(timeout=LOOK_SECONDS):
                            self._note(notice.payload)
            except (psycopg.Error, FleetUnavailable) as error:
                if not is_told:
                    log.warning("the fleet's database does not tell of replies", reason=type(error).__name__)
                is_told = True
                with contextlib.suppress(FleetUnavailable):
                    self._live(None)
                self._is_closing.wait(LOOK_SECONDS)

    def _live(self, session: int | None) -> None:
        """Says, now and then, that this process asks. session: one that ends with it at once, should it die; a process
        that stands still does not say anything any more."""
        if time.monotonic() - self._said >= BEAT_SECONDS:
            self._said = time.monotonic()
            self._rows(
                "INSERT INTO didyma_askers (asker, session) VALUES (%s, %s) ON CONFLICT (asker)"
                " DO UPDATE SET session = excluded.session, beat = clock_timestamp()",
                self._name,
                session,
            )

    def _note(self, told: str) -> None:
        if not told.isdecimal() or len(told) > MOST_DIGITS:
            return  # of somebody else's making
        event = self._waited_for.get(int(told))
        if event is not None:
            event.set()
