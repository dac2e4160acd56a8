"""Which tokens patterns allow: as `Pattern.allows` says of each token, whatever the table and the vocabulary."""

import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from exact.plain_patterns import allowed, any_table, digits_table, table_of, words_table
from rig import tiny_gguf
from rig.real import smollm2

from oracle.client.devnet import read_description
from oracle.engines.answer_types import (
    MOST_TEXT,
    AnswerType,
    Malformed,
    Pattern,
    heading,
    pattern_type,
    type_of,
    typed_prompt,
)
from oracle.engines.exact.tokenizer import token_pieces
from oracle.engines.exact.vocabulary import entries_of
from oracle.engines.llama_native import NativeModel
from oracle.engines.masks import LOWEST, TABLES, Masks
from oracle.models.gguf import read
from oracle.models.shipped import SHIPPED_MODEL

ROOT = bytes(range(32))
DIGITS = [b"", b"0", b"1", b"10", b"01", b"a", b"1a", b"</s>", b"<e>", b"", b"\xff"]
"""Pieces of a small vocabulary: token 7 is the first stop token and spells something, 8 is another."""
STOPS = (7, 8)


def made(table: bytes, limit: int = 24, stops=STOPS, size: int = len(DIGITS)) -> AnswerType:
    found = type_of(heading(typed_prompt(pattern_type(table, ROOT), b"")), ROOT, size, stops, limit)
    assert found is not None
    return found


def pattern_of(table: bytes, limit: int = 24, stops=STOPS) -> Pattern:
    found = made(table, limit, stops)
    assert isinstance(found, Pattern), found
    return found


def now(course) -> list[int]:
    """All that is allowed."""
    return sorted([*course.tokens.tolist(), *([course.pattern.stop] if course.may_stop else [])])


def followed(course, output):
    for token in output:
        course = course.then(token)
    return course


@pytest.fixture(scope="module")
def vocabularies():
    """What the tokens of the shipped model and of the tests' spell, and of a vocabulary without tokens of bytes."""
    tiny = [text.replace("▁", " ").encode() for text in tiny_gguf.vocabulary()[0]]
    few = [bytes([byte]) * count for byte in b'01ab"' for count in (1, 2, 5)] + [b"", b"0a", b"</s>", b"1" * 300]
    return {"tiny": tiny, "few": few, "shipped": token_pieces(read(read_description(SHIPPED_MODEL)[1]))}


# THE SAME AS THE PLAIN VERSION


@pytest.mark.parametrize(("name", "tables"), [("few", 400), ("tiny", 60), ("shipped", 12)])
def test_course__any_table__allows_what_the_plain_version_does(vocabularies, name, tables):
    pieces, rng, seen = vocabularies[name], random.Random(name), dict.fromkeys(("steps", "well formed", "stopped"), 0)
    stops = tuple(rng.sample(range(len(pieces)), 2))
    masks = Masks(pieces, stops, budget=rng.choice((0, 20_000, 1 << 20)))
    for _ in range(tables):
        kind = made(any_table(rng, pieces), rng.choice((1, 2, 3, 12)), stops, len(pieces))
        if isinstance(kind, Malformed):
            continue
        seen["well formed"] += 1
        course, output = masks.course(kind), []
        row = np.array([rng.randrange(4) for _ in pieces], np.int32)
        while able := allowed(kind, pieces, output):
            assert now(course) == able
            tried = [*rng.sample(range(-1, len(pieces) + 1), 12), *stops, *able[:5]]
            assert all(course.allows(token) == (token in able) for token in tried)
            assert course.only == (able[0] if len(able) == 1 else None)
            assert course.pick(row) == max(able, key=lambda token: (row[token], -token))
            masked = course.masked(row.astype(np.int64))
            assert np.flatnonzero(masked > LOWEST).tolist() == able
            output.append(rng.choice(able))
            course = course.then(output[-1])
            seen["steps"] += 1
        assert course.ended
        assert output[-1] == stops[0]
        assert len(output) <= kind.limit
        seen["stopped"] += len(output) < kind.limit
        assert now(course) == []
        assert course.only is None
    assert min(seen.values()) > tables // 8, seen


def test_course__smollm2__allows_what_the_plain_version_does():
    pieces, rng = token_pieces(read(smollm2())), random.Random(1)
    masks = Masks(pieces, (2,))
    one_byte = table_of([(0, 1), (1, 0)], [[(0, 255, 1)], []])
    for table in (digits_table(3), words_table([b" yes", b" no", b" not"]), one_byte):
        kind, output = made(table, 5, (2,), len(pieces)), []
        assert isinstance(kind, Pattern)
        course = masks.course(kind)
        while able := allowed(kind, pieces, output):
            assert now(course) == able
            output.append(rng.choice(able))
            course = course.then(output[-1])


def test_pieces__of_engines_and_of_the_referee__are_the_same_bytes(tmp_path):
    tiny = tmp_path / "tiny.gguf"
    tiny_gguf.write(tiny)
    for path in (tiny, read_description(SHIPPED_MODEL)[1], smollm2()):
        header = read(path)
        pieces = token_pieces(header)
        assert [entry.spelled for entry in entries_of(header)] == pieces
        assert NativeModel(path, vocabulary_only=True).pieces == pieces


