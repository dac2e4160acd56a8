"""The published vectors are what the reference computes, and each forward pass follows from its file alone."""

import base64
import json
import zlib

import numpy as np
import pytest
from exact.make_vectors import FOLDER, FORWARD, texts

from oracle.engines.exact.model import Chunk, Reference
from oracle.engines.exact.weights import load


def test_vectors__files__are_current():
    assert {path.name for path in FOLDER.glob("*.json")} >= set(texts())
    for name, text in texts().items():
        assert (FOLDER / name).read_text() == text, f"{name}: run python tests/exact/make_vectors.py"


@pytest.mark.parametrize("name", FORWARD)
def test_forward_vector__read_back__gives_its_logits(name, tmp_path):
    vector = json.loads((FOLDER / f"forward-{name}.json").read_text())
    path = tmp_path / "m.gguf"
    path.write_bytes(zlib.decompress(base64.b64decode(vector["model"])))
    model = Reference(load(path))
    tokens = vector["tokens"]
    (logits,) = model.run([Chunk(tokens, model.cache(len(tokens)), len(tokens))])
    assert (logits == np.array(vector["logits"])).all()
