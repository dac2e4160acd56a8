"""Engines in worker processes: real processes, really killed; the engine in them is the fake one."""

import json
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
from rig.fake_engine import KNOWN_QUESTION, FakeEngine

from oracle.engines import worker_sandbox
from oracle.engines.base import Job, Params, TokenId, as_job
from oracle.engines.worker import LATELY_SECONDS, OFTEN, Limits, WorkerEngine, WorkerSetup
from oracle.engines.worker_pool import WorkerPool
from oracle.engines.worker_wire import (
    BadMessage,
    Channel,
    ChannelClosed,
    completion_from_wire,
    verdict_from_wire,
    weighed_from_wire,
)
from oracle.errors import BadModelFile, EngineCrashed, JobQuarantined, PromptTooLong, ProofFailed

TESTS = Path(__file__).resolve().parent.parent
PARAMS = Params(max_tokens=16)
LIMITS = Limits(job=20, load=30, heartbeat=10, first_pause=0, longest_pause=0)


def setup(faults=None, load_fault=None, **options):
    arguments = {"faults": faults or {}, "load_fault": load_fault}
    return WorkerSetup("rig.fake_engine:load", arguments, python_path=(TESTS,), **options)


@pytest.fixture
def start():
    engines = []

    def make(engine_setup, limits=LIMITS, **options):
        engines.append(WorkerEngine(engine_setup, limits, **options))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def prompt(text):
    return [TokenId(byte) for byte in text]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("abort", "killed by SIGABRT"),
        ("segfault", "killed by SIGSEGV"),
        ("out of memory", "killed by SIGKILL"),
        ("exit", "exit status 3"),
        ("babble", "unusable|unsigned 32-bit"),
        ("too long", "at most 16 tokens"),
    ],
)
def test_generate__worker_fails__engine_crashed_and_the_next_job_runs(start, fault, says):
    engine = start(setup({"boom": fault}))
    with pytest.raises(EngineCrashed, match=says):
        engine.generate(prompt(b"boom"), PARAMS)
    assert engine.restarts == 1
    assert engine.generate(prompt(b"hello"), PARAMS) == FakeEngine().generate(prompt(b"hello"), PARAMS)


def test_generate__worker_leaks_memory__dies_of_its_own_limit(start):
    engine = start(setup({"boom": "leak"}, memory_bytes=1 << 30))
    with pytest.raises(EngineCrashed, match="MemoryError"):
        engine.generate(prompt(b"boom"), PARAMS)


def test_generate__worker_hangs__killed_at_the_time_limit(start):
    engine = start(setup({"boom": "hang"}))
    engine.start()
    pid, began = engine.pid, time.monotonic()
    with pytest.raises(EngineCrashed, match=r"longer than 0\.5 s"):
        engine.generate(prompt(b"boom"), PARAMS, limit_seconds=0.5)
    assert time.monotonic() - began < 5
    assert not Path(f"/proc/{pid}").exists()


def test_kill__a_job_in_hand__fails_at_once_and_no_worker_is_left(start):
    engine = start(setup({"boom": "hang"}))
    engine.start()
    pid, began = engine.pid, time.monotonic()
    Timer(0.5, engine.kill).start()
    with pytest.raises(EngineCrashed, match="killed by SIGKILL"):
        engine.generate(prompt(b"boom"), PARAMS)
    assert time.monotonic() - began < LIMITS.heartbeat
    assert not Path(f"/proc/{pid}").exists()


def test_generate__worker_frozen__killed_for_its_silence_before_the_time_limit(start):
    engine = start(setup({"boom": "freeze"}), replace(LIMITS, heartbeat=3))
    with pytest.raises(EngineCrashed, match="no sign of life for 3 s"):
        engine.generate(prompt(b"boom"), PARAMS)


def test_generate__worker_stopped_before_a_long_message__given_up(start, monkeypatch):
    monkeypatch.setattr("oracle.engines.worker_wire.SEND_SECONDS", 1)
    engine = start(setup())
    engine.start()
    os.killpg(engine.pid, signal.SIGSTOP)  # bubblewrap, where it is, and the worker in it
    with pytest.raises(EngineCrashed, match="no longer listens"):
        engine.generate([TokenId(65)] * 500_000, PARAMS)


