"""The forward pass on GPUs: `torch_forward.TorchForward` again, bit for bit, by Triton kernels in integers.

A layer takes 17 launches, whatever the number of tokens and sequences. Weights stay the bytes of the file; tables,
norms and biases lie on the device. A step of one token has its launches prepared when a model is loaded, over buffers
that stay where they are; what changes from token to token is written into them. On a GPU these launches are captured as
a CUDA graph, and no graph serves that has not given the bits of the launches it was made of.

Matrices of F16, BF16 and F32 are multiplied by torch, in float64, for more than `FEW` tokens. Nothing else is float.
"""

# mypy: disable-error-code="import-not-found,import-untyped"
# Triton has no types, and is not installed everywhere.

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import structlog
import torch
import triton
from torch import Tensor

from oracle.engines.exact import operators as ops
from oracle.engines.exact import powers
from oracle.engines.exact import triton_operators as fused
from oracle.engines.exact.architecture import Architecture, epsilon_units
from oracle.engines.exact.constants import ACT_BITS, INNER_BITS, MAX_CONTEXT, NORMED_BITS, RESIDUAL_BITS
from oracle.engines.exact.model import LIMITS, Chunk, Logits, Saturated, embedded
from oracle.engines.exact.rotations import Turns
from oracle.engines.exact.torch_forward import TorchCache, position_bytes
from oracle.engines.exact.torch_matrices import keep_kernels, pin_float64, to_device
from oracle.engines.exact.triton_products import After, Launch, RawMatrix, linear
from oracle.engines.exact.weights import Layer, Matrix, Norm, Weights
from oracle.errors import WrongNumbers

log = structlog.get_logger(__name__)

SLOTS = {name: slot for slot, name in enumerate(LIMITS)}
PROVEN_TOKENS = 3
"""Steps for which a captured graph must give the bits of its launches."""

Step = Callable[[], None]
Capture = Callable[[Step], Step]
"""Makes a step of which the launches were recorded. Raises RuntimeError where it cannot."""


def captured(step: Step) -> Step:
    """A CUDA graph of what `step` launches. Runs it once before, so that every kernel is compiled and loaded."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    replay: Step = graph.replay
    return replay


class _Layer:
    """A layer's weights on the device."""

    def __init__(self, layer: Layer, device: str) -> None:
        self.matrices: dict[str, RawMatrix] = {}
        self.norms: dict[str, tuple[Tensor, int]] = {}
        """Weights and their fraction bits."""
        self.biases: dict[str, Tensor] = {}
        for name, value in vars(layer).items():
            if isinstance(value, Matrix):
                self.matrices[name] = RawMatrix(value, device)
            elif isinstance(value, Norm):
                self.norms[name] = to_device(value.weight, device), value.bits
            elif value is not None:
                self.biases[name] = to_device(value, device)


