"""From bytes to token ids and back, as the GGUF's vocabulary says and llama.cpp does it.

Two kinds: SentencePiece vocabularies with scores ("llama") and byte-level BPE with ranked merges ("gpt2"). Text that
spells a control token stays text: control tokens never come out of `encode`. User-defined tokens do, wherever their
text occurs. The tokenizer knows nothing of wrappers, beginnings and ends; those are the manifest's.
"""

import heapq
import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from oracle.engines.exact.cutter import CUTTERS, WHOLE_WORDS
from oracle.engines.prompts import MAX_PIECE_BYTES, SPACE_MARK, check_length, cut_markers, markers, readable
from oracle.errors import BadModelFile
from oracle.merkle.tokens import prompt_bytes
from oracle.models.gguf import Gguf, read
from oracle.models.manifest import Manifest

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # tokenizer.ggml.token_type

# llama.cpp takes these for control tokens whatever type the file gives them.
ENDS = """<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s>
<|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response>
<｜end▁of▁sentence｜> [e~["""
FILLS = {
    "fim_pre": "<|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>",
    "fim_suf": "<|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>",
    "fim_mid": "<|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> <|middle|>",
    "fim_pad": "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]",
    "fim_rep": "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>",
    "fim_sep": "<|file_sep|>",
}  # unless the file names another token under tokenizer.ggml.<key>_token_id
UNREAD_NAMES = ("phi-3", "phi3")  # models so named have tokens that swallow spaces
BYTE_TEXT = re.compile(rb"<0x([0-9A-Fa-f]{2})>")
LAST_CODE_POINT = 0x10FFFF
UNREAD_TOKENS = (b"<|channel|>", b"<|message|>", b"<|start|>", b"<|constrain|>")  # of a family that is not served


class _Merger(Protocol):
    def encode(self, text: bytes, after_special: bool) -> Iterator[int]:
        """text: not empty. after_special: whether it stands at the beginning or after a user-defined token."""


class Tokenizer:
    """One file's vocabulary."""

    def __init__(self, header: Gguf, *, of_any_family: bool = False) -> None:
        """of_any_family: also where llama.cpp treats some special tokens in a way of the family's own.

        Raises BadModelFile for vocabularies that are not read.
        """
        model = _kind(header)
        name = str(header.metadata.get("general.name", "")).lower()
        if not of_any_family and any(part in name for part in UNREAD_NAMES):
            raise BadModelFile(f"the tokenizer of {name!r} is not read")
        texts = header.texts
        self.types = types = _types(header, texts)
        """Each token's type, corrected as llama.cpp does."""
        ids = {text: token for token, text in enumerate(texts)}
        if not of_any_family and any(text in ids for text in UNREAD_TOKENS):
            raise BadModelFile("a vocabulary of a family that is not read")
        spelling = {text: token for text, token in ids.items() if types[token] not in (CONTROL, UNKNOWN)}
        self._defined = sorted(
            ((texts[token], token) for token, kind in enumerate(types) if kind == USER_DEFINED),
            key=lambda entry: -len(entry[0]),
        )
        self._merger: _Merger = _SentencePiece(header, spelling) if model == "llama" else _BytePairs(header, spelling)
        self.prefix = b" " if model == "llama" and header.metadata.get("tokenizer.ggml.add_space_prefix", True) else b""
        """What is put before every text."""
        self.pieces = token_pieces(header)
        """What each token spells; control tokens spell nothing."""

    def encode(self, text: bytes, marked: Sequence[bytes] = (), *, goes_on: bool = False) -> list[int]:
        """Of any bytes, as `readable` has them. marked: `prompts.markers`, whose text stays text.
        goes_on: whether other text stands before it, so that nothing is put between.

        Raises PromptTooLong.
        """
        check_length(text)
        result: list[int] = []
        after_special = not goes_on
        for piece in cut_markers(readable(text), marked):
            for part in self._parts(piece):
                if isinstance(part, int):
                    result.append(part)
                else:
                    result.extend(self._merger.encode(part, after_special))
                after_special = isinstance(part, int)
        return result

    def _parts(self, text: bytes) -> list[bytes | int]:
        """The text cut at user-defined tokens, the longest tokens first."""
        parts: list[bytes | int] = [text] if text else []
        for spelled, token in self._defined:
            if spelled in text:
                parts = [piece for part in parts for piece in _split(part, spelled, token)]
        return parts


def token_pieces(header: Gguf) -> list[bytes]:
    """What each token spells, also of vocabularies whose texts are not cut here. Raises BadModelFile."""
    decode = _plain_piece if _kind(header) == "llama" else _byte_level_piece
    texts = header.texts
    pieces = []
    for token, (text, kind) in enumerate(zip(texts, _types(header, texts), strict=True)):
        piece = decode(text, kind)
        if len(piece) > MAX_PIECE_BYTES:
            raise BadModelFile(f"token {token} of the file spells more than {MAX_PIECE_BYTES} bytes")
        pieces.append(piece)
    return pieces


