"""The operators, one function each, in plain int64 arithmetic: slow, obvious, the standard for every faster one.

Every output element is a formula of few inputs, or one reduction over one row (a sum, a maximum), so that a contract
can check it alone. Sums are exact, so their order does not matter. Each docstring says why int64 suffices. Formats and
limits: `constants.py`; R is `shift`, D is `divide`. Rows are the last axis; T is a number of positions.
"""

import math
from dataclasses import dataclass

import numpy as np

from oracle.engines.exact.constants import (
    ACT_BITS,
    EXP_BITS,
    GELU_CUBIC,
    GELU_LINEAR,
    INNER_BITS,
    INT32,
    LARGEST_ACT,
    LARGEST_GELU,
    LARGEST_MANTISSA,
    LARGEST_RESIDUAL,
    LARGEST_VALUE,
    LOG2_E,
    MANTISSA_BITS,
    RESIDUAL_BITS,
    SCALE_BITS,
    SHARE_BITS,
    WEIGHT_BITS,
)
from oracle.engines.exact.fixed import Integers, bit_length, divide, root, saturate, shift
from oracle.engines.exact.powers import power

ROOT_BITS = 16  # fraction bits of the root of the mean square
UNIT_BITS = 24  # fraction bits of x / rms(x)
INVERSE_BITS = 30
SPARE_FROM = 16  # shift of a row whose numbers no longer fit int32


@dataclass(frozen=True)
class Row:
    """Quantized rows: x is about mantissa * 2^shift, at the fraction bits of what was quantized."""

    mantissa: Integers
    """(..., N), within +-32767."""
    shift: Integers
    """(...)."""


def row_shift(x: Integers) -> Integers:
    """s = max(0, bitlength(max |x|) - 15), (...): the least shift that brings a row's mantissas into 15 bits."""
    return np.maximum(bit_length(np.abs(x).max(axis=-1)) - MANTISSA_BITS, 0)


def quantize(x: Integers) -> Row:
    """Mantissas R(x, s), cut to +-32767. |x| < 2^47, so s is at most 32; off by at most 2^-15 of the row's largest.

    The cut matters only where rounding reaches 2^15.
    """
    s = row_shift(x)
    return Row(saturate(shift(x, s[..., None]), LARGEST_MANTISSA), s)


def product(row: Row, weights: Integers) -> Integers:
    """Exact sums over k of mantissa_k * w_k. row: (T, K); weights: (N, K), units of 2^-24. (T, N).

    Below 32767 * 2^48 < 2^63 - 2^48 in any order, since `weights.py` refuses rows whose magnitudes sum to 2^48.
    """
    result: Integers = row.mantissa @ weights.T
    return result


def linear(
    row: Row,
    weights: Integers,
    bits: int,
    to_bits: int,
    bias: Integers | None = None,
    largest: int = INT32,
    weight_bits: int = WEIGHT_BITS,
) -> Integers:
    """y = R(sum, weight_bits + bits - s - to_bits) + bias, saturated. bits, to_bits: of x and y; bias: at to_bits.

    The shift is never negative: s <= 32 and bits - to_bits >= 2, with s <= 16 and bits = 18 for the context,
    to_bits = 16 and bits = 24 for the act; weight_bits is 24 to 41. So it is at most 49.
    """
    y = shift(product(row, weights), weight_bits + bits - row.shift[..., None] - to_bits)
    return saturate(y if bias is None else y + bias, largest)


def embed(weights: Integers, weight_bits: int = WEIGHT_BITS) -> Integers:
    """A row of the embedding as residual: R(w, weight_bits - 16). |w| <= 2^48, so it is below 2^41."""
    return shift(weights, weight_bits - RESIDUAL_BITS)


def embedding_scale(width: int) -> int:
    """sqrt(width) at 24 bits, rounded to nearest: at most 2^31."""
    return (math.isqrt(width << (2 * SCALE_BITS + 2)) + 1) >> 1


