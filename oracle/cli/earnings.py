"""`didyma node report`: what a node's seats have done, and what it earned and paid, by service and week."""

import csv
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from oracle.chain.units import ETHER, GWEI
from oracle.cli.arguments import ConfigOption
from oracle.cli.report import JsonOption, print_json, reported
from oracle.node import money
from oracle.node.history import week_of
from oracle.node.money import Line, Stakes
from oracle.node.operator import manual
from oracle.node.records import SeatRecord
from oracle.node.settings import load

AMOUNTS = ("fees", "callbacks", "votes", "disputes", "fines", "slashed")
"""Of `history.Sums`, in the order of the columns."""

console = Console()


def report(
    config: ConfigOption = None,
    weeks: Annotated[int, typer.Option(min=1, max=520, help="Weeks to look back, the present one among them.")] = 26,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print one line a week and service as CSV, in wei.")] = False,
    as_json: JsonOption = False,
) -> None:
    """What each seat has done, and what the node earned and paid: fees, fines, bonds, gas, break-even gas price."""
    with reported():
        with manual.looking(load(config)) as tx:
            seats, stakes, at = money.own_seats(tx), money.stakes(tx), tx.cursor()
            lines = money.lines(tx, 0 if at is None else week_of(at.timestamp) - weeks + 1)
        if as_csv:
            _print_csv(lines)
        elif as_json:
            found = {"seats": [_seat(seat) for seat in seats], "lines": [_columns(line) for line in lines]}
            print_json({**found, "total": _columns(money.total(lines)), "stakes": asdict(stakes)})
        else:
            _print(seats, lines, stakes)


def _columns(line: Line) -> dict[str, Any]:
    """Amounts in wei."""
    sums = {f"{name}_wei": getattr(line.sums, f"{name}_wei") for name in AMOUNTS}
    return {
        "week": line.begins,
        "service": "" if line.service is None else f"0x{line.service.hex()}",
        **sums,
        "paid_in_wei": line.paid_in_wei,
        "gas_used": line.gas_used,
        "gas_wei": line.gas_wei,
        "transactions": line.transactions,
        "net_wei": line.net_wei,
        "break_even_wei": line.break_even_wei,
    }


def _print_csv(lines: list[Line]) -> None:
    writer = csv.DictWriter(sys.stdout, list(_columns(Line(None, 0))))
    writer.writeheader()
    writer.writerows(_columns(line) for line in lines)


def _print(seats: list[SeatRecord], lines: list[Line], stakes: Stakes) -> None:
    done = Table("service", "seat", "operator", "state", "answered", "final", "missed", "rejected", title="Seats")
    for seat in seats:
        t = seat.tally
        counts = (str(count) for count in (t.answered, t.finalized, t.missed, t.rejected))
        done.add_row(_short(seat.service), str(seat.seat), seat.operator, seat.state, *counts)
    console.print(done)
    names = ("week of", "service", *AMOUNTS, "paid in", "gas", "net", "break-even, gwei")
    earned = Table(*names, title="Money, in ether")
    whole = money.total(lines)
    for line in lines:
        earned.add_row(line.begins, "" if line.service is None else _short(line.service), *_row(line))
    if lines:
        earned.add_section()
        earned.add_row("in all", "", *_row(whole))
    console.print(earned)
    console.print(
        f"bound in answers {stakes.answers_wei / ETHER:g} ether, in challenges {stakes.challenges_wei / ETHER:g}; "
        f"rewards that wait {stakes.rewards_wei / ETHER:g}; games to settle {stakes.to_settle}",
        highlight=False,
    )


def _row(line: Line) -> list[str]:
    s = line.sums
    out = (-s.fines_wei, -s.slashed_wei, -line.paid_in_wei, -line.gas_wei)
    amounts = (s.fees_wei, s.callbacks_wei, s.votes_wei, s.disputes_wei, *out, line.net_wei)
    price_wei = line.break_even_wei
    even = "" if price_wei is None else f"{price_wei / GWEI:.4g}" if price_wei >= 0 else "none"
    return [f"[red]{wei / ETHER:.6f}[/]" if wei < 0 else f"{wei / ETHER:.6f}" for wei in amounts] + [even]


def _short(service: bytes) -> str:
    return "0x" + service.hex()[:8]


def _seat(seat: SeatRecord) -> dict[str, Any]:
    who = {"service": seat.service, "seat": seat.seat, "operator": seat.operator, "state": seat.state}
    return who | asdict(seat.tally)
