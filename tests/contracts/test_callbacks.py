"""Callbacks: exactly the gas that was bought, once, after finality; whatever the consumer does harms itself alone."""

import pytest
from ape import accounts, chain, networks, project, reverts
from eth_utils import keccak
from world import ANSWERED, FINAL, GWEI, OUTPUT, PROMPT, RETRY_SECONDS, UNDELIVERED

RECORD, REVERT, RETURN_BOMB, REVERT_BOMB, BURN_GAS, SELF_DESTRUCT, CALLS = range(7)
REENTRANT = keccak(text="ReentrancyGuardReentrantCall()")[:4]


def finalized(world, hostile, deed, **params):
    """A request of `hostile`, answered and finalized while it does its `deed`."""
    hostile.set(deed, sender=world.people.stranger)
    answered = world.answer(world.ask_from(hostile, **params))
    return answered, world.finalize(answered)


# HOSTILE CONSUMERS


@pytest.mark.parametrize(
    ("deed", "label"),
    [(REVERT, "reverts"), (REVERT_BOMB, "reverts with a megabyte"), (BURN_GAS, "burns all")],
)
def test_callback_a3__consumer_fails__is_recorded_and_paid_all_the_same(world, oracle, people, hostile, deed, label):
    answered, receipt = finalized(world, hostile, deed)
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert oracle.CallbackFailed.from_receipt(receipt)[0].requestId == answered.id, label
    assert oracle.statusOf(answered.id) == UNDELIVERED
    assert oracle.isFinal(answered.id, answered.answer)
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] + paid
    assert oracle.credit(people.stranger) == 260_000 * GWEI
    assert receipt.gas_used < 200_000 + 120_000


@pytest.mark.parametrize("deed", [RETURN_BOMB, REVERT_BOMB])
def test_callback_a1__return_bomb__is_not_copied(world, oracle, people, hostile, deed):
    """Copying a megabyte would cost the finalizer 2 M gas beyond what the consumer bought."""
    answered, receipt = finalized(world, hostile, deed, callbackGas=3_000_000)
    assert receipt.gas_used < 2_300_000 + 100_000  # the consumer's own memory, and no second one
    assert oracle.statusOf(answered.id) == (FINAL if deed == RETURN_BOMB else UNDELIVERED)


def test_callback_a3__consumer_destructs_itself__is_delivered(world, oracle, people, hostile):
    """Since Cancun the code stays; only the ether moves, and the oracle ignores ether forced upon it."""
    networks.provider.set_balance(hostile.address, 10**18)
    before = oracle.balance
    answered, _ = finalized(world, hostile, SELF_DESTRUCT)
    assert oracle.statusOf(answered.id) == FINAL
    assert oracle.balance > before + 10**18 // 2
    assert world.owed() < oracle.balance


def test_callback_a3__consumer_without_code__is_recorded_and_paid(world, oracle, people, lens):
    mayfly = project.Mayfly.deploy(sender=people.stranger)
    params = world.params(callbackGas=100_000, callbackGasPriceWei=GWEI)
    price = world.price(PROMPT, params)
    receipt = mayfly.ask(oracle, world.service, PROMPT, params, value=price, sender=people.payer)
    asked = world.posted(receipt)
    child = lens.unpackRequest(asked.request).payer
    assert not networks.provider.get_code(child)
    answered = world.answer(asked)
    receipt = world.finalize(answered)
    assert oracle.CallbackFailed.from_receipt(receipt)
    assert oracle.statusOf(answered.id) == UNDELIVERED
    assert world.seat(answered.seat).locks == 0


# GAS


