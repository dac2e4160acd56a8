"""Who is told of a new job: a few of the workers that are free, not all of them.

procrastinate tells every worker of every job, and each that is free asks the database for it. With a hundred workers a
hundred processes wake for a job, of which one gets it. Here a queue has SLOTS channels; each worker listens on one of
them, drawn when it starts, and whoever posts a job tells so many channels that a few free workers hear of it. Should
none, the job is found by whoever asks next of its own accord.
"""

import contextlib
import json
import random
from collections.abc import Iterable
from typing import Any

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.connector import Notify
from psycopg.abc import Buffer
from psycopg.adapt import Loader

AWAKE = 6
"""Free workers that a new job wakes, on average."""
SLOTS = 32
_NEW_JOB = '{"type": "job_inserted", "job_id": 0}'
"""As procrastinate's own trigger tells it; its workers do not look at the number."""


class SparingConnector(PsycopgConnector):
    """A worker's connector, which hears of some new jobs only."""

    def __init__(self, url: str, queues: Iterable[str], *, connections: int) -> None:
        super().__init__(conninfo=url, min_size=1, max_size=connections, configure=_each_by_itself, json_loads=read)
        slot = random.randrange(SLOTS)
        self._channels = [channel(queue, slot) for queue in queues]

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """As procrastinate calls it. channels: its own, of which nobody is told."""

        async def new_job(*, channel: str, payload: str) -> None:
            await on_notification(channel=channel, payload=_NEW_JOB)

        await super().listen_notify(new_job, self._channels)


class _NoTime(Loader):
    """Of a job's time, which nobody looks at here: what Postgres keeps may be no time that Python has."""

    def load(self, data: Buffer) -> None:
        return None


async def _each_by_itself(connection: psycopg.AsyncConnection) -> None:
    """Without BEGIN and COMMIT around each of the single statements that procrastinate's worker says."""
    connection.adapters.register_loader("timestamptz", _NoTime)
    await connection.set_autocommit(True)


def read(text: str | bytes) -> Any:
    """The object that JSON says; an empty one where it says none, or what cannot be read here: numbers of thousands of
    digits, lists nested as deep."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(text)
        if isinstance(found, dict):
            return found
    return {}


def channel(queue: str, slot: int) -> str:
    """Of Postgres, which cuts names at 63 bytes."""
    return f"didyma-{queue}/{slot}"


def told_of(free: int, chance: random.Random) -> list[int]:
    """The slots that are told of a new job. free: about how many jobs all workers of its queue could take now."""
    return chance.sample(range(SLOTS), SLOTS if free <= AWAKE else -(-SLOTS * AWAKE // free))
