"""A machine's clock that disagrees with the chain's: both times are told, to whoever asks."""

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from oracle.cli import app
from oracle.node.clock import disagreement

HEAD = 1_700_000_000
SAID = "2023-11-14 22:13:20 UTC"


@pytest.mark.parametrize(
    ("off", "says"),
    [
        (3600, ["2023-11-14 23:13:20 UTC, ahead of", SAID, "unless the chain stands still"]),
        (-3600, ["2023-11-14 21:13:20 UTC, behind", SAID, "unless the chain runs ahead"]),
        (61, ["22:14:21 UTC, ahead of"]),
        (-61, ["22:12:19 UTC, behind"]),
        (1e15, ["ahead of", SAID]),
    ],
)
def test_disagreement__clocks_far_apart__says_both_times(off, says):
    said = disagreement(HEAD + off, HEAD)
    assert all(words in said for words in says), said
    assert "nothing is decided by it" in said


@pytest.mark.parametrize(("off", "patience"), [(0, 0), (60, 0), (-60, 0), (90, 30), (-90, 30)])
def test_disagreement__clocks_near_each_other__is_silent(off, patience):
    assert disagreement(HEAD + off, HEAD, patience) == ""


@contextlib.contextmanager
def saying(reply: dict[str, object]) -> Iterator[int]:
    """A node's /readyz; yields its port."""

    class Readyz(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if reply["ready"] else 503)
            self.end_headers()
            self.wfile.write(json.dumps(reply).encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Readyz) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("reply", "status", "lines"),
    [
        ({"ready": True, "reasons": [], "warnings": ["off\x1b[2J"]}, 0, ["ready", "warning: off"]),
        ({"ready": False, "reasons": ["why"], "warnings": ["off"]}, 1, ["not ready: why", "warning: off"]),
        ({"ready": True, "reasons": []}, 0, ["ready"]),
    ],
    ids=["ready", "not ready", "an older node"],
)
def test_status__node_warns__says_so_and_ends_as_readiness_does(tmp_path, reply, status, lines):
    with saying(reply) as port:
        config = tmp_path / "didyma.toml"
        config.write_text(
            'rpc_urls = ["http://127.0.0.1:1"]\ndeployment = "d.json"\n'
            f'services = ["0x{"ab" * 32}"]\napi_port = {port}\n'
        )
        done = CliRunner().invoke(app, ["node", "status", "--config", str(config)])
        as_json = CliRunner().invoke(app, ["node", "status", "--config", str(config), "--json"])
    said = done.output.splitlines()
    assert [each[: len(line)] for each, line in zip(said, lines, strict=True)] == lines
    assert "\x1b" not in done.output
    assert (done.exit_code, as_json.exit_code) == (status, status)
    assert len(json.loads(as_json.output)["warnings"]) == len(lines) - 1
