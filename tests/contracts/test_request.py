"""Requests: what is refused, what is charged, how they end without an answer."""

import pytest
from ape import project, reverts
from eth_utils import keccak
from world import BURN, CANCELLED, ETHER, GWEI, MOVED, NONE, OPEN, PROMPT, REFUNDED, WRONG, terms

# REQUEST


def test_request__unknown_service__reverts(world, oracle, people):
    with reverts(oracle.UnknownService, service=bytes(32)):
        oracle.request(bytes(32), PROMPT, world.params(), value=0, sender=people.payer)


def test_request__empty_prompt__reverts(world, oracle, people):
    with reverts(oracle.EmptyPrompt):
        oracle.request(world.service, b"", world.params(), value=ETHER, sender=people.payer)


def test_request__prompt_too_long__reverts(world, oracle, people):
    with reverts(oracle.PromptTooLong, lengthBytes=4_097, mostBytes=4_096):
        oracle.request(world.service, b"x" * 4_097, world.params(), value=ETHER, sender=people.payer)


@pytest.mark.parametrize("tokens", [0, 257])
def test_request__tokens_out_of_range__reverts(world, oracle, people, tokens):
    with reverts(oracle.TokensOutOfRange, tokens=tokens, most=256):
        oracle.request(world.service, PROMPT, world.params(maxTokens=tokens), value=ETHER, sender=people.payer)


@pytest.mark.parametrize("error_wei", [-1, 1])
def test_request__fee_too_small_or_too_large__reverts(world, oracle, people, error_wei):
    price = world.price(PROMPT, world.params())
    with reverts(oracle.WrongFee, expectedWei=price, givenWei=price + error_wei):
        oracle.request(world.service, PROMPT, world.params(), value=price + error_wei, sender=people.payer)


def test_request__fee_beyond_its_field__reverts(world, oracle, people):
    """Three products near 2^96 must not wrap around to a small fee."""
    arbiter = project.MockArbiter.deploy(60, sender=people.stranger)
    most = 2**64 - 1
    service = world.create_service(
        terms(
            world.model,
            arbiter,
            basePriceWei=most,
            bytePriceWei=most,
            tokenPriceWei=most,
            maxPromptBytes=2**32 - 1,
            maxTokens=2**24 - 1,
        )
    )
    fee = most + most * (2**32 - 1) + most
    with reverts(oracle.WrongFee, expectedWei=fee, givenWei=2**96 - 1):
        oracle.quote(service, 2**32 - 1, world.params(maxTokens=1))


@pytest.mark.parametrize("offset", [-1, 1_801])
def test_request__deadline_past_or_too_late__reverts(world, oracle, people, offset):
    now = world.now() + 10
    params = world.params(deadline=now + offset)
    price = world.price(PROMPT, params)
    world.set_time(now)
    with reverts(oracle.DeadlineOutOfRange, deadline=now + offset, earliest=now, latest=now + 1_800):
        oracle.request(world.service, PROMPT, params, value=price, sender=people.payer)


def test_request__callback_without_code__reverts(world, oracle, people):
    params = world.params(callbackGas=1, callbackGasPriceWei=GWEI)
    with reverts(oracle.CallbackTargetWithoutCode, target=people.payer.address):
        oracle.request(world.service, PROMPT, params, value=world.price(PROMPT, params), sender=people.payer)


def test_request_a6__callback_gas_above_the_most__reverts(world, oracle, people):
    params = world.params(callbackGas=12_000_001)
    with reverts(oracle.CallbackGasTooHigh, gas=12_000_001, most=12_000_000):
        oracle.request(world.service, PROMPT, params, value=ETHER, sender=people.payer)


def test_request__too_few_owners_for_a_panel__reverts(world, oracle, people):
    for seat in (0, 1):
        oracle.announceExit(world.service, seat, sender=people.owners[seat])
    params = world.params()
    with reverts(oracle.NotEnoughOwners, service=world.service, owners=4, needed=5):
        oracle.request(world.service, PROMPT, params, value=world.price(PROMPT, params), sender=people.payer)


def test_request__many_seats_of_one_owner__count_once(world, oracle, people):
    for operator in people.newcomers[:3]:
        seat = world.join(people.owners[0], operator)
        world.pass_time(1_800)
        oracle.activate(world.service, seat, sender=people.stranger)
    for seat in (4, 5):
        oracle.announceExit(world.service, seat, sender=people.owners[seat])
    params = world.params()
    with reverts(oracle.NotEnoughOwners, service=world.service, owners=4, needed=5):
        oracle.request(world.service, PROMPT, params, value=world.price(PROMPT, params), sender=people.payer)


