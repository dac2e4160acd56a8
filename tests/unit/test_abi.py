"""What the node knows of the contracts is what forge built of them. Needs `forge build`: `make test` runs it first."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

_spec = importlib.util.spec_from_file_location("export_abi", ROOT / "tools/export_abi.py")
export_abi = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(export_abi)


@pytest.mark.parametrize("name", export_abi.CONTRACTS)
def test_abi__contracts_changed__is_exported_again(name):
    committed = (ROOT / f"oracle/abi/{name}.json").read_text()
    assert committed == export_abi.exported(name), f"oracle/abi/{name}.json is stale: run `make abi`"


@pytest.mark.parametrize("name", export_abi.CONTRACTS)
def test_abi__forge_build__is_not_older_than_the_sources(name):
    """Or the test above would compare two stale things."""
    built = ROOT / f".build/forge/{name}.sol/{name}.json"
    cache = json.loads((ROOT / ".build/forge-cache/solidity-files-cache.json").read_text())
    newest = max(source.stat().st_mtime for source in _imports(name, cache))
    assert newest <= built.stat().st_mtime, f"{name} changed after the last build: run `forge build contracts`"


def _imports(name, cache):
    """The contract's source and all it imports, as far as they are ours."""
    start = next(path for path in cache["files"] if path.startswith("contracts/") and path.endswith(f"/{name}.sol"))
    seen, queue = set(), [start]
    while queue:
        path = queue.pop()
        if path in seen or not path.startswith("contracts/"):
            continue
        seen.add(path)
        queue += cache["files"].get(path, {}).get("imports", [])
    return [ROOT / path for path in seen]


def test_abi__files__are_exactly_the_exported_ones():
    assert {path.stem for path in (ROOT / "oracle/abi").glob("*.json")} == set(export_abi.CONTRACTS)
