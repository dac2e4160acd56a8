"""Answers whose tokens nobody can tell from their text: read part by part, and killed wherever they are wrong."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import pytest
from disputes.court import ANSWERED, ETHER, OPEN, Court
from disputes.duel import error_of
from exact.random_model import Shape, write
from rig.anvil import anvil
from web3.exceptions import ContractLogicError

from oracle.disputes import reading
from oracle.disputes.game import Move, Stage, attack, defend, picked, reveal
from oracle.disputes.passes import Pass
from oracle.merkle.tokens import ENTRIES, LEAF_BYTES, Tokens
from oracle.merkle.tree import Tree, leaf_hash

SHAPE = Shape(family="llama", layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16)
SHORT, LONG = [9, 4, 11, 7], [9 + n % 90 for n in range(300)]
CONTEXT, MOST = 320, 6


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    with anvil() as chain:
        path = write(tmp_path_factory.mktemp("model") / "model.gguf", replace(SHAPE, context=CONTEXT))
        yield Court.opened(chain, path, context_length=CONTEXT)


@pytest.fixture
def fresh(court):
    snapshot = court.chain.rpc("evm_snapshot")
    yield court
    court.chain.rpc("evm_revert", snapshot)


def own(court: Court, answered, prompt: list[int]) -> Tokens:
    """What the challenger's model answers."""
    count = answered.answer.token_count
    output = court.honest(prompt, min(count, answered.params.max_tokens), answered.params)
    pieces = court.model.tokenizer.pieces
    lengths = [0 if token in court.manifest.stop_tokens else len(pieces[token]) for token in output]
    whole = [*court.manifest.prefix_tokens, *prompt, *court.manifest.suffix_tokens]
    return reading.own_tokens(whole, output, lengths, count)


def read(court: Court, answered, mine: Tokens, who: str) -> list[Move]:
    """Plays an unread game to its end. Returns the challenger's moves."""
    game = court.challenge_unread(answered, who)
    moves = []
    while court.status(answered) != OPEN:
        state, openings = court.state(game), court.openings()
        if state.node_to_move:
            shown = reveal(state, answered.claim, answered.tokens) if not state.positions else None
            if shown is None:
                shown = defend(state, Pass(court.model, court.tracer, answered.tokens, state.positions))
            try:
                court.move(game, shown, court.node)
            except ContractLogicError as reverted:
                refused = error_of(reverted)[0]
            else:
                continue
            assert refused in ("PromptOutOfRange", "WrongOpening", "WrongOpeningLength")
            court.timeout(game, answered)
            break
        if state.positions:
            tokens = reading.shown(mine, state.case, openings)
            assert tokens is not None
            move = attack(state, openings, Pass(court.model, court.tracer, tokens, state.positions), answered.claim)
        else:
            move = reading.move(state, openings, mine, answered.claim, court.model)
        assert move is not None
        moves.append(move)
        court.move(game, move, who)
    return moves


@dataclass(frozen=True)
class Committed(Tokens):
    """Tokens with other bytes in the tree than theirs."""

    change: Callable[[list[bytes]], list[bytes]] = lambda leaves: leaves

    @cached_property
    def _shown(self) -> list[bytes]:
        count = -(-len(self.ids) // ENTRIES)
        leaves = [Tokens.leaf(self, index) for index in range(1 << max(count - 1, 0).bit_length())]
        return self.change(leaves)

    @cached_property
    def tree(self) -> Tree:
        return Tree(leaf_hash(leaf) for leaf in self._shown)

    def leaf(self, index: int) -> bytes:
        return self._shown[index]

    def part(self, index: int) -> bytes:
        return b"".join(self._shown[index << self.below : (index + 1) << self.below])


def committing(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Tokens], Tokens]:
    return lambda tokens: Committed(tokens.prompt, tokens.output, tokens.ends, change)


def at(index: int, leaf: bytes) -> Callable[[list[bytes]], list[bytes]]:
    return lambda leaves: [*leaves[:index], leaf, *leaves[index + 1 :]] if index >= 0 else [*leaves[:index], leaf]


def last_entry(leaves: list[bytes]) -> list[bytes]:
    """What fills up the last leaf with tokens is not zero. 4 + 3 + 6 tokens leave three entries of it."""
    return at(3, leaves[3][:-1] + b"\1")(leaves)


def other_prompt(tokens: Tokens) -> Tokens:
    return replace(tokens, prompt=(*tokens.prompt[:2], tokens.prompt[2] ^ 1, *tokens.prompt[3:]))


def longer_prompt(tokens: Tokens) -> Tokens:
    return replace(tokens, prompt=(*tokens.prompt, 8))


def prompt_with_ends(tokens: Tokens) -> Tokens:
    return committing(at(0, bytes(7) + b"\1" + tokens.leaf(0)[8:]))(tokens)


def other_ends(tokens: Tokens) -> Tokens:
    return replace(tokens, ends=(*tokens.ends[:2], tokens.ends[2] + 1, *tokens.ends[3:]))


def no_such_token(tokens: Tokens) -> Tokens:
    return replace(tokens, output=(*tokens.output[:2], 1 << 30, *tokens.output[3:]))


WRONG = {
    "another prompt": (other_prompt, "refute"),
    "a longer prompt": (longer_prompt, "refute"),
    "a prompt that spells something": (prompt_with_ends, "refute"),
    "other ends": (other_ends, "refute"),
    "a token that does not exist": (no_such_token, "refute"),
    "filled up with something": (committing(last_entry), "refute"),
}


