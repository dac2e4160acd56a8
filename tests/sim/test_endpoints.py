"""A real daemon behind endpoints and on chains of many kinds: what each lacks costs time, never a request."""

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from e2e.world import TURN, make_node
from rig.fake_engine import FakeEngine
from rig.sim.deaths import deaths
from rig.sim.faults import SimEndpoint, connected
from rig.sim.opponents import Opponents
from rig.sim.play import DISPUTER, FINALITY, OPERATOR, Earth, Play
from rig.sim.pool import decode
from rig.sim.rpc import BAD_PARAMS, NO_METHOD, SERVER, RpcError
from rig.sim.strangers import Strangers

from oracle.chain.contracts import Contracts
from oracle.chain.fees import FeePolicy
from oracle.chain.reader import DOUBT_BLOCKS
from oracle.chain.unseen import LAST_PAUSE
from oracle.client.logs import whole_history
from oracle.client.offers import offers
from oracle.errors import BadSettings, ForeignTransaction
from oracle.node.assembly import check_services
from oracle.node.operator.check import read_services

GWEI = 10**9


class Rig:
    """One or two daemons, and somebody who asks."""

    def __init__(self, earth: Earth, folder: Path, fates: Any) -> None:
        self.earth, self.folder, self.fates = earth, folder, fates
        self.plays: list[Play] = []
        self.strangers = Strangers(earth)
        self.play = self.daemon("one")

    def daemon(self, name: str) -> Play:
        self.plays.append(Play(self.earth, self.folder / name, self.fates))
        return self.plays[-1]

    def ask(self) -> int:
        self.strangers.ask(b"question %d" % len(self.strangers.asked), 8)
        return list(self.strangers.asked)[-1]

    def serve(self, method: str, instead: Any) -> None:
        """Lets `instead(ask, params)` answer a method at all of the first daemon's endpoints."""
        for endpoint in self.play.endpoints:
            endpoint.serve = _changed(endpoint.serve, method, instead)

    def live_until(self, request: int, *statuses: str, most: int = 80, seconds: int = 1) -> int:
        """Lives until a request has one of these statuses. Returns how many blocks that took."""
        for blocks in range(most):
            if self.earth.status(request) in statuses:
                return blocks
            self.play.live(1, seconds)
        raise AssertionError(f"{self.earth.status(request)} after {most} blocks; {self.troubles}")

    def bid_up_to_half(self) -> None:
        """Of what a transaction protects, from the start: on a dear chain, requests must be worth it."""
        assert self.play.node is not None
        sender = self.play.node._operator
        sender._settings = replace(sender._settings, fees=FeePolicy(start_percent=50))

    @property
    def troubles(self) -> list[str]:
        assert self.play.node is not None
        return self.play.node.troubles()


def _changed(serve: Any, method: str, instead: Any) -> Any:
    def ask(asked: str, params: Any) -> Any:
        return instead(lambda: serve(asked, params), params) if asked == method else serve(asked, params)

    return ask


def lacking(_ask: Any, _params: Any) -> Any:
    raise RpcError(NO_METHOD, "the method does not exist/is not available")


@pytest.fixture
def rig(earth: Earth, tmp_path: Path) -> Iterator[Rig]:
    earth.chain.rpc("evm_revert", "0x0")
    earth.chain.sim.random.seed(0)
    with deaths() as fates:
        made = Rig(earth, tmp_path, fates)
        try:
            yield made
        finally:
            for play in made.plays:
                play.close()


# -- reading -----------------------------------------------------------------------------------------------------------


def test_n2_history__both_endpoints_leave_it_out__not_ready_says_which_and_reads_it_again(rig):
    for endpoint in rig.play.endpoints:
        endpoint.script("eth_getLogs", "result", [], times=1)
    rig.play.live(1)
    service = rig.earth.service.hex()
    assert any(f"service 0x{service} exists, and its creation was not seen" in each for each in rig.troubles)
    rig.play.live(DOUBT_BLOCKS + 3)
    assert rig.troubles == []
    rig.live_until(rig.ask(), "answered", "final")


