"""docs/economics.md says what the formulas give, and the formulas agree with counting every panel there can be."""

from fractions import Fraction
from itertools import combinations
from pathlib import Path

import pytest

from tools.economics import break_even, panel_captured, tables

ROOT = Path(__file__).resolve().parents[2]


def test_page__tables__are_the_computed_ones():
    page = (ROOT / "docs" / "economics.md").read_text()
    for table in tables().split("\n\n"):
        assert table in page


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