def test_callback_a2__finalizer_supplies_too_little_gas__reverts_and_changes_nothing(world, oracle, people, hostile):
    """Over the whole range of gas limits: either the consumer got what it bought, or the state is as before."""
    answered = world.answer(world.ask_from(hostile, callbackGas=300_000))
    world.close_window(answered)
    world.mine(1)
    full = None
    outcomes = set()
    for limit in [*range(330_000, 460_000, 10_000), 1_000_000]:
        with chain.isolate():
            receipt = oracle.finalize([answered.item], gas_limit=limit, raise_on_revert=False, sender=people.stranger)
            if receipt.failed:
                assert oracle.statusOf(answered.id) == ANSWERED
                assert hostile.callbacks() == 0
            else:
                assert oracle.statusOf(answered.id) == FINAL
                full = full or hostile.gasAtEntry()
                assert hostile.gasAtEntry() == full > 300_000 - 1_500
            outcomes.add(receipt.failed)
    assert outcomes == {True, False}


def test_callback__more_gas_supplied__gets_no_more_than_it_bought(world, oracle, people, hostile):
    answered = world.answer(world.ask_from(hostile, callbackGas=150_000))
    world.close_window(answered)
    oracle.finalize([answered.item], gas_limit=10_000_000, sender=people.stranger)
    assert 148_500 < hostile.gasAtEntry() < 150_000


def test_callback__not_bought__is_not_made(world, oracle, people, hostile):
    answered = world.answer(world.ask_from(hostile, callbackGas=0, callbackGasPriceWei=0))
    world.finalize(answered)
    assert hostile.callbacks() == 0
    assert oracle.statusOf(answered.id) == FINAL


# ONCE, AFTER FINALITY


def test_callback_a30__before_finality__never_comes(world, oracle, people, hostile):
    world.enrich()  # the seat that loses its bond may be the one in turn again
    answered = world.answer(world.ask_from(hostile))
    world.challenge(answered)
    assert hostile.callbacks() == 0
    members = world.draw(answered)
    case = bytes(world.panel.caseIdOf(answered.id, answered.turn))
    world.vote(case, {seat: 2 for seat in members})
    world.panel.decide(answered.request, answered.answer, sender=people.stranger)
    assert hostile.callbacks() == 0
    again = world.answer(answered.asked, b" no")
    world.finalize(again)
    assert hostile.callbacks() == 1
    assert bytes(hostile.outputHash()) == keccak(b" no")


# REENTRANCY


