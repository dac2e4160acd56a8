"""`didyma tee` against a real chain with the dev TEE's root: what it prints, sends and refuses."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from attestation.samples import SAMPLES, path
from attestation.test_dev_tee import HONEST, NOW, REPORT_DATA
from attestation.test_keeper import send, serving
from attestation.test_producers import Kernel
from e2e.world import ACCOUNTS, DEPLOYER, ETHER, MANIFEST
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from rig.anvil import CHAIN_ID, Anvil, anvil
from typer.testing import CliRunner
from web3 import Web3
from web3.exceptions import ContractLogicError

from oracle.attestation import identity
from oracle.attestation.attested_keys import EXACT_ENGINE, Registration
from oracle.attestation.configfs import ConfigfsTsm
from oracle.attestation.dev import MACHINE, DevTee, Level
from oracle.attestation.quote import Quote
from oracle.chain.deployment import Deployment
from oracle.cli import app, tee
from oracle.client import OracleClient, devnet
from oracle.ids import ServiceId

DAY = 86_400
GUARDIAN, NODE = ACCOUNTS[7], ACCOUNTS[8]
KEY: LocalAccount = Account.from_key(keccak(b"made inside"))
CAP, GRACE_CAP = ETHER // 2, ETHER // 10
QUOTE = MACHINE.quote(bytes(64))
MEASUREMENT, PLATFORM = identity.measurement_id(QUOTE, is_dev=True), identity.platform_id(QUOTE)
ALL = ["postCertificate", "postCertificate", "postCrl", "postCrl", "postTcbInfo", "postQeIdentity", "postCertificate"]


@dataclass
class Earth:
    """A chain with a service that believes the dev machine. Nothing is posted, no key is registered."""

    chain: Anvil
    w3: Web3
    client: OracleClient
    service: ServiceId

    @property
    def deployment(self) -> Deployment:
        return self.client.deployment

    @property
    def named(self) -> str:
        return "0x" + self.service.hex()

    def post(self, documents: DevTee = MACHINE, *, again: bool = False) -> None:
        """again: without certificates."""
        postings = documents.collateral().postings(QUOTE)
        send(
            self.w3, self.client.collateral, [one for one in postings if not (again and "Certificate" in one.function)]
        )

    def register(self, documents: DevTee = MACHINE) -> None:
        head = self.w3.eth.block_number
        self.chain.mine()
        registration = Registration(NODE.address, KEY.address, MANIFEST.model_id, EXACT_ENGINE, head, documents.number)
        where = (CHAIN_ID, self.client.attester.address)
        quote = MACHINE.quote(registration.binding(*where, self.w3.eth.get_block(head)["hash"]) + keccak(b"x25519"))
        evidence = quote.evidence(MACHINE.collateral().credential(quote))
        register = self.client.attester.functions.register
        self.client.send(register(registration.words, evidence, registration.signed(KEY, *where)))

    def is_admitted(self) -> bool:
        return bool(self.client.attester.functions.isAdmitted(self.service, KEY.address).call())

    def caps(self) -> list[int]:
        return list(self.client.attester.functions.capsOf(self.service).call())

    def set_clock(self, time: int) -> None:
        self.chain.rpc("evm_setNextBlockTimestamp", time)
        self.chain.mine()


@pytest.fixture(scope="module")
def built() -> Iterator[Earth]:
    with anvil("--timestamp", str(NOW - 100)) as chain:
        chain.rpc("evm_setAutomine", True)
        w3 = chain.w3()
        w3.eth.default_account = DEPLOYER.address
        deployment = devnet.deploy(w3)
        assert deployment.attester
        client = OracleClient(w3, deployment, DEPLOYER)
        policy = replace(devnet.dev_policy(), guardian=GUARDIAN.address, grace_cap_wei=GRACE_CAP, advisories=(615,))
        terms = replace(
            devnet.dev_terms(deployment, MANIFEST),
            attester=deployment.attester,
            attester_terms=policy.encoded(),
            value_cap_wei=CAP,
        )
        yield Earth(chain, w3, client, devnet.open_service(client, MANIFEST, terms))


@pytest.fixture
def earth(built: Earth) -> Iterator[Earth]:
    snapshot = built.chain.rpc("evm_snapshot")
    yield built
    built.chain.rpc("evm_revert", snapshot)


@pytest.fixture
def ready(earth: Earth) -> Earth:
    """With documents and a registered key."""
    earth.post()
    earth.register()
    return earth


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["tee", *map(str, words)])


@pytest.fixture
def cli(earth: Earth, tmp_path: Path) -> Any:
    """Runs a command on the deployment, with a key if it needs one."""
    earth.deployment.save(tmp_path / "deployment.json")
    (tmp_path / "password").write_text("word\n")

    def run_there(*words: object, by: LocalAccount | None = None) -> Any:
        where = ["--rpc-url", earth.chain.url, "--deployment", tmp_path / "deployment.json"]
        if by is None:
            return run(*words, *where)
        keystore = tmp_path / f"{by.address}.json"
        keystore.write_text(json.dumps(Account.encrypt(by.key, "word", kdf="pbkdf2", iterations=1000)))
        return run(*words, *where, "--keystore", keystore, "--password-file", tmp_path / "password")

    return run_there


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A quote of the dev machine."""
    (tmp_path / "machine.quote").write_bytes(QUOTE.raw)
    return tmp_path / "machine.quote"


