"""The whole referee against the reference: every operator of every family, each input bound to what is agreed upon."""

import numpy as np
import pytest
from disputes.case import POSITIONS, Case
from disputes.stand import LARGE
from exact.random_model import Kind, Shape, gemma3, write

from oracle.disputes import lanes
from oracle.disputes.graph import Operator, Width

SHAPES = {
    "llama": Shape(family="llama", heads=4, kv_heads=2, head_width=16, rope_width=8, width=288, hidden=544),
    "qwen2": Shape(family="qwen2", kind=Kind.Q4_0, heads=2, kv_heads=1, head_width=320, rope_width=320, layers=3),
    "qwen3": Shape(family="qwen3", heads=6, kv_heads=3, head_width=96, rope_width=96, width=64, tied=True),
    "q6_k": Shape(family="llama", kind=Kind.Q6_K, width=256, hidden=256, heads=2, kv_heads=2, head_width=128),
    "q4_k": Shape(family="qwen3", kind=Kind.Q4_K, width=256, hidden=512, heads=2, kv_heads=1, head_width=256),
    "gemma3": gemma3(heads=6, kv_heads=3, head_width=96, rope_width=80, width=288),
    "f16": Shape(family="qwen2", kind=Kind.F16, width=40, hidden=50, heads=2, kv_heads=1, head_width=20, rope_width=20),
}


@pytest.fixture(scope="module", params=SHAPES)
def case(request, stand, tmp_path_factory):
    return Case.of(stand, write(tmp_path_factory.mktemp("model") / f"{request.param}.gguf", SHAPES[request.param]))


def changed(operator: Operator, data: bytes, element: int, by: int) -> bytes:
    """A leaf with one number changed."""
    if operator.width is Width.LANE:
        numbers = lanes.unpack(data)
        numbers[element] += by if numbers[element] + by <= 32767 else -by
        return lanes.pack(numbers)
    numbers = np.frombuffer(data, f">i{operator.width.value}").astype(np.int64)
    numbers[element] += by
    return numbers.astype(f">i{operator.width.value}").tobytes()


def places(operator: Operator, rng: np.random.Generator) -> list[tuple[int, int]]:
    """First, last and random elements; `test_borders.py` has the indices near every border."""
    found = {(0, 0), (operator.rows - 1, operator.columns - 1)}
    found |= {(int(rng.integers(operator.rows)), int(rng.integers(operator.columns))) for _ in range(2)}
    return sorted(found)


def test_is_wrong__every_operator_of_first_and_last_layer__tells_the_reference_s_number_from_another(case):
    rng = np.random.default_rng(4)
    asked = 0
    for step in sorted({0, 1, len(case.steps) - 2, len(case.steps) - 1}):
        view = case.steps[step]
        for operator in view.layout.operators:
            for row, column in places(operator, rng):
                leaf, element = operator.leaf_of(row, column), column % operator.leaf_numbers
                inputs = case.inputs(step, operator, row, column)
                data = view.leaf(operator.name, leaf)
                what = (step, operator.name, row, column)
                assert not case.ask(step, operator.name, leaf, data, element, inputs).call(LARGE), what
                lie = changed(operator, data, element, 1 if rng.integers(2) else 3)
                assert case.ask(step, operator.name, leaf, lie, element, inputs).call(LARGE), what
                asked += 2
    assert asked > 500


def test_is_wrong__what_fills_a_leaf_or_a_row_up__must_be_zero(case):
    for step in (1, len(case.steps) - 1):
        view = case.steps[step]
        for operator in view.layout.operators:
            spare = operator.row_leaves * operator.leaf_numbers - operator.columns
            if spare:
                leaf = operator.leaf_of(0, operator.columns - 1)
                data, element = view.leaf(operator.name, leaf), operator.leaf_numbers - 1
                assert not case.ask(step, operator.name, leaf, data, element, []).call(LARGE)
                lie = changed(operator, data, element, 1)
                assert case.ask(step, operator.name, leaf, lie, element, []).call(LARGE), operator
            beyond = operator.rows << operator.row_depth
            if beyond < 1 << operator.depth:
                assert not case.ask(step, operator.name, beyond, bytes(32), 0, []).call(LARGE)
                assert case.ask(step, operator.name, beyond, bytes(31) + b"\1", 0, []).call(LARGE)


def test_is_wrong__around_the_first_number_that_no_rotation_turns__is_told_from_another(case):
    view, a = case.steps[1], case.model.architecture
    for name in ("q_rope", "k_rope"):
        operator = view.layout.operator(name)
        for column in {a.rope_width - 1, a.rope_width} - {a.head_width}:
            inputs = case.inputs(1, operator, 1, column)
            assert len(inputs) == (3 if column < a.rope_width else 1)
            leaf = operator.leaf_of(1, column)
            data, element = view.leaf(name, leaf), column % operator.leaf_numbers
            assert not case.ask(1, name, leaf, data, element, inputs).call(LARGE)
            assert case.ask(1, name, leaf, changed(operator, data, element, 1), element, inputs).call(LARGE)


def test_is_wrong__around_the_first_position_that_the_last_sees__what_is_not_seen_must_be_zero(case):
    """With a window these are as many, itself among them; else all."""
    view, a = case.steps[1], case.model.architecture
    position, window = POSITIONS - 1, a.window_of(0) or POSITIONS
    for name in ("score", "share"):
        operator = view.layout.operator(name)
        row = position * a.heads
        leaf = operator.leaf_of(row, 0)
        data = view.leaf(name, leaf)
        for column in sorted({0, max(0, position - window), position - window + 1, position}):
            inputs = case.inputs(1, operator, row, column)
            assert (inputs == []) == (column <= position - window)
            assert not case.ask(1, name, leaf, data, column, inputs).call(LARGE)
            assert case.ask(1, name, leaf, changed(operator, data, column, 1), column, inputs).call(LARGE)
