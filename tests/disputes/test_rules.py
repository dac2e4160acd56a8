"""Thousands of games on the rules alone: no liar survives one honest challenger, no challenger hurts an honest node."""

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from disputes.rules import WAIT_BLOCKS, Answer, Claim, GameId, Refused, Rules, Terms
from disputes.toy import LEVELS, STEPS, VOCABULARY, Toy, ToyReferee, honest_answer

from oracle.chain.units import ETHER
from oracle.disputes.game import Game, Stage

TERMS = Terms(
    bond=ETHER,
    window=1200,
    challenge_bond=ETHER // 10,
    opening=9 * ETHER // 1000,
    clock=3600,
    move=300,
    first=600,
    queue=126,
    levels=LEVELS,
)
PROMPT = (3, 1)
RIGHT = honest_answer(PROMPT, 3)

Move = Callable[[], None]
Player = Callable[[Rules, GameId, int], Move | None]
"""What a side does when it is its move, at a time; None: nothing."""


def place(game: Game) -> tuple[int, int, int, int]:
    return game.step, game.operator, game.level, game.index


def defending(view_of: Callable[[int], Toy]) -> Player:
    """Shows what its view of a pass says. view_of: from positions."""

    def player(rules: Rules, game: GameId, now: int) -> Move | None:
        state, node = rules.game(game), rules.answers[game[0]].node
        if not state.positions:
            claim = rules.answers[game[0]].claim
            part, is_first = ToyReferee().token_part(claim, state.index), state.stage is Stage.TOKENS
            return lambda: rules.open_tokens(game, claim, now) if is_first else rules.open_values(game, part, now)
        view, (step, operator, level, index) = view_of(state.positions), place(state)
        if state.stage is Stage.STEPS:
            return lambda: rules.open(game, node, view.steps, now)
        if step >= view.made_up:
            return None
        if state.stage is Stage.OPERATORS:
            return lambda: rules.open(game, node, view.roots(step), now)
        if state.stage is Stage.NODES:
            return lambda: rules.open(game, node, view.nodes(step, operator, level, index, rules.down(level)), now)
        return lambda: rules.open_values(game, view.leaf(step, operator, index), now)

    return player


def first_difference(mine, theirs):
    return next((n for n, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b), None)


def honest_challenger(rules: Rules, game: GameId, now: int) -> Move | None:
    """Computes the pass and follows the first difference down."""
    state, answer = rules.game(game), rules.answers[game[0]]
    who, claim = state.challenger, answer.claim
    if not state.positions:
        positions = wrong_token(claim)
        if positions is None:
            return None
        if state.stage is Stage.VALUES:
            return lambda: rules.pick_position(game, who, claim, positions, now)
        part, nodes = positions >> ToyReferee().token_levels(claim)[1], rules.opened(game)
        return lambda: rules.pick(game, who, part, nodes[part], now)
    view, (step, operator, level, index) = Toy(claim.ids[: state.positions]), place(state)
    shown = rules.opened(game)
    if state.stage is Stage.VALUES:
        return lambda: rules.prove(game, claim, shown[0], shown[0], now)
    if state.stage is Stage.STEPS:
        mine = view.steps
    elif state.stage is Stage.OPERATORS:
        mine = view.roots(step)
    else:
        mine = view.nodes(step, operator, level, index, rules.down(level))
    child = first_difference(mine, shown)
    if child is None and state.stage is Stage.STEPS:
        child = len(shown) - 1
    if child is None:
        return lambda: rules.prove_choice(game, claim, None, now)
    return lambda: rules.pick(game, who, child, shown[child], now)


def wrong_token(claim: Claim) -> int | None:
    """Tokens before the first wrong one."""
    count = len(claim.prompt)
    return next((n for n in range(count, len(claim.ids)) if Toy(claim.ids[:n]).token != claim.ids[n]), None)


