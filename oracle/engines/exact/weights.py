"""A model file's weights as the exact engine uses them: raw rows, mapped from the file, never converted or copied.

`load` refuses every file with which some sum could leave int64, or that holds a tensor the engine would have to ignore.
It looks at headers first, then at the fp16 scales; memory it takes is for norms, biases and one tensor's scales.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oracle.engines.exact.architecture import Architecture, architecture, epsilon_units
from oracle.engines.exact.constants import (
    INNER_BITS,
    INT32,
    LARGEST_EMBEDDING,
    MAX_EPSILON,
    MAX_ROW_WEIGHT,
    MOST_NORM_SCALE,
    RESIDUAL_BITS,
    SCALE_BITS,
    WEIGHT_BITS,
)
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.quants import (
    F16,
    F32,
    FLOATS,
    LARGEST_FACTOR,
    MATRIX_TYPES,
    Bytes,
    floats,
    halves,
    integers,
    matrix_bits,
    scales,
)
from oracle.errors import BadModelFile
from oracle.models.gguf import Gguf, Tensor, read

CHUNK = 1 << 22  # weights expanded at a time when a row bound must be summed exactly
NORM_LARGEST_BITS = 31  # bits that norm weights have at most


@dataclass(frozen=True)
class Matrix:
    """A weight matrix as it lies in the file: out = weights @ in."""

    name: str
    kind: int
    """A key of MATRIX_TYPES: the GGML type."""
    rows: int
    columns: int
    raw: Bytes
    """(rows, bytes of a row), read-only, mapped from the file."""
    bits: int = WEIGHT_BITS
    """Fraction bits of the weights: others than 24 where they are floats (`quants.matrix_bits`)."""

    def integers(self, first: int = 0, count: int | None = None) -> Integers:
        """(count, columns) weights in units of 2^-bits, from row `first` on."""
        return self.of(self.raw[first:][:count])

    def of(self, raw: Bytes) -> Integers:
        """The weights of some of its rows."""
        return integers(self.kind, raw, self.bits)


@dataclass(frozen=True)
class Norm:
    """A norm's weights."""

    weight: Integers
    """(width,), within int32."""
    bits: int = SCALE_BITS
    """Their fraction bits: 24, and fewer where a weight would not fit."""


@dataclass(frozen=True)
class Layer:
    attn_norm: Norm
    """(width,)"""
    attn_q: Matrix
    attn_k: Matrix
    attn_v: Matrix
    q_bias: Integers | None
    """Biases: at 18 bits, within int32."""
    k_bias: Integers | None
    v_bias: Integers | None
    q_norm: Norm | None
    """(head width,)"""
    k_norm: Norm | None
    attn_output: Matrix
    ffn_norm: Norm
    ffn_gate: Matrix
    ffn_up: Matrix
    ffn_down: Matrix
    attn_post_norm: Norm | None = None
    """(width,): of what the block adds to the residual stream."""
    ffn_post_norm: Norm | None = None


NORMS = {
    "attn_norm": "attn_norm",
    "attn_q_norm": "q_norm",
    "attn_k_norm": "k_norm",
    "post_attention_norm": "attn_post_norm",
    "ffn_norm": "ffn_norm",
    "post_ffw_norm": "ffn_post_norm",
}
"""A layer's norms: their tensors' names and ours."""


@dataclass(frozen=True)
class Weights:
    architecture: Architecture
    embedding: Matrix
    layers: tuple[Layer, ...]
    output_norm: Norm
    output: Matrix
    """The embedding itself where the file has no matrix of its own for the output."""
    rope_factors: tuple[Fraction, ...] | None

    def norms(self) -> Iterator[tuple[str, Norm]]:
        """All norms, with the names of their tensors."""
        for index, layer in enumerate(self.layers):
            for name, own in NORMS.items():
                norm: Norm | None = getattr(layer, own)
                if norm is not None:
                    yield f"blk.{index}.{name}.weight", norm
        yield "output_norm.weight", self.output_norm

    def matrices(self) -> Iterator[Matrix]:
        """Each once."""
        yield self.embedding
        for layer in self.layers:
            yield from (layer.attn_q, layer.attn_k, layer.attn_v, layer.attn_output)
            yield from (layer.ffn_gate, layer.ffn_up, layer.ffn_down)
        if self.output is not self.embedding:
            yield self.output


def load(path: Path) -> Weights:
    """Raises BadModelFile."""
    header = read(path)
    shape = architecture(header)
    for bits in (RESIDUAL_BITS, INNER_BITS):
        if not 1 <= epsilon_units(shape.epsilon, bits) <= MAX_EPSILON:
            raise BadModelFile(f"an epsilon of {float(shape.epsilon)} under the root of norms")
    return _Loader(path, header, shape).load()


