"""Where quotes come from, and what they are worth off chain."""

from dataclasses import replace
from pathlib import Path

import pytest
from attestation.samples import SAMPLES, path
from attestation.test_dev_tee import DAY, HONEST, NOW, REPORT_DATA

from oracle.attestation.collateral import Collateral
from oracle.attestation.configfs import ConfigfsTsm
from oracle.attestation.dev import SEALED, DevTee, Level
from oracle.attestation.quote import Quote
from oracle.attestation.verifier import Policy, Verdict, judge, verify
from oracle.errors import BadQuote, EvidenceRefused, NoTee, TeeBusy


class Kernel(ConfigfsTsm):
    """A folder that counts writes and answers with quotes of the dev TEE, as the kernel does with the machine's."""

    def __init__(self, reports: Path, intruders: int = 0, provider: str = "tdx_guest", tee: DevTee = HONEST) -> None:
        super().__init__(reports, "ours")
        self._intruders, self._tee = intruders, tee
        self._entry.mkdir(parents=True)
        (self._entry / "provider").write_text(provider + "\n")
        (self._entry / "generation").write_text("7\n")

    def _write(self, data: bytes) -> None:
        super()._write(data)
        self._count()
        (self._entry / "outblob").write_bytes(self._tee.quote(data).raw)
        if self._intruders:
            self._intruders -= 1
            (self._entry / "outblob").write_bytes(self._tee.quote(bytes(64)).raw)
            self._count()

    def _count(self) -> None:
        file = self._entry / "generation"
        file.write_text(f"{int(file.read_text()) + 1}\n")


def test_configfs__no_trust_domain__is_refused_with_advice(tmp_path):
    with pytest.raises(NoTee, match="TDX guest"):
        ConfigfsTsm(tmp_path / "nothing" / "report").quote(REPORT_DATA)


def test_configfs__another_provider__is_refused(tmp_path):
    with pytest.raises(NoTee, match="sev_guest"):
        Kernel(tmp_path, provider="sev_guest").quote(REPORT_DATA)


def test_configfs__somebody_else_writes__is_tried_again_and_never_takes_his_quote(tmp_path):
    assert Kernel(tmp_path / "a", intruders=3).quote(REPORT_DATA).report_data == REPORT_DATA
    with pytest.raises(TeeBusy):
        Kernel(tmp_path / "b", intruders=99).quote(REPORT_DATA)


@pytest.mark.parametrize("length", [0, 32, 65])
def test_quote__report_data_of_other_length__is_refused(tmp_path, length):
    for producer in (Kernel(tmp_path), HONEST):
        with pytest.raises(ValueError, match="not 64"):
            producer.quote(bytes(length))


def test_dev_tee__twice__makes_the_same_quote(tmp_path):
    """No clock and no chance in it."""
    assert HONEST.quote(REPORT_DATA) == replace(HONEST).quote(REPORT_DATA)
    assert HONEST.collateral() == replace(HONEST).collateral()


def test_parse__version_that_is_not_understood__is_a_bad_quote():
    with pytest.raises(BadQuote, match="version 9"):
        Quote.parse(b"\x09\0" + HONEST.quote(REPORT_DATA).raw[2:])


