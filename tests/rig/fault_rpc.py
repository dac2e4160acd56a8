"""An RPC endpoint that misbehaves on cue: a proxy before a good one.

Faults are scripted per method (or "*"), each for a number of calls. The proxy runs in a thread of its own, so that
synchronous tests, asyncio tests and child processes can all talk to it.
"""

import asyncio
import json
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import uvicorn
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_hash.auto import keccak
from hexbytes import HexBytes

from rig.anvil import free_port

KINDS = (
    "delay",  # value: seconds before forwarding
    "lose_reply",  # forwarded, then the connection is closed without a reply
    "drop",  # closed without forwarding
    "status",  # value: HTTP status, with a body that is no JSON-RPC; or status and body
    "html",  # 200 with a web page
    "truncate",  # half of the real reply
    "result",  # value: this result instead of the real one
    "error",  # value: JSON-RPC error object
    "lag",  # value: blocks; "latest" means that many blocks ago, younger blocks do not exist
    "repeat",  # a list comes back doubled and reversed
    "omit",  # a list comes back without its last entry
    "invent",  # value: a log that comes back as well; of simulated endpoints only
    "sway",  # value: a random.Random and a number of blocks, up to which each call lags; of simulated endpoints only
    "twist",  # value: a random.Random, which changes a number of the real result; of simulated endpoints only
)


@dataclass
class Fault:
    """One scripted misbehaviour."""

    kind: str
    value: Any
    left: int


class FaultRpc:
    """The proxy's controls."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.url = ""
        self.calls: Counter[str] = Counter()
        """Calls by method, as they came in."""
        self._faults: dict[str, list[Fault]] = defaultdict(list)

    def script(self, method: str, kind: str, value: Any = None, times: int = 1 << 30) -> None:
        """From now on, `times` calls of `method` ("*" for any) misbehave. Faults of one method play in order."""
        if kind not in KINDS:
            raise ValueError(kind)
        self._faults[method].append(Fault(kind, value, times))

    def heal(self) -> None:
        """Behaves from now on."""
        self._faults.clear()

    def _next(self, method: str) -> Fault | None:
        for name in (method, "*"):
            for fault in self._faults[name]:
                if fault.left > 0:
                    fault.left -= 1
                    return fault
        return None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI."""
        if scope["type"] == "lifespan":
            await receive()
            async with httpx.AsyncClient(timeout=20) as self._client:  # one: each loads all the machine's certificates
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body = b""
        while True:
            event = await receive()
            body += event.get("body", b"")
            if not event.get("more_body"):
                break
        call = json.loads(body)
        self.calls[call["method"]] += 1
        status, reply = await self._answer(call, self._next(call["method"]))
        headers = [(b"content-type", b"application/json")]
        if reply is None:  # promises more than it sends: the connection breaks in the middle of the reply
            headers.append((b"content-length", b"1000"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": reply or b"{", "more_body": reply is None})

    async def _answer(self, call: dict[str, Any], fault: Fault | None) -> tuple[int, bytes | None]:
        kind = None if fault is None else fault.kind
        value: Any = None if fault is None else fault.value
        instead: dict[str | None, tuple[int, bytes | None]] = {
            "drop": (200, None),
            "status": (value[0], value[1].encode()) if isinstance(value, tuple) else (value, b"no"),
            "html": (200, b"<html><body>Just a moment...</body></html>"),
            "result": (200, _reply(call, result=value)),
            "error": (200, _reply(call, error=value)),
        }
        if kind in instead:
            return instead[kind]
        if kind == "delay":
            await asyncio.sleep(value)
        if kind == "lag":
            return 200, json.dumps(await self._lagging(call, value)).encode()
        reply = await self._forward(call)
        if kind == "repeat":
            result = json.loads(reply)["result"]
            reply = _reply(call, result=result[::-1] * 2)
        if kind == "omit":
            reply = _reply(call, result=json.loads(reply)["result"][:-1])
        if kind == "truncate":
            reply = reply[: len(reply) // 2]
        return (200, None) if kind == "lose_reply" else (200, reply)

    async def _forward(self, call: dict[str, Any]) -> bytes:
        return (await self._client.post(self.upstream, json=call)).content

    async def _lagging(self, call: dict[str, Any], blocks: int) -> Any:
        """Answers as a node would that is `blocks` behind."""
        head = json.loads(await self._forward({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []}))
        last = max(int(head["result"], 16) - blocks, 0)
        method, params = call["method"], list(call["params"])
        absent = {"jsonrpc": "2.0", "id": call["id"], "result": None}
        if method == "eth_getBlockByNumber":
            if params[0] == "latest":
                params[0] = hex(last)
            elif int(params[0], 16) > last:
                return absent
        if method == "eth_getLogs" and "toBlock" in params[0] and int(params[0]["toBlock"], 16) > last:
            return {**absent, "result": []}
        reply = json.loads(await self._forward({**call, "params": params}))
        found = reply.get("result")
        if isinstance(found, dict) and int(found.get("blockNumber") or found.get("number") or "0x0", 16) > last:
            return absent
        return reply


def _reply(call: dict[str, Any], **content: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": call["id"], **content}).encode()


class FewABlock(FaultRpc):
    """The pool of a chain whose blocks take few of a node's transactions: the next in line, when a test says so."""

    def __init__(self, upstream: str) -> None:
        super().__init__(upstream)
        self._held: dict[int, bytes] = {}
        """Signed transactions by nonce: the last that was sent."""

    @property
    def waiting(self) -> int:
        return len(self._held)

    def take(self, most: int) -> int:
        """Hands the chain the next ones, for the block about to be mined. Returns how many."""
        taken = sorted(self._held)[:most]
        for nonce in taken:
            call = {
                "jsonrpc": "2.0",
                "id": 1,
                "method": "eth_sendRawTransaction",
                "params": [_hex(self._held.pop(nonce))],
            }
            said = httpx.post(self.upstream, json=call).json()
            assert "error" not in said or "nonce too low" in said["error"]["message"], said
        return len(taken)

    async def _answer(self, call: dict[str, Any], fault: Fault | None) -> tuple[int, bytes | None]:
        if call["method"] == "eth_sendRawTransaction":
            raw = bytes.fromhex(call["params"][0][2:])
            self._held[TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["nonce"]] = raw
            return 200, _reply(call, result=_hex(keccak(raw)))
        if call["method"] == "eth_getTransactionByHash":
            found = [raw for raw in self._held.values() if _hex(keccak(raw)) == call["params"][0]]
            if found:
                return 200, _reply(call, result={"hash": call["params"][0], "blockNumber": None})
        return await super()._answer(call, fault)


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


Rpc = TypeVar("Rpc", bound=FaultRpc)


@contextmanager
def fault_rpc(upstream: str, kind: type[Rpc] = FaultRpc) -> Iterator[Rpc]:  # type: ignore[assignment]
    """Runs the proxy until the block ends."""
    app = kind(upstream)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", port, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the proxy did not start")
        threading.Event().wait(0.01)
    app.url = f"http://127.0.0.1:{port}"
    try:
        yield app
    finally:
        server.should_exit = True
        thread.join(10)
