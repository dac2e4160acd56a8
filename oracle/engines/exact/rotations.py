"""Cosines and sines of the rotary embedding, made by a procedure that gives the same integers on every machine.

Values are computed to far more digits than are kept, with `decimal` (whose exp and ln round correctly) and with
integers, then rounded to nearest. No entry lies so close to a tie that the spare digits could not tell.
"""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np

from oracle.engines.exact.architecture import Architecture
from oracle.engines.exact.constants import SCALE_BITS
from oracle.engines.exact.fixed import Integers

PRECISION = Context(prec=50)
ANGLE_BITS = 128


class Rotations:
    """Cosines and sines of position * angle_i at 24 bits, rounded to nearest; rows are made when first asked for.

    angle_i = base^(-2i / width) / divisor / factor_i, radians.
    """

    def __init__(self, architecture: Architecture, factors: Sequence[Fraction] | None) -> None:
        """factors: one for each pair (a file's `rope_freqs.weight`), or None for all ones."""
        pairs = architecture.rope_width // 2
        divisors = [architecture.rope_divisor * factor for factor in factors or [Fraction(1)] * pairs]
        turns = [_turn(_angle(architecture, i, divisor)) for i, divisor in enumerate(divisors)]
        self._step = tuple(np.array(part, object) for part in zip(*turns, strict=True))
        one, zero = [1 << ANGLE_BITS] * pairs, [0] * pairs
        self._next = (np.array(one, object), np.array(zero, object))
        self._rows, self._made = np.empty((2, 0, pairs), np.int64), 0

    def __call__(self, start: int, count: int) -> tuple[Integers, Integers]:
        """Cosines and sines, each (count, pairs), of positions from `start` on."""
        if start + count > self._made:
            self._extend(start + count)
        return self._rows[0, start : start + count], self._rows[1, start : start + count]

    def _extend(self, count: int) -> None:
        """Turns by one angle at a time, with 128 fraction bits: an error below 2^-100 after 2^16 positions."""
        if count > self._rows.shape[1]:
            # Twice as many, so that rows asked for one by one are copied rarely.
            room = np.empty((2, 2 * count, self._rows.shape[2]), np.int64)
            room[:, : self._made] = self._rows[:, : self._made]
            self._rows = room
        (c, s), (step_c, step_s) = self._next, self._step
        half = 1 << (ANGLE_BITS - SCALE_BITS - 1)
        for position in range(self._made, count):
            self._rows[0, position] = (c + half) >> (ANGLE_BITS - SCALE_BITS)
            self._rows[1, position] = (s + half) >> (ANGLE_BITS - SCALE_BITS)
            c, s = (c * step_c - s * step_s) >> ANGLE_BITS, (c * step_s + s * step_c) >> ANGLE_BITS
        self._next, self._made = (c, s), count


class Turns:
    """A model's tables: that of its architecture, and another for layers that see a window."""

    def __init__(self, architecture: Architecture, factors: Sequence[Fraction] | None) -> None:
        """factors: as `Rotations` has them; of layers without a window."""
        self._architecture, self.whole = architecture, Rotations(architecture, factors)
        local = replace(architecture, rope_base=architecture.local_base, rope_divisor=Fraction(1))
        self.local = Rotations(local, None) if architecture.window else None

    def of(self, layer: int) -> Rotations:
        return self.local if self.local is not None and self._architecture.window_of(layer) else self.whole

    def __call__(self, start: int, count: int) -> list[Integers]:
        """Cosines and sines, and then those of layers with a window if there are any; each (count, pairs)."""
        tables = [self.whole] if self.local is None else [self.whole, self.local]
        return [part for table in tables for part in table(start, count)]


def _angle(architecture: Architecture, pair: int, divisor: Fraction) -> int:
    """angle_i with 128 fraction bits."""
    with localcontext(PRECISION):
        base = Decimal(architecture.rope_base.numerator) / architecture.rope_base.denominator
        angle = (base.ln() * (-2 * pair) / architecture.rope_width).exp()
        return int(angle * divisor.denominator / divisor.numerator * (1 << ANGLE_BITS))


def _turn(angle: int) -> tuple[int, int]:
    """cos and sin with 128 fraction bits by their series. angle: 128 fraction bits, at most 16."""
    spare = 32
    x = angle << spare
    one = 1 << (ANGLE_BITS + spare)
    sums, term, n = [0, 0], one, 0
    while term:
        sums[n % 2] += term if n % 4 < 2 else -term
        n += 1
        term = term * x // one // n
    return sums[0] >> spare, sums[1] >> spare
