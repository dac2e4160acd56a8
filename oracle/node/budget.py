"""How much ether this node's challenges may bind at a time.

A challenge over the budget is not sent, so a wrong answer may become final: the node says so as loudly as it can.
"""

from collections.abc import Sequence

import sqlalchemy as sa
import structlog

from oracle.journal.journal import Journal, Tx
from oracle.journal.schema import intents
from oracle.node.plan import View, Wanted

log = structlog.get_logger()


class Budget:
    """Of one node."""

    def __init__(self, journal: Journal, most_wei: int | None) -> None:
        """most_wei: None for no limit."""
        self._journal, self._most_wei = journal, most_wei
        self.refused: set[str] = set()
        """Keys of the challenges that the last round wanted and the budget did not allow."""

    def kept(self, wanted: Sequence[Wanted], view: View, read_to: int) -> list[Wanted]:
        """What is wanted, less the challenges that would bind more than the budget. read_to: the block up to which the
        journal's games and cases go. The first wanted come first; what is on its way stays."""
        was, self.refused = self.refused, set()
        if self._most_wei is None or not any(want.value_wei for want in wanted):
            return list(wanted)
        with self._journal.read() as tx:
            under_way = _under_way(tx, read_to)
        bound = bonds_out_wei(view) + sum(under_way.values())
        found = []
        for want in wanted:
            if want.value_wei and want.key not in under_way:
                if bound + want.value_wei > self._most_wei:
                    self.refused.add(want.key)
                    continue
                bound += want.value_wei
            found.append(want)
        for key in self.refused - was:
            log.error("challenge not sent: the bond budget is used up", key=key, budget_wei=self._most_wei)
        return found


def bonds_out_wei(view: View) -> int:
    """Bonds of this node's challenges that have not ended."""
    own = (view.operator.lower(), view.disputer.lower())
    games = sum(game.bond_wei for game in view.games if game.challenger.lower() in own)
    services = {record.id: view.services.get(record.request.service) for record in view.requests}
    cases = [services.get(case.request) for case in view.cases.values() if case.challenger.lower() in own]
    return games + sum(service.panel.challenge_bond_wei for service in cases if service is not None)


def _under_way(tx: Tx, read_to: int) -> dict[str, int]:
    """Ether sent along with transactions whose effects are not in the journal yet, by key."""
    waits = intents.c.state.in_(("planned", "sent")) | (
        (intents.c.state == "mined") & (intents.c.mined_block > read_to)
    )
    query = sa.select(intents.c.key, intents.c.value_wei).where(waits, intents.c.value_wei != 0)
    return {row.key: row.value_wei for row in tx.connection.execute(query)}
