"""A service that the dispute game judges is asked for numbers: honest daemons answer whatever the pattern, watchers
find what it does not allow and what the model did not choose, and anybody is told why an answer died."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from e2e import test_text_service, test_typed_service
from e2e.test_games import command, exact, games, is_final, posted, shown
from e2e.test_typed_service import STOP, lied_to, verifying
from e2e.world import ETHER, NODES, drive, running_node, team
from exact.plain_patterns import table_of, true_table

from oracle.engines.answer_types import pattern_type, typed_prompt
from oracle.engines.base import Completion, Params
from oracle.engines.base import Verdict as Judgement
from oracle.engines.exact.engine import ExactEngine
from oracle.engines.exact.text_prompts import text_prompt
from oracle.merkle.tokens import Tokens
from oracle.models.store import ModelStore

store, built, wrong = test_text_service.store, test_text_service.built, test_typed_service.wrong  # fixtures
DIGIT = (48, 57)
INTEGER = true_table([[(45, 45, 1), (*DIGIT, 2)], [(*DIGIT, 2)], []], [2])
"""A sign or none, and a digit."""
NOTHING = text_prompt(b"")


@pytest.fixture(scope="module")
def engine(store: ModelStore) -> ExactEngine:
    return exact(store)


def pattern(engine: ExactEngine, table: bytes = INTEGER) -> bytes:
    return typed_prompt(pattern_type(table, engine.vocabulary_root), NOTHING)


async def test_patterns__true_lying_and_malformed__are_answered_and_final_and_nobody_is_fined(
    earth, tmp_path, store, engine
):
    true = pattern(engine)
    lying = [pattern(engine, table_of([(0, 2), (1, 9)], [[(97, 98, 1)], []])), pattern(engine, b"\0\1\0\0\0\2")]
    malformed = [true[:30], pattern(engine, b""), pattern(engine, bytes(9)), pattern(engine, b"\0\1\0\0\xff\xff")]
    async with team(earth, tmp_path, exact(store), exact(store), models=store.root) as nodes:
        requests = [earth.ask(prompt, max_tokens=4, temperature=1 << 16) for prompt in (true, *lying, *malformed)]
        await drive(earth, nodes, lambda: all(is_final(earth, request) for request in requests), blocks=400)
    outputs = []
    for request in requests:
        assert earth.steps(request) == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
        outputs.append(posted(earth, request)[0]["output"])
    assert outputs[0].lstrip(b"-").isdigit()
    assert outputs[1] in (b"a", b"b", b"")
    assert outputs[2:] == [b""] * (1 + len(malformed))
    told = json.loads(command(earth, tmp_path, *verifying(store, requests[0])).stdout)
    assert (told["verdict"], told["output"]) == ("right", "0x" + outputs[0].hex())


class Says:
    """Answers other tokens than the model's and finds them right; everything else is honest."""

    def __init__(self, inner: ExactEngine, change: Any) -> None:
        self._inner, self._change = inner, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def generate(self, prompt: Any, params: Params) -> Completion:
        tokens = self._change(self._inner, self._inner.generate(prompt, params).tokens)
        lengths = [len(self._inner.detokenize([token])) for token in tokens]
        return Completion(tokens, self._inner.detokenize(tokens), Tokens.spelled(prompt, tokens, lengths).root)

    def check(self, prompt: Any, output: Any, params: Params, text: bytes = b"") -> Judgement:
        if tuple(output) == self.generate(prompt, params).tokens:
            return Judgement(True, None, "says the liar")
        return self._inner.check(prompt, output, params, text)


def spelled(engine: ExactEngine, text: bytes, but: Sequence[int] = ()) -> int:
    """The first token, no one of `but`, that spells this."""
    return next(token for token in range(300) if engine.detokenize([token]) == text and token not in but)


def another_digit(engine: ExactEngine, tokens: Any) -> Any:
    said = engine.detokenize(tokens).lstrip(b"-")
    return spelled(engine, b"1" if said == b"0" else b"0", but=tokens), STOP


LIES = {
    "another digit": (another_digit, ", which the pattern allows there, was to be chosen"),
    "a letter": (
        lambda engine, tokens: (spelled(engine, b"x"), STOP),
        "may not stand where it does, by the pattern that the answer had to follow",
    ),
    "nothing": (
        lambda engine, tokens: (STOP,),
        "the answer ends where the pattern needs more, and token",
    ),
}


@pytest.mark.parametrize("lie", LIES)
async def test_lie_about_a_number__is_found_by_a_watcher_and_loses(earth, tmp_path, store, engine, wrong, lie):
    models, (change, words) = store.root, LIES[lie]
    liar = Says(exact(store), change)
    async with (
        running_node(earth, tmp_path / "node0", NODES[0], liar, models=models, watch=False) as first,
        running_node(earth, tmp_path / "node1", NODES[1], exact(store), models=models) as watcher,
    ):
        request = await lied_to(earth, [first, watcher], pattern(engine))
        await drive(earth, [first, watcher], lambda: any(wrong(watcher)), blocks=50)
        await drive(earth, [first, watcher], lambda: "AnswerRuled" in earth.steps(request), blocks=250)
    (killed,) = games(earth, "AnswerKilled")
    assert killed["rewardWei"] == ETHER * 3 // 10
    assert words in shown(earth, tmp_path, f"{request:#066x}")
    told = json.loads(command(earth, tmp_path, *verifying(store, request), "--turn", "0", status=3).stdout)
    assert told["verdict"] == "wrong"
