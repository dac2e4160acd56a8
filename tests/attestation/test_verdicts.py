"""One verdict: the contract, Python and `dcap-qvl` on generated documents and quotes, and on changes to them.

Each case is a set of documents under a number of its own, a machine, and quotes that are signed properly whatever they
say, or changed after. `DIDYMA_VERDICTS` says how many cases; CI takes a seeded share, `make prove` the rest.
"""

import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, replace
from functools import cached_property
from typing import Any

import dcap_qvl
import pytest
from attestation.samples import SAMPLES, path
from attestation.test_attested_keys import ENGINE, MODEL, Keys
from attestation.test_dev_tee import DAY, HONEST, NOW, REPORT_DATA
from attestation.test_threats import DevSgx
from cryptography.hazmat.primitives.serialization import Encoding
from disputes.stand import deploy
from eth_account import Account
from rig.anvil import CHAIN_ID, Anvil, anvil
from web3.exceptions import ContractLogicError

from oracle.attestation import tcb
from oracle.attestation.collateral import Collateral
from oracle.attestation.dev import SEALED, DevTee, Level
from oracle.attestation.identity import measurement_id
from oracle.attestation.quote import INTEL_QE_VENDOR, TDX15_BODY, Quote
from oracle.attestation.tcb import STATUSES, Flag
from oracle.attestation.verifier import Policy, Verdict, objection, verify
from oracle.chain.services import Policy as ServicePolicy
from oracle.chain.services import Terms
from oracle.errors import BadQuote, EvidenceRefused

CASES = int(os.environ.get("DIDYMA_VERDICTS", "40"))
SEED = int(os.environ.get("DIDYMA_SEED", "1"))
QUOTES = 16
"""Of each case."""
FIRST_NUMBER = 100
UNLISTABLE = 2**128 - 1
SVNS = (3, 5, 7, 9)
GAS = {"gas": 16_000_000}


class Machine(DevTee):
    """Of a fleet: the certificate tells its version, and so has a serial and a key of its own."""

    @cached_property
    def platform(self) -> Any:
        return self._certificate(
            "Didyma Dev PCK Certificate", self._own, "Didyma Dev PCK Platform CA", "authority", sgx=self._sgx()
        )

    @property
    def _own(self) -> str:
        return f"platform {self.svn}"

    def _sign(self, name: str, data: bytes) -> bytes:
        return super()._sign(self._own if name == "platform" else name, data)


class SgxMachine(DevSgx, Machine):
    """The same with enclaves."""


@dataclass(frozen=True)
class Said:
    """A verdict. Nothing but `refusal` counts if there is one; refusals are told in different words."""

    refusal: str = ""
    flags: int = 0
    advisories: frozenset[int] | None = frozenset()
    """None: unlistable."""

    def agrees(self, other: "Said") -> bool:
        return bool(self.refusal) == bool(other.refusal) and (
            bool(self.refusal) or (self.flags, self.advisories) == (other.flags, other.advisories)
        )


# WHAT IS GENERATED


def levels(chance: random.Random, tops: tuple[int, ...], names: tuple[str, ...], listed: bool) -> tuple[Level, ...]:
    """Newest first; mostly there is one that covers all. listed: whether there are advisories."""
    versions = {chance.choice(tops) for _ in range(chance.randint(1, 4))} | ({0} if chance.random() < 0.8 else set())
    return tuple(
        Level(version, status(chance, names), advisories(chance) if listed else ())
        for version in sorted(versions, reverse=True)
    )


def status(chance: random.Random, names: tuple[str, ...]) -> str:
    return "UpToDate" if chance.random() < 0.4 else chance.choice(names)


def advisories(chance: random.Random) -> tuple[str, ...]:
    count = chance.choice((0, 0, 1, 2, 8, 9))
    return tuple(f"INTEL-SA-{number:05}" for number in chance.sample(range(1, 13), count))


ALL_NAMES = tuple(name for name in STATUSES if name != "Revoked")
PLAIN_NAMES = ("UpToDate", "OutOfDate", "OutOfDate", "Revoked")
"""What the vendor says of modules and quoting enclaves."""


