"""Dispute games between daemons: a service that arithmetic judges, its nodes, liars and puppets."""

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from e2e.test_money import stakes
from e2e.world import (
    ACCOUNTS,
    ETHER,
    NODES,
    WINDOW,
    World,
    drive,
    finish,
    rewound,
    running_node,
    settle,
    step,
    team,
    world,
)
from exact.random_model import Shape
from exact.random_store import store_of
from rig.anvil import CHAIN_ID
from rig.child import KILLED, run_child
from typer.testing import CliRunner

from oracle.api.scrape import Scraper
from oracle.chain import headers
from oracle.chain.deployment import Deployment
from oracle.chain.requests import Answer
from oracle.chain.services import GameTerms
from oracle.cli import app
from oracle.client import OracleClient, story
from oracle.client.gains import BURNT
from oracle.client.life import disputes, of_request
from oracle.demo.false_pass import FalsePass
from oracle.disputes.commitments import longest_asked
from oracle.disputes.game import Game, Stage
from oracle.engines.base import Completion, Params, Verdict
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.errors import UnknownHeader
from oracle.ids import RequestId
from oracle.journal.journal import Journal
from oracle.journal.outbox import Outbox
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.merkle.tree import Tree
from oracle.models.store import ModelStore
from oracle.node.operator.check import _engine

SHAPE = Shape(family="qwen3", layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16)
GAME = GameTerms(ETHER // 10, 9 * ETHER // 1000, 600, 40, 120, queue_seconds=90, ceiling_percent=200)
PROMPT = prompt_bytes([9, 4, 11, 7])
PUPPET = ACCOUNTS[7]
WON = ["RequestPosted", "AnswerPosted", "AnswerDisputed", "AnswerRuled"]


def by_game(deployment: Deployment) -> dict[str, Any]:
    return {"arbiter": deployment.game, "arbiter_terms": GAME.encoded()}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ModelStore:
    return store_of(tmp_path_factory.mktemp("models"), SHAPE)


@pytest.fixture(scope="module")
def built(store: ModelStore) -> Iterator[World]:
    (manifest,) = store.manifests()
    with world(manifest, by_game) as made:
        for seat in range(2, 5):  # the second seat is another's
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


def exact(store: ModelStore) -> ExactEngine:
    (manifest,) = store.manifests()
    return ExactEngine(store.file(manifest), manifest, Device.named("cpu", 1), for_game=True)


class SecondTokenOff:
    """Answers with another second token than the model's and finds that right; everything else is honest."""

    def __init__(self, inner: ExactEngine) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(self, prompt: Any, params: Params) -> Completion:
        first, second = self._inner.generate(prompt, params).tokens[:2]
        start = (first, second + 1 if second < 100 else 10)
        rest = self._inner.generate([*prompt, *start], params).tokens
        tokens = (*start, *rest)[: params.max_tokens]
        lengths = [len(self._inner.detokenize([token])) for token in tokens]
        root = Tokens.spelled(prompt, tokens, lengths).root
        return Completion(tokens, self._inner.detokenize(tokens), root)

    def check(self, prompt: Any, output: Any, params: Params, text: bytes = b"") -> Verdict:
        if list(output) == list(self.generate(prompt, params).tokens):
            return Verdict(True, None, "says the liar")
        return self._inner.check(prompt, output, params, text)

    def recover(self, prompt: Any, text: bytes, count: int, root: bytes, params: Params) -> Any:
        own = self.generate(prompt, params)
        return list(own.tokens) if own.root == root else self._inner.recover(prompt, text, count, root, params)


def corrupted(node: Any, at_step: int, name: str) -> None:
    """Makes a node defend with a number changed at this operator."""
    true = node._litigant._moves.pass_over
    node._litigant._moves.pass_over = lambda *about: FalsePass(true(*about), at_step, name, 0, 0)


def posted(earth: World, request: int) -> list[Any]:
    return [s.args for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"]


def is_final(earth: World, request: int) -> bool:
    return earth.status(request) == "final"


async def asked_of(earth: World, nodes: Any, operator: str, **params: Any) -> int:
    """A request that falls to `operator`, answered."""
    for n in range(60):
        request = earth.ask(prompt_bytes([9, 4, 11, 7 + n]), max_tokens=3, **params)
        await step(earth, *nodes, blocks=5)
        answers = posted(earth, request)
        if answers and answers[0]["operator"] == operator:
            return request
        await drive(earth, nodes, partial(is_final, earth, request), blocks=300)
    raise AssertionError("the turn never fell to it")


def pass_time(earth: World, seconds: int) -> None:
    earth.chain.rpc("evm_setNextBlockTimestamp", earth.client.w3.eth.get_block("latest")["timestamp"] + seconds)
    earth.chain.mine()


def games(earth: World, event: str = "GameOpened") -> list[Any]:
    return [log["args"] for log in earth.client.game.events[event]().get_logs(from_block=0)]


async def test_hostile_prompts__are_answered_and_final_and_nobody_is_fined(earth, tmp_path, store):
    """Left-over bytes, ids outside the vocabulary, and the longest prompt that the service takes."""
    (manifest,) = store.manifests()
    longest = b"\xff" * longest_asked(manifest)
    prompts = [b"\x01", prompt_bytes([9]) + b"\0", prompt_bytes([1 << 20, 9, 377]), longest]
    requests = [earth.ask(prompt, max_tokens=3) for prompt in prompts]
    async with team(earth, tmp_path, exact(store), exact(store), models=store.root) as nodes:
        await drive(earth, nodes, lambda: all(is_final(earth, request) for request in requests), blocks=200)
    for request in requests:
        assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]


@pytest.mark.parametrize(
    ("at_step", "name"),
    [(1, "attn_norm"), (2, "score"), (2, "down"), (3, "logits"), (None, "choice")],
)
async def test_lie__anywhere_in_the_pass__loses_to_one_watcher(earth, tmp_path, store, at_step, name):
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        if at_step is not None:
            corrupted(nodes[0], at_step, name)
        request = await asked_of(earth, nodes, NODES[0].address)
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=100)
    assert earth.steps(request)[:4] == WON
    (ended,) = games(earth, "GameEnded")
    assert ended["challengerWon"]
    credit = earth.client.oracle.functions.credit(NODES[1].address).call()
    assert credit >= ETHER * 3 // 10 + ETHER // 10
    # Where the tokens cannot be told from the text, a part of them is opened as values too.
    opened = len(games(earth, "ListOpened")) + len(games(earth, "ValuesOpened")) - len(games(earth, "TokensOpened"))
    assert opened == 2 if at_step is None else 3 <= opened <= 7


