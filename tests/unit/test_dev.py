"""`didyma dev` before and around its network: taken ports, taken folders, nodes that are not ready, and their end."""

import http.server
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rig.anvil import anvil, free_port
from rig.child import alive
from typer.testing import CliRunner

from oracle.chain.deployment import Deployment
from oracle.cli import app, dev
from oracle.cli.connection import Network
from oracle.client import devnet, devnodes
from oracle.client.devnodes import NodeProcess
from oracle.errors import Refused
from oracle.ids import ServiceId


def refused(*words: object) -> str:
    done = CliRunner().invoke(app, ["dev", *map(str, words)])
    assert done.exit_code == 1, done.output
    assert len(done.output.splitlines()) == 1, done.output
    return done.output


@contextmanager
def serving(status: int, body: bytes) -> Iterator[int]:
    """An HTTP server on this port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


# -- U3: ports -----------------------------------------------------------------------------------------------------


def test_u3_dev__chain_on_the_port__is_refused_and_left_alone(tmp_path):
    with anvil(mining=True) as chain:
        said = refused("--port", chain.url.rsplit(":", 1)[1], "--folder", tmp_path / "dev")
        assert "taken by chain 31337" in said
        assert "--port" in said
        assert chain.height() == 0
    assert not (tmp_path / "dev").exists()


def test_u3_dev__web_server_on_the_port__is_refused(tmp_path):
    with serving(200, b"<html>hello</html>") as port:
        assert "something that is no chain" in refused("--port", port, "--folder", tmp_path / "dev")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_u3_dev__silent_listener_on_the_port__is_refused(tmp_path, host):
    with socket.create_server((host, 0)) as silent:
        assert "something that is no chain" in refused("--port", silent.getsockname()[1], "--folder", tmp_path / "dev")


def test_u3_dev__listener_with_a_full_queue__is_refused(tmp_path):
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as silent,
        socket.socket() as first,
        socket.socket() as second,
    ):
        for caller in (first, second):
            caller.setblocking(False)
            caller.connect_ex(silent.getsockname())
        assert "--port" in refused("--port", silent.getsockname()[1], "--folder", tmp_path / "dev")


def test_u3_anvil__port_taken_meanwhile__is_refused_and_not_mistaken_for_ours(tmp_path):
    with anvil() as chain:
        port = int(chain.url.rsplit(":", 1)[1])
        with pytest.raises(Refused, match="anvil stopped at once"), devnet.anvil(port, tmp_path / "anvil.log"):
            pass


def test_dev__port_just_given_up__is_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as caller:
        port = server.getsockname()[1]
        server.accept()[0].close()
        caller.recv(1)
    dev._refuse_taken(port)


def test_dev__folder_has_a_network__second_is_refused(tmp_path):
    with dev._locked(tmp_path):
        assert "--folder" in refused("--port", free_port(), "--folder", tmp_path)
    with dev._locked(tmp_path):
        pass


def test_dev__around_a_command__runs_beside_another_network(tmp_path, monkeypatch):
    def begin(*_args: object, **_named: object) -> None:
        raise Refused("it would begin")

    monkeypatch.setattr(dev, "_chain", begin)
    monkeypatch.setattr(dev, "DEV_FOLDER", tmp_path / "dev")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other, dev._locked(tmp_path / "dev"):
        monkeypatch.setattr(dev, "PORT", other.getsockname()[1])
        assert "is taken by" in refused()
        assert "a dev network runs in" in refused("--port", 0)
        assert "it would begin" in refused("--", "true")
    assert [path.name for path in (tmp_path / "dev").iterdir()] == ["lock"]


def test_dev__folder_cannot_be_made__says_which(tmp_path):
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in refused("--port", free_port(), "--folder", tmp_path / "file" / "dev")


def test_dev__liar_in_a_tee__is_refused(tmp_path):
    assert "final at once" in refused("--liar", "--mode", "tee", "--folder", tmp_path)


@pytest.mark.parametrize("mode", ["panel", "exact"])
def test_dev__panel_of_too_few_nodes__is_refused(tmp_path, mode):
    assert "a panel needs 5" in refused("--nodes", 4, "--mode", mode, "--folder", tmp_path)


def test_dev__panel_without_llama_cpp__is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "llama_cpp" else name)
    assert "didyma[llamacpp]" in refused("--mode", "panel", "--folder", tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00", '{"name": "x"}', "[" * 9999])
def test_dev__no_description_of_a_model__is_refused_before_anything_starts(tmp_path, content):
    (tmp_path / "model.json").write_text(content)
    assert "does not describe a model" in refused("--model", tmp_path / "model.json", "--folder", tmp_path / "dev")
    assert not (tmp_path / "dev").exists()
    refused("--model", tmp_path / "none.json", "--folder", tmp_path / "dev")


def test_dev__nobody_answers_at_the_fork__is_refused_before_anything_starts(tmp_path):
    said = refused("--fork", f"http://me:secret@127.0.0.1:{free_port()}", "--folder", tmp_path / "dev")
    assert "RPC endpoint" in said
    assert "secret" not in said
    assert not (tmp_path / "dev").exists()


def test_dev__command_that_there_is_none_of__is_refused_before_anything_starts(tmp_path):
    assert "no-such-command cannot be started" in refused("--folder", tmp_path / "dev", "--", "no-such-command", "x")
    assert not (tmp_path / "dev").exists()


def test_run__command__finds_the_network_in_its_environment_and_its_status_is_ours(tmp_path, monkeypatch):
    address = "0x" + "11" * 20
    network = Network(Deployment(31337, 0, *[address] * 5), "http://127.0.0.1:1", None, ServiceId(b"\x07" * 32))
    told = tmp_path / "told"
    code = dev._run(["sh", "-c", f"echo $DIDYMA_ORACLE $DIDYMA_SERVICE $ETH_RPC_URL > {told}; exit 7"], network, told)
    assert (code, told.read_text()) == (7, f"{address} 0x{'07' * 32} http://127.0.0.1:1\n")
    with pytest.raises(Refused, match="no-such-command cannot be started"):
        dev._run(["no-such-command"], network, told)


# -- U4: ready -----------------------------------------------------------------------------------------------------


@contextmanager
def node(tmp_path: Path, code: str, port: int = 0) -> Iterator[NodeProcess]:
    log = tmp_path / "node.log"
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out, start_new_session=True)
    try:
        yield NodeProcess("node 3", process, port or free_port(), log)
    finally:
        devnodes.stop([process], 0)


SLEEPER = "import time; time.sleep(600)"


def test_u4_await_ready__node_ends__says_why_out_of_its_log(tmp_path):
    code = "print('\\x1b[31mloading'); print('no such model: 0xab'); raise SystemExit(3)"
    with node(tmp_path, code) as ending, pytest.raises(Refused) as caught:
        devnodes.await_ready([ending], 20, lambda _: None)
    assert "node 3 has ended with status 3" in str(caught.value)
    assert "loading / no such model: 0xab" in str(caught.value)
    assert str(tmp_path / "node.log") in str(caught.value)


def test_u4_await_ready__node_not_ready_in_time__says_why_by_its_own_word(tmp_path):
    body = json.dumps({"ready": False, "reasons": ["the disk is full"]}).encode()
    with serving(503, body) as port, node(tmp_path, SLEEPER, port) as waiting:
        told: list[str] = []
        with pytest.raises(Refused, match=r"not ready after 1 s: node 3: the disk is full; its log .*is empty"):
            devnodes.await_ready([waiting], 1, told.append)
    assert told[0] == "0 of 1 nodes are ready; node 3: the disk is full"


def test_u4_await_ready__nothing_answers__says_so(tmp_path):
    with node(tmp_path, SLEEPER) as silent, pytest.raises(Refused, match="does not answer yet"):
        devnodes.await_ready([silent], 0, lambda _: None)


def test_u4_await_ready__nodes_ready__waits_for_what_else_is_wanted(tmp_path):
    with serving(200, b'{"ready": true, "reasons": []}') as port, node(tmp_path, SLEEPER, port) as ready:
        missing = ["", "4 of 5 keys are admitted", "3 of 5 keys are admitted"]
        told: list[str] = []
        devnodes.await_ready([ready], 20, told.append, missing.pop, sleep=lambda _: None)
        assert told == [f"1 of 1 nodes are ready; {count} of 5 keys are admitted" for count in (3, 4)]
        with pytest.raises(Refused, match="keys are admitted"):
            devnodes.await_ready([ready], 0, told.append, lambda: "0 of 5 keys are admitted")


# -- didyma node status --------------------------------------------------------------------------------------------


@pytest.fixture
def status(tmp_path: Path):
    """Asks the node on a port."""

    def run(port: int, *words: str):
        settings = {"rpc_urls": ["http://127.0.0.1:1"], "deployment": "x", "services": ["0x" + "ab" * 32]}
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in {**settings, "api_port": port}.items()]
        (tmp_path / "didyma.toml").write_text("".join(lines))
        return CliRunner().invoke(app, ["node", "status", "--config", str(tmp_path / "didyma.toml"), *words])

    return run


def test_node_status__ready_or_not__says_so_and_ends_accordingly(status):
    with serving(200, b'{"ready": true, "reasons": []}') as port:
        done = status(port)
        assert (done.exit_code, done.output) == (0, "ready\n")
    with serving(503, b'{"ready": false, "reasons": ["the disk is full", "\\u001b[31m"]}') as port:
        done = status(port)
        assert (done.exit_code, done.output) == (1, "not ready: the disk is full\nnot ready: \\x1b[31m\n")
        assert json.loads(status(port, "--json").stdout)["ready"] is False


@pytest.mark.parametrize(
    ("code", "body", "says"),
    [
        (200, b"<html>", "is not a node"),
        (200, b"[]", "is not a node"),
        (200, b"[" * 99_999, "is not a node"),
        (401, b"{}", "api_token"),
    ],
)
def test_node_status__something_else_answers__says_what_to_look_at(status, code, body, says):
    with serving(code, body) as port:
        done = status(port)
    assert done.exit_code == 1
    assert says in done.output


def test_node_status__nobody_answers__says_what_starts_a_node(status):
    assert "didyma node run" in status(free_port()).output


# -- the end -------------------------------------------------------------------------------------------------------


def test_stop__node_ignores_being_asked__it_and_its_children_are_killed(tmp_path):
    code = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEPER!r}]); print(child.pid, flush=True); time.sleep(600)"
    )
    with node(tmp_path, code) as stubborn:
        while not (said := stubborn.log.read_text().strip()):
            time.sleep(0.05)
        devnodes.stop([stubborn.process], 0.2)
        assert stubborn.process.returncode == -9
        assert not alive(int(said))


def test_start_node__settings_in_this_shell__are_not_the_nodes(tmp_path, monkeypatch):
    monkeypatch.setenv("DIDYMA_DEPLOYMENT", "elsewhere.json")
    (tmp_path / "say.py").write_text("import os; print([name for name in os.environ if name.startswith('DIDYMA')])")
    process = devnet.start_node(tmp_path / "x.toml", tmp_path / "log", (str(tmp_path / "say.py"),))
    assert process.wait(20) == 0
    assert (tmp_path / "log").read_text().strip() == "[]"
    assert os.environ["DIDYMA_DEPLOYMENT"] == "elsewhere.json"


def test_dev__lock_is_a_link__what_it_points_to_stays_as_it_is(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "keys").write_text("mine")
    (tmp_path / "dev" / "lock").symlink_to(tmp_path / "keys")
    with dev._locked(tmp_path / "dev"):
        pass
    assert (tmp_path / "keys").read_text() == "mine"
