"""One JSON-RPC endpoint: its connection, and what is known of it by what it did.

An endpoint is judged by its faults, its lag, the ranges that it refused, what it left out, and the pace that it allows.
Its URL may hold credentials: it is known by its index only, and no library's message about a URL leaves this module.
"""

import asyncio
import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, InvalidURL
from pydantic import SecretStr

from oracle.chain.rpc_errors import (
    MOST_REFUSAL_BYTES,
    MOST_REPLY_BYTES,
    Fault,
    Trouble,
    is_missing_block,
    is_revert,
    quoted,
    refusal_of,
    revert_data,
)
from oracle.chain.types import Block, parse_block
from oracle.errors import CallReverted

AT_ONCE = 16
"""Requests on their way to one endpoint."""
LONGEST_PAUSE_SECONDS = 30.0
FIRST_GAP_SECONDS, LONGEST_GAP_SECONDS = 0.05, 2.0
"""Between requests to an endpoint that limits them; doubled by each refusal."""
RECOVERY = 0.995
"""What each reply leaves of the gap."""


class Missing(Exception):
    """The endpoint answered, but does not have what was asked for."""


@dataclass(frozen=True)
class EndpointHealth:
    """One endpoint for metrics and the operator page. The URL is not in it."""

    index: int
    fresh: bool
    """Answers, serves the right chain, and is at most `max_lag` blocks behind the best."""
    head: int | None
    trouble: str | None
    """Kind of the last fault while it is down."""
    said: str | None = None
    """The same in full: method, kind, and the endpoint's words."""
    lies: int = 0
    """How often it left out what others, or its own other words, show."""
    requests: Mapping[str, int] = field(default_factory=dict)
    """Requests sent to it so far, by method."""


class Endpoint:
    """One URL: its connection, and what is known of its health."""

    def __init__(
        self,
        index: int,
        url: SecretStr,
        timeout_seconds: float,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.index = index
        self.verified = False
        self.head: int | None = None
        self.trouble: Trouble | None = None
        self.failures = 0
        self.lies = 0
        self.requests: Counter[str] = Counter()
        self.retry_at = 0.0
        self.refused_blocks: int | None = None
        """The shortest range of blocks whose logs it refused; longer ones are asked of others first."""
        self.by_number = False
        """It knows states by a block's number alone: older than EIP-1898."""
        self.lacks: set[str] = set()
        """Optional methods that it does not serve."""
        self.gap_seconds = 0.0
        """Between requests: it limits their rate."""
        self._next_at = 0.0
        self._places = asyncio.Semaphore(AT_ONCE)
        self._clock = clock
        self._sleep = sleep
        self._url = url
        self._timeout = ClientTimeout(total=timeout_seconds)
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()

    # -- what it did ---------------------------------------------------------------------------------------------

    def failed(self, trouble: Trouble) -> None:
        """Leaves it alone for a while. One that limits requests is asked less often afterwards, and no more checked."""
        now = self._clock()
        is_again = self.retry_at > now  # of requests on their way together, the first counts
        self.trouble = trouble
        if not trouble.limits:
            self.verified, self.head = False, None
        if is_again:
            return
        if trouble.limits:
            self.gap_seconds = min(max(2 * self.gap_seconds, FIRST_GAP_SECONDS), LONGEST_GAP_SECONDS)
        self.failures += 1
        pause = min(LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(self.failures, 7)) * random.uniform(0.5, 1.0)
        self.retry_at = now + max(pause, trouble.wait_seconds)

    def served(self) -> None:
        """It gave an answer that makes sense."""
        self.trouble, self.failures = None, 0

    def refused_range(self, blocks: int) -> None:
        """It would not give the logs of so many blocks."""
        self.refused_blocks = min(blocks, self.refused_blocks or blocks)

    # -- asking --------------------------------------------------------------------------------------------------

    async def request(self, method: str, params: Sequence[Any]) -> Any:
        """The result. Raises Fault, Missing or CallReverted."""
        async with self._places:
            await self._in_turn()
            self.requests[method] += 1
            reply = await self._reply(method, params)
        if not isinstance(reply, Mapping) or ("result" not in reply and "error" not in reply):
            raise self._fault(method, "not json-rpc")
        refusal = reply.get("error")
        if refusal is None:
            self.gap_seconds = self.gap_seconds * RECOVERY if self.gap_seconds > FIRST_GAP_SECONDS / 4 else 0.0
            return reply.get("result")
        if not isinstance(refusal, Mapping):
            raise self._fault(method, "not json-rpc")
        code, message = refusal.get("code"), str(refusal.get("message", ""))[:500]
        code = code if isinstance(code, int) else 0
        if is_missing_block(code, message):
            raise Missing
        if method in ("eth_call", "eth_estimateGas") and is_revert(code, message):
            raise CallReverted(quoted(message, self._url.get_secret_value()), revert_data(refusal.get("data")))
        raise self._fault(method, f"error {code}", message)

    async def request_at(self, method: str, params: Sequence[Any], block: Block) -> Any:
        """The result in the state after `block`, named by its hash. Raises as `request`.

        Where an endpoint knows blocks by number alone, the block of that number must be this one afterwards, too.
        """
        if not self.by_number:
            try:
                return await self.request(method, [*params, {"blockHash": "0x" + block.hash.hex()}])
            except Fault as fault:
                if fault.trouble.limits or not re.fullmatch(r"error -3260[0-3]|http 400", fault.trouble.kind):
                    raise
        found = await self.request(method, [*params, hex(block.number)])
        if await self.hash_at(block.number) != block.hash:
            raise Missing
        self.by_number = True
        return found

    async def hash_at(self, number: int) -> bytes | None:
        """Hash of its block of that height. Raises as `request`, ValueError, KeyError."""
        found = await self.request("eth_getBlockByNumber", [hex(number), False])
        return None if found is None else parse_block(found).hash

    async def _in_turn(self) -> None:
        """Keeps the gap between requests."""
        if not self.gap_seconds:
            return
        now = self._clock()
        at = max(now, self._next_at)
        self._next_at = at + self.gap_seconds
        if at > now:
            await self._sleep(at - now)

    async def _reply(self, method: str, params: Sequence[Any]) -> Any:
        """What comes back, as JSON. Never sent twice: the sender's journal decides about that. Raises Fault."""
        if self._session is None:
            self._session = ClientSession(timeout=self._timeout)
        call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        try:
            url, body = self._url.get_secret_value(), bytearray()
            async with self._session.post(url, json=call, allow_redirects=False) as response:
                if response.status >= 300:
                    said = refusal_of(await response.content.read(MOST_REFUSAL_BYTES))
                    wait = response.headers.get("retry-after", "")
                    raise self._fault(method, f"http {response.status}", said, int(wait) if wait.isdecimal() else 0)
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > MOST_REPLY_BYTES:
                        raise self._fault(method, "too long")
        except TimeoutError:
            raise self._fault(method, "timeout") from None
        except InvalidURL:
            raise self._fault(method, "bad url") from None
        except (ClientError, OSError):
            raise self._fault(method, "connection") from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self._fault(method, "not json", refusal_of(bytes(body[:MOST_REFUSAL_BYTES]))) from None

    def _fault(self, method: str, kind: str, words: str = "", wait_seconds: int = 0) -> Fault:
        return Fault(Trouble(method, kind, quoted(words, self._url.get_secret_value()), wait_seconds))
