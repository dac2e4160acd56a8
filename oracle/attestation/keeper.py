"""Keeping Intel's documents fresh on chain: what to post because something changed, and how long what stands is valid.

Documents are fetched, verified by `dcap-qvl`, and compared with what `DcapCollateral` holds. Only what is missing or
newer is posted: the contract refuses the rest, and older documents are a downgrade attack. The vendor signs several TCB
evaluations at once, by number. A service states the lowest number that it accepts, and the lowest number that will do
is kept for it, because platforms have had the longest time to satisfy that one. Verification needs a quote of the
platform that is kept. Documents that revoke or condemn that platform are refused here; nodes on other platforms post
them. Nothing is signed or sent here, and no clock is read: `now` is the time of a block.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import dcap_qvl  # type: ignore[import-untyped]
import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from oracle.attestation.collateral import ROOT, Collateral, Posting, certificate_id, crl_digest
from oracle.attestation.dev import DevTee
from oracle.attestation.quote import Quote
from oracle.chain.bindings import Binding
from oracle.chain.contracts import viewed
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import BadQuote, BadSettings, CollateralRefused, SourceUnavailable

ALARM_SECONDS = 7 * 86_400
"""How long before the end of validity a person should look. Intel's documents are valid for 30 days."""
FETCH_SECONDS = 60.0
THREADS_SECONDS = 0.2
"""How long the library's threads may take to end a call: pyo3-async-runtimes, issue 40."""

Struct = Mapping[str, Any]
"""A struct of `IDcapCollateral` by its fields' names."""
Read = Callable[..., Awaitable[Any]]
"""A read of `DcapCollateral`, by name and arguments, in the state of one block."""


# SOURCES


class Source(Protocol):
    """Where documents come from. Their signatures decide, so it needs no trust."""

    @property
    def root(self) -> x509.Certificate | None:
        """What signatures must go back to; None for Intel's."""

    async def fetch(self, quote: Quote, least: int = 0) -> Collateral:
        """Documents on the quote's platform, not verified.

        least: the oldest TCB evaluation to accept: the lowest that the source has is fetched. 0: the
        source's standard one. Raises SourceUnavailable.
        """


