"""Endpoints before the simulated chain that misbehave on cue, in the words of `fault_rpc`, without sockets and waiting.

An endpoint takes the place of an `Rpc`'s connection: what the node reads, parses and distrusts is its own code. A delay
that is longer than the node's patience is a time-out; a shorter one costs nothing.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import ClientError
from pydantic import SecretStr

from oracle.chain.rpc import Rpc
from rig.anvil import CHAIN_ID
from rig.fault_rpc import FaultRpc
from rig.sim.rpc import RpcError, SimRpc

PATIENCE_SECONDS = 5.0


class SimEndpoint(FaultRpc):
    """One server. `script` makes it misbehave, `heal` ends that."""

    def __init__(self, serve: SimRpc) -> None:
        super().__init__("sim:")
        self.serve = serve
        self.heard: list[bytes] = []
        """Transactions that came in, also those that it lost then."""

    async def reply(self, call: dict[str, Any]) -> tuple[int, bytes | None]:
        """Status and body; no body where the connection breaks. Raises TimeoutError."""
        self.calls[call["method"]] += 1
        if call["method"] == "eth_sendRawTransaction":
            self.heard.append(bytes.fromhex(call["params"][0][2:]))
        fault = self._next(call["method"])
        if fault is not None and fault.kind == "delay":
            if fault.value >= PATIENCE_SECONDS:
                raise TimeoutError
            fault = None
        return await self._answer(call, fault)

    async def _forward(self, call: dict[str, Any]) -> bytes:
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        try:
            reply["result"] = self.serve(call["method"], call["params"])
        except RpcError as error:
            reply["error"] = error.as_json()
        return json.dumps(reply).encode()


class Connection:
    """What an `Rpc` posts through: the part of aiohttp's session that it uses."""

    def __init__(self, endpoint: SimEndpoint) -> None:
        self._endpoint = endpoint

    def post(self, url: str, *, json: dict[str, Any], allow_redirects: bool) -> "Exchange":
        return Exchange(self._endpoint, json)

    async def close(self) -> None:
        """Nothing is open."""


class Exchange:
    """One call and its reply."""

    def __init__(self, endpoint: SimEndpoint, call: dict[str, Any]) -> None:
        self._endpoint, self._call = endpoint, call
        self._body: bytes | None = b""
        self.status = 200
        self.headers: dict[str, str] = {}

    async def __aenter__(self) -> "Exchange":
        await asyncio.sleep(0)  # as a network does, it lets others run
        self.status, self._body = await self._endpoint.reply(self._call)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    @property
    def content(self) -> "Exchange":
        return self

    async def read(self, most: int) -> bytes:
        return (self._body or b"")[:most]

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self._body is None:
            raise ClientError("the connection broke")
        yield self._body


async def _no_sleep(_seconds: float) -> None:
    """Back-off without waiting."""


def connected(endpoints: Sequence[SimEndpoint], clock: Any = lambda: 0.0) -> Rpc:
    """The node's reader and sender over these endpoints. clock: for its pauses, in seconds."""
    urls = [SecretStr(f"http://sim.invalid/{i}") for i in range(len(endpoints))]
    rpc = Rpc(urls, CHAIN_ID, timeout_seconds=PATIENCE_SECONDS, sleep=_no_sleep, clock=clock)
    for place, endpoint in zip(rpc._endpoints, endpoints, strict=True):
        place._session = Connection(endpoint)  # type: ignore[assignment]
    return rpc