@pytest.mark.parametrize(("change", "ended"), WRONG.values(), ids=WRONG)
def test_unread__tokens_at_fault__are_found_and_refuted(fresh, change, ended):
    """Right in the text, and in all that it spells."""
    answered = fresh.answered(SHORT, lambda params: fresh.honest(SHORT, MOST, params), max_tokens=MOST, tokens=change)
    moves = read(fresh, answered, own(fresh, answered, SHORT), fresh.people[5])
    assert moves[-1].function == ended
    assert fresh.status(answered) == OPEN


def test_unread__entry_far_beyond_the_tokens__is_refuted(fresh):
    """303 + 6 tokens are 78 leaves of a tree of 128: the last of them all holds something."""
    last = committing(at(-1, bytes(LEAF_BYTES - 1) + b"\1"))
    answered = fresh.answered(LONG, lambda params: fresh.honest(LONG, MOST, params), max_tokens=MOST, tokens=last)
    moves = read(fresh, answered, own(fresh, answered, LONG), fresh.people[5])
    assert [move.function for move in moves] == ["pick", "refute"]


@pytest.mark.parametrize("leaf", [bytes(31), bytes(33), bytes(64), b""], ids=len)
def test_unread__leaf_of_another_size__cannot_be_opened(fresh, leaf):
    change = committing(at(2, leaf))
    answered = fresh.answered(SHORT, lambda params: fresh.honest(SHORT, MOST, params), max_tokens=MOST, tokens=change)
    moves = read(fresh, answered, own(fresh, answered, SHORT), fresh.people[5])
    assert [move.function for move in moves] == ["pick"]


@pytest.mark.parametrize("prompt", [(1, 5), (), tuple(range(9, 9 + CONTEXT - MOST + 1))], ids=len)
def test_unread__prompt_below_the_wrapper_or_above_the_context__cannot_be_opened(fresh, prompt):
    answered = fresh.answered(
        SHORT,
        lambda params: fresh.honest(SHORT, MOST, params),
        max_tokens=MOST,
        tokens=lambda tokens: replace(tokens, prompt=prompt),
    )
    assert read(fresh, answered, own(fresh, answered, SHORT), fresh.people[5]) == []


@pytest.mark.parametrize("prompt", [SHORT, LONG], ids=len)
def test_unread__a_token_that_the_model_does_not_choose__is_found_in_two_openings_and_lost(fresh, prompt):
    court = fresh
    answered = court.answered(prompt, court.wrong_at(prompt, 1), max_tokens=3)
    challenger = court.people[5]
    price = court.price(answered)
    moves = read(court, answered, own(court, answered, prompt), challenger)
    assert [move.function for move in moves[:2]] == ["pick", "pickPosition"]
    assert moves[1].arguments[3] == len(prompt) + 3 + 1
    assert moves[-1].function == "proveChoice"
    assert court.credit(challenger) == price + ETHER * 3 // 10


def test_unread__a_stop_before_the_end__is_refuted(fresh, monkeypatch):
    """The model's own stop token, and the answer goes on after it."""
    court = fresh
    monkeypatch.setattr(court, "honest", lambda prompt, count, params: [40, 2, 41, 42][:count])
    answered = court.answered(SHORT, lambda params: [40, 2, 41, 42], max_tokens=4)
    mine = reading.own_tokens(answered.tokens.prompt, [40, 2], (*answered.tokens.ends[:1], 0), 4)
    moves = read(court, answered, mine, court.people[5])
    assert [move.function for move in moves] == ["pick", "refute"]


def test_right_answer__read_by_a_puppet__stands_and_every_opening_is_paid(fresh):
    court = fresh
    answered = court.answered(LONG, lambda params: court.honest(LONG, MOST, params), max_tokens=MOST)
    game = court.challenge_unread(answered, court.people[5])
    court.move(game, reveal(court.state(game), answered.claim, answered.tokens), court.node)
    state = court.state(game)
    assert state.stage is Stage.TOKENS
    court.move(game, picked(answered.tokens.upper, 1), court.people[5])
    court.move(game, reveal(court.state(game), answered.claim, answered.tokens), court.node)
    assert court.state(game).openings == 2
    before = court.stand.w3.eth.get_balance(court.node)
    court.timeout(game, answered)
    assert court.status(answered) == ANSWERED
    assert court.stand.w3.eth.get_balance(court.node) == before
    assert court.credit(court.node) == 2 * 9 * ETHER // 1000 * 6 // 5


@pytest.mark.parametrize("stage", [Stage.TOKENS, Stage.VALUES])
def test_won__said_by_a_referee_while_tokens_are_read__is_refused(fresh, stage):
    """No referee that the game trusts says so; if one did, it would not count."""
    court = fresh
    answered = court.answered(SHORT, lambda params: court.honest(SHORT, MOST, params), max_tokens=MOST)
    game = court.challenge_unread(answered, court.people[5])
    court.move(game, reveal(court.state(game), answered.claim, answered.tokens), court.node)
    if stage is Stage.VALUES:
        court.move(game, picked(answered.tokens.upper, 0), court.people[5])
        court.move(game, reveal(court.state(game), answered.claim, answered.tokens), court.node)
    words = (answered.request.words, answered.answer.words)
    entries = answered.tokens.part(0)
    prove = court.stand.referee.functions.prove(court.game.address, game, *words, answered.tokens.words, entries, 0, [])
    for address in (court.stand.referee.address, court.stand.tokens.address):
        court.chain.rpc("anvil_impersonateAccount", address)
        court.chain.rpc("anvil_setBalance", address, hex(ETHER))
        with pytest.raises(ContractLogicError) as caught:
            court.send(court.game.functions.won(game, *words), address)
        assert error_of(caught.value)[0] == "WrongStage"
    with pytest.raises(ContractLogicError) as caught:
        court.send(prove, court.people[5])
    assert error_of(caught.value)[0] == "WrongStage"
    assert court.state(game).stage is stage
