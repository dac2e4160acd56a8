"""A labelling contest: who names the model's label is paid, once; who disputes rightly takes the others' stakes."""

import pytest
from ape import project, reverts
from eth_utils import keccak
from world import ETHER, FINAL, GWEI, MARGIN, THREE, UNKNOWN, WRONG, verdict

from oracle.engines.answer_types import choice_type

NONE, OPEN, ASKED, WON, VOID = range(5)
REWARD, STAKE = 2 * ETHER, ETHER
WINDOW, ANSWER_SECONDS = 600, 900
TEXT = b"The match ended in a draw after extra time."
SPORT, NEWS, OTHER = range(3)


@pytest.fixture
def contest(world, people):
    return contest_of(world, people)


def contest_of(world, people, answer_type=THREE):
    terms = (MARGIN, ANSWER_SECONDS, WINDOW, STAKE, people.deployer)
    return project.LabelContest.deploy(world.oracle, world.service, answer_type, *terms, sender=people.deployer)


@pytest.fixture
def item(contest, people):
    contest.post(TEXT, value=REWARD, sender=people.payer)
    return 0


def name(contest, item, label, who):
    return contest.label(item, label, value=STAKE, sender=who)


@pytest.fixture
def disputed(world, contest, item, people):
    """`challenger` says sport, `watcher` says news, and no more may say anything."""
    name(contest, item, SPORT, people.challenger)
    name(contest, item, NEWS, people.watcher)
    world.set_time(contest.itemOf(item).closesAt + 1)
    world.mine(1)
    return item


def ask(world, contest, item):
    price = contest.price(item, len(TEXT), GWEI)
    return world.posted(contest.ask(item, TEXT, GWEI, value=price, sender=world.people.stranger))


def judged(world, contest, item, output):
    answered = world.answer(ask(world, contest, item), output)
    world.finalize(answered)
    assert world.oracle.statusOf(answered.id) == FINAL  # the callback fits the gas that it buys
    return answered


def owed(contest, *accounts):
    return [contest.owedWei(account) for account in accounts]


# POSTING AND LABELLING


def test_contest__type_of_one_label__is_refused(world, people):
    """Nobody could disagree."""
    with reverts(project.LabelContest.NotAChoice):
        contest_of(world, people, choice_type([[7]], b"root"))


def test_post__nothing_offered__reverts(contest, people):
    with reverts(contest.NoReward):
        contest.post(TEXT, value=0, sender=people.payer)


def test_post__text_the_service_refuses__reverts(oracle, contest, people):
    """Or stakes would lie behind a question that can never be asked."""
    most = 4_096 - len(THREE) - 2 - len(bytes(contest.QUESTION()))
    with reverts(oracle.PromptTooLong, lengthBytes=4_097, mostBytes=4_096):
        contest.post(b"?" * (most + 1), value=1, sender=people.payer)
    contest.post(b"?" * most, value=1, sender=people.payer)


@pytest.mark.parametrize("stake", [0, STAKE - 1, STAKE + 1])
def test_label__other_stake__reverts(contest, item, people, stake):
    with reverts(contest.WrongStake, expectedWei=STAKE, givenWei=stake):
        contest.label(item, SPORT, value=stake, sender=people.challenger)


@pytest.mark.parametrize("label", [3, UNKNOWN])
def test_label__no_such_label__reverts(contest, item, people, label):
    with reverts(contest.NoSuchLabel, label=label):
        name(contest, item, label, people.challenger)


def test_label__named_by_another__reverts(contest, item, people):
    name(contest, item, SPORT, people.challenger)
    with reverts(contest.LabelTaken, item=item, label=SPORT):
        name(contest, item, SPORT, people.watcher)


def test_label__window__closes_after_the_first_label_s_time(world, contest, item, people):
    name(contest, item, SPORT, people.challenger)
    closes = contest.itemOf(item).closesAt
    world.set_time(closes)
    name(contest, item, NEWS, people.watcher)
    world.set_time(closes + 1)
    with reverts(contest.NotOpen, item=item):
        name(contest, item, OTHER, people.watcher)


