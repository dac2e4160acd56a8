"""Endpoints before the simulated chain that misbehave on cue, in the words of `fault_rpc`, without sockets and waiting.

An endpoint takes the place of an `Rpc`'s connection: what the node reads, parses and distrusts is its own code. A delay
that is longer than the node's patience is a time-out; a shorter one costs nothing.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from aiohttp import ClientError
from pydantic import SecretStr

from oracle.chain.rpc import Rpc
from rig.anvil import CHAIN_ID
from rig.fault_rpc import Fault, FaultRpc
from rig.sim.chain import Block, Mined, SimChain
from rig.sim.pool import decode
from rig.sim.rpc import BAD_PARAMS, SERVER, RpcError, SimRpc

PATIENCE_SECONDS = 5.0
CERTAIN = ("eth_chainId", "eth_getCode")
"""What no endpoint is let to lie about: another chain, or other contracts, stop a node by design."""


class SimEndpoint(FaultRpc):
    """One server. `script` makes it misbehave, `heal` ends that; its limits stay.

    Beside the faults of `fault_rpc` there are "invent", an earlier log of the oracle stands in the block as well,
    "twist", something in the reply is another number, of the same length, and "sway": each call meets another server,
    some blocks behind.
    """

    def __init__(self, serve: SimRpc) -> None:
        super().__init__("sim:")
        self.serve = serve
        self.heard: list[bytes] = []
        """Transactions that came in, also those that it lost then."""
        self.most_blocks: int | None = None
        """Of which it gives the logs at once."""
        self.least_tip_wei = 0
        self.refused: Counter[int] = Counter()
        """Transactions whose tip was too low, by nonce."""
        self.before_call: Callable[[], None] = lambda: None

    async def reply(self, call: dict[str, Any]) -> tuple[int, bytes | None]:
        """Status and body; no body where the connection breaks. Raises TimeoutError."""
        self.before_call()
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
        def limited(method: str, params: list[Any]) -> Any:
            self._limit(method, params)
            return self.serve(method, params)

        return _reply(call, limited)

    async def _answer(self, call: dict[str, Any], fault: Fault | None) -> tuple[int, bytes | None]:
        if fault is not None and fault.kind == "twist" and call["method"] not in CERTAIN:
            return 200, json.dumps(_twisted(json.loads(await self._forward(call)), fault.value)).encode()
        if fault is not None and fault.kind == "sway":
            chance, most = fault.value
            behind = SimRpc(_Behind(self.serve.chain, chance.randint(0, most)))  # type: ignore[arg-type]
            return 200, _reply(call, behind)
        if fault is None or fault.kind != "invent":
            return await super()._answer(call, fault)
        reply = json.loads(await self._forward(call))
        named = call["params"][0].get("blockHash")
        block = named and self.serve("eth_getBlockByHash", [named, False])
        if block:
            names = {"blockHash": named, "blockNumber": block["number"], "logIndex": "0x63"}
            reply["result"] = [*reply["result"], {**fault.value, **names}]
        return 200, json.dumps(reply).encode()

    def _limit(self, method: str, params: list[Any]) -> None:
        """Raises RpcError."""
        if method == "eth_getLogs" and self.most_blocks is not None and "fromBlock" in params[0]:
            first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
            if last - first >= self.most_blocks:
                raise RpcError(BAD_PARAMS, f"eth_getLogs is limited to a {self.most_blocks} block range")
        if method == "eth_sendRawTransaction" and self.least_tip_wei:
            tx = decode(bytes.fromhex(params[0][2:])).tx
            if tx.max_priority_fee_per_gas < self.least_tip_wei:
                self.refused[tx.nonce] += 1
                said = f"gas tip cap {tx.max_priority_fee_per_gas}, minimum needed {self.least_tip_wei}"
                raise RpcError(SERVER, f"transaction underpriced: {said}")


class _Behind:
    """The chain as a server knows it that is some blocks behind."""

    def __init__(self, chain: SimChain, blocks: int) -> None:
        self._chain, self.chain_id, self.pool = chain, chain.chain_id, chain.pool
        self.blocks = chain.blocks[: max(len(chain.blocks) - blocks, 1)]
        self.head = self.blocks[-1]
        self.transactions = self
        self.send, self.call, self.estimate = chain.send, chain.call, chain.estimate

    def by_hash(self, block_hash: bytes) -> Block | None:
        block = self._chain.by_hash(block_hash)
        return block if block is not None and self._knows(block) else None

    def is_canonical(self, block: Block) -> bool:
        return self._knows(block) and self._chain.is_canonical(block)

    def get(self, tx_hash: bytes) -> tuple[Block, Mined] | None:
        """A transaction."""
        found = self._chain.transactions.get(tx_hash)
        return found if found is not None and self._knows(found[0]) else None

    def _knows(self, block: Block) -> bool:
        return block.header.number <= self.head.header.number


def _reply(call: dict[str, Any], serve: Callable[[str, list[Any]], Any]) -> bytes:
    reply: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
    try:
        reply["result"] = serve(call["method"], call["params"])
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


def _twisted(reply: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """With one digit of one number in its result changed; errors stay as they are."""
    places: list[tuple[Any, Any]] = []

    def walk(holder: Any, key: Any) -> None:
        value = holder[key]
        if isinstance(value, dict | list):
            for each in value if isinstance(value, dict) else range(len(value)):
                walk(value, each)
        elif isinstance(value, str) and value.startswith("0x") and len(value) > 2:
            places.append((holder, key))

    if "result" in reply:
        walk(reply, "result")
    if places:
        holder, key = chance.choice(places)
        text, place = holder[key], chance.randrange(2, len(holder[key]))
        holder[key] = text[:place] + chance.choice("123456789abcdef".replace(text[place], "")) + text[place + 1 :]
    return reply
