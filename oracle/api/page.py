"""The operator's page: plain HTML, made anew for each look, without any script. Everything in it is escaped."""

from collections.abc import Iterable
from html import escape

from oracle.api.models import JobsOut
from oracle.chain.units import ETHER
from oracle.ids import ModelId, ServiceId
from oracle.node.daemon import Node
from oracle.node.plan import View

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .75rem .25rem 0; }
th { font-weight: 600; border-bottom: 1px solid #bbb; } td { border-bottom: 1px solid #eee; }
code { font-size: .9em; } .good { color: #176b2c; } .bad { color: #a11; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } td { border-color: #333; } }
"""


def page(node: Node, jobs: JobsOut) -> str:
    """The whole page."""
    status = node.status
    troubles = node.troubles()
    head = "none yet" if status.head is None else f"{status.head.number:,}"
    keys = []
    for name, address in node.addresses.items():
        report = status.reports.get(name)
        balance = 0 if report is None else report.balance_wei
        pending = 0 if report is None else report.pending
        credit = status.credit_wei.get(address, 0)
        keys.append((name, address, f"{balance / ETHER:.6f}", f"{credit / ETHER:.6f}", pending))
    view = status.view
    own = [] if view is None else [seat for seat in view.seats if seat.operator == view.operator]
    seats = [
        (
            _short(seat.service.hex()),
            seat.seat,
            seat.state,
            seat.tally.answered,
            seat.tally.missed,
            seat.tally.rejected,
            f"{(seat.tally.earned_wei - seat.tally.lost_wei) / ETHER:.6f}",
        )
        for seat in own
    ]
    requests = [
        (
            _short(r.request_id[2:]),
            r.state,
            r.prompt_bytes,
            "" if r.answer is None else f"seat {r.answer.seat}, turn {r.answer.turn}",
            "" if r.answer is None or r.answer.judgement is None else r.answer.judgement,
        )
        for r in jobs.requests
    ]
    cases = [(_short(c.case_id[2:]), c.state, c.challenger, len(c.members), c.commitments, c.votes) for c in jobs.cases]
    engines = [] if view is None else [_engine(node, service, model) for service, model in _models(view)]
    unwatched = sum(node.vigil.unwatched.values())
    word, colour = ("not ready", "bad") if troubles else ("ready", "good")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="10">
<title>Didyma node: {word}</title>
<link rel="stylesheet" href="/style.css">
</head>
<body>
<h1>Didyma node: <span class="{colour}">{word}</span></h1>
<ul>{"".join(f"<li class='bad'>{escape(_printable(reason))}</li>" for reason in troubles)}</ul>
<ul>{"".join(f"<li>{escape(_printable(warning))}</li>" for warning in node.warnings())}</ul>
<p>Head {head}{"" if node.settings.can_sign else "; dry run: nothing is signed"}</p>
<h2>Keys</h2>
{_table(("key", "address", "balance, ether", "credit, ether", "pending"), keys)}
<h2>Seats</h2>
{_table(("service", "seat", "state", "answered", "missed", "rejected", "earned, ether"), seats)}
<h2>Open requests ({jobs.total_requests})</h2>
{_table(("request", "state", "prompt bytes", "answer", "found"), requests)}
<h2>Disputes</h2>
{_table(("case", "state", "challenger", "members", "committed", "revealed"), cases)}
<h2>Engines</h2>
{_table(("service", "model", "state"), engines)}
<p>{len(jobs.engine)} jobs in hand, {node.workshop.restarts} workers lost since the start,
<span class="{"bad" if unwatched else "good"}">{unwatched} answers of others not judged in time</span></p>
</body>
</html>
"""


def _models(view: View) -> list[tuple[ServiceId, ModelId]]:
    return [(service.id, service.terms.model) for service in view.services.values()]


def _engine(node: Node, service: ServiceId, model: ModelId) -> tuple[str, str, str]:
    troubles = [f"{trouble.kind}: {trouble.text}" for about, trouble in node.service_troubles() if about == service]
    state = "; ".join(troubles) or f"proven: {node.workshop.proofs[service]}"
    return _short(service.hex()), _short(model.hex()), _printable(state)


def _table(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>" if body else "<p>None.</p>"


def _short(digits: str) -> str:
    return f"0x{digits[:8]}…{digits[-4:]}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
