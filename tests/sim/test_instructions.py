"""Instructions that run beside py-evm do what py-evm's own do: to stack, gas, storage and logs, with any code."""

import random
from collections import Counter

import pytest
from eth.vm.code_stream import CodeStream
from rig.sim import noise, osaka
from rig.sim.state import Snapshot, State

SENDER = b"\x11" * 20
DEEP = b"\x5f" * 1_024
"""As many words as a stack holds."""


def jumps(chance):
    """Code that goes on, goes back, or fails."""
    made = bytearray()
    for _ in range(20):
        made += bytes([0x60, chance.choice((0, 1)), 0x60, chance.randrange(120), chance.choice((0x56, 0x57)), 0x5B])
    return bytes(made)


def outcome(data):
    """Of a transaction whose code this is, and the state after it."""
    env = osaka.Env(1, 1, bytes(32), 1, bytes(20), 30_000_000, 1, [])
    state = State(Snapshot({SENDER: (0, 10**20, b"")}))
    gas = 5_000_000 if len(data) > 3_000 else noise.GAS
    found = osaka.execute(env, state, osaka.Transaction(SENDER, 0, b"", 0, data, gas, 10, 1))
    return found, state.storage, state.accounts


def test_instructions__any_code__as_py_evm_alone(monkeypatch):
    chance = random.Random(1)
    programs = [
        *(noise.ENDLESS, DEEP, DEEP + b"\x80", DEEP + b"\x5f", DEEP + b"\x60\x01", b"\x7f", b"\x61\x01", b"\x57"),
        *(noise.every_instruction(chance) for _ in range(4)),
        *(noise.code(chance, chance.choice((5, 20, 60))) for _ in range(150)),
        *(jumps(chance) for _ in range(60)),
    ]
    ours = [outcome(data) for data in programs]
    monkeypatch.setattr(osaka, "Code", lambda code, computation: CodeStream(code))
    theirs = [outcome(data) for data in programs]
    for program, mine, other in zip(programs, ours, theirs, strict=True):
        assert mine == other, program.hex()
    reasons = Counter(found.reason for found, _, _ in ours)
    assert (
        min(reasons[name] for name in ("", "OutOfGas", "InsufficientStack", "InvalidJumpDestination", "FullStack")) > 1
    )


@pytest.mark.parametrize("instruction", [0x01, 0x03, 0x0B, 0x10, 0x11, 0x14, 0x15, 0x16, 0x19, 0x1B, 0x1C])
def test_words__as_they_come_from_memory__count_as_numbers(instruction, monkeypatch):
    """py-evm leaves bytes on the stack where memory or a hash is read."""
    read = bytes.fromhex("60ff5f525f51601f51")  # MSTORE; MLOAD; MLOAD
    program = read + bytes([instruction]) + bytes.fromhex("5f55")  # SSTORE
    ours = outcome(program)
    monkeypatch.setattr(osaka, "Code", lambda code, computation: CodeStream(code))
    assert ours == outcome(program)
