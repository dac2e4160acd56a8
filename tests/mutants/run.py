"""A mutation run: which changes of the contracts no test notices. `python tests/mutants/run.py`.

Builds the contracts with their mutants (`schemata.py`) and tries a sample of them that the seed draws: first by the
tests that know the group (`hunt.py`), then, where those notice nothing, in the adversary's lives. It holds the outcome
to two rules: at least LEAST_KILLED of the sample are noticed, and `survivors.md` explains each that lives.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from invariants.faults import FAULTY, FORGE, LIVES, TEST  # noqa: E402
from mutants.operators import Mutant  # noqa: E402
from mutants.schemata import GROUPS, build  # noqa: E402

BUILDS = ROOT / ".build" / "mutants"
SURVIVORS = ROOT / "tests" / "mutants" / "survivors.md"
LEAST_KILLED = 0.9
SAMPLE = 80
"""Mutants of each group."""
LIFE_SECONDS = 120
"""That all lives may take with a mutant on."""
TIMED_OUT = 124  # `timeout`
TESTS = {
    "ledger": [
        *("test_answer", "test_arbiter", "test_callbacks", "test_credits", "test_draw", "test_examples"),
        *("test_finalize", "test_left_callbacks", "test_panel", "test_registry", "test_request", "test_services"),
    ],
    "game": ["test_game_anvil", "test_game_engines", "test_game_lies", "test_reading", "test_refutations"],
    "referee": [
        *("test_borders", "test_graph_contract", "test_referee", "test_referee_judge", "test_referee_refusals"),
        *("test_game_anvil", "test_reading"),
    ],
}
"""Files that may kill a group's mutants: of tests/contracts for the ledger, of tests/disputes for the others."""
PLAYED = ("game", "referee")
"""Groups that the adversary plays with."""
ANVIL = """#!/bin/sh
case " $* " in *" --hardfork "*) ;; *) set -- --hardfork osaka "$@" ;; esac
set -- --disable-code-size-limit --gas-limit 200000000 --prune-history 4000 "$@"
if [ -n "${{ANVIL_GENESIS_TIME:-}}" ]; then set -- --timestamp "$ANVIL_GENESIS_TIME" "$@"; fi
exec {root}/node_modules/.bin/anvil "$@"
"""


