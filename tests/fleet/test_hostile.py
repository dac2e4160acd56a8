"""A database or a worker that lies, breaks off or is too full: a node takes no part of it for an answer."""

import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from fleet.conftest import QUEUE, proven, wait_for
from psycopg.types.json import Jsonb
from rig.fake_engine import FakeEngine
from rig.postgres import binaries

from oracle.engines.base import Params, TokenId
from oracle.errors import BadSettings, EngineCrashed, FleetUnavailable, JobQuarantined
from oracle.fleet import session
from oracle.fleet.board import MOST_SHOWN, MOST_TOGETHER, WIRE, Board, Offer
from oracle.fleet.engine import version_of
from oracle.fleet.leader import Leader
from oracle.fleet.tables import prepare

ROOT = Path(__file__).resolve().parents[2]
PARAMS = Params(max_tokens=16)
HELLO = [TokenId(byte) for byte in b"hello"]
RIGHT = FakeEngine().generate(HELLO, PARAMS)
TOKENS = list(RIGHT.tokens)
"""Of the right answer."""


def rows(url, statement, *values):
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def liar(url, board):
    """Answers every job with what it is given, as JSON text; returns how often."""
    ends, done = threading.Event(), []

    def answer(text):
        while not ends.wait(0.02):
            for (job,) in rows(url, "SELECT id FROM procrastinate_jobs WHERE status = 'todo'"):
                rows(url, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = %s", job)
                done.append(job)
                rows(url, "INSERT INTO didyma_work (job, worker, reply) VALUES (%s, 'liar', %s::jsonb)", job, text)
                rows(url, f"NOTIFY didyma_replies, '{job}'")

    threads = []

    def start(text):
        board.beat("liar", [Offer(QUEUE, 1, "nothing")], [])
        threads.append(threading.Thread(target=answer, args=(text,)))
        threads[-1].start()
        return done

    yield start
    ends.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize(
    "reply",
    [
        None,
        7,
        [],
        {},
        {"result": None},
        {"result": {"tokens": [], "text": "", "root": "00" * 32}},
        {"result": {"tokens": [-1], "text": "", "root": "00" * 32}},
        {"result": {"tokens": [1 << 40], "text": "", "root": "00" * 32}},
        {"result": {"tokens": TOKENS * 9, "text": "", "root": "00" * 32}},
        {"result": {"tokens": TOKENS, "text": "zz", "root": "00" * 32}},
        {"result": {"tokens": TOKENS, "text": "", "root": ""}},
        {"result": "x" * (17 << 20)},
        {"error": "Fatal", "message": "stop"},
        {"error": ["WrongChain"], "message": {}},
    ],
)
def test_reply__of_another_form__is_a_crash_and_the_job_is_given_up_after_two(liar, fleet, reply):
    done = liar(json.dumps(reply))
    with pytest.raises(JobQuarantined, match="crashed two workers"):
        proven(fleet()).generate(HELLO, PARAMS)
    assert len(done) == 2


def test_reply__nested_without_end__is_a_crash(liar, fleet):
    liar("[" * 5000 + "]" * 5000)
    with pytest.raises(JobQuarantined):
        proven(fleet()).generate(HELLO, PARAMS)


def test_notice__of_somebody_else__wakes_nobody_and_ends_nothing(url, fleet, inside):
    inside()
    engine = proven(fleet())
    for text in ("", "x", "-1", "9" * 100):
        rows(url, f"NOTIFY didyma_replies, '{text}'")
    assert engine.generate(HELLO, PARAMS) == RIGHT
    assert engine._board._listener.is_alive()


def test_offer__boastful__is_believed_within_bounds(url, board):
    statement = "INSERT INTO didyma_workers (worker, queue, together, shown, saturated) VALUES (%s, %s, %s, %s, %s)"
    rows(url, statement, "boaster", QUEUE, 2**31 - 1, "x" * 100_000, -5)
    rows(url, statement, "shy", QUEUE, -(2**31), "", 0)
    assert board.offers(QUEUE) == [Offer(QUEUE, MOST_TOGETHER, "x" * MOST_SHOWN, 0), Offer(QUEUE, 0, "", 0)]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"message": 7},
        {"message": {}},
        {"message": {"wire": WIRE + 1, "op": "tokenize", "prompt": "00", "priority": 0, "anew": False}},
        {"message": {"wire": WIRE, "op": "steal", "priority": 0, "anew": False}},
        {"message": {"wire": WIRE, "op": "tokenize", "prompt": "zz", "priority": 0, "anew": False}},
        {"message": {"wire": WIRE, "op": "tokenize", "prompt": "00", "priority": [], "anew": False}},
        {"message": {"wire": WIRE, "op": "generate", "prompt": "00", "params": {}, "priority": 0, "anew": False}},
        {
            "message": {"wire": WIRE, "op": "tokenize", "prompt": "00", "priority": 0, "anew": 0},
            "more": 1,
            "context": 7,
        },
    ],
    ids=["none", "number", "empty", "version", "operation", "bytes", "priority", "parameters", "more"],
)
def test_worker__job_that_is_none__is_refused_and_the_next_is_done(url, fleet, inside, arguments):
    engine = fleet()
    job, _ = engine._board._post(QUEUE, {}, 0)
    rows(url, "UPDATE procrastinate_jobs SET args = %s WHERE id = %s", Jsonb(arguments), job)
    worker = inside()
    deadline = time.monotonic() + 10
    while (reply := engine._board._collect(job)) is None:
        assert time.monotonic() < deadline, "nobody refuses it"
        time.sleep(0.02)
    assert "result" in reply if "more" in arguments else reply["error"] == "BadMessage"
    assert proven(engine).generate(HELLO, PARAMS) == RIGHT
    assert worker.ended_with is None


