"""The forward pass on CPUs: `model.Reference` again, bit for bit, by the C kernels.

Weights are packed once when a model is loaded. Every step takes the tokens of all sequences
together. Nothing depends on the variant, the number of threads or how tokens are cut into chunks but speed.
"""

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from oracle.engines.exact import operators as ops
from oracle.engines.exact import powers
from oracle.engines.exact.architecture import Architecture, epsilon_units
from oracle.engines.exact.constants import (
    ACT_BITS,
    INNER_BITS,
    MAX_CONTEXT,
    NORMED_BITS,
    RESIDUAL_BITS,
)
from oracle.engines.exact.cpu_kernels import (
    GROUP,
    Array,
    Extension,
    Heads,
    Kernels,
    Packed,
    Rows,
    best_variant,
    default_threads,
    paired,
)
from oracle.engines.exact.model import Chunk, Logits, Saturated, embedded
from oracle.engines.exact.rotations import Turns
from oracle.engines.exact.weights import Layer, Norm, Weights

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
TOGETHER = 512  # most tokens in one pass: bounds the memory of activations

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class CpuCache:
    """Keys and values of one sequence, as the kernels read them; memory is taken as tokens come."""

    def __init__(self, a: Architecture, capacity: int) -> None:
        if not 0 < capacity <= MAX_CONTEXT:
            raise ValueError(f"no context of {capacity} tokens")
        self.capacity, self.length = capacity, 0
        self.room = -(-capacity // GROUP) * GROUP
        half, padded = -(-a.head_width // 2), -(-a.head_width // GROUP) * GROUP
        shape = a.layers, a.kv_heads, self.room
        self.keys = np.zeros((*shape, 2 * half), np.int16)
        self.key_shift = np.zeros(shape, np.int32)
        self.values = np.zeros((*shape, padded), np.int32)
        self._arrays: tuple[Array, ...] = (self.keys, self.key_shift, self.values)

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)

    def block(self, start: int, end: int) -> tuple[Array, ...]:
        return tuple(array[:, :, start:end].copy() for array in self._arrays)

    def extension(self, tokens: int) -> Extension:
        """With so many more tokens, for `Kernels.attend`."""
        return Extension(tokens, self.length, self.room, *(array.ctypes.data for array in self._arrays))

    def append(self, block: tuple[Array, ...]) -> None:
        end = self.length + block[0].shape[2]
        for array, part in zip(self._arrays, block, strict=True):
            array[:, :, self.length : end] = part
        self.length = end


@dataclass(frozen=True)
class _Layer:
    plain: Layer
    q: Packed
    k: Packed
    v: Packed
    attn_output: Packed
    gate: Packed
    up: Packed
    down: Packed


@dataclass(frozen=True)
class _Piece:
    """The part of a chunk that one pass takes."""

    chunk: int
    tokens: Sequence[int]
    cache: CpuCache
    rows: int
    """How many of its last tokens want logits."""


class CpuForward:
    """Forward by the C kernels. Not thread-safe."""

    def __init__(self, weights: Weights, threads: int | None = None, variant: int | None = None) -> None:
        a = weights.architecture
        threads = default_threads() if threads is None else threads
        self.weights, self.architecture = weights, a
        self._kernels = Kernels(best_variant() if variant is None else variant, threads)
        self._powers, self._rotations = paired(powers.table()), Turns(a, weights.rope_factors)
        self._epsilon = epsilon_units(a.epsilon, RESIDUAL_BITS)
        self._layers = [
            _Layer(
                layer,
                *(Packed(getattr(layer, name), threads) for name in MATRICES),
            )
            for layer in weights.layers
        ]
        self._heads = [self._heads_of(index, layer) for index, layer in enumerate(weights.layers)]
        self._output = Packed(weights.output, threads)
        self._buffers = _Buffers(0, a)

    @property
    def saturated(self) -> Saturated:
        return self._kernels.saturated

    @property
    def position_bytes(self) -> int:
        a = self.architecture
        half, padded = -(-a.head_width // 2), -(-a.head_width // GROUP) * GROUP
        return a.layers * a.kv_heads * (4 * half + 4 + 4 * padded)

    def cache(self, capacity: int) -> CpuCache:
        return CpuCache(self.architecture, capacity)

    def run(self, chunks: Sequence[Chunk]) -> list[Logits]:
        for chunk in chunks:
            assert isinstance(chunk.cache, CpuCache)
            if chunk.cache.length + len(chunk.tokens) > chunk.cache.capacity:
                raise ValueError("more tokens than the cache holds")
        found: list[list[Int32s]] = [[] for _ in chunks]
        for pieces in _passes(chunks):
            for piece, logits in zip(pieces, self._pass(pieces), strict=True):
                found[piece.chunk].append(logits)
        return [np.concatenate(parts) if len(parts) != 1 else parts[0] for parts in found]

    def _pass(self, pieces: Sequence[_Piece]) -> list[Int32s]:
        count = sum(len(piece.tokens) for piece in pieces)
        if count > self._buffers.capacity:
            self._buffers = _Buffers(count, self.architecture)
        tokens = [token for piece in pieces for token in piece.tokens]
        residual = embedded(self.weights.embedding, self.architecture, tokens)
        extensions = (Extension * len(pieces))(*(piece.cache.extension(len(piece.tokens)) for piece in pieces))
        turns = [self._rotations(piece.cache.length, len(piece.tokens)) for piece in pieces]
        tables = [np.concatenate(part) for part in zip(*turns, strict=True)]
        for layer, heads in zip(self._layers, self._heads, strict=True):
            own = tables[2:] if heads.window else tables[:2]
            self._layer(layer, heads, residual, extensions, (*own, self._powers))
        for piece in pieces:
            piece.cache.length += len(piece.tokens)
        return self._end(residual, pieces)

    def _layer(
        self,
        layer: _Layer,
        heads: Heads,
        residual: Int64s,
        extensions: "ctypes.Array[Extension]",
        tables: tuple[Int64s, ...],
    ) -> None:
        """Updates `residual` in place. tables: cosines, sines, powers."""
        run, b, count, plain = self._kernels, self._buffers, len(residual), layer.plain
        down = NORMED_BITS - INNER_BITS
        rows = run.normalize(residual, plain.attn_norm, self._epsilon, NORMED_BITS, b.width, "attn_norm")
        q = run.linear(layer.q, rows, count, layer.q.bits + down, plain.q_bias, b.q[:count], ("q",))
        k = run.linear(layer.k, rows, count, layer.k.bits + down, plain.k_bias, b.k[:count], ("k",))
        v = run.linear(layer.v, rows, count, layer.v.bits + down, plain.v_bias, b.v[:count], ())
        run.attend(heads, extensions, (q, k, v), tables, b.context[:count])
        rows = run.quantize(b.context[:count], b.heads)
        names = "attn_output", "attn_post_norm", "attn_residual"
        self._add(layer.attn_output, rows, INNER_BITS, residual, plain.attn_post_norm, names)
        rows = run.normalize(residual, plain.ffn_norm, self._epsilon, NORMED_BITS, b.width, "ffn_norm")
        gate = run.linear(layer.gate, rows, count, layer.gate.bits + down, None, b.gate[:count], ("gate",))
        up = run.linear(layer.up, rows, count, layer.up.bits + down, None, b.up[:count], ("up",))
        rows = run.gate(gate, up, self._powers, b.hidden, self.architecture.is_gemma)
        self._add(layer.down, rows, ACT_BITS, residual, plain.ffn_post_norm, ("down", "ffn_post_norm", "residual"))

    def _add(
        self, w: Packed, rows: Rows, bits: int, residual: Int64s, norm: Norm | None, names: tuple[str, str, str]
    ) -> None:
        """The product of `w`, normalised where the family does, added to the residual stream. names: of the three."""
        run, count, down = self._kernels, len(residual), w.bits + bits - RESIDUAL_BITS
        if norm is None:
            run.linear(w, rows, count, down, None, residual, names[::2], add=True)
            return
        made = run.linear(w, rows, count, down, None, np.empty(residual.shape, np.int64), names[:1])
        run.add_normalized(made, norm, self._epsilon, residual, names[1:])

    def _heads_of(self, index: int, layer: Layer) -> Heads:
        a = self.architecture
        norms = layer.q_norm, layer.k_norm
        return Heads(
            index,
            a.heads,
            a.kv_heads,
            a.head_width,
            a.rope_width // 2,
            a.interleaved,
            -(-a.head_width // 2),
            -(-a.head_width // GROUP) * GROUP,
            ops.score_scale(a.scale_width),
            epsilon_units(a.epsilon, INNER_BITS),
            a.window_of(index),
            *(0 if norm is None else ops.UNIT_BITS + norm.bits - INNER_BITS for norm in norms),
            *(None if norm is None else norm.weight.ctypes.data for norm in norms),
        )

    def _end(self, residual: Int64s, pieces: Sequence[_Piece]) -> list[Int32s]:
        ends = np.cumsum([len(piece.tokens) for piece in pieces])
        wanted = [residual[end - piece.rows : end] for end, piece in zip(ends, pieces, strict=True)]
        chosen = np.concatenate(wanted)
        logits = np.empty((len(chosen), self.architecture.vocabulary), np.int32)
        if len(chosen):
            rows = self._kernels.normalize(
                chosen, self.weights.output_norm, self._epsilon, NORMED_BITS, self._buffers.width, "output_norm"
            )
            down = self._output.bits + NORMED_BITS - RESIDUAL_BITS
            self._kernels.linear(self._output, rows, len(chosen), down, None, logits, ("logits",))
        return np.split(logits, np.cumsum([piece.rows for piece in pieces])[:-1])


class _Buffers:
    """Activations of one pass."""

    def __init__(self, capacity: int, a: Architecture) -> None:
        self.capacity = capacity
        heads, keys = a.heads * a.head_width, a.kv_heads * a.head_width
        self.width, self.heads, self.hidden = (Rows(capacity, n) for n in (a.width, heads, a.hidden))
        self.q, self.k, self.v, self.context, self.gate, self.up = (
            np.empty((capacity, columns), np.int32) for columns in (heads, keys, keys, heads, a.hidden, a.hidden)
        )


def _passes(chunks: Sequence[Chunk]) -> Iterator[list[_Piece]]:
    """The chunks cut into passes of at most TOGETHER tokens; a chunk's parts in order."""
    pieces: list[_Piece] = []
    room = TOGETHER
    for index, chunk in enumerate(chunks):
        assert isinstance(chunk.cache, CpuCache)
        first = 0
        while first < len(chunk.tokens):
            tokens = chunk.tokens[first : first + room]
            first += len(tokens)
            room -= len(tokens)
            later = len(chunk.tokens) - first
            pieces.append(_Piece(index, tokens, chunk.cache, max(0, min(len(tokens), chunk.rows - later))))
            if room == 0:
                yield pieces
                pieces, room = [], TOGETHER
    if pieces:
        yield pieces
