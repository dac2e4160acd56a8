"""The dashboard's files: all of them travel in the package, and none turns text into markup or asks anybody else."""

import re
import tomllib
from pathlib import Path

import pytest

from oracle.api.files import FILES

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "oracle" / "api" / "dashboard"
SCRIPTS = sorted(FOLDER.glob("*.js"))
MARKUP = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|\beval\b|Function\("
)


def test_files__all_in_the_folder__are_given_out_and_travel_in_the_package():
    names = {"/" if path.name == "index.html" else f"/dashboard/{path.name}" for path in FOLDER.iterdir()}
    assert set(FILES) == names
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["oracle"]
    assert "api/dashboard/*" in data


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts__nothing_turns_text_into_markup(path):
    assert MARKUP.findall(path.read_text()) == []


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_files__nothing_is_fetched_from_elsewhere(path):
    addresses = set(re.findall(r"https?://[^\s\"')]+", path.read_text()))
    assert addresses <= {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts__imports__are_files_that_exist(path):
    imported = re.findall(r"(?:from |import\(|later\()\"\./([a-z]+\.js)\"", path.read_text())
    assert {name for name in imported if not (FOLDER / name).exists()} == set()
    assert path.name in ("dom.js", "words.js") or imported