def _kind(header: Gguf) -> str:
    """Raises BadModelFile."""
    model = header.metadata.get("tokenizer.ggml.model")
    if model not in ("llama", "gpt2"):
        raise BadModelFile(f"tokenizers of kind {model!r} are not read (llama and gpt2 are)")
    return str(model)


def _split(part: bytes | int, spelled: bytes, token: int) -> list[bytes | int]:
    if isinstance(part, int):
        return [part]
    between: list[bytes | int] = []
    for piece in part.split(spelled):
        between += [piece, token]
    return [piece for piece in between[:-1] if piece != b""]


def _types(header: Gguf, texts: Sequence[bytes]) -> list[int]:
    """Each token's type, corrected as llama.cpp does."""
    types = list(header.metadata.get("tokenizer.ggml.token_type", [NORMAL] * len(texts)))
    absent = [names for key, names in FILLS.items() if f"tokenizer.ggml.{key}_token_id" not in header.metadata]
    control = {name.encode() for name in " ".join([ENDS, *absent]).split()}
    return [CONTROL if text in control else kind for text, kind in zip(texts, types, strict=True)]


def _plain_piece(text: bytes, kind: int) -> bytes:
    if kind == BYTE:
        return bytes([_byte_of(text)])
    if kind == USER_DEFINED:
        return text
    return text.replace(SPACE_MARK, b" ") if kind == NORMAL else b""


def _byte_of(text: bytes) -> int:
    found = BYTE_TEXT.fullmatch(text)
    if found is None:
        raise BadModelFile(f"a byte token is called {text[:MAX_PIECE_BYTES]!r}")
    return int(found[1], 16)


class _SentencePiece:
    """Merges the pair of neighbours whose union has the highest score, the leftmost on a tie, until none is a token."""

    def __init__(self, header: Gguf, ids: dict[bytes, int]) -> None:
        self._ids = ids
        self._scores = header.metadata.get("tokenizer.ggml.scores", [0.0] * len(header.vocabulary))
        if any(math.isnan(score) for score in self._scores):
            raise BadModelFile("a score is not a number")
        prefix = header.metadata.get("tokenizer.ggml.add_space_prefix", True)
        self._prefix = b" " if prefix else b""
        self._bytes = [ids.get(b"<0x%02X>" % byte, ids.get(bytes([byte]))) for byte in range(256)]
        if None in self._bytes:
            raise BadModelFile(f"no token spells the byte {self._bytes.index(None)}")

    def encode(self, text: bytes, after_special: bool) -> Iterator[int]:
        text = ((self._prefix if after_special else b"") + text).replace(b" ", SPACE_MARK)

        def priority(left: bytes, right: bytes) -> float | None:
            token = self._ids.get(left + right)
            return None if token is None else -self._scores[token]

        symbols, _ = merged(list(_characters(text)), priority)
        for symbol in symbols:
            token = self._ids.get(symbol)
            if token is not None:
                yield token
            else:
                yield from (self._bytes[byte] or 0 for byte in symbol)


def merge_ranks(header: Gguf) -> dict[tuple[bytes, bytes], int]:
    """When two neighbours merge in a byte-level vocabulary, the lowest first. Raises BadModelFile."""
    merges = header.metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not all(isinstance(merge, bytes) for merge in merges):
        raise BadModelFile("the file has no merges")
    ranks: dict[tuple[bytes, bytes], int] = {}
    for rank, merge in enumerate(merges):
        space = merge.find(b" ", 1)
        pair = (merge[:space], merge[space + 1 :]) if space > 0 else (b"", b"")
        ranks.setdefault(pair, rank)
    return ranks


class _BytePairs:
    """Within each piece that a cutter makes, merges the neighbours of the lowest rank, the leftmost on a tie."""

    def __init__(self, header: Gguf, ids: dict[bytes, int]) -> None:
        name = header.metadata.get("tokenizer.ggml.pre", "default")
        if name not in CUTTERS:
            raise BadModelFile(f"texts cut as {name!r} are not read ({', '.join(CUTTERS)} are)")
        self._cut, self._whole, self._ids = CUTTERS[name], name in WHOLE_WORDS, ids
        self._ranks = merge_ranks(header)

    def encode(self, text: bytes, after_special: bool) -> Iterator[int]:
        codes = code_points(text)
        at = 0
        for length in self._cut(codes):
            spelled = "".join(map(chr, codes[at : at + length])).encode("utf-8", "surrogatepass")
            at += length
            for symbol in self._symbols([BYTE_LETTERS[byte] for byte in spelled]):
                token = self._ids.get(symbol)
                if token is not None:
                    yield token
                else:
                    letters = (bytes([byte]) for byte in symbol)
                    yield from (self._ids[letter] for letter in letters if letter in self._ids)

    def _symbols(self, letters: list[bytes]) -> list[bytes]:
        word = b"".join(letters)
        if self._whole and word in self._ids:
            return [word]
        symbols, _ = merged(letters, lambda left, right: self._ranks.get((left, right)))
        return symbols


