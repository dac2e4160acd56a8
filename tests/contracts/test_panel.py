"""The panel: drawn by nobody's choice, votes that cannot be copied, and money that moves the right way."""

import pytest
from ape import accounts, chain, networks, project, reverts
from eth_utils import keccak
from world import (
    ANNULLED,
    ANSWERED,
    BURN,
    DISPUTED,
    ETHER,
    OPEN,
    PANEL_TERMS,
    REJECTED,
    RIGHT,
    UPHELD,
    WRONG,
)

BOND = PANEL_TERMS["challengeBondWei"]
FEE = PANEL_TERMS["voteFeeWei"]
ABSENCE = PANEL_TERMS["absencePenaltyWei"]
UNDRAWN, VOTING, DECIDED = 1, 2, 3


@pytest.fixture
def case(world, answered):
    """An answer challenged, its panel not drawn."""
    return world.challenge(answered)


@pytest.fixture
def members(world, answered, case):
    """The panel of `case`."""
    return world.draw(answered)


# CHALLENGE


@pytest.mark.parametrize("wei", [0, BOND - 1, BOND + 1])
def test_challenge__wrong_bond__reverts(panel, people, answered, wei):
    with reverts(panel.WrongChallengeBond, expectedWei=BOND, givenWei=wei):
        panel.challenge(answered.request, answered.answer, value=wei, sender=people.challenger)


def test_challenge__window_closed__reverts(world, oracle, panel, people, answered):
    world.close_window(answered)
    with reverts(oracle.WindowClosed, requestId=answered.id, closesAt=answered.closes_at):
        panel.challenge(answered.request, answered.answer, value=BOND, sender=people.challenger)


def test_challenge__last_second_of_the_window__opens(world, oracle, panel, people, answered):
    world.set_time(answered.closes_at)
    panel.challenge(answered.request, answered.answer, value=BOND, sender=people.challenger)
    assert oracle.statusOf(answered.id) == DISPUTED


def test_challenge__final__reverts(world, oracle, panel, people, answered):
    world.finalize(answered)
    with reverts(oracle.WrongStatus, requestId=answered.id, status=4):
        panel.challenge(answered.request, answered.answer, value=BOND, sender=people.challenger)


def test_challenge__changed_answer__reverts(oracle, panel, people, answered):
    changed = list(answered.answer)
    changed[1] = keccak(b" no")
    with reverts(oracle.AnswerMismatch, requestId=answered.id):
        panel.challenge(answered.request, changed, value=BOND, sender=people.challenger)


def test_challenge__service_of_another_arbiter__reverts(world, oracle, panel, people, answered):
    changed = list(answered.request)
    changed[0] = b"\x01" * 32
    with reverts(oracle.NotArbiter, service=b"\x01" * 32, arbiter=panel.address):
        panel.challenge(changed, answered.answer, value=0, sender=people.challenger)


def test_challenge_a18__again__reverts(world, panel, people, answered, case):
    """One case an answer: no number of challengers can delay it, or draw until a panel suits them."""
    with reverts(panel.AlreadyChallenged, caseId=case):
        panel.challenge(answered.request, answered.answer, value=BOND, sender=people.stranger)


def test_challenge_a18__after_being_upheld__reverts(world, oracle, panel, people, answered):
    world.judge(answered, [RIGHT] * 3)
    case = bytes(panel.caseIdOf(answered.id, answered.turn))
    assert oracle.statusOf(answered.id) == ANSWERED
    with reverts(panel.AlreadyChallenged, caseId=case):
        panel.challenge(answered.request, answered.answer, value=BOND, sender=people.stranger)


# DRAW


def test_draw__not_challenged__reverts(panel, people, answered):
    case = panel.caseIdOf(answered.id, answered.turn)
    with reverts(panel.WrongPhase, caseId=case, phase=0):
        panel.draw(answered.request, answered.answer, sender=people.stranger)


def test_draw__seed_unknown__reverts(panel, people, answered, case):
    seed_block = panel.caseOf(case).seedBlock
    with reverts(panel.NotYetDrawable, caseId=case, seedBlock=seed_block):
        panel.draw(answered.request, answered.answer, sender=people.stranger)