def documents(folder: Path, source: DevTee) -> Path:
    """As dcap-qvl writes them."""
    fields = {
        name: value.hex() if isinstance(value, bytes) else value for name, value in vars(source.collateral()).items()
    }
    (folder / "collateral.json").write_text(json.dumps(fields))
    return folder / "collateral.json"


def succeeded(done: Any) -> str:
    assert done.exit_code == 0, done.output
    return str(done.output)


def refused(done: Any, says: str) -> None:
    assert done.exit_code == 1, done.output
    assert says in done.output.replace("\n", ""), done.output
    assert isinstance(done.exception, SystemExit)


def row(output: str, name: str) -> str:
    """What stands after a name at the beginning of a line."""
    (found,) = re.findall(rf"^ *{re.escape(name)}  +(.*)$", output, re.MULTILINE)
    return str(found)


# QUOTE


def test_quote__no_trust_domain__is_refused_with_advice(monkeypatch, tmp_path):
    monkeypatch.setattr(tee, "ConfigfsTsm", lambda: ConfigfsTsm(tmp_path / "nothing" / "report"))
    refused(run("quote"), "is this a TDX guest")


def test_quote__trust_domain__shows_its_ids_and_writes_its_quote(monkeypatch, tmp_path):
    monkeypatch.setattr(tee, "ConfigfsTsm", lambda: Kernel(tmp_path / "reports", tee=MACHINE))
    shown = succeeded(run("quote", "--out", tmp_path / "a.quote"))
    assert row(shown, "kind") == "dcap-tdx"
    assert row(shown, "measurement") == "0x" + identity.measurement_id(QUOTE).hex()
    assert Quote.parse((tmp_path / "a.quote").read_bytes()) == QUOTE


def test_quote__dev__shows_the_ids_that_a_policy_of_a_local_chain_names(tmp_path):
    shown = succeeded(run("quote", "--dev", "--out", tmp_path / "a.quote"))
    policy = devnet.dev_policy()
    assert row(shown, "kind") == "dev-tdx"
    assert (row(shown, "measurement"),) == tuple("0x" + id_.hex() for id_ in policy.measurements)
    assert (row(shown, "platform"),) == tuple("0x" + id_.hex() for id_ in policy.platforms)
    assert {name: row(shown, name) for name in identity.registers(QUOTE)} == {
        name: "0x" + value.hex() for name, value in identity.registers(QUOTE).items()
    }
    assert (tmp_path / "a.quote").read_bytes() == QUOTE.raw


# VERIFY


def test_verify__dev_quote__is_accepted_at_the_chain_s_time(earth, file):
    shown = succeeded(run("verify", file, "--dev-root", "--rpc-url", earth.chain.url))
    now = earth.w3.eth.get_block("latest")["timestamp"]
    assert row(shown, "judged at") == tee._utc(now)
    assert row(shown, "status") == "UpToDate"
    assert row(shown, "advisories") == "none"
    assert row(shown, "evaluation") == "17"
    assert row(shown, "documents").endswith(f"valid until {tee._utc(MACHINE.until)}")
    assert row(shown, "measurement") == "0x" + MEASUREMENT.hex()
    assert row(shown, "platform") == "0x" + PLATFORM.hex()
    assert row(shown, "report data") == "0x" + bytes(64).hex()


