"""Intel's quotes on chain: the real ones are accepted as they should be, and nothing that was changed is."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from attestation.samples import SAMPLES, Bench, bench, changed, path
from disputes.stand import deploy
from eth_hash.auto import keccak
from web3.exceptions import ContractLogicError

from oracle.attestation.quote import Quote
from oracle.errors import BadQuote

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.fixture(scope="module", params=SAMPLES, ids=lambda sample: sample.name)
def posted(request: pytest.FixtureRequest) -> Iterator[Bench]:
    with bench(request.param) as made:
        made.post_all()
        made.set_clock(made.sample.time)
        yield made


@pytest.fixture
def ready(posted: Bench) -> Iterator[Bench]:
    snapshot = posted.chain.rpc("evm_snapshot")
    yield posted
    posted.chain.rpc("evm_revert", snapshot)


def error(name: str) -> str:
    return "0x" + keccak(name.encode())[:4].hex()


def refused(ready: Bench, evidence: bytes, name: str = "") -> None:
    """On chain; with this error if it is named."""
    with pytest.raises(ContractLogicError) as caught:
        ready.verify(evidence)
    assert str(caught.value.data).startswith(error(name) if name else "0x"), caught.value.data


# REAL QUOTES


def test_verify__real_quote__has_the_expected_verdict_in_python_and_on_chain(ready):
    sample, quote = ready.sample, ready.quote
    assert ready.off_chain(quote.raw).status == sample.status
    kind, measurement, platform, credential, binding, key, advisories, behind_since, expires, flags = ready.verify(
        quote.evidence(ready.credential)
    )
    assert kind.rstrip(b"\0") == (b"dcap-tdx" if sample.tee else b"dcap-sgx")
    assert flags == sample.flags
    assert binding + key == quote.report_data
    assert credential == ready.credential
    assert measurement != bytes(32)
    assert platform != bytes(32)
    assert sample.time < expires
    assert behind_since == 0
    assert (advisories != 0) == bool(sample.flags & 4)
    assert ready.verifier.functions.stands(credential).call()


def test_parse__real_quote__is_put_together_again(ready):
    assert Quote.parse(ready.quote.raw) == ready.quote
    assert path(ready.sample.quote).read_bytes().rstrip(b"\0").startswith(ready.quote.raw.rstrip(b"\0"))


def test_of_evidence__what_the_chain_was_shown__is_the_quote_again(ready):
    assert Quote.of_evidence(ready.quote.evidence(ready.credential), ready.quote.chain) == ready.quote


# CHANGED QUOTES

PARTS = ("signed", "signature", "key", "qe_report", "qe_signature", "auth")


def test_verify__any_byte_of_any_part_changed__is_refused_by_both(ready):
    """Every field: each part at a stride, its first and last bytes, with one bit or all of them turned."""
    tried = 0
    for part in PARTS:
        size = len(getattr(ready.quote, part))
        for n, at in enumerate(sorted({0, 1, 2, 4, size - 1, *range(0, size, 13)} & set(range(size)))):
            quote = changed(ready.quote, part, at, 1 if n % 2 else 0xFF)
            with pytest.raises(ValueError):
                ready.off_chain(quote.raw)
            refused(ready, quote.evidence(ready.credential))
            tried += 1
    assert tried > 90


def test_verify__signatures_with_the_other_s__have_the_same_verdict_from_both(ready):
    """ECDSA has two signatures for each; Intel's own are of either kind, so that both must pass."""
    for part in ("signature", "qe_signature"):
        data = getattr(ready.quote, part)
        other = (ORDER - int.from_bytes(data[32:], "big")).to_bytes(32, "big")
        quote = replace(ready.quote, **{part: data[:32] + other})
        assert ready.off_chain(quote.raw).status == ready.sample.status
        assert ready.verify(quote.evidence(ready.credential))[9] == ready.sample.flags


@pytest.mark.parametrize("part", ["signature", "qe_signature"])
@pytest.mark.parametrize("value", [0, ORDER, 2**256 - 1])
def test_verify__signature_numbers_out_of_range__are_refused_by_both(ready, part, value):
    number = value.to_bytes(32, "big")
    for data in (number + getattr(ready.quote, part)[32:], getattr(ready.quote, part)[:32] + number):
        quote = replace(ready.quote, **{part: data})
        with pytest.raises(ValueError):
            ready.off_chain(quote.raw)
        refused(ready, quote.evidence(ready.credential))


