"""Which contracts a dapp gets: what it inherits, imports, tests with and copies, and all that these import.

The npm package, the wheel and `didyma new` carry these files under `contracts/`, and nothing else of that folder. None
imports another package, so that a dapp needs no remapping but the one to them.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "contracts"
"""In the package; in a checkout a link to all contracts."""
FOLDERS = ("interfaces", "consumer", "examples")
"""All of these."""
MORE = ("mocks/MockOracle.sol",)
IMPORT = re.compile(r'^import \{[^}]*\} from "([^"]+)";', re.MULTILINE)


def shipped() -> list[Path]:
    """Paths below `contracts/`, sorted. Raises ValueError for one that imports another package."""
    queue = list(map(Path, MORE))
    queue += [path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).glob("*.sol")]
    seen: set[Path] = set()
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        for name in IMPORT.findall((ROOT / path).read_text()):
            if not name.startswith("."):
                raise ValueError(f"{path} imports {name}: a dapp would need another package")
            queue.append(Path(os.path.normpath(path.parent / name)))
    return sorted(seen)
