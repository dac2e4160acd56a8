"""A real daemon through any order of faults: whatever happens, it signs nothing twice and loses nothing.

Each run prints its seed, how often every rule was played and where each life ended: the same seed is the same life.
It fails if a rule was not played, or the daemon had less than 2,000 turns in an hour of the chain's time. `SIM_SEED`,
`SIM_RUNS` and `SIM_ROUNDS` choose others.
"""

import os

from rig.sim.deaths import deaths
from rig.sim.disputed import Disputed
from rig.sim.life import LEAST_SECONDS, LEAST_TURNS, MOVES, play_lives


def test_daemon__any_order_of_faults__signs_nothing_twice_and_loses_nothing(earth, capsys):
    chosen = int(os.environ.get("SIM_SEED", "1"))
    try:
        with deaths() as fates:
            play_lives(Disputed, earth, fates, chosen)
    finally:
        with capsys.disabled():
            print(f"\nseed {chosen}: {dict(sorted(Disputed.played.items()))}")
            print(*(f"life {n + 1}: {end}" for n, end in enumerate(Disputed.lived)), sep="\n")
    assert [name for name, times in Disputed.played.items() if not times] == []
    assert len(Disputed.played) >= len(MOVES)
    assert Disputed.played["turns of the daemon"] >= LEAST_TURNS
    assert Disputed.played["seconds of the chain"] >= LEAST_SECONDS


def test_life__played_twice__ends_at_the_same_block(earth):
    """A life that fails can be played again: it follows from its seed, and not from how busy the machine is."""
    ends = []
    for _ in range(2):
        with deaths() as fates:
            play_lives(Disputed, earth, fates, 1, lives=2, moves=5)
        ends.append(Disputed.lived)
    assert len(ends[0]) == 2
    assert len(set(ends[0])) == 2
    assert ends[0] == ends[1]
