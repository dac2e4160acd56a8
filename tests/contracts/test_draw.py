"""Who is drawn: those who stood in the draw when a request was made, and nobody who has gone since."""

import random

import pytest
from ape import chain, networks, reverts
from world import ACTIVE, ETHER, GWEI, LEAVE_SECONDS, LEAVING, MOVED, SUSPENDED, terms

from oracle.node.records import PlaceRecord

LIFETIME = 1_800
NOBODY = "0x" + "00" * 20


def places(world, block=None):
    """The seat in every place, for a request of that block; None: of the next."""
    block = networks.provider.get_block("latest").number + 1 if block is None else block
    return [world.oracle.seatAt(world.service, place, block) for place in range(world.oracle.placesOf(world.service))]


def drawn(world):
    """The seats that say they are in the draw."""
    count = world.oracle.counts(world.service)[0]
    return {seat for seat in range(count) if world.seat(seat).status in (ACTIVE, MOVED)}


def crowd(world, seats):
    """So many more active seats of one owner."""
    owner = world.people.stranger
    taken = [world.join(owner, world.people.newcomers[0]) for _ in range(seats)]
    world.pass_time(LIFETIME)
    for seat in taken:
        world.oracle.activate(world.service, seat, sender=owner)
    return owner, taken


def test_draw__crowd_leaves__every_turn_has_somebody(world, oracle, people, lens):
    """Seats taken and given up, all stake back, once were drawn for ever."""
    owner, taken = crowd(world, 18)
    for seat in taken:
        oracle.announceExit(world.service, seat, sender=owner)
    assert oracle.placesOf(world.service) == 6
    asked = world.ask()
    for _ in range(29):
        assert lens.turnOf(asked.request)[2] != NOBODY
        world.pass_time(60)
    world.pass_time(LEAVE_SECONDS)
    for seat in taken:
        oracle.exit(world.service, seat, sender=owner)
    assert oracle.credit(owner) == 18 * world.terms["seatWei"]
    assert sorted(places(world)) == list(range(6))


def test_draw__first_seats_leave__last_ones_take_their_places_under_their_own_numbers(world, oracle, people, lens):
    crowd(world, 3)
    before = networks.provider.get_block("latest").number + 1
    receipt = oracle.announceExit(world.service, 0, sender=people.owners[0])
    (event,) = oracle.SeatPlaced.from_receipt(receipt)
    assert (event.place, event.seat) == (0, 8)
    assert places(world) == [8, 1, 2, 3, 4, 5, 6, 7]
    assert places(world, before) == list(range(8)), "a request of before draws whom it drew"
    assert oracle.seatAt(world.service, 8, before) == 8


def test_draw__seat_that_left__answers_what_it_was_drawn_for_before(world, oracle, people, lens):
    crowd(world, 1)
    old = world.ask()
    turn, seat, who = world.in_turn(old)
    oracle.announceExit(world.service, seat, sender=people.owners[seat] if seat < 6 else people.stranger)
    assert world.in_turn(old)[:2] == (turn, seat)
    world.answer(old, sender=who)
    for n in range(12):
        new = world.ask(deadline=world.now() + 1_700 - n)
        assert lens.turnOf(new.request)[1] != seat


def test_draw__moved_seat__answers_for_both_its_places(world, oracle, people, lens):
    """Its old place for requests made before, its new one for those after."""
    world.enrich()
    crowd(world, 1)
    oracle.topUp(world.service, 6, value=9 * ETHER, sender=people.stranger)
    old = next(a for a in (world.ask(deadline=world.now() + 1_700 - n) for n in range(60)) if world.in_turn(a)[1] == 6)
    oracle.announceExit(world.service, 2, sender=people.owners[2])
    assert places(world) == [0, 1, 6, 3, 4, 5]
    assert world.answer(old).seat == 6
    new = next(a for a in (world.ask(deadline=world.now() + 1_700 - n) for n in range(60)) if world.in_turn(a)[1] == 6)
    answered = world.answer(new)
    assert answered.seat == 6
    before = world.seat(6).balanceWei
    world.finalize(answered)
    assert world.seat(6).balanceWei > before + ETHER