# WHAT A TYPE MAY BE


def test_course__no_token_fits__stops_at_once_though_the_pattern_needs_more():
    for table in (table_of([(0, 1)], [[(ord("z"), ord("z"), 0)]]), table_of([(9, 1)], []), table_of([(0, 1)], [[]])):
        course = Masks(DIGITS, STOPS).course(pattern_of(table))
        assert now(course) == [7]


def test_course__needs_that_lie__end_where_the_limit_is():
    """States say that they need nothing more, and there is no end."""
    table = table_of([(0, 0)], [[(ord("1"), ord("1"), 0)]])
    assert now(followed(Masks(DIGITS, STOPS).course(pattern_of(table, 3)), [2, 2])) == [7]
    asks_for_more = table_of([(0, 1), (0, 5)], [[(ord("1"), ord("1"), 1)]])
    assert now(Masks(DIGITS, STOPS).course(pattern_of(asks_for_more, 6))) == [7], "the state behind needs 5 of 5"
    assert now(Masks(DIGITS, STOPS).course(pattern_of(asks_for_more, 7))) == [2]


def test_course__less_room_than_needed__takes_what_still_ends():
    """What is needed is counted in bytes, and each byte may take a token."""
    course = Masks(DIGITS, STOPS).course(pattern_of(words_table([b"1010", b"1"]), 4))
    assert now(course) == [2, 3], "1 is whole, and 10 needs two more bytes"
    assert now(course.then(2)) == [4, 7], "10 would need two bytes and have one token left for them"
    assert now(course.then(3)) == [2, 3]
    assert now(Masks(DIGITS, STOPS).course(pattern_of(words_table([b"1010", b"1"]), 3))) == [2]


def test_course__text_of_the_most_bytes__goes_up_to_it_and_no_further():
    pieces = [b"a" * 1023, b"a", b"aa", b"b", b""]
    pattern = made(table_of([(0, 0)], [[(97, 97, 0)]]), 100, (4,), 5)
    assert isinstance(pattern, Pattern)
    course = followed(Masks(pieces, (4,)).course(pattern), [0] * 8)
    assert course.length == MOST_TEXT - 8
    course = followed(course, [2, 2, 2])
    assert now(course) == [1, 2, 4]
    assert now(course.then(1)) == [1, 4]
    full = course.then(2)
    assert full.length == MOST_TEXT
    assert now(full) == [4]


def test_course__tokens_that_spell_nothing_and_stop_tokens__never_go_on():
    every = table_of([(0, 0)], [[(0, 255, 0)]])
    assert now(Masks(DIGITS, STOPS).course(pattern_of(every))) == [1, 2, 3, 4, 5, 6, 7, 10]


def test_type__of_nothing_or_with_too_little_room__is_malformed():
    for table in (b"", b"\0", bytes(3), table_of([], [[]]), digits_table(2)[:-6]):
        assert isinstance(made(table), Malformed) == (len(table) < 14)
    assert isinstance(made(digits_table(3), 1), Malformed)
    assert isinstance(made(digits_table(3), 2), Pattern)


# WHAT IS KEPT


def states_of(count: int) -> bytes:
    """A table in which each state allows other tokens than most."""
    return table_of([(0, number % 7) for number in range(count)], [[(0, 255, (1 << 15) + 1)]])


def test_masks__any_number_of_states__keep_no_more_than_the_budget():
    masks = Masks(DIGITS, STOPS, budget=4_000)
    course = masks.course(pattern_of(states_of(300), 299))
    for _ in range(290):
        assert course.tokens.size
        course = course.then(2)
        assert 0 < masks.kept <= 4_000
    first = masks.course(pattern_of(states_of(300), 299))
    assert first.tokens.tolist() == [1, 2, 3, 4, 5, 6, 10]
    for number in range(50):
        assert masks.course(pattern_of(digits_table(number + 1))).tokens.tolist() == [1, 2, 3, 4][: 4 if number else 2]
    assert len(masks._tables) <= TABLES


def test_masks__states_that_allow_the_same__are_kept_once():
    masks = Masks([bytes([byte]) for byte in range(256)], (0,))
    course = masks.course(pattern_of(table_of([(0, 0)] * 100, [[(0, 255, (1 << 15) + 1)]]), 99, (0,)))
    for _ in range(80):
        assert len(course.tokens) == 255
        course = course.then(9)
    assert len(masks._found) == 1
    assert masks.kept < 80 * 600


def test_masks__many_threads__each_finds_what_one_does(vocabularies):
    pieces, rng = vocabularies["tiny"], random.Random(3)
    kinds = [made(any_table(rng, pieces), 12, (2,), len(pieces)) for _ in range(60)]
    patterns = [kind for kind in kinds if isinstance(kind, Pattern)]
    shared = Masks(pieces, (2,), budget=30_000)

    def asked(masks, pattern):
        course, found = masks.course(pattern), []
        while not course.ended:
            found.append(now(course))
            course = course.then(found[-1][len(found) % len(found[-1])])
        return found

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda pattern: asked(shared, pattern), patterns * 3))
    assert found == [asked(Masks(pieces, (2,)), pattern) for pattern in patterns] * 3
