"""Writes tests/vectors/: inputs and outputs of every operator, and whole forward passes, from the plain reference.

    python tests/exact/make_vectors.py

For whoever writes the engine again from docs/numerics.md. Numbers are integers in the formats given there; a linear
layer's weights are raw GGUF rows in hexadecimal.
"""

import base64
import json
import sys
import tempfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from exact.random_model import SHAPES, SIZES, raw_rows, write  # noqa: E402

from oracle.engines import sampling  # noqa: E402
from oracle.engines.exact import operators as ops  # noqa: E402
from oracle.engines.exact import powers, quants  # noqa: E402
from oracle.engines.exact.constants import INT32, LARGEST_RESIDUAL  # noqa: E402
from oracle.engines.exact.model import Chunk, Reference  # noqa: E402
from oracle.engines.exact.weights import largest_float, load  # noqa: E402

FOLDER = ROOT / "tests" / "vectors"
FORWARD = ("llama", "llama-q4_1", "llama-q4_0-factors", "qwen2", "qwen3", "gemma3")
TOKENS = [1, 300, 17, 42, 99, 7]
TABLE = powers.table()


def operators() -> dict[str, Any]:
    """By operator: a list of cases."""
    rng = np.random.default_rng(11)
    wide = np.concatenate([rng.integers(-(2**20), 2**20, (2, 16)), [[INT32, -INT32] * 8, [0] * 15 + [1]]])
    wide = np.concatenate([wide, wide[:1] << 26])
    weight = rng.integers(-(2**25), 2**25, 16)
    row = ops.quantize(wide)
    squares = ops.square_sum(row)
    r = ops.mean_root(squares, row.shift, 16, 42_950)
    cases: dict[str, Any] = {
        "quantize": {"x": wide, "mantissa": row.mantissa, "shift": row.shift},
        "square_sum": {"mantissa": row.mantissa, "sum": squares},
        "mean_root": {"sum": squares, "shift": row.shift, "width": 16, "epsilon": 42_950, "root": r},
        "normalize": {
            "x": wide, "root": r, "shift": row.shift, "weight": weight, "to_bits": 20,
            "norm_bits": 24, "y": ops.normalize(wide, r, row.shift, weight, 20, LARGEST_RESIDUAL),
        },
    }  # fmt: skip
    cases["linear"] = []
    for kind in SIZES:
        raw = raw_rows(rng, kind, 3, 256, 30.0, zero_rows=False)
        x = ops.quantize(rng.integers(-(2**22), 2**22, (2, 256)))
        bits = quants.matrix_bits(int(kind), largest_float("rows", int(kind), raw))
        weights, bias = quants.integers(int(kind), raw, bits), rng.integers(-(2**18), 2**18, 3)
        cases["linear"].append({
            "type": kind.name, "rows": [bytes(each).hex() for each in raw], "mantissa": x.mantissa, "shift": x.shift,
            "bits": 20, "to_bits": 18, "bias": bias, "weight_bits": bits,
            "y": ops.linear(x, weights, 20, 18, bias, INT32, bits),
        })  # fmt: skip
    heads = rng.integers(-(2**24), 2**24, (2, 1, 8))
    cosines, sines = rng.integers(-(2**24), 2**24, (2, 2, 3))
    cases["rotate"] = [
        {
            "x": heads, "cosines": cosines, "sines": sines, "interleaved": near,
            "y": ops.rotate(heads, cosines, sines, near),
        }
        for near in (True, False)
    ]  # fmt: skip
    query, key = ops.quantize(heads[:, 0]), ops.quantize(rng.integers(-(2**20), 2**20, (4, 8)))
    z = ops.scores(query, key, ops.score_scale(8))
    e = ops.shares(z, z.max(axis=-1), TABLE)
    values = rng.integers(-(2**25) + 1, 2**25, (4, 3))
    cases["attention"] = {
        "query": query.mantissa, "query_shift": query.shift, "key": key.mantissa, "key_shift": key.shift,
        "scale": ops.score_scale(8), "scores": z, "shares": e, "values": values,
        "context": ops.context(e, e.sum(axis=-1), values),
    }  # fmt: skip
    gate, up = rng.integers(-(2**22), 2**22, (2, 12))
    gate[:3], up[:3] = [INT32, -INT32, 0], [INT32, INT32, -1]
    cases["gated"] = {"gate": gate, "up": up, "y": ops.gated(gate, up, TABLE)}
    cases["gated_gelu"] = {"gate": gate, "up": up, "y": ops.gated_gelu(gate, up, TABLE)}
    w = np.array([0, 1, -(2**31) + 1, 2**31 - 1, 123_456, -8_388_608])
    scale = ops.embedding_scale(1152)
    cases["embed_scaled"] = {"weights": w, "width": 1152, "scale": scale, "y": ops.embed_scaled(w, scale)}
    t = np.array([0, 1, 255, 256, 65_535, 65_536, 3 << 16, 40 << 16, (1 << 32) + 5])
    cases["power"] = {"t": t, "to_bits": 30, "y": powers.power(t, TABLE, 30)}
    cases["noise"] = {
        "seed": "0x" + "5e" * 32, "position": 3, "tokens": np.arange(20),
        "noise": sampling.noise(b"\x5e" * 32, 3, np.arange(20)),
    }  # fmt: skip
    cases["tables"] = {"powers": TABLE, "score_scale": {str(w): ops.score_scale(w) for w in (32, 64, 80, 128)}}
    return cases


def forward(name: str) -> dict[str, Any]:
    """A model file (zlib, base64), token ids, and the logits after each."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "m.gguf", SHAPES[name], seed=21)
        model = Reference(load(path))
        (logits,) = model.run([Chunk(TOKENS, model.cache(len(TOKENS)), len(TOKENS))])
        file = base64.b64encode(zlib.compress(path.read_bytes(), 9)).decode()
    return {"model": file, "tokens": TOKENS, "logits": logits}


def plain(value: Any) -> Any:
    """Arrays as lists."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


def texts() -> dict[str, str]:
    """By file name."""
    made = {"operators.json": operators()} | {f"forward-{name}.json": forward(name) for name in FORWARD}
    return {name: json.dumps(plain(value), indent=None, separators=(",", ":")) + "\n" for name, value in made.items()}


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in texts().items():
        (FOLDER / name).write_text(text)
        print(f"{name}: {len(text):,} bytes")
