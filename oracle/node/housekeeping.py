"""What a node does now and then: fetch its credit, look at its seats' balances, forget what is closed for good."""

from collections.abc import Sequence

from oracle.chain.contracts import Contracts, viewed
from oracle.chain.rpc import Rpc
from oracle.chain.sender import Intent, Sender
from oracle.chain.types import Block
from oracle.journal.journal import Journal
from oracle.journal.outbox import LIVE, Outbox
from oracle.node.findings import forget_findings
from oracle.node.plan import View
from oracle.node.settings import Settings
from oracle.node.status import Status

MOST_SEATS = 100
"""Own seats whose balances are read."""


class Housekeeping:
    """Of one node. What it reads goes into the node's status."""

    def __init__(self, settings: Settings, contracts: Contracts, rpc: Rpc, journal: Journal, status: Status) -> None:
        self._settings, self._contracts, self._rpc = settings, contracts, rpc
        self._journal, self._status = journal, status

    async def keep(self, senders: Sequence[Sender], view: View) -> None:
        """Once every so many blocks. Raises Transient errors."""
        head = view.head
        for sender in senders:
            await self._withdraw(sender, head)
        own = [seat for seat in view.seats if seat.operator == view.operator and seat.state != "left"][:MOST_SEATS]
        free = {}
        for seat in own:
            said = await viewed(self._rpc, self._contracts.oracle, "seatOf", seat.service, seat.seat, block=head)
            free[seat.service, seat.seat] = int(said["balanceWei"])
        self._status.free_wei = free
        with self._journal.write() as tx:
            forget_findings(tx, head.number - self._settings.finality)

    async def _withdraw(self, sender: Sender, head: Block) -> None:
        oracle = self._contracts.oracle
        credit = int(await viewed(self._rpc, oracle, "credit", sender.address, block=head))
        self._status.credit_wei[sender.address] = credit
        if self._settings.withdraw_to is None or credit < max(self._settings.withdraw_above_wei, 1):
            return
        with self._journal.write() as tx:
            rows = Outbox(tx, sender.address).intents(*LIVE)
            if not any(row.intent.key.startswith("withdraw:") for row in rows):
                data = oracle.encode("withdraw", self._settings.withdraw_to, credit)
                key = f"withdraw:{sender.address}:{head.number}"
                sender.plan(tx, Intent(key, oracle.address, data, stake_wei=credit), head.timestamp)