def random_challenger(rng: random.Random) -> Player:
    """Picks anything, tries to prove anything."""

    def player(rules: Rules, game: GameId, now: int) -> Move | None:
        state, claim = rules.game(game), rules.answers[game[0]].claim
        who = state.challenger
        shown = rules.opened(game)
        if state.stage is Stage.TOKENS and rng.random() < 0.6:
            part = rng.randrange(len(shown))
            return lambda: rules.pick(game, who, part, shown[part], now)
        if not state.positions:
            positions = rng.randrange(len(claim.prompt), len(claim.ids))
            return lambda: rules.pick_position(game, who, claim, positions, now)
        if state.stage is Stage.VALUES:
            return lambda: rules.prove(game, claim, shown[0], shown[0], now)
        if state.stage is Stage.OPERATORS and state.step == STEPS - 1 and rng.random() < 0.5:
            return lambda: rules.prove_choice(game, claim, None, now)
        child = rng.randrange(len(shown))
        return lambda: rules.pick(game, who, child, shown[child], now)

    return player


def silent_after(player: Player, moves: int) -> Player:
    left = [moves]

    def quiet(rules: Rules, game: GameId, now: int) -> Move | None:
        left[0] -= 1
        return player(rules, game, now) if left[0] >= 0 else None

    return quiet


def conserved(rules: Rules) -> None:
    assert rules.paid_in == sum(rules.credit.values()) + rules.burnt + rules.locked()


def alive(rules: Rules, answer: int) -> list[GameId]:
    return [] if rules.answers[answer].dead else rules.live(answer)


def play(rules: Rules, answer: int, node: Player, challengers: dict[str, Player], rng: random.Random, now: int) -> int:
    """All games of an answer at once until none is alive; each side moves somewhere within its time. Returns the end.

    After every step money is conserved, and every living game has one side to move and a clock that ends.
    """
    due: dict[tuple[GameId, bool, Game], int] = {}
    for _ in range(10_000):
        games = alive(rules, answer)
        if not games:
            return now
        events = []
        for game in games:
            state = rules.game(game)
            key = (game, state.node_to_move, state)
            if key not in due:
                left = max(state.deadline - now, 0)
                due[key] = now + rng.choice([0, min(left, 12), rng.randrange(left + 1), left])
            events.append((due[key], game, state))
        now, game, state = min(events, key=lambda event: event[:2])
        if now > state.deadline:
            rules.timeout(game, now)
        else:
            player = node if state.node_to_move else challengers[state.challenger]
            move = player(rules, game, now)
            try:
                if move is None:
                    raise Refused("silent")
                move()
            except Refused:
                due[game, state.node_to_move, state] = state.deadline + 1
        conserved(rules)
        for other in alive(rules, answer):
            later = rules.game(other)
            assert later.deadline <= rules.answers[answer].closes + TERMS.longest(len(rules.games(answer)), 1)
    raise AssertionError("the games do not end")


def settled(rules: Rules, answer: int) -> None:
    for game in rules.live(answer):
        rules.settle(game)
    conserved(rules)


def with_lie(rng: random.Random) -> tuple[Claim, Callable[[int], Toy]]:
    """A wrong answer, and the pass that its node will claim for every position."""
    at = rng.randrange(len(RIGHT.output))
    output = list(RIGHT.output)
    output[at] = (output[at] + rng.randrange(1, VOCABULARY)) % VOCABULARY
    claim = Claim(PROMPT, tuple(output))
    step = rng.randrange(STEPS)
    operator = rng.randrange(ToyReferee().operators(step))
    lies = {(step, operator, 0 if rng.random() < 0.3 else rng.randrange(32)): rng.randrange(1, 99)}
    made_up = rng.choice([STEPS, STEPS, STEPS, rng.randrange(STEPS)])
    return claim, lambda positions: Toy(claim.ids[:positions], lies, made_up)


def opened(rules: Rules, answer: int, who: str, claim: Claim, positions: int | None, now: int) -> GameId:
    paid = rules.price(answer)
    if positions is None:
        return rules.challenge_unread(answer, who, paid, now)
    return rules.challenge(answer, who, claim, positions, paid, now)


