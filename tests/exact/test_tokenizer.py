"""Tokenizers from the GGUF give what llama.cpp gives, on texts made to confuse them; and control tokens in a text stay
text."""

from itertools import pairwise

import gguf
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rig.anvil import ROOT
from rig.tiny_gguf import vocabulary

from models.language import Writer
from models.tokenizer import LETTERS, learn
from oracle.engines.exact.cutter import ALIKE, CUTTERS
from oracle.engines.exact.tokenizer import BYTE_LETTERS, Tokenizer, merged
from oracle.engines.llama_native import NativeModel
from oracle.engines.prompts import MAX_TEXT_BYTES, SPACE_MARK
from oracle.errors import BadModelFile, PromptTooLong
from oracle.models.gguf import read

Type = gguf.TokenType
CONTROL, DEFINED = ["<|begin|>", "<|end|>"], ["<tool>", "<tool_x>"]

WORDS = [
    "the",
    "The",
    " soup",
    "it's",
    "we'll",
    "WE'RE",
    "don't",
    "I'm",
    "x'd",
    "'",
    "1",
    "12345",
    "3.14",
    "½",
    "²",
    "Ⅷ",
    "fooBarBAZ",
    "McDONALDéÉAB",
    "ÉÉ",
    "ßAB",
]
SPACES = [" ", "  ", "   ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\u3000", "\v"]
SIGNS = [
    "!",
    "...",
    "/",
    "//\n/",
    "$",
    "+",
    "^",
    "~",
    "|",
    "_",
    "-",
    "—",
    "“",
    "”",
    "€",
    "©",
    "<tool>",
    "<tool_x>",
    "<|end|>",
    "<s>",
    "<unk>",
]
SCRIPTS = [
    "café",
    "naïve",
    "ÀÉÎ",
    "über",
    "привет",
    "日本語",
    "한국어",
    "हिन्दी",
    "العربية",
    "עברית",
    "ไทย",
    "👍🏽",
    "🇫🇷",
    "𝔘",
    "e\u0301",
    "\u200d",
    "\ufeff",
]
TEXTS = st.lists(
    st.sampled_from(WORDS + SPACES + SIGNS + SCRIPTS) | st.text(max_size=4), max_size=14
).map("".join).map(lambda text: text.encode("utf-8", "ignore"))  # fmt: skip


def header(path, write_tokenizer):
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(64)
    out.add_embedding_length(32)
    out.add_block_count(1)
    out.add_feed_forward_length(32)
    out.add_head_count(1)
    out.add_layer_norm_rms_eps(1e-5)
    write_tokenizer(out)
    out.add_tensor("output_norm.weight", np.ones(32, np.float32))
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def byte_pairs(pre):
    """Merges learned from the shipped model's text and from other scripts, so that all kinds of pieces can merge."""

    def write(out):
        talks = Writer(3).talks()
        texts = [item.prompt for _ in range(800) for item in next(talks)] + [" ".join(WORDS + SCRIPTS)] * 40
        merges = learn(texts, 900).merges
        spelled = list(dict.fromkeys([*LETTERS, *(a + b for a, b in merges)]))
        texts = [*CONTROL, *spelled, *DEFINED]
        types = [Type.CONTROL] * 2 + [Type.NORMAL] * len(spelled) + [Type.USER_DEFINED] * 2
        out.add_tokenizer_model("gpt2")
        out.add_tokenizer_pre(pre)
        out.add_token_list(texts)
        out.add_token_types(types)
        out.add_token_merges([f"{a} {b}" for a, b in merges])
        out.add_bos_token_id(0)
        out.add_eos_token_id(1)

    return write


def sentence_pieces(prefix):
    def write(out):
        texts, scores, types = vocabulary()
        out.add_tokenizer_model("llama")
        out.add_token_list([*texts, *DEFINED])
        out.add_token_scores([*scores, 0.0, 0.0])
        out.add_token_types([*types, int(Type.USER_DEFINED), int(Type.USER_DEFINED)])
        out.add_bos_token_id(1)
        out.add_eos_token_id(2)
        out.add_add_space_prefix(prefix)

    return write


KINDS = {name: byte_pairs(name) for name in ALIKE}
KINDS |= {"spm": sentence_pieces(False), "spm-prefix": sentence_pieces(True)}


@pytest.fixture(scope="module", params=KINDS)
def both(request, tmp_path_factory):
    """Our tokenizer and llama.cpp's on the same file."""
    path = header(tmp_path_factory.mktemp("vocabulary") / "v.gguf", KINDS[request.param])
    return Tokenizer(read(path)), NativeModel(path, vocabulary_only=True)