def test_draw__twice__reverts(panel, people, answered, case, members):
    with reverts(panel.WrongPhase, caseId=case, phase=VOTING):
        panel.draw(answered.request, answered.answer, sender=people.stranger)


def test_draw__seed_forgotten__is_postponed(world, panel, people, answered, case):
    first = panel.caseOf(case).seedBlock
    world.forget(first)
    receipt = panel.draw(answered.request, answered.answer, sender=people.stranger)
    later = panel.DrawPostponed.from_receipt(receipt)[0].seedBlock
    assert later == receipt.block_number + 2
    assert panel.caseOf(case).phase == UNDRAWN
    assert len(world.draw(answered)) == 3


def test_draw__enough_seats__excludes_the_answerer_and_locks_the_members(world, answered, members):
    assert len(set(members)) == 3
    assert answered.seat not in members
    assert [world.seat(member).locks for member in members] == [1, 1, 1]


@pytest.mark.parametrize("side", ["owners", "operators"])
def test_draw__challenger_holds_a_seat__is_excluded(world, people, answered, side):
    """With six owners, less answerer and challenger, four are left for three: over many draws each of them appears."""
    mine = (answered.seat + 1) % 6
    world.challenge(answered, sender=getattr(people, side)[mine])
    seen = set()
    for second in range(1, 9):
        with chain.isolate():
            world.pass_time(second)  # another seed block, another draw
            seen |= set(world.draw(answered))
    assert mine not in seen
    assert answered.seat not in seen


def test_draw__several_seats_of_one_owner__serve_once(world, oracle, people):
    owner = people.owners[0]
    for operator in people.newcomers:
        world.join(owner, operator)
    world.pass_time(1_800)
    for seat in range(6, 6 + len(people.newcomers)):
        oracle.activate(world.service, seat, sender=people.stranger)
    world.enrich()  # the same seat may be in turn again, and has a bond at stake already
    for _ in range(3):
        asked = world.ask()
        answered = world.answer(asked)
        world.challenge(answered)
        owners = [world.seat(member).owner for member in world.draw(answered)]
        assert len(set(owners)) == 3
        assert world.seat(answered.seat).owner not in owners


def test_draw_a15__seats_taken_when_the_seed_is_known__change_nothing(world, oracle, panel, people, answered, case):
    """Otherwise somebody who knows the seed could take seats until the permutation fits, and draw in the same block."""
    world.mine(3)
    with chain.isolate():
        plain = world.draw(answered)
    for newcomer in people.newcomers[:3]:
        world.join(newcomer, newcomer)
    assert world.draw(answered) == plain


def test_draw_a22__accomplices_leave__panel_is_complete_all_the_same(world, oracle, panel, people, answered):
    """A liar's other seats cannot leave the panel incomplete, and so annul the case without loss."""
    world.challenge(answered)
    for seat in range(6):
        if seat != answered.seat:
            oracle.announceExit(world.service, seat, sender=people.owners[seat])
    assert len(world.draw(answered)) == 3


def test_draw__too_few_seats_with_money__annuls_at_once_and_nobody_pays(
    world, oracle, panel, people, answered, case, lens
):
    """Three seats that cannot pay for an absence are not drawn, and two are no panel of three."""
    arbiter = impersonate(panel)
    poor = [seat for seat in range(6) if seat != answered.seat][:3]
    for seat in poor:
        oracle.lockSeat(world.service, seat, sender=arbiter)
        oracle.unlockSeat(world.service, seat, 2**72 - 1, sender=arbiter)
    world.mine(3)
    burnt = oracle.burnable()
    receipt = panel.draw(answered.request, answered.answer, sender=people.stranger)
    assert panel.CaseDecided.from_receipt(receipt)[0].ruling == ANNULLED
    assert oracle.credit(people.challenger) == BOND
    assert oracle.statusOf(answered.id) == OPEN
    assert oracle.burnable() == burnt
    assert [world.seat(seat).locks for seat in range(6)] == [0] * 6
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"]
    assert oracle.balance == world.owed() + lens.unpackRequest(answered.request).feeWei


