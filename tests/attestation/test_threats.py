"""Threats that no other test makes: TEEs of other forms, stale documents, roots, policies that go bad, borrowed GPUs.

The table in docs/security.md names tests for every threat; the last test here holds it to them.
"""

import re
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attestation.test_attested_keys import ENCRYPTION_KEY, ENGINE, KEY, MODEL, Keys
from attestation.test_dev_tee import DAY, HONEST, NOW, REPORT_DATA, Bench, off_chain, refused
from attestation.test_gpu import USES, Double
from disputes.stand import artifact, deploy
from eth_account import Account
from eth_hash.auto import keccak
from rig.anvil import CHAIN_ID, ROOT, Anvil
from web3 import Web3
from web3.exceptions import ContractLogicError

from oracle.attestation.attested_answers import signed_answer
from oracle.attestation.dev import INTEL_QE_VENDOR, INTEL_ROOT_KEY, LOCAL_CHAINS, MACHINE, DevTee, _signature, root_key
from oracle.attestation.gpu import gate
from oracle.attestation.identity import measurement_id, platform_id
from oracle.attestation.keeper import DevSource
from oracle.attestation.quote import HEADER_BYTES, Quote
from oracle.chain.requests import Answer, Request
from oracle.chain.services import Policy, Terms
from oracle.chain.units import ETHER, NOBODY
from oracle.errors import BadSettings, GpuRefused
from oracle.node.assembly import make_enclave
from oracle.node.tee.enclave import Enclave

CAP, GRACE_CAP = 2 * ETHER, ETHER
SECURITY = ROOT / "docs" / "security.md"


def resigned(tee: DevTee, signed: bytes) -> Quote:
    """A quote of the machine over another header and body."""
    signature = _signature(tee._key("attestation"), signed)
    return replace(tee.quote(REPORT_DATA), signed=signed, signature=signature)


# EVIDENCE OF OTHER FORMS

SIGNED = HONEST.quote(REPORT_DATA).signed
HEADER, BODY = SIGNED[:HEADER_BYTES], SIGNED[HEADER_BYTES:]
TDX15 = bytes.fromhex("030088020000")


def version_5(service_domain: bytes = bytes(48), body_type: bytes = TDX15) -> bytes:
    """service_domain: MRSERVICETD, what may migrate the domain."""
    return b"\5" + HEADER[1:] + body_type + BODY + BODY[:16] + service_domain


def test_verify__version_5__is_accepted(chain):
    bench = Bench(chain)
    bench.post()
    found, older = bench.verify(quote=resigned(HONEST, version_5())), bench.verify()
    assert found == older, "the same machine, the same code"


FORMS = {
    "another version": (b"\6" + SIGNED[1:], "UnsupportedQuote(uint256,bytes6)"),
    "another kind of key": (SIGNED[:2] + b"\3" + SIGNED[3:], "UnsupportedQuote(uint256,bytes6)"),
    "another TEE": (SIGNED[:4] + bytes(4) + SIGNED[8:], "UnsupportedQuote(uint256,bytes6)"),
    "another body": (version_5(body_type=b"\2" + TDX15[1:]), "UnsupportedQuote(uint256,bytes6)"),
    "another vendor": (SIGNED.replace(INTEL_QE_VENDOR, bytes(16)), "WrongVendor(bytes16)"),
    "a domain that may be moved": (version_5(b"\1" + bytes(47)), "ForeignModule()"),
    "a domain that may be moved, last byte": (version_5(bytes(47) + b"\1"), "ForeignModule()"),
}


@pytest.mark.parametrize("form", FORMS)
def test_verify__properly_signed_of_another_form__is_refused(chain, form):
    signed, error = FORMS[form]
    bench = Bench(chain)
    bench.post()
    refused(lambda: bench.verify(quote=resigned(HONEST, signed)), error)


def test_verify__evidence_cut_or_longer__is_refused(chain):
    bench = Bench(chain)
    bench.post()
    quote = HONEST.quote(REPORT_DATA)
    evidence = quote.evidence(HONEST.collateral().credential(quote))
    assert bench.verifier.functions.verify(evidence, 17).call()
    for other in (evidence[:-1], evidence + b"\0", evidence[:HEADER_BYTES], b""):
        refused(bench.verifier.functions.verify(other, 17).call, "WrongLength(uint256,uint256)")


