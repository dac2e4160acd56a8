"""Whole games against engines that are off as engines go wrong: weights, tables, cache, sampling; and token faults."""

from dataclasses import replace

import numpy as np
import pytest
from disputes.court import ANSWERED, DISPUTED, ETHER, GAME_TERMS, OPEN, Court
from disputes.duel import error_of
from disputes.stand import deploy, refused
from exact.random_model import Shape, write
from rig.anvil import anvil
from web3.exceptions import ContractLogicError

from oracle.chain import headers
from oracle.chain.services import GameTerms
from oracle.demo.false_pass import FalsePass
from oracle.disputes import token_referee
from oracle.disputes.game import Move, Stage, attack, defend
from oracle.disputes.inputs import Spelling, entry_input
from oracle.disputes.passes import Pass, Tracer
from oracle.disputes.token_referee import Fault, Refutation
from oracle.errors import UnknownHeader
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Tree

PROMPT = [9, 4, 11, 7]
MOST = 3
SHAPE = Shape(family="qwen2", layers=3, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)


@pytest.fixture(scope="module")
def court(model):
    with anvil() as chain:
        yield Court.opened(chain, model)


def right_tokens(court, params):
    return court.honest(PROMPT, params.max_tokens, params)


# ENGINES


def other_weights(model, tmp_path):
    """One byte of one row of the middle layer is another."""
    path = tmp_path / "other.gguf"
    data = bytearray(model.read_bytes())
    at = len(data) // 2
    data[at] ^= 0x11
    path.write_bytes(data)
    return Tracer(path)


def other_powers(model, tmp_path):
    tracer = Tracer(model)
    tracer._reference._powers = tracer._reference._powers - (tracer._reference._powers >> 6)
    return tracer


def other_rotations(model, tmp_path):
    tracer = Tracer(model)
    true = tracer._reference._rotations.whole

    def turned(start, count):
        cosines, sines = true(start, count)
        return cosines - 7, sines

    tracer._reference._rotations.whole = turned
    return tracer


def stale_cache(model, tmp_path):
    """Attention sees another value at the first position than was computed there."""
    tracer = Tracer(model)
    true = tracer._reference._attention

    def stale(values, query, past, window):
        value = past.value.copy()
        value[:, 0] = value[:, 0] + 5
        return true(values, query, replace(past, value=value), window)

    tracer._reference._attention = stale
    return tracer


@pytest.mark.parametrize("index", range(MOST))
@pytest.mark.parametrize("engine", [other_weights, other_powers, other_rotations, stale_cache])
def test_play__an_engine_that_is_off__loses_at_any_token(fresh, model, tmp_path, engine, index):
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, index), max_tokens=MOST)
    positions = len(wrong.tokens.prompt) + index
    honest = court.view(wrong, positions)
    off = Pass(court.model, engine(model, tmp_path), wrong.tokens, positions)
    assert off.roots != honest.roots
    game = court.challenge(wrong, positions, court.people[5])
    court.play(game, wrong, off, honest, court.people[5])
    assert court.status(wrong) == OPEN
    assert court.credit(court.people[5]) >= ETHER * 3 // 10


@pytest.mark.parametrize("row", ["first", "middle", "last"])
def test_play__a_lie_at_any_position__loses(fresh, row):
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 2), max_tokens=MOST)
    positions = len(wrong.tokens.prompt) + 2
    honest = court.view(wrong, positions)
    at = {"first": 0, "middle": positions // 2, "last": positions - 1}[row]
    game = court.challenge(wrong, positions, court.people[5])
    court.play(game, wrong, FalsePass(honest, 2, "ffn_norm", at, 11), honest, court.people[5])
    assert court.status(wrong) == OPEN


def test_play__roots_made_up__loses_though_nothing_can_be_opened_below(fresh):
    """A liar who commits to nothing that it could show."""
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=MOST)
    positions = len(wrong.tokens.prompt) + 1
    honest = court.view(wrong, positions)
    rng = np.random.default_rng(5)
    made_up = [rng.bytes(32) for _ in honest.roots]
    game = court.challenge(wrong, positions, court.people[5])

    def node(state):
        return Move("open", (made_up,)) if state.stage is Stage.STEPS else None

    court.play(game, wrong, node, honest, court.people[5])
    assert court.status(wrong) == OPEN


# SAMPLING

