"""The pages name what exists: settings, commands, error classes, metrics, figures, links."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from rig.samples import PAGES, ROOT

from oracle import errors
from oracle.cli import app
from oracle.engines.exact.architecture import FAMILIES
from oracle.engines.exact.quants import MATRIX_TYPES
from oracle.node.settings import Settings


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


OPERATORS = (ROOT / "docs" / "operators.md").read_text()
BENCHMARKS = (ROOT / "docs" / "benchmarks.md").read_text()


def first_column(section: str) -> set[str]:
    """Names in the first column of the tables of a section."""
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def test_operators__settings__are_all_there_and_no_others():
    assert first_column(OPERATORS.split("## Settings")[1].split("##")[0]) == set(Settings.model_fields)


def test_operators__error_messages__are_classes():
    named = first_column(OPERATORS.split("## When something is wrong")[1])
    assert len(named) >= 6
    assert all(issubclass(getattr(errors, name), errors.OracleError) for name in named)


def test_operators__log_lines_and_messages_it_quotes__are_in_the_code():
    code = "".join(path.read_text() for path in (ROOT / "oracle").rglob("*.py"))
    lines = {line for line in re.findall(r"`([a-z]+(?: [a-z]+)+)`", OPERATORS) if not line.startswith("didyma ")}
    messages = set(re.findall(r'^\| "([^"]+)"', OPERATORS, re.MULTILINE))
    assert len(lines) >= 2
    assert len(messages) >= 3
    assert [line for line in lines if f'"{line}"' not in code] == []
    assert [message for message in messages if message not in code] == []


LOOPS = ["loop_100b", "loop_1kb", "loop_100b_first_refund", "finalize_batch50_each"]
VERDICTS = ["verdict_loop_100b", "council_3", "council_5"]
TEE = [f"tee_{name}" for name in ("loop_100b", "loop_100b_stored", "register", "admit", "tcb_info", "qe_identity")]


@pytest.mark.parametrize("key", [*LOOPS, *VERDICTS, *TEE])
def test_benchmarks__gas__is_the_measured(key):
    gas = json.loads((ROOT / "gas.json").read_text())[key]
    assert f"| {gas / 1000:.1f} k |" in BENCHMARKS


ROWS = {
    "request / answer / finalize alone (100 bytes)": ("request_100b", "answer_256b", "finalize"),
    "a whole dispute before a panel of three": ("dispute_panel_of_3",),
    "deadline passed after 30 missed turns: refund": ("refund_30_turns_missed",),
    "all of them": ("dispute_8b_total",),
    "the largest: proving one number of the down projection, 14,336 columns": ("dispute_8b_largest",),
    "challenge / a pick": ("dispute_8b_challenge", "dispute_8b_pick"),
    "opening steps / operators / 128 nodes / values": tuple(
        f"dispute_8b_open_{what}" for what in ("steps", "operators", "128_nodes", "values")
    ),
    "reading an answer of 15,000 tokens: the tree's upper part / 256 tokens": tuple(
        f"dispute_open_{what}" for what in ("tokens", "256_tokens")
    ),
    "refuting an answer whose tokens are not those asked for / posting the hash before": ("refute", "refute_post"),
}


@pytest.mark.parametrize("row", ROWS)
def test_benchmarks__row_of_gas__is_the_measured(row):
    gas = json.loads((ROOT / "gas.json").read_text())
    (cell,) = re.findall(rf"^\| {re.escape(row)} \| ([^|]+) \|", BENCHMARKS, re.MULTILINE)
    told = [each.removesuffix(" k") for each in cell.split(" / ")]
    digits = [len(each.partition(".")[2]) for each in told]
    assert told == [f"{gas[key] / 1000:,.{some}f}" for key, some in zip(ROWS[row], digits, strict=True)]


def test_readme__gas__is_the_measured():
    gas = json.loads((ROOT / "gas.json").read_text())
    told = re.sub(r"\s+", " ", (ROOT / "README.md").read_text().split("## What it costs")[1])
    loops = [f"{gas[key] / 1000:.0f} k" for key in ("loop_100b", "loop_1kb", "tee_loop_100b_stored")]
    assert re.findall(r"(\d+ k)\b", told) == loops
    assert f"{gas['dispute_8b_transactions']} transactions, {gas['dispute_8b_total'] / 1e6:.1f} M gas" in told


def test_readme__families_and_tensor_types__are_those_of_the_exact_engine():
    table = (ROOT / "README.md").read_text()
    (families,) = re.findall(r"^\| model families \| exact engine \(game, TEE\): ([\w, ]+)\.", table, re.MULTILINE)
    (types,) = re.findall(r"^\| tensor types \(GGUF\) \| matrices in ([\w, ]+);", table, re.MULTILINE)
    assert tuple(families.lower().split(", ")) == FAMILIES
    assert sorted(types.split(", ")) == sorted(MATRIX_TYPES.values())


def commands(command: Any, path: str = "didyma") -> Iterator[tuple[str, set[str] | None]]:
    """Every command by its words, with its options; a group has none."""
    members = getattr(command, "commands", None)
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    yield path, None if members else options | {"--help"}
    for name, member in (members or {}).items():
        yield from commands(member, f"{path} {name}")


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=page_name)
def test_page__commands_and_options_it_names__exist(page):
    text = page.read_text().replace("\\\n", "")
    for line in re.findall(r"(?:^|`)(didyma [a-z][^`\n#]*)", text, re.MULTILINE):
        words = line.split()
        name = f"didyma {words[1]}"
        if name in COMMANDS and COMMANDS[name] is None and len(words) > 2:
            name += f" {words[2]}"
        assert name in COMMANDS, line
        assert set(re.findall(r"--[a-z][a-z-]*", line)) <= (COMMANDS[name] or set()), line


PATHS = r"`((?:contracts|oracle|docs|tests|scripts|models|bench|tools|requirements|\.github)/[\w./-]+)`"


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "by-hand.md"], ids=page_name)
def test_page__files_it_names__exist(page):
    """Those of by-hand.md are in projects that a test makes."""
    for name in re.findall(PATHS, page.read_text()):
        assert (ROOT / name).exists(), name


def anchors(page: Path) -> set[str]:
    """What a link into the page may name after `#`, as GitHub makes it of headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.*)$", text, re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(slug if slug not in found else f"{slug}-1")
    return found


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_page__links__lead_to_files_and_headings_that_exist(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_anchors__of_headings__are_those_that_github_makes(tmp_path):
    (tmp_path / "x.md").write_text("# A node's `clock`, in seconds\n## Why?\n## Why?\n```\n# no heading\n```\n")
    assert anchors(tmp_path / "x.md") == {"a-nodes-clock-in-seconds", "why", "why-1"}


def test_pages__other_pages_in_backquotes__exist():
    """Within docs/ a page may be named by its file alone."""
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"`((?:decisions/)?[\w-]+\.md)`", page.read_text()):
            assert (page.parent / name).exists() or (ROOT / "docs" / name).exists() or (ROOT / name).exists(), (
                page,
                name,
            )


