"""The noise behind sampled tokens, and the Merkle root of token ids."""

import math

import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from oracle.engines.sampling import gumbel, inverse_temperature, noise, table
from oracle.merkle.tokens import tokens_root

SEED = bytes(range(32))
PUBLISHED_TABLE = "96a9cca52b5f68e979aa0c2e8fac0d1ab2e55a0068a3afbfd52b36c219fd57f4"


def test_inverse_temperature__any__nearest_integer():
    cases = [1, 2, 3, 1 << 15, 65_535, 65_536, 98_304, (1 << 32) - 1]
    assert [inverse_temperature(t) for t in cases] == [math.floor((1 << 32) / t + 0.5) for t in cases]


def test_gumbel__extremes_and_middle__finite_and_ordered():
    draws = np.array([0, 1, 2, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1])
    values = gumbel(draws)
    assert list(values) == sorted(values)
    assert -3.2 < values[0] / 2**24 < -3.1
    assert 22.8 < values[-1] / 2**24 < 22.9


def test_gumbel__many_draws__within_the_stated_error():
    rng = np.random.default_rng(1)
    edges = np.arange(100_000)
    draws = np.concatenate([rng.integers(0, 1 << 32, 1_000_000), edges, (1 << 32) - 1 - edges])
    odd = 2 * draws + 1
    upper = np.log1p(-((1 << 33) - odd) / 2.0**33)
    exact = -np.log(-np.where(odd < 1 << 32, np.log(odd / 2.0**33), upper))
    assert np.abs(gumbel(draws) / 2**24 - exact).max() < 3.1e-5


def test_table__made_on_this_machine__has_the_published_hash():
    assert keccak(table().astype(">i4").tobytes()).hex() == PUBLISHED_TABLE


@pytest.mark.parametrize("position", [0, 1, 4095])
def test_noise__some_tokens__same_as_one_at_a_time_by_the_book(position):
    tokens = np.array([0, 7, 8, 500, 501, 128_255])
    values = noise(SEED, position, tokens)
    for token, value in zip(tokens.tolist(), values, strict=True):
        digest = keccak(SEED + position.to_bytes(32, "big") + (token // 8).to_bytes(32, "big"))
        draw = int.from_bytes(digest[4 * (token % 8) :][:4], "big")
        assert value == gumbel(np.array([draw]))[0]


def test_noise__largest_score__falls_on_tokens_as_softmax_would():
    logits = np.array([2.0, 1.0, 0.0, -1.0])
    wins = np.zeros(4)
    for position in range(4000):
        wins[np.argmax(logits + noise(SEED, position, np.arange(4)) / 2**24)] += 1
    expected = np.exp(logits) / np.exp(logits).sum()
    assert np.abs(wins / 4000 - expected).max() < 0.025  # three standard deviations


def test_tokens_root__no_token__refused():
    with pytest.raises(ValueError, match="at least one"):
        tokens_root([])


def test_tokens_root__one_leaf_and_three__built_by_hand():
    def leaf(*tokens):
        return keccak(b"\0" + b"".join(t.to_bytes(4, "big") for t in tokens).ljust(32, b"\0"))

    assert tokens_root([5]) == leaf(5)
    left = keccak(b"\1" + leaf(*range(8)) + leaf(*range(8, 16)))
    right = keccak(b"\1" + leaf(16) + leaf())
    assert tokens_root(list(range(17))) == keccak(b"\1" + left + right)


@given(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=40), st.data())
def test_tokens_root__one_token_changed__another_root(tokens, data):
    position = data.draw(st.integers(0, len(tokens) - 1))
    changed = [*tokens[:position], tokens[position] ^ 1, *tokens[position + 1 :]]
    assert tokens_root(changed) != tokens_root(tokens)
