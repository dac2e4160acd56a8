"""The start-up test: three small models made of hash output, whose logits' digest every right device computes.

Together they hold all matrix types and all operators. The digests were computed by the reference; a test
holds them.
"""

import hashlib
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from oracle.engines.exact.architecture import Architecture
from oracle.engines.exact.constants import INNER_BITS, SCALE_BITS
from oracle.engines.exact.fixed import Integers
from oracle.engines.exact.model import Chunk, Forward
from oracle.engines.exact.quants import (
    F16,
    FLOATS,
    IQ4_NL,
    IQ4_XS,
    MATRIX_TYPES,
    Q2_K,
    Q3_K,
    Q4_0,
    Q4_1,
    Q4_K,
    Q5_0,
    Q5_1,
    Q5_K,
    Q6_K,
    Q8_0,
    SCALES_AT,
    Bytes,
    floats,
    matrix_bits,
)
from oracle.engines.exact.weights import Layer, Matrix, Norm, Weights
from oracle.errors import WrongNumbers
from oracle.models.gguf import BLOCKS

WIDTH, HIDDEN, HEADS, KV_HEADS, HEAD_WIDTH, VOCABULARY = 256, 512, 6, 2, 40, 99
EXPONENTS = {
    F16: 0x2800, Q8_0: 0x1000, Q4_0: 0x1C00, Q4_1: 0x1C00, Q5_0: 0x1800, Q5_1: 0x1800, Q2_K: 0x1400, Q3_K: 0x0C00,
    Q4_K: 0x0400, Q5_K: 0x0400, Q6_K: 0x0400, IQ4_NL: 0x1000, IQ4_XS: 0x0400,
}  # fmt: skip
"""Of a type's fp16 numbers."""
GEMMA_TYPES = (Q8_0, Q4_0, Q6_K)
KNOWN = {
    "llama": "a754d8416f67d964ff0419935015c4d8a68442e47f4bf2471191ea821670f433",
    "qwen3": "165f42aeb38698eabb6697f44c787b59db431d9bcaeaafa01256da09b687a4e5",
    "gemma3": "c5c4d2b87ebffaca386ed7d1fc42b932fb248adfa32797f82f8b558a62f8cc26",
}


def check(make: Callable[[Weights], Forward]) -> None:
    """Raises WrongNumbers."""
    for family, expected in KNOWN.items():
        if digest(make(model(family))) != expected:
            raise WrongNumbers("this device fails the exact engine's known-answer test")


def digest(forward: Forward) -> str:
    """SHA-256 of all logits of two sequences: prefilled side by side, then extended token by token."""
    caches = [forward.cache(64), forward.cache(64)]
    tokens = [list(_bytes(f"tokens {index}", 48) % VOCABULARY) for index in range(2)]
    hashed = hashlib.sha256()
    for start, end in ((0, 41), (41, 42), (42, 44), (44, 48)):
        chunks = [Chunk(ids[start:end], cache, end - start) for ids, cache in zip(tokens, caches, strict=True)]
        for logits in forward.run(chunks):
            hashed.update(logits.astype("<i4").tobytes())
    return hashed.hexdigest()


def model(family: str, head_width: int = HEAD_WIDTH) -> Weights:
    norms, is_gemma = family != "llama", family == "gemma3"
    queries, keys = HEADS * head_width, KV_HEADS * head_width
    layers = tuple(
        Layer(
            attn_norm=norm(f"{family} {kind} 0", WIDTH),
            attn_q=matrix(f"{family} {kind} q", kind, queries, WIDTH),
            attn_k=matrix(f"{family} {kind} k", kind, keys, WIDTH),
            attn_v=matrix(f"{family} {kind} v", kind, keys, WIDTH),
            q_bias=None if norms else vector("qb", queries, INNER_BITS),
            k_bias=None if norms else vector("kb", keys, INNER_BITS),
            v_bias=None if norms else vector("vb", keys, INNER_BITS),
            q_norm=norm("qn", head_width) if norms else None,
            k_norm=norm("kn", head_width) if norms else None,
            attn_output=matrix(f"{family} {kind} o", F16, WIDTH, queries),
            ffn_norm=norm(f"{family} {kind} 1", WIDTH),
            ffn_gate=matrix(f"{family} {kind} gate", kind, HIDDEN, WIDTH),
            ffn_up=matrix(f"{family} {kind} up", kind, HIDDEN, WIDTH),
            ffn_down=matrix(f"{family} {kind} down", kind, WIDTH, HIDDEN),
            attn_post_norm=norm(f"{family} {kind} 2", WIDTH) if is_gemma else None,
            ffn_post_norm=norm(f"{family} {kind} 3", WIDTH) if is_gemma else None,
        )
        for kind in (GEMMA_TYPES if is_gemma else list(MATRIX_TYPES)[norms::2])
    )
    return Weights(
        architecture=Architecture(
            family=family,
            layers=len(layers),
            width=WIDTH,
            hidden=HIDDEN,
            heads=HEADS,
            kv_heads=KV_HEADS,
            head_width=head_width,
            rope_width=head_width,
            rope_base=Fraction(10_000),
            rope_divisor=Fraction(1),
            epsilon=Fraction(1, 100_000),
            context=64,
            vocabulary=VOCABULARY,
            window=7 if is_gemma else 0,
            period=2 if is_gemma else 0,
            local_base=Fraction(1_000),
        ),
        embedding=matrix("embedding", Q8_0, VOCABULARY, WIDTH),
        layers=layers,
        output_norm=norm("end", WIDTH),
        output=matrix("output", Q6_K, VOCABULARY, WIDTH),
        rope_factors=None,
    )


def matrix(name: str, kind: int, rows: int, columns: int) -> Matrix:
    """A matrix of hash output, but for the exponents of its fp16 numbers, which keep weights near 1 / sqrt(width)."""
    weights, size = BLOCKS[kind]
    raw = _bytes(name, rows * columns // weights * size)
    if kind in FLOATS:  # of either sign and around 1 / sqrt(width)
        numbers = raw.view(f"<u{size}").reshape(rows, columns)
        top = np.array(0x3C000000 >> (32 - 8 * size), numbers.dtype)
        numbers[:] = numbers & np.array(0x83FFFFFF >> (32 - 8 * size), numbers.dtype) | top
        raw = numbers.view(np.uint8)
        return Matrix(name, kind, rows, columns, raw, matrix_bits(kind, float(np.abs(floats(kind, raw)).max())))
    blocks = raw.reshape(-1, size)
    for at in SCALES_AT[kind]:
        bits = np.ascontiguousarray(blocks[:, at : at + 2]).view("<u2") & 0x83FF | EXPONENTS[kind]
        blocks[:, at : at + 2] = bits.astype("<u2").view(np.uint8)
    return Matrix(name, kind, rows, columns, raw.reshape(rows, -1))


def norm(name: str, length: int) -> Norm:
    return Norm(vector(name, length, SCALE_BITS))


def vector(name: str, length: int, bits: int) -> Integers:
    """Between -1/2 and 3/2."""
    return (_bytes(name, 4 * length).view("<u4").astype(np.int64) >> (31 - bits)) - (1 << (bits - 1))


def _bytes(name: str, count: int) -> Bytes:
    return np.frombuffer(hashlib.shake_256(f"didyma known answer {name}".encode()).digest(count), np.uint8).copy()
