"""Intel's signed documents about platforms, and the calls that bring them to `DcapCollateral`.

A collateral is what `dcap-qvl` fetches and verifies: certificates of the signers, two revocation lists, a TCB info and
the quoting enclave's identity. On chain anyone may post them; the signatures decide.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from eth_abi.abi import encode
from eth_hash.auto import keccak

from oracle.attestation.quote import Quote

ROOT = bytes(32)
"""Issuer of what the root signs: its key is fixed in the contract."""
MOST_ENTRIES = 500
"""Of a revocation list, read in one transaction: each costs 27,000 gas, and a transaction has 16.7 million."""


@dataclass(frozen=True)
class Posting:
    """A call of `DcapCollateral`."""

    function: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Collateral:
    """Documents of one moment and one TCB evaluation for one kind of platform.

    PEM chains begin with the signer's certificate.
    """

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
    def evaluation(self) -> int:
        """Number of the TCB evaluation. Raises ValueError where TCB info and identity are not of the same one."""
        numbers = [json.loads(text)["tcbEvaluationDataNumber"] for text in (self.tcb_info, self.qe_identity)]
        if numbers[0] != numbers[1]:
            raise ValueError(
                f"the TCB info is of evaluation {numbers[0]}, the QE identity of {numbers[1]}: "
                "wait until the source has both of one"
            )
        return int(numbers[0])

    @property
    def authority(self) -> bytes:
        """DER of the authority that issues platforms' certificates."""
        return _first(self.pck_crl_issuer_chain)

    @property
    def signer(self) -> bytes:
        """DER of the certificate of the key that signs TCB infos and identities."""
        return _first(self.tcb_info_issuer_chain)

    def postings(self, quote: Quote) -> list[Posting]:
        """All calls, in order, that a chain without any documents needs."""
        authority, signer = certificate_id(ROOT, self.authority), certificate_id(ROOT, self.signer)
        return [
            Posting("postCertificate", (ROOT, self.authority)),
            Posting("postCertificate", (ROOT, self.signer)),
            *_list_postings(ROOT, self.root_ca_crl),
            *_list_postings(authority, self.pck_crl),
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
    """As `DcapCollateral.certificateId`: hash of issuer and serial, its last four bytes zero."""
    serial = x509.load_der_x509_certificate(der).serial_number
    return keccak(encode(["bytes32", "uint256"], [issuer, serial]))[:28] + bytes(4)


def crl_digest(der: bytes) -> bytes:
    """SHA-256 of what the issuer of a revocation list signed, as `DcapCollateral.crlRead` takes it."""
    return sha256(x509.load_der_x509_crl(der).tbs_certlist_bytes).digest()


def _list_postings(issuer: bytes, der: bytes) -> list[Posting]:
    """A long list is posted several times, and read on each time."""
    entries = len(x509.load_der_x509_crl(der))
    untils = [*range(MOST_ENTRIES, entries, MOST_ENTRIES), entries]
    return [Posting("postCrl", (issuer, der, until)) for until in untils]


def _first(chain: str) -> bytes:
    return x509.load_pem_x509_certificates(chain.encode())[0].public_bytes(Encoding.DER)


def _halves(signature: bytes) -> tuple[bytes, bytes]:
    return signature[:32], signature[32:]
