"""A small siege of a node's process; `make prove` plays the whole one."""

import os

from e2e.siege import Force, sieges

SEED = int(os.environ.get("DIDYMA_SEED", "1"))
SHARE = Force(positions=8, path=7, answers=2, each=10)
PACE = 0.8


def test_siege__of_a_real_node__no_move_late_and_every_game_paid_by_its_attacker(tmp_path):
    found = dict(sieges(tmp_path, SEED, PACE, SHARE))
    one, many, path, at_once = found.values()
    assert (one.games, many.games, path.games, at_once.games) == (1, 8, 7, 20)
    assert many.most_due == 8
    assert at_once.most_due == at_once.openings == 20
    # One opening of each list serves all of a path; then each game wants its own.
    assert path.most_due == 7
    assert path.openings < 4 * path.games
    for costs in found.values():
        assert costs.burnt_wei > 0
        assert costs.paid_wei >= costs.openings * 12 * 10**15
