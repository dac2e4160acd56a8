"""`didyma demo`: the whole oracle at work on this machine, in a few minutes."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from oracle.demo.cast import Model
from oracle.demo.run import play


def demo(
    *,
    model: Annotated[
        Model, typer.Option(help="What the nodes run; smollm2 is in the extra `real`, and answers a question.")
    ] = Model.TINY,
    panel: Annotated[bool, typer.Option("--panel", help="Add a lie that a panel judges; needs llama.cpp.")] = False,
    short: Annotated[bool, typer.Option("--short", help="Stop after the first final answer.")] = False,
    began: Annotated[float | None, typer.Option(help="Unix time to count from; now by default.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Write what was printed as SVG to this file too.")] = None,
) -> None:
    """Show an answer, a lie and its punishment, answers from a TEE, and a refund, on a chain of their own."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # its daemons end with it
    raise typer.Exit(play(model=model, panel=panel, short=short, began=began, picture=picture))
