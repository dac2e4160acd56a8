"""What an arbiter may do to a request: within its own service, to a disputed answer, and to no other money."""

import pytest
from ape import accounts, networks, project, reverts
from world import ANNULLED, ANSWERED, BURN, DISPUTED, ETHER, FINAL, OPEN, REJECTED, UPHELD, terms


@pytest.fixture
def arbiter(people):
    contract = project.MockArbiter.deploy(3_600, sender=people.deployer)
    networks.provider.set_balance(contract.address, 100 * ETHER)
    return accounts[contract.address]


@pytest.fixture
def judged(world, oracle, people, arbiter):
    """The world with a service that `arbiter` judges, five active seats, and an answer in it."""
    world.service = world.create_service(terms(world.model, arbiter))
    for owner, operator in zip(people.owners[:5], people.operators[:5], strict=True):
        world.join(owner, operator)
    world.pass_time(1_800)
    for seat in range(5):
        oracle.activate(world.service, seat, sender=people.stranger)
    return world.answer(world.ask())


def payouts(*pairs):
    return [(account.address, wei) for account, wei in pairs]


def test_dispute__not_the_arbiter__reverts(world, oracle, people, judged):
    with reverts(oracle.NotArbiter, service=world.service, arbiter=people.stranger.address):
        oracle.dispute(judged.request, judged.answer, sender=people.stranger)


def test_dispute__not_answered__reverts(world, oracle, arbiter, judged):
    other = world.ask(maxTokens=3)
    with reverts(oracle.WrongStatus, requestId=other.id, status=OPEN):
        oracle.dispute(other.request, judged.answer, sender=arbiter)


def test_dispute__twice__reverts(oracle, arbiter, judged):
    oracle.dispute(judged.request, judged.answer, sender=arbiter)
    with reverts(oracle.WrongStatus, requestId=judged.id, status=DISPUTED):
        oracle.dispute(judged.request, judged.answer, sender=arbiter)


def test_dispute__window_closed__reverts(world, oracle, arbiter, judged):
    world.close_window(judged)
    with reverts(oracle.WindowClosed, requestId=judged.id, closesAt=judged.closes_at):
        oracle.dispute(judged.request, judged.answer, sender=arbiter)


def test_rule__not_the_arbiter__reverts(world, oracle, people, judged):
    with reverts(oracle.NotArbiter, service=world.service, arbiter=people.stranger.address):
        oracle.rule(judged.request, judged.answer, REJECTED, 0, [], sender=people.stranger)


def test_rule__not_disputed__reverts(oracle, arbiter, judged):
    with reverts(oracle.WrongStatus, requestId=judged.id, status=ANSWERED):
        oracle.rule(judged.request, judged.answer, REJECTED, 0, [], sender=arbiter)


def test_rule__after_finality__reverts(world, oracle, arbiter, judged):
    world.finalize(judged)
    with reverts(oracle.WrongStatus, requestId=judged.id, status=FINAL):
        oracle.rule(judged.request, judged.answer, REJECTED, 0, [], sender=arbiter)


@pytest.mark.parametrize(
    ("ruling", "slash", "most"), [(REJECTED, ETHER + 1, ETHER), (ANNULLED, ETHER + 1, ETHER), (UPHELD, 1, 0)]
)
def test_rule__slash_above_what_is_at_stake__reverts(oracle, arbiter, judged, ruling, slash, most):
    oracle.dispute(judged.request, judged.answer, sender=arbiter)
    with reverts(oracle.SlashTooLarge, slashWei=slash, bondWei=most):
        oracle.rule(judged.request, judged.answer, ruling, slash, [], sender=arbiter)


@pytest.mark.parametrize(
    ("ruling", "slash", "value", "most"),
    [
        (REJECTED, ETHER, 0, ETHER // 2),  # half is burnt, always
        (REJECTED, ETHER, 7, ETHER // 2 + 7),
        (REJECTED, 3, 0, 1),
        (ANNULLED, 10, 5, 15),
        (UPHELD, 0, 5, 5),
    ],
)
def test_rule_a22__payouts_above_the_pot__reverts(oracle, people, arbiter, judged, ruling, slash, value, most):
    oracle.dispute(judged.request, judged.answer, sender=arbiter)
    too_much = payouts((people.stranger, most), (people.payer, 1))
    with reverts(oracle.PayoutsTooLarge, payoutsWei=most + 1, mostWei=most):
        oracle.rule(judged.request, judged.answer, ruling, slash, too_much, value=value, sender=arbiter)


def test_rule__rejected__next_turn_begins_now(world, oracle, people, arbiter, judged, lens):
    oracle.dispute(judged.request, judged.answer, sender=arbiter)
    receipt = oracle.rule(
        judged.request, judged.answer, REJECTED, ETHER, payouts((people.stranger, ETHER // 2)), sender=arbiter
    )
    round_ = lens.roundOf(judged.id)
    assert (round_.firstTurn, round_.startsAt) == (judged.turn + 1, receipt.timestamp)
    assert oracle.credit(people.stranger) == ETHER // 2
    assert oracle.credit(BURN) == ETHER // 2
    assert world.seat(judged.seat).locks == 0


def test_rule__annulled__bond_returns(world, oracle, arbiter, judged):
    oracle.dispute(judged.request, judged.answer, sender=arbiter)
    oracle.rule(judged.request, judged.answer, ANNULLED, 0, [], sender=arbiter)
    assert world.seat(judged.seat).balanceWei == world.terms["seatWei"]
    assert oracle.statusOf(judged.id) == OPEN


def test_rule__upheld__stands_and_may_be_disputed_again_only_in_its_window(world, oracle, arbiter, judged):
    oracle.dispute(judged.request, judged.answer, sender=arbiter)
    world.pass_time(10_000)
    oracle.rule(judged.request, judged.answer, UPHELD, 0, [], sender=arbiter)
    assert oracle.statusOf(judged.id) == ANSWERED
    with reverts(oracle.WindowClosed):
        oracle.dispute(judged.request, judged.answer, sender=arbiter)
    oracle.finalize([judged.item], sender=arbiter)
    assert oracle.statusOf(judged.id) == FINAL