class _Loader:
    def __init__(self, path: Path, header: Gguf, shape: Architecture) -> None:
        self._header, self._shape = header, shape
        self._data = np.memmap(path, np.uint8, mode="r")
        self._unused = set(header.tensors)

    def load(self) -> Weights:
        a = self._shape
        embedding = self._matrix("token_embd", a.vocabulary, a.width)
        weights = Weights(
            architecture=a,
            embedding=embedding,
            layers=tuple(self._layer(f"blk.{index}.") for index in range(a.layers)),
            output_norm=self._norm("output_norm", a.width),
            output=self._matrix("output", a.vocabulary, a.width) if self._has("output.weight") else embedding,
            rope_factors=self._rope_factors(),
        )
        if self._unused:
            raise BadModelFile(f"the exact engine has no use for the tensor {min(self._unused)}")
        for matrix in weights.matrices():
            check_bound(matrix)
        if a.is_gemma:
            check_scaled(embedding)
        return weights

    def _layer(self, prefix: str) -> Layer:
        a = self._shape
        queries, keys = a.heads * a.head_width, a.kv_heads * a.head_width
        norms = a.head_norms
        return Layer(
            attn_norm=self._norm(prefix + "attn_norm", a.width),
            attn_q=self._matrix(prefix + "attn_q", queries, a.width),
            attn_k=self._matrix(prefix + "attn_k", keys, a.width),
            attn_v=self._matrix(prefix + "attn_v", keys, a.width),
            q_bias=self._bias(prefix + "attn_q.bias", queries),
            k_bias=self._bias(prefix + "attn_k.bias", keys),
            v_bias=self._bias(prefix + "attn_v.bias", keys),
            q_norm=self._norm(prefix + "attn_q_norm", a.head_width) if norms else None,
            k_norm=self._norm(prefix + "attn_k_norm", a.head_width) if norms else None,
            attn_output=self._matrix(prefix + "attn_output", a.width, queries),
            ffn_norm=self._norm(prefix + "ffn_norm", a.width),
            ffn_gate=self._matrix(prefix + "ffn_gate", a.hidden, a.width),
            ffn_up=self._matrix(prefix + "ffn_up", a.hidden, a.width),
            ffn_down=self._matrix(prefix + "ffn_down", a.width, a.hidden),
            attn_post_norm=self._norm(prefix + "post_attention_norm", a.width) if a.is_gemma else None,
            ffn_post_norm=self._norm(prefix + "post_ffw_norm", a.width) if a.is_gemma else None,
        )

    def _has(self, name: str) -> bool:
        return name in self._header.tensors

    def _tensor(self, name: str, shape: tuple[int, ...]) -> Tensor:
        tensor = self._header.tensors.get(name)
        if tensor is None:
            raise BadModelFile(f"the file has no tensor {name}")
        if tensor.shape != shape:
            raise BadModelFile(f"{name} has the shape {tensor.shape} instead of {shape}")
        self._unused.discard(name)
        return tensor

    def _raw(self, tensor: Tensor) -> Bytes:
        return self._data[tensor.start : tensor.start + tensor.size]

    def _matrix(self, name: str, rows: int, columns: int) -> Matrix:
        tensor = self._tensor(name + ".weight", (columns, rows))
        if tensor.type not in MATRIX_TYPES:
            raise BadModelFile(
                f"{tensor.name} has the type {tensor.type_name}, which the exact engine does not compute with "
                f"({', '.join(MATRIX_TYPES.values())})"
            )
        raw = self._raw(tensor).reshape(rows, -1)
        bits = matrix_bits(tensor.type, largest_float(tensor.name, tensor.type, raw))
        return Matrix(tensor.name, tensor.type, rows, columns, raw, bits)

    def _reals(self, name: str, length: int) -> npt.NDArray[np.float64]:
        """Finite numbers of an unquantized vector; float64 holds them exactly."""
        tensor = self._tensor(name, (length,))
        if tensor.type not in (F32, F16):
            raise BadModelFile(f"{name} has the type {tensor.type_name}, not F32 or F16")
        numbers = self._raw(tensor).view("<f4" if tensor.type == F32 else "<f2").astype(np.float64)
        if not np.isfinite(numbers).all():
            raise BadModelFile(f"{name} holds infinities or values that are not numbers")
        return numbers

    def _vector(self, name: str, length: int, bits: int) -> Integers:
        """Rounded to nearest, halves upward."""
        scaled: npt.NDArray[np.float64] = np.floor(self._reals(name, length) * 2.0**bits + 0.5)
        if np.abs(scaled).max() > INT32:
            raise BadModelFile(f"{name} holds magnitudes beyond {2 ** (31 - bits)}")
        vector: Integers = scaled.astype(np.int64)
        return vector

    def _norm(self, name: str, length: int) -> Norm:
        """With as many fraction bits, up to 24, as keep the largest within int32."""
        name += ".weight"
        largest = float(np.abs(self._reals(name, length)).max())
        bits = min(SCALE_BITS, NORM_LARGEST_BITS - math.frexp(largest)[1])
        if bits < SCALE_BITS - MOST_NORM_SCALE:
            most = 2 ** (NORM_LARGEST_BITS - SCALE_BITS + MOST_NORM_SCALE)
            raise BadModelFile(f"{name} holds magnitudes of {most} and more")
        return Norm(self._vector(name, length, bits), bits)

    def _bias(self, name: str, length: int) -> Integers | None:
        return self._vector(name, length, INNER_BITS) if self._has(name) and not self._shape.is_gemma else None

    def _rope_factors(self) -> tuple[Fraction, ...] | None:
        if not self._has("rope_freqs.weight") or self._shape.is_gemma:
            return None
        factors = self._reals("rope_freqs.weight", self._shape.rope_width // 2)
        if factors.min() < 2.0**-4 or factors.max() > 2.0**16:
            raise BadModelFile("rope_freqs.weight holds factors outside 2^-4 to 2^16")
        return tuple(Fraction(factor) for factor in factors.tolist())


def largest_float(name: str, kind: int, raw: Bytes) -> float:
    """The largest magnitude of a matrix of floats; 0 for others. Raises BadModelFile where it has no room."""
    largest = 0.0
    for first in range(0, len(raw) if kind in FLOATS else 0, step := max(1, CHUNK // raw.shape[1])):
        found = float(np.abs(floats(kind, raw[first : first + step])).max(initial=0.0))
        if not found < 1 << (31 - WEIGHT_BITS):  # so also where it is no number, which `max` might drop
            raise BadModelFile(f"{name} holds weights of {2 ** (31 - WEIGHT_BITS)} and more, or that are not numbers")
        largest = max(largest, found)
    return largest


def check_bound(matrix: Matrix) -> None:
    """Raises BadModelFile where a scale is no finite number, or a row's magnitudes sum to 2^48 or more."""
    if matrix.kind in FLOATS:
        if matrix.columns << 31 >= MAX_ROW_WEIGHT and row_weight(matrix) >= MAX_ROW_WEIGHT:
            raise BadModelFile(f"sums over rows of {matrix.name} could leave 64 bits")
        return
    bits = scales(matrix.kind, matrix.raw) & 0x7FFF
    largest = bits.max()
    if largest >= 0x7C00:
        raise BadModelFile(f"{matrix.name} holds infinite scales or scales that are not numbers")
    factor = int(halves(np.array([largest], "<u2").view(np.uint8))[0])
    if factor * LARGEST_FACTOR[matrix.kind] * matrix.columns >= MAX_ROW_WEIGHT and row_weight(matrix) >= MAX_ROW_WEIGHT:
        raise BadModelFile(f"sums over rows of {matrix.name} could leave 64 bits")


def check_scaled(matrix: Matrix) -> None:
    """Raises BadModelFile where a weight of an embedding that is scaled is 128 or more. Floats never are."""
    if matrix.kind in FLOATS:
        return
    largest = (scales(matrix.kind, matrix.raw) & 0x7FFF).max()
    factor = int(halves(np.array([largest], "<u2").view(np.uint8))[0])
    if factor * LARGEST_FACTOR[matrix.kind] < LARGEST_EMBEDDING:
        return
    step = max(1, CHUNK // matrix.columns)
    for first in range(0, matrix.rows, step):
        if np.abs(matrix.integers(first, step)).max() >= LARGEST_EMBEDDING:
            raise BadModelFile(f"{matrix.name} holds weights of {LARGEST_EMBEDDING >> WEIGHT_BITS} and more")


def row_weight(matrix: Matrix) -> float:
    """The largest sum of magnitudes over a row, in units of 2^-bits: exact, or else 2^53 at least."""
    step = max(1, CHUNK // matrix.columns)
    return max(
        float(np.abs(matrix.integers(first, step)).sum(axis=1, dtype=np.float64).max())
        for first in range(0, matrix.rows, step)
    )
