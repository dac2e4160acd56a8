"""Pictures of the exact engine beside llama.cpp: tokens a second over sequences together, time over length of context.

    python -m bench.exact_plots

Computes with the 1B model's shape on two threads, both engines by turns, and writes docs/exact-batch.svg,
docs/exact-reading.svg and docs/exact-token.svg. A loaded machine makes them meaningless.
"""

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench import gguf_random
from bench.exact_speed import THREADS, timed
from bench.exact_together import STEPS, exact_streams, llama_streams, random_prompts
from bench.plots import DOCS, Points, svg
from oracle.engines.exact.cpu import CpuForward
from oracle.engines.exact.model import Chunk
from oracle.engines.exact.weights import load

TOGETHER = (1, 2, 4, 8, 16)  # sequences
LENGTHS = (128, 256, 512, 1024, 2048)  # tokens of a context
DECODED = 8
ROUNDS = 3

Lines = Mapping[str, Points]
Read = Callable[[Sequence[int]], None]
"""Adds tokens to a sequence and computes what comes next."""


def over_batch(path: Path, rounds: int, counts: Sequence[int] = TOGETHER) -> Lines:
    """(sequences, tokens a second of all of them)."""
    model = CpuForward(load(path), THREADS)
    prompts = random_prompts(model, max(counts))
    exact = exact_streams(model, prompts)
    lines: dict[str, list[tuple[float, float]]] = {"exact engine": [], "llama.cpp": []}
    for count in counts:
        works: dict[str, Callable[[], None]] = {
            "exact engine": partial(exact, count),
            "llama.cpp": llama_streams(path, prompts[:count]),
        }
        for name, seconds in by_turns(works, rounds).items():
            lines[name].append((count, count * STEPS / seconds))
    return lines


def over_context(path: Path, rounds: int, lengths: Sequence[int] = LENGTHS) -> tuple[Lines, Lines]:
    """(tokens, seconds to read them all), and (tokens, milliseconds of one token after them)."""
    from oracle.engines.llama_native import NativeModel  # noqa: PLC0415  other parts run where it is not installed

    model = CpuForward(load(path), THREADS)
    tokens = np.random.default_rng(4).integers(4, model.architecture.vocabulary, max(lengths) + DECODED).tolist()
    cache = model.cache(len(tokens))
    llama = NativeModel(path).sequence(len(tokens), batch=512, threads=THREADS)

    def exact_read(some: Sequence[int]) -> None:
        model.run([Chunk(some, cache, 1)])

    def llama_read(some: Sequence[int]) -> None:
        llama.extend(some, len(some) - 1, lambda *_: None)

    engines: dict[str, tuple[Read, Callable[[int], None]]] = {
        "exact engine": (exact_read, cache.truncate),
        "llama.cpp": (llama_read, llama.truncate),
    }
    reading: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    token: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
    for length in lengths:

        def read(name: str, length: int = length) -> None:
            engines[name][1](0)
            engines[name][0](tokens[:length])

        def decode(name: str, length: int = length) -> None:
            engines[name][1](length)
            for each in tokens[length:][:DECODED]:
                engines[name][0]([each])

        for name, seconds in by_turns({name: partial(read, name) for name in engines}, 1).items():
            reading[name].append((length, seconds))
        for name, seconds in by_turns({name: partial(decode, name) for name in engines}, rounds).items():
            token[name].append((length, 1000 * seconds / DECODED))
    return reading, token


def by_turns(works: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each; the first round warms up where there are several."""
    seconds = [[timed(work) for work in works.values()] for _ in range(rounds + (rounds > 1))][rounds > 1 :]
    return {name: statistics.median(column) for name, column in zip(works, zip(*seconds, strict=True), strict=True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    path = gguf_random.cached(gguf_random.LLAMA_1B)
    reading, token = over_context(path, rounds)
    pictures = {
        "exact-batch": ("Decoding several sequences together", "sequences", "tokens/s", over_batch(path, rounds)),
        "exact-reading": ("Reading a prompt", "tokens", "s", reading),
        "exact-token": ("One more token", "tokens before it", "ms", token),
    }
    for name, (title, across, up, lines) in pictures.items():
        (DOCS / f"{name}.svg").write_text(svg(f"{title}, 1B shape, Q8_0", across, up, lines))
        for engine, points in lines.items():
            print(name, engine, " ".join(f"{x:g}: {y:.3g}" for x, y in points), flush=True)


if __name__ == "__main__":
    main()
