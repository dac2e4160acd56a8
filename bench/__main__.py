"""`make bench`: what this project promises in figures, measured side by side in one run; writes bench.json.

    python -m bench            # everything
    python -m bench accuracy   # one part

The gas table is not measured here: `make gas` does.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import (
    exact_quality,
    exact_speed,
    exact_together,
    gguf_random,
    llama_check,
    node_reaction,
    node_rounds,
    node_speed,
)
from models.evaluate import ITEMS_EACH, accuracies
from oracle.engines.base import Params, TokenId
from oracle.models.shipped import SHIPPED_MODEL

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
console = Console(highlight=False)
Figures = dict[str, float]


def accuracy() -> Figures:
    """Share of right answers of the shipped model to held-out sentences."""
    described = json.loads(SHIPPED_MODEL.read_text())
    table = accuracies(
        SHIPPED_MODEL.with_name(described["file"]),
        described["prefixTokens"],
        described["suffixTokens"],
        described["stopTokens"],
    )
    names = {task: "model_" + task.replace("/", "_").replace(", ", "_").replace(" ", "_") for task in table}
    show(f"Right answers of the shipped model, {ITEMS_EACH} held-out sentences each", table)
    return {names[task]: share for task, share in table.items()}


def panel() -> Figures:
    """False alarms and misses of the panel's check; `python -m bench.llama_check` does it at length."""
    (result,) = llama_check.measure_all(["shipped"], 200, 24)
    llama_check.print_results([result], console)
    return {"panel_false_alarms": result.false_alarms, "panel_honest_answers": result.answers}


def check_speed() -> Figures:
    """How much faster llama.cpp checks an answer of 64 tokens in one pass than it generated it."""
    subject = llama_check.random_shape(gguf_random.TINY)
    engine = llama_check.machine(subject, llama_check.WIDEST, threads=2, batch=32)
    prompt, params = [TokenId(i) for i in range(10, 74)], Params(64, 0, 0, bytes(32))
    ratios = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        tokens = engine.generate(prompt, params).tokens
        generated = time.perf_counter()
        engine.check(prompt, tokens, params)
        ratios.append((generated - started) / (time.perf_counter() - generated))
    figures = {"panel_check_speedup_64": statistics.median(ratios)}
    show("llama.cpp on a random model: time to generate 64 tokens over time to check them", figures)
    return figures


def quality() -> Figures:
    """The exact engine's logits, and llama.cpp's, beside float64."""
    return exact_quality.run(console)


def speed() -> Figures:
    """The exact engine's speed and memory beside llama.cpp's."""
    return exact_speed.run(show)


def together() -> Figures:
    """Many jobs at once, what is remembered and what is guessed."""
    return exact_together.run(show)


def serving() -> Figures:
    """How many requests a node answers and finalizes a second."""
    figures = node_speed.run()
    show(f"A node with an instant engine, {node_speed.REQUESTS} requests, Anvil with 1 s blocks", figures)
    return figures


def rounds() -> Figures:
    """What a round costs with much open, and a start."""
    figures = node_rounds.run()
    show("A node with many requests open or closed", figures)
    return figures


def reaction() -> Figures:
    """How soon a node answers after a block that makes it possible."""
    figures = node_reaction.run()
    show("A node told of new heads by websocket: from a block to the broadcast of an answer", figures)
    return figures


PARTS: dict[str, Callable[[], Figures]] = {
    "accuracy": accuracy,
    "panel": panel,
    "check_speed": check_speed,
    "exact_quality": quality,
    "exact_speed": speed,
    "exact_together": together,
    "node_speed": serving,
    "node_rounds": rounds,
    "node_reaction": reaction,
}


def show(title: str, figures: Figures) -> None:
    table = Table("figure", "value", title=title)
    for name, value in figures.items():
        table.add_row(name, f"{value:.4g}")
    console.print(table)


def device() -> str:
    """The processor as the kernel names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{len(names)} x {names[0]}" if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)}; all by default")
    given = parser.parse_args()
    out = ROOT / "bench.json"
    known = json.loads(out.read_text()) if out.exists() else {}
    measured = known.setdefault("measured", {})
    for part in given.parts:
        known |= {name: float(f"{value:.4g}") for name, value in PARTS[part]().items()}
        measured[part] = f"{datetime.now(UTC).date()}, {device()}"
    out.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    console.print(f"written to {out.name}")


if __name__ == "__main__":
    main()
