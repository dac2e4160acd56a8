"""Writes tests/vectors/patterns.json: patterns, their right answers, and wrong ones with what shows them so.

    python tests/disputes/make_pattern_vectors.py

For whoever writes the rules of docs/answers.md again. Bytes are in hexadecimal. The vocabulary is what its tokens
spell; the logits are those after the output tokens that stand before them, of all tokens.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from disputes.patterns import (  # noqa: E402
    Asked,
    Better,
    invented_model,
    right_answer,
    some_entries,
    some_table,
    wrong_answers,
)
from disputes.typed import Said, close_logits  # noqa: E402

from oracle.disputes.pattern_referee import PatternFault, PatternRefutation  # noqa: E402
from oracle.engines.answer_types import Pattern, pattern_type, type_of, typed_prompt  # noqa: E402

VECTORS = ROOT / "tests" / "vectors" / "patterns.json"
SEED, PROMPTS, WRONG = 1, 30, 6
SIZE, STOPS, LIMITS = 12, (2, 0), (1, 3, 6, 6)


def vectors() -> Iterator[dict[str, Any]]:
    random, made = Random(SEED), 0
    while made < PROMPTS:
        root, limit, entries = random.randbytes(32), random.choice(LIMITS), some_entries(random, SIZE)
        given = typed_prompt(pattern_type(some_table(random), root), b"\0How many legs has a spider?")
        found = type_of(given, root, SIZE, STOPS, limit)
        if not isinstance(found, Pattern):
            continue
        made += 1
        question = Asked(found, invented_model(entries), close_logits(made, SIZE))
        right = right_answer(found, question.logits, entries)
        wrong = list(wrong_answers(random, found, right, entries, question.logits))
        told = [each for each in wrong if len(each.output) < 100 or random.random() < 0.2]
        begun = sorted({right.tokens[:at] for at in range(len(right.tokens))})
        yield {
            "prompt": given.hex(),
            "vocabulary root": root.hex(),
            "vocabulary": [entry.spelled.hex() for entry in entries],
            "stop tokens": STOPS,
            "limit": limit,
            "table": found.table.hex(),
            "logits": [{"after": tokens, "of": list(question.logits(tokens))} for tokens in begun],
            "right": _answer(right),
            "wrong": [
                _answer(said) | {"shown by": _shown(question, said)}
                for said in random.sample(told, min(WRONG, len(told)))
            ],
        }


def _answer(said: Said) -> dict[str, Any]:
    return {"tokens": said.tokens, "ends": said.ends, "output": said.output.hex()}


def _shown(question: Asked, said: Said) -> dict[str, Any]:
    """The first fault."""
    found = question.shown_wrong(said)
    assert found is not None
    if isinstance(found, Better):
        return {"fault": "better", "step": found.step, "other": found.other}
    name = found.fault.name.lower()
    if isinstance(found, PatternRefutation):
        if found.fault is PatternFault.STOP:
            return {"fault": name, "other": found.which}
        return {"fault": name, "step": found.which - len(question.before)}
    return {"fault": name, "step": found.index - len(question.before)}


def text() -> str:
    """The file's."""
    rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in vectors())
    return f"[\n{rows}\n]\n"


def main() -> None:
    VECTORS.write_text(text())


if __name__ == "__main__":
    main()
