"""`didyma new`: refused names, and what a project is made of. tests/e2e/test_new_projects.py runs each kind."""

import json

import pytest
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
    assert f"cd {folder}" in done.output
    if kind is Kind.APE:
        copied = {path.relative_to(folder / "didyma/contracts") for path in (folder / "didyma").rglob("*.sol")}
        assert copied == set(sources.shipped())
    else:
        assert json.loads((folder / "package.json").read_text())["devDependencies"]["didyma"] == "0.2.0"
        for said in (done.output, (folder / "README.md").read_text()):  # no registry has it
            assert "npm install PATH/didyma-0.2.0.tgz" in said
    if kind is Kind.FOUNDRY:
        assert "didyma/=node_modules/didyma/" in done.output
        assert "didyma/=node_modules/didyma/" in (folder / "foundry.toml").read_text()
