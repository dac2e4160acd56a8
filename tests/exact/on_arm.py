"""What `test_arm.py` runs on an emulated ARM machine: every variant there, on the cases in a folder.

    python on_arm.py FOLDER

Needs numpy and the package's files alone, the kernels among them. Prints JSON: the variants' names, how many of them
this processor runs, and for each of those what it found wrong.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from oracle.engines.exact import self_test
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.cpu_kernels import Kernels, Packed, Rows, best_variant, variants
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.weights import Matrix, load

THREADS = 2
Cases = Any
"""`test_arm.py` writes them: arrays by name."""


def wrong(variant: int, cases: Cases, models: list[Path]) -> Iterator[str]:
    """Whose bits differ."""
    for family, digest in self_test.KNOWN.items():
        if self_test.digest(CpuForward(self_test.model(family), THREADS, variant)) != digest:
            yield f"known answer, {family}"
    for path in models:
        name, tokens = path.stem, cases[f"{path.stem} tokens"].tolist()
        model = CpuForward(load(path), THREADS, variant)
        for step in (len(tokens), 1):
            cache = model.cache(len(tokens))
            parts = [Chunk(tokens[i : i + step], cache, step) for i in range(0, len(tokens), step)]
            logits = np.concatenate([model.run([part])[0] for part in parts])
            if not np.array_equal(logits, cases[f"{name} logits"]):
                yield f"{name}, {step} tokens at a time"
    kernels = Kernels(variant, THREADS)
    for name in cases["matrices"].tolist():
        kind, bits, down, limited = cases[f"{name} numbers"].tolist()
        raw, x, bias, y = (cases[f"{name} {part}"] for part in ("raw", "x", "bias", "y"))
        packed = Packed(Matrix(name, kind, len(raw), x.shape[1], raw, bits), THREADS)
        kernels.saturated.clear()
        rows = kernels.quantize(x, Rows(*x.shape))
        found = kernels.linear(packed, rows, len(x), down, bias, np.empty_like(y), ("y",))
        if not np.array_equal(found, y) or kernels.saturated["y"] != limited:
            yield f"linear, {name}"
    if not np.array_equal(kernels.draws(bytes(range(32)), 7, len(cases["draws"])), cases["draws"]):
        yield "draws"


def main() -> None:
    folder = Path(sys.argv[1])
    cases = np.load(folder / "cases.npz")
    models = sorted(folder.glob("*.gguf"))
    assert models
    runs = best_variant() + 1
    print(
        json.dumps(
            {"variants": variants(), "runs": runs, "wrong": [list(wrong(v, cases, models)) for v in range(runs)]}
        )
    )


if __name__ == "__main__":
    main()
