"""Answers signed by keys inside TEEs: what is final at once, what has a window all the same, and what ends a key."""

from dataclasses import replace

import pytest
from ape import reverts
from eth_account import Account
from eth_utils import keccak
from tee import CAP, DAY, ENGINE, GRACE_CAP, KEY, enclave
from world import ANSWERED, ETHER, FINAL, GWEI, OUTPUT, TOKENS_ROOT, UNDELIVERED, WRONG

from oracle.attestation.attested_answers import signed_answer
from oracle.attestation.dev import Level
from oracle.attestation.private import SEAL_BYTES
from oracle.chain import requests
from oracle.chain.units import NOBODY

FINNEY = 10**15
WEEK = 7 * DAY
NOTHING, REVERT = 0, 1  # deeds of a hostile consumer
STRANGER = Account.from_key(keccak(b"made outside"))


@pytest.fixture
def bare(world, people):
    """Contracts and documents; no service, no key."""
    return enclave(world, people)


@pytest.fixture
def made(bare):
    """A service that believes the machine, and an admitted key."""
    bare.open()
    bare.admit()
    return bare


def admitted(made, key=KEY):
    return made.attester.isAdmitted(made.world.service, key.address)


# FINAL AT ONCE


def test_answer__attested__is_final_paid_and_called_back_at_once(made, world, oracle, people, hostile, lens):
    asked = world.ask_from(hostile, maxTokens=10)
    seats = {seat: world.seat(seat).balanceWei for seat in range(6)}
    answered = made.answer(asked, tokens=4)
    assert oracle.statusOf(asked.id) == FINAL
    assert oracle.isFinal(asked.id, answered.answer)
    assert hostile.callbacks() == 1
    assert bytes(hostile.outputHash()) == keccak(OUTPUT)
    fields = lens.unpackRequest(asked.request)
    paid = fields.feeWei - 6 * fields.tokenPriceWei
    callback = (200_000 + 60_000) * GWEI
    assert world.seat(answered.seat).balanceWei == seats[answered.seat] + paid + callback
    assert world.seat(answered.seat).locks == 0
    assert oracle.credit(hostile) == 6 * fields.tokenPriceWei
    (event,) = oracle.AnswerAttested.from_receipt(answered.receipt)
    assert (event.requestId, event.signer) == (asked.id, KEY.address)


def test_answer__attested__cannot_be_challenged_or_answered_again(made, world, oracle, panel, people):
    answered = made.answer(world.ask())
    with reverts(oracle.WrongStatus, requestId=answered.id, status=FINAL):
        panel.challenge(answered.request, answered.answer, value=ETHER // 10, sender=people.challenger)
    with reverts(oracle.WrongStatus, requestId=answered.id, status=FINAL):
        oracle.answerAttested(
            answered.request,
            OUTPUT,
            2,
            TOKENS_ROOT,
            world.seed(answered.asked),
            made.attestation(answered.asked),
            False,
            sender=people.operators[answered.seat],
        )
    with reverts(oracle.NothingToFinalize):
        world.finalize(answered)


def test_answer__attested_with_a_failing_callback__is_final_and_can_be_retried(made, world, oracle, people, hostile):
    hostile.set(REVERT, sender=people.stranger)
    answered = made.answer(world.ask_from(hostile))
    assert oracle.statusOf(answered.id) == UNDELIVERED
    hostile.set(NOTHING, sender=people.stranger)
    oracle.retryCallback(answered.item, 200_000, sender=people.stranger)
    assert oracle.statusOf(answered.id) == FINAL


def test_answer__attested_with_its_callback_left__is_final_and_its_escrow_waits(made, world, oracle, people, hostile):
    """Before, the operator had to make a callback at any price, or could not answer a private prompt at all."""
    answered = made.answer(world.ask_from(hostile, callbackGas=12_000_000, callbackGasPriceWei=1), leaves=True)
    assert (oracle.statusOf(answered.id), oracle.callbackLeft(answered.id)) == (UNDELIVERED, True)
    assert answered.receipt.gas_used < 250_000
    assert hostile.callbacks() == 0
    (paid,) = oracle.RequestFinalized.from_receipt(answered.receipt)
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] + paid.paidWei
    oracle.retryCallback(answered.item, 12_000_000, sender=people.stranger)
    assert hostile.callbacks() == 1
    assert oracle.credit(people.stranger) == 12_060_000


