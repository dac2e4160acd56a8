"""What a key made inside a TEE is registered with: what evidence must contain, and what the key signs.

The same rules in Solidity: `contracts/attestation/AttestedKeys.sol`.
"""

from dataclasses import asdict, astuple, dataclass
from typing import Any, Protocol

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import ChecksumAddress

from oracle.attestation.quote import Quote

BINDING = keccak(b"didyma.attested-key.v1")
FIELDS = {
    "node": "address",
    "signer": "address",
    "modelRoot": "bytes32",
    "engineId": "bytes32",
    "challengeBlock": "uint32",
}


class QuoteProducer(Protocol):
    """Makes evidence about the code that asks: the machine's hardware, or `dev.DevTee`."""

    def quote(self, report_data: bytes) -> Quote:
        """report_data: 64 bytes that the evidence is to contain."""


@dataclass(frozen=True)
class Registration:
    """`IAttestedKeys.Registration`"""

    node: ChecksumAddress
    signer: ChecksumAddress
    model_root: bytes
    engine_id: bytes
    challenge_block: int

    @property
    def words(self) -> tuple[Any, ...]:
        """As a call takes it."""
        return astuple(self)

    def binding(self, chain_id: int, registry: ChecksumAddress, challenge_hash: bytes) -> bytes:
        """First half of the report data. registry: the contract that the key is registered with."""
        kinds = ["bytes32", "uint256", "address", f"({','.join(FIELDS.values())})", "bytes32"]
        return keccak(encode(kinds, [BINDING, chain_id, registry, self.words, challenge_hash]))

    def signed(self, key: LocalAccount, chain_id: int, registry: ChecksumAddress) -> bytes:
        """The key's signature: r, s, v."""
        domain = {
            "name": "Didyma attested keys",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": registry,
        }
        types = {"Registration": [{"name": name, "type": kind} for name, kind in FIELDS.items()]}
        message = dict(zip(FIELDS, asdict(self).values(), strict=True))
        return bytes(key.sign_typed_data(domain, types, message).signature)
