"""Engines that die, at load, at the first token or at the tenth job, and watchers that cannot judge: a node in such a
state is not ready, says why in every place, takes no turn that it cannot serve, and goes green again only for a reason.

The engines are real worker processes that die of real signals.
"""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from e2e.test_api import HOST
from e2e.world import ACCOUNTS, NODES, WINDOW, drive, is_busy, running_node, settle, step
from fastapi.testclient import TestClient
from rig.fake_engine import KNOWN_QUESTION, FakeEngine
from structlog.testing import capture_logs

from oracle.api.app import create_app
from oracle.api.live import EVERY_SECONDS
from oracle.engines.base import Params
from oracle.engines.worker import Limits, WorkerEngine, WorkerSetup
from oracle.errors import EngineCrashed
from oracle.node.daemon import Node
from oracle.node.operator import check

TESTS = Path(__file__).resolve().parents[1]
KNOWN = KNOWN_QUESTION.decode()
LIMITS = Limits(job=20, load=30, heartbeat=10, first_pause=0, longest_pause=0)


@pytest.fixture
def sick() -> Iterator:
    """An engine in a worker with these faults."""
    made: list[WorkerEngine] = []

    def make(faults=None, load_fault=None) -> WorkerEngine:
        arguments = {"faults": faults or {}, "load_fault": load_fault}
        made.append(WorkerEngine(WorkerSetup("rig.fake_engine:load", arguments, python_path=(TESTS,)), LIMITS))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


@asynccontextmanager
async def alone(earth, folder, engine, **changes):
    """One node that operates all seats, so that every turn is its own."""
    for seat in range(1, 5):
        earth.act(NODES[seat], "setOperator", earth.service, seat, NODES[0].address)
    async with running_node(earth, folder, NODES[0], engine, api_names=["testserver"], **changes) as node:
        yield node, TestClient(create_app(node), headers=HOST)


def says_everywhere(earth, api: TestClient, reason: str, words: str) -> None:
    """Not ready: in `/readyz`, in the metrics, on the dashboard, each with the reason."""
    ready = api.get("/readyz")
    assert ready.status_code == 503
    assert any(words in why for why in ready.json()["reasons"]), ready.json()
    metrics = api.get("/metrics").text
    label = f'didyma_service_trouble{{reason="{reason}",service="0x{earth.service.hex()}"}} 1.0'
    assert "didyma_ready 0.0" in metrics
    assert label in metrics, [line for line in metrics.splitlines() if "trouble" in line]
    time.sleep(EVERY_SECONDS)  # what it shows is made anew so often
    shown = api.get("/view/state").json()
    assert shown["ready"] is False
    assert any(words in why for why in shown["reasons"]), shown["reasons"]


def is_green(api: TestClient) -> bool:
    ready = api.get("/readyz")
    metrics = api.get("/metrics").text
    green = ready.status_code == 200
    assert ("didyma_ready 1.0" in metrics) == green
    assert ("didyma_service_trouble{" in metrics) <= (not green)
    return green


async def again(node: Node) -> None:
    """Makes the pauses after a crash pass at once."""
    node.workshop._not_before.clear()
    node.again()
    await settle(node)


DEATHS = [
    pytest.param({"load_fault": "segfault"}, "SIGSEGV while it loaded the model", id="at load"),
    pytest.param({"faults": {KNOWN: "segfault"}}, "SIGSEGV while it answered its known question", id="at first token"),
    pytest.param({"faults": {KNOWN: "out of memory"}}, "SIGKILL while it answered its known question", id="killed"),
]


@pytest.mark.parametrize(("faults", "words"), DEATHS)
async def test_engine__dies_before_its_first_turn__takes_none_and_says_why(earth, tmp_path, sick, faults, words):
    asked = earth.ask()
    with capture_logs() as logs:
        async with alone(earth, tmp_path, sick(**faults)) as (node, api):
            for _ in range(4):
                await step(earth, node, blocks=2)
                await again(node)
                says_everywhere(earth, api, "crashed", words)
            assert node.workshop.running == []
    assert earth.steps(asked) == ["RequestPosted"]
    told = [line for line in logs if line["log_level"] == "error"]
    assert [line["event"] for line in told].count("service has no engine") == 1
    assert any(words in line["how"] for line in told if line["event"] == "engine worker lost")
    assert not any(line["event"] in ("engine proven", "answering") for line in logs)


