"""New heads as endpoints announce them: `eth_subscribe` over a websocket.

An announcement is a reason to look, and nothing else of it is believed: heads are asked for as at every poll. Where an
endpoint has no websocket, closes it, or is silent, the node polls as before. However many one announces, a few a second
count.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence

from aiohttp import ClientError, ClientSession, WSMsgType
from pydantic import SecretStr

LEAST_SECONDS = 0.05
"""Between two announcements that count."""
HEARTBEAT_SECONDS = 20.0
"""Between pings: a connection that answers none is made anew."""
LONGEST_PAUSE_SECONDS = 30.0
MOST_MESSAGE_BYTES = 1 << 20
SUBSCRIBE = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]}


class Heralds:
    """Listens from `start` to `close`."""

    def __init__(
        self, urls: Sequence[SecretStr], hear: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """urls: of websockets; they may hold credentials. hear: called with each announcement."""
        self._urls, self._hear, self._clock = urls, hear, clock
        self._tasks: list[asyncio.Task[None]] = []
        self._heard_at = -LEAST_SECONDS
        self.connected = 0
        """Websockets that are subscribed now."""

    def start(self) -> None:
        """Begins to listen."""
        self._tasks = [asyncio.create_task(self._listen(url)) for url in self._urls]

    async def close(self) -> None:
        """Ends it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, url: SecretStr) -> None:
        pause = 0.5
        async with ClientSession() as session:
            while True:
                if await self._subscribed(session, url):
                    pause = 0.5
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _subscribed(self, session: ClientSession, url: SecretStr) -> bool:
        """Listens until the connection ends. Returns whether anything was announced."""
        announced = is_subscribed = False
        try:
            async with session.ws_connect(
                url.get_secret_value(), heartbeat=HEARTBEAT_SECONDS, max_msg_size=MOST_MESSAGE_BYTES
            ) as socket:
                await socket.send_json(SUBSCRIBE)
                async for message in socket:
                    if message.type is not WSMsgType.TEXT or not (said := _said(message.data)):
                        break
                    if "result" in said and not is_subscribed:
                        is_subscribed = True
                        self.connected += 1
                    if said.get("method") == "eth_subscription":
                        announced = True
                        self._tell()
        except (ClientError, OSError, TimeoutError, ValueError):  # polling goes on
            pass
        finally:
            self.connected -= is_subscribed
        return announced

    def _tell(self) -> None:
        now = self._clock()
        if now - self._heard_at >= LEAST_SECONDS:
            self._heard_at = now
            self._hear()


def _said(text: str) -> dict[str, object]:
    """Empty where it is no answer and no announcement."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and "error" not in found else {}
