"""Runs the Triton kernels in Triton's interpreter, on a CPU, and prints what came of it as JSON.

A process of its own, since Triton reads TRITON_INTERPRET when it is imported. `test_triton.py` starts it. Programs take
more at a time than on a GPU, since the interpreter is slow; rows fill none of them.
"""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from exact.extremes import extreme
from exact.random_model import Kind, Shape, gemma3, write
from structlog.testing import capture_logs

from oracle.engines.exact import triton_forward, triton_operators, triton_products
from oracle.engines.exact.fixed import saturate, shift
from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.quants import F16, FLOATS, MATRIX_TYPES, Q4_K
from oracle.engines.exact.triton_forward import TritonForward
from oracle.engines.exact.triton_products import After, RawMatrix, linear, product
from oracle.engines.exact.weights import Weights, load
from oracle.errors import WrongNumbers
from oracle.models.gguf import BLOCKS

triton_products.FEW_ROWS, triton_products.TILE_ROWS = 64, 128
triton_operators.ROW, triton_operators.SPLITS, triton_operators.POSITIONS = 32, 2, 64  # four positions of a head
triton_forward.PROVEN_TOKENS = 1

ROWS = 37
TOKENS = (1, 9)
SHAPES = {
    "llama": Shape(layers=1, width=64, hidden=64, heads=2, kv_heads=1, head_width=16, rope_width=12, zero_rows=True),
    "qwen2-loud": Shape("qwen2", Kind.Q4_1, 1, 32, 96, 2, 2, 16, 16, gain=60.0),
    "qwen3-odd": Shape("qwen3", Kind.BF16, 2, 18, 30, 2, 1, 10, 10),
    "gemma3": gemma3(
        kind=Kind.F16,
        layers=2,
        width=34,
        hidden=30,
        heads=2,
        kv_heads=1,
        head_width=10,
        rope_width=10,
        norm_gain=30.0,
        extra=(("attention.sliding_window", 3), ("attention.sliding_window_pattern", 2)),
    ),
}


def products() -> dict[str, bool]:
    """By type and tokens: whether a matrix of extreme numbers gives the sums, limits and counts of numpy's integers."""
    found = {}
    for kind, name in MATRIX_TYPES.items():
        is_float = kind == F16 or kind in FLOATS
        columns = 50 if is_float else 288 if BLOCKS[kind][0] == 32 else 512
        matrix = extreme(kind, ROWS, columns, kind)
        w, weights = RawMatrix(matrix, "cpu"), matrix.integers()
        for tokens in TOKENS:
            rng = np.random.default_rng(tokens)
            x, s = rng.integers(-32767, 32768, (tokens, columns)), rng.integers(0, 17, tokens)
            x[0] = 32767
            bias, before = rng.integers(-(2**31), 2**31, ROWS), rng.integers(-(2**46), 2**46, (tokens, ROWS))
            y = saturate(shift(x @ weights.T, matrix.bits - 8 - s[:, None]) + bias, 2**47 - 1)
            want = saturate(y + before, 2**47 - 1)
            out, counts = torch.from_numpy(before), torch.zeros(3, dtype=torch.int64)
            after = After(-8, 47, 0, torch.from_numpy(bias), 2)
            kernel, grid, arguments = linear(
                torch.from_numpy(x).short(), torch.from_numpy(s).int(), w, after, out, counts
            )  # fmt: skip
            kernel[grid](*arguments)
            limits = [int((np.abs(each) == 2**47 - 1).sum()) for each in (y, want)]
            found[f"{name} {tokens}"] = bool((out.numpy() == want).all()) and counts.tolist() == [
                limits[0],
                0,
                limits[1],
            ]
    for kind in (Q4_K, F16):
        matrix, x = extreme(kind, ROWS, 256, kind), np.full((2, 256), 32767)
        sums = product(torch.from_numpy(x), RawMatrix(matrix, "cpu"))
        found[f"sums of {MATRIX_TYPES[kind]}"] = np.array_equal(sums.numpy(), x @ matrix.integers().T)
    return found


def forward(weights: Weights) -> dict[str, bool]:
    """Two sequences in passes of 9 tokens (or 4), 1 and 2, against the reference; then one is cut and goes on."""
    tokens = np.random.default_rng(1).integers(0, weights.architecture.vocabulary, 8).tolist()
    reference, model = Reference(weights), TritonForward(weights, "cpu")
    right, mine = [reference.cache(8), reference.cache(4)], [model.cache(8), model.cache(4)]
    first = 6 if weights.architecture.family == "llama" else 2
    found = {}
    for parts in ([(0, first), (0, 3)], [(first, first + 1)], [(first + 1, first + 2), (3, 4)]):
        (want, got) = (
            each.run([Chunk(tokens[a:b], cache, b - a) for (a, b), cache in zip(parts, caches, strict=False)])
            for each, caches in ((reference, right), (model, mine))
        )
        found[f"pass {len(found)}"] = all(map(np.array_equal, want, got))
    found["saturated"] = model.saturated == reference.saturated
    mine[0].truncate(first + 1)
    found["cut"] = np.array_equal(model.run([Chunk(tokens[first + 1 : first + 2], mine[0], 1)])[0], want[0])
    try:
        model.run([Chunk([1] * 7, mine[0], 1)])
    except ValueError:
        found["beyond the cache"] = True
    return found


def decides(weights: Weights) -> dict[str, object]:
    """What becomes of a step that is captured, that cannot be, and whose capture does something else."""

    def refuses(step: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing")

    replays = []

    def records(step: Callable[[], None]) -> Callable[[], None]:
        return lambda: (replays.append(1), step())[1]

    model = TritonForward(weights, "cpu", records)
    proofs, counted = len(replays), dict(model.saturated)
    (want,) = model.run([Chunk([3], model.cache(1), 1)])
    model.run([Chunk([3, 4], model.cache(2), 2)])
    counts = bool(model.saturated)
    with capture_logs() as logs:
        without = TritonForward(weights, "cpu", refuses)
    (got,) = without.run([Chunk([3], without.cache(1), 1)])
    try:
        TritonForward(weights, "cpu", lambda step: lambda: None)
        other = "served"
    except WrongNumbers as error:
        other = str(error)
    return {
        "replays": [proofs, len(replays)],
        "counted while proving": counted,
        "counts": counts,
        "log": logs,
        "without": np.array_equal(got, want),
        "other bits": other,
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        weights = {name: load(write(Path(folder) / f"{name}.gguf", shape, seed=5)) for name, shape in SHAPES.items()}
        found: dict[str, object] = {"products": products()}
        found["forward"] = {name: forward(each) for name, each in weights.items()}
        found["decides"] = decides(weights["qwen2-loud"])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