class _Buffers:
    """What a pass over T tokens reads and writes."""

    def __init__(self, a: Architecture, tokens: int, device: str) -> None:
        def make(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(tokens, *shape, dtype=dtype, device=device)

        queries, keys = a.heads * a.head_width, a.kv_heads * a.head_width
        self.residual = make(a.width)
        self.turns, self.local_turns = make(2, a.rope_width // 2), make(2, a.rope_width // 2)
        """Cosines and sines of the tokens' positions; for layers with a window, if there are any."""
        self.caches = make(fused.CACHE.value)
        self.normed, self.attended, self.hidden = (
            make(columns, dtype=torch.int16) for columns in (a.width, queries, a.hidden)
        )
        """Mantissas of quantized rows, whose shifts are in `shift`."""
        self.shift, self.peak = make(dtype=torch.int32), make()
        self.q, self.k, self.v, self.context = make(queries), make(keys), make(keys), make(queries)
        self.gate, self.up, self.act = make(a.hidden), make(a.hidden), make(a.hidden)
        self.made = make(a.width) if a.is_gemma else self.residual
        """What a block adds to the residual stream, before it is normalised."""
        self.query, self.query_shift = make(queries, dtype=torch.int16), make(a.heads)
        self.largest, self.total, self.mixed = make(a.heads), make(a.heads), make(queries)


class TritonForward:
    """Forward by Triton kernels on `device`. Not thread-safe."""

    def __init__(self, weights: Weights, device: str, capture: Capture | None = None) -> None:
        """capture: how steps of one token are captured; None for not at all."""
        a = weights.architecture
        self.weights, self.architecture, self._device = weights, a, device
        pin_float64(device)
        if device.startswith("cuda"):
            keep_kernels()
        self._powers = to_device(powers.table().astype(np.int32), device)
        self._rotations = Turns(a, weights.rope_factors)
        self._score_scale = ops.score_scale(a.scale_width)
        self._epsilon, self._head_epsilon = (
            torch.tensor([epsilon_units(a.epsilon, bits)], device=device) for bits in (RESIDUAL_BITS, INNER_BITS)
        )
        self._layers = [_Layer(layer, device) for layer in weights.layers]
        self._output_norm = to_device(weights.output_norm.weight, device), weights.output_norm.bits
        self._output = RawMatrix(weights.output, device)
        self._counts = torch.zeros(len(SLOTS), dtype=torch.int64, device=device)
        self._one, self._one_logits = _Buffers(a, 1, device), self._logits(1)
        self._one_launches = [*self._whole(self._one, self._one_logits)]
        self._one_step: Step = self._launch_one
        if capture is not None:
            self._one_step = self._proven(capture)

    @property
    def position_bytes(self) -> int:
        return position_bytes(self.architecture)

    @property
    def saturated(self) -> Saturated:
        counts = self._counts.tolist()
        return Saturated({name: counts[slot] for name, slot in SLOTS.items() if counts[slot]})

    def cache(self, capacity: int) -> TorchCache:
        return TorchCache.empty(self.architecture, capacity, self._device)

    def launches(self, tokens: int) -> Iterator[Launch]:
        """Those of a pass over so many tokens, each with logits."""
        yield from self._whole(_Buffers(self.architecture, tokens, self._device), self._logits(tokens))

    @torch.no_grad()
    def run(self, chunks: Sequence[Chunk]) -> list[Logits]:
        for chunk in chunks:
            assert isinstance(chunk.cache, TorchCache)
            if chunk.cache.length + len(chunk.tokens) > chunk.cache.keys.shape[2]:
                raise ValueError("more tokens than the cache holds")  # kernels would write beyond it
        tokens = sum(len(chunk.tokens) for chunk in chunks)
        rows = [chunk.rows for chunk in chunks]
        if tokens == 1 and rows == [1]:
            self._fill(self._one, chunks)
            self._one_step()
            logits = self._one_logits
        else:
            b = _Buffers(self.architecture, tokens, self._device)
            self._fill(b, chunks)
            _launch(self._body(b))
            ends = np.cumsum([len(chunk.tokens) for chunk in chunks])
            chosen = np.concatenate([np.arange(end - count, end) for end, count in zip(ends, rows, strict=True)])
            logits = self._logits(len(chosen))
            if len(chosen):
                residual = b.residual[to_device(chosen, self._device)]
                _launch(self._end(residual, _Buffers(self.architecture, len(chosen), self._device), logits))
        for chunk in chunks:
            chunk.cache.length += len(chunk.tokens)
        return np.split(logits.to(torch.int32).cpu().numpy(), np.cumsum(rows)[:-1])

    def _logits(self, rows: int) -> Tensor:
        return torch.empty(rows, self.architecture.vocabulary, dtype=torch.int64, device=self._device)

    def _launch_one(self) -> None:
        _launch(self._one_launches)

    def _proven(self, capture: Capture) -> Step:
        """The captured step, if it can be captured. Raises WrongNumbers where it gives other bits than its launches."""
        tokens = [token % self.architecture.vocabulary for token in range(PROVEN_TOKENS)]
        plain, other = self.cache(PROVEN_TOKENS), self.cache(PROVEN_TOKENS)
        right = [self.run([Chunk([token], plain, 1)])[0] for token in tokens]
        self._fill(self._one, [Chunk(tokens[:1], other, 1)])  # capturing runs the step
        try:
            self._one_step = step = capture(self._launch_one)
        except RuntimeError as error:
            log.warning("decoding without a captured graph", device=self._device, reason=str(error))
            self._counts.zero_()
            return self._launch_one
        found = [self.run([Chunk([token], other, 1)])[0] for token in tokens]
        same = all(map(torch.equal, plain.block(0, PROVEN_TOKENS), other.block(0, PROVEN_TOKENS)))
        if not same or not np.array_equal(right, found):
            raise WrongNumbers(f"a graph captured on {self._device} computes something else than its launches")
        self._counts.zero_()
        return step

    def _fill(self, b: _Buffers, chunks: Sequence[Chunk]) -> None:
        """What is known of the tokens before the pass: embeddings, turns of their positions, and their caches."""
        turns: list[list[Any]] = [[], []]
        caches = []
        tokens = [token for chunk in chunks for token in chunk.tokens]
        for chunk in chunks:
            cache = chunk.cache
            assert isinstance(cache, TorchCache)
            tables = self._rotations(cache.length, len(chunk.tokens))
            turns[0].append(np.stack(tables[:2], axis=1))
            turns[1].append(np.stack(tables[-2:], axis=1))
            own = *(tensor.data_ptr() for tensor in (cache.keys, cache.key_shift, cache.values)), cache.keys.shape[2]
            caches += [(*own, cache.length + index) for index in range(len(chunk.tokens))]
        b.residual.copy_(torch.from_numpy(embedded(self.weights.embedding, self.architecture, tokens)))
        for into, parts in zip((b.turns, b.local_turns), turns, strict=True):
            into.copy_(torch.from_numpy(np.concatenate(parts)))
        b.caches.copy_(torch.tensor(caches))

    def _whole(self, b: _Buffers, logits: Tensor) -> Iterator[Launch]:
        yield from self._body(b)
        yield from self._end(b.residual, b, logits)

    def _body(self, b: _Buffers) -> Iterator[Launch]:
        """All layers: from the embeddings to the residual stream, in `b.residual`."""
        for index in range(len(self._layers)):
            yield from self._attention(index, b)
            yield from self._feed_forward(index, b)

    def _attention(self, index: int, b: _Buffers) -> Iterator[Launch]:
        layer, a, tokens = self._layers[index], self.architecture, len(b.residual)
        m, width, block = layer.matrices, a.head_width, triton.next_power_of_2(a.head_width)
        yield self._norm(b.residual, layer.norms["attn_norm"], "attn_norm", b)
        for name, out in (("q", b.q), ("k", b.k), ("v", b.v)):
            after = _after(name, NORMED_BITS - INNER_BITS, layer.biases.get(f"{name}_bias"))
            yield linear(b.normed, b.shift, m[f"attn_{name}"], after, out, self._counts)
        window = a.window_of(index)
        turns = b.local_turns if window else b.turns
        norm, common = self._head_norm(layer, "q", block)
        found = b.query, b.query_shift, b.largest, b.total, b.mixed, self._counts
        yield fused.query_heads, (tokens, a.heads), (b.q, *norm, turns, *found, a.heads, *common("q"))
        norm, common = self._head_norm(layer, "k", block)
        keys = b.k, b.v, *norm, turns, b.caches, self._counts
        yield fused.key_heads, (tokens, a.kv_heads), (*keys, a.kv_heads, *common("k", index))
        parts = tokens, a.heads, fused.SPLITS
        shape = a.heads, a.kv_heads, width, index, self._score_scale, window or MAX_CONTEXT
        sizes = fused.SPLITS, max(1, fused.POSITIONS // block), block
        query = b.query, b.query_shift, b.caches
        yield fused.largest_scores, parts, (*query, b.largest, self._counts, *shape, SLOTS["score"], *sizes)
        yield fused.mixed_values, parts, (*query, self._powers, b.largest, b.total, b.mixed, *shape, *sizes)
        yield fused.mean_values, (tokens, a.heads), (b.mixed, b.total, b.peak, b.context, a.heads, width, block)
        yield self._quantized(b.context, b.attended, b)
        then = None if a.is_gemma else "attn_residual"
        after = _after("attn_output", INNER_BITS - RESIDUAL_BITS, then=then)
        yield linear(b.attended, b.shift, m["attn_output"], after, b.made, self._counts)
        yield from self._added(layer, "attn_post_norm", "attn_residual", b)

    def _feed_forward(self, index: int, b: _Buffers) -> Iterator[Launch]:
        layer, hidden, tokens = self._layers[index], self.architecture.hidden, len(b.residual)
        m = layer.matrices
        yield self._norm(b.residual, layer.norms["ffn_norm"], "ffn_norm", b)
        for name, out in (("gate", b.gate), ("up", b.up)):
            after = _after(name, NORMED_BITS - INNER_BITS)
            yield linear(b.normed, b.shift, m[f"ffn_{name}"], after, out, self._counts)
        is_gemma = self.architecture.is_gemma
        act = b.gate, b.up, self._powers, b.peak, b.act, self._counts, hidden, SLOTS["act"], is_gemma, fused.ELEMENTS
        yield fused.gated, (tokens, triton.cdiv(hidden, fused.ELEMENTS)), act
        yield self._quantized(b.act, b.hidden, b)
        after = _after("down", ACT_BITS - RESIDUAL_BITS, then=None if is_gemma else "residual")
        yield linear(b.hidden, b.shift, m["ffn_down"], after, b.made, self._counts)
        yield from self._added(layer, "ffn_post_norm", "residual", b)

    def _added(self, layer: _Layer, name: str, sum_name: str, b: _Buffers) -> Iterator[Launch]:
        """What a block made, normalised and added to the residual stream, where the family normalises it."""
        if name not in layer.norms:
            return
        weight, bits = layer.norms[name]
        numbers = b.made.shape[1], ops.UNIT_BITS + bits - RESIDUAL_BITS, SLOTS[name], SLOTS[sum_name], fused.ROW
        yield fused.norm_added, (len(b.made),), (b.made, weight, self._epsilon, b.residual, self._counts, *numbers)

    def _end(self, residual: Tensor, b: _Buffers, logits: Tensor) -> Iterator[Launch]:
        yield self._norm(residual, self._output_norm, "output_norm", b)
        after = _after("logits", NORMED_BITS - RESIDUAL_BITS)
        yield linear(b.normed, b.shift, self._output, after, logits, self._counts)

    def _norm(self, x: Tensor, norm: tuple[Tensor, int], name: str, b: _Buffers) -> Launch:
        weight, bits = norm
        out = b.normed, b.shift, b.peak, self._counts
        numbers = x.shape[1], ops.UNIT_BITS + bits - NORMED_BITS, SLOTS[name], fused.ROW
        return fused.norm_rows, (len(x),), (x, weight, self._epsilon, *out, *numbers)

    def _quantized(self, x: Tensor, mantissa: Tensor, b: _Buffers) -> Launch:
        grid = len(x), triton.cdiv(x.shape[1], fused.ELEMENTS)
        return fused.quantized, grid, (x, b.peak, mantissa, b.shift, x.shape[1], fused.ELEMENTS)

    def _head_norm(self, layer: _Layer, name: str, block: int) -> tuple[tuple[Tensor, Tensor], Callable[..., Any]]:
        """Weights and epsilon of the heads' norm, and the numbers and constants of a launch that rotates heads."""
        a = self.architecture
        weight, bits = layer.norms.get(f"{name}_norm", (self._epsilon, 0))

        def common(name: str, *layer_index: int) -> tuple[Any, ...]:
            down, slots = ops.UNIT_BITS + bits - INNER_BITS, (SLOTS[f"{name}_rope"], SLOTS[f"{name}_norm"])
            constants = bits != 0, a.interleaved, block
            return a.head_width, down, a.rope_width // 2, *layer_index, *slots, *constants

        return (weight, self._head_epsilon), common


def _after(name: str, down: int, bias: Tensor | None = None, then: str | None = None) -> After:
    return After(down, LIMITS[name].bit_length(), SLOTS[name], bias, None if then is None else SLOTS[then])


def _launch(launches: "Iterator[Launch] | Sequence[Launch]") -> None:
    for kernel, grid, arguments in launches:
        kernel[grid](*arguments)
