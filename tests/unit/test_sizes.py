"""A file of code is one idea, and fits on a few screens: 500 lines, unless it is named here with its idea.

A contract leaves room for a mend below what a chain takes.
"""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST_LINES = 500
MOST_BYTES, ROOM_BYTES = 24_576, 2_048
"""That a contract's code may have (EIP-170), and what of it must be free."""
ONE_IDEA = {
    "tests/attestation/test_evaluations.py": "TCB evaluations by number, on chain",
    "tests/attestation/test_keeper.py": "which of the vendor's documents are due",
    "tests/attestation/test_tee_cli.py": "the commands about TEEs",
    "tests/disputes/rules.py": "the rules of the dispute game in plain Python",
    "tests/disputes/test_referee_refusals.py": "everything that a referee refuses",
    "tests/e2e/test_games.py": "whole nodes in dispute games",
    "tests/e2e/test_tee.py": "a node in the dev TEE, from its first key to its last answer",
    "tests/invariants/Handler.sol": "every call that anybody may make",
    "tests/rig/sim/life.py": "everything that may befall a daemon",
    "tests/sim/test_endpoints.py": "one daemon behind endpoints of every kind",
    "tests/unit/test_mistakes.py": "everything that somebody can mistype",
    "tests/unit/test_sender.py": "everything that can befall a transaction",
    "tests/unit/test_node_planner.py": "every rule of the planner",
    "tests/unit/test_worker.py": "everything that can befall a worker process",
}
"""What may be longer."""


def lines() -> dict[str, int]:
    """Of every file of code that git keeps, of which nothing is generated."""
    kept = subprocess.run(
        ["git", "ls-files", "*.py", "*.sol", "*.c", "*.h"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    return {name: len((ROOT / name).read_text().splitlines()) for name in kept}


def test_files__longer_than_500_lines__are_those_of_one_idea():
    found = {name for name, count in lines().items() if count > MOST_LINES}
    assert len(lines()) > 300
    assert found <= set(ONE_IDEA) <= set(lines())


def test_contracts__every_one__has_2_kb_free():
    sizes = {}
    for source in sorted((ROOT / "contracts").rglob("*.sol")):
        for built in (ROOT / ".build/forge" / source.name).glob("*.json"):
            code = json.loads(built.read_text())["deployedBytecode"]["object"]
            sizes[f"{source.name} {built.stem}"] = len(code) // 2 - 1
    assert len(sizes) > 60
    assert {name: size for name, size in sizes.items() if size > MOST_BYTES - ROOM_BYTES} == {}


def test_contracts__every_file__is_at_most_500_lines():
    found = {name: count for name, count in lines().items() if name.startswith("contracts/")}
    assert len(found) > 60
    assert max(found.values()) <= MOST_LINES
