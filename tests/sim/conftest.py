"""The world of tests that play one daemon: it is built once, and each begins with `evm_revert` to its first state."""

from collections.abc import Iterator

import pytest
from rig.sim.play import Earth, simulated


@pytest.fixture(scope="session")
def earth() -> Iterator[Earth]:
    with simulated() as made:
        yield made
