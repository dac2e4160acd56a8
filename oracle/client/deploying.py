"""One deployment of all contracts, at the same addresses on every chain that is told the same of itself.

Each contract is made by the canonical CREATE2 factory, so its address follows from its code and its arguments alone:
whoever deploys, the addresses are the same, and a deployment that broke off is taken up where it stopped. What differs
between chains is the least time between blocks, and the root that quotes of TEEs go back to.
"""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak
from web3 import Web3

from oracle.attestation.dev import root_key
from oracle.chain import wiring
from oracle.chain.deployment import Deployment, artifact
from oracle.engines.tables import creation_codes
from oracle.errors import Refused, RpcUnavailable

FACTORY = Web3.to_checksum_address("0x4e59b44847b379578588920cA78FbF26c0B4956C")
"""Its calldata is a salt and creation code. Source: github.com/Arachnid/deterministic-deployment-proxy."""
SALT = bytes(32)


@dataclass(frozen=True)
class Planned:
    """A contract, or a table that one reads, before it is made."""

    name: str
    code: bytes
    """Creation code, with the constructor's arguments."""

    @property
    def address(self) -> ChecksumAddress:
        """Where the factory makes it (EIP-1014)."""
        parts = b"\xff" + bytes.fromhex(FACTORY[2:]) + SALT + keccak(self.code)
        return Web3.to_checksum_address(keccak(parts)[12:])

    @property
    def calldata(self) -> bytes:
        """What the factory is sent."""
        return SALT + self.code


@cache
def plan(chain_id: int, block_millis: int) -> tuple[Planned, ...]:
    """All contracts of a deployment, in the order in which they are made.

    block_millis: the least time between two blocks of the chain, in thousandths of a second.
    """
    planned: list[Planned] = []

    def add(name: str, code: bytes) -> str:
        planned.append(Planned(name, code))
        return planned[-1].address

    def make(name: str, arguments: list[Any]) -> str:
        built = artifact(name)
        made = Web3().eth.contract(abi=built["abi"], bytecode=built["bytecode"]).constructor(*arguments)
        return add(name, bytes.fromhex(str(made.data_in_transaction)[2:]))

    tables = {name: add(name, code) for name, code in creation_codes().items()}
    root_x, root_y = root_key(chain_id)
    wiring.deploy(make, {"block_millis": block_millis, **tables, "root_x": root_x, "root_y": root_y})
    return tuple(planned)


def deployment_of(planned: Sequence[Planned], chain_id: int, block: int) -> Deployment:
    """The addresses of a plan. block: of the first contract."""
    addresses: dict[str, str] = {each.name: each.address for each in planned}
    game = bytes.fromhex(addresses["DisputeGame"][2:])
    # The game makes it, as its first contract. CREATE hashes the RLP of maker and nonce, which counts from 1 (EIP-161).
    addresses["Refutations"] = Web3.to_checksum_address(keccak(b"\xd6\x94" + game + b"\x01")[12:])
    return Deployment.of(chain_id, block, addresses)


def missing(w3: Web3, planned: Sequence[Planned]) -> list[Planned]:
    """What a chain lacks of a plan."""
    return [each for each in planned if not w3.eth.get_code(each.address)]


def deploy(w3: Web3, planned: Sequence[Planned], send: Callable[[ChecksumAddress, bytes], None]) -> Deployment:
    """Makes what the chain lacks. send: sends calldata to an address, and waits. Raises Refused."""
    if not w3.eth.get_code(FACTORY):
        raise Refused(f"the chain has no CREATE2 factory at {FACTORY}; its README says how to bring it there")
    wanted = missing(w3, planned)
    block = w3.eth.block_number if len(wanted) == len(planned) else _first_block(w3, planned)
    for each in wanted:
        send(FACTORY, each.calldata)
        if not w3.eth.get_code(each.address):
            raise Refused(f"{each.name} was not made at {each.address}: its constructor refused, or gas was short")
    return deployment_of(planned, w3.eth.chain_id, block)


def _first_block(w3: Web3, planned: Sequence[Planned]) -> int:
    """A block before which none of a plan's contracts was there; 0 where the endpoint keeps no old states."""
    first = next(each for each in planned if w3.eth.get_code(each.address)).address
    low, high = 0, int(w3.eth.block_number)
    with contextlib.suppress(RpcUnavailable):
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if w3.eth.get_code(first, middle) else (middle + 1, high)
        return low
    return 0
