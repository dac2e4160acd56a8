"""What a sender is told, and what it reports after each tick."""

from dataclasses import dataclass, field

from oracle.chain.fees import FeePolicy

OUT_OF_GAS = "out of gas"
"""The reason of a transaction that failed because its gas limit was too low."""


@dataclass(frozen=True)
class SenderSettings:
    """How a sender behaves; the defaults suit a chain like Ethereum."""

    depth: int = 32
    """Blocks on top of a transaction's until it is final."""
    bump_blocks: int = 3
    """Blocks without inclusion after which the next transaction in line pays more."""
    max_pending: int = 48
    """Most unmined transactions; geth keeps 64 of an account."""
    first_pending: int = 16
    """The same as long as the chain does not take many of this account in a block. More are sent only as blocks have
    room for them, so that an urgent one never has more than a few blocks' worth before it."""
    max_before_moves: int = 4
    """The same while an urgent one is wanted or on its way: about what a block takes of one account where blocks are
    full. More would stand before a move that is due sooner and not asked for yet."""
    gas_margin_percent: int = 25
    gas_cap: int = 1 << 24
    """EIP-7825: most gas of one transaction."""
    reserve_wei: int = 0
    """Balance that only urgent intents may touch."""
    adopt_blocks: int = 10
    """With an empty journal: blocks to wait for pooled transactions of a former life before taking over."""
    foreign_seconds: int = 30
    """Chain time for which every endpoint must show another wallet's transaction with this key before the node stops;
    nothing new is signed meanwhile."""
    fees: FeePolicy = field(default_factory=FeePolicy)


@dataclass
class Report:
    """What one tick did and met, for metrics and alerts."""

    pending: int = 0
    sent: int = 0
    bumped: int = 0
    cancelled: int = 0
    abandoned: int = 0
    failed: int = 0
    """Mined, and reverted or out of gas."""
    fee_cap_hits: int = 0
    """Intents held back because the fee would exceed their cap."""
    low_funds: bool = False
    balance_wei: int = 0
    waiting: int = 0
    """Intents that wait for others to be mined."""
    holding: str = ""
    """Why nothing new is signed; empty if nothing stands in the way."""
