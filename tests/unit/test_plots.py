"""Pictures of measurements show what was measured."""

from xml.etree import ElementTree

import pytest

from bench import exact_plots, gguf_random
from bench.node_plots import SMOOTHED, memory, throughput
from bench.node_speed import Sample
from bench.plots import HEIGHT, MARGIN, WIDTH, round_ticks, svg
from bench.verdict_margins import Asked, claimed, curve
from models.language import RELATIONS

SAMPLES = [Sample(2.0 * n, 40 * n, 100.0 + n) for n in range(4 * SMOOTHED + 1)]


def test_throughput__twenty_a_second__is_twenty_at_every_number_open():
    found = throughput(SAMPLES, 1_000)
    assert [rate for _, rate in found] == [20.0] * 4
    assert [waiting for waiting, _ in found] == [900.0, 700.0, 500.0, 300.0]


def test_svg__points__lie_within_the_axes_and_words_are_escaped():
    tree = ElementTree.fromstring(svg("a < b", "x & y", "z", {"c > d": memory(SAMPLES)}))
    (line,) = tree.iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert len(points) == len(SAMPLES)
    assert all(MARGIN <= x <= WIDTH - MARGIN and MARGIN <= y <= HEIGHT - MARGIN for x, y in points)
    assert points == sorted(points)


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (35.7, [0, 10, 20, 30, 40]),
        (2_000, [0, 500, 1_000, 1_500, 2_000]),
        (2_001, [0, 500, 1_000, 1_500, 2_000, 2_500]),
        (0.4, [0, 0.1, 0.2, 0.3, 0.4]),
        (0, [0, 1]),
    ],
)
def test_round_ticks__largest_value__is_within_a_few_round_numbers(most, ticks):
    assert round_ticks(most) == pytest.approx(ticks)


def test_svg__nothing_measured__is_empty_and_no_error():
    assert "<polyline" in svg("", "", "", {"": []})


def test_svg__axis_that_begins_above_zero__holds_its_least_at_the_bottom():
    tree = ElementTree.fromstring(svg("", "", "", {"": [(0, 80), (10, 100)]}, least=80))
    (line,) = tree.iter("{http://www.w3.org/2000/svg}polyline")
    assert line.attrib["points"] == f"{MARGIN:.1f},{HEIGHT - MARGIN:.1f} {WIDTH - MARGIN:.1f},{MARGIN:.1f}"
    assert {"80", "100"} <= {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}


def test_curve__sure_and_right__falls_as_more_is_acted_on():
    asked = [Asked(number % 10 != 0 or number >= 50, "yes", float(number)) for number in range(100)]
    found = dict(curve(asked))
    assert (found[50], found[60], found[100]) == (100, pytest.approx(100 * 59 / 60), 95)


def test_claimed__every_question_of_yes_or_no__is_stated_as_a_fact():
    for relation in RELATIONS:
        told = {"a": "Simon", "b": "Portland"}
        assert claimed(relation.asks.format(**told)) == relation.states.format(**told)
    with pytest.raises(ValueError, match="no relation"):
        claimed("Is it so?")


def test_svg__two_lines__are_both_drawn_with_their_names():
    tree = ElementTree.fromstring(svg("", "", "", {"ours": [(0, 1), (2, 3)], "theirs": [(1, 1)]}))
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}polyline"))) == 2
    assert {"ours", "theirs"} <= {text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")}


def test_exact_plots__small_model__measure_both_engines_at_every_point(tmp_path):
    path = gguf_random.cached(gguf_random.TINY, tmp_path)
    reading, token = exact_plots.over_context(path, 1, (16, 32))
    together = exact_plots.over_batch(path, 1, (1, 3))
    for lines, across in ((reading, [16, 32]), (token, [16, 32]), (together, [1, 3])):
        assert list(lines) == ["exact engine", "llama.cpp"]
        for points in lines.values():
            assert [x for x, _ in points] == across
            assert all(y > 0 for _, y in points)
