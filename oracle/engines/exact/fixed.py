"""Rounding, division and saturation of int64 arrays. Every operator is made of these.

Shapes broadcast. Values are numpy int64; whoever calls argues that nothing leaves int64.
"""

import math

import numpy as np
import numpy.typing as npt

from oracle.engines.exact.constants import INT32

Integers = npt.NDArray[np.int64]
Number = int | Integers


def shift(value: Integers, by: Number) -> Integers:
    """R(v, s) = floor((v + 2^(s-1)) / 2^s): v / 2^s to nearest, halves upward; v * 2^-s where s is negative."""
    right = np.maximum(np.asarray(by, np.int64), 0)
    left = np.maximum(-np.asarray(by, np.int64), 0)
    result: Integers = ((value + ((np.int64(1) << right) >> 1)) >> right) << left
    return result


def divide(value: Integers, by: Integers) -> Integers:
    """D(v, d): v / d to nearest, halves away from zero. by: positive."""
    result: Integers = np.sign(value) * ((np.abs(value) + (by >> 1)) // by)
    return result


def saturate(value: Integers, largest: int = INT32) -> Integers:
    return np.clip(value, -largest, largest)


def bit_length(value: Integers) -> Integers:
    """Bits of a non-negative integer: 0 for 0, k + 1 for 2^k to 2^(k+1) - 1."""
    lengths = [int(each).bit_length() for each in value.reshape(-1)]
    return np.array(lengths, np.int64).reshape(value.shape)


def root(value: Integers) -> Integers:
    """floor(sqrt(v)) of non-negative integers."""
    roots = [math.isqrt(int(each)) for each in value.reshape(-1)]
    return np.array(roots, np.int64).reshape(value.shape)