def test_verify__endpoints_in_the_environment__the_first_tells_the_time(earth, file, monkeypatch):
    monkeypatch.setenv("DIDYMA_RPC_URLS", f"{earth.chain.url},http://127.0.0.1:1")
    now = earth.w3.eth.get_block("latest")["timestamp"]
    assert row(succeeded(run("verify", file, "--dev-root")), "judged at") == tee._utc(now)


def test_verify__no_time_and_no_chain__is_judged_by_this_machine_s_clock(monkeypatch, file):
    monkeypatch.setattr(tee.time, "time", lambda: NOW + 0.5)
    assert row(succeeded(run("verify", file, "--dev-root")), "judged at") == tee._utc(NOW)


@pytest.mark.parametrize("time", [MACHINE.since - 1, MACHINE.until + 1])
def test_verify__outside_validity__is_refused_with_the_reason(file, time):
    refused(run("verify", file, "--dev-root", "--time", time), "EvidenceRefused: ")


def test_verify__no_chain_at_the_endpoint__is_refused(file):
    refused(run("verify", file, "--dev-root", "--rpc-url", "http://127.0.0.1:1"), "no connection")


def test_verify__dev_quote_under_intel_s_root__is_refused(file, tmp_path):
    done = run("verify", file, "--collateral", documents(tmp_path, MACHINE), "--time", NOW)
    refused(done, "EvidenceRefused")


STALE = {
    "OutOfDate": ["--grace-days", 30, "--since", NOW - 29 * DAY],
    "SWHardeningNeeded": ["--advisory", 615],
    "ConfigurationNeeded": ["--configuration"],
    "ConfigurationAndSWHardeningNeeded": ["--configuration", "--advisory", 615],
    "OutOfDateConfigurationNeeded": ["--configuration", "--grace-days", 30, "--since", NOW - 29 * DAY],
}


@pytest.mark.parametrize("status", STALE)
def test_verify__status_short_of_up_to_date__is_accepted_only_if_asked(file, tmp_path, status):
    levels = (Level(6, date=NOW - 90 * DAY), Level(5, status, ("INTEL-SA-00615",), NOW - 95 * DAY))
    words = ["verify", file, "--dev-root", "--collateral", documents(tmp_path, replace(MACHINE, levels=levels))]
    refused(run(*words, "--time", NOW), f"{status} is not acceptable")
    shown = succeeded(run(*words, "--time", NOW, *STALE[status]))
    assert row(shown, "status") == status
    assert row(shown, "advisories") == "INTEL-SA-00615"
    for left_out in ("--configuration", "--advisory", "--since"):
        if left_out in STALE[status]:
            at = STALE[status].index(left_out)
            fewer = STALE[status][:at] + STALE[status][at + (1 if left_out == "--configuration" else 2) :]
            refused(run(*words, "--time", NOW, *fewer), f"{status} is not acceptable")


def test_verify__evaluation_older_than_asked__is_refused(file):
    succeeded(run("verify", file, "--dev-root", "--evaluation", 17, "--time", NOW))
    refused(run("verify", file, "--dev-root", "--evaluation", 18, "--time", NOW), "the least that counts is 18")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_verify__real_quotes__as_expected(sample):
    words = ["verify", path(sample.quote), "--collateral", path(sample.collateral), "--time", sample.time]
    if sample.flags:
        refused(run(*words), sample.status)
    listed = [word for number in (289, 615) for word in ("--advisory", number)] if sample.flags else []
    shown = succeeded(run(*words, "--configuration", *listed))
    quote = Quote.parse(path(sample.quote).read_bytes())
    assert row(shown, "kind") == ("dcap-tdx" if sample.tee else "dcap-sgx")
    assert row(shown, "measurement") == "0x" + identity.measurement_id(quote).hex()
    assert row(shown, "status") == sample.status


