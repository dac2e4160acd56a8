"""`didyma new`: refused names, and what a project is made of. tests/e2e/test_new_projects.py runs each kind."""

import json
import re
import shlex

import pytest
import yaml
from rig.anvil import ROOT
from rig.samples import blocks
from typer.testing import CliRunner

from oracle.chain import sources
from oracle.cli import app
from oracle.cli.new import Kind


def new(*words):
    return CliRunner().invoke(app, ["new", *map(str, words)])


@pytest.mark.parametrize("name", ["My-Dapp", "1st", "my dapp", "my_dapp", "..", "a" * 65])
def test_new__bad_name__is_refused_and_nothing_is_made(tmp_path, name):
    done = new(tmp_path / name)
    assert done.exit_code == 1
    assert "small letters, digits and hyphens" in done.output
    assert list(tmp_path.iterdir()) == []


def test_new__folder_is_there__is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    done = new(tmp_path / "mine")
    assert (done.exit_code, list((tmp_path / "mine").iterdir())) == (1, [])
    assert "choose another name" in done.output


def test_new__folder_above_has_a_space__the_step_into_it_works_in_a_shell(tmp_path):
    done = new(tmp_path / "my dapps" / "my-dapp")
    (step,) = re.findall(r"^  cd (.*)$", done.output, re.MULTILINE)
    assert shlex.split(step) == [str(tmp_path / "my dapps" / "my-dapp")]


def test_new__folder_above_is_a_file__is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    done = new(tmp_path / "file" / "my-dapp")
    assert (done.exit_code, len(done.output.splitlines())) == (1, 1), done.output


@pytest.mark.parametrize("kind", list(Kind))
def test_new__each_kind__has_contract_tests_script_and_readme_with_its_name(tmp_path, kind):
    done = new(tmp_path / "my-dapp", "--kind", kind.value)
    assert done.exit_code == 0, done.output
    folder = tmp_path / "my-dapp"
    assert (folder / kind.contracts / "Critic.sol").exists()
    assert "# my-dapp\n" in (folder / "README.md").read_text()
    assert (folder / ".gitignore").exists()
    texts = [path.read_text() for path in folder.rglob("*") if path.is_file()]
    assert not [text for text in texts if "{name}" in text or "{version}" in text]
    assert f"  cd {folder}\n" in done.output
    if kind is Kind.APE:
        assert not re.search(r"^didyma", (folder / "requirements.txt").read_text(), re.MULTILINE)
        copied = {path.relative_to(folder / "didyma/contracts") for path in (folder / "didyma").rglob("*.sol")}
        assert copied == set(sources.shipped())
    else:
        packages = json.loads((folder / "package.json").read_text())["devDependencies"]
        assert packages["didyma"] == "file:didyma-0.2.0.tgz"  # never what somebody calls so in a registry
        for said in (done.output, (folder / "README.md").read_text()):  # no registry has it
            assert "npm install PATH/didyma-0.2.0.tgz" in said
    if kind is Kind.FOUNDRY:
        assert "didyma/=node_modules/didyma/" in done.output
        assert "didyma/=node_modules/didyma/" in (folder / "foundry.toml").read_text()


def test_hardhat__node_that_the_project_asks_for__is_the_oldest_that_hardhat_takes(tmp_path):
    new(tmp_path / "my-dapp", "--kind", "hardhat")
    file = ROOT / "node_modules/hardhat/dist/src/internal/cli/node-version.js"
    (least,) = re.findall(r"MIN_SUPPORTED_NODE_VERSION = \[(\d+), (\d+), \d+\]", file.read_text())
    version = ".".join(least)
    assert json.loads((tmp_path / "my-dapp/package.json").read_text())["engines"]["node"] == f">={version}"
    for page in (tmp_path / "my-dapp/README.md", ROOT / "docs/by-hand.md"):
        assert f"needs Node {version}" in page.read_text()


def test_ape__chain_of_its_tests__is_never_one_that_somebody_runs(tmp_path):
    """Ape takes what listens on 8545 unless it is told otherwise, and takes its blocks back after each test."""
    new(tmp_path / "my-dapp", "--kind", "ape")
    made = yaml.safe_load((tmp_path / "my-dapp/ape-config.yaml").read_text())
    (page,) = [block.code for block in blocks(ROOT / "docs/by-hand.md") if block.language == "yaml"]
    assert [config["foundry"] for config in (made, yaml.safe_load(page))] == [{"host": "auto"}] * 2
