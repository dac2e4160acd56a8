"""Quantized weights as exact integers: every weight of these formats is a whole multiple of 2^-24.

An fp16 number is one (its smallest positive value is 2^-24), and a quantized weight is an fp16 scale times small
integers, minus for Q4_K an fp16 minimum times a small integer. Nothing is rounded. The block layouts are those of
ggml-common.h in github.com/ggml-org/ggml; `BLOCKS` in `oracle.models.gguf` has their sizes.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from oracle.engines.exact.fixed import Integers
from oracle.models.gguf import BLOCKS

Bytes = npt.NDArray[np.uint8]

F32, F16, Q4_0, Q8_0, Q4_K, Q6_K = 0, 1, 2, 8, 12, 14
MATRIX_TYPES = {F16: "F16", Q4_0: "Q4_0", Q8_0: "Q8_0", Q4_K: "Q4_K", Q6_K: "Q6_K"}
SCALES_AT = {F16: (0,), Q4_0: (0,), Q8_0: (0,), Q4_K: (0, 2), Q6_K: (208,)}  # byte offsets of a block's fp16 numbers
LARGEST_FACTOR = {F16: 1, Q4_0: 8, Q8_0: 128, Q4_K: 63 * 15 + 63, Q6_K: 128 * 32}  # |weight| over the largest |fp16|


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


def integers(kind: int, raw: Bytes) -> Integers:
    """(rows, columns) weights in units of 2^-24. raw: (rows, row bytes) as in the file; scales must be finite."""
    size = BLOCKS[kind][1]
    blocks = raw.reshape(raw.shape[0], -1, size)
    return _UNPACK[kind](blocks).reshape(raw.shape[0], -1)


def _f16(blocks: Bytes) -> Integers:
    return halves(blocks)


def _q8_0(blocks: Bytes) -> Integers:
    result: Integers = halves(blocks[..., :2]) * blocks[..., 2:].view(np.int8)
    return result


def _q4_0(blocks: Bytes) -> Integers:
    """Byte i holds number i in its low and i + 16 in its high nibble, both plus 8."""
    nibbles = blocks[..., 2:].astype(np.int64)
    q = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1) - 8
    result: Integers = halves(blocks[..., :2]) * q
    return result


def _q4_k(blocks: Bytes) -> Integers:
    """256 numbers, eight groups of 32: d * scale * q - dmin * minimum, with 6-bit scales and minima.

    Groups 2g and 2g + 1 are the low and high nibbles of bytes 32g to 32g + 31.
    """
    packed, nibbles = blocks[..., 4:16].astype(np.int64), blocks[..., 16:].astype(np.int64)
    a, b, c = packed[..., :4], packed[..., 4:8], packed[..., 8:]
    scale = np.concatenate([a & 63, (c & 15) | (a >> 6 << 4)], axis=-1) * halves(blocks[..., 0:2])
    minimum = np.concatenate([b & 63, (c >> 4) | (b >> 6 << 4)], axis=-1) * halves(blocks[..., 2:4])
    halved = nibbles.reshape(*nibbles.shape[:-1], 4, 1, 32)
    q = np.concatenate([halved & 15, halved >> 4], axis=-2).reshape(*nibbles.shape[:-1], 8, 32)
    result: Integers = scale[..., None] * q - minimum[..., None]
    return result


def _q6_k(blocks: Bytes) -> Integers:
    """256 numbers, sixteen groups of 16: d * scale * (q - 32), with int8 scales.

    For each half of 128: q's low four bits are nibbles of 64 bytes, first the low nibbles, then the high; its upper two
    bits are bits 0-1, then 2-3, 4-5, 6-7 of 32 bytes.
    """
    low = blocks[..., :128].astype(np.int64).reshape(*blocks.shape[:-1], 2, 64)
    high = blocks[..., 128:192].astype(np.int64).reshape(*blocks.shape[:-1], 2, 32)
    nibbles = np.concatenate([low & 15, low >> 4], axis=-1)
    upper = np.concatenate([(high >> s) & 3 for s in (0, 2, 4, 6)], axis=-1)
    q = (nibbles | (upper << 4)).reshape(*blocks.shape[:-1], 16, 16) - 32
    scale = blocks[..., 192:208].view(np.int8) * halves(blocks[..., 208:210])
    result: Integers = scale[..., None] * q
    return result


_UNPACK: dict[int, Callable[[Bytes], Integers]] = {F16: _f16, Q4_0: _q4_0, Q8_0: _q8_0, Q4_K: _q4_k, Q6_K: _q6_k}
