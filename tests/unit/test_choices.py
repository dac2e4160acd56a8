"""Words in, a type out; outputs in, words out: for the shipped model's vocabulary, and for one of SentencePiece."""

import json
from dataclasses import replace
from enum import Enum, StrEnum
from random import Random

import pytest
from eth_abi.abi import encode
from exact import invented
from hypothesis import given
from hypothesis import strategies as st
from rig import tiny_gguf
from typer.testing import CliRunner

from oracle.cli import app
from oracle.client import devnet
from oracle.client.choices import Choices, Heard, begins_with_space
from oracle.client.typed import check_type, told, type_asked
from oracle.disputes.commitments import NUMBERS, text_numbers
from oracle.engines.answer_types import MOST_MARGIN, Choice, Verdict, type_of
from oracle.engines.exact.text_prompts import text_prompt
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import entries_of, vocabulary_tree
from oracle.errors import BadType
from oracle.models import gguf
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

MANIFEST, FILE = devnet.read_description(SHIPPED_MODEL)


class Mood(StrEnum):
    GOOD = "positive"
    BAD = "negative"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A SentencePiece vocabulary without a token for the byte 0xE9 in words, and with a space of its own."""
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return tiny_gguf.write(path), path


def of(*words: str, **options):
    return Choices.of(words, MANIFEST, FILE, **options)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["yes"], "between 2 and 16 words, not 1"),
        ([], "not 0"),
        ([f"word {n}" for n in range(17)], "not 17"),
        (["yes", ""], "a word is empty"),
        (["yes", " \n"], "a word is empty"),
        (["yes", "no", "yes"], "'yes' is there twice"),
        (["yes", "no" * 40], r"'nono.*' is 41 tokens for this model; a choice takes 16"),
        (["yes", "caf\udce9"], "cannot spell"),
    ],
)
def test_words__that_cannot_be_judged__are_refused_with_the_reason(words, why):
    with pytest.raises(BadType, match=why):
        of(*words)


def test_words__that_need_a_missing_byte__are_refused(monkeypatch):
    header = invented.byte_pairs(Random(1))
    monkeypatch.setattr(gguf, "read", lambda path: header)
    manifest = replace(MANIFEST, prefix_tokens=(), suffix_tokens=(), stop_tokens=(len(header.vocabulary) - 2,))
    assert Choices.of(["a", "aa"], manifest, FILE).words == ("a", "aa")
    with pytest.raises(BadType, match="cannot spell 'zed'"):
        Choices.of(["a", "zed"], manifest, FILE)


def test_words__that_hold_a_stop_token__are_refused():
    (yes,) = Tokenizer(gguf.read(FILE)).encode(b"yes")
    with pytest.raises(BadType, match=f"'yes' holds token {yes}, which ends the model's answers"):
        Choices.of(["yes", "no"], replace(MANIFEST, stop_tokens=(4, yes)), FILE)


def test_words__longer_than_the_context__are_refused():
    with pytest.raises(BadType, match="2 tokens, and 1 are allowed"):
        Choices.of(["yes", "no"], replace(MANIFEST, context_length=MANIFEST.wrapper_tokens + 2), FILE)


def test_choice__yes_or_no__is_the_type_that_engines_read():
    made = of("yes", "no", "unknown")
    entries = entries_of(gguf.read(FILE))
    prompt = made.asking(text_prompt(b"Is it?"))
    root = vocabulary_tree(entries).root
    read = type_of(prompt, root, len(entries), MANIFEST.stop_tokens, made.least_tokens)
    assert isinstance(read, Choice)
    assert read.rows == made.rows
    assert [b"".join(entries[token].spelled for token in row) for row in made.rows] == [b"yes", b"no", b"unknown"]
    assert read.longest == made.least_tokens
    assert "allowed" in type_of(prompt, root, len(entries), MANIFEST.stop_tokens, made.least_tokens - 1).reason


def test_asking__typed_prompt__is_refused():
    with pytest.raises(BadType, match="names a type already"):
        CHOICES.asking(CHOICES.asking(text_prompt(b"Is it?")))


def test_space__after_a_wrapper__only_where_words_go_on(tiny):
    manifest, path = tiny
    tokenizer = Tokenizer(gguf.read(path))
    newline, colon = tokenizer.encode(b"\n", goes_on=True)[-1], tokenizer.encode(b":", goes_on=True)[-1]
    cases = {(): True, (newline,): False, (colon,): True, (newline, colon): True, (tiny_gguf.TURN_END,): False}
    found = {s: begins_with_space(replace(manifest, suffix_tokens=s), tokenizer) for s in cases}
    assert found == cases
    tokenizer.prefix = b" "
    assert begins_with_space(replace(manifest, suffix_tokens=(tiny_gguf.TURN_END,)), tokenizer)


def test_space__asked_for__is_part_of_each_row(tiny):
    manifest, path = tiny
    pieces = Tokenizer(gguf.read(path)).pieces
    for after_space, text in ((True, b" yes"), (False, b"yes"), (None, b"yes")):
        made = Choices.of(["yes", "no"], manifest, path, after_space=after_space)
        assert b"".join(pieces[token] for token in made.rows[0]) == text


def test_heard__verdict__is_the_enum_s_member_with_its_margin():
    made = Choices.of(Mood, MANIFEST, FILE)
    assert made.heard(bytes(Verdict(1, 3 << 15, 0, 9))) == Heard(Mood.BAD, 1.5)
    assert made.heard(bytes(Verdict(0, 0, 0, 9))) == Heard(Mood.GOOD, 0.0)
    assert made.heard(bytes(Verdict(0, MOST_MARGIN, 0, 9)), 65_535.0).value is Mood.GOOD


def test_heard__margin_below_the_one_asked_for__is_unknown_with_its_margin():
    made = of("yes", "no")
    below = bytes(Verdict(0, (3 << 15) - 1, 0, 9))
    assert made.heard(below, 1.5).value is None
    assert made.heard(below, 1.5).margin == pytest.approx(1.5, abs=1e-4)
    assert made.heard(bytes(Verdict(0, 3 << 15, 0, 9)), 1.5).value == "yes"


@given(st.binary(max_size=24))
def test_heard__any_output__is_a_word_only_of_a_verdict(output):
    made = CHOICES
    heard = made.heard(output)
    assert (heard.value is not None) == (len(output) == 10 and output[0] < 2)
    assert heard.value is None or heard.value == ("yes", "no")[output[0]]


CHOICES = of("yes", "no")


def test_enum__of_numbers__its_values_are_the_words():
    class Stars(Enum):
        ONE = 1
        TWO = 2

    made = Choices.of(Stars, MANIFEST, FILE)
    assert made.words == ("1", "2")
    assert made.heard(bytes(Verdict(1, 9, 0, 9))).value is Stars.TWO


@pytest.fixture
def store(tmp_path):
    models = ModelStore(tmp_path / "models")
    models.take_copy(FILE)
    models.allow(MANIFEST)
    return models.root


def run(*words: str):
    return CliRunner().invoke(app, ["type", "choice", *words])


def test_type_choice__words__prints_the_bytes_and_what_they_need(store):
    made = of("yes", "no", "unknown")
    done = run("yes", "no", "unknown", "--model", MANIFEST.model_id.hex()[:8], "--store", str(store))
    assert done.exit_code == 0, done.output
    assert done.stdout == f"0x{made.type_bytes.hex()}\n"
    assert f"at least {made.least_tokens}" in done.stderr
    assert f"bytes      {len(made.type_bytes)}" in done.stderr


def test_type_choice__file_and_manifest__the_same_as_json(tmp_path):
    (tmp_path / "manifest.json").write_text(MANIFEST.to_json())
    done = run("yes", "no", "--json", "--model", str(tmp_path / "manifest.json"), "--file", str(FILE), "--space")
    assert done.exit_code == 0, done.output
    told, made = json.loads(done.stdout), of("yes", "no", after_space=True)
    assert told == {
        "model": "0x" + MANIFEST.model_id.hex(),
        "type": "0x" + made.type_bytes.hex(),
        "bytes": len(made.type_bytes),
        "least_max_tokens": made.least_tokens,
        "rows": [{"word": word, "ids": list(row)} for word, row in zip(made.words, made.rows, strict=True)],
    }


def test_type_choice__words_that_cannot_be_judged__one_line(store):
    done = run("yes", "yes", "--model", MANIFEST.model_id.hex()[:8], "--store", str(store))
    assert (done.exit_code, done.stderr) == (1, "BadType: 'yes' is there twice\n")


def test_type_choice__one_model_in_the_store__needs_no_name(store):
    assert run("yes", "no", "--store", str(store)).stdout == f"0x{of('yes', 'no').type_bytes.hex()}\n"


# AS THE CHAIN SAYS IT


def on_chain(**changes):
    """The shipped model as the exact engine commits to it."""
    entries = entries_of(gguf.read(FILE))
    root = vocabulary_tree(entries).root
    sizes = [*[1] * 8, len(entries), 0, 0]
    numbers = encode(NUMBERS, (0, *sizes, 1, 1, bytes(32), root, *text_numbers(None), b""))
    return replace(MANIFEST, architecture=numbers, **changes)


PROMPT = CHOICES.asking(text_prompt(b"Is it?"))


def test_check_type__prompt_of_words_or_of_a_choice_that_fits__passes():
    for manifest in (MANIFEST, on_chain()):
        check_type(text_prompt(b"Is it?"), manifest, 1)
        check_type(PROMPT, manifest, CHOICES.least_tokens)


@pytest.mark.parametrize(
    ("prompt", "manifest", "tokens", "why"),
    [
        (PROMPT, MANIFEST, 1, "2 tokens, and 1 are allowed"),
        (PROMPT[:15], MANIFEST, 9, "longer than the prompt"),
        (b"\x03" + bytes(4) + PROMPT[5:], on_chain(), 9, "made for another vocabulary"),
        (PROMPT, on_chain(stop_tokens=(276,)), 9, "token 276 stops"),
    ],
)
def test_check_type__nothing_could_answer__is_refused_with_the_reason_and_what_to_do(prompt, manifest, tokens, why):
    with pytest.raises(BadType, match=why) as caught:
        check_type(prompt, manifest, tokens)
    assert "`didyma type` makes one" in str(caught.value)


def test_check_type__numbers_that_are_none__are_no_vocabulary():
    """A stranger registers what it likes."""
    for numbers in (b"", b"\x00", bytes(31), b"\xff" * 640, bytes(640)):
        check_type(PROMPT, replace(MANIFEST, architecture=numbers), 9)


def test_told__verdicts_and_what_is_none__in_words():
    kind = type_asked(PROMPT, MANIFEST, 9)
    pieces = Tokenizer(gguf.read(FILE)).pieces
    output = bytes(Verdict(1, 3 << 15, 0, 276))
    assert told(kind, output) == "choice 1 of 2, margin 1.5000 logits"
    assert told(kind, output, lambda row: b"".join(pieces[token] for token in row)) == (
        "'no', choice 1 of 2, margin 1.5000 logits"
    )
    assert told(kind, output[1:]) == "unknown: 9 bytes that are no verdict"
    assert told(kind, b"\x02" + output[1:]) == "unknown: 10 bytes that are no verdict"
    assert told(type_asked(PROMPT, MANIFEST, 1), b"").startswith("nothing, to a malformed type: ")


@given(st.binary(max_size=60), st.binary(max_size=12))
def test_told__any_typed_prompt_and_output__is_one_line(prompt, output):
    kind = type_asked(b"\x03" + prompt, MANIFEST, 9)
    assert told(kind, output).isprintable()
