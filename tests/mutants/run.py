"""A mutation run: which changes of the contracts no test notices. `python tests/mutants/run.py`.

Builds the contracts with their mutants (`schemata.py`), all of those on lines that move money and, of the referees,
which move none, a share that the seed draws; and tries each by itself: first in forge, by lives and properties
(`Plays.sol`), then, where those notice nothing and `survivors.md` does not say why, by the tests in Python that know
the file (`hunt.py`). It holds the outcome to two rules: at least LEAST_KILLED are noticed, and `survivors.md` explains
each that lives.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from invariants.faults import FORGE, PLAYERS  # noqa: E402
from mutants.operators import Mutant  # noqa: E402
from mutants.schemata import GROUPS, build  # noqa: E402

BUILDS = ROOT / ".build" / "mutants"
SURVIVORS = ROOT / "tests" / "mutants" / "survivors.md"
LEAST_KILLED = 0.9
SHARE = {"ledger": 0, "game": 0, "referee": 15}
"""Of a group's mutants that move no money, one in so many is tried; none at 0."""
BATCH = 15
"""Mutants to a run of forge."""
BATCH_SECONDS = 900
TIMED_OUT = 124  # `timeout`
PLAYS = {"ledger": "LedgerPlays", "game": "GamePlays", "referee": "GamePlays"}
"""By group: the contract beside this file that plays on it, which needs these contracts of tests/invariants."""
PLAYED = {
    "LedgerPlays": (
        *("Callbacks.t", "Coalition.t", "Handler", "OneOperator", "Oracle.t", "PanelMembers.t", "Places.t"),
        *("Refusals.t", "Requests.t", "Rounds.t", "SeatMoney.t", "Turns.t", "Twins.t", "World"),
    ),
    "GamePlays": (*PLAYERS, "OneAnswer", "GameBorders.t", "GameRefusals.t", "GameWinners.t"),
}
FIRST = {
    "Credits.sol": "Refusals.t.sol:Refusals",
    "ServiceStore.sol": "Refusals.t.sol:Refusals",
    "Seats.sol": "Refusals.t.sol:Refusals",
    "Services.sol": "Refusals.t.sol:Refusals",
    "Turns.sol": "Turns.t.sol:Turns",
    "Oracle.sol": "Twins.t.sol:Twins",
    "libraries/RequestLib.sol": "Requests.t.sol:RequestProperties",
    "disputes/PanelArbiter.sol": "LedgerPlays.t.sol:PanelLives",
    "disputes/Adoption.sol": "GameRefusals.t.sol:GameRefusals",
    "disputes/DisputeGame.sol": "GameBorders.t.sol:GameBorders",
    "disputes/Games.sol": "GameBorders.t.sol:GameBorders",
    "disputes/GameServices.sol": "GameBorders.t.sol:GameBorders",
    "disputes/Refutations.sol": "GameBorders.t.sol:GameBorders",
}
"""By file: what forge plays first, since it most likely notices a change there; else lives of the adversary."""
ADVERSARY = "Adversary.t.sol:AdversaryInvariants"
NOT_IN_FORGE = frozenset(
    f"disputes/referee/{name}.sol"
    for name in (
        *("TextReferee", "AnswerReferee", "AnswerTypes", "Patterns", "Cutter", "Reading"),
        *("Quants", "Operators", "Powers", "Fixed", "Sampling"),
    )
)
"""Files that forge does not play, since tests in Python know them better: the adversary's model reads no text, answers
no typed prompt, and has matrices of one type."""
TESTS = {
    "ledger": [
        *("test_answer", "test_arbiter", "test_callbacks", "test_credits", "test_draw", "test_finalize"),
        *("test_left_callbacks", "test_panel", "test_registry", "test_request", "test_services"),
    ],
    "game": ["test_game_anvil", "test_game_engines", "test_game_lies", "test_reading", "test_refutations"],
    "referee": [
        *("test_referee", "test_graph_contract", "test_referee_judge", "test_referee_refusals", "test_readings"),
        *("test_typed_readings", "test_text_referee", "test_answer_referee", "test_pattern_referee", "test_cutter"),
        *("test_merkle", "test_borders", "test_game_engines", "test_text_game", "test_typed_game"),
    ],
}
"""Files in Python that may kill a group's mutants: for the ledger of tests/contracts, else of tests/disputes."""
ARITHMETIC, PLACES = ["test_referee"], ["test_referee_judge", "test_referee_refusals"]
KNOWN_BY = {
    "disputes/referee/Referee.sol": PLACES,
    "disputes/referee/TokenReferee.sol": ["test_readings", "test_game_engines"],
    "disputes/referee/TextReferee.sol": ["test_text_referee", "test_text_game"],
    "disputes/referee/AnswerReferee.sol": ["test_answer_referee", "test_pattern_referee", "test_typed_game"],
    "disputes/referee/AttentionReferee.sol": PLACES,
    "disputes/referee/LinearReferee.sol": PLACES,
    "disputes/referee/RowReferee.sol": PLACES,
    "disputes/referee/Inputs.sol": PLACES,
    "disputes/referee/Logits.sol": ["test_typed_game", "test_game_engines"],
    "disputes/referee/Graph.sol": ["test_graph_contract", "test_borders", *PLACES],
    "disputes/referee/Commitments.sol": [
        *("test_referee_refusals", "test_readings", "test_answer_referee", "test_referee_judge"),
    ],
    "disputes/referee/Operators.sol": ARITHMETIC,
    "disputes/referee/Quants.sol": ARITHMETIC,
    "disputes/referee/Powers.sol": ARITHMETIC,
    "disputes/referee/Fixed.sol": ARITHMETIC,
    "disputes/referee/Sampling.sol": ARITHMETIC,
    "disputes/referee/AnswerTypes.sol": ["test_answer_referee", "test_pattern_referee", "test_typed_game"],
    "disputes/referee/Patterns.sol": ["test_pattern_referee"],
    "disputes/referee/Cutter.sol": ["test_cutter", "test_text_referee"],
    "disputes/referee/Reading.sol": ["test_typed_readings", "test_readings", "test_text_referee"],
    "libraries/MerkleTree.sol": ["test_merkle"],
    "libraries/Prompts.sol": ["test_typed_readings", "test_readings"],
}
"""By file: which of TESTS are tried on it; of a file that is not named, all."""
AFRESH = frozenset({"disputes/referee/Commitments.sol"})
"""What these do is done when a model is enrolled, which most tests share."""
ANVIL = """#!/bin/sh
case " $* " in *" --hardfork "*) ;; *) set -- --hardfork osaka "$@" ;; esac
set -- --disable-code-size-limit --gas-limit 200000000 --prune-history 4000 "$@"
if [ -n "${{ANVIL_GENESIS_TIME:-}}" ]; then set -- --timestamp "$ANVIL_GENESIS_TIME" "$@"; fi
exec {root}/node_modules/.bin/anvil "$@"
"""


