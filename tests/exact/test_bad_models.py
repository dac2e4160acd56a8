"""Model files that the exact engine must refuse: with the reason, and before memory is spent."""

import resource

import gguf
import numpy as np
import pytest
from exact.random_model import Kind, Shape, write

from oracle.engines.exact.weights import load
from oracle.errors import BadModelFile


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
        data[3] = 1e6

    refused(altered(good, "output_norm.weight", change), "magnitudes")


def test_load__row_that_could_leave_int64__is_refused(tmp_path):
    """Largest scales on a long row: 65504 * 2^24 * 127 * columns reaches 2^48 at few columns."""
    path = write(tmp_path / "m.gguf", Shape())

    def change(data):
        data[0] = np.tile(np.array([0xFF, 0x7B] + [127] * 32, np.uint8), len(data[0]) // 34)

    refused(altered(path, "blk.0.ffn_down.weight", change), "64 bits")


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
    path.write_bytes(data[:at] + bytes([int(Kind.Q5_1)]) + data[at + 1 :])
    refused(path)


@pytest.mark.parametrize("name", ["final_logit_softcapping", "expert_count", "attention.sliding_window"])
def test_load__header_that_would_change_the_arithmetic__is_refused(tmp_path, name):
    refused(write(tmp_path / "m.gguf", Shape(extra=(name,))), name)


def test_load__absurd_dimensions__are_refused_in_little_memory(good):
    data = bytearray(good.read_bytes())
    at = data.index(b"blk.0.attn_q.weight") + len(b"blk.0.attn_q.weight") + 4
    data[at : at + 8] = (1 << 60).to_bytes(8, "little")
    good.write_bytes(bytes(data))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(good)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
