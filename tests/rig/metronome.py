"""A chain that is pure arithmetic, whose blocks come as regularly as wanted, and endpoints that limit what they serve.

For readers of many blocks in simulated time (see no_time.py). Only the test contract of `contract.py` logs.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from eth_utils.crypto import keccak
from pydantic import SecretStr

from oracle.chain.rpc import Rpc
from rig import contract
from rig.anvil import CHAIN_ID
from rig.no_time import now
from rig.sim.faults import Connection

PATIENCE_SECONDS = 10.0
TOO_MUCH: dict[str, Any] = {"code": -32005, "message": "query returned more than 10000 results"}
TOO_LONG: dict[str, Any] = {"code": -32602, "message": "eth_getLogs is limited to a shorter block range"}


class Metronome:
    """Blocks come every `interval` seconds; each `every`th has one log."""

    def __init__(self, interval: float, height: int, every: int = 50) -> None:
        self.interval, self.first_height, self.every = interval, height, every

    @property
    def height(self) -> int:
        return self.first_height + int(now() / self.interval)

    def block(self, number: int) -> dict[str, Any]:
        filled = _bloom(bytes.fromhex(contract.ADDRESS[2:]), contract.TOPIC) if number % self.every == 0 else 0
        return {
            "number": hex(number),
            "hash": _hash(number),
            "parentHash": _hash(number - 1),
            "timestamp": hex(1_700_000_000 + int(number * self.interval)),
            "baseFeePerGas": hex(10**9),
            "mixHash": _hash(number),
            "logsBloom": "0x" + filled.to_bytes(256, "big").hex(),
        }

    def logs(self, first: int, last: int) -> list[dict[str, Any]]:
        numbers = range(-(-first // self.every) * self.every, last + 1, self.every)
        return [
            {
                "address": contract.ADDRESS,
                "topics": ["0x" + contract.TOPIC.hex()],
                "data": "0x" + number.to_bytes(32, "big").hex(),
                "blockNumber": hex(number),
                "blockHash": _hash(number),
                "transactionHash": _hash(-number),
                "logIndex": "0x0",
            }
            for number in numbers
        ]

    def receipt(self, number: int) -> dict[str, Any] | None:
        """Of the transaction in that block; None if there is none."""
        logs = self.logs(number, number)
        if not logs:
            return None
        return {
            "transactionHash": _hash(-number),
            "blockNumber": hex(number),
            "blockHash": _hash(number),
            "status": "0x1",
            "gasUsed": hex(21_000),
            "logs": logs,
        }


class Server:
    """An endpoint before it. refusal: of a range, by its blocks and its number of logs; None if it is served."""

    def __init__(
        self,
        chain: Metronome,
        latency: float,
        *,
        refusal: Callable[[int, int], dict[str, Any] | None] = lambda blocks, logs: None,
        most_a_second: int | None = None,
        slow_blocks: int | None = None,
    ) -> None:
        self.chain, self.latency, self.refusal = chain, latency, refusal
        self.most_a_second, self.slow_blocks = most_a_second, slow_blocks
        self.calls: Counter[str] = Counter()
        self.limited = 0
        """Calls that were refused because there were too many."""
        self._second: Counter[int] = Counter()

    async def reply(self, call: dict[str, Any]) -> tuple[int, bytes | None]:
        await asyncio.sleep(self.latency / 2)
        self.calls[call["method"]] += 1
        self._second[int(now())] += 1
        if self.most_a_second is not None and self._second[int(now())] > self.most_a_second:
            self.limited += 1
            return 429, b"too many requests"
        said = await self._said(call["method"], call["params"])
        await asyncio.sleep(self.latency / 2)
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, **said}).encode()

    async def _said(self, method: str, params: list[Any]) -> dict[str, Any]:  # noqa: PLR0911
        match method:
            case "eth_chainId":
                return {"result": hex(CHAIN_ID)}
            case "eth_getBlockByNumber":
                number = self.chain.height if params[0] == "latest" else int(params[0], 16)
                return {"result": self.chain.block(number) if number <= self.chain.height else None}
            case "eth_getBlockByHash":
                number = _number(params[0])
                block = self.chain.block(number) if number <= self.chain.height else None
                return {"result": block if block and block["hash"] == params[0] else None}
            case "eth_getTransactionReceipt":
                return {"result": self.chain.receipt((1 << 64) - _number(params[0]))}
            case "eth_getLogs" if "blockHash" in params[0]:
                number = _number(params[0]["blockHash"])
                if self.chain.block(number)["hash"] != params[0]["blockHash"]:
                    return {"error": {"code": -32000, "message": "unknown block"}}
                return {"result": self.chain.logs(number, number)}
            case "eth_getLogs":
                first, last = (int(params[0][name], 16) for name in ("fromBlock", "toBlock"))
                blocks, logs = last - first + 1, self.chain.logs(first, last)
                if self.slow_blocks is not None and blocks > self.slow_blocks:
                    await asyncio.sleep(PATIENCE_SECONDS)
                    raise TimeoutError
                refused = self.refusal(blocks, len(logs))
                return {"result": logs} if refused is None else {"error": refused}
        return {"error": {"code": -32601, "message": f"the method {method} does not exist"}}


def reading(*servers: Server) -> Rpc:
    """The node's reader over them, in simulated time."""
    urls = [SecretStr(f"http://{i}.invalid") for i in range(len(servers))]
    rpc = Rpc(urls, CHAIN_ID, timeout_seconds=PATIENCE_SECONDS, clock=now)
    for endpoint, server in zip(rpc._endpoints, servers, strict=True):
        endpoint._session = Connection(server)  # type: ignore[arg-type,assignment]
    return rpc


def _hash(number: int) -> str:
    """Its last eight bytes are the number."""
    return "0x" + keccak(str(number).encode()).hex()[:48] + (number % 2**64).to_bytes(8, "big").hex()


def _number(hash_: str) -> int:
    return int(hash_[-16:], 16)


def _bloom(*entries: bytes) -> int:
    bits = 0
    for entry in entries:
        digest = keccak(entry)
        for i in (0, 2, 4):
            bits |= 1 << int.from_bytes(digest[i : i + 2], "big") % 2048
    return bits
