"""A trust domain of software: quotes in the format of real TDX hardware, under a root that vouches for nothing.

For development and tests: every step of registration, expiry and revocation can be played without hardware. The
contract that knows this root refuses to exist on public chains, and what it verifies says "dev". Keys come from a seed,
so that two runs agree; validity is of the caller's choice, no clock is read.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from oracle.attestation.collateral import Collateral
from oracle.attestation.quote import INTEL_QE_VENDOR, TDX15_BODY, Quote

SGX_OID = "1.2.840.113741.1.13.1"
SGX_PREFIX = bytes.fromhex("2a864886f84d010d01")
ROOT_NAME, AUTHORITY_NAME = "Didyma Dev Root CA", "Didyma Dev PCK Platform CA"
SEALED = bytes.fromhex("0000001000000000")
"""TD attributes: SEPT_VE_DISABLE alone."""
DEBUG = bytes.fromhex("0100001000000000")
FMSPC, PCE_ID = bytes.fromhex("ded0de000000"), bytes(2)
QE_SIGNER, QE_PRODUCT = sha256(b"didyma dev quoting enclave").digest(), 2


@dataclass(frozen=True)
class Level:
    """A TCB level: what it asks for, and the verdict."""

    svn: int
    status: str = "UpToDate"
    advisories: tuple[str, ...] = ()
    date: int = 1_700_000_000


@dataclass(frozen=True)
class DevTee:
    """One machine, its vendor, and the vendor's documents of one moment. Unix times in seconds."""

    since: int
    until: int
    seed: bytes = b"didyma dev tee"
    svn: int = 5
    """Of the machine: all TCB components and the module."""
    running: bytes | None = None
    """Security versions of the module that runs now, 16 bytes, where it is another than launched the domain; then
    quotes are of version 5."""
    modules: Mapping[int, Sequence[Level]] = field(default_factory=dict)
    """Levels of TDX modules that are judged apart, by version."""
    qe_svn: int = 4
    levels: Sequence[Level] = (Level(5), Level(3, "OutOfDate", ("INTEL-SA-00001",)))
    qe_levels: Sequence[Level] = (Level(4),)
    number: int = 17
    """Of the TCB evaluation."""
    revoked: Sequence[int] = ()
    """Serials on the authority's list: `platform.serial_number` revokes this machine."""
    root_revoked: Sequence[int] = ()
    seconds_issued: int = 0
    """By which the documents are younger than `since`."""
    attributes: bytes = SEALED
    qe_attributes: bytes = bytes.fromhex("11000000000000000000000000000000")
    body: dict[str, bytes] = field(default_factory=dict)
    """Fields of the report to set otherwise: seam_signer, seam_attributes, module, xfam, mrtd, rtmr3."""

    # KEYS AND CERTIFICATES

    @property
    def root_key(self) -> tuple[bytes, bytes]:
        """What `DcapCollateral` is deployed with."""
        return _point(self._key("root"))

    @cached_property
    def root(self) -> x509.Certificate:
        return self._certificate(ROOT_NAME, "root", ROOT_NAME, "root", is_authority=True)

    @cached_property
    def authority(self) -> x509.Certificate:
        return self._certificate(AUTHORITY_NAME, "authority", ROOT_NAME, "root", is_authority=True)

    @cached_property
    def signer(self) -> x509.Certificate:
        return self._certificate("Didyma Dev TCB Signing", "signer", ROOT_NAME, "root")

    @cached_property
    def platform(self) -> x509.Certificate:
        name = "Didyma Dev PCK Certificate"
        return self._certificate(name, "platform", AUTHORITY_NAME, "authority", sgx=self._sgx())

    def _key(self, name: str) -> ec.EllipticCurvePrivateKey:
        secret = int.from_bytes(sha256(self.seed + name.encode()).digest(), "big")
        return ec.derive_private_key(secret % (1 << 255) + 1, ec.SECP256R1())

    def _certificate(
        self, name: str, key: str, issuer: str, by: str, *, is_authority: bool = False, sgx: bytes | None = None
    ) -> x509.Certificate:
        public = self._key(key).public_key()
        serial = int.from_bytes(sha256(b"serial" + self.seed + key.encode()).digest()[:16], "big") | 1
        usage = x509.KeyUsage(
            digital_signature=not is_authority,
            content_commitment=not is_authority,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=is_authority,
            crl_sign=is_authority,
            encipher_only=False,
            decipher_only=False,
        )
        builder = (
            x509.CertificateBuilder(_name(issuer), _name(name), public, serial)
            .not_valid_before(_time(self.since))
            .not_valid_after(_time(self.until))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key(by).public_key()), critical=False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(usage, critical=True)
            .add_extension(x509.BasicConstraints(is_authority, 0 if is_authority else None), critical=True)
        )
        if sgx is not None:
            unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier(SGX_OID), sgx)
            builder = builder.add_extension(unknown, critical=False)
        return builder.sign(self._key(by), hashes.SHA256(), ecdsa_deterministic=True)

    def _sgx(self) -> bytes:
        """Intel SGX PCK Certificate and CRL specification, section 1.3.5."""
        components = [_entry(bytes([2, n]), _integer(self.svn)) for n in range(1, 17)]
        components += [_entry(b"\2\x11", _integer(11)), _entry(b"\2\x12", _element(4, bytes([self.svn] * 16)))]
        fields = [
            _entry(b"\1", _element(4, sha256(self.seed).digest()[:16])),
            _entry(b"\2", _element(0x30, b"".join(components))),
            _entry(b"\3", _element(4, PCE_ID)),
            _entry(b"\4", _element(4, FMSPC)),
            _entry(b"\5", _element(10, b"\0")),
        ]
        return _element(0x30, b"".join(fields))

    # DOCUMENTS

    def collateral(self) -> Collateral:
        """What the vendor says at this moment."""
        tcb_info, identity = self._tcb_info(), self._qe_identity()
        chain = _pem(self.signer, self.root)
        return Collateral(
            pck_crl_issuer_chain=_pem(self.authority, self.root),
            root_ca_crl=self._crl(ROOT_NAME, "root", self.root_revoked),
            pck_crl=self._crl(AUTHORITY_NAME, "authority", self.revoked),
            tcb_info_issuer_chain=chain,
            tcb_info=tcb_info,
            tcb_info_signature=self._sign("signer", tcb_info.encode()),
            qe_identity_issuer_chain=chain,
            qe_identity=identity,
            qe_identity_signature=self._sign("signer", identity.encode()),
        )

    def _head(self, kind: str, version: int) -> dict[str, object]:
        issued = _text(self.since + self.seconds_issued)
        return {"id": kind, "version": version, "issueDate": issued, "nextUpdate": _text(self.until)}

    def _tcb_info(self) -> str:
        module = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
        info = {
            **self._head("TDX", 3),
            **{
                "fmspc": FMSPC.hex().upper(),
                "pceId": PCE_ID.hex(),
                "tcbType": 0,
                "tcbEvaluationDataNumber": self.number,
            },
            "tdxModule": module,
            **self._module_identities(module),
            "tcbLevels": [
                {
                    "tcb": {
                        "sgxtcbcomponents": [{"svn": level.svn} for _ in range(16)],
                        "pcesvn": 11,
                        "tdxtcbcomponents": [{"svn": level.svn if n != 1 else 0} for n in range(16)],
                    },
                    **_verdict(level),
                }
                for level in self.levels
            ],
        }
        return json.dumps(info, separators=(",", ":"))

    def _module_identities(self, module: dict[str, str]) -> dict[str, object]:
        found = [
            {
                "id": f"TDX_{version:02X}",
                **module,
                "tcbLevels": [{"tcb": {"isvsvn": level.svn}, **_verdict(level)} for level in levels],
            }
            for version, levels in self.modules.items()
        ]
        return {"tdxModuleIdentities": found} if found else {}

    def _qe_identity(self) -> str:
        identity = {
            **self._head("TD_QE", 2),
            **{"tcbEvaluationDataNumber": self.number, "miscselect": "00000000", "miscselectMask": "FFFFFFFF"},
            **{"attributes": "11" + "00" * 15, "attributesMask": "FB" + "FF" * 7 + "00" * 8},
            **{"mrsigner": QE_SIGNER.hex().upper(), "isvprodid": QE_PRODUCT},
            "tcbLevels": [{"tcb": {"isvsvn": level.svn}, **_verdict(level)} for level in self.qe_levels],
        }
        return json.dumps(identity, separators=(",", ":"))

    def _crl(self, issuer: str, by: str, serials: Sequence[int]) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder(_name(issuer))
            .last_update(_time(self.since + self.seconds_issued))
            .next_update(_time(self.until))
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key(by).public_key()), critical=False
            )
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder(serial, _time(self.since)).build()
            builder = builder.add_revoked_certificate(entry)
        made = builder.sign(self._key(by), hashes.SHA256(), ecdsa_deterministic=True)
        return made.public_bytes(Encoding.DER)

    # QUOTES

    def quote(self, report_data: bytes) -> Quote:
        """A TDX quote of version 4, or 5. report_data: 64 bytes."""
        header = b"\0\2\0\x81\0\0\0" + bytes(4) + INTEL_QE_VENDOR + bytes(20)
        signed = b"\4" + header + self._report(report_data)
        if self.running is not None:
            signed = b"\5" + header + TDX15_BODY + self._report(report_data) + self.running + bytes(48)
        return self.signed_quote(signed)

    def signed_quote(self, signed: bytes) -> Quote:
        """Any header and body, signed with this machine's key."""
        attestation, auth = self._key("attestation"), bytes(range(32))
        key = b"".join(_point(attestation))
        qe = bytearray(384)
        qe[48:64], qe[128:160] = self.qe_attributes, QE_SIGNER
        qe[256:258], qe[258:260] = QE_PRODUCT.to_bytes(2, "little"), self.qe_svn.to_bytes(2, "little")
        qe[320:352] = sha256(key + auth).digest()
        return Quote(
            signed=signed,
            signature=_signature(attestation, signed),
            key=key,
            qe_report=bytes(qe),
            qe_signature=self._sign("platform", bytes(qe)),
            auth=auth,
            chain=_pem(self.platform, self.authority, self.root).encode(),
        )

    def _report(self, report_data: bytes) -> bytes:
        """Intel TDX DCAP Quoting Library API, appendix A.3.2."""
        if len(report_data) != 64:
            raise ValueError(f"report data of {len(report_data)} bytes, not 64")
        fields = {
            "module": bytes([self.svn, 0, *[self.svn] * 14]),
            **{"seam": bytes(48), "seam_signer": bytes(48), "seam_attributes": bytes(8)},
            **{"attributes": self.attributes, "xfam": bytes.fromhex("e702060000000000")},
            **{"mrtd": sha256(b"mrtd").digest() + bytes(16), "config": bytes(48), "owner": bytes(48)},
            **{
                "owner_config": bytes(48),
                "rtmr0": bytes(48),
                "rtmr1": bytes(48),
                "rtmr2": bytes(48),
                "rtmr3": bytes(48),
            },
        }
        return b"".join({**fields, **self.body}.values()) + report_data

    def _sign(self, name: str, data: bytes) -> bytes:
        return _signature(self._key(name), data)


