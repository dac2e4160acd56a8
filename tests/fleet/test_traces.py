"""Workers of a fleet keep what passes compute: a node asks for pieces of it, for its moves in dispute games."""

import threading
import time

import pytest
from exact.random_model import Shape, write
from fleet.conftest import QUEUE, Inside, proven, wait_for
from rig.fake_engine import FakeEngine

from oracle.disputes.chunks import Far, Shelf
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer
from oracle.engines.base import Job, Params, Traces, as_job
from oracle.errors import BadModelFile, EngineCrashed, JobCancelled
from oracle.fleet import work
from oracle.fleet.board import LEASE_SECONDS, WIRE, own_queue
from oracle.fleet.work import FleetWorker
from oracle.merkle.tokens import Tokens
from oracle.models.download import file_sha256
from oracle.models.files import ModelFile

TOKENS = Tokens((1, 9, 4, 11), (20, 21, 22), (0, 1, 2))
QUESTION = {"tokens": list(TOKENS.ids[:-1]), "of": "steps", "positions": 4}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", Shape(layers=1))


@pytest.fixture
def tracing(url):
    """Starts workers that trace."""
    workers = []

    def start(answer):
        workers.append(Inside(url, FakeEngine(), traces={QUEUE: answer}))
        return workers[-1]

    yield start
    for worker in workers:
        if worker._thread.is_alive():
            worker.stop()


def tracers(engine, count):
    wait_for(lambda: len(engine.tracers(b"")) == count)
    return engine.tracers(b"")


def test_moves__of_passes_that_two_workers_trace__as_the_node_s_own(tracing, fleet, path):
    for _ in range(2):
        tracing(Shelf(path).answer)
    engine, model = proven(fleet(), 2), ModelInputs(path)
    assert isinstance(engine, Traces)
    tracers(engine, 2)
    far = Far(model, TOKENS.ids[:-1], engine, prefill_seconds=20, limit_seconds=20)
    far.prefill()
    theirs, own = far.over(TOKENS, 5), Pass(model, Tracer(path), TOKENS, 5)
    assert theirs.roots == own.roots
    assert theirs.step(1).roots == own.step(1).roots
    assert theirs.step(1).leaf("down", 3) == own.step(1).leaf("down", 3)
    assert theirs.step(1).tree("down").opening(2, 0, 2) == own.step(1).tree("down").opening(2, 0, 2)


def test_tracers__of_two_answers__in_an_order_of_each_that_all_processes_share(tracing, fleet, path, board):
    for _ in range(3):
        tracing(Shelf(path).answer)
    one, other = fleet(), fleet()
    tracers(one, 3)
    orders = {tuple(one.tracers(bytes([answer]))) for answer in range(20)}
    assert len(orders) > 1
    assert all(other.tracers(bytes([answer])) == one.tracers(bytes([answer])) for answer in range(20))


def test_tracers__worker_that_does_not_trace_or_has_gone__is_none(tracing, fleet, inside, path):
    inside()
    first = tracing(Shelf(path).answer)
    engine = proven(fleet(), 2)
    assert tracers(engine, 1) == [first.worker.name]
    first.stop()
    assert engine.tracers(b"") == []


def test_question__that_is_none__refused_and_the_next_answered(tracing, fleet, path):
    tracing(Shelf(path).answer)
    engine = fleet()
    (worker,) = tracers(engine, 1)
    for question in (None, {}, [], QUESTION | {"positions": 99}, QUESTION | {"of": "all"}):
        with pytest.raises(EngineCrashed):
            engine.traced(worker, question, 10)
    assert len(engine.traced(worker, QUESTION, 10)) == 3


def test_worker__that_withholds__is_given_up_in_time_and_does_its_other_work(tracing, fleet):
    begun, let = threading.Event(), threading.Event()

    def withheld(_question):
        begun.set()
        let.wait()

    tracing(withheld)
    engine = proven(fleet())
    (worker,) = tracers(engine, 1)
    engine.generate([1], Params(max_tokens=4))  # so it hears of jobs
    since = time.monotonic()
    with pytest.raises(JobCancelled, match="longer than it may"):
        engine.traced(worker, QUESTION, 3.0)
    assert time.monotonic() - since < 12
    assert begun.is_set()
    assert engine.generate([1], Params(max_tokens=4)) == FakeEngine().generate([1], Params(max_tokens=4))
    let.set()


def test_worker__that_vanishes_over_a_question__is_not_waited_for(tracing, fleet, board):
    worker = tracing(lambda _question: None)
    engine = fleet()
    tracers(engine, 1)
    worker.stop()
    with pytest.raises(JobCancelled):
        engine.traced(worker.worker.name, QUESTION, 600)
    assert board.waiting() == {}


def test_own_queue__of_a_worker__is_a_name_that_postgres_does_not_cut(url):
    from oracle.fleet.wakes import SLOTS, channel  # noqa: PLC0415

    own = own_queue(FleetWorker(url, {}).name)
    assert own.startswith(f"{WIRE}-")
    assert len(channel(own, SLOTS - 1)) < 64
    assert len(f"procrastinate_queue_v1#{own}") <= 63


class Withheld:
    """Answers no question before it is let."""

    def __init__(self):
        self.begun, self.let = threading.Semaphore(0), threading.Event()

    def __call__(self, _question):
        self.begun.release()
        self.let.wait()


def test_worker__questions_given_up_one_after_the_other__lives_and_does_its_other_work(tracing, fleet, monkeypatch):
    """Each is computed to its end where nobody looks whether it is wanted; none may hold what says that it lives."""
    monkeypatch.setattr(work, "GIVE_UP_SECONDS", 0.2)
    withheld = Withheld()
    worker = tracing(withheld)
    engine = proven(fleet())
    (name,) = tracers(engine, 1)
    try:
        for _ in range(6):
            with pytest.raises(JobCancelled, match="longer than it may"):
                engine.traced(name, QUESTION, 1.0)
            wait_for(lambda: not worker.worker._in_hand)
        time.sleep(LEASE_SECONDS + 1)
        assert engine.tracers(b"") == [name]
        assert engine.generate([1], Params(max_tokens=4)) == FakeEngine().generate([1], Params(max_tokens=4))
    finally:
        withheld.let.set()


def test_shelf__nobody_wants_the_answer_any_more__stops_computing(path):
    shelf, told = Shelf(path), []
    wanted = iter([True, False])
    with as_job(Job(wanted=lambda: next(wanted), told=lambda *what: told.append(what))), pytest.raises(JobCancelled):
        shelf.answer(QUESTION)
    assert [what for what, _, _ in told] == ["prefill"]
    assert len(shelf.answer(QUESTION)) == 3


def test_shelf__file_is_another_since_it_was_compared__refuses(tmp_path):
    """Two workers that share a disk would show the same wrong roots."""
    path = write(tmp_path / "model.gguf", Shape(layers=1))
    file = ModelFile(path, file_sha256(path), path.stat().st_size)
    shelf = Shelf(path, verify=file.verify)
    right = shelf.answer(QUESTION)
    write(path, Shape(layers=1), seed=1)
    with pytest.raises(BadModelFile):
        shelf.answer(QUESTION)
    write(path, Shape(layers=1))
    assert shelf.answer(QUESTION) == right
