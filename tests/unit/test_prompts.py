"""What engines hold prompts, outputs and files to."""

from dataclasses import replace

import gguf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oracle.engines.base import TokenId, well_formed
from oracle.engines.prompts import (
    FULL_OUTPUT_BYTES,
    MAX_PIECE_BYTES,
    MOST_STOPS,
    check_manifest,
    check_vocabulary,
    cut_markers,
    longest_prompt,
    markers,
    readable,
)
from oracle.errors import BadModelFile
from oracle.models.gguf import Gguf
from oracle.models.manifest import Manifest

MANIFEST = Manifest("tiny", b"\x11" * 32, 10, "", 64, (1, 2), (3,), (2,), 4)
PIECES = [b"x"] * 5
Type = gguf.TokenType

# TEXTS


@given(text=st.binary(max_size=40) | st.text(max_size=10).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(text=b"\xf4\x90\x80\x80")
@example(text=b"\xe2\x96")
@example(text=b"\xed\xa0\x80")
def test_readable__any_bytes__is_utf_8_of_the_same_length_and_keeps_what_was(text):
    read = readable(text)
    assert len(read) == len(text)
    assert readable(read) == read
    assert read.decode() == text.decode("utf-8", "replace").replace("\ufffd", "?") or b"?" in read
    assert all(ours in (theirs, ord("?")) for ours, theirs in zip(read, text, strict=True))


@given(text=st.text())
def test_readable__text__is_itself(text):
    assert readable(text.encode()) == text.encode()


# MANIFESTS


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prefix_tokens": (5,)}, "wrapper names token 5, the file has 5"),
        ({"suffix_tokens": (9,)}, "wrapper names token 9"),
        ({"stop_tokens": (0, 5)}, "stop names token 5"),
        ({"replacement_token": 5}, "replacement names token 5"),
        ({"context_length": 129}, "context of 129 tokens is longer than the model's 128"),
    ],
)
def test_check_manifest__names_what_the_file_has_not__is_refused(change, said):
    check_manifest(MANIFEST, PIECES, 128)
    with pytest.raises(BadModelFile, match=said):
        check_manifest(replace(MANIFEST, **change), PIECES, 128)


def test_check_manifest__more_stop_tokens_than_the_referee_takes__is_refused():
    check_manifest(replace(MANIFEST, stop_tokens=(2,) * MOST_STOPS), PIECES, 128)
    with pytest.raises(BadModelFile, match="names 33 stop tokens, more than 32"):
        check_manifest(replace(MANIFEST, stop_tokens=(2,) * (MOST_STOPS + 1)), PIECES, 128)


def test_check_manifest__token_too_long_to_be_posted__is_refused():
    check_manifest(MANIFEST, [*PIECES, b"x" * MAX_PIECE_BYTES], 128)
    with pytest.raises(BadModelFile, match="spells 1025 bytes"):
        check_manifest(MANIFEST, [*PIECES, b"x" * (MAX_PIECE_BYTES + 1)], 128)


def test_longest_prompt__of_ids_and_of_text__leaves_one_token_for_the_answer():
    assert longest_prompt(MANIFEST) == 64 - 3 - 1  # wrapper, an answer; a space takes the place of the kind's byte
    assert longest_prompt(MANIFEST, takes_text=False) == 1 + 3 * (64 - 3 - 1) + 2


# MARKERS

DEFINED = int(Type.USER_DEFINED)
TEXT_OF_TOKENS = [b"x", b"Human:", b"<|user|>", b"<|end|>", "▁▁".encode(), b"<table>", b"[INST]", b"<tool_call>", b"\n"]


