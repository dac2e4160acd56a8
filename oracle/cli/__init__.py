"""The command line: `didyma`."""

import io
import sys
from importlib.metadata import version as version_of
from typing import Annotated

import typer

from oracle.cli import (
    ask,
    chain,
    demo,
    dev,
    fleet,
    keys,
    model,
    new,
    node,
    payer,
    register,
    request,
    tee,
    types,
    verify,
    watch,
)

app = typer.Typer(
    help="Didyma: an on-chain AI oracle.",
    no_args_is_help=True,
    invoke_without_command=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.", is_eager=True)] = False,
) -> None:
    """Didyma: an on-chain AI oracle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # models and strangers write what this terminal may not know
            stream.reconfigure(errors="backslashreplace")
    if version:
        typer.echo(f"didyma {version_of('didyma')}")
        raise typer.Exit


app.add_typer(node.app, name="node")
app.add_typer(keys.app, name="keys")
model.app.command("register")(register.register)
app.add_typer(model.app, name="model")
app.add_typer(chain.service_app, name="service")
app.add_typer(chain.seat_app, name="seat")
app.add_typer(request.app, name="request")
app.add_typer(tee.app, name="tee")
app.add_typer(types.app, name="type")
app.add_typer(fleet.app, name="fleet")
app.command("dev")(dev.dev)
app.command("new")(new.new)
app.command("demo")(demo.demo)
app.command("ask")(ask.ask)
app.command("quote")(payer.quote)
app.command("verify")(verify.verify)
app.command("watch")(watch.watch)
app.command("withdraw")(payer.withdraw)
