"""Quantized weights as exact integers: every weight of these formats is a whole multiple of 2^-24.

An fp16 number is one (its smallest positive value is 2^-24), and a quantized weight is an fp16 scale times small
integers, less or plus an fp16 minimum times a small integer. Nothing is rounded. Matrices of BF16 and F32 are no such
multiples: they are rounded once, to a power of two that the whole matrix shares (`matrix_bits`). The block layouts are
those of ggml-common.h in github.com/ggml-org/ggml; `BLOCKS` in `oracle.models.gguf` has their sizes.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from oracle.engines.exact.constants import WEIGHT_BITS
from oracle.engines.exact.fixed import Integers
from oracle.models.gguf import BLOCKS

Bytes = npt.NDArray[np.uint8]

F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 = 0, 1, 2, 3, 6, 7, 8
Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, BF16 = 10, 11, 12, 13, 14, 20, 23, 30
FLOATS = (F32, BF16)
"""Types of matrices whose weights are rounded."""
MATRIX_TYPES = {
    F16: "F16", Q8_0: "Q8_0", Q4_0: "Q4_0", Q4_1: "Q4_1", Q5_0: "Q5_0", Q5_1: "Q5_1",
    Q2_K: "Q2_K", Q3_K: "Q3_K", Q4_K: "Q4_K", Q5_K: "Q5_K", Q6_K: "Q6_K", IQ4_NL: "IQ4_NL", IQ4_XS: "IQ4_XS",
    BF16: "BF16", F32: "F32",
}  # fmt: skip
SCALES_AT = {
    F16: (0,), Q8_0: (0,), Q4_0: (0,), Q4_1: (0, 2), Q5_0: (0,), Q5_1: (0, 2),
    Q2_K: (80, 82), Q3_K: (108,), Q4_K: (0, 2), Q5_K: (0, 2), Q6_K: (208,), IQ4_NL: (0,), IQ4_XS: (0,),
}  # fmt: skip
"""Byte offsets of a block's fp16 numbers."""
LARGEST_FACTOR = {
    F16: 1, Q8_0: 128, Q4_0: 8, Q4_1: 16, Q5_0: 16, Q5_1: 32,
    Q2_K: 15 * 3 + 15, Q3_K: 32 * 4, Q4_K: 63 * 15 + 63, Q5_K: 63 * 31 + 63, Q6_K: 128 * 32,
    IQ4_NL: 127, IQ4_XS: 32 * 127,
}  # fmt: skip
"""|weight| over the largest |fp16|."""
CODES = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.int64)
"""What the nibbles of IQ4_NL and IQ4_XS stand for."""

LARGEST_BITS = 30  # that rounded weights have, where the least fraction bits allow
MOST_FRACTION = 41  # so that a linear layer, at a shift of 49 at most, has room to round


def floats(kind: int, raw: Bytes) -> npt.NDArray[np.float64]:
    """(rows, columns) numbers of a BF16 or F32 matrix."""
    if kind == F32:
        return np.ascontiguousarray(raw).view("<f4").astype(np.float64)
    bits = np.ascontiguousarray(raw).view("<u2").astype(np.uint32) << 16
    return bits.view(np.float32).astype(np.float64)


def matrix_bits(kind: int, largest: float) -> int:
    """Fraction bits of a matrix's weights. largest: their largest magnitude, if they are floats.

    24 but for floats: as many as bring the largest below 2^30, from 24 to 41.
    """
    if kind not in FLOATS:
        return WEIGHT_BITS
    return max(WEIGHT_BITS, min(MOST_FRACTION, LARGEST_BITS - math.frexp(largest)[1]))


def halves(raw: Bytes) -> Integers:
    """fp16 numbers, little-endian pairs of bytes on the last axis, in units of 2^-24. Must be finite."""
    bits = np.ascontiguousarray(raw).view("<u2").astype(np.int64)
    exponent, fraction = (bits >> 10) & 31, bits & 1023
    magnitude = np.where(exponent == 0, fraction, (1024 + fraction) << np.maximum(exponent - 1, 0))
    result: Integers = np.where(bits >> 15, -magnitude, magnitude)
    return result


def scales(kind: int, raw: Bytes) -> npt.NDArray[np.uint16]:
    """The bits of all fp16 numbers in rows of `kind`, in no particular order."""
    size = BLOCKS[kind][1]
    blocks = raw.reshape(-1, size)
    return np.concatenate([np.ascontiguousarray(blocks[:, at : at + 2]).view("<u2").ravel() for at in SCALES_AT[kind]])


