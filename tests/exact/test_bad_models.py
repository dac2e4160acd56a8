"""Model files that the exact engine must refuse: with the reason, and before memory is spent."""

import resource
import struct

import gguf
import numpy as np
import pytest
from exact.random_model import Kind, Shape, write

from oracle.disputes import exactness
from oracle.engines.exact import weights
from oracle.engines.exact.weights import load
from oracle.errors import BadModelFile
from oracle.models.gguf import read


def altered(path, name, change):
    """The file with the bytes of a tensor changed in place."""
    tensor = next(tensor for tensor in gguf.GGUFReader(str(path), "r+").tensors if tensor.name == name)
    change(tensor.data)
    return path


def refused(path, *words):
    with pytest.raises(BadModelFile) as caught:
        load(path)
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def good(tmp_path):
    return write(tmp_path / "m.gguf", Shape())


def test_load__good_file__loads(good):
    assert load(good).architecture.layers == 2


@pytest.mark.parametrize("keep", [0, 3, 24, 1000, -1])
def test_load__truncated__is_refused(good, keep):
    data = good.read_bytes()
    good.write_bytes(data[:keep])
    refused(good)


@pytest.mark.parametrize("bits", [0x7C00, 0xFC00, 0x7E00])
def test_load__infinite_or_nan_scale__is_refused(good, bits):
    def change(data):
        data[5, :2] = np.array([bits], "<u2").view(np.uint8)

    refused(altered(good, "blk.1.ffn_up.weight", change), "blk.1.ffn_up", "infinite")


@pytest.mark.parametrize("value", [np.inf, np.nan, -np.inf])
def test_load__norm_that_is_no_number__is_refused(good, value):
    def change(data):
        data[3] = value

    refused(altered(good, "blk.0.attn_norm.weight", change), "attn_norm")


def test_load__norm_beyond_int32__is_refused(good):
    def change(data):
        data[3] = 3e6

    refused(altered(good, "output_norm.weight", change), "magnitudes")


def test_load__row_that_could_leave_int64__is_refused(tmp_path):
    """Largest scales on a long row: 65504 * 2^24 * 127 * columns reaches 2^48 at few columns."""
    path = write(tmp_path / "m.gguf", Shape())

    def change(data):
        data[0] = np.tile(np.array([0xFF, 0x7B] + [127] * 32, np.uint8), len(data[0]) // 34)

    refused(altered(path, "blk.0.ffn_down.weight", change), "64 bits")


@pytest.mark.parametrize("row", [0, 30, 63])
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf, 128.0, -128.0, 3e38])
@pytest.mark.parametrize("kind", [Kind.F32, Kind.BF16])
def test_load__matrix_of_floats_with_one_that_has_no_integer__is_refused(tmp_path, monkeypatch, kind, value, row):
    """Before, one that is no number loaded, and each processor made another integer of it."""
    monkeypatch.setattr(weights, "CHUNK", 64 * 8)  # so that finite rows are looked at before it and after
    path = write(tmp_path / "m.gguf", Shape(kind=kind))
    tensor = read(path).tensors["blk.1.attn_q.weight"]
    each = tensor.size // 64 // 64
    with path.open("r+b") as file:
        file.seek(tensor.start + (row * 64 + 5) * each)
        file.write(struct.pack("<f", value)[-each:])
    refused(path, "blk.1.attn_q.weight", "128")


def test_load__largest_float_that_has_an_integer__loads(tmp_path):
    path = write(tmp_path / "m.gguf", Shape(kind=Kind.F32))
    tensor = read(path).tensors["blk.1.attn_q.weight"]
    with path.open("r+b") as file:
        file.seek(tensor.start)
        file.write(struct.pack("<f", np.nextafter(np.float32(128), np.float32(0))))
    matrix = load(path).layers[1].attn_q
    assert (matrix.bits, matrix.integers(0, 1)[0, 0]) == (24, (1 << 31) - (1 << 7))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"family": "mamba"}, "architecture"),
        ({"heads": 3, "kv_heads": 2}, "share"),
        ({"rope_width": 15}, "odd"),
        ({"rope_width": 32}, "rope.dimension_count"),
        ({"width": 1 << 15, "layers": 1}, "embedding_length"),
    ],
)
def test_load__impossible_numbers__are_refused(tmp_path, changes, word):
    shape = Shape(**changes)
    refused(write(tmp_path / "m.gguf", shape), word)


