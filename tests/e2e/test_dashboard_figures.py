"""The dashboard's views show what its endpoints say: every figure, after real games, in a real browser."""

import csv
import io
import json
from decimal import Decimal
from typing import Any

import pytest
from e2e.browsing import BARS, DOTS, facts, figures, opened, rows, until
from e2e.world import ETHER
from playwright.sync_api import Route
from typer.testing import CliRunner

from oracle.cli import app as cli
from oracle.ids import RequestId

COLUMNS = {
    "Fees": ("fees_wei", 1),
    "Callbacks": ("callbacks_wei", 1),
    "Votes": ("votes_wei", 1),
    "Disputes": ("disputes_wei", 1),
    "Fines": ("fines_wei", -1),
    "Bonds lost": ("slashed_wei", -1),
    "Bonds paid in": ("paid_in_wei", -1),
    "Gas": ("gas_wei", -1),
    "Net": ("net_wei", 1),
}
"""Of the money's table: the endpoint's name, and the sign that a person reads."""


def is_price(text: str, wei: str | None) -> bool:
    """Whether a price of gas is told as it is: in gwei; "none" where no price would do."""
    if wei is None or int(wei) < 0:
        return text == ("\u2013" if wei is None else "none")
    return Decimal(text) * 10**9 == pytest.approx(int(wei), rel=1e-3)


def wei_of(shown: dict[str, str]) -> int:
    """The amount that is shown, exactly: in its title. Its text says the same, cut after three digits or more."""
    said = Decimal(shown["text"].split()[0].replace("\u2212", "-").replace("+", ""))
    if not shown["title"]:
        assert said == 0, shown
        return 0
    wei = int(shown["title"].removesuffix(" wei"))
    assert abs(said * ETHER - wei) <= abs(wei) / 100, shown
    return wei


def coloured(shown: dict[str, str]) -> None:
    """Losses look like losses."""
    wei = wei_of(shown)
    assert shown["kind"] == ("loss" if wei < 0 else "gain" if wei > 0 else ""), shown


def test_money__every_figure__is_the_endpoint_s_to_the_wei(api, site, watched):
    said, state = api.get("/view/money").json(), api.get("/view/state").json()
    page = opened(watched, site, "#/money")
    shown, lines = rows(page, "In ether"), said["lines"][::-1]
    assert len(shown) == len(lines) >= 4
    assert len({line["week"] for line in lines}) == 3
    assert len({line["service"] for line in lines}) >= 2
    for row, line in zip(shown, lines, strict=True):
        assert row["Week of"]["text"] == line["begins"]
        assert row["Service"]["title"] == (line["service"] or "")
        assert is_price(row["Break-even"]["text"], line["break_even_wei"])
        for column, (name, sign) in COLUMNS.items():
            assert wei_of(row[column]) == sign * int(line[name]), (column, line)
            coloured(row[column])
    for name, sign in COLUMNS.values():
        assert any(int(line[name]) for line in lines), f"no line has {name}"
        assert sum(int(line[name]) for line in lines) == int(said["total"][name]), sign
    whole, bound = figures(page), facts(page)
    assert wei_of(whole["Net, ether"]) == int(said["total"]["net_wei"])
    assert wei_of(whole["Gas, ether"]) == -int(said["total"]["gas_wei"])
    assert whole["Transactions"]["text"] == f"{said['total']['transactions']:,}"
    assert is_price(whole["Break-even gas price, gwei"]["text"], said["total"]["break_even_wei"])
    assert is_price(whole["Gas price now, gwei"]["text"], state["chain"]["base_fee_wei"])
    assert wei_of(bound["In answers"]) == int(said["answers_wei"])
    assert wei_of(bound["In challenges"]) == int(said["challenges_wei"]) > 0
    assert wei_of(bound["Rewards"]) == int(said["rewards_wei"])
    assert bound["To settle"]["text"].startswith(f"{said['to_settle']} games")
    assert watched.complaints == []


def test_report__of_the_same_journal__is_what_the_page_reads(played, api, tmp_path):
    """`didyma node report`, beside the running node."""
    config = tmp_path / "didyma.toml"
    node = played.node.settings
    config.write_text(
        f'rpc_urls = ["http://127.0.0.1:1"]\ndeployment = "{node.deployment}"\ndata_dir = "{node.data_dir}"\n'
        f'services = ["0x{played.earth.service.hex()}"]\n'
    )

    def printed(option: str) -> str:
        done = CliRunner().invoke(cli, ["node", "report", "--config", str(config), option])
        assert done.exit_code == 0, done.output
        return done.stdout

    said = api.get("/view/money").json()
    by_line = list(csv.DictReader(io.StringIO(printed("--csv"))))
    as_json = json.loads(printed("--json"))
    assert len(by_line) == len(as_json["lines"]) == len(said["lines"]) >= 4
    for row, other, line in zip(by_line, as_json["lines"], said["lines"], strict=True):
        assert (row["week"], row["service"]) == (line["begins"], line["service"] or "")
        for name in (*(name for name, _ in COLUMNS.values()), "gas_used", "transactions", "break_even_wei"):
            known = "" if line[name] is None else str(line[name])
            assert (row[name], "" if other[name] is None else str(other[name])) == (known, known), name
    assert {name: str(wei) for name, wei in as_json["stakes"].items()} == {
        name: str(said[name]) for name in ("answers_wei", "challenges_wei", "rewards_wei", "to_settle")
    }


