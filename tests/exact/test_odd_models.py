"""Model files that are odd and still right: whatever order, types and places their parts have, the numbers are the
same. And files with a part that means something else: each is refused, and the reason names the part."""

import random
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exact.random_model import SHAPES, Shape, write

from oracle.disputes import exactness
from oracle.disputes.commitments import commit
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.weights import load
from oracle.errors import BadModelFile
from oracle.models.gguf import BOOL, READ_ARRAYS, SCALARS, STRING, read

F32, F16, BF16, ARRAY = 0, 1, 30, 9
FLOAT32, FLOAT64 = 6, 12
WHOLE = [kind for kind, form in SCALARS.items() if form not in "fd" and kind != BOOL]
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


@dataclass
class File:
    """A model file in parts."""

    metadata: dict[str, tuple[int, Any]]
    """Value types, and values: of an array the type of its values, and a list of these."""
    tensors: dict[str, tuple[tuple[int, ...], int, bytes]]
    """Shape, type, bytes."""
    alignment: int = 32
    version: int = 3
    order: list[str] = field(default_factory=list)
    """Of keys; empty for as they are."""

    @classmethod
    def of(cls, path: Path) -> "File":
        header, data = read(path), path.read_bytes()
        named = {name: typed(name, value) for name, value in header.metadata.items()}
        tensors = {
            tensor.name: (tensor.shape, tensor.type, data[tensor.start : tensor.start + tensor.size])
            for tensor in header.tensors.values()
        }
        return cls(named, tensors)

    def write(self, path: Path) -> Path:
        keys = self.order or list(self.metadata)
        head = b"GGUF" + struct.pack("<IQQ", self.version, len(self.tensors), len(keys))
        for key in keys:
            kind, value = self.metadata[key]
            head += text(key) + struct.pack("<I", kind) + encoded(kind, value)
        body = b""
        for name, (shape, kind, raw) in self.tensors.items():
            body += bytes(-len(body) % self.alignment)
            head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, len(body))
            body += raw
        path.write_bytes(head + bytes(-len(head) % self.alignment) + body)
        return path


def text(value: bytes | str) -> bytes:
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def typed(name: str, value: Any) -> tuple[int, Any]:
    if isinstance(value, list):
        return ARRAY, (READ_ARRAYS[name][-1], value)
    return {bool: BOOL, str: STRING, float: FLOAT32, int: 4}[type(value)], value


def encoded(kind: int, value: Any) -> bytes:
    if kind == ARRAY:
        of, values = value
        return struct.pack("<IQ", of, len(values)) + b"".join(encoded(of, each) for each in values)
    return text(value) if kind == STRING else struct.pack("<" + SCALARS[kind], value)


def fits(kind: int, value: int) -> bool:
    try:
        struct.pack("<" + SCALARS[kind], value)
    except struct.error:
        return False
    return True


def logits(path: Path) -> Any:
    model = CpuForward(load(path), 1)
    (found,) = model.run([Chunk(TOKENS, model.cache(len(TOKENS)), len(TOKENS))])
    return found, model.saturated


@pytest.fixture(scope="module", params=["llama-q4_0-factors", "llama-f16-odd", "llama-f32-odd", "qwen3-bf16", "qwen2"])
def plain(request, tmp_path_factory):
    """A file, and what it commits to and computes."""
    path = write(tmp_path_factory.mktemp("models") / "m.gguf", SHAPES[request.param])
    return path, commit(path), logits(path)


ODD = 6
"""Files in place of each."""


@pytest.mark.parametrize("seed", range(ODD))
def test_load__other_order_types_and_places__the_same_numbers_and_commitments(plain, tmp_path, seed):
    path, committed, (found, saturated) = plain
    rng, file = random.Random(seed), File.of(path)
    file.alignment, file.version = rng.choice((8, 16, 64, 1024, 4096)), rng.choice((2, 3))
    file.metadata["general.alignment"] = 4, file.alignment
    for key, (kind, value) in file.metadata.items():
        if kind in WHOLE:
            file.metadata[key] = rng.choice([other for other in WHOLE if fits(other, value)]), value
        elif kind == FLOAT32 and rng.random() < 0.5:
            file.metadata[key] = FLOAT64, value
    file.order = rng.sample(list(file.metadata), len(file.metadata))
    names = rng.sample(list(file.tensors), len(file.tensors))
    file.tensors = {name: file.tensors[name] for name in names}
    odd = file.write(tmp_path / "odd.gguf")
    again = commit(odd)
    assert (again.weights_root, again.architecture) == (committed.weights_root, committed.architecture)
    logits_again, saturated_again = logits(odd)
    assert np.array_equal(logits_again, found)
    assert saturated_again == saturated


