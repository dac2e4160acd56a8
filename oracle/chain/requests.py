"""Requests and answers as the contracts pack them, and what follows from their hashes.

Mirrors contracts/libraries/RequestLib.sol and the pure functions around it: ids, seeds, turns, draws, cases, votes. A
test compares each with the contract. It knows no endpoint and keeps nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from oracle.engines.answer_types import heading
from oracle.engines.base import Params
from oracle.ids import CaseId, RequestId, ServiceId

SEED_DELAY = 2
CALLBACK_OVERHEAD_GAS = 60_000


class Ruling(IntEnum):
    """IOracle.Ruling"""

    UPHELD = 0
    REJECTED = 1
    ANNULLED = 2


class Vote(IntEnum):
    """IPanelArbiter.Vote"""

    NONE = 0
    RIGHT = 1
    WRONG = 2


def _packed(*words: int | bytes) -> bytes:
    """The ABI's encoding of static values: a word each. Raises ValueError for bytes that are no word."""
    packed = b"".join(word if isinstance(word, bytes) else word.to_bytes(32, "big") for word in words)
    if len(packed) != 32 * len(words):
        raise ValueError(f"{len(packed)} bytes where {len(words)} words were wanted")
    return packed


@lru_cache(maxsize=1 << 16)
def _drawn(seed_block_hash: bytes, request_id: int, turn: int) -> int:
    """The hash that a turn's draw rests on. Cached, because a node asks for it in every round of the turn."""
    return int.from_bytes(keccak(_packed(seed_block_hash, request_id, turn)), "big")


def _bits(word: int, start: int, width: int) -> int:
    return word >> start & ((1 << width) - 1)


@dataclass(frozen=True)
class Request:
    """IOracle.Request: five words."""

    service: ServiceId
    prompt_hash: bytes
    head: int
    rules: int
    money: int

    @classmethod
    def from_abi(cls, fields: Mapping[str, Any]) -> "Request":
        """From a decoded event."""
        return cls(ServiceId(fields["service"]), fields["promptHash"], fields["head"], fields["rules"], fields["money"])

    @classmethod
    def from_json(cls, words: Sequence[str]) -> "Request":
        """From `to_json`."""
        service, prompt_hash, *numbers = words
        return cls(
            ServiceId(bytes.fromhex(service)), bytes.fromhex(prompt_hash), *(int(number, 16) for number in numbers)
        )

    def to_json(self) -> list[str]:
        """The words in hexadecimal."""
        return [self.service.hex(), self.prompt_hash.hex(), hex(self.head), hex(self.rules), hex(self.money)]

    @property
    def words(self) -> tuple[bytes, bytes, int, int, int]:
        """As ABI encoders take it."""
        return (self.service, self.prompt_hash, self.head, self.rules, self.money)

    @cached_property
    def id(self) -> RequestId:
        """A request is named by the hash of everything it says."""
        return RequestId(int.from_bytes(keccak(_packed(*self.words)), "big"))

    @property
    def payer(self) -> str:
        """Lower-case hexadecimal."""
        return f"0x{_bits(self.head, 0, 160):040x}"

    @property
    def deadline(self) -> int:
        """Unix seconds: the last moment for an answer."""
        return _bits(self.head, 160, 48)

    @property
    def block_number(self) -> int:
        return _bits(self.head, 208, 48)

    @property
    def seed_block(self) -> int:
        """Number of the block that fixes seed and turns."""
        return self.block_number + SEED_DELAY

    @property
    def max_tokens(self) -> int:
        return _bits(self.rules, 0, 24)

    @property
    def temperature(self) -> int:
        """16 fraction bits."""
        return _bits(self.rules, 24, 32)

    @property
    def cutoff(self) -> int:
        """16 fraction bits."""
        return _bits(self.rules, 56, 32)

    @property
    def callback_gas(self) -> int:
        return _bits(self.rules, 88, 32)

    @property
    def callback_gas_price_wei(self) -> int:
        return _bits(self.rules, 120, 64)

    @property
    def turn_seconds(self) -> int:
        return _bits(self.rules, 184, 24)

    @property
    def window_seconds(self) -> int:
        return _bits(self.rules, 208, 24)

    @property
    def seat_count(self) -> int:
        return _bits(self.rules, 232, 16)

    @property
    def is_private(self) -> bool:
        """Whether the prompt is sealed to keys inside TEEs."""
        return _bits(self.rules, 248, 8) != 0

    @property
    def value_finney(self) -> int:
        """The value at stake, by the payer's word: units of FINNEY wei."""
        return _bits(self.money, 232, 24)

    @property
    def fee_wei(self) -> int:
        """Base, prompt and `max_tokens` tokens."""
        return _bits(self.money, 0, 96)

    @property
    def token_price_wei(self) -> int:
        return _bits(self.money, 96, 64)

    @property
    def bond_wei(self) -> int:
        return _bits(self.money, 160, 72)

    @property
    def callback_wei(self) -> int:
        """What whoever finalizes gets."""
        if not self.callback_gas:
            return 0
        return (self.callback_gas + CALLBACK_OVERHEAD_GAS) * self.callback_gas_price_wei

    def seed(self, prev_randao: bytes) -> bytes:
        """The sampling seed. prev_randao: of block `seed_block`."""
        return keccak(_packed(self.id, prev_randao))

    def engine_params(self, prev_randao: bytes, prompt: bytes) -> Params:
        """What the engine is told beside the prompt. prompt: as it is asked, unsealed."""
        return Params(self.max_tokens, self.temperature, self.cutoff, self.seed(prev_randao), heading(prompt))

    def place_of_turn(self, seed_block_hash: bytes, turn: int) -> int:
        """The place in the draw whose seat is entitled in `turn`."""
        return _drawn(seed_block_hash, self.id, turn) % self.seat_count


