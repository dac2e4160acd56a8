"""The contract plays by the rules: random and adversarial moves, made on Anvil and on the rules in Python alike."""

import random
from collections import Counter
from dataclasses import replace

import pytest
from disputes.court import ANSWERED, DISPUTED, ETHER, GAME_TERMS, OPEN, Court
from disputes.duel import Duel, error_of
from disputes.rules import Terms
from exact.random_model import Shape, write
from rig.anvil import anvil
from web3.exceptions import ContractLogicError

from oracle.chain.services import GameTerms
from oracle.demo.false_pass import FalsePass
from oracle.disputes.game import Stage, attack, defend
from oracle.merkle.tokens import Tokens
from oracle.merkle.tree import Tree

PROMPT = [9, 4, 11, 7]
SHAPE = Shape(family="llama", layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16)
CHALLENGE, OPENING, *_ = GAME_TERMS
COUNTS = [1, 2, 4, 16, 47, 47, 256]
"""Of opened nodes: a layer of this family has 47 operators."""


@pytest.fixture(scope="module")
def court(tmp_path_factory):
    with anvil() as chain:
        yield Court.opened(chain, write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE))


@pytest.fixture(scope="module")
def right(court):
    return court.answered(PROMPT, lambda params: court.honest(PROMPT, params.max_tokens, params), max_tokens=3)


@pytest.fixture(scope="module")
def wrong(court):
    return court.answered(PROMPT, court.wrong_at(PROMPT, 1), max_tokens=3)


class Party:
    """What the two sides of a duel know."""

    def __init__(self, court, answered, lie=None):
        self.court, self.answered, self.lie = court, answered, lie
        self.honest = {p: court.view(answered, p) for p in self.positions}
        self.said = {p: view if lie is None else FalsePass(view, *lie) for p, view in self.honest.items()}

    @property
    def positions(self):
        count = len(self.answered.tokens.prompt)
        return range(count, count + len(self.answered.tokens.output))

    def defended(self, duel, game):
        """The node makes its right move."""
        state = duel.rules.game(game)
        if state.stage is Stage.TOKENS:
            return duel.open_tokens(game, self.court.node)
        if not state.positions:
            return duel.open_part(game, self.court.node)
        move = defend(self.court.state(duel.ids[game]), self.said[state.positions])
        if move.function == "openValues":
            return duel.open_values(game, self.court.node, *move.arguments)
        return duel.open(game, self.court.node, *move.arguments)

    def attacked(self, duel, game):
        """The challenger makes its right move; False if there is none."""
        state = duel.rules.game(game)
        who = state.challenger
        if state.stage is Stage.TOKENS:
            return duel.pick_child(game, who, 0)
        if not state.positions:
            return duel.pick_position(game, who, len(self.answered.tokens.prompt) + 1)
        view = self.honest[state.positions]
        move = attack(self.court.state(duel.ids[game]), self.court.openings(), view, self.answered.claim)
        if move is None:
            return False
        if move.function == "pick":
            return duel.pick(game, who, *move.arguments)
        return getattr(duel, "prove" if move.function == "prove" else "prove_choice")(
            game, who, move.arguments, wrong=True
        )


def played_out(duel, party, games, *, until=200):
    """Both sides move as they should until every game is over or the answer is dead."""
    for _ in range(until):
        live = [game for game in games if not duel.rules.answers[0].dead and game in duel.rules.live(0)]
        if not live:
            return
        for game in live:
            if duel.rules.answers[0].dead or game not in duel.rules.live(0):
                continue
            if duel.rules.game(game).node_to_move:
                assert party.defended(duel, game) == ""
            elif party.attacked(duel, game) is False:
                pass_to(duel, duel.rules.game(game).deadline + 1)
                assert duel.timeout(game, duel.court.people[9]) == ""
    raise AssertionError("the games do not end")


def pass_to(duel, time):
    """The next transaction has this timestamp."""
    duel.court.chain.rpc("evm_setNextBlockTimestamp", max(time, duel.court.now + 1))


