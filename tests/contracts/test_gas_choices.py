"""Gas of questions with a few choices: one alone, and one that a council of services is asked."""

import pytest
from ape import project
from test_council import ask as ask_council
from test_council import council_of, member
from world import ETHER, FOUR, GWEI, MARGIN, verdict

TEXT = (b"Which of the four teams won the cup? The referee blew the whistle, and the reds had scored twice." * 2)[:100]
SHARE = 0.3
"""Of a single verdict's gas: the most that a council costs beside its members' verdicts."""


def single(world, dapp):
    """Gas of request, answer and finalize; the node that answered finalizes."""
    params = world.params(callbackGas=60_000, callbackGasPriceWei=GWEI, maxTokens=17)
    receipt = dapp.ask(TEXT, params, value=dapp.price(len(TEXT), params), sender=world.people.payer)
    asked = world.posted(receipt)
    spent = receipt.gas_used + ended([world], [asked])
    assert tuple(dapp.verdictOf(asked.id)) == (True, 2, 3 * MARGIN)
    return spent


def ended(worlds, requests):
    """Gas of all answers and finalizations."""
    answers = [world.answer(asked, verdict(2, 3 * MARGIN)) for world, asked in zip(worlds, requests, strict=True)]
    assert all(each.turn == 0 for each in answers), "somebody missed a turn: the measurement would count the fine"
    used = sum(each.receipt.gas_used for each in answers)
    for world, answered in zip(worlds, answers, strict=True):
        used += world.finalize(answered, sender=world.account(world.seat(answered.seat).operator)).gas_used
    return used


@pytest.fixture
def steady(world, oracle, people):
    """Seats and dapps in use: credits and balances are not zero, as in any but the first request."""
    world.enrich(100 * ETHER)
    dapp = project.VerdictListener.deploy(oracle, world.service, sender=people.deployer)
    assert (bytes(dapp.CHOICES()), dapp.MINIMUM_MARGIN()) == (FOUR, MARGIN)
    oracle.deposit(dapp, value=1, sender=people.payer)
    return dapp


@pytest.fixture
def alone(world, steady):
    return single(world, steady)


def test_gas__verdict_that_a_consumer_stores__is_within_its_limit(alone, check):
    check("verdict_loop_100b", alone)


@pytest.mark.parametrize(("count", "quorum"), [(3, 2), (5, 3)])
def test_gas__council__costs_its_members_and_little_more(world, oracle, people, alone, check, count, quorum):
    """All members are asked and heard. The second question: the first writes the council's own first numbers."""
    worlds = world.beside(count)
    members = [member(each) for each in worlds]
    council = council_of(oracle, people, members, quorum, member(world))
    oracle.deposit(council, value=1, sender=people.payer)
    ask_council(world, council, TEXT)
    requests = ask_council(world, council, TEXT)
    used = requests[0].receipt.gas_used + ended(worlds, requests)
    assert council.stateOf(1).choice == 2
    assert used <= (count + SHARE) * alone
    check(f"council_{count}", used)
