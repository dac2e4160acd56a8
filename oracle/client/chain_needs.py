"""What the contracts need of a chain, asked of the chain itself before anything is deployed on it.

Each need is tried by a call that changes nothing. An endpoint may answer what its chain does not do: ask two.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.types import BlockData

from oracle.client.deploying import FACTORY, Planned
from oracle.errors import CallReverted, Refused, RpcRefused

P256 = Web3.to_checksum_address(f"{0x100:#042x}")
HISTORY = Web3.to_checksum_address("0x0000F90827F1C53a10cb7A02335B175320002935")
LEAST_BLOCKS = 3
MOST_CODE_BYTES = 24_576  # EIP-170
MOST_TRANSACTION_GAS = 1 << 24  # EIP-7825; the dearest dispute move stays below it
OPCODES = bytes.fromhex("5f5f5d5f5c505f5f5f5e5f1e50")  # TSTORE TLOAD MCOPY CLZ, on zeros: EIP-1153, EIP-5656, EIP-7939
SIGNED = (
    *("bb5a52f42f9c9261ed4361f59422a1e30036e7c32b270c8807a419feca605023",),
    *("2ba3a8be6b94d5ec80a6d9d1190a436effe50d85a1eee859b8cc6af9bd5c2e18",),
    *("4cd60b855d442f5b3c7b11eb6c4e0ae7525fe710fab9aa7c77a67f79e6fadd76",),
    *("2927b10512bae3eddcfe467828128bad2903269919f7086069c8c4df6c732838",),
    *("c7787964eaac00e5921fb1498a60f4606766b3d9685001558d1a974e7341513e",),
)
"""Digest, r, s, x, y: the example of EIP-7951."""


@dataclass(frozen=True)
class Need:
    """Something that a chain must offer."""

    name: str
    why: str
    """What would not work without it."""
    holds: Callable[[Web3, Sequence[Planned]], bool]


def lacking(w3: Web3, planned: Sequence[Planned]) -> Iterator[Need]:
    """What a chain does not offer. planned: what is to be deployed there. Raises Refused, RpcUnavailable."""
    if w3.eth.block_number < LEAST_BLOCKS:
        raise Refused(
            f"the chain has fewer than {LEAST_BLOCKS} blocks, too few to tell what it offers: mine some first"
        )
    return (need for need in NEEDS if not need.holds(w3, planned))


def _checks_p256(w3: Web3, _: Sequence[Planned]) -> bool:
    signed = bytes.fromhex("".join(SIGNED))
    forged = bytes(32) + signed[32:]
    return _called(w3, P256, signed) == (1).to_bytes(32, "big") and not any(_called(w3, P256, forged) or b"")


def _keeps_hashes(w3: Web3, _: Sequence[Planned]) -> bool:
    known = _newest(w3, 2)[0]
    return _called(w3, HISTORY, encode(["uint256"], [known["number"]])) == bytes(known["hash"])


def _takes_code(w3: Web3, planned: Sequence[Planned]) -> bool:
    longest = max(len(each.code) for each in planned)
    code = b"\x61" + MOST_CODE_BYTES.to_bytes(2, "big") + b"\x5f\xf3"  # PUSH2 size, PUSH0, RETURN
    made = _called(w3, None, code.ljust(longest, b"\x00"))
    return made is not None and len(made) == MOST_CODE_BYTES


def _knows_opcodes(w3: Web3, _: Sequence[Planned]) -> bool:
    return _called(w3, None, OPCODES + b"\x00") is not None


def _is_random(w3: Web3, _: Sequence[Planned]) -> bool:
    drawn = [bytes(block.get("mixHash", b"")) for block in _newest(w3, 3)]
    return len(set(drawn)) == len(drawn) and all(len(each) == 32 and any(each[:16]) for each in drawn)


def _takes_gas(w3: Web3, _: Sequence[Planned]) -> bool:
    return _newest(w3, 1)[-1]["gasLimit"] >= MOST_TRANSACTION_GAS


def _has_factory(w3: Web3, _: Sequence[Planned]) -> bool:
    return bool(w3.eth.get_code(FACTORY))


NEEDS = (
    Need("P-256 (EIP-7951)", "quotes of TEEs cannot be checked", _checks_p256),
    Need("block hashes (EIP-2935)", "seeds are forgotten before an answer is posted", _keeps_hashes),
    Need("code size (EIP-170, EIP-3860)", "the largest contracts cannot be made", _takes_code),
    Need("opcodes of Osaka (EIP-1153, EIP-5656, EIP-7939)", "the contracts' code does not run", _knows_opcodes),
    Need("randomness (PREVRANDAO)", "seeds, turns and panels could be foreseen", _is_random),
    Need("transactions of 16,777,216 gas", "the dearest dispute moves do not fit a block", _takes_gas),
    Need("the CREATE2 factory", f"addresses would differ; there must be code at {FACTORY}", _has_factory),
)


def _newest(w3: Web3, count: int) -> list[BlockData]:
    """The last blocks, the oldest first."""
    head = w3.eth.block_number
    return [w3.eth.get_block(number) for number in range(max(0, head - count + 1), head + 1)]


def _called(w3: Web3, to: ChecksumAddress | None, data: bytes) -> bytes | None:
    """What a call returns; None where it fails. to: None for creation code."""
    try:
        return bytes(w3.eth.call({"data": data} if to is None else {"to": to, "data": data}))
    except (CallReverted, RpcRefused):
        return None
