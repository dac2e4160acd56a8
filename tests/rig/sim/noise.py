"""Seeded transactions that no program of ours would send: any function with any arguments, and any code at all."""

import random
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple, function_abi_to_4byte_selector
from web3 import Web3

GAS = 400_000
WEIRD = (0, 1, 2, 3, 20, 31, 32, 33, 64, 255, 256, 2**16 - 1, 2**128, 2**255, 2**256 - 1)
LOOSE = [
    *range(0x01, 0x0C),  # arithmetic
    *range(0x10, 0x1F),  # comparisons, bits, CLZ
    0x20,  # KECCAK256
    *range(0x30, 0x4B),  # environment and block
    *range(0x50, 0x5F),  # stack, memory, storage, jumps, transient storage
    *range(0x80, 0xA0),  # DUP and SWAP
    *range(0xA0, 0xA5),  # LOG
    *(0xF0, 0xF1, 0xF2, 0xF4, 0xF5, 0xFA, 0xFF),  # calls, creations, self-destruction
]
ENDING = {0x3E, 0x56, 0x57, *range(0xF0, 0x100)}
"""RETURNDATACOPY beyond the end, jumps, and what the code of a transaction may not come back from."""
ENDLESS = b"\x5b\x5f\x56"
EARLIER_HASH = b"\x43\x60\x02\x90\x03\x40\x5f\x55"
"""Stores the hash of the block before the last."""
MODEXP, P256 = 5, 0x100
PRECOMPILES = (*range(1, 12), P256)
CHEAP = frozenset([1, 2, 3, 4, MODEXP, 6, 7, 9, P256])
"""Those that are tried with long inputs."""


def code(chance: random.Random, length: int = 60) -> bytes:
    """Instructions with something on the stack before most of them."""
    made = bytearray()
    for _ in range(length):
        for _ in range(chance.choice((0, 1, 2, 3))):
            made += _push(chance.choice(WEIRD) if chance.random() < 0.3 else chance.randrange(300))
        made.append(chance.choice(LOOSE))
    return bytes(made)


def every_instruction(chance: random.Random) -> bytes:
    """Each that neither halts, jumps nor calls, with enough on the stack; its result goes into storage."""
    made = bytearray()
    for place, instruction in enumerate(sorted(set(LOOSE) - ENDING)):
        for _ in range(17 if instruction >= 0x80 else 7):
            made += _push(chance.getrandbits(chance.choice((1, 5, 8))))
        made += bytes([instruction]) + _push(place) + b"\x55"
    return bytes(made)


def precompile_call(chance: random.Random, address: int, words: int) -> bytes:
    """Code that calls a precompile with words of all sizes, and keeps what it says in storage."""
    small = address == MODEXP or chance.random() < 0.3
    said = [chance.randrange(40) if small else chance.getrandbits(256) for _ in range(words)]
    if address == P256 and words == 5:
        said = _signature(chance)
    made = bytearray()
    for place, word in enumerate(said):
        made += _push(word) + _push(32 * place) + b"\x52"
    for argument in (64, 32 * words, 32 * words, 0, 0, address, 200_000):  # out, in, value, to, gas
        made += _push(argument)
    made += b"\xf1" + _push(1) + b"\x55\x3d" + _push(2) + b"\x55"  # CALL; success and size are stored
    return bytes(made + _push(32 * words) + b"\x51" + _push(3) + b"\x55")


def precompile_calls(chance: random.Random) -> Iterator[bytes]:
    """Each, with inputs of several lengths."""
    for address in PRECOMPILES:
        for words in (0, 1, 3, 4, 5, 5, 6) if address in CHEAP else (0,):
            yield precompile_call(chance, address, words)


CHANGING, READING = ("nonpayable", "payable"), ("view", "pure")


def calls(chance: random.Random, abi: list[dict[str, Any]], kinds: tuple[str, ...]) -> Iterator[tuple[bytes, int]]:
    """For each function of these kinds: calldata and wei."""
    for function in abi:
        if function["type"] == "function" and function["stateMutability"] in kinds:
            types = [collapse_if_tuple(each) for each in function["inputs"]]
            data = encode(types, [_value(chance, each) for each in function["inputs"]])
            wei = chance.randrange(10**18) if function["stateMutability"] == "payable" else 0
            yield bytes(function_abi_to_4byte_selector(function)) + data, wei  # type: ignore[arg-type]


def _signature(chance: random.Random) -> list[int]:
    """Digest, r, s, and the key: of P-256, and sometimes one bit off."""
    key, digest = ec.derive_private_key(chance.getrandbits(200), ec.SECP256R1()), chance.randbytes(32)
    r, s = decode_dss_signature(key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()))))
    place = key.public_key().public_numbers()
    words = [int.from_bytes(digest, "big"), r, s, place.x, place.y]
    if chance.random() < 0.5:
        words[chance.randrange(5)] ^= 1 << chance.randrange(256)
    return words


def _push(number: int) -> bytes:
    raw = number.to_bytes(max(-(-number.bit_length() // 8), 1), "big")
    return bytes([0x5F + len(raw)]) + raw


def _value(chance: random.Random, described: Any, kind: str | None = None) -> Any:
    kind = described["type"] if kind is None else kind
    if kind.endswith("]"):
        inner, _, size = kind.rpartition("[")
        count = int(size[:-1]) if size != "]" else chance.randrange(3)
        return [_value(chance, described, inner) for _ in range(count)]
    if kind == "tuple":
        return tuple(_value(chance, each) for each in described["components"])
    plain = {"address": Web3.to_checksum_address(chance.randbytes(20)), "bool": chance.random() < 0.5, "string": "word"}
    if kind in plain:
        return plain[kind]
    if kind.startswith("bytes"):
        return chance.randbytes(int(kind[5:]) if kind[5:] else chance.randrange(200))
    bits = int(kind.lstrip("uint") or 256)
    low, high = (0, 2**bits - 1) if kind[0] == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return chance.choice((0, 1, high, chance.randrange(1000), chance.randint(low, high))) if bits > 8 else 1
