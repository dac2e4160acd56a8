"""`didyma dev` as a newcomer meets it: what it prints works as it stands, the first answer is prompt, nothing stays."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from e2e.network import DIDYMA, Dev, descendants, didyma, environment, started
from rig.anvil import free_port
from rig.child import alive

from oracle.client import devnet
from oracle.demo.cast import BRIBED
from oracle.engines.exact.tokenizer import tokenized
from oracle.models.store import ModelStore


@contextmanager
def dev(folder: Path, *options: str) -> Iterator[Dev]:
    """`didyma dev`, ready; ended by Ctrl-C, which must leave nothing."""
    with started(folder, *options) as running:
        yield running
        family = descendants(running.process.pid)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0, running.folder.with_suffix(".log").read_text()
        assert len(family) >= 6
        assert not [pid for pid in family if alive(pid)]
        assert not (folder / "deployment.json").exists()


@pytest.mark.parametrize("mode", ["game", "tee"])
def test_u4_dev__says_ready__first_answer_is_within_one_turn_and_attested_in_a_tee(tmp_path, mode):
    with dev(tmp_path / "my net", "--mode", mode) as running:
        done = didyma(*running.hint("Ask it"), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "negative" in done.stdout
        client = running.client()
        request = int(re.search(r"request +(0x\w{64})", done.stdout).group(1), 16)
        steps = {step.name: step for step in client.steps(request, 0)}
        asked, answered = (client.w3.eth.get_block(steps[name].block) for name in ("RequestPosted", "AnswerPosted"))
        turn = client.terms(client.services()[0])["turnSeconds"]
        assert answered["timestamp"] - asked["timestamp"] <= turn
        assert "TurnMissed" not in steps
        assert ("AnswerAttested" in steps) is (mode == "tee")
        if mode == "tee":
            kept = didyma(*running.hint("In private"), cwd=tmp_path)
            assert "negative  (nobody else can read it)" in kept.stdout, kept.stderr


@pytest.mark.parametrize("seconds", [1, 6, 10])
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


def test_dev__killed__its_chain_and_nodes_end_with_it(tmp_path):
    with started(tmp_path / "dev") as running:
        family = descendants(running.process.pid)
        assert len(family) >= 6
        running.process.kill()
        running.process.wait()
        end = time.monotonic() + 20
        while left := [pid for pid in family if alive(pid)]:
            assert time.monotonic() < end, left
            time.sleep(0.1)


def test_u5_dev__its_output__has_accounts_pages_and_hints(tmp_path):
    with dev(tmp_path / "dev") as running:
        assert devnet.MNEMONIC in running.output
        assert "public" in running.output
        for index in range(10):
            assert devnet.account(index).address in running.output
        pages = re.findall(r"^node \d +(http://127.0.0.1:\d+/)$", running.output, re.MULTILINE)
        assert len(pages) == 5
        assert str(running.folder / "deployment.json") in running.hint("Ask it")
        where = ["--deployment", str(running.folder / "deployment.json")]
        service = re.search(r"^service +(0x\w{64})$", running.output, re.MULTILINE).group(1)
        shown = json.loads(didyma("service", "show", service, "--json", *where).stdout)
        assert (shown["service"], len(shown["seats"])) == (service, 5)
        assert json.loads(didyma("tee", "status", "--json", *where).stdout)["is_dev"] is True
        asked = didyma(*running.hint("Ask it"), "--json")
        told = json.loads(asked.stdout)
        assert (told["final"], told["answer"], told["attested"]) == (True, "negative", False)
        assert [step["name"] for step in told["steps"]] == ["RequestPosted", "AnswerPosted", "RequestFinalized"]
        second = didyma("dev", "--folder", str(running.folder), "--port", str(free_port()))
        assert second.returncode == 1
        assert "--folder" in second.stderr


def test_u10_dev__one_node_is_bribed__its_lie_is_disputed_and_the_story_can_be_read(tmp_path):
    with dev(tmp_path / "dev", "--liar") as running:
        client = running.client()
        service = client.services()[0]
        assert BRIBED in running.hint("Be lied to")
        models = ModelStore(running.folder / "models")
        manifest = models.find("0x" + client.terms(service)["model"].hex())
        taken = tokenized(models.file(manifest).path, BRIBED.encode(), manifest)
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
