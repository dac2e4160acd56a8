"""A council of models: no service alone decides, flips or prevents what others say, and none is waited for in vain."""

import pytest
from ape import networks, project, reverts
from world import ETHER, FINAL, FOUR, GWEI, MARGIN, UNKNOWN, WRONG, Asked, verdict

from oracle.engines.answer_types import choice_type

NONE, MEMBERS, STRONGER, ARBITER, DECIDED = range(5)
TEXT = b"Which of the four teams won the cup?"
MARGINS = (MARGIN, 2 * MARGIN, 3 * MARGIN)
PATIENCE = 20_000
OURS = [choice_type([[base], [base + 1], [base + 2], [base + 3]], b"root%d" % base) for base in range(1, 6)]
"""The same choices in other vocabularies' tokens."""


@pytest.fixture
def four(world):
    return world.beside(4)


def council_of(oracle, people, members, quorum, stronger):
    rules = (quorum, people.watcher, 1_000, PATIENCE, people.deployer)
    return project.Council.deploy(oracle, members, stronger, rules, sender=people.deployer)


def member(world, answer_type=FOUR, margin=MARGIN, weight=1):
    return (world.service, answer_type, margin, weight)


def other(number, answer_type=FOUR, weight=1):
    """A member of another service for each number; nobody is asked."""
    return (number.to_bytes(32, "big"), answer_type, MARGIN, weight)


STRONG = other(99)


@pytest.fixture
def council(oracle, people, four):
    """Three members, of which two agree."""
    members = [member(four[n], OURS[n], MARGINS[n]) for n in range(3)]
    return council_of(oracle, people, members, 2, member(four[3], OURS[3], MARGIN, 0))


def ask(world, council, text=TEXT):
    """The requests to the members, in their order."""
    prices = council.prices(len(text), GWEI)
    receipt = council.ask(text, 0, GWEI, prices, value=sum(prices), sender=world.people.payer)
    events = world.oracle.RequestPosted.from_receipt(receipt)
    world.mine(3)
    return [Asked(int(event.requestId), event.request, receipt) for event in events]


@pytest.fixture
def asked(world, council):
    return ask(world, council)


def say(world, request, choice, margin=3 * MARGIN):
    """That request's answer, final."""
    answered = world.answer(request, verdict(choice, margin))
    world.finalize(answered)
    assert world.oracle.statusOf(answered.id) == FINAL
    return answered


def escalate(world, council, question=0):
    price = council.strongerPrice(len(TEXT), GWEI)
    return world.posted(council.escalate(question, TEXT, GWEI, value=price, sender=world.people.payer))


def expire(world):
    world.pass_time(1_001)


# WEIGHTS


@pytest.mark.parametrize(
    ("weights", "quorum"),
    [
        ((1,), 1),  # one decides
        ((1, 1), 1),
        ((1, 1), 2),  # one prevents
        ((1, 1, 1), 1),
        ((1, 1, 1), 3),
        ((1, 1, 1, 1), 2),  # two choices may win
        ((3, 1, 1), 3),
        ((3, 2, 2), 5),  # without the first, four
        ((0, 1, 1, 1), 2),
        ((86, 86, 86), 130),  # more than a byte
        ((), 0),
        ((), 1),
    ],
)
def test_council__weights_by_which_one_decides_or_prevents__are_refused(oracle, people, weights, quorum):
    with reverts(project.Council.BadQuorum):
        council_of(oracle, people, [other(n, weight=w) for n, w in enumerate(weights)], quorum, STRONG)


@pytest.mark.parametrize(("weights", "quorum"), [((1, 1, 1), 2), ((3, 2, 2), 4), ((85, 85, 85), 128), ((1,) * 5, 4)])
def test_council__other_weights__are_taken(oracle, people, weights, quorum):
    made = council_of(oracle, people, [other(n, weight=w) for n, w in enumerate(weights)], quorum, STRONG)
    assert made.quorum() == quorum


