"""Who plays in the demo: nodes, a watcher and a bribed node, each a daemon; with which model; why one does not play."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from oracle.client import devnet
from oracle.client.devnodes import NodeProcess
from oracle.ids import ServiceId
from oracle.models.shipped import SHIPPED_MODEL, SMOLLM2

LIAR = ("-m", "oracle.demo.liar")
"""What a bribed node runs."""
PAID_FOR = "Delphi"
"""It lies about every question with this word."""
BRIBED = f"The food at the {PAID_FOR} was awful."
"""One of them."""


REVIEW = "The soup was cold and the waiter was rude."


class DidNotHappen(Exception):
    """A step of the demo failed."""


class Model(StrEnum):
    """What the nodes run."""

    TINY = "didyma-tiny"
    SMOLLM2 = "smollm2"

    @property
    def description(self) -> Path:
        return SHIPPED_MODEL if self is Model.TINY else SMOLLM2

    @property
    def question(self) -> str:
        return REVIEW if self is Model.TINY else "What is the capital of France?"

    @property
    def words(self) -> tuple[str, ...]:
        """What may answer it."""
        return ("positive", "negative") if self is Model.TINY else ("Paris", "London", "Rome")


@dataclass(frozen=True)
class Role:
    """One daemon of the play."""

    plan: devnet.NodePlan
    what: str
    services: tuple[ServiceId, ...]
    changes: dict[str, object]
    """To the settings of a development node."""
    command: tuple[str, ...] = devnet.NODE
    tee: bool = False

    @property
    def name(self) -> str:
        return self.plan.name


@dataclass(frozen=True)
class Player(NodeProcess):
    """A daemon that runs. what: its part in the play."""

    what: str


def start(role: Role, folder: Path, rpc_url: str, models: Path) -> Player:
    """folder: where deployment.json lies."""
    port = devnet.free_port()
    own = folder / f"node-{role.plan.number}"
    changes = {"api_port": port, **role.changes}
    settings = devnet.write_node(own, role.plan, rpc_url, role.services, models, tee=role.tee, changes=changes)
    log = folder / f"node-{role.plan.number}.log"
    return Player(role.name, devnet.start_node(settings, log, role.command), port, log, role.what)


def explain(players: Iterable[Player]) -> str:
    """What each of them says of itself: for whoever wonders why nothing happens."""
    lines = []
    for player in players:
        reasons = player.reasons()
        lines.append(f"{player.name}, {player.what}: {'; '.join(reasons) if reasons else 'ready'}")
        lines += [f"    {line}" for line in player.last_words(is_ready=not reasons)]
    return "\n".join(lines)