def test_markers__user_defined_tokens__those_that_divide_a_conversation():
    types = [int(Type.NORMAL), *[DEFINED] * (len(TEXT_OF_TOKENS) - 1)]
    header = spm(TEXT_OF_TOKENS, types)
    named = replace(MANIFEST, prefix_tokens=(1, 8), suffix_tokens=(4,), stop_tokens=(0,))
    assert markers(header, named) == (b"Human:", b"<|user|>", b"<|end|>", b"[INST]")
    assert markers(header, replace(named, prefix_tokens=())) == (b"<|user|>", b"<|end|>", b"[INST]")
    assert markers(spm(TEXT_OF_TOKENS, [int(Type.CONTROL)] * 9), named) == ()


@given(text=st.lists(st.sampled_from(["<|end|>", "<|user|>", "<|", "|>", "a", "é", " ", "<<"])).map("".join))
@example(text="a<|end|><|user|>b")
def test_cut_markers__any_text__pieces_spell_it_and_hold_no_marker(text):
    marked = [b"<|end|>", b"<|user|>", "éé".encode()]
    pieces = cut_markers(text.encode(), marked)
    assert b"".join(pieces) == text.encode()
    assert not any(marker in piece for marker in marked for piece in pieces)
    assert all(piece.decode() is not None for piece in pieces)
    assert len(pieces) == 1 + sum(text.count(marker.decode()) for marker in marked[:2]) + sum(
        text[at : at + 2] == "éé" for at in range(len(text))
    )


# VOCABULARIES


def spm(texts, types=None, **metadata):
    names = {"add_space_prefix": True, **metadata}
    known = {f"tokenizer.ggml.{name}": value for name, value in names.items()}
    types = [int(Type.NORMAL)] * len(texts) if types is None else types
    known |= {"tokenizer.ggml.tokens": texts, "tokenizer.ggml.token_type": types}
    return Gguf({"tokenizer.ggml.model": "llama", **known}, {})


def other(kind):
    return Gguf({"tokenizer.ggml.model": kind, "tokenizer.ggml.tokens": [b"a"]}, {})


BYTES = [b"<0x%02X>" % byte for byte in range(256)]
SPACE = "▁".encode()


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (spm([*BYTES]), "no token spells a space"),
        (spm([*BYTES[:7], *BYTES[8:], SPACE]), "no token spells the byte 7"),
        (spm([*BYTES, SPACE, b"#"], [3] * 257 + [int(Type.USER_DEFINED)]), "two tokens a byte"),
        (other("t5"), "of kind 't5'"),
    ],
    ids=["space", "byte", "one-byte token", "kind"],
)
def test_check_vocabulary__more_than_a_token_a_byte__is_refused(header, said):
    with pytest.raises(BadModelFile, match=said):
        check_vocabulary(header)


@pytest.mark.parametrize(
    "header",
    [
        spm([*BYTES, SPACE]),
        spm([*BYTES[:65], b"A", *BYTES[66:], SPACE]),
        spm([*BYTES, SPACE, b"##"], [3] * 257 + [int(Type.USER_DEFINED)]),
        spm([*BYTES, SPACE, b"#"], [3] * 257 + [int(Type.USER_DEFINED)], add_space_prefix=False),
        other("gpt2"),
    ],
    ids=["spm", "letter for a byte", "two-byte token", "no prefix", "bpe"],
)
def test_check_vocabulary__at_most_a_token_a_byte_and_one__is_served(header):
    check_vocabulary(header)


# OUTPUTS

HALF = b"x" * (FULL_OUTPUT_BYTES // 2)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ([0, 0], "well formed"),
        ([0, 1], "ends without a stop token"),
        ([0, 0, 1], "goes on after 71680 bytes, which fill an output"),
        ([0, 0, 2], "goes on after 71680 bytes, which fill an output"),
        ([0, 1, 0], "well formed"),
        ([0, 1, 2], "well formed"),
    ],
)
def test_well_formed__output_that_fills_up__ends_there(output, said):
    pieces = [HALF, b"y", b"stop"]
    tokens = [TokenId(token) for token in output]
    verdict = well_formed(tokens, 9, (2,), pieces)
    assert verdict.reason == said
    assert verdict.correct == (said == "well formed")
