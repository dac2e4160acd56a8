"""What pages claim of attacks: tests and functions that they name exist, and whatever cannot happen names a test."""

import re
from pathlib import Path

import pytest
from rig.samples import ROOT

ATTACKS, SECURITY, PROTOCOL, ECONOMICS = (
    ROOT / "docs" / f"{name}.md" for name in ("attacks", "security", "protocol", "economics")
)
SOURCES = {path.stem: path for path in (ROOT / "contracts").rglob("*.sol")}


def named_tests(text: str) -> list[tuple[str, str]]:
    """Tests by file: each name belongs to the path before it."""
    file, found = "", []
    for path, name in re.findall(r"`(tests/[\w/.]+)`|\b((?:test|testFuzz|invariant)_\w+)", text):
        if path:
            file = path
        else:
            found.append((file, name))
    return found


def exists(file: str, name: str) -> bool:
    path = ROOT / file
    return path.is_file() and bool(re.search(rf"\b(def|function) {name}\(", path.read_text()))


def functions(text: str) -> list[tuple[str, str]]:
    """Contracts' functions, as `Contract.function`."""
    return [(name, function) for name, function in re.findall(r"`([A-Z]\w+)\.(\w+)`", text) if name in SOURCES]


def rows(page: Path) -> list[list[str]]:
    """The tables' rows, without heads and lines."""
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [cells for line in lines if (cells := line.strip("| ").split(" | "))[0] not in ("attack", "")]


@pytest.mark.parametrize("page", [ATTACKS, SECURITY, PROTOCOL, ECONOMICS], ids=lambda page: page.name)
def test_page__tests_it_names__exist_in_the_files_it_names(page):
    found = named_tests(page.read_text())
    assert len(found) > (20 if page in (ATTACKS, SECURITY) else 0)
    assert [pair for pair in found if not exists(*pair)] == []


@pytest.mark.parametrize("page", [ATTACKS, SECURITY], ids=lambda page: page.name)
def test_page__functions_it_names__exist(page):
    found = functions(page.read_text())
    missing = [pair for pair in found if not re.search(rf"function {pair[1]}\(", SOURCES[pair[0]].read_text())]
    assert missing == []


def test_attacks__every_row__says_what_stops_it_and_names_a_test():
    table = rows(ATTACKS)
    assert len(table) >= 15
    for cells in table:
        assert len(cells) == 4, cells
        assert all(cells), cells
        assert named_tests(cells[3]), cells
    assert len(functions(ATTACKS.read_text())) >= 10


def statements(page: Path) -> list[str]:
    """Table rows, list items and paragraphs, each on one line."""
    found: list[str] = []
    for line in page.read_text().splitlines():
        if re.match(r"\||- |#|\d+\. |$", line) or not found or found[-1].startswith(("|", "#")) or not found[-1]:
            found.append(line)
        else:
            found[-1] += " " + line.strip()
    return found


def untested(promises: list[str]) -> list[str]:
    """Those that name no test; heads of tables and sections promise nothing."""
    heads = ("| who ", "#", "What the panel")
    return [each for each in promises if not named_tests(each) and not each.startswith(heads)]


def test_security__every_row__names_the_test_that_shows_it():
    table = SECURITY.read_text().split("## What nobody can do")[1].split("\n## ")[0]
    promises = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(promises) >= 10
    assert untested(promises) == []


CANNOT = re.compile(
    r"\b(cannot|can never|nobody (can|else)|no (number of games|proof succeeds)"
    r"|worthless|misses no|nothing for another)\b",
    re.IGNORECASE,
)
"""In the words that the pages have for it."""


@pytest.mark.parametrize("page", [SECURITY, PROTOCOL, ECONOMICS], ids=lambda page: page.name)
def test_page__every_cannot__names_the_test_that_shows_it(page):
    promises = [each for each in statements(page) if CANNOT.search(each)]
    assert promises
    assert untested(promises) == []


def test_exists__test_or_file_that_is_not_there__is_noticed():
    assert exists("tests/unit/test_claims.py", "test_page__functions_it_names__exist")
    assert not exists("tests/unit/test_claims.py", "test_page__functions_it_names")
    assert not exists("tests/unit/test_nothing.py", "test_page__functions_it_names__exist")
