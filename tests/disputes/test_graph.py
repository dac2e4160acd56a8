"""The layout of a trace against the reference's own: nothing missing, nothing computed from what is not agreed yet."""

import numpy as np
import pytest
from disputes.case import step_trace
from exact.random_model import Shape, gemma3, write
from rig.merkle import climb, fold

from oracle.disputes import graph, lanes
from oracle.disputes.graph import BEFORE, Operator, Width
from oracle.engines.exact.model import Reference
from oracle.engines.exact.weights import load
from oracle.merkle.tree import leaf_hash

TOKENS = [3, 1, 4, 1, 5, 9, 2]
SHAPES = [
    Shape(family=family, heads=4, kv_heads=2, head_width=16, rope_width=8, width=288, hidden=544)
    for family in ("llama", "qwen2", "qwen3", "gemma3")
]
SHAPES.append(Shape(family="qwen3", heads=1, kv_heads=1, head_width=32))
SHAPES.append(gemma3(heads=2, kv_heads=1))


@pytest.fixture(scope="module", params=SHAPES, ids=lambda shape: f"{shape.family}-{shape.heads}")
def traced(request, tmp_path_factory):
    """An architecture and the reference's full trace."""
    weights = load(write(tmp_path_factory.mktemp("model") / "model.gguf", request.param))
    return weights.architecture, Reference(weights).trace(TOKENS)


def each(traced):
    """All operators with their values and the step they belong to."""
    a, full = traced
    for step in range(graph.steps(a)):
        values = step_trace(a, full, step)
        for operator in graph.operators(a, step, len(TOKENS)):
            yield step, operator, graph.matrix(operator, values)


def test_operators__no_such_step_or_position__is_refused(traced):
    a, _ = traced
    for step in (-1, a.layers + 2):
        with pytest.raises(IndexError):
            graph.operators(a, step, 1)
    with pytest.raises(ValueError, match="at least one position"):
        graph.operators(a, 0, 0)


@pytest.mark.parametrize(("row", "column"), [(-1, 0), (3, 0), (0, -1), (0, 300)])
def test_leaf_of__outside_the_tensor__is_refused(row, column):
    with pytest.raises(IndexError):
        Operator("x", (), 3, 300).leaf_of(row, column)


def test_operators__every_step__name_all_that_the_reference_computes_in_its_order(traced):
    a, full = traced
    for step in range(graph.steps(a)):
        names = [operator.name for operator in graph.operators(a, step, len(TOKENS))]
        assert len(set(names)) == len(names)
        assert set(names) == set(step_trace(a, full, step))
        reference = {"embedding"} if step == 0 else set(full.layers[step - 1] if step <= a.layers else full.end)
        assert {name for name in names if not name.endswith(".peak") and name != "logits.max"} == reference
        assert names[-1] == ("embedding" if step == 0 else "residual" if step <= a.layers else "logits.max")


def test_operators__inputs__come_before(traced):
    a, _ = traced
    for step in range(graph.steps(a)):
        known = {BEFORE}
        for operator in graph.operators(a, step, len(TOKENS)):
            assert known.issuperset(operator.inputs), operator
            known.add(operator.name)


def test_matrix__every_operator__has_its_shape_and_range(traced):
    for _, operator, values in each(traced):
        assert values.shape == (operator.rows, operator.columns), operator
        bits = {Width.SHIFT: 7, Width.LANE: 15, Width.INT32: 31, Width.INT64: 63}[operator.width]
        assert np.abs(values.astype(object)).max() < 1 << bits, operator


def test_tree__every_operator__has_its_depth_and_proves_each_number(traced):
    rng = np.random.default_rng(1)
    for _, operator, values in each(traced):
        tree = graph.tree(operator, values)
        assert tree.depth == operator.depth, operator
        row, column = int(rng.integers(operator.rows)), int(rng.integers(operator.columns))
        index = operator.leaf_of(row, column)
        data = graph.leaf(operator, values[row], column // operator.leaf_numbers)
        assert len(data) == operator.leaf_bytes
        assert climb(leaf_hash(data), index, tree.proof(index)) == tree.root
        kind = f">i{operator.width.value}"
        numbers = lanes.unpack(data) if operator.width is Width.LANE else np.frombuffer(data, kind)
        assert numbers[column % operator.leaf_numbers] == values[row, column]


def test_tree__a_row__is_a_subtree(traced):
    for _, operator, values in each(traced):
        tree, row = graph.tree(operator, values), operator.rows - 1
        leaves = tree.opening(operator.row_depth, row, operator.row_depth)
        assert fold(leaves) == tree.node(operator.row_depth, row)
        for chunk in range(operator.row_leaves):
            assert leaves[chunk] == leaf_hash(graph.leaf(operator, values[row], chunk))


def test_step_root__any_number_of_a_layer_changed__changes_it(traced):
    a, full = traced
    values = dict(full.layers[0])
    last = graph.operators(a, 1, len(TOKENS))[-1]
    before = graph.tree(last, graph.matrix(last, values)).root
    values["residual"] = values["residual"].copy()
    values["residual"][-1, -1] += 1
    assert graph.tree(last, graph.matrix(last, values)).root != before


def test_v__in_its_tree__has_a_row_for_each_number_of_a_head(traced):
    a, full = traced
    operator = next(each for each in graph.operators(a, 1, len(TOKENS)) if each.name == "v")
    rows = graph.matrix(operator, full.layers[0])
    assert rows.shape == (a.kv_heads * a.head_width, len(TOKENS))
    assert (rows == full.layers[0]["v"].T).all()
