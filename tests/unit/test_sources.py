"""What Sourcify is given: complete, of today's sources, and it compiles to what is deployed."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from oracle.chain.deployment import artifact

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("sources", ROOT / "tools/sources.py")
sources = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sources)


@pytest.mark.parametrize("name", sources.CONTRACTS)
def test_body__each_contract__has_every_source_that_forge_compiled_it_from(name):
    found = sources.body(name)
    assert found["contractIdentifier"].endswith(f"{name}.sol:{name}")
    assert found["compilerVersion"].startswith("0.8.37")
    assert found["stdJsonInput"]["settings"]["viaIR"] is True
    assert len(found["stdJsonInput"]["sources"]) >= 3


@pytest.mark.parametrize("name", ["ModelRegistry", "Lens"])
def test_body__compiled_offline__is_the_code_that_is_deployed(name):
    question = json.dumps(sources.body(name)["stdJsonInput"])
    done = subprocess.run(
        [ROOT / "tools/solc/solc-v0.8.37", "--standard-json"],
        input=question,
        capture_output=True,
        text=True,
        check=True,
    )
    (path, contract) = sources.body(name)["contractIdentifier"].split(":")
    made = json.loads(done.stdout)["contracts"][path][contract]["evm"]["bytecode"]["object"]
    assert artifact(name)["bytecode"] == "0x" + made


def test_content__source_changed_since__is_refused():
    with pytest.raises(ValueError, match="run `forge build"):
        sources._content("contracts/Lens.sol", {"keccak256": "0x" + "00" * 32})
