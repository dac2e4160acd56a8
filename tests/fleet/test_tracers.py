"""Workers that trace for dispute games and lie, dawdle or go: what each costs a node, at most."""

import pytest
from disputes.test_chunks import IDS, POSITIONS, TOKENS, Machines
from exact.random_model import Shape, write

from oracle.disputes import chunks
from oracle.disputes.chunks import MOST_FAILED, QUICK, Far, Shelf
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer
from oracle.errors import BadProof, JobCancelled

LIMIT, PREFILL = 4.0, 30.0
"""Seconds."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", Shape(layers=1))


@pytest.fixture(scope="module")
def shelf(path):
    return Shelf(path)


@pytest.fixture(scope="module")
def model(path):
    return ModelInputs(path)


@pytest.fixture(scope="module")
def own(path, model):
    return Pass(model, Tracer(path), TOKENS, POSITIONS)


@pytest.fixture
def clock(monkeypatch):
    """Seconds that have passed, in a list of one; a test moves it."""
    now = [0.0]
    monkeypatch.setattr(chunks.time, "monotonic", lambda: now[0])
    return now


class Slow(Machines):
    """Machines that take their time, each as long as it likes, and are given up by then."""

    def __init__(self, shelf, clock):
        super().__init__({"one": shelf, "two": shelf})
        self.clock, self.takes = clock, lambda worker, limit: 0.0

    def traced(self, worker, question, limit_seconds):
        took = self.takes(worker, limit_seconds)
        self.clock[0] += min(took, limit_seconds)
        if took > limit_seconds:
            raise JobCancelled("it took longer than it may")
        return super().traced(worker, question, limit_seconds)


def far(model, machines):
    return Far(model, IDS, machines, prefill_seconds=PREFILL, limit_seconds=LIMIT)


@pytest.fixture
def three(shelf):
    return Machines({name: shelf for name in ("one", "two", "three")})


def garbled(worker, question, answer):
    return [answer[0], answer[1][:-1]] if worker == "one" and question["of"] in ("nodes", "leaves") else answer


def gone(worker, _question, answer):
    if worker == "one":
        raise JobCancelled("nobody wants it any more")
    return answer


def test_piece__of_a_machine_that_lies__comes_from_the_next_which_is_asked_from_then_on(three, model, own):
    theirs = far(model, three).over(TOKENS, POSITIONS)
    assert theirs.step(1).roots == own.step(1).roots
    three.spoil = garbled
    for leaf in range(3):
        assert theirs.step(1).leaf("q", leaf) == own.step(1).leaf("q", leaf)
    assert [worker for worker, of in three.asked if of == "leaves"] == ["one", "two", "two", "two"]


def test_lists__of_a_machine_that_is_gone__come_from_two_others(three, model, own):
    three.spoil = gone
    theirs = far(model, three).over(TOKENS, POSITIONS)
    assert theirs.roots == own.roots
    assert theirs.step(1).roots == own.step(1).roots
    assert [worker for worker, _ in three.asked].count("one") == 1


def test_machines__one_that_lies_under_name_after_name__end_the_asking(model):
    """Whoever can offer one worker can offer thousands."""
    machines = Machines({})
    machines.tracers = lambda _of: [f"worker-{number}" for number in range(1000)]
    machines.traced = lambda worker, question, limit: machines.asked.append(worker)
    with pytest.raises(BadProof):
        far(model, machines).prefill()
    assert len(machines.asked) <= MOST_FAILED + 1


def rows_of(theirs, positions):
    """Asks for a step's list and for every row of one of its tensors; one question after the other."""
    step = theirs.over(TOKENS, positions).step(1)
    gate = step.layout.operator("gate")
    yield step.roots
    for row in range(positions):
        yield step.leaf("gate", row << gate.row_depth)


def test_questions__to_a_machine_that_is_as_slow_as_it_may__take_no_longer_in_all_than_said(shelf, model, clock):
    """64 games wait for what one thread asks: each question just in time would lose them all."""
    machines = Slow(shelf, clock)
    machines.takes = lambda worker, limit: limit * 0.999 if worker == "one" else 0.0
    theirs = far(model, machines)
    asked = sum(1 + len([*rows_of(theirs, positions)]) for positions in range(1, len(IDS) + 1))
    assert clock[0] <= asked * LIMIT * QUICK + LIMIT + PREFILL


def test_questions__after_much_patience__are_given_the_usual_time_alone(shelf, model, clock):
    machines = Slow(shelf, clock)
    theirs, limits = far(model, machines), []
    machines.takes = lambda _worker, limit: limits.append(limit) or LIMIT
    questions = rows_of(theirs, POSITIONS)
    next(questions)
    with pytest.raises(BadProof):
        next(questions)
    assert max(limits) == LIMIT * QUICK + PREFILL
    assert limits[-1] == LIMIT * QUICK