def test_draw__newcomer__is_not_drawn_for_requests_of_before(world, oracle, people, lens):
    """Its owner sees known draws and chooses when to enter: that must catch nothing."""
    crowd(world, 1)
    asked = world.ask()
    made = lens.unpackRequest(asked.request).blockNumber
    mine = world.join(people.newcomers[1], people.newcomers[2])
    oracle.announceExit(world.service, 6, sender=people.stranger)
    oracle.announceExit(world.service, 3, sender=people.owners[3])
    world.pass_time(LIFETIME)
    oracle.activate(world.service, mine, sender=people.newcomers[1])
    assert mine in places(world)
    assert [oracle.seatAt(world.service, place, made) for place in range(7)] == list(range(7))


def test_draw__anything_in_any_order__is_a_list_of_the_active_and_history_stands(world, oracle, people):
    """Joining, activating, leaving, coming back: 60 random moves, and every draw of before is what it was."""
    rng = random.Random(7)
    owner, operator = people.stranger, people.newcomers[0]
    networks.provider.set_balance(owner.address, 1_000 * ETHER)
    seen = []
    for _ in range(60):
        count = oracle.counts(world.service)[0]
        states = {seat: world.seat(seat) for seat in range(count)}
        deed = rng.choice(("join", "activate", "activate", "leave", "leave", "exit", "pass"))
        seat = rng.randrange(count)
        if deed == "join" and count < 14:
            world.join(owner, operator)
        elif deed == "activate" and states[seat].status == 1 and world.now() >= states[seat].readyAt:
            oracle.activate(world.service, seat, sender=owner)
        elif deed == "leave" and states[seat].status in (ACTIVE, MOVED) and len(drawn(world)) > 5:
            oracle.announceExit(world.service, seat, sender=owner_of(world, seat))
        elif deed == "exit" and states[seat].status == LEAVING and world.now() >= states[seat].readyAt:
            oracle.exit(world.service, seat, sender=owner_of(world, seat))
        elif deed == "pass":
            world.pass_time(rng.choice((60, LIFETIME, LEAVE_SECONDS)))
        now = places(world)
        assert set(now) == drawn(world)
        assert len(now) == len(set(now))
        seen.append((networks.provider.get_block("latest").number + 1, now))
        world.mine(1)
    for block, then in seen:
        assert [oracle.seatAt(world.service, place, block) for place in range(len(then))] == then
    assert any(then != sorted(then) for _, then in seen)
    known = {}
    for event in oracle.SeatPlaced.range(0, chain.blocks.height + 1):
        place = known.get(event.place, PlaceRecord(world.service, event.place))
        known[event.place] = place.leads_to(event.seat, event.block_number)
    for block, then in seen:
        told = [known.get(place, PlaceRecord(world.service, place)).seat(block) for place in range(len(then))]
        assert told == then, "what the node makes of the events is what the contract draws"


def owner_of(world, seat):
    """Whoever may give the seat up."""
    owner = world.seat(seat).owner
    return next(a for a in [*world.people.owners, world.people.stranger] if a.address == owner)


# SEATS WITHOUT A BOND


@pytest.fixture
def strict(world, oracle, people, panel):
    """A service whose fines are as high as a seat's whole margin above its bond."""
    world.service = world.create_service(terms(world.model, panel, basePriceWei=4 * ETHER, missPenaltyWei=ETHER))
    for owner, operator in zip(people.owners, people.operators, strict=True):
        world.join(owner, operator)
    world.pass_time(LIFETIME)
    for seat in range(6):
        oracle.activate(world.service, seat, sender=people.stranger)
    return world


def drain(world, people):
    """Nobody answers one request; two fines."""
    asked = world.ask(deadline=world.now() + 200)
    world.live(230)
    receipt = world.oracle.refund(asked.request, sender=people.stranger)
    return [event.seat for event in world.oracle.SeatSuspended.from_receipt(receipt)]


def test_draw__seat_drained_by_fines__is_drawn_no_more_until_topped_up(strict, oracle, people):
    drained = drain(strict, people)
    assert drained
    for seat in drained:
        assert strict.seat(seat).status == SUSPENDED
    assert set(places(strict)) == set(range(6)) - set(drained)
    assert oracle.counts(strict.service)[1] == 6 - len(drained)
    least = ETHER - strict.seat(drained[0]).balanceWei
    oracle.topUp(strict.service, drained[0], value=least - 1, sender=people.stranger)
    assert strict.seat(drained[0]).status == SUSPENDED
    oracle.topUp(strict.service, drained[0], value=1, sender=people.stranger)
    assert strict.seat(drained[0]).status in (ACTIVE, MOVED)
    assert drained[0] in places(strict)


