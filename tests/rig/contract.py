"""A contract of 53 bytes, put on a test chain without a compiler.

Called with a topic and a word, it logs them and counts; called with nothing, it returns the count; while storage slot
0 is not zero it reverts with 0xdeadbeef.
"""

from eth_utils.address import to_checksum_address

from rig.anvil import Anvil

ADDRESS = to_checksum_address("0x" + "c0de" * 10)
TOPIC = b"\x01" * 32
REVERT = bytes.fromhex("deadbeef")

# calldatasize jumpi(13) | sload(1) mstore return(0, 32)
# 13: sload(0) jumpi(41) | calldatacopy(0, 32, 32) log1(0, 32, calldataload(0)) sstore(1, sload(1) + 1) stop
# 41: mstore(0, 0xdeadbeef << 224) revert(0, 4)
_CODE = (
    "36600d57" "6001545f5260205ff3"
    "5b5f54602957" "602060205f37" "5f3560205fa1" "600154600101600155" "00"
    "5b63deadbeef60e01b5f5260045ffd"
)  # fmt: skip


def place(chain: Anvil, address: str = ADDRESS) -> None:
    """Puts the contract there."""
    chain.rpc("anvil_setCode", address, "0x" + _CODE)


def refuse(chain: Anvil, refusing: bool) -> None:
    """Makes it revert from now on, or no longer."""
    chain.rpc("anvil_setStorageAt", ADDRESS, hex(0), "0x" + int(refusing).to_bytes(32, "big").hex())


def call(word: int, topic: bytes = TOPIC) -> bytes:
    """Calldata that logs `word` under `topic`."""
    return topic + word.to_bytes(32, "big")


def count(chain: Anvil) -> int:
    """How often it has logged."""
    return int(chain.rpc("eth_call", {"to": ADDRESS}, "latest"), 16)
