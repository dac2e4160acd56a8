"""A service that tolerates nothing: its nodes answer and check with the exact engine and the shipped model."""

import json
from pathlib import Path

import pytest
from e2e.world import NODES, drive, step, team

from oracle.client.devnet import add_model
from oracle.engines.base import Completion, Params
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.merkle.tokens import tokens_root
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

REVIEW = b"The soup was cold and the waiter was rude."
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

    def check(self, prompt, output, params: Params):
        own = list(self.generate(prompt, params).tokens)
        verdict = self._inner.check(prompt, output, params)
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
