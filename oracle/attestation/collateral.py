"""Intel's signed documents about platforms, and the calls that bring them to `DcapCollateral`.

A collateral is what `dcap-qvl` fetches and verifies: certificates of the signers, two revocation lists, a TCB info and
the quoting enclave's identity. On chain anyone may post them; the signatures decide.
"""

import json
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from eth_abi.abi import encode
from eth_hash.auto import keccak

from oracle.attestation.quote import Quote

ROOT = bytes(32)
"""Issuer of what the root signs: its key is fixed in the contract."""


@dataclass(frozen=True)
class Posting:
    """A call of `DcapCollateral`."""

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Collateral:
    """Documents of one moment for one kind of platform. PEM chains begin with the signer's certificate."""

    pck_crl_issuer_chain: str
    root_ca_crl: bytes
    pck_crl: bytes
    tcb_info_issuer_chain: str
    tcb_info: str
    tcb_info_signature: bytes
    qe_identity_issuer_chain: str
    qe_identity: str
    qe_identity_signature: bytes

    @classmethod
    def from_json(cls, text: str) -> "Collateral":
        """As `dcap_qvl.QuoteCollateralV3.to_json` writes it: bytes in hexadecimal. Raises ValueError."""
        fields: dict[str, Any] = json.loads(text)
        for name in ("root_ca_crl", "pck_crl", "tcb_info_signature", "qe_identity_signature"):
            fields[name] = bytes.fromhex(fields[name])
        return cls(**fields)

    @property
    def authority(self) -> bytes:
        """DER of the authority that issues platforms' certificates."""
        return _first(self.pck_crl_issuer_chain)

    @property
    def signer(self) -> bytes:
        """DER of the certificate of the key that signs TCB infos and identities."""
        return _first(self.tcb_info_issuer_chain)

    def postings(self, quote: Quote) -> list[Posting]:
        """All calls, in order, that a chain needs which knows nothing yet."""
        authority, signer = certificate_id(ROOT, self.authority), certificate_id(ROOT, self.signer)
        return [
            Posting("postCertificate", (ROOT, self.authority)),
            Posting("postCertificate", (ROOT, self.signer)),
            Posting("postCrl", (ROOT, self.root_ca_crl)),
            Posting("postCrl", (authority, self.pck_crl)),
            self.tcb_posting(signer),
            Posting("postQeIdentity", (self.qe_identity.encode(), *_halves(self.qe_identity_signature), signer)),
            Posting("postCertificate", (authority, quote.certificates[0])),
        ]

    def tcb_posting(self, signer: bytes) -> Posting:
        """signer: id of its certificate."""
        return Posting("postTcbInfo", (self.tcb_info.encode(), *_halves(self.tcb_info_signature), signer))

    def credential(self, quote: Quote) -> bytes:
        """Id of a quote's platform certificate."""
        return certificate_id(certificate_id(ROOT, self.authority), quote.certificates[0])


def certificate_id(issuer: bytes, der: bytes) -> bytes:
    """As `DcapCollateral.certificateId`: hash of issuer and serial, its last byte zero."""
    serial = x509.load_der_x509_certificate(der).serial_number
    return keccak(encode(["bytes32", "uint256"], [issuer, serial]))[:31] + b"\0"


def _first(chain: str) -> bytes:
    return x509.load_pem_x509_certificates(chain.encode())[0].public_bytes(Encoding.DER)


def _halves(signature: bytes) -> tuple[bytes, bytes]:
    return signature[:32], signature[32:]
