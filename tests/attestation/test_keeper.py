"""Documents kept fresh on chain: what is posted, what is refused before that, and when the alarm goes off."""

import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from typing import Any
from urllib.parse import quote as escaped
from urllib.parse import urlsplit

import pytest
from attestation.samples import SAMPLES, bench
from attestation.test_dev_tee import DAY, HONEST, NOW, REPORT_DATA, Bench, refused
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from disputes.stand import artifact
from pydantic import SecretStr
from rig.anvil import CHAIN_ID, Anvil, free_port

from oracle.attestation import keeper
from oracle.attestation.collateral import ROOT, Collateral, Posting, certificate_id
from oracle.attestation.dev import ROOT_NAME, DevTee, Level
from oracle.attestation.keeper import DevSource, OnChain, Pccs, Read, Source, changes, needed
from oracle.attestation.quote import Quote
from oracle.chain.bindings import Binding
from oracle.chain.rpc import Rpc
from oracle.errors import BadQuote, BadSettings, CollateralRefused, SourceUnavailable

QUOTE = HONEST.quote(REPORT_DATA)
LATER = replace(HONEST, seconds_issued=10)
DOCUMENTS = ["postCrl", "postCrl", "postTcbInfo", "postQeIdentity"]
ALL = ["postCertificate", "postCertificate", *DOCUMENTS, "postCertificate"]
PARTS = {"root_ca_crl": "postCrl", "pck_crl": "postCrl", "tcb_info": "postTcbInfo", "qe_identity": "postQeIdentity"}


@pytest.fixture(scope="module")
def chain(running: Anvil) -> Anvil:
    """The same for all tests here."""
    return running


@asynccontextmanager
async def reading(chain: Anvil, address: str) -> AsyncIterator[Read]:
    """As the daemon reads a `DcapCollateral`."""
    rpc = Rpc([SecretStr(chain.url)], CHAIN_ID)
    try:
        yield keeper.reads(rpc, Binding(artifact("DcapCollateral")["abi"], address), await rpc.head())
    finally:
        await rpc.close()


class Kept(Bench):
    """Contracts that a keeper looks after."""

    def __init__(self, chain: Anvil) -> None:
        super().__init__(chain)
        self.named = self.w3.eth.contract(self.collateral.address, abi=self.collateral.abi, decode_tuples=True)

    async def due(
        self,
        source: Source | DevTee | Collateral,
        quote: Quote = QUOTE,
        now: int = NOW,
        only: Sequence[str] = (),
    ) -> list[Posting]:
        """only: functions, if not all."""
        if isinstance(source, DevTee):
            source = DevSource(source)
        if isinstance(source, Collateral):
            source = Given(source, HONEST.root)
        async with reading(self.chain, self.collateral.address) as read:
            found = await due(source, quote, read, now)
        return [posting for posting in found if not only or posting.function in only]

    async def on_chain(self, quote: Quote = QUOTE, evaluation: int = HONEST.number) -> OnChain:
        async with reading(self.chain, self.collateral.address) as read:
            return await OnChain.read(read, quote, evaluation)

    def send(self, postings: Sequence[Posting]) -> None:
        send(self.w3, self.collateral, postings)

    def platform(self, evaluation: int = HONEST.number) -> Any:
        """All that judges the machine, as the contract tells."""
        credential = HONEST.collateral().credential(QUOTE)
        return self.named.functions.platform(1, credential, evaluation).call()


async def due(source: Source, quote: Quote, read: Read, now: int) -> list[Posting]:
    """What to post now, in order."""
    collateral = await source.fetch(quote)
    keeper.check(collateral, quote, now, source.root)
    return needed(collateral, quote, await OnChain.read(read, quote, collateral.evaluation, collateral))


def send(w3: Any, contract: Any, postings: Sequence[Posting]) -> None:
    """Raises ContractLogicError before anything is sent."""
    for posting in postings:
        call = contract.functions[posting.function](*posting.arguments)
        call.call({"gas": 16_000_000})
        receipt = w3.eth.wait_for_transaction_receipt(call.transact({"gas": 16_000_000}))
        assert receipt["status"] == 1


@pytest.fixture
def kept(chain: Anvil) -> Iterator[Kept]:
    snapshot = chain.rpc("evm_snapshot")
    yield Kept(chain)
    chain.rpc("evm_revert", snapshot)


