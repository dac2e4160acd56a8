"""Quotes of Intel DCAP, taken apart: SGX in version 3, TDX in versions 4 and 5.

Layout: Intel SGX ECDSA Quote Library Reference, appendix A.3, and Intel TDX DCAP Quoting Library API, appendix A.3.
What the contract reads is `Quote.evidence`: the same bytes without lengths and certificates, as
`contracts/attestation/DcapVerifier.sol` says.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from oracle.errors import BadQuote

HEADER_BYTES = 48
BODY_BYTES = {3: 384, 4: 584, 5: 648}
BODY_HEADER_BYTES = 6
"""Type and length of the body, in version 5."""
TDX15_BODY = bytes.fromhex("030088020000")
"""Both, of a TD report of TDX 1.5: the only body that the contract takes in version 5."""
SGX_TYPES, TDX_TYPES = bytes.fromhex("020000000000"), bytes.fromhex("020081000000")
"""Type of the attestation key (ECDSA P-256) and of the TEE, as they stand in the header after the version."""
INTEL_QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
KEY_BYTES = SIGNATURE_BYTES = 64
QE_REPORT_BYTES = 384
CREDENTIAL_BYTES = 32
PEM_CHAIN, QE_REPORT = 5, 6
"""Types of certification data."""


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
    def parse(cls, raw: bytes, *, is_padded: bool = False) -> "Quote":
        """is_padded: zeros may follow, as in a buffer of fixed size. Raises BadQuote."""
        length = _signed_bytes(raw)
        outer = _Reader(raw[length:])
        rest = _Reader(outer.prefixed(4))
        if is_padded:
            outer.skip_zeros()
        outer.end()
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
    def body(self) -> bytes:
        """The report: of an enclave in version 3, of a trust domain in 4 and 5."""
        return self.signed[HEADER_BYTES + (BODY_HEADER_BYTES if self.version == 5 else 0) :]

    @property
    def report_data(self) -> bytes:
        """64 bytes that the measured code chose."""
        at = 320 if self.version == 3 else 520
        return self.body[at : at + 64]

    @property
    def module_svns(self) -> tuple[bytes, ...]:
        """Security versions of the TDX modules, 16 bytes each: that which launched the domain (TEE_TCB_SVN), and in
        TDX 1.5 that which runs now (TEE_TCB_SVN2)."""
        if self.version == 3:
            return ()
        return (self.body[:16], self.body[584:600]) if self.version == 5 else (self.body[:16],)

    @property
    def raw(self) -> bytes:
        """The quote again; the inverse of `parse`."""
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
    """Length of header and body. Raises BadQuote for what the contract does not take."""
    if (foreign := _foreign(raw)) is not None:
        raise BadQuote(f"{foreign}: not a quote of Intel's SGX or TDX")
    if len(raw) < HEADER_BYTES:
        raise BadQuote(f"the quote ends {HEADER_BYTES - len(raw)} bytes too early")
    version, types = int.from_bytes(raw[:2], "little"), raw[2:8]
    if version not in BODY_BYTES:
        raise BadQuote(f"quotes of version {version} are not understood")
    if types != (SGX_TYPES if version == 3 else TDX_TYPES):
        tee = "an enclave of SGX" if version == 3 else "a trust domain of TDX"
        raise BadQuote(f"a quote of version {version} that is not of {tee} signed by ECDSA P-256: 0x{types.hex()}")
    if raw[12:28] != INTEL_QE_VENDOR:
        raise BadQuote(f"a quote by a quoting enclave of another vendor than Intel: 0x{raw[12:28].hex()}")
    if version < 5:
        return HEADER_BYTES + BODY_BYTES[version]
    kind = raw[HEADER_BYTES : HEADER_BYTES + BODY_HEADER_BYTES]
    if kind != TDX15_BODY:
        raise BadQuote(f"a quote of version 5 with another body than TDX 1.5's: 0x{kind.hex()}")
    return HEADER_BYTES + BODY_HEADER_BYTES + BODY_BYTES[version]


def _foreign(raw: bytes) -> str | None:
    """What the bytes are instead of a quote; None if they may be one."""
    text = raw.lstrip()
    is_json, is_nvidia = text[:1] in (b"{", b"["), b"nvidia" in raw.lower() or b'"evidence"' in raw
    signs = {
        "no bytes at all": not raw,
        f"{len(raw)} zeros": not raw.strip(b"\0"),
        # COSE_Sign1, with or without its tag.
        "an attestation document of AWS Nitro": raw[:2] in (b"\x84\x44", b"\xd2\x84"),
        # SPDM 1.1: MEASUREMENTS, or GET_MEASUREMENTS before them.
        "NVIDIA's evidence about a GPU (SPDM measurements)": raw[:2] in (b"\x11\x60", b"\x11\xe0"),
        "a JSON web token, such as NVIDIA's and other verifiers issue": raw[:3] == b"eyJ",
        "NVIDIA's evidence about GPUs (JSON)": is_json and is_nvidia,
        "JSON text": is_json,
        "an attestation report of AMD SEV-SNP": len(raw) == 1184 and raw[1:4] == bytes(3),
        "a TD report, which this machine alone can check": len(raw) == 1024 and raw[:1] == b"\x81",
        "hexadecimal text": set(text) <= set(b"0123456789abcdefABCDEFx\r\n"),
    }
    return next((name for name, is_one in signs.items() if is_one), None)


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

    def skip_zeros(self) -> None:
        self._data = self._data.lstrip(b"\0")

    def end(self) -> None:
        if self._data:
            raise BadQuote(f"{len(self._data)} bytes follow the quote, or its certificates")