@dataclass(frozen=True)
class Round:
    """IOracle.Round: where the turns of an open request stand."""

    first_turn: int
    starts_at: int

    def turn(self, time: int, turn_seconds: int) -> int:
        """The turn at a Unix time not before the round's start."""
        return self.first_turn + max(time - self.starts_at, 0) // turn_seconds

    def ends_at(self, turn: int, turn_seconds: int) -> int:
        """Unix time at which the turn after `turn` begins."""
        return self.starts_at + (turn - self.first_turn + 1) * turn_seconds


@dataclass(frozen=True)
class Answer:
    """IOracle.Answer: four words."""

    head: int
    output_hash: bytes
    tokens_root: bytes
    seed_block_hash: bytes

    @classmethod
    def from_abi(cls, fields: Mapping[str, Any]) -> "Answer":
        """From a decoded event."""
        return cls(fields["head"], fields["outputHash"], fields["tokensRoot"], fields["seedBlockHash"])

    @classmethod
    def from_json(cls, words: Sequence[str]) -> "Answer":
        """From `to_json`."""
        return cls(int(words[0], 16), *(bytes.fromhex(word) for word in words[1:]))

    def to_json(self) -> list[str]:
        """The words in hexadecimal."""
        return [hex(self.head), self.output_hash.hex(), self.tokens_root.hex(), self.seed_block_hash.hex()]

    @property
    def words(self) -> tuple[int, bytes, bytes, bytes]:
        """As ABI encoders take it."""
        return (self.head, self.output_hash, self.tokens_root, self.seed_block_hash)

    @cached_property
    def hash(self) -> bytes:
        """What the oracle stores, but for its lowest byte."""
        return keccak(_packed(*self.words))

    @property
    def turn(self) -> int:
        return _bits(self.head, 0, 32)

    @property
    def seat(self) -> int:
        return _bits(self.head, 32, 16)

    @property
    def closes_at(self) -> int:
        """Unix seconds: the last moment for a challenge."""
        return _bits(self.head, 48, 48)

    @property
    def token_count(self) -> int:
        """The end token included."""
        return _bits(self.head, 96, 24)


def case_id(request_id: RequestId, turn: int) -> CaseId:
    """The case about the answer of that turn."""
    return CaseId(keccak(_packed(request_id, turn)))


def game_case_id(request_id: RequestId, answer: Answer) -> CaseId:
    """The dispute game's case about an answer: DisputeGame.caseIdOf"""
    return CaseId(keccak(_packed(request_id, answer.hash)))


def commitment(chain_id: int, panel: str, case: CaseId, *, seat: int, vote: Vote, salt: bytes) -> bytes:
    """PanelArbiter.commitmentOf"""
    types = ["string", "uint256", "address", "bytes32", "uint16", "uint8", "bytes32"]
    return keccak(encode(types, ["didyma.vote", chain_id, panel, case, seat, int(vote), salt]))
