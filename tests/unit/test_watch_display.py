"""The display of `didyma watch`: a journal that cannot be read does not end it, and nothing ends it unheard."""

import asyncio
import json
from types import SimpleNamespace

from structlog.testing import capture_logs

from oracle.api import process
from oracle.cli import watch
from oracle.errors import JournalFull

FIGURES = {"checked": 3}


async def test_display__figures_fail_for_a_while__says_so_once_and_goes_on(monkeypatch, capsys):
    replies = [JournalFull("no space left"), JournalFull("no space left"), FIGURES, FIGURES]

    def figures(_node):
        if not replies:
            raise asyncio.CancelledError
        reply = replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply

    monkeypatch.setattr(watch, "figures", figures)
    monkeypatch.setattr(watch, "EVERY_SECONDS", 0)
    node = SimpleNamespace(status=SimpleNamespace(view=None))
    await asyncio.gather(watch._shown(node, as_json=True), return_exceptions=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines == [{"unreadable": "no space left"}, FIGURES]


def test_rows__figures_not_read__say_why():
    assert watch._rows({"unreadable": "no space left"}) == [
        ("state", "watching; the figures cannot be read now: no space left")
    ]


async def test_serve__display_fails__is_logged_and_the_node_works_on(monkeypatch):
    worked = []

    async def nothing(*_):
        pass

    async def run():
        await asyncio.sleep(0.01)
        worked.append(True)

    async def open_node(*_):
        return SimpleNamespace(run=run, stop=lambda: None, close=nothing, workshop=SimpleNamespace(close=nothing))

    async def display(_node):
        raise KeyError("a bug")

    monkeypatch.setattr(process, "open_node", open_node)
    settings = SimpleNamespace(api_port=0, prompts_port=0, inference_port=0)
    with capture_logs() as logs:
        await process.serve(settings, beside=display)
    assert worked == [True]
    assert [(line["log_level"], line["part"]) for line in logs] == [("error", "display")]