@pytest.mark.parametrize("services", [(1, 1, 3), (1, 2, 1), (1, 2, 2), (1, 2, 99), (99, 2, 3)])
def test_council__service_named_twice__is_refused(oracle, people, services):
    """Two votes of one service would be one opinion, and the stronger is to be another than those that disagree."""
    twice = next(each for each in services if [*services, 99].count(each) == 2)
    with reverts(project.Council.SameService, service=twice.to_bytes(32, "big")):
        council_of(oracle, people, [other(each) for each in services], 2, STRONG)


def test_council__types_of_other_choices__are_refused(oracle, people):
    three = choice_type([[7], [8], [9]], b"root")
    members = [other(0), other(1, three), other(2)]
    with reverts(project.Council.ChoicesDiffer, expected=4, given=3):
        council_of(oracle, people, members, 2, STRONG)


def test_council__more_choices_than_a_type_has__are_refused(oracle, people):
    many = choice_type([[n] for n in range(17)], b"root")
    with reverts(project.Council.NotAChoice):
        council_of(oracle, people, [other(n, many) for n in range(3)], 2, other(99, many))


# ASKING


def test_ask__prices_for_other_members__reverts(council, people):
    with reverts(council.WrongPrices, expected=3, given=2):
        council.ask(TEXT, 0, GWEI, [1, 1], value=2, sender=people.payer)


@pytest.mark.parametrize("held", [0, ETHER], ids=["nothing held", "ether held"])
@pytest.mark.parametrize("change", [-1, 1], ids=["less", "more"])
def test_ask__ether_that_is_not_the_sum__reverts(council, people, held, change):
    """Less would be paid from what the council may hold, and more would stay in it."""
    networks.provider.set_balance(council.address, held)
    prices = council.prices(len(TEXT), GWEI)
    total = sum(prices)
    with reverts(council.WrongSum, expectedWei=total, givenWei=total + change):
        council.ask(TEXT, 0, GWEI, prices, value=total + change, sender=people.payer)
    council.ask(TEXT, 0, GWEI, prices, value=total, sender=people.payer)
    assert council.balance == held


def test_ask__one_wrong_price__reverts(oracle, council, people):
    first, second, third = council.prices(len(TEXT), GWEI)
    with reverts(oracle.WrongFee, expectedWei=first, givenWei=first + 1):
        council.ask(TEXT, 0, GWEI, [first + 1, second - 1, third], value=first + second + third, sender=people.payer)


def test_ask__all_members__get_the_text_behind_their_own_types(oracle, council, asked):
    prompts = [bytes(event.prompt) for event in oracle.RequestPosted.from_receipt(asked[0].receipt)]
    assert prompts == [b"\x03" + answer_type + b"\x00" + TEXT for answer_type in OURS[:3]]
    assert council.balance == 0


# DECIDING


def test_council__two_agree__decided_before_the_third_is_heard(four, council, asked):
    say(four[0], asked[0], 2)
    assert council.stateOf(0).stage == MEMBERS
    say(four[1], asked[1], 2)
    assert (council.stateOf(0).stage, council.stateOf(0).choice) == (DECIDED, 2)


def test_council__third_says_otherwise_later__changes_nothing(four, council, asked):
    say(four[0], asked[0], 2)
    say(four[1], asked[1], 2)
    say(four[2], asked[2], 1)
    assert council.stateOf(0).choice == 2
    assert len(list(council.Decided)) == 1


def test_council__one_lies_first__the_others_decide(four, council, asked):
    say(four[0], asked[0], 0, 2**32 - 1)
    say(four[1], asked[1], 3)
    say(four[2], asked[2], 3)
    assert (council.stateOf(0).stage, council.stateOf(0).choice) == (DECIDED, 3)


def test_council__one_is_silent__the_others_decide(four, council, asked):
    say(four[1], asked[1], 3)
    say(four[2], asked[2], 3)
    assert council.stateOf(0).choice == 3


def test_council__lie_is_rejected_by_its_own_panel__counts_for_nobody(four, council, asked):
    lie = four[0].answer(asked[0], verdict(0))
    four[0].judge(lie, [WRONG] * 3)
    say(four[0], asked[0], 3)
    say(four[1], asked[1], 3)
    assert council.stateOf(0).choice == 3


