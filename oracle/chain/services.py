"""Terms of services and arbiters as Python values, in the layout of the interfaces' structs.

Amounts in wei, times in seconds, as the NatSpec says. The service's id is the hash of its terms.
"""

from dataclasses import astuple, dataclass

from eth_abi.abi import decode, encode
from eth_typing import ChecksumAddress
from web3 import Web3

from oracle.chain.requests import Ruling
from oracle.chain.units import NOBODY
from oracle.ids import ModelId

PANEL_TERMS = "(uint72,uint72,uint72,uint32,uint32,uint8,uint32)"
RAMP, OPENINGS = 16, 9
"""`DisputeGame.RAMP`, `DisputeGame.OPENINGS`"""
GAME_TERMS = "(uint72,uint72,uint24,uint24,uint24,uint24,uint16)"
POLICY = "(address,bytes32,bool,uint16,uint32,uint96,uint16[],bytes32[],bytes32[])"
TERMS = (
    "(bytes32,address,bytes,address,bytes,uint72,uint72,uint72,uint64,uint64,uint64,"
    "uint32,uint24,uint24,uint24,uint24,uint16,uint128)"
)


@dataclass(frozen=True)
class PanelTerms:
    challenge_bond_wei: int
    vote_fee_wei: int
    absence_penalty_wei: int
    commit_seconds: int
    reveal_seconds: int
    panel_size: int
    tolerance: int
    """Fixed point, 16 fraction bits; see `LlamaEngine.check`. 0: equality, which the exact engine alone can keep."""

    def paid_to_challenger_wei(self, ruling: Ruling, votes: int, answer_bond_wei: int) -> int:
        """What `PanelArbiter` pays the challenger in the end, its own bond included."""
        fees_wei = votes * self.vote_fee_wei
        if ruling is Ruling.REJECTED:
            return self.challenge_bond_wei + answer_bond_wei // 2 - fees_wei
        return self.challenge_bond_wei - (fees_wei - fees_wei // 2) if ruling is Ruling.ANNULLED else 0

    @property
    def exact(self) -> bool:
        """Whether nodes answer and check with the exact engine."""
        return self.tolerance == 0

    def encoded(self) -> bytes:
        return encode([PANEL_TERMS], [astuple(self)])

    @classmethod
    def decoded(cls, data: bytes) -> "PanelTerms":
        return cls(*decode([PANEL_TERMS], data)[0])


@dataclass(frozen=True)
class GameTerms:
    """`IDisputeGame.GameTerms`"""

    challenge_bond_wei: int
    opening_wei: int
    clock_seconds: int
    move_seconds: int
    first_move_seconds: int
    queue_seconds: int
    ceiling_percent: int

    @property
    def ceiling_wei(self) -> int:
        """What no challenge costs more than."""
        return self.challenge_bond_wei * self.ceiling_percent // 100

    def price_wei(self, open_games: int) -> int:
        """The bond of the next challenge."""
        return min(self.challenge_bond_wei + self.challenge_bond_wei * open_games // RAMP, self.ceiling_wei)

    def node_clock_seconds(self, games: int, answers: int) -> int:
        """The node's clock in a game that is opened while so many are open against its seat, about so many answers."""
        return self.clock_seconds + games * self.queue_seconds + answers * self.first_move_seconds

    def longest_seconds(self, games: int, answers: int) -> int:
        """The time from a challenge to the last moment of the last move, if both sides use all their time."""
        least = (2 * OPENINGS - 3) * self.move_seconds + self.first_move_seconds
        return self.node_clock_seconds(games, answers) + self.clock_seconds + least

    def delay_seconds(self, games: int) -> int:
        """How long so many games, opened at once, delay a right answer at most, if both sides use all their time."""
        return self.longest_seconds(games - 1, min(games - 1, 1))

    def encoded(self) -> bytes:
        return encode([GAME_TERMS], [astuple(self)])

    @classmethod
    def decoded(cls, data: bytes) -> "GameTerms":
        return cls(*decode([GAME_TERMS], data)[0])


@dataclass(frozen=True)
class Policy:
    """`IAttestedAnswers.Policy`"""

    guardian: ChecksumAddress
    engine_id: bytes
    accepts_configuration: bool
    least_evaluation: int
    """Number of the oldest TCB evaluation that keys may be judged by."""
    grace_seconds: int
    grace_cap_wei: int
    advisories: tuple[int, ...]
    measurements: tuple[bytes, ...]
    platforms: tuple[bytes, ...]

    def encoded(self) -> bytes:
        return encode([POLICY], [astuple(self)])

    @classmethod
    def decoded(cls, data: bytes) -> "Policy":
        guardian, *rest = decode([POLICY], data)[0]
        return cls(Web3.to_checksum_address(guardian), *rest)


@dataclass(frozen=True)
class Terms:
    model: ModelId
    arbiter: ChecksumAddress
    arbiter_terms: bytes
    attester: ChecksumAddress
    """NOBODY for none."""
    attester_terms: bytes
    bond_wei: int
    seat_wei: int
    miss_penalty_wei: int
    base_price_wei: int
    byte_price_wei: int
    token_price_wei: int
    max_prompt_bytes: int
    max_tokens: int
    turn_seconds: int
    window_seconds: int
    lifetime_seconds: int
    min_owners: int
    value_cap_wei: int

    def service_id(self) -> bytes:
        """32 bytes: keccak256 of the ABI encoding."""
        return bytes(Web3.keccak(encode([TERMS], [astuple(self)])))

    @property
    def policy(self) -> "Policy | None":
        """What the attester goes by, if there is one."""
        return Policy.decoded(self.attester_terms) if self.attester != NOBODY else None
