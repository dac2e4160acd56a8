"""Somebody with the two built packages in an empty folder.

What npm and pip would fetch is taken from this checkout; tests/newcomers.py fetches it.
"""

import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rig.anvil import ROOT

from oracle.client.dev_process import DevNetwork

COMPILER = ROOT / "tools/solc/solc-v0.8.37"


@dataclass(frozen=True)
class Stranger:
    """Somebody with the two packages, in a folder of their own."""

    folder: Path
    environment: dict[str, str]

    @classmethod
    def arrived(cls, folder: Path) -> "Stranger":
        wheels = list((ROOT / "dist").glob("didyma-*.whl"))
        assert len(wheels) == 1, "`make package` makes it"
        zipfile.ZipFile(wheels[0]).extractall(folder / "site")
        for name in ("bin", "home", "tmp"):
            (folder / name).mkdir()
        command = folder / "bin/didyma"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m oracle.cli "$@"\n')
        command.chmod(0o755)
        path = [folder / "bin", ROOT / "tools/bin", ROOT / "node_modules/.bin", Path(sys.executable).parent]
        environment = {
            "PATH": os.pathsep.join([*map(str, path), os.environ["PATH"]]),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONPATH": str(folder / "site"),
            "FOUNDRY_SOLC": str(COMPILER),
            "SOLCX_BINARY_PATH": str(COMPILER.parent),
            "APE_DATA_FOLDER": str(folder / "ape"),
        }
        return cls(folder, environment)

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
        if kind != "ape":
            install(project)
        return project


def install(project: Path) -> None:
    """What `npm install` would bring: the package of `dist/`, and of this checkout whatever else there is."""
    (modules := project / "node_modules").mkdir(parents=True)
    for installed in (*(ROOT / "node_modules").iterdir(), ROOT / "node_modules/.bin"):
        if not (modules / installed.name).exists():
            (modules / installed.name).symlink_to(installed)
    (packed,) = (ROOT / "dist").glob("didyma-*.tgz")
    with tarfile.open(packed) as archive:
        archive.extractall(modules / "unpacked", filter="data")
    (modules / "unpacked/package").rename(modules / "didyma")


def told(network: DevNetwork) -> dict[str, str]:
    """What `didyma dev -- COMMAND` tells a command of the network around it."""
    return {
        "DIDYMA_DEPLOYMENT": str(network.file),
        "DIDYMA_RPC_URLS": network.rpc_url,
        "DIDYMA_ORACLE": network.deployment.oracle,
        "DIDYMA_SERVICE": "0x" + network.service.hex(),
        "ETH_RPC_URL": network.rpc_url,
    }


@contextmanager
def hurried(network: DevNetwork) -> Iterator[None]:
    """Lets the challenge window pass once an answer is posted, so that nobody sits it out."""
    client, over = network.client(), threading.Event()
    window = client.terms(network.service)["windowSeconds"]

    def hurry() -> None:
        unread = int(client.w3.eth.block_number)
        while not over.wait(0.5):
            newest = int(client.w3.eth.block_number)
            if newest < unread:
                continue
            if client.oracle.events.AnswerPosted().get_logs(from_block=unread, to_block=newest):
                network.pass_time(window + 1)
            unread = newest + 1

    hurrying = threading.Thread(target=hurry)
    hurrying.start()
    try:
        yield
    finally:
        over.set()
        hurrying.join()


def packed_deployments() -> dict[str, dict[str, str]]:
    """The npm package's table of addresses, by chain."""
    (packed,) = (ROOT / "dist").glob("didyma-*.tgz")
    with tarfile.open(packed) as archive:
        file = archive.extractfile("package/deployments.json")
        assert file is not None
        found: dict[str, dict[str, str]] = json.load(file)
    return found


def processes_about(path: Path) -> list[str]:
    """Command lines that name a file or folder there."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(file.read_bytes().decode("utf-8", "replace").replace("\0", " "))
    return [words for words in found if str(path) in words]