def test_verify__documents_from_a_url__are_fetched(tmp_path):
    (tmp_path / "honest.quote").write_bytes(HONEST.quote(REPORT_DATA).raw)
    words = ["verify", tmp_path / "honest.quote", "--dev-root", "--time", NOW]
    with serving({}) as url:
        shown = succeeded(run(*words, "--url", url))
    assert row(shown, "documents").endswith(tee._utc(HONEST.until))
    refused(run(*words, "--url", "http://pccs.example"), "https://")


def test_verify__what_is_no_quote_or_no_documents__is_refused(file, tmp_path):
    refused(run("verify", tmp_path / "nothing", "--dev-root"), "cannot be read: No such file")
    refused(run("verify", tmp_path, "--dev-root"), "cannot be read: Is a directory")
    (tmp_path / "cut").write_bytes(QUOTE.raw[:-2000])
    refused(run("verify", tmp_path / "cut", "--dev-root"), "BadQuote: the quote ends")
    for text in ("", "[]", "{}", '{"root_ca_crl": "zz"}', '{"tcb_info": 1}', "\xff"):
        (tmp_path / "none.json").write_text(text, encoding="latin-1")
        refused(run("verify", file, "--collateral", tmp_path / "none.json"), "does not hold documents")


def test_verify__documents_from_nowhere_or_two_places__is_refused(file, tmp_path):
    refused(run("verify", file), "give --collateral or --url: the documents")
    both = ["--collateral", documents(tmp_path, MACHINE), "--url", "https://pccs.example"]
    refused(run("verify", file, *both), "not both")


# COLLATERAL


def test_collateral__nothing_posted__says_what_is_needed_and_sends_nothing(earth, cli, file):
    height = earth.chain.height()
    shown = succeeded(cli("collateral", file, "--dev"))
    assert row(shown, "evaluation") == "17, not on chain"
    for part in ("authority", "platform", "root's list", "its list", "TCB info", "QE identity"):
        assert row(shown, part) == "missing"
    assert row(shown, "stands").startswith("not now")
    assert row(shown, "needed") == ", ".join(ALL)
    assert earth.chain.height() == height


def test_collateral__post__then_it_stands_and_nothing_is_needed(earth, cli, file):
    shown = succeeded(cli("collateral", file, "--dev", "--post", by=NODE))
    assert re.findall(r"^(post\w+) +0x", shown, re.MULTILINE) == ALL
    assert f"\nstands       until {tee._utc(MACHINE.until)}\n" in shown
    height = earth.chain.height()
    again = succeeded(cli("collateral", file, "--dev", "--post", by=NODE))
    assert row(again, "needed") == "nothing"
    assert row(again, "stands") == f"until {tee._utc(MACHINE.until)}"
    assert row(again, "platform") == row(again, "signer") == f"until {tee._utc(MACHINE.until)}"
    assert row(again, "TCB info") == f"until {tee._utc(MACHINE.until)}"
    since = earth.client.collateral.functions.evaluationSince(17).call()
    assert row(again, "evaluation") == f"17, on chain since {tee._utc(since)} ({since})"
    assert earth.chain.height() == height


def test_collateral__soon_at_its_end__says_so(earth, cli, file):
    earth.post()
    earth.set_clock(MACHINE.until - 6 * DAY)
    assert "soon, post newer documents" in row(succeeded(cli("collateral", file, "--dev")), "stands")


def test_collateral__platform_revoked__is_shown_and_older_documents_are_refused(earth, cli, file):
    earth.post()
    revoking = replace(MACHINE, revoked=(MACHINE.platform.serial_number,), seconds_issued=10)
    earth.post(revoking, again=True)
    done = cli("collateral", file, "--dev", "--post", by=NODE)
    refused(done, "is revoked on chain")
    assert row(done.output, "platform") == "revoked"
    assert row(done.output, "stands").startswith("not now")


def test_collateral__dry_run__prints_every_transaction_and_sends_none(earth, cli, file):
    height = earth.chain.height()
    shown = succeeded(cli("collateral", file, "--dev", "--post", "--dry-run"))
    assert len(re.findall(rf"^to         {earth.client.collateral.address}$", shown, re.MULTILINE)) == len(ALL)
    assert earth.chain.height() == height