FOREIGN = {
    "an empty document": (b"", "no bytes at all"),
    "zeros": (bytes(4096), "4096 zeros"),
    "Nitro": (bytes.fromhex("8444a1013822a0591100") + bytes(range(200)), "AWS Nitro"),
    "Nitro, tagged": (bytes.fromhex("d28444a1013822a0591100") + bytes(range(200)), "AWS Nitro"),
    "a GPU's measurements": (bytes.fromhex("11e0000000") + bytes(range(200)), "NVIDIA's evidence about a GPU"),
    "GPUs' evidence": (b'[{"arch": "HOPPER", "evidence": "EeAB/w==", "certificate": "LS0t"}]', "NVIDIA's evidence"),
    "claims about GPUs": (b'{"x-nvidia-gpu-attestation-report-parsed": true}', "NVIDIA's evidence"),
    "a token": (b"eyJhbGciOiJFUzM4NCJ9.e30.AAAA", "JSON web token"),
    "other JSON": (b'{"quote": "BAACAIEA"}', "JSON text"),
    "SEV-SNP": (bytes.fromhex("03000000") + bytes(1180), "AMD SEV-SNP"),
    "a TD report": (b"\x81" + bytes(1022) + b"\1", "a TD report"),
    "hexadecimal": (HONEST.quote(REPORT_DATA).raw.hex().encode(), "hexadecimal text"),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_parse__document_of_another_kind__is_refused_by_its_name(what):
    document, says = FOREIGN[what]
    with pytest.raises(BadQuote, match=says) as caught:
        Quote.parse(document)
    assert "version" not in str(caught.value)
    with pytest.raises(BadQuote, match=says):
        Quote.of_evidence(document, b"")


def test_configfs__empty_outblob__is_refused_with_advice(tmp_path):
    class Silent(Kernel):
        def _write(self, data: bytes) -> None:
            super()._write(data)
            (self._entry / "outblob").write_bytes(b"")

    with pytest.raises(NoTee, match="empty quote; does a quoting service run"):
        Silent(tmp_path).quote(REPORT_DATA)


def test_configfs__quote_in_a_longer_buffer__is_read_without_what_follows(tmp_path):
    class Padding(Kernel):
        def _write(self, data: bytes) -> None:
            super()._write(data)
            blob = self._entry / "outblob"
            blob.write_bytes(blob.read_bytes() + bytes(100))

    assert Padding(tmp_path).quote(REPORT_DATA) == HONEST.quote(REPORT_DATA)


def test_of_evidence__cut_anywhere_or_followed_by_something__is_a_bad_quote():
    quote = HONEST.quote(REPORT_DATA)
    evidence = quote.evidence(bytes(32))
    assert Quote.of_evidence(evidence, quote.chain) == quote
    cut = [evidence[:length] for length in range(0, len(evidence), 61)]
    for changed in (*cut, evidence + b"x", evidence + b"\0", b"\x09" + evidence[1:]):
        with pytest.raises(BadQuote):
            Quote.of_evidence(changed, quote.chain)


# POLICY


def judged(tee: DevTee, policy: Policy, since: int | None = None) -> Verdict:
    return judge(tee.quote(REPORT_DATA), tee.collateral(), NOW, policy, tee.root, since)


def test_judge__sealed_and_up_to_date__is_accepted():
    assert judged(HONEST, Policy())


def test_judge__any_attribute_of_the_domain_other_than_it_should_be__is_refused_whatever_the_policy():
    """Debugging, performance counters, what is reserved; or SEPT_VE_DISABLE not set."""
    everything = Policy(accepts_configuration=True, grace_seconds=DAY, advisories=(615,))
    for bit in range(64):
        attributes = (int.from_bytes(SEALED, "little") ^ 1 << bit).to_bytes(8, "little")
        with pytest.raises(EvidenceRefused, match="the domain's attributes"):
            judged(replace(HONEST, attributes=attributes), everything, since=NOW)


def test_judge__hardening_needed__is_accepted_only_by_a_policy_that_lists_the_advisory():
    tee = replace(HONEST, levels=(Level(5, "SWHardeningNeeded", ("INTEL-SA-00615",), NOW - DAY),))
    for policy in (Policy(), Policy(advisories=(616,))):
        with pytest.raises(EvidenceRefused, match="open to INTEL-SA-00615"):
            judged(tee, policy)
    assert judged(tee, Policy(advisories=(616, 615)))


def test_judge__hardening_that_no_advisory_names__is_refused_whatever_the_policy_lists():
    tee = replace(HONEST, levels=(Level(5, "SWHardeningNeeded"),))
    with pytest.raises(EvidenceRefused, match="what no policy can list"):
        judged(tee, Policy(advisories=(615,)))


def test_judge__configuration_needed__is_accepted_only_by_a_policy_that_says_so():
    tee = replace(HONEST, levels=(Level(5, "ConfigurationNeeded"),))
    with pytest.raises(EvidenceRefused, match="ConfigurationNeeded is not acceptable"):
        judged(tee, Policy())
    assert judged(tee, Policy(accepts_configuration=True))


def test_judge__out_of_date__is_accepted_for_a_grace_from_when_the_evaluation_stood_on_chain():
    """The vendor's own dates, years back, count for nothing."""
    tee = replace(HONEST, levels=(Level(6, date=NOW - 400 * DAY), Level(5, "OutOfDate", (), NOW - 900 * DAY)))
    policy = Policy(grace_seconds=10 * DAY)
    assert judged(tee, policy, since=NOW - 10 * DAY + 1).level.status == "OutOfDate"
    for since in (NOW - 10 * DAY, None):
        with pytest.raises(EvidenceRefused, match="OutOfDate is not acceptable"):
            judged(tee, policy, since)
    with pytest.raises(EvidenceRefused):
        judged(tee, Policy(), since=NOW)


def test_judge__evaluation_too_old__is_refused():
    assert judged(HONEST, Policy(least_evaluation=HONEST.number)).evaluation == HONEST.number
    with pytest.raises(EvidenceRefused, match="judged by TCB evaluation 17; the least that counts is 18"):
        judged(HONEST, Policy(least_evaluation=HONEST.number + 1))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_judge__real_quotes__as_expected(sample):
    quote = Quote.parse(path(sample.quote).read_bytes())
    collateral = Collateral.from_json(path(sample.collateral).read_text())
    if sample.flags:
        with pytest.raises(EvidenceRefused):
            judge(quote, collateral, sample.time, Policy())
    listed = tuple(verify(quote, collateral, sample.time).level.advisories)
    policy = Policy(accepts_configuration=True, advisories=listed)
    assert judge(quote, collateral, sample.time, policy).level.status == sample.status