def test_callback_a4__every_external_function__cannot_take_more_than_its_own(world, oracle, panel, people, hostile):
    """The consumer tries everything there is, from inside its callback, on its own request and on others'."""
    world.enrich()
    other = world.answer(world.ask(maxTokens=9))
    open_request = world.ask(maxTokens=8)
    asked = world.ask_from(hostile, callbackGas=8_000_000)
    answered = world.answer(asked)
    seat, request, ans = answered.seat, answered.request, answered.answer
    service = world.service
    manifest = ("x", b"\x01" * 32, 1, "", 2, [], [], [2], 0, bytes(32), b"")
    payout = [(hostile.address, 10**18)]
    case = bytes(panel.caseIdOf(answered.id, answered.turn))
    calls = {
        "finalize own": oracle.finalize.encode_input([answered.item]),
        "finalize other": oracle.finalize.encode_input([other.item]),
        "retryCallback": oracle.retryCallback.encode_input(answered.item, 10**6),
        "leaveCallbacks": oracle.leaveCallbacks.encode_input([answered.item]),
        "reclaim": oracle.reclaim.encode_input(request, ans),
        "withdraw": oracle.withdraw.encode_input(hostile, 1),
        "burn": oracle.burn.encode_input(),
        "cancel own": oracle.cancel.encode_input(request),
        "cancel other": oracle.cancel.encode_input(open_request.request),
        "refund own": oracle.refund.encode_input(request),
        "refund other": oracle.refund.encode_input(open_request.request),
        "answer own": oracle.answer.encode_input(request, b" no", 1, bytes(32), world.seed(asked)),
        "answer other": oracle.answer.encode_input(
            open_request.request, b" no", 1, bytes(32), world.seed(open_request)
        ),
        "answerAttested": oracle.answerAttested.encode_input(
            open_request.request, b" no", 1, bytes(32), world.seed(open_request), b"", True
        ),
        "request": oracle.request.encode_input(service, PROMPT, world.params()),
        "dispute": oracle.dispute.encode_input(request, ans),
        "rule": oracle.rule.encode_input(request, ans, 1, 10**18, payout),
        "createService": oracle.createService.encode_input({**world.terms, "arbiter": hostile}),
        "join": oracle.join.encode_input(service, hostile),
        "activate": oracle.activate.encode_input(service, seat),
        "announceExit": oracle.announceExit.encode_input(service, seat),
        "exit": oracle.exit.encode_input(service, seat),
        "withdrawFromSeat": oracle.withdrawFromSeat.encode_input(service, seat, 1),
        "setOperator": oracle.setOperator.encode_input(service, seat, hostile),
        "lockSeat": oracle.lockSeat.encode_input(service, seat),
        "unlockSeat": oracle.unlockSeat.encode_input(service, seat, 10**18),
        "suspend": oracle.suspend.encode_input(service, seat),
        "topUp": oracle.topUp.encode_input(service, seat),
        "deposit": oracle.deposit.encode_input(hostile),
        "challenge": panel.challenge.encode_input(request, ans),
        "draw": panel.draw.encode_input(request, ans),
        "commit": panel.commit.encode_input(case, seat, b"\x01" * 32),
        "reveal": panel.reveal.encode_input(case, seat, 1, bytes(32)),
        "decide": panel.decide.encode_input(request, ans),
        "adopt": panel.adopt.encode_input(service, world.terms),
        "register": None,
    }
    registry = project.ModelRegistry.at(oracle.models())
    calls["register"] = registry.register.encode_input(manifest)
    _covers_every_external_function(calls, oracle, panel, registry)

    def target(name):
        on_panel = {"challenge", "draw", "commit", "reveal", "decide", "adopt"}
        return registry if name == "register" else panel if name in on_panel else oracle

    hostile.plan([(target(name).address, 0, data) for name, data in calls.items()], sender=people.stranger)
    hostile.set(CALLS, sender=people.stranger)
    credits_before = oracle.credit(hostile)
    receipt = world.finalize(answered, sender=people.watcher)

    outcomes = dict(zip(calls, hostile.outcomes(), strict=True))
    # What is open to anyone: donations of nothing, a model, a refund to another's payer. Everything else fails.
    allowed = {"topUp", "deposit", "register", "refund other"}
    assert {name for name, outcome in outcomes.items() if outcome.success} == allowed
    for name in ("finalize own", "finalize other", "retryCallback", "withdraw", "burn"):
        assert bytes(outcomes[name].selector) == REENTRANT, name
    assert oracle.statusOf(answered.id) == FINAL
    unused = 14 * 1_000 * GWEI
    assert oracle.credit(hostile) == credits_before + unused
    assert len(oracle.RequestFinalized.from_receipt(receipt)) == 1
    assert world.seat(seat).locks == (1 if other.seat == seat else 0)


def _covers_every_external_function(calls, *contracts):
    """Fails when a contract gains a function that the list above does not try."""
    tried = {bytes(data[:4]) for data in calls.values()}
    exist = {
        keccak(text=method.selector)[:4] for contract in contracts for method in contract.contract_type.mutable_methods
    }
    assert tried == exist


def test_withdraw_a4__receiver_calls_back__gets_its_credit_once(world, oracle, people, hostile):
    people.payer.transfer(hostile, 10**18)
    oracle.deposit(hostile, value=10**18, sender=people.payer)
    oracle.deposit(people.payer, value=10**18, sender=people.payer)
    again = oracle.withdraw.encode_input(hostile, 10**18)
    hostile.plan([(oracle.address, 0, again)], sender=people.stranger)
    hostile.set(CALLS, sender=people.stranger)
    hostile.execute(oracle, again, sender=people.stranger)
    assert [bytes(outcome.selector) for outcome in hostile.outcomes()] == [REENTRANT]
    assert hostile.balance == 2 * 10**18
    assert oracle.credit(hostile) == 0
    assert oracle.balance == world.owed()


# RETRY


@pytest.fixture
def undelivered(world, hostile):
    return finalized(world, hostile, REVERT)[0]


