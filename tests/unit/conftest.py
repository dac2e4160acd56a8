"""A chain without the oracle's contracts, and endpoints before it that tests make misbehave."""

from collections.abc import Iterator

import pytest
from rig import contract
from rig.anvil import Anvil, anvil
from rig.fault_rpc import FaultRpc, fault_rpc


@pytest.fixture
def chain() -> Iterator[Anvil]:
    """With the contract that logs words."""
    with anvil() as running:
        contract.place(running)
        running.mine()
        yield running


@pytest.fixture
def proxy(chain: Anvil) -> Iterator[FaultRpc]:
    with fault_rpc(chain.url) as running:
        yield running


@pytest.fixture
def second(chain: Anvil) -> Iterator[FaultRpc]:
    with fault_rpc(chain.url) as running:
        yield running
