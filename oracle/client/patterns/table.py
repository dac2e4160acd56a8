"""A pattern's table, as small as this finds it: docs/answers.md has the layout.

Ranges may lie over each other, as the first that holds a byte decides. States whose rows have the same ranges share a
shape where each range leads to the same state, or equally far on.
"""

from collections.abc import Sequence
from functools import cache, lru_cache

from oracle.client.patterns.automaton import Automaton
from oracle.engines.answer_types import HEAD, MOST_RANGES, OFFSET, RELATIVE
from oracle.errors import BadType

NOWHERE = RELATIVE - 1
"""A state that no table has."""
MOST_SHAPES, MOST_PLACE = 255, (1 << 16) - 1
MOST_KEPT = 512
"""Rows whose strokes are kept, as a node compiles schemas of strangers for years."""
PARTNERS = 6
"""Rows that are tried together with another to find a shape for both."""

Painted = tuple[tuple[int, int, int | None], ...]
"""A row's ranges; None for a range that leads nowhere."""


def table(made: Automaton) -> bytes:
    """Raises BadType where an automaton has no table."""
    rows = [painted(row) for row in made.rows]
    shape_of, shapes = _shapes(rows)
    if len(shapes) > MOST_SHAPES:
        raise BadType(f"the pattern is too irregular: it takes more than {MOST_SHAPES} kinds of states")
    states = b"".join(
        bytes([shape]) + need.to_bytes(2, "big") for shape, need in zip(shape_of, made.needs, strict=True)
    )
    place, places, ranges = HEAD + len(states) + OFFSET * len(shapes), b"", b""
    for shape in shapes:
        if place + len(ranges) > MOST_PLACE:
            raise BadType("the pattern is too large: its table has more than 65,535 bytes")
        places += (place + len(ranges)).to_bytes(2, "big")
        ranges += bytes([len(shape)])
        ranges += b"".join(bytes([low, high]) + target.to_bytes(2, "big") for low, high, target in shape)
    return len(made.rows).to_bytes(2, "big") + bytes([len(shapes)]) + states + places + ranges


def painted(row: Sequence[tuple[int, int, int]]) -> Painted:
    """A row in the fewest ranges, of which the first that holds a byte decides. Raises BadType for too many."""
    parts = list[tuple[int, int, int | None]]()
    for low, high, target in row:
        if parts and parts[-1][1] + 1 < low:
            parts.append((parts[-1][1] + 1, low - 1, None))
        parts.append((low, high, target))
    colours: dict[int | None, int] = {None: -1}
    pattern = tuple(colours.setdefault(target, len(colours)) for _, _, target in parts)
    strokes = _strokes(pattern) if len(parts) < 2 * MOST_RANGES else None  # each makes two borders at most
    if strokes is None or len(strokes) > MOST_RANGES:
        raise BadType(
            f"in one place of an answer more than {MOST_RANGES} ranges of bytes lead to different places: let fewer "
            "letters begin what may follow there"
        )
    return tuple((parts[first][0], parts[last][1], parts[first][2]) for first, last in strokes)


@lru_cache(MOST_KEPT)
def _strokes(pattern: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """The fewest strokes, upper ones first, that paint parts in their colours; -1 is bare where no stroke covers it."""
    gap = -1

    @cache
    def all_of(first: int, last: int, covered: bool) -> tuple[tuple[int, int], ...]:
        if first > last:
            return ()
        if pattern[first] == gap and not covered:
            return all_of(first + 1, last, covered)
        inner, end, rest = begun(first, last, covered)
        return (*inner, (first, end), *rest)

    @cache
    def begun(
        at: int, last: int, covered: bool
    ) -> tuple[tuple[tuple[int, int], ...], int, tuple[tuple[int, int], ...]]:
        """A stroke that has come to a part: those above what is left of it, where it ends, and those behind it."""
        best: tuple[tuple[tuple[int, int], ...], int, tuple[tuple[int, int], ...]] = (
            (),
            at,
            all_of(at + 1, last, covered),
        )
        for other in range(at + 2, last + 1):
            if pattern[other] == pattern[at]:
                inner, end, rest = begun(other, last, covered)
                found = ((*all_of(at + 1, other - 1, True), *inner), end, rest)
                if len(found[0]) + len(found[2]) < len(best[0]) + len(best[2]):
                    best = found
        return best

    return all_of(0, len(pattern) - 1, False)


Shape = tuple[tuple[int, int, int], ...]


def _shapes(rows: Sequence[Painted]) -> tuple[list[int], list[Shape]]:
    """Which shape each state has, and the shapes: low, high, and the target as the table writes it."""
    alike: dict[tuple[tuple[int, int, bool], ...], list[int]] = {}
    for state, row in enumerate(rows):
        alike.setdefault(tuple((low, high, to is None) for low, high, to in row), []).append(state)
    shape_of, shapes = [-1] * len(rows), list[Shape]()
    for state, row in enumerate(rows):
        if shape_of[state] >= 0:
            continue
        group = alike[tuple((low, high, to is None) for low, high, to in row)]
        left = [other for other in group if shape_of[other] < 0]
        best = _written(row, state, 0), [state]
        for other in left[1 : 1 + PARTNERS]:
            mask = _common(row, state, rows[other], other)
            if mask is None:
                continue
            shape = _written(row, state, mask)
            same = [each for each in left if _written(rows[each], each, mask) == shape]
            if len(same) > len(best[1]):
                best = (shape, same)
        for each in best[1]:
            shape_of[each] = len(shapes)
        shapes.append(best[0])
        if len(shapes) > MOST_SHAPES:
            break
    return shape_of, shapes


def _common(row: Painted, state: int, other_row: Painted, other: int) -> int | None:
    """By which ranges two states lead equally far on, as bits; None if one leads neither so nor to the same state."""
    mask = 0
    for bit, ((_, _, target), (_, _, other_target)) in enumerate(zip(row, other_row, strict=True)):
        if target == other_target:
            continue
        if target is None or other_target is None or target < state or target - state != other_target - other:
            return None
        mask |= 1 << bit
    return mask


def _written(row: Painted, state: int, mask: int) -> Shape:
    """A row's ranges; those of the mask say how far on they lead, and lead on."""
    found = list[tuple[int, int, int]]()
    for bit, (low, high, target) in enumerate(row):
        to = NOWHERE if target is None else RELATIVE + target - state if mask >> bit & 1 else target
        found.append((low, high, to))
    return tuple(found)
