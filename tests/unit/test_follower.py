"""The follower against a real chain: each event once, in order, and gone when its block goes."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rig import contract
from rig.crash_cases import open_journal
from rig.fault_rpc import Fault, FaultRpc, fault_rpc
from rig.recorder import Recorder, catch_up, make_follower, say, seen
from rig.stack import make_rpc

from oracle.chain.follower import Follower
from oracle.chain.reader import DOUBT_BLOCKS, Reader
from oracle.chain.rpc import Rpc
from oracle.chain.types import Log
from oracle.errors import Doubtful, FinalityViolated, ReorgedAway, RpcUnavailable
from oracle.journal.journal import Journal
from oracle.node import ledger

LOOKALIKE = "0x" + "ab" * 20


@dataclass
class Rig:
    follower: Follower
    journal: Journal
    recorder: Recorder
    rpc: Rpc

    @property
    def cursor(self) -> int:
        """Up to where everything is applied."""
        with self.journal.read() as tx:
            found = tx.cursor()
        return -1 if found is None else found.number


@asynccontextmanager
async def following(folder: Path, *urls: str, **options: Any) -> AsyncIterator[Rig]:
    rpc = make_rpc(*urls)
    journal = open_journal(folder)
    recorder = Recorder()
    try:
        yield Rig(make_follower(rpc, journal, recorder, **options), journal, recorder, rpc)
    finally:
        journal.close()
        await rpc.close()


# -- reorgs (F22) and finality (F19) ---------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 7, 8])
async def test_poll__reorg_up_to_the_final_depth__is_undone(chain, tmp_path, depth):
    say(chain, 1)
    chain.mine(8)
    say(chain, 2)
    chain.mine(depth - 1)
    async with following(tmp_path, chain.url, confirmations=0) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 2: 1}
        chain.reorg(depth)
        say(chain, 3)
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 3: 1}
        assert rig.recorder.rollbacks == [(chain.height() - depth - 1, ["log:2"])]


@pytest.mark.parametrize("depth", [9, 64])
async def test_poll__reorg_below_the_final_depth__stops(chain, tmp_path, depth):
    chain.mine(64)
    say(chain, 1)
    chain.mine(8)
    async with following(tmp_path, chain.url, confirmations=0) as rig:
        await catch_up(rig.follower)
        chain.reorg(depth)
        chain.mine()
        with pytest.raises(FinalityViolated, match="more than 8 blocks deep"):
            await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1}


async def test_poll__reorg_below_the_first_block_read__starts_again(chain, tmp_path):
    say(chain, 1)
    async with following(tmp_path, chain.url, confirmations=0, start_block=2) as rig:
        await catch_up(rig.follower)
        chain.reorg(2)
        contract.place(chain)
        say(chain, 2)
        await catch_up(rig.follower)
        assert seen(rig.journal) == {2: 1}


async def test_poll__endpoints_disagree_on_a_final_block__is_in_doubt_until_they_agree(chain, proxy, tmp_path):
    chain.mine(20)
    async with following(tmp_path, chain.url, proxy.url) as rig:
        await catch_up(rig.follower)
        other = chain.rpc("eth_getBlockByNumber", hex(5), False)
        chain.mine()
        height = chain.height()
        lie = {**other, "number": hex(height - 8), "hash": "0x" + "66" * 32}
        head = chain.rpc("eth_getBlockByNumber", "latest", False)
        proxy.script("eth_getBlockByNumber", "result", head, times=1)
        proxy.script("eth_getBlockByNumber", "result", lie)
        cursor = rig.cursor
        with pytest.raises(Doubtful, match=rf"disagree on final block {height - 8}: endpoint 1 has 0x6666"):
            await rig.follower.poll()
        assert rig.cursor == cursor
        proxy.heal()
        await catch_up(rig.follower)
        assert rig.cursor > cursor


class OtherFork(FaultRpc):
    """Shows another hash for every block, once it lies."""

    is_lying = False

    async def _answer(self, call: dict[str, Any], fault: Fault | None) -> tuple[int, bytes | None]:
        status, reply = await super()._answer(call, fault)
        if self.is_lying and call["method"] == "eth_getBlockByNumber" and reply is not None:
            reply = re.sub(rb'("hash":"0x)....', rb"\g<1>6666", reply)
        return status, reply


async def test_poll__one_endpoint_shows_another_chain_to_below_the_final_depth__is_in_doubt(chain, tmp_path):
    """The node ended by the word of one, though the other still had what was applied."""
    chain.mine(40)
    with fault_rpc(chain.url, OtherFork) as liar:
        async with following(tmp_path, liar.url, chain.url, confirmations=0) as rig:
            await catch_up(rig.follower)
            liar.is_lying = True
            with pytest.raises(Doubtful, match=r"^endpoints disagree on all blocks from \d+ to 41"):
                await rig.follower.poll()
            liar.is_lying = False
            chain.mine()
            await catch_up(rig.follower)
            assert rig.cursor == chain.height()


# -- endpoints that lie by omission (F18, F28) -------------------------------------------------------------------------


async def test_poll__one_endpoint_returns_no_logs__another_is_asked(chain, proxy, tmp_path):
    """The block's bloom filter contradicts the empty list."""
    proxy.script("eth_getLogs", "result", [])
    say(chain, 1)
    chain.mine(2)
    async with following(tmp_path, proxy.url, chain.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1}
        assert [(e.index, e.lies > 0) for e in rig.rpc.health()] == [(0, True), (1, False)]
        calls = proxy.calls["eth_getLogs"]
        chain.mine(3)
        await catch_up(rig.follower)
        assert proxy.calls["eth_getLogs"] == calls  # the truthful one is asked first from now on