class Given:
    """A source of certain documents. root: None for Intel's."""

    def __init__(self, collateral: Collateral, root: x509.Certificate | None) -> None:
        self._collateral, self.root = collateral, root

    async def fetch(self, quote: Quote, least: int = 0) -> Collateral:
        return self._collateral


def names(postings: Sequence[Posting]) -> list[str]:
    return [posting.function for posting in postings]


def with_part(part: str, source: DevTee, collateral: Collateral | None = None) -> Collateral:
    """One document of another moment or vendor among those of the honest one."""
    other = vars(source.collateral())
    chosen = {name: value for name, value in other.items() if name in (part, f"{part}_signature")}
    return replace(collateral or HONEST.collateral(), **chosen)


def with_fields(part: str, **changes: Any) -> Collateral:
    """Fields of `tcb_info` or `qe_identity` set otherwise, signed properly."""
    collateral = HONEST.collateral()
    text = json.dumps(json.loads(getattr(collateral, part)) | changes, separators=(",", ":"))
    return replace(collateral, **{part: text, f"{part}_signature": HONEST._sign("signer", text.encode())})


def by_next_signer(collateral: Collateral, *parts: str) -> Collateral:
    """Those documents, signed by a key that the vendor introduced since."""
    signer = HONEST._certificate("Didyma Dev TCB Signing 2", "next signer", ROOT_NAME, "root")
    for part in parts:
        signature = HONEST._sign("next signer", getattr(collateral, part).encode())
        changes = {f"{part}_issuer_chain": pem(signer, HONEST.root), f"{part}_signature": signature}
        collateral = replace(collateral, **changes)
    return collateral


def pem(*certificates: x509.Certificate) -> str:
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


class Renewed(DevTee):
    """The same keys under new certificates."""

    def _certificate(self, name: str, key: str, issuer: str, by: str, **more: Any) -> x509.Certificate:
        made = super()._certificate(name, key, issuer, by, **more)
        if key == "root":
            return made
        validity = (made.not_valid_before_utc, made.not_valid_after_utc)
        builder = x509.CertificateBuilder(
            made.issuer, made.subject, made.public_key(), made.serial_number + 2, *validity, list(made.extensions)
        )
        return builder.sign(self._key(by), hashes.SHA256(), ecdsa_deterministic=True)


# WHAT IS POSTED


async def test_due__empty_chain__is_everything_in_an_order_that_the_contract_takes(kept):
    postings = await kept.due(HONEST)
    assert names(postings) == ALL
    kept.send(postings)
    kept.verify()
    assert await kept.due(HONEST) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_due__real_documents_on_an_empty_chain__are_all_taken(sample):
    with bench(sample) as ready:
        async with reading(ready.chain, ready.collateral.address) as read:
            postings = await due(Given(ready.documents, None), ready.quote, read, sample.time)
        assert names(postings) == ALL
        send(ready.w3, ready.collateral, postings)
        async with reading(ready.chain, ready.collateral.address) as read:
            assert await due(Given(ready.documents, None), ready.quote, read, sample.time) == []
            on_chain = await OnChain.read(read, ready.quote, ready.documents.evaluation)
        assert on_chain.credential == ready.credential
        assert on_chain.expires_at == ready.verify(ready.quote.evidence(ready.credential))[8]


async def test_due__newer_documents__are_posted_without_certificates(kept):
    kept.post()
    postings = await kept.due(LATER)
    assert names(postings) == DOCUMENTS
    kept.send(postings)
    assert await kept.due(LATER) == []


@pytest.mark.parametrize("part", PARTS)
async def test_due__one_newer_document__is_posted_alone(kept, part):
    kept.post()
    newer = with_part(part, LATER)
    postings = await kept.due(newer)
    assert names(postings) == [PARTS[part]]
    kept.send(postings)
    assert await kept.due(newer) == []


NEWER = replace(HONEST, number=18, seconds_issued=100, levels=(Level(6), Level(5, "OutOfDate")))
OLDER = replace(HONEST, number=16, seconds_issued=200)


@pytest.mark.parametrize("other", [NEWER, OLDER])
async def test_due__another_evaluation__is_posted_beside_the_first_which_stands_at_every_step(kept, other):
    """Which of them is issued later does not matter: each is for those who ask for its number."""
    kept.post()
    first = kept.platform()
    for posting in await kept.due(other):
        kept.send([posting])
        assert kept.platform().tcbInfo == first.tcbInfo
    assert kept.platform(other.number).tcbInfo
    assert (kept.platform(other.number).tcbInfo == first.tcbInfo) == (other is OLDER)
    assert await kept.due(other) == []
    assert names(await kept.due(HONEST)) == []


