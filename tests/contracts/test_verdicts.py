"""Contracts that hear verdicts: of each question exactly one, whatever the oracle, strangers and the dapp itself do."""

import pytest
from ape import project, reverts
from world import (
    ANSWERED,
    CANCELLED,
    DISPUTED,
    FINAL,
    FOUR,
    GWEI,
    MARGIN,
    OPEN,
    REFUNDED,
    ROOT,
    UNDELIVERED,
    UNKNOWN,
    WRONG,
    verdict,
)

from oracle.engines.answer_types import Verdict, choice_type, typed_prompt
from oracle.engines.exact.text_prompts import text_prompt

TEXT = b"Is water wet?"


@pytest.fixture
def dapp(oracle, people):
    return project.FickleListener.deploy(oracle, sender=people.deployer)


@pytest.fixture
def params(world):
    return world.params(callbackGas=80_000, callbackGasPriceWei=GWEI, maxTokens=17)


@pytest.fixture
def asked(world, dapp, params):
    return ask(world, dapp, params)


def ask(world, dapp, params, text=TEXT, answer_type=FOUR):
    price = dapp.price(world.service, answer_type, len(text), params)
    payer = world.people.payer
    return world.posted(dapp.ask(world.service, answer_type, text, MARGIN, params, value=price, sender=payer))


def heard(dapp):
    return [(event.requestId, event.choice, event.margin) for event in dapp.Heard]


def expire(world, oracle, asked):
    world.pass_time(world.lens.unpackRequest(asked.request).params.deadline + 1 - world.now())
    return oracle.refund(asked.request, sender=world.people.stranger)


# ASKING


@pytest.mark.parametrize(
    "answer_type",
    [
        b"",
        FOUR[:8],  # no rows at all
        FOUR[:-1],  # shorter than it says
        FOUR + b"\x00",  # longer
        FOUR[:4] + b"\x02" + FOUR[5:],  # another form
    ],
    ids=["empty", "header alone", "cut", "too long", "another form"],
)
def test_ask__type_is_no_choice__reverts(world, dapp, params, answer_type):
    """The referee would take some of the text for the type, or the other way round."""
    with reverts(dapp.NotAChoice):
        dapp.ask(world.service, answer_type, TEXT, MARGIN, params, value=0, sender=world.people.payer)


def test_ask__without_a_callback__reverts(world, dapp, params):
    silent = {**params, "callbackGas": 0}
    price = dapp.price(world.service, FOUR, len(TEXT), silent)
    with reverts(dapp.NoCallback):
        dapp.ask(world.service, FOUR, TEXT, MARGIN, silent, value=price, sender=world.people.payer)


def test_ask__other_price__reverts(world, oracle, dapp, params):
    price = dapp.price(world.service, FOUR, len(TEXT), params)
    with reverts(oracle.WrongFee, expectedWei=price, givenWei=price + 1):
        dapp.ask(world.service, FOUR, TEXT, MARGIN, params, value=price + 1, sender=world.people.payer)


@pytest.mark.parametrize("text", [TEXT, b"", b"\x03\x00\x00\x00\x00\x01\x00\x00\x00", b"\xff" * 40])
def test_ask__any_text__stands_in_python_s_envelope(world, oracle, dapp, params, text):
    """Whoever writes the words chooses neither kind nor type."""
    asked = ask(world, dapp, params, text)
    (event,) = oracle.RequestPosted.from_receipt(asked.receipt)
    assert bytes(event.prompt) == typed_prompt(FOUR, text_prompt(text))


# HEARING


@pytest.mark.parametrize("margin", [MARGIN, MARGIN + 1, 2**32 - 1])
@pytest.mark.parametrize("choice", [0, 3])
def test_answer__verdict_with_enough_margin__is_heard(world, oracle, dapp, asked, choice, margin):
    answered = world.answer(asked, verdict(choice, margin))
    world.finalize(answered)
    assert oracle.statusOf(asked.id) == FINAL
    assert heard(dapp) == [(asked.id, choice, margin)]
    assert tuple(dapp.verdictOf(asked.id)) == (True, choice, margin)


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"yes",
        verdict(0, MARGIN)[:9],
        verdict(0, MARGIN) + b"\x00",
        verdict(4, MARGIN),  # one beyond the choices
        verdict(UNKNOWN, 2**32 - 1),
        verdict(0, MARGIN - 1),
        verdict(0, 0),
        b"\xff" * 500,
    ],
    ids=["empty", "words", "nine bytes", "eleven bytes", "no such choice", "choice 255", "a unit below", "0", "long"],
)
def test_answer__no_verdict_or_below_the_margin__is_heard_as_unknown(world, oracle, dapp, asked, output):
    world.finalize(world.answer(asked, output))
    assert oracle.statusOf(asked.id) == FINAL
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]
    assert tuple(dapp.verdictOf(asked.id)) == (True, UNKNOWN, 0)


