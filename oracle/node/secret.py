"""A secret of the operator's key, and what the node derives from it: salts of panel votes, and which answers it checks.

Both follow from the key and are never drawn at random, so a lost disk loses no vote.

The secret is the signature of a transaction that no chain can ever accept (its nonce is the highest number, which
EIP-2681 excludes) under a key whose signatures are deterministic (RFC 6979), as eth-account's are. It works alike for
keystores and remote signers. The signature is never sent, stored or logged.
"""

import hashlib
import hmac

from oracle.chain.keys import Signer, UnsignedTx
from oracle.errors import SignerFailed
from oracle.ids import CaseId, RequestId

IMPOSSIBLE_NONCE = (1 << 64) - 1


class Secret:
    """One key's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Secret()"

    def salt(self, case: CaseId, seat: int, answer_hash: bytes) -> bytes:
        """32 bytes for the vote of one seat on one answer."""
        return self._mac(b"vote", case, seat.to_bytes(2, "big"), answer_hash)

    def sampled(self, request_id: RequestId, percent: int) -> bool:
        """Whether a request falls into a share that nobody else can foresee."""
        return int.from_bytes(self._mac(b"sample", request_id.to_bytes(32, "big")), "big") % 100 < percent

    def _mac(self, purpose: bytes, *parts: bytes) -> bytes:
        return hmac.new(self._secret, purpose + b"\x00" + b"".join(parts), hashlib.sha256).digest()


async def derive(signer: Signer, chain_id: int) -> Secret:
    """Raises SignerFailed for a signer that signs the same differently each time."""
    impossible = UnsignedTx(
        chain_id=chain_id,
        nonce=IMPOSSIBLE_NONCE,
        to=signer.address,
        value_wei=0,
        data=b"didyma: salts of panel votes",
        gas_limit=21_000,
        max_fee_wei=0,
        tip_wei=0,
    )
    first, second = await signer.sign(impossible), await signer.sign(impossible)
    if first.raw != second.raw:
        raise SignerFailed("the signer's signatures are not deterministic (RFC 6979): it cannot serve on panels")
    return Secret(hashlib.sha256(first.raw).digest())
