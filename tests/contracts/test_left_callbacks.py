"""Callbacks that are left: no price of one holds a bond, and what it escrowed finds whoever delivers, or the payer."""

import pytest
from ape import project, reverts
from world import ETHER, FINAL, GWEI, MARGIN, RETRY_SECONDS, THREE, UNDELIVERED, verdict

REVERT, NOTHING = 1, 0
BOUNTY = 260_000 * GWEI


@pytest.fixture
def waiting(world, hostile):
    """An answer to a contract with a callback, its window over."""
    answered = world.answer(world.ask_from(hostile))
    world.close_window(answered)
    return answered


@pytest.fixture
def left(world, oracle, waiting):
    """The same, its callback left by its answerer."""
    oracle.leaveCallbacks([waiting.item], sender=operator(world, waiting))
    return waiting


def operator(world, answered):
    return world.account(world.seat(answered.seat).operator)


def test_leave__dear_callback_at_no_price__frees_the_bond_for_little_gas(world, oracle, people, hostile):
    """Twelve million gas, paid with nothing, once stood between a node and its bond."""
    answered = world.answer(world.ask_from(hostile, callbackGas=12_000_000, callbackGasPriceWei=0))
    world.close_window(answered)
    receipt = oracle.leaveCallbacks([answered.item], sender=operator(world, answered))
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert receipt.gas_used < 120_000
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] + paid
    assert world.seat(answered.seat).locks == 0
    assert hostile.callbacks() == 0


def test_leave__operator__gives_up_the_escrow_and_moves_the_rest(world, oracle, people, waiting, hostile):
    who = operator(world, waiting)
    receipt = oracle.leaveCallbacks([waiting.item], sender=who)
    (event,) = oracle.CallbackLeft.from_receipt(receipt)
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert (event.requestId, event.bountyWei) == (waiting.id, BOUNTY)
    assert oracle.statusOf(waiting.id) == UNDELIVERED
    assert oracle.callbackLeft(waiting.id)
    assert oracle.isFinal(waiting.id, waiting.answer)
    assert world.seat(waiting.seat).balanceWei == world.terms["seatWei"] + paid
    assert oracle.credit(who) == 0
    assert oracle.credit(hostile) == 14 * 1_000 * GWEI  # what was not used, as ever
    assert oracle.balance == world.owed() + oracle.credit(hostile) + BOUNTY


def test_leave__anybody_else__reverts(world, oracle, people, waiting):
    owner = people.owners[waiting.seat]
    for other in (people.stranger, owner, people.payer):
        with reverts(oracle.NotAnswerer, requestId=waiting.id, operator=operator(world, waiting).address):
            oracle.leaveCallbacks([waiting.item], sender=other)


def test_leave__window_open__reverts(world, oracle, hostile):
    answered = world.answer(world.ask_from(hostile))
    world.set_time(answered.closes_at)
    with reverts(oracle.NothingToFinalize):
        oracle.leaveCallbacks([answered.item], sender=operator(world, answered))


def test_leave__when_nobody_could_deliver_any_more__reverts(world, oracle, waiting):
    """Or whoever waits long enough could keep an answer from its consumer for good."""
    last = waiting.closes_at + RETRY_SECONDS - 15 * 86_400
    world.set_time(last + 1)
    with reverts(oracle.RetryClosed, requestId=waiting.id, closedAt=last):
        oracle.leaveCallbacks([waiting.item], sender=operator(world, waiting))


def test_leave__without_a_callback__is_an_ordinary_end(world, oracle, answered):
    world.close_window(answered)
    receipt = oracle.leaveCallbacks([answered.item], sender=operator(world, answered))
    assert oracle.statusOf(answered.id) == FINAL
    assert not oracle.CallbackLeft.from_receipt(receipt)
    assert not oracle.callbackLeft(answered.id)