Priority = Callable[[bytes, bytes], float | None]
"""How early two neighbours merge, the least first; None if they do not."""
Merge = tuple[bytes, bytes, float]
"""What was on the left, what on the right, and how early they merged."""


def merged(texts: list[bytes], priority: Priority) -> tuple[list[bytes], Merge | None]:
    """What is left of a row of texts when no two neighbours merge any more, and the last merge. Changes `texts`."""
    symbols, last = _Symbols(texts), None
    queue: list[tuple[float, int, int, int]] = []  # (priority, left, right, length of the union)

    def offer(left: int, right: int) -> None:
        if left >= 0 and right >= 0:
            pair = symbols.texts[left], symbols.texts[right]
            early = priority(*pair)
            if early is not None:
                heapq.heappush(queue, (early, left, right, len(pair[0]) + len(pair[1])))

    for left in range(len(texts) - 1):
        offer(left, left + 1)
    while queue:
        early, left, right, length = heapq.heappop(queue)
        a, b = symbols.texts[left], symbols.texts[right]
        if a and b and len(a) + len(b) == length:
            symbols.merge(left, right)
            last = a, b, early
            offer(symbols.before[left], left)
            offer(left, symbols.after[left])
    return [symbol for symbol in symbols.texts if symbol], last


class _Symbols:
    """A row of texts of which neighbours merge; a merged one is empty. -1: no neighbour."""

    def __init__(self, texts: list[bytes]) -> None:
        count = len(texts)
        self.texts = texts
        self.before = list(range(-1, count - 1))
        self.after = [*range(1, count), -1]

    def merge(self, left: int, right: int) -> None:
        self.texts[left] += self.texts[right]
        self.texts[right] = b""
        self.after[left] = self.after[right]
        if self.after[right] >= 0:
            self.before[self.after[right]] = left


def _characters(text: bytes) -> Iterator[bytes]:
    """Cut by what each first byte says of its character's length, right or wrong."""
    at = 0
    while at < len(text):
        length = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4)[text[at] >> 4]
        yield text[at : at + length]
        at += length


def code_points(text: bytes) -> list[int]:
    """UTF-8 decoded leniently, byte by byte: a byte that starts no character becomes U+FFFD."""
    result, at = [], 0
    while at < len(text):
        code, length = _code_point(text, at)
        result.append(code)
        at += length
    return result


def _code_point(text: bytes, at: int) -> tuple[int, int]:
    """A code point and its length. Continuation bytes are checked, overlong forms and surrogates are not."""
    first = text[at]
    if first < 0x80:
        return first, 1
    for length, lead, bits in ((2, 0xC0, 0x1F), (3, 0xE0, 0x0F), (4, 0xF0, 0x07)):
        rest = text[at + 1 : at + length]
        if first & ~bits & 0xFF == lead and len(rest) == length - 1 and all(byte & 0xC0 == 0x80 for byte in rest):
            code = first & bits
            for byte in rest:
                code = code << 6 | byte & 0x3F
            return code, length
    return 0xFFFD, 1


def _byte_letters() -> list[bytes]:
    """The letter that stands for each byte in byte-level vocabularies: itself where printable, else from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = itertools.count(0x100)
    return [chr(byte if byte in printable else next(spare)).encode() for byte in range(256)]


BYTE_LETTERS = _byte_letters()
_BYTES = {letter: byte for byte, letter in enumerate(BYTE_LETTERS)}


def _byte_level_piece(text: bytes, kind: int) -> bytes:
    if kind == USER_DEFINED:
        return text
    if kind != NORMAL:
        return b""
    result = b""
    for code in code_points(text):
        if len(result) > MAX_PIECE_BYTES:  # a letter that stands for no byte brings the whole text again
            break
        if code > LAST_CODE_POINT:
            raise BadModelFile(f"a token's text has the character {code:#x}, which there is not")
        letter = chr(code).encode("utf-8", "surrogatepass")
        byte = _BYTES.get(letter)
        result += bytes([byte]) if byte is not None else b"[UNK_BYTE_0x" + letter.hex().encode() + text + b"]"
    return result


def tokenized(path: Path, text: bytes, manifest: Manifest) -> bytes:
    """A text as a prompt of token ids, by the model file's own tokenizer; what divides conversations stays text.

    Raises BadModelFile, PromptTooLong.
    """
    header = read(path)
    return prompt_bytes(Tokenizer(header).encode(text, markers(header, manifest)))