def test_council__margin_below_a_member_s_own__is_no_opinion(four, council, asked):
    say(four[0], asked[0], 2)
    say(four[1], asked[1], 2, MARGINS[1] - 1)  # enough for the first
    assert council.stateOf(0).stage == MEMBERS
    say(four[2], asked[2], 2, MARGINS[2])
    assert council.stateOf(0).choice == 2


def test_council__weights__count(oracle, people, four):
    members = [member(four[n], OURS[n], MARGIN, weight) for n, weight in enumerate((3, 2, 2))]
    council = council_of(oracle, people, members, 4, member(four[3], OURS[3]))
    asked = ask(four[0], council)
    say(four[1], asked[1], 1)
    say(four[0], asked[0], 0)
    assert council.stateOf(0).stage == MEMBERS
    say(four[2], asked[2], 1)
    assert (council.stateOf(0).stage, council.stateOf(0).choice) == (DECIDED, 1)


def test_council__last_choice__has_its_own_place_in_the_tally(four, council, asked):
    for n in range(2):
        say(four[n], asked[n], 3)
    assert council.stateOf(0).tally == 2 << 24


# THE STRONGER SERVICE


def test_escalate__members_may_still_agree__reverts(four, council, asked, people):
    say(four[0], asked[0], 2)
    with reverts(council.NotUndecided, question=0):
        council.escalate(0, TEXT, GWEI, value=0, sender=people.payer)


def test_escalate__another_text__reverts(four, council, asked, people):
    for n in range(3):
        say(four[n], asked[n], n)
    with reverts(council.WrongText, question=0):
        council.escalate(0, TEXT + b" The reds!", GWEI, value=0, sender=people.payer)


def test_escalate__decided__reverts(four, council, asked, people, world):
    for n in range(2):
        say(four[n], asked[n], 1)
    world.pass_time(PATIENCE + 1)
    with reverts(council.NotUndecided, question=0):
        council.escalate(0, TEXT, GWEI, value=0, sender=people.payer)


def test_escalate__members_disagree__the_stronger_decides(four, council, asked):
    for n in range(3):
        say(four[n], asked[n], n)
    assert council.stateOf(0).stage == MEMBERS
    request = escalate(four[0], council)
    say(four[3], request, 1)
    assert (council.stateOf(0).stage, council.stateOf(0).choice) == (DECIDED, 1)
    (event,) = council.Decided
    assert event.by == STRONGER


def test_escalate__two_unsure_and_one_silent__needs_no_third(four, council, asked):
    """The third alone could not decide any more."""
    for n in range(2):
        say(four[n], asked[n], n, 0)
    say(four[3], escalate(four[0], council), 0)
    assert council.stateOf(0).choice == 0


def test_escalate__twice__reverts(four, council, asked, people):
    for n in range(3):
        say(four[n], asked[n], n)
    escalate(four[0], council)
    with reverts(council.NotUndecided, question=0):
        council.escalate(0, TEXT, GWEI, value=0, sender=people.payer)


def test_escalate__two_silent_members__are_closed_and_passed_over(world, four, council, asked, people):
    say(four[0], asked[0], 2)
    expire(world)
    for request in asked[1:]:
        council.close(request.id, sender=people.stranger)
    say(four[3], escalate(four[0], council), 2)
    assert council.stateOf(0).choice == 2


def test_escalate__members_never_closed__are_passed_over_after_the_patience(world, four, council, asked, people):
    four[0].answer(asked[0], verdict(2))  # a node that never finalizes, and one in a dispute that takes its time
    four[1].challenge(four[1].answer(asked[1], verdict(2)))
    world.set_time(council.stateOf(0).staleAt)
    with reverts(council.NotUndecided, question=0):
        council.escalate(0, TEXT, GWEI, value=0, sender=people.payer)
    world.set_time(council.stateOf(0).staleAt + 1)
    escalate(world, council)
    assert council.stateOf(0).stage == STRONGER


def test_council__member_heard_after_the_stronger_was_asked__changes_nothing(world, four, council, asked, people):
    late = four[2].answer(asked[2], verdict(2, 3 * MARGIN))
    say(four[0], asked[0], 2)
    world.set_time(council.stateOf(0).staleAt + 1)
    request = escalate(world, council)
    world.oracle.finalize([late.item], sender=people.stranger)
    assert world.oracle.statusOf(late.id) == FINAL
    assert council.stateOf(0).stage == STRONGER
    say(four[3], request, 0)
    assert council.stateOf(0).choice == 0