def test_start__worker_cannot_be_started__engine_crashed(start, monkeypatch):
    monkeypatch.setattr("sys.executable", "/no/such/python")
    monkeypatch.setattr(worker_sandbox, "bubblewrap", lambda: None)  # which would start, and say so itself
    with pytest.raises(EngineCrashed, match="cannot be started"):
        start(setup()).start()


def test_generate__second_crash_of_one_job__quarantined_and_never_run_again(start):
    engine = start(setup({"boom": "abort"}))
    with pytest.raises(EngineCrashed):
        engine.generate(prompt(b"boom"), PARAMS)
    with pytest.raises(JobQuarantined):
        engine.generate(prompt(b"boom"), PARAMS)
    assert engine.restarts == 2
    with pytest.raises(JobQuarantined):
        engine.generate(prompt(b"boom"), PARAMS)
    assert engine.restarts == 2
    assert engine.generate(prompt(b"hello"), PARAMS).tokens


def test_generate__shared_quarantine__counts_crashes_on_every_worker(start):
    one = start(setup({"boom": "abort"}))
    other = start(setup({"boom": "exit"}), quarantine=one.quarantine)
    with pytest.raises(EngineCrashed):
        one.generate(prompt(b"boom"), PARAMS)
    with pytest.raises(JobQuarantined):
        other.generate(prompt(b"boom"), PARAMS)


def test_start__worker_crashed__waits_twice_as_long_each_time(start):
    now = [100.0]
    limits = replace(LIMITS, first_pause=2, longest_pause=3)
    engine = start(setup({"boom": "exit", "doom": "exit"}), limits, clock=lambda: now[0])
    with pytest.raises(EngineCrashed, match="exit status 3"):
        engine.generate(prompt(b"boom"), PARAMS)
    with pytest.raises(EngineCrashed, match=r"starts again in 2\.0 s"):
        engine.generate(prompt(b"hello"), PARAMS)
    now[0] += 2
    with pytest.raises(EngineCrashed, match="exit status 3"):
        engine.generate(prompt(b"doom"), PARAMS)
    with pytest.raises(EngineCrashed, match=r"starts again in 3\.0 s"):
        engine.generate(prompt(b"hello"), PARAMS)
    now[0] += 3
    assert engine.generate(prompt(b"hello"), PARAMS).tokens


def test_start__crashes_while_loading__tried_again_at_growing_pauses_and_no_job_blamed(start):
    now = [100.0]
    engine = start(setup(load_fault="abort"), replace(LIMITS, first_pause=2, longest_pause=5), clock=lambda: now[0])
    for pause in (2, 4, 5, 5):
        with pytest.raises(EngineCrashed, match="SIGABRT"):
            engine.generate(prompt(b"hello"), PARAMS)
        with pytest.raises(EngineCrashed, match=rf"starts again in {pause}\.0 s"):
            engine.generate(prompt(b"hello"), PARAMS)
        now[0] += pause
    engine.setup = setup()
    assert engine.generate(prompt(b"hello"), PARAMS).tokens


@pytest.fixture
def pool():
    pools = []

    def make(*setups):
        pools.append(WorkerPool(setups, LIMITS))
        return pools[-1]

    yield make
    for each in pools:
        each.close()


def test_pool__job_kills_every_worker__refused_after_the_second(pool):
    both = pool(setup({"boom": "abort"}), setup({"boom": "abort"}))
    with pytest.raises(JobQuarantined):
        both.generate(prompt(b"boom"), PARAMS)
    assert both.restarts == 2


def test_pool__one_worker_alone__crash_reported(pool):
    alone = pool(setup({"boom": "abort"}))
    with pytest.raises(EngineCrashed):
        alone.generate(prompt(b"boom"), PARAMS)
    assert alone.generate(prompt(b"hello"), PARAMS).tokens


def test_pool__one_worker_broken__job_done_by_the_other(pool):
    both = pool(setup({"hello": "segfault"}), setup())
    for _ in range(2):
        assert both.generate(prompt(b"hello"), PARAMS) == FakeEngine().generate(prompt(b"hello"), PARAMS)


