"""Weights as they lie in the file, unpacked inside Triton kernels: `quants.py` again, for GPUs.

A block of quantized numbers stays the bytes it is: `quant` gives its small integers, `scale` and `minimum` the factors
of a group of them; weight = scale * quant - minimum, in units of 2^-24. `whole` gives weights of F16, BF16 and F32 as
integers. Imported only where it is used, since Triton exists only where there is a GPU. With TRITON_INTERPRET=1 the
same code runs on a CPU, slowly.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,import-not-found,import-untyped,no-any-return"
# What Triton compiles is no Python, and its parameters have no Python types.

from dataclasses import dataclass

import triton
import triton.language as tl

from oracle.engines.exact import quants
from oracle.models.gguf import BLOCKS

F16, BF16, F32 = tl.constexpr(quants.F16), tl.constexpr(quants.BF16), tl.constexpr(quants.F32)
Q8_0 = tl.constexpr(quants.Q8_0)
Q4_0, Q4_1 = tl.constexpr(quants.Q4_0), tl.constexpr(quants.Q4_1)
Q5_0, Q5_1 = tl.constexpr(quants.Q5_0), tl.constexpr(quants.Q5_1)
Q2_K, Q3_K, Q4_K = tl.constexpr(quants.Q2_K), tl.constexpr(quants.Q3_K), tl.constexpr(quants.Q4_K)
Q5_K, Q6_K = tl.constexpr(quants.Q5_K), tl.constexpr(quants.Q6_K)
IQ4_NL, IQ4_XS = tl.constexpr(quants.IQ4_NL), tl.constexpr(quants.IQ4_XS)

_CODES = quants.CODES.astype("i1").tobytes()
LOW_CODES = tl.constexpr(int.from_bytes(_CODES[:8], "little", signed=True))
HIGH_CODES = tl.constexpr(int.from_bytes(_CODES[8:], "little", signed=True))
"""Eight of `quants.CODES` each, a byte for a code."""

SIXTEENS = (quants.Q2_K, quants.Q3_K, quants.Q6_K)
"""Types with a scale for 16 numbers; the others have one for 32."""
WITH_MINIMA = (quants.Q4_1, quants.Q5_1, quants.Q2_K, quants.Q4_K, quants.Q5_K)


@dataclass(frozen=True)
class Layout:
    """What the kernels know of a type when they are compiled."""

    kind: int
    numbers: int
    """In a block."""
    size: int
    """Bytes of a block."""
    group: int
    """Numbers that share a scale."""
    has_minimum: bool
    is_whole: bool
    """Whether weights are single numbers and no blocks."""

    @classmethod
    def of(cls, kind: int) -> "Layout":
        is_whole = kind == quants.F16 or kind in quants.FLOATS
        return cls(kind, *BLOCKS[kind], 16 if kind in SIXTEENS else 32, kind in WITH_MINIMA, is_whole)


@triton.jit
def shifted(value, by):
    """R of docs/numerics.md: to nearest, halves upward. value: int64; by: of either sign, at most 62."""
    one = tl.full((), 1, tl.int64)
    right = tl.maximum(by, 0).to(tl.int64)
    return ((value + ((one << right) >> 1)) >> right) << tl.maximum(-by, 0).to(tl.int64)


@triton.jit
def half(bits):
    """fp16 numbers in units of 2^-24, int64. bits: int32, 0 to 65535."""
    exponent, fraction = (bits >> 10) & 31, (bits & 1023).to(tl.int64)
    magnitude = tl.where(exponent == 0, fraction, (1024 + fraction) << tl.maximum(exponent - 1, 0).to(tl.int64))
    return tl.where(bits >> 15 != 0, -magnitude, magnitude)


@triton.jit
def whole(loaded, bits, kind: tl.constexpr):
    """Weights with `bits` fraction bits, int64. loaded: int16 of F16 and BF16, int32 of F32."""
    if kind == F16:
        return half(loaded.to(tl.int32) & 0xFFFF)
    else:
        pattern = loaded if kind == F32 else loaded.to(tl.int32) << 16
        exponent = (pattern >> 23) & 255
        fraction = (pattern & 0x7FFFFF).to(tl.int64)
        significand = tl.where(exponent == 0, fraction, fraction + (1 << 23))
        signed = tl.where(pattern < 0, -significand, significand)
        return shifted(signed, tl.minimum(150 - bits - tl.maximum(exponent, 1), 62))


@triton.jit
def _byte(block, at, inside):
    return tl.load(block + at, mask=inside, other=0).to(tl.int32)


@triton.jit
def _half_at(block, at, inside):
    return half(_byte(block, at, inside) | (_byte(block, at + 1, inside) << 8))


@triton.jit
def _signed(byte):
    return (byte ^ 128) - 128


@triton.jit
def _code(nibble):
    """What a nibble of IQ4_NL and IQ4_XS stands for."""
    codes = tl.where(nibble < 8, LOW_CODES, HIGH_CODES)
    return _signed(((codes >> (8 * (nibble & 7)).to(tl.int64)) & 255).to(tl.int32))


@triton.jit
def quant(block, n, inside, kind: tl.constexpr):  # noqa: PLR0911  one layout a type
    """int32, from -128 to 127. block: pointers to the first byte of blocks; n: which of their numbers."""
    g, i = n // 32, n % 32
    pair_at, pair_by = 32 * (g // 4) + i, 2 * (g % 4)
    if kind == Q8_0:
        return _signed(_byte(block, 2 + i, inside))
    elif kind == Q4_0:
        return ((_byte(block, 2 + i % 16, inside) >> (4 * (i // 16))) & 15) - 8
    elif kind == Q4_1:
        return (_byte(block, 4 + i % 16, inside) >> (4 * (i // 16))) & 15
    elif kind == Q5_0:
        fifth = (_byte(block, 2 + i // 8, inside) >> (i % 8)) & 1
        return ((_byte(block, 6 + i % 16, inside) >> (4 * (i // 16))) & 15) + 16 * fifth - 16
    elif kind == Q5_1:
        fifth = (_byte(block, 4 + i // 8, inside) >> (i % 8)) & 1
        return ((_byte(block, 8 + i % 16, inside) >> (4 * (i // 16))) & 15) + 16 * fifth
    elif kind == IQ4_NL:
        return _code((_byte(block, 2 + i % 16, inside) >> (4 * (i // 16))) & 15)
    elif kind == IQ4_XS:
        return _code((_byte(block, 8 + 16 * g + i % 16, inside) >> (4 * (i // 16))) & 15)
    elif kind == Q4_K:
        return (_byte(block, 16 + 32 * (g // 2) + i, inside) >> (4 * (g % 2))) & 15
    elif kind == Q5_K:
        fifth = (_byte(block, 16 + i, inside) >> g) & 1
        return ((_byte(block, 48 + 32 * (g // 2) + i, inside) >> (4 * (g % 2))) & 15) + 16 * fifth
    elif kind == Q2_K:
        return (_byte(block, 16 + pair_at, inside) >> pair_by) & 3
    elif kind == Q3_K:
        third = (_byte(block, i, inside) >> g) & 1
        return ((_byte(block, 32 + pair_at, inside) >> pair_by) & 3) + 4 * third - 4
    else:
        tl.static_assert(kind == Q6_K)
        low = _byte(block, 64 * (g // 4) + 32 * (g % 2) + i, inside) >> (4 * (g % 4 // 2))
        return ((low & 15) | (((_byte(block, 128 + pair_at, inside) >> pair_by) & 3) << 4)) - 32


@triton.jit
def scale(block, n, inside, kind: tl.constexpr):
    """int64, of the group that begins with number n."""
    g, sixteenth = n // 32, n // 16
    if kind == Q4_K or kind == Q5_K:  # noqa: PLR1714, SIM109  Triton knows no `in`
        a, c = _byte(block, 4 + g % 4, inside), _byte(block, 12 + g % 4, inside)
        return tl.where(g < 4, a & 63, (c & 15) | (a >> 6 << 4)) * _half_at(block, 0, inside)
    elif kind == IQ4_XS:
        low = (_byte(block, 4 + g // 2, inside) >> (4 * (g % 2))) & 15
        high = (_byte(block, 2 + g // 4, inside) >> (2 * (g % 4))) & 3
        return ((low | (high << 4)) - 32) * _half_at(block, 0, inside)
    elif kind == Q2_K:
        return (_byte(block, sixteenth, inside) & 15) * _half_at(block, 80, inside)
    elif kind == Q3_K:
        low = (_byte(block, 96 + sixteenth % 8, inside) >> (4 * (sixteenth // 8))) & 15
        high = (_byte(block, 104 + sixteenth % 4, inside) >> (2 * (sixteenth // 4))) & 3
        return ((low | (high << 4)) - 32) * _half_at(block, 108, inside)
    elif kind == Q6_K:
        return _signed(_byte(block, 192 + sixteenth, inside)) * _half_at(block, 208, inside)
    else:
        return _half_at(block, 0, inside)


@triton.jit
def minimum(block, n, inside, kind: tl.constexpr):
    """int64, of the group that begins with number n, where a type has minima."""
    g = n // 32
    if kind == Q4_K or kind == Q5_K:  # noqa: PLR1714, SIM109
        b, c = _byte(block, 8 + g % 4, inside), _byte(block, 12 + g % 4, inside)
        return tl.where(g < 4, b & 63, (c >> 4) | (b >> 6 << 4)) * _half_at(block, 2, inside)
    elif kind == Q2_K:
        return (_byte(block, n // 16, inside) >> 4) * _half_at(block, 82, inside)
    else:
        tl.static_assert(kind == Q4_1 or kind == Q5_1)  # noqa: PLR1714, SIM109
        return -_half_at(block, 2, inside)