async def test_poll__some_logs_of_a_block_left_out__the_other_endpoint_has_them(chain, proxy, tmp_path):
    proxy.script("eth_getLogs", "omit")
    chain.rpc("evm_setAutomine", False)
    say(chain, 1, 2)
    chain.mine(2)
    async with following(tmp_path, proxy.url, chain.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 2: 1}


async def test_n1_poll__no_endpoint_returns_logs__the_receipts_do(chain, proxy, tmp_path):
    proxy.script("eth_getLogs", "result", [])
    say(chain, 1)
    chain.mine(2)
    async with following(tmp_path, proxy.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1}


async def test_n1_poll__nobody_shows_what_the_bloom_says__the_cursor_waits_and_says_why(chain, proxy, tmp_path):
    """One `[]` of the only endpoint lost a request for ever."""
    proxy.script("eth_getLogs", "result", [], times=3)
    proxy.script("eth_getBlockReceipts", "error", {"code": -32601, "message": "the method does not exist"})
    say(chain, 1)
    said = chain.height()
    chain.mine(3)
    async with following(tmp_path, proxy.url) as rig:
        progress = await rig.follower.poll()
        assert progress.behind == 3
        assert f"block {said}: its bloom filter says" in progress.doubt
        assert rig.cursor < said
        while progress.doubt:
            chain.mine()
            progress = await rig.follower.poll()
        assert seen(rig.journal) == {1: 1}
        assert progress.behind == 0


async def test_poll__bloom_filter_is_wrong__is_believed_after_some_blocks(chain, proxy, tmp_path):
    proxy.script("eth_getLogs", "result", [])
    proxy.script("eth_getBlockReceipts", "error", {"code": -32601, "message": "the method does not exist"})
    say(chain, 1)
    chain.mine(2)
    async with following(tmp_path, proxy.url) as rig:
        polls = 1
        while (await rig.follower.poll()).doubt:
            chain.mine()
            polls += 1
        assert polls == DOUBT_BLOCKS + 1
        assert proxy.calls["eth_getBlockReceipts"] == 1  # a method that is not there is asked for once


async def test_n1_history__one_endpoint_leaves_logs_out__the_other_settles_it(chain, proxy, tmp_path):
    proxy.script("eth_getLogs", "result", [])
    say(chain, 1)
    say(chain, 2)
    chain.mine(30)
    async with following(tmp_path, proxy.url, chain.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 2: 1}


async def test_poll__endpoint_behind_the_head__waits_and_loses_nothing(chain, proxy, tmp_path):
    say(chain, 1)
    chain.mine(5)
    async with following(tmp_path, proxy.url) as rig:
        await catch_up(rig.follower)
        say(chain, 2)
        chain.mine(2)
        proxy.script("*", "lag", 6)
        progress = await rig.follower.poll()
        assert (progress.applied, progress.reorg_depth) == (0, 0)
        proxy.heal()
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 2: 1}


@pytest.mark.parametrize("blocks_on_top", [2, 30])
async def test_poll__logs_doubled_and_shuffled__each_is_applied_once(chain, proxy, tmp_path, blocks_on_top):
    proxy.script("eth_getLogs", "repeat")
    say(chain, 1, 2, 3)
    chain.mine(blocks_on_top)
    async with following(tmp_path, proxy.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 2: 1, 3: 1}
        with rig.journal.read() as tx:
            indexes = [job.payload["index"] for job in tx.jobs()]
        assert indexes == sorted(indexes)


async def test_poll__same_event_from_another_contract_or_with_another_topic__is_ignored(chain, tmp_path):
    contract.place(chain, LOOKALIKE)
    say(chain, 1, to=LOOKALIKE)
    say(chain, 2, topic=b"\x02" * 32)
    say(chain, 3)
    chain.mine(2)
    async with following(tmp_path, chain.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {3: 1}


async def test_poll__endpoint_adds_a_lookalike_log__is_ignored(chain, proxy, tmp_path):
    say(chain, 1)
    chain.mine(1)
    block = chain.rpc("eth_getBlockByNumber", hex(2), False)
    (log,) = chain.rpc("eth_getLogs", {"blockHash": block["hash"]})
    forged = {**log, "address": LOOKALIKE, "logIndex": "0x1"}
    proxy.script("eth_getLogs", "result", [log, forged])
    async with following(tmp_path, proxy.url, start_block=2) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1}


