"""One prefill and one step's trace serve all passes over an answer, with the same roots as each pass alone."""

import pytest
from disputes.test_game_lies import Counting
from exact.random_model import Shape, write

from oracle.disputes.evidence import ModelExhibits
from oracle.disputes.passes import KEPT_STEPS, Pass, Tracer, Whole
from oracle.merkle.tokens import Tokens

TOKENS = Tokens((1, 9, 4, 11), tuple(range(20, 32)), tuple(range(12)))
POSITIONS = range(4, 16)


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def model(request, tmp_path_factory):
    shape = Shape(family=request.param, layers=2)
    return write(tmp_path_factory.mktemp("model") / "model.gguf", shape)


def test_whole__passes_at_every_position__have_the_roots_of_each_alone(model):
    exhibits, tracer = ModelExhibits(model), Tracer(model)
    whole = Whole(tracer, TOKENS.ids[:-1])
    for positions in POSITIONS:
        shared, alone = (Pass(exhibits, tracer, TOKENS, positions, each) for each in (whole, None))
        assert shared.roots == alone.roots
        for step in range(tracer.architecture.layers + 2):
            mine, own = shared.step(step), alone.step(step)
            assert mine.roots == own.roots, (positions, step)
            last = own.layout.operators[-1]
            assert mine.leaf(last.name, 0) == own.leaf(last.name, 0)


def test_whole__games_at_all_positions__cost_one_prefill_and_one_trace_of_a_step(model):
    tracer = Counting(Tracer(model))
    whole = Whole(tracer, TOKENS.ids[:-1])
    passes = [Pass(ModelExhibits(model), tracer, TOKENS, positions, whole) for positions in POSITIONS]
    for each in passes:
        assert each.roots
    for each in [*passes, *passes]:
        assert each.step(1).roots
    assert tracer.prefills == 1
    assert [step for step in tracer.steps if step == 1] == [1]
    assert len(whole._steps) <= KEPT_STEPS
