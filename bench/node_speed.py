"""How many requests one node answers and finalizes: a whole daemon with an engine that takes no time, on Anvil with a
block a second.

All requests wait when the node starts. The node holds all five seats of the service, so that every turn is its own.

    python -m bench.node_speed --requests 200 --profile out.prof
"""

import argparse
import asyncio
import cProfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from e2e.world import DAPP, NODES, World, make_node, world
from rig.anvil import anvil

from oracle.chain.units import ETHER
from oracle.client import ServiceId
from oracle.node.daemon import Node

REQUESTS = 2_000
REQUESTS_A_BLOCK = 100
REQUEST_GAS = 400_000
MOST_SECONDS = 1_500
LIFETIME_SECONDS = 590
LOOK_SECONDS = 2.0
PAGE_BYTES = 4_096
PROMPT = b"is water wet? %05d"

Figures = dict[str, float]


def post(earth: World, count: int) -> None:
    """Mines `count` requests of one dapp, each with a prompt of its own."""
    client = earth.client
    now = client.w3.eth.get_block("latest")["timestamp"]
    params = (16, 0, 0, 0, 0, now + LIFETIME_SECONDS, 0, False)
    fee = client.quote(ServiceId(earth.service), len(PROMPT % 0), params).total_wei
    for start in range(0, count, REQUESTS_A_BLOCK):
        for number in range(start, min(start + REQUESTS_A_BLOCK, count)):
            call = client.oracle.encode_abi("request", args=[earth.service, PROMPT % number, params])
            paid = {"from": DAPP.address, "to": client.oracle.address, "value": hex(fee), "gas": hex(REQUEST_GAS)}
            earth.chain.rpc("eth_sendTransaction", {**paid, "data": call})
        earth.chain.mine()
    posted = events(earth, "RequestPosted")
    assert len(posted) == count, f"{len(posted)} of {count} requests were mined"


def events(earth: World, name: str) -> list[Any]:
    """All events of the oracle of that name."""
    found: list[Any] = earth.client.oracle.events[name]().get_logs(from_block=0)
    return found


def rpc_requests(node: Node) -> int:
    """How much the node has asked its endpoints so far."""
    return sum(sum(endpoint.requests.values()) for endpoint in node.rpc.health())


def finals(earth: World) -> int:
    """How many requests are final. Counts logs and decodes none: what this costs, the node's process pays."""
    oracle = earth.client.oracle
    topic = oracle.events.RequestFinalized().topic
    return len(earth.chain.rpc("eth_getLogs", {"address": oracle.address, "topics": [topic], "fromBlock": "0x0"}))


def resident_mib() -> float:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


@dataclass(frozen=True)
class Sample:
    """How a run stood."""

    seconds: float
    """Since its start."""
    finals: int
    """Requests that were final."""
    memory_mib: float


async def served(
    earth: World, folder: Path, count: int, profile: Path | None, samples: list[Sample] | None = None
) -> Figures:
    """Runs a node until all requests are final. samples: gets one each time that it looks.

    Raises AssertionError if it takes too long.
    """
    node = await make_node(earth, folder, NODES[0], finality=64, confirmations=2, poll_seconds=0.1, finalize_batch=50)
    asked = rpc_requests(node)
    recorder = cProfile.Profile()
    started, processor = time.monotonic(), time.process_time()
    if profile is not None:
        recorder.enable()
    task = asyncio.create_task(node.run())
    try:
        while (done := await asyncio.to_thread(finals, earth)) < count:
            if samples is not None:
                samples.append(Sample(time.monotonic() - started, done, resident_mib()))
            if task.done():
                task.result()
            assert time.monotonic() - started < MOST_SECONDS, "it takes too long"
            await asyncio.sleep(LOOK_SECONDS)
        seconds, processor = time.monotonic() - started, time.process_time() - processor
    finally:
        recorder.disable()
        if profile is not None:
            recorder.dump_stats(profile)
        node.stop()
        await asyncio.wait_for(task, 60)
        await node.close()
    finalized = events(earth, "RequestFinalized")
    return {
        "requests_a_second": count / seconds,
        "requests_a_cpu_second": count / processor,
        "rpc_calls_a_request": (rpc_requests(node) - asked) / count,
        "finalize_items": len(finalized) / len({log["transactionHash"] for log in finalized}),
    }


def run(requests: int = REQUESTS, profile: Path | None = None, samples: list[Sample] | None = None) -> Figures:
    """All figures. samples: as in `served`."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with world(made=anvil) as earth, tempfile.TemporaryDirectory() as folder:
        for seat, account in enumerate(NODES):
            earth.act(account, "topUp", earth.service, seat, value_wei=max(requests // 4, 4) * ETHER)
            earth.act(account, "setOperator", earth.service, seat, NODES[0].address)
        earth.chain.rpc("anvil_removeBlockTimestampInterval")
        post(earth, requests)
        earth.chain.rpc("evm_setIntervalMining", 1)
        return asyncio.run(served(earth, Path(folder), requests, profile, samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--profile", type=Path)
    given = parser.parse_args()
    for name, value in run(given.requests, given.profile).items():
        print(f"{name:24} {value:.4g}")


if __name__ == "__main__":
    main()
