"""A chain for each file, at the time of the dev TEE's documents; every test gets it back as it was."""

from collections.abc import Iterator

import pytest
from attestation.test_dev_tee import NOW
from rig.anvil import Anvil, anvil


@pytest.fixture(scope="module")
def running() -> Iterator[Anvil]:
    with anvil("--timestamp", str(NOW - 100)) as made:
        made.rpc("evm_setAutomine", True)
        yield made


@pytest.fixture
def chain(running: Anvil) -> Iterator[Anvil]:
    snapshot = running.rpc("evm_snapshot")
    yield running
    running.rpc("evm_revert", snapshot)
