"""A model's forward pass by the reference operators, with the value of every operator, and the seam to faster ones.

`Forward` is what an engine needs; `Reference` is its plain implementation and `cpu.py` the one that nodes run. Both
give the same integers for the same tokens, however the tokens are cut into chunks: a position's numbers depend on the
tokens up to it alone, through the cached keys and values.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from oracle.engines.exact import operators as ops
from oracle.engines.exact import powers
from oracle.engines.exact.architecture import Architecture, epsilon_units
from oracle.engines.exact.constants import (
    ACT_BITS,
    INNER_BITS,
    INT32,
    LARGEST_ACT,
    LARGEST_RESIDUAL,
    LARGEST_VALUE,
    MAX_CONTEXT,
    NORMED_BITS,
    RESIDUAL_BITS,
)
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.operators import Row
from oracle.engines.exact.rotations import Turns
from oracle.engines.exact.weights import Matrix, Norm, Weights

Logits = npt.NDArray[np.int32]
"""(rows, vocabulary), 16 fraction bits."""


class Cache(Protocol):
    """What a sequence's tokens left behind: keys and values of every layer. Blocks of it begin at multiples of 16."""

    length: int
    """Tokens so far."""

    def truncate(self, length: int) -> None:
        """Forgets all tokens but the first `length`."""

    def block(self, start: int, end: int) -> Any:
        """A copy of what tokens `start` to `end` left behind, for `append`."""

    def append(self, block: Any) -> None:
        """As if the block's tokens had been read: they must be the next, and all before them the same."""


@dataclass(frozen=True)
class Chunk:
    """The next tokens of one sequence."""

    tokens: Sequence[int]
    """At least one; each below the vocabulary's size. With the cache's, no more than its capacity."""
    cache: Cache
    """What came before; `Forward.run` extends it by `tokens`."""
    rows: int
    """Logits are wanted after each of the last `rows` tokens, 0 to all."""


LIMITS = {
    **dict.fromkeys(("attn_norm", "ffn_norm", "output_norm"), LARGEST_RESIDUAL),
    **dict.fromkeys(("attn_output", "attn_residual", "down", "residual"), LARGEST_RESIDUAL),
    **dict.fromkeys(("attn_post_norm", "ffn_post_norm"), LARGEST_RESIDUAL),
    **dict.fromkeys(("q", "k", "q_norm", "k_norm", "q_rope", "k_rope", "score", "gate", "up", "logits"), INT32),
    "v": LARGEST_VALUE,
    "act": LARGEST_ACT,
}
"""Operators that saturate, and where; a number at its limit counts as saturated."""

Saturated = Counter[str]
"""How many numbers reached their limits, by operator."""


class Forward(Protocol):
    """The numbers of one model."""

    @property
    def saturated(self) -> Saturated:
        """Since the model was loaded, of all that was computed."""

    @property
    def position_bytes(self) -> int:
        """Memory that a cache takes for each token."""

    def cache(self, capacity: int) -> Cache:
        """An empty one, for at most `capacity` tokens."""

    def run(self, chunks: Sequence[Chunk]) -> list[Logits]:
        """Extends several sequences at once; for each, (rows, vocabulary)."""


Trace = dict[str, Integers]
"""Operator name -> its output, in the order of computing; (T, ...) unless said otherwise."""


@dataclass
class PastLayer:
    """Keys quantized by head after rotation, values in their fixed point."""

    key: Integers
    """(kv heads, T, head width) mantissas."""
    key_shift: Integers
    """(kv heads, T)."""
    value: Integers
    """(kv heads, T, head width)."""


