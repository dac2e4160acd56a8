"""Bars for what takes long: on a terminal they tell how far it is; elsewhere nothing is written."""

import io
import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rich.console import Console
from rig import tiny_gguf

from oracle.cli import report


@pytest.fixture
def terminal(monkeypatch):
    """What a terminal of 120 columns gets."""
    said = io.StringIO()
    monkeypatch.setattr(report, "Console", lambda **_: Console(file=said, force_terminal=True, width=120))
    return said


def test_bytes__on_a_terminal__tell_what_and_how_far(terminal):
    with report.progress("hashing [a model]") as on_bytes:
        on_bytes(1_500_000, 4_000_000)
    assert "hashing [a model]" in terminal.getvalue()
    assert "1.5/4.0 MB" in terminal.getvalue()


def test_blocks__of_a_long_history__come_with_the_first_and_go_with_the_last(terminal):
    bar = report.BlocksBar()
    assert terminal.getvalue() == ""
    bar(250, 1000)
    bar._bar.refresh()
    assert "reading the chain, blocks" in terminal.getvalue()
    assert "250/1000" in terminal.getvalue()
    bar(1000, 1000)
    assert bar._bar is None


def test_bars__no_terminal__write_nothing(capsys):
    with report.progress("hashing") as on_bytes:
        on_bytes(1, 2)
    bar = report.BlocksBar()
    bar(1, 2)
    bar.close()
    assert capsys.readouterr() == ("", "")


def typed(*words: object) -> tuple[str, str]:
    """Standard output, and what a terminal shows of standard error while `didyma` does this."""
    ours, theirs = pty.openpty()
    said = bytearray()

    def hear() -> None:
        try:
            while data := os.read(ours, 4096):
                said.extend(data)
        except OSError:  # the other end is closed
            pass

    ear = threading.Thread(target=hear)
    ear.start()
    command = [sys.executable, "-m", "oracle.cli", *map(str, words)]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True, check=False)
    os.close(theirs)
    ear.join(10)
    os.close(ours)
    assert done.returncode == 0, (done.stdout, bytes(said))
    return done.stdout, said.decode()


def test_model_add__on_a_terminal__shows_bars_of_copying_and_recomputing_on_standard_error(tmp_path: Path):
    path = tmp_path / "tiny.gguf"
    manifest = tiny_gguf.write(path)
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    words = ("model", "add", path, "--manifest", tmp_path / "manifest.json", "--store", tmp_path / "store")
    out, shown = typed(*words)
    assert out.startswith("model    0x")
    assert "copying tiny.gguf" in shown
    assert "recomputing what the manifest of" in shown
    assert "copying" not in out
    checked, shown = typed("model", "verify", "--store", tmp_path / "store")
    assert checked.startswith("right")
    assert "hashing" in shown
