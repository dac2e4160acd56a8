"""Answers: one entitled seat a turn, one fork, one bond."""

import pytest
from ape import networks, reverts
from world import ETHER, NONE, OUTPUT, TOKENS_ROOT, terms

from oracle.engines.prompts import FULL_OUTPUT_BYTES, MAX_PIECE_BYTES


@pytest.fixture
def arguments(world, asked):
    """A good call of `answer`, to spoil."""
    return [asked.request, OUTPUT, 2, TOKENS_ROOT, world.seed(asked)]


# WHAT IS REFUSED


def test_answer__unknown_request__reverts(world, oracle, people, asked, arguments, lens):
    changed = list(asked.request)
    changed[1] = bytes(32)
    with reverts(oracle.WrongStatus, requestId=lens.idOf(changed), status=NONE):
        oracle.answer(changed, *arguments[1:], sender=people.operators[0])


@pytest.mark.parametrize("index", [0, 2, 3, 4])
def test_answer__changed_request__reverts(world, oracle, people, asked, arguments, index, lens):
    """Every word of a request is in its id: service, head, rules, money."""
    changed = list(asked.request)
    changed[index] = bytes(32) if index == 0 else changed[index] + 1
    with reverts(oracle.WrongStatus, requestId=lens.idOf(changed), status=NONE):
        oracle.answer(changed, *arguments[1:], sender=world.in_turn(asked)[2])


@pytest.mark.parametrize("tokens", [0, 17])
def test_answer__tokens_out_of_range__reverts(world, oracle, asked, arguments, tokens):
    arguments[2] = tokens
    with reverts(oracle.TokensOutOfRange, tokens=tokens, most=16):
        oracle.answer(*arguments, sender=world.in_turn(asked)[2])


def test_answer_a6__output_too_long_to_finalize__reverts(world, oracle, asked, arguments):
    most = oracle.MAX_OUTPUT_BYTES()
    assert most - FULL_OUTPUT_BYTES - MAX_PIECE_BYTES >= 1_024  # the last token, and what sealing adds
    arguments[1] = bytes(most + 1)
    with reverts(oracle.OutputTooLong, outputBytes=most + 1, mostBytes=most):
        oracle.answer(*arguments, sender=world.in_turn(asked)[2])


def test_answer__before_the_seed_is_known__reverts(world, oracle, people):
    asked = world.ask(wait=False)
    with reverts(oracle.SeedMismatch, requestId=asked.id, expected=bytes(32), given=bytes(32)):
        oracle.answer(asked.request, OUTPUT, 2, TOKENS_ROOT, bytes(32), sender=people.operators[0])


def test_answer_a14__seed_of_another_fork__reverts(world, oracle, asked, arguments):
    given = b"\x11" * 32
    arguments[4] = given
    with reverts(oracle.SeedMismatch, requestId=asked.id, expected=world.seed(asked), given=given):
        oracle.answer(*arguments, sender=world.in_turn(asked)[2])


def test_answer_a14__re_mined_after_a_reorg__reverts(world, oracle, people, asked, arguments, lens):
    """The seed's block is replaced by another: the signed answer must not become a wrong one."""
    provider = networks.provider
    head = int(provider.make_request("eth_blockNumber", []), 16)
    before = world.seed(asked)
    depth = head - (lens.unpackRequest(asked.request).blockNumber + 2) + 1
    provider.make_request("anvil_rollback", [depth])
    world.pass_time(7)  # another timestamp, another hash
    world.mine(3)
    assert oracle.statusOf(asked.id) == 1
    assert world.seed(asked) != before
    for operator in people.operators:
        with reverts(oracle.SeedMismatch, requestId=asked.id, expected=world.seed(asked), given=before):
            oracle.answer(*arguments, sender=operator)


def test_answer_a8__not_the_seat_in_turn__reverts(world, oracle, people, asked, arguments):
    """A copy of an answer from the mempool is worthless to everyone else."""
    turn, seat, operator = world.in_turn(asked)
    for copier in [*people.operators, people.owners[seat], people.stranger]:
        if copier != operator:
            with reverts(oracle.NotYourTurn, requestId=asked.id, turn=turn, seat=seat, operator=operator.address):
                oracle.answer(*arguments, sender=copier)


