"""Every byte string that begins as a typed prompt has one type, and every type one set of answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oracle.engines.answer_types import (
    HEADER_BYTES,
    MOST_MARGIN,
    Choice,
    Malformed,
    Verdict,
    choice_type,
    is_typed,
    proper,
    type_of,
    typed_prompt,
)
from oracle.engines.exact.text_prompts import PromptKind, parts_of, text_prompt

ROOT, SIZE, STOPS, LIMIT = b"root" + bytes(28), 100, (98, 99), 20
YES_NO = ((1, 2), (3,))


def read(prompt: bytes, limit: int = LIMIT):
    return type_of(prompt, ROOT, SIZE, STOPS, limit)


def asking(rows, prompt: bytes = text_prompt(b"Is it?")) -> bytes:
    return typed_prompt(choice_type(rows, ROOT), prompt)


def test_type__other_kind__none():
    assert read(text_prompt(b"?")) is None
    assert read(b"") is None


def test_type__choice__read_and_prompt_follows():
    assert read(asking(YES_NO)) == Choice(YES_NO, 98)
    assert list(parts_of(asking(YES_NO))) == [(False, b"Is it?")]


def test_type__inner_prompt_typed_again__its_kind_is_words():
    prompt = asking(YES_NO, asking(YES_NO))
    assert read(prompt) == Choice(YES_NO, 98)
    assert list(parts_of(prompt)) == [(False, asking(YES_NO)[1:])]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (((1,),), "2 to 16 rows"),
        (tuple((n,) for n in range(17)), "2 to 16 rows"),
        ((), "2 to 16 rows"),
        (((1,), ()), "1 to 16 ids"),
        (((1,), (2,) * 17), "1 to 16 ids"),
        (((1,), (1,)), "the same"),
        (((1,), (100,)), "token 100"),
        (((1,), (2, 99)), "token 99"),
    ],
)
def test_type__rows_out_of_bounds__malformed(rows, why):
    found = read(asking(rows))
    assert isinstance(found, Malformed)
    assert why in found.reason


def test_type__cut_or_padded_anywhere__malformed():
    whole = asking(YES_NO, b"")
    for length in range(1, len(whole)):
        assert isinstance(read(whole[:length]), Malformed)
        assert proper(whole[:length]) == b""
    body = whole[HEADER_BYTES:] + b"\0"
    padded = whole[: HEADER_BYTES - 3] + len(body).to_bytes(3, "big") + body
    assert isinstance(read(padded), Malformed)


def test_type__other_vocabulary_or_form__malformed():
    whole = asking(YES_NO)
    assert "another vocabulary" in read(whole[:1] + b"r00t" + whole[5:]).reason
    assert "form 9" in read(whole[:5] + b"\x09" + whole[6:]).reason


def test_type__longest_answer_beyond_the_limit__malformed():
    assert read(asking(YES_NO), limit=3) == Choice(YES_NO, 98)
    assert "3 tokens" in read(asking(YES_NO), limit=2).reason


def test_allowed__row_that_begins_another__stop_competes():
    choice = Choice(((1,), (1, 2), (3, 4)), 98)
    assert choice.allowed(()) == (1, 3)
    assert choice.allowed((1,)) == (2, 98)
    assert choice.allowed((3,)) == (4,)
    assert choice.allowed((1, 98)) == choice.allowed((2,)) == ()
    assert [choice.index(output) for output in ((1, 98), (1, 2, 98))] == [0, 1]
    assert choice.index((1,)) is None


@given(st.binary(max_size=80))
def test_type__any_bytes__one_type_and_its_prompt_within(data):
    found = read(bytes([PromptKind.TYPED]) + data)
    assert isinstance(found, Choice | Malformed)
    assert is_typed(b"\x03" + data)
    assert data.endswith(proper(b"\x03" + data))
    if isinstance(found, Choice):
        assert read(asking(found.rows)) == found


@given(st.builds(Verdict, *(st.integers(0, most) for most in (255, MOST_MARGIN, 2**16 - 1, 2**24 - 1))))
def test_verdict__bytes__ten_and_back(verdict):
    assert len(bytes(verdict)) == 10
    assert Verdict.of(bytes(verdict)) == verdict
    assert Verdict.of(bytes(verdict)[1:]) is None