def machine(chance: random.Random, number: int) -> Machine:
    """With documents such as the vendor writes."""
    is_sgx = chance.random() < 0.2
    tops, names = (1, 3, 4, 5, 6, 7, 9), ALL_NAMES + (("Revoked",) if chance.random() < 0.3 else ())
    apart = [version for version in (1, 3) if chance.random() < 0.7 and not is_sgx]
    kind = SgxMachine if is_sgx else Machine
    return kind(
        HONEST.since,
        HONEST.until,
        svn=chance.choice(SVNS),
        number=number,
        levels=levels(chance, tops, names, listed=True),
        qe_levels=levels(chance, (1, 2, 3, 4), PLAIN_NAMES, listed=False),
        modules={version: levels(chance, tops, PLAIN_NAMES, listed=False) for version in apart},
        attributes=b"\5" + bytes(15) if is_sgx else SEALED,
    )


def tee_svn(chance: random.Random, tee: Machine) -> bytes:
    """Of a module: like the machine, near it, or of another version."""
    found = bytearray([tee.svn, chance.choice((0, 0, 0, 1, 3, 4)), *[tee.svn] * 14])
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        found[chance.choice((0, 2, 3, 15))] = chance.choice((0, 1, 3, 4, 5, 6, 9, 255))
    return bytes(found)


def signed(chance: random.Random, tee: Machine) -> bytes:
    """Header and body as the machine makes them."""
    if isinstance(tee, SgxMachine):
        return tee.quote(REPORT_DATA).signed
    body = replace(tee, body={"module": tee_svn(chance, tee)})._report(REPORT_DATA)
    header = b"\0\2\0\x81\0\0\0" + bytes(4) + INTEL_QE_VENDOR + bytes(20)
    if chance.random() < 0.5:
        return b"\4" + header + body
    running = body[:16] if chance.random() < 0.4 else tee_svn(chance, tee)
    return b"\5" + header + TDX15_BODY + body + running + bytes(48)


# Each changes a quote, or what it signs; sound ones stay sound. They sign again, as only the machine can.
Change = Callable[[random.Random, Machine, Quote], Quote]


def resigned(tee: Machine, quote: Quote, new: bytes) -> Quote:
    # DevTee's own: the class of enclaves has another body.
    made = DevTee.signed_quote(tee, new)
    return replace(made, qe_report=quote.qe_report, qe_signature=quote.qe_signature)


def flipped(chance: random.Random, data: bytes, at: int) -> bytes:
    found = bytearray(data)
    found[at] ^= 1 << chance.randint(0, 7)
    return bytes(found)


def body_at(quote: Quote) -> int:
    return 54 if quote.version == 5 else 48