def integers(kind: int, raw: Bytes, bits: int = WEIGHT_BITS) -> Integers:
    """(rows, columns) weights in units of 2^-bits. raw: (rows, row bytes) as in the file; scales must be finite.

    bits: `matrix_bits`. Floats are rounded to nearest, halves upward.
    """
    if kind in FLOATS:
        rounded: Integers = np.floor(floats(kind, raw) * 2.0**bits + 0.5).astype(np.int64)
        return rounded
    if kind == F16:
        return halves(raw)
    q, scale, minimum = parts(kind, raw)
    weights = scale[..., None] * q
    if minimum is not None:
        weights -= minimum[..., None]
    return weights.reshape(len(raw), -1)


Parts = tuple[Integers, Integers, Integers | None]
"""Quants in groups (..., groups, numbers), a scale and perhaps a minimum of each group, in units of 2^-24: a weight is
scale * quant - minimum."""


def parts(kind: int, raw: Bytes) -> Parts:
    """(rows, blocks, groups, numbers) of quantized rows. raw: (rows, row bytes)."""
    return _PARTS[kind](raw.reshape(len(raw), -1, BLOCKS[kind][1]))


def _whole(q: Integers, scale: Integers, minimum: Integers | None = None) -> Parts:
    """Blocks of one group."""
    return q[..., None, :], scale, minimum


def _nibbles(packed: Bytes) -> Integers:
    """Byte i of 16 holds number i in its low and i + 16 in its high nibble."""
    wide = packed.astype(np.int64)
    return np.concatenate([wide & 15, wide >> 4], axis=-1)


def _fifth_bits(packed: Bytes) -> Integers:
    """(..., 32) bits of four bytes, the lowest first, in place of the fifth bit of a number."""
    return np.unpackbits(packed, axis=-1, bitorder="little").astype(np.int64) << 4


def _q8_0(blocks: Bytes) -> Parts:
    return _whole(blocks[..., 2:].view(np.int8).astype(np.int64), halves(blocks[..., :2]))


def _q4_0(blocks: Bytes) -> Parts:
    return _whole(_nibbles(blocks[..., 2:]) - 8, halves(blocks[..., :2]))


def _q4_1(blocks: Bytes) -> Parts:
    return _whole(_nibbles(blocks[..., 4:]), halves(blocks[..., :2]), -halves(blocks[..., 2:4]))


def _q5_0(blocks: Bytes) -> Parts:
    return _whole(_nibbles(blocks[..., 6:]) + _fifth_bits(blocks[..., 2:6]) - 16, halves(blocks[..., :2]))


def _q5_1(blocks: Bytes) -> Parts:
    q = _nibbles(blocks[..., 8:]) + _fifth_bits(blocks[..., 4:8])
    return _whole(q, halves(blocks[..., :2]), -halves(blocks[..., 2:4]))


def _iq4_nl(blocks: Bytes) -> Parts:
    return _whole(CODES[_nibbles(blocks[..., 2:])], halves(blocks[..., :2]))