def impersonate(contract):
    networks.provider.set_balance(contract.address, ETHER)
    return accounts[contract.address]


# COMMIT AND REVEAL


def test_commit__no_case__reverts(world, panel, people):
    with reverts(panel.WrongPhase, caseId=bytes(32), phase=0):
        panel.commit(bytes(32), 0, bytes(32), sender=people.operators[0])


def test_commit__not_a_member__reverts(world, panel, people, answered, case, members):
    outsider = next(seat for seat in range(6) if seat not in members)
    operator = people.operators[outsider]
    with reverts(panel.NotMember, caseId=case, seat=outsider, caller=operator.address):
        panel.commit(case, outsider, b"\x01" * 32, sender=operator)


@pytest.mark.parametrize("side", ["owners", "newcomers"])
def test_commit__not_the_operator__reverts(world, panel, people, case, members, side):
    caller = getattr(people, side)[members[0]]
    with reverts(panel.NotMember, caseId=case, seat=members[0], caller=caller.address):
        panel.commit(case, members[0], b"\x01" * 32, sender=caller)


def test_commit__too_late__reverts(world, panel, people, case, members):
    closed_at = panel.caseOf(case).commitEndsAt
    world.set_time(closed_at + 1)
    with reverts(panel.CommitClosed, caseId=case, closedAt=closed_at):
        world_commit(world, case, members[0])


def world_commit(world, case, seat):
    operator = world.account(world.seat(seat).operator)
    return world.panel.commit(case, seat, b"\x01" * 32, sender=operator)


def test_commit__twice__reverts(world, panel, case, members):
    world.commit(case, members[0], RIGHT)
    with reverts(panel.AlreadyCommitted, caseId=case, seat=members[0]):
        world.commit(case, members[0], WRONG)


def test_reveal__before_commitments_are_over__reverts(world, panel, case, members):
    """Otherwise later members could vote with the first without running anything."""
    world.commit(case, members[0], RIGHT)
    ends = panel.caseOf(case).commitEndsAt
    world.set_time(ends)
    with reverts(panel.RevealNotOpen, caseId=case, opensAt=ends + 1, closesAt=ends + 600):
        world.reveal(case, members[0], RIGHT)


def test_reveal__too_late__reverts(world, panel, case, members):
    world.commit(case, members[0], RIGHT)
    ends = panel.caseOf(case).commitEndsAt
    world.set_time(ends + 601)
    with reverts(panel.RevealNotOpen, caseId=case, opensAt=ends + 1, closesAt=ends + 600):
        world.reveal(case, members[0], RIGHT)


def test_reveal__other_vote__reverts(world, panel, case, members):
    world.commit(case, members[0], RIGHT)
    world.open_reveals(case)
    with reverts(panel.WrongReveal, caseId=case, seat=members[0]):
        world.reveal(case, members[0], WRONG)


def test_reveal__no_vote_at_all__reverts(world, panel, people, case, members):
    commitment = panel.commitmentOf(case, members[0], 0, bytes(32))
    panel.commit(case, members[0], commitment, sender=world.account(world.seat(members[0]).operator))
    world.open_reveals(case)
    with reverts(panel.WrongReveal, caseId=case, seat=members[0]):
        panel.reveal(case, members[0], 0, bytes(32), sender=people.stranger)


def test_reveal__twice__reverts(world, panel, case, members):
    world.commit(case, members[0], RIGHT)
    world.open_reveals(case)
    world.reveal(case, members[0], RIGHT)
    with reverts(panel.WrongReveal, caseId=case, seat=members[0]):
        world.reveal(case, members[0], RIGHT)


def test_reveal_a9__copied_commitment__reverts(world, panel, people, case, members):
    """A copy names the copier's seat in its hash, and so can never be opened."""
    first, second = members[:2]
    world.commit(case, first, RIGHT)
    copied = panel.voteOf(case, first)[0]
    panel.commit(case, second, copied, sender=world.account(world.seat(second).operator))
    world.open_reveals(case)
    world.reveal(case, first, RIGHT)
    with reverts(panel.WrongReveal, caseId=case, seat=second):
        panel.reveal(case, second, RIGHT, world.salt(first), sender=people.stranger)


