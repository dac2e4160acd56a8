"""Quotes of Intel DCAP, taken apart: SGX in version 3, TDX in versions 4 and 5.

Layout: Intel SGX ECDSA Quote Library Reference, appendix A.3, and Intel TDX DCAP Quoting Library API, appendix A.3.
What the contract reads is `Quote.evidence`: the same bytes without lengths and certificates, as
`contracts/attestation/DcapVerifier.sol` says.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from oracle.errors import Refused

HEADER_BYTES = 48
BODY_BYTES = {3: 384, 4: 584}
BODY_HEADER_BYTES = 6
"""Type and length of the body, in version 5."""
KEY_BYTES = SIGNATURE_BYTES = 64
QE_REPORT_BYTES = 384
CREDENTIAL_BYTES = 32
PEM_CHAIN, QE_REPORT = 5, 6
"""Types of certification data."""


class BadQuote(Refused):
    """Bytes that are no quote of a kind that is understood."""


@dataclass(frozen=True)
class Quote:
    """Parts of a quote, as they stand in it."""

    signed: bytes
    """Header and body, in version 5 with the body's type and length between them."""
    signature: bytes
    """r and s, 64 bytes, over `signed`, by `key`."""
    key: bytes
    """The attestation key: x and y, 64 bytes."""
    qe_report: bytes
    qe_signature: bytes
    auth: bytes
    """The quoting enclave's authentication data."""
    chain: bytes
    """PEM certificates: the platform's first, the root's last."""

    @classmethod
    def parse(cls, raw: bytes) -> "Quote":
        """Raises BadQuote."""
        length = _signed_bytes(raw)
        rest = _Reader(_Reader(raw[length:]).prefixed(4))
        signature, key = rest.take(SIGNATURE_BYTES), rest.take(KEY_BYTES)
        if int.from_bytes(raw[:2], "little") > 3:
            rest = _Reader(rest.certification(QE_REPORT))
        qe_report, qe_signature, auth = rest.take(QE_REPORT_BYTES), rest.take(SIGNATURE_BYTES), rest.prefixed(2)
        chain = rest.certification(PEM_CHAIN)
        rest.end()
        return cls(raw[:length], signature, key, qe_report, qe_signature, auth, chain)

    @classmethod
    def of_evidence(cls, evidence: bytes, chain: bytes) -> "Quote":
        """The inverse of `evidence`. chain: the certificates that are not in it. Raises BadQuote."""
        length = _signed_bytes(evidence)
        rest = _Reader(evidence[length:])
        signature, key = rest.take(SIGNATURE_BYTES), rest.take(KEY_BYTES)
        qe_report, qe_signature, auth = rest.take(QE_REPORT_BYTES), rest.take(SIGNATURE_BYTES), rest.prefixed(2)
        rest.take(CREDENTIAL_BYTES)
        rest.end()
        return cls(evidence[:length], signature, key, qe_report, qe_signature, auth, chain)

    @property
    def version(self) -> int:
        return int.from_bytes(self.signed[:2], "little")

    @property
    def report_data(self) -> bytes:
        """64 bytes that the measured code chose."""
        at = HEADER_BYTES + {3: 320, 4: 520, 5: BODY_HEADER_BYTES + 520}[self.version]
        return self.signed[at : at + 64]

    @property
    def raw(self) -> bytes:
        """The quote again; the inverse of `parse`, but for what may follow a quote."""
        inner = b"".join(
            (
                *(self.qe_report, self.qe_signature, len(self.auth).to_bytes(2, "little"), self.auth),
                *(PEM_CHAIN.to_bytes(2, "little"), len(self.chain).to_bytes(4, "little"), self.chain),
            )
        )
        if self.version > 3:
            inner = QE_REPORT.to_bytes(2, "little") + len(inner).to_bytes(4, "little") + inner
        data = self.signature + self.key + inner
        return self.signed + len(data).to_bytes(4, "little") + data

    @property
    def certificates(self) -> list[bytes]:
        """The chain's certificates in DER, the platform's first. Raises BadQuote."""
        try:
            found = x509.load_pem_x509_certificates(self.chain.rstrip(b"\0"))
        except ValueError as error:
            raise BadQuote(f"the quote's certificates cannot be read: {error}") from error
        return [certificate.public_bytes(Encoding.DER) for certificate in found]

    def evidence(self, credential: bytes) -> bytes:
        """What `DcapVerifier.verify` takes. credential: id of the platform's certificate in the collateral."""
        return b"".join(self._parts(credential))

    def _parts(self, credential: bytes) -> Iterator[bytes]:
        yield from (self.signed, self.signature, self.key, self.qe_report, self.qe_signature)
        yield len(self.auth).to_bytes(2, "little")
        yield from (self.auth, credential)


def _signed_bytes(raw: bytes) -> int:
    """Length of header and body. Raises BadQuote."""
    version = int.from_bytes(raw[:2], "little")
    if version == 5:
        return HEADER_BYTES + BODY_HEADER_BYTES + int.from_bytes(raw[HEADER_BYTES + 2 : HEADER_BYTES + 6], "little")
    if version in BODY_BYTES:
        return HEADER_BYTES + BODY_BYTES[version]
    raise BadQuote(f"quotes of version {version} are not understood")


class _Reader:
    """Bytes read from the front. Raises BadQuote where they end."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        if len(self._data) < count:
            raise BadQuote(f"the quote ends {count - len(self._data)} bytes too early")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def prefixed(self, width: int) -> bytes:
        """After a length of `width` bytes."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def certification(self, kind: int) -> bytes:
        """Certification data of that type."""
        found = int.from_bytes(self.take(2), "little")
        if found != kind:
            raise BadQuote(f"certification data of type {found}, not {kind}")
        return self.prefixed(4)

    def end(self) -> None:
        if self._data.strip(b"\0"):
            raise BadQuote(f"{len(self._data)} bytes follow the quote's certificates")
