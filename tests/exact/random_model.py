"""Random GGUF files of every family and tensor type that the exact engine serves, of sizes as odd as types allow."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from rig.gguf_parts import add_architecture, finish
from rig.tiny_gguf import vocabulary

from oracle.engines.exact.quants import LARGEST_FACTOR, MATRIX_TYPES, SCALES_AT, Bytes
from oracle.models.gguf import BLOCKS, Gguf

Kind = gguf.GGMLQuantizationType
FLOATS = (Kind.F16, Kind.BF16, Kind.F32)
SIZES = {Kind(kind): BLOCKS[kind] for kind in MATRIX_TYPES}
BLOCK = {kind: numbers for kind, (numbers, _) in SIZES.items()}
SPREAD = {kind: LARGEST_FACTOR[int(kind)] / 4 for kind in SIZES if kind not in FLOATS} | {
    Kind.Q8_0: 128, Kind.Q4_0: 8, Kind.Q4_K: 500, Kind.Q6_K: 2000,
}  # fmt: skip
"""What a usual weight is of its scale."""


@dataclass(frozen=True)
class Shape:
    family: str = "llama"
    kind: Kind = Kind.Q8_0
    layers: int = 2
    width: int = 64
    hidden: int = 96
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 16
    rope_width: int = 16
    rope_factors: bool = False
    tied: bool = False
    gain: float = 1.0
    """Of all weights: large ones drive activations into saturation."""
    norm_gain: float = 1.0
    """Of norm weights."""
    zero_rows: bool = False
    rope_base: float = 10_000.0
    context: int = 128
    spare_tokens: int = 0
    """Beyond the 377 of the vocabulary."""
    takes_text: bool = False
    """Whether the dispute game can judge prompts of words: else no token is the byte 255's, and prompts are ids."""
    words: Gguf | None = None
    """Another vocabulary: the header that has it."""
    extra: tuple[tuple[str, Any], ...] = ()
    """More header entries of the family: a name and a boolean, number, text or list."""


