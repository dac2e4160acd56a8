"""The journal: what the node must not forget or do twice, in one SQLite file.

It is a cache of the chain with one exception: what was signed. Everything else (cursor, jobs) can be rebuilt from
chain, key and model. Writes are synchronous=FULL (0.25 ms here): when `write()` returns, a power cut changes nothing.
Jobs changed by a block can be taken back with it, so a reorg needs no code in the job's owner.

One process at a time: an OS lock beside the file is held until `close()`. Not for network file systems, where neither
flock nor WAL can be relied on.
"""

import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError, IntegrityError, ProgrammingError

from oracle.errors import JournalCorrupt, JournalFull, JournalTooNew, WrongChain
from oracle.journal.crashpoints import crashpoint
from oracle.journal.lock import FileLock
from oracle.journal.schema import MIGRATIONS, Migration, blocks, jobs, meta, undo

log = structlog.get_logger()

KEYS_AT_ONCE = 500
"""Most keys in one query; SQLite takes some thousands."""

# Statements are made once: to build and compile one costs ten times what SQLite needs to run it.
given = sa.bindparam
_TOP = sa.select(blocks).order_by(blocks.c.number.desc()).limit(1)
_TOP_AT_OR_BELOW = _TOP.where(blocks.c.number <= given("most"))
_ADD_BLOCK = sa.insert(blocks)
_PRUNE_BLOCKS = sa.delete(blocks).where(
    blocks.c.number < given("below"), blocks.c.number != sa.select(sa.func.max(blocks.c.number)).scalar_subquery()
)
_PRUNE_UNDO = sa.delete(undo).where(undo.c.block < given("below"))
_JOB = sa.select(jobs).where(jobs.c.key == given("of"))
_JOBS_OF = sa.select(jobs).where(jobs.c.key.in_(given("keys", expanding=True)))
_JOBS_BELOW = sa.select(jobs).where(jobs.c.key >= given("first"), jobs.c.key < given("end")).order_by(jobs.c.key)
_ADD_JOB, _CHANGE_JOB = sa.insert(jobs), sa.update(jobs).where(jobs.c.key == given("of"))
_DELETE_JOB = sa.delete(jobs).where(jobs.c.key == given("of"))
_DELETE_JOBS = sa.delete(jobs).where(jobs.c.key.in_(given("keys", expanding=True)))
_ADD_UNDO = sa.insert(undo)
_VALUE = sa.select(meta.c.value).where(meta.c.name == given("of"))


@cache
def _jobs(of_kind: bool, in_states: bool, limited: bool) -> sa.Select[Any]:
    """Jobs in order."""
    query = sa.select(jobs).order_by(jobs.c.id)
    if of_kind:
        query = query.where(jobs.c.kind == given("of_kind"))
    if in_states:
        query = query.where(jobs.c.state.in_(given("states", expanding=True)))
    return query.limit(given("most", type_=sa.Integer)) if limited else query


@dataclass(frozen=True)
class Job:
    """One thing to do or to watch. What states and payloads mean is its owner's affair."""

    id: int
    """Rises from job to job."""
    kind: str
    key: str
    """Unique over all kinds, e.g. "answer:0x12ab...:3"."""
    state: str
    payload: Mapping[str, Any]
    """JSON; bytes as hex, amounts above 2^53 as decimal text."""
    block: int | None
    """Number of the block that brought it; None if no block did."""
    updated_block: int | None


@dataclass(frozen=True)
class BlockRef:
    """A block that has been applied."""

    number: int
    hash: bytes
    timestamp: int