@pytest.mark.parametrize("source", sorted((ROOT / "docs/diagrams").glob("*.d2")), ids=lambda path: path.stem)
def test_diagram__committed_picture__is_what_its_source_draws(source, tmp_path):
    subprocess.run(["d2", source, tmp_path / "drawn.svg"], check=True, capture_output=True)
    drawn = (tmp_path / "drawn.svg").read_text()
    assert "prefers-color-scheme:dark" in drawn
    assert source.with_suffix(".svg").read_text() == drawn, "run `make diagrams`"


def test_index__every_page__is_in_it():
    index = (ROOT / "docs/README.md").read_text()
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert {name for name in re.findall(r"\]\(([\w/.-]+\.md)\)", index) if not name.startswith("..")} == pages


def words(file: str) -> set[str]:
    """Of a file's name, in the singular: `RequestLib.sol` and `requests.py` share one."""
    return {word.lower().removesuffix("s") for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", Path(file).stem)}


def mirrors() -> dict[str, list[list[str]]]:
    """Files that hold one idea, by the idea: of Solidity, Python and C."""
    table = (ROOT / "docs" / "architecture.md").read_text().split("## One idea, several files")[1]
    rows = [line.split("|")[1:5] for line in table.splitlines() if line.startswith("| ")]
    return {idea.strip(): [re.findall(r"`([\w/.]+)`", cell) for cell in cells] for idea, *cells in rows[1:]}


MIRRORS = mirrors()
OTHER_NAMES = {"tokens at fault", "text prompts and their tokens"}
"""Ideas whose Python has no file of the Solidity's name."""


@pytest.mark.parametrize("idea", [idea for idea in MIRRORS if idea not in OTHER_NAMES])
def test_mirrors__of_one_idea__have_one_name(idea):
    solidity, python, _ = MIRRORS[idea]
    assert any(words(other) <= words(file) for file in solidity for other in python), (solidity, python)


def test_mirrors__in_c__have_the_name_of_the_python_file():
    found = {c[0]: python for _, python, c in MIRRORS.values() if c and "keccak" not in c[0]}
    assert len(found) >= 5
    assert [c for c, python in found.items() if words(c) not in map(words, python)] == []


def test_words__of_pairs_that_were_here__are_not_the_same():
    assert words("oracle/chain/requests.py") <= words("contracts/libraries/RequestLib.sol")
    assert not words("oracle/attestation/eip712.py") <= words("contracts/attestation/AttestedAnswers.sol")
    assert not words("oracle/ids.py") <= words("contracts/interfaces/Types.sol")
