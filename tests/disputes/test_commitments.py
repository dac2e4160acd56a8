"""What a manifest commits to: every byte of the weights counts, and leaves lie where arithmetic says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eth_abi import decode
from exact.random_model import Kind, Shape, write
from rig.merkle import climb

from oracle.disputes import commitments
from oracle.engines.exact.architecture import architecture
from oracle.engines.exact.rotations import Rotations, Turns
from oracle.engines.exact.weights import load
from oracle.errors import BadModelFile
from oracle.merkle.tree import leaf_hash
from oracle.models.gguf import read

SHAPE = Shape(family="qwen2", kind=Kind.Q8_0, layers=3, width=288, hidden=320, head_width=32, rope_width=32, heads=9)
SHAPE = replace(SHAPE, kv_heads=3)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("model") / "model.gguf", SHAPE)


def placed(path: Path) -> list[commitments.Part]:
    header = read(path)
    return commitments.parts(header, architecture(header))


def test_parts__layers_that_differ__are_refused(path):
    header = read(path)
    del header.tensors["blk.2.attn_k.bias"]
    with pytest.raises(BadModelFile, match="layer 2 has other tensors"):
        commitments.parts(header, architecture(header))


def test_leaf__beyond_its_tensor__is_refused(path):
    data = np.fromfile(path, np.uint8)
    for part in placed(path):
        for index in (-1, part.leaves):
            with pytest.raises(IndexError):
                commitments.leaf(data, part, index)


@pytest.mark.parametrize("name", ["token_embd.weight", "blk.0.attn_q.bias", "blk.2.ffn_down.weight", "output.weight"])
def test_weights_root__last_byte_of_a_tensor_changed__is_another(path, tmp_path, name):
    part = next(part for part in placed(path) if part.tensor.name == name)
    data = np.fromfile(path, np.uint8)
    data[part.tensor.start + part.tensor.size - 1] ^= 1
    data.tofile(tmp_path / "changed.gguf")
    before = commitments.weights_tree(path, placed(path))
    after = commitments.weights_tree(tmp_path / "changed.gguf", placed(path))
    assert before.root != after.root
    last = part.first + part.leaves - 1
    assert [index for index in range(before.count) if before.node(0, index) != after.node(0, index)] == [last]


def test_leaves__of_every_tensor__are_its_bytes_in_order(path):
    data = np.fromfile(path, np.uint8)
    for part in placed(path):
        joined = b"".join(commitments.leaf(data, part, index) for index in range(part.leaves))
        assert joined == data[part.tensor.start : part.tensor.start + part.tensor.size].tobytes()


def test_parts__any_layer__begin_where_arithmetic_says(path):
    a = architecture(read(path))
    queries, keys = a.heads * a.head_width, a.kv_heads * a.head_width
    chunks = {size: -(-size // 256) for size in (a.width, queries, keys)}
    per_layer = 2 * chunks[a.width] + chunks[queries] + 2 * chunks[keys]  # norms and biases
    per_layer += queries + 2 * keys + a.width + 2 * a.hidden + a.width  # q, k, v, o, gate, up, down
    firsts = {part.tensor.name: part.first for part in placed(path)}
    for layer in range(a.layers):
        assert firsts[f"blk.{layer}.attn_norm.weight"] == a.vocabulary + layer * per_layer
        assert firsts[f"blk.{layer}.ffn_down.weight"] == a.vocabulary + (layer + 1) * per_layer - a.width
    assert firsts["output_norm.weight"] == a.vocabulary + a.layers * per_layer


def test_weights_tree__row_of_a_matrix__is_proven(path):
    data, tree = np.fromfile(path, np.uint8), commitments.weights_tree(path, placed(path))
    part = next(part for part in placed(path) if part.tensor.name == "blk.1.ffn_gate.weight")
    row = commitments.leaf(data, part, 77)
    assert row == load(path).layers[1].ffn_gate.raw[77].tobytes()
    assert climb(leaf_hash(row), part.first + 77, tree.proof(part.first + 77)) == tree.root


def test_rotation_leaf__any_position__holds_the_engine_s_numbers(path):
    weights = load(path)
    leaf = commitments.rotation_leaf(Turns(weights.architecture, weights.rope_factors), 41)
    cosines, sines = Rotations(weights.architecture, weights.rope_factors)(0, 42)
    assert np.frombuffer(leaf, ">i4").tolist() == [*cosines[41], *sines[41]]


def test_commit__a_file__says_its_numbers_and_progress(path):
    seen = []
    made = commitments.commit(path, lambda done, total: seen.append((done, total)))
    assert made.weights_root == commitments.weights_tree(path, placed(path)).root
    numbers = decode(commitments.NUMBERS, made.architecture)
    a = architecture(read(path))
    assert numbers[:10] == (1, 3, 288, 320, 9, 3, 32, 32, a.context, a.vocabulary)
    assert numbers[10:12] == (0, 0)
    assert len(numbers[-1]) == 3 + 16 * 3
    assert numbers[-1][3:19] == bytes([0, 8, 8, 8, 0, 0, 0, 255, 255, 8, 0, 8, 8, 8, 255, 255])
    assert seen == sorted(seen)
    assert seen[-1][0] == seen[-1][1] == sum(part.tensor.size for part in placed(path))


def test_commit__one_number_of_the_header_changed__is_another(tmp_path):
    roots = set()
    for shape in (SHAPE, replace(SHAPE, rope_width=16), replace(SHAPE, context=64)):
        roots.add(commitments.commit(write(tmp_path / "model.gguf", shape)).architecture)
    assert len(roots) == 3
