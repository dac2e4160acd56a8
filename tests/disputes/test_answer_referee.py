"""Of all answers to a typed prompt, whatever its bytes, one is right: no proof touches it, and others are shown wrong.
The contract rules as Python does."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from disputes import make_answer_vectors
from disputes.claims import prompt as any_prompt
from disputes.stand import called
from disputes.typed import LogitsAt, Said, invented_logits, prompt, right_answer, tokens_of, wrong_answers
from eth_hash.auto import keccak
from exact.random_model import Shape, write
from web3.exceptions import ContractLogicError, Web3RPCError

from oracle.chain.requests import Answer, Request
from oracle.disputes import answer_referee
from oracle.disputes.answer_referee import AnswerRefutation
from oracle.disputes.commitments import longest_asked, vocabulary_root
from oracle.disputes.inputs import ModelInputs, Number, Step, StepInputs, entry_input, list_tree
from oracle.engines.answer_types import MOST_IDS, AnswerType, Malformed, choice_type, type_of, typed_prompt
from oracle.engines.exact.text_prompts import asked
from oracle.errors import BadProof
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.models.manifest import Manifest

SEED = int(os.environ.get("DIDYMA_SEED", "15"))
CLAIMS = int(os.environ.get("DIDYMA_TYPED_CLAIMS", "6000"))
"""Wrong answers; `make prove` makes 100,000."""
ON_CHAIN, LOGITS_ON_CHAIN = 60, 40
"""Prompts whose answers the contract judges as well: their tokens, and their logits."""
CONTEXT = 1000
SHAPE = Shape(layers=1, width=32, hidden=32, heads=2, kv_heads=1, gain=0.05, takes_text=True, context=CONTEXT)
SIZE = 377
STOPS, REPLACEMENT = (2, 0), 3
MOST = 64
LIMITS = (1, 2, 3, *[MOST] * 6)
SIZES = {"invented": SIZE, "shipped": 2_560, "smollm2": 49_152}
"""Of vocabularies."""


@dataclass(frozen=True)
class Asked:
    """A typed prompt and how a model would answer it."""

    prompt: bytes
    max_tokens: int
    read: list[int]
    """The tokens before the output, with their marks."""
    type: AnswerType
    logits: LogitsAt

    def tokens(self, said: Said) -> Tokens:
        return tokens_of(self.read, said)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)


@pytest.fixture(scope="module")
def model(path):
    return ModelInputs(path)


@pytest.fixture(scope="module")
def manifest(stand, path):
    return stand.register(path, stop_tokens=STOPS, replacement_token=REPLACEMENT, context_length=CONTEXT)


def ask(random: Random, manifest: Manifest, model: ModelInputs) -> Asked:
    """With a typed prompt that a service may take, well made or not, and room for few tokens or many."""
    root, longest = vocabulary_root(manifest.architecture), longest_asked(manifest)
    inner = random.choice((any_prompt(random, 9), prompt_bytes([9] * random.randrange(9)), b"\x00" + b"\xf0" * longest))
    given = prompt(random, root, SIZE, inner)[:longest]
    return question_of(manifest, model, given, random.choice(LIMITS), random.randrange(1 << 30))


def question_of(manifest: Manifest, model: ModelInputs, given: bytes, max_tokens: int, seed: int) -> Asked:
    """seed: of the logits."""
    read = asked(given, model.words, manifest, SIZE)
    type_ = answer_referee.answer_type(given, len(read), max_tokens, manifest)
    assert type_ is not None
    return Asked(given, max_tokens, read, type_, invented_logits(seed, SIZE))


def shown_wrong(question: Asked, said: Said) -> AnswerRefutation | tuple[int, int] | None:
    """What shows an answer wrong: a refutation; or before which of its tokens a game's logits do, and another's; or
    nothing."""
    found = answer_referee.find(question.type, question.tokens(said), question.prompt, said.output)
    if found is not None:
        return found
    for step in range(len(said.tokens)):
        beaten = answer_referee.beaten(question.type, said.output, step, question.logits(said.tokens[:step]))
        if beaten is not None:
            return step, beaten[1]
    return None


def any_proof(random: Random, question: Asked, said: Said, size: int = SIZE) -> list[tuple[int, int]]:
    """Tokens of an answer, and tokens that might be shown against them: all that compete, and others."""
    some = [random.randrange(size + 2) for _ in range(3)]
    steps = range(len(said.tokens) + 1)
    rest = {other for step in steps for other in answer_referee.others(question.type, said.tokens, step)}
    return [(step, other) for step in steps for other in {*rest, *said.tokens, *some}]


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_any_answer__to_any_typed_prompt__one_is_right_and_all_others_are_shown_wrong(size):
    random, seen, wrong = Random(SEED), Counter[str](), 0
    while wrong < CLAIMS:
        root, limit = random.randbytes(32), random.choice(LIMITS)
        given = prompt(random, root, size, any_prompt(random, 9))
        type_ = type_of(given, root, size, STOPS, limit)
        assert type_ is not None
        question = Asked(given, limit, [1, 9, 5, 6], type_, invented_logits(wrong, size))
        right = right_answer(question.type, question.logits)
        assert shown_wrong(question, right) is None, question
        for step, other in any_proof(random, question, right, size):
            try:
                logits = question.logits(right.tokens[:step])
                assert not answer_referee.is_wrong_margin(question.type, right.output, step, other, logits), question
                seen["judged"] += 1
            except (BadProof, IndexError):
                seen["no proof"] += 1
        for said in wrong_answers(random, question.type, right, size):
            found = shown_wrong(question, said)
            assert found is not None, (question, right, said)
            wrong += 1
            seen["refuted" if isinstance(found, AnswerRefutation) else "by logits"] += 1
        kind = question.type.reason if isinstance(question.type, Malformed) else "choice"
        seen[kind.split("token")[0]] += 1
    assert seen.keys() >= {"judged", "no proof", "refuted", "by logits", "choice"}, seen
    assert len(seen) >= 12, seen  # of the reasons for which a type is malformed


# THE CONTRACT


def words(manifest: Manifest, question: Asked, said: Said) -> tuple[object, ...]:
    """Request, answer, model and tokens, as the contract takes them."""
    tokens = question.tokens(said)
    request = Request(bytes(32), keccak(question.prompt), 0, question.max_tokens, 0)
    answer = Answer(len(tokens.output) << 96, keccak(said.output), tokens.root, bytes(32))
    return request.words, answer.words, manifest.model_id, tokens.words


def ruling(contract, name: str, *arguments: object) -> bool | None:
    """None where it reverts."""
    try:
        return bool(called(contract, name, *arguments))
    except (ContractLogicError, Web3RPCError):
        return None


def test_is_wrong_answer__any_answers_to_typed_prompts__is_python_s_ruling(stand, manifest, model):
    random, ruled = Random(SEED), Counter[bool | None]()
    for _ in range(ON_CHAIN):
        question = ask(random, manifest, model)
        right = right_answer(question.type, question.logits)
        others = list(wrong_answers(random, question.type, right, SIZE))
        for said in [right, *random.sample(others, min(6, len(others)))]:
            count = len(said.tokens)
            for step in random.sample(range(-1, count), min(count, 3)):
                found = ruled_on(stand, manifest, question, said, step)
                assert found == python_s(question, said, step), (question, said, step)
                assert not (said is right and found)
                ruled[found] += 1
    assert ruled.keys() == {True, False, None}


@pytest.mark.parametrize("ids", [MOST_IDS - 1, MOST_IDS, MOST_IDS + 1])
def test_is_wrong_answer__rows_around_the_longest__one_id_more_makes_the_type_malformed(stand, manifest, model, ids):
    """Whoever takes it for a choice, or the longest for none, would rule the right answer wrong."""
    rows = [(5,), tuple(range(3, 3 + ids))]
    given = typed_prompt(choice_type(rows, vocabulary_root(manifest.architecture)), prompt_bytes([9]))
    question = question_of(manifest, model, given, MOST, 1)
    assert isinstance(question.type, Malformed) == (ids > MOST_IDS)
    right = right_answer(question.type, question.logits)
    for said in [right, *wrong_answers(Random(SEED), question.type, right, SIZE)]:
        steps = range(len(said.tokens))
        rulings = [ruled_on(stand, manifest, question, said, step) for step in steps]
        assert rulings == [python_s(question, said, step) for step in steps]
        assert said is not right or not any(rulings)


def ruled_on(stand, manifest: Manifest, question: Asked, said: Said, step: int) -> bool | None:
    """What the contract says of one of an answer's tokens."""
    tokens = question.tokens(said)
    index = len(tokens.prompt) + step
    given = (question.prompt, said.output, index, entry_input(tokens, index))
    return ruling(stand.answers, "isWrongAnswer", *words(manifest, question, said), *given)


