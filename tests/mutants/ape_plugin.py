"""Runs the contract tests against mutants: `pytest -p mutants.ape_plugin --mutants FOLDER`.

It takes the place of Ape's `project`, so that the tests deploy what `schemata.py` built. `hunt.py` has the rest.
"""

import json
from pathlib import Path
from typing import Any

import ape
import pytest
from ape.contracts.base import ContractContainer
from ethpm_types import ContractType
from mutants.hunt import Hunt, add_options
from mutants.schemata import ROOT
from mutants.switch import SWITCH

pytest_addoption = add_options


class Artifacts:
    """What forge built, by name, as Ape's `project` has it. What has no mutants comes from the usual build."""

    def __init__(self) -> None:
        self.folder = Path()
        self._found: dict[str, ContractContainer] = {}

    def load_contracts(self, **_: Any) -> None:
        """Nothing is compiled here."""

    def __getattr__(self, name: str) -> ContractContainer:
        if name not in self._found:
            places = [base / f"{name}.sol" / f"{name}.json" for base in (self.folder / "out", ROOT / ".build/forge")]
            built = json.loads(next(path for path in places if path.exists()).read_text())
            self._found[name] = ContractContainer(
                ContractType.model_validate(
                    {
                        "contractName": name,
                        "abi": built["abi"],
                        "deploymentBytecode": {"bytecode": built["bytecode"]["object"]},
                        "runtimeBytecode": {"bytecode": built["deployedBytecode"]["object"]},
                    }
                )
            )
        return self._found[name]


BUILT = Artifacts()
ape.project = BUILT  # before any test's own `from ape import project`


def _switch(number: int) -> None:
    ape.networks.provider.make_request("anvil_setBalance", [SWITCH, hex(number)])


def pytest_configure(config: pytest.Config) -> None:
    folder = Path(config.getoption("--mutants"))
    BUILT.folder = folder
    ape.logging.logger.set_level("CRITICAL")
    made = {"world", "hostile", "asked"}
    config.pluginmanager.register(Hunt(folder, config.getoption("--mutants-for"), _switch, made), "hunt")
