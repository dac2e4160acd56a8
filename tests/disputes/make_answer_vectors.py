"""Writes tests/vectors/answers.json: typed prompts, their types, right answers, and wrong ones with what shows them so.

    python tests/disputes/make_answer_vectors.py

For whoever writes the rules of docs/answers.md again. Bytes are in hexadecimal. The logits are those of the ids that
compete, after the output tokens that stand before them.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from disputes.typed import LogitsAt, Said, invented_logits, prompt, right_answer, wrong_answers  # noqa: E402

from oracle.disputes.answer_referee import beaten, is_wrong, says_nothing  # noqa: E402
from oracle.engines.answer_types import AnswerType, Choice, proper, type_of  # noqa: E402

VECTORS = ROOT / "tests" / "vectors" / "answers.json"
SEED, PROMPTS, WRONG = 1, 40, 5
SIZE, STOPS, LIMITS = 50, (2, 0), (1, 3, 40, 40, 40)


def vectors() -> Iterator[dict[str, Any]]:
    random = Random(SEED)
    for number in range(PROMPTS):
        root, limit = random.randbytes(32), random.choice(LIMITS)
        given = prompt(random, root, SIZE, b"\0Is water wet?")
        found = type_of(given, root, SIZE, STOPS, limit)
        assert found is not None
        logits = invented_logits(number, SIZE)
        right = right_answer(found, logits)
        wrong = list(wrong_answers(random, found, right, SIZE))
        yield {
            "prompt": given.hex(),
            "vocabulary root": root.hex(),
            "vocabulary": SIZE,
            "stop tokens": STOPS,
            "limit": limit,
            "rows": found.rows if isinstance(found, Choice) else None,
            "proper": proper(given).hex(),
            "logits": list(_logits(found, logits)),
            "right": _answer(right),
            "wrong": [
                _answer(said) | {"shown by": _shown(found, said, logits)}
                for said in random.sample(wrong, min(WRONG, len(wrong)))
            ],
        }


def _answer(said: Said) -> dict[str, Any]:
    return {"tokens": said.tokens, "ends": said.ends, "output": said.output.hex()}


def _logits(type_: AnswerType, logits: LogitsAt) -> Iterator[dict[str, Any]]:
    """After everything that may stand before two ids or more."""
    begun = {row[:at] for row in type_.rows for at in range(len(row) + 1)} if isinstance(type_, Choice) else set()
    for tokens in sorted(begun):
        allowed = type_.allowed(tokens) if isinstance(type_, Choice) else ()
        if len(allowed) > 1:
            row = logits(tokens)
            yield {"after": tokens, "of": {token: row[token] for token in allowed}}


def _shown(type_: AnswerType, said: Said, logits: LogitsAt) -> dict[str, Any]:
    """The first fault."""
    count = len(said.tokens)
    if says_nothing(type_, said.output, count):
        return {"fault": "output"}
    for step, (token, end) in enumerate(zip(said.tokens, said.ends, strict=True)):
        if is_wrong(type_, said.output, count, step, token, end):
            return {"fault": "token", "step": step}
    for step in range(count):
        two = beaten(type_, said.output, step, logits(said.tokens[:step]))
        if two is not None:
            return {"fault": "margin", "step": step, "other": two[1]}
    raise AssertionError("a right answer")


def text() -> str:
    """The file's."""
    rows = ",\n".join(json.dumps(each, separators=(",", ":")) for each in vectors())
    return f"[\n{rows}\n]\n"


def main() -> None:
    VECTORS.write_text(text())


if __name__ == "__main__":
    main()