def test_request__same_twice_in_one_block__reverts(world, oracle, people):
    """Two calls of one contract in one transaction are in one block for sure."""
    consumer = project.Hostile.deploy(sender=people.stranger)
    params = world.params()
    price = world.price(PROMPT, params)
    call = (oracle.address, price, oracle.request.encode_input(world.service, PROMPT, params))
    consumer.plan([call, call], sender=people.stranger)
    consumer.set(6, sender=people.stranger)
    receipt = people.payer.transfer(consumer, 2 * price)
    first, second = consumer.outcomes()
    assert first.success
    assert not second.success
    assert bytes(second.selector) == selector(oracle.DuplicateRequest)
    assert len(oracle.RequestPosted.from_receipt(receipt)) == 1


def selector(error) -> bytes:
    return keccak(text=error.abi.selector)[:4]


def test_request_a11__charge__equals_the_quote_to_the_wei(world, oracle, people):
    params = world.params(maxTokens=7)
    fee, callback, _ = oracle.quote(world.service, len(PROMPT), params)
    assert fee == 20_000 * GWEI + len(PROMPT) * 10 * GWEI + 7 * 1_000 * GWEI
    assert callback == 0
    before = oracle.balance
    asked = world.ask(maxTokens=7)
    assert oracle.balance == before + fee
    assert oracle.statusOf(asked.id) == OPEN
    assert oracle.statusOf(asked.id + 1) == NONE


def test_request_a11__terms__are_copied_in_and_cannot_change(world, oracle, people, lens):
    """Other terms are another service: no one can change a price or window between quote and request."""
    asked = world.ask(maxTokens=7, temperature=1 << 15, cutoff=5 << 16)
    fields = lens.unpackRequest(asked.request)
    assert lens.idOf(asked.request) == asked.id
    assert (fields.service, fields.payer) == (world.service, people.payer.address)
    assert (fields.turnSeconds, fields.windowSeconds, fields.seatCount) == (60, 3_600, 6)
    assert (fields.tokenPriceWei, fields.bondWei) == (1_000 * GWEI, ETHER)
    assert (fields.params.maxTokens, fields.params.temperature, fields.params.cutoff) == (7, 1 << 15, 5 << 16)
    other = world.create_service({**world.terms, "windowSeconds": 3_601})
    assert other != world.service


def test_request_a20__prompt_and_answer__are_in_the_chains_own_data(world, oracle, answered):
    """Nothing that decides money is behind a link: prompt and output are in events, judged structs in calldata."""
    assert bytes(oracle.RequestPosted.from_receipt(answered.asked.receipt)[0].prompt) == PROMPT
    assert bytes(oracle.AnswerPosted.from_receipt(answered.receipt)[0].output) == answered.output
    judged = [oracle.answer, oracle.finalize, oracle.dispute, oracle.rule, world.panel.challenge, world.panel.decide]
    types = [str(i.canonical_type) for call in judged for abi in call.abis for i in abi.inputs]
    assert types
    assert not [t for t in types if "string" in t]


# CANCEL


def test_cancel__not_the_payer__reverts(world, oracle, people, asked):
    with reverts(oracle.NotPayer, requestId=asked.id, payer=people.payer.address):
        oracle.cancel(asked.request, sender=people.stranger)


def test_cancel__changed_request__reverts(world, oracle, people, asked, lens):
    changed = list(asked.request)
    changed[4] += 1  # a larger fee to get back
    with reverts(oracle.WrongStatus, requestId=lens.idOf(changed), status=NONE):
        oracle.cancel(changed, sender=people.payer)


def test_cancel__answered__reverts(world, oracle, people, answered):
    with reverts(oracle.WrongStatus, requestId=answered.id, status=2):
        oracle.cancel(answered.request, sender=people.payer)


def test_cancel__twice__reverts(world, oracle, people, asked):
    oracle.cancel(asked.request, sender=people.payer)
    with reverts(oracle.WrongStatus, requestId=asked.id, status=CANCELLED):
        oracle.cancel(asked.request, sender=people.payer)


def test_cancel__before_the_seed_is_known__is_free(world, oracle, people, lens):
    asked = world.ask(wait=False)
    oracle.cancel(asked.request, sender=people.payer)
    assert oracle.credit(people.payer) == lens.unpackRequest(asked.request).feeWei
    assert oracle.statusOf(asked.id) == CANCELLED


