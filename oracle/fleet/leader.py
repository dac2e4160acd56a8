"""Which of several daemons with the same keys may sign, and what any of them has signed.

The leader holds an advisory lock in a session of its own, and writes each signed transaction into the database, in that
session, before it leaves the process. A session that has ended holds no lock and writes nothing, so whoever takes the
lock next finds all that was signed, and nothing is added to it behind its back. The lock's number, the epoch, is
compared as well: it is what counts where something between a daemon and the database shares sessions.

A process that dies loses its session at once. One that is frozen or cut off does not: if it has not renewed its lease
for LEASE_SECONDS, a follower has the database end its session, which the same role may.
"""

import contextlib
import hashlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg
import structlog
from psycopg.types.json import Jsonb

from oracle.errors import FleetUnavailable, NotLeading
from oracle.fleet.board import BEAT_SECONDS, LEASE_SECONDS
from oracle.fleet.session import CONNECT_SECONDS, bounded, connect, told
from oracle.journal.signed import Signed

LOCK = 0x44494459
"""The first half of the advisory locks; the second is a digest of the keys."""
MOST_ENTRY_BYTES = 1 << 20
"""Of a signed transaction and what it is for; a transaction that nodes take has at most 128 KiB."""
ENTRIES_AT_ONCE = 200

log = structlog.get_logger(__name__)


class Leader:
    """One daemon's part. Thread-safe."""

    def __init__(self, url: str, signers: Sequence[str], changed: Callable[[], None] = lambda: None) -> None:
        """signers: addresses of the keys; daemons with the same ones take turns. changed: called in a thread."""
        self._url, self._keys = url, " ".join(sorted(signers))
        self._half = int.from_bytes(hashlib.sha256(self._keys.encode()).digest()[:4], "big") >> 1
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.changed = changed
        self._connection: psycopg.Connection[Any] | None = None
        self._using = threading.RLock()
        self._epoch: int | None = None
        self._until = 0.0
        self.sessions = 0
        """How often it has reached the database."""
        self._trouble = "the fleet's database was not reached yet"
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="leader", daemon=True)

    def open(self) -> None:
        """Begins to compete; to be closed."""
        self._thread.start()

    def close(self) -> None:
        """Lets another lead."""
        self._is_closing.set()
        if self._thread.ident is not None:
            self._thread.join(2 * CONNECT_SECONDS)
        with self._using:
            self._lose("closed")

    @property
    def epoch(self) -> int | None:
        """Of this daemon's leadership; None while it has none, or cannot know."""
        return self._epoch if time.monotonic() < self._until else None

    @property
    def trouble(self) -> str:
        """Why the database cannot be used; empty if it can."""
        return self._trouble

    def signed_after(self, number: int, signer: str, least_nonce: int) -> list[tuple[int, Signed]]:
        """What was written after `number`, oldest first, from a nonce on: at most ENTRIES_AT_ONCE.

        Raises FleetUnavailable, BadRecord.
        """
        with self._session() as connection:
            rows = connection.execute(
                "SELECT number, CASE WHEN octet_length(entry::text) <= %s THEN entry END FROM didyma_signed"
                " WHERE signer = %s AND number > %s AND nonce >= %s ORDER BY number LIMIT %s",
                (MOST_ENTRY_BYTES, signer, number, least_nonce, ENTRIES_AT_ONCE),
            ).fetchall()
        return [(row[0], Signed.from_json(signer, row[1])) for row in rows]

    def record(self, epoch: int, signed: Signed) -> None:
        """Writes down what is signed and not sent yet. Whether or not this succeeds, it may be read by others.

        Raises NotLeading unless `epoch` is still this daemon's, and FleetUnavailable; then it must not be sent.
        """
        with self._session() as connection:
            if epoch != self.epoch:
                raise NotLeading("another daemon with this key may sign now")
            found = connection.execute(
                "WITH mine AS (SELECT epoch FROM didyma_leader WHERE keys = %s AND epoch = %s FOR SHARE), written AS ("
                " INSERT INTO didyma_signed (signer, nonce, epoch, hash, entry)"
                " SELECT %s, %s, epoch, %s, %s FROM mine ON CONFLICT (hash) DO NOTHING RETURNING number)"
                " SELECT (SELECT count(*) FROM mine), (SELECT count(*) FROM written)",
                (self._keys, epoch, signed.signer, signed.attempt.nonce, signed.attempt.hash, Jsonb(signed.to_json())),
            ).fetchone()
            if found is None or not found[0]:
                self._lose("another daemon leads")
                raise NotLeading("another daemon with this key may sign now")

    # -- the session

    @contextlib.contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """The one session; a new one holds no lock. Raises FleetUnavailable, and then there is none."""
        with self._using:
            try:
                with told():
                    if self._connection is None:
                        self._connection = connect(self._url)
                        self.sessions += 1
                    with bounded(self._connection):
                        yield self._connection
                self._trouble = ""
            except FleetUnavailable as error:
                self._lose(str(error))
                raise

    def _lose(self, why: str) -> None:
        if self._epoch is not None:
            log.warning("leads no longer", reason=why)
        self._epoch, self._trouble = None, why
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _watch(self) -> None:
        was = None
        while not self._is_closing.is_set():
            with contextlib.suppress(FleetUnavailable):
                self._beat()
            if self._epoch != was:
                was = self._epoch
                self.changed()
            self._is_closing.wait(BEAT_SECONDS)

    def _beat(self) -> None:
        begun = time.monotonic()
        with self._session() as connection:
            if self._epoch is None:
                self._epoch = self._compete(connection)
            elif not connection.execute(
                "UPDATE didyma_leader SET beat = clock_timestamp() WHERE keys = %s AND epoch = %s RETURNING epoch",
                (self._keys, self._epoch),
            ).fetchall():
                self._lose("another daemon leads")
                return
            self._until = begun + LEASE_SECONDS

    def _compete(self, connection: psycopg.Connection[Any]) -> int | None:
        """Takes the lock if it is free, else has a session that stands still ended. Returns the epoch, if any."""
        free = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK, self._half)).fetchone()
        if free is not None and free[0]:
            row = connection.execute(
                "INSERT INTO didyma_leader AS held (keys, epoch, holder) VALUES (%s, 1, %s)"
                " ON CONFLICT (keys) DO UPDATE SET epoch = held.epoch + 1, holder = excluded.holder,"
                " beat = clock_timestamp() RETURNING epoch",
                (self._keys, self.name),
            ).fetchone()
            assert row is not None
            log.info("leads", epoch=row[0], name=self.name)
            return int(row[0])
        ended = connection.execute(
            "SELECT pg_terminate_backend(lock.pid) FROM pg_locks lock, didyma_leader held"
            " WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 2"
            " AND lock.classid::bigint = %s AND lock.objid::bigint = %s"
            " AND lock.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            " AND held.keys = %s AND held.beat < clock_timestamp() - make_interval(secs => %s)",
            (LOCK, self._half, self._keys, LEASE_SECONDS),
        ).fetchall()
        if ended:
            log.warning("the leader stands still; its session is ended", after_seconds=LEASE_SECONDS)
        return None
