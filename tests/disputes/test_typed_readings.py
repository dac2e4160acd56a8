"""The contract reads any bytes as Python does: what stands behind a type, and what a prompt of no type says."""

from random import Random

import pytest
from disputes.claims import prompt, typed
from disputes.stand import harness, results

from oracle.engines.answer_types import typed_prompt
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, read_prompt, text_prompt
from oracle.engines.exact.vocabulary import UNMERGED, Entry, Kind, Status, Vocabulary

SEED, PROMPTS = 15, 400
MISSING = frozenset(b"bx")


@pytest.fixture(scope="module")
def prompts():
    with harness("PromptHarness") as contract:
        yield contract


def vocabulary(prefix: bytes) -> Vocabulary:
    mark = Entry(Status.PLAIN, *UNMERGED, b"?")
    return Vocabulary(Kind.BYTES, "gpt-2", False, prefix, MISSING, (mark,))


def same(prompts, asked: bytes, prefix: bytes, random: Random) -> None:
    reading = read_prompt(asked, vocabulary(prefix))
    place = random.randrange(len(reading.data) + 2)
    part = reading.part_at(place)
    found = (part.of_ids, part.start, part.end) if part else None
    missing = sum(1 << each for each in MISSING)
    data, of_ids, start, end = results(prompts, "read", asked, prefix != b"", missing, place)
    assert (data, (of_ids, start, end) if end > start else None) == (reading.data, found), asked


@pytest.mark.parametrize("prefix", [b"", b" "])
def test_reading__any_prompts_typed_and_not__is_python_s(prompts, prefix):
    random = Random(SEED)
    for _ in range(PROMPTS):
        inner = prompt(random, 40)
        same(prompts, typed(random, inner) if random.random() < 0.5 else inner, prefix, random)


def test_reading__typed_prompt_cut_anywhere__is_python_s(prompts):
    random = Random(SEED)
    whole = typed_prompt(
        b"root\x01\x00\x00\x04abcd", parts_prompt([(PromptKind.IDS, b"abc"), (PromptKind.TEXT, b"bay")])
    )
    for length in range(len(whole) + 1):
        same(prompts, whole[:length], b" ", random)


def test_reading__type_within_a_type__is_words(prompts):
    inner = typed_prompt(bytes(8), text_prompt(b"hi"))
    data, of_ids, _, _ = results(prompts, "read", typed_prompt(bytes(8), inner), False, 0, 0)
    assert (data, of_ids) == (inner[1:], False)
