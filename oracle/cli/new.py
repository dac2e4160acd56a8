"""`didyma new`: a project that asks the oracle, with tests and a script, for Foundry, Hardhat or Ape."""

import re
import shlex
from enum import Enum
from importlib import resources
from importlib.metadata import version as version_of
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from oracle.chain import sources
from oracle.cli.report import reported
from oracle.errors import Refused

console = Console(highlight=False, soft_wrap=True)
NAME = re.compile(r"[a-z][a-z0-9-]{0,63}")


class Kind(Enum):
    """What a project is built and tested with."""

    FOUNDRY = "foundry"
    HARDHAT = "hardhat"
    APE = "ape"

    @property
    def contracts(self) -> str:
        """The folder of its contracts."""
        return "src" if self is Kind.FOUNDRY else "contracts"

    @property
    def first_steps(self) -> tuple[str, ...]:
        """What to type in its folder."""
        if self is Kind.APE:
            return ("pip install -r requirements.txt", "ape test", "ape test --didyma")
        return (f"npm install PATH/didyma-{version_of('didyma')}.tgz", "npm test", "npm run test:dev")


def new(
    name: Annotated[
        str, typer.Argument(help="Folder to make, and the project's name: small letters, digits, hyphens.")
    ],
    kind: Annotated[Kind, typer.Option(help="What the project is built and tested with.")] = Kind.FOUNDRY,
) -> None:
    """Make a project with a contract that asks the oracle, its tests, and a script that deploys it."""
    with reported():
        folder = Path(name)
        if not NAME.fullmatch(folder.name):
            raise Refused(f"{folder.name!r} is no name for a project: use small letters, digits and hyphens")
        if folder.exists():
            raise Refused(f"{folder} is there already: choose another name")
        write(folder, kind)
        console.print(f"made {folder}: read {folder / 'README.md'}, then", markup=False)
        for step in (f"cd {shlex.quote(str(folder))}", *kind.first_steps):
            console.print(f"  {step}", markup=False)
        if kind is Kind.FOUNDRY:
            console.print("the compiler finds the contracts by: didyma/=node_modules/didyma/", markup=False)


def write(folder: Path, kind: Kind) -> None:
    """Writes a project's files."""
    templates = resources.files("oracle") / "cli/templates"
    words = {"{name}": folder.name, "{version}": version_of("didyma")}
    _copy(templates / kind.value, folder, words)
    _copy(templates / "common", folder / kind.contracts, words)
    if kind is Kind.APE:  # it looks for imports beside its configuration
        for path in sources.shipped():
            target = folder / "didyma/contracts" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((sources.ROOT / path).read_bytes())


def _copy(source: Traversable, target: Path, words: dict[str, str]) -> None:
    """Copies a folder of texts; `gitignore` becomes `.gitignore`."""
    target.mkdir(parents=True, exist_ok=True)
    for each in source.iterdir():
        if each.name == "__pycache__":
            continue
        if each.is_dir():
            _copy(each, target / each.name, words)
            continue
        text = each.read_text(encoding="utf-8")
        for word, value in words.items():
            text = text.replace(word, value)
        (target / ("." * (each.name == "gitignore") + each.name)).write_text(text, encoding="utf-8")
