"""The journal: durable, undone with its block, and never opened when it should not be."""

import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from rig.child import run_child

from oracle.errors import AlreadyRunning, JournalCorrupt, JournalFull, JournalTooNew, WrongChain
from oracle.journal.journal import BlockRef, Journal, Tx
from oracle.journal.outbox import Intent, Outbox
from oracle.journal.schema import MIGRATIONS, SECOND, nonces

IDENTITY = "31337:0xOracle"
NODE = "0x" + "11" * 20


def open_at(folder: Path, **options: object) -> Journal:
    return Journal(folder / "j.sqlite", IDENTITY, **{"ballast_bytes": 1 << 16, **options})  # type: ignore[arg-type]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = open_at(tmp_path)
    yield opened
    opened.close()


def ref(number: int) -> BlockRef:
    return BlockRef(number, bytes([number]) * 32, 1000 + number)


# -- refusals ------------------------------------------------------------------------------------------------


def test_open__second_process__is_refused_with_the_first_ones_pid(journal, tmp_path):
    with pytest.raises(AlreadyRunning, match=r"another process \(pid \d+\) uses this journal"):
        open_at(tmp_path)

    def other_process() -> None:
        with pytest.raises(AlreadyRunning):
            open_at(tmp_path)

    assert run_child(other_process) == 0


def test_open__first_process_was_killed__succeeds(tmp_path):
    assert run_child(lambda: open_at(tmp_path) and None) == 0  # ends without closing
    open_at(tmp_path).close()


def test_open__other_chain_or_contract__is_refused(journal, tmp_path):
    journal.close()
    with pytest.raises(WrongChain, match="belongs to 31337:0xOracle, not to 1:0xOracle"):
        Journal(tmp_path / "j.sqlite", "1:0xOracle", ballast_bytes=0)
    journal.__init__(tmp_path / "j.sqlite", IDENTITY, ballast_bytes=0)  # the refusal left no lock behind


def test_open__newer_schema__is_refused(tmp_path):
    open_at(tmp_path, migrations=(*MIGRATIONS, lambda _connection: None)).close()
    with pytest.raises(JournalTooNew, match="has schema 3, this program knows 2"):
        open_at(tmp_path)