def test_plot__bars_and_dots__are_as_high_as_their_weeks_sums(api, site, watched):
    lines = api.get("/view/money").json()["lines"]
    page = opened(watched, site, "#/money")
    bars, dots = page.evaluate(BARS), page.evaluate(DOTS)
    named = {name.removesuffix("_wei"): (name, sign) for name, sign in COLUMNS.values() if name != "net_wei"}
    wanted: dict[tuple[str, str], int] = {}
    for line in lines:
        for kind, (name, sign) in named.items():
            if int(line[name]):
                key = line["begins"], kind
                wanted[key] = wanted.get(key, 0) + sign * int(line[name])
    assert len(bars) == len(wanted)
    (zero,) = {dot["y"] for dot in dots if dot["title"].endswith("net 0 ether")}
    scale = max(bar["height"] for bar in bars) / max(map(abs, wanted.values()))
    for bar in bars:
        week = bar["title"].removeprefix("week of ").partition(":")[0]
        wei = wanted.pop((week, bar["kind"]))
        assert f": {bar['kind'].replace('_', ' ')} " in bar["title"]
        assert bar["height"] == pytest.approx(abs(wei) * scale, abs=0.1)
        assert bar["y"] + bar["height"] <= zero + 0.1 if wei > 0 else bar["y"] >= zero - 0.1
    assert wanted == {}
    weeks = range(lines[0]["week"], lines[-1]["week"] + 1)
    assert len(dots) == len(weeks) == 5
    for week, dot in zip(weeks, dots, strict=True):
        net = sum(int(line["net_wei"]) for line in lines if line["week"] == week)
        assert zero - dot["y"] == pytest.approx(net * scale, abs=0.1)


def test_watch__every_figure__is_the_endpoints(api, site, watched):
    """Rewards and games to settle are there for a few blocks only; the page gets some from a reply that was changed."""
    state = api.get("/view/state").json()
    waiting = {"rewards_wei": str(3 * 10**17), "to_settle": 3}

    def changed(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json=reply.json() | waiting)

    watched.page.route("**/view/money*", changed)
    page = opened(watched, site, "#/watch")
    (service,) = state["services"]
    checks, shown = service["checks"], figures(page)
    (row,) = rows(page, "Since the journal began")
    assert checks["made"] > checks["wrong"] > 0
    assert (checks["late"], checks["unknown"]) == (2, 0)
    assert shown["Answers checked"]["text"] == row["Checked"]["text"] == str(checks["made"])
    assert shown["Judged wrong"]["text"] == row["Wrong"]["text"] == str(checks["wrong"])
    assert shown["Unchecked"]["text"] == row["Too late"]["text"] == str(checks["late"])
    assert row["Cannot tell"]["text"] == str(checks["unknown"])
    assert (row["Wrong"]["kind"], row["Service"]["title"]) == ("", service["service"])
    assert row["Cost of a check"]["text"] == f"{checks['seconds_each']:.2f} s"
    assert Decimal(shown["Bonds out, ether"]["text"]) * ETHER == int(state["bonds_out_wei"]) > 0
    assert shown["Rewards that wait, ether"]["text"] == "0.3"
    assert shown["Games to settle"]["text"] == "3"
    credit = sum(int(key["credit_wei"]) for key in state["keys"])
    assert Decimal(shown["Credit, ether"]["text"]) * ETHER == pytest.approx(credit, rel=0.01)
    assert watched.complaints == []


