"""The way in for contributors: `make check`, the hooks, the workflows, the version."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOW = ROOT / ".github/workflows/ci.yml"
CHECK = [line.strip() for line in re.search(r"^check:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE).group(1).splitlines()]


def run(command: str | list[str], folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    words = command.split() if isinstance(command, str) else command
    return subprocess.run(words, cwd=folder, check=False, capture_output=True, text=True)


def test_hooks__their_commands__are_those_of_make_check():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == CHECK
    assert len({hook["id"] for hook in hooks}) == len(hooks)
    assert all(hook["language"] == "system" and hook["pass_filenames"] is False for hook in hooks)


def test_workflow__what_it_makes__is_check_test_and_demo_on_every_supported_python():
    (job,) = yaml.safe_load(WORKFLOW.read_text())["jobs"].values()
    assert job["steps"][-1]["run"] == 'make "$GOAL"'
    runs = {(each["goal"], each["python"]) for each in job["strategy"]["matrix"]["include"]}
    assert runs == {("check", "3.12"), ("test", "3.11"), ("test", "3.12"), ("demo", "3.13")}
    assert "make check test" in (ROOT / ".ci/run").read_text()


def test_make_check__files_of_the_forge__are_all_looked_at():
    """What no command names would be checked by nobody."""
    named = {ROOT / word for command in CHECK for word in command.split() if word.startswith(".github/")}
    assert named == {path for path in (ROOT / ".github").rglob("*.yml")}


def test_tests__tool_is_missing__their_skips_say_which(tmp_path):
    file = "tests/unit/test_operations.py"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:ape_test",
        "-p",
        "no:cacheprovider",
        file,
        "-k",
        "promtool or hardened",
    ]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stdout
    for reason in ("promtool is not installed (Debian: prometheus)", "systemd-analyze is not installed"):
        assert reason in done.stdout


def test_make_test__every_file_of_tests__is_run_by_one_part():
    lines = run("make --no-print-directory -n test").stdout.splitlines()
    words = [word for line in lines if "pytest" in line or "ape test" in line for word in line.split()]
    named = [ROOT / word for word in words if word.startswith("tests/")]
    ran = [file for path in named for file in (path.rglob("test_*.py") if path.is_dir() else [path])]
    assert sorted(ran) == sorted((ROOT / "tests").rglob("test_*.py"))
    assert "forge test" in lines


@pytest.mark.parametrize(
    ("tool", "good", "bad"),
    [
        ("vendor.github-workflows", "runs-on:", "run-on:"),
        ("vendor.github-workflows", "timeout-minutes: 180", "timeout-minutes: [180]"),
        ("zizmor", "persist-credentials: false", "fetch-depth: 1"),
        ("zizmor", "de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2", "v6"),
        ("zizmor", 'make "$GOAL"', "make ${{ github.head_ref }}"),
    ],
)
def test_make_check__workflow_with_a_fault__is_refused(tmp_path, tool, good, bad):
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    (command,) = [each for each in CHECK if tool in each]
    assert run(command, tmp_path).returncode == 0
    copy = tmp_path / ".github/workflows/ci.yml"
    assert good in copy.read_text()
    copy.write_text(copy.read_text().replace(good, bad))
    assert run(command, tmp_path).returncode != 0


def test_make_check__misspelled_word__is_refused(tmp_path):
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "page.md").write_text("The receipt.\n")
    assert run("codespell", tmp_path).returncode == 0
    (tmp_path / "page.md").write_text("The " + "recie" + "pt.\n")
    assert run("codespell", tmp_path).returncode != 0


def test_env__in_a_shell__is_the_environment_of_make(tmp_path):
    (tmp_path / "tools").symlink_to(ROOT / "tools")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    (tmp_path / "Makefile").write_text(MAKEFILE + "\nshow:\n\t@env\n")
    names = ("SOLCX_BINARY_PATH", "APE_DATA_FOLDER")
    shell = run(["sh", "-c", ". tools/env && env"], tmp_path).stdout.splitlines()
    make = run("make --no-print-directory show", tmp_path).stdout.splitlines()
    for name in names:
        assert (
            [line for line in shell if line.startswith(name)] == [line for line in make if line.startswith(name)] != []
        )
    (path,) = [line for line in shell if line.startswith("PATH=")]
    assert path.startswith(f"PATH={tmp_path}/tools/bin:{tmp_path}/node_modules/.bin:{ROOT}/.venv/bin:")


def test_version__in_every_place__is_the_same():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    locked = json.loads((ROOT / "package-lock.json").read_text())
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE).group(1)
    package = json.loads((ROOT / "package.json").read_text())["version"]
    assert {newest, package, locked["version"], locked["packages"][""]["version"]} == {project}


def test_changelog__releases__are_each_dated_and_newest_first():
    releases = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+, \d{4}-\d\d-\d\d", release) for release in releases)
    assert releases == sorted(releases, reverse=True)
    assert len(releases) >= 2


PACKAGES = (*ROOT.glob("js/*.md"), *ROOT.glob("js/src/*.ts"), *ROOT.glob("oracle/cli/templates/*/*"))
"""What dapp developers read of ours that is no page."""


def test_packages__wherever_an_installation_is_told__are_files_of_this_version_and_no_registry_s():
    """Nobody of ours holds the name in a registry: whoever takes it there would be installed."""
    pages = (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *PACKAGES)
    texts = {path: path.read_text() for path in pages if path.is_file() and path.name != "CHANGELOG.md"}
    named = [name for text in texts.values() for name in re.findall(r"didyma-(\{version\}|\d[\d.]*\d)", text)]
    assert set(named) == {"{version}", tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]}
    bare = r"(?:pip|npm) install [^`\n#]*?(?<![\w/@-])didyma(?![\w-])|^didyma[=<>~@]"
    assert [(path, found) for path, text in texts.items() for found in re.findall(bare, text, re.MULTILINE)] == []
