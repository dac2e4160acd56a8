"""A strict reader of GGUF headers: what it accepts has one meaning, and it accepts nothing else.

It runs before llama.cpp sees a file. Lenient readers have let crafted files overflow heaps, and two readers that make
different sense of one file would make honest nodes disagree. So names are unique, numbers are bounded, tensors lie one
after the other without gaps but for alignment, and the file ends where the last one does. Every fault is BadModelFile.
Weights themselves are not looked at. The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oracle.errors import BadModelFile

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 4096
MAX_TENSORS = 1 << 16
MAX_KEY_BYTES = 256
MAX_TENSOR_NAME_BYTES = 63  # llama.cpp's buffer holds 64
MAX_DIMENSIONS = 4
MAX_BLOCKS = 512  # layers; llama.cpp's arrays end there
MAX_VOCABULARY = 1 << 20
MAX_ARRAY = 1 << 22  # merges are some three times the vocabulary
NO_TOKEN = 0xFFFFFFFF  # in place of a token id: there is no such token
DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 12

# Value types 0 to 12, in the order of the format; 8 is a string, 9 an array.
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
BOOL, STRING, ARRAY = 7, 8, 9
VALUE_TYPES = [
    "uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64", "int64",
    "float64",
]  # fmt: skip
READ_ARRAYS = {
    "tokenizer.ggml.tokens": (STRING,),
    "tokenizer.ggml.scores": (6,),
    "tokenizer.ggml.token_type": (4, 5),
    "tokenizer.ggml.merges": (STRING,),
}
"""Of what values; llama.cpp reads these without asking. All other arrays are passed over, so that memory goes with what
somebody reads."""
FLAGS = ("tokenizer.ggml.add_space_prefix",)
"""Keys that somebody reads as true or false."""

# Tensor type -> (numbers in a block, bytes of a block); from ggml.h and ggml-common.h, those that occur in files.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82),
    23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2),
    34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
TYPE_NAMES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0",
    10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
    16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S",
    23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip
"""Of the same types: what people call them."""


@dataclass(frozen=True)
class Unread:
    """An array that nobody reads: what it holds is not in memory."""

    count: int

    def __repr__(self) -> str:
        return f"an array of {self.count}"


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    """As in the file: the fastest dimension, the row's length, first."""
    type: int
    """A key of BLOCKS."""
    start: int
    """Position of its first byte in the file."""
    size: int
    """Bytes."""

    @property
    def type_name(self) -> str:
        return TYPE_NAMES[self.type]


@dataclass(frozen=True)
class Gguf:
    """A file's header."""

    metadata: dict[str, Any]
    """Integers, floats, booleans, texts; READ_ARRAYS as lists, of bytes where the format says string, other arrays as
    `Unread`. Token ids that say NO_TOKEN are left out."""
    tensors: dict[str, Tensor] = field(repr=False)

    @property
    def architecture(self) -> str:
        return str(self.metadata["general.architecture"])

    def number(self, name: str) -> int:
        """An architecture number, such as "block_count". Raises BadModelFile if there is none."""
        key = f"{self.architecture}.{name}"
        value = self.metadata.get(key)
        if type(value) is not int:
            raise BadModelFile(f"{key} is {value!r}, no integer" if key in self.metadata else f"the file has no {key}")
        return value

    @property
    def vocabulary(self) -> list[bytes]:
        tokens: list[bytes] = self.metadata["tokenizer.ggml.tokens"]
        return tokens

    @property
    def texts(self) -> list[bytes]:
        """The vocabulary, with llama.cpp's names for empty tokens."""
        return [text or b"[EMPTY_%d]" % token for token, text in enumerate(self.vocabulary)]


