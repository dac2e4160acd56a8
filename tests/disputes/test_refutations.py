"""Who copies a refutation earns nothing, who refutes at the last second still kills, and no stranger is in the way.

Played on the rules in plain Python, where the copier may do anything at any block, and on the contract.
"""

import itertools

import pytest
from disputes.court import ETHER, GAME_TERMS, OPEN, WINDOW, Court, hash_of
from disputes.duel import error_of
from disputes.rules import WAIT_BLOCKS, Refused, Rules
from disputes.test_rules import RIGHT, TERMS, conserved
from disputes.toy import ToyReferee
from exact.random_model import Shape, write
from rig.anvil import anvil
from web3.exceptions import ContractLogicError

from oracle.disputes import token_referee

PROMPT = [9, 4, 11, 7]
SHAPE = Shape(family="llama", layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16)
REWARD = TERMS.bond * 3 // 10
FAULT, OTHER = "what is wrong", "what else is wrong"


def wrong_answer() -> Rules:
    rules = Rules(TERMS, ToyReferee())
    rules.answer("liar", RIGHT, 0)
    return rules


# THE RULES

POSTED, SHOWN = 100, 100 + WAIT_BLOCKS


@pytest.mark.parametrize("seen", range(POSTED + 1, SHOWN + 1))
@pytest.mark.parametrize("late", range(WAIT_BLOCKS))
def test_copier__who_sees_the_call_and_does_anything__earns_nothing(seen, late):
    """seen: block in which the call is in the mempool. late: blocks for which the copier keeps it from being mined.

    It posts a hash of its own first, or none; then it refutes in any block from then on."""
    for posts, block in itertools.product((True, False), range(seen, seen + late + 1)):
        rules = wrong_answer()
        rules.post("honest", FAULT, POSTED)
        if posts:
            rules.post("copier", FAULT, seen)
        rules.refute(0, "copier", malformed=True, block=block, call=FAULT)
        assert rules.answers[0].dead
        rules.refute(0, "honest", malformed=True, block=seen + late, call=FAULT)
        with pytest.raises(Refused, match="RewardStillWaits"):
            rules.pay(0, block + WAIT_BLOCKS)
        rules.pay(0, block + WAIT_BLOCKS + 1)
        assert rules.credit == {"honest": REWARD}
        conserved(rules)


def test_hash__as_old_as_it_must_be__is_paid_at_once():
    rules = wrong_answer()
    rules.post("honest", FAULT, POSTED)
    rules.refute(0, "honest", malformed=True, block=SHOWN, call=FAULT)
    assert rules.credit == {"honest": REWARD}
    with pytest.raises(Refused, match="AnswerDead"):
        rules.refute(0, "copier", malformed=True, block=SHOWN, call=FAULT)


def test_refutation__without_a_hash__kills_and_is_paid_when_nobody_was_earlier():
    rules = wrong_answer()
    for stranger in range(100):
        rules.post(f"stranger {stranger}", FAULT, POSTED)
        rules.post("late", f"{stranger}", POSTED)
    rules.refute(0, "late", malformed=True, block=SHOWN, call=FAULT)
    assert rules.answers[0].dead
    rules.pay(0, SHOWN + WAIT_BLOCKS + 1)
    assert rules.credit == {"late": REWARD}
    with pytest.raises(Refused, match="NothingToPay"):
        rules.pay(0, SHOWN + WAIT_BLOCKS + 2)
    conserved(rules)


def test_hash__posted_after_somebody_killed__takes_nothing():
    rules = wrong_answer()
    rules.refute(0, "first", malformed=True, block=POSTED, call=FAULT)
    rules.post("second", OTHER, POSTED)
    with pytest.raises(Refused, match="PostedTooLate"):
        rules.refute(0, "second", malformed=True, block=POSTED + 1, call=OTHER)
    rules.pay(0, POSTED + WAIT_BLOCKS + 1)
    assert rules.credit == {"first": REWARD}


def test_hash__of_another_call_or_for_another_sender__counts_as_none():
    rules = wrong_answer()
    rules.post("honest", FAULT, POSTED)
    rules.refute(0, "copier", malformed=True, block=SHOWN, call=FAULT)
    with pytest.raises(Refused, match="PostedTooLate"):
        rules.refute(0, "honest", malformed=True, block=SHOWN + 1, call=OTHER)
    rules.refute(0, "honest", malformed=True, block=SHOWN + 1, call=FAULT)
    rules.pay(0, SHOWN + WAIT_BLOCKS + 1)
    assert rules.credit == {"honest": REWARD}


# THE CONTRACT


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    with anvil() as chain:
        yield Court.opened(chain, write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE))


@pytest.fixture
def refuted(court):
    """An answer that stops early, and the call that refutes it."""
    snapshot = court.chain.rpc("evm_snapshot")
    answered = court.answered(PROMPT, lambda params: court.honest(PROMPT, 2, params), max_tokens=3)
    given = (answered.tokens, answered.prompt, answered.output, court.manifest, court.model, 3)
    found = token_referee.find(*given)
    assert found is not None
    yield answered, court.call(0, token_referee.refuting(answered.claim, answered.tokens.words, found))
    court.chain.rpc("evm_revert", snapshot)