def test_failed__callback_that_was_tried__is_not_left(world, oracle, people, hostile):
    hostile.set(REVERT, sender=people.stranger)
    answered = world.answer(world.ask_from(hostile))
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == UNDELIVERED
    assert not oracle.callbackLeft(answered.id)
    world.set_time(answered.closes_at + RETRY_SECONDS + 1)
    with reverts(oracle.NothingToReclaim, requestId=answered.id):
        oracle.reclaim(answered.request, answered.answer, sender=people.stranger)


def test_retry__left__pays_whoever_delivers_once(world, oracle, people, hostile, left):
    oracle.retryCallback(left.item, 200_000, sender=people.stranger)
    assert hostile.callbacks() == 1
    assert oracle.statusOf(left.id) == FINAL
    assert not oracle.callbackLeft(left.id)
    assert oracle.credit(people.stranger) == BOUNTY
    with reverts(oracle.WrongStatus, requestId=left.id, status=FINAL):
        oracle.retryCallback(left.item, 200_000, sender=people.watcher)
    assert oracle.balance == world.owed() + oracle.credit(hostile)


def test_retry__left_and_failing__pays_nobody(world, oracle, people, hostile, left):
    hostile.set(REVERT, sender=people.stranger)
    with reverts(oracle.CallbackReverted, requestId=left.id):
        oracle.retryCallback(left.item, 200_000, sender=people.stranger)
    assert oracle.credit(people.stranger) == 0
    assert oracle.callbackLeft(left.id)


def test_retry__left_with_less_gas_than_bought__reverts(world, oracle, people, left):
    with reverts(oracle.InsufficientGas, gasLeft=199_999, needed=200_000):
        oracle.retryCallback(left.item, 199_999, sender=people.stranger)


def test_reclaim__while_somebody_may_deliver__reverts(world, oracle, people, left):
    last = left.closes_at + RETRY_SECONDS
    world.set_time(last)
    with reverts(oracle.RetryOpen, requestId=left.id, closesAt=last):
        oracle.reclaim(left.request, left.answer, sender=people.stranger)


def test_reclaim__after_the_last_retry__returns_the_escrow_to_the_payer_once(world, oracle, people, hostile, left):
    before = oracle.credit(hostile)
    world.set_time(left.closes_at + RETRY_SECONDS + 1)
    oracle.reclaim(left.request, left.answer, sender=people.stranger)
    assert oracle.credit(hostile) == before + BOUNTY
    assert (oracle.statusOf(left.id), oracle.callbackLeft(left.id)) == (UNDELIVERED, True)
    assert oracle.isFinal(left.id, left.answer)
    with reverts(oracle.NothingToReclaim, requestId=left.id):
        oracle.reclaim(left.request, left.answer, sender=people.stranger)
    with reverts(oracle.RetryClosed, requestId=left.id, closedAt=left.closes_at + RETRY_SECONDS):
        oracle.retryCallback(left.item, 200_000, sender=people.stranger)
    assert oracle.balance == world.owed() + oracle.credit(hostile)


def test_wager__callback_left__keeps_its_stakes_until_somebody_delivers(world, oracle, people):
    arguments = (oracle, world.service, THREE, MARGIN, 900, people.deployer)
    wager = project.Wager.deploy(*arguments, sender=people.deployer)
    question = b"The invoice was paid on Monday. Question: was the invoice paid?"
    wager.offer(question, value=ETHER, sender=people.payer)
    wager.take(0, value=ETHER, sender=people.challenger)
    receipt = wager.settle(0, GWEI, value=wager.price(0, GWEI), sender=people.stranger)
    answered = world.answer(world.posted(receipt), verdict(0))
    world.close_window(answered)
    oracle.leaveCallbacks([answered.item], sender=operator(world, answered))
    with reverts(wager.NotVoidable, bet=0):
        wager.void(0, sender=people.challenger)
    assert wager.owedWei(people.payer) == wager.owedWei(people.challenger) == 0
    oracle.retryCallback(answered.item, 90_000, sender=people.payer)
    assert wager.owedWei(people.payer) == 2 * ETHER
    assert oracle.credit(people.payer) == 150_000 * GWEI
