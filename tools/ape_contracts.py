"""Give Ape the contracts that forge has compiled, so that nothing is compiled twice.

Run by `make ape-built` after `forge build`. Ape keeps what it compiles in a manifest (EIP-2678), which is
`.build/__local__.json`, and compiles again what that has not as the file says. This writes it from forge's artifacts,
compiled with the same settings (tests/unit/test_settings.py): Ape's tests play the bytes that a node deploys.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARTIFACTS = ROOT / ".build/forge"
MANIFEST = ROOT / ".build/__local__.json"
STAMP = ROOT / ".build/ape-sources.sha256"
"""Digest of the sources that the manifest is of."""


def digest() -> str:
    """Of all that decides what the compiler makes: the settings and every contract."""
    sources = [ROOT / "ape-config.yaml", *sorted((ROOT / "contracts").rglob("*.sol"))]
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()


def artifacts() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Source, name and artifact of each contract that stands in a file of `contracts/` today, in order of the names."""
    for path in sorted(ARTIFACTS.glob("*.sol/*.json")):
        artifact = json.loads(path.read_text())
        if "rawMetadata" not in artifact:
            continue  # a file without a contract
        artifact["metadata"] = json.loads(artifact["rawMetadata"])  # forge's own reading of it leaves comments out
        ((source, name),) = artifact["metadata"]["settings"]["compilationTarget"].items()
        if source.startswith("contracts/") and (ROOT / source).is_file():
            yield source, name, artifact


def contract_type(source: str, name: str, artifact: dict[str, Any]) -> dict[str, Any]:
    """As EIP-2678 wants it."""
    output = artifact["metadata"]["output"]
    return {
        "abi": artifact["abi"],
        "contractName": name,
        "deploymentBytecode": {"bytecode": artifact["bytecode"]["object"]},
        "devdoc": output.get("devdoc", {}),
        "methodIdentifiers": {call: "0x" + selector for call, selector in artifact["methodIdentifiers"].items()},
        "runtimeBytecode": {"bytecode": artifact["deployedBytecode"]["object"]},
        "sourceId": source,
        "sourcemap": artifact["bytecode"].get("sourceMap", ""),
        "userdoc": output.get("userdoc", {}),
    }


def content(source: str) -> str:
    """The file as Ape compares it: without white space at its end but for one new line."""
    return (ROOT / source).read_text().rstrip() + "\n"


def main() -> None:
    built = list(artifacts())
    names = [name for _, name, _ in built]
    if len(set(names)) < len(names):
        raise SystemExit(f"two contracts have one name: {sorted({name for name in names if names.count(name) > 1})}")
    manifest = {
        "contractTypes": {name: contract_type(source, name, artifact) for source, name, artifact in built},
        "manifest": "ethpm/3",
        "sources": {source: {"content": content(source), "urls": []} for source in sorted({row[0] for row in built})},
    }
    MANIFEST.write_text(json.dumps(manifest))
    STAMP.write_text(digest())


if __name__ == "__main__":
    main()