def test_pool__two_workers__run_two_jobs_at_a_time(pool):
    both = pool(setup({"slow": "slow"}), setup({"slow": "slow"}))
    for worker in both.workers:
        worker.start()
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda n: both.generate(prompt(b"slow%d" % n), PARAMS), range(4)))
    assert len(answers) == 4
    assert 1.0 <= time.monotonic() - began < 1.9  # each takes 0.5 s


def test_worker__several_jobs_at_a_time__run_beside_one_another(start):
    engine = start(setup({"slow": "slow"}, together=4))
    engine.start()
    began = time.monotonic()
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda n: engine.generate(prompt(b"slow%d" % n), PARAMS), range(8)))
    assert answers == [FakeEngine().generate(prompt(b"slow%d" % n), PARAMS) for n in range(8)]
    assert 1.0 <= time.monotonic() - began < 2.9  # each takes 0.5 s, four at a time


def test_worker__one_of_several_jobs_kills_it__that_one_is_quarantined_and_no_other(start):
    engine = start(setup({"slow": "slow", "boom": "abort"}, together=4))
    engine.start()

    def attempt(text):
        for _ in range(4):
            try:
                return engine.generate(prompt(text), PARAMS)
            except EngineCrashed:
                continue
            except JobQuarantined as refused:
                return str(refused)
        return None

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(attempt, (b"slow1", b"slow2", b"boom", b"slow3")))
    assert "crashed" in found.pop(2)
    assert found == [FakeEngine().generate(prompt(b"slow%d" % n), PARAMS) for n in (1, 2, 3)]
    assert engine.restarts == 2


def test_worker__numbers_at_their_limits__are_counted_also_of_workers_that_died(start):
    engine = start(setup({"boom": "abort", "limit": "saturate"}, together=2))
    assert engine.saturated == 0
    for _ in range(2):
        engine.generate(prompt(b"limit"), PARAMS)
    with pytest.raises(EngineCrashed):
        engine.generate(prompt(b"boom"), PARAMS)
    assert engine.saturated == 2
    engine.generate(prompt(b"limit"), PARAMS)
    assert engine.saturated == 3


def test_environment__one_gpu_named__the_worker_sees_that_one_alone():
    assert worker_sandbox.environment("1", ())["CUDA_VISIBLE_DEVICES"] == "1"
    assert worker_sandbox.environment(None, ())["CUDA_VISIBLE_DEVICES"] == ""


@pytest.mark.parametrize("named", [None, "named"])
def test_kernel_cache__one_that_the_operator_names_or_the_default__only_workers_on_gpus_may_write_to_it(
    tmp_path, monkeypatch, named
):
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    if named:
        monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / named))
    kept = tmp_path / (named or "default")
    for gpu in ("0", None):
        kernels = worker_sandbox.kernel_cache(gpu, tmp_path / "default")
        assert worker_sandbox.environment(gpu, (), kernels).get("TRITON_CACHE_DIR") == (gpu and str(kept))
        line = worker_sandbox.command("/usr/bin/bwrap", 7, None, gpu, (), kernels)
        writable = [line[i + 1] for i, word in enumerate(line) if word == "--bind"]
        assert writable == ([str(kept)] if gpu else [])
    assert kept.stat().st_mode & 0o777 == 0o700


def test_start__bad_model_file__refused_by_name(start):
    engine = start(setup(load_fault="bad file"))
    with pytest.raises(BadModelFile, match="this is not a model"):
        engine.start()
    assert engine.pid is None


