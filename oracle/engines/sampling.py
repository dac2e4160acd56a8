"""Sampling by Gumbel-max in integers, so that a sampled token is checked by comparing two numbers.

The token at an output position is the one with the largest score, the lowest id on a tie:

    score = logit * invT + (G(seed, position, token) << 8)

logit and invT carry 16 fraction bits, G 24, a score 32. G is the noise -ln(-ln u): with it, the largest score falls on
each token with exactly the probability that softmax at temperature T gives it. u = (2x + 1) / 2^33, where x is the
token's 32-bit draw: word `token % 8`, big-endian, of keccak256(abi.encode(seed, position, token / 8)).

-ln(-ln u) runs off on both sides, so its table has two: for u below one half by u, above by 1 - u, each with one row of
64 steps for every power of two, and linear interpolation between steps. An error of 3.0e-5 at most (measured) shifts a
probability by as much, relatively.
"""

import functools
from decimal import Context, Decimal, localcontext

import numpy as np
import numpy.typing as npt
from eth_hash.auto import keccak

from oracle.engines.base import Params
from oracle.engines.data_contract import creation_code

OCTAVES = 32
STEP_BITS = 6
ENTRIES = (OCTAVES << STEP_BITS) + 1
DRAWS_PER_HASH = 8
NOISE_BITS = 24
PRECISION = Context(prec=40)

Integers = npt.NDArray[np.int64]


def inverse_temperature(temperature: int) -> int:
    """1 / T with 16 fraction bits, rounded to nearest. temperature: 16 fraction bits, positive."""
    return ((1 << 33) // temperature + 1) >> 1


@functools.cache
def table() -> Integers:
    """(2, ENTRIES) with 24 fraction bits: the noise at w / 2^33 = u, and at w / 2^33 = 1 - u.

    Entry 64 e + s is for w = 2^e (1 + s / 64), rounded to nearest from 40 decimal digits: `decimal` rounds logarithms
    correctly, so every machine makes the same table.
    """
    with localcontext(PRECISION):
        rows = [
            [_gumbel(Decimal((64 + index % 64) << (index // 64)) / (1 << 39), side) for index in range(ENTRIES)]
            for side in (0, 1)
        ]
    return np.array(rows, np.int64)


def table_code() -> bytes:
    """Creation code of the contract whose code is the table: int32, big-endian."""
    return creation_code(table().astype(">i4").tobytes())


def _gumbel(w: Decimal, side: int) -> int:
    u = w if side == 0 else 1 - w
    return int((-(-u.ln()).ln() * (1 << NOISE_BITS)).to_integral_value())


def noise(seed: bytes, position: int, tokens: Integers) -> Integers:
    """G with 24 fraction bits for each of `tokens`, in (-3.2, 22.9).

    tokens: (N,) ids in ascending order. seed: 32 bytes. position: of the output token, from 0.
    """
    blocks, block_of = np.unique(tokens // DRAWS_PER_HASH, return_inverse=True)
    head = seed + position.to_bytes(32, "big")
    hashes = b"".join(keccak(head + block.to_bytes(32, "big")) for block in blocks.tolist())
    draws = np.frombuffer(hashes, ">u4").reshape(-1, DRAWS_PER_HASH)
    return gumbel(draws[block_of, tokens % DRAWS_PER_HASH].astype(np.int64))


def choice(logits: Integers, params: Params, position: int) -> int:
    """The token that a row of logits chooses. logits: (vocabulary,). position: of the output token, from 0."""
    if params.temperature == 0:
        return int(logits.argmax())
    wide = logits.astype(np.int64)
    scores = (wide - wide.max()) * inverse_temperature(params.temperature)
    scores += noise(params.seed, position, np.arange(len(wide))) << 8
    if params.cutoff:
        scores[wide < wide.max() - params.cutoff] = np.iinfo(np.int64).min
    return int(scores.argmax())


def gumbel(draws: Integers) -> Integers:
    """The noise of 32-bit draws, by the table."""
    odd = 2 * draws + 1
    side = (odd >> 32).astype(np.int64)
    w = np.where(side == 0, odd, (1 << 33) - odd)
    octave = np.frexp(w.astype(np.float64))[1].astype(np.int64) - 1  # exact: w is below 2^53
    position = ((w - (1 << octave)) << STEP_BITS << (32 - octave)) >> 32  # 6 bits of the step
    remainder = ((w - (1 << octave)) << (32 - octave)) & ((1 << (32 - STEP_BITS)) - 1)
    low = (octave << STEP_BITS) + position
    entries = table()
    here, there = entries[side, low], entries[side, low + 1]
    result: Integers = here + (((there - here) * remainder) >> (32 - STEP_BITS))
    return result
