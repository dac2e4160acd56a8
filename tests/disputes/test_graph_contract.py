"""The layout of traces in Solidity against Python's, for models of all families and sizes."""

from dataclasses import astuple
from fractions import Fraction

import pytest
from disputes.stand import harness
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle.disputes import graph
from oracle.engines.exact.architecture import FAMILIES, Architecture

LLAMA_8B = Architecture(
    family="llama",
    layers=32,
    width=4096,
    hidden=14336,
    heads=32,
    kv_heads=8,
    head_width=128,
    rope_width=128,
    rope_base=Fraction(500_000),
    rope_divisor=Fraction(1),
    epsilon=Fraction(1, 100_000),
    context=8192,
    vocabulary=128_256,
)


@pytest.fixture(scope="module")
def contract():
    with harness("GraphHarness") as deployed:
        yield deployed


def model(a: Architecture) -> tuple:
    return (a.head_norms, a.is_gemma, a.layers, a.width, a.hidden, a.heads, a.kv_heads, a.head_width, a.vocabulary)


@st.composite
def architectures(draw) -> Architecture:
    size = st.integers(1, 600)
    values = dict(zip(LLAMA_8B.__dataclass_fields__, astuple(LLAMA_8B), strict=True))
    values["family"] = draw(st.sampled_from(FAMILIES))
    values["kv_heads"] = draw(st.integers(1, 9))
    values["heads"] = values["kv_heads"] * draw(st.integers(1, 5))
    values |= {name: draw(size) for name in ("width", "hidden", "head_width", "vocabulary")}
    return Architecture(**values | {"layers": draw(st.integers(1, 4))})


def refused(call, signature: str, *arguments: int) -> None:
    with pytest.raises(Exception) as caught:
        call.call()
    data = keccak(signature.encode())[:4] + encode(["uint256"] * len(arguments), arguments)
    assert "0x" + data.hex() in str(caught.value)


def test_tensor__no_such_step_or_operator_or_position__is_refused(contract):
    m = model(LLAMA_8B)
    refused(contract.functions.tensor(m, 34, 0, 1), "NoSuchStep(uint256,uint256)", 34, 34)
    for step, count in ((0, 1), (1, 47), (32, 47), (33, 12)):
        refused(contract.functions.tensor(m, step, count, 1), "NoSuchOperator(uint256,uint256)", count, count)
    refused(contract.functions.tensor(m, 1, 0, 0), "NoPositions()")


def same(contract, a: Architecture, positions: int) -> None:
    assert contract.functions.steps(model(a)).call() == graph.steps(a)
    for step in {0, 1, a.layers, a.layers + 1}:
        wanted = [
            [each.rows, each.columns, each.width.value, each.leaf_bytes, each.row_depth, each.depth]
            for each in graph.operators(a, step, positions)
        ]
        assert contract.functions.layouts(model(a), step, positions).call() == wanted
        assert contract.functions.indices(model(a), step).call() == list(range(len(wanted)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(architectures(), st.integers(1, 700))
def test_layout__any_model__is_python_s(contract, a, positions):
    same(contract, a, positions)


def test_layout__llama_8b_with_512_positions__is_python_s(contract):
    same(contract, LLAMA_8B, 512)
