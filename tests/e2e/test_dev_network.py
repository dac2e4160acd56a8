"""`didyma dev` as a newcomer meets it: what it prints works as it stands, the first answer is prompt, nothing stays."""

import json
import re
import signal
import subprocess
import time

import pytest
from e2e.network import DIDYMA, descendants, didyma, environment, first_answer, started
from e2e.stranger import hurried
from rig.anvil import free_port
from rig.child import alive

from oracle.cli.dev import LIAR_SEATS, NODES
from oracle.client import devnet
from oracle.demo.cast import BRIBED


@pytest.mark.parametrize("seconds", [1, 6])
def test_dev__stopped_before_it_is_ready__leaves_no_process(tmp_path, seconds):
    command = [*DIDYMA, "dev", "--folder", str(tmp_path), "--port", str(free_port())]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(seconds)
    family = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 0, 1, 130), said
    assert not [pid for pid in family if alive(pid)]
    is_starting = "<frozen importlib" in said or "_get_module_details" in said  # Python still reads its modules
    assert "Traceback" not in said or is_starting


# One network, and what only asks it.


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with started(tmp_path_factory.mktemp("game") / "my net", "--liar") as network:
        yield network


def test_u4_dev__says_ready__first_answer_is_within_one_turn(running, tmp_path):
    with hurried(running.network):
        assert "AnswerAttested" not in first_answer(running, tmp_path)


def test_u5_dev__its_output__has_accounts_pages_and_hints(running):
    assert devnet.MNEMONIC in running.output
    assert "public" in running.output
    for index in range(10):
        assert devnet.account(index).address in running.output
    pages = re.findall(r"^(?:node \d|the liar) +(http://127.0.0.1:\d+/)$", running.output, re.MULTILINE)
    assert len(pages) == NODES
    assert str(running.folder / "deployment.json") in running.hint("Ask it")
    where = ["--deployment", str(running.folder / "deployment.json")]
    service = re.search(r"^service +(0x\w{64})$", running.output, re.MULTILINE).group(1)
    shown = json.loads(didyma("service", "show", service, "--json", *where).stdout)
    assert (shown["service"], len(shown["seats"])) == (service, NODES - 1 + LIAR_SEATS)
    assert json.loads(didyma("tee", "status", "--json", *where).stdout)["is_dev"] is True
    with hurried(running.network):
        asked = didyma(*running.hint("Ask it"), "--json")
    told = json.loads(asked.stdout)
    assert (told["final"], told["answer"], told["attested"]) == (True, "negative", False)
    assert [step["name"] for step in told["steps"]] == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
    second = didyma("dev", "--folder", str(running.folder), "--port", str(free_port()))
    assert second.returncode == 1
    assert "--folder" in second.stderr


def test_u10_dev__one_node_is_bribed__its_lie_is_disputed_and_the_story_can_be_read(running, tmp_path):
    client = running.client()
    service = client.services()[0]
    assert BRIBED in running.hint("Be lied to")
    taken = client.prompt(service, BRIBED.encode())
    asked = [client.ask(service, taken, client.params(24, deadline_seconds=500 + n))[0] for n in range(8)]
    end, disputed = time.monotonic() + 240, []
    while not disputed:
        assert time.monotonic() < end
        events = client.oracle.events.AnswerDisputed().get_logs(from_block=client.deployment.block)
        disputed = [event["args"]["requestId"] for event in events if event["args"]["requestId"] in asked]
        time.sleep(1)
    shown = running.hint("See it lose")
    shown[shown.index("0xREQUEST")] = f"{disputed[0]:#066x}"
    told = didyma(*shown, cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert f"{disputed[0]:#066x}" in told.stdout
    assert "disput" in told.stdout


def test_dev__killed__its_chain_and_its_nodes_end_all_the_same(running):
    """The last test here."""
    family = descendants(running.process.pid)
    assert len(family) > 1 + NODES
    running.process.kill()
    running.process.wait()
    end = time.monotonic() + 60
    while left := [pid for pid in family if alive(pid)]:
        assert time.monotonic() < end, left
        time.sleep(0.1)
