"""Pages in a real headless Chromium: what a test opens, waits for and reads from them."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from rig.pictures import HEIGHT, WIDTH

DESKTOP, PHONE = (WIDTH, HEIGHT), (390, 844)
CHROMIUM = shutil.which("chromium")
PATIENCE = 600
"""Looks, 50 ms apart, until something must hold."""

OVERFLOWING = """() => [...document.querySelectorAll('body *')].filter((e) => {
  const box = e.getBoundingClientRect(), width = document.documentElement.clientWidth;
  return box.width && !e.closest('.skip') && !e.closest('thead') && box.right > width + 1;
}).map((e) => `${e.tagName}.${e.className.baseVal ?? e.className}: ${e.textContent.slice(0, 60)}`)"""

FIGURES = """() => Object.fromEntries([...document.querySelectorAll('main .figure')].map((f) =>
  [f.lastChild.textContent, { text: f.querySelector('b').textContent,
    title: f.querySelector('[title]')?.title ?? '', kind: f.querySelector('[title]')?.className ?? '' }]))"""

FACTS = """() => Object.fromEntries([...document.querySelectorAll('main dt')].map((t) =>
  [t.textContent, { text: t.nextSibling.textContent, title: t.nextSibling.querySelector('[title]')?.title ?? '' }]))"""

ROWS = """(caption) => [...document.querySelectorAll('main table')].filter((t) =>
  t.caption.textContent.startsWith(caption)).flatMap((t) => [...t.tBodies[0].rows]).map((row) =>
  Object.fromEntries([...row.cells].map((c) => [c.dataset.label, { text: c.textContent,
    title: c.querySelector('[title]')?.title ?? '', kind: c.querySelector('[title]')?.className ?? '' }])))"""

BARS = """() => [...document.querySelectorAll('.plot rect')].map((r) => ({
  kind: r.className.baseVal, title: r.textContent,
  ...Object.fromEntries(['x', 'y', 'width', 'height'].map((name) => [name, Number(r.getAttribute(name))])) }))"""

DOTS = """() => [...document.querySelectorAll('.plot .dot')].map((c) => ({ title: c.textContent,
  y: Number(c.getAttribute('cy')) }))"""

Shown = dict[str, dict[str, str]]
"""By its name on the page: text, what its title says (an exact amount, a whole id), and the class that colours it."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: install Debian's package chromium to test the dashboard's views")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


class Watched:
    """A page, what it complained about, and what it asked for."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))


@contextmanager
def watched_page(browser: Browser, size: tuple[int, int] = DESKTOP, scheme: Any = "light") -> Iterator[Watched]:
    """A page of its own, with nothing kept from others."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, device_scale_factor=1
    )
    try:
        yield Watched(context.new_page())
    finally:
        context.close()


def until(page: Page, holds: str) -> None:
    """Waits for a condition. Playwright's own waiting evaluates text in the page, which the content policy forbids."""
    for _ in range(PATIENCE):
        if page.evaluate(holds):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it did not come to pass: {holds}")


def opened(watched: Watched, site: str, view: str, health: str = "ready") -> Page:
    """A view, once it is filled. health: what the page's head must say."""
    watched.page.goto(f"{site}/{view}")
    until(watched.page, f"document.querySelector('#health').textContent.includes('{health}')")
    name = view.removeprefix("#/").partition("/")[0]
    until(watched.page, f"document.querySelector('main').dataset.view === '{name}'")
    watched.page.wait_for_selector(".life" if "/0x" in view else "main section")
    return watched.page


def figures(page: Page) -> Shown:
    """The large figures of a view."""
    found: Shown = page.evaluate(FIGURES)
    return found


def facts(page: Page) -> Shown:
    """Names and values of a view's lists; of equal names the last."""
    found: Shown = page.evaluate(FACTS)
    return found


def rows(page: Page, caption: str) -> list[Shown]:
    """The rows of the tables whose captions begin so, by column."""
    found: list[Shown] = page.evaluate(ROWS, caption)
    return found
