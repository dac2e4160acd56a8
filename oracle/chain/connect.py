"""One way from commands, clients and development networks to a chain: a Web3 over one RPC endpoint.

What goes wrong at the endpoint is RpcUnavailable, in one line with the method, what happened, the endpoint's own words
and what to do; its URL may hold a credential and is never shown. The node reads through `rpc.py` instead, which asks
several endpoints.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

import requests
import urllib3.exceptions
from hexbytes import HexBytes
from web3 import HTTPProvider, Web3
from web3._utils.method_formatters import PYTHONIC_RESULT_FORMATTERS
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import RPCEndpoint, RPCResponse

from oracle.chain.refusals import refused
from oracle.chain.rpc_errors import (
    MOST_REPLY_BYTES,
    Fault,
    Trouble,
    is_local,
    is_revert,
    quoted,
    refusal_of,
    revert_data,
)
from oracle.chain.types import MOST_QUANTITY
from oracle.errors import RpcRefused, RpcUnavailable

TIMEOUT_SECONDS = 20.0
PIECE_BYTES = 65_536
PATIENCE = 6
"""Timeouts that a whole reply may take; each piece of it must come within one."""
PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
"""Before a read is tried again that the endpoint was too busy for."""
QUANTITIES = frozenset(
    "eth_" + name
    for name in (
        *("chainId", "blockNumber", "gasPrice", "maxPriorityFeePerGas", "estimateGas"),
        *("getTransactionCount", "getBalance"),
    )
)
NEEDED = {
    "eth_getBlockBy": ("number", "timestamp"),
    "eth_getTransactionReceipt": ("transactionHash", "blockNumber", "status", "gasUsed", "logs"),
    "eth_getTransactionBy": ("value",),
}
"""Beginnings of methods that give an object, or null where there is none; and what each has."""
OBJECTS = tuple(NEEDED)
BUSY = frozenset(["http 429", "http 502", "http 503", "http 504"])


class Endpoint(HTTPProvider):
    """An endpoint over HTTP."""

    global_ccip_read_enabled = False  # a contract may not send us to URLs of its own (EIP-3668)

    def __init__(self, url: str, timeout_seconds: float | None = None) -> None:
        super().__init__(url, exception_retry_configuration=None)
        self._url = url
        self._timeout_seconds = TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds
        self._session = requests.Session()
        self._session.trust_env = not is_local(url)  # no proxy stands between us and this machine

    def __str__(self) -> str:
        return "an RPC endpoint"

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The reply: a result. Raises RpcUnavailable, RpcRefused, and CallReverted with the contract's reason."""
        pauses = [] if method.startswith("eth_send") else list(PAUSES_SECONDS)
        while True:
            try:
                return self._answer(method, self._reply(method, params))
            except Fault as fault:
                trouble = fault.trouble
            if trouble.kind not in BUSY or not pauses:
                kind = RpcRefused if trouble.refuses else RpcUnavailable
                raise kind(f"the RPC endpoint fails at {trouble}: {trouble.advice}") from None
            time.sleep(pauses.pop(0))

    def _reply(self, method: str, params: Any) -> Any:
        """What comes back, as JSON. Raises Fault."""
        call = self.encode_rpc_request(RPCEndpoint(method), params)
        try:
            headers = {"content-type": "application/json"}
            with self._session.post(
                self._url,
                data=call,
                headers=headers,
                timeout=self._timeout_seconds,
                stream=True,
                allow_redirects=False,  # nor may an endpoint
            ) as reply:
                status, body = reply.status_code, self._body(method, reply.raw)
        except (requests.exceptions.ProxyError, requests.exceptions.InvalidProxyURL):
            raise self._fault(method, "proxy") from None
        except (
            requests.exceptions.InvalidURL,
            requests.exceptions.MissingSchema,
            requests.exceptions.InvalidSchema,
            urllib3.exceptions.LocationValueError,
        ) as error:
            raise self._fault(method, "proxy" if "SOCKS" in str(error) else "bad url") from None
        except (requests.Timeout, urllib3.exceptions.TimeoutError):
            raise self._fault(method, "timeout") from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, UnicodeError):
            raise self._fault(method, "connection") from None
        if status >= 300:
            raise self._fault(method, f"http {status}", refusal_of(body))
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise self._fault(method, "not json", refusal_of(body)) from None

    def _body(self, method: str, raw: urllib3.HTTPResponse) -> bytes:
        """All of a reply, piece by piece as it comes. Raises Fault where that takes too long, or it has no end."""
        end, body = time.monotonic() + PATIENCE * self._timeout_seconds, bytearray()
        while piece := raw.read1(PIECE_BYTES, decode_content=True):
            body += piece
            if len(body) > MOST_REPLY_BYTES:
                raise self._fault(method, "too long")
            if time.monotonic() > end:
                raise self._fault(method, "timeout")
        return bytes(body)

    def _answer(self, method: str, reply: Any) -> RPCResponse:
        """Raises Fault, CallReverted."""
        if not isinstance(reply, dict) or ("result" not in reply and "error" not in reply):
            raise self._fault(method, "not json-rpc")
        error = reply.get("error")
        if error is None:
            return {"jsonrpc": "2.0", "id": 1, "result": self._checked(method, reply.get("result"))}
        if not isinstance(error, dict):
            raise self._fault(method, "not json-rpc")
        code, message = error.get("code"), str(error.get("message", ""))
        code = code if isinstance(code, int) else 0
        if method in ("eth_call", "eth_estimateGas") and is_revert(code, message):
            raise refused(revert_data(error.get("data")), quoted(message, self._url))
        raise self._fault(method, f"error {code}", message)

    def _checked(self, method: str, result: Any) -> Any:
        """The result, if it is one of that method and web3 will be able to read it. Raises Fault."""
        if not method.startswith("eth_") or (result is None and method.startswith(OBJECTS)):
            return result
        formatter: Any = PYTHONIC_RESULT_FORMATTERS.get(RPCEndpoint(method), str)
        kind: Any = int if method in QUANTITIES else list if method == "eth_getLogs" else str
        kind = dict if method.startswith(OBJECTS) else kind
        try:
            if isinstance(result, dict) and "extraData" in result:  # of any length, with proof of authority
                extra = HexBytes(result["extraData"])
                read = formatter({**result, "extraData": extra[:32].to_0x_hex()})
            else:
                read = formatter(result)
            is_whole = _is_sane(read) and all(read[name] is not None for name in _needed(method))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise self._fault(method, "malformed") from None
        if not is_whole or not isinstance(read if kind is int else result, kind):
            raise self._fault(method, "malformed")
        return result

    def _fault(self, method: str, kind: str, words: str = "") -> Fault:
        return Fault(Trouble(method, kind, quoted(words, self._url)))


def _needed(method: str) -> tuple[str, ...]:
    return next((names for beginning, names in NEEDED.items() if method.startswith(beginning)), ())


def _is_sane(read: Any) -> bool:
    """Whether every number in it is one that the chain could hold. Others cannot even be printed."""
    if isinstance(read, Mapping):
        return all(map(_is_sane, read.values()))
    if isinstance(read, list | tuple):
        return all(map(_is_sane, read))
    return not isinstance(read, int) or 0 <= read <= MOST_QUANTITY


def connect(url: str, timeout_seconds: float | None = None) -> Web3:
    """A Web3 over the endpoint; asks it nothing yet. Reads headers of proof of authority, too."""
    w3 = Web3(Endpoint(url, timeout_seconds))
    w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    return w3
