"""A share of `make bench-fleet`: few workers and seconds, and the same promises."""

from bench.fleet import Load, Outcome, at_each, play, quantile, windows

SHARE = Load(
    seconds=4,
    workers=6,
    processes=2,
    turns_a_second=8,
    shortest=0.05,
    longest=0.3,
    kill_every=3,
    leaders=1,
    leader_every=1,
)
KILLED, LEADERS = 3, 1


def test_fleet__workers_and_leaders_vanish__no_turn_is_lost_and_none_signed_for_twice():
    outcome = play(SHARE)
    assert outcome.turns == 40
    assert (outcome.lost, outcome.twice, outcome.wrong) == (0, 0, 0)
    assert (outcome.killed, outcome.leaders) == (KILLED, LEADERS)
    assert len(outcome.takeovers) == LEADERS
    assert max(outcome.takeovers) < 10


def test_figures__of_turns_lost_and_signed_for_twice__count_them():
    found = Outcome(60, turns=4, takeovers=[1.0, 2.0], delays=[(1.0, 0.01), (2.0, 0.02), (30.0, 5.0), (60.0, 9.0)])
    found.signed.update({0: 1, 1: 2, 2: 1})
    figures = found.figures()
    assert (figures["fleet_jobs_lost"], figures["fleet_signed_twice"], figures["fleet_takeover_s"]) == (1, 1, 2.0)
    assert (figures["fleet_dispatch_p50_ms"], figures["fleet_longest_delay_s"]) == (20.0, 5.0)
    assert figures["fleet_takeover_dispatch_p95_ms"] == 9000.0, "of answers after the first leader was gone"


def test_quantile__of_hundred__is_the_value_that_so_many_do_not_exceed():
    values = [float(each) for each in range(100, 0, -1)]
    assert [quantile(values, percent) for percent in (1, 50, 95, 100)] == [1, 50, 95, 100]


def test_windows__of_ten_seconds__each_has_its_own():
    assert list(windows([(0.0, 0.001), (9.9, 0.002), (10.0, 0.003)], 100)) == [(5 / 60, 2.0), (15 / 60, 3.0)]


def test_at_each__multiples_before_the_end():
    assert at_each(2, 6) == [2, 4]
