"""This daemon's part among those with the same keys: it signs while it leads, and follows what others sign otherwise.

Both read the chain by themselves. What was signed comes from the fleet's database into the journal before this daemon
signs anything: the next one goes on where the last one stopped, with the same bytes.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from eth_utils.crypto import keccak

from oracle.chain.keys import Signer, UnsignedTx, check_signed
from oracle.errors import BadRecord, FleetUnavailable, NotLeading, SignerFailed
from oracle.journal.journal import Journal
from oracle.journal.outbox import LIVE, Outbox
from oracle.journal.signed import Signed, adopt, signed_of
from oracle.node.fleet import make_leader
from oracle.node.settings import Settings

if TYPE_CHECKING:
    from oracle.fleet.leader import Leader

log = structlog.get_logger()


class Standby:
    """Of one daemon. Its owner calls `look` before each tick of the senders."""

    def __init__(self, journal: Journal, leader: "Leader", signers: list[str], chain_id: int) -> None:
        self._journal, self._leader, self._signers, self._chain_id = journal, leader, signers, chain_id
        self._session = 0
        self._read: dict[str, int] = {}
        self._epoch: int | None = None
        """Of the leadership for which the journal is complete."""
        self.taken: frozenset[str] = frozenset()
        """Keys of transactions on their way that this process has not planned: whoever signed them had computed what
        this daemon may not have, so that nothing here wants them yet. They are not given up for that."""
        self._is_first = True
        self.leads: bool | None = None
        """As of the last look; None if the database cannot be used, and so nobody knows."""

    def open(self, changed: Callable[[], None]) -> None:
        """Begins to compete. changed: called in this loop when this daemon begins to lead, or ends."""
        loop = asyncio.get_running_loop()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(changed)

        self._leader.changed = tell
        self._leader.open()

    def close(self) -> None:
        """Lets another lead."""
        self._leader.close()

    @property
    def trouble(self) -> str:
        """Why nobody can know who leads; empty if that is known."""
        return self._leader.trouble if self.leads is None else ""

    @property
    def warning(self) -> str:
        """What somebody who looks at this daemon should know; empty while it leads."""
        return "standing by: another daemon with this key signs" if self.leads is False else ""

    async def look(self) -> bool | None:
        """Takes in what others have signed; returns `leads`. Raises BadRecord, ConflictingAnswer."""
        epoch = self._leader.epoch  # before reading: nobody else can have written since
        try:
            await self._follow()
            self._forget_mined()
            if epoch is not None and epoch != self._epoch:
                await self._hand_in(epoch)
        except (FleetUnavailable, NotLeading):
            self._epoch, self.leads = None, None
            return None
        self._epoch, self.leads = epoch, epoch is not None
        return self.leads

    async def record(self, signed: Signed) -> None:
        """Before it is sent. Raises NotLeading, FleetUnavailable; then it must not be sent."""
        if self._epoch is None:
            raise NotLeading("another daemon with this key may sign now")
        await asyncio.to_thread(self._leader.record, self._epoch, signed)

    async def _follow(self) -> None:
        for signer in self._signers:
            while True:
                if self._session != self._leader.sessions:  # perhaps to another database
                    self._session, self._read = self._leader.sessions, {}
                with self._journal.read() as tx:
                    final = Outbox(tx, signer).highest_final()
                after, least = self._read.get(signer, 0), 0 if final is None else final.nonce + 1
                found = await asyncio.to_thread(self._leader.signed_after, after, signer, least)
                if not found:
                    break
                for _, signed in found:
                    self._verify(signed)
                with self._journal.write() as tx:
                    new = [signed for _, signed in found if adopt(tx, signed)]
                if new:
                    log.info("what another daemon signed is in the journal", signer=signer, transactions=len(new))
                self.taken |= {signed.key for signed in new if signed.key is not None}
                if self._session == self._leader.sessions:
                    self._read[signer] = found[-1][0]

    def _forget_mined(self) -> None:
        with self._journal.read() as tx:
            if self._is_first:  # from before this process
                self.taken |= {key for signer in self._signers for key in Outbox(tx, signer).keys("sent")}
            if self.taken:
                states = Outbox(tx, self._signers[0]).states(self.taken)
                self.taken = frozenset(key for key, state in states.items() if state in LIVE)
        self._is_first = False

    async def _hand_in(self, epoch: int) -> None:
        """What this journal has signed and the database lacks: from before there was a fleet, or from one that is
        lost."""
        for signer in self._signers:
            with self._journal.read() as tx:
                known = signed_of(tx, signer, "open", "mined")
            for signed in known:
                await asyncio.to_thread(self._leader.record, epoch, signed)

    def _verify(self, signed: Signed) -> None:
        """Raises BadRecord unless the key has signed this, for what it is said to be for."""
        attempt, intent = signed.attempt, signed.intent
        if (intent is None) != attempt.cancels or (intent is not None and signed.key is None):
            raise BadRecord("the fleet's database tells a transaction without what it is for")
        tx = UnsignedTx(
            chain_id=self._chain_id,
            nonce=attempt.nonce,
            to=signed.signer if intent is None else intent.to,
            value_wei=0 if intent is None else intent.value_wei,
            data=b"" if intent is None else intent.data,
            gas_limit=attempt.gas_limit,
            max_fee_wei=attempt.max_fee_wei,
            tip_wei=attempt.tip_wei,
        )
        try:
            check_signed(attempt.raw, tx, signed.signer)
        except (SignerFailed, ValueError):
            raise BadRecord(
                f"the fleet's database tells for nonce {attempt.nonce} what this key has not signed"
            ) from None
        if attempt.hash != keccak(attempt.raw):
            raise BadRecord(f"the fleet's database tells nonce {attempt.nonce} under another hash")


def make_standby(settings: Settings, journal: Journal, signers: Sequence[Signer], chain_id: int) -> Standby | None:
    """None for a daemon that has its keys to itself. Raises BadSettings."""
    if not settings.standby or settings.fleet_url is None:
        return None
    addresses = [signer.address for signer in signers]
    return Standby(journal, make_leader(settings.fleet_url.get_secret_value(), addresses), addresses, chain_id)
