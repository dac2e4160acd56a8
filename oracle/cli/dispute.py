"""`didyma dispute`: dispute games as text."""

from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from oracle.cli.chain import reading
from oracle.client import OracleClient
from oracle.disputes import story
from oracle.disputes.game import Game, Stage
from oracle.errors import Refused

app = typer.Typer(help="Disputes that end in arithmetic.", no_args_is_help=True)
console = Console(highlight=False, soft_wrap=True)


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


def drawn(client: OracleClient, opened: story.Opened, names: dict[str, str] | None = None) -> Tree:
    """A game as a tree that grows with every round. names: of addresses."""
    names = names or {}
    state = Game.from_abi(client.game.functions.gameOf(opened.game).call())
    tree = Tree(f"[bold]game {opened.game:#066x}[/]\nabout request {opened.request:#066x}")
    branches = [tree]
    for line in story.tell(client, opened):
        while len(branches) > line.depth + 1:
            branches.pop()
        while len(branches) < line.depth + 1:
            branches.append(branches[-1].children[-1] if branches[-1].children else branches[-1])
        who, what = names.get(line.who, line.who), line.text
        for address, name in names.items():
            what = what.replace(address, name)
        branches[-1].add(f"{escape(f'{who} {what}')}  [dim]block {line.block}, gas {line.gas_used:,}[/]")
    if state.stage is not Stage.OVER:
        side = "the node" if state.node_to_move else "the challenger"
        tree.add(f"[bold]{side} is to move until {state.deadline}[/] (Unix time)")
    return tree
