"""Every custom error of the contracts, and what to do: `python tools/errors_page.py` writes docs/errors.md.

From the comments beside the errors: `@notice` says when it is thrown, `@dev` what to do.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from eth_hash.auto import keccak

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs" / "errors.md"
ERROR = re.compile(r"((?:^ *///.*\n)*)^ *error (\w+)\(([^)]*)\);", re.MULTILINE)
TAG = re.compile(r"@(\w+) (.*?)(?= @|$)", re.DOTALL)
HEAD = """# Errors

Contracts revert with an error that has a name and arguments. Clients raise it under the same name, with its arguments.
A selector that a tool shows without a name can be looked up here. `make errors` writes this page from the contracts.
"""


@dataclass(frozen=True)
class Error:
    """One error, as a contract's source declares it."""

    name: str
    arguments: str
    """As in the source: types and names."""
    when: str
    """Empty if the source does not say."""
    cure: str


def errors_in(source: str) -> Iterator[Error]:
    """The errors that a file declares, with their comments."""
    for comment, name, arguments in ERROR.findall(source):
        text = " ".join(line.strip().removeprefix("///").strip() for line in comment.splitlines())
        tags = dict(TAG.findall(text))
        yield Error(name, " ".join(arguments.split()), tags.get("notice", "").strip(), tags.get("dev", "").strip())


def declared() -> dict[str, list[Error]]:
    """By the file's name without its ending; what only tests use is left out."""
    files = sorted((ROOT / "contracts").rglob("*.sol"), key=lambda path: path.stem)
    found = {path.stem: list(errors_in(path.read_text())) for path in files if path.parent.name != "mocks"}
    return {name: errors for name, errors in found.items() if errors}


def selectors() -> dict[tuple[str, int], str]:
    """By name and number of arguments: the first four bytes of what a revert returns, where a deployed contract throws
    it."""
    found = {}
    for path in sorted((ROOT / "oracle" / "abi").glob("*.json")):
        for entry in json.loads(path.read_text())["abi"]:
            if entry["type"] == "error":
                types = ",".join(each["type"] for each in entry["inputs"])
                found[entry["name"], len(entry["inputs"])] = (
                    "0x" + keccak(f"{entry['name']}({types})".encode())[:4].hex()
                )
    return found


def text() -> str:
    """The page's."""
    known, parts = selectors(), [HEAD]
    for file, errors in declared().items():
        rows = ["| error | selector | thrown | what to do |", "|---|---|---|---|"]
        for error in errors:
            count = len(error.arguments.split(",")) if error.arguments else 0
            selector = known.get((error.name, count))
            when = re.sub(r"^Thrown ", "", error.when)
            shown = f"`{selector}`" if selector else ""
            rows.append(f"| `{error.name}({error.arguments})` | {shown} | {when} | {error.cure} |")
        parts.append(f"\n## {file}\n\n" + "\n".join(rows) + "\n")
    return "".join(parts)


if __name__ == "__main__":
    FILE.write_text(text())
