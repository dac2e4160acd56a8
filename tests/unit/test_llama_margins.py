"""How far a token lies below the best, against the definition in Python integers of any size."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oracle.engines.base import Params
from oracle.engines.margins import HOPELESS, LARGEST_LOGIT, NOISE_SPAN, fixed_point, pick, shortfalls
from oracle.engines.sampling import inverse_temperature, noise

ONE = 1 << 16
logits_lists = st.lists(st.integers(-40 * ONE, 40 * ONE), min_size=2, max_size=40)
close_lists = st.lists(st.integers(-ONE, ONE), min_size=2, max_size=40)
all_params = st.builds(
    Params,
    st.just(64),
    st.sampled_from([0, 1, 100, ONE // 2, ONE, 3 * ONE, (1 << 32) - 1]),
    st.sampled_from([0, 1, ONE, 5 * ONE]),
    st.binary(min_size=32, max_size=32),
)
tolerances = st.sampled_from([0, 1, 1000, ONE // 2, 8 * ONE, (1 << 32) - 1])


def scores(logits, params, position):
    """By the book, without bounds: [(score, token)] of all tokens."""
    if params.temperature == 0:
        return list(logits)
    inverse, tokens = inverse_temperature(params.temperature), np.arange(len(logits))
    return [
        logit * inverse + (int(g) << 8) for logit, g in zip(logits, noise(params.seed, position, tokens), strict=True)
    ]


def test_fixed_point__ties_and_extremes__to_even_and_clipped():
    row = np.array([0.5 / ONE, 1.5 / ONE, -0.5 / ONE, 1.0, np.inf, -np.inf, 3e38], np.float32)
    assert list(fixed_point(row)) == [0, 2, 0, ONE, LARGEST_LOGIT, -LARGEST_LOGIT, LARGEST_LOGIT]


@settings(deadline=None)  # the noise table takes a moment, once
@given(st.one_of(logits_lists, close_lists), all_params, st.integers(0, 5000))
@example([LARGEST_LOGIT, -LARGEST_LOGIT], Params(1, 1, 0, bytes(32)), 0)
@example([0, 0, 0], Params(1, 0), 0)
def test_pick__any_logits__largest_score_lowest_id_among_the_eligible(logits, params, position):
    book = scores(logits, params, position)
    if params.cutoff and params.temperature:
        book = [s if max(logits) - v <= params.cutoff else None for s, v in zip(book, logits, strict=True)]
    best = max(s for s in book if s is not None)
    assert pick(np.array(logits), params, position) == book.index(best)


@settings(deadline=None)
@given(st.one_of(logits_lists, close_lists), all_params, st.integers(0, 5000), tolerances)
def test_shortfalls__any_logits__distance_from_the_best_score(logits, params, position, tolerance):
    book, distance = scores(logits, params, position), [max(logits) - logit for logit in logits]
    inverse = inverse_temperature(params.temperature) if params.temperature else 1
    cutoff = params.cutoff if params.temperature else 0
    sure = [not cutoff or d <= cutoff - tolerance for d in distance]
    best = max((score for score, counts in zip(book, sure, strict=True) if counts), default=min(book))
    for token, short in enumerate(shortfalls(np.array(logits), params, position, tolerance)):
        expected = max(0, (best - book[token]) // inverse)
        possible = not cutoff or distance[token] <= cutoff + tolerance
        if not any(sure):  # measured against nothing, but a token whose noise cannot make up for its distance is out
            possible = possible and distance[token] <= (NOISE_SPAN << 32) // inverse + tolerance
        assert short == (expected if possible and expected <= tolerance else HOPELESS)


@settings(deadline=None)
@given(close_lists, all_params, st.integers(0, 100), st.data())
def test_shortfalls__logits_off_by_less_than_half_the_tolerance__honest_pick_always_passes(
    logits, params, position, data
):
    tolerance = 2000
    off = data.draw(st.lists(st.integers(-999, 999), min_size=len(logits), max_size=len(logits)))
    picked = pick(np.array(logits) + np.array(off), params, position)
    assert shortfalls(np.array(logits), params, position, tolerance)[picked] != HOPELESS


@pytest.mark.parametrize("temperature", [0, ONE])
def test_shortfalls__far_token__hopeless_whatever_its_noise(temperature):
    params = Params(1, temperature, seed=bytes(32))
    short = shortfalls(np.array([40 * ONE, 0]), params, 0, ONE)
    assert list(short) == [0, HOPELESS]


def test_shortfalls__nothing_known_of_what_may_stand_there__differs_with_what_is_assumed():
    """As where a pattern allows only tokens that a server did not tell of: nobody may call that a near tie."""
    high, low = np.full(5, -(9 << 16)), np.full(5, -LARGEST_LOGIT)
    params = Params(1)
    assert shortfalls(high, params, 0, 1 << 14, low).tolist() == [0] * 5
    assert shortfalls(low, params, 0, 1 << 14, high).tolist() == [HOPELESS] * 5