def test_suspend__seat_with_a_bond_or_one_to_come_back__reverts(world, oracle, people, answered):
    with reverts(oracle.NotDrained, service=world.service, seat=answered.seat, openAnswers=1):
        oracle.suspend(world.service, answered.seat, sender=people.stranger)
    other = (answered.seat + 1) % 6
    with reverts(oracle.NotDrained, service=world.service, seat=other, balanceWei=world.terms["seatWei"]):
        oracle.suspend(world.service, other, sender=people.stranger)


def test_announce_exit__suspended_seat__leaves_and_takes_the_rest_out(strict, oracle, people):
    seat = drain(strict, people)[0]
    rest = strict.seat(seat).balanceWei
    count = oracle.placesOf(strict.service)
    oracle.announceExit(strict.service, seat, sender=people.owners[seat])
    assert oracle.placesOf(strict.service) == count
    strict.set_time(strict.seat(seat).readyAt)
    oracle.exit(strict.service, seat, sender=people.owners[seat])
    assert oracle.credit(people.owners[seat]) == rest


# FINES


def test_fine__bond_locked_when_the_turn_began_and_back_since__is_not_made(world, oracle, people, panel):
    """A request to a seat whose only bond another request holds."""
    world.service = world.create_service(terms(world.model, panel, windowSeconds=61))
    for owner, operator in zip(people.owners, people.operators, strict=True):
        world.join(owner, operator)
    world.pass_time(LIFETIME)
    for seat in range(6):
        oracle.activate(world.service, seat, sender=people.stranger)
    first = world.answer(world.ask())
    busy = first.seat
    second = next(
        a for a in (world.ask(deadline=world.now() + 1_700 - n) for n in range(60)) if world.in_turn(a)[1] == busy
    )
    world.live(72)
    oracle.finalize([first.item], sender=people.stranger)
    assert world.seat(busy).balanceWei > ETHER
    while world.in_turn(second)[1] == busy:
        world.live(60)
    answered = world.answer(second)
    missed = [(event.turn, event.seat) for event in oracle.TurnMissed.from_receipt(answered.receipt)]
    assert (0, busy) not in missed


def test_fine__seat_that_had_a_bond_all_along__is_made(world, oracle, asked, lens):
    first = lens.turnOf(asked.request)[1]
    while lens.turnOf(asked.request)[1] == first:
        world.live(60)
    answered = world.answer(asked)
    assert (0, first) in [(e.turn, e.seat) for e in oracle.TurnMissed.from_receipt(answered.receipt)]


def test_fine__answered_late__costs_the_late_answerer_as_much(world, oracle, asked):
    """Or an asker with a seat could have the others fined for nothing."""
    world.live(180)
    answered = world.answer(asked)
    fines = sum(event.penaltyWei for event in oracle.TurnMissed.from_receipt(answered.receipt))
    others = sum(world.seat(seat).balanceWei for seat in range(6) if seat != answered.seat)
    assert fines > 0
    assert others >= 5 * world.terms["seatWei"] - fines
    assert oracle.burnable() == 2 * fines
    own = world.seat(answered.seat).balanceWei + others
    assert own == 6 * world.terms["seatWei"] - ETHER - 2 * fines


@pytest.mark.parametrize("penalty", [301 * GWEI, 3_000 * GWEI, ETHER // 100])
def test_fine__nobody_answers__is_at_most_what_the_payer_gives_up(world, oracle, people, panel, penalty):
    """Half the base price, as the quote says: asking what nobody may answer costs as much as it makes others lose."""
    world.service = world.create_service(terms(world.model, panel, missPenaltyWei=penalty))
    for owner, operator in zip(people.owners, people.operators, strict=True):
        world.join(owner, operator)
    world.pass_time(LIFETIME)
    for seat in range(6):
        oracle.activate(world.service, seat, sender=people.stranger)
    others = oracle.balance - world.owed()
    asked = world.ask()
    forfeit = oracle.quote(world.service, 101, world.params())[2]
    assert forfeit == world.terms["basePriceWei"] // 2
    escrow = oracle.balance - world.owed() - others
    world.live(1_830)
    receipt = oracle.refund(asked.request, sender=people.stranger)
    fines = sum(event.penaltyWei for event in oracle.TurnMissed.from_receipt(receipt))
    assert 0 < fines <= forfeit < escrow
    assert oracle.RequestRefunded.from_receipt(receipt)[0].refundWei == escrow - fines
    assert oracle.balance == world.owed() + others