def test_answer__type_without_rows__is_heard_as_unknown(world, dapp, params):
    """Malformed for every model; the right answer is empty, and any other is no verdict either."""
    asked = ask(world, dapp, params, answer_type=choice_type([], ROOT))
    world.finalize(world.answer(asked, verdict(0, MARGIN)))
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]


def test_answer__not_from_the_oracle__reverts(dapp, people, asked):
    with reverts(dapp.NotOracle, caller=people.stranger.address):
        dapp.onAnswer(asked.id, verdict(0, MARGIN), sender=people.stranger)


def test_answer__to_what_was_not_asked_for_a_choice__is_not_heard(world, oracle, dapp, params):
    price = world.price(b"Hello", params)
    receipt = dapp.askFreely(world.service, b"Hello", params, value=price, sender=world.people.payer)
    asked = world.posted(receipt)
    world.finalize(world.answer(asked, verdict(0, MARGIN)))
    assert oracle.statusOf(asked.id) == FINAL
    assert heard(dapp) == []
    assert tuple(dapp.verdictOf(asked.id)) == (False, 0, 0)


def test_answer__dapp_refuses__is_undelivered_and_heard_once_by_retrying(world, oracle, dapp, people, asked):
    dapp.refuse(True, sender=people.stranger)
    answered = world.answer(asked, verdict(2, MARGIN))
    world.finalize(answered)
    assert oracle.statusOf(asked.id) == UNDELIVERED
    assert not dapp.verdictOf(asked.id).isHeard
    with reverts(dapp.MayBeAnswered, requestId=asked.id, status=UNDELIVERED):
        dapp.close(asked.id, sender=people.stranger)
    with reverts(oracle.CallbackReverted):
        oracle.retryCallback(answered.item, 80_000, sender=people.stranger)
    dapp.refuse(False, sender=people.stranger)
    oracle.retryCallback(answered.item, 80_000, sender=people.stranger)
    with reverts(oracle.WrongStatus):
        oracle.retryCallback(answered.item, 80_000, sender=people.stranger)
    assert heard(dapp) == [(asked.id, 2, MARGIN)]


def test_answer__lie_rejected__the_next_answer_is_heard(world, dapp, asked):
    world.enrich()
    lie = world.answer(asked, verdict(0, MARGIN))
    world.judge(lie, [WRONG] * 3)
    assert heard(dapp) == []
    world.finalize(world.answer(asked, verdict(1, MARGIN)))
    assert heard(dapp) == [(asked.id, 1, MARGIN)]


# CLOSING


def test_close__unknown_request__reverts(dapp, people, world):
    foreign = world.ask()
    for request_id in (0, 7, foreign.id):
        with reverts(dapp.NotAwaited, requestId=request_id):
            dapp.close(request_id, sender=people.stranger)


def test_close__before_the_deadline__reverts(world, dapp, people, asked):
    world.set_time(world.lens.unpackRequest(asked.request).params.deadline)  # the last moment of an answer
    with reverts(dapp.MayBeAnswered):
        dapp.close(asked.id, sender=people.stranger)


def test_close__answer_waits_or_is_disputed__reverts_even_after_the_deadline(world, oracle, dapp, people, asked):
    answered = world.answer(asked, verdict(0, MARGIN))
    world.challenge(answered)
    world.pass_time(world.terms["lifetimeSeconds"] + 1)
    assert oracle.statusOf(asked.id) == DISPUTED
    with reverts(dapp.MayBeAnswered, requestId=asked.id, status=DISPUTED):
        dapp.close(asked.id, sender=people.stranger)


def test_close__answered__reverts_even_after_the_deadline(world, oracle, dapp, people, asked):
    world.answer(asked, verdict(0, MARGIN))
    world.pass_time(world.terms["lifetimeSeconds"] + 1)
    assert oracle.statusOf(asked.id) == ANSWERED
    with reverts(dapp.MayBeAnswered, requestId=asked.id, status=ANSWERED):
        dapp.close(asked.id, sender=people.stranger)


def test_close__heard__reverts(world, dapp, people, asked):
    world.finalize(world.answer(asked, verdict(0, MARGIN)))
    with reverts(dapp.NotAwaited, requestId=asked.id):
        dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == [(asked.id, 0, MARGIN)]


def test_close__refunded__is_unknown_once(world, oracle, dapp, people, asked):
    expire(world, oracle, asked)
    assert oracle.statusOf(asked.id) == REFUNDED
    dapp.close(asked.id, sender=people.stranger)
    with reverts(dapp.NotAwaited, requestId=asked.id):
        dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]


def test_close__cancelled__is_unknown_once(world, oracle, dapp, people, asked):
    dapp.cancel(asked.request, sender=people.stranger)
    assert oracle.statusOf(asked.id) == CANCELLED
    dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]