SAMPLED = [(1 << 16, 0), (2 << 16, 0), (1 << 16, 3 << 16)]


def with_header(court, answered):
    block = court.chain.rpc("eth_getBlockByNumber", hex(answered.request.seed_block), False)
    return replace(answered.claim, header=headers.encode(block))


@pytest.mark.parametrize(("temperature", "cutoff"), SAMPLED)
def test_play__another_token_than_was_drawn__loses_to_the_choice(fresh, temperature, cutoff):
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=MOST, temperature=temperature, cutoff=cutoff)
    positions = len(wrong.tokens.prompt) + 1
    honest, claim = court.view(wrong, positions), with_header(court, wrong)
    game = court.challenge(wrong, positions, court.people[5])
    court.play(game, wrong, honest, lambda state: attack(state, court.openings(), honest, claim), court.people[5])
    assert court.status(wrong) == OPEN


@pytest.mark.parametrize(("temperature", "cutoff"), SAMPLED)
def test_play__the_token_that_was_drawn__stands(fresh, temperature, cutoff):
    court = fresh
    right = court.answered(
        PROMPT, lambda params: right_tokens(court, params), max_tokens=MOST, temperature=temperature, cutoff=cutoff
    )
    positions = len(right.tokens.prompt) + 1
    honest, claim = court.view(right, positions), with_header(court, right)
    game = court.challenge(right, positions, court.people[5])
    court.play(game, right, honest, lambda state: attack(state, court.openings(), honest, claim), court.people[5])
    assert court.status(right) == ANSWERED


def test_prove_choice__header_of_another_block__is_refused(fresh):
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=MOST, temperature=1 << 16)
    positions = len(wrong.tokens.prompt) + 1
    honest = court.view(wrong, positions)
    block = court.chain.rpc("eth_getBlockByNumber", hex(wrong.request.seed_block + 1), False)
    claim = replace(wrong.claim, header=headers.encode(block))
    game = court.challenge(wrong, positions, court.people[5])
    with pytest.raises(ContractLogicError) as caught:
        court.play(game, wrong, honest, lambda state: attack(state, court.openings(), honest, claim), court.people[5])
    assert error_of(caught.value)[0] == "WrongHeader"


def test_encode__header_with_a_field_changed__is_unknown(court):
    block = dict(court.chain.rpc("eth_getBlockByNumber", "latest", False))
    assert headers.encode(block)
    with pytest.raises(UnknownHeader):
        headers.encode({**block, "gasUsed": hex(int(block["gasUsed"], 16) + 1)})


# TOKENS


def stop_early(court):
    return {"output": lambda params: right_tokens(court, params)[:-1]}


def go_on_after_a_stop(court):
    return {"output": lambda params: [right_tokens(court, params)[0], court.manifest.stop_tokens[0], 12]}


def spell_something_else(court):
    return {"output": lambda params: right_tokens(court, params), "text": lambda text: b"x" * len(text)}


def spell_too_much(court):
    return {"output": lambda params: right_tokens(court, params), "text": lambda text: text + b"."}


def another_prompt(court):
    return {
        "output": lambda params: right_tokens(court, params),
        "tokens": lambda tokens: replace(tokens, prompt=(tokens.prompt[0], 10, *tokens.prompt[2:])),
    }


def a_longer_prompt(court):
    return {
        "output": lambda params: right_tokens(court, params),
        "tokens": lambda tokens: replace(tokens, prompt=(*tokens.prompt, 10)),
    }


def a_token_that_does_not_exist(court):
    def output(tokens):
        return Tokens(tokens.prompt, (*tokens.output[:-1], 1 << 31), tokens.ends)

    return {"output": lambda params: right_tokens(court, params), "tokens": output}


FAULTS = [
    stop_early,
    go_on_after_a_stop,
    spell_something_else,
    spell_too_much,
    another_prompt,
    a_longer_prompt,
    a_token_that_does_not_exist,
]


def refutation(court, answered):
    found = token_referee.find(
        answered.tokens, answered.prompt, answered.output, court.manifest, court.model, answered.params.max_tokens
    )
    assert found is not None
    return found


def refuting(answered, found: Refutation):
    return token_referee.refuting(answered.claim, answered.tokens.words, found)


