"""What the site has besides docs/: pages that stand beside the code, the files that pages link to, and llms.txt.

MkDocs calls the functions that begin with `on_` (mkdocs.yml). A link in the repository is a link on the site, or the
build fails.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    "README.md": "start.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "reporting.md",
    "CHANGELOG.md": "changelog.md",
    "tests/README.md": "tests.md",
    "operations/README.md": "operations.md",
}
"""Pages outside docs/, by their path in the repository, and where they stand on the site."""
SOURCES = {site: source for source, site in PAGES.items()}
LINK = re.compile(r"(\]\()([^)\s:#]+)(#[^)\s]*)?\)")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def source_of(uri: str) -> str:
    """A page's path in the repository."""
    return SOURCES.get(uri, f"docs/{uri}")


def place_of(path: str) -> str:
    """Where a file of the repository stands on the site."""
    if path in PAGES:
        return PAGES[path]
    return path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"


def linked(markdown: str, source: str) -> Iterator[str]:
    """Paths in the repository to which a page links."""
    for prose in FENCE.split(markdown)[::2]:
        for link in LINK.finditer(prose):
            yield posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))


def rewritten(markdown: str, source: str) -> str:
    """The page with links as they are on the site."""
    here = posixpath.dirname(place_of(source))

    def there(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), link[2]))
        return f"{link[1]}{posixpath.relpath(place_of(path), here or '.')}{link[3] or ''})"

    blocks = FENCE.split(markdown)
    blocks[::2] = [LINK.sub(there, prose) for prose in blocks[::2]]
    return "".join(blocks)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages beside the code, and what any page links to there."""
    for source, site in PAGES.items():
        files.append(File.generated(config, site, content=(ROOT / source).read_text()))
    wanted = {
        path
        for file in files.documentation_pages()
        for path in linked((ROOT / source_of(file.src_uri)).read_text(), source_of(file.src_uri))
    }
    for path in sorted(wanted):
        if not path.startswith("docs/") and path not in PAGES and (ROOT / path).is_file():
            files.append(File.generated(config, place_of(path), content=(ROOT / path).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Links of the repository become the site's."""
    return rewritten(markdown, source_of(page.file.src_uri))


def first_sentence(markdown: str) -> str:
    """What a page says it is about."""
    for paragraph in FENCE.sub("", markdown).split("\n\n"):
        if re.match(r"[A-Za-z*`]", paragraph):
            words = LINK.sub(")", " ".join(paragraph.split())).replace("**", "").replace("[", "").replace("])", "")
            return words.split(". ")[0].rstrip(".:") + "."
    return ""


def index(nav: Navigation, config: MkDocsConfig) -> str:
    """All pages, a line each, for machines."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}", ""]
    for page in nav.pages:
        text = (ROOT / source_of(page.file.src_uri)).read_text()
        lines.append(f"- [{page.title}]({page.file.url}): {first_sentence(text)}")
    return "\n".join(lines) + "\n"


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Adds llms.txt, an index, and llms-full.txt, all pages' text."""
    whole = "\n\n".join((ROOT / source_of(page.file.src_uri)).read_text() for page in nav.pages)
    files.append(File.generated(config, "llms.txt", content=index(nav, config)))
    files.append(File.generated(config, "llms-full.txt", content=whole))
    return nav