def test_collateral__json__is_one_object_before_and_after(earth, cli, file):
    before = json.loads(succeeded(cli("collateral", file, "--dev", "--json")))
    assert (before["stands"], before["since"], before["needed"], before["transactions"]) == (False, 0, ALL, [])
    posted = json.loads(succeeded(cli("collateral", file, "--dev", "--post", "--json", by=NODE)))
    assert [sent["call"] for sent in posted["transactions"]] == posted["needed"] == ALL
    assert (posted["stands"], posted["until"], posted["newer_due"]) == (True, MACHINE.until, False)
    assert {one["name"]: one["until"] for one in posted["documents"]}["TCB info"] == MACHINE.until
    after = json.loads(succeeded(cli("collateral", file, "--dev", "--json")))
    assert after == posted | {"needed": [], "transactions": []}


def test_collateral__no_key__is_refused(cli, file):
    refused(cli("collateral", file, "--dev", "--post"), "--dry-run")


@pytest.mark.parametrize("sources", [[], ["--dev", "--url", "https://pccs.example"]])
def test_collateral__no_source_or_two__is_refused(cli, file, sources):
    refused(cli("collateral", file, *sources), "give either --url or --dev")


def test_collateral__documents_from_a_url_under_another_root_than_intel_s__are_not_posted(earth, cli, tmp_path):
    (tmp_path / "honest.quote").write_bytes(HONEST.quote(REPORT_DATA).raw)
    height = earth.chain.height()
    with serving({}) as url:
        refused(cli("collateral", tmp_path / "honest.quote", "--url", url, "--post", by=NODE), "does not verify")
    assert earth.chain.height() == height


def test_collateral__on_a_chain_with_another_root__is_refused_with_the_contract_s_reason(earth, cli, file, monkeypatch):
    monkeypatch.setattr(tee, "MACHINE", replace(MACHINE, seed=b"another vendor"))
    refused(cli("collateral", file, "--dev", "--post", by=NODE), "does not verify")
    file.write_bytes(tee.MACHINE.quote(bytes(64)).raw)
    refused(cli("collateral", file, "--dev", "--post", by=NODE), "the contract refuses: BadSignature()")


# STATUS


def test_status__service_without_keys__is_shown_with_its_policy(earth, cli):
    shown = succeeded(cli("status", "--service", earth.named))
    assert row(shown, "attester") == earth.client.attester.address
    assert row(shown, "verifier") == earth.client.verifier.address
    assert row(shown, "collateral") == earth.client.collateral.address
    assert row(shown, "kind").startswith("dev: ")
    assert row(shown, "generation") == "0"
    assert row(shown, "service") == earth.named
    assert row(shown, "guardian") == f"{GUARDIAN.address}, has shrunk it 0 times"
    assert row(shown, "caps") == "0.5 ether; out of date 0.1 ether"
    assert row(shown, "accepts") == "up to date; out of date for 30 days; INTEL-SA-00615"
    assert row(shown, "evaluation") == "17 or newer"
    assert row(shown, "engine") == "0x" + EXACT_ENGINE.hex()
    assert row(shown, "measurement") == "0x" + MEASUREMENT.hex()
    assert row(shown, "platform") == "0x" + PLATFORM.hex()
    assert "key  " not in shown


def test_status__no_service_named__shows_all(earth, cli):
    assert succeeded(cli("status")) == succeeded(cli("status", "--service", earth.named))


def test_status__generation__counts_what_the_vendor_takes_back(ready, cli):
    ready.post(replace(MACHINE, number=18, revoked=(4711, 4712), seconds_issued=10), again=True)
    assert row(succeeded(cli("status")), "generation") == "2", "of what is posted, what is revoked counts alone"


def test_status__service_without_a_policy_or_no_id__is_refused(earth, cli):
    refused(cli("status", "--service", "0x" + "11" * 32), "has no policy with this deployment's attester")
    refused(cli("status", "--service", "0x11"), "not an id")


