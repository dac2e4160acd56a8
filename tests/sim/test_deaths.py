"""Deaths played inside this process leave nothing behind for those of real processes."""

import pytest
from rig.child import KILLED, run_child
from rig.sim.deaths import Killed, deaths

from oracle.journal.crashpoints import crashpoint


def test_deaths__over__a_process_forked_later_dies_at_its_own_first_pass():
    with deaths() as planned:
        planned.plan("before_engine")
        with pytest.raises(Killed):
            crashpoint("before_engine")
        assert planned.struck == ["before_engine"]
    assert run_child(lambda: crashpoint("before_engine"), {"DIDYMA_CRASH_AT": "before_engine"}) == KILLED