def test_verify__evidence_cut_or_extended_anywhere__is_refused(ready):
    evidence = ready.quote.evidence(ready.credential)
    borders, at = [0, 2, 48], 0
    for part in PARTS[:-1]:
        at += len(getattr(ready.quote, part))
        borders += [at - 1, at, at + 1]
    for cut in [*borders, len(evidence) - 32, len(evidence) - 1]:
        refused(ready, evidence[:cut])
    for more in (b"\0", bytes(32), evidence):
        refused(ready, evidence + more)


def test_verify__another_platform_s_credential__is_refused(ready):
    for credential in (bytes(32), b"\x11" * 31 + b"\0", ready.credential[:31] + b"\1"):
        refused(ready, ready.quote.evidence(credential))


def test_parse__cut_anywhere_or_followed_by_something__is_a_bad_quote(ready):
    raw = ready.quote.raw
    for cut in range(0, len(raw) - 1, 97):
        with pytest.raises(BadQuote):
            Quote.parse(raw[:cut])
    inner = replace(ready.quote, chain=ready.quote.chain + b"x")
    with pytest.raises(BadQuote):
        _ = inner.certificates and Quote.parse(raw[:-1])


# COLLATERAL


def test_verify__collateral_expired_or_not_yet_valid__is_refused(ready):
    evidence = ready.quote.evidence(ready.credential)
    expires = ready.verify(evidence)[8]
    ready.set_clock(expires - 1)
    ready.verify(evidence)
    ready.set_clock(expires)
    refused(ready, evidence)


def test_verify__nothing_posted__is_refused(posted):
    with bench(posted.sample) as bare:
        evidence = bare.quote.evidence(bare.credential)
        refused(bare, evidence)
        postings = bare.documents.postings(bare.quote)
        for missing in range(len(postings) - 1, 0, -1):
            snapshot = bare.chain.rpc("evm_snapshot")
            for n, posting in enumerate(postings):
                if n != missing:
                    try:
                        bare.send(posting.function, *posting.arguments)
                    except ContractLogicError:
                        continue  # rests on the one that is missing
            refused(bare, evidence)
            bare.chain.rpc("evm_revert", snapshot)


def test_post__again_or_changed_by_one_byte__is_refused(ready):
    for posting in ready.documents.postings(ready.quote):
        with pytest.raises(ContractLogicError):
            ready.send(posting.function, *posting.arguments)
        index = 1 if posting.function in ("postCertificate", "postCrl") else 0
        data = posting.arguments[index]
        for at in range(0, len(data), max(1, len(data) // 25)):
            wrong = bytearray(data)
            wrong[at] ^= 1
            arguments = [*posting.arguments]
            arguments[index] = bytes(wrong)
            with pytest.raises(ContractLogicError):
                ready.collateral.functions[posting.function](*arguments).call({"gas": 16_000_000})


def test_post_tcb_info__for_the_first_time__costs_at_most_700_000_gas(posted):
    """Which is the dearest: later ones find their storage written."""
    (event,) = posted.collateral.events.TcbInfoPosted().get_logs(from_block=0)
    receipt = posted.w3.eth.get_transaction_receipt(event["transactionHash"])
    assert receipt["gasUsed"] <= 700_000


def test_post__by_a_key_of_another_role__is_refused(ready):
    """Platforms sign no documents, and no document's signer vouches for certificates."""
    documents, quote = ready.documents, ready.quote
    postings = documents.postings(quote)
    signer, platform = postings[4].arguments[3], ready.credential
    tcb = postings[4].arguments
    with pytest.raises(ContractLogicError) as caught:
        ready.collateral.functions.postTcbInfo(*tcb[:3], platform).call()
    assert str(caught.value.data).startswith(error("WrongRole(bytes32,uint8)"))
    for issuer in (signer, platform):
        with pytest.raises(ContractLogicError):
            ready.collateral.functions.postCertificate(issuer, quote.certificates[0]).call()
        with pytest.raises(ContractLogicError):
            ready.collateral.functions.postCrl(issuer, documents.pck_crl, 0).call()


def test_deploy__another_root__is_for_development_chains_alone(posted):
    """And says so in what it verifies."""
    own = deploy(posted.w3, "DcapCollateral", b"\1" * 32, b"\2" * 32)
    assert own.functions.isDev().call()
    assert not posted.collateral.functions.isDev().call()
    posted.chain.rpc("anvil_setChainId", 1)
    try:
        with pytest.raises(Exception, match=r"revert|0x"):
            deploy(posted.w3, "DcapCollateral", b"\1" * 32, b"\2" * 32)
    finally:
        posted.chain.rpc("anvil_setChainId", 31337)
