"""Small random-weight GGUF files with a vocabulary that spells any text in several ways, for tests without downloads.

The same seed gives the same weights in every quantization. The model babbles, but what it babbles is decided by its
weights, which is all that tests of engines need.
"""

from pathlib import Path

import gguf
import numpy as np

from oracle.models.download import file_sha256
from oracle.models.manifest import Manifest
from rig.gguf_parts import add_architecture, finish

UNKNOWN, START, END, TURN_END, USER = range(5)
SPECIAL = ["<unk>", "<s>", "</s>", "<|end|>", "<|user|>"]
# fmt: off
WORDS = ["▁the", "▁a", "▁i", "▁yes", "▁no", "th", "he", "in", "er", "an", "re", "▁t", "▁s", "▁w", "on", "at", "es",
         "en", "ing", "ed", "and"]
# fmt: on
LETTERS = [chr(code) for code in range(33, 127)]
CONTEXT_LENGTH = 256
LAYERS, WIDTH, HIDDEN, HEADS, HEAD_DIM = 2, 128, 256, 4, 32


def vocabulary() -> tuple[list[str], list[float], list[int]]:
    """Token texts, scores and types of a SentencePiece vocabulary with byte fallback."""
    kind = gguf.TokenType
    texts = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *LETTERS, *WORDS]
    types = [kind.UNKNOWN] + [kind.CONTROL] * 4 + [kind.BYTE] * 256 + [kind.NORMAL] * (1 + len(LETTERS) + len(WORDS))
    scores = [0.0] * 261 + [-100.0 - i for i in range(1 + len(LETTERS))] + [-1.0 - i for i in range(len(WORDS))]
    return texts, scores, [int(entry) for entry in types]


def write(
    path: Path,
    quantization: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.Q8_0,
    seed: int = 1,
    tokenizer: str | None = "llama",
) -> Manifest:
    """Writes the file and returns a manifest for it. tokenizer: its kind, as the file says; None: it does not say."""
    rng = np.random.default_rng(seed)
    texts, scores, types = vocabulary()
    out = gguf.GGUFWriter(str(path), "llama")
    add_architecture(
        out,
        "tiny",
        context=CONTEXT_LENGTH,
        width=WIDTH,
        layers=LAYERS,
        hidden=HIDDEN,
        heads=HEADS,
        kv_heads=HEADS,
        rope_width=HEAD_DIM,
        vocabulary=len(texts),
    )
    if tokenizer is not None:
        out.add_tokenizer_model(tokenizer)
    out.add_token_list(texts)
    out.add_token_scores(scores)
    out.add_token_types(types)
    out.add_bos_token_id(START)
    out.add_eos_token_id(END)
    out.add_eot_token_id(TURN_END)
    out.add_add_bos_token(True)
    out.add_add_space_prefix(False)

    def matrix(name: str, rows: int, columns: int, gain: float = 1.0) -> None:
        weights = (rng.standard_normal((rows, columns)) * gain / np.sqrt(columns)).astype(np.float32)
        out.add_tensor(name, gguf.quantize(weights, quantization), raw_dtype=quantization)

    def norm(name: str) -> None:
        out.add_tensor(name, rng.uniform(0.5, 1.5, WIDTH).astype(np.float32))

    matrix("token_embd.weight", len(texts), WIDTH, gain=12.0)
    matrix("output.weight", len(texts), WIDTH, gain=3.0)
    norm("output_norm.weight")
    for layer in range(LAYERS):
        norm(f"blk.{layer}.attn_norm.weight")
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            matrix(f"blk.{layer}.{part}.weight", WIDTH, WIDTH)
        norm(f"blk.{layer}.ffn_norm.weight")
        matrix(f"blk.{layer}.ffn_gate.weight", HIDDEN, WIDTH)
        matrix(f"blk.{layer}.ffn_up.weight", HIDDEN, WIDTH)
        matrix(f"blk.{layer}.ffn_down.weight", WIDTH, HIDDEN)
    finish(out)
    return Manifest(
        name="tiny",
        file_sha256=file_sha256(path),
        file_bytes=path.stat().st_size,
        uri="",
        context_length=CONTEXT_LENGTH,
        prefix_tokens=(START, USER),
        suffix_tokens=(TURN_END,),
        stop_tokens=(END, TURN_END),
        replacement_token=texts.index("?"),
    )
