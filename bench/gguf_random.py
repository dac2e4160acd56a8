"""Random-weight Q8_0 GGUF files at real shapes: what speed and closeness are measured on.

The file is made from a seed with quants uniform in int8 and block scales chosen so that every linear layer keeps
the size of its input; llama.cpp and the exact engine both load it. Its vocabulary is made up: each id spells `<id>`.
"""

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt
from rig.gguf_parts import add_architecture, finish

BLOCK = 32
QUANT_RMS = 73.3  # of integers uniform in [-127, 127]


@dataclass(frozen=True)
class Shape:
    """Architecture numbers of a llama-family model with tied embeddings."""

    name: str
    layers: int
    width: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    context: int = 4096


LLAMA_1B = Shape("llama-1b", 16, 2048, 8192, 32, 8, 64, 128_256)
"""Llama 3.2 1B."""
LLAMA_135M = Shape("llama-135m", 30, 576, 1536, 9, 3, 64, 49_152)
"""SmolLM2 135M."""
TINY = Shape("llama-tiny", 3, 128, 256, 4, 2, 32, 512, 512)


def q8_rows(rng: np.random.Generator, rows: int, columns: int, gain: float = 1.0) -> npt.NDArray[np.uint8]:
    """Q8_0 blocks of a (rows, columns) matrix whose rows keep the rms of their input times `gain`; uint8."""
    blocks = np.empty((rows, columns // BLOCK, BLOCK + 2), np.uint8)
    scale = gain / (QUANT_RMS * np.sqrt(columns))
    scales = (scale * rng.uniform(0.5, 1.5, (rows, columns // BLOCK))).astype(np.float16)
    blocks[..., :2] = scales[..., None].view(np.uint8)
    quants = rng.integers(0, 256, (rows, columns // BLOCK, BLOCK), np.uint8)
    quants[quants == 128] = 0  # -128 does not occur in files made by the usual quantizer
    blocks[..., 2:] = quants
    return blocks.reshape(rows, -1)


def write(path: Path, shape: Shape, seed: int = 1) -> None:
    """Write the model of `shape` to `path`, through a temporary name."""
    rng = np.random.default_rng(seed)
    partial = path.with_suffix(".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    out = gguf.GGUFWriter(str(partial), "llama")
    add_architecture(
        out,
        shape.name,
        context=shape.context,
        width=shape.width,
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        rope_width=shape.head_dim,
        vocabulary=shape.vocabulary,
        rope_base=500_000.0,
    )
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("default")
    out.add_token_list([f"<{i}>" for i in range(shape.vocabulary)])
    out.add_token_types([gguf.TokenType.NORMAL] * shape.vocabulary)
    out.add_token_merges(["a b"])
    out.add_bos_token_id(0)
    out.add_eos_token_id(1)

    def matrix(name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        data = q8_rows(rng, rows, columns, gain)
        out.add_tensor(name, data, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def norm(name: str) -> None:
        out.add_tensor(name, rng.uniform(0.5, 1.5, shape.width).astype(np.float32))

    matrix("token_embd.weight", shape.vocabulary, shape.width, gain=2.0)
    norm("output_norm.weight")
    heads, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    for i in range(shape.layers):
        norm(f"blk.{i}.attn_norm.weight")
        norm(f"blk.{i}.ffn_norm.weight")
        matrix(f"blk.{i}.attn_q.weight", heads, shape.width, 1.5)
        matrix(f"blk.{i}.attn_k.weight", kv, shape.width, 1.5)
        matrix(f"blk.{i}.attn_v.weight", kv, shape.width)
        matrix(f"blk.{i}.attn_output.weight", shape.width, heads)
        matrix(f"blk.{i}.ffn_gate.weight", shape.hidden, shape.width)
        matrix(f"blk.{i}.ffn_up.weight", shape.hidden, shape.width)
        matrix(f"blk.{i}.ffn_down.weight", shape.width, shape.hidden)
    finish(out)
    partial.rename(path)


def cached(shape: Shape, folder: Path = Path(".build/bench")) -> Path:
    """The file of `shape`, made on first use."""
    path = folder / f"{shape.name}-q8_0.gguf"
    if not path.exists():
        write(path, shape)
    return path
