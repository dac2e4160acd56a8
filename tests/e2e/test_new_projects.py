"""A stranger's first project: each kind that `didyma new` makes, and each of docs/by-hand.md.

Each is made from the built packages alone, in an empty folder.

Its tests on the mock pass, and on one `didyma dev` its test and its script get an answer. What npm and pip would
fetch is taken from this checkout; `didyma` is the wheel and the npm package in `dist/`.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from rig.anvil import ROOT
from rig.samples import blocks, samples

from oracle.client import dev_process
from oracle.client.dev_process import DevNetwork

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
        install(project)
        return project


def install(project: Path) -> None:
    """What `npm install` would bring: the package of `dist/`, and of this checkout whatever else there is."""
    (modules := project / "node_modules").mkdir()
    for installed in (*(ROOT / "node_modules").iterdir(), ROOT / "node_modules/.bin"):
        if not (modules / installed.name).exists():
            (modules / installed.name).symlink_to(installed)
    (packed,) = (ROOT / "dist").glob("didyma-*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(modules / "unpacked", filter="data")
    (modules / "unpacked/package").rename(modules / "didyma")


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


@contextmanager
def hurried(network: DevNetwork) -> Iterator[None]:
    """Lets the challenge window pass once an answer is posted, so that nobody sits it out."""
    client, over = network.client(), threading.Event()
    window = client.terms(network.service)["windowSeconds"]

    def hurry() -> None:
        unread = client.deployment.block
        while not over.wait(0.5):
            newest = client.w3.eth.block_number
            if newest < unread:
                continue
            if client.oracle.events.AnswerPosted().get_logs(from_block=unread, to_block=newest):
                network.pass_time(window + 1)
            unread = newest + 1

    hurrying = threading.Thread(target=hurry)
    hurrying.start()
    yield
    over.set()
    hurrying.join()


@pytest.fixture(scope="module")
def network(stranger: Stranger, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What `didyma dev -- COMMAND` tells a command; one network serves all kinds."""
    with dev_process.running(tmp_path_factory.mktemp("network")) as found, hurried(found):
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


def test_ape__from_the_packages__tests_pass_and_the_script_gets_an_answer(stranger, network):
    project = stranger.new("ape")
    assert "6 passed" in stranger.run("ape", "test", "--didyma", cwd=project, **network)
    assert "mood 1" in stranger.run("ape", "run", "ask", cwd=project, **network)


# BY HAND

PAGE = ROOT / "docs/by-hand.md"
KINDS = ("Foundry", "Hardhat", "Ape")
FILE = re.compile(r"`([\w./-]+\.(?:toml|sol|sh|json|ts|yaml|py))`[^`]*:$")
SAYS = {
    "Foundry": ("2 passed", "choice 1 of positive, negative"),
    "Hardhat": ("1 passing", "negative, by "),
    "Ape": ("2 passed",),
}
"""What the commands of each section print."""


def written(kind: str, project: Path) -> list[str]:
    """Writes the files that a section of the page shows, and the page's contract; the section's commands in order."""
    lines = PAGE.read_text().splitlines()
    starts = {name: lines.index(f"## {name}") for name in KINDS}
    first = starts[kind]
    last = min([line for line in starts.values() if line > first], default=len(lines))
    (critic,) = [sample.code for sample in samples("solidity") if "contract Critic is" in sample.code]
    (contracts := project / ("src" if kind == "Foundry" else "contracts")).mkdir()
    (contracts / "Critic.sol").write_text(critic)
    commands: list[str] = []
    for block in blocks(PAGE):
        if not first < block.line <= last:
            continue
        said = next(line for line in reversed(lines[: block.line - 2]) if line.strip())
        if named := FILE.search(said):
            (project / named[1]).parent.mkdir(parents=True, exist_ok=True)
            (project / named[1]).write_text(block.code)
        else:
            assert block.language == "sh", block.name
            commands += block.code.splitlines()
    return commands


@pytest.fixture
def by_hand(stranger, network):
    """Types a section of the page; what its commands print."""

    def typed(kind: str) -> str:
        (project := stranger.folder / f"by-hand-{kind}").mkdir()
        printed = []
        for command in written(kind, project):
            if command.startswith("npm install didyma-"):
                for name in command.split()[3:]:
                    assert (ROOT / "node_modules" / name).exists(), name
                install(project)
            elif command.startswith("pip install didyma-"):
                assert all(map(shutil.which, ("ape", "didyma"))), "the environment of the tests has these"
            else:  # one network is around all of them, as `didyma dev --` would be around each
                printed.append(stranger.run("sh", "-c", command.removeprefix("didyma dev -- "), cwd=project, **network))
        return "\n".join(printed)

    return typed


@pytest.mark.parametrize("kind", KINDS)
def test_by_hand__files_and_commands_of_the_page__tests_pass_and_an_answer_comes(by_hand, kind):
    printed = by_hand(kind)
    assert [said for said in SAYS[kind] if said not in printed] == [], printed