def test_load__tensor_of_unsupported_type__is_refused(tmp_path):
    path = write(tmp_path / "m.gguf", Shape())
    data = path.read_bytes()
    # The type of blk.0.attn_q.weight, after its name, number of dimensions and two sizes.
    at = data.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4 + 16
    assert data[at] == int(Kind.Q8_0)
    path.write_bytes(data[:at] + bytes([int(Kind.IQ3_S)]) + data[at + 1 :])
    refused(path)


def test_refusal__type_that_is_not_computed__is_said_by_its_name(tmp_path):
    path = write(tmp_path / "m.gguf", Shape(width=256, hidden=256, head_width=64, rope_width=64))
    assert exactness.told(exactness.refusal(path)) == "yes"
    data = path.read_bytes()
    name = b"blk.0.attn_q.weight"
    at = data.index(name) + len(name) + 4 + 16
    path.write_bytes(data[:at] + bytes([int(Kind.TQ1_0)]) + data[at + 1 :])
    assert "no, because" in exactness.told(exactness.refusal(path))


FOREIGN = [
    ("attention.causal", False),
    ("attention.scale", 0.25),
    ("attention.sliding_window", 4096),
    ("attention.head_count_kv_of_some_layers", 3),
    ("attention.temperature_length", 8192),
    ("embedding_length_per_layer_input", 256),
    ("expert_count", 8),
    ("final_logit_softcapping", 30.0),
    ("logit_scale", 0.5),
    ("pooling_type", 1),
    ("residual_scale", 2.0),
    ("rope.dimension_sections", [16, 24, 24, 0]),
    ("rope.scaling.attn_factor", 0.0),
    ("rope.scaling.attn_factor", 1.5),
    ("rope.scaling.yarn_log_multiplier", 0.1),
    ("use_parallel_residual", True),
    ("never_heard_of", "x"),
    ("never_heard_of", 0),
]


@pytest.mark.parametrize(("name", "value"), FOREIGN)
@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_load__header_entry_that_may_change_the_arithmetic__is_refused_by_its_name(tmp_path, family, name, value):
    refused(write(tmp_path / "m.gguf", Shape(family, extra=((name, value),))), f"{family}.{name}")


def test_load__header_entries_that_say_what_is_computed_anyway__loads(tmp_path):
    said = (
        ("attention.causal", True),
        ("attention.clamp_kqv", 0.0),
        ("attention.sliding_window", 0),
        ("expert_count", 0),
        ("logit_scale", 1.0),
        ("rope.scaling.attn_factor", 1.0),
        ("rope.scaling.original_context_length", 2048),
        ("rope.scaling.finetuned", True),
        ("tensor_data_layout", "Meta AI original pth"),
    )
    assert load(write(tmp_path / "m.gguf", Shape(extra=said))).architecture.layers == 2


def test_load__another_family_s_entry__is_no_business_of_this_one(tmp_path):
    path = write(tmp_path / "m.gguf", Shape())
    data = path.read_bytes()
    path.write_bytes(data.replace(b"general.name", b"mamba.causal", 1))
    assert load(path).architecture.layers == 2


def test_load__vocabulary_of_another_size_than_said__is_refused(tmp_path):
    path = write(tmp_path / "m.gguf", Shape())
    data = path.read_bytes()
    at = data.index(b"llama.vocab_size") + len(b"llama.vocab_size") + 4
    path.write_bytes(data[:at] + (400).to_bytes(4, "little") + data[at + 4 :])
    refused(path, "llama.vocab_size is 400", "377 tokens")


def test_load__absurd_dimensions__are_refused_in_little_memory(good):
    data = bytearray(good.read_bytes())
    at = data.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4
    data[at : at + 8] = (1 << 60).to_bytes(8, "little")
    good.write_bytes(bytes(data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(good)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
