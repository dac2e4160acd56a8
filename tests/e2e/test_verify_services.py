"""Answers of services that take more than bytes to verify: llama.cpp's before a panel, and private ones."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from e2e.world import World, by_panel, world
from rig import asking
from typer.testing import CliRunner

from oracle.chain.deployment import Deployment
from oracle.chain.services import PanelTerms
from oracle.cli import app
from oracle.client import devnet
from oracle.client.choices import Choices
from oracle.engines.answer_types import Verdict as Said
from oracle.engines.answer_types import heading
from oracle.engines.base import Completion, Params, TokenId
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.llama_settings import LlamaSettings, llama_setup
from oracle.engines.worker import WorkerEngine
from oracle.merkle.tokens import tokens_root
from oracle.models.manifest import Manifest
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

REVIEW = text_prompt(b"The soup was cold and the waiter was rude.")
THREADS = 1
ONE_LOGIT = 1 << 16


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    folder = tmp_path_factory.mktemp("models")
    devnet.add_model(folder, SHIPPED_MODEL)
    return ModelStore(folder)


@pytest.fixture(scope="module")
def manifest(store: ModelStore) -> Manifest:
    (found,) = store.manifests()
    return found


def verified(earth: World, folder: Path, store: ModelStore, request: int, status: int) -> dict[str, Any]:
    earth.deployment.save(folder / "deployment.json")
    where = ["--rpc-url", earth.chain.url, "--deployment", str(folder / "deployment.json")]
    words = ["verify", f"{request:#066x}", "--store", str(store.root), "--threads", str(THREADS), "--json", *where]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == status, done.output
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def built(manifest: Manifest) -> Iterator[World]:
    with world(manifest, by_panel) as made:
        yield made


def test_verify__llama_cpp_s_answer_and_a_lie__within_tolerance_and_wrong(earth, tmp_path, store, manifest):
    settings = LlamaSettings(threads=THREADS)
    engine = WorkerEngine(llama_setup(manifest, store.file(manifest).path, 1 << 16, settings))

    def answered(as_if_asked: bytes) -> int:
        request = earth.ask(REVIEW)
        earth.chain.mine(3)
        params = earth.request(request).engine_params(bytes(32), REVIEW)
        given = engine.generate(engine.tokenize(as_if_asked), params)
        asking.finalize(earth, request, asking.answer(earth, request, given), given.text)
        return request

    try:
        right, wrong = answered(REVIEW), answered(text_prompt(b"Wonderful food, I loved it."))
    finally:
        engine.close()
    found = verified(earth, tmp_path, store, right, 0)
    assert (found["verdict"], found["engine"], found["first_difference"]) == ("within tolerance", "llama.cpp", None)
    false = verified(earth, tmp_path, store, wrong, 3)
    assert (false["verdict"], false["first_difference"]["position"]) == ("wrong", 0)
    assert false["expected_output"] == found["output"] != false["output"]


def test_verify__choice_of_llama_cpp_and_another_margin__within_tolerance_and_wrong(earth, tmp_path, store, manifest):
    """The service tolerates one logit."""
    path = store.file(manifest).path
    made = Choices.of(["positive", "negative"], manifest, path)
    prompt = made.asking(REVIEW)
    engine = WorkerEngine(llama_setup(manifest, path, 1 << 16, LlamaSettings(threads=THREADS)))
    try:
        given = engine.generate(engine.tokenize(prompt), Params(8, answer_type=heading(prompt)))
    finally:
        engine.close()
    said = Said.of(given.text)
    assert said is not None

    def answered(margin: int) -> int:
        request = earth.ask(prompt)
        earth.chain.mine(3)
        posted = replace(given, text=bytes(replace(said, margin=margin)))
        asking.finalize(earth, request, asking.answer(earth, request, posted), posted.text)
        return request

    found = verified(earth, tmp_path, store, answered(said.margin + ONE_LOGIT // 2), 0)
    assert found["verdict"] == "within tolerance"
    assert (found["choice"]["word"], found["choice"]["margin"]) == ("negative", said.margin / ONE_LOGIT + 0.5)
    false = verified(earth, tmp_path, store, answered(said.margin + 2 * ONE_LOGIT), 3)
    assert (false["verdict"], false["first_difference"]) == ("wrong", None)
    assert "by more than tolerated" in false["reason"]
    assert false["expected_choice"]["margin"] == said.margin / ONE_LOGIT


def attested(deployment: Deployment) -> dict[str, Any]:
    """A panel that tolerates nothing, and keys inside TEEs."""
    panel = PanelTerms.decoded(by_panel(deployment)["arbiter_terms"])
    exact = PanelTerms(**{**vars(panel), "tolerance": 0})
    policy = devnet.dev_policy().encoded()
    judges = {"arbiter": deployment.panel, "arbiter_terms": exact.encoded()}
    return {**judges, "attester": deployment.attester, "attester_terms": policy}


def test_verify__private_request__is_not_checkable_and_says_why(tmp_path, store, manifest):
    with world(manifest, attested) as earth:
        request = earth.ask(b"sealed", is_private=True)
        found = verified(earth, tmp_path, store, request, 4)
    assert found["verdict"] == "not checkable"
    assert "private" in found["reason"]


def test_verify__exact_panel_s_answer__is_right_or_wrong_without_tolerance(tmp_path, store, manifest):
    tokens = (TokenId(100), TokenId(manifest.stop_tokens[0]))
    with world(manifest, attested) as earth:
        request = earth.ask(REVIEW)
        earth.chain.mine(3)
        given = Completion(tokens, b"", tokens_root(tokens))
        asking.finalize(earth, request, asking.answer(earth, request, given), given.text)
        found = verified(earth, tmp_path, store, request, 3)
    assert (found["verdict"], found["engine"]) == ("wrong", "exact")
    assert bytes.fromhex(found["expected_output"][2:]) == b"negative"
