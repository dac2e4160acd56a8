"""A service that tolerates nothing: its nodes answer and check with the exact engine and the shipped model."""

import asyncio
import json
import random
import threading
from pathlib import Path

import pytest
from e2e.world import DAPP, ETHER, NODES, drive, running_node, step, team

from oracle.chain.requests import SEED_DELAY, Answer
from oracle.client.devnet import add_model
from oracle.engines.base import Completion, Params
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.text_prompts import text_prompt
from oracle.merkle.tokens import tokens_root
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

REVIEW = text_prompt(b"The soup was cold and the waiter was rude.")
THREADS = 1


@pytest.fixture(scope="module")
def shipped(tmp_path_factory) -> tuple[Manifest, ModelStore]:
    folder = tmp_path_factory.mktemp("models")
    manifest = add_model(folder, SHIPPED_MODEL)
    return manifest, ModelStore(folder)


def exact(shipped) -> ExactEngine:
    manifest, store = shipped
    return ExactEngine(store.file(manifest), manifest, Device.named("cpu", THREADS))


class OneTokenOff:
    """Answers with another first token than the model's; everything else is honest."""

    def __init__(self, inner: ExactEngine) -> None:
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def generate(self, prompt, params: Params) -> Completion:
        first = self._inner.generate(prompt, params).tokens[0]
        tokens = (first + 1, *self._inner.generate([*prompt, first + 1], params).tokens)[: params.max_tokens]
        return Completion(tokens, self._inner.detokenize(tokens), tokens_root(tokens))

    def check(self, prompt, output, params: Params, text=b""):
        own = list(self.generate(prompt, params).tokens)
        verdict = self._inner.check(prompt, output, params, text)
        return type(verdict)(True, None, "says the liar") if list(output) == own else verdict


async def test_exact_service__honest_nodes__give_the_model_s_answer_and_find_it_right(earth, tmp_path, shipped):
    request = earth.ask(REVIEW)
    async with team(earth, tmp_path, *[exact(shipped) for _ in range(5)]) as nodes:
        await drive(earth, nodes, lambda: earth.status(request) == "final")
    posted = [s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"]
    assert [s.args["output"] for s in posted] == [b"negative"]


async def test_exact_service__one_token_off__is_challenged_and_slashed(earth, tmp_path, shipped):
    engines = [OneTokenOff(exact(shipped)), *[exact(shipped) for _ in range(4)]]
    async with team(earth, tmp_path, *engines) as nodes:
        for n in range(40):
            request = earth.ask(REVIEW + b" Never again." * (n % 8) + b"!" * (n // 8))
            await step(earth, *nodes, blocks=6)
            posted = [s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"]
            if posted and posted[0].args["operator"] == NODES[0].address:
                break
        else:
            raise AssertionError("the liar was never drawn")
        await drive(earth, nodes, lambda: earth.status(request) == "final", blocks=300)
        files = [Path(p) for node in nodes for p in (node.settings.data_dir / "wrong_answers").glob("*.json")]
    assert "AnswerRuled" in earth.steps(request)
    last = [s for s in earth.client.steps(request, 1) if s.name == "AnswerPosted"][-1]
    assert last.args["operator"] != NODES[0].address
    assert any("where the model gives" in json.dumps(json.loads(path.read_text())) for path in files)


AT_ONCE, TOGETHER, EACH_BLOCK = 64, 8, 7  # of its places an engine keeps an eighth for votes
LEAST_SECONDS = 6  # three blocks to a request's turn, one to mine its answer, and two


class Paced:
    """Begins no more answers than it is allowed: what a block's time is enough for, however fast this machine is."""

    together = TOGETHER

    def __init__(self, inner: ExactEngine) -> None:
        self._inner = inner
        self.allowed = threading.Semaphore(0)
        self.answers = 0

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def generate(self, prompt, params: Params) -> Completion:
        self.allowed.acquire()
        made = self._inner.generate(prompt, params)
        self.answers += 1
        return made


def asked_at_once(earth, prompts, seconds):
    """Requests in one block, so many seconds before their deadlines."""
    now = earth.client.w3.eth.get_block("latest")["timestamp"]
    sent = []
    for prompt, lifetime in zip(prompts, seconds, strict=True):
        params = (8, 0, 0, 0, 0, now + 1 + lifetime, 0, False)
        cost = earth.client.quote(earth.service, len(prompt), params).total_wei
        call = earth.client.oracle.functions.request(earth.service, prompt, params)
        sent.append(call.transact({"from": DAPP.address, "value": cost, "gas": 300_000}))
    earth.chain.mine()
    receipts = [earth.client.w3.eth.wait_for_transaction_receipt(tx) for tx in sent]
    assert len({receipt["blockNumber"] for receipt in receipts}) == 1
    return [earth.client.request_in(receipt) for receipt in receipts]


async def computed(node, engine, count):
    """Rounds until so many answers are written down, or nothing is computed any more."""
    done = 0
    while done < count and (await node.round() or node.workshop.running):
        with node.journal.read() as tx:
            done = len(tx.jobs("output"))
        node.again()
        await asyncio.sleep(0.05)
    node.again()
    await node.round()  # sends them


async def test_exact_service__sixty_four_requests_at_once__no_turn_is_missed_and_the_sooner_due_comes_first(
    earth, tmp_path, shipped
):
    """One node has all turns, and can compute just as many answers a block as are due."""
    for seat, owner in enumerate(NODES):
        earth.act(owner, "setOperator", earth.service, seat, NODES[0].address)
        earth.act(owner, "topUp", earth.service, seat, value_wei=AT_ONCE * ETHER)
    prompts = [REVIEW + b" Table %d." % number for number in range(AT_ONCE)]
    seconds = [LEAST_SECONDS + number // EACH_BLOCK for number in range(AT_ONCE)]
    random.Random(1).shuffle(seconds)
    model = exact(shipped)
    engine = Paced(model)
    async with running_node(earth, tmp_path, NODES[0], engine) as node:
        await step(earth, node, blocks=2)
        requests = asked_at_once(earth, prompts, seconds)
        earth.chain.mine(SEED_DELAY + 1)
        for done in range(EACH_BLOCK, AT_ONCE + EACH_BLOCK, EACH_BLOCK):
            engine.allowed.release(EACH_BLOCK)
            await computed(node, engine, min(done, AT_ONCE))
            earth.chain.mine()
    events = [earth.client.events_about(request)[1] for request in requests]
    assert [event["event"] for event in events] == ["AnswerPosted"] * AT_ONCE
    assert {Answer.from_abi(event["args"]["answer"]).turn for event in events} == {0}
    said = [model.generate(model.tokenize(prompt), Params(8)).text for prompt in prompts]
    assert [event["args"]["output"] for event in events] == said
    posted = [(event["blockNumber"], due) for event, due in zip(events, seconds, strict=True)]
    assert [due for _, due in sorted(posted)] == sorted(seconds)
