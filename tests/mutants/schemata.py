"""Contracts with all their mutants in them, and a build of the tests' contracts around them."""

import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mutants.operators import Mutant, Schemata
from mutants.switch import FILE, LIBRARY, importing

ROOT = Path(__file__).resolve().parents[2]
GROUPS: dict[str, Sequence[str]] = {
    "ledger": (
        *("Credits.sol", "ServiceStore.sol", "Seats.sol", "Services.sol", "Turns.sol", "Oracle.sol"),
        *("libraries/RequestLib.sol", "disputes/PanelArbiter.sol"),
    ),
    "game": (
        *("disputes/Adoption.sol", "disputes/DisputeGame.sol", "disputes/Games.sol", "disputes/GameServices.sol"),
        *("disputes/Paths.sol", "disputes/Refutations.sol"),
    ),
    "referee": (
        *("disputes/referee/Referee.sol", "disputes/referee/TokenReferee.sol", "disputes/referee/TextReferee.sol"),
        *("disputes/referee/AnswerReferee.sol", "disputes/referee/AttentionReferee.sol"),
        *("disputes/referee/LinearReferee.sol", "disputes/referee/RowReferee.sol", "disputes/referee/Inputs.sol"),
        *("disputes/referee/Logits.sol", "disputes/referee/Graph.sol", "disputes/referee/Commitments.sol"),
        *("disputes/referee/Operators.sol", "disputes/referee/Quants.sol", "disputes/referee/Powers.sol"),
        *("disputes/referee/Fixed.sol", "disputes/referee/Sampling.sol", "disputes/referee/AnswerTypes.sol"),
        *("disputes/referee/Patterns.sol", "disputes/referee/Cutter.sol", "disputes/referee/Reading.sol"),
        *("libraries/MerkleTree.sol", "libraries/Prompts.sol"),
    ),
}
"""Files whose mutants are built together."""
JUDGED = (
    *("Lens.sol", "ModelRegistry.sol", "Oracle.sol", "Seats.sol", "disputes/DisputeGame.sol"),
    *("disputes/referee/Referee.sol", "disputes/referee/TokenReferee.sol", "disputes/referee/AttentionReferee.sol"),
    *("disputes/referee/LinearReferee.sol", "disputes/referee/RowReferee.sol", "disputes/referee/TextReferee.sol"),
    "disputes/referee/AnswerReferee.sol",
)
ROOTS: dict[str, Sequence[str]] = {
    "ledger": [
        *("Lens.sol", "ModelRegistry.sol", "Oracle.sol", "disputes/PanelArbiter.sol", "disputes/referee/Reading.sol"),
        *("mocks/Hostile.sol", "mocks/Listener.sol", "mocks/MockArbiter.sol", "mocks/MockAttester.sol"),
        "mocks/MockOracle.sol",
    ],
    "game": JUDGED,
    "referee": [
        *(*JUDGED, "mocks/CutterHarness.sol", "mocks/GraphHarness.sol", "mocks/MerkleHarness.sol"),
        *("mocks/PatternsHarness.sol", "mocks/PromptHarness.sol", "mocks/RefereeHarness.sol"),
    ],
}
"""What their tests deploy."""
IMPORTS = ("@openzeppelin/contracts/", "node_modules/@openzeppelin/contracts/"), ("solady/", "node_modules/solady/src/")
FORGE = """[profile.default]
src = "contracts"
test = "tests/invariants"
out = "out"
cache_path = "cache"
libs = ["node_modules"]
solc = "{solc}"
evm_version = "osaka"
optimizer = true
optimizer_runs = 1
via_ir = true
bytecode_hash = "none"
cbor_metadata = false
ignored_error_codes = [5159, 2018, 5574, 3860]
gas_limit = "9223372036854775807"
fs_permissions = [
    {{ access = "read", path = "./tests/vectors" }},
    {{ access = "read", path = "./out" }},
    {{ access = "read-write", path = "./played.txt" }},
]
remappings = [
    "@openzeppelin/contracts/=node_modules/@openzeppelin/contracts/",
    "solady/=node_modules/solady/src/",
    "forge-std/=node_modules/@uniswap/v4-core/lib/forge-std/src/",
]

[lint]
lint_on_build = false

[profile.default.optimizer_details]
peephole = true
inliner = false
jumpdestRemover = true
orderLiterals = false
deduplicate = false
cse = false
constantOptimizer = false
yul = true

[profile.default.optimizer_details.yulDetails]
stackAllocation = true
optimizerSteps = "{steps}:fDnTOcmu"
"""
STEPS = "dhfoDgvulfnTUtnIf"
"""Of the optimizer only what keeps the stack shallow: all of it takes many minutes."""
LEDGER_STEPS = f"{STEPS}xarulLculVculjmuljuljul"
"""The same, for the panels' contract with all its mutants."""


