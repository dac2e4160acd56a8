"""What a fleet must survive: machines that vanish, stop or forget, a database that goes away, jobs nobody wants."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from fleet.conftest import QUEUE, lose, proven, wait_for
from rig.fake_engine import FakeEngine

from oracle.engines.base import GUEST, Job, Params, TokenId, as_job
from oracle.errors import EngineCrashed, FleetUnavailable, JobCancelled, JobQuarantined, ProofFailed
from oracle.fleet.board import LEASE_SECONDS, TASK, UNTOLD_SECONDS, WIRE, Board, Offer
from oracle.fleet.engine import Depth, queue_of, rank
from oracle.fleet.tables import prepare
from oracle.fleet.work import FleetWorker

PARAMS = Params(max_tokens=16)
HELLO = [TokenId(byte) for byte in b"hello"]
SLOW = [TokenId(byte) for byte in b"slow"]


class Held(FakeEngine):
    """Computes when it is let, or never if nobody wants it any more."""

    def __init__(self):
        super().__init__()
        self.begun, self.let, self.left = threading.Semaphore(0), threading.Event(), threading.Event()
        self.order = []

    def generate(self, prompt, params, **options):
        from oracle.engines.base import the_job  # noqa: PLC0415

        self.order.append(bytes(prompt))
        self.begun.release()
        while not self.let.wait(0.02):
            if not the_job().wanted():
                self.left.set()
                raise JobCancelled("nobody wants it")
        return super().generate(prompt, params, **options)


def rows(url, statement, *values):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def asked(engine, prompt=HELLO, priority=0, wanted=lambda: True):
    """Asks in a thread; returns the future."""

    def ask():
        with as_job(Job(priority, wanted)):
            return engine.generate(prompt, PARAMS)

    threads = ThreadPoolExecutor(1)
    future = threads.submit(ask)
    threads.shutdown(wait=False)
    return future


# -- workers that go


def test_machine__lost_in_the_middle_of_a_job__another_does_it(machine, fleet, inside):
    """The job is neither lost nor refused: its worker went, and not because of it."""
    first = machine({"slow": "hang"})
    engine = proven(fleet())
    future = asked(engine, SLOW)
    wait_for(lambda: engine._board._rows("SELECT 1 FROM didyma_work"))
    lose(first)
    inside(FakeEngine())
    assert future.result(6 * LEASE_SECONDS) == FakeEngine().generate(SLOW, PARAMS)
    assert engine.restarts == 1


def test_job__forgotten_by_procrastinate_with_its_worker__given_to_another(url, board, fleet, inside):
    """procrastinate clears the worker of a job whose worker's row is pruned, and leaves the job in "doing" for ever."""
    job = stuck(url, board, worker=None)
    assert board.sweep(lease_seconds=0.0) == [job]
    worker = inside()
    wait_for(lambda: worker.worker.done == 1)
    assert "result" in board._collect(job)


def test_job__of_a_worker_that_lives_and_does_not_know_of_it__given_to_another(url, board):
    """A worker that took a job and lost the word of it renews no lease for it, however well it is."""
    (worker,) = rows(url, "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id")[0]
    job = stuck(url, board, worker)
    rows(url, "UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp()")
    assert board.sweep(lease_seconds=0.0) == [job]
    assert rows(url, "SELECT status::text FROM procrastinate_jobs WHERE id = %s", job) == [("todo",)]


def test_sweep__a_lease_that_is_renewed__leaves_the_job(url, board):
    job = stuck(url, board, None)
    assert board.take(job, "a")
    assert board.sweep(lease_seconds=5.0) == []
    assert board.beat("a", [], [job]) == set()


def test_sweep__second_worker_lost_over_a_job__refused_to_whoever_asks(url, board):
    job = stuck(url, board, None)
    assert board.sweep(lease_seconds=0.0) == [job]
    rows(url, "UPDATE procrastinate_jobs SET status = 'doing'")
    assert board.sweep(lease_seconds=0.0) == []
    assert board._collect(job)["error"] == "JobQuarantined"


def test_worker__that_comes_back_late__first_reply_stands(url, board):
    job = stuck(url, board, None)
    assert board.take(job, "late")
    assert board.take(job, "second")
    assert board.beat("late", [], [job]) == {job}, "its lease is another's"
    board.answer(job, {"result": 1})
    board.answer(job, {"result": 2})
    assert not board.take(job, "third"), "it is done"
    assert board._collect(job) == {"result": 1}


def test_worker__whose_engine_cannot_be_proven_again__ends(url, fleet, inside):
    class Broken(FakeEngine):
        def generate(self, prompt, params, **options):
            self.faults = {"known question": "wrong token"}
            raise EngineCrashed("it fell")

    worker = inside(Broken())
    engine = proven(fleet(limit_seconds=3))
    with pytest.raises((JobCancelled, JobQuarantined)):
        engine.generate(HELLO, PARAMS)
    worker.join()
    assert isinstance(worker.ended_with, ProofFailed)
    with pytest.raises(EngineCrashed, match="no worker of the fleet offers this model"):
        engine.prove()


