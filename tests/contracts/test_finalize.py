"""Finalize: after the window, once, for exactly what was produced; and nothing in a batch stops the rest."""

import pytest
from ape import networks, project, reverts
from world import ANSWERED, ETHER, FINAL, GWEI, OUTPUT, UNDELIVERED


def test_finalize__window_open__reverts(world, oracle, people, answered):
    world.set_time(answered.closes_at)
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([answered.item], sender=people.stranger)
    assert oracle.statusOf(answered.id) == ANSWERED


def test_finalize__nothing_given__reverts(oracle, people):
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([], sender=people.stranger)


def test_finalize__not_answered__reverts(world, oracle, people, asked, answered):
    other = world.ask(maxTokens=3)
    world.close_window(answered)
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([(other.request, answered.answer, OUTPUT)], sender=people.stranger)


def test_finalize__other_output__reverts(world, oracle, people, answered):
    world.close_window(answered)
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([(answered.request, answered.answer, b" no")], sender=people.stranger)


@pytest.mark.parametrize("index", range(4))
def test_finalize__changed_answer__reverts(world, oracle, people, answered, index):
    changed = list(answered.answer)
    changed[index] = changed[index] + (1 << 96) if index == 0 else b"\x01" * 32
    world.close_window(answered)
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([(answered.request, changed, OUTPUT)], sender=people.stranger)


def test_finalize__twice__reverts(world, oracle, people, answered):
    world.finalize(answered)
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([answered.item], sender=people.stranger)


def test_finalize__same_item_twice_in_a_batch__counts_once(world, oracle, people, answered):
    receipt = world.finalize(answered, answered)
    assert len(oracle.RequestFinalized.from_receipt(receipt)) == 1


def test_finalize__disputed__reverts(world, oracle, people, answered):
    world.challenge(answered)
    world.close_window(answered)
    with reverts(oracle.NothingToFinalize):
        oracle.finalize([answered.item], sender=people.stranger)


def test_finalize_a27__window_passed__node_and_refund_add_up_to_the_escrow(world, oracle, people, answered, lens):
    fields = lens.unpackRequest(answered.request)
    receipt = world.finalize(answered)
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert paid == fields.feeWei - 14 * 1_000 * GWEI
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] + paid
    assert world.seat(answered.seat).locks == 0
    assert oracle.credit(people.payer) == 14 * 1_000 * GWEI
    assert paid + oracle.credit(people.payer) == fields.feeWei
    assert oracle.statusOf(answered.id) == FINAL
    assert oracle.isFinal(answered.id, answered.answer)
    assert oracle.balance == world.owed()


def test_finalize__balance_over_its_field__goes_to_the_owner(world, oracle, people, answered):
    """A payment can never make a seat's balance overflow, nor revert for it."""
    networks.provider.set_balance(people.stranger.address, 2**80)
    room = 2**72 - 1 - world.seat(answered.seat).balanceWei
    oracle.topUp(world.service, answered.seat, value=room, sender=people.stranger)
    receipt = world.finalize(answered)
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert world.seat(answered.seat).balanceWei == 2**72 - 1
    assert oracle.credit(people.owners[answered.seat]) == ETHER + paid


def test_finalize_a5__callback__pays_the_finalizer_what_the_requester_set_aside(world, oracle, people, hostile):
    """The price is the requester's, whatever gas costs now."""
    answered = world.answer(world.ask_from(hostile, callbackGas=100_000, callbackGasPriceWei=3))
    networks.provider.make_request("anvil_setNextBlockBaseFeePerGas", [hex(100 * GWEI)])
    world.finalize(answered)
    assert oracle.credit(people.stranger) == 3 * (100_000 + oracle.CALLBACK_OVERHEAD_GAS())
    assert hostile.callbacks() == 1


def test_finalize__by_the_operator__pays_the_seat(world, oracle, people, hostile):
    answered = world.answer(world.ask_from(hostile))
    operator = world.account(world.seat(answered.seat).operator)
    receipt = world.finalize(answered, sender=operator)
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] + paid + 260_000 * GWEI
    assert oracle.credit(operator) == 0


def test_finalize__overhead_gas__covers_what_a_finalizer_spends(world, oracle, people, hostile):
    """A finalizer of one request that is not the node earns at least its gas, at the requester's price."""
    answered = world.answer(world.ask_from(hostile, callbackGas=100_000), output=b"x" * 256)
    receipt = world.finalize(answered)
    callback_used = 100_000 - hostile.gasAtEntry() + 70_000  # the consumer stores three words
    assert receipt.gas_used <= oracle.CALLBACK_OVERHEAD_GAS() + 100_000 + callback_used


def test_finalize_a7__mixed_batch__closes_what_is_ready_and_skips_the_rest(world, oracle, people, hostile):
    world.enrich()
    ready = [world.answer(world.ask(maxTokens=n + 2)) for n in range(2)]
    hostile.set(1, sender=people.stranger)
    failing = world.answer(world.ask_from(hostile))
    final = ready.pop()
    last = max([*ready, final, failing], key=lambda a: a.closes_at)
    world.close_window(last)
    oracle.finalize([final.item], sender=people.stranger)
    fresh_asked = world.ask(maxTokens=9)
    fresh = world.answer(fresh_asked)
    unanswered = world.ask(maxTokens=10)
    items = [
        final.item,  # done before
        fresh.item,  # window open
        (unanswered.request, fresh.answer, OUTPUT),  # no answer
        (ready[0].request, ready[0].answer, b"other"),  # wrong output
        failing.item,  # callback reverts
        ready[0].item,
    ]
    receipt = oracle.finalize(items, sender=people.watcher)
    closed = [event.requestId for event in oracle.RequestFinalized.from_receipt(receipt)]
    assert closed == [failing.id, ready[0].id]
    assert oracle.statusOf(failing.id) == UNDELIVERED
    assert oracle.statusOf(ready[0].id) == FINAL
    assert oracle.statusOf(fresh.id) == ANSWERED


def test_finalize_a7__batch_without_gas_for_one_callback__changes_nothing(world, oracle, people):
    """Items are skipped for what they are, never for a lack of gas."""
    greedy = project.Hostile.deploy(sender=people.stranger)
    world.enrich()
    answers = [world.answer(world.ask(maxTokens=4)), world.answer(world.ask_from(greedy, callbackGas=5_000_000))]
    world.close_window(answers[1])
    with reverts(oracle.InsufficientGas):
        oracle.finalize([a.item for a in answers], gas_limit=3_000_000, sender=people.stranger)
    assert [oracle.statusOf(a.id) for a in answers] == [ANSWERED, ANSWERED]


def test_finalize_a6__largest_callback_and_output__fit_one_transaction(world, oracle, people):
    """What the contracts accept can always be finalized under the gas cap of a transaction, 2^24."""
    greedy = project.Hostile.deploy(sender=people.stranger)
    greedy.set(4, sender=people.stranger)
    asked = world.ask_from(greedy, callbackGas=12_000_000)
    output = b"\xff" * oracle.MAX_OUTPUT_BYTES()
    answered = world.answer(asked, output=output)
    world.close_window(answered)
    receipt = oracle.finalize([answered.item], gas_limit=2**24, sender=people.stranger)
    assert 12_000_000 < receipt.gas_used <= 2**24
    assert answered.receipt.gas_used <= 2**24
    assert oracle.statusOf(answered.id) == UNDELIVERED