def test_close__expired_and_not_refunded__is_unknown_and_no_answer_can_follow(world, oracle, dapp, people, asked):
    deadline = world.lens.unpackRequest(asked.request).params.deadline
    operator = world.in_turn(asked)[2]
    seed = world.seed(asked)
    world.set_time(deadline + 1)
    dapp.close(asked.id, sender=people.stranger)
    with reverts(oracle.DeadlinePassed):
        oracle.answer(asked.request, verdict(0, MARGIN), 2, bytes(32), seed, sender=operator)
    oracle.refund(asked.request, sender=people.stranger)
    with reverts(dapp.NotAwaited, requestId=asked.id):
        dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]


def test_close__lie_rejected_after_the_deadline__is_unknown(world, oracle, dapp, people, asked):
    """Nobody may answer in its place any more."""
    world.enrich()
    lie = world.answer(asked, verdict(0, MARGIN))
    world.set_time(lie.closes_at - 1)
    world.judge(lie, [WRONG] * 3)
    dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]


def test_close__dapp_refuses__reverts_and_may_be_repeated(world, oracle, dapp, people, asked):
    expire(world, oracle, asked)
    dapp.refuse(True, sender=people.stranger)
    with reverts(dapp.Refused):
        dapp.close(asked.id, sender=people.stranger)
    dapp.refuse(False, sender=people.stranger)
    dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == [(asked.id, UNKNOWN, 0)]


def test_close__from_within_a_verdict__is_not_heard_twice(world, oracle, dapp, people, asked):
    """By a dapp that closes the question of which it hears."""
    expire(world, oracle, asked)
    dapp.closeToo(asked.id, sender=people.stranger)
    with reverts(dapp.NotAwaited, requestId=asked.id):
        dapp.close(asked.id, sender=people.stranger)
    assert heard(dapp) == []


def test_answer__closes_itself_while_it_is_heard__is_not_heard_twice(world, oracle, dapp, people, asked):
    dapp.closeToo(asked.id, sender=people.stranger)
    answered = world.answer(asked, verdict(0, MARGIN))
    world.finalize(answered)
    assert oracle.statusOf(asked.id) == UNDELIVERED
    dapp.closeToo(0, sender=people.stranger)
    oracle.retryCallback(answered.item, 80_000, sender=people.stranger)
    assert heard(dapp) == [(asked.id, 0, MARGIN)]


def test_note__survives_the_verdict(world, dapp, people, asked):
    dapp.note(asked.id, 2**112 - 1, sender=people.stranger)
    assert dapp.noteOf(asked.id) == 2**112 - 1
    world.finalize(world.answer(asked, verdict(3, 2**32 - 1)))
    assert dapp.noteOf(asked.id) == 2**112 - 1
    assert tuple(dapp.verdictOf(asked.id)) == (True, 3, 2**32 - 1)


# AN ORACLE THAT TESTS PLAY


@pytest.fixture
def mock(people):
    return project.MockOracle.deploy(20_000 * GWEI, 10 * GWEI, 1_000 * GWEI, sender=people.deployer)


@pytest.fixture
def played(mock, people, params):
    """A dapp of the mock oracle, and its question."""
    dapp = project.FickleListener.deploy(mock, sender=people.deployer)
    price = dapp.price(bytes(32), FOUR, len(TEXT), params)
    dapp.ask(bytes(32), FOUR, TEXT, MARGIN, params, value=price, sender=people.payer)
    return dapp, mock.last()


def test_mock__verdict__is_heard_as_the_oracle_s_bytes(mock, people, played):
    dapp, asked = played
    receipt = mock.answerChoice(asked, 3, MARGIN, sender=people.stranger)
    (event,) = mock.AnswerPosted.from_receipt(receipt)
    assert bytes(event.output) == bytes(Verdict(3, MARGIN, 0, 0))
    assert heard(dapp) == [(asked, 3, MARGIN)]


def test_mock__below_the_margin__is_unknown(mock, people, played):
    dapp, asked = played
    mock.answerChoice(asked, 3, MARGIN - 1, sender=people.stranger)
    assert heard(dapp) == [(asked, UNKNOWN, 0)]


def test_mock__refunded__is_unknown_once_closed(mock, people, played):
    dapp, asked = played
    mock.refund(asked, sender=people.stranger)
    assert heard(dapp) == []
    dapp.close(asked, sender=people.stranger)
    assert heard(dapp) == [(asked, UNKNOWN, 0)]


def test_mock__late_verdict__is_refused_as_the_oracle_does(world, mock, people, played):
    dapp, asked = played
    world.pass_time(world.terms["lifetimeSeconds"] + 1)
    dapp.close(asked, sender=people.stranger)
    with reverts(mock.DeadlinePassed, requestId=asked):
        mock.answerChoice(asked, 3, MARGIN, sender=people.stranger)
    assert mock.statusOf(asked) == OPEN
    assert heard(dapp) == [(asked, UNKNOWN, 0)]
    assert tuple(dapp.verdictOf(asked)) == (True, UNKNOWN, 0)
