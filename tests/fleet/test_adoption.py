"""Whoever asks for what nobody alive asks for any more takes the job over, computed, in work or waiting."""

import json
import time

import psycopg
import pytest
from fleet.conftest import QUEUE, proven, wait_for
from fleet.test_fleet import HELLO, PARAMS, Held, asked, rows
from rig.fake_engine import FakeEngine

from oracle.engines.base import Job, as_job
from oracle.engines.calls import digest_of
from oracle.engines.worker_wire import params_to_wire
from oracle.fleet.board import LEASE_SECONDS, WIRE, Board
from oracle.fleet.engine import FleetEngine

RIGHT = FakeEngine().generate(HELLO, PARAMS)
MESSAGE = {"op": "generate", "prompt": HELLO, "params": params_to_wire(PARAMS)}


def dead(url, message=MESSAGE):
    """A process that asked, and died; returns its job."""
    board = Board(url).open()
    job, _ = board._post(QUEUE, message | {"priority": 0, "anew": False, "wire": WIRE}, 0, digest_of(message))
    wait_for(lambda: rows(url, "SELECT 1 FROM didyma_askers WHERE asker = %s AND session IS NOT NULL", board._name))
    board.close()
    is_gone(url, board)
    return job


def is_gone(url, board):
    living = "SELECT 1 FROM didyma_askers JOIN pg_stat_activity ON pid = session WHERE asker = %s"
    wait_for(lambda: not rows(url, living, board._name))


def jobs(url):
    return [job for (job,) in rows(url, "SELECT id FROM procrastinate_jobs ORDER BY id")]


def test_job_in_work__its_asker_dies__whoever_asks_next_gets_what_is_computed(url, fleet, inside):
    held = Held()
    job = dead(url)
    worker = inside(held)
    assert held.begun.acquire(timeout=10)
    engine = proven(fleet())
    future = asked(engine)
    wait_for(lambda: rows(url, "SELECT asker FROM didyma_asked") == [(engine._board._name,)])
    assert jobs(url) == [job]
    held.let.set()
    assert future.result(10) == RIGHT
    assert held.order == [bytes(HELLO)]
    wait_for(lambda: worker.worker.done == 1)
    assert rows(url, "SELECT 1 FROM didyma_asked") == rows(url, "SELECT 1 FROM didyma_work") == []


def test_job_done__its_asker_dies__whoever_asks_next_needs_no_worker(url, fleet, inside):
    worker = inside()
    engine = proven(fleet())
    dead(url)
    wait_for(lambda: worker.worker.done == 1)
    worker.stop()
    assert engine.generate(HELLO, PARAMS) == RIGHT


def test_job_waiting__its_asker_dies__is_done_once(url, fleet, inside):
    job, engine = dead(url), fleet()
    future = asked(engine)
    wait_for(lambda: rows(url, "SELECT asker FROM didyma_asked") == [(engine._board._name,)])
    assert jobs(url) == [job]
    worker = inside()
    assert future.result(10) == RIGHT
    wait_for(lambda: worker.worker.done == 1)


def test_job_waiting__sign_of_its_asker_s_life_lies_ahead__is_taken_all_the_same(url, fleet, inside):
    job, engine = dead(url), fleet()
    rows(url, "UPDATE didyma_askers SET session = NULL, beat = clock_timestamp() + interval '1 hour'")
    future = asked(engine)
    wait_for(lambda: rows(url, "SELECT asker FROM didyma_asked") == [(engine._board._name,)])
    assert jobs(url) == [job]
    inside()
    assert future.result(10) == RIGHT


def test_job__its_asker_lives__is_not_taken(url, fleet, inside):
    held, engine = Held(), fleet()
    inside(held)
    proven(engine)
    first = asked(engine)
    assert held.begun.acquire(timeout=10)
    with Board(url) as other:
        beside = FleetEngine(other, QUEUE, 20.0)
        second = asked(proven(beside))
        wait_for(lambda: len(jobs(url)) == 2)
        held.let.set()
        assert first.result(10) == second.result(10) == RIGHT
        beside.close()


def test_job__its_asker_is_frozen__is_taken_and_the_asker_asks_anew_when_it_wakes(url, fleet, inside, monkeypatch):
    held, engine = Held(), fleet()
    worker = inside(held)
    frozen = asked(proven(engine))
    assert held.begun.acquire(timeout=10)
    monkeypatch.setattr(engine._board, "_said", time.monotonic() + 3600)  # says nothing more
    old = "UPDATE didyma_askers SET beat = beat - make_interval(secs => %s)"
    rows(url, old, LEASE_SECONDS + 1)
    with Board(url) as other:
        heir = FleetEngine(other, QUEUE, 20.0)
        taken = asked(heir)
        wait_for(lambda: rows(url, "SELECT 1 FROM didyma_asked WHERE asker = %s", other._name))
        wait_for(lambda: rows(url, "SELECT 1 FROM didyma_asked WHERE asker = %s", engine._board._name))
        held.let.set()
        assert taken.result(10) == frozen.result(10) == RIGHT
        heir.close()
    wait_for(lambda: worker.worker.done == 2)


