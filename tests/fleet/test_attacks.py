"""Whoever may do what a worker may: words withheld or in floods, rows of any size, jobs that no program can read.

Each costs the time that docs/operators.md names, and nothing dies of it.
"""

import json
import threading
import time

import psycopg
import pytest
from fleet.conftest import QUEUE, proven, wait_for
from fleet.test_fleet import HELLO, PARAMS, Held, asked, rows
from rig.fake_engine import FakeEngine

from oracle.errors import JobQuarantined
from oracle.fleet import board as boards
from oracle.fleet import work
from oracle.fleet.board import MOST_NAME, PAUSE_SECONDS, TASK, UNTOLD_SECONDS, Offer
from oracle.fleet.tables import prepare
from oracle.fleet.wakes import SLOTS, channel

RIGHT = FakeEngine().generate(HELLO, PARAMS)


@pytest.fixture
def hostile(url):
    """The database as a worker's role has it."""
    rows(url, "DROP ROLE IF EXISTS hostile")
    rows(url, "CREATE ROLE hostile LOGIN")
    prepare(url, [], ["hostile"])
    yield psycopg.conninfo.make_conninfo(url, user="hostile")
    rows(url, "DROP OWNED BY hostile")
    rows(url, "DROP ROLE hostile")


# -- words of the database


@pytest.mark.parametrize("word", ["9" * 5000, "٣" * 100, "1" * 7999, "0", "-1", "1.5"], ids=lambda word: word[:5])
def test_word__of_any_digits__listener_lives_and_hears_the_next(hostile, fleet, inside, word):
    """Python reads no number of more than 4,300 digits: the thread that hears must not end over one."""
    inside()
    engine = proven(fleet())
    for _ in range(3):
        rows(hostile, "SELECT pg_notify('didyma_replies', %s)", word)
    assert engine.generate(HELLO, PARAMS) == RIGHT
    assert engine._board._listener.is_alive()


def test_words__in_a_flood_about_a_job_in_hand__are_few_questions_and_delay_nothing_long(
    hostile, fleet, inside, monkeypatch
):
    held = Held()
    inside(held)
    engine = proven(fleet())
    looks, look = [], engine._board._collect
    monkeypatch.setattr(engine._board, "_collect", lambda job, *rest: looks.append(job) or look(job, *rest))
    future, ends = asked(engine), threading.Event()
    assert held.begun.acquire(timeout=10)
    wait_for(lambda: engine._board._waited_for)
    (job,) = engine._board._waited_for

    def flood():
        with psycopg.connect(hostile, autocommit=True) as connection:
            while not ends.is_set():
                connection.execute("SELECT pg_notify('didyma_replies', %s) FROM generate_series(1, 50)", (str(job),))

    flooding = threading.Thread(target=flood)
    flooding.start()
    since = time.monotonic()
    time.sleep(1)
    assert len(looks) <= 2 + (time.monotonic() - since) / PAUSE_SECONDS
    held.let.set()
    assert future.result(10) == RIGHT
    ends.set()
    flooding.join()


def test_words__withheld_in_both_directions__cost_seconds(fleet, inside, monkeypatch):
    """Nobody is told of the job, nor of its reply."""
    monkeypatch.setattr(boards, "told_of", lambda _free, _chance: [])
    monkeypatch.setattr(work, "POLL_SECONDS", 2.0)
    inside()
    engine = proven(fleet())
    monkeypatch.setattr(engine._board, "_note", lambda _told: None)
    since = time.monotonic()
    assert engine.generate(HELLO, PARAMS) == RIGHT
    assert time.monotonic() - since < 2 + UNTOLD_SECONDS + 3


def test_words__for_workers_in_a_flood__jobs_are_done_beside(hostile, fleet, inside):
    inside()
    engine, ends = proven(fleet()), threading.Event()

    def flood():
        with psycopg.connect(hostile, autocommit=True) as connection:
            while not ends.is_set():
                for slot in range(SLOTS):
                    connection.execute("SELECT pg_notify(%s, repeat('x', 7900))", (channel(QUEUE, slot),))

    flooding = threading.Thread(target=flood)
    flooding.start()
    for _ in range(5):
        assert engine.generate(HELLO, PARAMS) == RIGHT
    ends.set()
    flooding.join()


# -- rows


