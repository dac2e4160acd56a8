"""The faults that are put back to try the adversary still fit the contracts."""

import shutil

import pytest
from invariants.faults import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}: {fault.what}")
def test_fault__put_back__changes_its_contract(tmp_path, fault):
    path = tmp_path / "contracts" / fault.file
    path.parent.mkdir(parents=True)
    shutil.copy2(ROOT / "contracts" / fault.file, path)
    fault.put_back(tmp_path)
    assert fault.faulty in path.read_text()


def test_fault__words_of_which_stand_nowhere__is_refused(tmp_path):
    path = tmp_path / "contracts" / FAULTS[0].file
    path.parent.mkdir(parents=True)
    path.write_text("// rewritten")
    with pytest.raises(ValueError, match="0 times"):
        FAULTS[0].put_back(tmp_path)