def read(path: Path) -> Gguf:
    """Reads and checks the header of a whole file. Raises BadModelFile."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            gguf = _parse(data)
    except (OSError, ValueError) as error:  # mmap of an empty file is a ValueError
        raise BadModelFile(f"{path.name} cannot be read: {error}") from error
    _check_meaning(gguf)
    return gguf


class _Cursor:
    """Reads forward, never past the end."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at, self.end = data, 0, len(data)

    def skip(self, count: int) -> None:
        if count > self.end - self.at:
            raise BadModelFile("the file ends in the middle of its header")
        self.at += count

    def take(self, count: int) -> bytes:
        self.skip(count)
        return self.data[self.at - count : self.at]

    def number(self, kind: str) -> Any:
        form = struct.Struct("<" + kind)
        return form.unpack(self.take(form.size))[0]

    def string(self) -> bytes:
        return self.take(self.number("Q"))

    def name(self, at_most: int) -> str:
        raw = self.string()
        if not 0 < len(raw) <= at_most or not raw.isascii() or not raw.decode().isprintable():
            raise BadModelFile(f"a name is empty, longer than {at_most} bytes or not printable ASCII")
        return raw.decode()

    def value(self, kind: int, wanted: Sequence[int]) -> Any:
        """wanted: of which types an array's values must be; none if they are not read."""
        if kind == STRING:
            return _text(self.string())
        if kind == ARRAY:
            return self.array(wanted)
        if kind not in SCALARS:
            raise BadModelFile(f"there is no value type {kind}")
        return _boolean(self.number("B")) if kind == BOOL else self.number(SCALARS[kind])

    def array(self, wanted: Sequence[int]) -> list[Any] | Unread:
        kind, count, whole = self.number("I"), self.number("Q"), bool(wanted)
        if count > MAX_ARRAY:
            raise BadModelFile(f"an array of {count} values")
        if whole and kind not in wanted:
            found = VALUE_TYPES[kind] if kind < len(VALUE_TYPES) else f"type {kind}"
            raise BadModelFile(f"an array of {found} instead of {VALUE_TYPES[wanted[0]]}")
        if kind == STRING:
            if count > (self.end - self.at) // 8:
                raise BadModelFile("an array is longer than the file")
            if whole:
                return [self.string() for _ in range(count)]
            for _ in range(count):
                self.skip(self.number("Q"))
            return Unread(count)
        if kind not in SCALARS:
            raise BadModelFile(f"an array holds values of type {kind}")
        form = SCALARS[kind]
        size = struct.calcsize("<" + form)
        if count > (self.end - self.at) // size:
            raise BadModelFile("an array is longer than the file")
        if not whole:
            if kind == BOOL:
                _boolean(max(self.take(count), default=0))
            else:
                self.skip(count * size)
            return Unread(count)
        numbers = struct.unpack(f"<{count}{form}", self.take(count * size))
        return [_boolean(number) for number in numbers] if kind == BOOL else list(numbers)


def _parse(data: mmap.mmap) -> Gguf:
    cursor = _Cursor(data)
    if cursor.take(4) != MAGIC:
        raise BadModelFile("not a GGUF file")
    version, tensor_count, key_count = cursor.number("I"), cursor.number("Q"), cursor.number("Q")
    if version not in VERSIONS:
        raise BadModelFile(f"GGUF version {version} is not read (little-endian versions 2 and 3 are)")
    if not 0 < tensor_count <= MAX_TENSORS or not 0 < key_count <= MAX_KEYS:
        raise BadModelFile(f"{tensor_count} tensors and {key_count} keys are none or too many")
    metadata: dict[str, Any] = {}
    keys: set[str] = set()
    for _ in range(key_count):
        key = cursor.name(MAX_KEY_BYTES)
        if key in keys:
            raise BadModelFile(f"the key {key} occurs twice")
        keys.add(key)
        try:
            value = cursor.value(cursor.number("I"), READ_ARRAYS.get(key, ()))
        except BadModelFile as error:
            raise BadModelFile(f"{key}: {error}") from error
        if not (value == NO_TOKEN and _names_token(key)):
            metadata[key] = value
    return Gguf(metadata, _tensors(cursor, tensor_count, _alignment(metadata)))