@pytest.mark.parametrize("seed", range(4))
def test_liar__against_one_honest_challenger_and_any_puppets__always_loses(seed):
    """300 answers a seed: a lie anywhere, moves honest from there, made up, or none; puppets before and beside it."""
    rng = random.Random(seed)
    for n in range(300):
        rules = Rules(TERMS, ToyReferee())
        claim, view_of = with_lie(rng)
        answer = rules.answer("liar", claim, 0)
        node = defending(view_of)
        if rng.random() < 0.3:
            node = silent_after(node, rng.randrange(6))
        players: dict[str, Player] = {"honest": honest_challenger}
        for puppet in range(rng.choice([0, 0, 1, 3])):
            name = f"puppet {puppet}"
            players[name] = silent_after(random_challenger(rng), rng.randrange(8))
            opened(rules, answer, name, claim, rng.choice([None, len(PROMPT), len(claim.ids) - 1]), rng.randrange(60))
        before = rules.credit["honest"]
        positions = wrong_token(claim) if rng.random() < 0.8 else None
        paid = rules.price(answer)
        game = opened(rules, answer, "honest", claim, positions, 60)
        play(rules, answer, node, players, rng, 60)
        assert rules.answers[answer].dead, (seed, n)
        settled(rules, answer)
        assert rules.credit["liar"] <= sum(rules.stored(each).bond_wei for each in rules.games(answer) if each != game)
        assert rules.credit["honest"] - before >= paid  # nothing lost; the first to prove gains 30 %
        ours = rules.credit["liar"] + sum(rules.credit[name] for name in players if name != "honest")
        brought = TERMS.bond + sum(rules.stored(each).bond_wei for each in rules.games(answer) if each != game)
        assert ours <= brought - TERMS.bond // 2, "half of the bond is gone whatever the liar's puppets do"


@pytest.mark.parametrize("seed", range(4))
def test_honest_node__against_any_challengers__never_loses(seed):
    rng = random.Random(100 + seed)
    for _ in range(300):
        rules = Rules(TERMS, ToyReferee())
        answer = rules.answer("node", RIGHT, 0)
        players: dict[str, Player] = {}
        for n in range(rng.choice([1, 1, 2, 5])):
            strategy = rng.choice([honest_challenger, random_challenger(rng), random_challenger(rng)])
            players[f"challenger {n}"] = silent_after(strategy, rng.randrange(9))
            positions = rng.choice([None, *range(len(PROMPT), len(RIGHT.ids))])
            opened(rules, answer, f"challenger {n}", RIGHT, positions, rng.randrange(TERMS.window))
        bonds = sum(rules.stored(game).bond_wei for game in rules.games(answer))
        end = play(rules, answer, defending(lambda p: Toy(RIGHT.ids[:p])), players, rng, TERMS.window)
        assert not rules.answers[answer].dead
        assert rules.live(answer) == []
        rules.finalize(answer, end + 1)
        made = sum(rules.stored(game).openings for game in rules.games(answer))
        assert rules.credit["node"] == TERMS.bond + made * TERMS.opening * 6 // 5
        assert sum(rules.credit[name] for name in players) == 0
        assert rules.burnt == bonds - made * TERMS.opening * 6 // 5


def killed_at(sybils: int) -> tuple[int, Rules]:
    """When an honest challenger kills a lie, with so many sybils of the liar beside it."""
    rng = random.Random(7)
    rules = Rules(TERMS, ToyReferee())
    claim = replace(RIGHT, output=(*RIGHT.output[:1], (RIGHT.output[1] + 1) % VOCABULARY, RIGHT.output[2]))
    lies = {(2, 1, 5): 9}
    answer = rules.answer("liar", claim, 0)
    for n in range(sybils):
        opened(rules, answer, f"sybil {n}", claim, len(PROMPT) + n % 3, 0)
    opened(rules, answer, "honest", claim, wrong_token(claim), 0)

    players: dict[str, Player] = {f"sybil {n}": silent_after(random_challenger(rng), n % 7) for n in range(sybils)}
    players["honest"] = honest_challenger
    node = defending(lambda positions: Toy(claim.ids[:positions], lies))
    end = last_moment(rules, answer, node, players)
    return end, rules


