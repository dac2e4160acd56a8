"""The world of tests that play one daemon: it is built once, and each begins with `evm_revert` to its first state."""

from collections.abc import Iterator

import pytest
from e2e.world import World
from rig.sim.play import simulated


@pytest.fixture(scope="session")
def earth() -> Iterator[World]:
    with simulated() as made:
        yield made
