"""Weekly sums and kept moves: which week, whose, and that a reorganisation takes them back."""

import pytest

from oracle.ids import RequestId, ServiceId
from oracle.journal.journal import BlockRef, Journal
from oracle.node import money
from oracle.node.history import MOST_VALUES, Sums, WeekRecord, book, keep_move, moves_of, week_begins, week_of
from oracle.node.money import Line

SERVICE, US = ServiceId(b"\1" * 32), "0x" + "Ab" * 20
MONDAY = 1_764_547_200  # 2025-12-01, 0:00 UTC


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path / "j.sqlite", "1:x", ballast_bytes=0)
    yield opened
    opened.close()


@pytest.mark.parametrize(("at", "week"), [(MONDAY - 1, 2917), (MONDAY, 2918), (MONDAY + 7 * 86_400 - 1, 2918)])
def test_week__begins_on_monday(at, week):
    assert week_of(at) == week
    assert week_begins(2918) == MONDAY
    assert Line(None, 2918).begins == "2025-12-01"


def test_book__seat_and_address_in_two_weeks__are_kept_apart_and_go_back_with_their_block(journal):
    with journal.write() as tx:
        tx.add_block(BlockRef(1, b"\1" * 32, MONDAY))
        tx.set("operator", US)
        book(tx, SERVICE, 3, block=1, at=MONDAY, fees_wei=10)
        book(tx, SERVICE, US, block=1, at=MONDAY, disputes_wei=5)
        book(tx, SERVICE, US, block=2, at=MONDAY + 1, disputes_wei=7)
        book(tx, SERVICE, US, block=3, at=MONDAY + 8 * 86_400, disputes_wei=10**30)
        book(tx, SERVICE, US, block=3, at=MONDAY, fees_wei=0)
        weeks = {(week.week, week.who): week.sums for week in map(WeekRecord.of, tx.jobs("week"))}
        assert weeks == {
            (2918, "seat-3"): Sums(fees_wei=10),
            (2918, US.lower()): Sums(disputes_wei=12),
            (2919, US.lower()): Sums(disputes_wei=10**30),
        }
        assert [line.sums for line in money.lines(tx)] == [Sums(disputes_wei=12), Sums(disputes_wei=10**30)]
        assert [line.week for line in money.lines(tx, since=2919)] == [2919]
        tx.rollback(1)
        assert [line.sums for line in money.lines(tx)] == [Sums(disputes_wei=5)]


def test_line__break_even__is_the_price_at_which_it_nets_nothing():
    line = Line(None, 0, Sums(fees_wei=1000, fines_wei=100), paid_in_wei=300, gas_used=20, gas_wei=200)
    assert (line.before_gas_wei, line.net_wei, line.break_even_wei) == (600, 400, 30)
    assert Line(None, 0, Sums(fees_wei=1)).break_even_wei is None
    assert line.plus(line).net_wei == 800


def test_move__long_values_and_lists__only_their_size_and_start_are_kept(journal):
    ids = {"gameId": 5, "caseId": b"\2" * 32, "place": b"\3" * 32}
    with journal.write() as tx:
        for index, event in enumerate(
            [
                ("ListOpened", {"nodes": [b"\4" * 32] * 9}),
                ("ValuesOpened", {"values": b"\7" * (MOST_VALUES + 10)}),
                ("AnswerKilled", {"rewardWei": 10**30, "prover": US}),
            ]
        ):
            name, args = event
            about = {"block": 9, "at": 1000, "tx_hash": b"\5" * 32}
            keep_move(tx, RequestId(1), name, {**ids, **args}, index=index, **about)
        first, second, third = moves_of(tx, RequestId(1))
        assert moves_of(tx, RequestId(11)) == []
    assert (first.game, first.case, first.place, len(first.args["nodes"])) == (5, b"\2" * 32, b"\3" * 32, 9)
    assert second.args["values"] == (b"\7" * MOST_VALUES).ljust(MOST_VALUES + 10, b"\0")
    assert third.args == {"rewardWei": 10**30, "prover": US}
