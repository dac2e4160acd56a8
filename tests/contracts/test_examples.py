"""The example dapps: no party can freeze the other's stake, choose the outcome, or be paid twice."""

import pytest
from ape import project, reverts
from eth_utils import keccak
from world import ETHER, FINAL, GWEI, MARGIN, THREE, UNDELIVERED, UNKNOWN, WRONG, verdict

from oracle.engines.answer_types import choice_type

OPEN, ASKED, YES, NO, VOID = range(5)
SAYS_YES, SAYS_NO, SAYS_UNKNOWN = map(verdict, range(3))
QUESTION = b"The invoice was paid on Monday. Question: was the invoice paid?"


@pytest.fixture
def wager(world, people):
    return wager_on(world.oracle, world.service, people)


def wager_on(oracle, service, people, answer_type=THREE):
    return project.Wager.deploy(oracle, service, answer_type, MARGIN, 900, people.deployer, sender=people.deployer)


@pytest.fixture
def bet(wager, people):
    """One ether each: `payer` says yes, `challenger` no."""
    wager.offer(QUESTION, value=ETHER, sender=people.payer)
    wager.take(0, value=ETHER, sender=people.challenger)
    return 0


def settle(world, wager, bet):
    price = wager.price(bet, GWEI)
    receipt = wager.settle(bet, GWEI, value=price, sender=world.people.stranger)
    return world.posted(receipt)


def delivered(world, wager, bet, output):
    """The bet's request, answered with `output` and finalized."""
    answered = world.answer(settle(world, wager, bet), output)
    world.finalize(answered)
    return answered


# CORRESPONDENT


def test_correspondent__wrong_price__reverts(world, oracle, people, correspondent):
    params = world.params(callbackGas=60_000, callbackGasPriceWei=GWEI)
    price = correspondent.price(5, params)
    with reverts(oracle.WrongFee, expectedWei=price, givenWei=price - 1):
        correspondent.ask(b"Hello", params, value=price - 1, sender=people.payer)


def test_correspondent__answered__stores_the_hash_and_sweeps_the_rest(world, oracle, people, correspondent):
    params = world.params(callbackGas=60_000, callbackGasPriceWei=GWEI)
    receipt = correspondent.ask(b"Hello", params, value=correspondent.price(5, params), sender=people.payer)
    answered = world.answer(world.posted(receipt), b"Hello to you")
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == FINAL
    assert bytes(correspondent.answerHash(answered.id)) == keccak(b"Hello to you")
    before = people.deployer.balance
    correspondent.sweep(sender=people.stranger)
    assert people.deployer.balance == before + 14 * 1_000 * GWEI


# WAGER


def test_wager__type_of_one_choice__is_refused(world, people):
    """Nobody could lose."""
    one = choice_type([[7]], b"root")
    with reverts(project.Wager.NotAChoice):
        wager_on(world.oracle, world.service, people, one)


def test_offer__nothing_staked__reverts(wager, people):
    with reverts(wager.NoStake):
        wager.offer(QUESTION, value=0, sender=people.payer)


def test_offer__question_the_service_refuses__reverts(oracle, wager, people):
    """Or both stakes would be frozen behind a question that can never be asked."""
    most = 4_096 - len(THREE) - 2  # the kinds of the prompt and of its words
    with reverts(oracle.PromptTooLong, lengthBytes=4_097, mostBytes=4_096):
        wager.offer(b"?" * (most + 1), value=1, sender=people.payer)
    wager.offer(b"?" * most, value=1, sender=people.payer)


def test_take__other_stake__reverts(wager, people):
    wager.offer(QUESTION, value=ETHER, sender=people.payer)
    with reverts(wager.WrongStake, expectedWei=ETHER, givenWei=1):
        wager.take(0, value=1, sender=people.challenger)


def test_take__taken__reverts(wager, people, bet):
    with reverts(wager.NotTakeable, bet=bet):
        wager.take(bet, value=ETHER, sender=people.stranger)


def test_settle__untaken__reverts(wager, people):
    wager.offer(QUESTION, value=ETHER, sender=people.payer)
    with reverts(wager.NotAskable, bet=0):
        wager.settle(0, GWEI, value=0, sender=people.payer)


def test_settle__twice__reverts(world, wager, people, bet):
    settle(world, wager, bet)
    with reverts(wager.NotAskable, bet=bet):
        wager.settle(bet, GWEI, value=0, sender=people.payer)


def test_settle__asker__cannot_choose_a_deadline(world, oracle, wager, bet, lens):
    """Whoever is about to lose would choose one that nobody can meet, and get the stake back."""
    asked = settle(world, wager, bet)
    parts = lens.unpackRequest(asked.request)
    assert parts.params.deadline == asked.receipt.timestamp + 900