def test_generate__worker_killed_from_outside_while_idle__starts_again_unnoticed(start):
    engine = start(setup())
    engine.start()
    pid = engine.pid
    os.killpg(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # until the last of its threads is gone
    assert engine.generate(prompt(b"hello"), PARAMS).tokens
    assert engine.pid != pid


def test_tokenize__refused_by_the_engine__same_error_here_and_the_worker_lives(start):
    engine = start(setup())
    engine.start()
    pid = engine.pid
    with pytest.raises(PromptTooLong):
        engine.tokenize(b"x" * 9000)
    assert engine.pid == pid


def test_tokenize__prompt_longer_than_any_message__refused(start):
    with pytest.raises(PromptTooLong):
        start(setup()).tokenize(bytes(5 << 20))


def test_close__worker_running__gone(start):
    engine = start(setup())
    engine.start()
    pid = engine.pid
    engine.close()
    engine.close()
    assert not Path(f"/proc/{pid}").exists()


def test_close__asked_afterwards__starts_no_worker_again(start):
    engine = start(setup())
    engine.start()
    engine.close()
    with pytest.raises(EngineCrashed, match="the engine is closed"):
        engine.tokenize(b"hello")
    assert engine.pid is None


def test_worker__parent_gone__ends_by_itself(start):
    engine = start(setup())
    engine.start()
    pid = engine.pid
    engine._process._channel.close()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_worker__node_has_secrets__sees_none_and_has_no_network(start, monkeypatch):
    monkeypatch.setenv("DIDYMA_KEYSTORE_PASSWORD", "hunter2")
    monkeypatch.setenv("HF_TOKEN", "hunter2")
    engine = start(WorkerSetup("rig.nosy_engine:load", {}, python_path=(TESTS,), proves=False))
    report = json.loads(engine.detokenize([]))
    assert "hunter2" not in report["environment"].values()
    assert report["network"] != "connected"
    assert report["core_limit"] == [0, 0]
    assert report["no_new_privileges"] == 1
    assert report["write"] != "written"


@pytest.mark.skipif(worker_sandbox.bubblewrap() is None, reason="bubblewrap is not installed or not permitted here")
def test_worker__bubblewrap__sees_the_model_file_and_no_other(start, tmp_path):
    model, keystore = tmp_path / "model.gguf", tmp_path / "keystore.json"
    model.write_bytes(b"GGUF")
    keystore.write_text("{}")
    look_at = [str(model), str(keystore), "/var/log", "/etc/passwd"]
    arguments = {"look_at": look_at}
    engine = start(WorkerSetup("rig.nosy_engine:load", arguments, model_file=model, python_path=(TESTS,), proves=False))
    report = json.loads(engine.detokenize([]))
    assert report["visible"] == [str(model)]
    assert report["network"] != "connected"
    assert report["write"] != "written"


def test_sandbox_command__bubblewrap__shows_only_what_the_engine_needs(tmp_path):
    model = tmp_path / "model.gguf"
    line = worker_sandbox.command("/usr/bin/bwrap", 7, model, None, ())
    shown = {line[i + 1] for i, word in enumerate(line) if word.startswith("--ro-bind")}
    assert str(model) in shown
    assert not shown & {"/", "/home", "/root", "/etc", "/var", str(tmp_path), str(TESTS.parent)}
    assert "--unshare-all" in line
    assert not any(word.startswith("--dev-bind") for word in line)


def test_bubblewrap__forbids_what_a_box_needs__is_not_used(tmp_path, monkeypatch):
    """Where parts of /proc are hidden, as in containers, it starts and then cannot mount a fresh one."""
    stand_in = tmp_path / "bwrap"
    stand_in.write_text('#!/bin/sh\nfor word; do test "$word" = --proc && exit 1; done\nexit 0\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert worker_sandbox.bubblewrap.__wrapped__() is None


def test_engine__in_a_worker__agrees_with_the_same_engine_here(start):
    engine, here = start(setup()), FakeEngine()
    tokens = engine.tokenize(b"hello")
    completion = engine.generate(tokens, PARAMS)
    assert completion == here.generate(tokens, PARAMS)
    assert engine.check(tokens, completion.tokens, PARAMS) == here.check(tokens, completion.tokens, PARAMS)
    wrong = (TokenId(0), *completion.tokens[1:])
    assert engine.check(tokens, wrong, PARAMS).position == 0
    assert engine.detokenize(completion.tokens) == completion.text
    assert engine.recover(tokens, completion.text, 8, bytes(32), PARAMS) == list(completion.tokens)
    assert engine.recover(tokens, completion.text, 2, bytes(32), PARAMS) is None


def test_progress__while_loading__reported(start):
    seen = []
    start(setup(), on_progress=lambda *event: seen.append(event)).start()
    assert seen == [("load", 1, 1)]


@pytest.mark.parametrize("together", [1, 4])
def test_progress__of_several_jobs__each_hears_of_its_own_alone(start, together):
    engine = start(setup({"slow": "slow"}, together=together))
    heard: dict[int, list] = {limit: [] for limit in range(1, 5)}

    def ask(limit):
        with as_job(Job(told=lambda *event: heard[limit].append(event))):
            engine.generate(prompt(b"slow %d" % limit), Params(limit))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, heard))
    loads = [event for events in heard.values() for event in events if event[0] == "load"]
    assert loads == [("load", 1, 1)]  # whoever came first had the worker started
    for limit, events in heard.items():
        assert [event for event in events if event[0] != "load"] == [("generate", limit - 1, limit)]