def last_moment(rules: Rules, answer: int, node: Player, players: dict[str, Player]) -> int:
    """The liar's side moves at the last moment, the honest one at once. Returns when the answer is dead."""
    now = 0
    while not rules.answers[answer].dead:
        moved = False
        for game in alive(rules, answer):
            state = rules.game(game)
            if not state.node_to_move and state.challenger == "honest":
                move = honest_challenger(rules, game, now)
                assert move is not None
                move()
                moved = True
        if moved:
            continue
        now = min(rules.game(game).deadline for game in alive(rules, answer))
        for game in alive(rules, answer):
            state = rules.game(game)
            if state.deadline == now and not rules.answers[answer].dead:
                player = node if state.node_to_move else players[state.challenger]
                try:
                    move = player(rules, game, now)
                    if move is None:
                        raise Refused("silent")
                    move()
                except Refused:
                    rules.timeout(game, now + 1)
        conserved(rules)
    return now


def test_sybils__64_of_the_liar_beside_one_honest_game__delay_by_the_formula_and_save_nothing():
    alone, _ = killed_at(0)
    crowded, rules = killed_at(64)
    assert crowded <= alone + 64 * TERMS.queue + TERMS.first
    settled(rules, 0)
    gained = sum(rules.credit[f"sybil {n}"] for n in range(64))
    brought = sum(rules.stored(game).bond_wei for game in rules.games(0)) - rules.stored((0, 65)).bond_wei
    assert gained <= brought + TERMS.bond // 2
    assert rules.credit["honest"] >= rules.stored((0, 65)).bond_wei


def test_sybils__64_on_a_right_answer__all_lose_their_bonds_and_the_node_is_repaid():
    rng = random.Random(8)
    rules = Rules(TERMS, ToyReferee())
    answer = rules.answer("node", RIGHT, 0)
    players: dict[str, Player] = {}
    for n in range(64):
        players[f"sybil {n}"] = silent_after(random_challenger(rng), n % 8)
        opened(rules, answer, f"sybil {n}", RIGHT, len(PROMPT) + n % 3, 0)
    end = play(rules, answer, defending(lambda p: Toy(RIGHT.ids[:p])), players, rng, 0)
    assert end <= TERMS.longest(63, 1) + 1
    assert sum(rules.credit[name] for name in players) == 0
    made = sum(rules.stored(game).openings for game in rules.games(answer))
    assert rules.credit["node"] == made * TERMS.opening * 6 // 5 > 0
    rules.finalize(answer, max(end, TERMS.window) + 1)


def test_price__with_every_open_game__rises_by_a_sixteenth_up_to_the_ceiling():
    rules = Rules(TERMS, ToyReferee())
    answer = rules.answer("node", RIGHT, 0)
    prices = []
    for n in range(64):
        prices.append(rules.price(answer))
        opened(rules, answer, f"sybil {n}", RIGHT, len(PROMPT), 0)
    assert prices[0] == TERMS.challenge_bond
    assert prices[8] == TERMS.challenge_bond * 3 // 2
    assert prices[16] == prices[63] == 2 * TERMS.challenge_bond
    assert sum(prices) == (16 + 120 / 16 + 48 * 2) * TERMS.challenge_bond


def test_answer__dead__stays_dead_and_pays_once():
    rules = Rules(TERMS, ToyReferee())
    answer = rules.answer("liar", replace(RIGHT, output=((RIGHT.output[0] + 1) % VOCABULARY, 0, 0)), 0)
    rules.post("first", "fault", 100)
    rules.refute(answer, "first", malformed=True, block=100 + WAIT_BLOCKS, call="fault")
    with pytest.raises(Refused, match="AnswerDead"):
        rules.refute(answer, "second", malformed=True, block=100 + WAIT_BLOCKS, call="fault")
    with pytest.raises(Refused, match="NothingToPay"):
        rules.pay(answer, 1000)
    assert rules.credit == {"first": TERMS.bond * 3 // 10}
    conserved(rules)
    assert isinstance(rules.answers[answer], Answer)
