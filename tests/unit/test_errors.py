"""One tree of errors in one file, and no error of a worker that its parent does not know."""

import ast
from pathlib import Path

from oracle import errors
from oracle.engines.worker import REFUSALS

PACKAGE = Path(errors.__file__).parent
TREE = {name for name, value in vars(errors).items() if isinstance(value, type) and value.__module__ == errors.__name__}
PARENT = ("worker.py", "worker_process.py", "worker_pool.py", "judging.py", "choice.py", "servers.py", "devices.py")
"""Files of `engines` that run in the daemon alone."""


def test_errors__of_the_package__stand_in_one_file():
    elsewhere = [
        (path.name, node.name)
        for path in PACKAGE.rglob("*.py")
        if path != Path(errors.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and TREE & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
    ]
    assert elsewhere == []


def test_errors__each__is_raised_or_has_children():
    text = "".join(path.read_text() for path in PACKAGE.rglob("*.py") if path != Path(errors.__file__))
    unused = [
        name
        for name in TREE
        if name not in text and not getattr(errors, name).__subclasses__() and name != "OracleError"
    ]
    assert unused == []


def test_worker__refusals_that_its_code_raises__are_the_listed():
    files = [path for path in (PACKAGE / "engines").rglob("*.py") if path.name not in PARENT]
    files += [PACKAGE / "models" / name for name in ("gguf.py", "manifest.py")]
    raised = set()
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                raised.add(ast.unparse(node.func).rpartition(".")[2])
    assert raised & TREE == set(REFUSALS)
    assert all(issubclass(cls, (errors.Refused, errors.Transient)) for cls in REFUSALS.values())
