"""docs/by-hand.md as a reader types it: the files of each of its projects, and the commands in order."""

import re
from pathlib import Path

from rig.samples import ROOT, blocks, samples

PAGE = ROOT / "docs/by-hand.md"
KINDS = ("Foundry", "Hardhat", "Ape")
FILE = re.compile(r"`([\w./-]+\.(?:toml|sol|sh|json|ts|yaml|py))`[^`]*:$")
SAYS = {
    "Foundry": ("2 passed", "choice 1 of positive, negative"),
    "Hardhat": ("2 passing", "choice 1 of positive, negative"),
    "Ape": ("2 passed", "choice 1 of positive, negative"),
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
