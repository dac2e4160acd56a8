"""What real quotes cannot show: properly signed evidence of unsafe, stale, revoked or foreign platforms.

The dev TEE signs whatever it is told. Contract and Intel's scheme by another implementation agree about each case.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dcap_qvl
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from disputes.stand import deploy
from eth_hash.auto import keccak
from rig.anvil import Anvil
from web3.exceptions import ContractLogicError

from oracle.attestation.dev import DEBUG, DevTee, Level
from oracle.attestation.quote import Quote

NOW = 1_790_000_000
DAY = 86_400
HONEST = DevTee(NOW - DAY, NOW + 30 * DAY)
REPORT_DATA = bytes(range(64))
OUT_OF_DATE, CONFIGURATION, HARDENING = 1, 2, 4


@pytest.fixture(scope="module")
def chain(running: Anvil) -> Anvil:
    """The same for all tests here."""
    return running


class Bench:
    """Contracts with the dev root, and what one machine's vendor posts there."""

    def __init__(self, chain: Anvil, tee: DevTee = HONEST) -> None:
        self.chain, self.tee = chain, tee
        self.w3 = chain.w3()
        self.collateral = deploy(self.w3, "DcapCollateral", *tee.root_key)
        self.verifier = deploy(self.w3, "DcapVerifier", self.collateral.address)

    def post(self, tee: DevTee | None = None, *, again: bool = False) -> None:
        """again: documents alone, where certificates stand already."""
        used = tee or self.tee
        for posting in used.collateral().postings(used.quote(REPORT_DATA)):
            if again and posting.function == "postCertificate":
                continue
            call = self.collateral.functions[posting.function](*posting.arguments)
            call.call({"gas": 16_000_000})
            self.w3.eth.wait_for_transaction_receipt(call.transact({"gas": 16_000_000}))

    def verify(self, tee: DevTee | None = None, quote: Quote | None = None) -> Any:
        used = tee or self.tee
        shown = quote or used.quote(REPORT_DATA)
        evidence = shown.evidence(used.collateral().credential(used.quote(REPORT_DATA)))
        return self.verifier.functions.verify(evidence, used.number).call({"gas": 16_000_000})


@pytest.fixture
def fresh(chain: Anvil) -> Iterator[Anvil]:
    snapshot = chain.rpc("evm_snapshot")
    yield chain
    chain.rpc("evm_revert", snapshot)


def off_chain(tee: DevTee, time: int = NOW, root: DevTee | None = None) -> Any:
    """Raises ValueError."""
    collateral = dcap_qvl.QuoteCollateralV3(**vars(tee.collateral()))
    trusted = (root or tee).root.public_bytes(Encoding.DER)
    return dcap_qvl.verify_with_root_ca(tee.quote(REPORT_DATA).raw, collateral, trusted, time)


def refused(call: Any, error: str) -> None:
    with pytest.raises(ContractLogicError) as caught:
        call()
    assert str(caught.value.data).startswith("0x" + keccak(error.encode())[:4].hex()), caught.value.data


def test_verify__sealed_and_up_to_date__is_accepted_as_a_dev_domain(fresh):
    bench = Bench(fresh)
    bench.post()
    found = bench.verify()
    assert found[0].rstrip(b"\0") == b"dev-tdx"
    assert found[4] + found[5] == REPORT_DATA
    assert found[9] == 0
    assert off_chain(HONEST).status == "UpToDate"
    assert bench.collateral.functions.isDev().call()


STATUSES = [
    ("UpToDate", 0),
    ("SWHardeningNeeded", HARDENING),
    ("ConfigurationNeeded", CONFIGURATION),
    ("ConfigurationAndSWHardeningNeeded", CONFIGURATION | HARDENING),
    ("OutOfDate", OUT_OF_DATE),
    ("OutOfDateConfigurationNeeded", OUT_OF_DATE | CONFIGURATION),
]


@pytest.mark.parametrize(("status", "flags"), STATUSES)
def test_verify__every_status_of_the_platform__is_told(fresh, status, flags):
    advisories = ("INTEL-SA-00615", "INTEL-SA-01234")
    tee = replace(HONEST, levels=(Level(9, date=NOW - DAY), Level(5, status, advisories, NOW - 99 * DAY)))
    bench = Bench(fresh, tee)
    bench.post()
    found = bench.verify()
    assert found[9] == flags
    assert found[6] == 615 << 16 | 1234
    assert found[7] == (bench.collateral.functions.evaluationSince(17).call() if flags & OUT_OF_DATE else 0)
    seen = off_chain(tee)
    assert seen.status == status
    assert sorted(seen.advisory_ids) == sorted(advisories)


def test_verify__quoting_enclave_out_of_date__is_told(fresh):
    tee = replace(HONEST, qe_svn=3, qe_levels=(Level(4, date=NOW - DAY), Level(2, "OutOfDate", (), NOW - 400 * DAY)))
    bench = Bench(fresh, tee)
    bench.post()
    assert bench.verify()[9] == OUT_OF_DATE
    assert off_chain(tee).status == "OutOfDate"


