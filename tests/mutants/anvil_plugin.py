"""Runs the dispute tests on Anvil against mutants: `pytest -p mutants.anvil_plugin --mutants FOLDER`.

The tests deploy what `schemata.py` built, on chains that take contracts of any size. `hunt.py` has the rest.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import disputes.stand
import pytest
import rig.anvil
from mutants.hunt import Hunt, add_options
from mutants.run import AFRESH, KNOWN_BY
from mutants.switch import SWITCH
from web3 import Web3

pytest_addoption = add_options
CHAINS: list[rig.anvil.Anvil] = []
ON = [0]
"""The mutant that is on in a test, or zero; of one that is made afresh, also before it."""


class Kept(rig.anvil.Anvil):
    """A chain that is remembered. One that a test starts itself has the mutant on that the others have."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        CHAINS.append(self)

    def w3(self) -> Web3:
        self.rpc("anvil_setBalance", SWITCH, hex(ON[0]))
        return super().w3()


def _living() -> list[rig.anvil.Anvil]:
    """Chains that still run."""
    for chain in list(CHAINS):
        try:
            chain.height()
        except OSError:
            CHAINS.remove(chain)
    return CHAINS


def _switch(number: int) -> None:
    ON[0] = number
    for chain in _living():
        chain.rpc("anvil_setBalance", SWITCH, hex(number))


@contextmanager
def _apart() -> Iterator[None]:
    kept = [(chain, chain.rpc("evm_snapshot")) for chain in _living()]
    try:
        yield
    finally:
        for chain, snapshot in kept:
            chain.rpc("evm_revert", snapshot)


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(config.getoption("--mutants"))
    disputes.stand.BUILDS.insert(0, folder / "out")
    rig.anvil.PROGRAM = folder / "bin/anvil"
    rig.anvil.Anvil = Kept  # type: ignore[misc]
    limit = config.getoption("--mutants-for")
    hunt = Hunt(folder, limit, _switch, apart=_apart, known_by=KNOWN_BY, afresh=AFRESH)
    config.pluginmanager.register(hunt, "hunt")