def _iq4_xs(blocks: Bytes) -> Parts:
    """Eight groups of 32: d * (scale - 32) * code, with 6-bit scales: four low bits, two high."""
    low, high = blocks[..., 4:8].astype(np.int64), blocks[..., 2:4].astype(np.int64)
    group = np.arange(8)
    scale = (low[..., group // 2] >> 4 * (group % 2) & 15) | (high[..., group // 4] >> 2 * (group % 4) & 3) << 4
    codes = CODES[_nibbles(blocks[..., 8:].reshape(*blocks.shape[:-1], 8, 16))]
    return codes, (scale - 32) * halves(blocks[..., :2]), None


def _pairs(packed: Bytes) -> Integers:
    """(..., 8, 32) two-bit numbers of 64 bytes: of each 32 bytes, first bits 0-1 of each, then 2-3, 4-5, 6-7."""
    wide = packed.astype(np.int64).reshape(*packed.shape[:-1], 2, 1, 32)
    result: Integers = (wide >> np.array([0, 2, 4, 6]).reshape(4, 1)) & 3
    grouped: Integers = result.reshape(*packed.shape[:-1], 8, 32)
    return grouped


def _group_bits(packed: Bytes) -> Integers:
    """(..., 8, 32): bit g of each of 32 bytes, for the eight groups g."""
    result: Integers = packed.astype(np.int64)[..., None, :] >> np.arange(8)[:, None] & 1
    return result


def _sixteens(q: Integers) -> Integers:
    """256 numbers in sixteen groups."""
    result: Integers = q.reshape(*q.shape[:-2], 16, 16)
    return result


def _q2_k(blocks: Bytes) -> Parts:
    """Sixteen groups of 16: d * scale * q - dmin * minimum, with 4-bit scales and minima in one byte."""
    packed = blocks[..., :16].astype(np.int64)
    scale, minimum = (packed & 15) * halves(blocks[..., 80:82]), (packed >> 4) * halves(blocks[..., 82:84])
    return _sixteens(_pairs(blocks[..., 16:80])), scale, minimum


def _q3_k(blocks: Bytes) -> Parts:
    """Sixteen groups of 16: d * (scale - 32) * (q - 4), with 6-bit scales and a bit of each q apart.

    Scale i: its low four bits are nibble i of the first eight bytes, the low nibbles first; its upper two lie in byte
    8 + i % 4.
    """
    packed, index = blocks[..., 96:108].astype(np.int64), np.arange(16)
    low = packed[..., index % 8] >> 4 * (index // 8) & 15
    scale = (low | (packed[..., 8 + index % 4] >> 2 * (index // 4) & 3) << 4) - 32
    q = _pairs(blocks[..., 32:96]) + (_group_bits(blocks[..., :32]) << 2) - 4
    return _sixteens(q), scale * halves(blocks[..., 108:110]), None


def _grouped_nibbles(packed: Bytes) -> Integers:
    """(..., 8, 32): groups 2g and 2g + 1 are the low and high nibbles of bytes 32g to 32g + 31."""
    halved = packed.astype(np.int64).reshape(*packed.shape[:-1], 4, 1, 32)
    result: Integers = np.concatenate([halved & 15, halved >> 4], axis=-2).reshape(*packed.shape[:-1], 8, 32)
    return result


def _q4_k(blocks: Bytes) -> Parts:
    """Eight groups of 32: d * scale * q - dmin * minimum, with 6-bit scales and minima."""
    return _grouped_nibbles(blocks[..., 16:]), *_six_bits(blocks)


def _q5_k(blocks: Bytes) -> Parts:
    """As Q4_K, with a fifth bit of each q in 32 bytes of their own."""
    return _grouped_nibbles(blocks[..., 48:]) + (_group_bits(blocks[..., 16:48]) << 4), *_six_bits(blocks)


def _six_bits(blocks: Bytes) -> tuple[Integers, Integers]:
    """(..., 8) scales and minima of twelve bytes, times d and dmin."""
    a, b, c = (blocks[..., at : at + 4].astype(np.int64) for at in (4, 8, 12))
    scale = np.concatenate([a & 63, (c & 15) | (a >> 6 << 4)], axis=-1)
    minimum = np.concatenate([b & 63, (c >> 4) | (b >> 6 << 4)], axis=-1)
    return scale * halves(blocks[..., 0:2]), minimum * halves(blocks[..., 2:4])


def _q6_k(blocks: Bytes) -> Parts:
    """Sixteen groups of 16: d * scale * (q - 32), with int8 scales.

    For each half of 128: q's low four bits are nibbles of 64 bytes, first the low nibbles, then the high; its upper two
    bits are bits 0-1, then 2-3, 4-5, 6-7 of 32 bytes.
    """
    low = blocks[..., :128].astype(np.int64).reshape(*blocks.shape[:-1], 2, 64)
    nibbles = np.concatenate([low & 15, low >> 4], axis=-1).reshape(*blocks.shape[:-1], 8, 32)
    q = nibbles | (_pairs(blocks[..., 128:192]) << 4)
    return _sixteens(q - 32), blocks[..., 192:208].view(np.int8) * halves(blocks[..., 208:210]), None


_PARTS: dict[int, Callable[[Bytes], Parts]] = {
    Q8_0: _q8_0, Q4_0: _q4_0, Q4_1: _q4_1, Q5_0: _q5_0, Q5_1: _q5_1,
    Q2_K: _q2_k, Q3_K: _q3_k, Q4_K: _q4_k, Q5_K: _q5_k, Q6_K: _q6_k, IQ4_NL: _iq4_nl, IQ4_XS: _iq4_xs,
}  # fmt: skip
