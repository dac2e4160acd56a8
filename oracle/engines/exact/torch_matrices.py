"""Matrices on a device for torch, and their products in float64, exact wherever a bound proves it.

A product of two integer matrices is taken in float64 where no sum reaches 2^53: then every partial sum is an integer
that float64 holds, in whatever order it is added. Other weights are taken apart first.
"""

import os
import tempfile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oracle.engines.exact import quants
from oracle.engines.exact.constants import INT32, LARGEST_MANTISSA
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.quants import BF16, F16, F32, FLOATS, LARGEST_FACTOR, Bytes, halves, scales
from oracle.engines.exact.weights import Matrix, row_weight
from oracle.engines.worker_sandbox import KERNEL_CACHE
from oracle.errors import WrongNumbers

AT_ONCE = 1 << 24  # numbers of an intermediate tensor
EXACT = 1 << 53
SPLIT_BITS = 18  # of weights whose sums could reach 2^53; see `product`
NUMBERS = {F16: torch.float16, BF16: torch.bfloat16, F32: torch.float32}
"""Of matrices that hold no blocks."""


class Quants:
    """A matrix on the device: weight = scale * q - minimum, in units of 2^-24."""

    def __init__(self, matrix: Matrix, device: str) -> None:
        self.rows, self.columns = matrix.rows, matrix.columns
        self.split = not self.is_empty and not _fits_float64(matrix)
        """Whether one float64 sum could be inexact."""
        self.bits = matrix.bits
        self.numbers: Tensor | None = None
        """(rows, columns), as in the file, of F16, BF16 and F32."""
        if self.is_empty:
            return
        if matrix.kind == F16 or matrix.kind in FLOATS:
            self.numbers = to_device(np.ascontiguousarray(matrix.raw), device).view(NUMBERS[matrix.kind])
            return
        q, scale, minimum = unpacked(matrix.kind, matrix.raw)
        self.q = to_device(q, device)
        """(rows, columns), int8."""
        self.scale = to_device(scale, device)
        """(rows, columns / 32, or / 16 for Q2_K, Q3_K and Q6_K), int32 where they fit."""
        self.minimum = None if minimum is None else to_device(minimum, device)
        """(rows, columns / 32, or / 16 for Q2_K), where a type has minima; int32 where they fit."""

    @property
    def is_empty(self) -> bool:
        """As a device's share of a matrix may be."""
        return not self.rows * self.columns

    def weights(self, first: int, count: int) -> Tensor:
        """(count, columns), float64, exact."""
        part = slice(first, first + count)
        if self.numbers is not None:
            weights = self.numbers[part].double() * 2.0**self.bits
            return weights if self.numbers.dtype == torch.float16 else torch.floor(weights + 0.5)
        scale = self.scale[part].double()
        q = self.q[part].double().reshape(*scale.shape, -1) * scale[..., None]
        q = q.reshape(len(q), self.columns)
        if self.minimum is not None:
            minimum = self.minimum[part].double()
            q = (q.reshape(*minimum.shape, -1) - minimum[..., None]).reshape(q.shape)
        return q


def unpacked(kind: int, raw: Bytes) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """q, scale and minimum of `Quants`, as `quants.integers` has them; scales in int32 unless too large."""
    q, scale, minimum = quants.parts(kind, raw)
    rows = len(raw)
    least = None if minimum is None else _narrow(minimum.reshape(rows, -1))
    return np.ascontiguousarray(q.reshape(rows, -1), np.int8), _narrow(scale.reshape(rows, -1)), least


def _narrow(scale: Integers) -> np.ndarray[Any, Any]:
    return scale.astype(np.int32) if np.abs(scale).max(initial=0) <= INT32 else scale


def keep_kernels() -> None:
    """Before Triton compiles: a worker has no home. Unless there is a folder that is kept, it gets a private one."""
    if KERNEL_CACHE not in os.environ:
        os.environ[KERNEL_CACHE] = tempfile.mkdtemp(prefix="didyma-triton-")


def pin_float64(device: str) -> None:
    """Raises WrongNumbers, see `prove_float64`. cuBLAS reads its variable when it is first used."""
    os.environ["CUBLAS_EMULATE_DOUBLE_PRECISION"] = "0"  # else it may emulate float64 with fewer bits
    prove_float64(device)


def prove_float64(device: str) -> None:
    """Raises WrongNumbers unless a product whose sums are just below 2^53 is exact on `device`.

    As large on a GPU as a layer's, since libraries choose how to multiply by size.
    """
    size = 4096 if device.startswith("cuda") else 256
    x = np.random.default_rng(53).integers(LARGEST_MANTISSA - 500, LARGEST_MANTISSA + 1, (size, size))
    w = (EXACT - 1) // (size * LARGEST_MANTISSA) - np.arange(size)  # of every row; column k has k more taken off
    found = to_device(x, device).double() @ to_device(w[:, None] - np.arange(size), device).double()
    right = (x @ w)[:, None] - x.sum(axis=1)[:, None] * np.arange(size)
    if not np.array_equal(found.long().cpu().numpy(), right):
        raise WrongNumbers(f"{device} multiplies float64 inexactly; is its emulation on?")


def to_device(array: np.ndarray[Any, Any], device: str) -> Tensor:
    writable = array if array.flags.writeable and array.flags.c_contiguous else np.array(array)
    return torch.from_numpy(writable).to(device)


def _fits_float64(matrix: Matrix) -> bool:
    """Whether no sum of a product reaches 2^53: by the largest scale if that proves it, else by the rows themselves."""
    if matrix.kind in FLOATS:
        return LARGEST_MANTISSA * row_weight(matrix) < EXACT
    largest = (scales(matrix.kind, matrix.raw) & 0x7FFF).max()
    factor = int(halves(np.array([largest], "<u2").view(np.uint8))[0])
    if LARGEST_MANTISSA * factor * LARGEST_FACTOR[matrix.kind] * matrix.columns < EXACT:
        return True
    return LARGEST_MANTISSA * row_weight(matrix) < EXACT


def product(mantissa: Tensor, w: Quants) -> Tensor:
    """Exact (T, rows) in int64.

    Where sums could reach 2^53, weights are taken apart as high * 2^18 + low: |low| <= 2^17 and at most 2^20 columns
    keep the low sums below 2^52, and magnitudes that sum to 2^48 keep the high ones below 2^46.
    """
    x, step = mantissa.double(), max(1, AT_ONCE // w.columns)
    parts = []
    for first in range(0, w.rows, step):
        weights = w.weights(first, step)
        if not w.split:
            parts.append((x @ weights.T).long())
            continue
        high = torch.floor(weights / 2.0**SPLIT_BITS + 0.5)
        low = weights - high * 2.0**SPLIT_BITS
        parts.append(((x @ high.T).long() << SPLIT_BITS) + (x @ low.T).long())
    return torch.cat(parts, -1)
