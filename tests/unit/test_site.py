"""The site: every link of the pages is one there, it asks nobody for anything, and machines find an index."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rig.pictures import HEIGHT, MOST_BYTES, PICTURES, WIDTH, size_of

from tools import site

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize(
    ("source", "link", "expected"),
    [
        ("docs/operators.md", "protocol.md#seats", "protocol.md#seats"),
        ("docs/operators.md", "../CONTRIBUTING.md", "contributing.md"),
        ("docs/operators.md", "../operations/alerts.yml", "files/operations/alerts.yml"),
        ("docs/decisions/0018-text-prompts.md", "../text.md", "../text.md"),
        ("docs/decisions/0018-text-prompts.md", "../../README.md", "../start.md"),
        ("README.md", "docs/demo.svg", "demo.svg"),
        ("tests/README.md", "../docs/proofs.md", "proofs.md"),
    ],
)
def test_link__from_page_to_page__is_where_it_stands_on_the_site(source, link, expected):
    assert site.rewritten(f"[words]({link})", source) == f"[words]({expected})"


def test_link__within_code__stays():
    code = "```\n[a](../b)\n```"
    assert site.rewritten(code, "docs/text.md") == code


def test_links__each__has_a_page_or_file_on_the_site(built):
    for page in built.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"]+)"', page.read_text()):
            if not re.match(r"https?:|#|data:|mailto:|/", link):
                assert (page.parent / link.partition("#")[0].partition("?")[0]).exists(), (page, link)


def test_site__what_pages_load__is_its_own(built):
    for page in built.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:href|src)="(https?:[^"]+)"', page.read_text())
        assert not loaded, page


def test_llms_txt__every_page__has_a_line_that_says_what_it_is_about(built):
    lines = (built / "llms.txt").read_text().splitlines()[4:]
    entries = [re.fullmatch(r"- \[(.+)\]\((\S+)\): (.{20,}\.)", line) for line in lines]
    assert all(entries), lines
    assert all((built / entry[2]).is_file() for entry in entries)
    assert {"start.html", "dapps.html", "operators.html"} <= {entry[2] for entry in entries}
    assert (built / "llms-full.txt").read_text().count("\n# ") > 15


def test_pictures__that_pages_show__are_small_and_those_that_make_pictures_takes():
    kept = {path.name: path.read_bytes() for path in (ROOT / "docs/pictures").iterdir()}
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", pages)) == set(kept) == set(PICTURES)
    assert {size_of(picture) for picture in kept.values()} == {(WIDTH, HEIGHT)}
    assert max(map(len, kept.values())) < MOST_BYTES
    assert "test_picture__" in (ROOT / "Makefile").read_text().split("\npictures:")[1].split("\n\n")[0]
