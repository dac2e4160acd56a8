"""What runs while a crashpoint strikes, and what must hold after the restart. One case for every name in POINTS.

`work` is the whole life of a small process: it may die anywhere, is started again, and must then reach its goal.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from eth_account import Account
from sqlalchemy.engine import Connection

from oracle.journal.journal import Journal
from oracle.journal.outbox import Outbox
from oracle.journal.schema import MIGRATIONS
from rig import contract
from rig.anvil import CHAIN_ID, KEYS, Anvil
from rig.recorder import catch_up, make_follower, say, seen
from rig.stack import Stack, intent, stack

IDENTITY = f"{CHAIN_ID}:{contract.ADDRESS}"
NODE = Account.from_key(KEYS[0]).address


@dataclass(frozen=True)
class Case:
    """prepare runs once, work until it is done, verify afterwards."""

    work: Callable[[Anvil, Path], None]
    verify: Callable[[Anvil, Path], None]
    prepare: Callable[[Anvil, Path], None] = lambda chain, folder: None


def open_journal(folder: Path) -> Journal:
    """The journal as `stack` opens it."""
    return Journal(folder / "journal.sqlite", IDENTITY, ballast_bytes=1 << 20)


# -- an answer that gets mined -------------------------------------------------------------------------------------


async def _until(s: Stack, state: str) -> None:
    for _ in range(30):
        await s.tick()
        if s.row("answer:1").state == state:
            return
        s.chain.mine()
    raise AssertionError(f"ended as {s.row('answer:1').state}")


def answer(chain: Anvil, folder: Path) -> None:
    """Plans an answer (again after each restart) and follows it until it is final."""

    async def main() -> None:
        async with stack(chain, folder) as s:
            await s.plan(intent(1))
            await _until(s, "final")

    asyncio.run(main())


def answered_once(chain: Anvil, folder: Path) -> None:
    """One event on the chain, one nonce, one payload ever signed."""
    assert contract.count(chain) == 1
    assert chain.transactions(NODE) == 1
    journal = open_journal(folder)
    with journal.read() as tx:
        outbox = Outbox(tx, NODE)
        assert outbox.nonce_range() == (0, 0)
        assert outbox.require("answer:1").state == "final"
        assert [attempt.cancels for attempt in outbox.attempts(0)] == [False]
    journal.close()


# -- an answer that becomes useless --------------------------------------------------------------------------------


def useless(chain: Anvil, folder: Path) -> None:
    """Sends an answer, drops it before it is mined, follows its nonce to the end."""

    async def main() -> None:
        async with stack(chain, folder) as s:
            with s.journal.read() as tx:
                fresh = s.sender.status(tx, "answer:1") is None
            if fresh:
                await s.plan(intent(1))
                await s.tick()
                s.drop("answer:1")
            await _until(s, "replaced")

    asyncio.run(main())


def replaced_once(chain: Anvil, folder: Path) -> None:
    """Nothing on the chain but one self-transfer."""
    assert contract.count(chain) == 0
    assert chain.transactions(NODE) == 1


# -- events --------------------------------------------------------------------------------------------------------


def three_events(chain: Anvil, _folder: Path) -> None:
    say(chain, 1)
    say(chain, 2, 3)
    chain.mine()


def follow(chain: Anvil, folder: Path) -> None:
    """Applies the events there are."""

    async def main() -> None:
        async with stack(chain, folder) as s:
            await catch_up(make_follower(s.rpc, s.journal))

    asyncio.run(main())


def each_once(chain: Anvil, folder: Path) -> None:
    journal = open_journal(folder)
    assert seen(journal) == {1: 1, 2: 1, 3: 1}
    journal.close()


def follow_reorg(chain: Anvil, folder: Path) -> None:
    """Applies events, has them reorged away and others mined (once over all lives), applies those."""

    async def main() -> None:
        async with stack(chain, folder) as s:
            follower = make_follower(s.rpc, s.journal)
            await catch_up(follower)
            marker = folder / "reorged"
            if not marker.exists():
                marker.touch()
                chain.reorg(2)
                say(chain, 4)
                chain.mine()
            await catch_up(follower)

    asyncio.run(main())


def first_and_last(chain: Anvil, folder: Path) -> None:
    journal = open_journal(folder)
    assert seen(journal) == {1: 1, 4: 1}
    journal.close()


# -- the journal's file --------------------------------------------------------------------------------------------


def old_file(_chain: Anvil, folder: Path) -> None:
    journal = open_journal(folder)
    with journal.write() as tx:
        tx.put_job("watch", "watch:1", "open", {}, None)
    journal.close()


def _colour(connection: Connection) -> None:
    connection.execute(sa.text("ALTER TABLE jobs ADD COLUMN colour TEXT DEFAULT 'blue'"))


def migrate(_chain: Anvil, folder: Path) -> None:
    """Opens the file with a newer program."""
    Journal(folder / "journal.sqlite", IDENTITY, migrations=(*MIGRATIONS, _colour), ballast_bytes=0).close()


def migrated(_chain: Anvil, folder: Path) -> None:
    """The new column is there, the job too, and the backup opens with the older program."""
    journal = Journal(folder / "journal.sqlite", IDENTITY, migrations=(*MIGRATIONS, _colour), ballast_bytes=0)
    with journal.read() as tx:
        assert tx.connection.execute(sa.text("SELECT key, colour FROM jobs")).all() == [("watch:1", "blue")]
    journal.close()
    backup = Journal(folder / "journal.sqlite.schema2.bak", IDENTITY, ballast_bytes=0)
    with backup.read() as tx:
        assert tx.job("watch:1") is not None
    backup.close()


_answer = Case(answer, answered_once)
_useless = Case(useless, replaced_once)
_follow = Case(follow, each_once, three_events)

CASES = {
    "before_apply": _follow,
    "in_apply": _follow,
    "after_apply": _follow,
    "in_rollback": Case(follow_reorg, first_and_last, three_events),
    "after_plan": _answer,
    "after_simulate": _answer,
    "after_sign": _answer,
    "after_persist": _answer,
    "after_send": _answer,
    "after_mined": _answer,
    "after_final": _answer,
    "after_cancel_sign": _useless,
    "after_cancel_persist": _useless,
    "in_migration": Case(migrate, migrated, old_file),
    "after_backup": Case(migrate, migrated, old_file),
}
