"""`didyma node init`: what it asks on a terminal and what it does with odd answers; nothing is half written or lost."""

import json
import os
import pty
import select
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from oracle.cli import app
from oracle.cli import init as command
from oracle.node.settings import load

CONTRACTS = ("registry", "oracle", "seats", "lens", "panel")
DEPLOYMENT = {"chain_id": 31337, "block": 1} | {name: f"0x{at:040x}" for at, name in enumerate(CONTRACTS, 1)}
SERVICE, OTHER, COLD = "0x" + "ab" * 32, "0x" + "cd" * 32, "0x" + "ef" * 20
NOBODY_THERE = "http://127.0.0.1:1"
SECONDS = 60
"""Without a word, after which something is wrong."""


class Terminal:
    """A `didyma` on a terminal of its own."""

    def __init__(self, home: Path, *words: object) -> None:
        self._ours, theirs = pty.openpty()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIDYMA_")}
        environment |= {"HOME": str(home), "TERM": "xterm", "COLUMNS": "200"}
        line = [sys.executable, "-m", "oracle.cli", *map(str, words)]
        self._process = subprocess.Popen(
            line, cwd=home, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        self.said, self._answered = "", 0

    def asks(self, question: str) -> str:
        """What was said since the last answer, up to this question. Fails if it does not come."""
        while not (since := self.said[self._answered :]).rstrip().endswith(question):
            assert self._hears(), self.said
        return since

    def answers(self, text: str, key: str = "\n") -> None:
        """key: that is pressed after the text."""
        self._answered = len(self.said)
        os.write(self._ours, (text + key).encode())

    def ends(self) -> int:
        while self._hears():
            pass
        os.close(self._ours)
        return self._process.wait(SECONDS)

    def _hears(self) -> bool:
        """Waits for more. False once there will be none."""
        if not select.select([self._ours], [], [], SECONDS)[0]:
            self._process.kill()
            raise AssertionError(f"it says nothing more: {self.said}")
        try:
            self.said += os.read(self._ours, 4096).decode()
        except OSError:  # the other end is closed
            return False
        return True


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home with a deployment file in it."""
    (tmp_path / "deployment.json").write_text(json.dumps(DEPLOYMENT))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("DIDYMA_RPC_URLS", "DIDYMA_DEPLOYMENT", "DIDYMA_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def init(home: Path, *words: object) -> tuple[int, str]:
    """Exit status and output of one that asks nobody."""
    line = ["node", "init", "--config", home / "node/didyma.toml", "--deployment", home / "deployment.json"]
    done = CliRunner().invoke(app, [str(word) for word in (*line, *words)], input="")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    return done.exit_code, done.output


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_terminal__odd_answers__are_asked_for_again_and_what_is_written_is_a_node_s(home):
    words = ("node", "init", "--config", "node/didyma.toml")
    said = Terminal(home, *words)
    for question, answers in {
        "Deployment file:": {"nowhere.json": "not a deployment file", "~nosuch/x": "set HOME", "~/deployment.json": ""},
        "RPC endpoints, best first [http://127.0.0.1:8545]:": {
            "localhost:8545": "http://HOST:PORT",
            "https://user:secret@/": "http://HOST:PORT",
            f"{NOBODY_THERE} https://two.example/key, {NOBODY_THERE}": "",
        },
        "Services:": {" ": "a node needs a service", "0x12": "not an id", f"{SERVICE},{OTHER} {SERVICE}": ""},
        "Cold address for credit, or none:": {"vitalik.eth": "not an address", COLD: ""},
    }.items():
        said.asks(question)
        for answer, complaint in answers.items():
            said.answers(answer)
            if complaint:
                assert complaint in said.asks(question)
    assert said.ends() == 0, said.said
    made = tomllib.loads((home / "node/didyma.toml").read_text())
    assert made["rpc_urls"] == [NOBODY_THERE, "https://two.example/key"]
    assert made["services"] == [SERVICE, OTHER]
    assert made["deployment"] == str(home / "deployment.json")
    assert made["withdraw_to"].lower() == COLD
    assert load(home / "node/didyma.toml").keystore == home / "node/operator.json"
    told = ("operator key   0x", "operator key: 0.02 ether or more, for gas", "node check --config node/didyma.toml")
    assert [each for each in told if each not in said.said] == []
    before = files(home / "node")
    assert set(before) == {"didyma.toml", "operator.json", "operator.password"}
    assert before["operator.password"].decode().strip() not in said.said
    assert all(stat.S_IMODE((home / "node" / name).stat().st_mode) == 0o600 for name in before)
    again = Terminal(home, *words)
    assert again.ends() == 1
    assert "not overwritten" in again.said
    assert files(home / "node") == before


def test_terminal__left_at_a_question__writes_nothing(home):
    said = Terminal(home, "node", "init", "--config", "node/didyma.toml", "--deployment", "deployment.json")
    said.asks("[http://127.0.0.1:8545]:")
    said.answers(NOBODY_THERE)
    said.asks("Services:")
    said.answers("", key="\x04")  # Ctrl-D
    assert said.ends() == 1
    assert "Aborted" in said.said
    assert not (home / "node").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--service", SERVICE, "--rpc-url", "localhost"), "http://HOST:PORT"),
        (("--service", SERVICE, "--rpc-url", "ftp://127.0.0.1/"), "http://HOST:PORT"),
        (("--service", SERVICE, "--rpc-url", "http://["), "http://HOST:PORT"),
        (("--service", SERVICE, "--rpc-url", f"{NOBODY_THERE} https://"), "http://HOST:PORT"),
        (("--service", "hello", "--rpc-url", NOBODY_THERE), "not an id"),
        (("--service", SERVICE, "--service", "", "--rpc-url", NOBODY_THERE), "not an id"),
        (("--service", SERVICE, "--rpc-url", NOBODY_THERE, "--withdraw-to", "0x12"), "not an address"),
        (("--service", SERVICE, "--rpc-url", NOBODY_THERE, "--data-dir", "a\x7fb"), "didyma.toml"),
    ],
)
def test_options__that_no_node_could_use__are_refused_in_one_line_and_nothing_is_written(home, words, says):
    status, said = init(home, *words)
    assert (status, len(said.splitlines())) == (1, 1), said
    assert says in said
    assert "127.0.0.1" not in said, "an endpoint's URL may hold a key"
    assert files(home) == {"deployment.json": (home / "deployment.json").read_bytes()}


def test_environment__endpoints_of_other_commands__are_all_written(home, monkeypatch):
    monkeypatch.setenv("DIDYMA_RPC_URLS", f"{NOBODY_THERE},https://two.example")
    status, said = init(home, "--service", SERVICE, "--no-keystore")
    assert status == 0, said
    made = tomllib.loads((home / "node/didyma.toml").read_text())
    assert made["rpc_urls"] == [NOBODY_THERE, "https://two.example"]


def test_paths__of_any_letters__are_read_as_they_were_written(home):
    folder = home / '\U0001f30a \u00e9 "x"'
    status, said = init(home, "--service", SERVICE, "--rpc-url", NOBODY_THERE, "--no-keystore", "--data-dir", folder)
    assert status == 0, said
    assert load(home / "node/didyma.toml").data_dir == folder


@pytest.mark.parametrize("name", ["operator.json", "dispute.json", "didyma.toml"])
def test_files__one_of_them_is_there__is_kept_and_no_other_is_made(home, name):
    (home / "node").mkdir()
    (home / "node" / name).write_text("precious")
    status, said = init(home, "--service", SERVICE, "--rpc-url", NOBODY_THERE, "--dispute-keystore")
    assert (status, len(said.splitlines())) == (1, 1), said
    assert f"{name} exists and is not overwritten" in said
    assert files(home / "node") == {name: b"precious"}


def test_key__cannot_be_made__settings_are_taken_away_again_and_the_next_run_begins_anew(home, monkeypatch):
    def fails(*_: object) -> str:
        raise OSError(28, "No space left on device", "operator.json")

    options = ("--service", SERVICE, "--rpc-url", NOBODY_THERE)
    with monkeypatch.context() as patched:
        patched.setattr(command, "create_keystore", fails)
        status, said = init(home, *options)
    assert (status, said) == (1, "operator.json: No space left on device\n")
    assert files(home / "node") == {}
    assert init(home, *options)[0] == 0