def _tensors(cursor: _Cursor, count: int, alignment: int) -> dict[str, Tensor]:
    listed = [_listed(cursor) for _ in range(count)]
    start = _aligned(cursor.at, alignment)
    tensors: dict[str, Tensor] = {}
    expected = 0
    for name, shape, kind, offset in listed:
        if name in tensors:
            raise BadModelFile(f"the tensor {name} occurs twice")
        if offset != expected:
            raise BadModelFile(f"{name} lies at {offset} instead of {expected}: an overlap, a gap or out of order")
        block, size = BLOCKS[kind]
        numbers = 1
        for length in shape:
            numbers *= length
        tensors[name] = Tensor(name, shape, kind, start + offset, numbers // block * size)
        expected = _aligned(offset + numbers // block * size, alignment)
    last = next(reversed(tensors.values()))
    end = last.start + last.size
    if cursor.end not in (end, start + expected):
        raise BadModelFile(f"the file has {cursor.end} bytes, its tensors end at {end}")
    if any(cursor.data[end : cursor.end]):
        raise BadModelFile("bytes follow the last tensor")
    return tensors


def _listed(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    """A tensor's name, shape, type and offset."""
    name, dimensions = cursor.name(MAX_TENSOR_NAME_BYTES), cursor.number("I")
    if not 0 < dimensions <= MAX_DIMENSIONS:
        raise BadModelFile(f"{name} has {dimensions} dimensions")
    shape = tuple(cursor.number("Q") for _ in range(dimensions))
    kind, offset = cursor.number("I"), cursor.number("Q")
    if kind not in BLOCKS:
        raise BadModelFile(f"{name} has the type {kind}, which no file should")
    block, size = BLOCKS[kind]
    room = cursor.end // size * block  # numbers that the file could hold
    for length in shape:
        if not 0 < length <= room:
            raise BadModelFile(f"{name} has a shape that no file of this size holds")
        room //= length
    if shape[0] % block:
        raise BadModelFile(f"{name} has rows of {shape[0]} numbers, no multiple of {block}")
    return name, shape, kind, offset


def _check_meaning(gguf: Gguf) -> None:
    """What every model that predicts text must say about itself."""
    if not isinstance(gguf.metadata.get("general.architecture"), str):
        raise BadModelFile("the file does not name its architecture")
    for name, most in (("block_count", MAX_BLOCKS), ("context_length", 1 << 31), ("embedding_length", 1 << 20)):
        if not 0 < gguf.number(name) <= most:
            raise BadModelFile(f"{name} is {gguf.number(name)}")
    tokens = gguf.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not 0 < len(tokens) <= MAX_VOCABULARY or type(tokens[0]) is not bytes:
        raise BadModelFile("the file has no vocabulary")
    _check_texts(gguf.texts)
    for name in ("scores", "token_type"):
        beside = gguf.metadata.get(f"tokenizer.ggml.{name}", tokens)
        if not isinstance(beside, list) or len(beside) != len(tokens):
            raise BadModelFile(f"tokenizer.ggml.{name} does not go with the vocabulary")
    parts = gguf.metadata.get("split.count", 1)
    if type(parts) is not int or parts > 1:
        raise BadModelFile(
            f"split.count is {parts!r}: a model in several files, and llama.cpp would read those beside this one; "
            "`llama-gguf-split --merge` makes one of them"
        )
    for key in FLAGS:
        if type(gguf.metadata.get(key, True)) is not bool:
            raise BadModelFile(f"{key} is {gguf.metadata[key]!r}, neither true nor false")
    for key, value in gguf.metadata.items():
        if _names_token(key) and not (type(value) is int and 0 <= value < len(tokens)):
            raise BadModelFile(f"{key} is {value!r}, not in the vocabulary")


def _check_texts(texts: Sequence[bytes]) -> None:
    """No text is two tokens': llama.cpp would abort."""
    last = {text: token for token, text in enumerate(texts)}
    if len(last) < len(texts):
        first = next(token for token, text in enumerate(texts) if last[text] != token)
        raise BadModelFile(f"tokens {first} and {last[texts[first]]} have the same text, {texts[first]!r}")


def _names_token(key: str) -> bool:
    return key.startswith("tokenizer.ggml.") and key.endswith("_token_id")


def _alignment(metadata: dict[str, Any]) -> int:
    alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 8 <= alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise BadModelFile(f"an alignment of {alignment!r}")
    return alignment


def _aligned(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment


def _boolean(number: int) -> bool:
    if number > 1:
        raise BadModelFile(f"a boolean is {number}")
    return bool(number)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise BadModelFile("a text is not UTF-8") from error
