"""The Llama architecture in plain torch as llama.cpp reads it: RoPE on neighbouring pairs, tied embeddings."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

EMBEDDING_STD = 0.3


@dataclass(frozen=True)
class Shape:
    vocabulary: int = 2560
    layers: int = 4
    width: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 32
    hidden: int = 384
    context: int = 512
    rope_base: float = 10_000.0
    norm_epsilon: float = 1e-5


def rope_tables(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, each (length, head_dim / 2)."""
    frequency = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
    angle = torch.arange(length)[:, None] * frequency
    return angle.cos(), angle.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn neighbouring pairs of `x` (..., length, head_dim) by the angles of their positions."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Layer(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        kv_width = shape.kv_heads * shape.head_dim
        self.attn_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.attn_q = nn.Linear(shape.width, shape.heads * shape.head_dim, bias=False)
        self.attn_k = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_v = nn.Linear(shape.width, kv_width, bias=False)
        self.attn_output = nn.Linear(shape.heads * shape.head_dim, shape.width, bias=False)
        self.ffn_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape
        normed = self.attn_norm(x)

        def heads(y: Tensor, count: int) -> Tensor:
            return y.view(batch, length, count, self.shape.head_dim).transpose(1, 2)  # (B, heads, L, head_dim)

        q = rotate(heads(self.attn_q(normed), self.shape.heads), cos, sin)
        k = rotate(heads(self.attn_k(normed), self.shape.kv_heads), cos, sin)
        v = heads(self.attn_v(normed), self.shape.kv_heads)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(batch, length, -1))
        normed = self.ffn_norm(x)
        return x + self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))


class Network(nn.Module):
    """Parameters carry the names of GGUF tensors, dots apart."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, shape.norm_epsilon)
        self._start()

    @torch.no_grad()
    def _start(self) -> None:
        """Start where a small model is slow to arrive (after Trockman and Kolter, "Mimetic Initialization", 2023).

        Layers begin as the identity; one query head of each group looks for tokens like its own, since it shares the
        key's matrix; and the first head of the first layer looks one token back: its query and key see a direction that
        all embeddings share, turned against each other by one position of RoPE.
        """
        shape = self.shape
        nn.init.normal_(self.token_embd.weight, std=EMBEDDING_STD)
        nn.init.constant_(self.output_norm.weight, 0.2)
        for layer in self.blk:
            for matrix in (layer.attn_q, layer.attn_v, layer.ffn_gate, layer.ffn_up):
                nn.init.normal_(matrix.weight, std=0.05)
            nn.init.normal_(layer.attn_k.weight, std=0.08)
            nn.init.zeros_(layer.attn_output.weight)
            nn.init.zeros_(layer.ffn_down.weight)
            q = layer.attn_q.weight.view(shape.kv_heads, -1, shape.head_dim, shape.width)
            q[:, 0] = layer.attn_k.weight.view(shape.kv_heads, shape.head_dim, shape.width)
        self.token_embd.weight[:, 0] = 4 * EMBEDDING_STD
        frequency = shape.rope_base ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
        k, q = self.blk[0].attn_k.weight[: shape.head_dim], self.blk[0].attn_q.weight[: shape.head_dim]
        q *= 0.1
        k.zero_()
        k[0::2, 0] = 1
        q[0::2, 0] = 2 * frequency.cos()
        q[1::2, 0] = -2 * frequency.sin()

    def forward(self, ids: Tensor) -> Tensor:
        """ids: (B, L) int64. Returns the hidden states after the last layer, (B, L, width)."""
        cos, sin = rope_tables(self.shape, ids.shape[1])
        hidden: Tensor = self.token_embd(ids)
        for layer in self.blk:
            hidden = layer(hidden, cos, sin)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden: (..., width) after the last layer. Returns (..., vocabulary)."""
        return functional.linear(self.output_norm(hidden), self.token_embd.weight)
