"""The faults that are put back to try the adversary, and the errors planted to try Halmos, still fit the contracts."""

import re
import shutil

import pytest
from invariants.faults import FAULTS, FAULTY, ROOT, put_all_back
from symbolic.run import PLANTED, put_in


@pytest.fixture
def contracts(tmp_path):
    """A copy that may be changed."""
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts")
    (tmp_path / FAULTY).parent.mkdir(parents=True)
    return tmp_path / "contracts"


def test_faults__put_back_together__stand_each_behind_a_switch_of_its_own(contracts):
    put_all_back(contracts.parent)
    switched = {fault.file: (contracts / fault.file).read_text() for fault in FAULTS}
    numbers = [int(number) for text in switched.values() for number in re.findall(r"\bon\((\d+)\)", text)]
    assert sorted(numbers) == list(range(1, len(FAULTS) + 1))
    assert all(text.count("Switch.sol") == 1 for text in switched.values())
    assert "on(uint256" in (contracts / "Switch.sol").read_text()


def test_fault__words_of_which_stand_nowhere__is_refused(contracts):
    (contracts / FAULTS[0].file).write_text("// rewritten")
    with pytest.raises(ValueError, match="0 times"):
        FAULTS[0].put_back(contracts.parent, 1)


def test_planted__errors__stand_each_behind_a_switch_of_its_own(tmp_path):
    put_in(tmp_path / "planted")
    contracts = [path.read_text() for path in (tmp_path / "planted" / "contracts").glob("*.sol")]
    numbers = [int(number) for text in contracts for number in re.findall(r"\bon\((\d+)\)", text)]
    assert sorted(numbers) == list(range(1, len(PLANTED) + 1))
    assert "vm.deal(SWITCH" in (tmp_path / "planted/tests/symbolic/Ledger.sol").read_text()


def test_planted__checks_that_find_them__exist():
    checks = "".join(path.read_text() for path in (ROOT / "tests/symbolic").glob("*.t.sol"))
    assert all(f"function {fault.row}(" in checks for fault in PLANTED)