# WHOLE GAMES


def opened_or_not(duel, game):
    """What is open where a game stands, as far as it is a list; at some of the tokens, the nodes above all."""
    state = duel.rules.game(game)
    at_tokens = state.stage is Stage.VALUES and not state.positions
    try:
        above = (Stage.TOKENS, 0, 0, 0, 0, 0)
        nodes = duel.rules.answers[game[0]].openings[above] if at_tokens else duel.rules.opened(game)
    except KeyError:
        return (bytes(32), bytes(32))
    is_list = isinstance(nodes[0], bytes) and len(nodes[0]) == 32 and (at_tokens or state.stage is not Stage.VALUES)
    return nodes if is_list else (bytes(32), bytes(32))


def pick_something(rng, duel, game, who):
    nodes = opened_or_not(duel, game)
    child = rng.randrange(len(nodes))
    node = nodes[child] if rng.random() < 0.8 else rng.randbytes(32)
    return duel.pick(game, who, child, node, Tree(nodes).proof(child))


def stop_the_clock(rng, duel, game):
    if rng.random() < 0.5:
        pass_to(duel, duel.rules.game(game).deadline + rng.choice([0, 1]))
    return duel.timeout(game, duel.court.people[9])


def random_move(rng, duel, party, game):
    """Something that either side or a stranger may try, right or wrong. Returns the error's name; None for no move."""
    court, state = duel.court, duel.rules.game(game)
    who = state.challenger if rng.random() < 0.75 else court.people[8]
    node = court.node if rng.random() < 0.7 else who
    in_play = state.stage is not Stage.OVER and not duel.rules.answers[0].dead
    proof = (*duel.words, party.answered.tokens.words)
    positions = rng.choice([None, 0, *party.positions, 99])
    moves = {
        "defend": lambda: party.defended(duel, game) if in_play and state.node_to_move else None,
        "attack": lambda: party.attacked(duel, game) if in_play and not state.node_to_move else None,
        "pick": lambda: pick_something(rng, duel, game, who),
        "open": lambda: duel.open(game, node, [rng.randbytes(32) for _ in range(rng.choice(COUNTS))]),
        "values": lambda: duel.open_values(game, who, rng.randbytes(64)),
        "tokens": lambda: duel.open_tokens(game, who),
        "position": lambda: duel.pick_position(game, who, rng.choice([0, 1, *party.positions, 10, 1 << 40])),
        "prove": lambda: duel.prove(game, who, (*proof, rng.randbytes(64), 0, []), wrong=False),
        "choice": lambda: (
            None
            if state.stage is Stage.OPERATORS
            else duel.prove_choice(game, who, (*proof, party.answered.prompt, 0, []), wrong=False)
        ),
        "timeout": lambda: stop_the_clock(rng, duel, game),
        "settle": lambda: duel.settle(game, court.people[9]),
        "challenge": lambda: duel.challenge(
            court.people[rng.randrange(3, 8)], positions, over=rng.choice([-1, 0, 0, 7])
        ),
    }
    return moves[rng.choice([*moves, *["defend", "attack"] * 6])]()


def test_random_moves__on_both_sides__agree_in_every_field_and_refusal(court, right, wrong):
    """Whatever is tried, contract and rules accept or refuse it alike, and money and clocks stay equal."""
    rng = random.Random(1)
    parties = [Party(court, right), Party(court, wrong, (2, "gate", 1, 3))]
    seen = Counter()
    for n in range(24):
        party = parties[n % 2]
        answered = party.answered
        snapshot = court.chain.rpc("evm_snapshot")
        duel = Duel(court, answered)
        for who in court.people[3 : 3 + rng.randrange(1, 4)]:
            duel.challenge(who, rng.choice([None, *party.positions]))
        for _ in range(40):
            game = rng.choice(list(duel.ids))
            random_move(rng, duel, party, game)
        seen.update(duel.refusals)
        court.chain.rpc("evm_revert", snapshot)
    wanted = {
        *("", "BadPosition", "ChallengeUnderpaid", "WrongStage", "NotYourMove", "NotChallenger", "NotNode"),
        *("ClockRuns", "AnswerAlive", "WrongOpening", "WrongLeaf", "WrongOpeningLength", "WrongRoot"),
    }
    assert wanted <= seen.keys(), wanted - seen.keys()


