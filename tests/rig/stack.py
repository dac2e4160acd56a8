"""A journal, an Rpc and a Sender on one test chain, and the loop that a daemon would run."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from pydantic import SecretStr

from oracle.chain.keys import LocalSigner
from oracle.chain.rpc import Rpc
from oracle.chain.sender import Intent, IntentRow, Report, Sender, SenderSettings
from oracle.chain.units import ETHER
from oracle.journal.journal import Journal
from oracle.journal.outbox import Attempt, NonceRow, Outbox
from rig import contract
from rig.anvil import CHAIN_ID, KEYS, Anvil


async def no_sleep(_seconds: float) -> None:
    """Back-off without waiting."""


def make_rpc(*urls: str, **options: Any) -> Rpc:
    """An Rpc that backs off in no time."""
    settings: dict[str, Any] = {"timeout_seconds": 2.0, "sleep": no_sleep, "clock": lambda: 0.0, **options}
    return Rpc([SecretStr(url) for url in urls], CHAIN_ID, **settings)


def intent(word: int = 1, **changes: Any) -> Intent:
    """Logs `word`, protects one ether."""
    fields: dict[str, Any] = {"key": f"answer:{word}", "to": contract.ADDRESS, "data": contract.call(word)}
    return Intent(**{**fields, "stake_wei": ETHER, **changes})


@dataclass
class Stack:
    """The parts, and shorthands for tests."""

    chain: Anvil
    rpc: Rpc
    journal: Journal
    sender: Sender

    async def tick(self) -> Report:
        """One tick at the present head."""
        return await self.sender.tick(await self.rpc.head())

    async def plan(self, wanted: Intent) -> IntentRow:
        """Enters an intent at the present chain time."""
        head = await self.rpc.head()
        with self.journal.write() as tx:
            return self.sender.plan(tx, wanted, head.timestamp)

    def drop(self, key: str) -> None:
        """Declares an intent useless."""
        with self.journal.write() as tx:
            self.sender.drop(tx, key, "test says so")

    def row(self, key: str) -> IntentRow:
        """An intent's row."""
        with self.journal.read() as tx:
            return Outbox(tx, self.sender.address).require(key)

    def nonces(self) -> list[NonceRow]:
        """All nonce rows."""
        with self.journal.read() as tx:
            return Outbox(tx, self.sender.address).nonces("open", "mined", "final")

    def attempts(self, nonce: int) -> list[Attempt]:
        """All attempts of a nonce."""
        with self.journal.read() as tx:
            return Outbox(tx, self.sender.address).attempts(nonce)

    async def run(self, blocks: int) -> Report:
        """Mines and ticks."""
        report = await self.tick()
        for _ in range(blocks):
            self.chain.mine()
            report = await self.tick()
        return report


@asynccontextmanager
async def stack(
    chain: Anvil,
    folder: Path,
    *,
    url: str | None = None,
    more: Sequence[str] = (),
    key: str = KEYS[0],
    dry: bool = False,
    **settings: Any,
) -> AsyncIterator[Stack]:
    """Opens everything on the journal in `folder`; the same folder again is a restart. more: endpoints after `url`."""
    signer = LocalSigner(Account.from_key(key))
    rpc = make_rpc(url or chain.url, *more)
    journal = Journal(folder / "journal.sqlite", f"{CHAIN_ID}:{contract.ADDRESS}", ballast_bytes=1 << 20)
    sender = Sender(
        rpc,
        journal,
        None if dry else signer,
        address=signer.address,
        settings=SenderSettings(**{"depth": 4, "bump_blocks": 2, **settings}),
    )
    try:
        yield Stack(chain, rpc, journal, sender)
    finally:
        journal.close()
        await rpc.close()
