"""The forward pass on torch: on CPUs without the C kernels, on devices that share a model, and as the plain version of
`triton_forward.py`. `model.Reference` again, bit for bit.

Integers are int64 tensors, and products are those of `torch_matrices.py`; on GPUs that share a model, those of
`triton_products.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from oracle.engines.exact import operators as ops
from oracle.engines.exact import powers
from oracle.engines.exact.architecture import Architecture, epsilon_units
from oracle.engines.exact.constants import (
    ACT_BITS,
    EXP_BITS,
    EXP_STEPS,
    GELU_CUBIC,
    GELU_LINEAR,
    INNER_BITS,
    INT32,
    LARGEST_GELU,
    LARGEST_MANTISSA,
    LOG2_E,
    MANTISSA_BITS,
    MAX_CONTEXT,
    NORMED_BITS,
    RESIDUAL_BITS,
    SCALE_BITS,
    SHARE_BITS,
)
from oracle.engines.exact.model import LIMITS, Chunk, Logits, Saturated, embedded
from oracle.engines.exact.operators import INVERSE_BITS, ROOT_BITS, SPARE_FROM, UNIT_BITS
from oracle.engines.exact.rotations import Turns
from oracle.engines.exact.torch_matrices import AT_ONCE, Quants, keep_kernels, pin_float64, product, to_device
from oracle.engines.exact.weights import Layer, Matrix, Norm, Weights

VALUE_SPLIT_BITS = 13
SPREAD_SUMS = ("attn_output", "down")
"""Operators whose sums run over numbers that are spread over the devices which share a model."""


@dataclass
class TorchCache:
    keys: Tensor
    """(layers, kv heads, capacity, width), int16."""
    key_shift: Tensor
    """(layers, kv heads, capacity), int64."""
    values: Tensor
    """(layers, kv heads, capacity, width), int32."""
    length: int = 0

    @classmethod
    def empty(cls, a: Architecture, capacity: int, device: str) -> "TorchCache":
        if not 0 < capacity <= MAX_CONTEXT:
            raise ValueError(f"no context of {capacity} tokens")
        shape = a.layers, a.kv_heads, capacity
        return cls(
            torch.zeros(*shape, a.head_width, dtype=torch.int16, device=device),
            torch.zeros(shape, dtype=torch.int64, device=device),
            torch.zeros(*shape, a.head_width, dtype=torch.int32, device=device),
        )

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)

    def block(self, start: int, end: int) -> tuple[Tensor, ...]:
        return tuple(tensor[:, :, start:end].clone() for tensor in (self.keys, self.key_shift, self.values))

    def append(self, block: tuple[Tensor, ...]) -> None:
        end = self.length + block[0].shape[2]
        for tensor, part in zip((self.keys, self.key_shift, self.values), block, strict=True):
            tensor[:, :, self.length : end] = part
        self.length = end


def position_bytes(a: Architecture) -> int:
    """Of a `TorchCache`."""
    return a.layers * a.kv_heads * (6 * a.head_width + 8)


@dataclass(frozen=True)
class _Row:
    mantissa: Tensor
    """(..., N), int64."""
    shift: Tensor
    """(...)."""


@dataclass(frozen=True)
class _Norm:
    weight: Tensor
    bits: int

    @classmethod
    def of(cls, norm: Norm, device: str) -> "_Norm":
        return cls(to_device(norm.weight, device), norm.bits)


@dataclass(frozen=True)
class _Layer:
    matrices: dict[str, Any]
    """As `TorchForward._matrix` makes them."""
    norms: dict[str, _Norm]
    biases: dict[str, Tensor]


class Peers(Protocol):
    """Devices that compute one model together (`shared_forward.py`): each calls the same, in the same order."""

    def largest(self, values: Tensor) -> Tensor:
        """Each number's largest over all devices. May change `values`."""

    def total(self, values: Tensor) -> Tensor:
        """Each number's sum over all devices. May change `values`."""


class Alone:
    """`Peers` of a device that has the whole model."""

    def largest(self, values: Tensor) -> Tensor:
        return values

    def total(self, values: Tensor) -> Tensor:
        return values


