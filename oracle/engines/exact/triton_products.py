"""Matrix products on GPUs: Triton kernels, exact in int64 whatever the tiling; sums are rounded and limited at once.

Weights stay the bytes of the file (`triton_quants.py`). Within a group sums stay in int32 (32 * 32767 * 128 < 2^31);
across groups they are added in int64, times scales. `linear` of a few tokens streams the weights for each; of more, it
multiplies tiles of 8-bit numbers. F16, BF16 and F32 are multiplied in int64 for a few tokens and by torch, in float64,
for more.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found,import-untyped,no-any-return"
# What Triton compiles is no Python, and its parameters have no Python types.

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from oracle.engines.exact.torch_matrices import Quants, to_device
from oracle.engines.exact.torch_matrices import product as float64_product
from oracle.engines.exact.triton_quants import Layout, minimum, quant, scale, shifted, whole
from oracle.engines.exact.weights import Matrix

STEP = tl.constexpr(256)  # columns of a step for a few tokens: a block of the K types, eight of the others
FEW = 8  # tokens up to which each is multiplied alone, so that weights stream once and no lane idles
FEW_ROWS = 4
TILE_TOKENS, TILE_ROWS = 32, 64
FINISHED = 256  # numbers that a program of `_finish_sums` takes

Launch = tuple[Any, tuple[int, ...], tuple[Any, ...]]
"""A kernel, its grid, its arguments."""

RUNTIME = ["rows", "columns", "tokens", "bits", "down", "biased", "limit", "slot", "added", "then_slot"]
"""Parameters that Triton must not compile anew for single values of."""


@dataclass(frozen=True)
class After:
    """What becomes of sums: y = sat(R(sum, weight bits + down - s) + bias), perhaps added to what is there."""

    down: int
    """Fraction bits of the row less those of y."""
    limit: int
    """y saturates at 2^limit - 1, and so does the sum if it is added."""
    slot: int
    """Where saturated numbers are counted."""
    bias: Tensor | None = None
    """(rows,), int64."""
    then_slot: int | None = None
    """Where those of the sum are, if y is added to `out`."""


class RawMatrix:
    """A matrix on the device, as it lies in the file."""

    def __init__(self, matrix: Matrix, device: str) -> None:
        self.rows, self.columns, self.bits = matrix.rows, matrix.columns, matrix.bits
        self.layout = Layout.of(matrix.kind)
        self.floats = Quants(matrix, device) if self.layout.is_whole else None
        """For `torch_matrices.product`; shares the memory of `raw`."""
        if self.floats is not None and self.floats.numbers is not None:
            self.raw = self.floats.numbers.view(torch.int16 if self.layout.size == 2 else torch.int32)
            """(rows, columns) int16 of F16 and BF16, int32 of F32; else (rows, bytes of a row), uint8."""
        else:
            self.raw = to_device(np.ascontiguousarray(matrix.raw), device)

    @property
    def is_empty(self) -> bool:
        """As a device's share of a matrix may be."""
        return not self.rows * self.columns


@triton.jit
def clamped(value, limit):
    """Saturated at 2^limit - 1."""
    largest = (tl.full((), 1, tl.int64) << limit) - 1
    return tl.minimum(tl.maximum(value, -largest), largest)


@triton.jit
def limited(value, seen, limit, count):
    """Saturated at 2^limit - 1; those of `seen` that stand there are added to what `count` points at."""
    value = clamped(value, limit)
    largest = (tl.full((), 1, tl.int64) << limit) - 1
    number = tl.sum(((tl.abs(value) == largest) & seen).to(tl.int64))
    tl.atomic_add(count, number, mask=number > 0)
    return value


