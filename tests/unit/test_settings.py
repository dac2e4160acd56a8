"""One source tree, two tools: Ape and forge must compile it with the same settings."""

import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def forge():
    return tomllib.loads((ROOT / "foundry.toml").read_text())["profile"]["default"]


@pytest.fixture(scope="module")
def ape():
    return yaml.safe_load((ROOT / "ape-config.yaml").read_text())


def test_forge__what_it_finds__is_its_exit_status():
    """npm's own command for it ends with 0 whatever forge says: `make test` would pass whatever an invariant found."""
    run = [ROOT / "tools/bin/forge", "build", "--no-such-option"]
    assert subprocess.run(run, cwd=ROOT, capture_output=True, check=False).returncode == 2
    makefile = (ROOT / "Makefile").read_text()
    assert "export PATH := $(CURDIR)/tools/bin:$(CURDIR)/node_modules/.bin:" in makefile, (
        "npm's command must not be first"
    )


@pytest.mark.parametrize(
    ("forge_name", "ape_name"),
    [
        ("evm_version", "evm_version"),
        ("via_ir", "via_ir"),
        ("optimizer", "optimize"),
        ("optimizer_runs", "optimization_runs"),
    ],
)
def test_settings__compiler__are_the_same(forge, ape, forge_name, ape_name):
    assert forge[forge_name] == ape["solidity"][ape_name]


def test_settings__compiler_version__is_the_same(forge, ape):
    assert Path(forge["solc"]).name == f"solc-v{ape['solidity']['version']}"
    assert (ROOT / forge["solc"]).exists()


def test_settings__remappings__are_the_same_for_all_that_contracts_import(forge, ape):
    def pairs(lines):
        return {tuple(part.rstrip("/") for part in line.split("=")) for line in lines}

    only_tests = {("forge-std", "node_modules/@uniswap/v4-core/lib/forge-std/src")}
    assert pairs(forge["remappings"]) - only_tests == pairs(ape["solidity"]["import_remapping"])


def test_settings__chain_rules__are_osakas_everywhere(forge, ape):
    assert forge["evm_version"] == ape["foundry"]["evm_version"] == "osaka"
    assert ape["ethereum"]["local"]["gas_limit"] <= 2**24


def test_settings__plugins__are_the_installed_ones(ape):
    """A plugin of another version is another compiler driver."""
    for plugin in ape["plugins"]:
        assert version(f"ape-{plugin['name']}") == plugin["version"]
