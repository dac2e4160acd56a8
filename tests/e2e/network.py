"""A running `didyma dev`, and what tests ask of it."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rig.anvil import ROOT, free_port
from rig.child import alive
from typer.testing import CliRunner

from oracle.cli import app
from oracle.cli.connection import Network
from oracle.client import OracleClient, devnet
from oracle.client.dev_process import DevNetwork
from oracle.ids import RequestId

READY_SECONDS = 300
DIDYMA = [sys.executable, "-m", "oracle.cli"]
ELSEWHERE = {"DIDYMA_ORACLE": "0x" + "11" * 20, "DIDYMA_SERVICE": "0x" + "22" * 32, "DIDYMA_API_PORT": "1"}


@dataclass
class Dev:
    """A running `didyma dev`."""

    process: subprocess.Popen[bytes]
    folder: Path
    output: str

    def hint(self, name: str) -> list[str]:
        """The arguments of a command that was printed."""
        (command,) = re.findall(rf"^{re.escape(name)}: +didyma (.*)$", self.output, re.MULTILINE)
        return shlex.split(command)

    @property
    def network(self) -> DevNetwork:
        return DevNetwork.of(self.folder / "deployment.json")

    def client(self) -> OracleClient:
        network = Network.find(self.folder / "deployment.json", None)
        return network.client(devnet.account(devnet.ASKER))


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{ROOT / 'tools/bin'}:{ROOT / 'node_modules/.bin'}:{os.environ['PATH']}"}


def didyma(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*DIDYMA, *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=environment(), timeout=180)


def said_by(*words: str) -> subprocess.CompletedProcess[str]:
    """The same within this process, which has read the modules already: for what a command says, not how it starts."""
    done = CliRunner().invoke(app, list(words))
    return subprocess.CompletedProcess(words, done.exit_code, done.stdout, done.stderr)


@contextmanager
def started(folder: Path, *options: str) -> Iterator[Dev]:
    """`didyma dev`, ready; whoever asks for it ends it. Its shell has exported a dapp's variables, of elsewhere."""
    log = folder.with_suffix(".log")
    command = [*DIDYMA, "dev", "--folder", str(folder), "--port", str(free_port()), *options]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment() | ELSEWHERE)
    try:
        end = time.monotonic() + READY_SECONDS
        while "Stop:" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)
        yield Dev(process, folder, log.read_text())
    finally:
        family = descendants(process.pid)
        process.kill()
        process.wait()
        for pid in filter(alive, family):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def dev(folder: Path, *options: str) -> Iterator[Dev]:
    """`didyma dev`, ready; ended by Ctrl-C, which must leave nothing."""
    with started(folder, *options) as running:
        yield running
        family = descendants(running.process.pid)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(60) == 0, folder.with_suffix(".log").read_text()
        assert len(family) >= 1 + 2  # the chain, and as few nodes as there may be
        assert not [pid for pid in family if alive(pid)]
        assert not (folder / "deployment.json").exists()


def descendants(pid: int) -> set[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return found - {pid}


def first_answer(running: Dev, cwd: Path) -> set[str]:
    """Asks what a network says to ask; the answer must come within one turn. Returns the events about it."""
    done = didyma(*running.hint("Ask it"), cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "negative" in done.stdout
    client = running.client()
    request = re.search(r"request +(0x\w{64})", done.stdout)
    assert request is not None
    steps = {step.name: step for step in client.steps(RequestId(int(request[1], 16)), 0)}
    asked, answered = (client.w3.eth.get_block(steps[name].block) for name in ("RequestPosted", "AnswerPosted"))
    turn = client.terms(client.services()[0])["turnSeconds"]
    assert answered["timestamp"] - asked["timestamp"] <= turn
    assert "TurnMissed" not in steps
    return set(steps)
