"""Measures the shipped model on held-out items, through llama.cpp: `python -m models.evaluate`.

An answer is right when it equals the expected one, letter for letter, and ends by itself.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from models.language import MOST_FACTS, TASKS, YES_NO, Item, Writer
from oracle.engines.llama_native import NativeModel
from oracle.models.shipped import SHIPPED_MODEL

EVALUATION_SEED = 7
ITEMS_EACH = 400  # of every task
MAX_TOKENS = 48
CONTEXT, BATCH, THREADS = 512, 512, 2


def held_out_items(task: str, facts: tuple[int, int] = (1, 1)) -> list[Item]:
    """Items of a task; questions about that many stated facts."""
    return list(islice(Writer(EVALUATION_SEED).held_out_items(task, facts), ITEMS_EACH))


class Reader:
    """A GGUF with its wrapper, answering greedily."""

    def __init__(self, path: Path, prefix: Sequence[int], suffix: Sequence[int], stop: Sequence[int]) -> None:
        self.model = NativeModel(path)
        self._sequence = self.model.sequence(CONTEXT, BATCH, THREADS)
        self.prefix, self.suffix, self.stop = list(prefix), list(suffix), set(stop)

    def answer(self, prompt: str) -> str:
        """The answer to `prompt`; what has not ended after MAX_TOKENS ends in an ellipsis."""
        out = self.tokens_after([*self.prefix, *self.model.tokenize(prompt.encode(), special=False), *self.suffix])
        return self.text(out[:-1]) if out[-1] in self.stop else self.text(out) + "…"

    def tokens_after(self, prompt: Sequence[int]) -> list[int]:
        """The likeliest token each time, up to a stop token or MAX_TOKENS."""
        self._sequence.truncate(0)
        out = [self._best_after(prompt)]
        while out[-1] not in self.stop and len(out) < MAX_TOKENS:
            out.append(self._best_after(out[-1:]))
        return out

    def text(self, ids: list[int]) -> str:
        return b"".join(self.model.pieces[token] for token in ids).decode(errors="replace")

    def _best_after(self, tokens: Sequence[int]) -> int:
        best: list[int] = []
        self._sequence.extend(tokens, len(tokens) - 1, lambda _, logits: best.append(int(logits.argmax())))
        return best[0]


def accuracies(
    path: Path, prefix: Sequence[int], suffix: Sequence[int], stop: Sequence[int], show_wrong: bool = False
) -> dict[str, float]:
    """Share of right answers to held-out sentences, by task."""
    reader = Reader(path, prefix, suffix, stop)
    table = {}
    for name, items in {
        **{task: held_out_items(task) for task in TASKS},
        f"{YES_NO}, {MOST_FACTS - 1}-{MOST_FACTS} facts": held_out_items(YES_NO, (MOST_FACTS - 1, MOST_FACTS)),
    }.items():
        right = 0
        for item in items:
            answer = reader.answer(item.prompt)
            right += answer == item.answer
            if show_wrong and answer != item.answer:
                print(f"{name}: {item.prompt!r} -> {answer!r}, expected {item.answer!r}", file=sys.stderr)
        table[name] = right / ITEMS_EACH
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("description", type=Path, nargs="?", default=SHIPPED_MODEL)
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
    print(f"right answers to {ITEMS_EACH} held-out sentences each")
    for task, share in table.items():
        print(f"{task:20}{share:8.1%}")


if __name__ == "__main__":
    main()
