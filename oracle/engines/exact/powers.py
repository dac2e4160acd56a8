"""Powers of two with negative exponents, by a table and interpolation (docs/numerics.md, "Powers").

The table is computed to far more digits than are kept, with `decimal` (whose exp and ln round correctly), then rounded
to nearest. No entry lies so close to a tie that the spare digits could not tell.
"""

import functools
from decimal import Context, Decimal, localcontext

import numpy as np

from oracle.engines.exact.constants import EXP_BITS, EXP_STEPS
from oracle.engines.exact.fixed import Integers, shift


@functools.cache
def table() -> Integers:
    """(257,): 2^(-i / 256) at 30 bits, rounded to nearest."""
    with localcontext(Context(prec=50)):
        log2 = Decimal(2).ln()
        entries = [(-log2 * i / EXP_STEPS).exp() * (1 << EXP_BITS) for i in range(EXP_STEPS + 1)]
        return np.array([int(entry.to_integral_value()) for entry in entries], np.int64)


def power(t: Integers, table: Integers, to_bits: int) -> Integers:
    """2^-t, t >= 0 with 16 fraction bits, at to_bits <= 30. table: `table()`.

    k = t >> 16; i, f = the next 8 and the last 8 bits; E = T[i] + R((T[i+1] - T[i]) f, 8); R(E, 30 - to_bits + k).
    At most 2^30; the result is 0 from k = to_bits + 2 on, so k may be cut to 32.
    """
    k = np.minimum(t >> 16, 32)
    i, f = (t >> 8) & (EXP_STEPS - 1), t & 255
    exact = table[i] + shift((table[i + 1] - table[i]) * f, 8)
    return shift(exact, EXP_BITS - to_bits + k)