@pytest.mark.parametrize("spare", [0, 1, 255 - 377 % 256, 256 - 377 % 256, 257 - 377 % 256])
def test_load__vocabulary_around_a_leaf_s_border__loads_and_computes(tmp_path, spare):
    path = write(tmp_path / "m.gguf", Shape(spare_tokens=spare))
    assert exactness.refusal(path) is None
    found, _ = logits(path)
    assert found.shape == (len(TOKENS), 377 + spare)


def test_load__float16_norms__are_those_of_float32(tmp_path):
    """Norms of which each is a float16 number."""
    file = File.of(write(tmp_path / "m.gguf", Shape()))
    for name, (shape, kind, raw) in list(file.tensors.items()):
        if kind == F32:
            file.tensors[name] = shape, kind, np.frombuffer(raw, "<f4").astype("<f2").astype("<f4").tobytes()
    found, _ = logits(file.write(tmp_path / "single.gguf"))
    for name, (shape, kind, raw) in list(file.tensors.items()):
        if kind == F32:
            file.tensors[name] = shape, F16, np.frombuffer(raw, "<f4").astype("<f2").tobytes()
    assert np.array_equal(logits(file.write(tmp_path / "half.gguf"))[0], found)


# WHAT MEANS SOMETHING ELSE


def entry(name, kind, value):
    def change(file):
        file.metadata[name] = kind, value

    return change


def tensor(name, shape=None, kind=None, raw=None):
    """One put in another's place; what is None stays."""

    def change(file):
        old = file.tensors.get(name, ((), F32, b""))
        file.tensors[name] = tuple(
            new if new is not None else was for new, was in zip((shape, kind, raw), old, strict=True)
        )

    return change


def without(name):
    def change(file):
        del file.tensors[name]

    return change


def token(number, spelled):
    def change(file):
        _, (of, texts) = file.metadata["tokenizer.ggml.tokens"]
        file.metadata["tokenizer.ggml.tokens"] = ARRAY, (of, [*texts[:number], spelled, *texts[number + 1 :]])

    return change


def score(value):
    def change(file):
        _, (of, scores) = file.metadata["tokenizer.ggml.scores"]
        file.metadata["tokenizer.ggml.scores"] = ARRAY, (of, [*scores[:-1], value])

    return change


def single(*values):
    return struct.pack(f"<{len(values)}f", *values)


