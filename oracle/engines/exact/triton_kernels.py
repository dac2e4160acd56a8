"""Quantized matrix products on GPUs: Triton kernels, exact in int64 whatever the tiling.

Imported only where it is used, since Triton exists only where there is a GPU. Weights are `torch_forward.Quants`.
Within a block of 32 columns sums stay in int32 (32 * 32767 * 128 < 2^31); across blocks they are added in int64, times
scales. With TRITON_INTERPRET=1 the same kernels run on a CPU, slowly.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found,import-untyped"
# What Triton compiles is no Python, and its parameters have no Python types.

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 32  # of a step, which may have two scales and two minima
FEW = 8  # tokens up to which each is multiplied alone, so that weights stream once and no lane idles
VECTOR_ROWS = 16
TILE_TOKENS, TILE_ROWS = 32, 64


@triton.jit
def _vector(
    x, q, scale, minimum, out, rows, columns,
    per_step: tl.constexpr, least_step: tl.constexpr, height: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """out[token, row] for one token and `height` rows. per_step, least_step: scales and minima in 32 columns."""
    row = tl.program_id(0) * height + tl.arange(0, height)
    token = tl.program_id(1)
    inside = row < rows
    at = row.to(tl.int64) * columns
    step = tl.arange(0, width)
    total = tl.zeros((height,), tl.int64)
    for block in range(0, columns // width):
        column = block * width + step
        a = tl.load(x + token * columns + column).to(tl.int32)
        w = tl.load(q + at[:, None] + column[None, :], mask=inside[:, None], other=0).to(tl.int32)
        products = w * a[None, :]
        for part in tl.static_range(per_step):
            chosen = (step // (width // per_step)) == part
            partial = tl.sum(tl.where(chosen[None, :], products, 0), axis=1).to(tl.int64)
            factor = row.to(tl.int64) * (columns // width * per_step) + block * per_step + part
            total += partial * tl.load(scale + factor, mask=inside, other=0).to(tl.int64)
        for part in tl.static_range(least_step):
            chosen = (step // (width // least_step)) == part
            factor = row.to(tl.int64) * (columns // width * least_step) + block * least_step + part
            least = tl.load(minimum + factor, mask=inside, other=0)
            total -= least.to(tl.int64) * tl.sum(tl.where(chosen, a, 0), axis=0).to(tl.int64)
    tl.store(out + token * rows + row, total, mask=inside)


@triton.jit
def _tile(
    high, low, sums, q, scale, minimum, out,
    tokens, rows, columns, per_step: tl.constexpr, least_step: tl.constexpr,
    height: tl.constexpr, breadth: tl.constexpr, width: tl.constexpr,
):  # fmt: skip
    """out for `height` tokens and `breadth` rows. x = 256 high + low + 128, both int8; sums: of x by minima."""
    token = tl.program_id(1) * height + tl.arange(0, height)
    row = tl.program_id(0) * breadth + tl.arange(0, breadth)
    some, inside = token < tokens, row < rows
    step = tl.arange(0, width)
    total = tl.zeros((height, breadth), tl.int64)
    for block in range(0, columns // width):
        column = block * width + step
        x_at = token.to(tl.int64)[:, None] * columns + column[None, :]
        h = tl.load(high + x_at, mask=some[:, None], other=0)
        l = tl.load(low + x_at, mask=some[:, None], other=0)  # noqa: E741
        w_at = row.to(tl.int64)[None, :] * columns + column[:, None]
        w = tl.load(q + w_at, mask=inside[None, :], other=0)
        for part in tl.static_range(per_step):
            chosen = (step // (width // per_step)) == part
            v = tl.where(chosen[:, None], w, 0).to(tl.int8)
            partial = tl.dot(h, v, out_dtype=tl.int32) * 256 + tl.dot(l, v, out_dtype=tl.int32)
            partial += 128 * tl.sum(v.to(tl.int32), axis=0)[None, :]
            factor = row.to(tl.int64) * (columns // width * per_step) + block * per_step + part
            factors = tl.load(scale + factor, mask=inside, other=0).to(tl.int64)
            total += partial.to(tl.int64) * factors[None, :]
        for part in tl.static_range(least_step):
            factor = row.to(tl.int64) * (columns // width * least_step) + block * least_step + part
            least = tl.load(minimum + factor, mask=inside, other=0).to(tl.int64)
            at = token.to(tl.int64) * (columns // width * least_step) + block * least_step + part
            of = tl.load(sums + at, mask=some, other=0).to(tl.int64)
            total -= of[:, None] * least[None, :]
    tl.store(out + token.to(tl.int64)[:, None] * rows + row[None, :], total, mask=some[:, None] & inside[None, :])


def product(mantissa: Tensor, q: Tensor, scale: Tensor, minimum: Tensor | None) -> Tensor:
    """Exact (T, rows) in int64. mantissa: (T, columns); the rest as in `Quants`."""
    out = torch.empty(len(mantissa), len(q), dtype=torch.int64, device=q.device)
    if len(mantissa):
        kernel, grid, arguments = launch(mantissa, q, scale, minimum, out)
        kernel[grid](*arguments)
    return out


def launch(
    mantissa: Tensor, q: Tensor, scale: Tensor, minimum: Tensor | None, out: Tensor
) -> tuple[Any, tuple[int, int], tuple[Any, ...]]:
    """The kernel that computes `product` of one token or more, its grid and its arguments."""
    tokens, (rows, columns) = len(mantissa), q.shape
    per_step = scale.shape[1] * COLUMNS // columns
    least_step = 0 if minimum is None else minimum.shape[1] * COLUMNS // columns
    if tokens <= FEW:
        x = mantissa.to(torch.int16)
        sizes: tuple[int, ...] = rows, columns, per_step, least_step, VECTOR_ROWS, COLUMNS
        return _vector, (triton.cdiv(rows, VECTOR_ROWS), tokens), (x, q, scale, minimum, out, *sizes)
    high = mantissa >> 8
    low = (mantissa - (high << 8) - 128).to(torch.int8)
    sums = mantissa.reshape(tokens, -1, COLUMNS // max(1, least_step)).sum(-1).to(torch.int32)
    sizes = tokens, rows, columns, per_step, least_step, TILE_TOKENS, TILE_ROWS, COLUMNS
    grid = triton.cdiv(rows, TILE_ROWS), triton.cdiv(tokens, TILE_TOKENS)
    return _tile, grid, (high.to(torch.int8), low, sums, q, scale, minimum, out, *sizes)
