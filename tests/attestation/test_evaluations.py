"""Several TCB evaluations at once, and what a stranger can do with them; signers and lists that are revoked and long.

Intel signs old and new evaluations on one day, and anyone may post any of them. Numbers: 17 finds the machine up to
date, 18 does not.
"""

import random
from dataclasses import replace
from typing import Any

import pytest
from attestation.test_attested_keys import KEY, Keys
from attestation.test_dcap import ORDER
from attestation.test_dev_tee import DAY, HONEST, NOW, OUT_OF_DATE, REPORT_DATA, Bench
from attestation.test_dev_tee import refused as refused_as
from attestation.test_keeper import by_next_signer, pem
from attestation.test_threats import GRACE_CAP, Policed, Question
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from disputes.stand import refused
from eth_account import Account
from eth_hash.auto import keccak
from rig.anvil import CHAIN_ID, Anvil

from oracle.attestation.collateral import MOST_ENTRIES, ROOT, Collateral, Posting, certificate_id, crl_digest
from oracle.attestation.dev import ROOT_NAME, DevTee, Level, _element
from oracle.attestation.verifier import verify
from oracle.errors import EvidenceRefused

UP_TO_DATE, BEHIND = (Level(5),), (Level(6), Level(5, "OutOfDate"))
NEWER = replace(HONEST, number=18, levels=BEHIND, seconds_issued=10)
QUOTE = HONEST.quote(REPORT_DATA)
SIGNER, AUTHORITY = (
    certificate_id(ROOT, HONEST.collateral().signer),
    certificate_id(ROOT, HONEST.collateral().authority),
)
UNLISTABLE = 2**128 - 1


@pytest.fixture
def policed(chain: Anvil) -> Policed:
    """With a key that is registered under 17."""
    return Policed(chain)


def documents(collateral: Collateral, function: str) -> Posting:
    (found,) = [posting for posting in collateral.postings(QUOTE) if posting.function == function]
    return found


def post(bench: Bench, *postings: Posting) -> list[int]:
    """Gas of each."""
    used = []
    for posting in postings:
        call = bench.collateral.functions[posting.function](*posting.arguments)
        call.call({"gas": 16_000_000})
        receipt = bench.w3.eth.wait_for_transaction_receipt(call.transact({"gas": 16_000_000}))
        assert receipt["status"] == 1
        used.append(receipt["gasUsed"])
    return used


def tcb(tee: DevTee) -> Posting:
    return documents(tee.collateral(), "postTcbInfo")


def identity(tee: DevTee) -> Posting:
    return documents(tee.collateral(), "postQeIdentity")


def counts(policed: Policed, service: bytes) -> bool:
    """Whether an answer by the key is taken, by both questions that can be asked."""
    admitted = policed.keys.functions.isAdmitted(service, KEY.address).call()
    if admitted:
        assert policed.check(Question(service)).call()[0] == KEY.address
    else:
        refused_as(policed.check(Question(service)).call, "NotAdmitted(bytes32,address)")
    return bool(admitted)


# WHAT A STRANGER POSTS BREAKS NOTHING


def test_key__stranger_posts_the_tcb_info_of_a_newer_evaluation_alone__goes_on(policed):
    """It says that the machine is behind; the service and the key are on the number that they were on."""
    service = policed.serve()
    policed.send(policed.admit(service))
    post(policed, tcb(NEWER))
    assert policed.active(policed.details)
    assert counts(policed, service)
    assert policed.check(Question(service)).call() == [KEY.address, True]
    again, _ = policed.register()
    assert again == policed.details
    policed.send(policed.admit(service))
    assert counts(policed, service)


@pytest.mark.parametrize("seed", range(3))
def test_post__oldest_valid_documents_of_every_number_in_any_order__change_nothing(policed, seed):
    """A stranger's day: numbers 13 to 22, TCB infos and identities, each as old as the chain still takes them."""
    service = policed.serve()
    policed.send(policed.admit(service))
    generation, found = policed.collateral.functions.generation().call(), policed.verify()
    wanted = []
    for number in (*range(13, 17), *range(18, 23)):
        worse = (Level(5, "Revoked"),) if number % 3 == 0 else BEHIND if number % 2 else UP_TO_DATE
        other = replace(HONEST, number=number, levels=worse, qe_levels=worse, seconds_issued=0)
        wanted += [tcb(other), identity(other)]
    random.Random(seed).shuffle(wanted)
    for posting in wanted:
        post(policed, posting)
        assert policed.verify() == found
        assert counts(policed, service)
    assert policed.collateral.functions.generation().call() == generation
    again, _ = policed.register()
    assert again == policed.details


