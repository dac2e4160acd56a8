"""`didyma dispute`: dispute games as text."""

from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console

from oracle.cli.connection import reading
from oracle.client import OracleClient
from oracle.disputes import story
from oracle.disputes.game import Game, Stage
from oracle.errors import Refused

app = typer.Typer(help="Disputes that end in arithmetic.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True, markup=False)
BAR, BRANCH = "│   ", "├── "


@app.command()
@reading
def show(
    client: OracleClient,
    identity: Annotated[str, typer.Argument(metavar="ID", help="A request's id, or a game's.")],
) -> None:
    """Draw dispute games: where the parties disagree, move by move."""
    try:
        wanted = int(identity, 16)
    except ValueError:
        raise Refused(f"{identity!r} is not an id in hexadecimal") from None
    found = story.games(client, wanted)
    if not found:
        raise Refused(f"no dispute game about {wanted:#066x} on this deployment")
    for opened in found:
        console.print(drawn(client, opened))


def drawn(client: OracleClient, opened: story.Opened, names: Mapping[str, str] | None = None) -> str:
    """A game as text that goes one step in with every round. names: of addresses."""
    names = names or {}
    state = Game.from_abi(client.game.functions.gameOf(opened.game).call())
    lines = [f"game {opened.game:#066x}", f"about request {opened.request:#066x}"]
    for line in story.tell(client, opened):
        said = f"{line.who} {line.text}"
        for address, name in names.items():
            said = said.replace(address, name)
        lines.append(f"{BAR * line.depth}{BRANCH}{said}  (block {line.block}, gas {line.gas_used:,})")
    if state.stage is not Stage.OVER:
        side = "the node" if state.node_to_move else "the challenger"
        lines.append(f"{side} is to move until {state.deadline} (Unix time)")
    return "\n".join(lines)
