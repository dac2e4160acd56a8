"""The command line: `didyma`."""

import typer

from oracle.cli import ask, chain, demo, dev, dispute, keys, model, node, register, tee

app = typer.Typer(help="Didyma: an on-chain AI oracle.", no_args_is_help=True, pretty_exceptions_show_locals=False)
app.add_typer(node.app, name="node")
app.add_typer(keys.app, name="keys")
model.app.command("register")(register.register)
app.add_typer(model.app, name="model")
app.add_typer(chain.service_app, name="service")
app.add_typer(chain.seat_app, name="seat")
app.add_typer(dispute.app, name="dispute")
app.add_typer(tee.app, name="tee")
app.command("dev")(dev.dev)
app.command("demo")(demo.demo)
app.command("ask")(ask.ask)
