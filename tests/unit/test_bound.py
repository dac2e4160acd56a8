"""What the bench says of a machine: its products and its bytes are counted, not guessed."""

import numpy as np

from bench import exact_bound

LEAST = 8 * 10
"""Products of the narrowest instruction, times how many of them a round has."""


def test_products_and_words__counted_by_the_c_code__are_as_many_as_were_asked():
    library = exact_bound.compiled()
    one = library.products(1)
    assert one > 0
    assert one % LEAST == 0
    assert [library.products(rounds) for rounds in (0, 7, 1 << 12)] == [0, 7 * one, one << 12]
    tile = library.tile_products(1)
    assert tile in (0, 16 * 16 * 64)
    assert [library.tile_products(rounds) for rounds in (0, 7, 1 << 12)] == [0, 7 * tile, tile << 12]
    words = np.arange(1000, dtype=np.uint64)
    assert library.read_words(words.ctypes.data, 999) == 999 * 998 // 2


def test_fastest__several_works__is_what_they_did_together_in_a_nanosecond(monkeypatch):
    ticks = iter([0, 10, 10, 14, 14, 30, 30, 40, 40, 50])
    monkeypatch.setattr(exact_bound.time, "perf_counter_ns", lambda: next(ticks))
    assert exact_bound.fastest([lambda: 6, lambda: 2]) == 2.0