class DevSgx(DevTee):
    """The same machine's enclaves. `attributes`: of the enclave's report, 16 bytes."""

    def _tcb_info(self) -> str:
        text = super()._tcb_info().replace('"id":"TDX"', '"id":"SGX"')
        return re.sub(r',"tdx(Module":{[^}]*}|tcbcomponents":\[[^]]*\])', "", text)

    def _qe_identity(self) -> str:
        return super()._qe_identity().replace('"id":"TD_QE"', '"id":"QE"')

    def quote(self, report_data: bytes) -> Quote:
        body = bytearray(384)
        body[48:64], body[64:96], body[320:384] = self.attributes, keccak(b"enclave"), report_data
        header = b"\3\0\2\0" + bytes(8) + INTEL_QE_VENDOR + bytes(20)
        made, signed = super().quote(report_data), header + body
        return replace(made, signed=signed, signature=_signature(self._key("attestation"), signed))


INITIALISED, DEBUG, WIDE = 1, 2, 4
ENCLAVE = DevSgx(HONEST.since, HONEST.until, attributes=bytes([INITIALISED | WIDE]) + bytes(15))


def test_verify__enclave__is_accepted_by_both_as_sgx(chain):
    bench = Bench(chain, ENCLAVE)
    bench.post()
    found = bench.verify()
    assert found[0].rstrip(b"\0") == b"dev-sgx"
    assert found[4] + found[5] == REPORT_DATA
    assert off_chain(ENCLAVE).status == "UpToDate"


def test_verify__debuggable_enclave__is_refused_by_both(chain):
    tee = replace(ENCLAVE, attributes=bytes([INITIALISED | DEBUG | WIDE]) + bytes(15))
    bench = Bench(chain, tee)
    bench.post()
    refused(bench.verify, "UnsafeAttributes(bytes8)")
    with pytest.raises(ValueError):
        off_chain(tee)


def test_verify__enclave_that_is_not_initialised__is_refused(chain):
    tee = replace(ENCLAVE, attributes=bytes([WIDE]) + bytes(15))
    bench = Bench(chain, tee)
    bench.post()
    refused(bench.verify, "UnsafeAttributes(bytes8)")


def test_verify__enclave_s_quote_under_a_domain_s_documents__is_refused(chain):
    """SGX and TDX are judged by documents of their own."""
    bench = Bench(chain)
    bench.post()
    refused(lambda: bench.verify(ENCLAVE), "TcbInfoMissing(uint8,bytes6,uint16,uint16)")


# BINDING


def test_register__encryption_key_of_somebody_else__needs_another_quote(chain):
    """The host cannot put its own key under the enclave's evidence, and read what is sealed to it."""
    keys = Keys(chain)
    registration = keys.registration()
    evidence = keys.evidence(registration)
    assert evidence.count(ENCRYPTION_KEY) == 1
    swapped = evidence.replace(ENCRYPTION_KEY, keccak(b"the host's"))
    assert keys.registering(registration, evidence).call()
    refused(keys.registering(registration, swapped).call, "BadQuoteSignature()")


def test_register__signed_for_another_chain_or_registry__is_refused(chain):
    keys = Keys(chain)
    registration = keys.registration()
    evidence = keys.evidence(registration)
    other = deploy(keys.w3, "AttestedAnswers", NOBODY, keys.verifier.address).address
    for elsewhere in ((1, keys.keys.address), (CHAIN_ID, other)):
        call = keys.keys.functions.register(registration.words, evidence, registration.signed(KEY, *elsewhere))
        refused(call.call, "WrongSigner(address,address)")


# THE DEV ROOT


