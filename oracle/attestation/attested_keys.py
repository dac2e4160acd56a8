"""The registration of a key made inside a TEE: what the evidence must contain, and what the key signs.

The same rules in Solidity: `contracts/attestation/AttestedKeys.sol`; a test compares the digests.
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, Protocol

from eth_abi.abi import encode
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from eth_typing import ChecksumAddress

from oracle.attestation.quote import Quote

EXACT_ENGINE = keccak(b"didyma.engine.exact.v1")
"""Engine id of the integer engine: the one whose answers the dispute game can judge."""
BINDING = keccak(b"didyma.attested-key.v1")
REGISTRATION = {
    "node": "address",
    "signer": "address",
    "modelRoot": "bytes32",
    "engineId": "bytes32",
    "challengeBlock": "uint32",
    "evaluation": "uint16",
}


def sign(
    key: LocalAccount,
    chain_id: int,
    attester: ChecksumAddress,
    types: Mapping[str, Mapping[str, str]],
    message: Mapping[str, Any],
) -> bytes:
    """An EIP-712 message under the contract's domain: r, s, v.

    types: of the message first, then of the structs in it.
    """
    domain = {"name": "Didyma attestation", "version": "1", "chainId": chain_id, "verifyingContract": attester}
    fields = {name: [{"name": f, "type": t} for f, t in struct.items()] for name, struct in types.items()}
    return bytes(key.sign_typed_data(domain, fields, dict(message)).signature)


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
    evaluation: int
    """Number of the TCB evaluation to be judged by."""

    @property
    def words(self) -> tuple[Any, ...]:
        """As a call takes it."""
        return astuple(self)

    def binding(self, chain_id: int, registry: ChecksumAddress, challenge_hash: bytes) -> bytes:
        """First half of the report data. registry: the contract that the key is registered with."""
        kinds = ["bytes32", "uint256", "address", f"({','.join(REGISTRATION.values())})", "bytes32"]
        return keccak(encode(kinds, [BINDING, chain_id, registry, self.words, challenge_hash]))

    def signed(self, key: LocalAccount, chain_id: int, registry: ChecksumAddress) -> bytes:
        """The key's signature: r, s, v."""
        message = dict(zip(REGISTRATION, self.words, strict=True))
        return sign(key, chain_id, registry, {"Registration": REGISTRATION}, message)