async def test_engine__answers_its_known_question_wrongly__takes_no_turn_and_says_why(earth, tmp_path, sick):
    asked = earth.ask()
    with capture_logs() as logs:
        async with alone(earth, tmp_path, sick({KNOWN: "wrong token"})) as (node, api):
            await step(earth, node, blocks=6)
            says_everywhere(earth, api, "refused", "ProofFailed: the known question got another answer")
    assert earth.steps(asked) == ["RequestPosted"]
    assert any(line["log_level"] == "error" and "ProofFailed" in line.get("reason", "") for line in logs)


async def test_engine__still_loading__is_not_ready_and_then_is(earth, tmp_path, sick):
    """Whoever waits for `/readyz` gets an answer within one turn."""
    async with alone(earth, tmp_path, sick(load_fault="slow")) as (node, api):
        await node.round()
        says_everywhere(earth, api, "unproven", "the engine is being loaded")
        await settle(node)
        assert is_green(api)


async def test_engine__dies_at_the_tenth_job__red_until_the_next_worker_has_proven_itself(earth, tmp_path, sick):
    engine = sick({"the tenth": "segfault"})
    with capture_logs() as logs:
        async with alone(earth, tmp_path, engine) as (node, api):
            for number in range(9):
                asked = earth.ask(b"question %d" % number)
                await drive(earth, [node], lambda asked=asked: earth.status(asked) == "answered")
                assert is_green(api)
            tenth = earth.ask(b"the tenth question")
            for _ in range(1000):
                await node.round()
                await asyncio.wait(node.workshop._running.values(), timeout=20) if is_busy(node) else earth.chain.mine()
                if engine.restarts:
                    break
                node.again()
            says_everywhere(earth, api, "crashed", "SIGSEGV in a job (generate)")
            engine.setup = WorkerSetup("rig.fake_engine:load", {"faults": {KNOWN: "segfault"}}, python_path=(TESTS,))
            for _ in range(2):
                await again(node)
                says_everywhere(earth, api, "crashed", "SIGSEGV while it answered its known question")
            assert earth.status(tenth) == "open"
            engine.setup = WorkerSetup("rig.fake_engine:load", {}, python_path=(TESTS,))
            await again(node)
            says_everywhere(earth, api, "crashing", "died 3 times")
            await drive(earth, [node], lambda: earth.status(tenth) == "answered")
            engine._losses.clear()
            assert is_green(api)
    lost = [line for line in logs if line["event"] == "engine worker lost"]
    assert len(lost) == engine.restarts >= 3
    assert {line["log_level"] for line in lost} == {"error"}


async def test_engine__worker_killed_while_idle__red_at_once_and_proven_again_before_the_next_job(
    earth, tmp_path, sick
):
    engine = sick()
    async with alone(earth, tmp_path, engine) as (node, api):
        await step(earth, node, blocks=2)
        assert is_green(api)
        first, proven = engine.pid, node.workshop.proven_at[earth.service]
        engine._process._popen.kill()
        engine._process._popen.wait()
        says_everywhere(earth, api, "crashed", "while it had nothing to do")
        await again(node)
        assert is_green(api)
        assert engine.pid not in (first, None)
        assert node.workshop.proven_at[earth.service] > proven


async def test_engine__refused_then_mended__is_made_anew_and_answers(earth, tmp_path, sick):
    """A file that was being repaired, say."""
    engines = [sick(load_fault="bad file"), sick()]
    asked = earth.ask()
    async with alone(earth, tmp_path, None) as (node, api):
        node.workshop._factory = lambda service: engines.pop(0)
        await step(earth, node, blocks=3)
        says_everywhere(earth, api, "refused", "BadModelFile: this is not a model")
        await again(node)
        assert is_green(api)
        await drive(earth, [node], lambda: earth.status(asked) == "answered")


