"""Gas of every step, from receipts on Anvil under Osaka's rules, held against `gas.json` and against the limits.

`make gas` writes the file. Figures move by some dozens of gas with the zero bytes of hashes in calldata.
"""

import pytest
from ape import networks, project
from world import ETHER, GWEI, PANEL_TERMS, WRONG

from oracle.disputes.commitments import FLOAT_MATRICES
from oracle.engines.exact.quants import F16, F32, IQ4_XS, MATRIX_TYPES, Q8_0
from oracle.models.gguf import BLOCKS

EIP_170 = 24_576
ROOM = 2_000  # bytes that a mend must find free

PROMPT_100 = (
    b"Is the following review positive or negative? Answer with one word. Review: I liked this film a lot." * 11
)[:100]
PROMPT_1K = (PROMPT_100 * 11)[:1_024]
OUTPUT_256 = (b"The review is positive, for its author says that the film was a pleasure to watch. " * 4)[:256]


@pytest.fixture
def referee(people):
    """The referee's libraries with doors."""
    return people.deployer.deploy(project.RefereeHarness)


@pytest.fixture
def steady(world, oracle, people, correspondent):
    """A dapp and seats in use: credits and balances are not zero, as in any but the first request."""
    world.enrich(100 * ETHER)
    oracle.deposit(correspondent, value=1, sender=people.payer)
    oracle.deposit(people.watcher, value=1, sender=people.payer)
    return world


def ask(world, correspondent, prompt, **params):
    filled = world.params(callbackGas=60_000, callbackGasPriceWei=GWEI, maxTokens=128, **params)
    price = correspondent.price(len(prompt), filled)
    return world.posted(correspondent.ask(prompt, filled, value=price, sender=world.people.payer))


def loop(world, correspondent, prompt):
    """Request, answer and finalize with callback; the node that answered finalizes."""
    asked = ask(world, correspondent, prompt)
    answered = world.answer(asked, OUTPUT_256, tokens=64)
    assert answered.turn == 0, "somebody missed a turn: the measurement would count the fine"
    receipt = world.finalize(answered, sender=world.account(world.seat(answered.seat).operator))
    assert correspondent.answerHash(asked.id) != bytes(32)
    return asked.receipt.gas_used, answered.receipt.gas_used, receipt.gas_used


def test_gas__loop_with_100_bytes__within_its_limit(steady, correspondent, check):
    request, answer, finalize = loop(steady, correspondent, PROMPT_100)
    check("request_100b", request)
    check("answer_256b", answer)
    check("finalize", finalize)
    check("loop_100b", request + answer + finalize)


def test_gas__loop_with_1024_bytes__within_its_limit(steady, correspondent, check):
    check("loop_1kb", sum(loop(steady, correspondent, PROMPT_1K)))


def test_gas__first_loop_of_a_dapp__pays_for_a_new_balance(world, correspondent, check):
    check("loop_100b_first_refund", sum(loop(world, correspondent, PROMPT_100)))


