"""The mock oracle behaves as the real one where a dapp can see it."""

import pytest
from ape import project, reverts
from eth_utils import keccak
from world import (
    ANSWERED,
    CANCELLED,
    ETHER,
    FINAL,
    GWEI,
    MARGIN,
    OPEN,
    REFUNDED,
    REJECTED,
    THREE,
    UNDELIVERED,
    UPHELD,
)

SERVICE = b"\x07" * 32


@pytest.fixture
def mock(people):
    return project.MockOracle.deploy(20_000 * GWEI, 10 * GWEI, 1_000 * GWEI, sender=people.deployer)


@pytest.fixture
def dapp(mock, people):
    return project.Correspondent.deploy(mock, SERVICE, people.deployer, sender=people.deployer)


@pytest.fixture
def params(world):
    return world.params(callbackGas=60_000, callbackGasPriceWei=GWEI)


@pytest.fixture
def asked(mock, dapp, people, params):
    dapp.ask(b"Hello", params, value=dapp.price(5, params), sender=people.payer)
    return mock.last()


def test_quote__same_prices__equals_the_real_oracles(world, mock, params):
    assert tuple(mock.quote(SERVICE, 5, params)) == tuple(world.oracle.quote(world.service, 5, params))


def test_request__wrong_price__reverts(mock, dapp, people, params):
    price = dapp.price(5, params)
    with reverts(mock.WrongFee, expectedWei=price, givenWei=price + 1):
        dapp.ask(b"Hello", params, value=price + 1, sender=people.payer)


def test_request__empty_prompt__reverts(mock, dapp, people, params):
    with reverts(mock.EmptyPrompt):
        dapp.ask(b"", params, value=1, sender=people.payer)


def test_request__deadline_passed__reverts(mock, dapp, people, params):
    with reverts(mock.DeadlineOutOfRange):
        dapp.ask(b"Hello", {**params, "deadline": 1}, value=dapp.price(5, params), sender=people.payer)


def test_request__callback_without_code__reverts(mock, people, params):
    with reverts(mock.CallbackTargetWithoutCode, target=people.payer.address):
        mock.request(SERVICE, b"Hello", params, value=sum(mock.quote(SERVICE, 5, params)[:2]), sender=people.payer)


def test_answer__more_tokens_than_bought__reverts(mock, people, asked):
    with reverts(mock.TokensOutOfRange, tokens=17, most=16):
        mock.answer(asked, b"Hi", 17, sender=people.stranger)


def test_answer__twice__reverts(mock, people, asked):
    mock.answer(asked, b"Hi", 2, sender=people.stranger)
    with reverts(mock.WrongStatus, requestId=asked, status=FINAL):
        mock.answer(asked, b"Hi", 2, sender=people.stranger)


def test_answer__callback__delivers_and_splits_the_escrow(mock, dapp, people, asked):
    assert mock.statusOf(asked) == OPEN
    mock.answer(asked, b"Hi", 2, sender=people.stranger)
    assert mock.statusOf(asked) == FINAL
    assert bytes(dapp.answerHash(asked)) == keccak(b"Hi")
    assert mock.credit(dapp) == 14 * 1_000 * GWEI
    assert mock.credit(dapp) + mock.credit(people.stranger) == mock.balance


def test_answer__callback_reverts__is_undelivered_and_can_be_repeated(mock, people, hostile, params):
    data = mock.request.encode_input(SERVICE, b"Hello", params)
    hostile.execute(mock, data, value=sum(mock.quote(SERVICE, 5, params)[:2]), sender=people.payer)
    asked = mock.last()
    hostile.set(1, sender=people.stranger)
    mock.answer(asked, b"Hi", 2, sender=people.stranger)
    assert mock.statusOf(asked) == UNDELIVERED
    with reverts(mock.CallbackReverted, requestId=asked):
        mock.retry(asked, 200_000, sender=people.stranger)
    hostile.set(0, sender=people.stranger)
    mock.retry(asked, 200_000, sender=people.stranger)
    assert mock.statusOf(asked) == FINAL
    assert hostile.callbacks() == 1


def test_fail__healthy_dapp__is_undelivered_then_retried(mock, dapp, people, asked):
    mock.fail(asked, b"Hi", 2, sender=people.stranger)
    assert mock.statusOf(asked) == UNDELIVERED
    assert bytes(dapp.answerHash(asked)) == bytes(32)
    mock.retry(asked, 60_000, sender=people.stranger)
    assert bytes(dapp.answerHash(asked)) == keccak(b"Hi")


def test_leave__healthy_dapp__is_undelivered_until_somebody_delivers_for_the_escrow(mock, dapp, people, asked):
    mock.leaveCallback(asked, b"Hi", 2, sender=people.stranger)
    assert (mock.statusOf(asked), mock.callbackLeft(asked)) == (UNDELIVERED, True)
    bounty = mock.balance - mock.credit(dapp) - mock.credit(people.stranger)
    assert bounty > 0
    mock.retry(asked, 60_000, sender=people.watcher)
    assert bytes(dapp.answerHash(asked)) == keccak(b"Hi")
    assert (mock.credit(people.watcher), mock.callbackLeft(asked)) == (bounty, False)