@dataclass
class Past:
    """The reference's cache."""

    capacity: int
    layers: list[PastLayer]
    length: int = 0

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)
        for layer in self.layers:
            layer.key, layer.key_shift = layer.key[:, : self.length], layer.key_shift[:, : self.length]
            layer.value = layer.value[:, : self.length]

    def block(self, start: int, end: int) -> list[PastLayer]:
        part = slice(start, end)
        return [PastLayer(each.key[:, part], each.key_shift[:, part], each.value[:, part]) for each in self.layers]

    def append(self, block: list[PastLayer]) -> None:
        for layer, more in zip(self.layers, block, strict=True):
            layer.key = np.concatenate([layer.key, more.key], axis=1)
            layer.key_shift = np.concatenate([layer.key_shift, more.key_shift], axis=1)
            layer.value = np.concatenate([layer.value, more.value], axis=1)
        self.length += block[0].key.shape[1]


@dataclass(frozen=True)
class FullTrace:
    """Every operator's output for a run of tokens."""

    embedding: Integers
    layers: list[Trace]
    """Each ends with "residual"."""
    end: Trace
    """Final norm and logits of all rows; ends with "logits"."""


class Linear(Protocol):
    """`operators.linear` of a whole matrix: `plain_linear`, or `cpu_linear.CpuLinear`."""

    def __call__(
        self,
        row: Row,
        matrix: Matrix,
        bits: int,
        to_bits: int,
        bias: Integers | None = None,
        largest: int = INT32,
    ) -> Integers: ...