def test_register__relayed_under_another_evaluation__is_refused(policed):
    """Whoever relays a registration could choose the number that condemns the machine, or one that nobody takes."""
    policed.post(NEWER, again=True)
    registration = policed.registration()
    evidence = policed.evidence(registration)
    relayed = replace(registration, evaluation=18)
    signature = registration.signed(KEY, CHAIN_ID, policed.keys.address)
    call = policed.keys.functions.register(relayed.words, evidence, signature)
    with pytest.raises(Exception, match=keccak(b"WrongSigner(address,address)")[:4].hex()):
        call.call()


@pytest.mark.parametrize(
    ("there", "missing"),
    [(tcb, "QeIdentityMissing(uint8,uint16)"), (identity, "TcbInfoMissing(uint8,bytes6,uint16,uint16)")],
)
def test_register__under_a_number_with_one_document_alone__is_refused(policed, there, missing):
    post(policed, there(NEWER))
    registration = policed.registration(evaluation=18)
    refused_as(policed.registering(registration, policed.evidence(registration, NEWER)).call, missing)


# THE LEAST NUMBER OF A SERVICE


def test_admit__judged_by_an_older_evaluation_than_the_service_takes__is_refused(policed):
    """Freshly signed, it finds nothing wrong; the service knows that another does."""
    policed.post(NEWER, again=True)
    service = policed.serve(least_evaluation=18, grace_seconds=0)
    refused(policed.admit(service), "EvaluationTooOld(uint16,uint16)", 17, 18)
    policed.details, _ = policed.register(NEWER)
    assert policed.details[8] == OUT_OF_DATE
    refused_as(policed.admit(service).call, "UnacceptablePlatform(uint8,uint128,uint40)")


def test_admit__two_services_with_different_numbers__each_takes_its_own_key(policed):
    """The stricter service has no say in what the other takes."""
    policed.post(NEWER, again=True)
    old, new = policed.serve(grace_seconds=0), policed.serve(least_evaluation=18)
    policed.send(policed.admit(old))
    refused(policed.admit(new), "EvaluationTooOld(uint16,uint16)", 17, 18)

    other = Account.from_key(keccak(b"made inside, for the stricter"))
    registration = policed.registration(signer=other.address, evaluation=18)
    policed.send(policed.registering(registration, policed.evidence(registration, NEWER), other))
    since = policed.collateral.functions.evaluationSince(18).call()
    details = (*policed.details[:7], since, OUT_OF_DATE)
    policed.send(policed.keys.functions.admit(new, other.address, details))
    refused_as(
        policed.keys.functions.admit(old, other.address, details).call, "UnacceptablePlatform(uint8,uint128,uint40)"
    )
    assert policed.keys.functions.isAdmitted(new, other.address).call()
    assert counts(policed, old)
    assert not policed.keys.functions.isAdmitted(new, KEY.address).call()


def test_shrink__number_raised_while_a_key_is_half_admitted__asks_for_another_registration(policed):
    """Registered and not admitted yet, or admitted: the number counts from that block on."""
    policed.post(NEWER, again=True)
    service = policed.serve()
    policed.send(policed.shrink(service, [], least=18))
    assert policed.keys.functions.leastEvaluationOf(service).call() == 18
    refused(policed.admit(service), "EvaluationTooOld(uint16,uint16)", 17, 18)
    policed.details, _ = policed.register(NEWER)
    policed.send(policed.admit(service))
    assert counts(policed, service)
    policed.send(policed.shrink(service, [], least=19))
    assert not counts(policed, service)
    refused(policed.admit(service), "EvaluationTooOld(uint16,uint16)", 18, 19)


def test_shrink__number_lowered__is_refused_whoever_asks(policed):
    service = policed.serve(least_evaluation=18)
    for least in (17, 0):
        refused_as(policed.shrink(service, [], least=least).call, "OnlyShrinks(bytes32)")
        stranger = {"from": policed.relay}
        with pytest.raises(Exception, match=keccak(b"NotGuardian(bytes32,address)")[:4].hex()):
            policed.shrink(service, [], least=least).call(stranger)
    policed.send(policed.shrink(service, [], least=18))
    assert policed.keys.functions.leastEvaluationOf(service).call() == 18


