"""Whole games on chain: whoever lies loses, whatever the lie, and loses to one challenger who computes for itself."""

import numpy as np
import pytest
from disputes.court import ANSWERED, ETHER, OPEN, Court
from exact.random_model import gemma3, write
from rig.anvil import anvil

from oracle.demo.false_pass import FalsePass
from oracle.disputes import graph
from oracle.disputes.game import Stage
from oracle.disputes.passes import Pass

PROMPT = [9, 4, 11, 7]
WINDOW = (("attention.sliding_window", 3), ("attention.sliding_window_pattern", 2))
SHAPE = gemma3(layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16, extra=WINDOW)
"""The family with the most operators; its first layer sees three positions."""


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    with anvil() as chain:
        yield Court.opened(chain, write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE))


@pytest.fixture(scope="module")
def wrong(court):
    """An answer whose second token is wrong."""
    return court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=3)


def test_play__a_lie_at_any_operator_of_any_layer__is_found_and_loses(fresh, wrong):
    court, a = fresh, fresh.tracer.architecture
    rng = np.random.default_rng(2)
    positions = len(wrong.tokens.prompt) + 1
    honest = court.view(wrong, positions)
    snapshot = court.chain.rpc("evm_snapshot")
    played = 0
    for step in range(graph.steps(a)):
        for operator in graph.operators(a, step, positions):
            row, column = int(rng.integers(operator.rows)), int(rng.integers(operator.columns))
            row = [0, operator.rows - 1, row][played % 3]
            liar = FalsePass(honest, step, operator.name, row, column, by=int(rng.integers(1, 5)))
            who = court.people[5]
            before = court.credit(who)
            game = court.challenge(wrong, positions, who)
            court.play(game, wrong, liar, honest, who)
            assert court.status(wrong) == OPEN, (step, operator.name, row, column)
            assert court.state(game).stage is Stage.OVER
            assert court.credit(who) - before == ETHER * 3 // 10 + ETHER // 10
            court.chain.rpc("evm_revert", snapshot)
            snapshot = court.chain.rpc("evm_snapshot")
            played += 1
    assert played == 1 + 2 * 71 + 12


def test_play__whole_game__takes_each_side_one_prefill_and_one_layer(fresh, wrong):
    """And the end, whose root stands in the first list."""
    court, positions = fresh, len(wrong.tokens.prompt) + 1
    sides = {}
    for side in ("node", "challenger"):
        tracer = Counting(court.tracer)
        sides[side] = (tracer, Pass(court.model, tracer, wrong.tokens, positions))
    liar = FalsePass(sides["node"][1], 2, "down", 1, 5)
    game = court.challenge(wrong, positions, court.people[5])
    court.play(game, wrong, liar, sides["challenger"][1], court.people[5])
    assert court.status(wrong) == OPEN
    for tracer, _ in sides.values():
        assert tracer.prefills == 1
        assert tracer.steps == [court.tracer.architecture.layers + 1, 2]


class Counting:
    """A tracer that counts what it is asked to compute."""

    def __init__(self, tracer):
        self._tracer, self.architecture = tracer, tracer.architecture
        self.prefills, self.steps = 0, []

    def residuals(self, tokens):
        self.prefills += 1
        return self._tracer.residuals(tokens)

    def step(self, step, before, tokens):
        self.steps.append(step)
        return self._tracer.step(step, before, tokens)


def test_play__logits_admitted__the_choice_loses(fresh, wrong):
    positions = len(wrong.tokens.prompt) + 1
    honest = fresh.view(wrong, positions)
    game = fresh.challenge(wrong, positions, fresh.people[5])
    receipts = fresh.play(game, wrong, honest, honest, fresh.people[5])
    assert fresh.status(wrong) == OPEN
    assert len(receipts) == 4  # steps, pick, operators, choice


def test_play__right_token_challenged__the_node_stands(fresh, wrong):
    positions = len(wrong.tokens.prompt)
    honest = fresh.view(wrong, positions)
    game = fresh.challenge(wrong, positions, fresh.people[5])
    before = fresh.credit(fresh.node)
    fresh.play(game, wrong, honest, honest, fresh.people[5])
    assert fresh.status(wrong) == ANSWERED
    assert fresh.credit(fresh.node) - before == 9 * ETHER // 1000 * 2 * 6 // 5
    assert fresh.credit(fresh.people[5]) == 0
