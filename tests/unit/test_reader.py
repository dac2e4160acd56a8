"""One reader for all: it outruns any chain that its endpoint can serve, whatever the endpoint refuses.

Latency and the chain's pace are real; time is simulated, so that ten minutes of reading take a second.
"""

import asyncio
from pathlib import Path

import pytest
from rig.crash_cases import open_journal
from rig.metronome import TOO_LONG, TOO_MUCH, Metronome, Server, reading
from rig.no_time import in_no_time, now
from rig.recorder import Recorder, make_follower, seen

from oracle.chain.rpc_errors import Trouble
from oracle.chain.spans import FIRST_WIDTH, Width, in_spans
from oracle.errors import RpcRefused

BEHIND = 10_000
CONFIRMATIONS = 2


def longest(most):
    return {"refusal": lambda blocks, logs: TOO_LONG if blocks > most else None}


LIMITS = {
    "none": ({}, 50),
    "10 blocks": (longest(10), 50),
    "100 blocks": (longest(100), 50),
    "500 blocks": (longest(500), 50),
    "2,000 blocks": (longest(2_000), 50),
    "10,000 results": ({"refusal": lambda blocks, logs: TOO_MUCH if logs > 40 else None}, 10),
    "time-outs": ({"slow_blocks": 400}, 50),
}
"""What an endpoint does not serve; and of how many blocks one has a log."""


async def catch_up(folder: Path, interval: float, latency: float, limits: dict, every: int, act_calls: int = 6):
    """Reads from far behind, then lives for a while. Returns seconds until it had caught up, and how old the head was,
    in blocks, on which it could act each time."""
    chain = Metronome(interval, BEHIND, every)
    server = Server(chain, latency, **limits)
    rpc, journal = reading(server), open_journal(folder)
    follower = make_follower(rpc, journal, Recorder(), start_block=1, confirmations=CONFIRMATIONS, finality=64)
    try:
        progress = await follower.poll()
        caught_up, ages = now(), [chain.height - progress.head.number]
        for _ in range(20):
            await asyncio.sleep(act_calls * latency)
            progress = await follower.poll()
            assert progress.behind == 0
            ages.append(chain.height - progress.head.number)
        expected = {n: 1 for n in range(every, progress.cursor.number + 1, every)}
        assert seen(journal) == expected
        return caught_up, ages, server
    finally:
        journal.close()


@pytest.mark.parametrize(
    ("interval", "latency", "limit"),
    [(0.1, 0.050, "10 blocks"), (0.1, 0.050, "time-outs"), *((0.25, 0.150, limit) for limit in LIMITS)],
)
def test_n5_poll__ten_thousand_blocks_behind_a_fast_chain__catches_up_and_acts_on_young_heads(
    tmp_path, interval, latency, limit
):
    """interval, latency: in seconds."""
    limits, every = LIMITS[limit]
    caught_up, ages, _ = in_no_time(catch_up(tmp_path, interval, latency, limits, every))
    assert caught_up * (1 / interval) < BEHIND  # it read faster than blocks came
    assert max(ages) <= CONFIRMATIONS, ages


def test_rate_limit__slows_it_down__and_few_calls_are_refused(tmp_path):
    _, _, server = in_no_time(catch_up(tmp_path, 12.0, 0.05, {"most_a_second": 20}, 50))
    assert server.limited * 10 < server.calls.total(), (server.limited, server.calls)
    assert server.calls["eth_chainId"] < 3  # a limit is no reason to check the chain again


@pytest.mark.parametrize("limit", ["10 blocks", "500 blocks"])
def test_width__refused__is_found_soon_and_refusals_stay_few(tmp_path, limit):
    most, width, asked, refused = int(limit.split()[0]), Width(), 0, 0

    async def ask(first: int, last: int) -> range:
        nonlocal asked, refused
        asked += 1
        if last - first >= most:
            refused += 1
            raise RpcRefused("too many")
        return range(first, last + 1)

    async def read() -> list[int]:
        return [number async for _, found in in_spans(ask, 1, 100_000, width) for number in found]

    assert in_no_time(read()) == list(range(1, 100_001))
    assert refused < 0.1 * asked + 60


def test_width__limit_was_of_results__grows_again():
    width = Width()
    for _ in range(5):
        width.refused(width.blocks)
    small = width.blocks
    for _ in range(200):
        width.served(width.blocks)
    assert small < FIRST_WIDTH / 20
    assert width.blocks >= FIRST_WIDTH


REFUSALS = [
    ("error -32005", "query returned more than 10000 results", "too much"),
    ("error -32005", "daily request count exceeded, request rate limited", "too often"),
    ("error -32602", "You can make eth_getLogs requests with up to a 10 block range.", "too much"),
    ("error -32600", "Under the Free tier plan, you can make requests with up to a 10 block range", "too much"),
    ("error -32000", "exceed maximum block range: 5000", "too much"),
    ("error -32614", "eth_getLogs is limited to a 10,000 range", "too much"),
    ("error -32000", "query timeout exceeded", "too much"),
    ("error 429", "Your app has exceeded its compute units per second capacity", "too often"),
    ("error -32007", "50/second request limit reached", "too often"),
    ("error -32097", "rate limit exceeded", "too often"),
    ("http 429", "", "too often"),
    ("http 413", "", "too much"),
    ("http 503", "backend busy", "too much"),
    ("timeout", "", "too much"),
    ("connection", "", "neither"),
    ("not json", "", "neither"),
]
"""Of eth_getLogs by Infura, Alchemy, geth and bor nodes, QuickNode, Ankr."""


@pytest.mark.parametrize(("kind", "words", "meaning"), REFUSALS)
def test_refusal__of_logs__is_told_from_a_limit_of_rates(kind, words, meaning):
    trouble = Trouble("eth_getLogs", kind, words)
    found = "too often" if trouble.limits else "too much" if trouble.refuses else "neither"
    assert found == meaning