MACHINE = DevTee(since=1_700_000_000, until=2_400_000_000)
"""The machine of development chains: all their nodes run on it. Valid from 2023 to 2046."""

LOCAL_CHAINS = (31337, 1337)
"""Where `DcapCollateral` takes a root that is not Intel's."""

INTEL_ROOT_KEY = (
    bytes.fromhex("0ba9c4c0c0c86193a3fe23d6b02cda10a8bbd4e88e48b4458561a36e705525f5"),
    bytes.fromhex("67918e2edc88e40d860bd0cc4ee26aacc988e505a953558c453f6b0904ae7394"),
)
"""x and y of "Intel SGX Root CA": the root on every other chain."""


def root_key(chain_id: int) -> tuple[bytes, bytes]:
    """What `DcapCollateral` is deployed with on a chain."""
    return MACHINE.root_key if chain_id in LOCAL_CHAINS else INTEL_ROOT_KEY


def _signature(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _point(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


def _verdict(level: Level) -> dict[str, object]:
    found: dict[str, object] = {"tcbDate": _text(level.date), "tcbStatus": level.status}
    return {**found, "advisoryIDs": list(level.advisories)} if level.advisories else found


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(seconds: int) -> str:
    return _time(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def _element(tag: int, content: bytes) -> bytes:
    """DER of an element."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    width = (len(content).bit_length() + 7) // 8
    return bytes([tag, 0x80 | width]) + len(content).to_bytes(width, "big") + content


def _integer(number: int) -> bytes:
    return _element(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _entry(suffix: bytes, value: bytes) -> bytes:
    """SEQUENCE { OID below SGX_OID, value }"""
    return _element(0x30, _element(6, SGX_PREFIX + suffix) + value)
