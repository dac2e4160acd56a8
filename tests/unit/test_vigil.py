"""The vigil: which answers count as unwatched, and when a service's trouble is over."""

from dataclasses import replace

from unit.test_node_planner import CONTRACTS, ME, REQUEST, SERVICE, answered, view

from oracle.node.plan import Rules
from oracle.node.planner import Planner
from oracle.node.records import Judgement
from oracle.node.vigil import LONGEST_SECONDS, Vigil

RIGHT, WRONG, UNKNOWN = Judgement(True, ""), Judgement(False, "other token"), Judgement(None, "quarantined")
CLOSES = 70


class Watch:
    """A vigil that looks when it is told to."""

    def __init__(self, **rules):
        self.now = 0.0
        self.planner = Planner(CONTRACTS, Rules(stagger_seconds=0, **rules))
        self.vigil = Vigil(lambda: self.now, CONTRACTS.plays)

    def look(self, seconds, *records, verdicts=None, **changes):
        seen = view(seconds, *records, verdicts=verdicts or {}, **changes)
        seen = seen if records else replace(seen, requests=())
        self.vigil.look(seen, self.planner.watched(seen))
        self.now += 1

    def troubles(self, proven_at=None):
        return self.vigil.troubles({} if proven_at is None else {SERVICE: proven_at})


def key(record):
    return record.id, record.posted.answer.hash


def test_look__window_closes_before_a_verdict__is_late():
    watch, record = Watch(), answered(closes=CLOSES)
    watch.look(10, record)
    assert (watch.vigil.unwatched, watch.troubles()) == ({"late": 0, "unknown": 0}, {})
    watch.look(CLOSES, record)
    assert watch.vigil.unwatched == {"late": 1, "unknown": 0}
    assert "window closed before" in watch.troubles()[SERVICE].text
    watch.look(CLOSES + 10, record)
    assert watch.vigil.unwatched["late"] == 1


def test_look__verdict_comes_when_the_window_has_closed__is_late_all_the_same():
    watch, record = Watch(), answered(closes=CLOSES)
    watch.look(10, record)
    watch.look(CLOSES, record, verdicts={key(record): WRONG})
    assert watch.vigil.unwatched["late"] == 1


def test_look__request_already_closed_for_good__is_late():
    watch, record = Watch(), answered(closes=CLOSES)
    watch.look(10, record)
    watch.look(CLOSES + 5)
    assert watch.vigil.unwatched["late"] == 1


def test_look__judged_in_time__is_watched():
    for verdict in (RIGHT, WRONG):
        watch, record = Watch(), answered(closes=CLOSES)
        watch.look(10, record)
        watch.look(20, record, verdicts={key(record): verdict})
        watch.look(CLOSES + 1, record, verdicts={key(record): verdict})
        watch.look(CLOSES + 2)
        assert watch.vigil.unwatched == {"late": 0, "unknown": 0}


def test_look__cannot_be_judged__counts_once_and_at_once():
    watch, record = Watch(), answered(closes=CLOSES)
    watch.look(10, record)
    for seconds in (20, 30, CLOSES, CLOSES + 1):
        watch.look(seconds, record, verdicts={key(record): UNKNOWN})
        assert watch.vigil.unwatched == {"late": 0, "unknown": 1}
        assert "quarantined" in watch.troubles()[SERVICE].text


def test_look__answers_of_one_s_own_or_not_sampled_or_not_to_watch__are_none_of_its_business():
    for watch, changes in (
        (Watch(), {"operator": ME}),
        (Watch(watch=False), {}),
    ):
        record = answered(changes.get("operator", "0x" + "3" * 40), closes=CLOSES)
        watch.look(10, record)
        watch.look(CLOSES + 1, record)
        assert watch.vigil.unwatched["late"] == 0
    watch, record = Watch(), answered(closes=CLOSES)
    watch.look(10, record, sampled=lambda request: False)
    watch.look(CLOSES + 1, record, sampled=lambda request: False)
    assert watch.vigil.unwatched["late"] == 0


def test_look__answer_rejected_or_before_a_panel__did_not_close_unwatched():
    for after in ({"state": "open", "posted": None}, {"state": "disputed"}):
        watch, record = Watch(), answered(closes=CLOSES)
        watch.look(10, record)
        watch.look(CLOSES + 1, replace(record, **after))
        assert watch.vigil.unwatched["late"] == 0


def test_troubles__an_hour_and_a_proof_later_or_another_answer_judged__are_over():
    watch, record = Watch(), answered(closes=CLOSES)
    watch.look(10, record)
    watch.look(CLOSES, record)
    assert watch.troubles(proven_at=1.5), "an engine may prove itself and judge nothing"
    watch.now = 1 + LONGEST_SECONDS
    assert watch.troubles(proven_at=0.5), "a proof from before the lapse ends nothing"
    assert not watch.troubles(proven_at=1.5)
    later = answered(closes=200, number=1)
    watch.look(CLOSES + 10, later)
    assert watch.troubles()
    watch.look(CLOSES + 11, later, verdicts={key(later): RIGHT})
    assert not watch.troubles()


def test_troubles__one_that_cannot_be_judged_beside_one_that_was__last():
    """A verdict before the lapse does not hide it."""
    watch, one, other = Watch(), answered(closes=CLOSES), answered(closes=CLOSES, number=1)
    watch.look(10, one, other)
    watch.look(CLOSES, one, other, verdicts={key(one): RIGHT})
    assert watch.vigil.unwatched["late"] == 2
    assert watch.troubles()[SERVICE].text.startswith("2 answers")
    assert REQUEST.id == one.id
