"""Credits: pulled, never pushed; and ether nobody asked for changes nothing."""

from ape import networks, project, reverts
from world import BURN, ETHER, FINAL, WRONG


def test_withdraw__more_than_there_is__reverts(oracle, people):
    with reverts(oracle.InsufficientCredit, account=people.stranger.address, creditWei=0, amountWei=1):
        oracle.withdraw(people.stranger, 1, sender=people.stranger)


def test_withdraw_a26__receiver_refuses__reverts_and_credit_stays(oracle, people, hostile):
    oracle.deposit(people.payer, value=5, sender=people.payer)
    hostile.refuseEther(True, sender=people.stranger)
    with reverts(oracle.TransferFailed, to=hostile.address, amountWei=5):
        oracle.withdraw(hostile, 5, sender=people.payer)
    assert oracle.credit(people.payer) == 5


def test_withdraw__to_the_oracle_itself__reverts(oracle, people):
    oracle.deposit(people.payer, value=5, sender=people.payer)
    with reverts(oracle.TransferFailed, to=oracle.address, amountWei=5):
        oracle.withdraw(oracle, 5, sender=people.payer)


def test_withdraw__part__leaves_the_rest(oracle, people):
    oracle.deposit(people.payer, value=5, sender=people.payer)
    before = people.watcher.balance
    oracle.withdraw(people.watcher, 3, sender=people.payer)
    assert people.watcher.balance == before + 3
    assert oracle.credit(people.payer) == 2


def test_refund_a26__payer_refuses_ether__request_ends_all_the_same(world, oracle, people, hostile):
    """A payer that cannot be paid holds up nobody: its refund is credit."""
    asked = world.ask_from(hostile)
    hostile.refuseEther(True, sender=people.stranger)
    world.pass_time(1_801)
    oracle.refund(asked.request, sender=people.stranger)
    assert oracle.credit(hostile) > 0


def test_deposit__for_another__is_theirs(oracle, people):
    receipt = oracle.deposit(people.watcher, value=5, sender=people.payer)
    event = oracle.Deposited.from_receipt(receipt)[0]
    assert event["from"] == people.payer.address
    assert (event.account, event.amountWei) == (people.watcher.address, 5)
    assert oracle.credit(people.watcher) == 5


def test_burn__slashed_value__leaves_for_ever(world, oracle, people, answered):
    world.judge(answered, [WRONG] * 3)
    amount = oracle.burnable()
    assert amount == ETHER // 2
    before = networks.provider.get_balance(BURN)
    receipt = oracle.burn(sender=people.stranger)
    assert oracle.Burnt.from_receipt(receipt)[0].amountWei == amount
    assert networks.provider.get_balance(BURN) == before + amount
    assert oracle.burnable() == 0


def test_plain_transfer__to_the_oracle__reverts(oracle, people):
    with reverts():  # no function takes it, and no error of ours exists for that
        people.payer.transfer(oracle, 1)


def test_forced_ether_a26__before_and_after__changes_nothing(world, oracle, people, answered):
    """No sum is ever read from the contract's balance."""
    owed = world.owed()
    project.Forcer.deploy(oracle, value=3 * ETHER, sender=people.stranger)
    assert world.owed() == owed
    world.finalize(answered)
    assert oracle.statusOf(answered.id) == FINAL
    assert oracle.balance == world.owed() + 3 * ETHER
