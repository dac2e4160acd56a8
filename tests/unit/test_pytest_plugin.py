"""`pytest --didyma`: the plugin, in a pytest of its own. tests/e2e/test_new_projects.py uses it on a network."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from rig.anvil import ROOT

TEST = (
    "def test_network__its_fixture__tells_of_it(didyma):\n    assert (didyma.rpc_url, didyma.service[0]) == ('u', 7)\n"
)


@pytest.fixture
def run(tmp_path):
    (tmp_path / "test_it.py").write_text(TEST)

    def run(*words, **environment):
        command = [sys.executable, "-m", "pytest", "-rs", "-p", "pytest_didyma", *words]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DIDYMA_")}
        more = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
        done = subprocess.run(command, cwd=tmp_path, env=clean | more, capture_output=True, text=True, check=False)
        return done.stdout

    return run


def test_plugin__of_the_installed_package__is_loaded_by_any_pytest():
    assert entry_points(group="pytest11")["didyma"].value == "pytest_didyma"


def test_fixture__without_the_option__is_skipped_and_says_how(run):
    said = run()
    assert "1 skipped" in said
    assert "run pytest with --didyma" in said


def test_fixture__under_didyma_dev__is_the_network_around(run, tmp_path):
    (tmp_path / "deployment.json").write_text(json.dumps({"rpc_url": "u", "service": "0x07"}))
    said = run("--didyma", DIDYMA_DEPLOYMENT=str(tmp_path / "deployment.json"), DIDYMA_SERVICE="0x07")
    assert "1 passed" in said