async def test_due__stranger_posted_the_tcb_info_of_a_newer_evaluation_alone__nothing_is_posted_again(kept):
    """The vendor's standard is the older one: a keeper of that has nothing to mend, and nothing was broken."""
    kept.post()
    kept.send(await kept.due(with_part("tcb_info", NEWER, NEWER.collateral()), only=["postTcbInfo"]))
    refused(lambda: kept.platform(18), "QeIdentityMissing(uint8,uint16)")
    assert kept.platform()
    kept.verify()
    assert (await kept.on_chain()).expires_at == HONEST.until
    assert await kept.due(HONEST) == []
    assert names(await kept.due(NEWER)) == ["postCrl", "postCrl", "postQeIdentity"], "what is missing, and no more"


@pytest.mark.parametrize("older", [{}, {"seconds_issued": 99}])
async def test_due__nothing_newer__is_nothing(kept, older):
    """A downgrade is not even tried."""
    kept.post(NEWER)
    assert await kept.due(replace(NEWER, **older)) == []


async def test_due__list_with_a_new_serial__revokes_it(kept):
    kept.post()
    kept.send(await kept.due(with_part("pck_crl", replace(LATER, revoked=(4711,)))))
    authority = certificate_id(ROOT, HONEST.collateral().authority)
    revoked = kept.collateral.functions.certificateId(authority, 4711).call()
    assert kept.named.functions.certificate(revoked).call().revoked


async def test_due__platform_that_fell_behind__is_kept_like_others(kept):
    assert names(await kept.due(replace(HONEST, levels=(Level(6), Level(5, "OutOfDate"))))) == ALL


async def test_due__other_machine_of_the_same_kind__is_its_certificate_alone(kept):
    kept.post()

    class Neighbour(Renewed):
        authority, signer = HONEST.authority, HONEST.signer

    neighbour = Neighbour(HONEST.since, HONEST.until)
    postings = await kept.due(neighbour, neighbour.quote(REPORT_DATA))
    assert names(postings) == ["postCertificate"]
    kept.send(postings)
    kept.verify(neighbour)


# NEW SIGNERS AND CERTIFICATES


@pytest.mark.parametrize("parts", [("tcb_info", "qe_identity"), ("tcb_info",), ("qe_identity",)])
async def test_due__new_signer__is_posted_before_what_it_signed(kept, parts):
    """Whether it signed both documents, or the old one still does one of them."""
    kept.post()
    newer = with_part("qe_identity", LATER, with_part("tcb_info", LATER))
    postings = await kept.due(by_next_signer(newer, *parts))
    assert names(postings) == ["postCertificate", "postTcbInfo", "postQeIdentity"]
    kept.send(postings)
    kept.verify()
    assert (await kept.on_chain()).expires_at == kept.platform().expiresAt


async def test_due__unknown_signer_of_nothing_new__is_not_posted(kept):
    kept.post(LATER)
    assert await kept.due(by_next_signer(HONEST.collateral(), "tcb_info", "qe_identity")) == []


async def test_due__certificates_expired__everything_is_renewed(kept):
    kept.post()
    later = HONEST.until + DAY
    renewed = Renewed(later - DAY, later + 30 * DAY)
    kept.chain.rpc("evm_setNextBlockTimestamp", later)
    kept.chain.mine()
    postings = await kept.due(renewed, renewed.quote(REPORT_DATA), later)
    assert names(postings) == ALL
    kept.send(postings)
    kept.verify(renewed)
    assert await kept.due(renewed, renewed.quote(REPORT_DATA), later) == []
    assert (await kept.on_chain(renewed.quote(REPORT_DATA))).expires_at == renewed.until


async def test_due__authority_renewed_before_the_machine_knows__its_quote_rests_on_the_new_one(kept):
    """The chain of certificates in a quote is the machine's own copy: the vendor's is what is posted."""
    kept.post()
    renewed = Renewed(HONEST.since, HONEST.until)
    collateral = replace(HONEST.collateral(), pck_crl_issuer_chain=pem(renewed.authority, renewed.root))
    postings = await kept.due(collateral)
    assert names(postings) == ["postCertificate", "postCrl", "postCertificate"]
    kept.send(postings)
    assert await kept.due(collateral) == []
    evidence = QUOTE.evidence(collateral.credential(QUOTE))
    assert kept.verifier.functions.verify(evidence, 17).call({"gas": 16_000_000})


