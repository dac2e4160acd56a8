"""A mutation run: which changes of the contracts no test notices. `python tests/mutants/run.py`.

Builds the contracts with their mutants (`schemata.py`), runs the contract tests against one mutant after the other
(`plugin.py`), in an order that the seed gives, for as long as there is time, and holds the outcome to two rules: tests
kill at least LEAST_KILLED of them, and `survivors.md` explains each that lives.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from mutants.operators import Mutant  # noqa: E402
from mutants.schemata import GROUPS, build  # noqa: E402

BUILDS = ROOT / ".build" / "mutants"
SURVIVORS = ROOT / "tests" / "mutants" / "survivors.md"
LEAST_KILLED = 0.9
TESTS = {
    "ledger": [
        *("test_answer", "test_arbiter", "test_callbacks", "test_credits", "test_draw", "test_examples"),
        *("test_finalize", "test_left_callbacks", "test_panel", "test_registry", "test_request", "test_services"),
    ],
}
"""Files of tests/contracts that may kill a group's mutants."""
ANVIL = """#!/bin/sh
case " $* " in *" --hardfork "*) ;; *) set -- --hardfork osaka "$@" ;; esac
set -- --disable-code-size-limit --gas-limit 200000000 --prune-history 4000 "$@"
if [ -n "${{ANVIL_GENESIS_TIME:-}}" ]; then set -- --timestamp "$ANVIL_GENESIS_TIME" "$@"; fi
exec {root}/node_modules/.bin/anvil "$@"
"""


def prepared(group: str) -> Path:
    """A folder with the build, the tests, and a chain that takes contracts of any size."""
    folder = BUILDS / group
    folder.mkdir(parents=True, exist_ok=True)
    build(group, folder)
    for name in ("tests", "bin"):
        shutil.rmtree(folder / name, ignore_errors=True)
    shutil.copytree(ROOT / "tests/contracts", folder / "tests/contracts")
    (folder / ".build").mkdir(exist_ok=True)
    (folder / "bin").mkdir()
    (folder / "bin/anvil").write_text(ANVIL.format(root=ROOT))
    (folder / "bin/anvil").chmod(0o755)
    shutil.copy(ROOT / "pyproject.toml", folder)
    shutil.copy(ROOT / "gas.json", folder)
    settings = (ROOT / "ape-config.yaml").read_text()
    (folder / "ape-config.yaml").write_text(settings.replace("gas_limit: 16000000", "gas_limit: 100000000"))
    for name in ("results.jsonl", "baseline.json"):
        (folder / name).unlink(missing_ok=True)
    return folder


def hunt(group: str, folder: Path, seed: int, seconds: float) -> None:
    """Runs tests against mutants; what comes of it stands in `results.jsonl`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "APE_DATA_FOLDER": str(folder / ".build/ape")}
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "mutants.plugin", "--mutants", str(folder)]
    command += ["--mutants-seed", str(seed), "--mutants-for", str(seconds)]
    command += [f"tests/contracts/{name}.py" for name in TESTS[group]]
    subprocess.run(command, cwd=folder, env=environment, check=False)


def outcome(folder: Path) -> tuple[int, list[Mutant]]:
    """How many mutants were tried, and those that lived."""
    mutants = [Mutant(**each) for each in json.loads((folder / "mutants.json").read_text())]
    told = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    return len(told), [mutants[each["number"] - 1] for each in told if not each["killer"]]


def run(seed: int, seconds: float) -> str:
    """All groups. Raises AssertionError."""
    tried, living, known = 0, [], 0
    for group in GROUPS:
        folder = prepared(group)
        hunt(group, folder, seed, seconds / len(GROUPS))
        count, lives = outcome(folder)
        tried, living = tried + count, living + lives
        known += len(json.loads((folder / "mutants.json").read_text()))
    explained = SURVIVORS.read_text()
    unexplained = [mutant.key for mutant in living if f"`{mutant.key}`" not in explained]
    killed = tried - len(living)
    told = f"{killed} of {tried} mutants killed, of {known} in all; {len(living)} live, {len(unexplained)} unexplained"
    if unexplained or killed < LEAST_KILLED * tried:
        raise AssertionError("\n".join([*unexplained, told]))
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600.0)
    options = parser.parse_args()
    print(run(options.seed, options.seconds))