@pytest.mark.parametrize("fault", FAULTS)
def test_refute__an_answer_whose_tokens_are_at_fault__dies_in_one_transaction(fresh, fault):
    court = fresh
    answered = court.answered(PROMPT, max_tokens=MOST, **fault(court))
    court.refute(refuting(answered, refutation(court, answered)), court.people[6])
    assert court.status(answered) == OPEN
    assert court.credit(court.people[6]) == ETHER * 3 // 10


@pytest.mark.parametrize("fault", [stop_early, another_prompt, spell_something_else])
def test_refute__tokens_that_had_to_be_shown_first__dies_and_the_game_is_settled(fresh, fault):
    court = fresh
    answered = court.answered(PROMPT, max_tokens=MOST, **fault(court))
    price = court.price(answered)
    game = court.challenge_unread(answered, court.people[5])
    tokens = answered.tokens
    words = (answered.request.words, answered.answer.words)
    court.send(court.game.functions.openTokens(game, *words, len(tokens.prompt), tokens.upper), court.node)
    court.refute(refuting(answered, refutation(court, answered)), court.people[5])
    court.send(court.game.functions.settle(game), court.people[9])
    assert court.status(answered) == OPEN
    assert court.credit(court.people[5]) == ETHER * 3 // 10 + price


def test_refute__a_right_answer__is_refused_whatever_is_shown(fresh):
    """Every token of it, as each of the faults."""
    court = fresh
    right = court.answered(PROMPT, lambda params: right_tokens(court, params), max_tokens=MOST)
    whole = right.tokens
    for index in range(len(whole.ids)):
        for fault in Fault:
            entry = entry_input(whole, index)
            inputs = (entry,)
            if fault is Fault.TEXT:
                first = index == len(whole.prompt)
                before = token_referee.NOTHING if first else entry_input(whole, max(index - 1, 0))
                spelled = court.model.input(Spelling(whole.ids[index]))
                inputs = (entry, before, spelled)
            with pytest.raises(ContractLogicError) as caught:
                court.move(
                    0, refuting(right, Refutation(fault, index, right.prompt, right.output, inputs)), court.people[6]
                )
            assert error_of(caught.value)[0] in ("NothingWrong", "NoSuchElement"), (fault, index)
    assert court.status(right) == ANSWERED


# TERMS

GOOD = GameTerms(*GAME_TERMS)
LONGEST = 30 * 86400
OPENINGS = GOOD.opening_wei * 9 * 6 // 5
MOST_BOND = ETHER * 15 // 100
CLOCK, FIRST = "ClockOutOfRange(uint256,uint256,uint256)", GOOD.first_move_seconds
CEILING, QUEUE = "CeilingOutOfRange(uint256,uint256,uint256)", "QueueTooShort(uint256,uint256)"
LEAST = FIRST + GOOD.queue_seconds + 9 * GOOD.move_seconds
BAD = [
    ({"move_seconds": 0}, "MovesTooShort(uint256,uint256)", (0, FIRST)),
    ({"first_move_seconds": 299}, "MovesTooShort(uint256,uint256)", (GOOD.move_seconds, 299)),
    ({"clock_seconds": LEAST - 1}, CLOCK, (LEAST - 1, LEAST, LONGEST)),
    ({"clock_seconds": LONGEST + 1}, CLOCK, (LONGEST + 1, LEAST, LONGEST)),
    ({"queue_seconds": 8}, QUEUE, (8, 9)),
    ({"ceiling_percent": 99}, CEILING, (99, 100, 200)),
    ({"ceiling_percent": 201}, CEILING, (201, 100, 200)),
    ({"opening_wei": 0}, "OpeningsUnpaid()", ()),
    ({"challenge_bond_wei": OPENINGS - 1}, "ChallengeBondTooSmall(uint256,uint256)", (OPENINGS - 1, OPENINGS)),
    (
        {"challenge_bond_wei": MOST_BOND + 1},
        "RewardTooSmall(uint256,uint256)",
        (ETHER * 3 // 10, 2 * (MOST_BOND + 1)),
    ),
]


@pytest.mark.parametrize(("changes", "error", "arguments"), BAD, ids=lambda value: value if type(value) is str else "")
def test_adopt__terms_that_make_honesty_a_loss__are_refused(court, changes, error, arguments):
    terms = replace(court.terms, arbiter_terms=replace(GOOD, **changes).encoded())
    call = court.oracle.functions.createService(tuple(vars(terms).values()))
    refused(call, error, *arguments)


def test_adopt__model_that_the_referee_does_not_know__is_refused(court):
    court.send(
        court.stand.registry.functions.register(tuple(vars(replace(court.manifest, name="x")).values())),
        court.people[0],
    )
    other = replace(court.terms, model=replace(court.manifest, name="x").model_id)
    call = court.oracle.functions.createService(tuple(vars(other).values()))
    refused(call, "NotEnrolled(bytes32)", other.model)


def test_game__called_by_anyone_in_the_oracle_s_name__is_refused(court):
    stranger = court.people[8]
    call = court.game.functions.adopt(bytes(32), tuple(vars(court.terms).values()))
    with pytest.raises(ContractLogicError) as caught:
        court.send(call, stranger)
    assert error_of(caught.value)[0] == "NotOracle"
    tx = {"from": stranger, "to": court.game.address, "value": 1, "gas": 100_000}
    receipt = court.stand.w3.eth.wait_for_transaction_receipt(court.stand.w3.eth.send_transaction(tx))
    assert receipt["status"] == 0


def test_won_and_refuted__called_by_anyone_but_a_referee__are_refused(fresh):
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=MOST)
    words, stranger = (wrong.request.words, wrong.answer.words), court.people[8]
    game = court.challenge(wrong, len(wrong.tokens.prompt) + 1, court.people[5])
    for call in (court.game.functions.won(game, *words), court.game.functions.refuted(*words, stranger)):
        for caller in (stranger, court.node, court.people[5]):
            with pytest.raises(ContractLogicError) as caught:
                court.send(call, caller)
            assert error_of(caught.value) == ("NotReferee", (caller.lower(),))


