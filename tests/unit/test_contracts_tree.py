"""What a reviewer may rely on in the tree of contracts: where things stand, and that money paths say what must hold."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "contracts"
IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";', re.MULTILINE)
FUNCTION = re.compile(r"^    (?:function (\w+)|(constructor|receive))\b[^;{]*\{", re.MULTILINE)
MONEY = re.compile(
    r"credit\[[^\]]+\] [+-]?= |[bB]alanceWei [+-]?= "
    r"|\b_pay(?:Seat|Out)?\(|\boracle\.(?:rule|withdraw|deposit|unlockSeat)\b"
)
"""Credits, locks, slashes or pays."""
NO_PATHS = {
    *("MockOracle.sol", "MockRequests.sol", "Hostile.sol", "Listener.sol", "OracleConsumer.sol", "VerdictConsumer.sol"),
    *("Critic.sol", "Correspondent.sol", "Wager.sol", "Moderator.sol", "Council.sol"),
    *("LabelContest.sol", "JobEvaluator.sol", "Validator.sol", "MockJobs.sol", "MockValidationRegistry.sol"),
}
"""Mocks, and what dapps own."""


def code(path: Path) -> str:
    return path.read_text()


def functions(text: str) -> Iterator[tuple[str, str]]:
    """Names and bodies of the functions of a file that forge has formatted."""
    for match in FUNCTION.finditer(text):
        yield match[1] or match[2], text[match.end() : text.index("\n    }", match.end() - 1)]


def contracts() -> list[Path]:
    return [path for path in sorted(ROOT.rglob("*.sol")) if path.name not in NO_PATHS]


def test_interfaces__imports__are_interfaces_and_ids_alone():
    found = {
        f"{path.name} imports {name}"
        for path in sorted((ROOT / "interfaces").glob("*.sol"))
        for name in IMPORT.findall(code(path))
        if not re.fullmatch(r"\./(I[A-Z]\w+|Ids)\.sol", name)
    }
    assert found == set()


def test_events_and_errors__of_contracts__stand_in_interfaces():
    """Libraries keep their own errors: whoever reads one looks there."""
    found = [
        f"{path.name}: {match[0].strip()}"
        for path in contracts()
        if path.parent.name not in ("interfaces", "mocks") and not re.search(r"^library ", code(path), re.MULTILINE)
        for match in re.finditer(r"^    (?:event|error) \w+", code(path), re.MULTILINE)
    ]
    assert found == []


def test_errors__of_contracts__are_typed():
    """None is a string: a caller can tell them apart, and read what they are about."""
    found = [
        f"{path.name}: {match[0]}"
        for path in sorted(ROOT.rglob("*.sol"))
        if path.parent.name != "mocks"
        for match in re.finditer(r"\brevert\(\"|\brequire\([^;]*\"", code(path))
    ]
    assert found == []


def test_constants__of_one_name__stand_once():
    names = Counter(
        name
        for path in contracts()
        if path.parent.name != "mocks"
        for name in re.findall(r"^\s*[\w ]+ constant (\w+) =", code(path), re.MULTILINE)
    )
    assert len(names) > 80
    twice = {name for name, count in names.items() if count > 1}
    assert twice == {"SEED_DELAY"}, "the oracle shows the library's"


def test_money_paths__every_function__says_what_must_hold():
    paths = [
        (f"{path.name}: {name}", "INVARIANT: " in body)
        for path in contracts()
        for name, body in functions(code(path))
        if MONEY.search(re.sub(r"//.*", "", body)) and len(body.splitlines()) > 2
    ]
    assert len(paths) > 20
    assert [path for path, says in paths if not says] == []
