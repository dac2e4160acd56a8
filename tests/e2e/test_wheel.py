"""The package as a stranger installs it: one wheel and the packages of requirements/node.lock, in an empty folder.

No torch, no llama.cpp, no Ape and no compiler is within reach; the whole demo must go through nevertheless.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from rig.anvil import ROOT

from oracle.chain import sources

HEAVY = ("torch", "llama_cpp", "gguf", "ape", "solcx", "huggingface_hub")


@pytest.fixture(scope="module")
def wheel() -> Path:
    found = list((ROOT / "dist").glob("didyma-*.whl"))
    assert len(found) == 1, "`make wheel` makes it"
    return found[0]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """An environment's Python, with what `pip install` of the lock and the wheel would put there, but no network."""
    environment = tmp_path_factory.mktemp("stranger") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (site,) = environment.glob("lib/python*/site-packages")
    for name in re.findall(r"^([\w.-]+)==", (ROOT / "requirements/node.lock").read_text(), re.MULTILINE):
        try:
            _copy(name, site)
        except PackageNotFoundError:
            assert name in ("colorama", "pywin32"), f"{name} is not installed: run `make install`"
    zipfile.ZipFile(wheel).extractall(site)
    return environment / "bin" / "python"


def _copy(name: str, site: Path) -> None:
    for file in distribution(name).files or []:
        if ".." in file.parts:
            continue  # a command
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file.locate(), target)


def test_wheel__files__are_those_of_the_tree_and_the_kernels(wheel):
    packed = {name: zipfile.ZipFile(wheel).read(name) for name in zipfile.ZipFile(wheel).namelist()}
    kept = subprocess.run(["git", "ls-files", "oracle"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    wanted = [name for name in kept.split() if not name.startswith("oracle/engines/exact/kernels/")]
    wanted.remove("oracle/contracts")  # a link: the next test has its files
    assert len(wanted) > 100
    for name in wanted:
        assert packed.get(name) == (ROOT / name).read_bytes(), f"{name}: run `make wheel` again"
    assert any(re.fullmatch(r"oracle/engines/exact/_kernels\..*\.so", name) for name in packed)
    assert not [name for name in packed if name.startswith("tests/")]


def test_wheel__contracts__are_those_that_dapps_get(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("oracle/contracts/")}
    assert packed == {f"oracle/contracts/{path}" for path in sources.shipped()}
    for name in packed:
        assert zipfile.ZipFile(wheel).read(name) == (ROOT / name).read_bytes(), f"{name}: run `make wheel` again"


@pytest.mark.parametrize("name", HEAVY)
def test_wheel__environment_of_the_node__has_nothing_heavy(installed, name):
    done = subprocess.run([installed, "-c", f"import {name}"], cwd="/", capture_output=True, text=True, check=False)
    assert f"No module named '{name}'" in done.stderr


def test_wheel__demo_in_an_empty_folder_with_only_anvil__everything_happens(installed, tmp_path):
    anvil = tmp_path / "bin" / "anvil"
    anvil.parent.mkdir()
    (native,) = ROOT.glob("node_modules/@foundry-rs/anvil-*/bin/anvil")
    anvil.symlink_to(native)
    (empty := tmp_path / "empty").mkdir()
    sandbox = shutil.which("bwrap")
    path = os.pathsep.join([str(anvil.parent), *([str(Path(sandbox).parent)] if sandbox else [])])
    done = subprocess.run(
        [installed, "-m", "oracle.cli", "demo"],
        cwd=empty,
        env={"PATH": path, "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for happened in (
        "Mallory   answers 'positive'",
        "has a contract compute number",
        "signed in a TEE: final at once",
        "reads 'negative'",
        "its money goes back to the payer",
        "Everything happened as it should.",
    ):
        assert happened in done.stdout
    assert re.search(r"Ada       answers 'negative', by [\d.]+ logits, with 1 ether as its bond", done.stdout)
    assert "in vain" not in done.stdout
    assert re.search(r"First final answer after \d+ s, the whole demo after \d+ s\.", done.stdout)
    assert not list(empty.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_demo__stopped_by_a_signal__leaves_no_process_behind(installed, tmp_path, number):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "DEMO_OF_THIS_TEST": str(tmp_path)}
    demo = subprocess.Popen(
        [installed, "-m", "oracle.cli", "demo"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE
    )

    def left() -> list[str]:
        """Processes with the demo's environment."""
        mark = f"DEMO_OF_THIS_TEST={tmp_path}".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark in path.read_bytes().split(b"\0"):
                    found.append(path.parent.name)
        return found

    try:
        end = time.monotonic() + 120
        while len(left()) < 6 and time.monotonic() < end:  # itself, the chain, four nodes
            time.sleep(0.2)
        assert len(left()) >= 6
        demo.send_signal(number)
        assert demo.wait(30) != 0
        end = time.monotonic() + 30
        while left() and time.monotonic() < end:
            time.sleep(0.2)
        assert left() == []
    finally:
        for process in left():
            os.kill(int(process), signal.SIGKILL)