def test_job__asked_for_anew__is_computed_anew(url, fleet, inside):
    dead(url)
    worker = inside()
    engine = proven(fleet())
    wait_for(lambda: worker.worker.done == 1)
    with as_job(Job(anew=True)):
        assert engine.generate(HELLO, PARAMS) == RIGHT
    wait_for(lambda: worker.worker.done == 2)


def test_job__of_another_question_or_queue__is_not_taken(url, fleet, inside):
    dead(url, MESSAGE | {"prompt": [1]})
    held = Held()
    worker = inside(held)
    held.let.set()
    engine = proven(fleet())
    assert engine.generate(HELLO, PARAMS) == RIGHT
    wait_for(lambda: worker.worker.done == 2)


def test_reply__taken_over_and_of_another_form__is_a_crash_and_the_job_is_done_again(url, fleet, inside):
    """A reply that was there already is judged as any other."""
    job = dead(url)
    reply = json.dumps({"result": {"tokens": [-1]}})
    rows(url, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", job)
    rows(url, "INSERT INTO didyma_work (job, worker, reply) VALUES (%s, 'liar', %s::jsonb)", job, reply)
    inside()
    engine = proven(fleet())
    assert engine.generate(HELLO, PARAMS) == RIGHT
    assert engine.restarts == 1


def test_engine__killed_with_its_daemon__leaves_its_jobs_and_one_that_is_closed_does_not(url, fleet, inside):
    held, leaving, closing = Held(), fleet(), fleet()
    inside(held)
    proven(leaving), proven(closing)
    left = asked(leaving)
    assert held.begun.acquire(timeout=10)
    given_up = asked(closing, [*HELLO, *HELLO])
    wait_for(lambda: len(jobs(url)) == 2)
    closing.close()
    assert given_up.exception(10)
    leaving.kill()
    assert left.exception(10)
    assert len(jobs(url)) == len(rows(url, "SELECT 1 FROM didyma_asked")) == 1
    held.let.set()


def test_job__that_nobody_asks_for_any_more__is_withdrawn_after_a_while(url, board):
    dead(url)
    rows(url, "UPDATE didyma_askers SET beat = beat - make_interval(secs => 10) WHERE asker != %s", board._name)
    board.bury(60)
    assert len(jobs(url)) == 1
    board.bury(5)
    assert jobs(url) == rows(url, "SELECT 1 FROM didyma_asked") == []
    assert rows(url, "SELECT count(*) FROM didyma_askers") == [(1,)]


def test_job__whose_asker_s_sign_of_life_lies_ahead__is_withdrawn_as_well(url, board):
    dead(url)
    rows(url, "UPDATE didyma_askers SET beat = beat + interval '1 hour' WHERE asker != %s", board._name)
    board.bury(60)
    assert jobs(url) == rows(url, "SELECT 1 FROM didyma_asked") == []
    assert rows(url, "SELECT asker FROM didyma_askers") == [(board._name,)]


def test_takeover__by_two_at_once__each_job_goes_to_one_of_them(url, fleet, inside):
    messages = [MESSAGE | {"prompt": [1, number]} for number in range(20)]
    board = Board(url).open()
    for message in messages:
        board._post(QUEUE, message | {"priority": 0, "anew": False, "wire": WIRE}, 0, digest_of(message))
    board.close()
    rows(url, "UPDATE didyma_askers SET beat = beat - make_interval(secs => 10)")
    worker = inside()
    with Board(url) as one, Board(url) as other:
        engines = [FleetEngine(each, QUEUE, 20.0) for each in (one, other)]
        futures = [asked(engine, message["prompt"]) for message in messages for engine in engines]
        assert all(future.result(20) for future in futures)
        for engine in engines:
            engine.close()
    wait_for(lambda: worker.worker.done == 40)


def test_roles__worker__can_take_over_no_job(url):
    rows(url, "DROP ROLE IF EXISTS heir")
    rows(url, "CREATE ROLE heir LOGIN")
    from oracle.fleet.tables import prepare  # noqa: PLC0415

    prepare(url, [], ["heir"])
    try:
        for statement in ("UPDATE didyma_asked SET asker = ''", "DELETE FROM didyma_askers"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                rows(psycopg.conninfo.make_conninfo(url, user="heir"), statement)
    finally:
        rows(url, "DROP OWNED BY heir")
        rows(url, "DROP ROLE heir")
