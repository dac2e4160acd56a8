"""The workshop, alone: what it finds reaches the journal, and an engine that fails costs its service only."""

import asyncio
import threading
from dataclasses import replace

from rig.fake_engine import FakeEngine
from structlog.testing import capture_logs
from unit.test_node_planner import OPEN, SEED, answered, make_request, view

from oracle.engines.base import Trouble, the_job
from oracle.errors import EngineCrashed
from oracle.journal.journal import Journal
from oracle.node.plan import Compute, Judge
from oracle.node.records import output_key, verdict_key
from oracle.node.workshop import RELOAD_SECONDS, Workshop


async def test_judge__file_of_a_wrong_answer_cannot_be_written__the_verdict_is_all_the_same(tmp_path):
    (tmp_path / "wrong_answers").touch()  # where the folder would be
    engine, record = FakeEngine(), answered()
    assert record.posted is not None
    journal = Journal(tmp_path / "journal.sqlite", "1:oracle", ballast_bytes=0)
    workshop = Workshop(journal, lambda _: engine, tmp_path / "wrong_answers")
    with capture_logs() as logs:
        await workshop._judge(engine, Judge(record, record.posted, SEED, urgent=False))
    with journal.read() as tx:
        verdict = tx.job(verdict_key(record.id, record.posted.answer.hash))
    await workshop.close(0)
    journal.close()
    assert verdict is not None
    assert verdict.state == "wrong"
    assert any("none could be kept" in entry.get("file", "") for entry in logs)


async def test_prepare__file_cannot_be_read__service_is_in_trouble_and_tried_again(tmp_path):
    now, readable = 0.0, False
    service = next(iter(view(1).services.values()))

    def factory(_service):
        if not readable:
            raise PermissionError(13, "Permission denied", "model.gguf")
        return FakeEngine()

    journal = Journal(tmp_path / "journal.sqlite", "1:oracle", ballast_bytes=0)
    workshop = Workshop(journal, factory, tmp_path / "wrong_answers", clock=lambda: now)

    async def load() -> None:
        workshop.offer([], {service.id: service})
        await asyncio.gather(*workshop._running.values())
        workshop.raise_failures()

    await load()
    assert "Permission denied: 'model.gguf'" in workshop.troubles[service.id].text
    assert workshop.engine(service.id) is None
    now, readable = RELOAD_SECONDS, True
    await load()
    assert workshop.troubles == {}
    assert workshop.engine(service.id) is not None
    await workshop.close(0)
    journal.close()


class Counting(FakeEngine):
    """Takes eight jobs at a time, and holds them until it is let go."""

    together = 8

    def __init__(self):
        super().__init__()
        self.jobs = []
        self.go = threading.Event()

    def generate(self, prompt, params):
        self.jobs.append(the_job())
        self.go.wait(30)
        return super().generate(prompt, params)


async def test_offer__more_than_an_engine_takes__due_first_and_room_is_left_for_votes(tmp_path):
    engine, service = Counting(), next(iter(view(1).services.values()))
    journal = Journal(tmp_path / "journal.sqlite", "1:oracle", ballast_bytes=0)
    workshop = Workshop(journal, lambda _: engine, tmp_path / "wrong_answers")
    workshop.offer([], {service.id: service})
    await asyncio.gather(*workshop._running.values())
    workshop.raise_failures()
    records = [replace(OPEN, request=make_request(number)) for number in range(64)]
    work = [Compute(record, SEED, 1000 + number) for number, record in enumerate(records)]
    workshop.offer(work, {service.id: service})
    while len(engine.jobs) < 7:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    assert len(engine.jobs) == 7  # the eighth place is for a vote
    assert sorted(job.priority - (1 << 40) for job in engine.jobs) == list(range(1000, 1007))
    assert all(job.wanted() for job in engine.jobs)
    workshop.offer(work[1:], {service.id: service})
    assert [job.priority for job in engine.jobs if not job.wanted()] == [(1 << 40) + 1000]
    engine.go.set()
    while len(engine.jobs) < 64:
        await asyncio.sleep(0.01)
    order = [job.priority - (1 << 40) - 1000 for job in engine.jobs]
    assert all(abs(number - place) < 7 for place, number in enumerate(order))  # seven threads begin as they like
    await workshop.close(10)
    journal.close()


