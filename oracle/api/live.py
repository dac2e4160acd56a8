"""The dashboard's live state, as server-sent events: at once, and whenever it has changed, at most once a second."""

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

from oracle.api.state import Names, State, state
from oracle.node.daemon import Node

EVERY_SECONDS = 1.0
QUIET_SECONDS = 15.0
"""Without news, a comment is sent so often, so that a broken connection is noticed."""
MOST_STREAMS = 16
RUNNING = {"chain": {"age_seconds"}, "services": {"__all__": {"engine": {"busy_seconds"}}}}
"""What changes with the time alone: no news."""


class Live:
    """Of one node. However many listen, the state is made once a second."""

    def __init__(self, node: Node, version: str) -> None:
        self._node, self._version = node, version
        self._names = Names(node.models)
        self._made_at = -EVERY_SECONDS
        self._state: State | None = None
        self._news = ""
        self.listeners = 0

    def state(self) -> State:
        """As of now, or of less than a second ago."""
        if self._state is None or monotonic() - self._made_at >= EVERY_SECONDS:
            self._state = state(self._node, self._names, self._version)
            self._news = self._state.model_dump_json(exclude=RUNNING)  # type: ignore[arg-type]
            self._made_at = monotonic()
        return self._state

    async def stream(self) -> AsyncIterator[str]:
        """Events until the listener goes away or the node stops."""
        self.listeners += 1
        try:
            last, sent_at = "", monotonic()
            while not self._node.status.stopping:
                now = self.state()
                if self._news != last:
                    last, sent_at = self._news, monotonic()
                    yield f"event: state\ndata: {now.model_dump_json()}\n\n"
                elif monotonic() - sent_at >= QUIET_SECONDS:
                    sent_at = monotonic()
                    yield ": nothing new\n\n"
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            self.listeners -= 1
