"""A vocabulary's table gives the tokens that the file gives, and says of any two neighbours whether they are right."""

from pathlib import Path
from random import Random

import pytest
from exact import invented
from exact.test_tokenizer import SCRIPTS, SIGNS, SPACES, WORDS
from hypothesis import given
from hypothesis import strategies as st
from rig.real import smollm2

from oracle.engines.exact.cutter import ALIKE, CUTTERS, ENDS
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import NO_TOKEN, Kind, Status, Vocabulary, table, unit_bytes, units
from oracle.errors import BadModelFile
from oracle.models.gguf import Gguf, read

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "oracle" / "models" / "shipped" / "didyma-tiny.gguf"
SEED, VOCABULARIES, TEXTS = 15, 60, 12
"""Of the fuzz; so many invented ones of each kind, and texts of each."""
MAKERS = {"bytes": invented.byte_pairs, "sentencepiece": invented.sentence_pieces}


def ids(vocabulary: Vocabulary, text: bytes) -> list[int]:
    return [token.id for token in vocabulary.encode(vocabulary.read(text))]


@pytest.fixture(params=["shipped", "smollm2"], scope="module")
def header(request) -> Gguf:
    return read(SHIPPED if request.param == "shipped" else smollm2())


@pytest.fixture(scope="module")
def real(header) -> Vocabulary:
    return table(header)


def test_table__real_vocabularies__gives_the_file_s_tokens(header, real):
    file, random = Tokenizer(header), Random(SEED)
    corpus = (ROOT / "docs" / "numerics.md").read_text() + "".join(SCRIPTS + SIGNS) * 9
    for _ in range(300):
        start = random.randrange(len(corpus))
        words = [random.choice(WORDS + SPACES), corpus[start : start + random.randrange(40)]]
        text = real.read("".join(words).encode())
        text.decode()  # or the file's tokenizer reads other bytes
        assert ids(real, text) == file.encode(text), text


def test_table__every_token_of_a_real_vocabulary__is_its_own_text_s(real):
    for token, entry in enumerate(real.entries):
        if entry.status == Status.PLAIN:
            assert real.merged(entry.spelled) == [token]
            assert entry.left == NO_TOKEN or entry.rank > max(
                real.entries[entry.left].rank, real.entries[entry.right].rank
            )


@pytest.mark.parametrize("kind", MAKERS)
def test_table__invented_vocabularies__gives_the_file_s_tokens(kind):
    random, compared = Random(SEED), 0
    for _ in range(VOCABULARIES):
        header = MAKERS[kind](random)
        vocabulary, file = table(header), Tokenizer(header)
        for _ in range(TEXTS):
            text = invented.text(random, 9)
            read_as = vocabulary.read(text)[len(vocabulary.prefix) if text else 0 :]
            if "\N{REPLACEMENT CHARACTER}" not in read_as.decode("utf-8", "replace"):  # which the file reads otherwise
                compared += 1
                assert ids(vocabulary, text) == file.encode(read_as), (text, header)
    assert compared > VOCABULARIES


@pytest.mark.parametrize("kind", MAKERS)
def test_crossing__every_two_tokens_of_invented_vocabularies__is_none_exactly_where_they_stay_two(kind):
    random, counted = Random(SEED), {True: 0, False: 0}
    for _ in range(VOCABULARIES):
        vocabulary = table(MAKERS[kind](random))
        plain = [token for token, entry in enumerate(vocabulary.entries) if entry.status == Status.PLAIN]
        for left in plain:
            for right in plain:
                text = vocabulary.entries[left].spelled + vocabulary.entries[right].spelled
                stays = vocabulary.merged(text) == [left, right]
                counted[stays] += 1
                assert (vocabulary.crossing(left, right) is None) == stays, (left, right, vocabulary.entries)
    assert min(counted.values()) > VOCABULARIES


