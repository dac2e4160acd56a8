"""The simulator: would a transaction succeed in the state after a named block, with how much gas, or why not?"""

from collections.abc import Callable
from dataclasses import replace

from oracle.chain.rpc import Rpc
from oracle.chain.sender_types import SenderSettings
from oracle.chain.types import Block, Receipt
from oracle.errors import CallReverted
from oracle.journal.journal import Journal
from oracle.journal.outbox import Intent, Outbox


class Simulator:
    """The simulator of one key."""

    def __init__(
        self, rpc: Rpc, journal: Journal, address: str, settings: SenderSettings, explain: Callable[[bytes], str]
    ) -> None:
        """explain: decodes revert data."""
        self._rpc = rpc
        self._journal = journal
        self.address = address
        self._settings = settings
        self.explain = explain
        self._needs_gas: dict[bytes, int] = {}  # intent's digest: least gas limit, after it ran out of less

    async def gas_limit(self, intent: Intent, head: Block) -> int:
        """Gas limit for the intent in the state after `head`. Raises CallReverted."""
        if intent.gas_limit is not None:
            await self._rpc.call(intent.to, intent.data, head, sender=self.address, value_wei=intent.value_wei)
            return intent.gas_limit
        gas = await self._rpc.estimate_gas(
            intent.to, intent.data, head, sender=self.address, value_wei=intent.value_wei
        )
        if gas > self._settings.gas_cap:
            return gas
        wanted = max(gas * (100 + self._settings.gas_margin_percent) // 100, self._needs_gas.get(intent.digest, 0))
        return min(wanted, self._settings.gas_cap)

    async def gas_limit_anew(self, intent: Intent, head: Block, refused: int) -> int:
        """Gas limit of an intent after endpoints refused this one; the same if nobody can tell a better one."""
        try:
            return min(await self.gas_limit(replace(intent, gas_limit=None), head), self._settings.gas_cap)
        except CallReverted:
            return refused

    def ran_out_of_gas(self, intent: Intent, gas_limit: int) -> None:
        """Its next attempt gets twice as much."""
        self._needs_gas[intent.digest] = min(2 * gas_limit, self._settings.gas_cap)

    async def why(self, intent: Intent, receipt: Receipt) -> str:
        """Why a mined transaction reverted, as far as the state after its block still tells."""
        block = await self._rpc.block_by_hash(receipt.block_hash)
        if block is None:
            return "reverted"
        try:
            await self._rpc.call(intent.to, intent.data, block, sender=self.address, value_wei=intent.value_wei)
        except CallReverted as error:
            return self.explain(error.data)
        return "reverted; would succeed after its block"

    async def drop_if_failing(self, key: str, head: Block) -> bool:
        """Simulates a sent intent again; declares it useless if it would revert. Returns whether it is useless."""
        with self._journal.read() as tx:
            row = Outbox(tx, self.address).require(key)
        if row.state != "sent":
            return True
        try:
            await self.gas_limit(row.intent, head)
        except CallReverted as error:
            with self._journal.write() as tx:
                Outbox(tx, self.address).drop(key, self.explain(error.data))
            return True
        return False