# WATCHERS


class Blind(FakeEngine):
    """Proves itself, and cannot judge: its worker dies of every check."""

    def recover(self, prompt, text, count, root, params: Params):
        raise EngineCrashed("the worker was killed")


async def watcher(opened, folder, engine):
    node = await opened(folder, ACCOUNTS[8], engine, api_names=["testserver"])
    return node, TestClient(create_app(node), headers=HOST)


async def test_watcher__engine_dies_at_load__never_green_and_counts_the_lie_that_went_by(earth, tmp_path, sick, opened):
    node, api = await watcher(opened, tmp_path, sick(load_fault="segfault"))
    request = earth.lied(NODES[0])
    with capture_logs() as logs:
        for _ in range(WINDOW + 5):
            await step(earth, node)
            assert not is_green(api)
    assert earth.status(request) == "answered"
    says_everywhere(earth, api, "crashed", "SIGSEGV while it loaded")
    says_everywhere(earth, api, "unwatched", "1 answers of others went unwatched")
    assert 'didyma_unwatched_answers_total{reason="late"} 1.0' in api.get("/metrics").text
    assert [line["log_level"] for line in logs if line["event"] == "answer went unwatched"] == ["error"]


async def test_watcher__engine_proves_itself_and_dies_of_every_check__is_not_green_for_long(earth, tmp_path, opened):
    node, api = await watcher(opened, tmp_path, Blind())
    await step(earth, node, blocks=2)
    assert is_green(api)
    earth.lied(NODES[0])
    for _ in range(WINDOW + 3):
        await step(earth, node)
    await node.round()
    says_everywhere(earth, api, "unwatched", "window closed before")


async def test_watcher__answer_that_kills_the_worker_twice__is_counted_as_not_judged(earth, tmp_path, sick, opened):
    node, api = await watcher(opened, tmp_path, sick({"water": "abort"}))
    earth.lied(NODES[0])
    for _ in range(6):
        await step(earth, node)
        await again(node)
        if node.vigil.unwatched["unknown"]:
            break
    says_everywhere(earth, api, "unwatched", "JobQuarantined")
    assert 'didyma_unwatched_answers_total{reason="unknown"} 1.0' in api.get("/metrics").text


async def test_watcher__judges_the_next_answer__is_green_again(earth, tmp_path, opened):
    engine = Blind()
    node, api = await watcher(opened, tmp_path, engine)
    earth.lied(NODES[0])
    for _ in range(WINDOW + 3):
        await step(earth, node)
    assert not is_green(api)
    engine.__class__ = FakeEngine
    await again(node)
    second = earth.lied(NODES[0])
    await drive(earth, [node], lambda: earth.status(second) == "disputed", blocks=WINDOW)
    assert is_green(api)
    assert 'didyma_unwatched_answers_total{reason="late"} 1.0' in api.get("/metrics").text


# `didyma node check`


@pytest.mark.parametrize(("faults", "words"), DEATHS)
async def test_check__engine_dies__finds_it_and_says_what_to_do(earth, tmp_path, sick, faults, words):
    found = await check.everything(earth.settings(tmp_path), lambda service: sick(**faults))
    (finding,) = [each for each in found if not each.right]
    assert (finding.what, words in finding.detail) == ("engine", True), finding
    assert re.search(r"install the package again|give it more", finding.detail)


async def test_check__healthy_engine__says_what_it_showed(earth, tmp_path, sick):
    found = await check.everything(earth.settings(tmp_path), lambda service: sick())
    assert all(each.right for each in found)
    assert [each.what for each in found][-2:] == ["engine", "inference"]


async def test_check__engine_dies_at_the_first_job_after_its_proof__finds_it(earth, tmp_path, sick):
    found = await check.everything(earth.settings(tmp_path), lambda service: sick({"water": "segfault"}))
    assert [(each.what, each.right) for each in found][-2:] == [("engine", True), ("inference", False)]
    assert "SIGSEGV in a job (generate)" in found[-1].detail