def test_worker__told_to_stop__ends_its_job_first_and_takes_no_other(fleet, inside):
    held = Held()
    worker = inside(held)
    engine = proven(fleet())
    future = asked(engine)
    assert held.begun.acquire(timeout=10)
    threading.Timer(0.2, held.let.set).start()
    worker.stop()
    assert future.result(10) == FakeEngine().generate(HELLO, PARAMS)
    assert engine._board.offers(QUEUE) == []


def test_names__of_two_workers_on_one_machine__differ(url):
    assert FleetWorker(url, {}).name != FleetWorker(url, {}).name


# -- jobs


def test_job__nobody_wants_any_more__stopped_where_it_runs(fleet, inside):
    held, wanted = Held(), threading.Event()
    wanted.set()
    inside(held)
    engine = proven(fleet())
    future = asked(engine, wanted=wanted.is_set)
    assert held.begun.acquire(timeout=10)
    wanted.clear()
    with pytest.raises(JobCancelled, match="nobody wants it"):
        future.result(10)
    assert held.left.wait(10)


def test_job__longer_than_it_may__given_up(fleet, inside):
    inside(Held())
    with pytest.raises(JobCancelled, match="longer than it may"):
        proven(fleet(limit_seconds=0.5)).generate(HELLO, PARAMS)


def test_jobs__more_than_workers__most_urgent_first(fleet, inside):
    """Votes before own turns before watching, each by what is due first; a guest of the API after all of these."""
    held = Held()
    inside(held)
    engine = proven(fleet())
    due = 1_800_000_000
    first = asked(engine, [TokenId(48)])
    assert held.begun.acquire(timeout=10)
    waiting = []
    for place, priority in [(5, GUEST), (4, (2 << 40) + due), (3, (1 << 40) + due + 60), (2, (1 << 40) + due), (1, 0)]:
        waiting.append(asked(engine, [TokenId(48 + place)], priority))
        wait_for(lambda: engine._board.waiting().get(QUEUE) == len(waiting))
    held.let.set()
    for future in [first, *waiting]:
        future.result(20)
    assert held.order == [b"0", b"1", b"2", b"3", b"4", b"5"]


def test_depth__jobs_that_nobody_takes__are_counted_in_their_queue_alone(board, fleet, inside):
    other = queue_of(b"\1" * 32, None)
    inside(queue=other)
    engine, beside = fleet(), proven(fleet(other))
    for _ in range(3):
        board._post(QUEUE, {}, 0)
    engine._look()
    assert (engine.depth, beside.depth) == (Depth(waiting=3, workers=0), Depth(waiting=0, workers=1))


def test_jobs__of_two_models__each_goes_to_who_has_it(fleet, inside):
    other = queue_of(b"\1" * 32, None)
    one, two = inside(), inside(queue=other)
    first, second = proven(fleet()), proven(fleet(other))
    for _ in range(3):
        first.generate(HELLO, PARAMS)
    second.generate(HELLO, PARAMS)
    wait_for(lambda: (one.worker.done, two.worker.done) == (3, 1))


def test_rank__any_priority__in_its_order_and_within_32_bits():
    due = 1_800_000_000
    ordered = [0, (1 << 40) + 1, (1 << 40) + due, (1 << 40) + due + 8, (2 << 40) + due, (3 << 40), GUEST]
    ranks = [rank(priority) for priority in ordered]
    assert ranks == sorted(set(ranks), reverse=True)
    assert all(-(1 << 31) <= each <= 0 for each in ranks)


def test_queue__of_any_engine__a_name_that_postgres_can_listen_to():
    """Two panels with different tolerances have different engines, and so have two models."""
    names = {queue_of(model, tolerance) for model in (b"\0" * 32, b"\1" * 32) for tolerance in (None, 0, 1, 1 << 32)}
    assert len(names) == 8
    assert all(len(f"procrastinate_queue_v1#{name}") <= 63 for name in names)


# -- the database


def test_database__away_and_back__engine_says_so_and_serves_again(postgres, url, fleet, inside):
    worker = inside()
    engine = proven(fleet())
    postgres.stop()
    try:
        with pytest.raises(FleetUnavailable) as told:
            engine.generate(HELLO, PARAMS)
        engine._look()
        assert engine.trouble is not None
        worker.join()
        assert isinstance(worker.ended_with, FleetUnavailable), "a supervisor starts it again"
    finally:
        postgres.start()
    assert str(postgres.port) not in str(told.value)
    assert "didyma@" not in str(told.value)
    inside()
    proven(engine)
    assert engine.generate(HELLO, PARAMS) == FakeEngine().generate(HELLO, PARAMS)


