"""Of all rows of tokens that an answer may claim for a prompt, the right one is the one that no proof touches."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice, pairwise
from pathlib import Path
from random import Random

import pytest
from disputes import make_text_vectors
from disputes.claims import OUTPUT, WRAPPERS, Liar, case, manifest, prompt
from exact import invented
from rig.real import smollm2

from oracle.disputes.text_referee import Case, TextFault, TextProof, find, is_wrong
from oracle.engines.exact.text_prompts import PromptKind, parts_prompt, read_prompt, text_prompt
from oracle.engines.exact.vocabulary import Token, Vocabulary, table
from oracle.errors import BadProof
from oracle.models.gguf import read

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "oracle" / "models" / "shipped" / "didyma-tiny.gguf"
SEED = int(os.environ.get("DIDYMA_SEED", "15"))
CLAIMS = int(os.environ.get("DIDYMA_CLAIMS", "1500"))
"""Wrong rows of tokens for each vocabulary; `make prove` makes 100,000."""
VOCABULARIES, ROWS, PROOFS = 40, 2000, 150
MAKERS = {"bytes": invented.byte_pairs, "sentencepiece": invented.sentence_pieces}


def rows(right: Case, *, any_flags: bool) -> Iterator[list[Token]]:
    """Every row of tokens that spells a reading, with flags where pieces begin, or with every row of flags."""
    pieces = {right.start(index) for index, token in enumerate(right.tokens) if token.begins}
    spelled: dict[bytes, list[int]] = {}
    for token, entry in enumerate(right.vocabulary.entries):
        spelled.setdefault(entry.spelled, []).append(token)

    def after(at: int) -> Iterator[list[Token]]:
        if at == len(right.reading.data):
            yield []
        for end in range(at + 1, len(right.reading.data) + 1):
            for token in spelled.get(right.reading.data[at:end], ()):
                for begins in (True, False) if any_flags else (at in pieces,):
                    for rest in after(end):
                        yield [Token(token, end, begins), *rest]

    outer = right.tokens[: right.first], right.tokens[right.last :]
    return ([*outer[0], *inner, *outer[1]] for inner in after(0))


@pytest.mark.parametrize("kind", MAKERS)
def test_find__every_row_that_spells_a_short_text__is_wrong_unless_it_is_the_right_one(kind):
    random, found = Random(SEED), Counter[str]()
    for _ in range(VOCABULARIES):
        vocabulary = table(MAKERS[kind](random))
        right = case(vocabulary, text_prompt(invented.text(random, 7)), manifest(*random.choice(WRAPPERS)))
        for tokens in chain.from_iterable(islice(rows(right, any_flags=flags), ROWS) for flags in (False, True)):
            claimed = replace(right, tokens=tokens)
            fault = find(claimed)
            assert (fault is None) == (tokens == right.tokens), (vocabulary, right.reading, tokens)
            if fault is not None:
                assert is_wrong(claimed, fault), (vocabulary, tokens, fault)
                found[fault.fault.name] += 1
    assert found.keys() >= ({"CUT", "PAIR"} if kind == "bytes" else {"FLAG", "PAIR", "BYTE"}), found


def attacks(random: Random, right: Case) -> Iterator[TextProof]:
    """Proofs at every border, whatever comes nearest to being one, and any."""
    size = len(right.vocabulary.entries)
    for fault in TextFault:
        for index in (0, right.first - 1, right.first, right.last - 1, right.last, len(right.tokens) - 1):
            if index >= 0:
                yield TextProof(fault, index, index)
    for index, (token, following) in enumerate(pairwise(right.tokens)):
        if max(token.id, following.id) >= size:
            continue
        spines = right.vocabulary.right_spine(token.id), right.vocabulary.left_spine(following.id)
        for left, x in enumerate(spines[0]):
            for right_, y in enumerate(spines[1]):
                made = right.vocabulary.merges.get((x, y))
                if made is not None:
                    yield TextProof(TextFault.PAIR, index, made, (left, right_))
    for index in range(len(right.tokens)):
        for base in right.vocabulary.bases.values():
            yield TextProof(TextFault.BYTE, index, base)
        for word in right.vocabulary.words.values():
            yield TextProof(TextFault.WHOLE, index, word)
    for _ in range(PROOFS):
        index = random.randrange(len(right.tokens) + 1)
        other = random.choice((index, index + 1, random.randrange(len(right.tokens) + 1), random.randrange(size)))
        yield TextProof(random.choice(list(TextFault)), index, other, (random.randrange(3), random.randrange(3)))


@pytest.mark.parametrize("kind", MAKERS)
def test_is_wrong__any_proof_against_the_tokens_of_any_prompt__shows_nothing(kind):
    random, judged = Random(SEED), Counter[str]()
    for _ in range(VOCABULARIES * 2):
        vocabulary = table(MAKERS[kind](random))
        right = case(vocabulary, prompt(random, 60), manifest(*random.choice(WRAPPERS)))
        assert find(right) is None
        for shown in attacks(random, right):
            try:
                assert not is_wrong(right, shown), (vocabulary, right, shown)
                judged[shown.fault.name] += 1
            except BadProof:
                judged["no proof"] += 1
    impossible = {"CUT", "WHOLE"} if kind == "sentencepiece" else {"BYTE"}
    assert judged.keys() >= {fault.name for fault in TextFault} - impossible, judged


@pytest.fixture(params=["shipped", "smollm2"], scope="module")
def real(request) -> Vocabulary:
    return table(read(SHIPPED if request.param == "shipped" else smollm2()))


def test_find__changed_rows_of_a_real_vocabulary__shows_each_wrong(real):
    random, found, made = Random(SEED), Counter[str](), 0
    liar, corpus = Liar(real, random), (ROOT / "docs" / "protocol.md").read_bytes()
    while made < CLAIMS:
        start = random.randrange(len(corpus))
        text = corpus[start : start + random.randrange(60)] + invented.text(random, 4)
        parts = [(PromptKind.TEXT, text), (PromptKind.IDS, random.randbytes(random.randrange(7)))]
        asked = text_prompt(text) if random.random() < 0.7 else parts_prompt(random.choices(parts, k=3))
        right = case(real, asked, manifest(*random.choice(WRAPPERS)))
        for _ in range(10):
            tokens = liar.claim(right)
            if tokens is None:
                continue
            made += 1
            claimed = replace(right, tokens=tokens)
            fault = find(claimed)
            assert fault is not None, (asked, right.tokens, tokens)
            assert is_wrong(claimed, fault), (asked, tokens, fault)
            found[fault.fault.name] += 1
    print(f"{made} wrong rows: {dict(found)}")
    assert found.keys() >= {"WRAPPER", "END", "SPELLING", "CUT", "PAIR", "ID"}, found


def test_find__row_that_is_longer_than_the_context__is_a_count(real):
    right = case(real, text_prompt(b"word " * 1700), replace(manifest((), ()), context_length=1700))
    assert len(right.tokens) + OUTPUT > 1700
    assert find(right) == TextProof(TextFault.COUNT)


@pytest.mark.parametrize("kind", MAKERS)
def test_read_prompt__any_bytes__have_a_reading_whose_parts_follow_each_other(kind):
    random = Random(SEED)
    vocabulary = table(MAKERS[kind](random))
    for _ in range(2000):
        reading = read_prompt(prompt(random, 9), vocabulary)
        at = 0
        for part in reading.parts:
            assert part.start == at < part.end
            assert not part.of_ids or (part.end - part.start) % 3 == 0
            at = part.end
        assert at == len(reading.data)


def test_read_prompt__stranger_s_words_in_a_text_part__cannot_end_it(real):
    words = parts_prompt([(PromptKind.IDS, bytes(3))]) + bytes([PromptKind.IDS, 0, 0, 3]) + bytes(3)
    reading = read_prompt(parts_prompt([(PromptKind.TEXT, words), (PromptKind.IDS, bytes(3))]), real)
    assert [part.of_ids for part in reading.parts] == [False, True]
    assert read_prompt(text_prompt(words), real).data == real.read(words)


def test_prompt_tokens__of_nothing__is_the_replacement_token_or_the_wrapper(real):
    for asked in (b"", text_prompt(b""), parts_prompt([]), b"\x01\x00", b"\x02\x01\x00"):
        assert case(real, asked, manifest((), ())).tokens == [Token(1, 0, False)]
        assert case(real, asked, manifest((2,), ())).tokens == [Token(2, 0, False)]


def test_vectors__made_again__are_those_that_were_published():
    published = json.loads((ROOT / "tests" / "vectors" / "text.json").read_text())
    assert json.loads(json.dumps(make_text_vectors.vocabularies())) == published
    proofs = [wrong["proof"]["fault"] for each in published for asked in each["prompts"] for wrong in asked["wrong"]]
    assert {"WRAPPER", "END", "SPELLING", "FLAG", "CUT", "PAIR", "ID"} <= set(proofs)
