"""Fixtures of the disputes' tests."""

import pytest
from disputes.stand import Stand
from rig.anvil import anvil


@pytest.fixture(scope="module")
def stand():
    """The referee's contracts on a chain of their own."""
    with anvil() as chain:
        yield Stand.on(chain)


@pytest.fixture
def fresh(court):
    """The module's court. What a test does to the chain is undone."""
    snapshot = court.chain.rpc("evm_snapshot")
    yield court
    court.chain.rpc("evm_revert", snapshot)