def raw_rows(rng: np.random.Generator, kind: Kind, rows: int, columns: int, gain: float, zero_rows: bool) -> Bytes:
    """Blocks of random bits, but for the scales, which are small finite fp16 numbers of either sign."""
    raw: Bytes
    if kind in FLOATS:
        values = rng.standard_normal((rows, columns)) * gain / np.sqrt(columns)
        if kind == Kind.BF16:
            raw = (values.astype("<f4").view("<u4") >> 16).astype("<u2").view(np.uint8)
        else:
            raw = values.astype(np.float16 if kind == Kind.F16 else np.float32).view(np.uint8)
    else:
        numbers, size = SIZES[kind]
        raw = rng.integers(0, 256, (rows, columns // numbers, size), dtype=np.uint8)
        for at in SCALES_AT[int(kind)]:
            scale = rng.standard_normal(raw.shape[:2]) * gain / SPREAD[kind] / np.sqrt(columns)
            raw[:, :, at : at + 2] = scale.astype(np.float16)[..., None].view(np.uint8)
    raw = raw.reshape(rows, -1)
    if zero_rows:
        raw[:: max(1, rows // 3)] = 0
    return raw


def write(path: Path, shape: Shape, seed: int = 0) -> Path:
    """Writes the file; the same seed gives the same file."""
    out = gguf.GGUFWriter(str(path), shape.family)
    _add_header(out, shape)
    _add_tensors(out, shape, np.random.default_rng(seed))
    finish(out)
    return path


def tokens(shape: Shape) -> tuple[list[str], list[float], list[int]]:
    """Texts, scores and types."""
    if shape.words is not None:
        named: dict[str, Any] = shape.words.metadata
        spelled: list[bytes] = named["tokenizer.ggml.tokens"]
        own = named.get("tokenizer.ggml.scores", []), named["tokenizer.ggml.token_type"]
        return [text.decode() for text in spelled], *own
    texts, scores, types = vocabulary()
    spare = shape.spare_tokens
    more = [f"▁spare{n}" for n in range(spare)]
    if not shape.takes_text:
        types[texts.index("<0xFF>")] = int(gguf.TokenType.UNUSED)
    return [*texts, *more], [*scores, *[-200.0] * spare], [*types, *[int(gguf.TokenType.NORMAL)] * spare]


def _add_header(out: gguf.GGUFWriter, shape: Shape) -> None:
    texts, scores, types = tokens(shape)
    add_architecture(
        out,
        "random",
        context=shape.context,
        width=shape.width,
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        rope_width=shape.rope_width,
        vocabulary=len(texts),
        head_width=shape.head_width,
        rope_base=shape.rope_base,
    )
    adders: dict[type, Callable[[str, Any], None]] = {
        bool: out.add_bool,
        int: out.add_uint32,
        float: out.add_float32,
        str: out.add_string,
        list: out.add_array,
    }
    for name, value in shape.extra:
        adders[type(value)](f"{shape.family}.{name}", value)
    out.add_token_list(texts)
    out.add_token_types(types)
    if scores:
        out.add_token_scores(scores)
    out.add_bos_token_id(1)
    out.add_eos_token_id(2)
    named = {} if shape.words is None else shape.words.metadata
    out.add_tokenizer_model(named.get("tokenizer.ggml.model", "llama"))
    out.add_add_space_prefix(named.get("tokenizer.ggml.add_space_prefix", False))
    if "tokenizer.ggml.merges" in named:
        out.add_tokenizer_pre(named["tokenizer.ggml.pre"])
        out.add_token_merges(named["tokenizer.ggml.merges"])


def _add_tensors(out: gguf.GGUFWriter, shape: Shape, rng: np.random.Generator) -> None:
    def matrix(name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        raw = raw_rows(rng, shape.kind, rows, columns, gain * shape.gain, shape.zero_rows)
        plain = {Kind.F16: np.float16, Kind.F32: np.float32}.get(shape.kind)
        if plain is not None:
            out.add_tensor(name, raw.view(plain))
        else:
            out.add_tensor(name, raw, raw_dtype=shape.kind)

    def vector(name: str, length: int, middle: float = 1.0) -> None:
        values = middle + 0.3 * rng.standard_normal(length)
        out.add_tensor(name, (values * (shape.norm_gain if middle else 1.0)).astype(np.float32))

    count, queries, keys = len(tokens(shape)[0]), shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    matrix("token_embd.weight", count, shape.width, 8.0)
    if not shape.tied:
        matrix("output.weight", count, shape.width, 4.0)
    vector("output_norm.weight", shape.width)
    if shape.rope_factors:
        out.add_tensor("rope_freqs.weight", rng.uniform(1, 8, shape.rope_width // 2).astype(np.float32))
    for layer in range(shape.layers):
        at = f"blk.{layer}."
        vector(at + "attn_norm.weight", shape.width)
        matrix(at + "attn_q.weight", queries, shape.width, 2.0)
        matrix(at + "attn_k.weight", keys, shape.width, 2.0)
        matrix(at + "attn_v.weight", keys, shape.width)
        if shape.family == "qwen2":
            for name, length in (("q", queries), ("k", keys), ("v", keys)):
                vector(f"{at}attn_{name}.bias", length, 0.0)
        if shape.family in ("qwen3", "gemma3"):
            vector(at + "attn_q_norm.weight", shape.head_width)
            vector(at + "attn_k_norm.weight", shape.head_width)
        matrix(at + "attn_output.weight", shape.width, queries)
        vector(at + "ffn_norm.weight", shape.width)
        matrix(at + "ffn_gate.weight", shape.hidden, shape.width, 2.0)
        matrix(at + "ffn_up.weight", shape.hidden, shape.width)
        matrix(at + "ffn_down.weight", shape.width, shape.hidden)
        if shape.family == "gemma3":
            vector(at + "post_attention_norm.weight", shape.width)
            vector(at + "post_ffw_norm.weight", shape.width)


def gemma3(**changes: Any) -> Shape:
    """A model of Gemma 3's family with three layers, of which the last sees all positions, the others five."""
    windows = ("attention.sliding_window", 5), ("attention.sliding_window_pattern", 3), ("rope.scaling.factor", 8.0)
    usual: dict[str, Any] = {"layers": 3, "tied": True, "rope_base": 1e6, "extra": windows}
    return Shape("gemma3", **usual | changes)


SHAPES = {
    "llama": Shape(),
    "llama-f16-odd": Shape(kind=Kind.F16, width=50, hidden=37, heads=3, kv_heads=1, head_width=14, rope_width=10),
    "llama-q4_0-factors": Shape(kind=Kind.Q4_0, rope_factors=True, tied=True),
    "llama-q4_k": Shape(kind=Kind.Q4_K, width=256, hidden=256, heads=4, kv_heads=4, head_width=64, rope_width=64),
    "llama-q6_k": Shape(kind=Kind.Q6_K, width=256, hidden=256, heads=8, kv_heads=2, head_width=32, rope_width=32),
    "llama-loud": Shape(gain=60.0),
    "llama-zeros": Shape(zero_rows=True),
    "llama-q4_1": Shape(kind=Kind.Q4_1, width=96),
    "llama-q5_k": Shape(kind=Kind.Q5_K, width=256, hidden=256, heads=4, kv_heads=2, head_width=64, rope_width=64),
    "llama-f32-odd": Shape(kind=Kind.F32, width=50, hidden=37, heads=3, kv_heads=1, head_width=14, rope_width=10),
    "llama-large-norms": Shape(norm_gain=1000.0, gain=0.001),
    "qwen2": Shape(family="qwen2", hidden=160),
    "qwen2-q2_k": Shape("qwen2", Kind.Q2_K, 1, 256, 256, head_width=64, rope_width=64),
    "qwen3": Shape(family="qwen3", heads=6, kv_heads=3, head_width=32, rope_width=32),
    "qwen3-bf16": Shape(family="qwen3", kind=Kind.BF16, width=50, hidden=70),
    "gemma3": gemma3(heads=6, kv_heads=3, head_width=32, rope_width=32),
    "gemma3-f16-odd": gemma3(kind=Kind.F16, width=50, hidden=37, heads=3, kv_heads=1, head_width=14, rope_width=10),
    "gemma3-loud": gemma3(kind=Kind.Q4_0, gain=8.0, norm_gain=30.0),
}