# NOBODY DISAGREES


def test_accept__window_open__reverts(contest, item, people):
    name(contest, item, SPORT, people.challenger)
    with reverts(contest.WindowStillOpen, item=item, closesAt=contest.itemOf(item).closesAt):
        contest.accept(item, SPORT, sender=people.challenger)


def test_accept__one_label__pays_its_contestant_once_and_asks_nobody(world, contest, item, people):
    name(contest, item, SPORT, people.challenger)
    world.set_time(contest.itemOf(item).closesAt + 1)
    contest.accept(item, SPORT, sender=people.stranger)
    assert (contest.itemOf(item).stage, contest.itemOf(item).label) == (WON, SPORT)
    assert owed(contest, people.challenger, people.payer) == [REWARD + STAKE, 0]
    with reverts(contest.NotOpen, item=item):
        contest.accept(item, SPORT, sender=people.stranger)
    before = people.challenger.balance
    receipt = contest.collect(sender=people.challenger)
    assert people.challenger.balance == before + REWARD + STAKE - receipt.total_fees_paid
    assert contest.balance == 0


def test_accept__label_that_nobody_named__reverts(world, contest, item, people):
    name(contest, item, SPORT, people.challenger)
    world.set_time(contest.itemOf(item).closesAt + 1)
    with reverts(contest.NoSuchLabel, label=NEWS):
        contest.accept(item, NEWS, sender=people.stranger)


@pytest.mark.parametrize("label", [SPORT, NEWS])
def test_accept__disputed__reverts(contest, disputed, people, label):
    with reverts(contest.NotUndisputed, item=disputed, labels=2):
        contest.accept(disputed, label, sender=people.challenger)


def test_accept__no_label__reverts(contest, item, people):
    with reverts(contest.NotUndisputed, item=item, labels=0):
        contest.accept(item, SPORT, sender=people.payer)


# DISPUTES


def test_ask__window_open__reverts(contest, item, people):
    name(contest, item, SPORT, people.challenger)
    name(contest, item, NEWS, people.watcher)
    with reverts(contest.WindowStillOpen, item=item, closesAt=contest.itemOf(item).closesAt):
        contest.ask(item, TEXT, GWEI, value=0, sender=people.watcher)


def test_ask__undisputed__reverts(world, contest, item, people):
    name(contest, item, SPORT, people.challenger)
    world.set_time(contest.itemOf(item).closesAt + 1)
    with reverts(contest.NotDisputed, item=item, labels=1):
        contest.ask(item, TEXT, GWEI, value=0, sender=people.stranger)


def test_ask__another_text__reverts(contest, disputed, people):
    with reverts(contest.WrongText, item=disputed):
        contest.ask(disputed, TEXT + b" It is news!", GWEI, value=0, sender=people.watcher)


def test_ask__twice__reverts(world, contest, disputed, people):
    ask(world, contest, disputed)
    with reverts(contest.NotOpen, item=disputed):
        contest.ask(disputed, TEXT, GWEI, value=0, sender=people.watcher)


def test_ask__question__has_the_text_and_the_whole_pot_at_stake(world, oracle, lens, contest, disputed):
    asked = ask(world, contest, disputed)
    (event,) = oracle.RequestPosted.from_receipt(asked.receipt)
    assert bytes(event.prompt).endswith(bytes(contest.QUESTION()) + TEXT)
    params = lens.unpackRequest(asked.request).params
    assert params.valueFinney == (REWARD + 2 * STAKE) // 10**15
    assert params.deadline == asked.receipt.timestamp + ANSWER_SECONDS


