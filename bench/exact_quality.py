"""How near the exact engine's logits are to a float64 run of the same weights, and llama.cpp's beside it.

KL is the mean over positions of KL(softmax of float64 || softmax of the engine's logits), in nats; agreement the share
of positions at which both take the same greedy token.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench import gguf_random
from models.language import TASKS, Writer
from oracle.engines.exact.float64 import Float64, divergence
from oracle.engines.exact.model import Chunk, Forward, Reference
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.weights import load
from oracle.engines.llama_native import NativeModel
from oracle.models.gguf import read
from oracle.models.shipped import SHIPPED_MODEL

SHIPPED = SHIPPED_MODEL.with_suffix(".gguf")
LONGEST = 128


@dataclass(frozen=True)
class Quality:
    model: str
    positions: int
    exact_kl: float
    exact_agreement: float
    llama_kl: float
    llama_agreement: float


def measure(name: str, path: Path, texts: Sequence[Sequence[int]], model: Forward | None = None) -> Quality:
    """texts: token ids. model: what computes the exact logits; the plain reference by default."""
    weights = load(path)
    exact, floats = model or Reference(weights), Float64(path, weights)
    llama = NativeModel(path).sequence(LONGEST, batch=LONGEST, threads=2)
    kl: dict[str, list[npt.NDArray[Any]]] = {"exact": [], "llama": []}
    same: dict[str, list[npt.NDArray[Any]]] = {"exact": [], "llama": []}
    for tokens in track(texts, f"{name}: beside float64", transient=True):
        wanted = floats.logits(tokens)
        (ours,) = exact.run([Chunk(tokens, exact.cache(len(tokens)), len(tokens))])
        rows: list[npt.NDArray[np.float64]] = []
        llama.truncate(0)
        llama.extend(tokens, 0, lambda _, row: rows.append(row.astype(np.float64)))  # noqa: B023  called at once
        theirs = np.stack(rows) * 2.0**16
        for engine, logits in (("exact", ours.astype(np.float64)), ("llama", theirs)):
            kl[engine].append(divergence(logits, wanted))
            same[engine].append(logits.argmax(axis=-1) == wanted.argmax(axis=-1))
    mean = {engine: float(np.concatenate(parts).mean()) for engine, parts in kl.items()}
    agreement = {engine: float(np.concatenate(parts).mean()) for engine, parts in same.items()}
    positions = sum(map(len, texts))
    return Quality(name, positions, mean["exact"], agreement["exact"], mean["llama"], agreement["llama"])


def shipped(count: int = 150, model: Forward | None = None) -> Quality:
    """The shipped model on held-out sentences in their wrapper."""
    tokenizer = Tokenizer(read(SHIPPED))
    texts = []
    for task in TASKS:
        for item in islice(Writer(17).held_out_items(task, (1, 3)), count // len(TASKS)):
            texts.append(
                [0, 2, *tokenizer.encode(item.prompt.encode()), 4, 3, *tokenizer.encode(item.answer.encode()), 4]
            )
    return measure("shipped model", SHIPPED, texts, model)


def random_weights(shape: gguf_random.Shape, count: int, length: int) -> Quality:
    """Random weights at a real model's shape, on random tokens."""
    path = gguf_random.cached(shape)
    rng = random.Random(4)
    vocabulary = len(read(path).vocabulary)
    texts = [[rng.randrange(300, vocabulary) for _ in range(length)] for _ in range(count)]
    return measure(shape.name, path, texts)


def run(console: Console) -> dict[str, float]:
    """Figures of `bench.json`: the worst over the models."""
    results = [shipped(), random_weights(gguf_random.TINY, 8, 100), random_weights(gguf_random.LLAMA_135M, 2, 100)]
    table = Table("", *(each.model for each in results), title="Beside a float64 run of the same weights")
    table.add_row("positions", *(f"{each.positions:,}" for each in results))
    table.add_row("KL, exact engine", *(f"{each.exact_kl:.1e}" for each in results))
    table.add_row("KL, llama.cpp", *(f"{each.llama_kl:.1e}" for each in results))
    table.add_row("same greedy token, exact", *(f"{each.exact_agreement:.2%}" for each in results))
    table.add_row("same greedy token, llama.cpp", *(f"{each.llama_agreement:.2%}" for each in results))
    console.print(table)
    positions = sum(each.positions for each in results)
    return {
        "exact_kl": max(each.exact_kl for each in results),
        "exact_greedy_agreement": sum(each.exact_agreement * each.positions for each in results) / positions,
        "llama_kl": max(each.llama_kl for each in results),
        "llama_greedy_agreement": sum(each.llama_agreement * each.positions for each in results) / positions,
    }


if __name__ == "__main__":
    run(Console())
