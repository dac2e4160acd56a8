"""Log lines: an event and its fields, for people or as JSON, on standard error. Logging never raises.

For people amounts have their unit, and on a terminal a line that is wider goes on in the next, between two fields.
"""

import contextlib
import logging
import re
import shutil
import sys
from collections.abc import MutableMapping
from typing import Any, Literal, TextIO

import structlog

from oracle.chain.units import amount

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
INDENT = "    "


class Lines:
    """Writes lines and lets none of the stream's troubles (a full disk, a closed pipe) reach the node."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """One line."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    log = debug = info = warn = warning = error = critical = exception = fatal = msg


def printable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Shows control characters as escapes: reasons may quote strangers."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in value)
    return event


def with_units(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """`paid_wei=1500000000000000000` becomes `paid=1.5 ether`."""
    for name in [name for name, value in event.items() if name.endswith("_wei") and type(value) is int]:
        event[name.removesuffix("_wei")] = amount(event.pop(name))
    return event


def folded(line: str, width: int) -> str:
    """A line in lines of at most so many letters, cut between fields; one field alone may be longer. What colours a
    terminal takes no room."""
    lines, here = [""], 0
    for part in re.findall(r"\S+\s*", line.split("\n", 1)[0]):
        size = len(COLOURS.sub("", part.rstrip()))
        if here and here + size > width:
            lines[-1] = lines[-1].rstrip()
            lines.append(INDENT)
            here = len(INDENT)
        lines[-1] += part
        here += len(COLOURS.sub("", part))
    rest = line.split("\n", 1)[1:]
    return "\n".join([*lines, *rest])


def configure(form: Literal["console", "json"], level: str, stream: TextIO | None = None) -> None:
    """For the whole process."""
    out = stream or sys.stderr
    renderer: Any = structlog.processors.JSONRenderer()
    if form == "console":
        console = structlog.dev.ConsoleRenderer(colors=out.isatty())
        renderer = console
        if out.isatty():

            def on_a_terminal(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
                return folded(str(console(logger, method, event)), shutil.get_terminal_size().columns)

            renderer = on_a_terminal
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            printable,
            *([with_units] if form == "console" else []),
            structlog.processors.dict_tracebacks if form == "json" else structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=lambda *_: Lines(out),
        cache_logger_on_first_use=False,
    )
