"""The strict reader of GGUF headers: bad files of every kind, and that nothing else ever escapes it."""

import random
import struct
import tracemalloc

import gguf
import pytest
from rig import tiny_gguf

from oracle.errors import BadModelFile
from oracle.models.gguf import BLOCKS, TYPE_NAMES, Unread, read

U32, I32, F32, BOOL, STRING, ARRAY, U64 = 4, 5, 6, 7, 8, 9, 10


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def array(kind, *values):
    return struct.pack("<IQ", kind, len(values)) + b"".join(values)


def key(name, kind, raw):
    return text(name) + struct.pack("<I", kind) + raw


def u32(value):
    return struct.pack("<I", value)


TOKENS = key("tokenizer.ggml.tokens", ARRAY, array(STRING, text("a"), text("b")))
KEYS = {
    "general.architecture": key("general.architecture", STRING, text("llama")),
    "block_count": key("llama.block_count", U32, u32(1)),
    "context_length": key("llama.context_length", U32, u32(64)),
    "embedding_length": key("llama.embedding_length", U32, u32(32)),
    "tokens": TOKENS,
}
F32_TYPE, Q8_0 = 0, 8
TENSORS = [("one", (32, 2), F32_TYPE, 0), ("two", (32, 3), Q8_0, 256)]  # 256 and 102 bytes


def build(keys=None, *, tensors=TENSORS, end=None, version=3, tensor_count=None, key_count=None):
    """A file from its parts; `end` cuts or fills the data."""
    keys = list(KEYS.values()) if keys is None else keys
    counts = struct.pack("<QQ", tensor_count or len(tensors), key_count or len(keys))
    header = b"GGUF" + u32(version) + counts + b"".join(keys)
    for name, shape, kind, offset in tensors:
        header += text(name) + u32(len(shape)) + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)
    header += bytes(-len(header) % 32)
    return header + (b"\x01" * 358 if end is None else end)


def with_key(name, raw):
    """The usual keys with one put in another's place, or added."""
    return list((KEYS | {name: raw}).values())


def without_key(name):
    return [raw for each, raw in KEYS.items() if each != name]


def of_vocabulary(name, kind, *values):
    """A file with an array more."""
    return build(with_key("more", key(f"tokenizer.ggml.{name}", ARRAY, array(kind, *values))))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


