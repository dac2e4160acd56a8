"""Jobs in one batch: whatever joins, leaves, waits, begins alike or guesses, every logit is that of a job alone."""

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from exact.plain_choices import any_rows, plainly
from rig import tiny_gguf

from oracle.engines.answer_types import Choice
from oracle.engines.base import GUEST, Job, Params, TokenId, as_job
from oracle.engines.exact import self_test
from oracle.engines.exact.batch import PIECE, SHORT, TOGETHER, Batch, Read, alone
from oracle.engines.exact.choices import choosing, judging
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.lookup import GRAM, LONGEST, REST, Lookup
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.prefixes import BLOCK, Prefixes
from oracle.engines.exact.worker_setup import exact_setup
from oracle.engines.worker import Limits, WorkerEngine
from oracle.errors import JobCancelled
from oracle.models.files import ModelFile

ROUNDS = int(os.environ.get("DIDYMA_BATCHES", "3"))
SEED = int(os.environ.get("DIDYMA_SEED", "0"))
LONGEST_SEQUENCE = 150
STOP = 2


@pytest.fixture(scope="module")
def model():
    return CpuForward(self_test.model("llama"), 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return path, tiny_gguf.write(path)


def tokens(rng, count):
    return [rng.randrange(self_test.VOCABULARY) for _ in range(count)]


class Reader:
    """A job that reads one sequence in random steps, with guesses and returns, and compares every logit."""

    def __init__(self, rng, model, sequence, seen):
        self.rng, self.model, self.sequence, self.seen = rng, model, sequence, seen
        self.finished, self.length = False, len(sequence)
        self.expected = self.plainly(sequence, len(sequence))

    def work(self):
        rng, at = self.rng, 0
        for _ in range(rng.randint(1, 12)):
            end = rng.randint(at + 1, min(len(self.sequence), at + rng.choice((1, 3, 40, 150))))
            rows = rng.randint(1, min(end - at, rng.choice((1, 1, 9, 99))))
            guess = self.sequence[end : end + rng.choice((0, 0, 1, 5, 7))]
            if guess and rng.random() < 0.5:
                guess[rng.randrange(len(guess))] ^= 1
            logits = yield Read(at, self.sequence[at:end], rows, guess)
            taken = len(logits) - rows
            self.seen["guessed"] += taken
            self.compare([*self.sequence[:end], *guess[:taken]], logits)
            right = 0
            while right < taken and guess[right] == self.sequence[end + right]:
                right += 1
            at = end + right if rng.random() < 0.8 else rng.choice((0, rng.randint(0, end)))
            if at == len(self.sequence):
                break
        self.finished = True
        return len(self.sequence)

    def compare(self, sequence, logits):
        if sequence == self.sequence[: len(sequence)]:
            expected = self.expected[len(sequence) - len(logits) : len(sequence)]
        else:  # a wrong guess
            expected = self.plainly(sequence, len(logits))
        assert np.array_equal(expected, logits)

    def plainly(self, sequence, rows):
        (logits,) = self.model.run([Chunk(sequence, self.model.cache(len(sequence)), rows)])
        return logits


class Chooser:
    """A job that chooses one of a few rows, or judges such a choice, and compares what comes of it."""

    def __init__(self, rng, model, sequence, seen):
        self.sequence, self.seen, self.finished = sequence, seen, False
        rows = any_rows(rng, self_test.VOCABULARY, (STOP,))
        self.choice = Choice(rows, STOP)
        self.length = len(sequence) + self.choice.longest
        self.output, self.verdict = plainly(model, sequence, rows, STOP)
        self.lookup = Lookup(sequence) if rng.random() < 0.5 else None
        self.said = rng.choice((None, self.verdict, replace(self.verdict, margin=self.verdict.margin + 1)))

    def work(self):
        if self.said is None:
            chosen = yield from choosing(self.sequence, self.choice, self.lookup)
            assert (chosen.tokens, chosen.verdict) == (self.output, self.verdict)
            self.seen["chosen"] += 1
        else:
            judged = yield from judging(self.sequence, self.choice, self.said.index, self.said)
            assert judged.correct == (self.said == self.verdict)
            self.seen["judged"] += 1
        self.finished = True
        return len(self.sequence)


def test_batch__any_mix__every_logit_is_that_of_a_job_alone(model):
    seen = Counter()
    for seed in range(SEED, SEED + ROUNDS):
        rng = random.Random(seed)
        stems = [tokens(rng, LONGEST_SEQUENCE) for _ in range(2)]
        batch = Batch(model, rng.choice((60, 300, 1200)))
        jobs, wanted = [], {}

        def add(rng=rng, stems=stems, batch=batch, jobs=jobs, wanted=wanted):
            stem = rng.choice(stems)[: rng.randint(0, 120)]
            sequence = [*stem, *tokens(rng, rng.randint(1, 30))]
            kind = Chooser if rng.random() < 0.3 else Reader
            reader, number = kind(rng, model, sequence, seen), len(jobs)
            wanted[number] = True
            job = Job(rng.randrange(3), lambda: wanted[number], anew=rng.random() < 0.2)
            jobs.append((reader, batch.add(reader.work(), reader.length, job)))

        for _ in range(rng.randint(1, 12)):
            add()
        busy = True
        while busy or len(jobs) < 20:
            if rng.random() < 0.2 and len(jobs) < 30:
                add()
            if rng.random() < 0.05:
                wanted[rng.randrange(len(jobs))] = False
            busy = batch.step()
            running = [sequence.length for sequence in batch._jobs if sequence.cache is not None]
            kept = batch._prefixes.positions
            assert sum(running) + kept <= batch._budget or (len(running) == 1 and not kept)
            seen["waited"] += any(sequence.cache is None for sequence in batch._jobs)
            seen["kept"] += kept
            if not busy and len(jobs) < 20:
                add()
                busy = True
        for number, (reader, sequence) in enumerate(jobs):
            assert sequence.is_done
            if isinstance(sequence.error, JobCancelled):
                assert not wanted[number]
                seen["cancelled"] += 1
            else:
                assert sequence.error is None, sequence.error
                assert reader.finished
                assert sequence.result == len(reader.sequence)
    assert min(seen[what] for what in ("guessed", "waited", "kept", "cancelled", "chosen", "judged")) > 0, seen


def test_alone__same_job__same_logits_as_in_a_batch(model):
    for forward in (model, Reference(self_test.model("llama"))):
        rng = random.Random(5)
        reader = Reader(rng, model, tokens(rng, 40), Counter())
        assert alone(forward, reader.work(), 40) == 40


# WHO GOES WHEN


def reading(count, each=1):
    """A job of `count` passes."""
    for number in range(count):
        yield Read(number * each, [7] * each, 1)
    return count


def test_batch__long_prompt_beside_short_reads__delays_none(model):
    batch = Batch(model, 10_000)
    steady = batch.add(reading(12), 12, Job())
    batch.step()
    long = batch.add(reading(1, PIECE * 8), PIECE * 8, Job())
    for _ in range(11):
        batch.step()
    assert steady.is_done
    assert long.is_done  # eight pieces, between the other's tokens


def test_batch__no_memory__waits_and_the_urgent_goes_first(model):
    batch = Batch(model, 100)
    first = batch.add(reading(5), 60, Job(2))
    batch.step()
    late, urgent = batch.add(reading(2), 60, Job(2)), batch.add(reading(2), 60, Job(1))
    small = batch.add(reading(2), 10, Job(2))
    while not first.is_done:
        batch.step()
        assert late.cache is None
        assert urgent.cache is None
    assert small.cache is None, "overtook what waits for memory"
    while not urgent.is_done:
        batch.step()
        assert late.cache is None
    while batch.step():
        pass
    assert late.is_done
    assert small.is_done


LONG = 10 * PIECE  # more than a pass reads


def guest_and_own(batch):
    """A guest that has begun a long prompt, and then a short job of the node's."""
    guest = batch.add(reading(1, LONG), LONG, Job(GUEST))
    batch.step()
    assert not guest.is_done
    return guest, batch.add(reading(1, 5), 5, Job(1))


def test_batch__guest_reads_a_long_prompt__any_other_job_goes_first(model):
    batch = Batch(model, 10_000)
    guest, own = guest_and_own(batch)
    read = len(guest.tokens)
    batch.step()
    assert own.is_done
    assert len(guest.tokens) == read
    while batch.step():
        pass
    assert guest.is_done
    assert guest.error is None


def test_batch__memory_is_a_guest_s__whoever_is_no_guest_gets_it(model):
    batch = Batch(model, LONG + 2)
    guest, own = guest_and_own(batch)
    batch.step()
    assert own.is_done
    assert isinstance(guest.error, JobCancelled)
    assert not batch.step()


def test_batch__job_larger_than_all_memory__runs_alone(model):
    batch = Batch(model, 32)
    large, other = batch.add(reading(3), 64, Job()), batch.add(reading(3), 8, Job())
    while not large.is_done:
        batch.step()
        assert other.cache is None
    while batch.step():
        pass
    assert other.is_done


def test_batch__sixty_four_at_once__done_in_order_of_what_they_are_due(model):
    batch, due = Batch(model, 10_000), list(range(64))
    random.Random(2).shuffle(due)
    jobs = {number: batch.add(reading(4), 8, Job(number)) for number in due}
    done = []
    while batch.step():
        done += [number for number in sorted(jobs) if jobs[number].is_done and number not in done]
    assert done == sorted(due)


def test_batch__kernel_fails__all_in_hand_fail_and_later_ones_run(model, monkeypatch):
    batch = Batch(model, 1000)
    jobs = [batch.add(reading(3), 8, Job()) for _ in range(3)]
    batch.step()
    with monkeypatch.context() as patch:
        patch.setattr(model, "_pass", lambda pieces: (_ for _ in ()).throw(MemoryError("no memory")))
        with pytest.raises(MemoryError):
            batch.step()
    assert all(isinstance(job.error, MemoryError) for job in jobs)
    assert batch.run(reading(3), 8, Job()) == 3


def test_batch__many_sequences__no_guesses_are_read(model):
    """They would cost the others time: a guess is free only as long as the kernels' rows are not used up."""
    sizes = []

    def guessing():
        for number in range(3):
            sizes.append(len((yield Read(number, [7], 1, [7] * LONGEST))))

    for count, most in ((1, 1 + LONGEST), (2, SHORT // 2), (SHORT, 1), (TOGETHER, 1)):
        sizes.clear()
        batch = Batch(model, 10_000)
        for _ in range(count):
            batch.add(guessing(), 20, Job())
        while batch.step():
            pass
        assert max(sizes) == most


# PREFIXES


def test_prefixes__least_used_and_last_go_first(model):
    kept, cache, other = Prefixes(), model.cache(64), model.cache(64)
    model.run([Chunk(list(range(64)), cache, 1)])
    kept.keep(list(range(64)), cache, 64)
    assert kept.positions == 64
    kept.shrink(3 * BLOCK)
    assert kept.fill(list(range(64)), other) == other.length == 3 * BLOCK
    changed = list(range(64))
    changed[BLOCK] += 1
    again = model.cache(64)
    assert kept.fill(changed, again) == again.length == BLOCK


def test_batch__same_prompt_again__is_not_read_again(model, monkeypatch):
    lengths, run = [], model.run
    monkeypatch.setattr(model, "run", lambda chunks: lengths.extend(len(c.tokens) for c in chunks) or run(chunks))
    batch, rng = Batch(model, 1000), random.Random(1)
    prompt = tokens(rng, 100)

    def ask(job):
        lengths.clear()
        batch.run(iter_read(prompt), 100, job)
        return sum(lengths)

    assert ask(Job()) == 100
    assert ask(Job()) == 100 - 6 * BLOCK
    assert ask(Job(anew=True)) == 100


def iter_read(prompt):
    yield Read(0, prompt, 1)


# GUESSES


def test_lookup__seen_before__guesses_what_followed_and_rests_when_wrong():
    lookup = Lookup([1, 2, 3, 4, 5, 6, 1, 2, 3])
    assert lookup.guess() == [4, 5, 6, 1, 2, 3]
    lookup.judged(6, 6)
    while lookup.guess():
        lookup.judged(0, 1)
    for _ in range(REST):
        assert not lookup.guess()
        lookup.add(9)
    for token in (1, 2, 3):
        lookup.add(token)
    assert lookup.guess() == [9], "guesses begin small again"
    assert not Lookup(range(GRAM - 1)).guess()


# ENGINES


@pytest.fixture(scope="module")
def engine(tiny):
    path, manifest = tiny
    return ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 2))


def test_engine__many_threads__answers_and_verdicts_of_each_alone(engine, tiny):
    path, manifest = tiny
    plain = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), cache_bytes=0, guesses=False)
    rng = random.Random(4)
    stem = [TokenId(4 + rng.randrange(300)) for _ in range(40)]
    asked = []
    for number in range(24):
        prompt = [*stem[: rng.randrange(41)], TokenId(4 + number)]
        asked.append((prompt, Params(12, rng.choice((0, 1 << 16)), seed=bytes([number]) * 32)))
    expected = [plain.generate(*each) for each in asked]
    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(lambda each: engine.generate(*each), asked))
        assert found == expected
        lies = [list(one.tokens) for one in expected]
        for lie in lies[::3]:
            lie[-1] ^= 1
        jobs = [(prompt, output, params) for (prompt, params), output in zip(asked, lies, strict=True)]
        assert list(threads.map(lambda each: engine.check(*each), jobs)) == [plain.check(*each) for each in jobs]


