"""The code blocks of the pages, for the tests that run them: all of Solidity and Python, by page and line."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("tests/**/*.md"), *ROOT.glob("docs/**/*.md")])
BY_APE = "project."
"""What a Python block says that is for Ape's console and tests."""


@dataclass(frozen=True)
class Sample:
    """One block. line: of the page, where the block's first line stands."""

    page: Path
    line: int
    language: str
    code: str

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Sample]:
    """All blocks of a page; those without a language are commands, output or formulas."""
    found: list[Sample] = []
    opened: tuple[int, str] | None = None
    lines = page.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if (fence := re.fullmatch(r"```(\w*)", line)) is None:
            continue
        if opened is None:
            opened = (number + 1, fence[1])
        else:
            start, language = opened
            found.append(Sample(page, start, language, "\n".join(lines[start - 1 : number - 1]) + "\n"))
            opened = None
    if opened is not None:
        raise ValueError(f"{page}: a block that begins in line {opened[0]} has no end")
    return found


def samples(language: str) -> list[Sample]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]


def compiled(found: list[Sample]) -> dict[str, dict[str, Any]]:
    """ABI and bytecode of the contracts in these Solidity blocks, compiled as in a dapp's own project.

    Raises ValueError with what the compiler says, be it only a warning.
    """
    sources = {f"src/{number}.sol": {"content": sample.code} for number, sample in enumerate(found)}
    wanted = {source: {"*": ["abi", "evm.bytecode.object"]} for source in sources}
    settings = {"remappings": ["didyma/="], "optimizer": {"enabled": True}, "outputSelection": wanted}
    question = json.dumps({"language": "Solidity", "sources": sources, "settings": settings})
    command = [ROOT / "tools/solc/solc-v0.8.37"]
    done = subprocess.run(command, cwd=ROOT, input=question, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    if answer.get("errors"):
        raise ValueError("\n".join(error["formattedMessage"] for error in answer["errors"]))
    return {name: made for source in sources for name, made in answer["contracts"][source].items()}
