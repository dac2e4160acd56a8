"""Measures a model of this folder on held-out items, through llama.cpp: `python -m models.evaluate`.

An answer is right when it equals the expected one, letter for letter, and ends by itself.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from llama_cpp import Llama

from models.language import HELD, TASKS, Item, Writer

EVALUATION_SEED = 7
ITEMS_EACH = 100  # of every task with every kind of held-out thing
MAX_TOKENS = 48


def held_out_items(task: str, held: str, count: int = ITEMS_EACH) -> list[Item]:
    return list(islice(Writer(EVALUATION_SEED, held).items(task), count))


class Reader:
    """A GGUF with its wrapper, answering greedily."""

    def __init__(self, path: Path, prefix: Sequence[int], suffix: Sequence[int], stop: Sequence[int]) -> None:
        self.llama = Llama(str(path), n_ctx=1024, n_threads=2, n_threads_batch=2, verbose=False)
        self.prefix, self.suffix, self.stop = list(prefix), list(suffix), set(stop)

    def answer(self, prompt: str) -> str:
        """The answer to `prompt`; what has not ended after MAX_TOKENS ends in an ellipsis."""
        ids = self.llama.tokenize(prompt.encode(), add_bos=False, special=False)
        out: list[int] = []
        for token in self.llama.generate([*self.prefix, *ids, *self.suffix], temp=0.0, repeat_penalty=1.0):
            if token in self.stop:
                return self.text(out)
            out.append(token)
            if len(out) == MAX_TOKENS:
                break
        return self.text(out) + "…"

    def text(self, ids: list[int]) -> str:
        return self.llama.detokenize(ids).decode(errors="replace")


def accuracies(
    path: Path, prefix: Sequence[int], suffix: Sequence[int], stop: Sequence[int], show_wrong: bool = False
) -> dict[str, dict[str, float]]:
    """Share of right answers: task -> kind of held-out thing -> 0 to 1."""
    reader = Reader(path, prefix, suffix, stop)
    table: dict[str, dict[str, float]] = {}
    for task in TASKS:
        table[task] = {}
        for held in HELD:
            items = held_out_items(task, held)
            right = 0
            for item in items:
                answer = reader.answer(item.prompt)
                right += answer == item.answer
                if show_wrong and answer != item.answer:
                    print(f"{task}/{held}: {item.prompt!r} -> {answer!r}, expected {item.answer!r}", file=sys.stderr)
            table[task][held] = right / len(items)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("description", type=Path, nargs="?", default=Path(__file__).parent / "didyma-tiny.json")
    parser.add_argument("--show-wrong", action="store_true", help="print every wrong answer")
    arguments = parser.parse_args()
    described = json.loads(arguments.description.read_text())
    table = accuracies(
        arguments.description.with_name(described["file"]),
        described["prefixTokens"],
        described["suffixTokens"],
        described["stopTokens"],
        arguments.show_wrong,
    )
    print(f"{'right on held-out':20}" + "".join(f"{held:>10}" for held in HELD) + f"{'all':>10}")
    for task, row in table.items():
        shares = [*row.values(), sum(row.values()) / len(row)]
        print(f"{task:20}" + "".join(f"{share:10.1%}" for share in shares))


if __name__ == "__main__":
    main()