def written(group: str, folder: Path, seed: int = 0, share: int = 1) -> list[Mutant]:
    """Writes the contracts with the mutants of a group into `folder`. Number k is the k-th, from one.

    share: of mutants that move no money, one in so many is taken, none at 0; the seed draws which."""
    files, sources = GROUPS[group], imported(ROOTS[group])
    trees = _analysed(sources)["sources"]
    left_out: set[str] = set()
    wanted = _drawn(files, sources, trees, random.Random(seed), share)
    while True:
        made, mutants = dict(sources), []
        for file in files:
            schemata = Schemata(file, sources[file].encode(), len(mutants) + 1, left_out, wanted)
            made[file] = importing(file, schemata.rewritten(trees[f"contracts/{file}"]["ast"]))
            mutants += schemata.mutants
        made[FILE] = LIBRARY
        wrong = _wrong(made, mutants)
        if not wrong:
            break
        left_out |= wrong
    shutil.rmtree(folder / "contracts", ignore_errors=True)
    for file, text in made.items():
        path = folder / "contracts" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settings(folder, LEDGER_STEPS if group == "ledger" else STEPS)
    (folder / "mutants.json").write_text(json.dumps([asdict(each) for each in mutants], indent=1))
    return mutants


def _drawn(
    files: Sequence[str], sources: dict[str, str], trees: Any, drawn: random.Random, share: int
) -> set[str] | None:
    """Keys of those to build."""
    if share == 1:
        return None
    every: list[Mutant] = []
    for file in files:
        schemata = Schemata(file, sources[file].encode(), 1)
        schemata.rewritten(trees[f"contracts/{file}"]["ast"])
        every += schemata.mutants
    return {mutant.key for mutant in every if mutant.money or (share and drawn.randrange(share) == 0)}


def settings(folder: Path, steps: str = STEPS) -> None:
    """Lets forge build there what only tests play on."""
    (folder / "foundry.toml").write_text(FORGE.format(solc=ROOT / "tools/solc/solc-v0.8.37", steps=steps))
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(ROOT / "node_modules")


def imported(roots: Sequence[str]) -> dict[str, str]:
    """Those files and all of ours that they import."""
    base, found, queue = ROOT / "contracts", {}, list(roots)
    while queue:
        file = queue.pop()
        if file not in found:
            found[file] = (base / file).read_text()
            for name in re.findall(r'from "(\.[^"]+)"', found[file]):
                queue.append(os.path.relpath(os.path.normpath(base / file / ".." / name), base))
    return dict(sorted(found.items()))


def _analysed(sources: dict[str, str]) -> Any:
    """What the compiler says of sources without building them."""
    request = {
        "language": "Solidity",
        "sources": {f"contracts/{file}": {"content": text} for file, text in sources.items()},
        "settings": {
            "remappings": [f"{name}={path}" for name, path in IMPORTS],
            "outputSelection": {"*": {"": ["ast"]}},
        },
    }
    compiler = ["node", "tools/solc/solc-v0.8.37", "--standard-json"]
    done = subprocess.run(compiler, cwd=ROOT, input=json.dumps(request), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _wrong(made: dict[str, str], mutants: list[Mutant]) -> set[str]:
    """Keys of mutants that do not compile."""
    wrong = set()
    for error in _analysed(made).get("errors", []):
        if error["severity"] != "error":
            continue
        file, start = error["sourceLocation"]["file"].removeprefix("contracts/"), error["sourceLocation"]["start"]
        text = made[file].encode()
        end = error["sourceLocation"]["end"]
        inside = re.findall(rb"\bon\((\d+)\)", text[start:end]) or re.findall(rb"\bon\((\d+)\)", text[:start])[-1:]
        if not inside:
            raise AssertionError(error["formattedMessage"])
        wrong.add(mutants[int(inside[0]) - 1].key)
    return wrong


def build(group: str, folder: Path, seed: int = 0, share: int = 1) -> list[Mutant]:
    """The same, compiled."""
    mutants = written(group, folder, seed, share)
    environment = {**os.environ, "FOUNDRY_PROFILE": "default"}
    subprocess.run([ROOT / "tools/bin/forge", "build"], cwd=folder, env=environment, check=True)
    return mutants