@pytest.mark.parametrize("seed", range(5))
def test_right_answer__challenged_at_random__never_loses(fresh, right, seed):
    """Twelve games a seed, side by side, against a node that answers every move; the challengers pick anything."""
    rng = random.Random(seed)
    party = Party(fresh, right)
    duel = Duel(fresh, right)
    for n in range(12):
        assert duel.challenge(fresh.people[3 + n % 6], rng.choice([None, *party.positions])) == ""
    for game in list(duel.ids):
        for _ in range(rng.randrange(8)):
            defend_all(duel, party)
            state = duel.rules.game(game)
            if state.stage is Stage.TOKENS:
                assert duel.pick_position(game, state.challenger, rng.choice(party.positions)) == ""
            elif state.stage is not Stage.VALUES:
                assert duel.pick_child(game, state.challenger, rng.randrange(len(duel.rules.opened(game)))) == ""
    defend_all(duel, party)
    for game in duel.rules.live(0):
        pass_to(duel, duel.rules.game(game).deadline + 1)
        assert duel.timeout(game, fresh.people[9]) == ""
    assert not duel.rules.answers[0].dead
    assert fresh.status(right) == ANSWERED
    assert sum(duel.rules.credit[who] for who in fresh.people[3:9]) == 0


def defend_all(duel, party):
    """An honest node: no clock of its own runs for long."""
    for game in duel.rules.live(0):
        if duel.rules.game(game).node_to_move:
            assert party.defended(duel, game) == ""


def test_puppet__challenges_first_and_loses_on_purpose__the_honest_one_wins_all_the_same(fresh, wrong):
    party = Party(fresh, wrong, (1, "score", 0, 0))
    duel = Duel(fresh, wrong)
    assert duel.challenge(fresh.people[4], 8) == ""
    puppet = next(iter(duel.ids))
    assert party.defended(duel, puppet) == ""
    fresh.pass_time(60)
    assert duel.challenge(fresh.people[5], 8) == ""
    honest = list(duel.ids)[-1]
    assert party.attacked(duel, honest) == ""
    pass_to(duel, duel.rules.game(puppet).deadline + 1)
    assert duel.timeout(puppet, fresh.people[9]) == ""
    assert fresh.status(wrong) == DISPUTED
    played_out(duel, party, [honest])
    assert duel.rules.answers[0].dead
    assert fresh.status(wrong) == OPEN
    assert duel.rules.credit[fresh.people[5]] >= ETHER * 3 // 10 + CHALLENGE