async def test_request_show__a_game__is_drawn_down_to_the_number_and_who_won_what(earth, tmp_path, store):
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        corrupted(nodes[0], 2, "down")
        request = await asked_of(earth, nodes, NODES[0].address)
        await drive(earth, nodes, lambda: bool(games(earth, "ListOpened")), blocks=60)
        await step(earth, *nodes)
        (defends,), (attacks,) = (node.games for node in nodes)
        assert (defends.side, attacks.side) == ("answerer", "challenger")
        assert (defends.deadline is None) != (attacks.deadline is None)
        moving = "waiting" if attacks.deadline is None else "to move"
        assert f'didyma_games{{side="challenger",state="{moving}"}} 1.0'.encode() in Scraper(nodes[1]).text()
        middle = shown(earth, tmp_path, f"{request:#066x}")
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=100)
    assert "is to move until" in middle
    assert "proves" not in middle
    drawn = shown(earth, tmp_path, f"{request:#066x}")
    for line in (
        f"{NODES[1].address} challenges",
        f"{NODES[0].address} shows 4 roots, one a step",
        "disagrees first at step 2, layer 1",
        "roots, one an operator",
        "disagrees first at down, ",
        "disagrees first at row 0, numbers 0 to 63 of down",
        "shows 64 numbers: ",
        "proves that down[0, 0] is not ",
        "0.3 ether of its bond to " + NODES[1].address,
    ):
        assert line in drawn, (line, drawn)
    (game,) = {args["gameId"] for args in games(earth)}
    assert shown(earth, tmp_path, f"{game:#066x}") == drawn
    for line in (
        "the challenger won: the answer was rejected",
        f"{NODES[1].address} won 0.3 ether: of the answer's bond",
        f"{NODES[0].address} lost 1 ether: its bond",
        "burnt 0.7 ether",
    ):
        assert drawn.count(line) == (1 if "challenger" in line else 2), (
            line,
            drawn,
        )  # beside the answer, under the game


def shown(earth: World, folder: Path, identity: str, status: int = 0) -> str:
    """What `didyma request show` prints."""
    return command(earth, folder, "request", "show", identity, status=status).output