def test_board__no_tables__says_which_command_makes_them(postgres):
    rows(postgres.url, "DROP SCHEMA public CASCADE")
    rows(postgres.url, "CREATE SCHEMA public")
    with Board(postgres.url) as board, pytest.raises(FleetUnavailable, match="didyma fleet prepare"):
        board.offers(QUEUE)


def test_prepare__twice__keeps_what_is_there(url, board):
    board.beat("a", [Offer(QUEUE, 2, "shown")], [])
    prepare(url)
    assert board.offers(QUEUE) == [Offer(QUEUE, 2, "shown")]


def test_job__that_ends_without_a_word__is_tried_once_more_and_not_waited_for(fleet, inside):
    """As when a worker has no memory left for it."""

    class Full(FakeEngine):
        def generate(self, prompt, params, **options):
            raise MemoryError

    worker = inside(Full())
    engine = proven(fleet())
    since = time.monotonic()
    with pytest.raises(JobQuarantined, match="ended without a reply"):
        engine.generate(HELLO, PARAMS)
    assert time.monotonic() - since < 3 * UNTOLD_SECONDS
    assert worker.ended_with is None


def test_job__that_fails_in_a_worker__is_not_quoted_in_its_log(fleet, inside, caplog):
    class Full(FakeEngine):
        def generate(self, prompt, params, **options):
            raise MemoryError

    inside(Full())
    with caplog.at_level("WARNING"), pytest.raises((JobQuarantined, JobCancelled)):
        proven(fleet(limit_seconds=5)).generate(HELLO, PARAMS)
    told = [record for record in caplog.records if record.name == "procrastinate.worker"]
    assert any(record.levelname == "ERROR" and record.getMessage().startswith("Job didyma.compute") for record in told)
    assert not [record for record in caplog.records if str(HELLO)[1:-1] in str(record.__dict__)]


def test_job__given_up_while_the_database_was_away__is_withdrawn_once_it_is_back(url, fleet, inside, monkeypatch):
    """Else each moment without a database would leave as many jobs as were in hand to be computed for nobody."""
    held = Held()
    inside(held)
    engine = proven(fleet())
    collect = engine._board._collect

    def away(*_args):
        raise FleetUnavailable("away")

    monkeypatch.setattr(engine._board, "_collect", away)
    with pytest.raises(FleetUnavailable):
        engine.generate(HELLO, PARAMS)
    monkeypatch.setattr(engine._board, "_collect", collect)
    wait_for(lambda: not rows(url, "SELECT 1 FROM didyma_asked"))
    assert held.left.wait(10)
    held.let.set()
    assert engine.generate(HELLO, PARAMS) == FakeEngine().generate(HELLO, PARAMS)


def test_database__brought_back_from_a_copy__job_of_the_same_number_is_not_taken_for_an_older(url, board, monkeypatch):
    """Its sequences give the numbers of jobs that are waited for to new ones."""
    ours, answered, looked, collect = threading.current_thread(), threading.Event(), threading.Event(), board._collect

    def in_turn(job, *rest):
        """The older job's asker looks first, as soon as there is a reply."""
        if threading.current_thread() is not ours:
            assert answered.wait(20)
            try:
                return collect(job, *rest)
            finally:
                looked.set()
        assert looked.wait(20)
        return collect(job, *rest)

    def ask(digest, wanted=lambda: True):
        return board.ask(QUEUE, {}, 0, 20.0, wanted, digest)

    monkeypatch.setattr(board, "_collect", in_turn)
    is_wanted = threading.Event()
    is_wanted.set()
    with ThreadPoolExecutor(1) as threads:
        older = threads.submit(ask, b"a" * 32, is_wanted.is_set)
        wait_for(lambda: board._waited_for)
        (job,) = board._waited_for
        for table in ("procrastinate_jobs", "didyma_asked"):
            rows(url, f"DELETE FROM {table}")
        rows(url, "SELECT setval('procrastinate_jobs_id_seq', %s, false)", job)

        def answer():
            wait_for(lambda: rows(url, "SELECT 1 FROM didyma_asked WHERE digest = %s", b"b" * 32))
            assert board.take(job, "right")
            board.answer(job, {"result": "newer"})
            answered.set()

        answering = threading.Thread(target=answer)
        answering.start()
        assert ask(b"b" * 32) == {"result": "newer"}
        answering.join()
        is_wanted.clear()
        assert older.result(20) is None


def stuck(url, board, worker):
    """A job that procrastinate has given to `worker`, who does nothing about it; returns its number."""
    message = {"op": "tokenize", "prompt": b"hello".hex(), "priority": 0, "anew": False, "wire": WIRE}
    job, _ = board._post(QUEUE, message, 0)
    rows(url, "UPDATE procrastinate_jobs SET status = 'doing', worker_id = %s WHERE id = %s", worker, job)
    assert rows(url, "SELECT task_name FROM procrastinate_jobs WHERE id = %s", job) == [(TASK,)]
    return job
