"""The ids that policies name: of the code that a quote measures, and of the machine it ran on.

The same rules in Solidity: `contracts/attestation/DcapVerifier.sol`; a test compares the ids. Nothing is verified here:
an id is worth what the quote is worth that it was read from.
"""

from dataclasses import dataclass

import dcap_qvl  # type: ignore[import-untyped]
from eth_abi.abi import encode
from eth_hash.auto import keccak

from oracle.attestation.quote import BODY_HEADER_BYTES, HEADER_BYTES, SGX_TYPES, TDX15_BODY, TDX_TYPES, Quote
from oracle.errors import BadQuote


@dataclass(frozen=True)
class _Body:
    """The part of a quote's body that its measurement is the hash of."""

    tee: str
    key_and_tee: bytes
    """Attestation key type and TEE type, as they stand in the header after the version."""
    starts_at: int
    """In the body."""
    registers: dict[str, int]
    """Names and lengths in bytes, neighbours in this order; names that begin with "reserved" are not shown."""


_TDX = _Body(
    tee="tdx",
    key_and_tee=TDX_TYPES,
    starts_at=120,
    registers={
        **{"attributes": 8, "xfam": 8, "mrtd": 48, "mrconfigid": 48, "mrowner": 48, "mrownerconfig": 48},
        **{"rtmr0": 48, "rtmr1": 48, "rtmr2": 48, "rtmr3": 48},
    },
)
_SGX = _Body(
    tee="sgx",
    key_and_tee=SGX_TYPES,
    starts_at=16,
    registers={
        **{"miscselect": 4, "reserved1": 12, "isvextprodid": 16, "attributes": 16, "mrenclave": 32, "reserved2": 32},
        **{"mrsigner": 32, "reserved3": 32, "configid": 64, "isvprodid": 2, "isvsvn": 2, "configsvn": 2},
        **{"reserved4": 42, "isvfamilyid": 16},
    },
)


def kind(quote: Quote, is_dev: bool = False) -> str:
    """As `DcapVerifier` names it. is_dev: under another root than Intel's. Raises BadQuote."""
    return ("dev-" if is_dev else "dcap-") + _body(quote).tee


def measurement_id(quote: Quote, is_dev: bool = False) -> bytes:
    """32 bytes. is_dev: as for `kind`, which is part of the id. Raises BadQuote."""
    return keccak(kind(quote, is_dev).encode().ljust(32, b"\0") + b"".join(_fields(quote).values()))


def platform_id(quote: Quote) -> bytes:
    """32 bytes, from the PPID in the platform's certificate. Raises BadQuote."""
    try:
        ppid = dcap_qvl.parse_pck_extension_from_pem(quote.chain.rstrip(b"\0")).ppid
    except ValueError as error:
        raise BadQuote(f"the quote's certificates name no platform: {' '.join(str(error).split())}") from error
    if len(ppid) != 16:
        raise BadQuote(f"the platform's id in its certificate has {len(ppid)} bytes, not 16")
    return keccak(encode(["bytes16"], [ppid]))


def registers(quote: Quote) -> dict[str, bytes]:
    """What the measurement id is made of, by name, for people. Raises BadQuote."""
    return {name: value for name, value in _fields(quote).items() if not name.startswith("reserved")}


def _fields(quote: Quote) -> dict[str, bytes]:
    body = _body(quote)
    at = body.starts_at
    found = {}
    for name, length in body.registers.items():
        found[name] = quote.body[at : at + length]
        at += length
    return found


def _body(quote: Quote) -> _Body:
    """Raises BadQuote for what the contract does not take."""
    body = _SGX if quote.version == 3 else _TDX
    is_other_body = quote.version == 5 and quote.signed[HEADER_BYTES:][:BODY_HEADER_BYTES] != TDX15_BODY
    if quote.signed[2:8] != body.key_and_tee or is_other_body:
        raise BadQuote(f"a quote of version {quote.version} of another TEE or body than {body.tee.upper()}'s")
    return body