def refusal(court, call, who):
    with pytest.raises(ContractLogicError) as caught:
        court.send(call, who)
    return error_of(caught.value)[0]


def case_of(court, answered):
    return court.game.functions.caseIdOf(answered.request.words, answered.answer.words).call()


def waited(court, blocks=WAIT_BLOCKS):
    court.chain.rpc("anvil_mine", hex(blocks))


def test_refute__hash_old_enough__is_paid_at_once_and_a_copy_is_refused(court, refuted):
    answered, call = refuted
    honest, copier = court.people[5], court.people[6]
    court.send(court.refutations.functions.post(hash_of(call, honest)), honest)
    waited(court, WAIT_BLOCKS - 1)
    court.send(call, honest)
    assert court.status(answered) == OPEN
    assert court.credit(honest) == ETHER * 3 // 10
    assert refusal(court, call, copier) == "AnswerDead"
    assert court.credit(copier) == 0
    assert refusal(court, court.refutations.functions.pay(case_of(court, answered)), copier) == "NothingToPay"


@pytest.mark.parametrize("posts", [False, True])
def test_refute__copied_from_the_mempool__pays_the_one_whose_hash_is_older(court, refuted, posts):
    """The copier's transaction is mined first, with or without a hash posted when it saw the call."""
    answered, call = refuted
    honest, copier = court.people[5], court.people[6]
    court.send(court.refutations.functions.post(hash_of(call, honest)), honest)
    waited(court)
    if posts:
        court.send(court.refutations.functions.post(hash_of(call, copier)), copier)
    court.send(call, copier)
    assert court.status(answered) == OPEN
    assert court.credit(copier) == 0
    court.send(call, honest)
    pay = court.refutations.functions.pay(case_of(court, answered))
    assert refusal(court, pay, copier) == "RewardStillWaits"
    assert refusal(court, call, copier) == "PostedTooLate"
    waited(court)
    court.send(pay, copier)
    assert (court.credit(honest), court.credit(copier)) == (ETHER * 3 // 10, 0)
    assert court.credit(court.refutations.address) == 0
    assert refusal(court, pay, copier) == "NothingToPay"
    assert refusal(court, call, honest) == "AnswerDead"


def test_refute__hash_posted_in_the_same_block__takes_nothing(court, refuted):
    answered, call = refuted
    first, second = court.people[5:7]
    court.chain.rpc("evm_setAutomine", False)
    for who in (first, second):
        court.refutations.functions.post(hash_of(call, who)).transact({"from": who, "gas": 100_000})
    court.chain.mine()
    court.chain.rpc("evm_setAutomine", True)
    court.send(call, first)
    assert court.status(answered) == OPEN
    assert refusal(court, call, second) == "PostedTooLate"


def test_refute__in_the_window_s_last_second_without_a_hash__kills(court, refuted):
    answered, call = refuted
    late = court.people[5]
    for stranger in court.people[6:9]:
        court.send(court.refutations.functions.post(hash_of(call, late)), stranger)  # which only makes it older
    court.chain.rpc("evm_setNextBlockTimestamp", answered.answer.closes_at)
    court.send(call, late)
    assert court.status(answered) == OPEN
    waited(court)
    court.send(court.refutations.functions.pay(case_of(court, answered)), late)
    assert court.credit(late) == ETHER * 3 // 10


def test_refute__a_second_after_the_window__is_too_late(court, refuted):
    answered, call = refuted
    court.chain.rpc("evm_setNextBlockTimestamp", answered.answer.closes_at + 1)
    assert refusal(court, call, court.people[5]) == "WindowClosed"
    assert answered.answer.closes_at + 1 - WINDOW < court.now


def test_refute__while_games_are_open__takes_all_of_them_out_of_the_node_s_queue(court, refuted):
    answered, call = refuted
    for who in court.people[5:7]:
        court.challenge(answered, len(answered.tokens.prompt), who)
    assert court.backlog(answered) == 2 * GAME_TERMS[5] + GAME_TERMS[4]
    court.send(call, court.people[7])
    assert court.backlog(answered) == 0


def test_pay__of_one_answer__takes_nothing_of_another(court, refuted):
    """The rewards of two answers wait at the same time."""
    first, call = refuted
    second = court.answered(PROMPT, lambda params: court.honest(PROMPT, 1, params), max_tokens=3)
    found = token_referee.find(second.tokens, second.prompt, second.output, court.manifest, court.model, 3)
    other = court.call(0, token_referee.refuting(second.claim, second.tokens.words, found))
    one, two = court.people[5:7]
    court.send(call, one)
    court.send(other, two)
    waited(court)
    for answered in (first, second):
        court.send(court.refutations.functions.pay(case_of(court, answered)), court.people[8])
    assert (court.credit(one), court.credit(two)) == (ETHER * 3 // 10, ETHER * 3 // 10)


def test_ether__sent_by_anyone_but_the_oracle__is_refused(court):
    tx = {"from": court.people[8], "to": court.refutations.address, "value": 1, "gas": 100_000}
    receipt = court.stand.w3.eth.wait_for_transaction_receipt(court.stand.w3.eth.send_transaction(tx))
    assert receipt["status"] == 0
