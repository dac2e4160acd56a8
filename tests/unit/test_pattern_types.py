"""Types of Python's in, answers as these back; and the same commands from a shell."""

import json
from dataclasses import replace
from datetime import date
from enum import Enum, StrEnum
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PastDate, StringConstraints, field_validator
from typer.testing import CliRunner

from oracle.cli import app
from oracle.cli.prompts import enough_tokens, form_of
from oracle.client import devnet
from oracle.client.choices import Reader
from oracle.client.patterns import forms
from oracle.client.typed import check_type, told, type_asked
from oracle.engines.exact.text_prompts import text_prompt
from oracle.errors import BadType, NotOfType, PromptTooLong
from oracle.models.shipped import SHIPPED_MODEL

MANIFEST, FILE = devnet.read_description(SHIPPED_MODEL)


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


class Stars(Enum):
    ONE = 1
    TWO = 2


class Review(BaseModel):
    mood: Mood
    stars: int = Field(ge=1, lt=6, description="how many")
    seen: date
    why: str = Field(max_length=10)
    is_rude: bool


READER = Reader.of(MANIFEST, FILE)
MIXED = {
    "type": "object",
    "properties": {
        "label": {"enum": ["spam", "ham"]},
        "score": {"type": "integer", "minimum": -100, "maximum": 100},
        "why": {"type": "string", "maxLength": 8},
    },
    "required": ["label", "score", "why"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        (Mood, {b'"good"': Mood.GOOD, b'"bad"': Mood.BAD}),
        (Stars, {b"1": Stars.ONE, b"2": Stars.TWO}),
        (Annotated[int, Field(ge=-5, le=5)], {b"-5": -5, b"0": 0}),
        (date, {b"2024-02-29": date(2024, 2, 29)}),
        (bool, {b"true": True, b"false": False}),
        (Literal["yes", "no"], {b'"yes"': "yes"}),
        (Annotated[str, StringConstraints(max_length=5, strip_whitespace=True)], {b'" a"': "a", b'"  "': ""}),
        (
            Review,
            {
                b'{"mood":"bad","stars":5,"seen":"2024-02-29","why":"kalt","is_rude":true}': Review(
                    mood=Mood.BAD, stars=5, seen=date(2024, 2, 29), why="kalt", is_rude=True
                )
            },
        ),
    ],
)
def test_of__type_of_python__answers_are_read_back_as_it(kind, answers):
    made = READER.pattern(forms.of(kind))
    for output, value in answers.items():
        assert made.read(output) == value
        with pytest.raises(NotOfType):
            made.read(output + b" ")


class Open(BaseModel):
    more: dict[str, int]


class Optional(BaseModel):
    stars: int = Field(default=3, ge=1, le=5)


class Booking(BaseModel):
    day: date = Field(le=date(2026, 12, 31))


class Trimmed(BaseModel):
    model_config = ConfigDict(str_strip_whitespace=True)
    said: str = Field(min_length=2, max_length=5)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (int, "must have minimum"),
        (str, "without maxLength"),
        (float, "type 'number'"),
        (Annotated[float, Field(ge=0, le=1)], "keyword 'maximum'|type 'number'"),
        (list[bool], "type 'array'"),
        (Open, "keyword 'additionalProperties'|required|within an object|additionalProperties must"),
        (Optional, "required"),
        (int | None, "keyword 'anyOf'"),
        (object(), "no JSON schema can be made"),
        (Annotated[str, Field(max_length=5, pattern="a")], "keyword 'pattern'"),
        (Annotated[date, Field(ge=date(2026, 1, 1), lt=date(2027, 1, 1))], "keyword 'ge'"),
        (Booking, "property 'day': the keyword 'le'"),
        (PastDate, "keyword 'now_op'"),
        (Annotated[str, StringConstraints(min_length=1, max_length=5, strip_whitespace=True)], "'strip_whitespace'"),
        (Trimmed, "property 'said': the keyword 'strip_whitespace'"),
    ],
)
def test_of__type_that_contracts_do_not_read__is_refused(kind, why):
    with pytest.raises(BadType, match=why):
        forms.of(kind)


def test_of__model_that_checks_more__an_answer_that_it_rejects_says_why():
    class Odd(BaseModel):
        number: int = Field(ge=0, le=9)

        @field_validator("number")
        @classmethod
        def _is_odd(cls, value: int) -> int:
            if value % 2 == 0:
                raise ValueError("it is even")
            return value

    made = READER.pattern(forms.of(Odd))
    assert made.read(b'{"number":3}').number == 3
    with pytest.raises(NotOfType, match=r"means nothing: .*it is even"):
        made.read(b'{"number":4}')


