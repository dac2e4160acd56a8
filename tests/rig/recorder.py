"""A follower with the simplest handler: it writes down each event and how often it was applied."""

from collections.abc import Sequence
from typing import Any

from eth_account import Account

from oracle.chain.follower import Follower
from oracle.chain.rpc import Rpc
from oracle.chain.types import Log
from oracle.journal.journal import BlockRef, Journal, Tx
from rig import contract
from rig.anvil import KEYS, Anvil

SPEAKER = Account.from_key(KEYS[2]).address


class Recorder:
    """Jobs "log:<word>" with the number of times they were applied."""

    def __init__(self) -> None:
        self.rollbacks: list[tuple[int, list[str]]] = []

    def apply(self, tx: Tx, block: BlockRef, logs: Sequence[Log]) -> None:
        for entry in logs:
            key = f"log:{int.from_bytes(entry.data, 'big')}"
            known = tx.job(key)
            times = 1 if known is None else known.payload["times"] + 1
            payload = {"times": times, "block": block.hash.hex(), "index": entry.index}
            tx.put_job("seen", key, "seen", payload, block.number)

    def rolled_back(self, tx: Tx, to: BlockRef, keys: Sequence[str]) -> None:
        self.rollbacks.append((to.number, list(keys)))


def make_follower(rpc: Rpc, journal: Journal, handler: Recorder | None = None, **options: Any) -> Follower:
    """Follows the test contract from block 1, one confirmation, final after eight."""
    settings: dict[str, Any] = {"start_block": 1, "confirmations": 1, "finality": 8, **options}
    addresses, topics = [contract.ADDRESS], [contract.TOPIC]
    return Follower(rpc, journal, handler or Recorder(), addresses=addresses, topics=topics, **settings)


def say(chain: Anvil, *words: int, topic: bytes = contract.TOPIC, to: str = contract.ADDRESS) -> None:
    """Events in one new block."""
    for word in words:
        data = "0x" + contract.call(word, topic).hex()
        chain.rpc("eth_sendTransaction", {"from": SPEAKER, "to": to, "data": data, "gas": hex(100_000)})
    chain.mine()


def seen(journal: Journal) -> dict[int, int]:
    """How often each word was applied."""
    with journal.read() as tx:
        return {int(job.key.removeprefix("log:")): job.payload["times"] for job in tx.jobs("seen")}


async def catch_up(follower: Follower, polls: int = 50) -> None:
    """Polls until nothing is left."""
    for _ in range(polls):
        progress = await follower.poll()
        if progress.behind == 0 and progress.reorg_depth == 0:
            return
    raise AssertionError("the follower does not catch up")
