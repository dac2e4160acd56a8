"""kill -9 at every step, once and twice: the restart finishes the work and repeats nothing."""

import re
from functools import partial

import pytest
from rig.anvil import ROOT
from rig.child import KILLED, run_child
from rig.crash_cases import CASES

from oracle.journal.crashpoints import DAEMON_POINTS, POINTS


def test_points__every_name__is_called_somewhere_and_has_a_case():
    calls = re.compile(r"crashpoint\(([^)]*)\)")
    found = {
        name
        for file in (ROOT / "oracle").rglob("*.py")
        for call in calls.findall(file.read_text())
        for name in re.findall(r'"(\w+)"', call)
        if file.name != "crashpoints.py"
    }
    assert found == {*POINTS, *DAEMON_POINTS}  # the latter have their cases in e2e/test_crash.py
    assert set(CASES) == set(POINTS)


@pytest.mark.parametrize("deaths", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_crash__at_every_point__restart_finishes_and_repeats_nothing(chain, tmp_path, point, deaths):
    case = CASES[point]
    case.prepare(chain, tmp_path)
    work = partial(case.work, chain, tmp_path)
    assert run_child(work, {"DIDYMA_CRASH_AT": point}) == KILLED
    if deaths == 2:  # the restart dies there too, unless that step is behind it
        assert run_child(work, {"DIDYMA_CRASH_AT": point}) in (KILLED, 0)
    assert run_child(work) == 0
    case.verify(chain, tmp_path)