@pytest.mark.parametrize(
    ("label", "winner", "loser"), [(SPORT, "challenger", "watcher"), (NEWS, "watcher", "challenger")]
)
def test_verdict__label_that_somebody_named__takes_reward_and_all_stakes(
    world, contest, disputed, people, label, winner, loser
):
    judged(world, contest, disputed, verdict(label))
    assert (contest.itemOf(disputed).stage, contest.itemOf(disputed).label) == (WON, label)
    winner, loser = getattr(people, winner), getattr(people, loser)
    assert owed(contest, winner, loser, people.payer) == [REWARD + 2 * STAKE, 0, 0]
    for each in (SPORT, NEWS):
        with reverts(contest.NoStake, item=disputed, label=each):
            contest.takeBack(disputed, each, sender=people.challenger if each == SPORT else people.watcher)
    contest.collect(sender=winner)
    assert contest.balance == 0


NOBODYS = [verdict(OTHER), verdict(SPORT, MARGIN - 1), verdict(NEWS, 0), verdict(3), verdict(UNKNOWN), b"sport", b""]


@pytest.mark.parametrize("output", NOBODYS)
def test_verdict__unknown_or_nobody_s__gives_everybody_their_own_back(world, contest, disputed, people, output):
    judged(world, contest, disputed, output)
    assert_void(contest, disputed, people)


def assert_void(contest, item, people):
    """Each has their own back, once; nothing is left."""
    assert (contest.itemOf(item).stage, contest.itemOf(item).label) == (VOID, UNKNOWN)
    assert owed(contest, people.payer, people.challenger, people.watcher) == [REWARD, 0, 0]
    with reverts(contest.NoStake, item=item, label=SPORT):
        contest.takeBack(item, SPORT, sender=people.watcher)
    with reverts(contest.NoStake, item=item, label=OTHER):
        contest.takeBack(item, OTHER, sender=people.watcher)
    contest.takeBack(item, SPORT, sender=people.challenger)
    contest.takeBack(item, NEWS, sender=people.watcher)
    with reverts(contest.NoStake, item=item, label=SPORT):
        contest.takeBack(item, SPORT, sender=people.challenger)
    assert owed(contest, people.payer, people.challenger, people.watcher) == [REWARD, STAKE, STAKE]
    for account in (people.payer, people.challenger, people.watcher):
        contest.collect(sender=account)
    assert contest.balance == 0


def test_verdict__lie_rejected__pays_by_the_next_answer(world, contest, disputed, people):
    world.enrich()
    lie = world.answer(ask(world, contest, disputed), verdict(SPORT))
    world.judge(lie, [WRONG] * 3)
    assert contest.itemOf(disputed).stage == ASKED
    world.finalize(world.answer(lie.asked, verdict(NEWS)))
    assert owed(contest, people.challenger, people.watcher) == [0, REWARD + 2 * STAKE]


def test_dispute__wrong_contestant_names_a_second_wrong_label__saves_no_stake(world, contest, item, people):
    """Whoever knows the model's label may still name it, and takes both."""
    name(contest, item, SPORT, people.challenger)
    name(contest, item, NEWS, people.challenger)
    name(contest, item, OTHER, people.watcher)
    world.set_time(contest.itemOf(item).closesAt + 1)
    judged(world, contest, item, verdict(OTHER))
    assert owed(contest, people.challenger, people.watcher) == [0, REWARD + 3 * STAKE]


# NOBODY ANSWERS, OR NOBODY PLAYS


def test_close__nobody_answered__gives_everybody_their_own_back(world, oracle, contest, disputed, people):
    asked = ask(world, contest, disputed)
    world.pass_time(ANSWER_SECONDS + 1)
    oracle.refund(asked.request, sender=people.stranger)
    contest.close(asked.id, sender=people.stranger)
    assert_void(contest, disputed, people)


def test_void__unlabelled_by_its_poster__returns_the_reward_and_takes_no_labels(contest, item, people):
    with reverts(contest.NotVoidable, item=item):
        contest.void(item, sender=people.stranger)
    contest.void(item, sender=people.payer)
    assert owed(contest, people.payer) == [REWARD]
    with reverts(contest.NotVoidable, item=item):
        contest.void(item, sender=people.payer)
    with reverts(contest.NotOpen, item=item):
        name(contest, item, SPORT, people.challenger)


