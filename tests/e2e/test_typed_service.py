"""A service that the dispute game judges is asked for choices: honest daemons answer whatever the type, watchers find a
wrong margin, and anybody verifies both."""

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from e2e import test_text_service
from e2e.test_games import command, exact, games, is_final, posted, shown
from e2e.world import ETHER, NODES, World, drive, running_node, step, team

from oracle.disputes.commitments import longest_asked
from oracle.engines.answer_types import VERDICT_BYTES, Verdict, choice_type, typed_prompt
from oracle.engines.base import Completion, Params
from oracle.engines.base import Verdict as Judgement
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.text_prompts import text_prompt
from oracle.merkle.tokens import Tokens
from oracle.models.store import ModelStore

store, built = test_text_service.store, test_text_service.built  # fixtures
ROWS = ((300, 301), (300, 302), (310,))
STOP = 2
WORDS = text_prompt(b"the thing")


@pytest.fixture(scope="module")
def engine(store: ModelStore) -> ExactEngine:
    return exact(store)


def choice(engine: ExactEngine, rows: Any = ROWS, prompt: bytes = WORDS) -> bytes:
    return typed_prompt(choice_type(rows, engine.vocabulary_root), prompt)


async def test_typed_prompts__well_formed_and_hostile__are_answered_and_final_and_nobody_is_fined(
    earth, tmp_path, store, engine
):
    (manifest,) = store.manifests()
    whole = choice(engine)
    well_formed = [whole, choice(engine, ((300,), (300, 301))), choice(engine, prompt=b"\x01\0\0\x09")]
    well_formed += [whole + b"\xff", whole.ljust(longest_asked(manifest), b"x")]
    hostile = [whole[:length] for length in (1, 4, 9, 12)]
    hostile += [choice(engine, rows) for rows in (((300,), (STOP,)), ((300,), (300,)), ((300,) * 4, (9,)))]
    hostile += [typed_prompt(choice_type(ROWS, bytes(32)), WORDS)]
    async with team(earth, tmp_path, exact(store), exact(store), models=store.root) as nodes:
        requests = [earth.ask(prompt, max_tokens=4, temperature=1 << 16) for prompt in well_formed + hostile]
        requests.append(earth.ask(whole, max_tokens=2))
        await drive(earth, nodes, lambda: all(is_final(earth, request) for request in requests), blocks=400)
    for request in requests:
        assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
    outputs = [posted(earth, request)[0]["output"] for request in requests]
    assert [len(output) for output in outputs] == [10] * len(well_formed) + [0] * (len(hostile) + 1)
    told = json.loads(command(earth, tmp_path, *verifying(store, requests[0])).stdout)
    assert (told["verdict"], told["output"]) == ("right", "0x" + outputs[0].hex())


def verifying(store: ModelStore, request: int) -> tuple[str, ...]:
    return "verify", f"{request:#066x}", "--store", str(store.root), "--threads", "1", "--json"


class Lies:
    """Answers another verdict than the model's and finds it right; everything else is honest."""

    def __init__(self, inner: ExactEngine, rows: Any, change: Any, length: int) -> None:
        """length: bytes of what it says."""
        self._inner, self._rows, self._change, self._length = inner, rows, change, length

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(self, prompt: Any, params: Params) -> Completion:
        true = self._inner.generate(prompt, params)
        said = self._change(Verdict.of(true.text), true.tokens)
        tokens = (*self._rows[said.index], STOP)
        return Completion(tokens, bytes(said)[: self._length], Tokens.spelled(prompt, tokens, [0] * len(tokens)).root)

    def check(self, prompt: Any, output: Any, params: Params, text: bytes = b"") -> Judgement:
        if text == self.generate(prompt, params).text:
            return Judgement(True, None, "says the liar")
        return self._inner.check(prompt, output, params, text)


def second_choice(said: Verdict, tokens: Any) -> Verdict:
    """Another row, of which the margin says nothing."""
    return Verdict((said.index + 1) % len(ROWS), 0, 0, tokens[0])


LIES = {
    "one unit more": lambda said, tokens: replace(said, margin=said.margin + 1),
    "one unit less": lambda said, tokens: replace(said, margin=said.margin - 1),
    "second choice at margin 0": second_choice,
    "a row that is none": lambda said, tokens: replace(said, other=said.other + 1),
    "a byte short": lambda said, tokens: said,
}
LENGTHS = {"a byte short": VERDICT_BYTES - 1}


SHOWN = dict.fromkeys(
    ("a row that is none", "a byte short"), "the answer's output is none that the prompt's type allows"
)
"""What a lie's story says; of others, what two logits prove."""


async def lied_to(earth: World, nodes: Any, prompt: bytes) -> int:
    """A request that falls to the first node, answered."""
    for n in range(60):
        request = earth.ask(prompt + b"!" * (n % 8), max_tokens=4, lifetime=500 + n)
        await step(earth, *nodes, blocks=5)
        answers = posted(earth, request)
        if answers and answers[0]["operator"] == NODES[0].address:
            return request
        await drive(earth, nodes, partial(is_final, earth, request), blocks=300)
    raise AssertionError("the turn never fell to it")


@pytest.fixture
def wrong(tmp_path) -> Any:
    """Reads what a watcher wrote down about wrong answers."""

    def read(node: Any) -> Iterator[Any]:
        return (json.loads(path.read_text()) for path in (node.settings.data_dir / "wrong_answers").glob("*.json"))

    return read


@pytest.mark.parametrize("lie", LIES)
async def test_lie_about_a_verdict__is_found_by_a_watcher_and_loses(earth, tmp_path, store, engine, wrong, lie):
    models, liar = store.root, Lies(exact(store), ROWS, LIES[lie], LENGTHS.get(lie, VERDICT_BYTES))
    async with (
        running_node(earth, tmp_path / "node0", NODES[0], liar, models=models, watch=False) as first,
        running_node(earth, tmp_path / "node1", NODES[1], exact(store), models=models) as watcher,
    ):
        request = await lied_to(earth, [first, watcher], choice(engine))
        await drive(earth, [first, watcher], lambda: any(wrong(watcher)), blocks=50)
        (found,) = wrong(watcher)
        await drive(earth, [first, watcher], lambda: "AnswerRuled" in earth.steps(request), blocks=250)
    (killed,) = games(earth, "AnswerKilled")
    assert killed["rewardWei"] == ETHER * 3 // 10
    assert SHOWN.get(lie, "proves the choice, its margin or its witness wrong") in shown(
        earth, tmp_path, f"{request:#066x}"
    )
    told = json.loads(command(earth, tmp_path, *verifying(store, request), "--turn", "0", status=3).stdout)
    assert told["verdict"] == "wrong"
    assert "the model:" in found["reason"] or "the model gives" in found["reason"] or lie in LENGTHS
    assert told["first_difference"] is None or told["first_difference"]["position"] == found["position"]