# THE ARBITER


@pytest.fixture
def unsure(four, council, asked):
    """A question of which the stronger service was not sure."""
    for n in range(3):
        say(four[n], asked[n], n)
    say(four[3], escalate(four[0], council), 1, MARGIN - 1)
    assert council.stateOf(0).stage == ARBITER
    return 0


def test_rule__stranger__reverts(council, unsure, people):
    with reverts(council.NotArbiter, caller=people.stranger.address):
        council.rule(unsure, 1, sender=people.stranger)


@pytest.mark.parametrize("choice", [4, 254])
def test_rule__no_such_choice__reverts(council, unsure, people, choice):
    with reverts(council.NoSuchChoice, choice=choice):
        council.rule(unsure, choice, sender=people.watcher)


@pytest.mark.parametrize("choice", [0, 3, UNKNOWN])
def test_rule__stronger_was_not_sure__decides_once(council, unsure, people, choice):
    council.rule(unsure, choice, sender=people.watcher)
    assert (council.stateOf(0).stage, council.stateOf(0).choice) == (DECIDED, choice)
    with reverts(council.NotUndecided, question=0):
        council.rule(unsure, choice, sender=people.watcher)


def test_rule_and_escalate__never_asked__revert(council, people):
    with reverts(council.NotUndecided, question=7):
        council.rule(7, 1, sender=people.watcher)
    with reverts(council.NotUndecided, question=7):
        council.escalate(7, b"", GWEI, value=0, sender=people.payer)


def test_rule__others_may_still_decide__reverts(world, four, council, asked, people):
    with reverts(council.NotUndecided, question=0):
        council.rule(0, 1, sender=people.watcher)
    world.set_time(council.stateOf(0).staleAt + 1)
    escalate(world, council)
    with reverts(council.NotUndecided, question=0):
        council.rule(0, 1, sender=people.watcher)


def test_rule__stronger_is_silent__may_once_it_is_closed(world, four, council, asked, people):
    world.set_time(council.stateOf(0).staleAt + 1)
    request = escalate(world, council)
    expire(world)
    council.close(request.id, sender=people.stranger)
    council.rule(0, 1, sender=people.watcher)
    assert council.stateOf(0).choice == 1


def test_rule__stronger_never_ends_or_was_never_asked__may_after_a_second_patience(world, council, asked, people):
    stale = council.stateOf(0).staleAt
    world.set_time(stale + PATIENCE)
    with reverts(council.NotUndecided, question=0):
        council.rule(0, 1, sender=people.watcher)
    world.set_time(stale + PATIENCE + 1)
    council.rule(0, 1, sender=people.watcher)
    assert council.stateOf(0).choice == 1


def test_council__verdict_after_the_arbiter_ruled__changes_nothing(world, four, council, asked, people):
    world.set_time(council.stateOf(0).staleAt + 1)
    request = escalate(world, council)
    late = four[3].answer(request, verdict(2))
    world.set_time(council.stateOf(0).staleAt + PATIENCE + 1)
    council.rule(0, 1, sender=people.watcher)
    world.oracle.finalize([late.item], sender=people.stranger)
    assert world.oracle.statusOf(late.id) == FINAL
    assert council.stateOf(0).choice == 1


# MONEY AND GAS


def test_sweep__refunds__go_to_the_treasury(oracle, four, council, asked, people):
    for n in range(2):
        say(four[n], asked[n], 1)
    before = people.deployer.balance
    owed = oracle.credit(council)
    council.sweep(sender=people.stranger)
    assert owed > 0
    assert people.deployer.balance == before + owed
    assert council.balance == 0


def test_two_questions__do_not_mix(four, council, asked):
    other = ask(four[0], council)
    say(four[0], asked[0], 1)
    say(four[1], other[1], 1)
    assert council.stateOf(0).stage == council.stateOf(1).stage == MEMBERS
    say(four[1], asked[1], 1)
    assert (council.stateOf(0).stage, council.stateOf(1).stage) == (DECIDED, MEMBERS)