class Tx:
    """One transaction. Use it only inside the `with` that made it."""

    def __init__(self, connection: Connection, changed: set[str] | None = None) -> None:
        """changed: where the keys of jobs go that this transaction changes."""
        self.connection = connection
        self._changed = set() if changed is None else changed

    # -- blocks --------------------------------------------------------------------------------------------------

    def cursor(self) -> BlockRef | None:
        """The highest applied block."""
        return _block(self.connection.execute(_TOP).one_or_none())

    def block_at_or_below(self, number: int) -> BlockRef | None:
        """The highest applied block that is still kept and not above `number`."""
        return _block(self.connection.execute(_TOP_AT_OR_BELOW, {"most": number}).one_or_none())

    def add_block(self, block: BlockRef) -> None:
        """Makes `block` the cursor."""
        values = {"number": block.number, "hash": block.hash, "timestamp": block.timestamp}
        self.connection.execute(_ADD_BLOCK, values)

    def prune(self, below: int) -> None:
        """Forgets blocks and undo records below `below`, keeping the cursor. What remains can still be rolled back."""
        self.connection.execute(_PRUNE_BLOCKS, {"below": below})
        self.connection.execute(_PRUNE_UNDO, {"below": below})

    def rollback(self, to: int) -> list[str]:
        """Takes every change made by blocks above `to` back. Returns the keys of the jobs concerned."""
        records = self.connection.execute(sa.select(undo).where(undo.c.block > to).order_by(undo.c.id.desc())).all()
        for record in records:
            self.connection.execute(_DELETE_JOB, {"of": record.key})
            if record.previous is not None:
                self.connection.execute(_ADD_JOB, record.previous)
        self.connection.execute(sa.delete(undo).where(undo.c.block > to))
        self.connection.execute(sa.delete(blocks).where(blocks.c.number > to))
        keys = {record.key for record in records}
        self._changed |= keys
        return sorted(keys)

    # -- jobs ----------------------------------------------------------------------------------------------------

    def put_job(self, kind: str, key: str, state: str, payload: Mapping[str, Any], block: int | None) -> None:
        """Makes the job or replaces it.

        block: number of the block whose event says so: `rollback` below it takes the change back. None for the node's
        own progress, which a later `rollback` of the same job loses (it can be computed again).
        """
        self._changed.add(key)
        row = self.connection.execute(_JOB, {"of": key}).one_or_none()
        if block is not None:
            previous = None if row is None else dict(row._mapping)
            self.connection.execute(_ADD_UNDO, {"block": block, "key": key, "previous": previous})
        values = {"kind": kind, "state": state, "payload": dict(payload)}
        if row is None:
            self.connection.execute(_ADD_JOB, {**values, "key": key, "block": block, "updated_block": block})
        else:
            updated = row.updated_block if block is None else block
            self.connection.execute(_CHANGE_JOB, {**values, "of": key, "updated_block": updated})

    def job(self, key: str) -> Job | None:
        """The job of that key."""
        row = self.connection.execute(_JOB, {"of": key}).one_or_none()
        return None if row is None else _job(row)

    def jobs_of(self, keys: Collection[str]) -> list[Job]:
        """The jobs of those keys, as far as there are any, oldest first."""
        found: list[Job] = []
        ordered = sorted(keys)
        for start in range(0, len(ordered), KEYS_AT_ONCE):
            few = {"keys": ordered[start : start + KEYS_AT_ONCE]}
            found += [_job(row) for row in self.connection.execute(_JOBS_OF, few)]
        return sorted(found, key=lambda job: job.id)

    def delete_jobs(self, keys: Collection[str]) -> None:
        """Forgets jobs for good."""
        self._changed |= set(keys)
        ordered = sorted(keys)
        for start in range(0, len(ordered), KEYS_AT_ONCE):
            self.connection.execute(_DELETE_JOBS, {"keys": ordered[start : start + KEYS_AT_ONCE]})

    def jobs(
        self, kind: str | None = None, states: Collection[str] | None = None, limit: int | None = None
    ) -> list[Job]:
        """Jobs of a kind and in certain states, oldest first."""
        query = _jobs(kind is not None, states is not None, limit is not None)
        wanted = {"of_kind": kind, "states": None if states is None else list(states), "most": limit}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        return [_job(row) for row in self.connection.execute(query, wanted)]

    def jobs_below(self, prefix: str) -> list[Job]:
        """Jobs whose keys begin so, by key. prefix: ends with a colon."""
        span = {"first": prefix, "end": prefix[:-1] + ";"}
        return [_job(row) for row in self.connection.execute(_JOBS_BELOW, span)]

    # -- meta ----------------------------------------------------------------------------------------------------

    def get(self, name: str) -> str | None:
        """A named value."""
        return self.connection.execute(_VALUE, {"of": name}).scalar_one_or_none()

    def set(self, name: str, value: str) -> None:
        """Stores a named value."""
        self.connection.execute(sa.delete(meta).where(meta.c.name == name))
        self.connection.execute(sa.insert(meta).values(name=name, value=value))


def _block(row: sa.Row[Any] | None) -> BlockRef | None:
    return None if row is None else BlockRef(row.number, row.hash, row.timestamp)


def _job(row: sa.Row[Any]) -> Job:
    return Job(row.id, row.kind, row.key, row.state, row.payload, row.block, row.updated_block)


