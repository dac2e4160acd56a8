"""The ids that policies name are the contract's, for the dev TEE and for real quotes."""

import json
from collections.abc import Iterator
from dataclasses import replace

import dcap_qvl
import pytest
from attestation.samples import SAMPLES, bench, changed, path
from attestation.test_dev_tee import HONEST, NOW, REPORT_DATA, Bench
from eth_hash.auto import keccak
from rig.anvil import anvil

from oracle.attestation import identity
from oracle.attestation.collateral import Collateral
from oracle.attestation.quote import Quote
from oracle.errors import BadQuote

QUOTE = HONEST.quote(REPORT_DATA)


@pytest.fixture(scope="module")
def dev() -> Iterator[Bench]:
    with anvil("--timestamp", str(NOW - 100)) as chain:
        chain.rpc("evm_setAutomine", True)
        made = Bench(chain)
        made.post()
        yield made


NAMES = ("xfam", "mrtd", "config", "owner", "owner_config", "rtmr0", "rtmr1", "rtmr2", "rtmr3")


@pytest.mark.parametrize("register", ["", *NAMES])
def test_ids__dev_tee__are_the_contract_s_whatever_the_registers_hold(dev, register):
    length = 8 if register == "xfam" else 48
    body = {register: keccak(register.encode())[:8] * (length // 8)} if register else {}
    quote = replace(HONEST, body=body).quote(REPORT_DATA)
    kind, measurement, platform, *_ = dev.verify(quote=quote)
    assert identity.kind(quote, is_dev=True).encode() == kind.rstrip(b"\0")
    assert identity.measurement_id(quote, is_dev=True) == measurement
    assert identity.platform_id(quote) == platform
    assert (measurement == identity.measurement_id(QUOTE, is_dev=True)) == (not register)
    assert measurement != identity.measurement_id(quote)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_ids__real_quotes__are_the_contract_s(sample):
    with bench(sample) as made:
        made.post_all()
        made.set_clock(sample.time)
        kind, measurement, platform, *_ = made.verify(made.quote.evidence(made.credential))
    assert identity.kind(made.quote).encode() == kind.rstrip(b"\0")
    assert identity.measurement_id(made.quote) == measurement
    assert identity.platform_id(made.quote) == platform


OTHERS = {
    "tdx": {
        **{"attributes": "td_attributes", "mrtd": "mr_td", "mrconfigid": "mr_config_id", "mrowner": "mr_owner"},
        **{"mrownerconfig": "mr_owner_config", **{f"rtmr{n}": f"rt_mr{n}" for n in range(4)}, "xfam": "xfam"},
    },
    "sgx": {"mrenclave": "mr_enclave", "mrsigner": "mr_signer", "attributes": "attributes"},
}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_registers__real_quotes__are_those_that_the_other_implementation_reads(sample):
    quote = Quote.parse(path(sample.quote).read_bytes())
    collateral = Collateral.from_json(path(sample.collateral).read_text())
    documents = dcap_qvl.QuoteCollateralV3(**vars(collateral))
    policy = dcap_qvl.QuotePolicy.claims_only(sample.time)
    claims = dcap_qvl.QuoteVerifier(None).verify_with_policy(quote.raw, documents, sample.time, policy)
    (report,) = json.loads(claims.to_json())["report"].values()
    report |= report.get("base", {})
    names = OTHERS["tdx" if sample.tee else "sgx"]
    found = identity.registers(quote)
    assert {name: found[name].hex() for name in names} == {name: report[other] for name, other in names.items()}


def test_registers__dev_tee__are_named_and_whole():
    found = identity.registers(QUOTE)
    assert list(found) == ["attributes", "xfam", "mrtd", "mrconfigid", "mrowner", "mrownerconfig", *NAMES[5:]]
    assert b"".join(found.values()) == QUOTE.signed[48 + 120 : 48 + 520]


def test_measurement__quote_that_the_contract_does_not_take__is_a_bad_quote():
    """An SGX quote of version 4, and a body of TDX 1.0 in version 5, have their registers elsewhere or unnamed."""
    sgx = changed(QUOTE, "signed", 4, 0x81)
    version5 = b"\5" + QUOTE.signed[1:48] + bytes.fromhex("020048020000") + QUOTE.signed[48:]
    for quote in (sgx, replace(QUOTE, signed=version5)):
        with pytest.raises(BadQuote, match="TDX"):
            identity.measurement_id(quote)
        with pytest.raises(BadQuote, match="TDX"):
            identity.registers(quote)


@pytest.mark.parametrize("chain", [b"", b"no certificate", QUOTE.chain[QUOTE.chain.index(b"-----END") :]])
def test_platform__chain_that_names_none__is_a_bad_quote(chain):
    with pytest.raises(BadQuote, match="name no platform"):
        identity.platform_id(replace(QUOTE, chain=chain))