PER_LAYER = (4, [2, 2])
BAD = {
    "a number of layers that is a float": (entry("llama.block_count", FLOAT32, 2.0), "llama.block_count"),
    "heads that are a boolean": (entry("llama.attention.head_count", BOOL, True), "llama.attention.head_count"),
    "heads by layer": (entry("llama.attention.head_count", ARRAY, PER_LAYER), "llama.attention.head_count"),
    "key heads by layer": (entry("llama.attention.head_count_kv", ARRAY, PER_LAYER), "llama.attention.head_count_kv"),
    "hidden widths by layer": (entry("llama.feed_forward_length", ARRAY, PER_LAYER), "llama.feed_forward_length"),
    "no heads": (entry("llama.attention.head_count", 4, 0), "attention heads"),
    "heads below zero": (entry("llama.attention.head_count", 5, -4), "attention heads"),
    "a rotary base that is whole": (entry("llama.rope.freq_base", 4, 10_000), "rope.freq_base"),
    "a rotary base that is no number": (entry("llama.rope.freq_base", FLOAT32, float("nan")), "rope.freq_base"),
    "an endless rotary base": (entry("llama.rope.freq_base", FLOAT32, float("inf")), "rope.freq_base"),
    "a rotary base of 1": (entry("llama.rope.freq_base", FLOAT32, 1.0), "rotary base"),
    "a rotary scale below 1": (entry("llama.rope.scaling.factor", FLOAT32, 0.5), "rotary scale"),
    "a rotary scaling of another kind": (entry("llama.rope.scaling.type", STRING, "yarn"), "yarn"),
    "a rotary scaling that is a number": (entry("llama.rope.scaling.type", 4, 1), "rotary scaling"),
    "an epsilon of 0": (entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, 0.0), "epsilon"),
    "an epsilon below 0": (entry("llama.attention.layer_norm_rms_epsilon", FLOAT32, -1e-5), "epsilon"),
    "an epsilon that is a text": (
        entry("llama.attention.layer_norm_rms_epsilon", STRING, "1e-5"), "layer_norm_rms_epsilon",
    ),
    "a vocabulary's size that is a text": (entry("llama.vocab_size", STRING, "377"), "llama.vocab_size"),
    "values of another width": (entry("llama.attention.value_length", 4, 32), "values"),
    "the first of two files": (entry("split.count", 2, 2), "split.count is 2"),
    "a number of files that is a text": (entry("split.count", STRING, "2"), "split.count is '2'"),
    "a context of 0": (entry("llama.context_length", 4, 0), "context_length"),
    "no space that is not said as one": (entry("tokenizer.ggml.add_space_prefix", STRING, "false"), "add_space_prefix"),
    "a tokenizer that is a number": (entry("tokenizer.ggml.model", 4, 1), "tokenizers of kind 1"),
    "a score that is no number": (score(float("nan")), "score"),
    "a token twice": (token(370, "<unk>"), "tokens 0 and 370"),
    "a byte that is none": (token(5, "<0xG0>"), "the byte 0"),
    "a byte below zero": (token(5 + 65, "<0x-1>"), "<0x-1>"),
    "a byte of one digit": (token(5 + 65, "<0x 5>"), "<0x 5>"),
    "a token that spells too much": (token(370, "ab" * 513), "token 370 of the file spells more than 1024 bytes"),
    "a norm in bfloat16": (tensor("blk.0.attn_norm.weight", kind=BF16, raw=bytes(128)), "blk.0.attn_norm.weight"),
    "a norm with a second dimension": (tensor("output_norm.weight", shape=(64, 1)), "output_norm.weight"),
    "a norm that is too short": (
        tensor("output_norm.weight", shape=(32,), raw=bytes(128)), "output_norm.weight",
    ),
    "a norm with one that is no number": (
        tensor("output_norm.weight", raw=single(*[1.0] * 63, float("nan"))), "output_norm.weight",
    ),
    "rotary factors of another number": (
        tensor("rope_freqs.weight", shape=(4,), raw=single(1, 1, 1, 1)), "rope_freqs.weight",
    ),
    "a rotary factor of 0": (
        tensor("rope_freqs.weight", shape=(8,), raw=single(1, 1, 1, 1, 0, 1, 1, 1)), "rope_freqs.weight",
    ),
    "a rotary factor that is no number": (
        tensor("rope_freqs.weight", shape=(8,), raw=single(*[1.0] * 7, float("nan"))), "rope_freqs.weight",
    ),
    "rotary factors for long contexts": (
        tensor("rope_factors_long.weight", shape=(8,), raw=single(*[1.0] * 8)), "rope_factors_long.weight",
    ),
    "a bias of the output": (
        tensor("blk.1.attn_output.bias", shape=(64,), raw=bytes(256)), "blk.1.attn_output.bias",
    ),
    "a norm of queries": (
        tensor("blk.0.attn_q_norm.weight", shape=(16,), raw=single(*[1.0] * 16)), "blk.0.attn_q_norm.weight",
    ),
    "a layer more than is said": (
        tensor("blk.2.attn_norm.weight", shape=(64,), raw=single(*[1.0] * 64)), "blk.2.attn_norm.weight",
    ),
    "a bias in one layer alone": (tensor("blk.1.attn_q.bias", shape=(64,), raw=bytes(256)), "layer 1"),
    "no norm": (without("blk.1.ffn_norm.weight"), "blk.1.ffn_norm.weight"),
    "no embedding": (without("token_embd.weight"), "token_embd.weight"),
    "a matrix of whole numbers": (tensor("output.weight", kind=24, raw=bytes(64 * 377)), "I8"),
    "an embedding with a token less": (
        tensor("token_embd.weight", shape=(64, 376), kind=F16, raw=bytes(2 * 64 * 376)), "token_embd.weight",
    ),
}  # fmt: skip


def changed(path, folder, change):
    """Why the file would be refused with the change; None if it would be served."""
    file = File.of(path)
    change(file)
    return exactness.refusal(file.write(folder / "m.gguf"))


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models") / "m.gguf", Shape())


@pytest.mark.parametrize(("change", "word"), BAD.values(), ids=BAD)
def test_refusal__part_that_means_something_else__is_named(good, tmp_path, change, word):
    reason = changed(good, tmp_path, change)
    assert reason is not None
    assert word in reason


def test_saturated__vocabulary_that_spells_nothing__counts_nothing(good, tmp_path):
    file = File.of(good)
    del file.metadata["tokenizer.ggml.bos_token_id"]
    file.metadata["tokenizer.ggml.model"] = STRING, "gpt2"
    file.metadata["tokenizer.ggml.merges"] = ARRAY, (STRING, [])
    file.metadata["tokenizer.ggml.token_type"] = ARRAY, (5, [3] * 377)
    path = file.write(tmp_path / "m.gguf")
    assert exactness.refusal(path) is None
    assert exactness.saturated(path) == {}


def test_refusal__key_twice__is_named(good, tmp_path):
    file = File.of(good)
    file.order = [*file.metadata, "llama.block_count"]
    with pytest.raises(BadModelFile, match=r"llama.block_count occurs twice"):
        read(file.write(tmp_path / "m.gguf"))


def test_refusal__file_as_it_was__is_none(good, tmp_path):
    """Else what is said above would not show what it seems to."""
    assert exactness.refusal(replace(File.of(good)).write(tmp_path / "m.gguf")) is None