def test_commitment_a25__chain_contract_case_and_seat__are_all_in_the_hash(world, panel, people, case):
    plain = panel.commitmentOf(case, 1, RIGHT, bytes(32))
    other_panel = project.PanelArbiter.deploy(panel.oracle(), panel.registry(), sender=people.stranger)
    variants = {
        bytes(plain),
        bytes(panel.commitmentOf(case, 2, RIGHT, bytes(32))),
        bytes(panel.commitmentOf(case, 1, WRONG, bytes(32))),
        bytes(panel.commitmentOf(b"\x01" * 32, 1, RIGHT, bytes(32))),
        bytes(panel.commitmentOf(case, 1, RIGHT, b"\x01" * 32)),
        bytes(other_panel.commitmentOf(case, 1, RIGHT, bytes(32))),
    }
    assert len(variants) == 6
    networks.provider.make_request("anvil_setChainId", [777])
    try:
        raw = networks.provider.make_request(
            "eth_call",
            [
                {"to": panel.address, "data": "0x" + panel.commitmentOf.encode_input(case, 1, RIGHT, bytes(32)).hex()},
                "latest",
            ],
        )
    finally:
        networks.provider.make_request("anvil_setChainId", [31337])
    assert bytes.fromhex(raw[2:]) not in variants


# DECISION


def test_decide__no_panel__reverts(panel, people, answered, case):
    with reverts(panel.WrongPhase, caseId=case, phase=UNDRAWN):
        panel.decide(answered.request, answered.answer, sender=people.stranger)


def test_decide__votes_outstanding__reverts(world, panel, people, answered, case, members):
    world.vote(case, {members[0]: WRONG, members[1]: WRONG})
    ends = panel.caseOf(case).commitEndsAt + 600
    world.set_time(ends)
    with reverts(panel.VotesOutstanding, caseId=case, revealEndsAt=ends):
        panel.decide(answered.request, answered.answer, sender=people.stranger)


def test_decide__twice__reverts(world, panel, people, answered):
    world.judge(answered, [WRONG] * 3)
    case = panel.caseIdOf(answered.id, answered.turn)
    with reverts(panel.WrongPhase, caseId=case, phase=DECIDED):
        panel.decide(answered.request, answered.answer, sender=people.stranger)


def test_decide__changed_answer__reverts(world, oracle, panel, people, answered, case, members):
    """Head fields below the turn's are not in the case's name; the oracle compares the rest."""
    world.vote(case, dict.fromkeys(members, WRONG))
    changed = list(answered.answer)
    changed[0] ^= 1 << 32  # another seat would lose the bond
    with reverts(oracle.AnswerMismatch, requestId=answered.id):
        panel.decide(answered.request, changed, sender=people.stranger)


def test_decide__all_revealed__need_not_wait(world, oracle, panel, people, answered, case, members):
    world.vote(case, dict.fromkeys(members, WRONG))
    panel.decide(answered.request, answered.answer, sender=people.stranger)
    assert oracle.statusOf(answered.id) == OPEN


def test_decide__majority_against__rejects_and_moves_the_bond(world, oracle, panel, people, answered, lens):
    seats = [world.seat(i).balanceWei for i in range(6)]
    receipt = world.judge(answered, [WRONG, WRONG, RIGHT])
    decided = panel.CaseDecided.from_receipt(receipt)[0]
    assert (decided.ruling, decided.votesRight, decided.votesWrong) == (REJECTED, 1, 2)
    assert oracle.AnswerRuled.from_receipt(receipt)[0].slashedWei == ETHER
    assert oracle.credit(people.challenger) == BOND + ETHER // 2 - 3 * FEE
    voters = panel.caseOf(bytes(panel.caseIdOf(answered.id, answered.turn))).members
    assert [oracle.credit(people.owners[seat]) for seat in voters] == [FEE] * 3
    assert oracle.credit(BURN) == ETHER // 2
    assert world.seat(answered.seat).balanceWei == seats[answered.seat] == world.terms["seatWei"] - ETHER
    assert [world.seat(i).locks for i in range(6)] == [0] * 6
    assert oracle.balance == world.owed() + lens.unpackRequest(answered.request).feeWei
    assert lens.roundOf(answered.id).firstTurn == answered.turn + 1


