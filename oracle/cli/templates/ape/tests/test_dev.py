"""The critic on the whole oracle: nodes, the shipped model and the challenge window. `ape test --didyma` runs it."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parent.parent / "scripts/ask.py"


def test_critic__on_the_whole_oracle__hears_the_model(didyma):
    spec = importlib.util.spec_from_file_location("ask", SCRIPT)
    ask = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ask)
    assert (
        ask.heard(didyma.rpc_url, didyma.deployment, didyma.service, b"The soup was cold and the waiter was rude.") == 1
    )
