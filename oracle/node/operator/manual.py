"""What an operator does by hand. Looking works beside a running node; rebuilding and withdrawing want it stopped."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from oracle.chain.contracts import Contracts, viewed
from oracle.chain.deployment import Deployment
from oracle.chain.sender import Intent
from oracle.errors import BadSettings, Doubtful, JournalCorrupt
from oracle.journal.journal import Tx
from oracle.journal.outbox import LIVE
from oracle.journal.schema import intents
from oracle.node import ledger, pruning
from oracle.node.assembly import JOURNAL, bare_journal, load_signers, make_follower, make_rpc, open_journal
from oracle.node.daemon import open_node
from oracle.node.records import LIVE_CASE, LIVE_REQUEST
from oracle.node.settings import Settings

WAIT_SECONDS = 300.0


@dataclass(frozen=True)
class Withdrawal:
    """What became of one key's credit."""

    account: str
    credit_wei: int
    receiver: str
    oracle: str
    data: bytes
    """The call to the oracle."""
    state: str
    """none (no credit), dry (nothing was sent), or the state of the transaction."""
    reason: str = ""

    def __str__(self) -> str:
        match self.state:
            case "none":
                return f"{self.account} has no credit"
            case "dry":
                return f"{self.account} would send to {self.oracle}: 0x{self.data.hex()}"
            case _:
                outcome = f"{self.state} {self.reason}".rstrip()
                return f"{self.credit_wei} wei of {self.account} to {self.receiver}: {outcome}"


@contextmanager
def looking(settings: Settings) -> Iterator[Tx]:
    """The journal, read-only and without its lock."""
    path = _made(settings)
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            yield Tx(connection)
    finally:
        engine.dispose()


def _made(settings: Settings) -> Path:
    """The journal's file. Raises BadSettings if there is none yet."""
    path = settings.data_dir / JOURNAL
    if not path.exists():
        raise BadSettings(f"{path}: no journal yet; `didyma node run` makes one")
    return path


def list_jobs(settings: Settings, state: str = "") -> list[dict[str, Any]]:
    """Open requests (or those in `state`), open cases, and transactions on their way."""
    with looking(settings) as tx:
        jobs = [*tx.jobs("request", [state] if state else LIVE_REQUEST), *tx.jobs("case", LIVE_CASE)]
        rows = [{"kind": job.kind, "key": job.key, "state": job.state, "block": job.updated_block} for job in jobs]
        query = sa.select(intents.c.key, intents.c.state, intents.c.mined_block).where(intents.c.state.in_(LIVE))
        for key, intent_state, block in tx.connection.execute(query):
            rows.append({"kind": "transaction", "key": key, "state": intent_state, "block": block})
    return rows


async def withdraw(settings: Settings, *, dry_run: bool) -> list[Withdrawal]:
    """Sends each key's credit to `withdraw_to` and waits until that is mined."""
    if settings.withdraw_to is None:
        raise BadSettings("set withdraw_to to the cold address that credit should go to")
    if settings.standby and not dry_run:
        raise BadSettings("with standby the daemon that leads withdraws by itself: set withdraw_above_wei")
    node = await open_node(settings)
    oracle = node.contracts.oracle
    done = []
    try:
        head = await node.rpc.start()
        await node.contracts.check(node.rpc, head)
        for sender in node.outgoing.senders:
            credit = int(await viewed(node.rpc, oracle, "credit", sender.address, block=head))
            data = oracle.encode("withdraw", settings.withdraw_to, credit)
            state, reason = "dry" if credit else "none", ""
            if credit and settings.can_sign and not dry_run:
                key = f"withdraw:{sender.address}:{head.number}"
                with node.journal.write() as tx:
                    sender.plan(tx, Intent(key, oracle.address, data, stake_wei=credit), head.timestamp)
                state = "planned"
                for _ in range(int(WAIT_SECONDS / settings.poll_seconds) + 1):
                    head = await node.rpc.head()
                    await sender.tick(head)
                    with node.journal.read() as tx:
                        row = sender.status(tx, key)
                    state = "lost" if row is None else row.state
                    if row is None or state not in ("planned", "sent"):
                        break
                    await asyncio.sleep(settings.poll_seconds)
                reason = row.reason if row is not None else ""
            receiver = settings.withdraw_to
            done.append(Withdrawal(sender.address, credit, receiver, oracle.address, data, state, reason))
    finally:
        await node.close()
    return done


def prune(settings: Settings, older_than: int | None, *, dry_run: bool) -> dict[str, int]:
    """Deletes what is over from the journal. Returns how much of each kind.

    dry_run: nothing is deleted, and the node may be running. Raises BadSettings, AlreadyRunning.
    """
    _made(settings)
    if dry_run:
        with looking(settings) as tx:
            return pruning.counts(pruning.over(tx, settings.finality, older_than))
    journal = bare_journal(settings, Deployment.load(settings.deployment))
    try:
        with journal.write() as tx:
            keys = pruning.over(tx, settings.finality, older_than)
            tx.delete_jobs(keys)
    finally:
        journal.close()
    return pruning.counts(keys)


async def rebuild(settings: Settings, on_blocks: Callable[[int, int], None]) -> bytes:
    """Makes the journal again from the chain; moves a damaged file away first. Returns the ledger's digest.

    on_blocks: told of blocks read of a long history, and of how many. Raises Doubtful for what nobody settles.
    """
    deployment = Deployment.load(settings.deployment)
    operator, disputer = await load_signers(settings)  # their locks: nobody else may sign meanwhile
    try:
        journal = open_journal(settings, deployment)
    except JournalCorrupt:
        for suffix in ("", "-wal", "-shm"):
            path = settings.data_dir / f"{JOURNAL}{suffix}"
            if path.exists():
                os.replace(path, path.with_name(path.name + ".damaged"))
        journal = open_journal(settings, deployment)
    rpc = make_rpc(settings, deployment)
    try:
        contracts = Contracts.at(deployment)
        await contracts.check(rpc, await rpc.start())
        with journal.write() as tx:
            ledger.restart(tx)
        follower = make_follower(settings, contracts, rpc, journal, on_progress=on_blocks)
        progress = await follower.poll()
        while progress.reorg_depth:
            progress = await follower.poll()
        if progress.doubt:
            raise Doubtful(f"{progress.doubt}; run it again, or name another endpoint")
        with journal.read() as tx:
            return ledger.digest(tx)
    finally:
        journal.close()
        await rpc.close()
        for signer in (operator, disputer):
            if signer is not None:
                signer.close()