def test_node__workers_of_another_version__are_named(url, fleet, inside):
    old = QUEUE.replace(f"{WIRE}-", f"{WIRE + 1}-", 1)
    inside(queue=old)
    engine = fleet()
    deadline = time.monotonic() + 10
    while not engine._board.offers(old):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    with pytest.raises(EngineCrashed, match=f"speak version {WIRE + 1} of the messages, and this node {WIRE}"):
        engine.prove()


def test_upgrade__new_workers_and_a_new_node_beside_the_old__each_meets_its_own_and_no_job_is_lost(url, fleet, inside):
    """As the operators' page has it: new workers, then the new node, then the old workers end."""
    old_worker, old_node = inside(FakeEngine({"slow": "slow"})), fleet()
    proven(old_node)
    new = QUEUE.replace(f"{WIRE}-", f"{WIRE + 1}-", 1)
    new_worker, new_node = inside(FakeEngine({"slow": "slow"}), new), fleet(new)
    proven(new_node)
    slow = [TokenId(byte) for byte in b"slow"]
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(node.generate, slow, PARAMS) for node in (old_node, new_node)]
        assert [job.result(20).text for job in running] == [FakeEngine().generate(slow, PARAMS).text] * 2
    wait_for(lambda: (old_worker.worker.done, new_worker.worker.done) == (1, 1))
    old_node.close()
    old_worker.stop()
    assert new_node.generate(HELLO, PARAMS) == RIGHT
    wait_for(lambda: new_worker.worker.done == 2)


def test_version_of__queue_of_the_same_engine__is_its_first_word():
    assert version_of("12-game-00aa", "1-game-00aab") == "12"
    assert version_of("1-game-00aa", "1-game-00aa") == version_of("2-game-00bb", "1-game-00aa") == ""
    assert version_of("nonsense", "1-game-00aa") == version_of("", "1-game-00aa") == ""


# -- a database without room, without connections, without a word


