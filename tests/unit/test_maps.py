"""tests/README.md says which test makes which attack, fault and mishap: all that it names exist, none is forgotten."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
README = (TESTS / "README.md").read_text()


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


def test_readme__attacks_faults_and_mishaps__are_all_there():
    rows = set(re.findall(r"^\| ([ACFNTU]\d+)", README, re.MULTILINE)) | {f"F{n}" for n in range(1, 13)}
    wanted = {f"A{n}" for n in range(1, 31)} | {f"F{n}" for n in range(1, 43)}
    wanted |= {f"C{n}" for n in range(1, 12)} | {f"T{n}" for n in range(1, 9)}
    wanted |= {f"N{n}" for n in range(1, 14)} | {f"U{n}" for n in (1, 2, 3, 4, 5, 6, 9, 10)}
    assert wanted - rows == set()


def test_readme__every_row_of_attacks_faults_and_mishaps__names_a_test():
    rows = re.findall(r"^\| ([ACFNTU]\d+\S*) \| .*$", README, re.MULTILINE)
    lines = [line for line in README.splitlines() if re.match(r"\| [ACFNTU]\d+", line)]
    assert len(rows) == len(lines) > 100
    without = [line for line in lines if not re.search(r"\b(test|testFuzz|invariant)_\w+", line)]
    assert [line.split(" | ")[1] for line in without] == ["censoring the window"]  # docs/security.md says why