def embed_scaled(weights: Integers, scale: int, weight_bits: int = WEIGHT_BITS) -> Integers:
    """The same times sqrt(width): R(R(w, weight_bits - 24) * scale, 32).

    |R(w, weight_bits - 24)| <= 2^31, since `weights.py` refuses larger ones: the product is at most 2^62.
    """
    return shift(shift(weights, weight_bits - WEIGHT_BITS) * scale, WEIGHT_BITS + SCALE_BITS - RESIDUAL_BITS)


def square_sum(row: Row) -> Integers:
    """S = sum of mantissa^2, (...). At most width * 32767^2 < 2^44."""
    result: Integers = (row.mantissa * row.mantissa).sum(axis=-1)
    return result


def mean_root(squares: Integers, s: Integers, width: int, epsilon: int) -> Integers:
    """r = floor(sqrt(A * 2^14)), A = floor(S * 2^18 / width) + floor(epsilon / 2^(2s)): rms with 16 fraction bits.

    In units of 2^s, as the mantissas are. epsilon: integer, units of 2^-(2 * bits + 18), from 1 to 2^47.
    S * 2^18 < 2^62; A < 2^48 + 2^47, A * 2^14 < 2^63. r >= 1: A = 0 needs S = 0, then s = 0 and A = epsilon.
    """
    mean = (squares << 18) // width + (np.int64(epsilon) >> np.minimum(2 * s, 62))
    return root(mean << 14)


def normalize(
    x: Integers, r: Integers, s: Integers, norm: Integers, to_bits: int, largest: int, norm_bits: int = SCALE_BITS
) -> Integers:
    """y = x / rms * weight, saturated. x: (..., N), below 2^47; r, s: (...); norm: (N,) weights, int32.

    t = max(0, s - 16); x' = R(x, t) is at most 2^31, and x itself where that is int32.
    b = bitlength(r); inverse = floor(2^(30 + b) / r), from 2^30 to 2^31, so x' * inverse <= 2^62.
    u = R(x' * inverse, b + s - t - 10) is x / rms at 24 bits, at most 2^24 sqrt(width) (1 + 2^-13) <= 2^31 (1 + 2^-13),
    so y = R(u * weight, 24 + norm_bits - to_bits) starts below 2^63. Where b + s < 10 the row is next to zero and
    |u| < 2^24.
    """
    b = bit_length(r)
    inverse = (np.int64(1) << (INVERSE_BITS + b)) // r
    spare = np.maximum(s - SPARE_FROM, 0)
    unit = shift(
        shift(x, spare[..., None]) * inverse[..., None],
        (b + s - spare + INVERSE_BITS - ROOT_BITS - UNIT_BITS)[..., None],
    )
    return saturate(shift(unit * norm, UNIT_BITS + norm_bits - to_bits), largest)


def rotate(x: Integers, cosines: Integers, sines: Integers, interleaved: bool) -> Integers:
    """Rotary embedding: pairs (a, b) become (R(a c - b s, 24), R(a s + b c, 24)), saturated to int32.

    x: (T, H, width) int32; cosines, sines: (T, P) at 24 bits for the P pairs. Pairs are neighbours (2i, 2i + 1) where
    interleaved, else (i, i + P); numbers after the first 2P stay. Sums stay below 2 * 2^31 * 2^24 = 2^56.
    """
    pairs = cosines.shape[-1]
    first = slice(0, 2 * pairs, 2) if interleaved else slice(0, pairs)
    second = slice(1, 2 * pairs, 2) if interleaved else slice(pairs, 2 * pairs)
    a: Integers = x[..., first]
    b: Integers = x[..., second]
    c: Integers = cosines[:, None]
    s: Integers = sines[:, None]
    result = x.copy()
    result[..., first] = saturate(shift(a * c - b * s, SCALE_BITS))
    result[..., second] = saturate(shift(a * s + b * c, SCALE_BITS))
    return result


def limit_values(v: Integers) -> Integers:
    """Attention values, saturated to 2^25 - 1, so that the sum in `context` fits."""
    return saturate(v, LARGEST_VALUE)


