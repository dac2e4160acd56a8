"""A contract asks in words, and the dispute game judges: an honest daemon answers, one that reads the words otherwise
loses its bond to a watcher."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from e2e.test_games import by_game, exact, games, is_final, posted, shown
from e2e.world import DAPP, ETHER, NODES, World, drive, running_node, step, team, world
from exact.random_model import Shape, write

from oracle.client import OracleClient
from oracle.disputes import commitments
from oracle.engines.base import Params, Verdict
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.vocabulary import NO_TOKEN, table
from oracle.ids import RequestId, ServiceId
from oracle.merkle.tokens import BEGINS, ID_BITS, marked, unmarked
from oracle.models.download import file_sha256
from oracle.models.gguf import read
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore

SHAPE = Shape(layers=2, width=64, hidden=96, heads=4, kv_heads=2, head_width=16, rope_width=16, takes_text=True)
WORDS = b"the thing is there \xf0\x9f\x8c\x8a"
GAS, GAS_PRICE = 60_000, 10**9
HOSTILE = {
    "words that are an envelope": b"\x02\x01\x00\x00\x03\x00\x00\x07",
    "control tokens spelled": b"<s></s><|end|><|user|>",
    "no UTF-8": b"\xff\xc0\xf0\x9f",
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ModelStore:
    """With one model whose vocabulary reads text."""
    folder = tmp_path_factory.mktemp("models")
    path = write(folder / "model.gguf", SHAPE)
    made, models = commitments.commit(path), ModelStore(folder / "store")
    models.take_copy(path)
    tokens = (1,), (3, 4), (2,), 5
    manifest = Manifest(
        *("words", file_sha256(path), path.stat().st_size, "", 64), *tokens, made.weights_root, made.architecture
    )
    assert commitments.takes_text(manifest.architecture)
    models.allow(manifest)
    return models


@pytest.fixture(scope="module")
def built(store: ModelStore) -> Iterator[World]:
    (manifest,) = store.manifests()
    with world(manifest, by_game) as made:
        for seat in range(2, 5):  # the second seat is another's
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


class Misreads:
    """Reads one merged token of a prompt as its two parts, and finds what follows right; everything else is honest."""

    def __init__(self, inner: ExactEngine, store: ModelStore) -> None:
        self._inner = inner
        (manifest,) = store.manifests()
        self._entries = table(read(store.file(manifest).path)).entries

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def tokenize(self, prompt: bytes) -> list[Any]:
        read_ = list(self._inner.tokenize(prompt))
        for at, token in enumerate(unmarked(read_)):
            entry = self._entries[token]
            if entry.left != NO_TOKEN:
                end = (read_[at] >> ID_BITS) & ~BEGINS
                middle = end - len(self._entries[entry.right].spelled)
                parts = [marked(entry.left, middle, begins=False), marked(entry.right, end, begins=False)]
                return [*read_[:at], *parts, *read_[at + 1 :]]
        return read_

    def check(self, prompt: Any, output: Any, params: Params, text: bytes = b"") -> Verdict:
        return self._inner.check(prompt, output, params, text)


def deployed(earth: World) -> Any:
    earth.chain.rpc("evm_setAutomine", True)
    made = earth.client.deploy("Correspondent", earth.client.oracle.address, earth.service, DAPP.address)
    earth.chain.rpc("evm_setAutomine", False)
    return made


def ask_by(earth: World, dapp: Any, words: bytes) -> RequestId:
    """The contract asks in words, with a callback."""
    client = earth.client
    params = client.params(4, callback_gas=GAS, callback_gas_price_wei=GAS_PRICE, deadline_seconds=500)
    cost = client.quote(ServiceId(earth.service), 1 + len(words), params)
    earth.chain.rpc("evm_setAutomine", True)
    request = client.request_in(client.send(dapp.functions.askText(words, params), cost.total_wei))
    earth.chain.rpc("evm_setAutomine", False)
    return request


@pytest.mark.parametrize("words", [WORDS, *HOSTILE.values()], ids=["words", *HOSTILE])
async def test_contract__asks_in_words__hears_what_the_model_says_to_them(earth, tmp_path, store, words):
    dapp, engine = deployed(earth), exact(store)
    async with team(earth, tmp_path, engine, exact(store), models=store.root) as nodes:
        request = ask_by(earth, dapp, words)
        await drive(earth, nodes, partial(is_final, earth, request), blocks=200)
    assert earth.steps(request)[:3] == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
    (answer,) = posted(earth, request)
    asked = engine.tokenize(b"\x00" + words)
    said = engine.generate(asked, Params(4)).text
    assert answer["output"] == said
    assert dapp.functions.answerHash(request).call() == earth.client.w3.keccak(said)
    assert not [token for token in unmarked(asked)[1:-2] if token < 5]  # no control token but the wrapper's


async def misread(earth: World, nodes: Any) -> RequestId:
    """A request that falls to the node that reads words otherwise."""
    client: OracleClient = earth.client
    prompt = client.prompt(ServiceId(earth.service), WORDS)
    for lifetime in range(500, 560):
        request = earth.ask(prompt, max_tokens=3, lifetime=lifetime)
        await step(earth, *nodes, blocks=5)
        answers = posted(earth, request)
        if answers and answers[0]["operator"] == NODES[0].address:
            return request
        await drive(earth, nodes, partial(is_final, earth, request), blocks=300)
    raise AssertionError("the turn never fell to it")


async def test_daemon__reads_the_words_otherwise__is_refuted_by_a_watcher(earth, tmp_path, store):
    """The watcher cannot tell the tokens, sees them in a game, and shows the pair that would have merged. The node
    shows what it has read: one that reads the words anew by its model's file would have no tokens to show."""
    liar, models = Misreads(exact(store), store), store.root
    async with (  # it does not watch: it would call the other's answers wrong
        running_node(earth, tmp_path / "node0", NODES[0], liar, models=models, watch=False) as misreader,
        running_node(earth, tmp_path / "node1", NODES[1], exact(store), models=models) as watcher,
    ):
        misreader._litigant._moves._prompt = lambda matter: liar.tokenize(matter.record.prompt)
        nodes = [misreader, watcher]
        request = await misread(earth, nodes)
        await drive(earth, nodes, lambda: "AnswerRuled" in earth.steps(request), blocks=150)
    assert not is_final(earth, request)
    (killed,) = games(earth, "AnswerKilled")
    assert killed["rewardWei"] == ETHER * 3 // 10
    told = shown(earth, tmp_path, f"{request:#066x}")
    assert "would not have come to be: token" in told
    assert "the challenger won: the answer was rejected" in told
    assert "'the thing is there 🌊'" in told