def job_row(url, args, queue=QUEUE, task=TASK):
    """A job as anybody may write it."""
    statement = "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES (%s, %s, %s::jsonb) RETURNING id"
    return rows(url, statement, queue, task, args)[0][0]


@pytest.mark.parametrize(
    "args",
    ['{"message": 1' + "0" * 5000 + "}", '{"message": ' + "[" * 5000 + "]" * 5000 + "}", "[]", "7", '"x"', "null"],
    ids=["digits", "nested", "list", "number", "text", "null"],
)
def test_worker__job_that_no_program_can_read__is_over_and_the_next_is_done(hostile, fleet, inside, args):
    worker = inside()
    engine = proven(fleet())
    job_row(hostile, args)
    job_row(hostile, '{"message": {}}', task="another")
    assert engine.generate(HELLO, PARAMS) == RIGHT
    wait_for(lambda: not rows(hostile, "SELECT 1 FROM procrastinate_jobs"))
    assert worker.ended_with is None


def test_jobs__in_ten_thousand_other_queues__are_not_what_a_node_looks_at(hostile, fleet, inside):
    inside()
    engine = proven(fleet())
    rows(
        hostile,
        "INSERT INTO procrastinate_jobs (queue_name, task_name) SELECT 'q' || n, %s FROM generate_series(1, 10000) n",
        TASK,
    )
    engine._look()
    assert engine.depth.waiting == 0
    assert engine.generate(HELLO, PARAMS) == RIGHT
    assert len(engine._board.waiting()) <= 10_000


def test_offers__with_names_as_long_as_books__are_not_read(hostile, board):
    statement = "INSERT INTO didyma_workers (worker, queue, together, shown, saturated) VALUES (%s, %s, 1, '', 0)"
    rows(hostile, statement, "w", "q" * 200_000)
    rows(hostile, statement, "w" * 2_000, QUEUE)
    board.beat("right", [Offer(QUEUE, 1, "shown"), Offer("x" * MOST_NAME, 1, "")], [])
    assert [offer.queue for offer in board.offers()] == [QUEUE, "x" * MOST_NAME]
    assert board.tracers(QUEUE) == []


def test_prove__control_characters_of_a_worker__are_escaped(hostile, board, fleet):
    board.beat("colourful", [Offer(QUEUE, 1, "\x1b[31mred\x07")], [])
    assert "\\x1b[31mred\\x07" in fleet().prove()


def test_jobs__taken_by_somebody_who_never_answers__go_on_once_not_renewed(hostile, fleet, inside, monkeypatch):
    """As long as it is renewed, the job's own limit bounds that: `test_job__longer_than_it_may__given_up`."""
    monkeypatch.setattr(boards, "LEASE_SECONDS", 1.0)
    engine = fleet()
    engine._board.beat("greedy", [Offer(QUEUE, 1, "")], [])
    engine.prove()
    future = asked(engine)
    wait_for(lambda: rows(hostile, "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo'"))
    rows(hostile, "UPDATE procrastinate_jobs SET status = 'doing'")
    rows(hostile, "INSERT INTO didyma_work (job, worker) SELECT id, 'greedy' FROM procrastinate_jobs")
    inside()
    assert future.result(20) == RIGHT


def test_replies__to_jobs_that_nobody_asked_for__are_not_collected(hostile, url, board):
    rows(
        hostile,
        "INSERT INTO didyma_work (job, worker, reply) SELECT n, 'w', '{}'::jsonb FROM generate_series(1, 100) n",
    )
    with pytest.raises(boards._Adopted):
        board._collect(7)
    rows(hostile, "UPDATE didyma_work SET beat = clock_timestamp() - make_interval(hours => 2)")
    board.sweep()
    assert rows(url, "SELECT 1 FROM didyma_work") == []