@triton.jit
def _finished(total, by, at, row, inside, bias, biased, out, limit, slot, added, then_slot, counts):
    """What `After` says, for sums of the elements `at` of out, in rows `row` of the matrix.

    biased, added: rows that have a bias and that are added to what is there, the first ones: all or none.
    """
    y = shifted(total, by) + tl.load(bias + row, mask=inside & (row < biased), other=0)
    y = limited(y, inside, limit, counts + slot)
    there = inside & (row < added)
    y = limited(y + tl.load(out + at, mask=there, other=0), there, limit, counts + then_slot)
    tl.store(out + at, y, mask=inside)


@triton.jit(do_not_specialize=RUNTIME)
def _few(
    x, shift, raw, bias, out, counts,
    rows, columns, bits, down, biased, limit, slot, added, then_slot,
    kind: tl.constexpr, numbers: tl.constexpr, size: tl.constexpr, group: tl.constexpr,
    has_minimum: tl.constexpr, is_whole: tl.constexpr, height: tl.constexpr,
):  # fmt: skip
    """out[token, row] for one token and `height` rows. x: (T, columns), int16; shift: (T,), int32."""
    groups: tl.constexpr = STEP // group
    row = tl.program_id(0) * height + tl.arange(0, height)
    token = tl.program_id(1)
    inside = row < rows
    number = tl.arange(0, groups)[:, None] * group + tl.arange(0, group)[None, :]
    start = tl.arange(0, groups) * group
    total = tl.zeros((height, groups), tl.int64)
    for first in range(0, columns, STEP):
        there = first + number < columns
        a = tl.load(x + token * columns + first + number, mask=there, other=0).to(tl.int32)
        some = inside[:, None, None] & there[None, :, :]
        if is_whole:
            at = row.to(tl.int64)[:, None, None] * columns + (first + number)[None, :, :]
            w = whole(tl.load(raw + at, mask=some, other=0), bits, kind)
            total += tl.sum(w * a[None, :, :].to(tl.int64), axis=2)
        else:
            line = raw + row.to(tl.int64) * (columns // numbers * size)
            block = line[:, None, None] + ((first + number) // numbers * size)[None, :, :]
            q = quant(block, (number % numbers)[None, :, :], some, kind)
            partial = tl.sum(q * a[None, :, :], axis=2).to(tl.int64)
            block = line[:, None] + ((first + start) // numbers * size)[None, :]
            n, present = (start % numbers)[None, :], inside[:, None] & (first + start < columns)[None, :]
            total += partial * scale(block, n, present, kind)
            if has_minimum:
                total -= tl.sum(a, axis=1)[None, :].to(tl.int64) * minimum(block, n, present, kind)
    by = bits + down - tl.load(shift + token)
    at = token * rows + row
    _finished(tl.sum(total, axis=1), by, at, row, inside, bias, biased, out, limit, slot, added, then_slot, counts)


@triton.jit(do_not_specialize=RUNTIME)
def _tile(
    x, shift, raw, bias, out, counts,
    tokens, rows, columns, bits, down, biased, limit, slot, added, then_slot,
    kind: tl.constexpr, numbers: tl.constexpr, size: tl.constexpr, group: tl.constexpr,
    has_minimum: tl.constexpr, height: tl.constexpr, breadth: tl.constexpr,
):  # fmt: skip
    """out for `height` tokens and `breadth` rows, by products of 8-bit numbers: x = 256 high + low + 128."""
    token = tl.program_id(1) * height + tl.arange(0, height)
    row = tl.program_id(0) * breadth + tl.arange(0, breadth)
    some, inside = token < tokens, row < rows
    step = tl.arange(0, 32)
    line = raw + row.to(tl.int64) * (columns // numbers * size)
    total = tl.zeros((height, breadth), tl.int64)
    for first in range(0, columns, 32):
        a = tl.load(x + token.to(tl.int64)[:, None] * columns + (first + step)[None, :], mask=some[:, None], other=0)
        high, low = (a >> 8).to(tl.int8), ((a & 255) - 128).to(tl.int8)
        block = line + first // numbers * size
        w = quant(block[None, :], (first % numbers + step)[:, None], inside[None, :], kind).to(tl.int8)
        for part in tl.static_range(32 // group):
            chosen = (step // group) == part
            v = tl.where(chosen[:, None], w, 0).to(tl.int8)
            partial = tl.dot(high, v, out_dtype=tl.int32) * 256 + tl.dot(low, v, out_dtype=tl.int32)
            partial += 128 * tl.sum(v.to(tl.int32), axis=0)[None, :]
            n = first % numbers + part * group
            total += partial.to(tl.int64) * scale(block, n, inside, kind)[None, :]
            if has_minimum:
                of = tl.sum(tl.where(chosen[None, :], a.to(tl.int32), 0), axis=1).to(tl.int64)
                total -= of[:, None] * minimum(block, n, inside, kind)[None, :]
    by = bits + down - tl.load(shift + token, mask=some, other=0)
    at = token.to(tl.int64)[:, None] * rows + row[None, :]
    inside = some[:, None] & inside[None, :]
    _finished(
        total, by[:, None], at, row[None, :], inside, bias, biased, out, limit, slot, added, then_slot, counts
    )  # fmt: skip


@triton.jit(do_not_specialize=RUNTIME)
def _finish_sums(
    sums, shift, bias, out, counts, rows, bits, down, biased, limit, slot, added, then_slot, breadth: tl.constexpr
):
    """out of sums (T, rows) that are there already."""
    row = tl.program_id(0) * breadth + tl.arange(0, breadth)
    token = tl.program_id(1)
    inside = row < rows
    at = token.to(tl.int64) * rows + row
    total = tl.load(sums + at, mask=inside, other=0)
    by = bits + down - tl.load(shift + token)
    _finished(total, by, at, row, inside, bias, biased, out, limit, slot, added, then_slot, counts)


def linear(x: Tensor, shift: Tensor, w: RawMatrix, after: After, out: Tensor, counts: Tensor) -> Launch:
    """The launch that computes `out`.

    x: (T, columns) int16 mantissas; shift: (T,) int32; out: (T, rows) int64; counts: int64, of saturated numbers.
    """
    tokens, layout = len(x), w.layout
    bias = counts if after.bias is None else after.bias
    biased, added = 0 if after.bias is None else w.rows, 0 if after.then_slot is None else w.rows
    rest = w.bits, after.down, biased, after.limit, after.slot, added, after.then_slot or 0
    inside = layout.kind, layout.numbers, layout.size, layout.group, layout.has_minimum
    numbers: tuple[Any, ...]
    if tokens <= FEW:
        numbers = w.rows, w.columns, *rest, *inside, layout.is_whole, FEW_ROWS
        return _few, (triton.cdiv(w.rows, FEW_ROWS), tokens), (x, shift, w.raw, bias, out, counts, *numbers)
    if w.floats is not None:
        sums = float64_product(x, w.floats)
        grid = triton.cdiv(w.rows, FINISHED), tokens
        return _finish_sums, grid, (sums, shift, bias, out, counts, w.rows, *rest, FINISHED)
    numbers = tokens, w.rows, w.columns, *rest, *inside, TILE_TOKENS, TILE_ROWS
    grid = triton.cdiv(w.rows, TILE_ROWS), triton.cdiv(tokens, TILE_TOKENS)
    return _tile, grid, (x, shift, w.raw, bias, out, counts, *numbers)


def product(mantissa: Tensor, w: RawMatrix) -> Tensor:
    """The sums alone, exact (T, rows) in int64. mantissa: (T, columns)."""
    sums = torch.empty(len(mantissa), w.rows, dtype=torch.int64, device=mantissa.device)
    if len(mantissa):
        nothing = torch.zeros(1, dtype=torch.int64, device=mantissa.device)
        shift = torch.zeros(len(mantissa), dtype=torch.int32, device=mantissa.device)
        kernel, grid, arguments = linear(mantissa.to(torch.int16), shift, w, After(-w.bits, 63, 0), sums, nothing)
        kernel[grid](*arguments)
    return sums
