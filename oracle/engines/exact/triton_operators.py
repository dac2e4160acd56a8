"""The operators around the matrices on GPUs: Triton kernels in integers alone, each several steps of docs/numerics.md.

A row is normalised and quantized in one launch; a head is normalised, rotated, quantized and written to its cache in
one. Attention of a token takes three: the largest score, the sums of shares and values, the means. Programs share the
positions of a long context; what they find is joined by maxima and integer sums, whose order changes nothing. Each
token brings the addresses of its own cache (`CACHE`), so sequences of one pass share a launch, and a captured graph
serves any of them.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found,import-untyped,no-any-return"
# What Triton compiles is no Python, and its parameters have no Python types.

import triton
import triton.language as tl

from oracle.engines.exact import constants, operators
from oracle.engines.exact.triton_products import clamped, limited
from oracle.engines.exact.triton_quants import shifted

CACHE = tl.constexpr(5)
"""int64 numbers of a token: addresses of keys (int16), their shifts (int64) and values (int32), capacity, position."""
ROW, ELEMENTS, SPLITS = 1024, 256, 16
"""Numbers that a program takes at a time: of a row, of elements; programs that share the positions of a head."""
POSITIONS = 2048
"""Numbers of keys or values that a program holds at a time."""

LARGEST_MANTISSA, MANTISSA_BITS = tl.constexpr(constants.LARGEST_MANTISSA), tl.constexpr(constants.MANTISSA_BITS)
INT32, LOG2_E = tl.constexpr(constants.INT32), tl.constexpr(constants.LOG2_E)
SCALE_BITS, EXP_BITS = tl.constexpr(constants.SCALE_BITS), tl.constexpr(constants.EXP_BITS)
SHARE_BITS = tl.constexpr(constants.SHARE_BITS)
GELU_LINEAR, GELU_CUBIC = tl.constexpr(constants.GELU_LINEAR), tl.constexpr(constants.GELU_CUBIC)
LARGEST_GELU, INNER_BITS = tl.constexpr(constants.LARGEST_GELU), tl.constexpr(constants.INNER_BITS)
GATE_BITS = tl.constexpr(constants.SCALE_BITS + constants.INNER_BITS - 16)
ACT_DOWN = tl.constexpr(2 * constants.INNER_BITS - constants.ACT_BITS)
SCORE_DOWN = tl.constexpr(2 * constants.INNER_BITS + constants.SCALE_BITS - constants.RESIDUAL_BITS)
INT32_LIMIT, NORM_LIMIT, ACT_LIMIT = (
    tl.constexpr(largest.bit_length())
    for largest in (constants.INT32, constants.LARGEST_RESIDUAL, constants.LARGEST_ACT)
)
INVERSE_BITS, SPARE_FROM = tl.constexpr(operators.INVERSE_BITS), tl.constexpr(operators.SPARE_FROM)
UNIT_DOWN = tl.constexpr(operators.INVERSE_BITS - operators.ROOT_BITS - operators.UNIT_BITS)

RUNTIME = ["width", "down", "heads", "kv_heads", "layer", "pairs", "slot", "norm_slot", "count", "score_scale"]
RUNTIME += ["sum_slot", "window"]
"""Parameters that Triton must not compile anew for single values of."""


@triton.jit
def _bit_length(value):
    """Of an int64 from 0 to 2^63 - 1."""
    length = tl.zeros_like(value)
    for power in tl.static_range(6):
        above = value >> (32 >> power) != 0
        length += tl.where(above, 32 >> power, 0)
        value = tl.where(above, value >> (32 >> power), value)
    return length + value


@triton.jit
def _root(value):
    """floor(sqrt(v)) of an int64 from 1 to 3 * 2^61, by Newton's steps from above.

    They begin at most twice too high, halve the square of the relative error, and never go below the floor; so six
    leave the floor or one more.
    """
    root = tl.full((), 1, tl.int64) << ((_bit_length(value) + 1) >> 1)
    for _ in tl.static_range(6):
        root = (root + value // root) >> 1
    return tl.where(root * root > value, root - 1, root)


@triton.jit
def _divided(value, by):
    """D of docs/numerics.md: to nearest, halves away from zero. by: positive."""
    magnitude = (tl.abs(value) + (by >> 1)) // by
    return tl.where(value < 0, -magnitude, magnitude)


@triton.jit
def _row_shift(largest):
    return tl.maximum(_bit_length(largest) - MANTISSA_BITS, 0)


@triton.jit
def _mantissa(x, s):
    return tl.minimum(tl.maximum(shifted(x, s), -LARGEST_MANTISSA), LARGEST_MANTISSA)


@triton.jit
def _mean_root(squares, s, width, epsilon):
    return _root(((squares << 18) // width + (epsilon >> tl.minimum(2 * s, 62))) << 14)


@triton.jit
def _normed(x, s, r, weight, down):
    """Before it is limited. x: int64, of a row with shift s and root r."""
    b = _bit_length(r)
    inverse = (tl.full((), 1, tl.int64) << (INVERSE_BITS + b)) // r
    spare = tl.maximum(s - SPARE_FROM, 0)
    return shifted(shifted(shifted(x, spare) * inverse, b + s - spare + UNIT_DOWN) * weight, down)


@triton.jit
def _power(t, powers, to_bits: tl.constexpr):
    """2^-t, int64. t: int64, with 16 fraction bits; powers: the table, int32."""
    k = tl.minimum(t >> 16, 32)
    i, f = (t >> 8) & 255, t & 255
    low, high = tl.load(powers + i).to(tl.int64), tl.load(powers + i + 1).to(tl.int64)
    return shifted(low + shifted((high - low) * f, 8), k + (EXP_BITS - to_bits))


@triton.jit
def _shift_and_root(row, epsilon, width, block: tl.constexpr):
    """Of a row (width,), int64, that is to be normalised. epsilon: one int64."""
    largest = tl.zeros((block,), tl.int64)
    for first in range(0, width, block):
        at = first + tl.arange(0, block)
        largest = tl.maximum(largest, tl.abs(tl.load(row + at, mask=at < width, other=0)))
    s = _row_shift(tl.max(largest, axis=0))
    squares = tl.zeros((block,), tl.int64)
    for first in range(0, width, block):
        at = first + tl.arange(0, block)
        m = _mantissa(tl.load(row + at, mask=at < width, other=0), s)
        squares += m * m
    r = _mean_root(tl.sum(squares, axis=0), s, width, tl.load(epsilon))
    return s, r


@triton.jit(do_not_specialize=RUNTIME)
def norm_rows(x, weight, epsilon, mantissa, shift, peak, counts, width, down, slot, block: tl.constexpr):
    """mantissa (T, width) and shift (T,) of the quantized norm of x (T, width). Sets peak (T,) to 0.

    weight: (width,), int64; epsilon: one int64.
    """
    token = tl.program_id(0)
    line = token.to(tl.int64) * width
    s, r = _shift_and_root(x + line, epsilon, width, block)
    largest = tl.zeros((block,), tl.int64)
    for first in range(0, width, block):
        at = first + tl.arange(0, block)
        inside = at < width
        value, g = tl.load(x + line + at, mask=inside, other=0), tl.load(weight + at, mask=inside, other=0)
        y = limited(_normed(value, s, r, g, down), inside, NORM_LIMIT, counts + slot)
        largest = tl.maximum(largest, tl.abs(y))
    to = _row_shift(tl.max(largest, axis=0))
    for first in range(0, width, block):
        at = first + tl.arange(0, block)
        inside = at < width
        value, g = tl.load(x + line + at, mask=inside, other=0), tl.load(weight + at, mask=inside, other=0)
        y = clamped(_normed(value, s, r, g, down), NORM_LIMIT)
        tl.store(mantissa + line + at, _mantissa(y, to).to(tl.int16), mask=inside)
    tl.store(shift + token, to.to(tl.int32))
    tl.store(peak + token, tl.zeros((), tl.int64))


@triton.jit(do_not_specialize=RUNTIME)
def norm_added(x, weight, epsilon, out, counts, width, down, slot, sum_slot, block: tl.constexpr):
    """Adds the norm of x (T, width) to out (T, width). weight, epsilon: as `norm_rows` has them."""
    token = tl.program_id(0)
    line = token.to(tl.int64) * width
    s, r = _shift_and_root(x + line, epsilon, width, block)
    for first in range(0, width, block):
        at = first + tl.arange(0, block)
        inside = at < width
        value, g = tl.load(x + line + at, mask=inside, other=0), tl.load(weight + at, mask=inside, other=0)
        y = limited(_normed(value, s, r, g, down), inside, NORM_LIMIT, counts + slot)
        y += tl.load(out + line + at, mask=inside, other=0)
        tl.store(out + line + at, limited(y, inside, NORM_LIMIT, counts + sum_slot), mask=inside)


@triton.jit
def _head(
    x, weight, epsilon, turns, counts, width, down, pairs, slot, norm_slot,
    has_norm: tl.constexpr, interleaved: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Mantissas (block,) and shift of a head: normalised where heads are, rotated, quantized. x: its first number."""
    j = tl.arange(0, block)
    inside, turned = j < width, j < 2 * pairs
    if interleaved:
        partner, pair, is_second = j ^ 1, j // 2, (j & 1) != 0
    else:
        is_second = j >= pairs
        partner, pair = tl.where(is_second, j - pairs, j + pairs), tl.where(is_second, j - pairs, j)
    own, other = tl.load(x + j, mask=inside, other=0), tl.load(x + partner, mask=turned, other=0)
    if has_norm:
        s = _row_shift(tl.max(tl.abs(own), axis=0))
        m = _mantissa(own, s)
        r = _mean_root(tl.sum(m * m, axis=0), s, width, tl.load(epsilon))
        own = _normed(own, s, r, tl.load(weight + j, mask=inside, other=0), down)
        own = limited(own, inside, INT32_LIMIT, counts + norm_slot)
        other = _normed(other, s, r, tl.load(weight + partner, mask=turned, other=0), down)
        other = clamped(other, INT32_LIMIT)
    cosine = tl.load(turns + pair, mask=turned, other=0)
    sine = tl.load(turns + pairs + pair, mask=turned, other=0)
    rotated = shifted(own * cosine + tl.where(is_second, other, -other) * sine, SCALE_BITS)
    y = limited(tl.where(turned, rotated, own), inside, INT32_LIMIT, counts + slot)
    s = _row_shift(tl.max(tl.abs(y), axis=0))
    return _mantissa(y, s), s


