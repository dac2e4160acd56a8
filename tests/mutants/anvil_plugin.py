"""Runs the dispute tests on Anvil against mutants: `pytest -p mutants.anvil_plugin --mutants FOLDER`.

The tests deploy what `schemata.py` built, on chains that take contracts of any size. `hunt.py` has the rest.
"""

from pathlib import Path

import disputes.stand
import pytest
import rig.anvil
from mutants.hunt import Hunt, add_options
from mutants.switch import SWITCH

pytest_addoption = add_options
CHAINS: list[rig.anvil.Anvil] = []


class Kept(rig.anvil.Anvil):
    """A chain that is remembered."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        CHAINS.append(self)


def _switch(number: int) -> None:
    """On every chain that still runs."""
    for chain in list(CHAINS):
        try:
            chain.rpc("anvil_setBalance", SWITCH, hex(number))
        except OSError:
            CHAINS.remove(chain)


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(config.getoption("--mutants"))
    disputes.stand.BUILDS.insert(0, folder / "out")
    rig.anvil.PROGRAM = folder / "bin/anvil"
    rig.anvil.Anvil = Kept  # type: ignore[misc]
    config.pluginmanager.register(Hunt(folder, config.getoption("--mutants-for"), _switch, by_file=True), "hunt")