def command(earth: World, folder: Path, *words: str, status: int = 0) -> Any:
    earth.deployment.save(folder / "deployment.json")
    where = ["--rpc-url", earth.chain.url, "--deployment", str(folder / "deployment.json")]
    done = CliRunner().invoke(app, [*words, *where])
    assert done.exit_code == status, done.output
    return done


async def test_verify__rejected_answer_then_the_right_one__each_is_judged_by_the_exact_engine(earth, tmp_path, store):
    """Through the real worker, from the model's file alone; sampled, so that the seed's header is needed."""
    for seat in (3, 4):
        earth.act(NODES[seat], "setOperator", earth.service, seat, NODES[1].address)
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        request = await asked_of(earth, nodes, NODES[0].address, temperature=1 << 16)
        await drive(earth, nodes, partial(is_final, earth, request), blocks=400)
    lie, *_, right = [Answer.from_abi(args["answer"]) for args in posted(earth, request)]
    words = ("verify", f"{request:#066x}", "--store", str(store.root), "--json")
    found = json.loads(command(earth, tmp_path, *words).stdout)
    assert (found["verdict"], found["turn"], found["engine"], found["remarks"]) == ("right", right.turn, "exact", [])
    false = json.loads(command(earth, tmp_path, *words, "--turn", str(lie.turn), status=3).stdout)
    assert (false["verdict"], false["first_difference"]["position"]) == ("wrong", 1)
    assert false["expected_output"] == found["output"]
    assert "did not stand" in false["remarks"][0]


async def test_lie__found_by_two_watchers__one_proves_it_and_the_other_gets_bond_and_share(earth, tmp_path, store):
    """The second joins before the window closes, for the first might lose on purpose; it follows the same path."""
    engines = [SecondTokenOff(exact(store)), exact(store), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        corrupted(nodes[0], 2, "down")
        request = await asked_of(earth, nodes, NODES[0].address)
        waited: list[tuple[int, int]] = []  # of games to settle, and of bonds out

        def is_settled() -> bool:
            both = [stakes(node) for node in nodes[1:]]
            waited.append((sum(each.to_settle for each in both), sum(each.challenges_wei for each in both)))
            return bool(games(earth, "GameSettled"))

        await drive(earth, nodes, is_settled, blocks=100)
    bonds = [GAME.price_wei(0), GAME.price_wei(1)]
    assert (0, sum(bonds)) in waited, "both were out"
    waiting = [wei for games_to_settle, wei in waited if games_to_settle == 1]
    assert min(waiting) in bonds, "one's bond is back, and the other has to fetch its own"
    assert earth.steps(request)[:4] == WON
    assert {args["challenger"] for args in games(earth)} == {NODES[1].address, NODES[2].address}
    (settled,) = games(earth, "GameSettled")
    assert settled["shareWei"] == ETHER // 5 // 8
    credit = earth.client.oracle.functions.credit
    rewards = sorted(credit(NODES[n].address).call() for n in (1, 2))
    # Both sent the most that a challenge may cost: bond and change come back.
    assert rewards == [GAME.ceiling_wei + ETHER // 40, GAME.ceiling_wei + ETHER * 3 // 10]
    assert won(earth, request) == {
        NODES[0].address: -ETHER,
        **{args["challenger"]: credit(args["challenger"]).call() - GAME.ceiling_wei for args in games(earth)},
        BURNT: ETHER - ETHER * 3 // 10 - ETHER // 40,
    }
    (shared,) = story.games(earth.client, settled["gameId"])
    assert story.drawn(earth.client, shared).endswith(
        f"\n{shared.challenger} won 0.025 ether: a share of the answer's bond"
    )


def won(earth: World, request: int) -> dict[str, int]:
    """What the dispute about a request brought everybody, by its story."""
    found: dict[str, int] = {}
    for dispute in disputes(earth.client, of_request(earth.client, RequestId(request))):
        for gain in dispute.gains:
            found[gain.who] = found.get(gain.who, 0) + gain.amount_wei
    return found


async def test_lie__a_stranger_has_a_game_about_it__is_challenged_at_once_all_the_same(earth, tmp_path, store):
    """The stranger may mean to lose it, and more strangers may come before the window's end."""
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as (liar, watcher):
        request = await asked_of(earth, [liar], NODES[0].address)
        challenged(earth, request)
        earth.chain.mine(watcher.settings.confirmations)  # so that the watcher knows of the game
        await drive(earth, [watcher], lambda: len(games(earth)) == 2)
        (args,) = posted(earth, request)
        left = Answer.from_abi(args["answer"]).closes_at - earth.client.w3.eth.get_block("latest")["timestamp"]
        assert left > WINDOW // 4
        await drive(earth, [liar, watcher], lambda: "AnswerRuled" in earth.steps(request), blocks=100)
    assert [args["challenger"] for args in games(earth)] == [PUPPET.address, NODES[1].address]
    (ended,) = games(earth, "GameEnded")
    assert (ended["gameId"], ended["challengerWon"]) == (games(earth)[1]["gameId"], True)


def bond_of(earth: World, game: int) -> int:
    return state_of(earth, game).bond_wei


async def test_lie__then_silence__loses_by_the_clock(earth, tmp_path, store):
    async with team(earth, tmp_path, SecondTokenOff(exact(store)), exact(store), models=store.root) as nodes:
        request = await asked_of(earth, nodes, NODES[0].address)
        await drive(earth, nodes[1:], lambda: bool(games(earth)), blocks=30)
        pass_time(earth, GAME.clock_seconds + 1)
        await drive(earth, nodes[1:], lambda: "AnswerRuled" in earth.steps(request), blocks=30)
    assert earth.steps(request)[:4] == WON


async def test_lie__under_tokens_that_nobody_can_tell__is_opened_and_loses(earth, tmp_path, store):
    """The text fits the tokens, but no watcher finds them from it: the node must show them first."""
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        nodes[1].workshop._factory = lambda service: Unread(exact(store))
        request = await asked_of(earth, nodes, NODES[0].address)
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=100)
    assert earth.steps(request)[:4] == WON
    assert games(earth)[0]["positions"] == 0
    assert len(games(earth, "TokensOpened")) == 1


class Unread(SecondTokenOff):
    """An honest engine that cannot tell what tokens a liar's text was made of."""

    def generate(self, prompt: Any, params: Params) -> Completion:
        return self._inner.generate(prompt, params)

    def recover(self, prompt: Any, text: bytes, count: int, root: bytes, params: Params) -> Any:
        own = self.generate(prompt, params)
        return list(own.tokens) if own.root == root else None


async def test_sampled_lie__admitted_up_to_the_logits__loses_to_the_choice(earth, tmp_path, store):
    """The referee draws the token's noise from the block header that the watcher shows."""
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        request = await asked_of(earth, nodes, NODES[0].address, temperature=1 << 16)
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=100)
    assert earth.steps(request)[:4] == WON


