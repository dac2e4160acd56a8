"""Gas of disputes about large models: one whole game, and the referee's transaction for every operator."""

from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
from ape import networks, project
from disputes import patterns
from eth_abi import encode
from eth_utils import keccak
from sparse import GEMMA_12B, LLAMA_8B, LLAMA_70B, POSITIONS, SparsePass, climb_up, made_up
from world import ETHER, maker, terms

from oracle.chain import wiring
from oracle.disputes.inputs import Step, entry_input, rounds
from oracle.disputes.pattern_referee import PatternFault
from oracle.disputes.token_referee import Fault
from oracle.engines.answer_types import HEADER_BYTES, MOST_MARGIN, Verdict, choice_type, pattern_type, typed_prompt
from oracle.engines.tables import creation_codes
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.merkle.tree import Tree, depth, leaf_hash

GAME_TERMS = (ETHER // 10, 9 * ETHER // 1000, 3_600, 300, 600, 126, 200)
LAYER = 17
TRANSACTION_GAS = 1 << 24  # EIP-7825
NAMES = [operator.name for operator in Step(LLAMA_8B, LAYER, POSITIONS, frozenset()).operators]
END = ["logits", "logits.peak", "logits.max"]


@pytest.fixture(scope="module")
def disputes(deployed, people):
    """The game and its referees, by name."""
    eth = networks.provider.web3.eth
    tables = {
        name: eth.wait_for_transaction_receipt(eth.send_transaction({"from": people.deployer.address, "data": code}))
        for name, code in creation_codes().items()
    }
    known = {name: receipt["contractAddress"] for name, receipt in tables.items()}
    names = (
        *("LinearReferee", "RowReferee", "AttentionReferee"),
        "Referee",
        "TokenReferee",
        "TextReferee",
        "AnswerReferee",
        "DisputeGame",
    )
    return wiring.deploy(maker(people.deployer), {**deployed, **known}, names)


@pytest.fixture(scope="module")
def referee(disputes):
    return disputes["Referee"]


@pytest.fixture(scope="module")
def token_referee(disputes):
    return disputes["TokenReferee"]


@pytest.fixture(scope="module")
def game(disputes):
    return disputes["DisputeGame"]


def enrolled(registry, referee, people, made):
    receipt = registry.register(made.manifest(), sender=people.deployer)
    referee.enroll(made.manifest(), sender=people.deployer)
    return registry.ModelRegistered.from_receipt(receipt)[0].model


def judged(registry, referee, people, made):
    """Gas of the referee's whole transaction: data, proofs and the disputed leaf."""
    model = enrolled(registry, referee, people, made)
    roots = (Tree(made.steps).root, Tree(made.operators).root)
    arguments = (model, made.place, roots, made.tokens.words, 16, made.values, made.element, made.inputs)
    assert referee.isWrong(*arguments)
    return people.stranger.transfer(referee, 0, data=referee.isWrong.encode_input(*arguments)).gas_used


@pytest.mark.parametrize("name", NAMES)
def test_gas__referee_on_8b__is_as_committed(registry, referee, people, check, name):
    operator = Step(LLAMA_8B, LAYER, POSITIONS, frozenset()).operator(name)
    row = operator.rows - 1
    column = 3 if name in ("score", "share") else operator.columns // 2
    made = SparsePass(LLAMA_8B, LAYER, name, row, min(column, operator.columns - 1))
    check(f"referee_8b_{name.replace('.', '_')}", judged(registry, referee, people, made))


@pytest.mark.parametrize("name", END)
def test_gas__referee_on_the_end__is_as_committed(registry, referee, people, check, name):
    made = SparsePass(LLAMA_8B, LLAMA_8B.layers + 1, name, 0, 0)
    check(f"referee_8b_{name.replace('.', '_')}", judged(registry, referee, people, made))


def test_gas__referee_on_the_embedding__is_as_committed(registry, referee, people, check):
    made = SparsePass(LLAMA_8B, 0, "embedding", 300, 1000)
    check("referee_8b_embedding", judged(registry, referee, people, made))


def test_gas__row_of_70b__fits_one_transaction(registry, referee, people, check):
    made = SparsePass(LLAMA_70B, 40, "down", 511, 4000)
    check("referee_70b_down", judged(registry, referee, people, made))


@pytest.mark.parametrize("name", ["q_rope", "score", "attn_post_norm", "attn_residual", "act", "residual"])
def test_gas__referee_on_gemma_12b__is_as_committed(registry, referee, people, check, name):
    """What it has besides, or otherwise."""
    made = SparsePass(GEMMA_12B, LAYER, name, POSITIONS - 1, 3)
    check(f"referee_gemma_{name}", judged(registry, referee, people, made))


def test_gas__embedding_that_is_scaled__is_as_committed(registry, referee, people, check):
    made = SparsePass(GEMMA_12B, 0, "embedding", 300, 1000)
    check("referee_gemma_embedding", judged(registry, referee, people, made))


MOST, MOST_READ = 16_384, 15_000
WIDEST = replace(LLAMA_8B, layers=1, width=65_536, hidden=65_536, heads=512)
LONGEST = replace(LLAMA_8B, layers=1, context=MOST)


@pytest.mark.parametrize(
    ("a", "name", "row", "positions"),
    [
        (WIDEST, "down", 3, 4),
        (WIDEST, "attn_norm.sum", 3, 4),
        (LONGEST, "score.max", MOST - 9, MOST - 8),
        (LONGEST, "share.sum", MOST - 9, MOST - 8),
        (LONGEST, "context", MOST - 9, MOST - 8),
        (LONGEST, "score", 32 * (MOST - 8) - 1, MOST - 8),
    ],
)
def test_gas__referee_on_the_largest_shapes__fits_one_transaction(
    registry, referee, people, check, a, name, row, positions
):
    """A model that could not be judged is refused when it is enrolled: these are the bounds."""
    operator = Step(a, 1, positions, frozenset()).operator(name)
    column = min(operator.columns, positions) - 1 if name == "score" else operator.columns - 1
    made = SparsePass(a, 1, name, row, column, positions)
    gas = judged(registry, referee, people, made)
    assert gas < TRANSACTION_GAS
    check(f"referee_most_{name.replace('.', '_')}", gas)


def answered(world, game, people, model, prompt, tokens, output=bytes(50), **changes):
    """A request with this prompt and an answer to it, by a service that the game judges. changes: of its terms."""
    arbiter_terms = encode(["(uint72,uint72,uint24,uint24,uint24,uint24,uint16)"], [GAME_TERMS])
    wanted = terms(model, game, arbiterTerms=arbiter_terms, minOwners=1, seatWei=2 * ETHER, **changes)
    world.service = world.create_service(wanted)
    seat = world.join(people.owners[0], people.operators[0], 5 * ETHER)
    world.pass_time(wanted["lifetimeSeconds"])
    world.oracle.activate(world.service, seat, sender=people.stranger)
    asked = world.ask(prompt, maxTokens=64)
    sent = world.oracle.answer(
        asked.request, output, len(tokens.output), tokens.root, world.seed(asked), sender=people.operators[0]
    )
    return asked, world.oracle.AnswerPosted.from_receipt(sent)[0].answer


def test_gas__reading_15_000_tokens__is_cheap_and_repaid(world, registry, referee, game, people, check):
    """Two openings, whatever the context; the loser's bond pays both."""
    made = SparsePass(LONGEST, 1, "score", MOST_READ - 9, 3, MOST_READ - 8)
    model = enrolled(registry, referee, people, made)
    asked, answer = answered(world, game, people, model, prompt_bytes([5]), made.tokens)
    node, watcher, tokens = people.operators[0], people.challenger, made.tokens
    assert len(tokens.ids) == MOST_READ
    opened = game.challengeUnread(asked.request, answer, value=GAME_TERMS[0], sender=watcher)
    game_id = game.GameOpened.from_receipt(opened)[0].gameId
    first = game.openTokens(game_id, asked.request, answer, len(tokens.prompt), tokens.upper, sender=node)
    game.pick(game_id, 58, tokens.upper[58], Tree(tokens.upper).proof(58), sender=watcher)
    second = game.openValues(game_id, tokens.part(58), sender=node)
    assert (len(tokens.upper), len(tokens.part(58))) == (64, 2048)
    check("dispute_open_tokens", first.gas_used)
    check("dispute_open_256_tokens", second.gas_used)
    assert max(first.gas_used, second.gas_used) < 500_000

    world.pass_time(GAME_TERMS[2] + 1)
    before = world.oracle.credit(people.operators[0])
    game.timeout(game_id, asked.request, answer, sender=people.stranger)
    assert world.oracle.statusOf(asked.id) == 2  # answered: it stands
    assert world.oracle.credit(people.operators[0]) - before == 2 * GAME_TERMS[1] * 6 // 5


def test_gas__refutation__is_as_committed(world, registry, referee, token_referee, game, people, check):
    """Of tokens that are not those asked for."""
    made = SparsePass(LLAMA_8B, LAYER, "down", POSITIONS - 1, 2_000)
    prompt = made.tokens.prompt[1:-2]
    model = enrolled(registry, referee, people, made)
    text = prompt_bytes([*prompt[:-1], prompt[-1] ^ 1])
    asked, answer = answered(world, game, people, model, text, made.tokens)
    index = len(made.tokens.prompt) - 3
    inputs = [entry_input(made.tokens, index)]
    proof = (made.tokens.words, Fault.PROMPT, index, text, b"", inputs)
    refutations = project.Refutations.at(game.refutations())
    call = refutations.refute.encode_input(asked.request, answer, *proof)
    sealed = keccak(bytes.fromhex(people.challenger.address[2:]) + call)
    check("refute_post", refutations.post(sealed, sender=people.challenger).gas_used)
    networks.provider.mine(refutations.WAIT_BLOCKS())
    receipt = refutations.refute(asked.request, answer, *proof, sender=people.challenger)
    assert world.oracle.statusOf(asked.id) == 1  # open again
    assert world.oracle.credit(people.challenger) >= ETHER * 3 // 10
    check("refute", receipt.gas_used)


def test_gas__whole_dispute_on_8b__within_its_limits(world, registry, referee, game, people, check):
    made = SparsePass(LLAMA_8B, LAYER, "down", POSITIONS - 1, 2_000)
    model = enrolled(registry, referee, people, made)
    asked, answer = answered(world, game, people, model, prompt_bytes(made.tokens.prompt[1:-2]), made.tokens)
    node, watcher = people.operators[0], people.challenger

    bond = GAME_TERMS[0]
    sent = [game.challenge(asked.request, answer, made.tokens.words, POSITIONS, value=bond, sender=watcher)]
    game_id = game.GameOpened.from_receipt(sent[0])[0].gameId

    def narrow(nodes, child):
        sent.append(game.open(game_id, nodes, sender=node))
        sent.append(game.pick(game_id, child, nodes[child], Tree(nodes).proof(child), sender=watcher))

    narrow(made.steps, made.step)
    narrow(made.operators, made.place[2])
    level = made.operator.depth
    for nodes, down in zip(made.openings, rounds(made.operator.depth), strict=True):
        level -= down
        narrow(nodes, made.leaf >> level & ((1 << down) - 1))
    sent.append(game.openValues(game_id, made.values, sender=node))
    proof = (made.tokens.words, made.values, made.element, made.inputs)
    sent.append(referee.prove(game, game_id, asked.request, answer, *proof, sender=watcher))

    assert world.oracle.statusOf(asked.id) == 1  # open again, for the next turn
    gas = [receipt.gas_used for receipt in sent]
    check("dispute_8b_transactions", len(gas))
    check("dispute_8b_total", sum(gas))
    check("dispute_8b_largest", max(gas))
    steps = ("challenge", "open_steps", "pick", "open_operators")
    for name, used in zip(steps, gas, strict=False):
        check(f"dispute_8b_{name}", used)
    check("dispute_8b_open_128_nodes", max(gas[5], gas[7]))
    check("dispute_8b_open_values", gas[-2])


def test_gas__margin_on_8b__is_as_committed(world, registry, referee, game, disputes, people, check):
    """Four choices after a prompt of 500 tokens; the two logits stand in leaves of 256."""
    made = SparsePass(LLAMA_8B, LLAMA_8B.layers + 1, "logits.peak", 0, 0)
    model = enrolled(registry, referee, people, made)
    prompt = typed_prompt(choice_type(((5,), (7,), (9,), (11,)), made_up("vocabulary")), prompt_bytes(range(500)))
    tokens = Tokens(made.tokens.prompt, (5, 128_009), (0, 0))
    output = bytes(Verdict(0, MOST_MARGIN, 0, 9))
    asked, answer = answered(world, game, people, model, prompt, tokens, output)
    node, watcher = people.operators[0], people.challenger

    sent = game.challenge(asked.request, answer, tokens.words, len(tokens.prompt), value=GAME_TERMS[0], sender=watcher)
    game_id = game.GameOpened.from_receipt(sent)[0].gameId
    game.open(game_id, made.steps, sender=node)
    game.pick(game_id, made.step, made.steps[-1], Tree(made.steps).proof(made.step), sender=watcher)
    game.open(game_id, made.operators, sender=node)
    (logits,) = made.inputs
    proof = (asked.request, answer, tokens.words, prompt, output, 7, [logits, logits])
    receipt = disputes["AnswerReferee"].proveMargin(game, game_id, *proof, sender=watcher)
    assert world.oracle.statusOf(asked.id) == 1  # open again
    check("prove_margin", receipt.gas_used)


LONGEST_PROMPT = 3 * (MOST - 3)
"""Bytes: with a wrapper of three tokens, the game adopts no service that takes a longer one."""
OUTPUT, PIECE = 8_192, 1_024
"""Bytes of the longest output that follows a pattern, and of the longest token."""
ROW = [*[(1, 1, 0)] * 15, (97, 97, 1 << 15)]
"""Sixteen ranges, of which the last holds each byte of the output."""


def asked_a_pattern(world, registry, referee, game, people, *more):
    """A prompt with the largest type; an answer of as many bytes as leave room for the longest token there is; and that
    token, of a large logit, with its entry. more: bytes of other tokens in the answer, before its stop token."""
    made = SparsePass(LONGEST, LONGEST.layers + 1, "logits.peak", 0, 0)
    (logits,) = made.inputs
    other = int(np.frombuffer(logits[0], ">i4").argmax())
    entry = bytes(10) + b"a" * PIECE
    made.vocabulary_root, proof = climb_up(leaf_hash(entry), other, depth(LONGEST.vocabulary), "vocabulary")
    model = enrolled(registry, referee, people, made)
    table = patterns.table([ROW], [20])
    rest = prompt_bytes([5])
    filled = table + b"\xff" * (LONGEST_PROMPT - HEADER_BYTES - len(table) - len(rest))
    prompt = typed_prompt(pattern_type(filled, made.vocabulary_root), rest)
    assert len(prompt) == LONGEST_PROMPT
    count = OUTPUT // PIECE - 1
    ends = list(accumulate([PIECE] * count + [*more]))
    tokens = Tokens(made.tokens.prompt, (*[5] * len(ends), 128_009), (*ends, ends[-1]))
    output = b"a" * ends[-1]
    longest = {"maxPromptBytes": LONGEST_PROMPT}
    asked, answer = answered(world, game, people, model, prompt, tokens, output, **longest)
    return made, asked, answer, tokens, prompt, output, other, (entry, bytes(32), [], proof)


def test_gas__pattern_at_its_limits__is_refuted_within_one_transaction(world, registry, referee, game, people, check):
    """An answer that stops where the table says that it needs more."""
    _, asked, answer, tokens, prompt, output, other, entry = asked_a_pattern(world, registry, referee, game, people)
    refutations = project.Refutations.at(game.refutations())
    proof = (tokens.words, PatternFault.STOP, other, prompt, output, [entry])
    receipt = refutations.refutePattern(asked.request, answer, *proof, sender=people.challenger)
    assert world.oracle.statusOf(asked.id) == 1  # open again
    check("refute_pattern_worst", receipt.gas_used)


def test_gas__pattern_at_its_limits__is_proven_within_one_transaction(
    world, registry, referee, game, disputes, people, check
):
    """A better token in place of the last before the stop token."""
    made, asked, answer, tokens, prompt, output, other, entry = asked_a_pattern(
        world, registry, referee, game, people, 1
    )
    node, watcher = people.operators[0], people.challenger
    positions = len(tokens.prompt) + len(tokens.output) - 2
    sent = game.challenge(asked.request, answer, tokens.words, positions, value=GAME_TERMS[0], sender=watcher)
    game_id = game.GameOpened.from_receipt(sent)[0].gameId
    game.open(game_id, made.steps, sender=node)
    game.pick(game_id, made.step, made.steps[-1], Tree(made.steps).proof(made.step), sender=watcher)
    game.open(game_id, made.operators, sender=node)
    (logits,) = made.inputs
    inputs = [entry_input(tokens, positions), entry_input(tokens, positions - 1), logits, logits, entry]
    proof = (asked.request, answer, tokens.words, prompt, output, other, inputs)
    receipt = disputes["AnswerReferee"].provePattern(game, game_id, *proof, sender=watcher)
    assert world.oracle.statusOf(asked.id) == 1  # open again
    check("prove_pattern_worst", receipt.gas_used)


def test_gas__bytecode_of_the_game__fits_eip_170(game, referee, token_referee, disputes, check):
    contracts = {"game": game, "referee": referee, "token_referee": token_referee}
    contracts |= {"text_referee": disputes["TextReferee"], "answer_referee": disputes["AnswerReferee"]}
    contracts["refutations"] = project.Refutations.at(game.refutations())
    families = {"linear": "LinearReferee", "rows": "RowReferee", "attention": "AttentionReferee"}
    for name, kind in families.items():
        contracts[f"referee_{name}"] = project.get_contract(kind).at(getattr(referee, name)())
    for name, contract in contracts.items():
        size = len(networks.provider.get_code(contract.address))
        assert size <= 24_576 - 2_048
        check(f"bytecode_{name}", size)