def test_answer_at_once__private_prompt__is_the_only_answer(mock, dapp, people, params):
    dapp.ask(b"sealed", {**params, "isPrivate": True}, value=dapp.price(6, params), sender=people.payer)
    with reverts(mock.PrivateNeedsAttestation, service=SERVICE):
        mock.answer(mock.last(), b"Hi", 2, sender=people.stranger)
    receipt = mock.answerAtOnce(mock.last(), b"Hi", 2, sender=people.stranger)
    assert [event.event_name for event in receipt.events] == ["AnswerPosted", "AnswerAttested", "RequestFinalized"]
    assert bytes(dapp.answerHash(mock.last())) == keccak(b"Hi")


def test_post__window_open__nothing_is_heard_until_it_has_passed(world, mock, dapp, people, asked):
    mock.post(asked, b"Hi", 2, sender=people.stranger)
    found = mock.itemOf(asked)
    item = (*(tuple(value for _, value in words.items()) for words in (found.request, found.answer)), found.output)
    assert mock.statusOf(asked) == ANSWERED
    with reverts(mock.NothingToFinalize):
        mock.finalize([item], sender=people.watcher)
    assert bytes(dapp.answerHash(asked)) == bytes(32)
    world.pass_time(21)
    escrow = mock.balance
    mock.finalize([item], sender=people.watcher)
    assert (mock.statusOf(asked), mock.isFinal(asked, found.answer)) == (FINAL, True)
    assert bytes(dapp.answerHash(asked)) == keccak(b"Hi")
    assert mock.credit(people.watcher) == (60_000 + mock.CALLBACK_OVERHEAD_GAS()) * GWEI
    assert mock.credit(people.stranger) == escrow - mock.credit(dapp) - mock.credit(people.watcher) > 0


def test_rule__rejected__another_answers_and_that_answer_is_heard(mock, dapp, people, asked):
    mock.post(asked, b"No", 1, sender=people.stranger)
    with reverts(mock.WrongStatus, requestId=asked, status=ANSWERED):
        mock.rule(asked, REJECTED, sender=people.stranger)
    mock.dispute(asked, sender=people.challenger)
    mock.rule(asked, REJECTED, sender=people.challenger)
    assert mock.statusOf(asked) == OPEN
    mock.post(asked, b"Yes", 1, sender=people.watcher)
    mock.dispute(asked, sender=people.challenger)
    mock.rule(asked, UPHELD, sender=people.challenger)
    mock.passWindow(asked, sender=people.stranger)
    assert bytes(dapp.answerHash(asked)) == keccak(b"Yes")


def test_cancel__by_its_payer__gets_all_back_at_once(world, mock, people):
    plain = world.params()
    mock.request(SERVICE, b"Hello", plain, value=sum(mock.quote(SERVICE, 5, plain)[:2]), sender=people.payer)
    asked = mock.last()
    request = mock.itemOf(asked).request
    with reverts(mock.NotPayer, requestId=asked, payer=people.payer.address):
        mock.cancel(request, sender=people.stranger)
    mock.cancel(request, sender=people.payer)
    assert mock.statusOf(asked) == CANCELLED
    assert mock.credit(people.payer) == mock.balance > 0


def test_answer__callback_needs_more_gas_than_it_bought__is_undelivered(mock, dapp, people, params):
    short = {**params, "callbackGas": 2_000}
    dapp.ask(b"Hello", short, value=dapp.price(5, short), sender=people.payer)
    receipt = mock.answer(mock.last(), b"Hi", 2, sender=people.stranger)
    assert [event.event_name for event in receipt.events] == ["AnswerPosted", "RequestFinalized", "CallbackFailed"]
    assert mock.statusOf(mock.last()) == UNDELIVERED
    mock.retry(mock.last(), 60_000, sender=people.stranger)
    assert bytes(dapp.answerHash(mock.last())) == keccak(b"Hi")


def test_refund__open__returns_the_whole_escrow(mock, dapp, people, asked):
    escrow = mock.balance
    mock.refund(asked, sender=people.stranger)
    assert mock.statusOf(asked) == REFUNDED
    assert mock.credit(dapp) == escrow
    before = people.deployer.balance
    dapp.sweep(sender=people.stranger)
    assert people.deployer.balance == before + escrow
    assert mock.balance == 0


def test_refund__answered__reverts(mock, people, asked):
    mock.answer(asked, b"Hi", 2, sender=people.stranger)
    with reverts(mock.WrongStatus, requestId=asked, status=FINAL):
        mock.refund(asked, sender=people.stranger)


def test_wager__on_the_mock__settles_without_a_node(world, mock, people):
    wager = project.Wager.deploy(mock, SERVICE, THREE, MARGIN, 900, people.deployer, sender=people.deployer)
    wager.offer(b"Is water wet?", value=ETHER, sender=people.payer)
    wager.take(0, value=ETHER, sender=people.challenger)
    wager.settle(0, GWEI, value=wager.price(0, GWEI), sender=people.payer)
    mock.answerChoice(mock.last(), 1, MARGIN, sender=people.stranger)
    assert wager.owedWei(people.challenger) == 2 * ETHER
