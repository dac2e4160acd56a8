"""One model over several devices of a host: which part of it each of them holds.

A device holds some of the key heads with the query heads that go with them, some of the hidden units, and some of the
vocabulary's logits; the rows of matrices that give them, and the columns of those that read them (as Megatron-LM cuts a
model: Shoeybi et al., 2019). What is added over devices are the sums of `operators.product` before they are rounded.
They are integers below 2^63 in whatever order they are added (`weights.check_bound`), so it makes no difference to any
bit how a model is cut. Blocks of quantized columns are never cut: where heads or hidden units do not divide evenly, the
first devices hold more, and the last perhaps none.
"""

from dataclasses import replace
from math import gcd

from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.weights import Layer, Matrix, Weights
from oracle.models.gguf import BLOCKS


def cut(weights: Weights, device: int, devices: int) -> Weights:
    """A device's share. Its architecture counts the heads and hidden units that it holds; the vocabulary's size stays.

    Views of `weights`, nothing is copied. Only the first device has the embedding.
    """
    a = weights.architecture
    group = a.group * a.head_width
    heads = part(a.kv_heads, _heads_at_once(weights), device, devices)
    hidden = part(a.hidden, max(_block(layer.ffn_down) for layer in weights.layers), device, devices)
    queries, keys = _times(heads, group), _times(heads, a.head_width)
    return replace(
        weights,
        architecture=replace(a, heads=len(heads) * a.group, kv_heads=len(heads), hidden=len(hidden)),
        embedding=weights.embedding if device == 0 else _rows(weights.embedding, range(0)),
        layers=tuple(_layer(layer, queries, keys, hidden) for layer in weights.layers),
        output=_rows(weights.output, logits(weights, device, devices)),
    )


def logits(weights: Weights, device: int, devices: int) -> range:
    """The tokens whose logits a device computes."""
    return part(weights.architecture.vocabulary, 1, device, devices)


def part(count: int, unit: int, device: int, devices: int) -> range:
    """A device's part of `count` things, of which `unit` at a time stay together; the first devices have the most."""
    units = -(-count // unit)
    start, stop = (at * (units // devices) + min(at, units % devices) for at in (device, device + 1))
    return range(min(count, start * unit), min(count, stop * unit))


def _heads_at_once(weights: Weights) -> int:
    """The fewest key heads whose outputs fill whole blocks of the matrices that read them."""
    width = weights.architecture.group * weights.architecture.head_width
    blocks = [_block(layer.attn_output) for layer in weights.layers]
    return max(block // gcd(block, width) for block in blocks)  # blocks are powers of two, so the largest will do


def _block(matrix: Matrix) -> int:
    return BLOCKS[matrix.kind][0]


def _layer(layer: Layer, queries: range, keys: range, hidden: range) -> Layer:
    return replace(
        layer,
        attn_q=_rows(layer.attn_q, queries),
        attn_k=_rows(layer.attn_k, keys),
        attn_v=_rows(layer.attn_v, keys),
        q_bias=_some(layer.q_bias, queries),
        k_bias=_some(layer.k_bias, keys),
        v_bias=_some(layer.v_bias, keys),
        attn_output=_columns(layer.attn_output, queries),
        ffn_gate=_rows(layer.ffn_gate, hidden),
        ffn_up=_rows(layer.ffn_up, hidden),
        ffn_down=_columns(layer.ffn_down, hidden),
    )


def _times(heads: range, width: int) -> range:
    return range(heads.start * width, heads.stop * width)


def _some(bias: Integers | None, rows: range) -> Integers | None:
    return None if bias is None else bias[rows.start : rows.stop]


def _rows(matrix: Matrix, rows: range) -> Matrix:
    return replace(matrix, rows=len(rows), raw=matrix.raw[rows.start : rows.stop])


def _columns(matrix: Matrix, columns: range) -> Matrix:
    numbers, size = BLOCKS[matrix.kind]
    raw = matrix.raw[:, columns.start // numbers * size : columns.stop // numbers * size]
    return replace(matrix, columns=len(columns), raw=raw)
