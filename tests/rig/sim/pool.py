"""Signed transactions that wait for a block: what is refused, with geth's words, and what replaces what."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import rlp
from eth_account import Account
from eth_utils.crypto import keccak

from rig.sim.osaka import MOST_TRANSACTION_GAS, Transaction
from rig.sim.state import NOBODY, Snapshot

BUMP_PERCENT = 10


class Rejected(Exception):
    """A transaction that the pool does not take, in the words of a server."""


@dataclass(frozen=True)
class Signed:
    """A transaction as it was sent."""

    hash: bytes
    raw: bytes
    tx: Transaction
    chain_id: int | None


def decode(raw: bytes) -> Signed:
    """Of the types that our senders use: with a gas price (legacy), with an access list, with EIP-1559 fees."""
    try:
        sender = bytes.fromhex(Account.recover_transaction(raw)[2:])
        if raw[0] >= 0xC0:
            nonce, price, gas, to, value, data, v, _, _ = rlp.decode(raw)
            fees, slots, chain_id = (_int(price), _int(price)), [], (_int(v) - 35) // 2 if _int(v) >= 35 else None
        elif raw[0] == 1:
            chain, nonce, price, gas, to, value, data, slots, *_ = rlp.decode(raw[1:])
            fees, chain_id = (_int(price), _int(price)), _int(chain)
        elif raw[0] == 2:
            chain, nonce, tip, fee, gas, to, value, data, slots, *_ = rlp.decode(raw[1:])
            fees, chain_id = (_int(fee), _int(tip)), _int(chain)
        else:
            raise Rejected("transaction type not supported")
    except (ValueError, TypeError, IndexError, rlp.exceptions.RLPException) as error:
        raise Rejected(f"rlp: {error}") from None
    listed = tuple((address, tuple(map(_int, keys))) for address, keys in slots)
    kind = 0 if raw[0] >= 0xC0 else raw[0]
    tx = Transaction(sender, _int(nonce), to, _int(value), data, _int(gas), *fees, listed, kind)
    return Signed(keccak(raw), raw, tx, chain_id)


def _int(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


class Pool:
    """By sender and nonce, the oldest first."""

    def __init__(self, chain_id: int, block_gas: int) -> None:
        self.waiting: dict[tuple[bytes, int], Signed] = {}
        self.least_tip_wei = 0
        self._chain_id = chain_id
        self._block_gas = block_gas

    def __iter__(self) -> Iterator[Signed]:
        return iter(list(self.waiting.values()))

    def get(self, tx_hash: bytes) -> Signed | None:
        return next((each for each in self if each.hash == tx_hash), None)

    def nonce(self, sender: bytes, mined: int) -> int:
        """The next free one of `sender`, who has `mined` in blocks."""
        while (sender, mined) in self.waiting:
            mined += 1
        return mined

    def add(self, signed: Signed, state: Snapshot) -> None:
        """state: of the head. Raises Rejected."""
        tx = signed.tx
        nonce, balance, _ = state.accounts.get(tx.sender, NOBODY)
        old = self.waiting.get((tx.sender, tx.nonce))
        if old is not None and old.hash == signed.hash:
            raise Rejected("already known")
        if signed.chain_id not in (self._chain_id, None):
            raise Rejected("invalid chain id for signer")
        if tx.gas > MOST_TRANSACTION_GAS:
            raise Rejected(f"transaction gas limit too high (cap: {MOST_TRANSACTION_GAS}, tx: {tx.gas})")
        if tx.gas > self._block_gas:
            raise Rejected("exceeds block gas limit")
        if tx.max_priority_fee_per_gas > tx.max_fee_per_gas:
            raise Rejected("max priority fee per gas higher than max fee per gas")
        if tx.gas < tx.least_gas:
            raise Rejected("intrinsic gas too low")
        if tx.max_priority_fee_per_gas < self.least_tip_wei:
            raise Rejected(
                f"transaction underpriced: gas tip cap {tx.max_priority_fee_per_gas}, "
                f"minimum needed {self.least_tip_wei}"
            )
        if tx.nonce < nonce:
            raise Rejected(f"nonce too low: next nonce {nonce}, tx nonce {tx.nonce}")
        if balance < tx.gas * tx.max_fee_per_gas + tx.value:
            raise Rejected("insufficient funds for gas * price + value")
        if old is not None and not _outbids(tx, old.tx):
            raise Rejected("replacement transaction underpriced")
        self.waiting[tx.sender, tx.nonce] = signed

    def forget(self, tx_hash: bytes) -> None:
        """As a server that is short of memory, or was started again."""
        self.waiting = {key: each for key, each in self.waiting.items() if each.hash != tx_hash}

    def best(self, nonces: Any, base_fee_wei: int) -> Signed | None:
        """The one that pays the producer most among those that may come next. nonces: of an address."""
        able = [
            each
            for (sender, nonce), each in self.waiting.items()
            if nonce == nonces(sender) and each.tx.max_fee_per_gas >= base_fee_wei
        ]
        return max(able, key=lambda each: tip(each.tx, base_fee_wei), default=None)

    def passed(self, nonces: Any) -> None:
        """Forgets those whose nonces are used."""
        self.waiting = {key: each for key, each in self.waiting.items() if key[1] >= nonces(key[0])}


def tip(tx: Transaction, base_fee_wei: int) -> int:
    """What the producer gets for a unit of gas, in wei."""
    return min(tx.max_priority_fee_per_gas, tx.max_fee_per_gas - base_fee_wei)


def _outbids(new: Transaction, old: Transaction) -> bool:
    return all(
        100 * mine >= (100 + BUMP_PERCENT) * theirs
        for mine, theirs in (
            (new.max_fee_per_gas, old.max_fee_per_gas),
            (new.max_priority_fee_per_gas, old.max_priority_fee_per_gas),
        )
    )