# WHAT IS REFUSED BEFORE ANYTHING IS POSTED


def flipped(part: str) -> Collateral:
    """With one bit changed; in a chain, of its first certificate: others are not posted."""
    collateral = HONEST.collateral()
    value = getattr(collateral, part)
    data = bytearray(value if isinstance(value, bytes) else value.encode())
    data[len(data) // 4] ^= 1
    return replace(collateral, **{part: bytes(data) if isinstance(value, bytes) else data.decode()})


STRANGER = replace(HONEST, seed=b"another vendor")


def bad() -> Iterator[tuple[str, Collateral]]:
    for part in vars(HONEST.collateral()):
        yield f"{part} changed by one bit", flipped(part)
        foreign = getattr(STRANGER.collateral(), part)
        if foreign != getattr(HONEST.collateral(), part):
            yield f"{part} of another vendor", replace(HONEST.collateral(), **{part: foreign})
    for part in PARTS:
        yield f"{part} that ends now", with_part(part, replace(HONEST, until=NOW))
        yield f"{part} of tomorrow", with_part(part, replace(HONEST, seconds_issued=2 * DAY))
    yield "lists exchanged", replace(HONEST.collateral(), pck_crl=HONEST.collateral().root_ca_crl)
    yield "authority that is none", replace(HONEST.collateral(), pck_crl_issuer_chain=pem(HONEST.signer, HONEST.root))
    yield "no authority", replace(HONEST.collateral(), pck_crl_issuer_chain="")
    for field, value in (("fmspc", "00" * 6), ("pceId", "0001"), ("pceId", "?"), ("id", "SGX")):
        yield f"{field} {value}", with_fields("tcb_info", **{field: value})
    yield "identity of another enclave", with_fields("qe_identity", id="QE")
    yield "platform revoked", replace(HONEST, revoked=(HONEST.platform.serial_number,)).collateral()
    yield "authority revoked", replace(HONEST, root_revoked=(HONEST.authority.serial_number,)).collateral()
    yield "signer revoked", replace(HONEST, root_revoked=(HONEST.signer.serial_number,)).collateral()
    yield "level revoked", replace(HONEST, levels=(Level(5, "Revoked"),)).collateral()


@pytest.mark.parametrize(("what", "collateral"), list(bad()), ids=lambda value: value if isinstance(value, str) else "")
def test_check__documents_that_do_not_verify__are_refused(what, collateral):
    with pytest.raises(CollateralRefused):
        keeper.check(collateral, QUOTE, NOW, HONEST.root)


async def test_due__tampered__is_refused_before_the_chain_is_asked():
    with pytest.raises(CollateralRefused, match=r"does not verify: .*Signature is invalid for tcb_info"):
        await due(Given(flipped("tcb_info_signature"), HONEST.root), QUOTE, must_not_read, NOW)


async def must_not_read(function: str, *arguments: Any) -> Any:
    raise AssertionError(f"{function} was read")


def test_check__dev_documents_under_intel_s_root__are_refused():
    keeper.check(HONEST.collateral(), QUOTE, NOW, HONEST.root)
    with pytest.raises(CollateralRefused):
        keeper.check(HONEST.collateral(), QUOTE, NOW)


@pytest.mark.parametrize("now", [HONEST.since - 1, HONEST.until, HONEST.until + DAY])
def test_check__outside_validity__is_refused(now):
    keeper.check(HONEST.collateral(), QUOTE, HONEST.since, HONEST.root)
    keeper.check(HONEST.collateral(), QUOTE, HONEST.until - 1, HONEST.root)
    with pytest.raises(CollateralRefused):
        keeper.check(HONEST.collateral(), QUOTE, now, HONEST.root)


def test_check__tcb_info_and_identity_of_two_evaluations__is_refused_for_they_judge_nothing():
    ahead = with_part("tcb_info", replace(LATER, number=18))
    with pytest.raises(CollateralRefused, match=r"evaluation 18, the QE identity of 17.*wait"):
        keeper.check(ahead, QUOTE, NOW, HONEST.root)
    for number in (0, 0x10000):
        with pytest.raises(CollateralRefused, match=f"no TCB evaluation has the number {number}"):
            keeper.check(replace(HONEST, number=number).collateral(), QUOTE, NOW, HONEST.root)


@pytest.mark.parametrize("whose", ["authority", "signer", "platform"])
async def test_due__collateral_from_before_a_revocation_that_the_chain_knows__is_refused(kept, whose):
    kept.post()
    serial = getattr(HONEST, whose).serial_number
    later = replace(LATER, **{"revoked" if whose == "platform" else "root_revoked": (serial,)}).collateral()
    kept.send([call for call in later.postings(QUOTE) if call.function == "postCrl"])
    with pytest.raises(CollateralRefused, match="revoked on chain"):
        await kept.due(HONEST)
    assert (await kept.on_chain()).expires_at == 0


@pytest.mark.parametrize("certificates", [(HONEST.platform,), (HONEST.authority, HONEST.root), ()])
async def test_read__quote_without_the_certificates_of_a_platform__is_a_bad_quote(certificates):
    with pytest.raises(BadQuote):
        await OnChain.read(must_not_read, replace(QUOTE, chain=pem(*certificates).encode()), 17)


# HOW LONG IT LASTS


async def test_alarm_due__a_week_before_the_end(kept):
    kept.post()
    on_chain = await kept.on_chain()
    assert on_chain.expires_at == kept.platform().expiresAt == HONEST.until
    for days, is_due in ((8, False), (7, True), (6, True), (-1, True)):
        assert on_chain.alarm_due(HONEST.until - days * DAY) == is_due
    assert not on_chain.alarm_due(HONEST.until - 7 * DAY - 1)


@pytest.mark.parametrize("part", PARTS)
async def test_expires_at__one_document_ends_sooner__is_its_end(kept, part):
    kept.post()
    kept.send(await kept.due(with_part(part, replace(LATER, until=NOW + 20 * DAY))))
    assert (await kept.on_chain()).expires_at == kept.platform().expiresAt == NOW + 20 * DAY


async def test_expires_at__anything_missing__is_zero_and_the_alarm_is_due(kept):
    for posting in await kept.due(HONEST):
        on_chain = await kept.on_chain()
        assert on_chain.expires_at == 0
        assert on_chain.alarm_due(NOW)
        kept.send([posting])
    assert not (await kept.on_chain()).alarm_due(NOW)


# SOURCES


@contextmanager
def serving(changes: dict[str, tuple[int, bytes]], others: dict[str, DevTee] | None = None) -> Iterator[str]:
    """Intel's API with the dev TEE's documents; some replies, by the last part of their path, are others.

    others: evaluations besides the standard, by the parameter that asks for them. A cache, if None, knows no such.
    """

    def replies(found: Collateral) -> dict[str, tuple[bytes, str, str]]:
        tcb = f'{{"tcbInfo":{found.tcb_info},"signature":"{found.tcb_info_signature.hex()}"}}'
        identity = f'{{"enclaveIdentity":{found.qe_identity},"signature":"{found.qe_identity_signature.hex()}"}}'
        return {
            "pckcrl": (found.pck_crl, "SGX-PCK-CRL-Issuer-Chain", found.pck_crl_issuer_chain),
            "rootcacrl": (found.root_ca_crl.hex().encode(), "Content-Type", "text/plain"),
            "tcb": (tcb.encode(), "TCB-Info-Issuer-Chain", found.tcb_info_issuer_chain),
            "identity": (identity.encode(), "SGX-Enclave-Identity-Issuer-Chain", found.qe_identity_issuer_chain),
        }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            name, asked = parts.path.rsplit("/", 1)[-1], parts.query.rsplit("&", 1)[-1]
            is_other = others is not None and asked.startswith(("tcbEvaluationDataNumber=", "update=early"))
            tee = (others or {}).get(asked, HONEST)
            body, header, value = replies(tee.collateral())[name]
            status, body = changes.get(name, (200, body))
            if is_other and asked not in (others or {}):
                status = 410 if asked.startswith("tcb") else 404
            self.send_response(status)
            self.send_header(header, escaped(value))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_pccs__documents__come_as_they_were_signed():
    with serving({}) as url:
        assert await Pccs(url).fetch(QUOTE) == HONEST.collateral()
    assert Pccs(url).root is None


OTHERS = {
    "tcbEvaluationDataNumber=16": replace(HONEST, number=16),
    "tcbEvaluationDataNumber=18": replace(HONEST, number=18, levels=(Level(6), Level(5, "OutOfDate"))),
    "update=early": replace(HONEST, number=20),
}


@pytest.mark.parametrize(("least", "number"), [(0, 17), (15, 17), (16, 16), (17, 17), (18, 18), (19, 20), (20, 20)])
async def test_pccs__least_evaluation__is_the_lowest_that_the_source_has(least, number):
    """Intel has 16 and 18 by number, 17 as its standard, 20 early."""
    with serving({}, OTHERS) as url:
        found = await Pccs(url).fetch(QUOTE, least)
    assert found.evaluation == number
    tee = next((each for each in OTHERS.values() if each.number == number), HONEST)
    assert found == tee.collateral()
    keeper.check(found, QUOTE, NOW, HONEST.root)


async def test_pccs__evaluation_newer_than_all_that_the_source_has__is_unavailable():
    with serving({}, OTHERS) as url, pytest.raises(SourceUnavailable, match=r"21 is asked for.*none newer than 20"):
        await Pccs(url).fetch(QUOTE, 21)


async def test_pccs__cache_that_knows_the_standard_alone__gives_that_where_it_will_do():
    with serving({}) as url:
        assert (await Pccs(url).fetch(QUOTE, 16)).evaluation == 17
        with pytest.raises(SourceUnavailable, match=r"18 is asked for.*none newer than 17"):
            await Pccs(url).fetch(QUOTE, 18)


async def test_pccs__another_evaluation_that_makes_no_sense__is_unavailable_and_the_url_is_not_told():
    torn = replace(HONEST, number=18)
    object.__setattr__(torn, "_qe_identity", HONEST._qe_identity)
    says = "of evaluation 18, the QE identity of 17"
    with serving({}, {"tcbEvaluationDataNumber=18": torn}) as url, pytest.raises(SourceUnavailable, match=says):
        await Pccs(url).fetch(QUOTE, 18)
    with pytest.raises(SourceUnavailable) as caught:
        await Pccs(f"http://127.0.0.1:{free_port()}/secret")._update(HONEST.collateral(), QUOTE, "update=early")
    assert "secret" not in str(caught.value)


UNUSABLE = [(200, b"<html>no</html>"), (200, b"{}"), (404, b"No cache data for this platform."), (500, b"")]


@pytest.mark.parametrize("name", ["tcb", "identity"])
@pytest.mark.parametrize("reply", UNUSABLE)
async def test_pccs__reply_that_makes_no_sense__is_unavailable(name, reply):
    with serving({name: reply}) as url, pytest.raises(SourceUnavailable, match="collateral"):
        await Pccs(url).fetch(QUOTE)


@pytest.mark.parametrize("name", ["pckcrl", "rootcacrl"])
async def test_pccs__list_that_is_none__does_not_verify(name):
    """The library hands lists on as they come."""
    with serving({name: (200, b"00")}) as url:
        collateral = await Pccs(url).fetch(QUOTE)
    with pytest.raises(CollateralRefused):
        keeper.check(collateral, QUOTE, NOW, HONEST.root)


async def test_pccs__nobody_there__is_unavailable_and_the_url_is_not_told():
    with pytest.raises(SourceUnavailable, match="error sending request") as caught:
        await Pccs(f"http://127.0.0.1:{free_port()}/secret").fetch(QUOTE)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


async def test_pccs__no_answer_in_time__is_unavailable(monkeypatch):
    monkeypatch.setattr(keeper, "FETCH_SECONDS", 0.2)
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(SourceUnavailable, match="within"):
            await Pccs(f"http://127.0.0.1:{silent.getsockname()[1]}").fetch(QUOTE)


def test_pccs__plain_http__is_for_this_machine_alone():
    for url in ("http://pccs.example", "http://10.0.0.1:8081", "ftp://localhost", "pccs.example", ""):
        with pytest.raises(BadSettings, match="https"):
            Pccs(url)
    for url in ("https://pccs.example", "http://127.0.0.1:8081", "http://[::1]:8081", "http://localhost"):
        Pccs(url)


def test_changes__list_that_revokes__or_newer_evaluation__does_and_new_dates_do_not():
    """What is only dated anew need not be posted before what stands ends."""
    quote = HONEST.quote(bytes(64))

    def said(tee: DevTee, issue_date: int = HONEST.since) -> bool:
        stored = {name: {"issueDate": issue_date} for name in ("tcb_info", "qe_identity")}
        nothing: dict[str, Any] = {"certificates": {}, "crls": {}, "read_entries": {}}
        on_chain = OnChain(evaluation=tee.number, authority=b"", credential=b"", **nothing, **stored)
        return changes(tee.collateral().postings(quote), on_chain)

    assert not said(replace(HONEST, seconds_issued=10))
    assert said(replace(HONEST, number=HONEST.number + 1), issue_date=0)
    assert said(replace(HONEST, revoked=(5,)))