@pytest.mark.parametrize(
    ("output", "outcome", "payer_wei", "challenger_wei"),
    [
        (SAYS_YES, YES, 2 * ETHER, 0),
        (SAYS_NO, NO, 0, 2 * ETHER),
        (SAYS_UNKNOWN, VOID, ETHER, ETHER),
        (verdict(0, MARGIN - 1), VOID, ETHER, ETHER),
        (verdict(1, 0), VOID, ETHER, ETHER),
        (verdict(3), VOID, ETHER, ETHER),
        (verdict(UNKNOWN), VOID, ETHER, ETHER),
        (b"yes", VOID, ETHER, ETHER),
        (b"", VOID, ETHER, ETHER),
    ],
)
def test_wager__answered__pays_whom_the_answer_names(
    world, oracle, wager, people, bet, output, outcome, payer_wei, challenger_wei
):
    answered = delivered(world, wager, bet, output)
    assert oracle.statusOf(answered.id) == FINAL
    assert wager.betOf(bet).outcome == outcome
    assert wager.owedWei(people.payer) == payer_wei
    assert wager.owedWei(people.challenger) == challenger_wei


def test_wager__void_callback__fits_the_gas_it_buys(world, oracle, wager, bet):
    """The dearest outcome: two new balances."""
    answered = delivered(world, wager, bet, SAYS_UNKNOWN)
    assert oracle.statusOf(answered.id) != UNDELIVERED


def test_wager__lie_rejected__is_settled_by_the_next_answer(world, wager, people, bet):
    world.enrich()
    lie = world.answer(settle(world, wager, bet), SAYS_NO)
    world.judge(lie, [WRONG] * 3)
    assert wager.betOf(bet).outcome == ASKED
    truth = world.answer(lie.asked, SAYS_YES)
    world.finalize(truth)
    assert wager.betOf(bet).outcome == YES


def test_void__answer_expected__reverts(world, wager, people, bet):
    settle(world, wager, bet)
    with reverts(wager.NotVoidable, bet=bet):
        wager.void(bet, sender=people.payer)


def test_void__taken_and_not_asked__reverts(wager, people, bet):
    with reverts(wager.NotVoidable, bet=bet):
        wager.void(bet, sender=people.payer)


def test_void__untaken_by_a_stranger__reverts(wager, people):
    wager.offer(QUESTION, value=ETHER, sender=people.payer)
    with reverts(wager.NotVoidable, bet=0):
        wager.void(0, sender=people.stranger)


def test_void__untaken_by_the_offerer__returns_the_stake(wager, people):
    wager.offer(QUESTION, value=ETHER, sender=people.payer)
    wager.void(0, sender=people.payer)
    assert wager.owedWei(people.payer) == ETHER
    with reverts(wager.NotTakeable, bet=0):
        wager.take(0, value=ETHER, sender=people.challenger)


def test_close__request_refunded__returns_both_stakes_once(world, oracle, wager, people, bet):
    asked = settle(world, wager, bet)
    world.pass_time(901)
    oracle.refund(asked.request, sender=people.stranger)
    wager.close(asked.id, sender=people.stranger)
    assert wager.betOf(bet).outcome == VOID
    assert (wager.owedWei(people.payer), wager.owedWei(people.challenger)) == (ETHER, ETHER)
    with reverts(wager.NotAwaited, requestId=asked.id):
        wager.close(asked.id, sender=people.stranger)
    with reverts(wager.NotVoidable, bet=bet):
        wager.void(bet, sender=people.stranger)


def test_close__bet_went_stale_before__pays_nobody_twice(world, oracle, wager, people, bet):
    asked = settle(world, wager, bet)
    world.set_time(wager.betOf(bet).staleAt + 1)
    wager.void(bet, sender=people.stranger)
    wager.close(asked.id, sender=people.stranger)
    assert (wager.owedWei(people.payer), wager.owedWei(people.challenger)) == (ETHER, ETHER)


def test_void__service_gone_for_ninety_days__returns_both_stakes(world, oracle, wager, people, bet):
    for seat in range(6):
        oracle.announceExit(world.service, seat, sender=people.owners[seat])
    with reverts(oracle.NotEnoughOwners):
        wager.settle(bet, GWEI, value=wager.price(bet, GWEI), sender=people.payer)
    world.set_time(wager.betOf(bet).staleAt + 1)
    wager.void(bet, sender=people.stranger)
    assert (wager.owedWei(people.payer), wager.owedWei(people.challenger)) == (ETHER, ETHER)


def test_wager__answer_after_the_bet_went_stale__pays_nobody_twice(world, oracle, wager, people, bet):
    answered = world.answer(settle(world, wager, bet), SAYS_YES)
    world.set_time(wager.betOf(bet).staleAt + 1)
    wager.void(bet, sender=people.stranger)
    oracle.finalize([answered.item], sender=people.stranger)
    assert oracle.statusOf(answered.id) == FINAL
    assert wager.betOf(bet).outcome == VOID
    assert wager.owedWei(people.payer) + wager.owedWei(people.challenger) == 2 * ETHER == wager.balance


def test_collect__nothing_owed__reverts(wager, people, bet):
    with reverts(wager.NothingOwed, account=people.payer.address):
        wager.collect(sender=people.payer)