def test_functions__of_the_role_s_own__cannot_be_made_where_the_tables_are(hostile, url):
    """Else it could stand in for one that a node's statement calls. Postgres 15 allows it nobody by itself."""
    rows(url, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    prepare(url, [], ["hostile"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(hostile, "CREATE FUNCTION public.least(integer, integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'")


def test_garbage__from_a_worker_for_all_jobs__costs_two_tries_each(fleet, inside):
    class Garbage(FakeEngine):
        def generate(self, prompt, params, **options):
            return json  # not even a completion

    worker = inside(Garbage())
    engine = proven(fleet())
    for number in range(3):
        with pytest.raises(JobQuarantined):
            engine.generate([number], PARAMS)
    assert worker.ended_with is None


def lost_job(url, board):
    """A job that a worker took, who is gone."""
    job, _ = board._post(QUEUE, {}, 0, b"d" * 32)
    rows(url, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", job)
    rows(url, "INSERT INTO didyma_work (job, worker, beat) VALUES (%s, 'gone', '2000-01-01')", job)
    return job


def test_sweep__row_that_nobody_can_move__does_not_hold_up_the_jobs_of_lost_workers(hostile, url, board):
    """Two rows with one lock, of which one waits: the other cannot wait as well."""
    job_row(hostile, "{}")
    job_row(hostile, "{}")
    rows(hostile, "UPDATE procrastinate_jobs SET queueing_lock = 'x', status = 'doing'")
    rows(hostile, "UPDATE procrastinate_jobs SET status = 'todo' WHERE id = (SELECT max(id) FROM procrastinate_jobs)")
    rows(hostile, "INSERT INTO didyma_work (job, worker, beat) SELECT id, '', '2000-01-01' FROM procrastinate_jobs")
    job = lost_job(url, board)
    assert board.sweep() == [job]
    assert board.sweep() == []


def test_sweep__thousands_of_rows_of_somebody_s_making__what_is_asked_for_goes_first(hostile, url, board):
    rows(
        hostile,
        "INSERT INTO procrastinate_jobs (queue_name, task_name, status) SELECT 'q', %s, 'doing'"
        " FROM generate_series(1, 5000)",
        TASK,
    )
    rows(hostile, "INSERT INTO didyma_work (job, worker, beat) SELECT id, '', '2000-01-01' FROM procrastinate_jobs")
    job = lost_job(url, board)
    assert board.sweep() == [job]
    assert rows(url, "SELECT count(*) FROM procrastinate_jobs")[0][0] < 5000, "the rest is forgotten bit by bit"


def test_job__in_work_by_nobody_and_without_a_history__goes_on(hostile, url, board):
    job, _ = board._post(QUEUE, {}, 0, b"d" * 32)
    rows(hostile, "UPDATE procrastinate_jobs SET status = 'doing'")
    rows(hostile, "DELETE FROM procrastinate_events")
    assert board.sweep() == [job]


@pytest.mark.parametrize("beat", ["infinity", "2200-01-01"])
def test_signs_of_life__from_the_future__are_none(hostile, url, board, beat):
    """Else who is gone would seem to live for ever, or until a clock that was put back has caught up."""
    board.beat("gone", [Offer(QUEUE, 1, ""), Offer(boards.own_queue("gone"), 1, "")], [])
    assert board.offers(QUEUE)
    assert board.tracers(QUEUE) == ["gone"]
    job = lost_job(url, board)
    for table in ("didyma_work", "didyma_workers"):
        rows(hostile, f"UPDATE {table} SET beat = %s", beat)
    assert board.offers(QUEUE) == []
    assert board.tracers(QUEUE) == []
    assert board.sweep() == [job]
    assert rows(url, "SELECT 1 FROM didyma_workers") == []


def test_reply__that_waits_while_the_clock_is_put_back__is_kept(url, board):
    job, _ = board._post(QUEUE, {}, 0, b"d" * 32)
    board.take(job, "right")
    board.answer(job, {"result": 1})
    rows(url, "UPDATE didyma_work SET beat = clock_timestamp() + make_interval(hours => 1)")
    board.sweep()
    assert board._collect(job) == {"result": 1}


@pytest.mark.parametrize("time", ["-infinity", "0044-03-15 BC"])
def test_worker__job_due_before_any_year_that_python_has__lives(hostile, fleet, inside, time):
    worker = inside()
    engine = proven(fleet())
    job = job_row(hostile, "{}")
    rows(hostile, "UPDATE procrastinate_jobs SET status = 'todo', scheduled_at = %s WHERE id = %s", time, job)
    assert engine.generate(HELLO, PARAMS) == RIGHT
    wait_for(lambda: not rows(hostile, "SELECT 1 FROM procrastinate_jobs"))
    assert worker.ended_with is None
