"""The same model in float64: what the integers are measured against, never what an answer rests on.

Weights are the exact values of the file; norms, biases and rotary factors are the file's own floats, not rounded ones.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oracle.engines.exact.constants import RESIDUAL_BITS
from oracle.engines.exact.quants import F32
from oracle.engines.exact.weights import Matrix, Weights
from oracle.models.gguf import read

Floats = npt.NDArray[np.float64]


class Float64:
    """Logits of a whole sequence in float64."""

    def __init__(self, path: Path, weights: Weights) -> None:
        self._weights, self._architecture = weights, weights.architecture
        data = np.memmap(path, np.uint8, mode="r")
        self._vectors = {
            tensor.name: data[tensor.start :][: tensor.size].view("<f4" if tensor.type == F32 else "<f2").astype(float)
            for tensor in read(path).tensors.values()
            if len(tensor.shape) == 1
        }

    def logits(self, tokens: Sequence[int]) -> Floats:
        """(T, vocabulary)."""
        a, embedding = self._architecture, self._weights.embedding
        x = np.concatenate([embedding.integers(token, 1) for token in tokens]) / 2.0**embedding.bits
        x = x * np.sqrt(a.width) if a.is_gemma else x
        for index, layer in enumerate(self._weights.layers):
            prefix = f"blk.{index}."
            y = self._norm(x, prefix + "attn_norm.weight")
            q, k, v = (
                (_linear(y, matrix) + self._vectors.get(f"{prefix}attn_{name}.bias", 0.0)).reshape(
                    len(tokens), -1, a.head_width
                )
                for name, matrix in (("q", layer.attn_q), ("k", layer.attn_k), ("v", layer.attn_v))
            )
            if a.head_norms:
                q, k = self._norm(q, prefix + "attn_q_norm.weight"), self._norm(k, prefix + "attn_k_norm.weight")
            window = a.window_of(index)
            o = self._attend(self._rotate(q, window > 0), self._rotate(k, window > 0), v, window)
            x = x + self._output(_linear(o, layer.attn_output), prefix + "post_attention_norm.weight")
            y = self._norm(x, prefix + "ffn_norm.weight")
            gate = _linear(y, layer.ffn_gate)
            act = _gelu(gate) if a.is_gemma else gate / (1 + np.exp(-gate))
            down = _linear(act * _linear(y, layer.ffn_up), layer.ffn_down)
            x = x + self._output(down, prefix + "post_ffw_norm.weight")
        return _linear(self._norm(x, "output_norm.weight"), self._weights.output)

    def _output(self, x: Floats, name: str) -> Floats:
        """Of a block: normalised where the family does."""
        return self._norm(x, name) if name in self._vectors else x

    def _norm(self, x: Floats, name: str) -> Floats:
        mean = (x * x).mean(axis=-1, keepdims=True)
        result: Floats = x / np.sqrt(mean + float(self._architecture.epsilon)) * self._vectors[name]
        return result

    def _rotate(self, x: Floats, is_local: bool) -> Floats:
        a = self._architecture
        pairs = a.rope_width // 2
        base, divisor = (a.local_base, 1) if is_local else (a.rope_base, a.rope_divisor)
        angles = float(base) ** (-2.0 * np.arange(pairs) / a.rope_width) / float(divisor)
        angles = np.arange(len(x))[:, None] * angles / self._vectors.get("rope_freqs.weight", 1.0)
        c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
        both = np.arange(2 * pairs)
        first, second = (both[::2], both[1::2]) if a.interleaved else (both[:pairs], both[pairs:])
        result = x.copy()
        result[..., first] = x[..., first] * c - x[..., second] * s
        result[..., second] = x[..., first] * s + x[..., second] * c
        return result

    def _attend(self, q: Floats, k: Floats, v: Floats, window: int) -> Floats:
        a = self._architecture
        distance = np.arange(len(q))[:, None] - np.arange(len(q))
        seen = (distance >= 0) & (distance < (window or len(q)))
        parts = []
        for head in range(a.heads):
            kv = head // a.group
            z = np.where(seen, q[:, head] @ k[:, kv].T / np.sqrt(a.scale_width), -np.inf)
            e = np.exp(z - z.max(axis=-1, keepdims=True))
            parts.append(e @ v[:, kv] / e.sum(axis=-1, keepdims=True))
        return np.concatenate(parts, axis=-1)


def _gelu(x: Floats) -> Floats:
    """Its tanh form."""
    result: Floats = 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return result


def divergence(exact: npt.NDArray[np.int64] | Floats, floats: Floats) -> Floats:
    """KL(softmax of floats || softmax of exact logits at 16 bits) of each row, in nats. (T,)."""
    p, q = _log_softmax(floats), _log_softmax(exact / 2.0**RESIDUAL_BITS)
    result: Floats = (np.exp(p) * (p - q)).sum(axis=-1)
    return result


def _log_softmax(x: Floats) -> Floats:
    x = x - x.max(axis=-1, keepdims=True)
    result: Floats = x - np.log(np.exp(x).sum(axis=-1, keepdims=True))
    return result


def _linear(x: Floats, matrix: Matrix) -> Floats:
    step = max(1, (1 << 24) // matrix.columns)
    parts = [x @ (matrix.integers(first, step) / 2.0**matrix.bits).T for first in range(0, matrix.rows, step)]
    return np.concatenate(parts, axis=-1)
