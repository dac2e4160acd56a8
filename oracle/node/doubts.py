"""What the contracts' own state says against what was read of their events.

Logs that an endpoint leaves out leave traces in the state: a service that nobody saw made, seats that nobody saw taken,
a request that has moved on. The contracts count no requests; those that are known and open are compared one by one.
A doubt makes the node not ready; one that lasts has it read the chain again.
"""

from collections.abc import Sequence
from typing import NoReturn

import structlog

from oracle.chain.contracts import Contracts, viewed
from oracle.chain.follower import Progress
from oracle.chain.reader import DOUBT_BLOCKS
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import Doubtful
from oracle.ids import ServiceId
from oracle.journal.journal import Journal
from oracle.node import ledger
from oracle.node.records import LIVE_REQUEST, RequestRecord, SeatRecord, service_key

log = structlog.get_logger()

MOST_REQUESTS = 20
"""Open requests that are compared at once, the oldest first."""
STATUSES = ("none", *LIVE_REQUEST)
"""As IOracle.Status begins."""
READ_AGAIN_BLOCKS = 200
"""The most that lie between two readings of the whole chain because of a doubt that lasts."""


class Doubts:
    """Doubts about one journal."""

    def __init__(self, contracts: Contracts, rpc: Rpc, journal: Journal, services: Sequence[ServiceId]) -> None:
        self.found: list[str] = []
        """What is doubted, as of the last look."""
        self._contracts, self._rpc, self._journal, self._services = contracts, rpc, journal, services
        self._since = 0  # head at which doubts began
        self._read_again_at: int | None = None
        self._pause = DOUBT_BLOCKS  # between that reading and the next; twice as long each time

    async def look(self, progress: Progress) -> None:
        """Compares at the block up to which the journal has read. Raises Transient errors: Doubtful after it has
        emptied the journal of all that comes from events, so that the follower reads them again."""
        at, head = await self._rpc.block_by_hash(progress.cursor.hash), progress.head.number
        if at is None:
            return
        found = await self._compared(at)
        for doubt in found:
            if doubt not in self.found:
                log.error("logs are missing", reason=doubt, endpoints=len(self._rpc.health()))
        if not self.found:
            self._since, self._pause = head, DOUBT_BLOCKS
        self.found = found
        if not found or head - self._since < DOUBT_BLOCKS:
            return
        if self._read_again_at is None or head - self._read_again_at >= self._pause:
            self._read_again_at, self._pause = head, min(2 * self._pause, READ_AGAIN_BLOCKS)
            self.read_again(found[0])

    def read_again(self, reason: str) -> NoReturn:
        """Raises Doubtful, after it has emptied the journal of all that comes from events."""
        log.warning("reading the chain again", reason=reason)
        with self._journal.write() as tx:
            ledger.restart(tx)
        raise Doubtful(f"reading the chain again: {reason}")

    async def _compared(self, block: Block) -> list[str]:
        oracle = self._contracts.oracle
        with self._journal.read() as tx:
            known = {service: tx.job(service_key(service)) is not None for service in self._services}
            seats = [SeatRecord.of(job).service for job in tx.jobs("seat")]
            records = [RequestRecord.of(job) for job in tx.jobs("request", LIVE_REQUEST, limit=MOST_REQUESTS)]
        found = []
        for service in self._services:
            taken, _ = await viewed(self._rpc, oracle, "counts", service, block=block)
            name, seen = f"service 0x{service.hex()}", seats.count(service)
            if not known[service]:
                found.append(f"{name} exists, and its creation was not seen in the logs")
            elif taken != seen:
                found.append(f"{name} has had {taken} seats taken, and {seen} were seen in the logs")
        for record in records:
            status = await viewed(self._rpc, oracle, "statusOf", record.id, block=block)
            if STATUSES[status : status + 1] != (record.state,):
                found.append(f"request {record.id:#066x} is {record.state} by the logs, and not by the contract")
        return found
