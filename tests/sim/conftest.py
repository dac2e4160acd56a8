"""The world of tests that play one daemon: it is built once, and each begins with `evm_revert` to its first state."""

from collections.abc import Iterator

import pytest
from e2e.world import NODES, World, world
from rig.sim.local import local
from rig.sim.play import OPERATOR, OWN_SEATS


@pytest.fixture(scope="session")
def earth() -> Iterator[World]:
    with world(made=local) as made:
        for seat in OWN_SEATS[1:]:
            made.act(NODES[seat], "setOperator", made.service, seat, OPERATOR.address)
        made.chain.mine(2)
        made.chain.rpc("evm_snapshot")
        yield made
