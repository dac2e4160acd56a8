"""Who plays in the demo: nodes, a watcher and a bribed node, each a daemon of its own; and why one does not play."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oracle.client import devnet
from oracle.client.devnodes import NodeProcess
from oracle.ids import ServiceId

LIAR = ("-m", "oracle.demo.liar")
"""What a bribed node runs."""
BRIBED = "The food at the Delphi was awful."
"""A question that it lies about."""
LAST_LINES = 3  # of a log, where a step did not happen
MOST_LOG_BYTES = 1 << 24


class DidNotHappen(Exception):
    """A step of the demo failed."""


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

    def reasons(self) -> list[str]:
        """Why it is not ready; nothing if it is."""
        if (status := self.process.poll()) is not None:
            return [f"it ended with exit status {status}"]
        return super().reasons()

    def last_words(self, *, is_ready: bool) -> list[str]:
        """The last warnings and errors of its log; its last lines if there are none and it is not ready."""
        lines = self.log_lines(MOST_LOG_BYTES)
        serious = [line for line in lines if re.search(r"\[(warning|error|critical) *\]|Error", line)]
        return (serious or ([] if is_ready else lines))[-LAST_LINES:]


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
