"""Block headers as they are hashed, to show a contract what stands in one.

Layout: the execution-layer specifications of Ethereum, `Header`; fields that a block lacks belong to later forks.
"""

from collections.abc import Mapping
from typing import Any

import rlp  # type: ignore[import-untyped]
from eth_utils.crypto import keccak

from oracle.errors import UnknownHeader

NUMBERS = frozenset(
    ["difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas"]
)
FIELDS = (
    *("parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom"),
    *("difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce"),
    *("baseFeePerGas", "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash"),
)


def encode(block: Mapping[str, Any]) -> bytes:
    """RLP of a block's header. block: as `eth_getBlockByHash` returns it. Raises UnknownHeader."""
    values = []
    for name in FIELDS:
        if block.get(name) is not None:
            digits = str(block[name]).removeprefix("0x")
            raw = bytes.fromhex(digits.rjust(len(digits) + len(digits) % 2, "0"))
            values.append(raw.lstrip(b"\0") if name in NUMBERS else raw)
    encoded: bytes = rlp.encode(values)
    if keccak(encoded) != bytes.fromhex(str(block["hash"]).removeprefix("0x")):
        raise UnknownHeader(f"the header of block {block.get('number')} does not hash to {block['hash']}")
    return encoded