def test_n1_logs__missing_for_longer_than_the_node_waits__are_read_once_somebody_shows_them(rig):
    """Nobody has the receipts either: the bloom filter alone says that there may be something."""
    rig.play.live(4)
    request = rig.ask()
    for endpoint in rig.play.endpoints:
        endpoint.script("eth_getLogs", "result", [])
        endpoint.script("eth_getBlockReceipts", "result", None)
    rig.play.live(2 * DOUBT_BLOCKS)
    assert rig.troubles == []  # it has given the doubt up: bloom filters are wrong at times
    for endpoint in rig.play.endpoints:
        endpoint.heal()
    assert rig.live_until(request, "answered", "final") < LAST_PAUSE // 8


@pytest.mark.parametrize("times", [3, 6])
def test_n2_history__left_out_of_several_readings__is_read_until_it_is_seen(rig, times):
    """The pauses between readings grow from a few blocks: a node that starts anew is not kept from its turns."""
    rig.play.live(60)
    rig.play.lose_journal()
    for endpoint in rig.play.endpoints:
        endpoint.most_blocks = 10
        endpoint.script("eth_getLogs", "result", [], times)
    rig.play.live(10)
    rig.live_until(rig.ask(), "answered", most=6 * TURN)


def test_n2_request__moved_on_without_a_log__is_doubted_and_read_again(rig):
    """Its answer's log is left out of the block in which bloom filter and receipts would show it, too."""
    rig.play.live(1)
    request = rig.ask()
    rig.play.live(1)
    node = rig.play.node
    assert node is not None
    rig.live_until(request, "answered")
    rig.play.live(3)
    with node.journal.write() as tx:
        job = tx.job(f"request:{request:064x}") or next(j for j in tx.jobs("request"))
        tx.put_job("request", job.key, "open", {**job.payload, "posted": None}, None)
    node._kept_house_at = 0
    rig.play.live(1)
    assert any("is open by the logs, and not by the contract" in each for each in rig.troubles)
    rig.play.live(DOUBT_BLOCKS + 2)
    assert rig.troubles == []


def too_long(ask: Any, params: Any) -> Any:
    """As an endpoint that gives ten blocks at once, of whatever range."""
    query = params[0]
    if "blockHash" not in query:
        first, last = (int(query[name], 16) for name in ("fromBlock", "toBlock"))
        if last - first >= 10:
            raise RpcError(BAD_PARAMS, "eth_getLogs is limited to a 10 block range")
    return ask()


async def test_n3_check__ten_blocks_at_once__finds_the_services(rig, tmp_path):
    rig.serve("eth_getLogs", too_long)
    rpc = connected(rig.play.endpoints)
    settings = rig.earth.settings(tmp_path)
    told: list[tuple[int, int]] = []
    found = await read_services(
        settings, Contracts.at(rig.earth.deployment), rpc, await rpc.head(), lambda *blocks: told.append(blocks)
    )
    assert [record.id for record in found] == [rig.earth.service, rig.earth.arena.earth.service]
    assert len(told) > 2
    assert told[-1][0] == told[-1][1]


def test_n3_service_list__ten_blocks_at_once__says_the_same(rig, monkeypatch):
    rig.play.mine(40)
    client, request = rig.earth.client, rig.earth.chain.request
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(client, "on_blocks", lambda *blocks: told.append(blocks))
    monkeypatch.setattr(client, "_width", whole_history())
    said = offers(client)
    assert told == []
    monkeypatch.setattr(rig.earth.chain, "request", _changed(request, "eth_getLogs", too_long))
    assert offers(client) == said
    assert told[-1][0] == told[-1][1]


def test_n5_round__block_comes_with_every_fourth_call__node_answers_all_the_same(rig):
    rig.play.live(1)
    request = rig.ask()
    calls = 0

    def mining(serve):
        def ask(method, params):
            nonlocal calls
            calls += 1
            if calls % 4 == 0:
                rig.play.mine(1)
            return serve(method, params)

        return ask

    for endpoint in rig.play.endpoints:
        endpoint.serve = mining(endpoint.serve)
    for _ in range(8):  # the first turn may be of a seat that nobody serves
        rig.play.work()
    assert rig.earth.status(request) in ("answered", "final")