@dataclass(frozen=True)
class Abroad:
    """The chain under another id. Nothing is sent, because its accounts sign for the id that it was started with."""

    chain: Anvil
    chain_id: int

    def is_dev(self, *key: bytes) -> bool:
        """What a collateral with this root would say. Raises ContractLogicError if it could not exist."""
        w3 = Web3(Web3.HTTPProvider(self.chain.url))
        built = artifact("DcapCollateral")
        factory = w3.eth.contract(abi=built["abi"], bytecode=built["bytecode"]["object"])
        self.chain.rpc("anvil_setChainId", self.chain_id)
        try:
            code = w3.eth.call({"data": factory.constructor(*key).data_in_transaction})
        finally:
            self.chain.rpc("anvil_setChainId", CHAIN_ID)
        made = w3.eth.contract(address=w3.eth.accounts[9], abi=built["abi"])
        return bool(made.functions.isDev().call(state_override={made.address: {"code": Web3.to_hex(code)}}))


@pytest.mark.parametrize("chain_id", [1, 10, 137, 8453, 42161, 11155111, 31338, 1336])
def test_dev_root__on_a_public_chain__cannot_exist(chain, chain_id):
    abroad = Abroad(chain, chain_id)
    with pytest.raises(ContractLogicError) as caught:
        abroad.is_dev(*HONEST.root_key)
    told = keccak(b"DevRootOnPublicChain(uint256)")[:4] + chain_id.to_bytes(32, "big")
    assert caught.value.data == Web3.to_hex(told)
    assert root_key(chain_id) == INTEL_ROOT_KEY
    assert not abroad.is_dev(*INTEL_ROOT_KEY)


@pytest.mark.parametrize("chain_id", LOCAL_CHAINS)
def test_dev_root__on_a_local_chain__says_what_it_is(chain, chain_id):
    assert root_key(chain_id) == MACHINE.root_key
    assert Abroad(chain, chain_id).is_dev(*MACHINE.root_key)
    assert not Abroad(chain, chain_id).is_dev(*INTEL_ROOT_KEY)


def test_node__dev_tee_on_a_public_chain__does_not_start():
    settings = SimpleNamespace(tee="dev", collateral_url="https://pccs.example")
    for chain_id in (1, 11155111):
        contracts = SimpleNamespace(attester=NOBODY, deployment=SimpleNamespace(chain_id=chain_id))
        with pytest.raises(BadSettings, match="proves nothing"):
            make_enclave(settings, contracts, None, NOBODY)


# POLICIES


@dataclass(frozen=True)
class Question:
    """A request to a service, answered by the key."""

    service: bytes
    value_finney: int = 0

    @cached_property
    def request(self) -> Request:
        head, rules = int(KEY.address, 16), 16
        return Request(self.service, keccak(b"prompt"), head, rules, self.value_finney << 232)

    @cached_property
    def answer(self) -> Answer:
        return Answer(2 << 96, keccak(b"output"), keccak(b"tokens"), keccak(b"a block"))


class Policed(Keys):
    """This account stands in for the oracle, and is every service's guardian."""

    def __init__(self, chain: Anvil) -> None:
        super().__init__(chain)
        self.keys = deploy(self.w3, "AttestedAnswers", self.w3.eth.default_account, self.verifier.address)
        self.details, _ = self.register()

    def serve(self, model: bytes = MODEL, **changes: Any) -> bytes:
        """A service's id. changes: of the policy that believes this machine."""
        quote = self.tee.quote(REPORT_DATA)
        policy = Policy(
            guardian=self.w3.eth.default_account,
            engine_id=ENGINE,
            accepts_configuration=False,
            least_evaluation=17,
            grace_seconds=30 * DAY,
            grace_cap_wei=GRACE_CAP,
            advisories=(),
            measurements=(measurement_id(quote, is_dev=True),),
            platforms=(platform_id(quote),),
        )
        encoded = replace(policy, **changes).encoded()
        terms = Terms(model, NOBODY, b"", self.keys.address, encoded, *(0 for _ in range(12)), value_cap_wei=CAP)
        self.send(self.keys.functions.adopt(terms.service_id(), astuple(terms)))
        return terms.service_id()

    def admit(self, service: bytes) -> Any:
        """The call."""
        return self.keys.functions.admit(service, KEY.address, self.details)

    def check(self, question: Question, signed: Question | None = None, key: Any = KEY) -> Any:
        """The call. signed: another question than the one it is shown for."""
        about = signed or question
        signature = signed_answer(key, CHAIN_ID, self.keys.address, about.request, about.answer)
        answer = question.answer
        words = (answer.head, answer.output_hash, answer.tokens_root, answer.seed_block_hash)
        return self.keys.functions.check(question.request.words, words, signature)

    def shrink(self, service: bytes, ids: Any, cap: int = CAP, grace_cap: int = GRACE_CAP, least: int = 17) -> Any:
        return self.keys.functions.shrink(service, ids, cap, grace_cap, least)

    def send(self, call: Any) -> None:
        receipt = self.w3.eth.wait_for_transaction_receipt(call.transact({"gas": 16_000_000}))
        assert receipt["status"] == 1