def prepared(group: str, seed: int) -> Path:
    """A folder with the build, what plays on it, and a chain that takes contracts of any size."""
    folder = BUILDS / group
    shutil.rmtree(folder / "tests", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(ROOT / "tests/vectors", folder / "tests/vectors")
    (folder / "tests/invariants").mkdir()
    for name in PLAYED[PLAYS[group]]:
        shutil.copy(ROOT / f"tests/invariants/{name}.sol", folder / "tests/invariants")
    shutil.copy(ROOT / "tests/mutants/Plays.sol", folder / "tests/invariants")
    shutil.copy(ROOT / f"tests/mutants/{PLAYS[group]}.sol", folder / f"tests/invariants/{PLAYS[group]}.t.sol")
    build(group, folder, seed, SHARE[group])
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
    for name in ("results.jsonl", "baseline.json", "played.txt"):
        (folder / name).unlink(missing_ok=True)
    return folder


def mutants_in(folder: Path) -> list[Mutant]:
    """Number k is the k-th, from one."""
    return [Mutant(**each) for each in json.loads((folder / "mutants.json").read_text())]


def results(folder: Path) -> list[dict[str, Any]]:
    """What was tried: number of the mutant, by what, which test killed it, or nothing."""
    path = folder / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def told(folder: Path) -> dict[int, str]:
    """By number of the mutant: what killed it, or nothing. What was written last counts."""
    return {each["number"]: each["killer"] for each in results(folder)}


def plays(group: str, folder: Path, seconds: float) -> None:
    """Plays on each mutant in forge, on those that move money first.

    Raises AssertionError if what is played fails without a mutant."""
    done = {each["number"] for each in results(folder)}
    mutants = enumerate(mutants_in(folder), 1)
    left = [pair for pair in mutants if pair[0] not in done and pair[1].file not in NOT_IN_FORGE]
    batches: dict[tuple[bool, str], list[int]] = {}
    for number, mutant in sorted(left, key=lambda pair: not pair[1].money):
        batches.setdefault((mutant.money, FIRST.get(mutant.file, ADVERSARY)), []).append(number)
    assert played(group, folder, [0], ADVERSARY) == {0: ""}, "what is played fails without a mutant"
    ends = time.monotonic() + seconds
    for (_, first), numbers in batches.items():
        for start in range(0, len(numbers), BATCH):
            if time.monotonic() > ends:
                return
            batch = numbers[start : start + BATCH]
            killers = played(group, folder, batch, first)
            with (folder / "results.jsonl").open("a") as file:
                for number, killer in killers.items():
                    file.write(json.dumps({"number": number, "by": "forge", "killer": killer}) + "\n")


def played(group: str, folder: Path, numbers: Sequence[int], first: str) -> dict[int, str]:
    """By number: what of forge's plays killed it, or nothing. One that never ends is killed by the time."""
    found: dict[int, str] = {}
    left = list(numbers)
    while left:
        lines = folder / "played.txt"
        lines.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "DIDYMA_MUTANTS": ",".join(map(str, left)),
            "DIDYMA_FIRST": first,
            "FOUNDRY_DENY": "never",
        }
        command = ["timeout", str(BATCH_SECONDS), FORGE, "test", "--match-contract", f"^{PLAYS[group]}$"]
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        for line in lines.read_text().splitlines() if lines.exists() else []:
            number, _, killer = line.partition(" ")
            found[int(number)] = killer
        left = [number for number in left if number not in found]
        if left:
            if said.returncode != TIMED_OUT:
                raise AssertionError(said.stdout + said.stderr)
            found[left.pop(0)] = "the time"
    return found