def test_reader__context_too_short__is_refused():
    short = replace(MANIFEST, context_length=MANIFEST.wrapper_tokens + 10)
    with pytest.raises(BadType, match="context is too short: an answer may need 43 tokens, and 9 are allowed"):
        Reader.of(short, FILE).pattern(forms.address())


def test_check_type__pattern_with_too_few_tokens__is_refused_before_it_is_paid_for():
    prompt = READER.pattern(forms.dates()).asking(text_prompt(b"When?"))
    check_type(prompt, MANIFEST, 11)
    with pytest.raises(BadType, match="11 tokens, and 10 are allowed"):
        check_type(prompt, MANIFEST, 10)


def test_room__prompt_that_leaves_none__is_refused():
    made = READER.pattern(forms.address())
    words = b"a " * (MANIFEST.context_length - MANIFEST.wrapper_tokens - 40)
    with pytest.raises(PromptTooLong, match="with 43 that an answer may need"):
        READER.check_room(made.asking(text_prompt(words)), made, in_game=False)
    READER.check_room(made.asking(text_prompt(b"Whose?")), made, in_game=False)


def run(*words: str):
    return CliRunner().invoke(app, ["type", *words])


@pytest.fixture
def model(tmp_path):
    (tmp_path / "manifest.json").write_text(MANIFEST.to_json())
    return "--model", str(tmp_path / "manifest.json"), "--file", str(FILE)


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (("integer", "-90", "60"), forms.integer(-90, 60)),
        (("integer", "-90", "-60"), forms.integer(-90, -60)),
        (("date",), forms.dates()),
        (("date", "2024-02-28", "2024-03-01"), forms.dates(date(2024, 2, 28), date(2024, 3, 1))),
        (("address",), forms.address()),
        (("pattern", "yes|no"), forms.regex("yes|no")),
        (("schema",), forms.schema(MIXED)),
    ],
)
def test_type__each_form__prints_its_bytes_and_what_it_needs(words, form, model, tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(MIXED))
    words = (*words, str(tmp_path / "schema.json")) if words == ("schema",) else words
    made = READER.pattern(form)
    done = run(*words, *model)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"0x{made.type_bytes.hex()}\n"
    assert f"at least {made.least_tokens}; {made.most_tokens} are always enough" in done.stderr
    told = json.loads(run(*words, *model, "--json").stdout)
    assert (told["type"], told["least_max_tokens"]) == (done.stdout.strip(), made.least_tokens)
    assert (told["root"], told["unspelled"]) == ("0x" + READER.root.hex(), "0x")
    said = " ".join(words)
    assert form_of(said).expression == form.expression


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"type": "boolean", "type": "null"}', "'type' is there twice"),
        ("{", "is no JSON schema"),
        ("[" * 100_000, "is no JSON schema"),
        ('{"type": "array"}', "type 'array'"),
        ('{"type": "integer", "minimum": 0, "maximum": 1e5}', "without a point or an exponent, not 100000.0"),
        ('{"type": "integer", "minimum": 0, "maximum": Infinity}', "not inf"),
    ],
)
def test_type_schema__bad_file__is_one_line(text, why, model, tmp_path):
    (tmp_path / "schema.json").write_text(text)
    done = run("schema", str(tmp_path / "schema.json"), *model)
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 1)
    assert why in done.stderr


def test_told__pattern__is_what_it_says_and_whether_it_is_whole():
    kind = type_asked(READER.pattern(forms.integer(-90, 60)).asking(text_prompt(b"?")), MANIFEST, 9)
    assert told(kind, b"-3") == "'-3'"
    assert told(kind, b"-") == "'-', which is not whole"
    assert told(kind, b"\x1b[2J").isprintable()


def test_enough_tokens__nobody_says__has_room_for_the_longest_that_the_service_allows():
    made = READER.pattern(forms.schema(MIXED))
    assert enough_tokens(made, None, 1000, 24) == made.most_tokens
    assert enough_tokens(made, None, 50, 24) == 50
    assert enough_tokens(READER.pattern(forms.regex("a*b")), None, 50, 24) == 24
    with pytest.raises(BadType, match=r"an answer of this type may need .* tokens; --max-tokens 3"):
        enough_tokens(made, 3, 1000, 24)