def test_void__labelled_and_undisputed__reverts_at_any_time(world, contest, item, people):
    """A poster who has the label cannot take the reward back."""
    name(contest, item, SPORT, people.challenger)
    world.set_time(contest.itemOf(item).staleAt + 1)
    with reverts(contest.NotVoidable, item=item):
        contest.void(item, sender=people.payer)


@pytest.mark.parametrize("is_asked", [False, True])
def test_void__dispute_that_came_to_nothing__only_after_ninety_days(world, contest, disputed, people, is_asked):
    if is_asked:
        world.answer(ask(world, contest, disputed), verdict(SPORT))  # which nobody finalizes
    stale = contest.itemOf(disputed).staleAt
    world.set_time(stale)
    with reverts(contest.NotVoidable, item=disputed):
        contest.void(disputed, sender=people.stranger)
    world.set_time(stale + 1)
    contest.void(disputed, sender=people.stranger)
    assert_void(contest, disputed, people)


def test_verdict__after_the_item_went_stale__pays_nobody_twice(world, oracle, contest, disputed, people):
    answered = world.answer(ask(world, contest, disputed), verdict(SPORT))
    world.set_time(contest.itemOf(disputed).staleAt + 1)
    contest.void(disputed, sender=people.stranger)
    oracle.finalize([answered.item], sender=people.stranger)
    assert oracle.statusOf(answered.id) == FINAL
    assert_void(contest, disputed, people)


# MONEY


def test_collect__nothing_owed__reverts(contest, item, people):
    with reverts(contest.NothingOwed, account=people.payer.address):
        contest.collect(sender=people.payer)


def test_collect__contestant_that_refuses_or_calls_again__is_paid_once_and_holds_up_nobody(
    world, contest, item, hostile, people
):
    """Its ether stays owed; another's is paid meanwhile."""
    stake = contest.label.encode_input(item, SPORT)
    hostile.execute(contest, stake, value=STAKE, sender=people.stranger)
    name(contest, item, NEWS, people.watcher)
    world.set_time(contest.itemOf(item).closesAt + 1)
    judged(world, contest, item, verdict(SPORT))
    collect = contest.collect.encode_input()
    hostile.refuseEther(True, sender=people.stranger)
    with reverts(contest.TransferFailed, to=hostile.address, amountWei=REWARD + 2 * STAKE):
        hostile.execute(contest, collect, sender=people.stranger)
    contest.post(TEXT, value=1, sender=people.payer)
    contest.void(1, sender=people.payer)
    contest.collect(sender=people.payer)
    hostile.refuseEther(False, sender=people.stranger)
    hostile.plan([(contest, 0, collect)], sender=people.stranger)
    hostile.execute(contest, collect, sender=people.stranger)
    assert (hostile.balance, contest.balance, contest.owedWei(hostile)) == (REWARD + 2 * STAKE, 0, 0)


def test_two_items__do_not_mix(world, contest, disputed, people):
    contest.post(TEXT, value=REWARD, sender=people.payer)
    name(contest, 1, SPORT, people.watcher)
    judged(world, contest, disputed, verdict(SPORT))
    assert contest.itemOf(1).stage == OPEN
    assert world.now() > contest.itemOf(1).closesAt
    contest.accept(1, SPORT, sender=people.stranger)
    assert owed(contest, people.challenger, people.watcher) == [REWARD + 2 * STAKE, REWARD + STAKE]


def test_sweep__refunds__go_to_the_treasury_and_leave_stakes_alone(world, oracle, contest, disputed, people):
    judged(world, contest, disputed, verdict(SPORT))
    owed_wei, before = oracle.credit(contest), people.deployer.balance
    contest.sweep(sender=people.stranger)
    assert people.deployer.balance - before == owed_wei > 0
    assert contest.balance == REWARD + 2 * STAKE


def test_post__hash__is_the_text_s(contest, item):
    assert bytes(contest.itemOf(item).textHash) == keccak(TEXT)