def test_gas__batch_of_50__within_its_limit(steady, oracle, people, correspondent, check):
    answers = []
    for _ in range(50):
        answers.append(steady.answer(ask(steady, correspondent, PROMPT_100), OUTPUT_256, tokens=64))
    receipt = steady.finalize(*answers, sender=people.watcher)
    assert len(oracle.RequestFinalized.from_receipt(receipt)) == 50
    assert not oracle.CallbackFailed.from_receipt(receipt)
    check("finalize_batch50_each", receipt.gas_used // 50)


def test_gas__ends_without_an_answer__are_as_committed(steady, oracle, people, check, lens):
    early = steady.ask(PROMPT_100, wait=False)
    check("cancel_early", oracle.cancel(early.request, sender=people.payer).gas_used)
    late = steady.ask(PROMPT_100)
    check("cancel_late", oracle.cancel(late.request, sender=people.payer).gas_used)
    unanswered = steady.ask(PROMPT_100)
    fields = lens.unpackRequest(unanswered.request)
    steady.live(fields.params.deadline + 1 - steady.now())
    receipt = oracle.refund(unanswered.request, sender=people.stranger)
    assert len(oracle.TurnMissed.from_receipt(receipt)) >= 29
    # A second between asking and mining makes it 29 turns.
    check("refund_30_turns_missed", receipt.gas_used, 0.03)


def test_gas__seats__are_as_committed(world, oracle, people, check):
    receipt = oracle.join(world.service, people.newcomers[0], value=2 * ETHER, sender=people.stranger)
    check("join", receipt.gas_used)
    world.set_time(world.seat(6).readyAt + 5)
    check("activate", oracle.activate(world.service, 6, sender=people.stranger).gas_used)
    check("announce_exit", oracle.announceExit(world.service, 6, sender=people.stranger).gas_used)
    world.set_time(world.seat(6).readyAt)
    check("exit", oracle.exit(world.service, 6, sender=people.stranger).gas_used)
    check("withdraw", oracle.withdraw(people.stranger, 2 * ETHER, sender=people.stranger).gas_used)


def test_gas__dispute__is_as_committed(steady, panel, people, check):
    answered = steady.answer(steady.ask(PROMPT_100), OUTPUT_256, tokens=16)
    bond = PANEL_TERMS["challengeBondWei"]
    case = bytes(panel.caseIdOf(answered.id, answered.turn))
    receipts = {"challenge": panel.challenge(answered.request, answered.answer, value=bond, sender=people.challenger)}
    steady.mine(3)
    receipts["draw"] = panel.draw(answered.request, answered.answer, sender=people.stranger)
    members = panel.caseOf(case).members
    commits = [steady.commit(case, seat, WRONG) for seat in members]
    steady.open_reveals(case)
    reveals = [steady.reveal(case, seat, WRONG) for seat in members]
    receipts |= {"commit": commits[1], "reveal": reveals[1]}
    receipts["decide"] = panel.decide(answered.request, answered.answer, sender=people.stranger)
    for name in ("challenge", "commit", "reveal", "decide"):
        check(name, receipts[name].gas_used)
    everything = [receipts["challenge"], receipts["draw"], *commits, *reveals, receipts["decide"]]
    # How many of the six seats the draw looks at is chance.
    check("draw", receipts["draw"].gas_used, tolerance=0.15)
    check("dispute_panel_of_3", sum(receipt.gas_used for receipt in everything), tolerance=0.05)


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        *((kind, 14_336) for kind in MATRIX_TYPES),  # the down projection of an 8B model, of every type
        (Q8_0, 4_096),
        (Q8_0, 28_672),  # of a 70B model
        (F16, 4_096),
        (IQ4_XS, 65_536),  # the longest row of the dearest type, and of floats
        (F32, 16_384),
    ],
)
def test_gas__referee_s_dot_product__is_as_committed(referee, people, check, kind, columns):
    """Whole transactions, without the proofs that will bind the rows."""
    block, size = BLOCKS[kind]
    row = bytes((37 * k + 11) % 256 & 0x7B for k in range(columns // block * size))
    call = referee.dot.encode_input(FLOAT_MATRICES.get(kind, kind), b"\x81\x7f" * columns, row)
    gas = people.stranger.transfer(referee, 0, data=call).gas_used
    assert gas < 15_000_000  # of 2^24 that a transaction may use, with room for proofs
    check(f"referee_linear_{MATRIX_TYPES[kind].lower()}_{columns}", gas)


@pytest.mark.parametrize(
    ("name", "function"), [("referee_norm_sum_4096", "product"), ("referee_share_sum_512", "total")]
)
def test_gas__referee_s_reductions__are_as_committed(referee, people, check, name, function):
    inputs = (b"\x81\x7f" * 4_096,) * 2 if function == "product" else (bytes((k * 7) % 256 % 3 for k in range(2_048)),)
    call = getattr(referee, function).encode_input(*inputs)
    check(name, people.stranger.transfer(referee, 0, data=call).gas_used)


def test_gas__referee_s_context__is_as_committed(referee, people, check):
    """One number of the attention's output over 512 positions."""
    shares, values = (bytes((k * step) % 250 % 64 for k in range(2_048)) for step in (7, 11))
    call = referee.context.encode_input(shares, values, 1 << 30)
    check("referee_context_512", people.stranger.transfer(referee, 0, data=call).gas_used)


def test_gas__bytecode__leaves_room_below_eip_170(oracle, seats, lens, panel, registry, check):
    named = {"oracle": oracle, "seats": seats, "lens": lens, "panel": panel, "registry": registry}
    for name, contract in named.items():
        size = len(networks.provider.get_code(contract.address))
        assert size <= EIP_170 - ROOM
        check(f"bytecode_{name}", size)
