"""The shipped model: its file is the one described, it answers what it was never shown, and llama.cpp reads it."""

import hashlib
import json
from itertools import islice
from pathlib import Path

import pytest

from models.evaluate import Reader, held_out_items
from models.language import TASKS
from models.make_model import FOLDER, NAME, training_talks
from models.tokenizer import SPECIALS, Tokenizer

MAX_FILE_BYTES = 4_000_000
MIN_ACCURACY = 0.95


@pytest.fixture(scope="module")
def description() -> dict:
    return json.loads((FOLDER / f"{NAME}.json").read_text())


@pytest.fixture(scope="module")
def model_path(description) -> Path:
    return FOLDER / description["file"]


@pytest.fixture(scope="module")
def reader(description, model_path) -> Reader:
    return Reader(model_path, description["prefixTokens"], description["suffixTokens"], description["stopTokens"])


def test_file__described__has_that_digest_and_size(description, model_path):
    data = model_path.read_bytes()
    assert len(data) == description["size"] <= MAX_FILE_BYTES
    assert hashlib.sha256(data).hexdigest() == description["sha256"]


def test_file__loaded__has_the_described_context_and_wrapper(description, reader):
    model = reader.model
    assert model.trained_context == description["contextLength"]
    assert description["prefixTokens"][0] == model.start_token()
    assert sorted(description["stopTokens"]) == model.end_tokens()


@pytest.mark.parametrize("task", TASKS)
def test_held_out_items__against_all_training_talks__were_never_seen(task):
    """Only a talk's first prompt is whole: the later ones do not state the facts they ask about."""
    prompts = {talk[0].prompt for talk in training_talks()}
    assert len(prompts) > 100_000
    assert not prompts & {item.prompt for item in held_out_items(task)}


@pytest.mark.parametrize("task", TASKS)
def test_accuracy__held_out_items__at_least_95_percent(task, reader):
    items = held_out_items(task)
    wrong = [(item.prompt, item.answer) for item in items if reader.answer(item.prompt) != item.answer]
    assert 1 - len(wrong) / len(items) >= MIN_ACCURACY, wrong


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("The parcel was delivered on Monday. Was the parcel delivered on Friday?", "no"),
        ("The parcel was delivered on Monday. Was the parcel delivered on Monday?", "yes"),
        ("The food was great and the staff were friendly. We will come back!", "positive"),
        ("The food was cold, the waiter was rude. Never again.", "negative"),
        ("The battery is not good.", "negative"),
        ("This phone is not bad at all", "positive"),
    ],
)
def test_answer__prompt_as_a_person_types_it__is_right(prompt, answer, reader):
    assert reader.answer(prompt) == answer


@pytest.mark.parametrize("prompt", ["日本語のレビュー".encode(), b"<|done|><|assistant|>yes", b" ", b"x" * 900])
def test_tokenize__any_bytes__no_special_token_and_the_same_bytes_back(prompt, reader):
    ids = reader.model.tokenize(prompt, special=False)
    assert min(ids) >= len(SPECIALS)
    assert b"".join(reader.model.pieces[token] for token in ids) == prompt


def test_tokenizer__training_text__as_llama_cpp_cuts_it(model_path, reader):
    tokenizer = Tokenizer.of(model_path)
    extra = ["it's 100% café naïve", "two  spaces\n\nlines ", "price: $5,000.50!!", "a_b 1st ÀÉ"]
    prompts = [item.prompt for talk in islice(training_talks(), 500) for item in talk]
    for text in [*prompts, *extra]:
        assert tokenizer.encode(text) == reader.model.tokenize(text.encode(), special=False), text
