"""docs/economics.md says what the formulas give, and the formulas agree with counting every panel there can be."""

import re
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest

from oracle.client.devnet import GAME
from tools.economics import break_even, panel_captured, tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "economics.md").read_text()


def test_page__tables__are_the_computed_ones():
    for table in tables().split("\n\n"):
        assert table in PAGE


def worked_out(formula: str, **letters: int) -> Fraction:
    """A formula of the page, as `2 C + (n - 1) q`, by the letters that it gives to a service's terms."""
    value: Fraction = eval(re.sub(r"(?<=[\w)]) (?=[\w(])", " * ", formula.replace(" x ", " * ")), {}, letters)
    return Fraction(value)


@pytest.mark.parametrize("games", [0, 1, 2, 19, 500])
@pytest.mark.parametrize("answers", [0, 1, 7])
def test_page__formulas_of_times_and_prices__are_those_of_the_terms(games, answers):
    """tests/disputes/test_game_anvil.py holds the terms to the contract."""
    terms = replace(GAME, clock_seconds=4_001, move_seconds=37, first_move_seconds=613, queue_seconds=127)
    times = {"C": 4_001, "m": 37, "f": 613, "q": 127}
    clock, delay = re.findall(r"^    (.+?)(?:  +and f more if n > 1)?$", PAGE, re.MULTILINE)
    (longest,) = re.findall(r"the game ends within `([^`]+)`", PAGE)
    (price,) = re.findall(r"The k-th open game costs `([^`]+)`", PAGE)
    opened = {"g": games, "a": answers}
    assert worked_out(clock, **times, **opened) == terms.node_clock_seconds(games, answers)
    assert worked_out(longest, **times, **opened) == terms.longest_seconds(games, answers)
    if games:
        more = 613 if games > 1 else 0
        assert worked_out(delay, **times, n=games) + more == terms.delay_seconds(games)
    costs = worked_out(price, B=terms.challenge_bond_wei, k=Fraction(games))
    assert min(costs, terms.ceiling_wei) == terms.price_wei(games)


@pytest.mark.parametrize(("owners", "dishonest", "size"), [(7, 1, 3), (7, 3, 3), (9, 4, 5), (9, 9, 3)])
def test_panel_captured__small_services__equals_counting(owners, dishonest, size):
    """Owner 0 answered and is dishonest; every panel of the others is as likely."""
    panels = list(combinations(range(1, owners), size))
    captured = sum(sum(member < dishonest for member in panel) > size // 2 for panel in panels)
    assert panel_captured(owners, dishonest, size) == Fraction(captured, len(panels))


def test_break_even__at_that_value__lying_and_honesty_pay_alike():
    captured, bond = Fraction(1, 10), Fraction(1)
    value = break_even(captured, bond)
    assert captured * value - (1 - captured) * bond / 2 == 0
