"""A contract's code, whose instructions that only move or compare words run here, and the others in py-evm.

Four in five instructions of compiled contracts push, copy, swap, drop, add or compare words, or jump. py-evm makes six
calls of Python for each; here each is a line or two. `tests/sim/test_instructions.py` compares with py-evm alone,
`tests/sim/test_mirror.py` with Anvil.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from eth.exceptions import FullStack, InsufficientStack, InvalidJumpDestination, OutOfGas
from eth.vm.code_stream import CodeStream

STOP, MUL, POP, JUMP, JUMPI, JUMPDEST = 0x00, 0x02, 0x50, 0x56, 0x57, 0x5B
PUSH0, PUSH1, PUSH32, DUP1, SWAP1, SWAP16 = 0x5F, 0x60, 0x7F, 0x80, 0x90, 0x9F
MOST_WORDS = 1024
"""On the stack."""
WORD = (1 << 256) - 1

OF_ONE: dict[int, Callable[[int], int]] = {
    0x15: lambda a: int(not a),  # ISZERO
    0x19: lambda a: a ^ WORD,  # NOT
}
OF_TWO: dict[int, Callable[[int, int], int]] = {
    0x01: lambda a, b: (a + b) & WORD,
    MUL: lambda a, b: (a * b) & WORD,
    0x03: lambda a, b: (a - b) & WORD,
    0x10: lambda a, b: int(a < b),
    0x11: lambda a, b: int(a > b),
    0x14: lambda a, b: int(a == b),
    0x16: lambda a, b: a & b,
    0x17: lambda a, b: a | b,
    0x18: lambda a, b: a ^ b,
    0x1B: lambda a, b: (b << a) & WORD if a < 256 else 0,
    0x1C: lambda a, b: b >> a if a < 256 else 0,
}
"""The upper word of the stack first."""

PUSH, COPY, SWAP, DROP, GO, BRANCH, NOTHING, ONE, TWO, OTHER = range(10)
"""What an instruction does."""
Step = tuple[int, int, Any, int]
"""What it does, its gas, what it pushes or applies or how deep it reaches, and where the next one is."""


class Code(CodeStream):
    """Gives py-evm those instructions, one by one, that it has to run itself. What a code consists of is found once for
    all calls."""

    __slots__ = ("_computation", "_steps", "_targets")

    def __init__(self, code: bytes, computation: Any) -> None:
        super().__init__(code)
        self._computation = computation
        self._steps, self._targets = _steps(code), _targets(code)

    def is_valid_opcode(self, position: int) -> bool:
        return position in self._targets

    def __iter__(self) -> Iterator[int]:
        words, meter, steps = self._computation._stack.values, self._computation._gas_meter, self._steps
        at = self.program_counter
        while True:
            kind, gas, argument, behind = steps.get(at) or self._read(at)
            if kind == OTHER:
                self.program_counter = behind
                yield argument
                at = self.program_counter
                continue
            if gas > meter.gas_remaining:
                raise OutOfGas
            meter.gas_remaining -= gas
            at = behind
            try:
                if kind == PUSH:
                    words.append(argument)
                elif kind == COPY:
                    words.append(words[argument])
                elif kind == SWAP:
                    words[-1], words[argument] = words[argument], words[-1]
                elif kind == TWO:
                    first, second = words.pop(), words[-1]
                    words[-1] = argument(_number(first), _number(second))
                elif kind == ONE:
                    words[-1] = argument(_number(words[-1]))
                elif kind == DROP:
                    words.pop()
                elif kind != NOTHING:
                    at = self._jumped(kind, words, behind)
            except IndexError:
                raise InsufficientStack from None
            if kind <= COPY and len(words) > MOST_WORDS:
                raise FullStack

    def _jumped(self, kind: int, words: list[int | bytes], behind: int) -> int:
        """Where the next instruction is. Raises IndexError, InvalidJumpDestination."""
        target = _number(words.pop())
        if kind == BRANCH and not _number(words.pop()):
            return behind
        if target not in self._targets:
            raise InvalidJumpDestination
        return target

    def _read(self, at: int) -> Step:
        step = self._steps[at] = _step(self._raw_code_bytes, at)
        return step


def _step(code: bytes, at: int) -> Step:
    """The instruction at a place of the code."""
    instruction = code[at] if at < len(code) else STOP
    if PUSH0 <= instruction <= PUSH32:
        bytes_pushed = instruction - PUSH0
        pushed = code[at + 1 : at + 1 + bytes_pushed].ljust(bytes_pushed, b"\0")
        return PUSH, 3 if bytes_pushed else 2, int.from_bytes(pushed, "big"), at + 1 + bytes_pushed
    if DUP1 <= instruction < SWAP1:
        return COPY, 3, DUP1 - instruction - 1, at + 1
    if SWAP1 <= instruction <= SWAP16:
        return SWAP, 3, SWAP1 - instruction - 2, at + 1
    if instruction in OF_ONE:
        return ONE, 3, OF_ONE[instruction], at + 1
    if instruction in OF_TWO:
        return TWO, 5 if instruction == MUL else 3, OF_TWO[instruction], at + 1
    kind, gas = {POP: (DROP, 2), JUMP: (GO, 8), JUMPI: (BRANCH, 10), JUMPDEST: (NOTHING, 1)}.get(
        instruction, (OTHER, 0)
    )
    return kind, gas, instruction, at + 1


def _number(word: int | bytes) -> int:
    """py-evm leaves words on the stack as they came."""
    return word if isinstance(word, int) else int.from_bytes(word, "big")


@lru_cache(maxsize=256)
def _steps(code: bytes) -> dict[int, Step]:
    """By place; what is not there yet has not been run."""
    return {}


@lru_cache(maxsize=256)
def _targets(code: bytes) -> frozenset[int]:
    found, at = [], 0
    while at < len(code):
        if code[at] == JUMPDEST:
            found.append(at)
        at += code[at] - PUSH1 + 2 if PUSH1 <= code[at] <= PUSH32 else 1
    return frozenset(found)