class Reference:
    """Forward by `operators.py`. Slow; made to be read, traced and compared with."""

    def __init__(self, weights: Weights, linear: Linear | None = None) -> None:
        """linear: None for the plain one."""
        a = weights.architecture
        self.weights, self.architecture = weights, a
        self._linear = linear or plain_linear
        self.saturated = Saturated()
        self._powers, self._rotations = powers.table(), Turns(a, weights.rope_factors)
        self._score_scale = ops.score_scale(a.scale_width)
        self._epsilon = epsilon_units(a.epsilon, RESIDUAL_BITS)
        self._head_epsilon = epsilon_units(a.epsilon, INNER_BITS)

    @property
    def position_bytes(self) -> int:
        a = self.architecture
        return 8 * a.layers * a.kv_heads * (2 * a.head_width + 1)

    def cache(self, capacity: int) -> Past:
        if not 0 < capacity <= MAX_CONTEXT:
            raise ValueError(f"no context of {capacity} tokens")
        a = self.architecture
        empty = np.empty((a.kv_heads, 0, a.head_width), np.int64)
        return Past(capacity, [PastLayer(empty, empty[..., 0], empty) for _ in range(a.layers)])

    def run(self, chunks: Sequence[Chunk]) -> list[Logits]:
        results = []
        for chunk in chunks:
            assert isinstance(chunk.cache, Past)
            residual = self.embed(chunk.tokens)
            for layer, past in enumerate(chunk.cache.layers):
                residual = self._layer(layer, residual, past)["residual"]
            chunk.cache.length += len(chunk.tokens)
            results.append(self._end(residual[len(chunk.tokens) - chunk.rows :])["logits"].astype(np.int32))
        return results

    def trace(self, tokens: Sequence[int]) -> FullTrace:
        """Everything about `tokens` from an empty cache."""
        embedding = residual = self.embed(tokens)
        layers = []
        for layer in range(self.architecture.layers):
            layers.append(self.layer(layer, residual))
            residual = layers[-1]["residual"]
        return FullTrace(embedding, layers, self._end(residual))

    def residuals(self, tokens: Sequence[int]) -> Iterator[Integers]:
        """From an empty cache: the residual stream after the embedding and after each layer, (T, width) each."""
        residual = self.embed(tokens)
        yield residual
        for layer in range(self.architecture.layers):
            residual = self.layer(layer, residual)["residual"]
            yield residual

    def layer(self, layer: int, residual: Integers) -> Trace:
        """One layer for all positions, from an empty cache. residual: (T, width)."""
        return self._layer(layer, residual, self.cache(len(residual)).layers[layer])

    def end(self, residual: Integers) -> Trace:
        """Final norm and logits. residual: (T, width)."""
        return self._end(residual)

    def embed(self, tokens: Sequence[int]) -> Integers:
        return embedded(self.weights.embedding, self.architecture, tokens)

    def _layer(self, index: int, residual: Integers, past: PastLayer) -> Trace:
        a, values, layer = self.architecture, _Record(self.saturated), self.weights.layers[index]
        row = self._norm(values, "attn_norm", residual, layer.attn_norm)
        q = values.set("q", self._linear(row, layer.attn_q, NORMED_BITS, INNER_BITS, layer.q_bias))
        k = values.set("k", self._linear(row, layer.attn_k, NORMED_BITS, INNER_BITS, layer.k_bias))
        v = values.set("v", ops.limit_values(self._linear(row, layer.attn_v, NORMED_BITS, INNER_BITS, layer.v_bias)))
        turns = self._rotations.of(index)(past.key.shape[1], len(residual))
        query = self._head_rows(values, "q", q, layer.q_norm, turns)
        key = self._head_rows(values, "k", k, layer.k_norm, turns)
        past.key = np.concatenate([past.key, key.mantissa.transpose(1, 0, 2)], axis=1)
        past.key_shift = np.concatenate([past.key_shift, key.shift.T], axis=1)
        past.value = np.concatenate([past.value, _heads(v, a.head_width).transpose(1, 0, 2)], axis=1)
        o = values.set("context", self._attention(values, query, past, a.window_of(index)))
        row = values.quantize("context", o)
        attended = values.set("attn_output", self._to_residual(row, layer.attn_output, INNER_BITS))
        if layer.attn_post_norm is not None:
            attended = self._normed(values, "attn_post_norm", attended, layer.attn_post_norm, RESIDUAL_BITS)
        residual = values.set("attn_residual", ops.add(residual, attended))

        row = self._norm(values, "ffn_norm", residual, layer.ffn_norm)
        gate = values.set("gate", self._linear(row, layer.ffn_gate, NORMED_BITS, INNER_BITS))
        up = values.set("up", self._linear(row, layer.ffn_up, NORMED_BITS, INNER_BITS))
        act = (ops.gated_gelu if a.is_gemma else ops.gated)(gate, up, self._powers)
        row = values.quantize("act", values.set("act", act))
        down = values.set("down", self._to_residual(row, layer.ffn_down, ACT_BITS))
        if layer.ffn_post_norm is not None:
            down = self._normed(values, "ffn_post_norm", down, layer.ffn_post_norm, RESIDUAL_BITS)
        values.set("residual", ops.add(residual, down))
        return values.trace

    def _to_residual(self, row: Row, matrix: Matrix, bits: int) -> Integers:
        return self._linear(row, matrix, bits, RESIDUAL_BITS, largest=LARGEST_RESIDUAL)

    def _norm(self, values: "_Record", name: str, x: Integers, norm: Norm) -> Row:
        """RMSNorm of residual rows, quantized for the linear layers that follow."""
        return values.quantize(name, self._normed(values, name, x, norm, NORMED_BITS))

    def _normed(self, values: "_Record", name: str, x: Integers, norm: Norm, to_bits: int) -> Integers:
        row = values.quantize(name + ".in", x)
        squares = values.set(name + ".sum", ops.square_sum(row))
        r = values.set(name + ".root", ops.mean_root(squares, row.shift, x.shape[-1], self._epsilon))
        return values.set(name, ops.normalize(x, r, row.shift, norm.weight, to_bits, LARGEST_RESIDUAL, norm.bits))

    def _head_rows(
        self, values: "_Record", name: str, x: Integers, norm: Norm | None, turns: tuple[Integers, Integers]
    ) -> Row:
        """Queries or keys by head: normalised where the family does, rotated, quantized. Row of (T, heads, width).
        turns: cosines and sines."""
        heads = _heads(x, self.architecture.head_width)
        if norm is not None:
            row = values.quantize(name + "_norm.in", heads)
            squares = values.set(name + "_norm.sum", ops.square_sum(row))
            r = ops.mean_root(squares, row.shift, heads.shape[-1], self._head_epsilon)
            values.set(name + "_norm.root", r)
            y = ops.normalize(heads, r, row.shift, norm.weight, INNER_BITS, INT32, norm.bits)
            heads = values.set(name + "_norm", y)
        rotated = values.set(name + "_rope", ops.rotate(heads, *turns, self.architecture.interleaved))
        return values.quantize(name + "_rope", rotated)

    def _attention(self, values: "_Record", query: Row, past: PastLayer, window: int) -> Integers:
        """Each position attends to itself and what came before, `window` in all unless it is 0. (T, heads * width).

        In the trace, (heads, T, U) over all U positions; those that the row's own does not see hold 0.
        """
        a, count, length = self.architecture, len(query.shift), past.key.shape[1]
        seen = seen_by(np.arange(length - count, length), length, window)
        parts: dict[str, list[Integers]] = {"score": [], "score.max": [], "share": [], "share.sum": [], "context": []}
        for head in range(a.heads):
            kv = head // a.group
            keys = Row(past.key[kv], past.key_shift[kv])
            z = ops.scores(Row(query.mantissa[:, head], query.shift[:, head]), keys, self._score_scale)
            largest = np.where(seen, z, np.iinfo(np.int64).min).max(axis=-1)
            e = np.where(seen, ops.shares(np.minimum(z, largest[:, None]), largest, self._powers), 0)
            total = e.sum(axis=-1)
            o = ops.context(e, total, past.value[kv])
            for name, part in zip(parts, (np.where(seen, z, 0), largest, e, total, o), strict=True):
                parts[name].append(part)
        for name in ("score", "score.max", "share", "share.sum"):
            values.set(name, np.stack(parts[name]))
        return np.concatenate(parts["context"], axis=-1)

    def _end(self, residual: Integers) -> Trace:
        values = _Record(self.saturated)
        row = self._norm(values, "output_norm", residual, self.weights.output_norm)
        values.set("logits", self._linear(row, self.weights.output, NORMED_BITS, RESIDUAL_BITS))
        return values.trace