BAD_FILES = {
    "empty": b"",
    "three bytes": b"GGU",
    "a web page": b"<!doctype html>",
    "big-endian": build(version=0x03000000),
    "version 1": build(version=1),
    "version 4": build(version=4),
    "no tensor": build(tensors=[]),
    "too many tensors": build(tensor_count=1 << 40),
    "too many keys": build(key_count=1 << 40),
    "one key more than there are": build(key_count=6),
    "a key twice": build(with_key("again", KEYS["block_count"])),
    "an empty key": build(with_key("x", key("", U32, u32(1)))),
    "a long key": build(with_key("x", key("x" * 257, U32, u32(1)))),
    "a key that is not ASCII": build(with_key("x", key("é", U32, u32(1)))),
    "a key with a newline": build(with_key("x", key("a\nb", U32, u32(1)))),
    "an unknown value type": build(with_key("x", key("x", 13, u32(1)))),
    "a boolean of 2": build(with_key("x", key("x", BOOL, b"\x02"))),
    "a boolean of 2 in an array": build(with_key("x", key("x", ARRAY, array(BOOL, b"\x01", b"\x02")))),
    "a text longer than the file": build(with_key("x", key("x", STRING, struct.pack("<Q", 1 << 62)))),
    "a text that is not UTF-8": build(with_key("x", key("x", STRING, text(b"\xff")))),
    "an array in an array": build(with_key("x", key("x", ARRAY, array(ARRAY, array(U32))))),
    "an array longer than the file": build(with_key("x", key("x", ARRAY, struct.pack("<IQ", U32, 1 << 20)))),
    "an array of too many texts": build(with_key("x", key("x", ARRAY, struct.pack("<IQ", STRING, 1 << 20)))),
    "an array of 2^62 values": build(with_key("x", key("x", ARRAY, struct.pack("<IQ", U64, 1 << 62)))),
    "an alignment of 0": build(with_key("a", key("general.alignment", U32, u32(0)))),
    "an alignment of 48": build(with_key("a", key("general.alignment", U32, u32(48)))),
    "an alignment that is a text": build(with_key("a", key("general.alignment", STRING, text("32")))),
    "no architecture": build(without_key("general.architecture")),
    "an architecture that is a number": build([key("general.architecture", U32, u32(1)), TOKENS]),
    "no context length": build(without_key("context_length")),
    "a context that is a text": build(with_key("context_length", key("llama.context_length", STRING, text("64")))),
    "a context length that is an array": build(
        with_key("context_length", key("llama.context_length", ARRAY, array(U32, u32(64))))
    ),
    "513 layers": build(with_key("block_count", key("llama.block_count", U32, u32(513)))),
    "minus one layers": build(with_key("block_count", key("llama.block_count", I32, struct.pack("<i", -1)))),
    "no vocabulary": build(without_key("tokens")),
    "an empty vocabulary": build(with_key("tokens", key("tokenizer.ggml.tokens", ARRAY, array(STRING)))),
    "a token twice": build(
        with_key("tokens", key("tokenizer.ggml.tokens", ARRAY, array(STRING, text("a"), text("a"))))
    ),
    "a token called as an empty one": build(
        with_key("tokens", key("tokenizer.ggml.tokens", ARRAY, array(STRING, text("[EMPTY_1]"), text(""))))
    ),
    "a vocabulary of numbers": build(with_key("tokens", key("tokenizer.ggml.tokens", ARRAY, array(U32, u32(1))))),
    "a score too many": of_vocabulary("scores", F32, *[bytes(4)] * 3),
    "token types that are a number": build(with_key("s", key("tokenizer.ggml.token_type", U32, u32(2)))),
    "scores that are whole numbers": of_vocabulary("scores", I32, u32(1), u32(2)),
    "scores of eight bytes": of_vocabulary("scores", 12, bytes(8), bytes(8)),
    "scores that are texts": of_vocabulary("scores", STRING, text(""), text("")),
    "token types of a byte each": of_vocabulary("token_type", 0, b"\1", b"\1"),
    "token types that are floats": of_vocabulary("token_type", F32, *[u32(1)] * 2),
    "merges that are numbers": of_vocabulary("merges", U32, u32(1)),
    "scores of a type that is none": of_vocabulary("scores", 99, u32(1), u32(2)),
    "a space before texts that is a number": build(with_key("p", key("tokenizer.ggml.add_space_prefix", U32, u32(0)))),
    "a space before texts that is a text": build(
        with_key("p", key("tokenizer.ggml.add_space_prefix", STRING, text("no")))
    ),
    "an end token outside the vocabulary": build(with_key("e", key("tokenizer.ggml.eos_token_id", U32, u32(2)))),
    "a start token below 0": build(
        with_key("e", key("tokenizer.ggml.bos_token_id", I32, struct.pack("<i", -1)))
    ),
    "a tensor twice": build(tensors=[TENSORS[0], ("one", (32, 3), Q8_0, 256)]),
    "a tensor without a name": build(tensors=[("", (32, 2), F32_TYPE, 0), TENSORS[1]]),
    "a tensor's name of 64 bytes": build(tensors=[("x" * 64, (32, 2), F32_TYPE, 0), TENSORS[1]]),
    "no dimension": build(tensors=[("one", (), F32_TYPE, 0)]),
    "five dimensions": build(tensors=[("one", (1,) * 5, F32_TYPE, 0)]),
    "a dimension of 0": build(tensors=[("one", (32, 0), F32_TYPE, 0)]),
    "dimensions that overflow": build(tensors=[("one", (1 << 32, 1 << 32), F32_TYPE, 0), TENSORS[1]]),
    "a row that is no whole block": build(tensors=[TENSORS[0], ("two", (33, 3), Q8_0, 256)]),
    "a tensor type that is gone": build(tensors=[("one", (32, 2), 4, 0)]),
    "a tensor type of the future": build(tensors=[("one", (32, 2), 99, 0)]),
    "tensors that overlap": build(tensors=[TENSORS[0], ("two", (32, 3), Q8_0, 224)]),
    "tensors with a gap": build(tensors=[TENSORS[0], ("two", (32, 3), Q8_0, 288)]),
    "a tensor off its alignment": build(tensors=[TENSORS[0], ("two", (32, 3), Q8_0, 257)]),
    "tensors out of order": build(tensors=[TENSORS[1], TENSORS[0]]),
    "an offset of 2^63": build(tensors=[TENSORS[0], ("two", (32, 3), Q8_0, 1 << 63)]),
    "data cut by a byte": build(end=b"\x01" * 357),
    "a byte after the data": build(end=b"\x01" * 358 + b"\x00"),
    "something hidden in the padding": build(end=b"\x01" * 359 + bytes(25)),
    "a page after the data": build(end=b"\x01" * 358 + bytes(4096)),
}  # fmt: skip


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES)
def test_read__bad_file__bad_model_file(path, data):
    path.write_bytes(data)
    with pytest.raises(BadModelFile):
        read(path)


NAMED = {
    "a boolean of 2": "^x: ",
    "a text that is not UTF-8": "^x: ",
    "an array in an array": "^x: ",
    "an unknown value type": "^x: ",
    "a context that is a text": "llama.context_length is '64', no integer",
    "a context length that is an array": "llama.context_length is an array of 1, no integer",
    "no context length": "the file has no llama.context_length",
    "minus one layers": "block_count is -1",
    "a token twice": "tokens 0 and 1 have the same text, b'a'",
    "a token called as an empty one": "tokens 0 and 1 have the same text",
    "scores that are whole numbers": "^tokenizer.ggml.scores: an array of int32 instead of float32",
    "scores of a type that is none": "^tokenizer.ggml.scores: an array of type 99 instead of float32",
    "token types of a byte each": "^tokenizer.ggml.token_type: an array of uint8 instead of uint32",
    "merges that are numbers": "^tokenizer.ggml.merges: an array of uint32 instead of string",
    "a space before texts that is a number": "^tokenizer.ggml.add_space_prefix is 0, neither",
}