def test_disk__full_under_the_database__jobs_wait_and_nothing_is_signed(url, fleet, inside):
    """As Postgres says it: SQLSTATE 53100."""
    from fleet.test_leader import KEY, signed  # noqa: PLC0415

    inside()
    engine = proven(fleet())
    leader = Leader(url, [KEY])
    leader.open()
    full = "CREATE FUNCTION full_disk() RETURNS trigger AS $$ BEGIN RAISE 'no space' USING ERRCODE = '53100'; END $$"
    rows(url, full + " LANGUAGE plpgsql")
    for table in ("procrastinate_jobs", "didyma_signed"):
        rows(url, f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")
    with pytest.raises(FleetUnavailable, match="SQLSTATE 53100"):
        engine.generate(HELLO, PARAMS)
    while leader.epoch is None:
        time.sleep(0.02)
    with pytest.raises(FleetUnavailable, match="SQLSTATE 53100"):
        leader.record(leader.epoch, signed())
    leader.close()
    for table in ("procrastinate_jobs", "didyma_signed"):
        rows(url, f"DROP TRIGGER full_disk ON {table}")
    assert engine.generate(HELLO, PARAMS) == RIGHT


def test_database__that_stands_still__is_given_up_in_time(url, monkeypatch):
    """Its machine answers, and it does not."""
    monkeypatch.setattr(session, "STATEMENT_SECONDS", 0.3)
    with Board(url) as board:
        assert board.offers() == []
        with pytest.raises(FleetUnavailable):
            board._rows("SELECT pg_sleep(60)")
        assert board.offers() == [], "the next session is another"


@pytest.fixture
def roles(url):
    names = {"node": "a node", "worker": 'work"er', "few": "few"}
    for name in names.values():
        quoted = name.replace('"', '""')
        rows(url, f'DROP ROLE IF EXISTS "{quoted}"')
        rows(url, f'CREATE ROLE "{quoted}" LOGIN {"CONNECTION LIMIT 1" if name == "few" else ""}')
    prepare(url, [names["node"], names["few"]], [names["worker"]])
    yield {kind: psycopg.conninfo.make_conninfo(url, user=name) for kind, name in names.items()}
    for name in names.values():
        quoted = name.replace('"', '""')
        rows(url, f'DROP OWNED BY "{quoted}"')
        rows(url, f'DROP ROLE "{quoted}"')


def test_connections__none_left__is_said_and_the_leader_keeps_its_own(roles):
    from fleet.test_leader import KEY, wait_for  # noqa: PLC0415

    leader = Leader(roles["few"], [KEY])
    leader.open()
    wait_for(lambda: leader.epoch == 1)
    board = Board(roles["few"])
    board._pool.timeout = 0.3
    with board, pytest.raises(FleetUnavailable):
        board.offers()
    assert leader.epoch == 1
    leader.close()


def test_roles__of_our_compose_file__are_made_by_its_script(url, tmp_path):
    """With passwords that no shell and no SQL takes apart."""
    for role in ("node", "worker"):
        rows(url, f"DROP ROLE IF EXISTS didyma_{role}")
        (tmp_path / f"fleet_{role}_password").write_text('it\'s $HOME; \\ "x"')
    script = (ROOT / "operations/postgres/roles.sh").read_text().replace("/run/secrets", str(tmp_path))
    told = psycopg.conninfo.conninfo_to_dict(url)
    server = {"PGHOST": told["host"], "PGPORT": told["port"], "PATH": f"{binaries()}:{os.environ['PATH']}"}
    environment = server | {"POSTGRES_USER": told["user"], "POSTGRES_DB": told["dbname"]}
    subprocess.run(["sh", "-c", script], check=True, env=environment)
    prepare(url, ["didyma_node"], ["didyma_worker"])
    with Board(psycopg.conninfo.make_conninfo(url, user="didyma_worker")) as board:
        assert board.offers() == []
    for role in ("node", "worker"):
        rows(url, f"DROP OWNED BY didyma_{role}")
        rows(url, f"DROP ROLE didyma_{role}")
    rows(url, "GRANT ALL ON DATABASE postgres TO PUBLIC")


def test_prepare__role_that_is_not_there__is_named(url):
    with pytest.raises(BadSettings, match="no role 'nobody'"):
        prepare(url, ["nobody"])


def test_roles__node_and_worker__do_their_work_and_no_more(roles, url, inside):
    from fleet.conftest import Inside  # noqa: PLC0415
    from fleet.test_leader import KEY, signed, wait_for  # noqa: PLC0415

    from oracle.fleet.engine import FleetEngine  # noqa: PLC0415

    worker = Inside(roles["worker"], FakeEngine())
    with Board(roles["node"]) as board:
        engine = proven(FleetEngine(board, QUEUE, 20.0))
        assert engine.generate(HELLO, PARAMS) == RIGHT
        board.sweep()
        engine.close()
    worker.stop()
    leader = Leader(roles["node"], [KEY])
    leader.open()
    wait_for(lambda: leader.epoch == 1)
    leader.record(1, signed())
    leader.close()
    refused = {
        "node": ["UPDATE didyma_signed SET nonce = 1", "DELETE FROM didyma_signed", "DROP TABLE didyma_work"],
        "worker": ["SELECT 1 FROM didyma_signed", "SELECT 1 FROM didyma_leader", "DELETE FROM didyma_signed"],
    }
    for kind, statements in refused.items():
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                rows(roles[kind], statement)
    assert len(rows(url, "SELECT 1 FROM didyma_signed")) == 1
