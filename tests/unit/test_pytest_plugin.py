"""`pytest --didyma`: the plugin, in a pytest of its own. tests/e2e/test_new_projects.py uses it on a network."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
from rig.anvil import ROOT

from oracle.client import dev_process
from oracle.errors import BadArgument, Refused

SERVICE = "0x" + "07" * 32
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
    (tmp_path / "deployment.json").write_text(json.dumps({"rpc_url": "u", "service": SERVICE}))
    said = run("--didyma", DIDYMA_DEPLOYMENT=str(tmp_path / "deployment.json"), DIDYMA_SERVICE=SERVICE)
    assert "1 passed" in said


# THE NETWORK AROUND


@pytest.fixture
def around(tmp_path):
    """What is found where a shell has these variables."""
    file = tmp_path / "deployment.json"

    def find(content: str | None, **variables: str) -> dev_process.DevNetwork | None:
        if content is not None:
            file.write_text(content)
        return dev_process.found({"DIDYMA_DEPLOYMENT": str(file), **variables})

    return find


def test_found__no_service_is_named__is_none(around):
    assert around(None) is None


def test_found__deployment_of_another_chain__is_where_the_variables_say(around):
    network = around('{"chain_id": 7}', DIDYMA_SERVICE=SERVICE, DIDYMA_RPC_URLS="http://one, http://two")
    assert (network.rpc_url, network.service) == ("http://one", b"\x07" * 32)


@pytest.mark.parametrize("content", [None, "", "[]", "7", "\x00"])
def test_found__network_that_has_ended__is_refused_and_says_what_to_do(around, content):
    with pytest.raises(Refused, match="unset the variable"):
        around(content, DIDYMA_SERVICE=SERVICE)


def test_found__no_endpoint_anywhere__is_refused_by_the_variable_s_name(around):
    with pytest.raises(Refused, match="set DIDYMA_RPC_URLS"):
        around("{}", DIDYMA_SERVICE=SERVICE)


@pytest.mark.parametrize("service", ["", "0x07", "seven"])
def test_found__malformed_service__is_a_bad_argument(around, service):
    with pytest.raises(BadArgument, match="32 bytes"):
        around('{"rpc_url": "u"}', DIDYMA_SERVICE=service)
