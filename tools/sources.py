"""Write what Sourcify needs to verify the source of each contract: `make sources`, into `dist/sources`.

A file is the body of a request to Sourcify's API, version 2: the compiler's input with every source of the contract,
the compiler's version, and the contract's name. The input is what forge compiled, as the compiler recorded it in its
metadata. Sources that changed since then are refused.
"""

import json
from pathlib import Path
from typing import Any

from eth_utils.crypto import keccak

from oracle.chain import wiring

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "dist/sources"
CONTRACTS = (*wiring.WIRING, "Refutations")
"""What a deployment holds, but for tables, which have no source."""


def body(name: str) -> dict[str, Any]:
    """The request for one contract. Raises ValueError where forge compiled other sources than there are now."""
    built = json.loads((ROOT / f".build/forge/{name}.sol/{name}.json").read_text())
    metadata = built["metadata"]
    ((path, contract),) = metadata["settings"]["compilationTarget"].items()
    settings = {key: value for key, value in metadata["settings"].items() if key != "compilationTarget"}
    libraries = settings.pop("libraries", {})
    if libraries:
        raise ValueError(f"{name} is linked to {libraries}: deployments know of no libraries")
    return {
        "stdJsonInput": {
            "language": metadata["language"],
            "sources": {source: {"content": _content(source, told)} for source, told in metadata["sources"].items()},
            "settings": {
                **settings,
                "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
            },
        },
        "compilerVersion": metadata["compiler"]["version"],
        "contractIdentifier": f"{path}:{contract}",
    }


def _content(source: str, told: dict[str, Any]) -> str:
    content = (ROOT / source).read_text()
    if keccak(text=content) != bytes.fromhex(told["keccak256"][2:]):
        raise ValueError(f"{source} changed after forge compiled it: run `forge build contracts`")
    return content


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name in CONTRACTS:
        (OUT / f"{name}.json").write_text(json.dumps(body(name), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