def test_digest__in_python__is_the_contract_s(made, world):
    asked = world.ask()
    signature = made.attestation(asked)
    answer = (2 << 96, keccak(OUTPUT), TOKENS_ROOT, world.seed(asked))
    digest = made.attester.answerDigestOf(asked.request, answer)
    assert Account._recover_hash(digest, signature=signature) == KEY.address


# OTHERWISE THE WINDOW


def test_answer__above_the_cap__has_a_window_and_can_be_challenged(made, world, oracle, people):
    world.enrich()
    at_cap = made.answer(world.ask(valueFinney=CAP // FINNEY))
    assert oracle.statusOf(at_cap.id) == FINAL
    above = made.answer(world.ask(valueFinney=CAP // FINNEY + 1))
    assert oracle.statusOf(above.id) == ANSWERED
    assert above.closes_at == world.now() + world.terms["windowSeconds"]
    assert world.seat(above.seat).locks == 1
    world.judge(above, [WRONG] * 3)
    again = made.answer(above.asked, b" no")
    world.finalize(again)
    assert oracle.isFinal(again.id, again.answer)


def test_answer__fee_above_the_cap__has_a_window_whatever_the_payer_says(bare, world, oracle):
    """At least the fee is at stake on an answer."""
    bare.open(bare.policy(grace_cap_wei=0), valueCapWei=FINNEY, basePriceWei=2 * FINNEY)
    bare.admit()
    assert oracle.statusOf(bare.answer(world.ask(valueFinney=0)).id) == ANSWERED


def test_answer__of_a_machine_not_listed__has_a_window(bare, world, oracle):
    bare.open(bare.policy(platforms=()))
    bare.admit()
    answered = bare.answer(world.ask())
    assert oracle.statusOf(answered.id) == ANSWERED
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == FINAL


def test_answer__not_attested__has_a_window_as_anywhere(made, world, oracle):
    """No collateral, no key: the service goes on without attestation."""
    answered = world.answer(world.ask())
    assert oracle.statusOf(answered.id) == ANSWERED
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == FINAL


def test_answer__attested_at_a_service_without_attester__is_refused(bare, world, oracle, people):
    asked = world.ask()
    with reverts(oracle.NoAttester, service=world.service):
        oracle.answerAttested(
            asked.request, OUTPUT, 2, TOKENS_ROOT, world.seed(asked), b"", False, sender=world.in_turn(asked)[2]
        )


# WHAT A SIGNATURE COVERS


def changed(made, asked, **changes):
    """A signature of something slightly else."""
    request = requests.Request(*(bytes(v) if isinstance(v, bytes) else v for v in asked.request))
    answer = requests.Answer(2 << 96, keccak(OUTPUT), TOKENS_ROOT, made.world.seed(asked))
    about = {name: value for name, value in changes.items() if hasattr(request, name)}
    rest = {name: value for name, value in changes.items() if name not in about}
    return signed_answer(KEY, 31337, made.attester.address, replace(request, **about), replace(answer, **rest))


CHANGES = {
    "output": {"output_hash": keccak(b" no")},
    "tokens": {"tokens_root": keccak(b"other tokens")},
    "token count": {"head": 3 << 96},
    "seed": {"seed_block_hash": keccak(b"another block")},
    "prompt": {"prompt_hash": keccak(b"another prompt")},
    "parameters": {"rules": 1},
    "service": {"service": keccak(b"another service")},
    "value": {"money": 1},
}


@pytest.mark.parametrize("what", CHANGES)
def test_answer__signature_over_something_else__is_refused(made, world, what):
    asked = world.ask()
    with reverts(made.attester.NotAdmitted):
        made.answer(asked, attestation=changed(made, asked, **CHANGES[what]))


def test_answer__signed_for_another_chain_or_attester__is_refused(made, world, people):
    asked = world.ask()
    request = requests.Request(*(bytes(v) if isinstance(v, bytes) else v for v in asked.request))
    answer = requests.Answer(2 << 96, keccak(OUTPUT), TOKENS_ROOT, world.seed(asked))
    for chain_id, attester in ((1, made.attester.address), (31337, people.stranger.address)):
        with reverts(made.attester.NotAdmitted):
            made.answer(asked, attestation=signed_answer(KEY, chain_id, attester, request, answer))


def test_answer__by_a_key_nobody_attested__is_refused(made, world):
    asked = world.ask()
    with reverts(made.attester.NotAdmitted, service=world.service, signer=STRANGER.address):
        made.answer(asked, attestation=made.attestation(asked, key=STRANGER))
    with reverts(made.attester.NotAdmitted):
        made.answer(asked, attestation=b"\0" * 65)


def test_answer__of_another_request__cannot_be_used_again(made, world):
    """A result is for one request; the request closes with it."""
    first, second = world.ask(), world.ask(maxTokens=8)
    with reverts(made.attester.NotAdmitted):
        made.answer(second, attestation=made.attestation(first))


# PRIVATE PROMPTS


def test_private__attested__is_final_at_once(made, world, oracle):
    answered = made.answer(world.ask(isPrivate=True))
    assert oracle.statusOf(answered.id) == FINAL


def test_private__not_attested__is_refused(made, world, oracle):
    """Nobody could check it: without attestation any nonsense would become final."""
    asked = world.ask(isPrivate=True)
    with reverts(oracle.PrivateNeedsAttestation, service=world.service):
        world.answer(asked)


def test_private__above_the_cap__is_refused(made, world, oracle):
    asked = world.ask(isPrivate=True, valueFinney=CAP // FINNEY + 1)
    with reverts(oracle.PrivateNeedsAttestation, service=world.service):
        made.answer(asked)


def test_private__at_a_service_without_attester__is_refused(bare, world, oracle):
    with reverts(oracle.PrivateNeedsAttestation, service=world.service):
        world.ask(isPrivate=True)


def test_private__as_long_as_the_longest_prompt_sealed_to_sixteen_keys__is_taken(made, world, oracle):
    longest = world.terms["maxPromptBytes"] + SEAL_BYTES
    world.ask(prompt=bytes(longest), isPrivate=True)
    with reverts(oracle.PromptTooLong, lengthBytes=longest + 1, mostBytes=longest):
        world.ask(prompt=bytes(longest + 1), isPrivate=True)
    with reverts(oracle.PromptTooLong, lengthBytes=longest, mostBytes=world.terms["maxPromptBytes"]):
        world.ask(prompt=bytes(longest))


def test_private__turns_of_those_without_the_key__cost_them_nothing(made, world, oracle, people):
    asked = world.ask(isPrivate=True)
    seats = [world.seat(seat).balanceWei for seat in range(6)]
    world.pass_time(3 * world.terms["turnSeconds"])
    answered = made.answer(asked)
    assert answered.turn == 3
    assert not oracle.TurnMissed.from_receipt(answered.receipt)
    others = [seat for seat in range(6) if seat != answered.seat]
    assert [world.seat(seat).balanceWei for seat in others] == [seats[seat] for seat in others]


def test_private__nobody_has_the_key__is_refunded_and_costs_nobody(made, world, oracle, people, lens):
    asked = world.ask(isPrivate=True)
    seats = [world.seat(seat).balanceWei for seat in range(6)]
    fields = lens.unpackRequest(asked.request)
    world.set_time(fields.params.deadline + 1)
    receipt = oracle.refund(asked.request, sender=people.stranger)
    assert not oracle.TurnMissed.from_receipt(receipt)
    assert oracle.credit(people.payer) == fields.feeWei
    assert [world.seat(seat).balanceWei for seat in range(6)] == seats


# WHAT ENDS A KEY


def refuses(made, world):
    """Whether an answer by the key is refused now."""
    asked = world.ask()
    with reverts(made.attester.NotAdmitted, service=world.service, signer=KEY.address):
        made.answer(asked)
    return not admitted(made)


def test_key__after_a_week__is_refused_until_registered_and_admitted_again(made, world, oracle):
    world.pass_time(WEEK)
    assert refuses(made, world)
    made.register()
    assert not admitted(made), "a registration is judged anew"
    made.admit()
    assert oracle.statusOf(made.answer(world.ask()).id) == FINAL


def test_key__revoked_by_its_node__is_refused(made, world, people):
    made.attester.revoke(KEY.address, sender=people.newcomers[0])
    assert refuses(made, world)


def test_key__whose_platform_is_revoked__is_refused(made, world):
    made.post(replace(made.tee, revoked=(made.tee.platform.serial_number,), seconds_issued=10), again=True)
    assert refuses(made, world)


def test_key__after_a_tcb_recovery__is_refused_until_judged_anew(made, world, oracle):
    """The new evaluation finds the platform out of date: within the grace it is admitted again, with the lower cap."""
    levels = (Level(6, date=world.now() - 5), Level(5, "OutOfDate", date=world.now() - 400 * DAY))
    recovery = replace(made.tee, number=18, seconds_issued=10, levels=levels)
    made.post(recovery, again=True)
    made.raise_evaluation(18)
    assert refuses(made, world)
    made.admit(recovery)
    assert made.attester.admissionOf(world.service, KEY.address).isBehind
    at_cap = made.answer(world.ask(valueFinney=GRACE_CAP // FINNEY))
    assert oracle.statusOf(at_cap.id) == FINAL
    above = made.answer(world.ask(valueFinney=GRACE_CAP // FINNEY + 1))
    assert oracle.statusOf(above.id) == ANSWERED


def test_key__when_something_else_was_revoked__is_looked_at_at_length_and_stands(made, world, oracle):
    """The short way (nothing was revoked since) and the long way agree."""
    before = made.attester.admissionOf(world.service, KEY.address).generation
    assert admitted(made)
    made.post(replace(made.tee, revoked=(12345,), seconds_issued=10), again=True)
    assert made.collateral.generation() == before + 1
    assert admitted(made)
    assert oracle.statusOf(made.answer(world.ask()).id) == FINAL


# THE POLICY


def test_admit__unknown_measurement__is_refused(bare, world):
    bare.open(bare.policy(measurements=(keccak(b"another build"),)))
    with reverts(bare.attester.UnknownMeasurement):
        bare.admit()


def test_admit__other_engine__is_refused(bare, world):
    bare.open(bare.policy(engine_id=keccak(b"another engine")))
    with reverts(bare.attester.WrongModel, modelRoot=world.model, engineId=ENGINE):
        bare.admit()


def test_admit__other_details__is_refused(made, world, people):
    details = list(made.details(made.register()))
    details[1] = keccak(b"another build")
    with reverts(made.attester.KeyNotActive, signer=KEY.address):
        made.attester.admit(world.service, KEY.address, details, sender=people.stranger)


STATUSES = [
    ("SWHardeningNeeded", ("INTEL-SA-00615",), {}, True),
    ("SWHardeningNeeded", ("INTEL-SA-00615", "INTEL-SA-00616"), {}, False),
    ("SWHardeningNeeded", ("INTEL-SA-00615", "INTEL-SA-00616"), {"advisories": (616, 615)}, True),
    ("SWHardeningNeeded", (), {}, False),
    ("SWHardeningNeeded", (), {"advisories": ()}, False),
    ("ConfigurationNeeded", (), {}, False),
    ("ConfigurationNeeded", (), {"accepts_configuration": True}, True),
    ("ConfigurationAndSWHardeningNeeded", ("INTEL-SA-00615",), {}, False),
    ("OutOfDate", (), {}, True),
    ("OutOfDate", (), {"grace_seconds": 0}, False),
    ("OutOfDate", (), {"grace_seconds": 1000}, False),
    ("OutOfDateConfigurationNeeded", (), {}, False),
]


@pytest.mark.parametrize(("status", "advisories", "changes", "accepted"), STATUSES)
def test_admit__platform_of_a_status__is_as_the_policy_says(bare, world, status, advisories, changes, accepted):
    levels = (Level(9, date=bare.world.now() - DAY), Level(5, status, advisories, world.now() - 99 * DAY))
    tee = replace(bare.tee, levels=levels, seconds_issued=10)
    bare.open(bare.policy(**changes))
    bare.post(tee, again=True)
    if accepted:
        bare.admit(tee)
        assert admitted(bare)
        return
    with reverts(bare.attester.UnacceptablePlatform):
        bare.admit(tee)


def test_key__of_a_platform_out_of_date__ends_with_the_grace(bare, world):
    newest = bare.collateral.evaluationSince(17)
    tee = replace(bare.tee, levels=(Level(9, date=newest - 400 * DAY), Level(5, "OutOfDate")), seconds_issued=10)
    bare.open(bare.policy(grace_seconds=3 * DAY))
    bare.post(tee, again=True)
    bare.admit(tee)
    world.set_time(newest + 3 * DAY - 1)
    world.mine(1)
    assert admitted(bare)
    world.set_time(newest + 3 * DAY)
    world.mine(1)
    assert not admitted(bare)


def test_shrink__measurement_taken_away__ends_its_keys_for_good(made, world, people):
    measurement = bytes(made.verified.measurementId)
    made.attester.shrink(world.service, [measurement], CAP, GRACE_CAP, 17, sender=people.deployer)
    assert refuses(made, world)
    with reverts(made.attester.UnknownMeasurement, measurementId=measurement):
        made.admit()


def test_shrink__platform_taken_away__leaves_its_answers_a_window(made, world, oracle, people):
    made.attester.shrink(world.service, [bytes(made.verified.platformId)], CAP, GRACE_CAP, 17, sender=people.deployer)
    assert refuses(made, world)
    made.admit()
    assert oracle.statusOf(made.answer(world.ask()).id) == ANSWERED


def test_shrink__caps__are_lower_at_once(made, world, oracle, people):
    made.attester.shrink(world.service, [], ETHER, 0, 17, sender=people.deployer)
    made.admit()
    world.enrich()
    assert oracle.statusOf(made.answer(world.ask(valueFinney=1_000)).id) == FINAL
    assert oracle.statusOf(made.answer(world.ask(valueFinney=1_001)).id) == ANSWERED


def test_shrink__raising_a_cap__is_refused(made, world, people):
    for caps in ((CAP + 1, GRACE_CAP), (CAP, GRACE_CAP + 1)):
        with reverts(made.attester.OnlyShrinks, service=world.service):
            made.attester.shrink(world.service, [], *caps, 17, sender=people.deployer)


def test_shrink__by_anyone_but_the_guardian__is_refused(made, world, people):
    with reverts(made.attester.NotGuardian, service=world.service, caller=people.stranger.address):
        made.attester.shrink(world.service, [], 0, 0, 17, sender=people.stranger)


def test_adopt__by_anyone_but_the_oracle__is_refused(bare, world, people):
    with reverts(bare.attester.NotOracle, caller=people.stranger.address):
        bare.attester.adopt(world.service, list(bare.terms(bare.policy()).values()), sender=people.stranger)


BAD_POLICIES = [
    ({"measurements": ()}, {}, "no measurement is believed"),
    ({"least_evaluation": 0}, {}, "no least evaluation"),
    ({}, {"valueCapWei": ((1 << 24) - 1) * FINNEY}, "no request can say so high a value"),
    ({"grace_cap_wei": CAP + 1}, {}, "the grace's cap is above the value cap"),
    ({"advisories": tuple(range(1, 18))}, {}, "more advisories than 16"),
    ({"advisories": (0,)}, {}, "no such advisory"),
    ({"advisories": (0xFFFF,)}, {}, "no such advisory"),
]


@pytest.mark.parametrize(("changes", "terms", "reason"), BAD_POLICIES)
def test_adopt__policy_that_makes_no_sense__is_refused(bare, people, changes, terms, reason):
    wanted = bare.terms(bare.policy(**changes), **terms)
    with reverts(bare.attester.BadPolicy, reason=reason):
        bare.world.oracle.createService(wanted, sender=people.deployer)


def test_service__with_an_attester__names_it(made, oracle, world):
    assert oracle.attesterOf(world.service) == made.attester.address
    assert oracle.attesterOf(bytes(32)) == NOBODY
    assert made.attester.capsOf(world.service) == (CAP, GRACE_CAP, 1)
    assert made.attester.isBelieved(world.service, made.verified.measurementId)
