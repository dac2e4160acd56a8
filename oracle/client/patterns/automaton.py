"""The least automaton of an expression: each byte leads from a state to one other, and no two states mean the same.

Time and size are bounded by counting, so an expression is refused by every machine or by none. States are numbered so
that an answer runs forwards as far as it can: the order is the one in which a depth-first search leaves them, reversed.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass

from oracle.client.patterns.expressions import Bytes, Either, Expression, Range, Repeat, Row
from oracle.errors import BadType

MOST_PARTS, MOST_SETS, MOST_STATES, MOST_WORK = 50_000, 16_384, 4_096, 1_000_000
"""Of an expression, its repeats written out; of an automaton, before and after equal states are one; of steps to it."""
ANY_BYTE = frozenset(range(256))


@dataclass(frozen=True)
class Automaton:
    """Answers begin in state 0. There is a way from every state to one where an answer may end."""

    rows: tuple[tuple[tuple[int, int, int], ...], ...]
    """For each state the ranges of bytes that lead on, rising, and where to: low, high, target."""
    ends: tuple[bool, ...]
    """Whether an answer may end in a state."""

    @property
    def needs(self) -> list[int]:
        """The fewest bytes from each state to an end."""
        before: list[list[int]] = [[] for _ in self.rows]
        for state, row in enumerate(self.rows):
            for _, _, target in row:
                before[target].append(state)
        needs = [0 if end else -1 for end in self.ends]
        queue = [state for state, end in enumerate(self.ends) if end]
        for state in queue:
            for other in before[state]:
                if needs[other] < 0:
                    needs[other] = needs[state] + 1
                    queue.append(other)
        return needs

    @property
    def longest(self) -> int | None:
        """Bytes of the longest answer; None if there is none that is longest."""
        found = [0] * len(self.rows)
        for state in range(len(self.rows) - 1, -1, -1):
            for _, _, target in self.rows[state]:
                if target <= state:  # in this order only a circle leads back
                    return None
                found[state] = max(found[state], found[target] + 1)
        return found[0]


def automaton(expression: Expression, spelled: Set[int] = ANY_BYTE) -> Automaton:
    """spelled: the bytes that answers may have. Raises BadType where there is no answer, or too much to count."""
    if _parts(expression) > MOST_PARTS:
        raise BadType(f"the pattern is too large: its repeats written out have more than {MOST_PARTS:,} parts")
    return _least(*_trimmed(*_determined(expression, spelled)))


def _parts(expression: Expression) -> int:
    """How many an expression has at most, its repeats written out; stops early where there are too many."""
    if isinstance(expression, Bytes):
        return 1
    if isinstance(expression, Repeat):
        times = expression.least + 1 if expression.most is None else expression.most
        return 1 + times * _parts(expression.part)
    return 1 + sum(map(_parts, expression.parts))


class _Branching:
    """States that a byte may lead out of to several others, and some lead on without a byte."""

    def __init__(self, expression: Expression) -> None:
        self.steps: list[list[tuple[tuple[Range, ...], int]]] = []
        self.skips: list[list[int]] = []
        self.end = self._add(expression, self._state())

    def _state(self) -> int:
        self.steps.append([])
        self.skips.append([])
        return len(self.steps) - 1

    def _add(self, expression: Expression, start: int) -> int:
        """Where an expression that begins in a state ends."""
        match expression:
            case Bytes(ranges):
                end = self._state()
                self.steps[start].append((ranges, end))
            case Row(parts):
                end = start
                for part in parts:
                    end = self._add(part, end)
            case Either(parts):
                end = self._state()
                for part in parts:
                    begin = self._state()
                    self.skips[start].append(begin)
                    self.skips[self._add(part, begin)].append(end)
            case Repeat(part, least, most):
                for _ in range(least):
                    start = self._add(part, start)
                end = self._state()
                if most is None:
                    again = self._state()
                    self.skips[start].append(again)
                    self.skips[self._add(part, again)].append(again)
                    start = again
                for _ in range(0 if most is None else most - least):
                    self.skips[start].append(end)
                    start = self._add(part, start)
                self.skips[start].append(end)
        return end


Moves = list[dict[int, int]]
"""For each state, where a class of bytes leads, by the lowest byte of the class."""


def _determined(expression: Expression, spelled: Set[int]) -> tuple[Moves, list[bool], list[Range]]:
    """Moves, ends, and the classes of bytes that mean the same everywhere. Raises BadType."""
    many = _Branching(expression)
    classes = _classes(many, spelled)
    by_class = [
        [(low, target) for ranges, target in steps for low, _ in classes if _holds(ranges, low)] for steps in many.steps
    ]
    work = 0

    def reached(states: set[int]) -> tuple[int, ...]:
        """With those to which nothing needs a byte; without those that do no more than that."""
        nonlocal work
        found, queue = set(states), list(states)
        for state in queue:
            fresh = [other for other in many.skips[state] if other not in found]
            work += 1 + len(many.skips[state])
            if work > MOST_WORK:
                raise BadType("the pattern is too intricate: it has too many ways to read the same bytes")
            found.update(fresh)
            queue += dict.fromkeys(fresh)
        return tuple(sorted(state for state in found if many.steps[state] or state == many.end))

    first = reached({0})
    numbers, queue = {first: 0}, [first]
    moves: Moves = []
    for states in queue:
        targets: dict[int, set[int]] = {}
        for state in states:
            work += len(by_class[state])
            for low, target in by_class[state]:
                targets.setdefault(low, set()).add(target)
        moves.append({})
        for low in sorted(targets):
            after = reached(targets[low])
            if after not in numbers:
                if len(numbers) == MOST_SETS:
                    raise BadType(f"the pattern is too large: it takes more than {MOST_SETS:,} states")
                numbers[after] = len(numbers)
                queue.append(after)
            moves[-1][low] = numbers[after]
    return moves, [many.end in states for states in queue], classes


def _holds(ranges: tuple[Range, ...], byte: int) -> bool:
    return any(low <= byte <= high for low, high in ranges)


def _classes(many: _Branching, spelled: Set[int]) -> list[Range]:
    """Runs of bytes that no step and no missing byte tells apart, without the missing ones."""
    borders = {0}
    for steps in many.steps:
        for ranges, _ in steps:
            for low, high in ranges:
                borders |= {low, high + 1}
    borders |= {byte for byte in range(1, 256) if (byte in spelled) != (byte - 1 in spelled)}
    inner = sorted(border for border in borders if border < 256)
    return [(a, b - 1) for a, b in zip(inner, [*inner[1:], 256], strict=True) if a in spelled]


def _trimmed(moves: Moves, ends: list[bool], classes: list[Range]) -> tuple[Moves, list[bool], list[Range]]:
    """Without states from which nothing ends. Raises BadType where no answer is left."""
    before: list[list[int]] = [[] for _ in moves]
    for state, row in enumerate(moves):
        for target in row.values():
            before[target].append(state)
    queue = [state for state, end in enumerate(ends) if end]
    alive = set(queue)
    for state in queue:
        for other in before[state]:
            if other not in alive:
                alive.add(other)
                queue.append(other)
    if 0 not in alive:
        raise BadType("no answer matches the pattern")
    numbers = {state: number for number, state in enumerate(sorted(alive))}
    kept = [{low: numbers[t] for low, t in moves[state].items() if t in alive} for state in sorted(alive)]
    return kept, [ends[state] for state in sorted(alive)], classes


def _least(moves: Moves, ends: list[bool], classes: list[Range]) -> Automaton:
    block_of = _blocks(moves, ends)
    if max(block_of) >= MOST_STATES:
        raise BadType(f"the pattern is too large: it takes more than {MOST_STATES:,} states")
    one = {block: state for state, block in reversed([*enumerate(block_of)])}
    order = list(
        _order({block: [block_of[t] for _, t in sorted(moves[s].items())] for block, s in one.items()}, block_of[0])
    )
    numbers = {block: number for number, block in enumerate(order)}
    highs = dict(classes)
    rows = []
    for block in order:
        row = list[tuple[int, int, int]]()
        for low, target in sorted(moves[one[block]].items()):
            number = numbers[block_of[target]]
            if row and row[-1][2] == number and row[-1][1] == low - 1:
                row[-1] = (row[-1][0], highs[low], number)
            else:
                row.append((low, highs[low], number))
        rows.append(tuple(row))
    return Automaton(tuple(rows), tuple(ends[one[block]] for block in order))


def _blocks(moves: Moves, ends: list[bool]) -> list[int]:
    """Which states mean the same: Hopcroft, "An n log n algorithm for minimizing states in a finite automaton" (1971).

    Bytes may lead nowhere, so both first blocks split others.
    """
    before: dict[int, dict[int, list[int]]] = {}
    for state, row in enumerate(moves):
        for low, target in row.items():
            before.setdefault(low, {}).setdefault(target, []).append(state)
    blocks = [each for each in ({s for s, end in enumerate(ends) if end is which} for which in (True, False)) if each]
    block_of = [0] * len(moves)
    for number, block in enumerate(blocks):
        for state in block:
            block_of[state] = number
    waiting = {(number, low) for number in range(len(blocks)) for low in before}
    while waiting:
        number, low = waiting.pop()
        into = before[low]
        hit: dict[int, set[int]] = {}
        for target in blocks[number]:
            for state in into.get(target, ()):
                hit.setdefault(block_of[state], set()).add(state)
        for other, states in hit.items():
            if len(states) == len(blocks[other]):
                continue
            rest = blocks[other] - states
            small, large = (states, rest) if len(states) <= len(rest) else (rest, states)
            blocks[other] = large
            blocks.append(small)
            for state in small:
                block_of[state] = len(blocks) - 1
            # The smaller half waits for what the whole has been through; where the whole still waits, its number does.
            waiting |= {(len(blocks) - 1, each) for each in before}
    return block_of


def _order(after: dict[int, list[int]], start: int) -> Iterator[int]:
    """States in the reverse of the order in which a depth-first search leaves them."""
    seen, left = {start}, list[int]()
    stack = [(start, iter(after[start]))]
    while stack:
        state, targets = stack[-1]
        target = next((each for each in targets if each not in seen), None)
        if target is None:
            left.append(state)
            stack.pop()
        else:
            seen.add(target)
            stack.append((target, iter(after[target])))
    return reversed(left)
