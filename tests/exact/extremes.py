"""Matrices whose numbers are at the ends of what a file may hold."""

import numpy as np

from oracle.engines.exact.constants import MAX_ROW_WEIGHT
from oracle.engines.exact.quants import F16, F32, FLOATS, LARGEST_FACTOR, MATRIX_TYPES, SCALES_AT, matrix_bits
from oracle.engines.exact.weights import Matrix, largest_float
from oracle.models.gguf import BLOCKS


def extreme(kind, rows, columns, seed):
    """Rows of quants at their ends and random ones, with scales from the smallest to the largest that load."""
    rng = np.random.default_rng(seed)
    weights, size = BLOCKS[kind]
    if kind in FLOATS:
        values = (rng.standard_normal((rows, columns)) * 2.0 ** rng.integers(-30, 5, (rows, columns))).astype("<f4")
        values[:, ::7] = rng.choice([0.0, -0.0, 1e-40, 127.0, -126.5, 2.0**-25, -(2.0**-25)], values[:, ::7].shape)
        values[rows // 2 :] *= 2.0**-12
        raw = values.view(np.uint8) if kind == F32 else (values.view("<u4") >> 16).astype("<u2").view(np.uint8)
        raw = np.ascontiguousarray(raw.reshape(rows, -1))
        return Matrix("of floats", kind, rows, columns, raw, matrix_bits(kind, largest_float("x", kind, raw)))
    blocks = rng.integers(0, 256, (rows, columns // weights, size), dtype=np.uint8)
    blocks[rng.random(blocks.shape[:2]) < 0.3] = rng.choice([0x00, 0xFF, 0x80, 0x7F])
    fine = int(np.log2(MAX_ROW_WEIGHT / columns / LARGEST_FACTOR[kind])) - 1  # bits of the largest scale
    for at in SCALES_AT[kind]:
        exponents = rng.integers(0, min(30, max(1, fine - 9)), blocks.shape[:2])
        bits = exponents << 10 | rng.integers(0, 1024, blocks.shape[:2]) | rng.integers(0, 2, blocks.shape[:2]) << 15
        bits = np.where(rng.random(bits.shape) < 0.1, rng.choice([0, 1, 0x8000, 0x83FF]), bits)
        blocks[..., at : at + 2] = bits.astype("<u2")[..., None].view(np.uint8)
    if kind == F16:
        blocks[:, 1:][blocks[:, 1:, 1] & 0x60 == 0x60] = 0  # few large ones
    raw = blocks.reshape(rows, -1)
    raw[3] = 0
    return Matrix(f"of {MATRIX_TYPES[kind]}", kind, rows, columns, raw)