def python_s(question: Asked, said: Said, step: int) -> bool | None:
    count = len(said.tokens)
    shown = (said.tokens[step], said.ends[step]) if step >= 0 else (0, 0)
    try:
        return answer_referee.is_wrong(question.type, said.output, count, step, *shown)
    except BadProof:
        return None


class Shown:
    """The end of a pass of which only the logits were made, and those from nothing."""

    def __init__(self, model: ModelInputs, positions: int, logits: Sequence[int]) -> None:
        step = model.architecture.layers + 1
        self._layout = Step(model.architecture, step, positions, model.tensors)
        operator = self._layout.operator("logits")
        self._step = StepInputs(self._layout, {"logits": np.array([logits], np.int64)}, None)
        at = self._layout.operators.index(operator)
        roots = [bytes(32)] * len(self._layout.operators)
        roots[at] = self._step.tree("logits").root
        self.operators = list_tree(roots)

    def logit(self, token: int) -> object:
        return self._step.input(Number("logits", 0, min(token, SIZE - 1)), self.operators, self.operators)


def test_is_wrong_margin__any_logits_of_typed_answers__is_python_s_ruling(stand, manifest, model):
    random, ruled = Random(SEED), Counter[bool | None]()
    for _ in range(LOGITS_ON_CHAIN):
        question = ask(random, manifest, model)
        right = right_answer(question.type, question.logits)
        others = list(wrong_answers(random, question.type, right, SIZE))
        for said in [right, *random.sample(others, min(5, len(others)))]:
            found, proofs = shown_wrong(question, said), any_proof(random, question, said)
            near = [pair for pair in proofs if pair[1] in answer_referee.others(question.type, said.tokens, pair[0])]
            tried = [*random.sample(near, min(4, len(near))), *random.sample(proofs, min(2, len(proofs)))]
            for step, other in [*tried, *([found] if isinstance(found, tuple) else [])]:
                logits = question.logits(said.tokens[:step])
                positions = len(question.read) + step
                chosen = said.tokens[step] if step < len(said.tokens) else 0
                shown = Shown(model, positions, list(logits))
                ruling_ = ruling(
                    stand.answers,
                    "isWrongMargin",
                    *words(manifest, question, said),
                    *(positions, shown.operators.root, question.prompt, said.output, other),
                    [shown.logit(chosen), shown.logit(other)],
                )
                assert ruling_ == python_s_margin(question, said, step, other, logits), (question, said, step, other)
                assert not (said is right and ruling_)
                ruled[ruling_] += 1
    assert ruled.keys() == {True, False, None}, ruled
    assert min(ruled.values()) > LOGITS_ON_CHAIN // 4, ruled


def python_s_margin(question: Asked, said: Said, step: int, other: int, logits: Sequence[int]) -> bool | None:
    if answer_referee.says_nothing(question.type, said.output, len(said.tokens)):
        return True
    try:
        return answer_referee.is_wrong_margin(question.type, said.output, step, other, logits)
    except BadProof:
        return None


def test_vectors__made_again__are_those_that_were_published():
    assert make_answer_vectors.VECTORS.read_text() == make_answer_vectors.text()
    shown = [said["shown by"]["fault"] for each in json.loads(make_answer_vectors.text()) for said in each["wrong"]]
    assert set(shown) == {"output", "token", "margin"}
