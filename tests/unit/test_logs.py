"""Log lines for people: they fit a terminal, amounts have units, and nothing of it reaches machines' lines."""

import io
import json
import re

import pytest
import structlog

from oracle.chain.units import ETHER, GWEI, amount, ether
from oracle.node import logs

HASH = "0x" + "ab" * 32


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored():
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def say(form, out):
    logs.configure(form, "info", out)
    structlog.get_logger().info(
        "request finalized", block=123_456, tx_hash=HASH, request_id="0x2a", paid_wei=3 * ETHER // 2, fee_wei=41 * GWEI
    )
    return out.getvalue()


@pytest.mark.parametrize("columns", [72, 80, 100, 200])
def test_line__on_a_terminal__fits_its_width_and_loses_nothing(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    bare = logs.COLOURS.sub("", say("console", Terminal()))
    widest = max(map(len, bare.rstrip("\n").split("\n")))
    assert widest <= max(columns, len(logs.INDENT) + len("tx_hash=") + len(HASH))
    joined = re.sub(r"\s+", " ", bare)
    for part in ("request finalized", "block=123456", f"tx_hash={HASH}", "request_id=0x2a"):
        assert part in joined, bare


def test_line__into_a_file__stays_one_line():
    said = say("console", io.StringIO())
    assert said.count("\n") == 1
    assert f"tx_hash={HASH}" in said


def test_amounts__for_people__carry_their_unit_and_for_machines_are_wei():
    said = say("console", io.StringIO())
    assert "paid='1.5 ether'" in said
    assert "fee='41 gwei'" in said
    assert "_wei" not in said
    told = json.loads(say("json", io.StringIO()))
    assert (told["paid_wei"], told["fee_wei"]) == (3 * ETHER // 2, 41 * GWEI)


@pytest.mark.parametrize(
    ("wei", "said"),
    [
        (0, "0 ether"),
        (1, "0.000000001 gwei"),
        (-3 * GWEI, "-3 gwei"),
        (10**12, "0.000001 ether"),
        (10**12 - 1, "999.999999999 gwei"),
        (10 * ETHER, "10 ether"),
        (ETHER + 1, "1.000000000000000001 ether"),
    ],
)
def test_amount__any__is_exact(wei, said):
    assert amount(wei) == said


def test_ether__round_number__keeps_its_zeros_before_the_point():
    assert ether(1200 * ETHER) == "1200"


def test_folded__traceback_below_a_line__is_left_as_it_is():
    assert logs.folded("event a=1 b=2\nTraceback:\n  deep" + " x" * 60, 9).endswith("Traceback:\n  deep" + " x" * 60)