def test_prove__by_a_referee_that_the_game_does_not_trust__is_refused(fresh):
    """Another referee, of the same code even, cannot end a game."""
    court = fresh
    other = deploy(court.stand.w3, "Referee", court.stand.registry.address, *[court.people[7]] * 3)
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=MOST)
    positions = len(wrong.tokens.prompt) + 1
    honest = court.view(wrong, positions)
    liar = FalsePass(honest, 2, "ffn_norm", 0, 11)
    game = court.challenge(wrong, positions, court.people[5])
    while court.state(game).stage is not Stage.VALUES or court.state(game).node_to_move:
        state = court.state(game)
        move = defend(state, liar) if state.node_to_move else attack(state, court.openings(), honest, wrong.claim)
        court.move(game, move, court.node if state.node_to_move else court.people[5])
    move = attack(court.state(game), court.openings(), honest, wrong.claim)
    enrolled = court.stand.referee.functions.pointerOf(court.manifest.model_id).call()
    assert other.functions.pointerOf(court.manifest.model_id).call() != enrolled
    with pytest.raises(ContractLogicError):
        court.send(other.functions.prove(*move.words(court.game.address, game)), court.people[5])
    assert court.status(wrong) == DISPUTED
    court.move(game, move, court.people[5])
    assert court.status(wrong) == OPEN


def test_pick__index_that_stands_for_another__is_refused(fresh):
    """256 + 3 is not operator 3, and no other list has more children than it shows."""
    court = fresh
    wrong = court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=MOST)
    positions = len(wrong.tokens.prompt) + 1
    honest = court.view(wrong, positions)
    game = court.challenge(wrong, positions, court.people[5])
    court.move(game, defend(court.state(game), honest), court.node)
    nodes = honest.roots
    for child in (len(nodes), 2 + (1 << 16), 2 + (1 << 255)):
        call = court.game.functions.pick(game, child, nodes[2], Tree(nodes).proof(2))
        with pytest.raises(ContractLogicError) as caught:
            court.send(call, court.people[5])
        assert error_of(caught.value)[0] == "IndexOutOfRange"
    court.send(court.game.functions.pick(game, 2, nodes[2], Tree(nodes).proof(2)), court.people[5])
    court.move(game, defend(court.state(game), honest), court.node)
    roots = honest.step(2).roots
    for child in (3 + 256, 3 + (1 << 40)):
        call = court.game.functions.pick(game, child, roots[3], Tree(roots).proof(3))
        with pytest.raises(ContractLogicError) as caught:
            court.send(call, court.people[5])
        assert error_of(caught.value)[0] == "IndexOutOfRange"
