"""The pages name what exists: settings, commands, error classes, metrics, figures, links."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from oracle import errors
from oracle.cli import app
from oracle.node.metrics import Metrics
from oracle.node.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "tests" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATORS = (ROOT / "docs" / "operators.md").read_text()
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text()


def first_column(section: str) -> set[str]:
    """Names in the first column of the tables of a section."""
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_operators__settings__are_all_there_and_no_others():
    section = OPERATORS.split("## Settings")[1].split("##")[0]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert named == set(Settings.model_fields)


def test_operators__error_messages__are_classes():
    section = OPERATORS.split("## When something is wrong")[1]
    named = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert len(named) >= 6
    assert all(issubclass(getattr(errors, name), errors.OracleError) for name in named)


def test_operators__alerts__are_about_metrics_that_exist():
    known = set(re.findall(r"didyma_\w+", Metrics().text().decode()))
    named = set(re.findall(r"(didyma_\w+)", OPERATORS.split("## Watch it")[1].split("##")[0]))
    assert len(named) >= 6
    assert named <= known


LOOPS = ["loop_100b", "loop_1kb", "loop_100b_first_refund", "finalize_batch50_each"]
TEE = [f"tee_{name}" for name in ("loop_100b", "loop_100b_stored", "register", "admit", "tcb_info", "qe_identity")]


@pytest.mark.parametrize("key", [*LOOPS, *TEE])
def test_benchmarks__gas__is_the_measured(key):
    gas = json.loads((ROOT / "gas.json").read_text())[key]
    assert f"| {gas / 1000:.1f} k |" in BENCHMARKS


def commands(command: Any, path: str = "didyma") -> Iterator[tuple[str, set[str] | None]]:
    """Every command by its words, with its options; a group has none."""
    members = getattr(command, "commands", None)
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    yield path, None if members else options | {"--help"}
    for name, member in (members or {}).items():
        yield from commands(member, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page__commands_and_options_it_names__exist(page):
    text = page.read_text().replace("\\\n", "")
    for line in re.findall(r"(?:^|`)(didyma [a-z][^`\n#]*)", text, re.MULTILINE):
        words = line.split()
        name = f"didyma {words[1]}"
        if name in COMMANDS and COMMANDS[name] is None and len(words) > 2:
            name += f" {words[2]}"
        assert name in COMMANDS, line
        assert set(re.findall(r"--[a-z][a-z-]*", line)) <= (COMMANDS[name] or set()), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page__files_it_names__exist(page):
    text = page.read_text()
    named = re.findall(r"`((?:contracts|oracle|docs|tests|scripts|models|bench)/[\w./-]+)`", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    for name in named:
        assert (ROOT / name).exists(), name
    for link in linked:
        assert (page.parent / link).exists(), link