def test_progress__of_a_pool_that_proves_itself__is_heard_by_whoever_asks_for_it(start):
    workers = WorkerPool([setup(), setup()], LIMITS)
    heard = []
    try:
        with as_job(Job(told=lambda *event: heard.append(event))):
            workers.prove()
    finally:
        workers.close()
    assert heard == [("load", 1, 1)] * 2


@pytest.fixture
def channels():
    ends = socket.socketpair()
    pair = [Channel(end) for end in ends]
    yield (*pair, ends[1])
    for channel in pair:
        channel.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02[]",
        b"\x00\x00\x00\x01{",
        b"\x00\x00\x00\x02\xff\xff",
        (60_000).to_bytes(4, "big") + b"[" * 60_000,
    ],
    ids=["huge", "not an object", "not JSON", "not UTF-8", "deeply nested"],
)
def test_receive__malformed_message__bad_message(channels, raw):
    ours, _, raw_end = channels
    raw_end.sendall(raw)
    with pytest.raises(BadMessage):
        ours.receive(5)


def test_receive__message_cut_by_a_timeout__nothing_lost(channels):
    ours, _, raw_end = channels
    raw_end.sendall(b'\x00\x00\x00\x07{"a"')
    with pytest.raises(TimeoutError):
        ours.receive(0.05)
    raw_end.sendall(b":1}")
    assert ours.receive(5) == {"a": 1}


def test_receive__other_side_gone__channel_closed(channels):
    ours, theirs, _ = channels
    theirs.close()
    with pytest.raises(ChannelClosed):
        ours.receive(5)


@pytest.mark.parametrize(
    "data",
    [None, {}, {"tokens": [], "text": ""}, {"tokens": [True], "text": ""}, {"tokens": [1 << 32], "text": ""}]
    + [{"tokens": [1], "text": text} for text in (None, "0", "zz")],
)
def test_completion_from_wire__wrong_types__bad_message(data):
    with pytest.raises(BadMessage):
        completion_from_wire(data, PARAMS)


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        [["", -1.0]],
        [["", 0.5, []]],
        [["", float("nan"), []]],
        [["", True, []]],
        [["xy", -1.0, []]],
        [["", -1.0, [["", -1.0]] * 3]],
        [["", -1.0, [["", "-1"]]]],
        [["", -1.0, [[""]]]],
    ],
)
def test_weighed_from_wire__wrong_types_or_too_many__bad_message(data):
    with pytest.raises(BadMessage):
        weighed_from_wire(data, 1, 2)


@pytest.mark.parametrize(
    ("correct", "position"), [(True, 0), (False, None), (False, 9), (False, -1), (False, True), (1, None)]
)
def test_verdict_from_wire__contradicts_itself__bad_message(correct, position):
    with pytest.raises(BadMessage):
        verdict_from_wire({"correct": correct, "position": position, "reason": ""}, 8)


# PROOFS


KNOWN = KNOWN_QUESTION.decode()


@pytest.mark.parametrize("fault", ["segfault", "abort", "exit", "out of memory"])
def test_start__dies_of_its_known_question__says_how_and_what_to_do_and_does_no_job(start, fault):
    engine = start(setup({KNOWN: fault}))
    with pytest.raises(EngineCrashed, match="while it answered its known question"):
        engine.start()
    with pytest.raises(EngineCrashed, match="while it answered its known question"):
        engine.generate(prompt(b"hello"), PARAMS)
    assert engine.trouble.kind == "crashed"
    cures = {"segfault": "install the package again", "abort": "install the package again", "exit": "exit status 3"}
    assert cures.get(fault, "memory") in engine.trouble.text


