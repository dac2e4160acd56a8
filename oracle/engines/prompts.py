"""What engines hold prompts, outputs and model files to, so that every request that a service takes has one answer.

A request that nobody may answer costs every seat in turn a fine. So a text of any bytes is read, no text is more
tokens than arbiters reckon with when they adopt a service (`longest_prompt`), and an output ends before it is
too long to be posted. A file or manifest that breaks this is refused before it is served.
"""

import codecs
import re
from collections.abc import Sequence
from itertools import pairwise

from oracle.errors import BadModelFile, PromptTooLong
from oracle.merkle.tokens import ID_BYTES
from oracle.models.gguf import Gguf
from oracle.models.manifest import Manifest

FULL_OUTPUT_BYTES = 70 * 1024
"""An output that spells so many bytes ends there: `TokenReferee.FULL_OUTPUT_BYTES`. With one more token, and sealed, it
still fits `Oracle.MAX_OUTPUT_BYTES`."""
MAX_PIECE_BYTES = 1024  # that one token may spell
MOST_STOPS = 32
"""Stop tokens of a manifest: `Commitments.MAX_STOPS`."""
SPACE_MARK = "▁".encode()
USER_DEFINED = 4  # tokenizer.ggml.token_type
MARKER = re.compile(r"\s*(<[|｜].*[|｜]>|\[/?[A-Z][A-Z_ ]*\]|</?[a-z_]*(start|end)_of_[a-z_]*>)\s*", re.DOTALL)
"""How tokens look that divide a conversation into turns."""
MAX_TEXT_BYTES = 512 * 1024
"""Of a text that a tokenizer is given: more than the longest prompt and output. In native code a byte may cost 1 KiB of
stack."""


def _question_marks(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "?" * (error.end - error.start), error.end


codecs.register_error("didyma-question-marks", _question_marks)


def readable(text: bytes) -> bytes:
    """The text as tokenizers read it: each byte that is part of no well-formed UTF-8 sequence becomes `?`.

    llama.cpp aborts on some of these, and makes three tokens of others.
    """
    return text.decode("utf-8", "didyma-question-marks").encode()


def check_length(text: bytes) -> None:
    """Raises PromptTooLong for a text that no tokenizer is given."""
    if len(text) > MAX_TEXT_BYTES:
        raise PromptTooLong(f"a text of {len(text)} bytes; tokenizers take {MAX_TEXT_BYTES}")


def markers(header: Gguf, manifest: Manifest) -> tuple[bytes, ...]:
    """The texts of user-defined tokens that a prompt must not be able to make: those that divide a conversation.

    Control tokens never come of a prompt's text. Some files give the type "user-defined", whose text does become the
    token, to what their wrapper is made of; whoever asks could then end the question and answer it. A marker looks
    like one, or is part of the manifest's wrapper or one of its stop tokens. Other user-defined tokens, runs of spaces
    among them, are text.
    """
    types = header.metadata.get("tokenizer.ggml.token_type", [])
    named = {*manifest.prefix_tokens, *manifest.suffix_tokens, *manifest.stop_tokens}
    found = []
    for token, (text, kind) in enumerate(zip(header.vocabulary, types, strict=False)):
        if kind != USER_DEFINED:
            continue
        spelled = text.decode("utf-8", "replace")
        if MARKER.fullmatch(spelled) or (token in named and spelled.replace("▁", " ").strip()):
            found.append(text)
    return tuple(found)


def cut_markers(text: bytes, marked: Sequence[bytes]) -> list[bytes]:
    """The text in pieces, cut within each marker after its first character, so that no piece holds one.

    Tokenized one by one the pieces spell the text, and no token of them is a marker.
    """
    cuts = set()
    for marker in marked:
        first = len(marker.decode("utf-8", "ignore")[:1].encode())
        at = text.find(marker) if first < len(marker) else -1
        while at >= 0:
            cuts.add(at + first)
            at = text.find(marker, at + 1)
    bounds = [0, *sorted(cuts), len(text)]
    return [text[a:b] for a, b in pairwise(bounds)]


def check_room(text: bytes, manifest: Manifest, longest_piece: int) -> None:
    """Raises PromptTooLong for a text that no tokens could spell within the context. longest_piece: bytes of one."""
    if len(text) > manifest.context_length * longest_piece:
        raise PromptTooLong(f"{len(text)} bytes cannot fit a context of {manifest.context_length} tokens")


def longest_prompt(manifest: Manifest, *, takes_text: bool = True) -> int:
    """Bytes up to which every prompt leaves room for an answer: a token a byte, where the space that some vocabularies
    put before a text takes the place of the byte of its kind. `Prompts` in Solidity refuses services that take more.

    takes_text: whether texts are read (docs/text.md), as they always are where a panel judges; else prompts are ids.
    """
    room = manifest.context_length - 1 - manifest.wrapper_tokens
    return room if takes_text else 1 + room * ID_BYTES + ID_BYTES - 1


def check_stops(stop_tokens: Sequence[int]) -> None:
    """Raises BadModelFile for more stop tokens than the referee compares with an answer's in one transaction."""
    if len(stop_tokens) > MOST_STOPS:
        raise BadModelFile(f"the manifest names {len(stop_tokens)} stop tokens, more than {MOST_STOPS}")


def check_manifest(manifest: Manifest, pieces: Sequence[bytes], trained_context: int) -> None:
    """Raises BadModelFile where a manifest names tokens or a context that its file lacks, or too many stop tokens, or
    where tokens are too long.

    pieces: what each of the file's tokens spells.
    """
    named = {
        "wrapper": (*manifest.prefix_tokens, *manifest.suffix_tokens),
        "stop": manifest.stop_tokens,
        "replacement": (manifest.replacement_token,),
    }
    for what, tokens in named.items():
        if tokens and max(tokens) >= len(pieces):
            raise BadModelFile(f"the manifest's {what} names token {max(tokens)}, the file has {len(pieces)}")
    check_stops(manifest.stop_tokens)
    if manifest.context_length > trained_context:
        raise BadModelFile(
            f"the manifest's context of {manifest.context_length} tokens is longer than the model's {trained_context}"
        )
    longest = max(map(len, pieces))
    if longest > MAX_PIECE_BYTES:
        raise BadModelFile(f"a token of the file spells {longest} bytes, more than {MAX_PIECE_BYTES}")


def check_vocabulary(header: Gguf) -> None:
    """Raises BadModelFile for vocabularies in which a readable text may be more than a token a byte and one."""
    kind, texts = header.metadata.get("tokenizer.ggml.model"), set(header.vocabulary)
    if kind == "gpt2":  # a token spells one byte or more
        return
    if kind != "llama":
        raise BadModelFile(f"how many tokens a text can be is not known of vocabularies of kind {kind!r}")
    if SPACE_MARK not in texts:
        raise BadModelFile("no token spells a space, which would be three tokens")
    unspelled = [byte for byte in range(256) if not texts & {b"<0x%02X>" % byte, bytes([byte])}]
    if unspelled:
        raise BadModelFile(f"no token spells the byte {unspelled[0]}")
    types = header.metadata.get("tokenizer.ggml.token_type", [])
    short = (text for text, type_ in zip(header.vocabulary, types, strict=False) if type_ == USER_DEFINED)
    if header.metadata.get("tokenizer.ggml.add_space_prefix", True) and any(len(text) == 1 for text in short):
        raise BadModelFile("a space is put after each one-byte token that stands for itself: two tokens a byte")