def score_scale(head_width: int) -> int:
    """1 / sqrt(head_width) at 24 bits, rounded to nearest."""
    return (math.isqrt((1 << (2 * SCALE_BITS + 2)) // head_width) + 1) >> 1


def scores(query: Row, key: Row, scale: int) -> Integers:
    """z = R(q . k * scale, 44 - s_q - s_k) at 16 bits, saturated to int32. query: (T, W); key: (U, W). (T, U).

    scale: 1 / sqrt(W) at 24 bits. |q . k| < W 2^30, scale <= 2^24 / sqrt(W) + 1: products < 2^60 for W <= 2^10.
    The shift is at least 12.
    """
    dots = query.mantissa @ key.mantissa.T
    down = 2 * INNER_BITS + SCALE_BITS - RESIDUAL_BITS - query.shift[:, None] - key.shift
    return saturate(shift(dots * scale, down))


def shares(z: Integers, largest: Integers, table: Integers) -> Integers:
    """e = exp(z - largest) at 22 bits: 2^-t with t = R((largest - z) * log2(e), 24). z: (..., U); largest: (...).

    largest - z < 2^32, times log2(e) < 2^57.
    """
    t = shift((largest[..., None] - z) * LOG2_E, SCALE_BITS)
    return power(t, table, SHARE_BITS)


def context(e: Integers, total: Integers, v: Integers) -> Integers:
    """o = D(sum over positions of e v, total): the mean of the values, at their 18 bits. e: (T, U); v: (U, W). (T, W).

    e <= 2^22, |v| < 2^25, U <= 2^16: sums < 2^63 - 2^38; total is between 2^22 and 2^38.
    """
    return divide(e @ v, total[:, None])


def gated(gate: Integers, up: Integers, table: Integers) -> Integers:
    """y = SiLU(gate) * up at 24 bits, saturated to 2^47 - 1; gate and up: int32 at 18 bits.

    t = R(|g| log2(e), 26), below 2^57 before the shift.
    """
    return _gated(gate, up, shift(np.abs(gate) * LOG2_E, SCALE_BITS + INNER_BITS - 16), table)


def gated_gelu(gate: Integers, up: Integers, table: Integers) -> Integers:
    """The same with GELU, its tanh form: g sigma(2 sqrt(2 / pi) (g + 0.044715 g^3)).

    a = min(|g|, 2^21): from 8 on t is 71, whose power is 0. c = R(R(a^2, 18) a, 18) <= 2^27 is its cube;
    t = R(a GELU_LINEAR + c GELU_CUBIC, 26), below 2^49 before the shift.
    """
    a = np.minimum(np.abs(gate), LARGEST_GELU)
    cube = shift(shift(a * a, INNER_BITS) * a, INNER_BITS)
    return _gated(gate, up, shift(a * GELU_LINEAR + cube * GELU_CUBIC, SCALE_BITS + INNER_BITS - 16), table)


def _gated(gate: Integers, up: Integers, t: Integers, table: Integers) -> Integers:
    """g sigma(+-t) * up, t >= 0 in powers of two at 16 bits.

    e = 2^-t at 30 bits; sigma = D((2^30 if g >= 0 else e) * 2^24, 2^30 + e) at 24 bits; numerator <= 2^54.
    h = R(g sigma, 24) at 18 bits, product < 2^56; y = R(h * up, 12), product < 2^62.
    """
    e = power(t, table, EXP_BITS)
    one = np.int64(1) << EXP_BITS
    sigma = divide(np.where(gate >= 0, one, e) << SCALE_BITS, one + e)
    h = shift(gate * sigma, SCALE_BITS)
    return saturate(shift(h * up, 2 * INNER_BITS - ACT_BITS), LARGEST_ACT)


def add(residual: Integers, update: Integers) -> Integers:
    """Saturated to 2^47 - 1."""
    return saturate(residual + update, LARGEST_RESIDUAL)
