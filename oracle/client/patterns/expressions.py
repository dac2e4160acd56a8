"""What may be answered, as an expression over bytes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

Range: TypeAlias = tuple[int, int]
"""The lowest and the highest, both included."""


@dataclass(frozen=True)
class Bytes:
    """One byte of these ranges."""

    ranges: tuple[Range, ...]


@dataclass(frozen=True)
class Row:
    """One after the other. Of none: nothing at all."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True)
class Either:
    """Any one of these. Of none: what nothing matches."""

    parts: tuple["Expression", ...]


@dataclass(frozen=True)
class Repeat:
    """The same several times."""

    part: "Expression"
    least: int
    most: int | None
    """None for any number."""


Expression: TypeAlias = Bytes | Row | Either | Repeat
MOST_CODE = 0x10FFFF
LENGTHS = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xD7FF), (0xE000, 0xFFFF), (0x10000, MOST_CODE))
"""Code points that UTF-8 writes in as many bytes; no surrogates."""
DIGIT, NONZERO = Bytes(((0x30, 0x39),)), Bytes(((0x31, 0x39),))


def bytes_of(expression: Expression) -> frozenset[int]:
    """All that it names."""
    if isinstance(expression, Bytes):
        return frozenset(byte for low, high in expression.ranges for byte in range(low, high + 1))
    parts = (expression.part,) if isinstance(expression, Repeat) else expression.parts
    return frozenset[int]().union(*map(bytes_of, parts))


def literal(text: bytes) -> Row:
    """Just this."""
    return Row(tuple(Bytes(((byte, byte),)) for byte in text))


def characters(ranges: Iterable[Range]) -> Expression:
    """One character whose code point is in one of these ranges, as well-formed UTF-8."""
    single = list[Range]()
    longer = list[tuple[Range, ...]]()
    for low, high in ranges:
        for least, most in LENGTHS:
            first, last = max(low, least), min(high, most)
            if first > last:
                continue
            if most == LENGTHS[0][1]:
                single.append((first, last))
                continue
            longer += _sequences(chr(first).encode(), chr(last).encode())
    parts: list[Expression] = [Bytes(tuple(single))] if single else []
    parts += _any_of(longer)
    return parts[0] if len(parts) == 1 else Either(tuple(parts))


def _any_of(rows: Iterable[tuple[Range, ...]]) -> list[Expression]:
    """What matches one of these rows. Those with the same last range have it in common."""
    alike: dict[Range, list[tuple[Range, ...]]] = {}
    for row in rows:
        alike.setdefault(row[-1], []).append(row[:-1])
    found = list[Expression]()
    for last, heads in alike.items():
        firsts = _any_of([row for row in heads if row])
        if () in heads:
            found.append(Bytes((last,)))
        if firsts:
            found.append(Row((firsts[0] if len(firsts) == 1 else Either(tuple(firsts)), Bytes((last,)))))
    return found


def _sequences(low: bytes, high: bytes) -> Iterator[tuple[Range, ...]]:
    """Rows of ranges of bytes that hold the UTF-8 of all code points between two of one length."""
    rest = len(low) - 1
    if rest == 0:
        yield ((low[0], high[0]),)
        return
    if low[0] == high[0]:
        yield from (((low[0], low[0]), *row) for row in _sequences(low[1:], high[1:]))
        return
    least, most = b"\x80" * rest, b"\xbf" * rest
    first, last = low[0], high[0]
    if low[1:] != least:
        yield from (((first, first), *row) for row in _sequences(low[1:], most))
        first += 1
    if high[1:] != most:
        yield from (((last, last), *row) for row in _sequences(least, high[1:]))
        last -= 1
    if first <= last:
        yield ((first, last), *[(0x80, 0xBF)] * rest)


def integers(low: int, high: int) -> Expression:
    """Decimal integers from `low` to `high`: a minus sign or none, no leading zero, no "-0"."""
    found = list[Expression]()
    if low < 0:
        found.append(Row((literal(b"-"), _naturals(max(1, -high), -low))))
    if high >= 0:
        found.append(_naturals(max(0, low), high))
    return Either(tuple(found))


def _naturals(low: int, high: int) -> Expression:
    fewest, most = len(str(low)), len(str(high))
    if fewest == most:
        return _between(str(low), str(high))
    parts = [_between(str(low), "9" * fewest), _between("1" + "0" * (most - 1), str(high))]
    if most - fewest > 1:  # any number of as many digits as lie between
        parts.append(Row((NONZERO, Repeat(DIGIT, fewest, most - 2))))
    return Either(tuple(parts))


def _between(low: str, high: str) -> Expression:
    """Numbers between two of as many digits."""
    rest = len(low) - 1
    if rest == 0:
        return Bytes(((ord(low), ord(high)),))
    first, last = (literal(each[:1].encode()) for each in (low, high))
    if low[0] == high[0]:
        return Row((first, _between(low[1:], high[1:])))
    parts: list[Expression] = [Row((first, _beyond(low[1:], above=True))), Row((last, _beyond(high[1:], above=False)))]
    if ord(high[0]) - ord(low[0]) > 1:
        parts.append(Row((Bytes(((ord(low[0]) + 1, ord(high[0]) - 1),)), *(DIGIT,) * rest)))
    return Either(tuple(parts))


def _beyond(border: str, *, above: bool) -> Expression:
    """Numbers of as many digits, from a border up or down. What is beyond it by some digit may go on as it likes."""
    beyond: Expression = Either(())
    for at, digit in enumerate(border):
        free = (ord(digit) + 1, ord("9")) if above else (ord("0"), ord(digit) - 1)
        parts = [Row((beyond, DIGIT))] if beyond != Either(()) else []
        parts += [Row((literal(border[:at].encode()), Bytes((free,))))] if free[0] <= free[1] else []
        beyond = Either(tuple(parts))
    return Either((literal(border.encode()), beyond))


def numbers_of(values: Iterable[int], digits: int) -> Expression:
    """Decimal numbers with leading zeros, each of so many digits."""
    return Either(tuple(literal(str(value).zfill(digits).encode()) for value in sorted(values)))