def prepared(group: str, seed: int, sample: int) -> Path:
    """A folder with the build, the sample, what plays on it, and a chain that takes contracts of any size."""
    folder = BUILDS / group
    shutil.rmtree(folder / "tests", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    if group in PLAYED:
        shutil.copytree(ROOT / "tests/vectors", folder / "tests/vectors")
        (folder / "tests/invariants").mkdir()
        for name in ("Adversary", "Adversary.t", "Book", "Honest", "Ledger", "Player", "Sybils", "Village"):
            shutil.copy(ROOT / f"tests/invariants/{name}.sol", folder / "tests/invariants")
        (folder / FAULTY).write_text(TEST)
    mutants = build(group, folder)
    (folder / ".build").mkdir(exist_ok=True)
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/anvil").write_text(ANVIL.format(root=ROOT))
    (folder / "bin/anvil").chmod(0o755)
    if group == "ledger":
        shutil.copytree(ROOT / "tests/contracts", folder / "tests/contracts")
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copy(ROOT / "gas.json", folder)
        settings = (ROOT / "ape-config.yaml").read_text()
        (folder / "ape-config.yaml").write_text(settings.replace("gas_limit: 16000000", "gas_limit: 100000000"))
    for name in ("results.jsonl", "baseline.json"):
        (folder / name).unlink(missing_ok=True)
    numbers = range(1, len(mutants) + 1)
    drawn = random.Random(seed).sample(numbers, min(sample, len(mutants)))
    (folder / "sample.json").write_text(json.dumps(drawn))
    return folder


def told(folder: Path) -> dict[int, str]:
    """What came of the mutants that were tried: which test killed it, or nothing. What was written last counts."""
    path = folder / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {each["number"]: each["killer"] for each in map(json.loads, lines)}


def survives(folder: Path, number: int) -> bool:
    """Whether the adversary's lives pass with a mutant on, or take too long; zero is none.

    Raises AssertionError if none were played."""
    environment = {**os.environ, "DIDYMA_FAULT": str(number), "FOUNDRY_DENY": "never"}
    command = ["timeout", str(LIFE_SECONDS), FORGE, "test", "--match-path", FAULTY, "--match-test", LIVES]
    played = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if played.returncode == TIMED_OUT:
        return True
    if f"[PASS] {LIVES}" not in played.stdout and "[FAIL" not in played.stdout:
        raise AssertionError(played.stdout + played.stderr)
    return "[FAIL" not in played.stdout


def lived(folder: Path, seconds: float) -> None:
    """Plays the adversary's lives on each mutant that no test noticed. Those that break a promise are killed."""
    assert survives(folder, 0), "the lives fail without a mutant"
    ends = time.monotonic() + seconds
    for number in [number for number, killer in told(folder).items() if not killer]:
        if time.monotonic() > ends:
            return
        start = time.monotonic()
        if not survives(folder, number):
            took = round(time.monotonic() - start, 1)
            with (folder / "results.jsonl").open("a") as file:
                file.write(json.dumps({"number": number, "killer": "the adversary", "seconds": took}) + "\n")


def hunt(group: str, folder: Path, seconds: float) -> None:
    """Runs tests against the sample; what comes of it stands in `results.jsonl`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "APE_DATA_FOLDER": str(folder / ".build/ape")}
    environment["PATH"] = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-m", "pytest", "-q", "-s", "--mutants", str(folder), "--mutants-for", str(seconds)]
    if group == "ledger":
        command += ["-p", "mutants.ape_plugin", *(f"tests/contracts/{name}.py" for name in TESTS[group])]
        subprocess.run(command, cwd=folder, env=environment, check=False)
    else:
        command += ["-p", "no:ape_test", "-p", "mutants.anvil_plugin"]
        command += [f"tests/disputes/{name}.py" for name in TESTS[group]]
        subprocess.run(command, cwd=ROOT, env=environment, check=False)


def outcome(folder: Path) -> tuple[int, list[Mutant]]:
    """How many mutants were tried, and those that lived."""
    mutants = [Mutant(**each) for each in json.loads((folder / "mutants.json").read_text())]
    done = told(folder)
    return len(done), [mutants[number - 1] for number, killer in done.items() if not killer]


def run(
    seed: int, groups: Sequence[str] = tuple(GROUPS), sample: int = SAMPLE, seconds: float = 3600.0, again: bool = False
) -> str:
    """seconds: for each. again: go on with what was built and tried. Raises AssertionError."""
    tried, living, known = 0, [], 0
    for group in groups:
        folder = BUILDS / group if again else prepared(group, seed, sample)
        ends = time.monotonic() + seconds
        hunt(group, folder, seconds)
        if group in PLAYED:
            lived(folder, ends - time.monotonic())
        count, lives = outcome(folder)
        tried, living = tried + count, living + lives
        known += len(json.loads((folder / "mutants.json").read_text()))
    explained = SURVIVORS.read_text()
    unexplained = [mutant.key for mutant in living if f"`{mutant.key}`" not in explained]
    killed = tried - len(living)
    said = f"{killed} of {tried} mutants killed, of {known} in all; {len(living)} live, {len(unexplained)} unexplained"
    if unexplained or killed < LEAST_KILLED * tried:
        raise AssertionError("\n".join([*unexplained, said]))
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=int, default=SAMPLE)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("groups", nargs="*", metavar="GROUP", default=list(GROUPS), help=", ".join(GROUPS))
    parser.add_argument("--again", action="store_true", help="go on with what was built and tried")
    options = parser.parse_args()
    print(run(options.seed, options.groups, options.sample, options.seconds, options.again))
