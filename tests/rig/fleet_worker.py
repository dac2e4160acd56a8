"""A worker of a fleet as a process of its own, with the fake engine: `python -m rig.fleet_worker URL QUEUE FAULTS`."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from oracle.engines.worker import Limits, WorkerEngine, WorkerSetup
from oracle.fleet.work import FleetWorker

TESTS = Path(__file__).resolve().parent.parent


async def main(url: str, queue: str, arguments: str) -> None:
    given = json.loads(arguments)
    setup = WorkerSetup("rig.fake_engine:load", {"faults": given, "load_fault": None}, python_path=(TESTS,), together=1)
    engine = WorkerEngine(setup, Limits(job=20, load=30, heartbeat=10, first_pause=0, longest_pause=0))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    try:
        await FleetWorker(url, {queue: engine}).run(stop, grace_seconds=2)
    finally:
        engine.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