@dataclass
class _Record:
    saturated: Saturated
    trace: Trace = field(default_factory=dict)

    def set(self, name: str, value: Integers) -> Integers:
        self.trace[name] = value
        if name in LIMITS and (count := int((np.abs(value) == LIMITS[name]).sum())):
            self.saturated[name] += count
        return value

    def quantize(self, name: str, x: Integers) -> Row:
        row = ops.quantize(x)
        self.trace[name + ".shift"], self.trace[name + ".mantissa"] = row.shift, row.mantissa
        return row


def embedded(matrix: Matrix, a: Architecture, tokens: Sequence[int]) -> Integers:
    """What the residual stream begins with, (T, width). matrix: the embedding."""
    rows = matrix.of(matrix.raw[np.asarray(tokens)])
    if a.is_gemma:
        return ops.embed_scaled(rows, ops.embedding_scale(a.width), matrix.bits)
    return ops.embed(rows, matrix.bits)


def seen_by(positions: Integers, length: int, window: int) -> npt.NDArray[np.bool_]:
    """(positions, length): which of the first `length` each of some positions sees. window: 0 for all up to itself."""
    distance = positions[:, None] - np.arange(length)
    return (distance >= 0) & (distance < (window or length))


def _heads(x: Integers, width: int) -> Integers:
    """(T, heads * width) -> (T, heads, width)."""
    return x.reshape(len(x), -1, width)


def plain_linear(
    row: Row, matrix: Matrix, bits: int, to_bits: int, bias: Integers | None = None, largest: int = INT32
) -> Integers:
    """`operators.linear`, some rows of the matrix at a time to spare memory."""
    parts = []
    for first, count in _slices(matrix):
        some = None if bias is None else bias[first:][:count]
        parts.append(ops.linear(row, matrix.integers(first, count), bits, to_bits, some, largest, matrix.bits))
    return np.concatenate(parts, axis=-1)


def _slices(matrix: Matrix) -> Iterator[tuple[int, int]]:
    step = max(1, (1 << 22) // matrix.columns)
    return ((first, step) for first in range(0, matrix.rows, step))