@given(st.binary(max_size=12) | st.text(max_size=12).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_units__any_bytes__are_all_of_them_and_a_character_is_one_wherever_it_stands(text):
    assert b"".join(map(unit_bytes, units(text))) == text
    for code in units(text):
        assert units(b"\xe2" + unit_bytes(code) + b"\x80")[1:-1] in ([code], [])  # the byte before may take a lone one


@pytest.mark.parametrize("name", [name for name in ALIKE if name in ENDS])
def test_piece_end__from_any_piece_s_beginning__is_where_the_cutter_ends_it(name):
    random = Random(SEED)
    for _ in range(400):
        text = "".join(random.choices(WORDS + SPACES + SIGNS + SCRIPTS + [" 1", "\n\n", "''"], k=random.randrange(8)))
        codes, at = units(text.encode()), 0
        for length in CUTTERS[name](codes):
            assert ENDS[name](codes, at) == at + length == ENDS[name](codes[at:], 0) + at, (text, at)
            at += length


def small(tokens: list[str], merges: list[str], **more: object) -> Gguf:
    named = {"model": "gpt2", "pre": "gpt-2", "tokens": [token.encode() for token in tokens]} | more
    named["merges"] = [merge.encode() for merge in merges]
    return Gguf(
        {"general.architecture": "llama"} | {f"tokenizer.ggml.{key}": value for key, value in named.items()}, {}
    )


def test_table__token_that_ranks_before_its_part__ranks_after_it():
    vocabulary = table(small(["?", "a", "b", "c", "ab", "abc"], ["ab c", "a b"]))
    assert vocabulary.entries[4].rank < vocabulary.entries[5].rank
    assert ids(vocabulary, b"abcab") == [5, 4]


def test_table__token_that_no_merge_reaches__comes_of_no_text():
    vocabulary = table(small(["?", "a", "b", "c", "bc", "ab", "abc"], ["b c", "a b", "ab c"]))
    assert vocabulary.entries[6].status == Status.NEVER
    assert ids(vocabulary, b"abc") == [1, 4]


def test_table__where_whole_words_count__is_the_unreached_token():
    vocabulary = table(small(["?", "a", "b", "c", "bc", "ab", "abc"], ["b c", "a b", "ab c"], pre="llama-bpe"))
    assert vocabulary.entries[6].status == Status.WHOLE
    assert ids(vocabulary, b"abc?abca") == [6, 0, 1, 4, 1]


def test_read__bytes_that_no_token_spells__are_question_marks():
    vocabulary = table(small(["?", "a"], []))
    assert (vocabulary.kind, vocabulary.read(b"ab\xc3a")) == (Kind.BYTES, b"a??a")


LETTERS = [chr(ord("@") + letter) for letter in range(39)]
STAIRS = ["".join(LETTERS[:count]) for count in range(2, 40)]


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (small(["a", "b"], []), "no token spells '\\?'"),
        (small(["?", "a"], [], pre="default"), "the referee does not cut texts as 'default'"),
        (small(["?", "a"], [], pre="tekken"), "the referee does not cut texts as 'tekken'"),
        (small(["?", *LETTERS, *STAIRS], [f"{stair[:-1]} {stair[-1]}" for stair in STAIRS]), "merged 39 deep"),
        (small(["?", "a", "b", "ab", "abb"], ["a b", "ab b"], token_type=[1, 1, 1, 5, 1]), "is made of what is not"),
    ],
)  # fmt: skip
def test_table__vocabularies_that_cannot_be_judged__are_refused_with_the_reason(header, reason):
    with pytest.raises(BadModelFile, match=reason):
        table(header)


ODD = ["a€".encode(), b"a\xffb", b"a\xed\xa0\x80", b"a b"]
"""Texts that byte pairs never write: each has a letter that stands for no byte."""


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("pre", ["gpt-2", "llama-bpe"])
@pytest.mark.parametrize("place", [4, 5])
def test_table__token_with_a_letter_that_is_no_byte_s__comes_of_no_text_and_hides_no_other(odd, pre, place):
    header = small(["?", "a", "b", "€", "ab"], ["a b", "a €"], pre=pre)
    header.metadata["tokenizer.ggml.tokens"].insert(place, odd)
    vocabulary, file = table(header), Tokenizer(header)
    assert vocabulary.entries[place].status == Status.NEVER
    for text in (b"ab", b"aab?", b"?ab"):
        assert ids(vocabulary, text) == file.encode(text), text


def of_characters(*texts: str) -> Gguf:
    """A SentencePiece vocabulary of all bytes and these."""
    header = invented.sentence_pieces(Random(SEED))
    named, end = header.metadata, 257
    named["tokenizer.ggml.tokens"][end:] = [text.encode() for text in texts]
    named["tokenizer.ggml.token_type"][end:] = [1] * len(texts)
    named["tokenizer.ggml.scores"][end:] = [0.0] * len(texts)
    return header


def test_table__sentencepiece_token_with_a_space_for_a_mark__comes_of_no_text():
    """The tokenizer writes each space as a mark, so that it never finds such a token."""
    header = of_characters("▁", "a", " ", "▁a", " a", "a ")
    vocabulary, file = table(header), Tokenizer(header)
    assert [vocabulary.entries[token].status for token in (259, 261, 262)] == [Status.NEVER] * 3
    assert ids(vocabulary, b"a a") == file.encode(b"a a")


@pytest.mark.parametrize("other", ["b", " "])
def test_table__sentencepiece_without_a_mark__is_refused(other):
    """The tokenizer would make the three bytes of a mark of a space."""
    with pytest.raises(BadModelFile, match="no token spells a space"):
        table(of_characters("a", other))


def test_table__sentencepiece_without_a_byte_s_token__is_refused():
    header = invented.sentence_pieces(Random(SEED))
    header.metadata["tokenizer.ggml.token_type"][7] = 5
    with pytest.raises(BadModelFile, match="do not have one token each"):
        table(header)


def test_table__byte_s_token_that_text_merges_to__is_refused():
    header = invented.sentence_pieces(Random(SEED))
    made = ["<0x4", "1>", "<", "0", "x", "4", ">", "<0", "<0x"]
    header.metadata["tokenizer.ggml.tokens"] += [text.encode() for text in made]
    header.metadata["tokenizer.ggml.token_type"] += [1] * len(made)
    header.metadata["tokenizer.ggml.scores"] += [0.0] * len(made)
    with pytest.raises(BadModelFile, match="comes of text"):
        table(header)