class Stuck(FakeEngine):
    """Its jobs end only when it is killed."""

    def __init__(self):
        super().__init__()
        self.began, self.killed = threading.Event(), threading.Event()

    def generate(self, prompt, params):
        self.began.set()
        self.killed.wait(30)
        raise EngineCrashed("the worker was killed")

    def kill(self):
        self.killed.set()


async def test_close__job_outlasts_the_grace__engine_is_killed_and_the_job_is_left_to_the_next_start(tmp_path):
    engine, service = Stuck(), next(iter(view(1).services.values()))
    journal = Journal(tmp_path / "journal.sqlite", "1:oracle", ballast_bytes=0)
    workshop = Workshop(journal, lambda _: engine, tmp_path / "wrong_answers")
    workshop.offer([], {service.id: service})
    await asyncio.gather(*workshop._running.values())
    workshop.raise_failures()
    workshop.offer([Compute(OPEN, SEED)], {service.id: service})
    while not engine.began.is_set():
        await asyncio.sleep(0.01)
    await workshop.close(0.05)
    with journal.read() as tx:
        assert tx.job(output_key(OPEN.id, SEED.hash)) is None
    journal.close()
    assert engine.killed.is_set()
    assert workshop.troubles[service.id].kind == "crashed"


class Visited(FakeEngine):
    """Is closed once its guest has left, as workers are."""

    def __init__(self):
        super().__init__()
        self.left, self.closed = threading.Event(), threading.Event()

    def prove(self):
        return "well"

    def close(self):
        self.left.wait(30)
        self.closed.set()


async def test_engine__is_given_up_while_a_guest_is_inside__rounds_go_on_and_the_guest_ends(tmp_path):
    engine, service, now = Visited(), next(iter(view(1).services.values())), 0.0
    journal = Journal(tmp_path / "journal.sqlite", "1:oracle", ballast_bytes=0)
    workshop = Workshop(journal, lambda _: engine, tmp_path / "wrong_answers", clock=lambda: now)
    workshop.offer([], {service.id: service})
    await asyncio.gather(*workshop._running.values())
    workshop.raise_failures()
    guest = asyncio.create_task(workshop.beside(service.id, lambda inside: inside.left.wait(30)))
    await asyncio.sleep(0)
    now = 5.0
    assert workshop.busy_seconds(service.id) == 5.0  # guests' time as well
    workshop._give_up(service.id, Trouble("self-check", "a bit flipped"), RELOAD_SECONDS)
    assert workshop.engine(service.id) is None
    assert not engine.closed.is_set()
    engine.left.set()
    assert await guest is True
    await workshop.close(0)
    assert engine.closed.is_set()
    now = 9.0
    assert workshop.busy_seconds(service.id) == 5.0
    journal.close()


async def test_job__in_hand__says_how_far_it_is_until_it_ends(tmp_path):
    engine, service = Counting(), next(iter(view(1).services.values()))
    journal = Journal(tmp_path / "journal.sqlite", "1:oracle", ballast_bytes=0)
    workshop = Workshop(journal, lambda _: engine, tmp_path / "wrong_answers")
    workshop.offer([], {service.id: service})
    await asyncio.sleep(0)
    assert [work.doing for work in workshop.in_hand.now()] == ["prepares an engine"]
    await asyncio.gather(*workshop._running.values())
    workshop.raise_failures()
    assert workshop.in_hand.now() == []
    record = replace(OPEN, request=make_request(1))
    workshop.offer([Compute(record, SEED, 1000)], {service.id: service})
    while not engine.jobs:
        await asyncio.sleep(0.01)
    engine.jobs[0].told("generate", 5, 16)
    (work,) = workshop.in_hand.now()
    assert (work.key, work.request) == (output_key(record.id, SEED.hash), record.id)
    assert work.far == "generate: 5 of 16 tokens"
    engine.go.set()
    await asyncio.gather(*workshop._running.values())
    assert workshop.in_hand.now() == []
    await workshop.close(10)
    journal.close()