def test_status__deployment_without_an_attester__is_refused(earth, tmp_path):
    replace(earth.deployment, attester=None).save(tmp_path / "bare.json")
    done = run("status", "--rpc-url", earth.chain.url, "--deployment", tmp_path / "bare.json")
    refused(done, "this deployment has no attester")


# ADMIT


def test_admit__registered_key__counts_and_is_shown(ready, cli):
    assert "key  " not in succeeded(cli("status"))
    shown = succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    assert ready.is_admitted()
    until = ready.client.attester.functions.keyOf(KEY.address).call()[1]
    assert row(shown, "key") == f"{KEY.address}  admitted, until {tee._utc(until)}, listed"
    assert row(succeeded(cli("status")), "key") == row(shown, "key")
    ready.set_clock(until)
    assert row(succeeded(cli("status")), "key").startswith(f"{KEY.address}  NOT admitted now, ")


def test_admit__registered_again__is_judged_by_the_newest_registration(ready, cli):
    succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    levels = (Level(6, date=NOW - 2 * DAY), Level(5, "OutOfDate", (), NOW - 9 * DAY))
    newer = replace(MACHINE, number=18, seconds_issued=10, levels=levels)
    ready.post(newer, again=True)
    assert ready.is_admitted()
    ready.register(newer)
    assert not ready.is_admitted()
    shown = succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    assert row(shown, "key").endswith(", listed, out of date")
    assert ready.is_admitted()


def test_admit__machine_that_is_not_listed__has_a_window(ready, cli):
    succeeded(cli("shrink", ready.named, "--id", PLATFORM.hex(), by=GUARDIAN))
    shown = succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    assert row(shown, "key").endswith("not listed: its answers have a window")


def test_admit__nobody_has_registered_the_key__is_refused(earth, cli):
    refused(cli("admit", earth.named, KEY.address, by=NODE), f"nobody has registered {KEY.address}")


def test_admit__service_without_a_policy__is_refused(ready, cli):
    refused(cli("admit", "0x" + "11" * 32, KEY.address, by=NODE), "has no policy")


def test_admit__no_address__is_refused(ready, cli):
    refused(cli("admit", ready.named, "0x12", by=NODE), "not an address")


def test_admit__code_that_is_no_longer_believed__is_refused_with_the_contract_s_reason(ready, cli):
    succeeded(cli("shrink", ready.named, "--id", "0x" + MEASUREMENT.hex(), by=GUARDIAN))
    done = cli("admit", ready.named, KEY.address, by=NODE)
    refused(done, f"the contract refuses: UnknownMeasurement(measurementId=0x{MEASUREMENT.hex()})")


def test_admit__dry_run__prints_the_transaction_that_anybody_can_send(ready, cli):
    shown = succeeded(cli("admit", ready.named, KEY.address, "--dry-run"))
    assert not ready.is_admitted()
    ready.w3.eth.wait_for_transaction_receipt(
        ready.w3.eth.send_transaction({"from": DEPLOYER.address, "to": row(shown, "to"), "data": row(shown, "data")})
    )
    assert ready.is_admitted()


def test_admit__no_key_to_send_with__is_refused(ready, cli):
    refused(cli("admit", ready.named, KEY.address), "--dry-run")


# REVOKE


def test_revoke__by_its_node__ends_the_key_for_ever(ready, cli):
    succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    succeeded(cli("revoke", KEY.address, by=NODE))
    assert not ready.is_admitted()
    assert f"{KEY.address}  NOT admitted now" in succeeded(cli("status"))
    refused(cli("revoke", KEY.address, by=NODE), "is revoked already")
    refused(cli("admit", ready.named, KEY.address, by=NODE), f"KeyNotActive(signer={KEY.address})")


def test_revoke__by_somebody_else__is_refused_with_the_contract_s_reason(ready, cli):
    done = cli("revoke", KEY.address, by=GUARDIAN)
    refused(done, f"NotNode(caller={GUARDIAN.address}, node={NODE.address})")


def test_revoke__nobody_has_registered_the_key__is_refused(earth, cli):
    refused(cli("revoke", KEY.address, by=NODE), f"nobody has registered {KEY.address}")


# SHRINK