def test_engine__answer_repeats_itself__guesses_save_passes_and_change_nothing(engine, tiny, monkeypatch):
    path, manifest = tiny
    plain = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), guesses=False)
    passes = Counter()

    def counted(which):
        run = which._forward.run

        def count(chunks):
            passes[which] += 1
            return run(chunks)

        monkeypatch.setattr(which._forward, "run", count)

    counted(engine)
    counted(plain)
    for number in range(6):
        prompt, params = [TokenId(4 + number)] * 30, Params(60)
        assert engine.generate(prompt, params) == plain.generate(prompt, params)
    assert passes[engine] < passes[plain]


@contextmanager
def held(worker: WorkerEngine) -> Iterator[None]:
    """Until it has been sent a job and the job's end: else it may be done before."""
    os.kill(worker.pid, signal.SIGSTOP)
    going = threading.Timer(0.3, os.kill, (worker.pid, signal.SIGCONT))
    going.start()
    yield
    going.join()


def test_worker__job_that_nobody_wants_or_that_takes_too_long__ends_and_the_worker_lives_on(tiny):
    path, manifest = tiny
    worker = WorkerEngine(exact_setup(replace(manifest, stop_tokens=(1,)), path, 1), Limits(job=60))
    try:
        prompt = worker.tokenize(b"the answer")
        pid, answer = worker.pid, worker.generate(prompt, Params(4))
        with as_job(Job(wanted=lambda: False)), held(worker), pytest.raises(JobCancelled, match="nobody wants it"):
            worker.generate(prompt, Params(400))
        with held(worker), pytest.raises(JobCancelled, match=r"longer than 1e-05 s"):
            worker.generate(prompt, Params(400), limit_seconds=1e-5)
        assert worker.pid == pid
        assert worker.restarts == 0
        assert worker.generate(prompt, Params(4)) == answer
    finally:
        worker.close()


def test_progress__jobs_computed_by_each_others_threads__each_hears_of_its_own(tiny):
    path, manifest = tiny
    manifest = replace(manifest, stop_tokens=(1,))
    engine = ExactEngine(ModelFile.of(manifest, path), manifest, Device.named("cpu", 1), guesses=False)
    lengths = range(20, 26)
    heard: dict[int, list] = {length: [] for length in lengths}

    def ask(length):
        prompt, params = [TokenId(4 + length)] * length, Params(length)
        with as_job(Job(told=lambda *event: heard[length].append(event))):
            answer = engine.generate(prompt, params)
            assert engine.check(prompt, answer.tokens, params).correct

    with ThreadPoolExecutor(len(lengths)) as threads:
        list(threads.map(ask, lengths))
    for length, events in heard.items():
        assert [event for event in events if event[0] == "generate"] == [
            ("generate", done, length) for done in range(1, length + 1)
        ]
        assert events[-1] == ("check", length, length)
        assert ("read", length, length) in events