class Pccs:
    """Intel's service, or a cache in front of it. It serves one evaluation as its standard, newer ones early, and some
    older ones by number; a cache may serve the standard one alone, whatever it is asked for."""

    root: x509.Certificate | None = None

    def __init__(self, url: str) -> None:
        """url: up to the path that begins with /sgx or /tdx. Raises BadSettings."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
            raise BadSettings("the URL that collateral is fetched from must begin with https://")
        self._url = url

    async def fetch(self, quote: Quote, least: int = 0) -> Collateral:
        standard = await self._standard(quote)
        has = _evaluation(standard)
        if least in (0, has):
            return standard
        same = await self._update(standard, quote, f"tcbEvaluationDataNumber={least}")
        if same is not None and _evaluation(same) == least:
            return same
        if has > least:
            return standard
        early = await self._update(standard, quote, "update=early")
        if early is not None and _evaluation(early) >= least:
            return early
        newest = has if early is None else _evaluation(early)
        raise SourceUnavailable(f"TCB evaluation {least} is asked for, and the source has none newer than {newest}")

    async def _update(self, standard: Collateral, quote: Quote, query: str) -> Collateral | None:
        """The documents of another evaluation; None if the source has none. Raises SourceUnavailable."""
        tee, fmspc, _ = _kind(quote)
        base = f"{self._url.rstrip('/')}/{'tdx' if tee else 'sgx'}/certification/v4"
        try:
            async with asyncio.timeout(FETCH_SECONDS), httpx.AsyncClient() as client:
                tcb = await client.get(f"{base}/tcb?fmspc={fmspc.hex().upper()}&{query}")
                identity = await client.get(f"{base}/qe/identity?{query}")
        except (TimeoutError, httpx.HTTPError) as error:  # messages may hold the URL, and URLs credentials
            raise SourceUnavailable(f"no documents of another TCB evaluation: {type(error).__name__}") from None
        if not (tcb.is_success and identity.is_success):
            return None
        try:
            info, info_signature = _signed(tcb, "tcbInfo")
            qe, qe_signature = _signed(identity, "enclaveIdentity")
            return replace(
                standard,
                tcb_info_issuer_chain=_header(tcb, "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),
                tcb_info=info,
                tcb_info_signature=info_signature,
                qe_identity_issuer_chain=_header(identity, "SGX-Enclave-Identity-Issuer-Chain"),
                qe_identity=qe,
                qe_identity_signature=qe_signature,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SourceUnavailable(f"documents that make no sense: {type(error).__name__}") from None

    async def _standard(self, quote: Quote) -> Collateral:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                found = await dcap_qvl.get_collateral(self._url, quote.raw)
        except TimeoutError:
            raise SourceUnavailable(f"no collateral within {FETCH_SECONDS:.0f} seconds") from None
        except ValueError as error:  # the library's only kind, for what is unreachable and for what makes no sense
            # URLs may hold credentials.
            raise SourceUnavailable(re.sub(r"\(?\S*://\S*", "(not shown)", _line(error))) from None
        finally:  # its threads still let go of Python objects: a process that ends meanwhile crashes
            await asyncio.sleep(THREADS_SECONDS)
        return Collateral(**{field.name: getattr(found, field.name) for field in fields(Collateral)})


def _signed(reply: httpx.Response, name: str) -> tuple[str, bytes]:
    """The signed text, character for character (the vendor's JSON has no spaces), and the signature."""
    found = reply.json()
    return json.dumps(found[name], separators=(",", ":"), ensure_ascii=False), bytes.fromhex(found["signature"])


def _header(reply: httpx.Response, *names: str) -> str:
    """A chain of certificates. Raises ValueError."""
    found = next((reply.headers[name] for name in names if name in reply.headers), None)
    if found is None:
        raise ValueError(f"a reply without the header {names[0]}")
    return unquote(found)


def _evaluation(collateral: Collateral) -> int:
    """Its number. Raises SourceUnavailable where the source mixes two."""
    try:
        return collateral.evaluation
    except (ValueError, KeyError, TypeError) as error:
        raise SourceUnavailable(str(error)) from None


@dataclass(frozen=True)
class DevSource:
    """The vendor of the dev TEE."""

    tee: DevTee
    others: tuple[DevTee, ...] = ()
    """The same machine in other TCB evaluations; the first is the standard."""

    @property
    def root(self) -> x509.Certificate:
        return self.tee.root

    async def fetch(self, quote: Quote, least: int = 0) -> Collateral:
        will_do = [tee for tee in (self.tee, *self.others) if tee.number >= least]
        if not will_do:
            raise SourceUnavailable(f"TCB evaluation {least} is asked for, and the dev TEE has no such one")
        return (min(will_do, key=lambda tee: tee.number) if least else self.tee).collateral()


# WHAT STANDS


@dataclass(frozen=True)
class OnChain:
    """What stands on chain about one platform in one TCB evaluation. Missing documents are all zero."""

    evaluation: int

    authority: bytes
    """Id of its certificate; so the next."""
    credential: bytes
    certificates: Mapping[bytes, Struct]
    """By id: those two, of the signers of what stands, and of the signers of the collateral it is compared with."""
    crls: Mapping[bytes, Struct]
    """By issuer: the root and the authority."""
    read_entries: Mapping[bytes, int]
    """Of lists of the collateral it is compared with, by digest: how far they were read."""
    tcb_info: Struct
    qe_identity: Struct

    @classmethod
    async def read(cls, read: Read, quote: Quote, evaluation: int, collateral: Collateral | None = None) -> "OnChain":
        """collateral: to compare with; without, certificates are those of the quote. Raises BadQuote and as `read`."""
        tee, fmspc, pce_id = _kind(quote)
        chain = quote.certificates
        if len(chain) < 2:
            raise BadQuote("the quote does not tell who certified its platform")
        authority = certificate_id(ROOT, chain[1] if collateral is None else collateral.authority)
        credential = certificate_id(authority, chain[0])
        ids, read_entries = {authority, credential}, dict[bytes, int]()
        if collateral is not None:
            calls = _calls(collateral, quote)
            ids |= {certificate_id(*call.arguments) for call in calls if call.function == "postCertificate"}
            for issuer, der in ((ROOT, collateral.root_ca_crl), (authority, collateral.pck_crl)):
                read_entries[crl_digest(der)] = await read("crlRead", issuer, crl_digest(der))
        tcb_info = await read("tcbInfo", tee, fmspc, int.from_bytes(pce_id, "big"), evaluation)
        qe_identity = await read("qeIdentity", tee, evaluation)
        ids |= {tcb_info["signer"], qe_identity["signer"]}
        return cls(
            evaluation=evaluation,
            authority=authority,
            credential=credential,
            certificates={id_: await read("certificate", id_) for id_ in sorted(ids)},
            crls={issuer: await read("crl", issuer) for issuer in (ROOT, authority)},
            read_entries=read_entries,
            tcb_info=tcb_info,
            qe_identity=qe_identity,
        )

    @property
    def expires_at(self) -> int:
        """Unix seconds, as `DcapCollateral.platform` tells: the earliest end of all that the platform rests on.

        0 if something is missing or revoked.
        """
        signers = {self.tcb_info["signer"], self.qe_identity["signer"]}
        certificates = [self.certificates[id_] for id_ in {self.authority, self.credential, *signers}]
        if any(certificate["revoked"] for certificate in certificates):
            return 0
        documents = (*self.crls.values(), self.tcb_info, self.qe_identity)
        ends = [*(one["notAfter"] for one in certificates), *(one["nextUpdate"] for one in documents)]
        return int(min(ends))

    def alarm_due(self, now: int) -> bool:
        """Whether the end is so near that a person should look. now: Unix seconds."""
        return self.expires_at - now <= ALARM_SECONDS

    def lacks(self, posting: Posting) -> bool:
        """Whether the contract would take it as new, whatever it rests on."""
        if posting.function == "postCertificate":
            return not self.certificates[certificate_id(*posting.arguments)]["role"]
        stated = _stated(posting)
        if posting.function == "postCrl":
            issuer, der, until = posting.arguments
            is_read = until and until <= self.read_entries[crl_digest(der)]
            return bool(stated.since > self.crls[issuer]["thisUpdate"] and not is_read)
        stored = self.tcb_info if posting.function == "postTcbInfo" else self.qe_identity
        return bool(stated.since > stored["issueDate"] or self.certificates[stored["signer"]]["revoked"])


def reads(rpc: Rpc, contract: Binding, block: Block) -> Read:
    """Reads of the contract in the state after `block`; raise as `Rpc.call`."""

    async def read(function: str, *arguments: Any) -> Any:
        return await viewed(rpc, contract, function, *arguments, block=block)

    return read


# WHAT TO DO


def check(collateral: Collateral, quote: Quote, now: int, root: x509.Certificate | None = None) -> None:
    """Whether all of it is signed, valid at `now` (Unix seconds) and about the quote's platform.

    Platforms that fell behind are kept like others; what they are worth is for the contract's policy to say. Raises
    CollateralRefused, BadQuote.
    """
    try:
        # The library checks the authority of the quote's chain; the one to be posted takes its place.
        chain = x509.load_der_x509_certificate(collateral.authority).public_bytes(Encoding.PEM)
        platform = x509.load_der_x509_certificate(quote.certificates[0]).public_bytes(Encoding.PEM)
        raw, documents = replace(quote, chain=platform + chain).raw, dcap_qvl.QuoteCollateralV3(**vars(collateral))
        if root is None:
            dcap_qvl.verify(raw, documents, now)
        else:
            dcap_qvl.verify_with_root_ca(raw, documents, root.public_bytes(Encoding.DER), now)
        # It does not compare the PCE, and has lists and documents hold a little earlier and longer than the contract.
        if bytes.fromhex(json.loads(collateral.tcb_info)["pceId"]) != _kind(quote)[2]:
            raise CollateralRefused("the TCB info is about another PCE than the quote's platform has")
        if not 0 < collateral.evaluation <= 0xFFFF:
            raise CollateralRefused(f"no TCB evaluation has the number {collateral.evaluation}")
        for posting in _calls(collateral, quote):
            stated = _stated(posting)
            if not stated.since <= now < stated.until:
                raise CollateralRefused(
                    f"{posting.function}: valid from {stated.since} to {stated.until}, not at {now}; "
                    "ask again later, or another source"
                )
    except ValueError as error:
        raise CollateralRefused(f"collateral does not verify: {_line(error)}") from error


def needed(collateral: Collateral, quote: Quote, on_chain: OnChain) -> list[Posting]:
    """What the chain lacks of documents that `check` has passed, in the order in which it must get it.

    on_chain: read with this collateral. Raises CollateralRefused.
    """
    wanted: list[Posting] = []
    for posting in reversed(_calls(collateral, quote)):
        if posting.function == "postCertificate":
            id_ = certificate_id(*posting.arguments)
            if on_chain.certificates[id_]["revoked"]:
                raise CollateralRefused(f"certificate {id_.hex()} is revoked on chain; the collateral is too old")
            # A signer of nothing that is new need not be known.
            if id_ != on_chain.credential and not any(id_ in later.arguments for later in wanted):
                continue
        if on_chain.lacks(posting):
            wanted.insert(0, posting)
    return wanted


def changes(postings: Sequence[Posting], on_chain: OnChain) -> bool:
    """Whether they say more than that the stored documents still hold: another evaluation, or something revoked.

    Intel often dates the same documents anew. A revocation list that revokes anything always counts.
    """
    for posting in postings:
        if posting.function == "postCrl" and len(x509.load_der_x509_crl(posting.arguments[1])):
            return True
        stored = {"postTcbInfo": on_chain.tcb_info, "postQeIdentity": on_chain.qe_identity}.get(posting.function)
        if stored is not None and not stored["issueDate"]:
            return True
    return False


@dataclass(frozen=True)
class _Stated:
    """What a document says of itself, in Unix seconds."""

    since: int
    until: int


def _stated(posting: Posting) -> _Stated:
    """Raises ValueError."""
    if posting.function == "postCertificate":
        certificate = x509.load_der_x509_certificate(posting.arguments[1])
        return _Stated(_unix(certificate.not_valid_before_utc), _unix(certificate.not_valid_after_utc))
    if posting.function == "postCrl":
        crl = x509.load_der_x509_crl(posting.arguments[1])
        if crl.next_update_utc is None:
            raise ValueError("a revocation list without an end")
        return _Stated(_unix(crl.last_update_utc), _unix(crl.next_update_utc))
    head = json.loads(posting.arguments[0])
    since, until = (_unix(datetime.fromisoformat(head[name])) for name in ("issueDate", "nextUpdate"))
    return _Stated(since, until)


def _calls(collateral: Collateral, quote: Quote) -> list[Posting]:
    """All postings. Each document has its own signer: while Intel changes keys they differ."""
    authority, signer, *rest, _, platform = collateral.postings(quote)
    other = replace(collateral, tcb_info_issuer_chain=collateral.qe_identity_issuer_chain).postings(quote)
    calls = (authority, signer, other[1], *rest, other[-2], platform)
    return list(dict.fromkeys(calls))


def _kind(quote: Quote) -> tuple[int, bytes, bytes]:
    """`IDcapCollateral.Tee`, FMSPC and PCE id of the quote's platform. Raises BadQuote."""
    try:
        extension = dcap_qvl.parse_pck_extension_from_pem(quote.chain.rstrip(b"\0"))
    except ValueError as error:
        raise BadQuote(f"the quote's certificates name no platform: {_line(error)}") from error
    return int(quote.version > 3), extension.fmspc, extension.pce_id


def _unix(time: datetime) -> int:
    return int(time.timestamp())


def _line(error: Exception) -> str:
    """The library's messages have several lines."""
    return " ".join(str(error).split())


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
