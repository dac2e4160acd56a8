"""Services and seats: terms that cannot work are refused, stake cannot be dodged, and comes back."""

import pytest
from ape import accounts, networks, project, reverts
from eth_abi import encode
from eth_utils import keccak
from world import ACTIVE, EMPTY, ETHER, JOINING, LEAVE_SECONDS, LEAVING, panel_terms, terms

from oracle.chain.requests import Request


@pytest.fixture
def arbiter(world, people):
    """The service's arbiter as an account."""
    networks.provider.set_balance(world.panel.address, ETHER)
    return accounts[world.panel.address]


# CREATE


def test_create_service__unknown_model__reverts(oracle, panel, people):
    with reverts(oracle.UnknownModel, model=b"\x01" * 32):
        oracle.createService(terms(b"\x01" * 32, panel), sender=people.stranger)


DAY = 86_400


@pytest.mark.parametrize(
    ("changes", "error", "arguments"),
    [
        ({"turnSeconds": 0}, "TurnTooShort", {"turnSeconds": 0, "leastSeconds": 37}),
        ({"turnSeconds": 36}, "TurnTooShort", {"turnSeconds": 36, "leastSeconds": 37}),
        ({"windowSeconds": 0}, "WindowOutOfRange", {"windowSeconds": 0, "mostSeconds": 30 * DAY}),
        (
            {"windowSeconds": 30 * DAY + 1},
            "WindowOutOfRange",
            {"windowSeconds": 30 * DAY + 1, "mostSeconds": 30 * DAY},
        ),
        (
            {"lifetimeSeconds": DAY + 1, "turnSeconds": 3_000},
            "LifetimeOutOfRange",
            {"lifetimeSeconds": DAY + 1, "leastSeconds": 3_000, "mostSeconds": DAY},
        ),
        (
            {"lifetimeSeconds": 59},
            "LifetimeOutOfRange",
            {"lifetimeSeconds": 59, "leastSeconds": 60, "mostSeconds": 60 * 33 - 1},
        ),
        (
            {"lifetimeSeconds": 60 * 33},
            "LifetimeOutOfRange",
            {"lifetimeSeconds": 60 * 33, "leastSeconds": 60, "mostSeconds": 60 * 33 - 1},
        ),
        ({"bondWei": 0}, "NoBond", {}),
        ({"seatWei": ETHER - 1}, "SeatBelowBond", {"seatWei": ETHER - 1, "bondWei": ETHER}),
        ({"maxPromptBytes": 0}, "NoRoom", {"maxPromptBytes": 0, "maxTokens": 256}),
        ({"maxTokens": 0}, "NoRoom", {"maxPromptBytes": 4_096, "maxTokens": 0}),
        ({"minOwners": 0}, "NoOwners", {}),
    ],
)
def test_create_service__terms_that_cannot_work__reverts(world, oracle, panel, people, changes, error, arguments):
    with reverts(getattr(oracle, error), **arguments):
        oracle.createService(terms(world.model, panel, **changes), sender=people.stranger)


def test_create_service__shortest_turn__reaches_the_first_block_that_can_answer(world, oracle, panel, people):
    """A turn of 37 seconds: a seat in turn 0 answers in the third block of 12 seconds after the request's."""
    world.service = world.create_service(terms(world.model, panel, turnSeconds=37, lifetimeSeconds=1_000))
    for owner, operator in zip(people.owners, people.operators, strict=True):
        world.join(owner, operator)
    world.pass_time(1_800)
    for seat in range(6):
        oracle.activate(world.service, seat, sender=people.stranger)
    asked = world.ask(wait=False)
    asked_at = world.now()
    world.live(2 * 12)
    world.set_time(asked_at + 3 * 12)
    first = Request(*asked.request).place_of_turn(world.seed(asked), 0)
    assert world.answer(asked, sender=people.operators[first]).turn == 0


FEES = 3 * ETHER // 50
WEEK = 7 * DAY