def test_openings__of_one_game__serve_another_on_the_same_path_and_its_share_is_paid(fresh, wrong):
    party = Party(fresh, wrong, (2, "down", 2, 5))
    duel = Duel(fresh, wrong)
    for who in fresh.people[4:7]:
        assert duel.challenge(who, 8) == ""
    first, second, third = duel.ids
    while not duel.rules.answers[0].dead:
        for game in (first, second):
            if duel.rules.answers[0].dead:
                break
            if duel.rules.game(game).node_to_move:
                assert party.defended(duel, game) == ""
            else:
                assert party.attacked(duel, game) == ""
    assert duel.rules.stored(first).openings + duel.rules.stored(second).openings <= 8
    for game in (second, third):
        if game in duel.rules.live(0):
            assert duel.settle(game, fresh.people[9]) == ""
    others = zip(fresh.people[5:7], (second, third), strict=True)
    shares = [duel.rules.credit[who] - duel.rules.stored(game).bond_wei for who, game in others]
    assert shares == [ETHER // 5 // 8, ETHER // 5 // 8]


@pytest.mark.parametrize("lie", [(2, "down", 2, 5), None], ids=["a number", "a choice"])
@pytest.mark.parametrize("in_time", [True, False])
def test_copier__of_all_moves_and_the_proof__gets_a_share_and_the_older_game_wins(fresh, wrong, lie, in_time):
    """All that the node has opened serves the copier as well: it needs no more than the block before the proof's. If
    the older game's clock has run out, the younger wins."""
    party, duel = Party(fresh, wrong, lie), Duel(fresh, wrong)
    honest, copier = fresh.people[4:6]
    assert duel.challenge(honest, 8) == ""
    (older,) = duel.ids
    brought_to_proof(duel, party, older)
    fresh.pass_time(60)
    assert duel.challenge(copier, 8) == ""
    younger = list(duel.ids)[-1]
    brought_to_proof(duel, party, younger)
    assert duel.rules.stored(younger).openings == 0
    if not in_time:
        pass_to(duel, duel.rules.game(older).deadline + 1)
    assert party.attacked(duel, younger) == ""
    winner, other = (older, younger) if in_time else (younger, older)
    assert duel.rules.answers[0].won == winner[1]
    assert duel.settle(other, fresh.people[9]) == ""
    got = {game: duel.rules.credit[who] for game, who in ((older, honest), (younger, copier))}
    earned = {game: wei - duel.rules.stored(game).bond_wei for game, wei in got.items()}
    assert earned == {winner: ETHER * 3 // 10, other: ETHER // 5 // 8}


def brought_to_proof(duel, party, game):
    """Both sides move until the challenger's next move is its proof."""
    while True:
        state = duel.rules.game(game)
        if state.node_to_move:
            assert party.defended(duel, game) == ""
            continue
        openings, view = duel.court.openings(), party.honest[state.positions]
        move = attack(duel.court.state(duel.ids[game]), openings, view, party.answered.claim)
        if move.function != "pick":
            return
        assert party.attacked(duel, game) == ""


@pytest.mark.parametrize("ahead", [False, True])
def test_puppet__older__is_paid_if_it_went_ahead_and_not_for_copying_the_picks(fresh, wrong, ahead):
    """A liar knows where it lies. Who proves it behind a puppet loses the gas of its moves."""
    party, duel = Party(fresh, wrong, (1, "up", 1, 1)), Duel(fresh, wrong)
    assert [duel.challenge(who, 8) for who in fresh.people[4:6]] == ["", ""]
    puppet, honest = duel.ids
    for game in (puppet, honest) if ahead else (honest, puppet):
        brought_to_proof(duel, party, game)
    assert party.attacked(duel, honest) == ""
    assert duel.settle(honest if ahead else puppet, fresh.people[9]) == ""
    states = [duel.rules.stored(game) for game in ((puppet, honest) if ahead else (honest, puppet))]
    earned = [duel.rules.credit[state.challenger] - state.bond_wei for state in states]
    assert earned == [ETHER * 3 // 10, ETHER // 5 // 8]


@pytest.mark.parametrize("moves", range(5))
def test_liar__silent_after_any_move__loses_by_the_clock_to_the_second(fresh, wrong, moves):
    """At the deadline itself the clock still runs; a second later it has run out."""
    party = Party(fresh, wrong, (1, "up", 1, 1))
    duel = Duel(fresh, wrong)
    assert duel.challenge(fresh.people[4], None) == ""
    (game,) = duel.ids
    for _ in range(moves):
        assert party.defended(duel, game) == ""
        assert party.attacked(duel, game) == ""
    deadline = duel.rules.game(game).deadline
    pass_to(duel, deadline)
    assert duel.timeout(game, fresh.people[9]) == "ClockRuns"
    pass_to(duel, deadline + 1)
    assert duel.timeout(game, fresh.people[9]) == ""
    assert fresh.status(wrong) == OPEN


@pytest.mark.parametrize("moves", range(6))
def test_challenger__silent_after_any_move__pays_the_node_for_its_openings(fresh, right, moves):
    party = Party(fresh, right)
    duel = Duel(fresh, right)
    assert duel.challenge(fresh.people[4], None) == ""
    (game,) = duel.ids
    for _ in range(moves):
        assert party.defended(duel, game) == ""
        state = duel.rules.game(game)
        if state.stage is Stage.TOKENS:
            assert duel.pick_position(game, state.challenger, 7) == ""
        elif state.stage is not Stage.VALUES:
            assert duel.pick_child(game, state.challenger, 1) == ""
    if duel.rules.game(game).node_to_move:
        assert party.defended(duel, game) == ""
    deadline = duel.rules.game(game).deadline
    pass_to(duel, deadline + 1)
    assert duel.timeout(game, fresh.people[9]) == ""
    assert fresh.status(right) == ANSWERED
    made = duel.rules.stored(game).openings
    assert duel.rules.credit[fresh.node] == made * OPENING * 6 // 5


def test_clock__and_price_of_the_nth_game__are_what_economics_says(fresh, right):
    duel, terms = Duel(fresh, right), GameTerms(*GAME_TERMS)
    for n in range(20):
        assert terms.price_wei(n) == duel.rules.price(0)
        assert duel.challenge(fresh.people[3 + n % 6], 7) == ""
        state = fresh.state(list(duel.ids.values())[-1])
        assert state.node_seconds == terms.node_clock_seconds(n, min(n, 1))
        assert state.bond_wei == terms.price_wei(n)
        longest = Terms(
            1, 1, 1, 1, terms.clock_seconds, terms.move_seconds, terms.first_move_seconds, terms.queue_seconds
        )
        assert longest.longest(n, min(n, 1)) == terms.longest_seconds(n, min(n, 1))
    assert terms.price_wei(19) == terms.ceiling_wei == 2 * CHALLENGE


@pytest.mark.parametrize("count", [1, 3])
def test_right_answer__games_by_players_who_use_all_their_time__is_held_up_as_long_as_economics_says(
    fresh, right, count
):
    party, duel, terms = Party(fresh, right), Duel(fresh, right), GameTerms(*GAME_TERMS)
    for positions in list(party.positions)[:count]:
        assert duel.challenge(fresh.people[3], positions) == ""
    began = fresh.now
    while live := [game for game in duel.ids if duel.rules.game(game).stage is not Stage.OVER]:
        game = min(live, key=lambda each: duel.rules.game(each).deadline)
        state = duel.rules.game(game)
        if not state.node_to_move and state.stage is Stage.VALUES:
            pass_to(duel, state.deadline + 1)
            assert duel.timeout(game, fresh.people[9]) == ""
            continue
        pass_to(duel, state.deadline - count)  # room for a move of each game within the last seconds
        made = party.defended(duel, game) if state.node_to_move else duel.pick_child(game, state.challenger, 1)
        assert made == ""
    assert fresh.status(right) == ANSWERED
    held = fresh.now - began
    clocks = terms.clock_seconds + terms.node_clock_seconds(count - 1, min(count - 1, 1))
    assert clocks < held <= terms.delay_seconds(count)


def test_node__33_games_on_one_path__opens_once_and_keeps_its_clock_in_all(fresh, right):
    """Then 33 picks ask for as much as there is, at once, and no clock of the node is empty."""
    party, duel = Party(fresh, right), Duel(fresh, right)
    for n in range(33):
        assert duel.challenge(fresh.people[3 + n % 6], 7) == ""
    games = list(duel.ids)
    fresh.pass_time(100)
    assert party.defended(duel, games[0]) == ""
    taken = fresh.now
    for n, game in enumerate(games):
        state = fresh.state(duel.ids[game])
        assert not state.node_to_move
        started = duel.rules.stored(game).deadline if n else taken + state.node_seconds
        assert state.node_seconds == started - taken > GAME_TERMS[2] // 2
    for n, game in enumerate(games):
        assert duel.pick_child(game, duel.rules.game(game).challenger, n % 4) == ""
        assert duel.rules.game(game).deadline - fresh.now > GAME_TERMS[2] // 2
    assert fresh.backlog(right) == 33 * GAME_TERMS[5] + GAME_TERMS[4]


def test_opening__after_a_game_s_deadline__changes_nothing_there(fresh, right):
    """The node lost the first game by its clock; an opening for the second, whose clock is longer, does not save it."""
    party, duel = Party(fresh, right), Duel(fresh, right)
    for who in fresh.people[3:5]:
        assert duel.challenge(who, 7) == ""
    first, second = duel.ids
    pass_to(duel, duel.rules.game(first).deadline + 1)
    assert party.defended(duel, second) == ""
    assert duel.rules.game(first).node_to_move
    assert party.defended(duel, first) == "ClockRanOut"
    assert duel.timeout(first, fresh.people[9]) == ""
    assert fresh.status(right) == OPEN


def test_challenge__behind_30_puppets__is_taken_for_the_ceiling_and_wins(fresh, wrong):
    party = Party(fresh, wrong, (1, "up", 1, 1))
    duel = Duel(fresh, wrong)
    for n in range(30):
        assert duel.challenge(fresh.people[3 + n % 3], 7 + n % 3) == ""
    honest = fresh.people[6]
    assert duel.challenge(honest, 8, paid=2 * CHALLENGE) == ""
    played_out(duel, party, [list(duel.ids)[-1]])
    assert duel.rules.answers[0].dead
    assert duel.rules.credit[honest] == 2 * CHALLENGE + ETHER * 3 // 10
    assert fresh.backlog(wrong) == 0


def test_challenge__more_than_the_price__is_credited(fresh, wrong):
    duel = Duel(fresh, wrong)
    assert duel.challenge(fresh.people[4], 8, over=-1) == "ChallengeUnderpaid"
    assert duel.challenge(fresh.people[4], 8, over=12345) == ""
    assert fresh.credit(fresh.people[4]) == 12345
    assert duel.challenge(fresh.people[5], None, paid=ETHER) == ""
    assert fresh.credit(fresh.people[5]) == ETHER - CHALLENGE * 17 // 16


def test_move__a_second_too_late__is_refused(fresh, right):
    party = Party(fresh, right)
    duel = Duel(fresh, right)
    assert duel.challenge(fresh.people[4], 7) == ""
    (game,) = duel.ids
    pass_to(duel, duel.rules.game(game).deadline + 1)
    assert party.defended(duel, game) == "ClockRanOut"


def test_challenge__with_other_tokens_or_after_the_window__is_refused(fresh, right):
    duel = Duel(fresh, right)
    other = replace(right.tokens, output=(*right.tokens.output[:-1], right.tokens.output[-1] ^ 1))
    assert isinstance(other, Tokens)
    assert duel.challenge(fresh.people[4], 7, tokens=other) == "WrongTokens"
    pass_to(duel, right.answer.closes_at)
    assert duel.challenge(fresh.people[4], 7) == ""
    pass_to(duel, right.answer.closes_at + 1)
    assert duel.challenge(fresh.people[4], 7) == "WindowClosed"


def test_game_of_another_answer__its_moves__are_refused(fresh, right, wrong):
    """A move names request and answer; those of another game do not pass."""
    duel = Duel(fresh, right)
    assert duel.challenge(fresh.people[4], None) == ""
    (game,) = duel.ids
    other = (wrong.request.words, wrong.answer.words)
    functions = fresh.game.functions
    calls = [
        functions.openTokens(duel.ids[game], *other, len(wrong.tokens.prompt), wrong.tokens.upper),
        functions.openTokens(duel.ids[game], right.request.words, wrong.answer.words, 0, []),
        functions.openTokens(duel.ids[game], wrong.request.words, right.answer.words, 0, []),
    ]
    for call in calls:
        assert refusal(fresh, call, fresh.node) == "WrongCase"
    pass_to(duel, duel.rules.game(game).deadline + 1)
    assert refusal(fresh, functions.timeout(duel.ids[game], *other), fresh.people[9]) == "WrongCase"


def refusal(court, call, who, value=0):
    with pytest.raises(ContractLogicError) as caught:
        court.send(call, who, value)
    return error_of(caught.value)[0]
