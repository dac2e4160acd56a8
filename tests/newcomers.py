"""First projects as newcomers make them, with packages from the registries: a part of `make prove`.

    python tests/newcomers.py [foundry | hardhat | ape ...]

In a new folder, with the two files that `make package` writes and nothing else of this checkout, types what the pages
say: `didyma new` and the README that it writes, then docs/by-hand.md, for each kind. The package caches are empty. All
commands must succeed, and the last ones must get an answer from `didyma dev`. Prints seconds, and the processor's in
brackets.

What a newcomer has besides: Python, this machine's Node or, for Hardhat, this checkout's newer one, and Foundry's
commands where the page asks for them. The Solidity compiler is this checkout's, since Foundry and Ape would fetch one
from its publisher.
"""

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "tests"))

from rig.by_hand import SAYS, written  # noqa: E402

KINDS = ("foundry", "hardhat", "ape")
COMPILER = ROOT / "tools/solc/solc-v0.8.37"
ANSWERED = {"foundry": "0x", "hardhat": "mood 1", "ape": "mood 1"}
"""What `npm run ask`, or Ape's script, prints."""
FOUNDRY = ("forge", "cast", "anvil")
LONGEST_SECONDS = 900


@dataclass(frozen=True)
class Timed:
    """A command, and what it cost."""

    command: str
    seconds: float
    cpu_seconds: float
    said: str


@dataclass(frozen=True)
class Newcomer:
    """Somebody with the two packages in an empty folder."""

    folder: Path
    environment: Mapping[str, str]

    def having(self, *commands: str) -> "Newcomer":
        """The same, after these were installed, as this checkout has them."""
        (tools := self.folder / "-".join(commands)).mkdir(exist_ok=True)
        for name in commands:
            if not (tools / name).is_symlink():
                (tools / name).symlink_to(ROOT / "node_modules/.bin" / name)
        path = os.pathsep.join([str(tools), self.environment["PATH"]])
        return Newcomer(self.folder, {**self.environment, "PATH": path})

    def type(self, command: str, cwd: Path) -> Timed:
        """Raises AssertionError with what it said, where it fails."""
        began, before = time.monotonic(), _cpu_seconds()
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=cwd,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_SECONDS,
        )
        said = done.stdout + done.stderr
        if done.returncode != 0:
            raise AssertionError(f"{command}\n{said[-6000:]}\n{command} ended with status {done.returncode}")
        return Timed(command, time.monotonic() - began, _cpu_seconds() - before, said)


def _cpu_seconds() -> float:
    """Of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def arrived(folder: Path) -> Newcomer:
    """A newcomer, with an environment of Python and empty caches."""
    for pattern in ("didyma-*.tgz", "didyma-*.whl"):
        (packed,) = (ROOT / "dist").glob(pattern)
        shutil.copy(packed, folder)
    venv.create(folder / "venv", with_pip=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DIDYMA_", "APE_", "PYTHON"))}
    path = [str(folder / "venv/bin"), *_without_checkouts(kept["PATH"])]
    more = {
        "PATH": os.pathsep.join(path),
        "VIRTUAL_ENV": str(folder / "venv"),
        "PIP_CACHE_DIR": str(folder / "pip"),
        "npm_config_cache": str(folder / "npm"),
        "APE_DATA_FOLDER": str(folder / "data"),
        "FOUNDRY_SOLC": str(COMPILER),
        "SOLCX_BINARY_PATH": str(COMPILER.parent),
        "TMPDIR": str(folder),
    }
    return Newcomer(folder, kept | more)


def _without_checkouts(path: str) -> Iterator[str]:
    for each in path.split(os.pathsep):
        if not any(name in Path(each).parts for name in (".venv", "node_modules")) and Path(each) != ROOT / "tools/bin":
            yield each


def steps_of(readme: Path) -> list[str]:
    """The commands of a project's README, in order."""
    (block,) = re.findall(r"^```\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    return [line.partition("  #")[0].strip() for line in block.splitlines()]


def by_command(newcomer: Newcomer, kind: str) -> Iterator[Timed]:
    """`didyma new`, and what the README of the project says."""
    if kind == "ape":
        newcomer = newcomer.having(*FOUNDRY)
    yield newcomer.type(f"didyma new my-{kind} --kind {kind}", newcomer.folder)
    project = newcomer.folder / f"my-{kind}"
    steps = [step.replace("PATH/", "../") for step in steps_of(project / "README.md")]
    for step in steps:
        done = newcomer.type(step, project)
        yield done
    if ANSWERED[kind] not in done.said:
        raise AssertionError(f"{done.command}\n{done.said}\nno answer came")


def by_hand(newcomer: Newcomer, kind: str) -> Iterator[Timed]:
    """What docs/by-hand.md says."""
    newcomer = newcomer.having(*FOUNDRY)
    (project := newcomer.folder / f"by-hand-{kind}").mkdir()
    said = ""
    for command in written(kind.capitalize(), project):
        typed = re.sub(r"didyma-([\d.]+)-….whl", r"../didyma-\1-*.whl", command)
        typed = re.sub(r"(npm install) (didyma-\S+\.tgz)", r"\1 ../\2", typed)
        done = newcomer.type(typed, project)
        said += done.said
        yield Timed(command, done.seconds, done.cpu_seconds, done.said)
    if missing := [words for words in SAYS[kind.capitalize()] if words not in said]:
        raise AssertionError(f"{said}\nnothing says {missing}")


def made(folder: Path, kinds: Sequence[str] = KINDS) -> Iterator[tuple[str, Timed]]:
    """Each command of each project, as it is done; before all of them the environment is installed."""
    newcomer = arrived(folder)
    yield "pip", newcomer.type("pip install didyma-*.whl", folder)
    for kind in kinds:
        ready = newcomer.having("node") if kind == "hardhat" else newcomer
        for done in by_command(ready, kind):
            yield f"didyma new, {kind}", done
        for done in by_hand(ready, kind):
            yield f"by hand, {kind}", done


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="didyma newcomer ") as folder:
        for what, done in made(Path(folder), sys.argv[1:] or KINDS):
            print(f"{what:<20} {done.seconds:6.1f} s ({done.cpu_seconds:6.1f})  {done.command}", flush=True)


if __name__ == "__main__":
    main()