# -- the blocks that seeds come from -----------------------------------------------------------------------------------


def test_seed_block__another_one_than_was_applied__gives_no_seed(rig):
    """All endpoints show it by its number, as endpoints do that serve a fork."""
    rig.play.live(1)
    request = rig.ask()
    wrong = _forked(rig, rig.earth.request(request).seed_block)
    rig.play.live(6)
    node = rig.play.node
    assert node is not None
    assert wrong.shown
    assert "is not the one that was applied" in node.status.trouble
    assert node._seeds == {}
    assert not node.status.view.outputs
    wrong.number = None
    rig.live_until(request, "answered", "final")


def test_seed_block__read_in_a_range__counts_once_no_endpoint_has_another(rig):
    """The journal is lost, and the block lies in history: its hash was never applied by itself."""
    request = rig.ask()
    rig.play.mine(FINALITY + 4)
    wrong = _forked(rig, rig.earth.request(request).seed_block, places=(0,))
    rig.play.live(3)
    node = rig.play.node
    assert node is not None
    assert wrong.shown
    assert f"endpoints disagree on final block {rig.earth.request(request).seed_block}" in node.status.trouble
    assert node._seeds == {}
    wrong.number = None
    rig.live_until(request, "answered", "final")


class _Forked:
    """Shows a block, asked for by its number, as another fork has it."""

    def __init__(self, number: int) -> None:
        self.number: int | None = number
        self.shown = 0

    def __call__(self, ask: Any, params: Any) -> Any:
        if params[0] == "latest" or int(params[0], 16) != self.number:
            return ask()
        self.shown += 1
        return {**ask(), "hash": "0x" + "77" * 32, "mixHash": "0x" + "66" * 32}


def _forked(rig: Rig, number: int, places: Sequence[int] = (0, 1)) -> _Forked:
    made = _Forked(number)
    for place in places:
        endpoint = rig.play.endpoints[place]
        endpoint.serve = _changed(endpoint.serve, "eth_getBlockByNumber", made)
    return made


def test_header__one_endpoint_shows_another_time__the_true_one_is_read(rig):
    """The turns of a request are counted from it. The hash is the true one, and the fields do not hash to it."""
    rig.play.live(1)
    request = rig.ask()
    number = rig.earth.request(request).block_number

    def late(ask: Any, _params: Any) -> Any:
        block = ask()
        is_meant = block and int(block["number"], 16) == number
        return {**block, "timestamp": hex(int(block["timestamp"], 16) + 100_000)} if is_meant else block

    for endpoint in rig.play.endpoints[:1]:
        for method in ("eth_getBlockByNumber", "eth_getBlockByHash"):
            endpoint.serve = _changed(endpoint.serve, method, late)
    rig.play.mine(3)  # so that the block is read by its number
    rig.live_until(request, "answered", "final")


def test_log__one_of_two_endpoints_shows_it_with_other_contents__neither_is_believed_however_long(rig):
    rig.play.live(1)
    _altered(rig)
    request = rig.ask()
    rig.play.live(3 * DOUBT_BLOCKS)
    assert rig.earth.status(request) == "open"
    assert any("show a log of ours with different contents" in each for each in rig.troubles)
    rig.play.endpoints[0].serve = rig.play.endpoints[1].serve
    rig.live_until(request, "answered", "final")


def test_log__one_of_three_endpoints_shows_it_with_other_contents__costs_nothing(rig):
    rig.play.endpoints.append(SimEndpoint(rig.play.chain.serve))
    rig.play.live(1)
    _altered(rig)
    request = rig.ask()
    rig.live_until(request, "answered", "final", most=3 * TURN)
    assert rig.play.node is not None
    assert rig.play.node.rpc.health()[0].lies