def test_answer__turn_passed__reverts(world, oracle, asked, arguments, lens):
    _, seat, operator = world.in_turn(asked)
    while lens.turnOf(asked.request)[1] == seat:
        world.pass_time(60)
    turn, seat, now = lens.turnOf(asked.request)
    with reverts(oracle.NotYourTurn, requestId=asked.id, turn=turn, seat=seat, operator=now):
        oracle.answer(*arguments, sender=operator)


def test_answer__deadline_passed__reverts(world, oracle, asked, arguments, lens):
    deadline = lens.unpackRequest(asked.request).params.deadline
    operator = world.in_turn(asked)[2]
    world.set_time(deadline + 1)
    with reverts(oracle.DeadlinePassed, requestId=asked.id, deadline=deadline):
        oracle.answer(*arguments, sender=operator)


def test_answer__twice__reverts(world, oracle, answered):
    with reverts(oracle.WrongStatus, requestId=answered.id, status=2):
        world.answer(answered.asked, b" no", sender=world.account(world.seat(answered.seat).operator))


def test_answer__balance_below_the_bond__reverts(world, oracle, people, lens):
    """One seat is enough for one open answer here; the second request of the same turn must wait."""
    first = world.ask()
    second = world.ask(maxTokens=15)
    while lens.turnOf(second.request)[1] != lens.turnOf(first.request)[1]:
        second = world.ask(maxTokens=15, deadline=world.now() + 1_000)
    answered = world.answer(first)
    assert world.seat(answered.seat).balanceWei < ETHER
    # How much is left depends on the turns that the seat missed until both requests fell to it.
    with reverts(oracle.InsufficientSeatBalance, service=world.service, seat=answered.seat, neededWei=ETHER):
        world.answer(second)


# TURNS AND SEEDS


def test_turn_of__seed_unknown__reverts(world, oracle, lens):
    asked = world.ask(wait=False)
    with reverts(lens.SeedMismatch, requestId=asked.id, expected=bytes(32), given=bytes(32)):
        lens.turnOf(asked.request)


def test_turns__every_seat__comes_up(world, oracle, asked, lens):
    """Draws over six seats and thirty turns reach everyone; a seat may come up again."""
    seen = set()
    for _ in range(30):
        seen.add(lens.turnOf(asked.request)[1])
        world.pass_time(60)
    assert seen == set(range(6))


def test_answer__after_missed_turns__fines_those_who_let_them_pass(world, oracle, asked, lens):
    first = lens.turnOf(asked.request)[1]
    world.live(120)
    answered = world.answer(asked)
    missed = oracle.TurnMissed.from_receipt(answered.receipt)
    turns = [event.turn for event in missed]
    assert turns == sorted(set(turns))
    assert set(turns) <= set(range(answered.turn))
    assert answered.seat not in [event.seat for event in missed], "it loses as much as the others together"
    assert first in [answered.seat, missed[0].seat]
    assert oracle.burnable() == 2 * sum(event.penaltyWei for event in missed) > 0
    assert oracle.credit(lens.unpackRequest(asked.request).payer) == 0


def test_answer__leaving_seats_turn_missed__is_not_fined(world, oracle, people, asked, lens):
    first = lens.turnOf(asked.request)[1]
    oracle.announceExit(world.service, first, sender=people.owners[first])
    while lens.turnOf(asked.request)[1] == first:
        world.live(60)
    answered = world.answer(asked)
    assert first not in [event.seat for event in oracle.TurnMissed.from_receipt(answered.receipt)]


def test_answer__chain_stood_still__fines_nobody(world, oracle, asked):
    """No block was mined in some of the turns: nobody could have answered in them."""
    world.pass_time(1_000)
    answered = world.answer(asked)
    assert answered.turn > 10
    assert not oracle.TurnMissed.from_receipt(answered.receipt)


def test_refund__chain_stood_still_before_the_deadline__fines_nobody(world, oracle, people, asked):
    world.live(300)
    world.pass_time(600)
    world.live(901)
    receipt = oracle.refund(asked.request, sender=people.stranger)
    assert not oracle.TurnMissed.from_receipt(receipt)


def test_answer__seed_not_known_before_the_turn_ended__fines_nobody(world, oracle, asked):
    asked = world.ask(wait=False)
    world.pass_time(61)
    world.live(36)
    answered = world.answer(asked)
    assert answered.turn == 1
    assert not oracle.TurnMissed.from_receipt(answered.receipt)


