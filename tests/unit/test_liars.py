"""An endpoint that lies, asked before an honest one or alone: what it invents is not believed.

The chain is `rig.metronome`'s, in simulated time; each fiftieth block has a log.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from rig.crash_cases import open_journal
from rig.metronome import Metronome, Server, _hash, reading
from rig.no_time import in_no_time
from rig.recorder import Recorder, make_follower, seen

from oracle.chain.reader import DOUBT_BLOCKS
from oracle.chain.tips import Tips
from oracle.errors import Doubtful

EVERY, HEIGHT, GWEI = 50, 120, 10**9
TIPS = ("eth_maxPriorityFeePerGas", "eth_feeHistory")


class Liar(Server):
    """Invents logs in block `lie`, by hash and in ranges."""

    def __init__(self, chain: Metronome, lie: int) -> None:
        super().__init__(chain, 0.01)
        self.lie = lie

    async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
        said = await super()._said(method, params)
        if method == "eth_getLogs" and "result" in said:
            block = self.chain.block(self.lie)
            query = params[0]
            asked = query.get("blockHash") == block["hash"] or (
                "fromBlock" in query and int(query["fromBlock"], 16) <= self.lie <= int(query["toBlock"], 16)
            )
            if asked:
                (model,) = self.chain.logs(EVERY, EVERY)
                names = {"blockNumber": block["number"], "blockHash": block["hash"], "logIndex": "0x7"}
                said["result"] = [*said["result"], {**model, **names, "transactionHash": "0x" + "77" * 32}]
        return said


class Forger(Server):
    """Shows blocks of its own from number `since` on, each with a log; ahead: of the true head."""

    def __init__(self, chain: Metronome, since: int, ahead: int) -> None:
        super().__init__(chain, 0.01)
        self.forged = Metronome(chain.interval, chain.first_height + ahead, 1)
        self.since = since

    async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
        if method == "eth_getBlockByNumber":
            number = self.forged.height if params[0] == "latest" else int(params[0], 16)
            if number >= self.since:
                return {"result": self._block(number)} if number <= self.forged.height else {"result": None}
        if method == "eth_getBlockByHash" and params[0][2:6] == "bad0":
            return {"result": self._block(int(params[0][-16:], 16))}
        if method == "eth_getLogs" and params[0].get("blockHash", "")[2:6] == "bad0":
            number = int(params[0]["blockHash"][-16:], 16)
            return {"result": [{**log, "blockHash": _bad(number)} for log in self.forged.logs(number, number)]}
        return await super()._said(method, params)

    def _block(self, number: int) -> dict[str, Any]:
        parent = _hash(number - 1) if number == self.since else _bad(number - 1)
        return {**self.forged.block(number), "hash": _bad(number), "parentHash": parent}


def _bad(number: int) -> str:
    return "0xbad0" + _hash(number)[6:]


async def read(folder: Path, *servers: Server, polls: int = 3, **options: Any) -> tuple[dict[int, int], Any, list[str]]:
    """What was applied in some polls, a block apart; the reader; and what was doubted at each."""
    rpc, journal, doubts = reading(*servers), open_journal(folder), []
    follower = make_follower(rpc, journal, Recorder(), start_block=1, confirmations=1, **{"finality": 200, **options})
    try:
        for _ in range(polls):
            try:
                doubts.append((await follower.poll()).doubt)
            except Doubtful as error:
                doubts.append(str(error))
            await asyncio.sleep(1)
        return seen(journal), rpc, doubts
    finally:
        journal.close()


FINALITY = pytest.mark.parametrize("finality", [200, 8], ids=["young", "history"])


@FINALITY
@pytest.mark.parametrize("alone", [True, False])
def test_liar__log_that_the_bloom_cannot_hold__is_dropped_and_its_endpoint_asked_last(tmp_path, finality, alone):
    chain = Metronome(1.0, HEIGHT)
    servers = [Liar(chain, 77), *([] if alone else [Server(chain, 0.01)])]
    found, rpc, doubts = in_no_time(read(tmp_path, *servers, finality=finality))
    assert (found, set(doubts)) == ({50: 1, 100: 1}, {""})
    assert rpc.errors[0, "invented"] > 0
    assert [health.lies > 0 for health in rpc.health()] == [True, *([] if alone else [False])]


@FINALITY
def test_liar__log_that_the_bloom_holds_and_another_endpoint_does_not_show__is_doubted(tmp_path, finality):
    chain = Metronome(1.0, HEIGHT)
    servers = Liar(chain, 100), Server(chain, 0.01)
    found, rpc, doubts = in_no_time(read(tmp_path, *servers, polls=DOUBT_BLOCKS, finality=finality))
    assert found in ({}, {50: 1})
    assert all("block 100: endpoints contradict each other about logs of ours" in each for each in doubts)
    assert all(health.lies == 0 for health in rpc.health())  # nobody knows yet which of them


class Schemer(Liar):
    """Hides its log from queries, and shows it in the receipts of its block and of its transaction."""

    async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
        if method == "eth_getBlockReceipts":
            made = (await super()._said("eth_getLogs", [{"blockHash": params[0]}]))["result"]
            return {"result": [{"logs": [log for log in made if log["transactionHash"] == "0x" + "77" * 32]}]}
        return {"result": []} if method == "eth_getLogs" else await super()._said(method, params)


class Whole(Server):
    """Has the receipts of blocks. The log of block 100 is of another contract, though its bloom filter allows ours."""

    async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
        if method == "eth_getBlockReceipts":
            return {"result": []}
        said = await super()._said(method, params)
        if method == "eth_getLogs" and "result" in said:
            said["result"] = [log for log in said["result"] if log["blockNumber"] != hex(100)]
        return said


@FINALITY
@pytest.mark.parametrize("place", [0, 1])
def test_liar__log_that_the_bloom_holds_and_two_of_three_endpoints_do_not_show__is_dropped(tmp_path, finality, place):
    chain = Metronome(1.0, HEIGHT)
    servers: list[Server] = [Server(chain, 0.01), Server(chain, 0.01)]
    servers.insert(place, Liar(chain, 100))
    found, rpc, doubts = in_no_time(read(tmp_path, *servers, polls=DOUBT_BLOCKS + 2, finality=finality))
    assert found == {50: 1, 100: 1}
    assert [health.lies > 0 for health in rpc.health()] == [each == place for each in range(3)]
    assert doubts[-1] == ""


def test_liar__log_in_receipts_that_two_of_three_endpoints_do_not_show__is_dropped(tmp_path):
    chain = Metronome(1.0, HEIGHT)
    servers = Schemer(chain, 100), Whole(chain, 0.01), Whole(chain, 0.01)
    found, rpc, doubts = in_no_time(read(tmp_path, *servers, polls=DOUBT_BLOCKS + 2))
    assert found == {50: 1}
    assert rpc.health()[0].lies > 0
    assert doubts[-1] == ""


@FINALITY
def test_log__two_of_three_endpoints_lost_it_but_not_its_receipt__is_read(tmp_path, finality):
    class Forgetful(Server):
        async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
            said = await super()._said(method, params)
            return {"result": []} if method == "eth_getLogs" and "result" in said else said

    chain = Metronome(1.0, HEIGHT)
    servers = Forgetful(chain, 0.01), Server(chain, 0.01), Forgetful(chain, 0.01)
    found, rpc, _ = in_no_time(read(tmp_path, *servers, finality=finality))
    assert found == {50: 1, 100: 1}
    assert rpc.health()[1].lies == 0


@FINALITY
@pytest.mark.parametrize("count", [1, 2])
def test_logs__chain_that_fills_no_bloom_filter__are_believed(tmp_path, finality, count):
    class Bare(Metronome):
        def block(self, number: int) -> dict[str, Any]:
            return {**super().block(number), "logsBloom": "0x" + "00" * 256}

    chain = Bare(1.0, HEIGHT)
    found, _, _ = in_no_time(read(tmp_path, *(Server(chain, 0.01) for _ in range(count)), finality=finality))
    assert found == {50: 1, 100: 1}


@pytest.mark.parametrize("ahead", [0, 1, 1_000])
def test_forger__young_blocks_that_it_alone_has__are_not_read(tmp_path, ahead):
    chain = Metronome(1.0, HEIGHT)
    found, rpc, _ = in_no_time(read(tmp_path, Forger(chain, 116, ahead), Server(chain, 0.01)))
    assert found == {50: 1, 100: 1}
    assert "no other confirms it; block 115 counts" in rpc.waiting


def test_forger__longer_fork_than_any_true_one__is_in_doubt(tmp_path):
    chain = Metronome(1.0, HEIGHT)
    found, _, doubts = in_no_time(read(tmp_path, Forger(chain, 70, 0), Server(chain, 0.01)))
    assert found == {}
    assert all("endpoints disagree on all blocks" in each for each in doubts)


def test_forger__of_three_endpoints__costs_no_block(tmp_path):
    chain = Metronome(1.0, HEIGHT + 40)
    found, _, _ = in_no_time(read(tmp_path, Forger(chain, 130, 1_000), Server(chain, 0.01), Server(chain, 0.01)))
    assert found == {50: 1, 100: 1, 150: 1}


def test_forger__true_head_and_false_blocks_below_it__are_asked_for_again_by_their_hashes(tmp_path):
    class Below(Forger):
        async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
            if params[:1] == ["latest"]:
                return await Server._said(self, method, params)
            return await super()._said(method, params)

    chain = Metronome(1.0, HEIGHT)
    found, _, doubts = in_no_time(read(tmp_path, Below(chain, 70, 0), Server(chain, 0.01)))
    assert (found, set(doubts)) == ({50: 1, 100: 1}, {""})


def test_forger__history_that_it_alone_has__is_not_read(tmp_path):
    class Past(Forger):
        async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
            if params[:1] == ["latest"]:
                return await Server._said(self, method, params)
            return await super()._said(method, params)

    chain = Metronome(1.0, HEIGHT)
    found, _, doubts = in_no_time(read(tmp_path, Past(chain, 60, 0), Server(chain, 0.01), finality=8))
    assert set(found) <= {50}
    assert all("disagree" in each for each in doubts)


class Paid(Server):
    """Suggests a tip, and says that it was paid."""

    def __init__(self, chain: Metronome, gwei: int, lacks: tuple[str, ...] = ()) -> None:
        super().__init__(chain, 0.01)
        self.gwei, self.lacks = gwei, lacks

    async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:
        if method in self.lacks or method not in TIPS:
            return await super()._said(method, params)
        wei = hex(self.gwei * GWEI)
        return {"result": wei if method == TIPS[0] else {"reward": [["0x0"], [wei], [wei]]}}


@pytest.mark.parametrize(
    ("said", "gwei"),
    [([(500, ()), (2, ())], 2), ([(500, TIPS), (2, ())], 2), ([(500, ()), (2, TIPS)], 500), ([(5, TIPS)], 0)],
    ids=["the first overstates", "the first says nothing", "the other says nothing", "nobody says anything"],
)
def test_tip__endpoints_differ__the_least_that_one_says_counts(said, gwei):
    chain = Metronome(1.0, HEIGHT)

    async def tip() -> int:
        rpc = reading(*(Paid(chain, *each) for each in said))
        return await Tips(rpc).wei(await rpc.head())

    assert in_no_time(tip()) == gwei * GWEI