@settings(max_examples=400, deadline=None)
@given(text=TEXTS)
@example(text=b"")
@example(text=b" ")
@example(text=b"\xff\xfe broken \xc3")
@example(text="'S 'Ll 'RE '\u017f".encode())
@example(text=b"  leading and trailing  ")
@example(text=b"a" * 300)
def test_encode__any_text__as_llama_cpp(both, text):
    ours, theirs = both
    assert ours.encode(text) == theirs.tokenize(text, special=False)


ODD = [b"\xf7\xbf\xbf\xbf", b"\xf4\x90\x80\x80", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x96", b"\xff", b"\0", b" "]
BROKEN = st.lists(st.sampled_from(ODD) | st.binary(max_size=4) | TEXTS, max_size=8).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(text=BROKEN)
@example(text=b"\xf7\xbf\xbf\xbf")
@example(text=b"\xff" * 100)
@example(text=b" <tool>a<tool>a<tool_x> a")
def test_encode__any_bytes__as_llama_cpp_and_at_most_a_token_a_byte_and_one(both, text):
    """Of some bytes llama.cpp alone makes three tokens, on others it aborts: a prompt of four bytes was no request's
    that anybody could answer."""
    ours, theirs = both
    ids = ours.encode(text)
    assert ids == theirs.tokenize(text, special=False)
    assert len(ids) <= len(text) + 1


def texts_of_llama_cpp():
    """Those that llama.cpp tests all of its vocabularies with (models/ggml-vocab-*.gguf.inp, MIT)."""
    return (ROOT / "tests/vectors/llama-cpp-texts.txt").read_bytes().split(b"\n__ggml_vocab_test__\n")


def test_encode__texts_of_llama_cpp_s_own_tests__as_llama_cpp(both):
    ours, theirs = both
    assert len(texts_of_llama_cpp()) == 47
    for text in texts_of_llama_cpp():
        assert ours.encode(text) == theirs.tokenize(text, special=False), text


@pytest.mark.parametrize("text", [b"!" * 130_000, b"a" * 130_000, b" " * 130_000], ids=["signs", "letters", "spaces"])
def test_llama_cpp__long_run_of_like_characters__does_not_overflow_the_stack(tmp_path, text):
    """Longer than any output; vocabularies of this kind are cut by a regular expression that recurs."""
    model = NativeModel(header(tmp_path / "v.gguf", byte_pairs("tekken")), vocabulary_only=True)
    assert b"".join(model.pieces[token] for token in model.tokenize(text, special=False)) == text


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
@example(text=SPACE_MARK)
def test_pieces__of_an_encoded_text__spell_it(both, text):
    ours, _ = both
    spelled = b"".join(ours.pieces[token] for token in ours.encode(text))
    assert without_spaces(spelled) == without_spaces(text)  # some vocabularies begin with a space of their own


def without_spaces(text):
    """Nor the marks that spell spaces in SentencePiece vocabularies."""
    return text.replace(b" ", b"").replace(SPACE_MARK, b"")


@pytest.mark.parametrize("text", [b"<|begin|>", b"a<|end|>b", b"<s></s><unk>"])
def test_encode__text_of_control_tokens__stays_text(both, text):
    ours, theirs = both
    ids = ours.encode(text)
    assert ids == theirs.tokenize(text, special=False)
    assert b"".join(ours.pieces[token] for token in ids).strip() == text


SOME = ["".join(part) for part in zip(WORDS * 3, SPACES * 5, SIGNS * 3, SCRIPTS * 3, strict=False)]


CUTS = [
    *("Zyzzyva", " Zyzzyva Zyzzyvas 1234567 ²½Ⅷ12", "a  1 b\r\n\n 22  3", "x'S 'Ll 'LL it'S'd", "!!\n\n x", "  \n  a"),
    *(
        "q!\nq?\r\nq-/q",
        "\t\tq .\n",
        "don't.Do 3.14 (x) A1b2 e\u0301e",
        "fooBARbaz ÉcoleÀB",
        "word//\n/word /a",
        "a, b;c  $5 + 6=7 _x_ #tag",
    ),
]
"""What cutters cut at different places."""


@pytest.fixture(scope="module")
def learned():
    """A vocabulary in which any two neighbours of these texts merge unless they are cut apart, and a word in it that no
    merges make."""
    spelled = ([BYTE_LETTERS[byte].decode() for byte in text.encode()] for text in [*CUTS, *SOME])
    pairs = list(dict.fromkeys(pair for letters in spelled for pair in pairwise(letters)))
    texts = dict.fromkeys([*LETTERS, *(a + b for a, b in pairs)])
    return [f"{a} {b}" for a, b in pairs], [*CONTROL, *texts, "Zyzzyva"]


@pytest.mark.parametrize("pre", CUTTERS)
def test_encode__every_name_of_a_cutter__as_llama_cpp(tmp_path, learned, pre):
    merges, texts = learned

    def write(out):
        out.add_tokenizer_model("gpt2")
        out.add_tokenizer_pre(pre)
        out.add_token_list(texts)
        out.add_token_types([Type.CONTROL] * 2 + [Type.NORMAL] * (len(texts) - 2))
        out.add_token_merges(merges)

    path = header(tmp_path / "v.gguf", write)
    ours, theirs = Tokenizer(read(path)), NativeModel(path, vocabulary_only=True)
    for text in [*SOME, *CUTS]:
        assert ours.encode(text.encode()) == theirs.tokenize(text.encode(), special=False), text


MARKED = [b"<tool>", b"<tool_x>"]


@settings(max_examples=200, deadline=None)
@given(text=TEXTS)
@example(text=b"a<tool><tool_x>b")
@example(text=b"<tool>")
@example(text=b" <tool> <tool><tool_x>  <tool")
def test_encode__markers_in_a_text__stay_text_in_both_tokenizers(both, text):
    """A panel's prompt must not be able to end the question and begin the answer."""
    ours, theirs = both
    ids = ours.encode(text, MARKED)
    assert ids == theirs.tokenize(text, False, MARKED)
    marks = {token for token, piece in enumerate(ours.pieces) if piece in MARKED}
    assert not marks & set(ids)
    spelled = b"".join(ours.pieces[token] for token in ids)
    assert spelled == ours.prefix + text if text else spelled == b""
    assert len(ids) <= len(text) + 1


def test_encode__text_beyond_any_context__is_refused_before_native_code_sees_it(both):
    for tokenize in (both[0].encode, lambda text: both[1].tokenize(text, False)):
        with pytest.raises(PromptTooLong, match="tokenizers take"):
            tokenize(b"a" * (MAX_TEXT_BYTES + 1))


def plainly_merged(symbols, priority):
    """What `merged` does, by looking at all pairs for each merge."""
    last = None
    while True:
        pairs = ((priority(*pair), place) for place, pair in enumerate(pairwise(symbols)))
        found = min(((early, place) for early, place in pairs if early is not None), default=None)
        if found is None:
            return symbols, last
        early, place = found
        last = symbols[place], symbols[place + 1], early
        symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]


