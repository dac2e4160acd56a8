"""The faults that are put back to try the daemon's state machine still fit the daemon."""

from dataclasses import replace

import pytest
from sim.faults import FAULTS, ROOT


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}: {fault.what}")
def test_fault_of_the_daemon__put_back__changes_its_module_and_compiles(fault):
    text = fault.changed()
    assert text != (ROOT / "oracle" / fault.file).read_text()
    compile(text, fault.file, "exec")


def test_fault_of_the_daemon__words_of_which_stand_nowhere__is_refused():
    with pytest.raises(ValueError, match="0 times"):
        replace(FAULTS[0], mended="rewritten").changed()
