"""`didyma new`, as a stranger uses it: each kind of project, from the built packages alone, in an empty folder.

Its tests on the mock pass, and on one `didyma dev` its test and its script get an answer. What npm and pip would
fetch is taken from this checkout; `didyma` is the wheel and the npm package in `dist/`.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig.anvil import ROOT

from oracle.client import dev_process

COMPILER = ROOT / "tools/solc/solc-v0.8.37"


@dataclass(frozen=True)
class Stranger:
    """Somebody with the two packages, in a folder of their own."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, cwd: Path | None = None, **more: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(
            words,
            cwd=cwd or self.folder,
            env=self.environment | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-6000:]}{done.stderr[-6000:]}"
        return done.stdout

    def new(self, kind: str) -> Path:
        """A project, with the packages that `npm install` would bring."""
        self.run("didyma", "new", f"my-{kind}", "--kind", kind)
        project = self.folder / f"my-{kind}"
        if kind == "ape":
            return project
        (modules := project / "node_modules").mkdir()
        for installed in (*(ROOT / "node_modules").iterdir(), ROOT / "node_modules/.bin"):
            if not (modules / installed.name).exists():
                (modules / installed.name).symlink_to(installed)
        (packed,) = (ROOT / "dist").glob("didyma-*.tgz")
        with tarfile.open(packed) as archive:
            archive.extractall(modules / "unpacked", filter="data")
        (modules / "unpacked/package").rename(modules / "didyma")
        return project


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    folder = tmp_path_factory.mktemp("stranger")
    (wheel,) = list((ROOT / "dist").glob("didyma-*.whl")) or [None]
    assert wheel is not None, "`make package` makes it"
    zipfile.ZipFile(wheel).extractall(folder / "site")
    (folder / "bin").mkdir()
    (folder / "home").mkdir()
    command = folder / "bin/didyma"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m oracle.cli "$@"\n')
    command.chmod(0o755)
    path = [folder / "bin", ROOT / "tools/bin", ROOT / "node_modules/.bin", Path(sys.executable).parent]
    environment = {
        "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
        "HOME": str(folder / "home"),
        "PYTHONPATH": str(folder / "site"),
        "FOUNDRY_SOLC": str(COMPILER),
        "SOLCX_BINARY_PATH": str(COMPILER.parent),
        "APE_DATA_FOLDER": str(folder / "ape"),
    }
    return Stranger(folder, environment)


@pytest.fixture(scope="module")
def network(stranger: Stranger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `didyma dev -- COMMAND` tells a command; one network serves all kinds."""
    with dev_process.running(tmp_path_factory.mktemp("network")) as found:
        yield {
            "DIDYMA_DEPLOYMENT": str(found.file),
            "DIDYMA_RPC_URLS": found.rpc_url,
            "DIDYMA_ORACLE": found.deployment.oracle,
            "DIDYMA_SERVICE": "0x" + found.service.hex(),
            "ETH_RPC_URL": found.rpc_url,
        }


def test_foundry__from_the_packages__tests_pass_and_the_script_gets_an_answer(stranger, network):
    project = stranger.new("foundry")
    assert "5 passed" in stranger.run("forge", "test", cwd=project)
    assert "ok: the critic heard" in stranger.run("sh", "test/dev.sh", cwd=project, **network)


def test_hardhat__from_the_packages__tests_pass_and_the_script_gets_an_answer(stranger, network):
    project = stranger.new("hardhat")
    hardhat = str(ROOT / "node_modules/.bin/hardhat")
    assert "5 passing" in stranger.run(hardhat, "test", "test/critic.test.ts", cwd=project)
    assert "1 passing" in stranger.run(hardhat, "test", "test/dev.test.ts", cwd=project, **network)
    assert "mood 1" in stranger.run(hardhat, "run", "scripts/ask.ts", cwd=project, **network)
    stranger.run(str(ROOT / "node_modules/.bin/tsc"), "--project", ".", cwd=project)


def test_ape__from_the_packages__tests_on_the_mock_pass(stranger):
    assert "5 passed" in stranger.run("ape", "test", cwd=stranger.new("ape"))
