"""Weekly sums and kept moves: which week, whose, and that a reorganisation takes them back."""

import csv
import io
import json

import pytest
from typer.testing import CliRunner

from oracle.chain.sender import Intent
from oracle.cli import app
from oracle.ids import RequestId, ServiceId
from oracle.journal.journal import BlockRef, Journal
from oracle.journal.outbox import Outbox
from oracle.node import money
from oracle.node.assembly import JOURNAL
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


def test_report__as_csv_and_json__a_line_for_each_week_and_service_with_the_gas_price_that_nets_nothing(tmp_path):
    opened = Journal(tmp_path / JOURNAL, "1:x", ballast_bytes=0)
    with opened.write() as tx:
        tx.add_block(BlockRef(2, b"\2" * 32, MONDAY + 8 * 86_400))
        tx.set("operator", US)
        book(tx, SERVICE, US, block=1, at=MONDAY, fees_wei=10**15, fines_wei=10**14)
        book(tx, SERVICE, US, block=2, at=MONDAY + 8 * 86_400, disputes_wei=10**16)
        outbox = Outbox(tx, US)
        outbox.plan(Intent("answer", "0x" + "22" * 20, b"x", 5, service=SERVICE), 1)
        outbox.add_nonce(0, "answer", 1)
        outbox.set_intent("answer", "mined", nonce=0, mined_block=1)
        outbox.set_cost(0, 90_000, 18 * 10**13, MONDAY)
    opened.close()
    (tmp_path / "didyma.toml").write_text(
        f'rpc_urls = ["http://127.0.0.1:1"]\nservices = ["0x{SERVICE.hex()}"]\n'
        'deployment = "none.json"\ndata_dir = "."\n'
    )

    def said(*options):
        done = CliRunner().invoke(app, ["node", "report", "--config", str(tmp_path / "didyma.toml"), *options])
        assert done.exit_code == 0, done.output
        return done.output

    first, second = csv.DictReader(io.StringIO(said("--csv")))
    assert (first["week"], second["week"]) == ("2025-12-01", "2025-12-08")
    assert {first["service"], second["service"]} == {f"0x{SERVICE.hex()}"}
    assert (first["fees_wei"], first["fines_wei"], first["gas_used"]) == (str(10**15), str(10**14), "90000")
    assert (first["net_wei"], first["break_even_wei"]) == (str(9 * 10**14 - 18 * 10**13), str(10**10))
    assert (second["disputes_wei"], second["break_even_wei"]) == (str(10**16), "")
    whole = json.loads(said("--json"))
    assert [line["net_wei"] for line in whole["lines"]] == [int(first["net_wei"]), int(second["net_wei"])]
    assert whole["total"]["break_even_wei"] == (10**16 + 9 * 10**14) // 90_000
    assert [line["week"] for line in json.loads(said("--json", "--weeks", "1"))["lines"]] == ["2025-12-08"]


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