def test_start__wrong_answer_to_its_known_question__refused_and_does_no_job(start):
    engine = start(setup({KNOWN: "wrong token"}))
    with pytest.raises(ProofFailed, match="another answer"):
        engine.prove()
    with pytest.raises(EngineCrashed, match="no worker: ProofFailed"):
        engine.generate(prompt(b"hello"), PARAMS)
    assert (engine.trouble.kind, engine.pid) == ("refused", None)


def test_trouble__from_the_first_moment__until_it_has_proven_itself(start):
    engine = start(setup())
    assert engine.trouble.kind == "unproven"
    assert engine.prove() == "the known answer"
    assert engine.trouble is None
    engine.close()
    assert engine.trouble.kind == "unproven"


def test_trouble__worker_dies_in_a_job__until_the_next_has_proven_itself(start):
    engine = start(setup({"boom": "segfault"}))
    engine.start()
    with pytest.raises(EngineCrashed, match=r"SIGSEGV in a job \(generate\)"):
        engine.generate(prompt(b"boom"), PARAMS)
    assert (engine.trouble.kind, "SIGSEGV" in engine.trouble.text) == ("crashed", True)
    engine.prove()
    assert engine.trouble is None


def test_trouble__next_worker_does_not_prove_itself__goes_on(start):
    """The worker died in a job, and whatever killed it now kills the proof too."""
    engine = start(setup({"boom": "segfault"}))
    engine.start()
    with pytest.raises(EngineCrashed):
        engine.generate(prompt(b"boom"), PARAMS)
    engine.setup = setup({KNOWN: "segfault"})
    for _ in range(3):
        with pytest.raises(EngineCrashed, match="known question"):
            engine.prove()
        assert engine.trouble.kind == "crashed"
    engine.setup = setup({KNOWN: "wrong token"})
    with pytest.raises(ProofFailed):
        engine.prove()
    assert engine.trouble.kind == "refused"
    engine.setup = setup()
    engine.prove()
    assert engine.trouble.kind == "crashing", "it died four times within the hour"


def test_trouble__worker_killed_while_idle__at_once(start):
    engine = start(setup())
    engine.start()
    os.killpg(engine.pid, signal.SIGKILL)
    os.waitid(os.P_PID, engine.pid, os.WEXITED | os.WNOWAIT)
    assert engine.trouble.kind == "crashed"
    engine.prove()
    assert (engine.trouble, engine.restarts) == (None, 1)


def test_trouble__dies_again_and_again__stays_though_each_worker_proves_itself(start):
    now = [100.0]
    engine = start(setup({"boom": "abort"}), clock=lambda: now[0])
    for number in range(OFTEN):
        assert engine.trouble is None or number == 0
        with pytest.raises(EngineCrashed):
            engine.generate(prompt(b"boom %d" % number), PARAMS)
        engine.prove()
        now[0] += 60
    assert engine.trouble.kind == "crashing"
    assert f"died {OFTEN} times" in engine.trouble.text
    assert engine.generate(prompt(b"hello"), PARAMS).tokens, "it serves meanwhile"
    now[0] += LATELY_SECONDS - 60 * OFTEN - 1
    assert engine.trouble.kind == "crashing"
    now[0] += 1
    assert engine.trouble is None


def test_pool__one_worker_does_not_prove_itself__serves_and_says_so(pool):
    both = pool(setup({KNOWN: "segfault"}), setup())
    assert both.trouble.kind == "unproven"
    assert both.prove().startswith("1 of 2 workers")
    assert both.trouble.kind == "crashed"
    for _ in range(3):
        assert both.generate(prompt(b"hello"), PARAMS).tokens


def test_pool__no_worker_proves_itself__is_refused(pool):
    both = pool(setup({KNOWN: "wrong token"}), setup({KNOWN: "segfault"}))
    with pytest.raises(ProofFailed):
        both.prove()
    with pytest.raises(EngineCrashed):
        both.generate(prompt(b"hello"), PARAMS)
