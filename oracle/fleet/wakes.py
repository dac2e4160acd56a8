"""Who is woken by a new job: a few of the workers that are free, not all of them.

procrastinate tells every worker of every job, and each that is free asks the database for it. With a hundred free
workers that is a hundred questions a job, of which one has an answer. Here each worker passes such a notice on by
chance, so that a few do; should none, the job is found by whoever asks next of its own accord.
"""

import random
from collections.abc import Callable, Iterable

from procrastinate import PsycopgConnector
from procrastinate.connector import Notify

AWAKE = 6
"""Free workers that a new job wakes, on average: all miss it once in 400 times."""


class SparingConnector(PsycopgConnector):
    """A connector that leaves notices of new jobs out."""

    def __init__(self, url: str, free: Callable[[], int], *, connections: int) -> None:
        """free: about how many jobs all workers together could take now."""
        super().__init__(conninfo=url, min_size=1, max_size=connections)
        self._free = free

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """As procrastinate calls it."""

        async def some(*, channel: str, payload: str) -> None:
            if "job_inserted" not in payload or wakes(self._free(), random.random()):
                await on_notification(channel=channel, payload=payload)

        await super().listen_notify(some, channels)


def wakes(free: int, chance: float) -> bool:
    """Whether this worker looks for a new job. chance: from 0 to 1, another one for each worker and job."""
    return chance * free < AWAKE
