"""The keys of this node inside a TEE. They exist in this process's memory alone and die with it.

There is one signing key for each model and TCB evaluation that its services ask for. Each registration has another key,
to which prompts are sealed; it opens them until the registration ends, and is forgotten then.
"""

from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address

from oracle.attestation.attested_keys import Registration

LIFE_SECONDS = 7 * 86_400
"""How long a key lives at most: `AttestedKeys.MAX_LIFE`."""


@dataclass
class Registered:
    """A registration made here."""

    registration: Registration
    evidence: bytes
    signature: bytes
    details: tuple[Any, ...]
    made_at: int
    encryption: X25519PrivateKey
    ends_at: int = 0
    """As the chain says, in Unix seconds; 0 as long as it was not seen there."""


@dataclass
class Keys:
    """The keys of one model and TCB evaluation."""

    account: LocalAccount = field(default_factory=Account.create)
    made: list[Registered] = field(default_factory=list)
    """The newest last; one that was given up has no end, and is forgotten when it could not be registered any more."""

    @property
    def signer(self) -> ChecksumAddress:
        return to_checksum_address(self.account.address)

    @property
    def last(self) -> Registered | None:
        return self.made[-1] if self.made else None

    def forget(self, now: int) -> None:
        """Forgets the keys of registrations that have ended."""
        self.made = [each for each in self.made if now < (each.ends_at or each.made_at + LIFE_SECONDS)]