@triton.jit(do_not_specialize=RUNTIME)
def query_heads(
    x, weight, epsilon, turns, mantissa, shift, largest, total, mixed, counts,
    heads, width, down, pairs, slot, norm_slot,
    has_norm: tl.constexpr, interleaved: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """mantissa (T, heads, width) and shift (T, heads) of the queries x. Clears what attention adds to.

    turns: (T, 2, pairs), int64, cosines and sines; largest, total: (T, heads); mixed: (T, heads, width).
    """
    token = tl.program_id(0)
    head = token * heads + tl.program_id(1)
    at = head.to(tl.int64) * width
    m, s = _head(
        x + at, weight, epsilon, turns + token * 2 * pairs, counts, width, down, pairs, slot, norm_slot,
        has_norm, interleaved, block,
    )  # fmt: skip
    j = tl.arange(0, block)
    tl.store(mantissa + at + j, m.to(tl.int16), mask=j < width)
    tl.store(mixed + at + j, tl.zeros((block,), tl.int64), mask=j < width)
    tl.store(shift + head, s)
    tl.store(largest + head, tl.full((), -INT32, tl.int64))
    tl.store(total + head, tl.zeros((), tl.int64))


@triton.jit
def _cached(caches, token, layer, kv_heads, head, width):
    """Where a key head lies in the token's cache: keys, shifts, values; and the token's position."""
    own = caches + token * CACHE
    first = (layer * kv_heads + head) * tl.load(own + 3)
    keys = tl.load(own).to(tl.pointer_type(tl.int16)) + first * width
    values = tl.load(own + 2).to(tl.pointer_type(tl.int32)) + first * width
    return keys, tl.load(own + 1).to(tl.pointer_type(tl.int64)) + first, values, tl.load(own + 4)


@triton.jit(do_not_specialize=RUNTIME)
def key_heads(
    x, values, weight, epsilon, turns, caches, counts,
    kv_heads, width, down, pairs, layer, slot, norm_slot,
    has_norm: tl.constexpr, interleaved: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Writes the keys x and the values, each (T, kv_heads, width), to the tokens' caches. caches: (T, CACHE)."""
    token, head = tl.program_id(0), tl.program_id(1)
    at = (token * kv_heads + head).to(tl.int64) * width
    m, s = _head(
        x + at, weight, epsilon, turns + token * 2 * pairs, counts, width, down, pairs, slot, norm_slot,
        has_norm, interleaved, block,
    )  # fmt: skip
    j = tl.arange(0, block)
    keys, shifts, kept, position = _cached(caches, token, layer, kv_heads, head, width)
    tl.store(keys + position * width + j, m.to(tl.int16), mask=j < width)
    tl.store(shifts + position, s)
    value = tl.load(values + at + j, mask=j < width, other=0)
    tl.store(kept + position * width + j, value.to(tl.int32), mask=j < width)


@triton.jit
def _asked(mantissa, shift, caches, heads, kv_heads, width, layer, block: tl.constexpr):
    """Of a program's token and head: its number, the query (block,) int32 and its shift, and as `_cached` has it."""
    token, head = tl.program_id(0), tl.program_id(1)
    keys, shifts, values, position = _cached(caches, token, layer, kv_heads, head // (heads // kv_heads), width)
    at, j = token * heads + head, tl.arange(0, block)
    query = tl.load(mantissa + at.to(tl.int64) * width + j, mask=j < width, other=0).to(tl.int32)
    return at, query, tl.load(shift + at), keys, shifts, values, position


@triton.jit
def _scores(query, s, keys, shifts, u, seen, width, score_scale, block: tl.constexpr):
    """(positions,) before they are limited. query: (block,), int32."""
    j = tl.arange(0, block)
    mask = seen[:, None] & (j < width)[None, :]
    k = tl.load(keys + u[:, None] * width + j[None, :], mask=mask, other=0).to(tl.int32)
    dots = tl.sum((k * query[None, :]).to(tl.int64), axis=1)
    return shifted(dots * score_scale, SCORE_DOWN - s - tl.load(shifts + u, mask=seen, other=0))


@triton.jit(do_not_specialize=RUNTIME)
def largest_scores(
    mantissa, shift, caches, largest, counts,
    heads, kv_heads, width, layer, score_scale, window, slot,
    splits: tl.constexpr, positions: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Raises largest (T, heads) to a head's largest score over the positions up to its token's, `window` at most."""
    at, query, s, keys, shifts, _, position = _asked(
        mantissa, shift, caches, heads, kv_heads, width, layer, block
    )  # fmt: skip
    found, stopped = tl.full((positions,), -INT32, tl.int64), tl.zeros((positions,), tl.int64)
    begin = tl.maximum(position + 1 - window, 0) + tl.program_id(2) * positions
    for first in range(begin, position + 1, splits * positions):
        u = first + tl.arange(0, positions).to(tl.int64)
        seen = u <= position
        z = _scores(query, s, keys, shifts, u, seen, width, score_scale, block)
        z = clamped(z, INT32_LIMIT)
        stopped += ((tl.abs(z) == INT32) & seen).to(tl.int64)
        found = tl.maximum(found, tl.where(seen, z, -INT32))
    tl.atomic_max(largest + at, tl.max(found, axis=0))
    number = tl.sum(stopped, axis=0)
    tl.atomic_add(counts + slot, number, mask=number > 0)


@triton.jit(do_not_specialize=RUNTIME)
def mixed_values(
    mantissa, shift, caches, powers, largest, total, mixed,
    heads, kv_heads, width, layer, score_scale, window,
    splits: tl.constexpr, positions: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Adds a head's shares to total (T, heads), and its values times shares to mixed (T, heads, width)."""
    at, query, s, keys, shifts, values, position = _asked(
        mantissa, shift, caches, heads, kv_heads, width, layer, block
    )  # fmt: skip
    j, most = tl.arange(0, block), tl.load(largest + at)
    shares, sums = tl.zeros((positions,), tl.int64), tl.zeros((block,), tl.int64)
    begin = tl.maximum(position + 1 - window, 0) + tl.program_id(2) * positions
    for first in range(begin, position + 1, splits * positions):
        u = first + tl.arange(0, positions).to(tl.int64)
        seen = u <= position
        z = _scores(query, s, keys, shifts, u, seen, width, score_scale, block)
        t = shifted((most - tl.where(seen, clamped(z, INT32_LIMIT), most)) * LOG2_E, SCALE_BITS)
        e = tl.where(seen, _power(t, powers, SHARE_BITS), 0)
        shares += e
        mask = seen[:, None] & (j < width)[None, :]
        v = tl.load(values + u[:, None] * width + j[None, :], mask=mask, other=0)
        sums += tl.sum(e[:, None] * v.to(tl.int64), axis=0)
    tl.atomic_add(total + at, tl.sum(shares, axis=0))
    tl.atomic_add(mixed + at.to(tl.int64) * width + j, sums, mask=j < width)


@triton.jit(do_not_specialize=RUNTIME)
def mean_values(mixed, total, peak, out, heads, width, block: tl.constexpr):
    """out (T, heads, width): the context. Raises peak (T,) to its largest magnitude."""
    token = tl.program_id(0)
    at, j = token * heads + tl.program_id(1), tl.arange(0, block)
    place = at.to(tl.int64) * width + j
    o = _divided(tl.load(mixed + place, mask=j < width, other=0), tl.load(total + at))
    tl.store(out + place, o, mask=j < width)
    tl.atomic_max(peak + token, tl.max(tl.abs(o), axis=0))


@triton.jit(do_not_specialize=RUNTIME)
def gated(gate, up, powers, peak, out, counts, width, slot, is_gelu: tl.constexpr, block: tl.constexpr):
    """out (T, width): SiLU(gate) * up, or GELU(gate) * up. Raises peak (T,) to its largest magnitude."""
    token, at = tl.program_id(0), tl.program_id(1) * block + tl.arange(0, block)
    inside = at < width
    place = token.to(tl.int64) * width + at
    g, u = tl.load(gate + place, mask=inside, other=0), tl.load(up + place, mask=inside, other=0)
    a = tl.abs(g)
    if is_gelu:
        a = tl.minimum(a, LARGEST_GELU)
        t = a * GELU_LINEAR + shifted(shifted(a * a, INNER_BITS) * a, INNER_BITS) * GELU_CUBIC
    else:
        t = a * LOG2_E
    e = _power(shifted(t, GATE_BITS), powers, EXP_BITS)
    one = tl.full((), 1, tl.int64) << EXP_BITS
    sigma = _divided(tl.where(g >= 0, one, e) << SCALE_BITS, one + e)
    y = limited(shifted(shifted(g * sigma, SCALE_BITS) * u, ACT_DOWN), inside, ACT_LIMIT, counts + slot)
    tl.store(out + place, y, mask=inside)
    tl.atomic_max(peak + token, tl.max(tl.abs(y), axis=0))


@triton.jit(do_not_specialize=RUNTIME)
def quantized(x, peak, mantissa, shift, width, block: tl.constexpr):
    """mantissa (T, width) and shift (T,) of x (T, width), whose largest magnitudes are peak (T,)."""
    token, at = tl.program_id(0), tl.program_id(1) * block + tl.arange(0, block)
    place = token.to(tl.int64) * width + at
    s = _row_shift(tl.load(peak + token))
    m = _mantissa(tl.load(x + place, mask=at < width, other=0), s)
    tl.store(mantissa + place, m.to(tl.int16), mask=at < width)
    tl.store(shift + token, s.to(tl.int32), mask=tl.program_id(1) == 0)
