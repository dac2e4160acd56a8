"""Choices where llama.cpp answers and a panel votes: whole daemons, each with another batch size."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from e2e.test_games import is_final, posted
from e2e.world import NODES, World, by_panel, drive, step, team, world

from oracle.client import devnet
from oracle.client.choices import Choices
from oracle.engines.answer_types import Verdict
from oracle.engines.base import Completion, Params
from oracle.engines.base import Verdict as Judgement
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.llama import LlamaEngine
from oracle.engines.llama_settings import LlamaSettings
from oracle.ids import RequestId
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

TOLERANCE = 1 << 16  # one logit, as `by_panel` has it
BATCHES = (1, 7, 32, 64, 512)
REVIEW = b"The soup was cold and the waiter was rude."


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = tmp_path_factory.mktemp("models")
    devnet.add_model(folder, SHIPPED_MODEL)
    return ModelStore(folder)


@pytest.fixture(scope="module")
def built(store: ModelStore) -> Iterator[World]:
    (manifest,) = store.manifests()
    with world(manifest, by_panel) as made:
        yield made


def engines(store: ModelStore) -> list[LlamaEngine]:
    (manifest,) = store.manifests()
    file = store.file(manifest)
    return [LlamaEngine(file, manifest, TOLERANCE, LlamaSettings(threads=1, batch=batch)) for batch in BATCHES]


def choices(store: ModelStore) -> Choices[str]:
    (manifest,) = store.manifests()
    return Choices.of(["positive", "negative"], manifest, store.file(manifest).path)


class Surer:
    """Says that the model is surer of its choices by three logits; everything else is honest."""

    def __init__(self, inner: LlamaEngine) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(self, prompt: Any, params: Params) -> Completion:
        made = self._inner.generate(prompt, params)
        said = Verdict.of(made.text)
        assert said is not None
        return replace(made, text=bytes(replace(said, margin=said.margin + 3 * TOLERANCE)))

    def check(self, prompt: Any, output: Any, params: Params, text: bytes = b"") -> Judgement:
        own = self.generate(prompt, params)
        is_own = (tuple(output), text) == (own.tokens, own.text)
        return Judgement(True, None, "says the liar") if is_own else self._inner.check(prompt, output, params, text)


async def test_choice__honest_nodes__is_final_as_the_model_s_and_nobody_disputes(earth, tmp_path, store):
    made = choices(store)
    request = earth.ask(made.asking(text_prompt(REVIEW)))
    async with team(earth, tmp_path, *engines(store)) as nodes:
        await drive(earth, nodes, lambda: is_final(earth, request))
    assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
    (answer,) = posted(earth, request)
    heard = made.heard(answer["output"], least_margin=1.5)
    assert heard.value == "negative"
    assert earth.client.steps(RequestId(request), 1)[-1].name == "RequestFinalized"


async def test_choice__margin_three_logits_too_high__is_challenged_voted_down_and_slashed(earth, tmp_path, store):
    made, (first, *others) = choices(store), engines(store)
    async with team(earth, tmp_path, Surer(first), *others) as nodes:
        for number in range(40):
            request = earth.ask(
                made.asking(text_prompt(REVIEW + b" Never again." * (number % 8) + b"!" * (number // 8)))
            )
            await step(earth, *nodes, blocks=6)
            answers = posted(earth, request)
            if answers and answers[0]["operator"] == NODES[0].address:
                break
        else:
            raise AssertionError("the liar was never drawn")
        await drive(earth, nodes, lambda: is_final(earth, request), blocks=300)
    assert "AnswerRuled" in earth.steps(request)
    false, *_, right = posted(earth, request)
    assert right["operator"] != NODES[0].address
    lie, truth = Verdict.of(false["output"]), Verdict.of(right["output"])
    assert lie is not None
    assert truth is not None
    assert (lie.index, lie.margin) == (truth.index, truth.margin + 3 * TOLERANCE)