def test_node_engines_and_keys__what_they_show__is_the_state_s(api, site, watched):
    state = api.get("/view/state").json()
    chain, (service,) = state["chain"], state["services"]
    page = opened(watched, site, "#/")
    known = facts(page)
    assert known["Head"]["text"].startswith(f"{chain['head']:,}, ")
    assert known["Read to"]["text"].startswith(f"{chain['read_to']:,} (")
    assert known["To catch up"]["text"] == f"{chain['behind']:,} blocks"
    assert [(row["Endpoint"]["text"], row["State"]["text"]) for row in rows(page, "By their place")] == [("0", "fresh")]
    assert wei_of(known["Bond"]) == int(service["bond_wei"])
    assert known["Judged by"]["text"] == service["mode"]
    assert known["Queue"]["text"] == ", ".join(
        f"{service['queue'].get(name, 0)} {name}" for name in ("open", "answered", "disputed")
    )
    (row,), (seat,) = rows(page, "What each of this node's seats"), state["seats"]
    for column, name in (("Free", "free_wei"), ("Locked", "locked_wei")):
        assert Decimal(row[column]["text"]) * ETHER == pytest.approx(int(seat[name]), rel=0.01)
    assert [row[name.capitalize()]["text"] for name in ("answered", "missed", "rejected")] == [
        f"{seat[name]:,}" for name in ("answered", "missed", "rejected")
    ]
    done = facts(opened(watched, site, "#/engines"))
    engine = service["engine"]
    assert done["Done"]["text"].startswith(f"{engine['jobs']:,} jobs, {engine['tokens']:,} tokens in ")
    assert done["Batch"]["text"] == f"{engine['working']} of {engine['together']} places, {engine['waiting']:,} wait"
    assert done["Workers lost"]["text"] == str(engine["restarts"])
    assert engine["jobs"] > 0
    (key,) = state["keys"]
    held = facts(opened(watched, site, "#/keys"))
    assert held["Address"]["text"] == key["address"]
    assert (wei_of(held["Balance"]), wei_of(held["Credit"])) == (int(key["balance_wei"]), int(key["credit_wei"]))


def test_work__of_engines_and_games__told_how_far_it_was(played):
    """What a node heard while it checked a lie, challenged it and played."""
    assert played.heard >= {
        ("verdict", "generate"),  # as the model goes, as far as the answer follows it
        ("challenge", "generate"),
        ("prefill", "prefill"),
        ("move", "trees"),
    }


def test_work__in_hand__is_shown_with_its_progress_live_and_on_its_request(played, api, site, watched):
    in_hand = played.node.workshop.in_hand
    told = in_hand.begin("move:00:node", RequestId(played.live))
    try:
        told("prefill", 3, 12)
        page = opened(watched, site, f"#/requests/{played.live:#066x}")
        until(page, "document.querySelector('.work')?.textContent.includes('prefill: 3 of 12 layers')")
        page = opened(watched, site, "#/engines")
        until(page, "document.querySelector('.work')?.textContent.includes('prefill: 3 of 12 layers')")
        told("trees", 6, 12)
        until(page, "document.querySelector('.work').textContent.includes('trees: 6 of 12')")
        filled = page.evaluate("Number(document.querySelector('.work .bar .node').getAttribute('width'))")
        assert filled == 50
        assert page.locator(".work a").get_attribute("href") == f"#/requests/{played.live:#066x}"
        (work,) = api.get("/jobs").json()["work"]
        assert (work["doing"], work["far"]) == ("looks for a move", "trees: 6 of 12 trees")
    finally:
        in_hand.end("move:00:node")
    until(page, "!document.querySelector('.work')")
    assert watched.complaints == []


def test_request__open_then_answered__its_turn_its_deadline_and_its_window_run(played, api, site, watched):
    """The stage's requests are in dispute or over; the page gets the same one as it was earlier."""
    now = api.get("/view/state").json()["chain"]["timestamp"]
    earlier = {"games": [], "panels": [], "refuted": [], "posted_at": now - 700, "deadline": now + 1_000}
    asked = {"state": "open", "answer": None, "first_turn": 3, "round_starts_at": now - 600, "turn_seconds": 500}
    said: dict[str, Any] = earlier | asked

    def changed(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, json=reply.json() | said)

    watched.page.route("**/view/requests/0x*", changed)
    page = opened(watched, site, f"#/requests/{played.live:#066x}")
    clocks = page.locator("section", has_text="Clocks").first
    assert clocks.locator("p").all_text_contents()[0].startswith("Turn 4: ")  # the second of the round
    assert clocks.locator("p").all_text_contents()[1].startswith("Deadline for an answer: ")
    assert page.locator(".life .here").text_content() == "answered"
    was = clocks.locator(".clock").first.text_content()
    until(page, f"document.querySelector('.clock').textContent !== '{was}'")
    answer = api.get("/view/requests?state=final").json()["requests"][0]["answer"]
    said = earlier | {"state": "answered", "answer": answer | {"closes_at": now + 900}, "window_seconds": 1_000}
    page = opened(watched, site, f"#/requests/{played.over:#066x}")
    until(page, "document.querySelector('main').textContent.includes('Window for a challenge')")
    clocks = page.locator("section", has_text="Clocks").first
    assert clocks.locator("p").text_content().startswith("Window for a challenge: ")
    filled = clocks.locator(".bar .node").get_attribute("width")
    assert 10 <= float(filled) < 20  # the page takes a minute of the chain at most for passed
    assert watched.complaints == []