def test_open__killed_in_a_checkpoint__has_all_that_was_committed(journal, tmp_path):
    """Any pages of the log may have reached the journal's file by then."""
    with journal.write() as tx:
        for number in range(60):
            tx.put_job("watch", f"w{number}", "open", {"text": "x" * 300}, None)
    path, log = tmp_path / "j.sqlite", tmp_path / "j.sqlite-wal"
    before, written = path.read_bytes(), log.read_bytes()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()[0] == 0
    connection.close()
    after = path.read_bytes()
    size = int.from_bytes(after[16:18], "big")
    pages = len(after) // size
    assert after != before
    chance = random.Random(0)
    for n in range(12):
        done = set(chance.sample(range(pages), n * pages // 11))
        folder = tmp_path / f"killed{n}"
        folder.mkdir()
        half = [(after if page in done else before)[page * size : (page + 1) * size] for page in range(pages)]
        (folder / "j.sqlite").write_bytes(b"".join(page.ljust(size, b"\0") for page in half))
        (folder / "j.sqlite-wal").write_bytes(written)
        opened = open_at(folder)
        with opened.read() as tx:
            assert len(list(tx.jobs("watch"))) == 60
        opened.close()


def test_open__migration_fails__changes_nothing_and_keeps_a_backup(tmp_path):
    journal = open_at(tmp_path)
    with journal.write() as tx:
        tx.put_job("watch", "w", "open", {}, None)
    journal.close()

    def half_done(connection: sa.Connection) -> None:
        connection.execute(sa.text("DROP TABLE jobs"))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        open_at(tmp_path, migrations=(*MIGRATIONS, half_done))
    for file in ("j.sqlite", "j.sqlite.schema2.bak"):
        again = Journal(tmp_path / file, IDENTITY, ballast_bytes=0)
        with again.read() as tx:
            assert tx.job("w") is not None
        again.close()


def test_open__file_of_the_first_schema__keeps_what_was_signed_and_reads_the_chain_again(tmp_path):
    """Columns are added, and what comes from events is forgotten, so that the follower reads more of them."""
    journal = open_at(tmp_path, migrations=MIGRATIONS[:1])
    with journal.write() as tx:
        tx.add_block(ref(7))
        for kind in ("request", "game", "verdict"):
            tx.put_job(kind, f"{kind}:1", "open", {}, 7)
        Outbox(tx, NODE).plan(Intent("a", "0x" + "22" * 20, b"x", 5), 1)
        Outbox(tx, NODE).add_nonce(0, "a", 1)
        for table, column in ((t, c) for t, columns in SECOND.items() for c in columns):
            tx.connection.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN {column}")  # as it was then
        tx.connection.exec_driver_sql("DROP INDEX jobs_by_kind")
    journal.close()
    again = open_at(tmp_path)
    with again.write() as tx:
        assert tx.cursor() is None
        assert [job.key for job in tx.jobs()] == ["verdict:1"]
        outbox = Outbox(tx, NODE)
        assert (outbox.require("a").intent.service, outbox.nonces("open")[0].key) == (None, "a")
        outbox.set_cost(0, 21_000, 10**30, 50)
        outbox.set_cost(0, 21_000, 10**30, 60)
        (paid,) = tx.connection.execute(sa.select(nonces.c.fee_wei, nonces.c.paid_at))
        assert tuple(paid) == (10**30, 50)
        outbox.forget_cost(0)
        (paid,) = tx.connection.execute(sa.select(nonces.c.fee_wei, nonces.c.paid_at))
        assert tuple(paid) == (None, None)
    again.close()
    assert (tmp_path / "j.sqlite.schema1.bak").exists()


def test_jobs_below__prefix__those_alone_and_in_order(journal):
    with journal.write() as tx:
        for key in ("move:ab:2", "move:ab:1", "move:ac:1", "move:a:1", "moves"):
            tx.put_job("move", key, "made", {}, None)
    with journal.read() as tx:
        assert [job.key for job in tx.jobs_below("move:ab:")] == ["move:ab:1", "move:ab:2"]


def test_open__not_a_database__is_refused_with_one_instruction(tmp_path):
    (tmp_path / "j.sqlite").write_bytes(b"<html>" * 1000)
    with pytest.raises(JournalCorrupt, match="move it away and run `didyma node rebuild`"):
        open_at(tmp_path)


def test_open__any_page_overwritten__is_noticed_or_harmless(tmp_path):
    """200 random bytes on each page in turn: refused at start or at reading; otherwise they hit free space."""
    pristine = tmp_path / "pristine"
    pristine.mkdir()
    journal = open_at(pristine)
    with journal.write() as tx:
        for n in range(300):
            tx.put_job("watch", f"w{n}", "open", {"text": "x" * 50}, n)
            Outbox(tx, NODE).plan(Intent(f"i{n}", NODE, bytes(80), 1), 0)
    with journal.read() as tx:
        whole = (tx.jobs(), Outbox(tx, NODE).intents("planned"))
    journal.close()
    size = (pristine / "j.sqlite").stat().st_size
    rng = random.Random(7)
    noticed = 0
    pages = range(0, size, 4096)
    for offset in pages:
        folder = tmp_path / str(offset)
        folder.mkdir()
        shutil.copy(pristine / "j.sqlite", folder)
        with (folder / "j.sqlite").open("r+b") as file:
            file.seek(offset + rng.randrange(4096 - 200))
            file.write(rng.randbytes(200))
        try:
            damaged = open_at(folder, ballast_bytes=0)
        except JournalCorrupt:
            noticed += 1
            continue
        try:
            with damaged.read() as tx:
                assert (tx.jobs(), Outbox(tx, NODE).intents("planned")) == whole
        except JournalCorrupt:
            noticed += 1
        finally:
            damaged.close()
    assert noticed >= len(pages) // 2


# -- disk full (F30) -----------------------------------------------------------------------------------------


def limit_pages(journal: Journal, more: int) -> None:
    """Lets the file grow by so many pages only, on the one connection that is reused."""
    with journal.read() as tx:
        pages = tx.connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + more}")


@pytest.mark.parametrize("size", [1 << 15, 1 << 17])
def test_open__other_ballast__has_the_new_size(tmp_path, size):
    open_at(tmp_path).close()
    open_at(tmp_path, ballast_bytes=size).close()
    assert (tmp_path / "j.sqlite.ballast").stat().st_size == size


def test_write__disk_full__raises_releases_the_ballast_and_undoes(journal, tmp_path):
    ballast = tmp_path / "j.sqlite.ballast"
    assert ballast.stat().st_blocks * 512 >= 1 << 16
    limit_pages(journal, 2)

    def write_much() -> None:
        with journal.write() as tx:
            tx.put_job("watch", "small", "open", {}, None)
            tx.put_job("watch", "large", "open", {"x": "y" * 100_000}, None)

    with pytest.raises(JournalFull, match="no space left"):
        write_much()
    assert journal.full
    assert not ballast.exists()
    limit_pages(journal, 1000)  # what the ballast left
    with journal.write() as tx:
        assert tx.job("small") is None
        tx.put_job("move", "m", "open", {}, None)
    assert journal.recover_space()
    assert ballast.exists()


def test_recover_space__disk_still_full__stays_full(journal):
    journal.full = True
    journal._ballast_bytes = 1 << 60
    assert not journal.recover_space()


# -- what it holds -------------------------------------------------------------------------------------------


def test_write__raises_inside__undoes_everything(journal):
    def write_and_fail() -> None:
        with journal.write() as tx:
            tx.put_job("watch", "w", "open", {}, 1)
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    with journal.read() as tx:
        assert tx.jobs() == []


def test_settings__every_connection__is_durable(journal):
    with journal.read() as tx:
        asked = {
            name: tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 2}


def test_jobs__filtered__oldest_first(journal):
    with journal.write() as tx:
        for kind, key, state in (("a", "1", "open"), ("b", "2", "open"), ("a", "3", "done"), ("a", "4", "open")):
            tx.put_job(kind, key, state, {}, None)
    with journal.read() as tx:
        assert [job.key for job in tx.jobs("a")] == ["1", "3", "4"]
        assert [job.key for job in tx.jobs(states={"open"}, limit=2)] == ["1", "2"]


def test_rollback__own_progress_before_the_block__survives(journal):
    with journal.write() as tx:
        tx.put_job("answer", "a", "open", {}, 1)
        tx.put_job("answer", "a", "computed", {"output": "x"}, None)
        tx.put_job("answer", "a", "answered", {"output": "x"}, 2)
        tx.rollback(1)
        job = tx.job("a")
    assert job is not None
    assert (job.state, job.payload, job.block, job.updated_block) == ("computed", {"output": "x"}, 1, 1)


def test_prune__keeps_the_cursor_and_what_can_still_be_undone(journal):
    with journal.write() as tx:
        for number in range(1, 6):
            tx.add_block(ref(number))
            tx.put_job("watch", "w", str(number), {}, number)
        tx.prune(4)
        assert tx.block_at_or_below(3) is None
        assert tx.rollback(4) == ["w"]
        job = tx.job("w")
        assert job is not None
        assert (job.state, tx.cursor()) == ("4", ref(4))
        tx.prune(100)
        assert tx.cursor() == ref(4)


_writes = st.lists(st.tuples(st.integers(1, 5), st.sampled_from("abc"), st.sampled_from(["open", "done"])), max_size=20)


@settings(max_examples=60, deadline=None)
@given(_writes, st.integers(0, 5))
def test_rollback__any_history__equals_never_having_seen_the_later_blocks(tmp_path_factory, writes, to):
    writes = sorted(writes, key=lambda write: write[0])

    def states(history: list[tuple[int, str, str]], undo_to: int | None) -> list[object]:
        folder = tmp_path_factory.mktemp("j")
        journal = open_at(folder, ballast_bytes=0)
        with journal.write() as tx:
            _play(tx, history)
            if undo_to is not None:
                tx.rollback(undo_to)
            found = sorted(tx.jobs(), key=lambda job: job.key)
        journal.close()
        return list(found)

    assert states(writes, to) == states([write for write in writes if write[0] <= to], None)


def _play(tx: Tx, history: list[tuple[int, str, str]]) -> None:
    for number, key, state in history:
        tx.put_job("k", key, state, {"n": number}, number)


def test_outbox__stored_bytes_damaged__is_noticed(journal, tmp_path):
    with journal.write() as tx:
        Outbox(tx, NODE).plan(Intent("i", NODE, b"payload", 1), 0)
    raw = sqlite3.connect(tmp_path / "j.sqlite")
    raw.execute("UPDATE intents SET data = x'00'")
    raw.commit()
    raw.close()
    with pytest.raises(JournalCorrupt, match="the intent i is damaged"), journal.read() as tx:
        Outbox(tx, NODE).intent("i")


def test_reopen__ten_thousand_jobs__in_less_than_five_seconds(journal, tmp_path):
    with journal.write() as tx:
        for n in range(10_000):
            tx.put_job("watch", f"w{n}", "open", {"n": n}, None)
    journal.close()
    started = time.monotonic()
    again = open_at(tmp_path)
    with again.read() as tx:
        assert len(tx.jobs("watch", {"open"})) == 10_000
    assert time.monotonic() - started < 5
    again.close()
    journal.__init__(tmp_path / "j.sqlite", IDENTITY, ballast_bytes=0)