def test_shrink__one_cap__leaves_the_other_and_ends_admissions(ready, cli):
    succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    assert "admitted anew" in succeeded(cli("shrink", ready.named, "--cap", "0.25", by=GUARDIAN))
    assert ready.caps() == [ETHER // 4, GRACE_CAP, 2]
    assert not ready.is_admitted()
    succeeded(cli("shrink", ready.named, "--grace-cap", "0", by=GUARDIAN))
    assert ready.caps() == [ETHER // 4, 0, 3]
    shown = succeeded(cli("status"))
    assert row(shown, "guardian").endswith("has shrunk it 2 times")
    assert row(shown, "caps") == "0.25 ether; out of date 0 ether"


def test_shrink__ids__are_taken_away_and_the_caps_stay(earth, cli):
    taken = ["--id", MEASUREMENT.hex(), "--id", "0x" + PLATFORM.hex()]
    succeeded(cli("shrink", earth.named, *taken, by=GUARDIAN))
    assert earth.caps() == [CAP, GRACE_CAP, 2]
    shown = succeeded(cli("status"))
    for name in ("measurement", "platform"):
        assert row(shown, name).endswith("  taken away")
    refused(cli("shrink", earth.named, *taken, by=GUARDIAN), f"the policy does not believe 0x{MEASUREMENT.hex()}")


def test_shrink__by_somebody_else__is_refused_with_the_contract_s_reason(earth, cli):
    refused(cli("shrink", earth.named, "--cap", "0.2", by=NODE), f"NotGuardian(service={earth.named}")


def test_shrink__a_cap_raised__is_refused_with_the_contract_s_reason(earth, cli):
    refused(cli("shrink", earth.named, "--cap", "0.6", by=GUARDIAN), f"OnlyShrinks(service={earth.named})")


def test_shrink__cap_below_that_of_platforms_out_of_date__asks_for_both(earth, cli):
    refused(cli("shrink", earth.named, "--cap", "0", by=GUARDIAN), "give --grace-cap too")
    succeeded(cli("shrink", earth.named, "--cap", "0", "--grace-cap", "0", by=GUARDIAN))
    assert earth.caps() == [0, 0, 2]


def test_shrink__evaluation__is_raised_and_the_rest_stays(ready, cli):
    succeeded(cli("admit", ready.named, KEY.address, by=NODE))
    succeeded(cli("shrink", ready.named, "--evaluation", 18, by=GUARDIAN))
    assert ready.caps() == [CAP, GRACE_CAP, 2]
    assert not ready.is_admitted()
    assert row(succeeded(cli("status")), "evaluation") == "18 or newer"
    refused(cli("admit", ready.named, KEY.address, by=NODE), "EvaluationTooOld(evaluation=17, least=18)")
    refused(cli("shrink", ready.named, "--evaluation", 17, by=GUARDIAN), f"OnlyShrinks(service={ready.named})")
    succeeded(cli("shrink", ready.named, "--cap", "0.25", by=GUARDIAN))
    assert row(succeeded(cli("status")), "evaluation") == "18 or newer"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "what to take away"),
        (["--id", "0x12"], "not an id"),
        (["--id", "33" * 32], "does not believe 0x33"),
        (["--cap", "much"], "not an amount"),
    ],
)
def test_shrink__nothing_or_nonsense__is_refused(earth, cli, words, says):
    refused(cli("shrink", earth.named, *words, by=GUARDIAN), says)
    assert earth.caps() == [CAP, GRACE_CAP, 1]


def test_shrink__service_without_a_policy__is_refused(earth, cli):
    refused(cli("shrink", "0x" + "11" * 32, "--cap", "0", by=GUARDIAN), "has no policy")


def test_shrink__dry_run__is_for_the_guardian_s_wallet(earth, cli):
    shown = succeeded(cli("shrink", earth.named, "--cap", "0.2", "--dry-run"))
    transaction = {"to": row(shown, "to"), "data": row(shown, "data")}
    with pytest.raises(ContractLogicError):
        earth.w3.eth.call({**transaction, "from": NODE.address})
    earth.w3.eth.wait_for_transaction_receipt(earth.w3.eth.send_transaction({**transaction, "from": GUARDIAN.address}))
    assert earth.caps() == [ETHER // 5, GRACE_CAP, 2]