def test_shrink__caps_alone__leaves_the_number(policed):
    service = policed.serve(least_evaluation=18)
    policed.send(policed.shrink(service, [], 0, 0, 18))
    assert policed.keys.functions.leastEvaluationOf(service).call() == 18
    assert policed.keys.functions.leastEvaluationOf(bytes(32)).call() == 0


# GRACE


def test_grace__counts_from_when_the_number_first_stood_on_chain__whatever_dates_the_vendor_gives(policed):
    """Eleven months lie between the vendor's date and the day on which a number becomes its standard."""
    long_ago = (Level(6, date=NOW - 330 * DAY), Level(5, "OutOfDate", date=NOW - 700 * DAY))
    newer = replace(NEWER, levels=long_ago)
    service = policed.serve(grace_seconds=3 * DAY)
    policed.set_clock(NOW + DAY)
    post(policed, identity(newer))
    since = policed.w3.eth.get_block("latest")["timestamp"]
    policed.set_clock(NOW + 2 * DAY)
    post(policed, tcb(newer))
    reissued = replace(newer, seconds_issued=2 * DAY - 600)
    post(policed, tcb(reissued), identity(reissued))
    assert policed.collateral.functions.evaluationSince(18).call() == since, (
        "the first document counts, and no later one"
    )
    policed.details, _ = policed.register(reissued)
    assert policed.details[7] == since
    policed.send(policed.admit(service))
    assert policed.check(Question(service, GRACE_CAP // 10**15)).call() == [KEY.address, True]
    policed.set_clock(since + 3 * DAY - 1)
    assert counts(policed, service)
    policed.set_clock(since + 3 * DAY)
    assert not counts(policed, service)
    policed.details, _ = policed.register(reissued)
    refused_as(policed.admit(service).call, "UnacceptablePlatform(uint8,uint128,uint40)")


# WHAT RUNS NOW: THE SECOND TCB OF TDX 1.5


def svns(*first: int, rest: int = 5) -> bytes:
    return bytes(first) + bytes([rest]) * (16 - len(first))


MODULES = {3: (Level(7), Level(4, "OutOfDate"))}
EIGHT = tuple(f"INTEL-SA-{number:05}" for number in range(1, 9))
LEVELS = (
    Level(9),
    Level(7, "SWHardeningNeeded", (*EIGHT[:7], "INTEL-SA-00100")),
    Level(5, "SWHardeningNeeded", EIGHT),
    Level(4, "ConfigurationNeeded", ("INTEL-SA-00004",)),
    Level(3, "SWHardeningNeeded", ("INTEL-SA-00003",)),
    Level(2, "Revoked"),
)
SECOND = {
    "the same": (5, svns(5, 0), 4, EIGHT),
    "newer": (9, svns(9, 0, rest=9), 0, ()),
    "older": (9, svns(3, 0, rest=3), 4, EIGHT[2:3]),
    "older in one component": (9, svns(9, 0, 9, 4, rest=9), 2, EIGHT[3:4]),
    "newer than what launched, which counts too": (4, svns(9, 0, rest=9), 2, EIGHT[3:4]),
    "behind in its own version": (9, svns(5, 3, rest=9), OUT_OF_DATE, ()),
    "up to date in its own version": (9, svns(8, 3, rest=9), 0, ()),
    "advisories of both, and more than fit": (7, svns(5, 0), 4, None),
}
REFUSED = {
    "older than all": (9, svns(1, 0, rest=1), "NoTcbLevel()"),
    "all zero": (9, bytes(16), "NoTcbLevel()"),
    "of a version that nobody judged": (9, svns(9, 4, rest=9), "NoTcbLevel()"),
    "older than all of its version": (9, svns(1, 3, rest=9), "NoTcbLevel()"),
    "revoked": (9, svns(2, 0, rest=2), "PlatformRevoked(uint8)"),
}


def tdx15(svn: int, running: bytes) -> DevTee:
    """The processor is as new as can be: the certificate says 9."""

    class New(DevTee):
        def _report(self, report_data: bytes) -> bytes:
            return replace(self, body={"module": bytes([svn, 0, *[svn] * 14])})._plain(report_data)

        def _plain(self, report_data: bytes) -> bytes:
            return super()._report(report_data)

    return New(HONEST.since, HONEST.until, svn=9, levels=LEVELS, modules=MODULES, running=running)


@pytest.mark.parametrize("what", SECOND)
def test_verify__module_that_runs_now__is_judged_as_well(chain, what):
    svn, running, flags, advisories = SECOND[what]
    bench = Bench(chain, tdx15(svn, running))
    bench.post()
    found = bench.verify()
    assert found[9] == flags
    listed = found[6]
    if advisories is None:
        assert listed == UNLISTABLE
    else:
        numbers = {listed >> 16 * n & 0xFFFF for n in range(8)} - {0}
        assert numbers == {int(name.rpartition("-")[2]) for name in advisories}


@pytest.mark.parametrize("what", REFUSED)
def test_verify__module_that_runs_now_matches_no_level__is_refused(chain, what):
    """As Intel's library does."""
    svn, running, error = REFUSED[what]
    bench = Bench(chain, tdx15(svn, running))
    bench.post()
    refused_as(bench.verify, error)


def test_verify__hardening_that_no_advisory_names__is_never_mitigated(chain):
    """No policy can list what nobody names."""
    bench = Bench(chain, replace(HONEST, levels=(Level(5, "SWHardeningNeeded"),)))
    bench.post()
    assert bench.verify()[6] == UNLISTABLE


ODD = ("SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded", "OutOfDateConfigurationNeeded")


@pytest.mark.parametrize("status", ODD)
def test_post__module_or_quoting_enclave_of_a_status_that_none_has__is_refused_by_both(chain, status):
    odd = (Level(9), Level(1, status, ("INTEL-SA-00615",)))
    bench = Bench(chain)
    for part, function in (("modules", "postTcbInfo"), ("qe_levels", "postQeIdentity")):
        tee = replace(HONEST, **{part: {3: odd} if part == "modules" else odd})
        if part == "modules":
            post(bench, *HONEST.collateral().postings(QUOTE)[:2])
        posting = documents(tee.collateral(), function)
        refused_as(bench.collateral.functions[function](*posting.arguments).call, "UnexpectedJson(uint256)")
        with pytest.raises(EvidenceRefused, match=status):
            verify(QUOTE, tee.collateral(), NOW, HONEST.root)


# SIGNERS


def next_signed(tee: DevTee) -> Collateral:
    """All that this one says, signed by another signer of the vendor's."""
    return by_next_signer(tee.collateral(), "tcb_info", "qe_identity")


def root_list(**changes: Any) -> Posting:
    tee = replace(HONEST, **{"seconds_issued": 10, **changes})
    return Posting("postCrl", (ROOT, tee.collateral().root_ca_crl, len(tee.root_revoked)))


def posts_of(collateral: Collateral) -> list[Posting]:
    return [
        Posting("postCertificate", (ROOT, collateral.signer)),
        *(documents(collateral, f) for f in ("postTcbInfo", "postQeIdentity")),
    ]


def test_key__signer_of_the_documents_behind_it_is_revoked__ends_at_once(policed):
    service = policed.serve()
    policed.send(policed.admit(service))
    post(policed, root_list(root_revoked=(HONEST.signer.serial_number,)))
    assert policed.collateral.functions.revokedSigners().call() == 1
    assert not policed.active(policed.details)
    assert not counts(policed, service)
    registration = policed.registration()
    refused_as(policed.registering(registration, policed.evidence(registration)).call, "Revoked(bytes32)")

    post(policed, *posts_of(next_signed(HONEST)))  # of the same date: what the revoked one signed holds no place
    assert not policed.active(policed.details)
    assert not counts(policed, service)
    policed.details, _ = policed.register()
    policed.send(policed.admit(service))
    assert counts(policed, service)


def test_key__documents_issued_anew_by_another_before_the_signer_is_revoked__ends_all_the_same(policed):
    """It was judged by what the revoked signer had said."""
    service = policed.serve()
    policed.send(policed.admit(service))
    post(policed, *posts_of(next_signed(replace(HONEST, seconds_issued=10))))
    assert counts(policed, service)
    post(policed, root_list(root_revoked=(HONEST.signer.serial_number,)))
    assert not policed.active(policed.details)
    assert not counts(policed, service)
    policed.register()
    policed.send(policed.admit(service))
    assert counts(policed, service)


@pytest.mark.parametrize("part", ["tcb_info", "qe_identity"])
def test_key__one_of_two_signers_is_revoked__ends(chain, part):
    """TCB info and identity may have signers of their own."""
    mixed = by_next_signer(HONEST.collateral(), part)
    signer = HONEST._certificate("Didyma Dev TCB Signing 2", "next signer", ROOT_NAME, "root")

    class Mixed(Keys):
        def post(self, tee: DevTee | None = None, *, again: bool = False) -> None:
            own = HONEST.collateral().postings(QUOTE)
            theirs = replace(mixed, tcb_info_issuer_chain=pem(signer, HONEST.root))
            function = {"tcb_info": "postTcbInfo", "qe_identity": "postQeIdentity"}[part]
            others = [each for each in own if each.function != function]
            post(
                self,
                *others[:-1],
                *[p for p in posts_of(theirs) if p.function in ("postCertificate", function)],
                others[-1],
            )

    keys = Mixed(chain)
    details, _ = keys.register()
    assert keys.active(details)
    post(keys, root_list(root_revoked=(signer.serial_number,)))
    assert not keys.active(details)


def test_key__serial_that_nobody_posted_is_revoked__goes_on(policed):
    """It cannot have signed anything here, and never will."""
    service = policed.serve()
    policed.send(policed.admit(service))
    signer = HONEST._certificate("Didyma Dev TCB Signing 2", "next signer", ROOT_NAME, "root")
    post(policed, root_list(root_revoked=(signer.serial_number, 4711)))
    assert policed.collateral.functions.revokedSigners().call() == 0
    assert counts(policed, service)
    late = Posting("postCertificate", (ROOT, next_signed(HONEST).signer))
    refused_as(policed.collateral.functions.postCertificate(*late.arguments).call, "Revoked(bytes32)")


# LONG LISTS


LONG = 1_300
SERIALS = tuple(range(1_000, 1_000 + LONG - 1))


def long_list(seconds_issued: int = 10, last: int = HONEST.platform.serial_number, count: int = LONG) -> DevTee:
    """The last entry is this machine."""
    return replace(HONEST, revoked=(*SERIALS[: count - 1], last), seconds_issued=seconds_issued)


def slices(tee: DevTee) -> list[Posting]:
    return [
        each
        for each in tee.collateral().postings(QUOTE)
        if each.arguments[0] == AUTHORITY and each.function == "postCrl"
    ]


def read_so_far(bench: Bench, tee: DevTee) -> int:
    return int(bench.collateral.functions.crlRead(AUTHORITY, crl_digest(tee.collateral().pck_crl)).call())


def test_post_crl__longer_than_a_transaction_holds__is_read_in_slices(policed):
    service = policed.serve()
    policed.send(policed.admit(service))
    tee = long_list()
    issuer, der, _ = slices(tee)[0].arguments
    dates = policed.collateral.functions.crl(AUTHORITY).call()
    whole = policed.collateral.functions.postCrl(issuer, der, LONG)
    with pytest.raises(Exception, match=r"(?i)gas"):
        whole.call({"gas": 16_777_216})
    assert [each.arguments[2] for each in slices(tee)] == [MOST_ENTRIES, 2 * MOST_ENTRIES, LONG]
    for posting in slices(tee)[:-1]:
        assert max(post(policed, posting)) < 14_000_000
        assert policed.collateral.functions.crl(AUTHORITY).call() == dates, "not yet the list that counts"
        assert counts(policed, service), "its machine is the last entry"
    post(policed, slices(tee)[-1])
    assert policed.collateral.functions.crl(AUTHORITY).call() != dates
    assert not counts(policed, service)
    for serial in (*SERIALS[::211], SERIALS[-1]):
        id_ = policed.collateral.functions.certificateId(AUTHORITY, serial).call()
        assert policed.collateral.functions.certificate(id_).call()[3], serial
    refused_as(policed.collateral.functions.postCrl(issuer, der, LONG).call, "NotNewer(uint40)")


def test_post_crl__slices_twice_or_out_of_order__leave_no_gap(policed):
    """What a slice says is how far the list will have been read: nobody can skip a part."""
    tee = long_list(count=40)
    issuer, der, _ = slices(tee)[0].arguments
    crl = policed.collateral.functions.postCrl
    refused(crl(issuer, der, 0), "AlreadyRead(uint256)", 0)
    policed.send(crl(issuer, der, 30))
    assert read_so_far(policed, tee) == 30
    for until in (0, 10, 30):
        refused(crl(issuer, der, until), "AlreadyRead(uint256)", 30)
    policed.send(crl(issuer, der, 31))
    assert read_so_far(policed, tee) == 31
    policed.send(crl(issuer, der, 10_000))
    for serial in (*SERIALS[:39], HONEST.platform.serial_number):
        id_ = policed.collateral.functions.certificateId(AUTHORITY, serial).call()
        assert policed.collateral.functions.certificate(id_).call()[3], serial


def test_post_crl__slices_of_two_lists_mixed__each_is_read_by_itself(policed):
    """Of the same day: one ends with this machine, the other does not name it."""
    one, two = long_list(count=20), long_list(last=77, count=20, seconds_issued=11)
    crl, ders = policed.collateral.functions.postCrl, [tee.collateral().pck_crl for tee in (one, two)]
    for until in (5, 12, 19):
        for der in ders:
            policed.send(crl(AUTHORITY, der, until))
    assert (read_so_far(policed, one), read_so_far(policed, two)) == (19, 19)
    assert policed.active(policed.details)
    policed.send(crl(AUTHORITY, ders[1], 20))
    assert policed.active(policed.details), "the list that is complete does not name it"
    refused_as(crl(AUTHORITY, ders[0], 20).call, "NotNewer(uint40)")
    newest = long_list(count=20, seconds_issued=12)
    policed.send(crl(AUTHORITY, newest.collateral().pck_crl, 20))
    assert not policed.active(policed.details)


def test_post_crl__list_of_another_issuer_or_changed__is_refused_at_every_slice(policed):
    der = long_list(count=40).collateral().pck_crl
    crl = policed.collateral.functions.postCrl
    policed.send(crl(AUTHORITY, der, 10))
    refused_as(crl(ROOT, der, 20).call, "BadSignature()")
    for at in (len(der) // 2, len(der) - 5):
        changed = der[:at] + bytes([der[at] ^ 1]) + der[at + 1 :]
        with pytest.raises(Exception, match="0x"):
            crl(AUTHORITY, changed, 20).call()
    assert read_so_far(policed, long_list(count=40)) == 10


def with_other_s(der: bytes) -> bytes:
    """ECDSA has two signatures for each, and their encodings may differ in length."""
    crl = x509.load_der_x509_crl(der)
    r, s = decode_dss_signature(crl.signature)
    signature = _element(3, b"\0" + encode_dss_signature(r, ORDER - s))
    return _element(0x30, crl.tbs_certlist_bytes + bytes.fromhex("300a06082a8648ce3d040302") + signature)


def test_post_crl__signature_of_another_length_that_moves_the_entries__leaves_no_gap(policed):
    """At 64 kB the length of the whole takes a byte more: who posts the first slice must not displace the second."""

    def sized(entries: int, last: int) -> bytes:
        """The last but one serial is of so many bytes more than one."""
        revoked = (*(1 << 120 for _ in range(entries)), 1 << 8 * last + 2, 0x55 << 128)
        return replace(HONEST, revoked=revoked, seconds_issued=10).collateral().pck_crl

    entries = (0xFFFF - len(sized(0, 8))) // 35
    for last in range(16):
        der = sized(entries, last)
        other = with_other_s(der)
        if der[1] != other[1]:
            break
    assert {der[1], other[1]} == {0x82, 0x83}, "the lengths of their lengths differ"
    crl = policed.collateral.functions.postCrl
    policed.send(crl(AUTHORITY, other, 1))
    policed.send(crl(AUTHORITY, der, 3))
    policed.send(crl(AUTHORITY, other, 10_000))
    for serial in (1 << 120, 0x55 << 128):
        id_ = policed.collateral.functions.certificateId(AUTHORITY, serial).call()
        assert policed.collateral.functions.certificate(id_).call()[3]