def hunt(group: str, folder: Path, seconds: float) -> None:
    """Runs tests in Python against the mutants that live unexplained, and those that forge plays nothing of; what comes
    of it stands in `results.jsonl`."""
    mutants = mutants_in(folder)
    unplayed = {number: "" for number, mutant in enumerate(mutants, 1) if mutant.file in NOT_IN_FORGE}
    known = unplayed | told(folder)
    living = [number for number, killer in known.items() if not killer]
    alive = [number for number in living if not explained(mutants[number - 1])]
    with (folder / "results.jsonl").open("a") as file:
        for number in {*living} - {*alive} - told(folder).keys():
            file.write(json.dumps({"number": number, "by": "survivors.md", "killer": ""}) + "\n")
    if not alive:
        return
    (folder / "alive.json").write_text(json.dumps(alive))
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


def explained(mutant: Mutant) -> bool:
    """Whether `survivors.md` says why it lives."""
    return f"`{mutant.key}`" in SURVIVORS.read_text()


def survivors(folder: Path) -> list[Mutant]:
    """Those that nothing killed."""
    mutants = mutants_in(folder)
    return [mutants[number - 1] for number, killer in sorted(told(folder).items()) if not killer]


def by_contract(folder: Path) -> str:
    """Of each contract: how many were killed, and how many tried."""
    tried, killed = Counter[str](), Counter[str]()
    mutants = mutants_in(folder)
    for number, killer in told(folder).items():
        name = Path(mutants[number - 1].file).stem
        tried[name] += 1
        killed[name] += bool(killer)
    return ", ".join(f"{name} {killed[name]} of {tried[name]}" for name in sorted(tried))


def run(seed: int, groups: Sequence[str] = tuple(GROUPS), seconds: float = 7200.0, again: bool = False) -> str:
    """seconds: for each stage of each group. again: go on with what was built and tried. Raises AssertionError."""
    said, wrong = [], []
    for group in groups:
        folder = BUILDS / group if again else prepared(group, seed)
        plays(group, folder, seconds)
        hunt(group, folder, seconds)
        living, tried = survivors(folder), len(told(folder))
        said.append(f"{tried - len(living)} of {tried} killed ({by_contract(folder)})")
        wrong += [f"unexplained: {mutant.key}" for mutant in living if not explained(mutant)]
        if tried < len(mutants_in(folder)):
            wrong.append(f"only {tried} of {len(mutants_in(folder))} were tried")
        if len(living) > (1 - LEAST_KILLED) * tried:
            wrong.append(f"less than {LEAST_KILLED:.0%} are killed")
    if wrong:
        raise AssertionError("\n".join([*wrong, "; ".join(said)]))
    return f"{'; '.join(said)}; each that lives is explained"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=7200.0)
    parser.add_argument("groups", nargs="*", metavar="GROUP", default=list(GROUPS), help=", ".join(GROUPS))
    parser.add_argument("--again", action="store_true", help="go on with what was built and tried")
    options = parser.parse_args()
    print(run(options.seed, options.groups, options.seconds, options.again))
