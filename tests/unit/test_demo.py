"""The demo's parts: it has words for whatever happens, and says why something did not."""

import contextlib
import http.server
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from oracle.chain.deployment import artifact
from oracle.demo import run
from oracle.demo.cast import DidNotHappen, Model, Player, explain
from oracle.demo.ledger import Ledger, Row
from oracle.demo.narrator import COMPUTED, SENTENCES

TOLD_BY_THEMSELVES = {"answer", "answerAttested", "register", "decide"}
BY_CONTRACTS = {"adopt", "dispute", "rule", "lockSeat", "unlockSeat", "onAnswer", "won", "refuted"}
CONTRACTS = ("ModelRegistry", "Oracle", "DisputeGame", "PanelArbiter", "AttestedAnswers", "DcapCollateral")
LOG = """\
2026-11-28T10:00:00Z [info     ] node started
2026-11-28T10:00:01Z [error    ] the engine died                why=SIGSEGV
2026-11-28T10:00:02Z [info     ] looking on
"""


@pytest.mark.parametrize("name", [*CONTRACTS, "Referee", "TokenReferee", "Critic"])
def test_narrator__function_that_people_call__has_a_sentence(name):
    called = {
        entry["name"]
        for entry in artifact(name)["abi"]
        if entry["type"] == "function" and entry["stateMutability"] in ("payable", "nonpayable")
    }
    assert called - BY_CONTRACTS - TOLD_BY_THEMSELVES <= {*SENTENCES, *COMPUTED}


@pytest.fixture
def player(tmp_path):
    """A daemon that has said something in its log; what it serves and whether it lives is the test's."""
    log = tmp_path / "node-0.log"
    log.write_text(LOG)

    def make(port: int, code: str) -> Player:
        process = subprocess.Popen([sys.executable, "-c", code])
        if not port:
            process.wait()
        made.append(process)
        return Player("Ada", process, port, log, "a node")

    made: list[subprocess.Popen[bytes]] = []
    yield make
    for process in made:
        process.kill()
        process.wait()


def test_explain__daemon_ended__says_with_what_and_its_last_error(player):
    said = explain([player(0, "raise SystemExit(3)")])
    assert "Ada, a node: it ended with exit status 3" in said
    assert "the engine died" in said
    assert "looking on" not in said


@contextlib.contextmanager
def saying(*reasons):
    """A node's /readyz; yields its port."""

    class Readyz(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"ready": not reasons, "reasons": reasons}).encode()
            self.send_response(503 if reasons else 200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Readyz) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_explain__daemon_not_ready__gives_its_own_reasons(player):
    with saying("service 0xab: the engine died of SIGSEGV") as port:
        said = explain([player(port, "import time; time.sleep(60)")])
    assert said.startswith("Ada, a node: service 0xab: the engine died of SIGSEGV")


def test_explain__daemon_ready__is_quoted_only_if_it_complained(player):
    with saying() as port:
        one = player(port, "import time; time.sleep(60)")
        complained = explain([one])
        one.log.write_text("2026-11-28T10:00:00Z [info     ] node started\n")
        silent = explain([one])
    assert complained.startswith("Ada, a node: ready\n")
    assert "the engine died" in complained
    assert silent == "Ada, a node: ready"


def test_refunded__node_does_not_stop__says_which(player, monkeypatch):
    class Stubborn:
        def terminate(self):
            pass

        def wait(self, seconds):
            raise subprocess.TimeoutExpired("node", seconds)

    demo = run.Demo(None, Path(), None, 0, Model.TINY, panel=False)
    demo.players = [replace(player(0, ""), process=Stubborn())]
    monkeypatch.setattr(demo, "_scene", lambda title: None)
    with pytest.raises(DidNotHappen, match="Ada did not stop within 60 s"):
        demo.refunded()


def test_play__a_daemon_dies__fails_and_names_it_with_its_last_words(monkeypatch, capsys):
    monkeypatch.setattr(run, "LIAR", ("-c", "raise SystemExit('no bribe today: ValueError')"))
    assert run.play(short=True) == 1
    said = capsys.readouterr().out
    assert "This did not happen:" in said
    assert "Mallory, the bribed node: it ended with exit status 1" in said
    assert "no bribe today" in said


def test_play__without_anvil__says_how_to_get_it(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run.play() == 1
    assert "npm install --global @foundry-rs/anvil" in capsys.readouterr().out


def test_play__without_the_kernels__says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(run.cpu_kernels, "available", lambda: False)
    assert run.play() == 1
    assert "install a C compiler" in capsys.readouterr().out


def test_ledger__a_wei_missing_in_one_column__does_not_add_up():
    rows = {"node": Row(stake=5, fees=2, bonds=-3, gas=-1), "user": Row(fees=-2), "burnt": Row(bonds=3, gas=1)}
    assert Ledger(rows).sums_to_zero
    rows["burnt"].bonds -= 1
    assert not Ledger(rows).sums_to_zero
    rows["burnt"].gas += 1  # elsewhere, so that the total is right
    assert not Ledger(rows).sums_to_zero