@pytest.mark.parametrize(("name", "reason"), NAMED.items(), ids=NAMED)
def test_read__bad_value__is_refused_by_the_key_s_name(path, name, reason):
    path.write_bytes(BAD_FILES[name])
    with pytest.raises(BadModelFile, match=reason):
        read(path)


@pytest.mark.parametrize("kind", [U32, I32])
def test_read__scores_and_token_types_of_the_types_that_writers_use__are_read(path, kind):
    scores = key("tokenizer.ggml.scores", ARRAY, array(F32, *[struct.pack("<f", 0.5)] * 2))
    types = key("tokenizer.ggml.token_type", ARRAY, array(kind, u32(1), u32(3)))
    path.write_bytes(build([*KEYS.values(), scores, types]))
    metadata = read(path).metadata
    assert metadata["tokenizer.ggml.scores"] == [0.5, 0.5]
    assert metadata["tokenizer.ggml.token_type"] == [1, 3]


@pytest.mark.parametrize("make", ["absent", "folder"])
def test_read__no_file__bad_model_file(path, make):
    if make == "folder":
        path.mkdir()
    with pytest.raises(BadModelFile):
        read(path)


@pytest.mark.parametrize("end", [b"\x01" * 358, b"\x01" * 358 + bytes(26)], ids=["bare", "padded"])
def test_read__good_file__all_of_it(path, end):
    path.write_bytes(build(with_key("f", key("flag", BOOL, b"\x01")), end=end))
    header = read(path)
    assert (header.architecture, header.number("context_length"), header.vocabulary) == ("llama", 64, [b"a", b"b"])
    assert header.metadata["flag"] is True
    one, two = header.tensors.values()
    assert (one.name, one.shape, one.size, two.start - one.start, two.size) == ("one", (32, 2), 256, 256, 102)


def test_read__file_of_another_writer__same_places_as_its_own_reader_finds(path):
    tiny_gguf.write(path)
    tensors = read(path).tensors
    for theirs in gguf.GGUFReader(str(path)).tensors:
        ours = tensors[theirs.name]
        assert (ours.start, ours.size, ours.type) == (theirs.data_offset, theirs.n_bytes, theirs.tensor_type)
        assert ours.shape == tuple(theirs.shape)


def test_blocks__every_type__as_the_public_package_has_it():
    for kind, sizes in BLOCKS.items():
        assert gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)] == sizes


def test_blocks__every_type__is_called_as_the_public_package_calls_it():
    assert {kind: gguf.GGMLQuantizationType(kind).name for kind in BLOCKS} == TYPE_NAMES


def test_read__no_such_token__is_as_if_the_key_were_absent(path):
    """What llama2.c's converter writes for a separator and padding."""
    absent = key("tokenizer.ggml.padding_token_id", U32, u32(0xFFFFFFFF))
    start = key("tokenizer.ggml.bos_token_id", U32, u32(1))
    path.write_bytes(build([*KEYS.values(), absent, start]))
    metadata = read(path).metadata
    assert "tokenizer.ggml.padding_token_id" not in metadata
    assert metadata["tokenizer.ggml.bos_token_id"] == 1
    path.write_bytes(build([*KEYS.values(), absent, absent]))
    with pytest.raises(BadModelFile, match="twice"):
        read(path)


def test_read__arrays_that_nobody_reads__take_no_memory(path):
    """24 MiB of them, as lists some 400 MiB."""
    numbers = struct.pack("<IQ", U64, 1 << 20) + bytes(8 << 20)
    texts = struct.pack("<IQ", STRING, 1 << 20) + bytes(8 << 20)
    flags = struct.pack("<IQ", BOOL, 1 << 20) + bytes(1 << 20)
    arrays = {"a.numbers": numbers, "a.texts": texts, "a.flags": flags, "a.more": numbers}
    path.write_bytes(build([*KEYS.values(), *(key(name, ARRAY, raw) for name, raw in arrays.items())]))
    tracemalloc.start()
    metadata = read(path).metadata
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert metadata["a.texts"] == Unread(1 << 20)
    assert repr(metadata["a.numbers"]) == "an array of 1048576"
    assert peak < 2 << 20
    short = struct.pack("<IQ", STRING, 1) + struct.pack("<Q", 1 << 40)
    path.write_bytes(build([*KEYS.values(), key("a.texts", ARRAY, short)]))
    with pytest.raises(BadModelFile, match="ends in the middle"):
        read(path)


def test_read__mutated_headers__accepted_or_bad_model_file_and_never_anything_else(path):
    tiny_gguf.write(path)
    whole = path.read_bytes()
    header_bytes = min(tensor.start for tensor in read(path).tensors.values())
    rng = random.Random(1)
    refused = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(header_bytes)
            match rng.randrange(3):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    data[at : at + 8] = rng.choice([b"\xff" * 8, bytes(8), struct.pack("<Q", 1 << 63)])
                case _:
                    del data[at : at + rng.randrange(1, 40)]
        path.write_bytes(data)
        try:
            read(path)
        except BadModelFile:
            refused += 1
    assert refused > 200
