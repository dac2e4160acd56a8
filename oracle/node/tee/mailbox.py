"""Private prompts that askers left with this node, because they are too long for the chain. In memory: the keys that
open them end with the process too.

Only what an open request on chain names is taken, so every place here costs a request.
"""

from collections.abc import Collection, Iterable

from eth_typing import ChecksumAddress
from eth_utils.crypto import keccak

from oracle.attestation.private import recipients_of, reference_to
from oracle.errors import MailboxFull, NobodyAsked, NotForThisKey
from oracle.node.records import RequestRecord

MOST_PROMPTS = 64


class Mailbox:
    """Sealed prompts, by what stands on chain in their place."""

    def __init__(self) -> None:
        self._left: dict[bytes, bytes] = {}
        self._named: set[bytes] = set()

    def update(self, requests: Iterable[RequestRecord]) -> None:
        """requests: those not closed. What none of them names is forgotten."""
        self._named = {record.prompt for record in requests if record.request.is_private}
        self._left = {reference: sealed for reference, sealed in self._left.items() if reference in self._named}

    def leave(self, sealed: bytes, signers: Collection[ChecksumAddress]) -> None:
        """signers: keys that this node has. Raises NotPrivate, NotForThisKey, NobodyAsked, MailboxFull."""
        readers = recipients_of(sealed)
        if not set(readers) & set(signers):
            raise NotForThisKey(f"sealed to {', '.join(readers)}: no key of this node is among them")
        reference = reference_to(sealed)
        if reference not in self._named:
            raise NobodyAsked(f"this node knows no open request that names 0x{keccak(sealed).hex()}")
        if reference not in self._left and len(self._left) >= MOST_PROMPTS:
            raise MailboxFull(f"{MOST_PROMPTS} prompts wait here already")
        self._left[reference] = sealed

    def forget(self, record: RequestRecord) -> None:
        """Drops what was left for a request, because it is of no use."""
        self._left.pop(record.prompt, None)

    def sealed(self, record: RequestRecord) -> bytes:
        """The private prompt of a request: what was left for it, or else what stands on chain."""
        return self._left.get(record.prompt, record.prompt)
