"""Packages point one way: each imports what stands before it in a list, and no files import each other in circles."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    "errors",
    "ids",
    "journal",
    "merkle",
    "models",
    "engines",
    "fleet",
    "chain",
    "disputes",
    "attestation",
    "client",
    "node",
    "api",
    "demo",
    "cli",
)
"""Every package of `oracle`, the lowest first. `oracle` itself is below them all."""


def modules(root: Path) -> dict[str, Path]:
    """Every module below `root`/oracle by its dotted name."""
    found = {}
    for path in sorted((root / "oracle").rglob("*.py")):
        if "templates" in path.parts:  # projects of others
            continue
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """The modules of `known` that a file names in imports, wherever they stand in it, with their lines."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            found = name if name in known else name.rpartition(".")[0]
            if found in known and found != module:
                yield found, node.lineno


def graph(root: Path) -> dict[str, dict[str, int]]:
    """What each module imports, and in which line."""
    known = modules(root)
    return {name: dict(imported(name, path, known)) for name, path in known.items()}


def room(module: str) -> str:
    """The package, or the single file, of `oracle` that a module belongs to; empty for `oracle` itself."""
    return module.split(".")[1] if "." in module else ""


def backwards(imports: dict[str, dict[str, int]]) -> list[str]:
    """Imports of what stands later in ORDER."""
    rank = {"": -1, **{name: number for number, name in enumerate(ORDER)}}
    return [
        f"{importer}, line {line}, imports {other}"
        for importer, others in imports.items()
        for other, line in others.items()
        if rank[room(other)] > rank[room(importer)]
    ]


def circle(imports: dict[str, dict[str, int]]) -> list[str]:
    """Modules that import each other in a circle, the first found; empty if there is none."""
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        path.append(module)
        for other in imports[module]:
            if found := visit(other):
                return found
        path.pop()
        done.add(module)
        return []

    return next((found for module in imports if (found := visit(module))), [])


def test_packages__all__stand_in_the_order():
    assert {room(module) for module in modules(ROOT)} - {""} == set(ORDER)


def test_packages__imports__point_one_way():
    assert backwards(graph(ROOT)) == []


def test_modules__imports__make_no_circle():
    assert circle(graph(ROOT)) == []


@pytest.fixture
def tree(tmp_path):
    """A small tree whose imports are in order."""
    files = {
        "oracle/__init__.py": "",
        "oracle/errors.py": "",
        "oracle/chain/__init__.py": "",
        "oracle/chain/rpc.py": "from oracle.errors import Fatal\nfrom oracle.chain import types\n",
        "oracle/chain/types.py": "",
        "oracle/node/__init__.py": "",
        "oracle/node/daemon.py": "import oracle.chain.rpc\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_graph__small_tree__every_form_of_import_is_read(tree):
    (tree / "oracle/chain/keys.py").write_text(
        "from . import types\nfrom .rpc import Rpc\nfrom ..errors import Fatal\n"
    )
    found = graph(tree)
    assert found["oracle.chain.rpc"] == {"oracle.errors": 1, "oracle.chain.types": 2}
    assert found["oracle.chain.keys"] == {"oracle.chain.types": 1, "oracle.chain.rpc": 2, "oracle.errors": 3}
    assert found["oracle.node.daemon"] == {"oracle.chain.rpc": 1}
    assert backwards(found) == []
    assert circle(found) == []


@pytest.mark.parametrize(
    "line",
    [
        "from oracle.node.daemon import Node",
        "from oracle.node import daemon",
        "import oracle.node.daemon",
        "from ..node import daemon",
        "def late():\n    from oracle.node.daemon import Node",
    ],
)
def test_backwards__chain_imports_node__found(tree, line):
    (tree / "oracle/chain/types.py").write_text(line + "\n")
    number = line.count("\n") + 1
    assert backwards(graph(tree)) == [f"oracle.chain.types, line {number}, imports oracle.node.daemon"]


def test_circle__two_files_of_one_package__found(tree):
    (tree / "oracle/chain/types.py").write_text("from oracle.chain.rpc import Rpc\n")
    assert circle(graph(tree)) == ["oracle.chain.rpc", "oracle.chain.types", "oracle.chain.rpc"]


def packages(imports: dict[str, dict[str, int]]) -> dict[str, set[str]]:
    """What each package imports, without what follows from its other imports."""
    found: dict[str, set[str]] = {name: set() for name in ORDER}
    for module, others in imports.items():
        if module != "oracle":
            found[room(module)] |= {room(other) for other in others} - {room(module), ""}

    def below(name: str) -> set[str]:
        return found[name].union(*(below(other) for other in found[name]))

    return {
        name: {each for each in own if not any(each in below(other) for other in own)} for name, own in found.items()
    }


def test_diagram__of_packages__has_their_imports():
    source = (ROOT / "docs/diagrams/packages.d2").read_text()
    drawn = {(arrow[1], arrow[2]) for arrow in re.finditer(r"^(\w+) -> (\w+)$", source, re.MULTILINE)}
    assert drawn == {(name, other) for name, others in packages(graph(ROOT)).items() for other in others}
    assert set(re.findall(r'^(\w+): "\1: ', source, re.MULTILINE)) == set(ORDER)


def test_packages__small_tree__leaves_out_what_follows_from_other_imports(tree):
    (tree / "oracle/node/daemon.py").write_text("import oracle.chain.rpc\nimport oracle.errors\n")
    assert {name: others for name, others in packages(graph(tree)).items() if others} == {
        "chain": {"errors"},
        "node": {"chain"},
    }


def test_tests__names_of_files__are_not_taken_twice_in_one_run():
    """pytest imports test files by their names alone; those for Ape run by themselves."""
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if path.parent.name != "contracts"]
    assert len({path.name for path in files}) == len(files) > 50
