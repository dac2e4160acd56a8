"""A validator for the registry of agents' validations: it says each grade once, and none that no model gave."""

import pytest
from ape import project, reverts
from eth_utils import keccak
from world import FINAL, GWEI, MARGIN, THREE, UNKNOWN, WRONG, verdict

NONE, ASKED, GRADED, UNSURE, RESPONDED = range(5)
GRADES = bytes([100, 50, 0])
AGENT = 22
ANSWER_SECONDS = 900
TEXT = b"Task: name the capital of Norway.\n\nResult: Oslo."
HASH = keccak(TEXT)


@pytest.fixture
def validations(people):
    return project.MockValidationRegistry.deploy(sender=people.deployer)


@pytest.fixture
def validator(world, validations, people):
    return validator_of(world, validations, people)


def validator_of(world, validations, people, grades=GRADES):
    arguments = (world.service, THREE, grades, MARGIN, ANSWER_SECONDS, validations, people.deployer)
    return project.Validator.deploy(world.oracle, *arguments, sender=people.deployer)


@pytest.fixture
def wanted(validations, validator, people):
    """The agent's owner has asked for a validation."""
    validations.validationRequest(validator, AGENT, "", HASH, sender=people.payer)
    return HASH


def ask(world, validator, text=TEXT):
    price = validator.price(len(text), GWEI)
    return world.posted(validator.ask(text, GWEI, value=price, sender=world.people.stranger))


def judged(world, validator, output):
    answered = world.answer(ask(world, validator), output)
    world.finalize(answered)
    assert world.oracle.statusOf(answered.id) == FINAL  # the callback fits the gas that it buys
    return answered


@pytest.mark.parametrize("grades", [b"", bytes([100, 0]), bytes([100, 50, 0, 0]), bytes([101, 50, 0])])
def test_validator__not_a_grade_for_each_choice__is_refused(world, validations, people, grades):
    with reverts(project.Validator.BadGrades, choices=3, grades=grades):
        validator_of(world, validations, people, grades)


def test_ask__registry_knows_no_such_request__reverts(validator, validations, people):
    with reverts(validations.Unknown):
        validator.ask(TEXT, GWEI, value=0, sender=people.stranger)


def test_ask__another_validator_was_named__reverts(validator, validations, people):
    validations.validationRequest(people.watcher, AGENT, "", HASH, sender=people.payer)
    with reverts(validator.NotAsked, requestHash=HASH, validator=people.watcher.address):
        validator.ask(TEXT, GWEI, value=0, sender=people.stranger)


def test_ask__another_text__reverts(validator, validations, wanted, people):
    """Nobody can have an agent graded for words that its owner did not commit to."""
    with reverts(validations.Unknown):
        validator.ask(TEXT + b"!", GWEI, value=0, sender=people.stranger)


def test_ask__wrong_price__reverts(oracle, validator, wanted, people):
    price = validator.price(len(TEXT), GWEI)
    with reverts(oracle.WrongFee, expectedWei=price, givenWei=price + 1):
        validator.ask(TEXT, GWEI, value=price + 1, sender=people.stranger)


def test_ask__twice__reverts(world, validator, wanted, people):
    ask(world, validator)
    with reverts(validator.AlreadyAsked, requestHash=HASH, stage=ASKED):
        validator.ask(TEXT, GWEI, value=0, sender=people.stranger)


def test_ask__text__stands_behind_the_question(world, oracle, lens, validator, wanted):
    asked = ask(world, validator)
    (event,) = oracle.RequestPosted.from_receipt(asked.receipt)
    assert bytes(event.prompt).endswith(bytes(validator.QUESTION()) + TEXT)
    assert lens.unpackRequest(asked.request).params.deadline == asked.receipt.timestamp + ANSWER_SECONDS


@pytest.mark.parametrize("choice", range(3))
def test_respond__graded__tells_the_registry_once_with_the_request_as_evidence(
    world, validations, validator, wanted, people, choice
):
    answered = judged(world, validator, verdict(choice))
    validator.respond(HASH, sender=people.stranger)
    who, agent, response, evidence, tag, _ = validations.getValidationStatus(HASH)
    assert (who, agent, response, tag) == (validator.address, AGENT, GRADES[choice], "didyma")
    assert int.from_bytes(evidence, "big") == answered.id
    with reverts(validator.NothingToSay, requestHash=HASH, stage=RESPONDED):
        validator.respond(HASH, sender=people.stranger)
    with reverts(validator.AlreadyAsked, requestHash=HASH, stage=RESPONDED):
        validator.ask(TEXT, GWEI, value=0, sender=people.stranger)


UNSURES = [verdict(0, MARGIN - 1), verdict(2, 0), verdict(3), verdict(UNKNOWN), b"well", b""]


@pytest.mark.parametrize("output", UNSURES)
def test_respond__model_not_sure__reverts_and_the_registry_hears_nothing(
    world, validations, validator, wanted, people, output
):
    """Grade 0 would say that the work is bad, and an owner could not try another text under the same hash."""
    judged(world, validator, output)
    with reverts(validator.NothingToSay, requestHash=HASH, stage=UNSURE):
        validator.respond(HASH, sender=people.stranger)
    with reverts(validator.AlreadyAsked, requestHash=HASH, stage=UNSURE):
        validator.ask(TEXT, GWEI, value=0, sender=people.stranger)
    assert len(list(validations.ValidationResponse)) == 0


@pytest.mark.parametrize("is_asked", [False, True])
def test_respond__no_verdict__reverts(world, validator, wanted, people, is_asked):
    if is_asked:
        ask(world, validator)
    with reverts(validator.NothingToSay, requestHash=HASH, stage=ASKED if is_asked else NONE):
        validator.respond(HASH, sender=people.stranger)


def test_respond__registry_refuses__may_be_repeated(world, validations, validator, wanted, people):
    judged(world, validator, verdict(0))
    validations.refuse(True, sender=people.deployer)
    with reverts(validations.Refused):
        validator.respond(HASH, sender=people.stranger)
    assert validator.validationOf(HASH).stage == GRADED
    validations.refuse(False, sender=people.deployer)
    validator.respond(HASH, sender=people.stranger)
    assert validations.getValidationStatus(HASH)[2] == 100


def test_respond__lie_rejected__is_the_next_answer_s_grade(world, validations, validator, wanted, people):
    world.enrich()
    lie = world.answer(ask(world, validator), verdict(0))
    world.judge(lie, [WRONG] * 3)
    world.finalize(world.answer(lie.asked, verdict(2)))
    validator.respond(HASH, sender=people.stranger)
    assert validations.getValidationStatus(HASH)[2] == 0
    assert validator.validationOf(HASH).grade == 0


def test_close__nobody_answered__may_be_asked_again(world, validations, validator, wanted, people):
    """Whoever wants no grade could otherwise ask when no node is there."""
    asked = ask(world, validator)
    world.pass_time(ANSWER_SECONDS + 1)
    validator.close(asked.id, sender=people.stranger)
    assert validator.validationOf(HASH).stage == NONE
    judged(world, validator, verdict(1))
    validator.respond(HASH, sender=people.stranger)
    assert validations.getValidationStatus(HASH)[2] == 50


def test_sweep__refunds__go_to_the_treasury(world, oracle, validator, wanted, people):
    judged(world, validator, verdict(0))
    owed, before = oracle.credit(validator), people.deployer.balance
    validator.sweep(sender=people.stranger)
    assert people.deployer.balance - before == owed > 0
    assert (oracle.credit(validator), validator.balance) == (0, 0)
