"""Patterns as their format says and no cleverer, and tables of every kind."""

from collections.abc import Iterable, Sequence

from oracle.engines.answer_types import MOST_RANGES, Pattern
from oracle.engines.exact.model import Chunk

RELATIVE, NOWHERE = 1 << 15, (1 << 15) - 1
Range = tuple[int, int, int]
"""Lowest byte, highest, target."""


def table_of(states: Sequence[tuple[int, int]], rows: Sequence[Iterable[Range]]) -> bytes:
    """states: shape and need of each. rows: of each shape."""
    bodies = []
    for row in rows:
        ranges = list(row)
        bodies.append(bytes([len(ranges)]) + b"".join(bytes([a, b]) + to.to_bytes(2, "big") for a, b, to in ranges))
    heads = b"".join(bytes([shape]) + need.to_bytes(2, "big") for shape, need in states)
    at, places = 3 + len(heads) + 2 * len(rows), b""
    for body in bodies:
        places += at.to_bytes(2, "big")
        at += len(body)
    return len(states).to_bytes(2, "big") + bytes([len(rows)]) + heads + places + b"".join(bodies)


def true_table(rows: Sequence[Sequence[Range]], ends: Iterable[int]) -> bytes:
    """A row for each state, with the needs that they have. ends: states where an output may end."""
    needs = dict.fromkeys(ends, 0)
    for need in range(len(rows)):
        for state, row in enumerate(rows):
            if any(low <= high and needs.get(to) == need for low, high, to in row):
                needs.setdefault(state, need + 1)
    return table_of([(state, needs.get(state, (1 << 16) - 1)) for state in range(len(rows))], rows)


def words_table(words: Sequence[bytes]) -> bytes:
    """Of exactly these."""
    begins = sorted({word[:length] for word in words for length in range(len(word) + 1)})
    rows = [
        [(other[-1], other[-1], begins.index(other)) for other in begins if other and other[:-1] == begin]
        for begin in begins
    ]
    return true_table(rows, [begins.index(word) for word in words])


def digits_table(most: int) -> bytes:
    """One digit up to `most` of them, all states one shape."""
    ranges = [(ord("0"), ord("9"), RELATIVE + 1)]
    return table_of([(0, 1), *[(0, 0)] * (most - 1), (1, 0)], [ranges, []])


def hostile_table(rng, known: Sequence[int]) -> bytes:
    """Of any states, needs and rows, with what a table must not have. known: bytes that the vocabulary spells much."""
    states, shapes = rng.choice((1, 2, 5, 9, 40)), rng.choice((0, 1, 2, 4, 255))

    def target():
        return rng.choice((rng.randrange(states), RELATIVE + rng.randrange(3), NOWHERE, rng.randrange(1 << 16)))

    def some_range():
        one, two = rng.choice(known), rng.choice((rng.choice(known), rng.randrange(256)))
        return (*rng.choice(((one, two), (min(one, two), max(one, two)), (one, one), (0, 255))), target())

    def row():
        count = rng.choice((0, 1, 1, 2, 3, MOST_RANGES, MOST_RANGES + 1))
        return [some_range() for _ in range(count)]

    def state():
        return rng.randrange(shapes + 1), rng.choice((0, 0, 1, 1, 2, 3, 9, 300, 65535))

    made = bytearray(table_of([state() for _ in range(states)], [row() for _ in range(shapes)]))
    for _ in range(rng.choice((0, 0, 0, 1, 5))):  # places of rows among them
        made[rng.randrange(3, len(made))] = rng.randrange(256)
    return bytes(made[: rng.choice((len(made), len(made), max(3 + 3 * states + 2 * shapes, len(made) - 5)))])


def any_table(rng, pieces: Sequence[bytes]) -> bytes:
    """Some that mean something, and hostile ones."""
    spelled = [piece for piece in pieces if piece]
    known = list(b"".join(rng.sample(spelled, min(20, len(spelled)))))
    kind = rng.randrange(5)
    if kind == 0:
        words = (b"".join(rng.sample(spelled, rng.randrange(1, 3)))[:20] for _ in range(rng.randrange(1, 5)))
        return words_table(list(words))
    if kind == 1:
        return digits_table(rng.randrange(1, 30))
    if kind == 2:  # any text but one byte, up to a length
        most, barred = rng.randrange(1, 12), rng.choice(known)
        ranges = [(0, barred - 1, RELATIVE + 1), (barred + 1, 255, RELATIVE + 1)] if 0 < barred < 255 else [(0, 255, 1)]
        return table_of([(0, 0)] * most + [(1, 0)], [ranges, []])
    return hostile_table(rng, known)


def allowed(pattern: Pattern, pieces: Sequence[bytes], output: Sequence[int]) -> list[int]:
    """What may follow an output that may stand: every token is looked at."""
    if pattern.stop in output:
        return []
    text = b"".join(pieces[token] for token in output)
    state = pattern.walk(text)
    assert state is not None
    tokens = [
        token for token, piece in enumerate(pieces) if pattern.allows(state, len(text), len(output), token, piece)
    ]
    return sorted([*tokens, pattern.stop]) if pattern.need(state) == 0 or not tokens else tokens


def plainly(forward, prompt: Sequence[int], pattern: Pattern, pieces: Sequence[bytes]) -> list[int]:
    """The answer's tokens: every step reads everything, and looks at every token."""
    output: list[int] = []
    while able := allowed(pattern, pieces, output):
        (logits,) = forward.run([Chunk([*prompt, *output], forward.cache(len(prompt) + len(output)), 1)])
        output.append(max(able, key=lambda token: (logits[0][token], -token)))
    return output
