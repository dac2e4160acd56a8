"""The small model that comes with the package, for the demo and development networks; docs/model.md describes it."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SHIPPED_MODEL = Path(__file__).with_name("didyma-tiny.json")
"""Its description; the file lies beside it."""
SMOLLM2 = Path(__file__).with_name("smollm2.json")
"""Of a model that people use, whose file another package carries: SmolLM2-135M-Instruct (Apache-2.0, Q4_1 and Q8_0)."""


@dataclass(frozen=True)
class KnownAnswer:
    """What a file's model answers greedily, with every engine and on every machine. Token ids."""

    prompt: tuple[int, ...]
    """Wrapper included."""
    tokens: tuple[int, ...]


@cache
def known_answer(sha256: bytes) -> KnownAnswer | None:
    """What is known of the shipped file; None for all other files."""
    described = json.loads(SHIPPED_MODEL.read_text())
    if described["sha256"] != sha256.hex():
        return None
    return KnownAnswer(*(tuple(described["known"][name]) for name in ("prompt", "tokens")))
