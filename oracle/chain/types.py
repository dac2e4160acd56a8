"""Blocks, logs and receipts as the node uses them, parsed strictly from JSON-RPC.

An endpoint's reply is untrusted input: whatever does not parse raises ValueError, and the caller treats the
endpoint as faulty. Hashes are bytes, addresses are checksummed strings, amounts are integers in wei.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from oracle.chain import headers
from oracle.errors import UnknownHeader


@dataclass(frozen=True)
class Block:
    """A header."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    """Unix time in seconds: the only clock that deadlines are compared with."""
    base_fee_wei: int
    prev_randao: bytes
    bloom: bytes
    """256 bytes; all zero on chains that do not fill it."""
    has_base_fee: bool = True
    """Whether the chain takes EIP-1559 transactions."""
    is_hashed: bool = False
    """Whether its fields hash to its hash, which proves them. Never on chains with other headers."""

    def may_have(self, addresses: Iterable[str], topics: Iterable[bytes]) -> bool:
        """False only if the bloom filter proves that none of `addresses` logged one of `topics` here."""
        bits = int.from_bytes(self.bloom, "big")
        raw = (bytes.fromhex(address[2:]) for address in addresses)
        return bits > 0 and any(map(partial(_holds, bits), raw)) and any(map(partial(_holds, bits), topics))

    def can_hold(self, entry: "Log") -> bool:
        """False only if the bloom filter proves that this is no log of this block."""
        bits = int.from_bytes(self.bloom, "big")
        return all(map(partial(_holds, bits), (bytes.fromhex(entry.address[2:]), *entry.topics)))


@lru_cache(1 << 14)
def _places(entry: bytes) -> tuple[int, ...]:
    digest = keccak(entry)
    return tuple(int.from_bytes(digest[i : i + 2], "big") % 2048 for i in (0, 2, 4))


def _holds(bits: int, entry: bytes) -> bool:
    """Yellow paper, 4.3.1."""
    return all(bits >> place & 1 for place in _places(entry))


@dataclass(frozen=True)
class Log:
    """One event of one contract. (block_hash, index) names it for ever."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: bytes
    index: int


@dataclass(frozen=True)
class Receipt:
    """What became of a mined transaction."""

    tx_hash: bytes
    block_number: int
    block_hash: bytes
    succeeded: bool
    gas_used: int
    logs: tuple[Log, ...]
    fee_wei: int = 0
    """What the sender paid for it: gas at its price, and what a rollup charges for its data."""


MOST_QUANTITY = 2**256 - 1


def parse_int(value: Any) -> int:
    """A JSON-RPC quantity."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("not a quantity")
    found = int(value, 16)
    if not 0 <= found <= MOST_QUANTITY:
        raise ValueError("not a number that the chain could hold")
    return found


def parse_bytes(value: Any, length: int | None = None) -> bytes:
    """JSON-RPC data, of exactly `length` bytes if given."""
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("not data")
    raw = bytes.fromhex(value[2:])
    if length is not None and len(raw) != length:
        raise ValueError("data of wrong length")
    return raw


def parse_address(value: Any) -> str:
    """A checksummed address."""
    return str(to_checksum_address(parse_bytes(value, 20)))


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("not an object")
    return value


def parse_block(value: Any) -> Block:
    """Raises ValueError or KeyError on anything that is not a mined block's header."""
    v = _mapping(value)
    return Block(
        number=parse_int(v["number"]),
        hash=parse_bytes(v["hash"], 32),
        parent_hash=parse_bytes(v["parentHash"], 32),
        timestamp=parse_int(v["timestamp"]),
        base_fee_wei=parse_int(v.get("baseFeePerGas") or "0x0"),
        prev_randao=parse_bytes(v.get("mixHash") or "0x" + "00" * 32, 32),
        has_base_fee=v.get("baseFeePerGas") is not None,
        bloom=parse_bytes(v.get("logsBloom") or "0x" + "00" * 256, 256),
        is_hashed=_is_hashed(v),
    )


def _is_hashed(block: Mapping[str, Any]) -> bool:
    try:
        headers.encode(block)
    except (UnknownHeader, ValueError):
        return False
    return True


def parse_log(value: Any) -> Log:
    """Raises ValueError or KeyError; a log marked as removed is refused."""
    v = _mapping(value)
    if v.get("removed"):
        raise ValueError("removed log")
    return Log(
        address=parse_address(v["address"]),
        topics=tuple(parse_bytes(topic, 32) for topic in v["topics"]),
        data=parse_bytes(v["data"]),
        block_number=parse_int(v["blockNumber"]),
        block_hash=parse_bytes(v["blockHash"], 32),
        tx_hash=parse_bytes(v["transactionHash"], 32),
        index=parse_int(v["logIndex"]),
    )


def parse_logs(value: Any) -> tuple[Log, ...]:
    """Raises ValueError or KeyError."""
    if not isinstance(value, list):
        raise ValueError("not a list")
    return tuple(parse_log(entry) for entry in value)


def parse_receipt(value: Any) -> Receipt:
    """Raises ValueError or KeyError."""
    v = _mapping(value)
    gas_used, price_wei = parse_int(v["gasUsed"]), parse_int(v.get("effectiveGasPrice") or "0x0")
    return Receipt(
        tx_hash=parse_bytes(v["transactionHash"], 32),
        block_number=parse_int(v["blockNumber"]),
        block_hash=parse_bytes(v["blockHash"], 32),
        succeeded=parse_int(v["status"]) == 1,
        gas_used=gas_used,
        logs=parse_logs(v["logs"]),
        fee_wei=gas_used * price_wei + parse_int(v.get("l1Fee") or "0x0"),
    )
