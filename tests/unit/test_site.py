"""The site: every link of the pages is one there, it asks nobody for anything, and machines find an index."""

import functools
import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from rig.pictures import HEIGHT, MOST_BYTES, PICTURES, WIDTH, size_of

from tools import site

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")


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


@pytest.fixture
def served(built) -> Iterator[str]:
    """The site's address: its search works over HTTP alone."""
    handler = functools.partial(Quiet, directory=str(built))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_site__in_a_browser__shows_its_pictures_fits_a_phone_and_asks_nobody_else(served):
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's package chromium to look at the site")
    said, asked = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        for name in ("start", "operators", "dapps"):
            page.goto(f"{served}/{name}.html", wait_until="networkidle")
            assert page.locator("h1").first.is_visible()
            broken = "[...document.images].filter((i) => !(i.complete && i.naturalWidth)).map((i) => i.src)"
            assert page.evaluate(broken) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), name
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.get_by_role("textbox", name="Search").press_sequentially("BadArgument")  # the page listens to keys
        page.locator(".md-search-result__item a").first.wait_for()
        browser.close()
    assert said == []
    assert {url for url in asked if not url.startswith(served)} == set()


def test_pictures__that_pages_show__are_small_and_those_that_make_pictures_takes():
    kept = {path.name: path.read_bytes() for path in (ROOT / "docs/pictures").iterdir()}
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    assert set(re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", pages)) == set(kept) == set(PICTURES)
    assert {size_of(picture) for picture in kept.values()} == {(WIDTH, HEIGHT)}
    assert max(map(len, kept.values())) < MOST_BYTES
    assert "test_picture__" in (ROOT / "Makefile").read_text().split("\npictures:")[1].split("\n\n")[0]
