"""One source tree, two tools: Ape and forge must compile it with the same settings."""

import json
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


def warnings(*libraries: str) -> list[tuple[str | None, str]]:
    """File and code of what the compiler says of a contract of ours with one fault and of these libraries."""
    ours = "pragma solidity ^0.8.0; {} contract Ours {{ function f() external pure {{ uint256 unused; }} }}"
    names = [f"node_modules/library/{number}.sol" for number in range(len(libraries))]
    imports = " ".join(f'import "{name}";' for name in names)
    texts = {"contracts/Ours.sol": ours.format(imports), **dict(zip(names, libraries, strict=True))}
    sources = {name: {"content": "// SPDX-License-Identifier: MIT\n" + text} for name, text in texts.items()}
    selection = {"*": {"*": ["evm.bytecode.object"]}}
    question = {"language": "Solidity", "sources": sources, "settings": {"outputSelection": selection}}
    done = subprocess.run(
        [ROOT / "tools/solc/solc-v0.8.37"], input=json.dumps(question), capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    assert answer["contracts"]["contracts/Ours.sol"]["Ours"]["evm"]["bytecode"]["object"]
    return [(each.get("sourceLocation", {}).get("file"), each["errorCode"]) for each in answer.get("errors", [])]


UNUSED = ("contracts/Ours.sol", "2072")
LIBRARY = "pragma solidity ^0.8.0; library L{} {{ function f() internal pure {{ uint256 unused; {} }} }}"
DEPRECATED = "/// @solidity memory-safe-assembly\n assembly {}\n"


def test_compiler__warnings_of_libraries__are_left_out_and_ours_are_not():
    assert warnings(LIBRARY.format(0, DEPRECATED)) == [UNUSED]


def test_compiler__more_warnings_of_libraries_than_it_counts__ours_are_still_heard():
    assert warnings(*(LIBRARY.format(number, DEPRECATED * 100) for number in range(4))) == [UNUSED]


def test_compiler__error_in_a_library__is_heard():
    with pytest.raises(KeyError):  # no contract came out
        warnings("pragma solidity ^0.8.0; library L { function f() internal { nonsense(); } }")