def _altered(rig: Rig) -> None:
    """The first endpoint shows the last byte of each log changed."""

    def other(ask: Any, _params: Any) -> Any:
        return [{**log, "data": log["data"][:-2] + "77"} for log in ask()]

    endpoint = rig.play.endpoints[0]
    endpoint.serve = _changed(endpoint.serve, "eth_getLogs", other)


# -- a game, as one endpoint makes it up -------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["nonsense", "over", "elsewhere"])
def test_game__one_endpoint_says_something_else__every_move_comes_in_time(rig, said):
    """Believed, it would cost the answer's bond."""
    opponents = Opponents(rig.earth.arena, Strangers(rig.earth.arena.earth), random.Random(0))
    rig.play.before_block = opponents.move
    rig.play.live(1)
    opponents.strangers.ask(rig.earth.arena.prompt(1), 3)
    request = list(opponents.strangers.asked)[-1]
    rig.live_until(request, "answered")
    endpoint, game = rig.play.endpoints[0], rig.earth.arena.contracts.playing("DisputeGame")

    def false(ask: Any, params: Any) -> Any:
        if not params[0]["data"].startswith("0x" + game.encode("gameOf", 1)[:4].hex()):
            return ask()
        if said == "nonsense":
            return "0x77"
        words = bytearray.fromhex(ask()[2:])
        words[5 * 32 + 31 if said == "over" else 9 * 32 + 31] = 6  # the stage, or the operator
        return "0x" + words.hex()

    endpoint.serve = _changed(endpoint.serve, "eth_call", false)
    assert opponents.challenge(1, 12, unread=False)
    for _ in range(40):
        rig.play.live(1)
        if opponents.open_games() and opponents.is_silent():
            break
    rig.live_until(request, "final", seconds=60)
    assert [told.args["challengerWon"] for told in rig.earth.arena.told("GameEnded")] == [False]


async def test_idle__block_after_block__asks_four_times_a_block(rig, tmp_path):
    """For the head, its logs, the key's nonce and balance."""
    endpoint = SimEndpoint(rig.earth.chain.serve)
    node = await make_node(rig.earth, tmp_path / "idle", OPERATOR, FakeEngine(), rpc=connected([endpoint]))
    try:
        for _ in range(4):
            rig.play.mine(1)
            await node.round()
        endpoint.calls.clear()
        for _ in range(10):
            rig.play.mine(1)
            await node.round()
        assert endpoint.calls.total() <= 40, endpoint.calls
    finally:
        await node.workshop.close(1)
        await node.close()


def test_eip_1898__unknown_to_the_endpoints__states_are_read_by_number(rig):
    def by_number_alone(ask, params):
        if isinstance(params[-1], dict):
            raise RpcError(BAD_PARAMS, "invalid argument 1: json: cannot unmarshal object into Go value of type string")
        return ask()

    for method in ("eth_call", "eth_estimateGas", "eth_getTransactionCount", "eth_getBalance", "eth_getCode"):
        rig.serve(method, by_number_alone)
    rig.play.live(1)
    rig.live_until(rig.ask(), "final")
    assert rig.troubles == []


def test_headers__without_bloom_mix_hash_and_base_fee_history__are_read(rig):
    def other(ask, _params):
        block = ask()
        return block and {key: value for key, value in block.items() if key not in ("logsBloom", "withdrawals")}

    for method in ("eth_getBlockByNumber", "eth_getBlockByHash"):
        rig.serve(method, other)
    for method in ("eth_feeHistory", "eth_maxPriorityFeePerGas", "eth_getBlockReceipts"):
        rig.serve(method, lacking)
    rig.play.live(1)
    rig.live_until(rig.ask(), "final")
    assert rig.troubles == []


async def test_chain__without_a_base_fee__is_refused_at_start_by_name(rig, tmp_path):
    rig.serve(
        "eth_getBlockByNumber", lambda ask, _: {key: value for key, value in ask().items() if key != "baseFeePerGas"}
    )
    rpc = connected(rig.play.endpoints)
    contracts, settings = Contracts.at(rig.earth.deployment), rig.earth.settings(tmp_path)
    with pytest.raises(BadSettings, match=r"no base fee \(EIP-1559\)"):
        await check_services(settings, contracts, rpc, await rpc.start())