@pytest.mark.parametrize(
    ("panel_changes", "changes", "error", "arguments"),
    [
        ({"panelSize": 4}, {"minOwners": 6}, "EvenPanel", {"panelSize": 4}),
        ({"panelSize": 65}, {"minOwners": 67}, "PanelTooLarge", {"panelSize": 65, "mostMembers": 63}),
        ({"voteFeeWei": 0}, {}, "NoVoteFee", {}),
        ({"absencePenaltyWei": 0}, {}, "NoAbsencePenalty", {}),
        ({}, {"minOwners": 4}, "TooFewOwners", {"minOwners": 4, "leastOwners": 5}),
        ({"commitSeconds": 0}, {}, "VotingOutOfRange", {"commitSeconds": 0, "revealSeconds": 600}),
        ({"revealSeconds": 0}, {}, "VotingOutOfRange", {"commitSeconds": 600, "revealSeconds": 0}),
        ({"commitSeconds": WEEK + 1}, {}, "VotingOutOfRange", {"commitSeconds": WEEK + 1, "mostSeconds": WEEK}),
        ({"revealSeconds": WEEK + 1}, {}, "VotingOutOfRange", {"revealSeconds": WEEK + 1, "mostSeconds": WEEK}),
        (
            {"challengeBondWei": FEES - 1},
            {},
            "ChallengeBondTooSmall",
            {"challengeBondWei": FEES - 1, "leastWei": FEES},
        ),
        ({}, {"bondWei": 4 * FEES - 1}, "BondTooSmall", {"bondWei": 4 * FEES - 1, "leastWei": 4 * FEES}),
        (
            {"absencePenaltyWei": ETHER // 2 + 1},
            {},
            "SeatTooSmall",
            {"seatWei": ETHER * 3 // 2, "leastWei": ETHER * 3 // 2 + 1},
        ),
        (
            {"absencePenaltyWei": 2**72 - 1},
            {},
            "SeatTooSmall",
            {"seatWei": ETHER * 3 // 2, "leastWei": ETHER + 2**72 - 1},
        ),
    ],
)
def test_create_service__terms_that_a_panel_cannot_judge__reverts(
    world, oracle, panel, people, panel_changes, changes, error, arguments
):
    wanted = terms(world.model, panel, **changes, arbiterTerms=panel_terms(**panel_changes))
    with reverts(getattr(panel, error), **arguments):
        oracle.createService(wanted, sender=people.stranger)


@pytest.mark.parametrize("attested", [False, True], ids=["panel", "tee"])
def test_create_service__longest_text_may_not_fit__reverts(world, oracle, panel, people, attested):
    """At most a token a byte, one for the wrapper, one for the output, in a context of 8,192."""
    attester = (
        project.MockAttester.deploy(sender=people.stranger).address if attested else terms(b"", panel)["attester"]
    )
    with reverts(panel.PromptMayNotFit, tokens=8_192, contextLength=8_192):
        oracle.createService(terms(world.model, panel, attester=attester, maxPromptBytes=8_191), sender=people.stranger)
    with reverts(panel.PromptMayNotFit, tokens=2**32, contextLength=8_192):
        oracle.createService(
            terms(world.model, panel, attester=attester, maxPromptBytes=2**32 - 1), sender=people.stranger
        )
    world.create_service(terms(world.model, panel, attester=attester, maxPromptBytes=8_190))


def test_create_service__arbiter_without_code__reverts(world, oracle, people):
    with reverts():  # the compiler's check that a called contract exists has no error of its own
        oracle.createService(terms(world.model, people.stranger), sender=people.stranger)


def test_create_service__same_terms_twice__reverts(world, oracle, people):
    with reverts(oracle.ServiceExists, service=world.service):
        oracle.createService(world.terms, sender=people.stranger)


def test_adopt__not_the_oracle__reverts(world, panel, people):
    with reverts(panel.NotOracle, caller=people.stranger.address):
        panel.adopt(world.service, world.terms, sender=people.stranger)


def test_create_service__good_terms__announces_them(world, oracle, panel):
    assert oracle.arbiterOf(world.service) == panel.address
    assert oracle.counts(world.service) == (6, 6)
    assert panel.termsOf(world.service).panelSize == 3


# JOIN AND ACTIVATE


def test_join__unknown_service__reverts(oracle, people):
    with reverts(oracle.UnknownService, service=bytes(32)):
        oracle.join(bytes(32), people.stranger, value=ETHER, sender=people.stranger)


def test_join__deposit_below_a_seat__reverts(world, oracle, people):
    least = world.terms["seatWei"]
    with reverts(oracle.DepositTooSmall, leastWei=least, givenWei=least - 1):
        oracle.join(world.service, people.stranger, value=least - 1, sender=people.stranger)


def test_join__more_than_a_balance_holds__reverts(world, oracle, people):
    networks.provider.set_balance(people.stranger.address, 10_000 * ETHER)
    with reverts(oracle.SeatBalanceTooLarge, balanceWei=2**72, mostWei=2**72 - 1):
        oracle.join(world.service, people.stranger, value=2**72, sender=people.stranger)


def test_join__service_full__reverts(world, oracle, people):
    slot = _rules_slot(world, oracle) + 1
    word = int.from_bytes(networks.provider.get_storage(oracle.address, slot), "big")
    full = word & ~(0xFFFF << 232) | 512 << 232
    networks.provider.make_request("anvil_setStorageAt", [oracle.address, hex(slot), f"0x{full:064x}"])
    assert oracle.counts(world.service)[0] == 512
    with reverts(oracle.ServiceFull, service=world.service):
        oracle.join(world.service, people.stranger, value=2 * ETHER, sender=people.stranger)


def _rules_slot(world, oracle):
    """Where the service's rules lie: the second word of the only mapping entry that holds its seat count."""
    for base in range(8):
        slot = int.from_bytes(keccak(encode(["bytes32", "uint256"], [world.service, base])), "big") + 1
        word = int.from_bytes(networks.provider.get_storage(oracle.address, slot), "big")
        if word >> 144 & 0xFFFF == 6 and word & (2**72 - 1) == ETHER:
            return slot
    raise AssertionError("the layout of Services changed")


def test_activate__too_early__reverts(world, oracle, people):
    seat = world.join(people.stranger, people.newcomers[0])
    ready_at = world.seat(seat).readyAt
    assert ready_at == world.now() + world.terms["lifetimeSeconds"]
    world.set_time(ready_at - 1)
    with reverts(oracle.NotReadyYet, readyAt=ready_at):
        oracle.activate(world.service, seat, sender=people.stranger)


def test_activate__already_active__reverts(world, oracle, people):
    with reverts(oracle.WrongSeatStatus, service=world.service, seat=0, status=ACTIVE):
        oracle.activate(world.service, 0, sender=people.stranger)


def test_activate__after_the_delay__counts_the_owner_once(world, oracle, people):
    first = world.join(people.stranger, people.newcomers[0])
    second = world.join(people.stranger, people.newcomers[1])
    assert (first, second) == (6, 7)
    assert world.seat(first).status == JOINING
    world.pass_time(world.terms["lifetimeSeconds"])
    oracle.activate(world.service, first, sender=people.payer)
    oracle.activate(world.service, second, sender=people.payer)
    assert oracle.counts(world.service) == (8, 7)


def test_seats_a15__taken_just_before_a_draw__cannot_answer(world, oracle, people, lens):
    """A seat can act only once every request that it might have been taken for is over."""
    asked = world.ask(wait=False)
    seat = world.join(people.newcomers[0], people.newcomers[1])
    deadline = lens.unpackRequest(asked.request).params.deadline
    assert lens.unpackRequest(asked.request).seatCount == seat  # not even in the draw
    assert world.seat(seat).readyAt >= deadline
    world.mine(3)
    with reverts(oracle.NotYourTurn):
        oracle.answer(asked.request, b" yes", 2, bytes(32), world.seed(asked), sender=people.newcomers[1])


def test_seats_a15__vacancy_taken_for_a_known_draw__cannot_answer(world, oracle, people, lens):
    oracle.announceExit(world.service, 2, sender=people.owners[2])
    world.pass_time(LEAVE_SECONDS)
    asked = world.ask(wait=False)
    oracle.exit(world.service, 2, sender=people.owners[2])
    assert world.join(people.newcomers[0], people.newcomers[1]) == 2
    world.mine(3)
    deadline = lens.unpackRequest(asked.request).params.deadline
    assert world.seat(2).readyAt >= deadline
    entitled = set()
    while world.now() < deadline - 60:
        _, seat, operator = lens.turnOf(asked.request)
        entitled.add((seat, operator))
        world.pass_time(60)
    assert all(operator != people.newcomers[1].address for _, operator in entitled)


# LEAVE


def test_announce_exit__not_the_owner__reverts(world, oracle, people):
    with reverts(oracle.NotSeatOwner, service=world.service, seat=0, owner=people.owners[0].address):
        oracle.announceExit(world.service, 0, sender=people.operators[0])


def test_announce_exit__joining__reverts(world, oracle, people):
    seat = world.join(people.stranger, people.newcomers[0])
    with reverts(oracle.WrongSeatStatus, service=world.service, seat=seat, status=JOINING):
        oracle.announceExit(world.service, seat, sender=people.stranger)


def test_announce_exit__twice__reverts(world, oracle, people):
    oracle.announceExit(world.service, 0, sender=people.owners[0])
    with reverts(oracle.WrongSeatStatus, service=world.service, seat=0, status=LEAVING):
        oracle.announceExit(world.service, 0, sender=people.owners[0])


def test_exit__not_announced__reverts(world, oracle, people):
    with reverts(oracle.WrongSeatStatus, service=world.service, seat=0, status=ACTIVE):
        oracle.exit(world.service, 0, sender=people.owners[0])


def test_exit__not_the_owner__reverts(world, oracle, people):
    with reverts(oracle.NotSeatOwner, service=world.service, seat=0, owner=people.owners[0].address):
        oracle.exit(world.service, 0, sender=people.stranger)


def test_exit__too_early__reverts(world, oracle, people):
    oracle.announceExit(world.service, 0, sender=people.owners[0])
    ready_at = world.seat(0).readyAt
    assert ready_at == world.now() + LEAVE_SECONDS
    world.set_time(ready_at - 1)
    with reverts(oracle.NotReadyYet, readyAt=ready_at):
        oracle.exit(world.service, 0, sender=people.owners[0])


def test_exit_a12__answer_still_open__reverts(world, oracle, people):
    """Whoever answered wrong cannot be gone when the bond is due, however late the dispute."""
    asked = world.ask()
    answered = world.answer(asked)
    seat = answered.seat
    oracle.announceExit(world.service, seat, sender=people.owners[seat])
    world.set_time(world.seat(seat).readyAt)
    with reverts(oracle.SeatLocked, service=world.service, seat=seat, locks=1):
        oracle.exit(world.service, seat, sender=people.owners[seat])


def test_exit_a12__panel_duty_open__reverts(world, oracle, people, answered):
    case = world.challenge(answered)
    member = world.draw(answered)[0]
    oracle.announceExit(world.service, member, sender=people.owners[member])
    world.set_time(world.seat(member).readyAt)
    with reverts(oracle.SeatLocked, service=world.service, seat=member, locks=1):
        oracle.exit(world.service, member, sender=people.owners[member])
    assert world.panel.caseOf(case).phase == 2


def test_exit__after_the_delay__pays_the_owner_and_frees_the_index(world, oracle, people):
    oracle.announceExit(world.service, 3, sender=people.owners[3])
    assert oracle.counts(world.service) == (6, 5)
    world.set_time(world.seat(3).readyAt)
    receipt = oracle.exit(world.service, 3, sender=people.owners[3])
    assert oracle.SeatLeft.from_receipt(receipt)[0].balanceWei == world.terms["seatWei"]
    assert oracle.credit(people.owners[3]) == world.terms["seatWei"]
    assert world.seat(3).status == EMPTY
    assert world.join(people.stranger, people.newcomers[0]) == 3
    assert world.join(people.stranger, people.newcomers[1]) == 6


def test_leaving_seat__in_turn__may_answer(world, oracle, people, asked):
    _, seat, _ = world.in_turn(asked)
    oracle.announceExit(world.service, seat, sender=people.owners[seat])
    assert world.answer(asked).seat == seat


# MONEY AND KEYS


def test_top_up__nobodys_seat__reverts(world, oracle, people):
    with reverts(oracle.WrongSeatStatus, service=world.service, seat=9, status=EMPTY):
        oracle.topUp(world.service, 9, value=1, sender=people.stranger)


def test_top_up__more_than_a_balance_holds__reverts(world, oracle, people):
    networks.provider.set_balance(people.stranger.address, 10_000 * ETHER)
    with reverts(oracle.SeatBalanceTooLarge, balanceWei=2**72, mostWei=2**72 - 1):
        oracle.topUp(world.service, 0, value=2**72 - world.terms["seatWei"], sender=people.stranger)


def test_top_up__anyone__adds_to_the_seat(world, oracle, people):
    oracle.topUp(world.service, 0, value=7, sender=people.stranger)
    assert world.seat(0).balanceWei == world.terms["seatWei"] + 7


def test_withdraw_from_seat__operator__reverts(world, oracle, people):
    with reverts(oracle.NotSeatOwner, service=world.service, seat=0, owner=people.owners[0].address):
        oracle.withdrawFromSeat(world.service, 0, 1, sender=people.operators[0])


def test_withdraw_from_seat__below_the_least__reverts(world, oracle, people):
    seat_wei = world.terms["seatWei"]
    with reverts(
        oracle.InsufficientSeatBalance, service=world.service, seat=0, balanceWei=seat_wei, neededWei=seat_wei + 1
    ):
        oracle.withdrawFromSeat(world.service, 0, 1, sender=people.owners[0])


def test_withdraw_from_seat__surplus__becomes_the_owners_credit(world, oracle, people):
    oracle.topUp(world.service, 0, value=7, sender=people.stranger)
    oracle.withdrawFromSeat(world.service, 0, 7, sender=people.owners[0])
    assert oracle.credit(people.owners[0]) == 7
    assert world.seat(0).balanceWei == world.terms["seatWei"]


def test_set_operator__not_the_owner__reverts(world, oracle, people):
    with reverts(oracle.NotSeatOwner, service=world.service, seat=0, owner=people.owners[0].address):
        oracle.setOperator(world.service, 0, people.stranger, sender=people.operators[0])


def test_set_operator__owner__moves_the_turn_to_the_new_key(world, oracle, people, asked):
    _, seat, old = world.in_turn(asked)
    oracle.setOperator(world.service, seat, people.newcomers[0], sender=people.owners[seat])
    with reverts(oracle.NotYourTurn):
        world.answer(asked, sender=old)
    assert world.answer(asked, sender=people.newcomers[0]).seat == seat


def test_lock_seat__not_the_arbiter__reverts(world, oracle, people):
    with reverts(oracle.NotArbiter, service=world.service, arbiter=people.stranger.address):
        oracle.lockSeat(world.service, 0, sender=people.stranger)
    with reverts(oracle.NotArbiter, service=world.service, arbiter=people.stranger.address):
        oracle.unlockSeat(world.service, 0, 1, sender=people.stranger)


def test_lock_seat__joining__reverts(world, oracle, people, arbiter):
    seat = world.join(people.stranger, people.newcomers[0])
    with reverts(oracle.WrongSeatStatus, service=world.service, seat=seat, status=JOINING):
        oracle.lockSeat(world.service, seat, sender=arbiter)


def test_unlock_seat__fine_above_the_balance__takes_what_is_there(world, oracle, arbiter):
    oracle.lockSeat(world.service, 0, sender=arbiter)
    receipt = oracle.unlockSeat(world.service, 0, 2**72 - 1, sender=arbiter)
    assert oracle.SeatFined.from_receipt(receipt)[0].amountWei == world.terms["seatWei"]
    assert world.seat(0).balanceWei == 0
    assert oracle.burnable() == world.terms["seatWei"]


def test_unlock_seat__another_services_arbiter__reverts(world, oracle, people):
    """An arbiter has no power over services that did not choose it."""
    other = project.MockArbiter.deploy(60, sender=people.stranger)
    oracle.createService(terms(world.model, other), sender=people.stranger)
    networks.provider.set_balance(other.address, ETHER)
    with reverts(oracle.NotArbiter, service=world.service, arbiter=other.address):
        oracle.unlockSeat(world.service, 0, 1, sender=accounts[other.address])


def test_leave_time__longest_dispute_of_any_arbiter__is_added(world, oracle, people):
    other = project.MockArbiter.deploy(12_345, sender=people.stranger)
    world.service = world.create_service(terms(world.model, other))
    seat = world.join(people.stranger, people.newcomers[0])
    world.pass_time(world.terms["lifetimeSeconds"])
    oracle.activate(world.service, seat, sender=people.stranger)
    oracle.announceExit(world.service, seat, sender=people.stranger)
    assert world.seat(seat).readyAt == world.now() + 1_800 + 3_600 + 12_345