@pytest.mark.parametrize("blocks", [3, 255, 256, 257, 258, 300])
def test_answer_a13__seed_older_than_the_opcode_knows__is_accepted(world, oracle, people, blocks):
    """EIP-2935 keeps what a day of twelve-second blocks needs, far beyond the opcode's 256."""
    asked = world.ask(wait=False)
    world.mine(blocks)
    assert world.answer(asked).turn >= 0


def test_answer_a13__seed_forgotten__reverts(world, oracle, people, asked, lens):
    seed = world.seed(asked)
    world.forget(lens.unpackRequest(asked.request).blockNumber + 2)
    with reverts(oracle.SeedMismatch, requestId=asked.id, expected=bytes(32), given=seed):
        oracle.answer(asked.request, OUTPUT, 2, TOKENS_ROOT, seed, sender=people.operators[0])


def test_seed_a13__same_question_in_another_block__is_drawn_anew(world, oracle):
    """The payer knows neither seed nor turns when asking, and cannot keep either by asking again."""
    seeds = {world.seed(world.ask(deadline=world.now() + 1_700)) for _ in range(4)}
    assert len(seeds) == 4


def test_refund__seed_forgotten__pays_back_without_fines(world, oracle, people, asked, lens):
    world.forget(lens.unpackRequest(asked.request).blockNumber + 2)
    world.pass_time(1_801)
    receipt = oracle.refund(asked.request, sender=people.stranger)
    assert not oracle.TurnMissed.from_receipt(receipt)
    assert oracle.credit(people.payer) == lens.unpackRequest(asked.request).feeWei


# WHAT AN ANSWER DOES


def test_answer__in_turn__locks_the_bond_and_opens_the_window(world, oracle, asked, answered, lens):
    seat = world.seat(answered.seat)
    assert seat.balanceWei == world.terms["seatWei"] - ETHER
    assert seat.locks == 1
    assert answered.closes_at == world.now() + 3_600
    parts = lens.unpackAnswer(answered.answer)
    assert (parts.tokenCount, parts.tokensRoot, parts.seedBlockHash) == (2, TOKENS_ROOT, world.seed(asked))
    assert oracle.statusOf(answered.id) == 2
    assert not oracle.isFinal(answered.id, answered.answer)
    assert lens.roundOf(answered.id) == (0, 0)


def test_answer__service_with_the_widest_numbers__packs_them_without_loss(world, oracle, people, panel, lens):
    """The largest value of every packed field comes back as it went in."""
    wide = terms(
        world.model,
        panel,
        bytePriceWei=2**32,
        tokenPriceWei=2**64 - 1,
        maxTokens=2**24 - 1,
        turnSeconds=86_400,
        lifetimeSeconds=86_400,
        windowSeconds=30 * 86_400,
        seatWei=2**71,
        bondWei=2**70,
    )
    world.service = world.create_service(wide)
    networks.provider.set_balance(people.stranger.address, 2**76)
    for owner in people.owners[:5]:
        networks.provider.set_balance(owner.address, 2**73)
        world.join(owner, people.newcomers[0])
    world.pass_time(86_400)
    for seat in range(5):
        oracle.activate(world.service, seat, sender=people.stranger)
    most = {"maxTokens": 2**24 - 1, "temperature": 2**32 - 1, "cutoff": 2**32 - 1}
    networks.provider.set_balance(people.payer.address, 2**96)
    asked = world.ask(**most)
    fields = lens.unpackRequest(asked.request)
    assert (fields.tokenPriceWei, fields.bondWei) == (2**64 - 1, 2**70)
    assert (fields.turnSeconds, fields.windowSeconds, fields.seatCount) == (86_400, 30 * 86_400, 5)
    assert {name: getattr(fields.params, name) for name in most} == most
    answered = world.answer(asked, tokens=2**24 - 1)
    assert lens.unpackAnswer(answered.answer).tokenCount == 2**24 - 1
    assert answered.closes_at == world.now() + 30 * 86_400
    receipt = world.finalize(answered)
    assert oracle.RequestFinalized.from_receipt(receipt)[0].paidWei == fields.feeWei