@given(
    st.lists(st.sampled_from([b"a", b"b", b"ab"]), max_size=12),
    st.dictionaries(st.binary(min_size=2, max_size=4).map(lambda raw: bytes(97 + byte % 2 for byte in raw)),
                    st.integers(0, 3)),
)  # fmt: skip
def test_merged__any_texts_and_priorities__as_one_pair_at_a_time(texts, early):
    def priority(left, right):
        return early.get(left + right)

    assert merged(list(texts), priority) == plainly_merged(list(texts), priority)


def test_merged__long_run__asks_for_few_pairs():
    """A token's text may be as long as its file: a step for each pair of each merge would take hours."""
    asked = []

    def priority(left, right):
        asked.append(left)
        return float(len(left)) if left == right else None

    assert merged([b"a"] * 4096, priority)[0] == [b"a" * 4096]
    assert len(asked) < 3 * 4096


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (" " * 30_000, "token 1 of the file spells more than 1024 bytes"),
        (b"\xf4\x90\x80\x80", "the character 0x110000"),
    ],
)
def test_pieces__of_letters_that_stand_for_no_byte__are_refused_at_once(tmp_path, text, word):
    """llama.cpp spells each such letter with the token's whole text: of 30,000 spaces, 900 million bytes."""

    def write(out):
        out.add_tokenizer_model("gpt2")
        out.add_token_list(["?", text])
        out.add_token_merges(["? ?"])

    path = header(tmp_path / "v.gguf", write)
    with pytest.raises(BadModelFile, match=word):
        Tokenizer(read(path))
    with pytest.raises(BadModelFile, match=word):
        NativeModel(path, vocabulary_only=True)


@pytest.mark.parametrize(
    ("write", "word"),
    [
        (lambda out: (out.add_tokenizer_model("bert"), out.add_token_list(["a"])), "bert"),
        (byte_pairs("unheard-of"), "unheard-of"),
    ],
)
def test_tokenizer__of_another_kind__is_refused(tmp_path, write, word):
    with pytest.raises(BadModelFile, match=word):
        Tokenizer(read(header(tmp_path / "v.gguf", write)))
