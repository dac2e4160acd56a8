import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from rig.fake_engine import FakeEngine
from rig.postgres import Postgres, binaries

from oracle.fleet.board import Board
from oracle.fleet.engine import FleetEngine, queue_of
from oracle.fleet.tables import prepare
from oracle.fleet.work import FleetWorker

TESTS = Path(__file__).resolve().parent.parent
QUEUE = queue_of(bytes(32), None)


@pytest.fixture(scope="session")
def postgres():
    if binaries() is None:
        pytest.skip("Postgres is not installed: `apt-get install postgresql`")
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def url(postgres):
    """An empty fleet."""
    import psycopg  # noqa: PLC0415

    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    prepare(postgres.url)
    return postgres.url


@pytest.fixture
def board(url):
    with Board(url) as board:
        yield board


@pytest.fixture
def fleet(board):
    """Makes an engine of the fleet whose workers the test starts."""
    engines = []

    def make(queue=QUEUE, limit_seconds=20.0):
        engines.append(FleetEngine(board, queue, limit_seconds))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


@pytest.fixture
def machine(url):
    """Starts a worker as a process of its own, as on a machine of its own; returns the process."""
    processes = []

    def start(faults=None, queue=QUEUE):
        command = [sys.executable, "-m", "rig.fleet_worker", url, queue, json.dumps(faults or {})]
        processes.append(subprocess.Popen(command, cwd=TESTS, start_new_session=True))
        return processes[-1]

    yield start
    for process in processes:
        lose(process)


def lose(process):
    """Takes a machine away, with all that runs on it, stopped or not."""
    children = subprocess.run(["pgrep", "-P", str(process.pid)], check=False, capture_output=True).stdout
    for child in map(int, children.split()):  # its engine has a session of its own
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    process.kill()
    process.wait()


class Inside:
    """A worker in a thread of this process, whose engine a test can look at."""

    def __init__(self, url, engine, queue=QUEUE, traces=None):
        self.engine, self.worker = engine, FleetWorker(url, {queue: engine}, traces)
        self._loop, self._stop = asyncio.new_event_loop(), asyncio.Event()
        self.ended_with = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            self._loop.run_until_complete(self.worker.run(self._stop, grace_seconds=1))
        except Exception as error:
            self.ended_with = error

    def stop(self):
        self._loop.call_soon_threadsafe(self._stop.set)
        self.join()

    def join(self):
        self._thread.join(30)
        assert not self._thread.is_alive()
        self._loop.close()


@pytest.fixture
def inside(url):
    workers = []

    def start(engine=None, queue=QUEUE):
        workers.append(Inside(url, engine or FakeEngine(), queue))
        return workers[-1]

    yield start
    for worker in workers:
        if worker._thread.is_alive():
            worker.stop()


def proven(engine, workers=1, seconds=60):
    """Waits until so many workers have offered themselves."""
    deadline = time.monotonic() + seconds
    while len(engine._board.offers(engine._queue)) < workers:
        assert time.monotonic() < deadline, "the workers do not come"
        time.sleep(0.05)
    engine.prove()
    return engine


def wait_for(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        time.sleep(0.02)
