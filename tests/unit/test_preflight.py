"""tools/preflight and tools/quietly on machines that lack something: it has a name, and a way to get it."""

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
COREUTILS = ("sh", "sed", "awk", "dirname", "date", "mktemp", "tail", "tr", "cut", "cat", "sleep", "rm")
PYTHON = """case "$*" in
*version_info*) echo {version} ;;
*sysconfig*) echo "{include}" ;;
*ensurepip*) exit {venv} ;;
esac"""
COMPILER = "cat > /dev/null; exit {status}"
GOALS = ("demo", "panel", "test")


class Machine:
    """A PATH with a few tools, and a project folder with nothing but the scripts."""

    def __init__(self, folder: Path) -> None:
        self.project, self.bin = folder / "project", folder / "bin"
        (self.project / "tools").mkdir(parents=True)
        self.bin.mkdir()
        for name in ("preflight", "quietly"):
            shutil.copy(ROOT / "tools" / name, self.project / "tools" / name)
        for name in COREUTILS:
            (self.bin / name).symlink_to(shutil.which(name))
        (folder / "Python.h").touch()
        self.include = folder
        self.has("python3", self.python("3.12"))
        self.has("cc", COMPILER.format(status=0))
        self.has("c++", COMPILER.format(status=0))
        self.has("node", "echo v20.11.1")
        self.has("npm", "echo 10.0.0")
        self.disk(50_000)

    def python(self, version: str, *, include: str | None = None, venv: int = 0) -> str:
        return PYTHON.format(version=version, include=include or self.include, venv=venv)

    def has(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f"#!{shutil.which('sh')}\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def lacks(self, name: str) -> None:
        (self.bin / name).unlink()

    def disk(self, megabytes: int) -> None:
        self.has("df", f'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 1 1 {megabytes * 1024}"')

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [self.project / "tools" / command[0], *command[1:]],
            env={"PATH": str(self.bin), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return done


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def refused(machine: Machine, goal: str) -> str:
    done = machine.run("preflight", goal)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("goal", GOALS)
def test_preflight__everything_there__says_nothing(machine, goal):
    done = machine.run("preflight", goal)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("version", ["2.7", "3.6", "3.10", "3.14"])
def test_preflight__python_of_another_version__is_refused_by_name(machine, goal, version):
    machine.has("python3", machine.python(version))
    said = refused(machine, goal)
    assert f"missing: Python 3.11, 3.12{'' if goal == 'test' else ', 3.13'} (python3 is Python {version})" in said
    assert "pyenv install 3.12" in said


def test_preflight__python_313__runs_the_demo_and_is_refused_for_the_tests_with_the_reason(machine):
    machine.has("python3", machine.python("3.13"))
    assert machine.run("preflight", "demo").returncode == 0
    assert machine.run("preflight", "panel").returncode == 0
    assert "for the tests: Ape needs numpy 1, which has no build for 3.13 (python3 is Python 3.13)" in refused(
        machine, "test"
    )


def test_preflight__no_python_at_all__says_which_ones_would_do(machine):
    machine.lacks("python3")
    assert "missing: Python 3.11, 3.12, 3.13\n" in refused(machine, "demo")


def test_python__the_first_is_too_old__another_on_the_path_is_taken(machine):
    machine.has("python3", machine.python("3.9"))
    machine.has("python3.12", machine.python("3.12"))
    assert machine.run("preflight", "python", "test").stdout.strip() == str(machine.bin / "python3.12")
    assert machine.run("preflight", "test").returncode == 0


def test_python__environment_of_313_is_there__the_tests_take_another(machine):
    made = machine.project / ".venv" / "bin" / "python"
    made.parent.mkdir(parents=True)
    shutil.copy(machine.bin / "npm", made)
    made.write_text(f"#!{shutil.which('sh')}\n{machine.python('3.13')}\n")
    assert machine.run("preflight", "python", "demo").stdout.strip() == str(machine.bin / "python3")  # half made
    (machine.project / ".venv" / "node").touch()
    assert machine.run("preflight", "python", "demo").stdout.strip() == ".venv/bin/python"
    assert machine.run("preflight", "python", "test").stdout.strip() == str(machine.bin / "python3")


def test_python__named_by_the_user__no_other_is_taken(machine):
    machine.has("old", machine.python("3.10"))
    assert machine.run("preflight", "demo", PYTHON="old").returncode == 1


@pytest.mark.parametrize(
    ("name", "script", "goal", "named"),
    [
        ("cc", None, "demo", "missing: a C compiler (cc), for the exact engine's kernels"),
        ("cc", COMPILER.format(status=1), "demo", "missing: a C compiler (cc), for the exact engine's kernels"),
        ("c++", None, "test", "missing: a C++ compiler (c++), for llama.cpp"),
        ("node", None, "demo", "missing: Node 20 or newer\n"),
        ("node", "echo v18.19.0", "demo", "missing: Node 20 or newer (node is version 18)"),
        ("npm", None, "demo", "missing: npm"),
    ],
)
def test_preflight__one_tool_missing__is_named_with_a_way_to_get_it(machine, name, script, goal, named):
    machine.lacks(name)
    if script is not None:
        machine.has(name, script)
    said = refused(machine, goal)
    assert named in said
    assert said.count("missing:") == 1
    assert re.search(r"apt install|nodejs\.org", said)


def test_preflight__cpp_compiler_and_cmake_missing__are_not_asked_for_by_the_demo(machine):
    machine.lacks("c++")
    assert shutil.which("cmake", path=str(machine.bin)) is None
    assert machine.run("preflight", "demo").returncode == 0


def test_preflight__python_without_headers_and_venv__both_are_named(machine, tmp_path):
    machine.has("python3", machine.python("3.12", include=str(tmp_path / "nowhere"), venv=1))
    said = refused(machine, "demo")
    assert "missing: Python's venv module" in said
    assert "missing: Python.h" in said
    assert "python3-dev" in said


@pytest.mark.parametrize("goal", GOALS)
def test_preflight__disk_too_small__says_how_much_is_needed(machine, goal):
    machine.disk(300)
    assert re.search(r"missing: free disk: 300 MB here, \d+ MB needed", refused(machine, goal))


def test_preflight__several_things_missing__names_all_at_once(machine):
    for name in ("cc", "node", "npm"):
        machine.lacks(name)
    assert refused(machine, "demo").count("missing:") == 3


def test_preflight__versions__are_those_of_the_package():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    script = (ROOT / "tools" / "preflight").read_text()
    assert wanted == ">=3.11,<3.14"
    assert 'echo "3.11 3.12 3.13"' in script


def test_quietly__command_succeeds__one_line_with_the_time_and_none_of_its_output(machine):
    done = machine.run("quietly", "Building", "sh", "-c", "echo many lines")
    assert done.returncode == 0
    assert re.fullmatch(r"Building \.\.\.\nBuilding: \d+ s\n", done.stdout)


def test_quietly__command_fails__all_of_its_output_and_its_status(machine):
    done = machine.run("quietly", "Building", "sh", "-c", "echo first; echo second >&2; exit 7")
    assert done.returncode == 7
    assert "first\nsecond\n" in done.stdout
    assert "Building: failed after" in done.stdout


INSTALLING = f"""case "$*" in
*"-m venv"*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
*"-m pip"*) echo "$PYTHONPATH$PIP_TARGET" >> {{pip}}; touch .venv/half; test -e {{mended}} ;;
*kernels*) ;;
*) {PYTHON} ;;
esac"""


@pytest.fixture
def checkout(machine, tmp_path):
    """A machine with our Makefile, where installing fails half-way until `mended` is there."""
    for name in ("make", "touch", "grep", "cp", "mkdir"):
        (machine.bin / name).symlink_to(shutil.which(name))
    for name in ("Makefile", "package-lock.json", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, machine.project / name)
    shutil.copytree(ROOT / "requirements", machine.project / "requirements")
    where = {"pip": tmp_path / "pip", "mended": tmp_path / "mended"}
    machine.has("python3", INSTALLING.format(version="3.12", include=machine.include, venv=0, **where))
    npm = 'test "$1" = --version || { echo "$*" >> %s; mkdir -p node_modules; touch node_modules/half; test -e %s; }'
    machine.has("npm", npm % (tmp_path / "npm", where["mended"]))
    return machine


def made(checkout: Machine, *words: str, **environment: str) -> bool:
    environment = {"PATH": str(checkout.bin), **environment}
    return subprocess.run(["make", *words], cwd=checkout.project, env=environment, check=False).returncode == 0


@pytest.mark.parametrize("goal", ["node", "panel"])
def test_makefile__environment_half_made__is_made_anew(checkout, tmp_path, goal):
    assert not made(checkout, f".venv/{goal}")
    left = checkout.project / ".venv" / "left"
    left.touch()
    (tmp_path / "mended").touch()
    assert made(checkout, f".venv/{goal}")
    assert not left.exists()


def test_makefile__larger_set_breaks_off__the_smaller_is_not_believed_either(checkout, tmp_path):
    (tmp_path / "mended").touch()
    assert made(checkout, ".venv/node")
    (tmp_path / "mended").unlink()
    assert not made(checkout, ".venv/panel")
    assert not (checkout.project / ".venv" / "node").exists()


def test_makefile__node_modules_half_made__are_made_anew(checkout, tmp_path):
    modules = checkout.project / "node_modules"
    (tmp_path / "mended").touch()
    assert made(checkout, ".venv/node")
    (tmp_path / "mended").unlink()
    assert not made(checkout, "node_modules/anvil")
    (modules / "left").touch()
    (tmp_path / "mended").touch()
    assert made(checkout, "node_modules/anvil")
    assert not (modules / "left").exists()
    (modules / "kept").touch()
    assert made(checkout, "--old-file=.venv/dev", "node_modules/all")
    assert (modules / "kept").exists()
    assert (tmp_path / "npm").read_text().splitlines()[-1] == "install --no-save --include=dev"


def test_makefile__install__looks_first_and_then_installs_for_python_and_node(checkout, tmp_path):
    (tmp_path / "mended").touch()
    (checkout.bin / "c++").rename(tmp_path / "c++")
    assert not made(checkout, "install")
    assert not (tmp_path / "pip").exists()
    assert not (tmp_path / "npm").exists()
    (tmp_path / "c++").rename(checkout.bin / "c++")
    assert made(checkout, "install")
    assert (checkout.project / ".venv" / "dev").exists()
    assert (checkout.project / "node_modules" / "all").exists()
    assert len((tmp_path / "npm").read_text().splitlines()) == 2  # Hardhat's compiled part comes with the second


def test_makefile__python_set_up_for_another_project__does_not_reach_pip(checkout, tmp_path):
    (tmp_path / "mended").touch()
    assert made(checkout, ".venv/node", PYTHONPATH="/opt/junk", PIP_TARGET="/opt/junk")
    assert (tmp_path / "pip").read_text().split() == []


def test_makefile__each_environment__looks_before_it_installs():
    makefile = (ROOT / "Makefile").read_text()
    environment = makefile.split("define environment")[1].split("endef")[0]
    assert (
        environment.index("tools/preflight $(1)") < environment.index("-m venv") < environment.index("--require-hashes")
    )
    assert os.access(ROOT / "tools" / "preflight", os.X_OK)
