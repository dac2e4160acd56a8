"""The search of `search.py` finds nothing on the rules as they are, and finds each fault that they once had."""

from collections import Counter

import pytest
from disputes.rules import WAIT_BLOCKS, Refused, Rules, place
from disputes.search import TERMS, Choices, MakePlay, Outcome, Play, best_lines, broken, every_line, standard
from disputes.toy import ToyReferee

from oracle.disputes.game import Stage

SHARE = 2500
"""Lines of each search that every run of the tests plays; `make prove` plays tens of thousands."""


class WithoutTime(Rules):
    """Another game's opening counts as made at the last moment: the node has no time left in all that share it."""

    def game(self, game):
        state = self.stored(game)
        if not state.node_to_move or state.stage is Stage.OVER or place(state) not in self.answers[game[0]].openings:
            return state
        deadline = state.deadline + max(state.challenger_seconds, self.terms.move)
        return type(state)(**state.__dict__ | {"node_seconds": 0, "node_to_move": False, "deadline": deadline})


class Unqueued(Rules):
    """Games side by side do not lengthen each other's clocks."""

    class Nothing(Counter):
        def __getitem__(self, key):
            return 0

    def __init__(self, terms, referee):
        super().__init__(terms, referee)
        self.backlog = self.Nothing()


class Exact(Rules):
    """A challenge must bring the price to the wei, whatever was paid in the second before."""

    def _challenge(self, answer, who, stage, positions, paid, now):
        if paid != self.price(answer):
            raise Refused("WrongChallengeBond")
        return super()._challenge(answer, who, stage, positions, paid, now)


class Unguarded(Rules):
    """A refutation pays whoever sends it, at once."""

    def refute(self, answer, who, malformed, block=0, call=None):
        self.posted[who, call] = block - WAIT_BLOCKS
        super().refute(answer, who, malformed, block, call)


class Bidder(Play):
    """Sends the price of the second before."""

    def _coalition(self):
        self.seen = self.rules.price(0)
        super()._coalition()

    def _offer(self):
        return self.seen


def with_fault(rules: type[Rules], play: type[Play] = Play) -> MakePlay:
    def make(choices: Choices, lying: bool) -> Play:
        return play(choices, rules(TERMS, ToyReferee()), lying)

    return make


FAULTS = {
    "openings without time": (with_fault(WithoutTime), False, "a right answer died"),
    "no queue": (with_fault(Unqueued), False, "a right answer died"),
    "exact prices": (with_fault(Exact, Bidder), True, "a wrong answer stands"),
    "refutations that pay their sender": (with_fault(Unguarded), True, "a refutation was copied"),
}


def first(outcomes, lying: bool) -> Outcome | None:
    return next((outcome for outcome in outcomes if broken(outcome, lying)), None)


@pytest.mark.parametrize("lying", [False, True], ids=["right answer", "wrong answer"])
def test_search__of_the_rules__finds_no_line_that_gains(lying):
    for outcomes in (every_line(lying, SHARE), best_lines(lying, SHARE, seed=1)):
        assert first(outcomes, lying) is None


@pytest.mark.parametrize(("make", "lying", "promise"), FAULTS.values(), ids=FAULTS)
def test_search__of_rules_with_a_fault_put_back__finds_it(make, lying, promise):
    found = first(best_lines(lying, SHARE, seed=1, make=make), lying)
    assert found is not None
    assert broken(found, lying) == promise


def test_search__breadth_first__plays_no_line_twice_and_the_empty_one_first():
    lines = [outcome.line for outcome in every_line(False, 400)]
    assert lines[0] == ()
    assert len(set(lines)) == len(lines)
    assert max(map(len, lines)) >= 3
    assert standard(Choices(()), False).run().games == 0
