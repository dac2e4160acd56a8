"""One prefill, one step's trace and its trees serve all passes over an answer, with the roots of each pass alone."""

import pytest
from disputes.test_game_lies import Counting
from exact.random_model import Shape, gemma3, write

from oracle.disputes import graph, passes
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import KEPT_STEPS, Pass, Tracer, Whole
from oracle.engines.base import Job, as_job
from oracle.merkle.tokens import Tokens

TOKENS = Tokens((1, 9, 4, 11), tuple(range(20, 32)), tuple(range(12)))
POSITIONS = range(4, 16)


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def model(request, tmp_path_factory):
    shape = Shape(layers=2) if request.param == "llama" else gemma3(layers=2)
    return write(tmp_path_factory.mktemp("model") / "model.gguf", shape)


def test_whole__passes_at_every_position__have_the_roots_of_each_alone(model):
    inputs, tracer = ModelInputs(model), Tracer(model)
    whole = Whole(tracer, TOKENS.ids[:-1])
    for positions in POSITIONS:
        shared, alone = (Pass(inputs, tracer, TOKENS, positions, each) for each in (whole, None))
        assert shared.roots == alone.roots
        for step in range(tracer.architecture.layers + 2):
            mine, own = shared.step(step), alone.step(step)
            assert mine.roots == own.roots, (positions, step)
            last = own.layout.operators[-1]
            assert mine.leaf(last.name, 0) == own.leaf(last.name, 0)


def test_whole__games_at_all_positions__cost_one_prefill_and_one_trace_of_a_step(model):
    tracer = Counting(Tracer(model))
    whole = Whole(tracer, TOKENS.ids[:-1])
    passes = [Pass(ModelInputs(model), tracer, TOKENS, positions, whole) for positions in POSITIONS]
    for each in passes:
        assert each.roots
    for each in [*passes, *passes]:
        assert each.step(1).roots
    assert tracer.prefills == 1
    assert [step for step in tracer.steps if step == 1] == [1]
    assert len(whole._steps) <= KEPT_STEPS


def test_pass__its_prefill_and_its_first_list__tell_how_far_they_are(model):
    heard = []
    with as_job(Job(told=lambda *event: heard.append(event))):
        assert Pass(ModelInputs(model), Tracer(model), TOKENS, len(TOKENS.ids) - 1).roots
    assert heard == [(of, step, 3) for of in ("prefill", "trees") for step in (1, 2, 3)]


def test_whole__passes_around_a_leaf_s_numbers__have_the_roots_of_each_alone(tmp_path):
    """Rows of scores grow by a leaf there."""
    shape = Shape(layers=1, width=32, hidden=32, heads=2, kv_heads=1, context=512)
    path = write(tmp_path / "model.gguf", shape)
    inputs, tracer = ModelInputs(path), Tracer(path)
    tokens = Tokens((1, 9), tuple(10 + n % 90 for n in range(258)), tuple(range(258)))
    whole = Whole(tracer, tokens.ids[:-1])
    for positions in (255, 256, 257, 259):
        shared, alone = (Pass(inputs, tracer, tokens, positions, each) for each in (whole, None))
        assert shared.step(1).roots == alone.step(1).roots


def test_whole__games_at_all_positions__hash_each_number_once_but_values(model, monkeypatch):
    hashed: dict[str, int] = {}
    make = graph.tree

    def counted(operator, values):
        hashed[operator.name] = hashed.get(operator.name, 0) + len(values)
        return make(operator, values)

    monkeypatch.setattr(graph, "tree", counted)
    tracer = Tracer(model)
    whole = Whole(tracer, TOKENS.ids[:-1])
    for positions in POSITIONS:
        assert Pass(ModelInputs(model), tracer, TOKENS, positions, whole).step(1).roots
    keys = hashed.pop("v")
    longest = graph.operators(tracer.architecture, 1, len(TOKENS.ids) - 1)
    assert hashed == {operator.name: operator.rows for operator in longest if operator.name != "v"}
    assert keys == len(POSITIONS) * tracer.architecture.kv_heads * tracer.architecture.head_width


def test_whole__trees_beyond_the_limit__are_made_again(model, monkeypatch):
    monkeypatch.setattr(passes, "KEPT_LEAVES", 40)
    tracer = Tracer(model)
    whole = Whole(tracer, TOKENS.ids[:-1])
    for positions in (*POSITIONS, *POSITIONS):
        shared, alone = (Pass(ModelInputs(model), tracer, TOKENS, positions, each) for each in (whole, None))
        assert shared.step(1).roots == alone.step(1).roots
        assert sum(tree.count for tree in whole._trees.values()) <= 40 or len(whole._trees) == 1