async def test_sampled_lie__on_a_chain_with_other_headers__is_still_challenged(earth, tmp_path, store, monkeypatch):
    """Only the choice needs the header; a lie inside the pass is proven without it, and the node goes on."""

    def unknown(block):
        raise UnknownHeader("another layout")

    monkeypatch.setattr(headers, "encode", unknown)
    engines = [SecondTokenOff(exact(store)), exact(store)]
    async with team(earth, tmp_path, *engines, models=store.root) as nodes:
        corrupted(nodes[0], 2, "down")
        request = await asked_of(earth, nodes, NODES[0].address, temperature=1 << 16)
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=100)
    assert earth.steps(request)[:4] == WON


async def test_check__service_that_takes_token_ids__answers_its_own_question(store):
    service = SimpleNamespace(terms=SimpleNamespace(max_tokens=4))
    found = _engine(service, lambda service: exact(store))
    assert [(finding.what, finding.right) for finding in found] == [("engine", True), ("inference", True)]


# TOKENS AT FAULT


class EndsEarly(SecondTokenOff):
    """Says the first token alone, and finds that right."""

    def generate(self, prompt: Any, params: Params) -> Completion:
        tokens = self._inner.generate(prompt, params).tokens[:1]
        lengths = [len(self._inner.detokenize([token])) for token in tokens]
        return Completion(tokens, self._inner.detokenize(tokens), Tokens.spelled(prompt, tokens, lengths).root)


def refutations(earth: World, event: str) -> list[Any]:
    return list(earth.client.refutations.events[event]().get_logs(from_block=0))


def credit_of(earth: World, who: str) -> int:
    return int(earth.client.oracle.functions.credit(who).call())