def attributes(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    """Debugging, migration, reserved bits and all others."""
    at = body_at(quote) + (48 if quote.version == 3 else 120)
    return resigned(tee, quote, flipped(chance, quote.signed, at + chance.randint(0, 7)))


def seam(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    at = body_at(quote) + 64 + chance.randint(0, 55)
    return resigned(tee, quote, flipped(chance, quote.signed, at))


def service_domain(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    return resigned(tee, quote, flipped(chance, quote.signed, -1 - chance.randint(0, 47)))


def register(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    """Measured, and free."""
    at = body_at(quote) + (64 if quote.version == 3 else 128) + chance.randint(0, 31)
    return resigned(tee, quote, flipped(chance, quote.signed, at))


def header(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    """Version, types, vendor: and the bytes between, which mean nothing."""
    at = chance.choice((0, 2, 4, 5, 8, 9, 10, 12, 20, 27, 28, 47))
    return resigned(tee, quote, flipped(chance, quote.signed, at))


def other_body(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    """Version 5 around a report of TDX 1.0, or of another length than it says."""
    report = DevTee._report(replace(tee, attributes=SEALED), REPORT_DATA)
    head = b"\5\0\2\0\x81\0\0\0" + quote.signed[8:48]
    kinds = ((2, 584, report), (3, 584, report), (2, 648, report + bytes(64)), (4, 648, report + bytes(64)))
    kind, length, body = chance.choice(kinds)
    return resigned(tee, quote, head + kind.to_bytes(2, "little") + length.to_bytes(4, "little") + body)


def qe(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    """The quoting enclave's report, properly signed: its versions, identity, hash of the key and what follows that."""
    at = chance.choice((0, 16, 19, 48, 49, 63, 64, 100, 128, 159, 256, 257, 258, 259, 320, 351, 352, 383))
    report = flipped(chance, quote.qe_report, at)
    return replace(quote, qe_report=report, qe_signature=tee._sign("platform", report))


def qe_version(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    report = (
        quote.qe_report[:258] + chance.choice((0, 1, 2, 3, 4, 5, 300)).to_bytes(2, "little") + quote.qe_report[260:]
    )
    return replace(quote, qe_report=report, qe_signature=tee._sign("platform", report))


def any_bit(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    """Which nobody has signed."""
    part = chance.choice(("signed", "signature", "key", "qe_report", "qe_signature", "auth"))
    data = getattr(quote, part)
    return replace(quote, **{part: flipped(chance, data, chance.randrange(len(data)))})


def nothing(chance: random.Random, tee: Machine, quote: Quote) -> Quote:
    return quote


TDX_CHANGES: list[Change] = [
    service_domain,
    nothing,
    nothing,
    nothing,
    attributes,
    seam,
    register,
    header,
    other_body,
    qe,
    qe_version,
    any_bit,
]
SGX_CHANGES: list[Change] = [nothing, nothing, attributes, register, header, qe, qe_version, any_bit]
ENDINGS = {"": b"", "zeros": bytes(7), "a byte": b"x", "one zero": b"\0"}


# WHO JUDGES


class Court(Keys):
    """The contract, with the documents of all cases, each under its number."""

    def __init__(self, chain: Anvil) -> None:
        super().__init__(chain)
        self.keys = deploy(self.w3, "AttestedAnswers", self.w3.eth.default_account, self.verifier.address)
        for svn in SVNS:
            own = Machine(HONEST.since, HONEST.until, svn=svn)
            (*_, certificate) = own.collateral().postings(own.quote(REPORT_DATA))
            self.send(self.collateral.functions.postCertificate(*certificate.arguments))

    def send(self, call: Any) -> Any:
        receipt = self.w3.eth.wait_for_transaction_receipt(call.transact(GAS))
        assert receipt["status"] == 1
        return receipt

    def publish(self, tee: Machine) -> None:
        for posting in tee.collateral().postings(tee.quote(REPORT_DATA)):
            if posting.function in ("postTcbInfo", "postQeIdentity"):
                self.send(self.collateral.functions[posting.function](*posting.arguments))

    def says(self, evidence: bytes, number: int) -> Said:
        try:
            found = self.verifier.functions.verify(evidence, number).call(GAS)
        except ContractLogicError as error:
            return Said(refusal=str(error.data))
        lanes = frozenset({found[6] >> 16 * n & 0xFFFF for n in range(8)} - {0})
        return Said(flags=found[9], advisories=None if found[6] == UNLISTABLE else lanes)


def python_says(raw: bytes, collateral: Collateral, root: Any) -> tuple[Said, Verdict | None]:
    try:
        verdict = verify(Quote.parse(raw), collateral, NOW, root)
    except (BadQuote, EvidenceRefused) as error:
        return Said(refusal=str(error)), None
    level = verdict.level
    return Said(flags=int(level.flags), advisories=None if level.is_unlistable else level.advisories), verdict


def library_says(raw: bytes, collateral: Collateral, root: Any) -> tuple[str, list[str]] | str:
    """Status and advisories, or why not."""
    documents, der = dcap_qvl.QuoteCollateralV3(**vars(collateral)), root.public_bytes(Encoding.DER)
    try:
        found = dcap_qvl.verify_with_root_ca(raw, documents, der, NOW)
    except ValueError as error:
        return " ".join(str(error).split())
    return found.status, list(found.advisory_ids)


LAX = (
    "the domain's attributes are",
    "the quoting enclave's report data say more",
    "the enclave is not initialised",
    "another body than TDX 1.5's",
    "bytes follow the quote",
)
"""What the library lets pass and contract and Python refuse: it takes TDX 1.0's report in version 5 and bytes after the
quote, compares half of the report data, and leaves some attributes to a policy."""


RELAUNCH = ("TDRelaunchAdvised", "TDRelaunchAdvisedConfigurationNeeded")
"""What launched the domain is behind, what runs now is not: the library's milder words. It is behind all the same."""


# THE COMPARISON


@pytest.fixture(scope="module")
def court() -> Iterator[Court]:
    with anvil("--timestamp", str(NOW - 100)) as chain:
        chain.rpc("evm_setAutomine", True)
        made = Court(chain)
        chain.rpc("evm_setNextBlockTimestamp", NOW)
        chain.mine()
        yield made


def test_verdicts__of_contract_python_and_library__are_the_same(court):
    chance, endings = random.Random(SEED), Counter[str]()
    for case in range(CASES):
        tee = machine(chance, FIRST_NUMBER + case)
        court.publish(tee)
        collateral = tee.collateral()
        changes = SGX_CHANGES if isinstance(tee, SgxMachine) else TDX_CHANGES
        for _ in range(QUOTES):
            change = chance.choice(changes)
            quote = change(chance, tee, DevTee.signed_quote(tee, signed(chance, tee)))
            if change is service_domain and quote.version != 5:
                continue
            ending = chance.choice(list(ENDINGS)) if chance.random() < 0.1 else ""
            told = f"case {case} of seed {SEED}: {change.__name__}, ending in {ending or 'nothing'}"
            compare(court, tee, quote, collateral, ENDINGS[ending], told, endings)
    print(dict(sorted(endings.items())))
    for name in ("accepted", "refused by all", "laxer", "out of date", "unlistable", "second module"):
        assert endings[name], f"no case was {name}"


def compare(
    court: Court, tee: Machine, quote: Quote, collateral: Collateral, ending: bytes, told: str, endings: Counter[str]
) -> None:
    evidence = quote.evidence(collateral.credential(tee.quote(REPORT_DATA))) + ending
    raw = quote.raw + ending
    chain = court.says(evidence, tee.number)
    python, verdict = python_says(raw, collateral, tee.root)
    assert python.agrees(chain), f"{told}: {chain} on chain, {python} in Python"
    library = library_says(raw, collateral, tee.root)
    if verdict is None:
        if isinstance(library, str):
            endings["refused by all"] += 1
        else:
            assert any(reason in python.refusal for reason in LAX), f"{told}: {python.refusal}; {library}"
            endings["laxer"] += 1
        return
    assert not isinstance(library, str), f"{told}: {python}; {library}"
    first = launched(tee, quote, collateral)
    same = first.flags & Flag.OUT_OF_DATE if library[0] in RELAUNCH else library[0] == first.status
    assert same, f"{told}: {library} by the library, {first} in Python"
    assert {f"INTEL-SA-{number:05}" for number in first.advisories} <= set(library[1]), told
    endings["relaunch"] += library[0] in RELAUNCH
    endings["accepted"] += 1
    endings["out of date"] += python.flags & 1
    endings["unlistable"] += chain.advisories is None
    endings["second module"] += len(set(quote.module_svns)) > 1


def launched(tee: Machine, quote: Quote, collateral: Collateral) -> tcb.Level:
    """The verdict without the module that runs now: of that, the library's status asks no more than some level."""
    qe_svn = int.from_bytes(quote.qe_report[258:260], "little")
    parts = tcb.Parts(bytes([tee.svn] * 16), 11, qe_svn, quote.module_svns[:1])
    return tcb.judge(json.loads(collateral.tcb_info), json.loads(collateral.qe_identity), parts)


# POLICIES


RULES = ("the least that counts", "a configuration that no quote shows", "with a grace of", "open to")
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"accepts_configuration": True},
    {"accepts_configuration": True, "advisories": tuple(range(1, 13))},
    {"advisories": (1, 2, 3, 4, 5, 6), "grace_seconds": 30 * DAY},
    {"accepts_configuration": True, "advisories": tuple(range(1, 13)), "grace_seconds": 30 * DAY},
    {"accepts_configuration": True, "advisories": tuple(range(1, 13)), "grace_seconds": 3_600},
)


def test_policies__of_services__accept_what_python_says_that_they_do(court):
    """One rule about what is wrong with a platform: number, configuration, advisories, grace."""
    chance, endings = random.Random(SEED + 1), Counter[str]()
    number = FIRST_NUMBER + CASES
    for case in range(max(40, CASES // 2)):
        tee = machine(chance, number + case)
        court.publish(tee)
        quote = DevTee.signed_quote(tee, signed(chance, tee))
        _, verdict = python_says(quote.raw, tee.collateral(), tee.root)
        if verdict is None:
            continue
        if chance.random() < 0.5:
            court.chain.rpc("evm_increaseTime", 2 * 3_600)
            court.chain.mine()
        key = Account.create()
        registration = court.registration(signer=key.address, evaluation=tee.number)
        block = bytes(court.w3.eth.get_block(registration.challenge_block)["hash"])
        report_data = registration.binding(CHAIN_ID, court.keys.address, block) + bytes(32)
        own = DevTee.signed_quote(tee, quote.signed.replace(REPORT_DATA, report_data))
        evidence = own.evidence(tee.collateral().credential(tee.quote(REPORT_DATA)))
        receipt = court.send(court.registering(registration, evidence, key))
        (event,) = court.keys.events.KeyRegistered().process_receipt(receipt)
        details = tuple(event["args"]["details"].values())
        since = court.collateral.functions.evaluationSince(tee.number).call()
        for asked in POLICIES:
            policy = Policy(**{**asked, "least_evaluation": tee.number + (chance.random() < 0.1)})
            service = adopted(court, policy, measurement_id(own, is_dev=True))
            now = court.w3.eth.get_block("latest")["timestamp"]
            reason = objection(verdict, now, policy, since)
            call = court.keys.functions.admit(service, key.address, details)
            try:
                call.call(GAS)
                accepted = True
            except ContractLogicError:
                accepted = False
            assert accepted == (reason is None), f"case {case} of seed {SEED}: {asked}, {verdict.level}: {reason}"
            endings["accepted" if accepted else next(rule for rule in RULES if rule in str(reason))] += 1
    print(dict(endings))
    assert endings["accepted"] > 10
    assert all(endings[rule] for rule in RULES), "every rule refused something"


def adopted(court: Court, policy: Policy, measurement: bytes) -> bytes:
    """A service with that policy."""
    nobody = "0x" + "00" * 20
    encoded = ServicePolicy(
        guardian=nobody,  # type: ignore[arg-type]
        engine_id=ENGINE,
        accepts_configuration=policy.accepts_configuration,
        least_evaluation=policy.least_evaluation,
        grace_seconds=policy.grace_seconds,
        grace_cap_wei=0,
        advisories=policy.advisories,
        measurements=(measurement,),
        platforms=(),
    ).encoded()
    terms = Terms(MODEL, nobody, b"", court.keys.address, encoded, *(0 for _ in range(12)), value_cap_wei=1)  # type: ignore[arg-type]
    court.send(court.keys.functions.adopt(terms.service_id(), astuple(terms)))
    return terms.service_id()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_verify__real_quotes_in_python__have_the_flags_that_they_have_on_chain(sample):
    quote = Quote.parse(path(sample.quote).read_bytes())
    collateral = Collateral.from_json(path(sample.collateral).read_text())
    verdict = verify(quote, collateral, sample.time)
    assert verdict.level.flags == sample.flags
    assert verdict.level.status == sample.status
    assert verdict.evaluation == collateral.evaluation