def test_cancel__after_the_seed_is_known__pays_the_seat_in_turn_for_the_prompt(world, oracle, people, asked):
    _, seat, _ = world.in_turn(asked)
    before = world.seat(seat).balanceWei
    oracle.cancel(asked.request, sender=people.payer)
    prompt_wei = 20_000 * GWEI + len(PROMPT) * 10 * GWEI
    assert world.seat(seat).balanceWei == before + prompt_wei
    assert oracle.credit(people.payer) == 16 * 1_000 * GWEI


# REFUND


def test_refund__deadline_not_passed__reverts(world, oracle, people, asked, lens):
    deadline = lens.unpackRequest(asked.request).params.deadline
    world.set_time(deadline)
    with reverts(oracle.DeadlineNotPassed, requestId=asked.id, deadline=deadline):
        oracle.refund(asked.request, sender=people.stranger)


def test_refund__answered__reverts(world, oracle, people, answered):
    world.pass_time(1_801)
    with reverts(oracle.WrongStatus, requestId=answered.id, status=2):
        oracle.refund(answered.request, sender=people.payer)


def test_refund__twice__reverts(world, oracle, people, asked):
    world.pass_time(1_801)
    oracle.refund(asked.request, sender=people.stranger)
    with reverts(oracle.WrongStatus, requestId=asked.id, status=REFUNDED):
        oracle.refund(asked.request, sender=people.stranger)


def test_refund__deadline_passed__returns_the_whole_escrow_to_the_payer(world, oracle, people, hostile, lens):
    asked = world.ask_from(hostile)
    fields = lens.unpackRequest(asked.request)
    escrow = fields.feeWei + 260_000 * GWEI
    world.set_time(fields.params.deadline + 1)
    receipt = oracle.refund(asked.request, sender=people.stranger)
    assert oracle.RequestRefunded.from_receipt(receipt)[0].refundWei == escrow
    assert oracle.credit(hostile) == escrow
    assert oracle.statusOf(asked.id) == REFUNDED


def test_refund_a16__turns_missed__are_fined_and_nobody_gains(world, oracle, people, lens):
    """Knocking nodes off line, or asking more than they have bonds for, must pay nobody: the fines are burnt."""
    asked = world.ask(deadline=world.now() + 150)
    fields = lens.unpackRequest(asked.request)
    world.live(fields.params.deadline + 1 - world.now())
    receipt = oracle.refund(asked.request, sender=people.stranger)
    missed = oracle.TurnMissed.from_receipt(receipt)
    assert [event.turn for event in missed] == [0, 1]  # the third minute was not over
    fines = 2 * world.terms["missPenaltyWei"]
    assert all(event.penaltyWei == fines // 2 for event in missed)
    assert oracle.credit(people.payer) == fields.feeWei - fines
    assert oracle.credit(BURN) == 2 * fines
    assert sum(world.seat(i).balanceWei for i in range(6)) == 6 * world.terms["seatWei"] - fines


def test_refund__seat_active_only_later__is_not_fined(world, oracle, people):
    """Whoever takes a vacant index answers for no turn from before."""
    oracle.announceExit(world.service, 0, sender=people.owners[0])
    world.pass_time(1_800 + 3_600 + 4_800)
    asked = world.ask()
    oracle.exit(world.service, 0, sender=people.owners[0])
    world.join(people.newcomers[0], people.newcomers[1])
    world.live(1_801)
    oracle.activate(world.service, 0, sender=people.stranger)
    receipt = oracle.refund(asked.request, sender=people.stranger)
    assert 0 not in [event.seat for event in oracle.TurnMissed.from_receipt(receipt)]
    assert oracle.TurnMissed.from_receipt(receipt)
    assert world.seat(0).status == MOVED
    assert world.seat(0).balanceWei == world.terms["seatWei"]


def test_refund__answer_rejected_after_the_deadline__returns_everything(world, oracle, people, answered, lens):
    """The round that follows begins past the deadline: nobody can answer it, nobody missed it."""
    world.set_time(answered.closes_at - 10)
    world.judge(answered, [WRONG] * 3)
    receipt = oracle.refund(answered.request, sender=people.stranger)
    assert not oracle.TurnMissed.from_receipt(receipt)
    assert oracle.credit(people.payer) == lens.unpackRequest(answered.request).feeWei