def test_decide__rejected__request_goes_to_its_next_turn(world, oracle, people, answered):
    world.judge(answered, [WRONG] * 3)
    oracle.topUp(world.service, answered.seat, value=ETHER, sender=people.stranger)
    again = world.answer(answered.asked, b" no")
    assert again.turn > answered.turn
    world.finalize(again)
    assert oracle.isFinal(again.id, again.answer)
    assert not oracle.isFinal(answered.id, answered.answer)


def test_decide__majority_for__upholds_and_pays_the_panel_from_the_challenger(world, oracle, panel, people, answered):
    receipt = world.judge(answered, [RIGHT, WRONG, RIGHT])
    assert panel.CaseDecided.from_receipt(receipt)[0].ruling == UPHELD
    assert oracle.statusOf(answered.id) == ANSWERED
    assert oracle.credit(people.challenger) == 0
    assert oracle.credit(BURN) == BOND - 3 * FEE
    assert world.seat(answered.seat).locks == 1
    receipt = world.finalize(answered)
    paid = oracle.RequestFinalized.from_receipt(receipt)[0].paidWei
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] + paid


def test_decide__tie__annuls_and_both_pay_half_the_fees(world, oracle, panel, people, answered, lens):
    receipt = world.judge(answered, [RIGHT, WRONG, 0])
    assert panel.CaseDecided.from_receipt(receipt)[0].ruling == ANNULLED
    assert oracle.credit(people.challenger) == BOND - FEE
    assert world.seat(answered.seat).balanceWei == world.terms["seatWei"] - FEE
    assert oracle.statusOf(answered.id) == OPEN
    assert oracle.balance == world.owed() + lens.unpackRequest(answered.request).feeWei


def test_decide__absent_members__pay_and_get_nothing(world, oracle, panel, people, answered):
    world.judge(answered, [WRONG, 0, 0])
    voters = panel.caseOf(bytes(panel.caseIdOf(answered.id, answered.turn))).members
    assert [oracle.credit(people.owners[seat]) for seat in voters] == [FEE, 0, 0]
    least = world.terms["seatWei"]
    assert [world.seat(seat).balanceWei for seat in voters] == [least, least - ABSENCE, least - ABSENCE]
    assert oracle.statusOf(answered.id) == OPEN
    assert oracle.credit(BURN) == ETHER // 2 + 2 * ABSENCE


def test_decide__committed_but_not_revealed__counts_as_absent(world, oracle, panel, people, answered, case, members):
    world.commit(case, members[0], RIGHT)
    world.set_time(panel.caseOf(case).commitEndsAt + 601)
    receipt = panel.decide(answered.request, answered.answer, sender=people.stranger)
    assert panel.CaseDecided.from_receipt(receipt)[0].ruling == ANNULLED
    assert [world.seat(seat).balanceWei for seat in members] == [world.terms["seatWei"] - ABSENCE] * 3
    assert oracle.credit(people.challenger) == BOND


def test_decide_a22__liar_challenges_himself__half_the_bond_is_gone(world, oracle, people, answered):
    """What comes back through a puppet is at most half of the bond, less the panel's fees."""
    world.judge(answered, [WRONG] * 3)  # `challenger` may be the liar
    back = oracle.credit(people.challenger) - BOND
    assert back == ETHER // 2 - 3 * FEE < ETHER // 2
    assert oracle.credit(BURN) >= ETHER // 2


def test_decide_a10__somebody_else_sends_every_move__reward_goes_to_the_challenger(world, oracle, people, answered):
    world.judge(answered, [WRONG] * 3)  # drawn, revealed and decided by `stranger`
    assert oracle.credit(people.stranger) == 0
    assert oracle.credit(people.challenger) > BOND