BAD = [
    ("a debuggable domain", {"attributes": DEBUG}, "UnsafeAttributes(bytes8)"),
    ("a domain that may be surprised by exceptions", {"attributes": bytes(8)}, "UnsafeAttributes(bytes8)"),
    ("a reserved attribute", {"attributes": bytes.fromhex("0200001000000000")}, "UnsafeAttributes(bytes8)"),
    ("performance monitoring", {"attributes": bytes.fromhex("0000001000000080")}, "UnsafeAttributes(bytes8)"),
    ("a module that Intel did not sign", {"body": {"seam_signer": b"\1" * 48}}, "ForeignModule()"),
    ("a debuggable module", {"body": {"seam_attributes": b"\1" + bytes(7)}}, "ForeignModule()"),
    ("a module older than all levels", {"body": {"module": bytes([1, 0, *[1] * 14])}}, "NoTcbLevel()"),
    ("a module of a version that nobody judged", {"body": {"module": bytes([5, 3, *[5] * 14])}}, "NoTcbLevel()"),
    ("components older than all levels", {"svn": 2}, "NoTcbLevel()"),
    ("a debuggable quoting enclave", {"qe_attributes": b"\x13" + bytes(15)}, "WrongQe(bytes32,uint128,uint256)"),
    (
        "another quoting enclave's attributes",
        {"qe_attributes": b"\x01" + bytes(15)},
        "WrongQe(bytes32,uint128,uint256)",
    ),
    ("a quoting enclave older than all levels", {"qe_svn": 3}, "NoTcbLevel()"),
    ("a revoked level", {"levels": (Level(5, "Revoked"),)}, "PlatformRevoked(uint8)"),
]


LEFT_TO_POLICY = ("performance monitoring",)
"""What the other implementation's plain verdict does not look at."""


@pytest.mark.parametrize(("what", "changes", "error"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_verify__properly_signed_but_unsafe__is_refused_by_both(fresh, what, changes, error):
    tee = replace(HONEST, **changes)
    bench = Bench(fresh, tee)
    bench.post()
    refused(bench.verify, error)
    if what in LEFT_TO_POLICY:
        assert off_chain(tee).status == "UpToDate"
    else:
        with pytest.raises(ValueError):
            off_chain(tee)


def test_verify__platform_revoked__is_refused_by_both_and_no_longer_stands(fresh):
    bench = Bench(fresh)
    bench.post()
    found = bench.verify()
    stands = bench.verifier.functions.stands(found[3])
    assert stands.call()
    revoking = replace(HONEST, revoked=(HONEST.platform.serial_number,), seconds_issued=10)
    bench.post(revoking, again=True)
    refused(bench.verify, "Revoked(bytes32)")
    assert not stands.call()
    with pytest.raises(ValueError):
        off_chain(revoking)


def test_verify__authority_revoked__is_refused_and_no_longer_stands(fresh):
    bench = Bench(fresh)
    bench.post()
    found = bench.verify()
    bench.post(replace(HONEST, root_revoked=(HONEST.authority.serial_number,), seconds_issued=10), again=True)
    refused(bench.verify, "Revoked(bytes32)")
    assert not bench.verifier.functions.stands(found[3]).call()


def test_post__older_collateral__is_refused(fresh):
    """A downgrade attack: documents of an earlier day."""
    bench = Bench(fresh)
    newest = replace(HONEST, seconds_issued=100)
    bench.post(newest)
    signer = newest.collateral().postings(newest.quote(REPORT_DATA))[4].arguments[3]
    for older in (HONEST, newest, replace(HONEST, seconds_issued=99)):
        posting = older.collateral().tcb_posting(signer)
        refused(bench.collateral.functions.postTcbInfo(*posting.arguments).call, "NotNewer(uint40)")


def test_post__under_another_root__is_refused(fresh):
    bench = Bench(fresh)
    stranger = replace(HONEST, seed=b"another vendor")
    refused(lambda: bench.post(stranger), "BadSignature()")
    with pytest.raises(ValueError):
        off_chain(stranger, root=HONEST)


def test_verify__quote_of_another_machine_under_this_credential__is_refused(fresh):
    bench = Bench(fresh)
    bench.post()
    other = replace(HONEST, seed=b"another machine")
    refused(lambda: bench.verify(quote=other.quote(REPORT_DATA)), "BadQeSignature()")


def test_verify__certificates_expired__is_refused(fresh):
    short = replace(HONEST, until=NOW + DAY)
    bench = Bench(fresh, short)
    bench.post()
    bench.verify()
    fresh.rpc("evm_setNextBlockTimestamp", NOW + DAY + 1)
    fresh.mine()
    with pytest.raises(ContractLogicError):
        bench.verify()
    with pytest.raises(ValueError):
        off_chain(short, NOW + DAY + 1)


def test_verify__measurement__depends_on_code_and_not_on_report_data(fresh):
    bench = Bench(fresh)
    bench.post()
    ids = {
        name: bench.verifier.functions.verify(
            tee.quote(data).evidence(tee.collateral().credential(tee.quote(data))), tee.number
        ).call({"gas": 16_000_000})[1]
        for name, tee, data in (
            ("one", HONEST, REPORT_DATA),
            ("same code", HONEST, bytes(64)),
            ("other mrtd", replace(HONEST, body={"mrtd": b"\1" * 48}), REPORT_DATA),
            ("other rtmr3", replace(HONEST, body={"rtmr3": b"\1" * 48}), REPORT_DATA),
            ("other xfam", replace(HONEST, body={"xfam": b"\1" * 8}), REPORT_DATA),
        )
    }
    assert ids["one"] == ids["same code"]
    assert len(set(ids.values())) == 4
