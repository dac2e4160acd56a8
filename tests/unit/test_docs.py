"""The pages name what exists: settings, error classes, metrics, figures, links."""

import json
import re
from pathlib import Path

import pytest

from oracle import errors
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page__files_it_names__exist(page):
    text = page.read_text()
    named = re.findall(r"`((?:contracts|oracle|docs|tests|scripts|models|bench)/[\w./-]+)`", text)
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    for name in named:
        assert (ROOT / name).exists(), name
    for link in linked:
        assert (page.parent / link).exists(), link
