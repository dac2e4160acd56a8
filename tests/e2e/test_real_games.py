"""A model that nobody here made: disputes about one of SmolLM2's numbers and one of its tokens; the demo asks it."""

import re
import subprocess

import e2e.world
import pytest
from e2e.network import DIDYMA, environment
from e2e.test_games import WON, SecondTokenOff, by_game, corrupted, exact, games, is_final, posted, shown
from e2e.world import ETHER, NODES, drive, rewound, team, world
from rig.real import smollm2

from oracle.client import devnet
from oracle.engines.exact.text_prompts import text_prompt
from oracle.models.shipped import SMOLLM2
from oracle.models.store import ModelStore

QUESTION = b"What is the capital of France?"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    smollm2()
    folder = tmp_path_factory.mktemp("models")
    devnet.add_model(folder, SMOLLM2, committed=True)
    return ModelStore(folder)


@pytest.fixture(scope="module")
def built(store):
    (manifest,) = store.manifests()
    with world(manifest, by_game) as made:
        for seat in range(1, 5):  # all of the liar, who so has every turn
            made.act(NODES[seat], "setOperator", made.service, seat, NODES[0].address)
        yield made


@pytest.fixture
def earth(built):
    with rewound(built) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def engine(store):
    return exact(store)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(e2e.world, "PATIENCE", 50_000)


async def test_smollm2__lies_about_a_number_and_a_token__lose_to_one_watcher(earth, tmp_path, store, engine):
    """Answers to the first request are defended with a false number; those to the second as they are, with a token
    that the model does not choose. The liar has every turn, so it loses again and again."""
    prompt = text_prompt(QUESTION)
    async with team(earth, tmp_path, SecondTokenOff(engine), engine, models=store.root) as nodes:
        true = nodes[0]._litigant._moves.pass_over
        for at_step, name, said in ((17, "down", "proves that down["), (None, "choice", "proves that token ")):
            nodes[0]._litigant._moves.pass_over = true
            if at_step is not None:
                corrupted(nodes[0], at_step, name)
            request = earth.ask(prompt, max_tokens=4)
            await drive(earth, nodes, lambda request=request: "AnswerRuled" in earth.steps(request), blocks=150)
            assert earth.steps(request)[:4] == WON
            assert posted(earth, request)[0]["operator"] == NODES[0].address
            assert not is_final(earth, request)
            assert said in shown(earth, tmp_path, f"{request:#066x}")
    ended = [game["challengerWon"] for game in games(earth, "GameEnded")]
    assert len(ended) >= 2
    assert all(ended)
    assert earth.client.oracle.functions.credit(NODES[1].address).call() >= 2 * (ETHER * 3 // 10)


def test_demo__of_smollm2__it_answers_a_dapp_s_question(tmp_path):
    """What `make demo MODEL=smollm2` runs."""
    smollm2()
    command, home = [*DIDYMA, "demo", "--model", "smollm2"], {**environment(), "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, env=home, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"model +SmolLM2-135M-Instruct, 98\.4 MB, as it is published", done.stdout)
    assert re.search(r"Ada +answers 'Paris', by [\d.]+ logits, with 1 ether as its bond", done.stdout)
    assert re.search(r"the dapp +hears 'Paris'", done.stdout)
    assert "Everything happened as it should." in done.stdout
