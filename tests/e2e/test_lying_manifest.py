"""A running node whose store holds a lying manifest: a popular file's true SHA-256, and another vocabulary's root.

The chain cannot know, and every honest answer for that model would die in one refutation: the node takes no turn.
"""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from disputes.test_recomputed import SHAPE, lying
from e2e.test_api import HOST
from e2e.test_games import by_game
from e2e.test_sick_engines import is_green, says_everywhere
from e2e.world import NODES, World, running_node, step, world
from exact.random_model import write
from fastapi.testclient import TestClient

from oracle.api.app import create_app
from oracle.disputes import recomputed
from oracle.merkle.tokens import prompt_bytes
from oracle.models.download import file_sha256
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.engines import llama_engines
from oracle.node.operator import check

PROMPT = prompt_bytes([9, 4, 11, 7])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ModelStore:
    """With two manifests of one file: one true, one that lies about the vocabulary."""
    folder = tmp_path_factory.mktemp("models")
    path = write(folder / "model.gguf", SHAPE)
    models = ModelStore(folder / "store")
    models.take_copy(path)
    plain = Manifest("popular", file_sha256(path), path.stat().st_size, "", 64, (1,), (5, 6), (2,), 3)
    made = recomputed.of_file(models, plain)
    true = replace(plain, weights_root=made.weights_root, architecture=made.architecture)
    for manifest in (true, lying(replace(true, name="lying"), "vocabulary root", b"\x05" * 32)):
        models.allow(manifest)
    return models


@pytest.fixture(scope="module", params=["lying", "popular"])
def built(request, store: ModelStore) -> Iterator[World]:
    (manifest,) = [manifest for manifest in store.manifests() if manifest.name == request.param]
    with world(manifest, by_game) as made:
        made.name = manifest.name
        for seat in range(1, 5):
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


async def test_node__serves_the_true_manifest_and_not_the_lying_one(earth, store, tmp_path):
    changes = {"models": store.root, "threads": 1, "api_names": ["testserver"]}
    asked = earth.ask(PROMPT, max_tokens=3)
    async with running_node(earth, tmp_path, NODES[0], **changes) as node:
        node.workshop._factory = llama_engines(node.settings, node.contracts.plays)
        api = TestClient(create_app(node), headers=HOST)
        for _ in range(10):
            await step(earth, node)
            if earth.name == "lying":
                says_everywhere(earth, api, "refused", "WrongCommitments: the manifest of lying does not say")
        if earth.name == "lying":
            says_everywhere(earth, api, "refused", "vocabulary root 0x0505")
            assert earth.steps(asked) == ["RequestPosted"]
        else:
            assert is_green(api)
            assert earth.steps(asked)[:2] == ["RequestPosted", "AnswerPosted"]
    found = {each.what: each for each in await check.everything(earth.settings(tmp_path, **changes))}
    right = earth.name == "popular"
    assert (found["model"].right, found["engine"].right) == (right, right)
    assert right or "vocabulary root 0x0505" in found["model"].detail