def test_collect__winner__is_paid_once(world, wager, people, bet):
    delivered(world, wager, bet, SAYS_YES)
    before = people.payer.balance
    receipt = wager.collect(sender=people.payer)
    assert people.payer.balance == before + 2 * ETHER - receipt.total_fees_paid
    with reverts(wager.NothingOwed, account=people.payer.address):
        wager.collect(sender=people.payer)
    wager.sweep(sender=people.stranger)
    assert wager.balance == 0
    assert world.oracle.credit(wager) == 0


# MODERATOR

NONE, WAITING, SHOWN, HIDDEN, HELD = range(5)
FINE, SPAM, ABUSE = map(verdict, range(3))
COMMENT = b"Buy gold now!"


@pytest.fixture
def moderator(world, people):
    arguments = (world.oracle, world.service, THREE, MARGIN, 900, people.watcher)
    return project.Moderator.deploy(*arguments, sender=people.deployer)


def post(world, moderator, text=COMMENT):
    price = moderator.price(len(text), GWEI)
    return world.posted(moderator.post(text, GWEI, value=price, sender=world.people.payer))


def labelled(world, moderator, output):
    """A comment that was posted, and labelled with that output. Its number."""
    world.finalize(world.answer(post(world, moderator), output))
    return moderator.Moderated[-1].comment


@pytest.mark.parametrize(
    ("output", "status", "strikes"),
    [
        (b"", HELD, 0),
        (b"fine", HELD, 0),
        (verdict(0, MARGIN - 1), HELD, 0),
        (verdict(1, MARGIN - 1), HELD, 0),
        (verdict(3), HELD, 0),
        (FINE, SHOWN, 0),
        (SPAM, HIDDEN, 1),
        (ABUSE, HIDDEN, 1),
    ],
)
def test_moderator__labelled__acts_on_the_label(world, moderator, people, output, status, strikes):
    comment = labelled(world, moderator, output)
    assert moderator.commentOf(comment).status == status
    assert moderator.strikes(people.payer) == strikes


def test_moderator__comment__stands_behind_the_question(world, oracle, moderator):
    (event,) = oracle.RequestPosted.from_receipt(post(world, moderator).receipt)
    assert bytes(event.prompt).endswith(bytes(moderator.QUESTION()) + COMMENT)


def test_moderator__three_comments_hidden__author_is_banned_until_one_is_shown(world, moderator, people):
    world.enrich()
    hidden = [labelled(world, moderator, SPAM) for _ in range(3)]
    price = moderator.price(len(COMMENT), GWEI)
    with reverts(moderator.Banned, author=people.payer.address):
        moderator.post(COMMENT, GWEI, value=price, sender=people.payer)
    moderator.overrule(hidden[0], True, sender=people.watcher)
    moderator.overrule(hidden[0], True, sender=people.watcher)
    assert moderator.strikes(people.payer) == 2
    moderator.post(COMMENT, GWEI, value=price, sender=people.payer)


def test_overrule__stranger__reverts(world, moderator, people):
    post(world, moderator)
    with reverts(moderator.NotReviewer, caller=people.stranger.address):
        moderator.overrule(0, True, sender=people.stranger)


@pytest.mark.parametrize(("shows", "status", "strikes"), [(True, SHOWN, 0), (False, HIDDEN, 1)])
@pytest.mark.parametrize("output", [FINE, SPAM, verdict(1, MARGIN - 1)])
def test_overrule__waiting__acts_and_no_later_verdict_does(
    world, oracle, moderator, people, shows, status, strikes, output
):
    """Or a text that no node may answer, or a verdict that nobody finalizes, would put a comment out of reach."""
    asked = post(world, moderator)
    moderator.overrule(0, shows, sender=people.watcher)
    assert (moderator.commentOf(0).status, moderator.strikes(people.payer)) == (status, strikes)
    answered = world.answer(asked, output)
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == FINAL
    assert moderator.verdictOf(answered.id).isHeard
    assert (moderator.commentOf(0).status, moderator.strikes(people.payer)) == (status, strikes)
    assert len(list(moderator.Moderated)) == 1


def test_overrule__waiting_and_closed_later__stands(world, moderator, people):
    asked = post(world, moderator)
    moderator.overrule(0, False, sender=people.watcher)
    world.pass_time(901)
    moderator.close(asked.id, sender=people.stranger)
    assert (moderator.commentOf(0).status, moderator.strikes(people.payer)) == (HIDDEN, 1)


def test_moderator__nobody_answers__comment_is_held_and_a_person_rules(world, moderator, people):
    asked = post(world, moderator)
    world.pass_time(901)
    moderator.close(asked.id, sender=people.stranger)
    assert moderator.commentOf(0).status == HELD
    moderator.overrule(0, False, sender=people.watcher)
    assert (moderator.commentOf(0).status, moderator.strikes(people.payer)) == (HIDDEN, 1)


def test_moderator__callback__fits_the_gas_it_buys(world, oracle, moderator):
    """The dearest label: a first strike."""
    answered = world.answer(post(world, moderator), ABUSE)
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == FINAL