class TorchForward:
    """Forward by torch on `device`. Not thread-safe."""

    def __init__(
        self,
        weights: Weights,
        device: str,
        kernels: bool | None = None,
        *,
        peers: Peers | None = None,
        layers: Iterable[Layer] | None = None,
    ) -> None:
        """kernels: whether to multiply by the Triton kernels; on GPUs unless said otherwise.

        peers: where `weights` are a share of a model (`shares.py`). layers: in place of those of `weights`.
        """
        a = weights.architecture
        self.architecture, self._device, self._embedding = a, device, weights.embedding
        self._peers: Peers = peers or Alone()
        self._triton: Any = None
        pin_float64(device)
        if device.startswith("cuda") if kernels is None else kernels:
            keep_kernels()
            from oracle.engines.exact import triton_products  # noqa: PLC0415  absent where there is no GPU

            self._triton = triton_products
        self._powers = to_device(powers.table(), device)
        self._rotations = Turns(a, weights.rope_factors)
        self._score_scale = ops.score_scale(a.scale_width)
        self._epsilon = epsilon_units(a.epsilon, RESIDUAL_BITS)
        self._head_epsilon = epsilon_units(a.epsilon, INNER_BITS)
        self._layers = [self._load(layer) for layer in (weights.layers if layers is None else layers)]
        self._output_norm = _Norm.of(weights.output_norm, device)
        self._counts: dict[str, Tensor] = {}
        self._output = self._matrix(weights.output)

    @property
    def position_bytes(self) -> int:
        return position_bytes(self.architecture)

    def cache(self, capacity: int) -> TorchCache:
        return TorchCache.empty(self.architecture, capacity, self._device)

    def run(self, chunks: Sequence[Chunk]) -> list[Logits]:
        return [logits.cpu().numpy() for logits in self.through(self.embedded(chunks), chunks)]

    def embedded(self, chunks: Sequence[Chunk]) -> Tensor:
        """The residual stream before the first layer, (tokens of all chunks, width)."""
        tokens = [token for chunk in chunks for token in chunk.tokens]
        return to_device(embedded(self._embedding, self.architecture, tokens), self._device)

    @torch.no_grad()
    def through(self, residual: Tensor, chunks: Sequence[Chunk]) -> list[Tensor]:
        """Logits of each chunk, (rows, tokens whose logits this device has), int32. Extends the caches."""
        for index in range(len(self._layers)):
            residual = self._layer(index, residual, chunks)
        results = []
        end = 0
        for chunk in chunks:
            assert isinstance(chunk.cache, TorchCache)
            chunk.cache.length += len(chunk.tokens)
            end += len(chunk.tokens)
            row = self._norm(residual[end - chunk.rows : end], self._output_norm, "output_norm")
            logits = self._linear(row, self._output, NORMED_BITS, RESIDUAL_BITS, "logits")
            results.append(logits.to(torch.int32))
        return results

    @property
    def saturated(self) -> Saturated:
        return Saturated({name: int(count) for name, count in self._counts.items() if count})

    def _matrix(self, matrix: Matrix) -> Any:
        """`Quants`, or `triton_products.RawMatrix`."""
        return Quants(matrix, self._device) if self._triton is None else self._triton.RawMatrix(matrix, self._device)

    def _load(self, layer: Layer) -> _Layer:
        loaded = _Layer({}, {}, {})
        for name, value in vars(layer).items():
            if isinstance(value, Matrix):
                loaded.matrices[name] = self._matrix(value)
            elif isinstance(value, Norm):
                loaded.norms[name] = _Norm.of(value, self._device)
            elif value is not None:
                loaded.biases[name] = to_device(value, self._device)
        return loaded

    def _limited(self, name: str, value: Tensor, seen: Tensor | None = None) -> Tensor:
        """Saturated as `model.LIMITS` says, and counted. seen: which numbers count."""
        largest = LIMITS[name]
        value = value.clamp(-largest, largest)
        at = value.abs() == largest
        count = (at if seen is None else at & seen).sum()
        self._counts[name] = self._counts[name] + count if name in self._counts else count
        return value

    def _layer(self, index: int, residual: Tensor, chunks: Sequence[Chunk]) -> Tensor:
        layer, a = self._layers[index], self.architecture
        m, norms, biases = layer.matrices, layer.norms, layer.biases
        row = self._norm(residual, norms["attn_norm"], "attn_norm")
        q = self._linear(row, m["attn_q"], NORMED_BITS, INNER_BITS, "q", biases.get("q_bias"))
        k = self._linear(row, m["attn_k"], NORMED_BITS, INNER_BITS, "k", biases.get("k_bias"))
        value = self._linear(row, m["attn_v"], NORMED_BITS, INNER_BITS, "v", biases.get("v_bias"))
        parts, first = [], 0
        for chunk in chunks:
            cache, part = chunk.cache, slice(first, first + len(chunk.tokens))
            assert isinstance(cache, TorchCache)
            new = slice(cache.length, cache.length + len(chunk.tokens))
            table = self._rotations.of(index)(cache.length, len(chunk.tokens))
            turns = [to_device(each, self._device) for each in table]
            query = self._head_rows("q", q[part], norms.get("q_norm"), turns)
            key = self._head_rows("k", k[part], norms.get("k_norm"), turns)
            cache.keys[index, :, new] = key.mantissa.transpose(0, 1).to(torch.int16)
            cache.key_shift[index, :, new] = key.shift.T
            cache.values[index, :, new] = (
                value[part].reshape(len(chunk.tokens), a.kv_heads, a.head_width).transpose(0, 1).int()
            )
            parts.append(self._attention(index, query, cache, new.stop))
            first = part.stop
        row = self._quantize_spread(torch.cat(parts))
        attended = self._linear(row, m["attn_output"], INNER_BITS, RESIDUAL_BITS, "attn_output")
        residual = self._limited("attn_residual", residual + self._added(attended, norms, "attn_post_norm"))
        row = self._norm(residual, norms["ffn_norm"], "ffn_norm")
        gate = self._linear(row, m["ffn_gate"], NORMED_BITS, INNER_BITS, "gate")
        up = self._linear(row, m["ffn_up"], NORMED_BITS, INNER_BITS, "up")
        row = self._quantize_spread(self._limited("act", self._gated(gate, up)))
        down = self._linear(row, m["ffn_down"], ACT_BITS, RESIDUAL_BITS, "down")
        return self._limited("residual", residual + self._added(down, norms, "ffn_post_norm"))

    def _added(self, x: Tensor, norms: dict[str, _Norm], name: str) -> Tensor:
        """What a block adds to the residual stream: its output, normalised where the family does."""
        norm = norms.get(name)
        return x if norm is None else self._limited(name, _normalize(x, norm, self._epsilon, RESIDUAL_BITS))

    def _linear(self, row: _Row, w: Any, bits: int, to_bits: int, name: str, bias: Tensor | None = None) -> Tensor:
        sums = self._product(row.mantissa, w)
        if name in SPREAD_SUMS:
            sums = self._peers.total(sums)
        y = _shift(sums, w.bits + bits - row.shift[:, None] - to_bits)
        return self._limited(name, y if bias is None else y + bias)

    def _product(self, mantissa: Tensor, w: Any) -> Tensor:
        if w.is_empty:
            return mantissa.new_zeros(len(mantissa), w.rows)
        sums: Tensor = (product if self._triton is None else self._triton.product)(mantissa, w)
        return sums

    def _quantize_spread(self, x: Tensor) -> _Row:
        """Of rows that are spread over devices: by one shift each, that of the whole row."""
        largest = x.abs().amax(-1) if x.shape[-1] else x.new_zeros(len(x))
        return _quantize(x, self._peers.largest(largest))

    def _norm(self, x: Tensor, norm: _Norm, name: str) -> _Row:
        return _quantize(self._limited(name, _normalize(x, norm, self._epsilon, NORMED_BITS)))

    def _head_rows(self, name: str, x: Tensor, norm: _Norm | None, turns: Sequence[Tensor]) -> _Row:
        a = self.architecture
        heads = x.reshape(len(x), x.shape[1] // a.head_width, a.head_width)
        if norm is not None:
            heads = self._limited(name + "_norm", _normalize(heads, norm, self._head_epsilon, INNER_BITS))
        c, s = (table[:, None] for table in turns)
        pairs = a.rope_width // 2
        first = slice(0, 2 * pairs, 2) if a.interleaved else slice(0, pairs)
        second = slice(1, 2 * pairs, 2) if a.interleaved else slice(pairs, 2 * pairs)
        u, v = heads[..., first], heads[..., second]
        rotated = heads.clone()
        rotated[..., first] = _shift(u * c - v * s, SCALE_BITS)
        rotated[..., second] = _shift(u * s + v * c, SCALE_BITS)
        return _quantize(self._limited(name + "_rope", rotated))

    def _attention(self, index: int, query: _Row, cache: TorchCache, length: int) -> Tensor:
        """(T, heads * width), some key heads at a time."""
        a, count = self.architecture, len(query.shift)
        if not a.kv_heads:
            return query.mantissa.new_zeros(count, 0)
        own = torch.arange(length - count, length, device=self._device).unsqueeze(1)
        distance = own - torch.arange(length, device=self._device)
        seen = (distance >= 0) & (distance < (a.window_of(index) or length))
        q = query.mantissa.reshape(count, a.kv_heads, a.group, a.head_width).permute(1, 2, 0, 3)
        q_shift = query.shift.reshape(count, a.kv_heads, a.group).permute(1, 2, 0)
        step = max(1, AT_ONCE // (a.group * count * length))
        parts = []
        for first in range(0, a.kv_heads, step):
            kv = slice(first, first + step)
            keys = cache.keys[index, kv, None, :length].double()
            dots = (q[kv].double() @ keys.transpose(-1, -2)).long()  # below 2^10 * 2^30: exact
            down = 2 * INNER_BITS + SCALE_BITS - RESIDUAL_BITS - q_shift[kv, ..., None]
            z = _shift(dots * self._score_scale, down - cache.key_shift[index, kv, None, None, :length])
            z = torch.where(seen, self._limited("score", z, seen), -INT32)
            t = _shift((z.amax(-1, keepdim=True) - z) * LOG2_E, SCALE_BITS)
            e = torch.where(seen, self._power(t, SHARE_BITS), 0)
            v = cache.values[index, kv, None, :length].long()
            high = v >> VALUE_SPLIT_BITS
            low = v - (high << VALUE_SPLIT_BITS)  # sums below 2^16 * 2^22 * 2^13 in both parts: exact
            mixed = ((e.double() @ high.double()).long() << VALUE_SPLIT_BITS) + (e.double() @ low.double()).long()
            parts.append(_divide(mixed, e.sum(-1, keepdim=True)))
        return torch.cat(parts).permute(2, 0, 1, 3).reshape(count, -1)

    def _power(self, t: Tensor, to_bits: int) -> Tensor:
        k = (t >> 16).clamp(max=32)
        i, f = (t >> 8) & (EXP_STEPS - 1), t & 255
        low = self._powers[i]
        return _shift(low + _shift((self._powers[i + 1] - low) * f, 8), EXP_BITS - to_bits + k)

    def _gated(self, gate: Tensor, up: Tensor) -> Tensor:
        a = gate.abs()
        if self.architecture.is_gemma:
            a = a.clamp(max=LARGEST_GELU)
            t = a * GELU_LINEAR + _shift(_shift(a * a, INNER_BITS) * a, INNER_BITS) * GELU_CUBIC
        else:
            t = a * LOG2_E
        e = self._power(_shift(t, SCALE_BITS + INNER_BITS - 16), EXP_BITS)
        one = 1 << EXP_BITS
        sigma = _divide(torch.where(gate >= 0, one, e) << SCALE_BITS, one + e)
        h = _shift(gate * sigma, SCALE_BITS)
        return _shift(h * up, 2 * INNER_BITS - ACT_BITS)


def _shift(value: Tensor, by: Tensor | int) -> Tensor:
    by = torch.as_tensor(by, device=value.device)
    right, left = by.clamp(min=0), (-by).clamp(min=0)
    return ((value + ((1 << right) >> 1)) >> right) << left


def _divide(value: Tensor, by: Tensor) -> Tensor:
    return value.sign() * torch.div(value.abs() + (by >> 1), by, rounding_mode="floor")


def _bit_length(value: Tensor) -> Tensor:
    """Bit lengths of integers from 0 to 2^53."""
    return torch.frexp(value.double()).exponent.long()


def _root(value: Tensor) -> Tensor:
    """floor(sqrt(v)) for v < 2^62.6: the double is off by one at most."""
    r = value.double().sqrt().long()
    r = r - (r * r > value).long()
    return r + ((r + 1) * (r + 1) <= value).long()


def _quantize(x: Tensor, largest: Tensor | None = None) -> _Row:
    """largest: (...), the rows' largest magnitudes, where they are known."""
    s = (_bit_length(x.abs().amax(-1) if largest is None else largest) - MANTISSA_BITS).clamp(min=0)
    return _Row(_shift(x, s[..., None]).clamp(-LARGEST_MANTISSA, LARGEST_MANTISSA), s)


def _normalize(x: Tensor, norm: _Norm, epsilon: int, to_bits: int) -> Tensor:
    """Before it is limited."""
    row = _quantize(x)
    squares = (row.mantissa * row.mantissa).sum(-1)
    mean = torch.div(squares << 18, x.shape[-1], rounding_mode="floor") + (epsilon >> (2 * row.shift).clamp(max=62))
    r = _root(mean << 14)
    b = _bit_length(r)
    inverse = torch.div(1 << (INVERSE_BITS + b), r, rounding_mode="floor")
    spare = (row.shift - SPARE_FROM).clamp(min=0)
    by = b + row.shift - spare + (INVERSE_BITS - ROOT_BITS - UNIT_BITS)
    unit = _shift(_shift(x, spare[..., None]) * inverse[..., None], by[..., None])
    return _shift(unit * norm.weight, UNIT_BITS + norm.bits - to_bits)
