"""One set of rules for both ways to have several workers: side by side on a host, and a fleet's anywhere."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fleet.conftest import proven
from rig.fake_engine import FakeEngine

from oracle.engines.base import Job, Params, TokenId, as_job
from oracle.engines.worker import Limits, WorkerSetup
from oracle.engines.worker_pool import WorkerPool
from oracle.errors import EngineCrashed, JobQuarantined, PromptTooLong

TESTS = Path(__file__).resolve().parent.parent
PARAMS = Params(max_tokens=16)
LIMITS = Limits(job=20, load=30, heartbeat=10, first_pause=0, longest_pause=0)
HELLO = [TokenId(byte) for byte in b"hello"]
BOOM = [TokenId(byte) for byte in b"boom"]


@pytest.fixture(params=["on one host", "a fleet"])
def pool(request):
    """Makes an engine of two workers with these faults."""
    local = []

    def make(faults=None):
        if request.param == "a fleet":
            machine, fleet = request.getfixturevalue("machine"), request.getfixturevalue("fleet")
            machine(faults), machine(faults)
            return proven(fleet(), workers=2)
        arguments = {"faults": faults or {}, "load_fault": None}
        setups = [WorkerSetup("rig.fake_engine:load", arguments, python_path=(TESTS,)) for _ in range(2)]
        local.append(WorkerPool(setups, LIMITS))
        local[-1].prove()
        return local[-1]

    yield make
    for each in local:
        each.close()


def test_calls__any_pool__what_its_engine_alone_says(pool):
    engine, alone = pool(), FakeEngine()
    completion = engine.generate(HELLO, PARAMS)
    assert completion == alone.generate(HELLO, PARAMS)
    assert engine.tokenize(b"hello") == HELLO
    assert engine.detokenize(HELLO) == b"hello"
    assert engine.check(HELLO, completion.tokens, PARAMS, completion.text).correct
    wrong = (TokenId(completion.tokens[0] ^ 1), *completion.tokens[1:])
    assert engine.check(HELLO, wrong, PARAMS) == alone.check(HELLO, wrong, PARAMS)
    found = engine.recover(HELLO, completion.text, len(completion.tokens), completion.root, PARAMS)
    assert found == list(completion.tokens)
    assert (engine.trouble, engine.together) == (None, 2)


def test_calls__many_at_once__each_gets_its_own_answer(pool):
    engine, alone = pool(), FakeEngine()
    prompts = [[TokenId(byte) for byte in b"question %d" % number] for number in range(24)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda prompt: engine.generate(prompt, PARAMS), prompts))
    assert answers == [alone.generate(prompt, PARAMS) for prompt in prompts]


def test_refusal__of_an_engine__keeps_its_kind(pool):
    with pytest.raises(PromptTooLong):
        pool().tokenize(b"x" * 10_000)


def test_crash__of_a_worker_over_a_job__tried_on_another_then_refused_for_good(pool):
    """A prompt that kills engines takes two of them and no more, and the next job is answered."""
    engine = pool({"boom": "abort"})
    with pytest.raises(JobQuarantined):
        engine.generate(BOOM, PARAMS)
    assert engine.generate(HELLO, PARAMS) == FakeEngine().generate(HELLO, PARAMS)
    with pytest.raises(JobQuarantined):
        engine.generate(BOOM, PARAMS)


def test_nonsense__from_a_worker__is_a_crash(pool):
    engine = pool({"boom": "babble"})
    with pytest.raises((EngineCrashed, JobQuarantined)):
        engine.generate(BOOM, PARAMS)


def test_job__of_any_priority__answered(pool):
    engine = pool()
    for priority in (0, (1 << 40) + 1_800_000_000, (2 << 40) + 1, 1 << 60):
        with as_job(Job(priority)):
            assert engine.generate(HELLO, PARAMS) == FakeEngine().generate(HELLO, PARAMS)
