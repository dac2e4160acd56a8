"""Build the npm package: contracts, ABIs with types, deployments and the viem client, as one file in `dist/`.

Run by `make package`. Everything but `js/` is made here from what the wheel ships, so nothing generated is committed; a
test compares the packed files with the tree.
"""

import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # where the package is not installed from this tree

from oracle.chain import sources  # noqa: E402
from oracle.chain.deployment import artifact, artifact_names  # noqa: E402
from oracle.chain.refusals import ADVICE  # noqa: E402
from oracle.client import deploying, devnet  # noqa: E402

JS = ROOT / "js"
GENERATED = JS / "src/generated"
BUILT = ROOT / ".build/js"
STAGE = ROOT / ".build/npm"
DIST = ROOT / "dist"
DO_NOT = "// Made by tools/package.py from the contracts: do not edit.\n\n"


def version() -> str:
    """Of wheel, package and contracts."""
    found: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return found


def constant(name: str) -> str:
    """`oracleAbi` of the contract `Oracle`."""
    return name[0].lower() + name[1:] + "Abi"


def errors() -> list[Mapping[str, Any]]:
    """Every custom error of the contracts once, by signature, sorted; its arguments named as the Python client does."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in artifact_names():
        for entry in artifact(name)["abi"]:
            if entry["type"] == "error":
                found.setdefault(json.dumps([entry["name"], [each["type"] for each in entry["inputs"]]]), entry)
    return [found[key] for key in sorted(found)]


def as_const(name: str, value: object) -> str:
    return f"export const {name} = {json.dumps(value, indent=1)} as const;\n"


def generated() -> dict[str, str]:
    """What the client knows of the contracts, by the files of `js/src/generated`."""
    abis = [as_const(constant(name), artifact(name)["abi"]) for name in artifact_names()]
    advice = f"export const advice: Readonly<Record<string, string>> = {json.dumps(ADVICE, indent=1)};\n"
    return {
        "abi.ts": DO_NOT + "\n".join([*abis, as_const("errorsAbi", errors())]),
        "advice.ts": DO_NOT + advice,
    }


def deployments() -> str:
    """By chain: where the contracts are. Nothing is deployed on a public chain; `didyma dev` is always the same."""
    planned = deploying.plan(devnet.CHAIN_ID, devnet.BLOCK_MILLIS)
    found = [deploying.deployment_of(planned, devnet.CHAIN_ID, 0)]
    return json.dumps({str(each.chain_id): asdict(each) for each in found}, indent=2) + "\n"


def compile_client() -> None:
    """TypeScript to JavaScript and declarations, with the tests."""
    shutil.rmtree(BUILT, ignore_errors=True)
    subprocess.run([ROOT / "node_modules/.bin/tsc", "--project", JS], check=True)


def files() -> Iterator[tuple[str, bytes]]:
    """The package's files but the compiled ones, by their paths in it."""
    described = json.loads((JS / "package.json").read_text())
    if described["version"] != version():
        raise ValueError(f"js/package.json has version {described['version']}, the wheel {version()}")
    yield "package.json", (JS / "package.json").read_bytes()
    yield "README.md", (JS / "README.md").read_bytes()
    yield "deployments.json", deployments().encode()
    yield "LICENSE", (ROOT / "LICENSE").read_bytes()
    for path in sources.shipped():
        yield f"contracts/{path}", (sources.ROOT / path).read_bytes()


def stage() -> None:
    """The package's folder, as it is packed."""
    shutil.rmtree(STAGE, ignore_errors=True)
    for name, content in files():
        (STAGE / name).parent.mkdir(parents=True, exist_ok=True)
        (STAGE / name).write_bytes(content)
    shutil.copytree(BUILT / "src", STAGE / "dist")


def main() -> None:
    GENERATED.mkdir(parents=True, exist_ok=True)
    for name, text in generated().items():
        (GENERATED / name).write_text(text)
    compile_client()
    stage()
    DIST.mkdir(exist_ok=True)
    for old in DIST.glob("didyma-*.tgz"):
        old.unlink()
    subprocess.run(["npm", "pack", "--silent", "--pack-destination", DIST], cwd=STAGE, check=True)


if __name__ == "__main__":
    main()