class Journal:
    """An open journal."""

    def __init__(
        self,
        path: Path,
        identity: str,
        *,
        ballast_bytes: int,
        migrations: Sequence[Migration] = MIGRATIONS,
    ) -> None:
        """Opens the file, or makes it. identity: what it is about, e.g. "31337:0xOracle"; a file keeps its first one.
        ballast_bytes: disk space held back, which urgent intents get when the disk is full; none for 0.

        Raises AlreadyRunning, JournalCorrupt, JournalTooNew, JournalFull, or WrongChain for another identity.
        """
        self.path = path
        self.full = False
        """The disk was full: only urgent intents may be signed, in the space that the ballast left."""
        self._changed: set[str] = set()
        self._ballast_bytes = ballast_bytes
        self._ballast = path.with_name(path.name + ".ballast")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(path.with_name(path.name + ".lock"), "this journal")
        self._engine = _engine(path)
        try:
            self._check()
            self._migrate(migrations)
            self._identify(identity)
            self._reserve()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the file and frees the lock."""
        self._engine.dispose()
        self._lock.release()

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction, durable when the block ends, undone if it raises.

        Raises JournalFull when the disk is full (the ballast is released then) and JournalCorrupt on damage.
        """
        with self._translate(), self._engine.begin() as connection:
            yield Tx(connection, self._changed)

    def changed(self) -> set[str]:
        """Keys of the jobs that may have changed since the last call; a transaction that failed left its own too."""
        found = set(self._changed)
        self._changed.clear()
        return found

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A consistent view that blocks no writer."""
        with self._translate(), self._engine.connect() as connection:
            yield Tx(connection.execution_options(didyma_read=True))

    def recover_space(self) -> bool:
        """Takes the ballast back once the disk has twice its size free. Returns whether the journal is writable."""
        if self.full and shutil.disk_usage(self.path.parent).free >= 2 * self._ballast_bytes:
            self.full = False
            self._reserve()
        return not self.full

    @contextmanager
    def _translate(self) -> Iterator[None]:
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise  # ours: a bug
        except DatabaseError as error:
            name = getattr(error.orig, "sqlite_errorname", "")
            if name in ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"):
                self._release()
                raise JournalFull(f"no space left for {self.path}: free some; nothing is signed until then") from None
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_READONLY")):
                raise JournalFull(f"cannot write {self.path} ({name})") from None
            raise self._corrupt(name or type(error.orig).__name__) from None

    def _corrupt(self, detail: str) -> JournalCorrupt:
        return JournalCorrupt(f"{self.path} is damaged ({detail}): move it away and run `didyma node rebuild`")

    def _check(self) -> None:
        with self.read() as tx:
            problem = tx.connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if problem != "ok":
            raise self._corrupt(str(problem)[:200])

    def _migrate(self, migrations: Sequence[Migration]) -> None:
        with self.read() as tx:
            schema = int(tx.connection.exec_driver_sql("PRAGMA user_version").scalar_one())
        if schema > len(migrations):
            raise JournalTooNew(f"{self.path} has schema {schema}, this program knows {len(migrations)}: upgrade it")
        if schema == len(migrations):
            return
        if schema > 0:
            self._backup(schema)
            crashpoint("after_backup")
        with self.write() as tx:
            for migration in migrations[schema:]:
                migration(tx.connection)
                crashpoint("in_migration")
            tx.connection.exec_driver_sql(f"PRAGMA user_version = {len(migrations)}")
        log.info("journal migrated", path=str(self.path), was=schema, now=len(migrations))

    def _backup(self, schema: int) -> None:
        """A whole copy under its final name only once it is complete and on disk."""
        final = self.path.with_name(f"{self.path.name}.schema{schema}.bak")
        partial = final.with_suffix(".part")
        partial.unlink(missing_ok=True)
        with self._engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            copy = sqlite3.connect(partial)
            try:
                raw.backup(copy)
            finally:
                copy.close()
        os.replace(partial, final)

    def _identify(self, identity: str) -> None:
        with self.write() as tx:
            known = tx.get("identity")
            if known is None:
                tx.set("identity", identity)
            elif known != identity:
                raise WrongChain(f"{self.path} belongs to {known}, not to {identity}")

    def _reserve(self) -> None:
        if not self._ballast_bytes or (self._ballast.exists() and self._ballast.stat().st_size == self._ballast_bytes):
            return
        handle = os.open(self._ballast, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.ftruncate(handle, 0)
            os.posix_fallocate(handle, 0, self._ballast_bytes)
        except OSError:
            self._release()
        finally:
            os.close(handle)

    def _release(self) -> None:
        self.full = True
        self._ballast.unlink(missing_ok=True)
        log.error("disk full: ballast released, signing only what is urgent", path=str(self.path))


def _engine(path: Path) -> Engine:
    engine = sa.create_engine(f"sqlite:///{path}")

    @sa.event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun below; the driver would commit around DDL
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get("didyma_read", False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine
