"""The dashboard with data that no usual day brings: nothing at all, one week, ten years, losses alone, sums beyond
reason, texts of strangers in every place; on screens from a small phone's to a large desktop's.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from e2e.browsing import DESKTOP, FIGURES, OVERFLOWING, PHONE, Watched, figures, opened, rows, until, watched_page
from e2e.dashboard import MARKUP
from playwright.sync_api import Browser, Page, Route

from oracle.api.files import FILES
from oracle.api.guard import SECURITY_HEADERS
from oracle.api.models import WorkOut
from oracle.api.pages import Money, MoneyLine
from oracle.api.state import (
    ChainState,
    ChecksState,
    EngineState,
    KeyState,
    SeatState,
    ServiceState,
    State,
    TeeState,
)
from oracle.node.history import Sums, week_of
from oracle.node.money import Line, total

SITE = "http://127.0.0.1:8547"
"""Nothing listens there: the test answers all that the page asks."""
SCREENS = [(320, 568), PHONE, (600, 960), (768, 1024), (820, 1180), (1024, 768), DESKTOP, (2560, 1440)]
ALL_CASES = (SCREENS[0], (820, 1180))
ON_ALL_SCREENS = ("ten years", "beyond reason")
MONEY_ALONE = ("ten years", "one week of gains")
"""Cases whose node is in another's state, so that the other views show nothing new."""
WIDE_WORD = "W" * 300
SERVICE, WEEK = b"\x5e" * 32, week_of(1_795_000_000)
MUCH = 10**33
"""Wei: more ether than there will ever be."""
FILLED_MILLISECONDS = 2_000
"""Of a busy machine."""
NOTES_FILLED = """new MutationObserver(() => {
  if (document.querySelector('main section')) window.filledAt ??= performance.now();
}).observe(document, { childList: true, subtree: true });"""
NONSENSE = r"NaN|undefined|Infinity|Invalid Date|\[object"


def nothing() -> State:
    """Of a node that has just been started."""
    chain = ChainState(
        chain_id=1,
        oracle="0x" + "00" * 20,
        head=None,
        timestamp=None,
        age_seconds=0,
        read_to=None,
        behind=0,
        confirmations=2,
        finality=64,
        last_reorg_depth=0,
        base_fee_wei=0,
        endpoints=[],
    )
    return State(
        ready=False,
        reasons=["no head seen yet"],
        warnings=[],
        dry_run=True,
        tasks=[],
        version="0",
        chain=chain,
        keys=[],
        reserve_wei=0,
        services=[],
        seats=[],
        open_requests=[],
        open_total=0,
        disputes=0,
        games=[],
        bonds_out_wei=0,
        tee_documents_end=None,
        tee_trouble="",
        jobs=[],
    )


def service(number: int, name: str, wei: int, checks: ChecksState, *, until: int | None = None) -> ServiceState:
    engine = EngineState(
        proven="",
        trouble=name,
        together=0,
        working=0,
        waiting=10**9,
        jobs=10**12,
        tokens=10**15,
        busy_seconds=0.1,
        restarts=10**6,
        memory_bytes=1 << 50,
    )
    return ServiceState(
        service=f"0x{number:064x}",
        model="0x" + "11" * 32,
        model_name=name,
        mode=name,
        base_price_wei=wei,
        byte_price_wei=wei,
        token_price_wei=wei,
        bond_wei=wei,
        seat_wei=wei,
        miss_penalty_wei=wei,
        challenge_bond_wei=wei,
        turn_seconds=1 << 40,
        window_seconds=0,
        max_prompt_bytes=1 << 31,
        max_tokens=1,
        active_seats=10**6,
        queue={"open": 10**9},
        troubles=[name],
        engine=engine,
        checks=checks,
        tee=None if until is None else TeeState(until=until),
    )


def full(name: str, wei: int) -> State:
    """A node with much of everything, and `name` wherever somebody else wrote."""
    checks = ChecksState(made=10**9, wrong=10**6, unknown=10**6, late=10**6, seconds_each=1e6)
    untried = ChecksState(made=0, wrong=0, unknown=0, late=0, seconds_each=None)
    keys = [
        KeyState(name=each, address="0x" + "ab" * 20, balance_wei=wei, credit_wei=wei, pending=9999, holding=name)
        for each in ("operator", "dispute")
    ]
    seat = SeatState(
        service=f"0x{1:064x}",
        seat=1 << 31,
        state="suspended",
        owner="0x" + "cd" * 20,
        ready_at=0,
        answered=10**6,
        missed=10**6,
        finalized=10**6,
        rejected=10**6,
        free_wei=wei,
        locked_wei=wei,
    )
    work = [WorkOut(key=f"move:{n}", request_id=None, doing=name, far=name, done=n, total=3) for n in range(4)]
    return nothing().model_copy(
        update={
            "ready": True,
            "reasons": [name],
            "warnings": [name],
            "tasks": ["answer", "watch", "vote"],
            "keys": keys,
            "services": [
                service(1, name, wei, checks, until=1 << 33),
                service(2, "", 0, untried, until=10**18),  # later than any calendar
            ],
            "seats": [seat],
            "bonds_out_wei": wei,
            "tee_documents_end": 1,
            "tee_trouble": name,
            "jobs": work,
        }
    )


def earned(*lines: Line, wei: int = 0) -> Money:
    ordered = sorted(lines, key=lambda line: line.week)
    return Money(
        lines=[MoneyLine.of(line) for line in ordered],
        total=MoneyLine.of(total(ordered)),
        answers_wei=wei,
        challenges_wei=wei,
        rewards_wei=wei,
        to_settle=wei and 10**6,
    )


def line(week: int = WEEK, service: Any = SERVICE, gas: int = 0, paid_in: int = 0, **sums: int) -> Line:
    amounts = {f"{name}_wei": wei for name, wei in sums.items()}
    return Line(service, week, Sums(**amounts), paid_in, gas and 21_000, gas, 1)


LOSSES = earned(line(slashed=10**18, fines=10**15, gas=10**16, paid_in=10**17))
GAINS = earned(line(fees=10**18))
TEN_YEARS = earned(*(line(WEEK - n, None if n % 3 else SERVICE, fees=n * 10**15, gas=10**16) for n in range(520)))
BEYOND_REASON = earned(line(fees=MUCH, gas=1), line(WEEK - 1, slashed=MUCH, gas=MUCH), line(WEEK - 2, fees=1), wei=MUCH)
APART = earned(line(), line(WEEK - 20, fees=1))
"""A week in which nothing came to anything, and a single wei long before."""
CASES: dict[str, tuple[State, Money]] = {
    "nothing": (nothing(), earned()),
    "one week of losses": (full("a model", 10**18), LOSSES),
    "one week of gains": (full("a model", 1), GAINS),
    "ten years": (full("a model", 10**18), TEN_YEARS),
    "beyond reason": (full(WIDE_WORD, MUCH), BEYOND_REASON),
    "weeks apart": (full("\U0001f30a" * 40, 0), APART),
    "strangers' texts": (full(MARKUP, 10**18), LOSSES),
}


def told_to(page: Page, state: State, money: Money) -> None:
    """Answers the page as a node in this state would."""
    headers = {name.decode(): value.decode() for name, value in SECURITY_HEADERS}

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(SITE).partition("?")[0].partition("#")[0]
        if path == "/view/live":
            body, kind = f"event: state\ndata: {state.model_dump_json()}\n\n", "text/event-stream"
        elif path == "/view/money":
            body, kind = money.model_dump_json(), "application/json"
        elif path == "/view/requests":
            body, kind = '{"requests": [], "next": null}', "application/json"
        elif path == "/view/disputes":
            body, kind = '{"disputes": [], "next": null}', "application/json"
        else:
            content, kind = FILES[path]
            body = content.decode()
        route.fulfill(headers={**headers, "content-type": kind}, body=body)

    page.route("**/*", answer)


OVER_PLOT = """() => [...document.querySelectorAll('.plot text')].map((t) => [t, t.getBoundingClientRect()])
  .flatMap(([text, box], index, all) => {
    const plot = text.ownerSVGElement.getBoundingClientRect();
    const outside = box.left < plot.left - 1 || box.right > plot.right + 1 || box.top < plot.top - 1;
    const over = all.slice(0, index).some(([, other]) => box.left < other.right && other.left < box.right
      && box.top + 2 < other.bottom && other.top + 2 < box.bottom);
    return outside || over ? [`${outside ? 'outside' : 'over another'}: ${text.textContent}`] : [];
  })"""

BAD_NUMBERS = f"""() => [...document.querySelectorAll('main svg, main svg *')].flatMap((e) => [...e.attributes]
  .filter((a) => /{NONSENSE}/.test(a.value) || (a.name === 'height' || a.name === 'width') && Number(a.value) < 0)
  .map((a) => `${{e.tagName}} ${{a.name}}=${{a.value}}`))"""

BROKEN = """() => [...document.querySelectorAll('main td.number, main .plot text')].filter((e) => {
  const range = document.createRange();
  range.selectNodeContents(e.querySelector('span') ?? e);
  return new Set([...range.getClientRects()].map((box) => Math.round(box.top / 8))).size > 1;
}).map((e) => e.textContent)"""
"""Numbers that go on in a second line: each part would be read as another number."""

CLIPPED = """() => [...document.querySelectorAll('main section')].filter((s) => s.scrollWidth > s.clientWidth + 1)
  .map((s) => s.textContent.slice(0, 60))"""


@pytest.fixture
def page_of(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """Opens a page of a screen's size that is told such a state."""
    opened_pages: list[Any] = []

    def make(state: State, money: Money, size: tuple[int, int] = DESKTOP) -> Watched:
        opened_pages.append(watched_page(browser, size))
        made: Watched = opened_pages[-1].__enter__()
        told_to(made.page, state, money)
        return made

    yield make
    for each in opened_pages:
        each.__exit__(None, None, None)


VIEWS = ("#/", "#/money", "#/watch", "#/engines", "#/keys", "#/requests", "#/disputes")


@pytest.mark.parametrize("name", CASES)
def test_views__odd_data_on_any_screen__fit_and_say_nothing_that_is_no_number(page_of, name):
    """One page for all screens: each view is drawn anew when it is gone to."""
    state, money = CASES[name]
    watched = page_of(state, money)
    for size in SCREENS if name in ON_ALL_SCREENS else ALL_CASES:
        watched.page.set_viewport_size({"width": size[0], "height": size[1]})
        for view in ("#/money",) if name in MONEY_ALONE else VIEWS:
            page, where = opened(watched, SITE, view, health=""), (size, view)
            assert page.evaluate(OVERFLOWING) == [], where
            assert page.evaluate(CLIPPED) == [], where
            assert page.evaluate(BROKEN) == [], where
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), where
            assert page.evaluate(BAD_NUMBERS) == [], where
            assert page.evaluate(OVER_PLOT) == [], where
            said = page.locator("main").text_content()
            assert re.findall(NONSENSE, said.replace(MARKUP, "")) == [], where
            assert "Not shown" not in said, where
            assert page.locator("main img, main script").count() == 0, where
        assert watched.complaints == [], size


def test_watch__no_service__counts_nothing_and_says_so(page_of):
    page = opened(page_of(nothing(), earned()), SITE, "#/watch", health="")
    assert {shown["text"] for shown in figures(page).values()} == {"0"}
    assert "does not check" in page.locator("main").text_content()
    assert rows(page, "Since the journal began") == []


def test_money__one_week_of_losses__looks_like_one_and_no_gas_price_would_help(page_of):
    page = opened(page_of(full("a model", 1), LOSSES), SITE, "#/money", health="")
    (row,) = rows(page, "In ether")
    assert {row[name]["kind"] for name in ("Fines", "Bonds lost", "Bonds paid in", "Gas", "Net")} == {"loss"}
    assert row["Net"]["text"] == "\u22121.111"
    assert row["Break-even"]["text"] == "none"
    assert page.evaluate(FIGURES)["Break-even gas price, gwei"]["text"] == "none"
    heights = page.evaluate("[...document.querySelectorAll('.plot rect')].map((r) => Number(r.getAttribute('y')))")
    (zero,) = page.evaluate("[...document.querySelectorAll('.plot .zero')].map((l) => Number(l.getAttribute('y1')))")
    assert all(top >= zero - 0.1 for top in heights)


@pytest.mark.parametrize(
    "address", ["%", "#/%zz", "#/requests/%E0%A4", "#/constructor", "#/toString/x", "#/__proto__", "#"]
)
def test_address__of_no_view__shows_the_first_one(page_of, address):
    """Whoever links to the page writes what stands behind the #."""
    watched = page_of(full("a model", 1), LOSSES)
    opened(watched, SITE, "#/money", health="")
    watched.page.evaluate("(hash) => { location.hash = hash; }", address)
    until(watched.page, "document.querySelector('main').dataset.view === ''")
    until(watched.page, "document.querySelector('main').textContent.includes('Open requests')")
    assert watched.page.locator("nav a[aria-current]").text_content() == "Node"
    assert watched.complaints == []


def test_view__opened_by_its_address__is_filled_at_once(page_of):
    """Not after the pause that lies between two draws because of news."""
    watched = page_of(full("a model", 1), LOSSES)
    watched.page.add_init_script(NOTES_FILLED)
    for view in VIEWS:
        watched.page.goto("about:blank")
        page = opened(watched, SITE, view, health="")
        assert page.evaluate("window.filledAt") < FILLED_MILLISECONDS, view


def test_requests__none_found__says_whether_there_is_none_or_none_that_fits(page_of):
    said = {"requests": [], "next": None}
    watched = page_of(full("a model", 1), LOSSES)
    watched.page.route("**/view/requests?*", lambda route: route.fulfill(json=said))
    for view, next_page, words in (
        ("#/requests", None, "There was no request yet."),
        ("#/requests/search%3Dabcd", None, "No request fits."),
        ("#/requests/state%3Dleft", None, "No request fits."),
        ("#/requests/search%3Dabcd", 7, "None of the newest fits; older ones were not looked at yet."),
    ):
        said["next"] = next_page
        watched.page.goto("about:blank")
        page = opened(watched, SITE, view, health="")
        assert words in page.locator("main").text_content()


def test_sections__whose_titles_differ_in_digits__have_names_of_their_own(page_of):
    page = opened(page_of(nothing(), earned()), SITE, "#/", health="")
    names = page.evaluate(
        """async () => { const { section } = await import('/dashboard/dom.js');
        return ['Game 0x12', 'Game 0x34'].map((title) => section(title, '').getAttribute('aria-labelledby')); }"""
    )
    assert len(set(names)) == 2


def test_keys__end_beyond_any_calendar__is_told_in_seconds(page_of):
    page = opened(page_of(full("a model", 1), LOSSES), SITE, "#/keys", health="")
    first, second = rows(page, "Each service counts")
    assert first["Ends"]["text"] == "2242-03-16 12:56:32 UTC"
    assert second["Ends"]["text"] == f"{10**18} (Unix time)"


# -- texts of strangers, wherever a reply of a real node has a text --------------------------------------------------

PLAIN = re.compile(r"-?\d+|0x[0-9a-fA-F]*|\d{4}-\d\d-\d\d")


def poisoned(value: Any) -> Any:
    """With markup for every text but numbers, ids and dates."""
    if isinstance(value, dict):
        return {name: poisoned(each) for name, each in value.items()}
    if isinstance(value, list):
        return [poisoned(each) for each in value]
    return MARKUP if isinstance(value, str) and not PLAIN.fullmatch(value) else value


@pytest.mark.parametrize("watched", [(PHONE,), (DESKTOP,)], ids=["phone", "desktop"], indirect=True)
def test_text__markup_in_every_text_of_every_reply__stays_text(played, api, site, watched):
    state = json.dumps(poisoned(api.get("/view/state").json()))
    watched.page.route(
        "**/view/live",
        lambda route: route.fulfill(content_type="text/event-stream", body=f"event: state\ndata: {state}\n\n"),
    )

    def poison(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json=poisoned(reply.json()))

    watched.page.route(re.compile(r"/view/(requests|disputes|money)"), poison)
    shown = MARKUP.replace("\u202e", "\\u202e")
    for view in (*VIEWS, f"#/requests/{played.over:#066x}", f"#/requests/{played.live:#066x}"):
        page = opened(watched, site, view, health="")
        if "0x" in view:
            until(page, f"document.querySelector('main').textContent.includes('{view.rpartition('/')[2]}')")
        if view != "#/money":  # which has no text of a stranger's
            until(page, f"document.querySelector('main').textContent.includes({json.dumps(shown)})")
        assert page.locator("main img, main script").count() == 0, view
        assert page.evaluate(OVERFLOWING) == [], view
    assert watched.complaints == []