def test_retry__delivered__reverts(world, oracle, people, hostile):
    answered, _ = finalized(world, hostile, RECORD)
    with reverts(oracle.WrongStatus, requestId=answered.id, status=FINAL):
        oracle.retryCallback(answered.item, 200_000, sender=people.stranger)


def test_retry__other_output__reverts(world, oracle, people, undelivered):
    with reverts(oracle.AnswerMismatch, requestId=undelivered.id):
        oracle.retryCallback((undelivered.request, undelivered.answer, b" no"), 200_000, sender=people.stranger)


def test_retry__changed_answer__reverts(world, oracle, people, undelivered):
    changed = list(undelivered.answer)
    changed[1] = keccak(b" no")
    with reverts(oracle.AnswerMismatch, requestId=undelivered.id):
        oracle.retryCallback((undelivered.request, changed, b" no"), 200_000, sender=people.stranger)


def test_retry__less_gas_than_bought__reverts(world, oracle, people, undelivered):
    with reverts(oracle.InsufficientGas, gasLeft=199_999, needed=200_000):
        oracle.retryCallback(undelivered.item, 199_999, sender=people.stranger)


def test_retry__too_little_gas_supplied__reverts(world, oracle, people, hostile, undelivered):
    hostile.set(RECORD, sender=people.stranger)
    with reverts(oracle.InsufficientGas):
        oracle.retryCallback(undelivered.item, 5_000_000, gas_limit=1_000_000, sender=people.stranger)
    assert oracle.statusOf(undelivered.id) == UNDELIVERED


def test_retry__fails_again__reverts_and_stays_open(world, oracle, people, undelivered):
    with reverts(oracle.CallbackReverted, requestId=undelivered.id):
        oracle.retryCallback(undelivered.item, 200_000, sender=people.stranger)
    assert oracle.statusOf(undelivered.id) == UNDELIVERED


def test_retry__thirty_days_after_the_longest_dispute__reverts(world, oracle, people, hostile, undelivered):
    hostile.set(RECORD, sender=people.stranger)
    closed_at = undelivered.closes_at + RETRY_SECONDS
    world.set_time(closed_at + 1)
    with reverts(oracle.RetryClosed, requestId=undelivered.id, closedAt=closed_at):
        oracle.retryCallback(undelivered.item, 200_000, sender=people.stranger)


def test_retry__consumer_mended__delivers_once_at_the_callers_expense(world, oracle, people, hostile, undelivered):
    hostile.set(RECORD, sender=people.stranger)
    credit = oracle.credit(people.watcher)
    receipt = oracle.retryCallback(undelivered.item, 1_000_000, sender=people.watcher)
    assert oracle.CallbackRetried.from_receipt(receipt)[0].by == people.watcher.address
    assert oracle.statusOf(undelivered.id) == FINAL
    assert hostile.callbacks() == 1
    assert bytes(hostile.outputHash()) == keccak(OUTPUT)
    assert oracle.credit(people.watcher) == credit
    with reverts(oracle.WrongStatus, requestId=undelivered.id, status=FINAL):
        oracle.retryCallback(undelivered.item, 1_000_000, sender=people.watcher)


def test_on_answer_a30__impostor__reverts(correspondent, people):
    with reverts(correspondent.NotOracle, caller=people.stranger.address):
        correspondent.onAnswer(1, OUTPUT, sender=people.stranger)


def test_on_answer_a30__somebody_elses_request__never_reaches_the_dapp(world, oracle, people, correspondent, hostile):
    """The oracle calls only the contract that asked; nobody can name another."""
    answered, _ = finalized(world, hostile, RECORD)
    assert bytes(correspondent.answerHash(answered.id)) == bytes(32)
    networks.provider.set_balance(oracle.address, 10**20)
    correspondent.onAnswer(answered.id, OUTPUT, sender=accounts[oracle.address])  # only the oracle itself could
    assert bytes(correspondent.answerHash(answered.id)) == keccak(OUTPUT)