async def test_lie__tokens_at_fault__is_refuted_under_a_hash_and_the_reward_is_fetched(earth, tmp_path, store):
    """The window is shorter than a hash takes to grow old: it is shown in its second half, and the reward waits."""
    async with team(earth, tmp_path, EndsEarly(exact(store)), exact(store), models=store.root) as nodes:
        request = await asked_of(earth, nodes, NODES[0].address)
        waited: set[int] = set()

        def is_paid() -> bool:
            waited.add(stakes(nodes[1]).rewards_wei)
            return bool(refutations(earth, "RewardPaid"))

        await drive(earth, nodes, is_paid, blocks=60)
        await step(earth, *nodes, blocks=2)
        amounts = {each["args"]["caseId"]: each["args"]["amountWei"] for each in refutations(earth, "RewardWaits")}
        for paid in refutations(earth, "RewardPaid"):
            del amounts[paid["args"]["caseId"]]
        assert [stakes(node).rewards_wei for node in nodes] == [0, sum(amounts.values())]
    assert earth.steps(request)[:4] == WON
    amount = refutations(earth, "RewardWaits")[0]["args"]["amountWei"]
    assert {0, amount} <= waited
    assert not [each for each in waited if each % amount], "more than one lie may have been shown"
    hidden, waits = (refutations(earth, event)[0] for event in ("RefutationPosted", "RewardWaits"))
    assert waits["args"]["refuter"] == NODES[1].address
    assert waits["args"]["postedAt"] == hidden["blockNumber"] < waits["blockNumber"]
    assert credit_of(earth, NODES[1].address) >= ETHER * 3 // 10
    assert won(earth, request)[NODES[1].address] >= ETHER * 3 // 10


@pytest.mark.parametrize("restarts", [False, True])
async def test_refutation__copied_before_it_is_mined__pays_the_node_that_posted_its_hash(
    earth, tmp_path, store, restarts
):
    """The puppet sends the call as soon as the node's hash is on chain. restarts: the node forgets its call."""
    async with team(earth, tmp_path, EndsEarly(exact(store)), exact(store), models=store.root) as nodes:
        request = await asked_of(earth, nodes, NODES[0].address)
        await drive(earth, nodes, lambda: bool(nodes[1]._litigant._sealed), blocks=10)
        assert not refutations(earth, "RewardWaits")
        ((_, _, call),) = nodes[1]._litigant._sealed.values()
        thief = puppet(earth)
        function, given = thief.refutations.decode_function_input(call.data)
        earth.chain.rpc("evm_setAutomine", True)
        try:
            thief.send(thief.refutations.functions[function.fn_name](**given))
        finally:
            earth.chain.rpc("evm_setAutomine", False)
        assert earth.steps(request)[:4] == WON
        if not restarts:
            await drive(earth, nodes, lambda: bool(refutations(earth, "RewardPaid")), blocks=60)
    if restarts:
        earth.chain.mine(4)  # the answer is dead before the node looks again
        async with team(earth, tmp_path, EndsEarly(exact(store)), exact(store), models=store.root) as nodes:
            await drive(earth, nodes, lambda: bool(refutations(earth, "RewardPaid")), blocks=60)
    (paid,) = refutations(earth, "RewardPaid")
    assert paid["args"]["caseId"] == refutations(earth, "RewardWaits")[0]["args"]["caseId"]
    assert paid["args"]["refuter"] == NODES[1].address
    assert credit_of(earth, PUPPET.address) == 0
    assert credit_of(earth, NODES[1].address) >= ETHER * 3 // 10


# A PUPPET CHALLENGES A RIGHT ANSWER


def puppet(earth: World) -> OracleClient:
    return OracleClient(earth.client.w3, earth.deployment, PUPPET)


def challenged(earth: World, request: int) -> int:
    """The puppet disputes the first token; returns the game's id."""
    client, words = puppet(earth), earth.request(request).words
    (args,) = posted(earth, request)
    answer = Answer.from_abi(args["answer"]).words
    price = GAME.price_wei(0)
    earth.chain.rpc("evm_setAutomine", True)
    try:
        client.send(client.game.functions.challengeUnread(words, answer), price)
    finally:
        earth.chain.rpc("evm_setAutomine", False)
    return int(games(earth)[-1]["gameId"])