# -- writing -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "transaction underpriced: gas tip cap {tip}, minimum needed 25000000000",
        "transaction underpriced: tip needed 25000000000, tip permitted {tip}",
        "transaction underpriced",
    ],
)
def test_n7_floor_of_25_gwei__first_bid_to_mined__in_a_few_blocks(rig, words):
    def floor(ask, params):
        tip = decode(bytes.fromhex(params[0][2:])).tx.max_priority_fee_per_gas
        if tip < 25 * GWEI:
            raise RpcError(SERVER, words.format(tip=tip))
        return ask()

    rig.serve("eth_sendRawTransaction", floor)
    rig.play.live(1)
    rig.bid_up_to_half()
    request = rig.ask()
    while not rig.play.endpoints[0].heard:
        rig.play.live(1)
    assert rig.live_until(request, "answered", "final") <= 6
    bids = [decode(raw).tx.max_priority_fee_per_gas for raw in rig.play.endpoints[0].heard]
    assert bids[0] == GWEI
    assert max(bids) < 75 * GWEI


def test_n7_floor_of_25_gwei__shown_by_the_last_blocks__the_first_bid_is_enough(rig):
    def paid(ask, _params):
        return {**ask(), "reward": [[hex(25 * GWEI)]] * 10}

    rig.serve("eth_feeHistory", paid)
    rig.play.live(1)
    rig.bid_up_to_half()
    rig.live_until(rig.ask(), "answered", "final")
    assert decode(rig.play.endpoints[0].heard[0]).tx.max_priority_fee_per_gas == 25 * GWEI


def test_f24_two_daemons__one_key_on_two_machines__one_stops_and_no_turn_is_signed_for_twice(rig):
    rig.play.live(2)
    first = rig.ask()
    rig.live_until(first, "answered")
    second = rig.daemon("two")
    stopped: list[Play] = []
    for n in range(120):
        if n % 10 == 0:
            rig.ask()
        for play in rig.plays:
            if play in stopped:
                continue
            try:
                play.work()
            except ForeignTransaction:
                stopped.append(play)
                play.kill()
        rig.play.mine(1)
        second.seconds += 1
        if stopped:
            break
    assert stopped, "both went on for 120 blocks"
    sent = {decode(raw).hash: decode(raw).tx for play in rig.plays for e in play.endpoints for raw in e.heard}
    answers: dict[bytes, set[bytes]] = {}
    for tx in sent.values():
        if tx.sender in (bytes.fromhex(OPERATOR.address[2:]), bytes.fromhex(DISPUTER.address[2:])):
            answers.setdefault(tx.data[: 4 + 5 * 32], set()).add(tx.data)
    assert all(len(payloads) == 1 for payloads in answers.values() if len(next(iter(payloads))) > 300)


def test_f21_chain__stands_still_and_goes_on__is_told_and_nothing_is_lost(rig):
    rig.play.live(2)
    request = rig.ask()
    for _ in range(5):
        rig.play.seconds += 3600
        rig.play.work()
    assert any("the chain's head has not changed for" in each for each in rig.troubles)
    rig.live_until(request, "answered", "final")
    assert rig.troubles == []


@pytest.mark.parametrize("off", [3600, -3600])
def test_f37_machine_s_clock__an_hour_off__is_told_with_both_times_and_decides_nothing(rig, off):
    rig.play.clock_off = off
    rig.play.live(3)
    assert rig.play.node is not None
    (warning,) = rig.play.node.warnings()
    ours, chains = map(datetime.fromisoformat, re.findall(r"[\d-]{10} [\d:]{8}", warning))
    assert (ours - chains).total_seconds() == off
    rig.live_until(rig.ask(), "answered", "final")
    assert rig.troubles == []
    rig.play.clock_off = 0
    rig.play.live(2)
    assert rig.play.node.warnings() == []
