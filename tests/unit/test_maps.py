"""tests/README.md says which test makes which attack and fault: every one it names exists, and none is forgotten."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
README = (TESTS / "README.md").read_text()
LATER: set[str] = set()


def defined() -> set[str]:
    found = set()
    for path in TESTS.rglob("test_*.py"):
        found |= set(re.findall(r"def (test_\w+)", path.read_text()))
    for path in TESTS.rglob("*.t.sol"):
        found |= set(re.findall(r"function ((?:test|invariant)\w+)", path.read_text()))
    return found


def test_readme__every_test_it_names__exists():
    named = set(re.findall(r"\b(?:test|testFuzz|invariant)_\w+", README)) - {"test_"}
    assert len(named) > 100
    assert named <= defined(), sorted(named - defined())


def test_readme__attacks_and_faults__are_all_there():
    rows = set(re.findall(r"^\| ([AF]\d+)", README, re.MULTILINE)) | {f"F{n}" for n in range(1, 13)}
    wanted = {f"A{n}" for n in range(1, 31)} | {f"F{n}" for n in range(1, 43)}
    assert wanted - rows == LATER