def puppet_moves(earth: World, game: int, request: int) -> None:
    """Down the last child of whatever is open, as long as anything is: the puppet has nothing to prove."""
    client = puppet(earth)
    state = Game.from_abi(client.game.functions.gameOf(game).call())
    if state.node_to_move or state.stage not in (Stage.TOKENS, Stage.STEPS, Stage.OPERATORS, Stage.NODES):
        return
    if state.stage is Stage.TOKENS:
        (shown,) = games(earth, "TokensOpened")
        tokens = (shown["promptCount"], Tree(shown["nodes"]).root)
        answer = Answer.from_abi(posted(earth, request)[0]["answer"]).words
        words = (earth.request(request).words, answer, tokens, shown["promptCount"])
        call = client.game.functions.pickPosition(game, *words)
    else:
        nodes = next(args["nodes"] for args in games(earth, "ListOpened") if args["place"] == state.place)
        child = {Stage.STEPS: 1, Stage.OPERATORS: 3}.get(state.stage, 0)
        call = client.game.functions.pick(game, child, nodes[child], Tree(nodes).proof(child))
    earth.chain.rpc("evm_setAutomine", True)
    try:
        client.send(call)
    finally:
        earth.chain.rpc("evm_setAutomine", False)


def state_of(earth: World, game: int) -> Game:
    return Game.from_abi(earth.client.game.functions.gameOf(game).call())


async def test_right_answer__challenged_down_to_its_values__stands_and_its_node_is_paid(earth, tmp_path, store):
    async with team(earth, tmp_path, exact(store), exact(store), models=store.root) as nodes:
        request = earth.ask(PROMPT, max_tokens=3)
        await drive(earth, nodes, lambda: earth.status(request) == "answered")
        game = challenged(earth, request)
        for _ in range(40):
            await step(earth, *nodes)
            puppet_moves(earth, game, request)
            if state_of(earth, game).stage is Stage.VALUES and not state_of(earth, game).node_to_move:
                break
        pass_time(earth, GAME.clock_seconds + 1)
        await drive(earth, nodes, lambda: earth.status(request) == "final")
    (ended,) = games(earth, "GameEnded")
    assert not ended["challengerWon"]
    assert ended["toNodeWei"] > 0
    assert earth.client.oracle.functions.credit(PUPPET.address).call() == 0
    bond_wei = bond_of(earth, game)
    assert won(earth, request) == {
        PUPPET.address: -bond_wei,
        posted(earth, request)[0]["operator"]: ended["toNodeWei"],
        BURNT: bond_wei - ended["toNodeWei"],
    }


# kill -9 IN THE MIDDLE OF A GAME


def live(earth: World, folder: Path, store: ModelStore, request: int, game: int) -> None:
    """The whole life of a daemon process that defends an answer, until the game is over."""

    async def main() -> None:
        async with running_node(earth, folder, NODES[0], exact(store), models=store.root) as node:
            for _ in range(80):
                await settle(node)
                earth.chain.mine()
                puppet_moves(earth, game, request)
                state = state_of(earth, game)
                if state.stage is Stage.VALUES and not state.node_to_move:
                    break
            else:
                raise AssertionError("the game does not come to its values")
            pass_time(earth, GAME.clock_seconds + 1)
            await drive(earth, [node], lambda: earth.status(request) == "final")
            await finish(earth, node)

    asyncio.run(main())


POINTS = [
    *(f"after_persist:{n}" for n in (1, 2, 3, 5)),
    *(f"after_wanted:{n}" for n in (2, 9)),
    *(f"after_send:{n}" for n in (1, 4)),
]


@pytest.mark.parametrize("point", POINTS)
def test_defence__killed_at_any_step__goes_on_and_moves_once(built, tmp_path, store, point):
    with rewound(built) as earth:
        earth.act(NODES[1], "setOperator", earth.service, 1, NODES[0].address)
        request = earth.ask(PROMPT, max_tokens=3)

        async def answered() -> None:
            async with running_node(earth, tmp_path / "node", NODES[0], exact(store), models=store.root) as node:
                await drive(earth, [node], lambda: earth.status(request) == "answered")
                await step(earth, node, blocks=3)

        asyncio.run(answered())
        game = challenged(earth, request)
        work: Callable[[], None] = partial(live, earth, tmp_path / "node", store, request, game)
        assert run_child(work, {"DIDYMA_CRASH_AT": point}) == KILLED
        assert run_child(work) == 0
        assert earth.status(request) == "final"
        kinds = []
        with Journal(
            tmp_path / "node" / "journal.sqlite", f"{CHAIN_ID}:{earth.deployment.oracle}", ballast_bytes=0
        ).read() as tx:
            for row in Outbox(tx, NODES[0].address).intents("final", "mined"):
                kinds.append(row.intent.key)
        moves = [key for key in kinds if key.startswith("move:")]
        assert len(moves) == len(set(moves)) == 1 + len(games(earth, "ListOpened")) + len(games(earth, "ValuesOpened"))
        assert [key for key in kinds if key.startswith("timeout:")]
