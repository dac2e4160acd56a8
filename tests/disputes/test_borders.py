"""Indices at every border: Solidity and Python address the same numbers, and what only fills up is no number."""

from dataclasses import replace

import numpy as np
import pytest
from disputes.case import Case
from disputes.court import Court
from disputes.stand import called, harness, refused
from disputes.test_graph_contract import LLAMA_8B, model
from eth_abi.abi import encode
from eth_hash.auto import keccak
from exact.random_model import Shape, write
from rig.anvil import anvil

from oracle.chain import headers
from oracle.disputes import graph
from oracle.disputes.inputs import Number, entry_input, list_tree
from oracle.engines import sampling

NO_NUMBER = "NoSuchNumber(uint256,uint256,uint256,uint256)"
FAR = [1 << 16, 1 << 40, 1 << 248, (1 << 256) - 1]
VOCABULARIES = [255, 256, 257, 377, 512, 151_936, 128_256]
"""Qwen's and Llama's among them; multiples of 256 and others."""
MODELS = [
    replace(LLAMA_8B, family=family, layers=2, vocabulary=vocabulary, width=width, hidden=300, heads=heads, kv_heads=2)
    for vocabulary in VOCABULARIES
    for family, width, heads in (("llama", 512, 4), ("qwen3", 288, 6), ("gemma3", 288, 6))
]


@pytest.fixture(scope="module")
def contract():
    with harness("GraphHarness") as deployed:
        yield deployed


def borders(count: int, leaf: int) -> list[int]:
    """Indexes around the first, the last, what fills the last leaf up, and the next power of two; and far ones."""
    near = {0, leaf, count, -(-count // leaf) * leaf, 1 << graph.depth(count), leaf << graph.depth(-(-count // leaf))}
    return sorted({each + by for each in near for by in (-1, 0, 1) if each + by >= 0} | set(FAR))


def python_s(operator: graph.Operator, row: int, column: int) -> bytes:
    """What the contract must return for it: the leaf's index, or the error's data."""
    try:
        return encode(["uint256"], [operator.leaf_of(row, column)])
    except IndexError:
        return keccak(NO_NUMBER.encode())[:4] + encode(["uint256"] * 4, [row, column, operator.rows, operator.columns])


@pytest.mark.parametrize("a", MODELS, ids=lambda a: f"{a.family}-{a.vocabulary}")
def test_leaf_of__every_border_of_every_operator__is_python_s_or_refused_alike(contract, a):
    refusals = 0
    for step in (0, 1, a.layers + 1):
        for index, operator in enumerate(graph.operators(a, step, 7)):
            rows, columns = borders(operator.rows, 1), borders(operator.columns, operator.leaf_numbers)
            places = [(row, column) for row in rows for column in columns]
            wanted = [python_s(operator, *place) for place in places]
            assert list(called(contract, "leavesOf", model(a), step, index, 7, places)) == wanted, operator
            refusals += sum(len(each) != 32 for each in wanted)
    assert refusals > 1000


# THE REFEREE ITSELF


@pytest.fixture(scope="module", params=[0, 135], ids=["vocabulary-377", "vocabulary-512"])
def court(request, tmp_path_factory):
    shape = Shape(family="llama", layers=1, width=64, hidden=96, gain=0.05, spare_tokens=request.param)
    with anvil() as chain:
        yield Court.opened(chain, write(tmp_path_factory.mktemp("model") / "model.gguf", shape))


def baits(court, right):
    """How many numbers beyond the vocabulary, of worth 0 and with noise like a token's, would beat the drawn token."""
    start, vocabulary, count = len(right.tokens.prompt), court.tracer.architecture.vocabulary, 0
    inverse = sampling.inverse_temperature(right.params.temperature)
    for position, chosen in enumerate(right.tokens.output):
        end = court.view(right, start + position).step(court.tracer.architecture.layers + 1)
        noise = sampling.noise(right.params.seed, position, np.array([chosen, *range(vocabulary, 512)]))
        least = int(end.matrix("logits")[0, chosen]) * inverse + (int(noise[0]) << 8)
        count += int((noise[1:].astype(object) << 8 > least).sum())
    return count


def test_choice__any_index_as_the_better_token__never_beats_the_drawn_one(court):
    """What fills up the last leaf of the logits draws noise like a token, and has worth 0."""
    prompt, vocabulary = [9, 4, 11, 7], court.tracer.architecture.vocabulary
    for _ in range(20):  # its seed is the chain's: until noise at the end would beat a token, if there is an end
        right = court.answered(
            prompt, lambda params: court.honest(prompt, params.max_tokens, params), max_tokens=20, temperature=1 << 16
        )
        if vocabulary == 512 or baits(court, right):
            break
    else:
        raise AssertionError("no noise at the end beats a token, in 20 answers")
    header = headers.encode(court.chain.rpc("eth_getBlockByNumber", hex(right.request.seed_block), False))
    start = len(right.tokens.prompt)
    for position, chosen in enumerate(right.tokens.output):
        end = court.view(right, start + position).step(court.tracer.architecture.layers + 1)
        operators = list_tree(end.roots)
        for better in [*range(0, 520, 26), *range(vocabulary - 2, 514, 5), 511, 512, *FAR]:
            held = Number("logits", 0, min(better, vocabulary - 1))
            inputs = [
                entry_input(right.tokens, start + position),
                end.input(Number("logits", 0, chosen), operators, operators),
                end.input(held, operators, operators),
                (header, bytes(32), [], []),
            ]
            call = court.stand.tokens.functions.isWrongChoice(
                *(right.request.words, right.answer.words, court.manifest.model_id, right.tokens.words),
                *(start + position, operators.root, right.prompt, better, inputs),
            )
            if better < vocabulary:
                assert call.call() is False, better
            else:
                refused(call, NO_NUMBER, 0, better, 1, vocabulary)


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def case(request, stand, tmp_path_factory):
    return Case.of(
        stand, write(tmp_path_factory.mktemp("model") / f"{request.param}.gguf", Shape(family=request.param))
    )


def test_is_wrong__every_element_around_every_border__is_ruled_on_as_python_says(case):
    """Numbers and what fills up: of an honest trace nothing is wrong; beyond a leaf's size there is nothing to ask."""
    asked = 0
    for step in (0, 1, len(case.steps) - 1):
        view = case.steps[step]
        for operator in view.layout.operators:
            row, last = operator.rows - 1, operator.row_leaves - 1
            leaf = (row << operator.row_depth) + last
            data = view.leaf(operator.name, leaf)
            held = len(data) // 2 if operator.width is graph.Width.LANE else operator.leaf_numbers
            for element in borders(operator.columns - last * operator.leaf_numbers, operator.leaf_numbers):
                column = last * operator.leaf_numbers + element
                there = element < operator.leaf_numbers and column < operator.columns
                inputs = case.inputs(step, operator, row, column) if there else []
                call = case.ask(step, operator.name, leaf, data, element, inputs)
                if element < held:
                    assert call.call({"gas": 1 << 33}) is False, (operator.name, element)
                else:
                    refused(call, "NoSuchElement(uint256,uint256)", element, held)
                asked += 1
    assert asked > 300


def test_reads__of_a_number_that_is_none__are_refused(case):
    for view in case.steps:
        for operator in view.layout.operators:
            for row, column in ((operator.rows, 0), (0, operator.columns), (-1, 0), (0, -1)):
                with pytest.raises(IndexError, match="no number"):
                    view.layout.reads(operator, row, column, case.tokens.ids)