# -- progress (F21) ----------------------------------------------------------------------------------------------------


async def test_poll__chain_halts_and_resumes__is_read_on_in_one_go(chain, tmp_path):
    say(chain, 1)
    chain.mine(2)
    async with following(tmp_path, chain.url) as rig:
        await catch_up(rig.follower)
        for _ in range(3):
            progress = await rig.follower.poll()
            assert (progress.applied, progress.behind) == (0, 0)
        say(chain, 2)
        chain.mine(39)
        progress = await rig.follower.poll()
        assert (progress.cursor.number, progress.behind) == (chain.height() - 1, 0)
        assert seen(rig.journal) == {1: 1, 2: 1}


async def test_poll__told_to_stop__ends_a_long_reading_and_goes_on_later(chain, tmp_path):
    say(chain, 1)
    chain.mine(300)
    stopping = [True]
    async with following(tmp_path, chain.url, stopping=lambda: stopping[0]) as rig:
        rig.follower._reader._width.blocks = 50
        progress = await rig.follower.poll()
        assert 0 < progress.cursor.number < chain.height() - 8
        assert progress.behind > 8
        stopping[0] = False
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1}


async def test_poll__logs_of_a_removed_block__are_asked_again(chain, proxy, tmp_path):
    say(chain, 1)
    chain.mine(2)
    block = chain.rpc("eth_getBlockByNumber", hex(2), False)
    (log,) = chain.rpc("eth_getLogs", {"blockHash": block["hash"]})
    proxy.script("eth_getLogs", "result", [{**log, "removed": True}], times=1)
    async with following(tmp_path, proxy.url, start_block=2) as rig:
        with pytest.raises(ReorgedAway):
            await rig.follower.poll()
        assert rig.rpc.health()[0].trouble is None
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1}


async def test_poll__start_block_not_reached__waits(chain, tmp_path):
    async with following(tmp_path, chain.url, start_block=100) as rig:
        with pytest.raises(RpcUnavailable, match="has not reached block 99"):
            await rig.follower.poll()


async def test_poll__steady_state__asks_at_most_four_times_a_block(chain, proxy, tmp_path):
    chain.mine(20)
    async with following(tmp_path, proxy.url) as rig:
        await catch_up(rig.follower)
        proxy.calls.clear()
        for _ in range(10):
            chain.mine()
            await rig.follower.poll()
            await rig.follower.poll()
        assert proxy.calls.total() <= 40


async def test_poll__restart__goes_on_where_it_was(chain, tmp_path):
    say(chain, 1)
    chain.mine(2)
    async with following(tmp_path, chain.url) as rig:
        await catch_up(rig.follower)
    say(chain, 2)
    chain.mine(2)
    async with following(tmp_path, chain.url) as rig:
        await catch_up(rig.follower)
        assert seen(rig.journal) == {1: 1, 2: 1}


async def test_poll__journal_emptied_beneath_it__reads_again_though_the_head_is_the_same(chain, tmp_path):
    """A rebuild forgets the cursor: a head seen before must not pass for a chain read before."""
    say(chain, 1)
    chain.mine(2)
    async with following(tmp_path, chain.url) as rig:
        await catch_up(rig.follower)
        with rig.journal.write() as tx:
            ledger.restart(tx)
        progress = await rig.follower.poll()
        while progress.behind:
            before = progress.behind
            progress = await rig.follower.poll()
            assert progress.behind < before
        assert seen(rig.journal) == {1: 2}  # read twice: the recorder's own rows were not emptied


# -- property (F28) ----------------------------------------------------------------------------------------------------


def _log(number: int, index: int, ours: bool) -> Log:
    address = contract.ADDRESS if ours else LOOKALIKE
    return Log(address, (contract.TOPIC,), b"", number, bytes([number]) * 32, b"\0" * 32, index)


_logs = st.lists(st.builds(_log, st.integers(1, 3), st.integers(0, 4), st.just(True)), max_size=12)


@settings(max_examples=200, deadline=None)
@given(st.data(), _logs)
def test_wanted__any_order_any_repetition__same_result(data, logs):
    reader = Reader(make_rpc("http://127.0.0.1:1"), [contract.ADDRESS], [contract.TOPIC])
    strangers = [_log(1, 9, False)]
    disturbed = data.draw(st.permutations(logs + logs + strangers))
    wanted = reader.wanted(disturbed)
    assert wanted == reader.wanted(logs)
    assert [(e.block_number, e.index) for e in wanted] == sorted({(e.block_number, e.index) for e in logs})