@pytest.fixture
def policed(chain: Anvil) -> Policed:
    return Policed(chain)


def test_check__key_admitted_to_one_service__counts_in_no_other(policed):
    """Each service judges by its own policy; a signature names the service, and so its model and terms."""
    own, other = policed.serve(), policed.serve(grace_seconds=0)
    policed.send(policed.admit(own))
    assert policed.check(Question(own)).call() == [KEY.address, True]
    refused(policed.check(Question(other)).call, "NotAdmitted(bytes32,address)")
    refused(policed.check(Question(other), signed=Question(own)).call, "NotAdmitted(bytes32,address)")
    refused(policed.check(Question(own), key=Account.from_key(keccak(b"thief"))).call, "NotAdmitted(bytes32,address)")


def test_check__value_said_to_be_lower_than_it_was_asked_with__is_refused(policed):
    """The value at stake decides about the window, so it is signed."""
    service = policed.serve()
    policed.send(policed.admit(service))
    above = Question(service, CAP // 10**15 + 1)
    assert policed.check(above).call() == [KEY.address, False]
    refused(policed.check(Question(service), signed=above).call, "NotAdmitted(bytes32,address)")


def test_admit__key_of_another_model__is_refused(policed):
    service = policed.serve(model=keccak(b"another model"))
    refused(policed.admit(service).call, "WrongModel(bytes32,bytes32)")


def test_admit__dev_key_where_real_code_is_believed__is_refused(policed):
    """The same registers: the kind of evidence is part of a measurement."""
    service = policed.serve(measurements=(measurement_id(policed.tee.quote(REPORT_DATA)),))
    refused(policed.admit(service).call, "UnknownMeasurement(bytes32)")


def test_shrink__whatever_the_guardian_does_after__nothing_comes_back(policed):
    service = policed.serve()
    measurement, platform = policed.details[1], policed.details[2]
    policed.send(policed.admit(service))
    policed.send(policed.shrink(service, [measurement, platform], CAP // 2, GRACE_CAP // 2))
    refused(policed.check(Question(service)).call, "NotAdmitted(bytes32,address)")
    refused(policed.shrink(service, [], CAP, GRACE_CAP // 2).call, "OnlyShrinks(bytes32)")
    refused(policed.shrink(service, [], CAP // 2, GRACE_CAP).call, "OnlyShrinks(bytes32)")
    for ids in ([], [measurement], [platform, measurement]):
        policed.send(policed.shrink(service, ids, CAP // 2, GRACE_CAP // 2))
        believed = policed.keys.functions.isBelieved
        assert not believed(service, measurement).call()
        assert not believed(service, platform).call()
        refused(policed.admit(service).call, "UnknownMeasurement(bytes32)")


WRITERS = {
    "AttestedAnswers": {"adopt", "register", "revoke", "admit", "shrink"},
    "DcapVerifier": set(),
    "DcapCollateral": {"postCertificate", "postCrl", "postTcbInfo", "postQeIdentity"},
}


@pytest.mark.parametrize("name", WRITERS)
def test_contract__functions_that_change_it__are_these_alone(name):
    """No owner, no pause, no way to add a measurement or to change a root."""
    functions = [entry for entry in artifact(name)["abi"] if entry["type"] == "function"]
    assert {f["name"] for f in functions if f["stateMutability"] not in ("view", "pure")} == WRITERS[name]
    assert not any(entry["type"] in ("fallback", "receive") for entry in artifact(name)["abi"])


# STALE DOCUMENTS

DOCUMENTS = {"the root's list": 2, "the authority's list": 3, "the TCB info": 4, "the identity": 5}
SHORT = replace(HONEST, until=NOW + DAY)


class Stale(Policed):
    """Where one document ends before all others."""

    def __init__(self, chain: Anvil, document: int) -> None:
        self._document = document
        super().__init__(chain)

    def post(self, tee: DevTee | None = None, *, again: bool = False) -> None:
        quote = HONEST.quote(REPORT_DATA)
        for number, each in enumerate(HONEST.collateral().postings(quote)):
            posting = SHORT.collateral().postings(quote)[number] if number == self._document else each
            self.send(self.collateral.functions[posting.function](*posting.arguments))


@pytest.mark.parametrize("stale", DOCUMENTS)
def test_key__one_document_behind_it_goes_stale__dies_with_it_and_none_is_made(chain, stale):
    """Nobody has to say so, and whoever asks is told no: nothing reverts that must not."""
    keys = Stale(chain, DOCUMENTS[stale])
    service = keys.serve()
    keys.send(keys.admit(service))
    is_active = keys.keys.functions.isActive(KEY.address, keys.details)
    is_admitted = keys.keys.functions.isAdmitted(service, KEY.address)
    keys.set_clock(SHORT.until - 1)
    assert is_active.call()
    assert is_admitted.call()
    keys.set_clock(SHORT.until)
    assert not is_active.call()
    assert not is_admitted.call()
    refused(keys.check(Question(service)).call, "NotAdmitted(bytes32,address)")
    registration = keys.registration()
    call = keys.registering(registration, keys.evidence(registration))
    refused(call.call, "DocumentOutsideValidity(uint40,uint40)")


def test_stands__what_nobody_posted__is_false_and_never_reverts(chain):
    bench = Bench(chain)
    bench.post()
    credential = bench.verify()[3]
    stands = bench.verifier.functions.stands
    assert stands(credential).call()
    others = [bytes(32), b"\xff" * 32, credential[:31] + b"\1", credential[:27] + bytes(5), keccak(b"x")]
    assert not any(stands(other).call() for other in others)


# GPUS OF SOMEBODY ELSE


def test_gpus__appraised_for_another_guest__are_refused():
    """A host that relays evidence from a sealed machine: the nonce is of the key that was made in this guest."""
    source = DevSource(MACHINE)
    here, there = (Enclave(None, None, MACHINE, source, NOBODY) for _ in range(2))
    own, borrowed = here.gpu_nonce(MODEL), there.gpu_nonce(MODEL)
    assert here.gpu_nonce(MODEL) == own, "one key for a guest, as long as the process lives"
    assert gate(Double({}).appraise(own), own, USES)
    with pytest.raises(GpuRefused, match="GPU 0: the claim eat_nonce"):
        gate(Double({}).appraise(borrowed), own, USES)


# THE TABLE


def rows() -> dict[str, list[tuple[str, str]]]:
    """Threats of docs/security.md by number: files, and tests in them."""
    found: dict[str, list[tuple[str, str]]] = {}
    for number, tests in re.findall(r"^\| (T\d+) \|.*\| ([^|]*) \|$", SECURITY.read_text(), re.MULTILINE):
        file, found[number] = "", []
        for name in re.findall(r"`([\w/]+\.py)`|(test_\w+)", tests):
            if name[0]:
                file = name[0]
            else:
                found[number].append((file, name[1]))
    return found


def test_table__of_threats__names_tests_that_exist_for_each():
    table = rows()
    assert list(table) == [f"T{number}" for number in range(1, len(table) + 1)]
    assert len(table) >= 16
    for number, tests in table.items():
        assert tests, number
        for file, name in tests:
            text = Path(ROOT, file).read_text()
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{number}: {file} has no {name}"
