"""The chain as several JSON-RPC endpoints tell it, none of which is trusted to be up, fresh or whole.

Reads go to the first healthy endpoint and move on to the next on any trouble, then back off and go round again;
whatever still fails is RpcUnavailable. Reads that decide something name their block by hash, so that two reads of
one decision cannot see two chains. Sends are never repeated here: the sender's journal decides about that.

URLs may hold credentials: endpoints are known by their index only, and no library's message about a URL leaves this
module. What an endpoint says is quoted as `quoted` makes it fit. It knows nothing of contracts: see bindings.py for
encoding.
"""

import asyncio
import json
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiohttp import ClientError, ClientSession, ClientTimeout, InvalidURL
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from oracle.chain import headers
from oracle.chain.rpc_errors import (
    MOST_REFUSAL_BYTES,
    MOST_REPLY_BYTES,
    Fault,
    SendOutcome,
    Trouble,
    classify_send,
    is_missing_block,
    is_revert,
    quoted,
    refusal_of,
    revert_data,
)
from oracle.chain.types import (
    Block,
    Log,
    Receipt,
    parse_block,
    parse_bytes,
    parse_int,
    parse_logs,
    parse_receipt,
)
from oracle.errors import CallReverted, FinalityViolated, ReorgedAway, RpcUnavailable, WrongChain

T = TypeVar("T")

# web3 logs every URL at DEBUG; nothing below WARNING of these libraries is wanted.
for _name in ("web3", "aiohttp", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class _Missing(Exception):
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


class _Endpoint:
    """One URL: its connection, and what is known of its health."""

    def __init__(self, index: int, url: SecretStr, timeout_seconds: float) -> None:
        self.index = index
        self.verified = False
        self.head: int | None = None
        self.trouble: Trouble | None = None
        self.failures = 0
        self.retry_at = 0.0
        self._url = url
        self._timeout = ClientTimeout(total=timeout_seconds)
        self._session: ClientSession | None = None

    async def close(self) -> None:
        """Closes the connection."""
        if self._session is not None:
            await self._session.close()

    async def request(self, method: str, params: Sequence[Any]) -> Any:
        """The result. Raises Fault, _Missing or CallReverted."""
        reply = await self._reply(method, params)
        if not isinstance(reply, Mapping) or ("result" not in reply and "error" not in reply):
            raise self._fault(method, "not json-rpc")
        refusal = reply.get("error")
        if refusal is None:
            return reply.get("result")
        if not isinstance(refusal, Mapping):
            raise self._fault(method, "not json-rpc")
        code, message = refusal.get("code"), str(refusal.get("message", ""))[:500]
        code = code if isinstance(code, int) else 0
        if is_missing_block(code, message):
            raise _Missing
        if method in ("eth_call", "eth_estimateGas") and is_revert(code, message):
            raise CallReverted(quoted(message, self._url.get_secret_value()), revert_data(refusal.get("data")))
        raise self._fault(method, f"error {code}", message)

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
                    raise self._fault(method, f"http {response.status}", said)
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

    def _fault(self, method: str, kind: str, words: str = "") -> Fault:
        return Fault(Trouble(method, kind, quoted(words, self._url.get_secret_value())))


class Rpc:
    """Several endpoints as one. Make it, `await start()`, and `await close()` at the end."""

    def __init__(
        self,
        urls: Sequence[SecretStr],
        chain_id: int,
        *,
        timeout_seconds: float = 10.0,
        rounds: int = 3,
        max_lag: int = 3,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """rounds: how often a read goes through all endpoints. max_lag: blocks behind the best that count as fresh."""
        if not urls:
            raise ValueError("no RPC endpoint configured")
        self.chain_id = chain_id
        self.errors: Counter[tuple[int, str]] = Counter()
        """Faults by (endpoint index, kind), for metrics."""
        self._endpoints = [_Endpoint(i, url, timeout_seconds) for i, url in enumerate(urls)]
        self._rounds = rounds
        self._max_lag = max_lag
        self._clock = clock
        self._sleep = sleep

    def __repr__(self) -> str:
        return f"Rpc(chain_id={self.chain_id}, endpoints={len(self._endpoints)})"

    async def start(self) -> Block:
        """Checks the chain id of every endpoint that answers and returns the head.

        Raises WrongChain, or RpcUnavailable when none answers.
        """
        return await self.head()

    async def close(self) -> None:
        """Closes the connections."""
        for endpoint in self._endpoints:
            await endpoint.close()

    def health(self) -> list[EndpointHealth]:
        """How each endpoint does, from what has been seen; asks nobody."""
        return [
            EndpointHealth(
                e.index,
                self._is_fresh(e),
                e.head,
                e.trouble.kind if e.trouble else None,
                str(e.trouble) if e.trouble else None,
            )
            for e in self._endpoints
        ]

    def ready(self) -> bool:
        """Whether at least one endpoint is fresh."""
        return any(self._is_fresh(e) for e in self._endpoints)

    # -- reads ---------------------------------------------------------------------------------------------------

    async def head(self) -> Block:
        """The highest block that any endpoint has; asks all of them and notes who lags. Raises RpcUnavailable."""

        async def once() -> Block:
            due = self._due()
            latest: list[Any] = ["latest", False]
            found = await asyncio.gather(*(self._try(e, "eth_getBlockByNumber", latest, parse_block) for e in due))
            for endpoint, block in zip(due, found, strict=True):
                endpoint.head = block.number if block else None
            blocks = [block for block in found if block]
            if not blocks:
                raise self._nobody(due)
            return max(blocks, key=lambda block: block.number)

        return await self._retry(once)

    async def block(self, number: int) -> Block | None:
        """The canonical block of that height; None if no endpoint has one."""
        block = await self._read("eth_getBlockByNumber", [hex(number), False], parse_block)
        if block is not None and block.number != number:
            raise RpcUnavailable("an endpoint returned another block than asked for")
        return block

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        """That block, canonical or not; None if no endpoint has it."""
        return await self._read("eth_getBlockByHash", [_hex(block_hash), False], parse_block)

    async def header(self, block_hash: bytes) -> bytes | None:
        """That block's header as it is hashed; None if no endpoint has the block. Raises UnknownHeader."""
        return await self._read("eth_getBlockByHash", [_hex(block_hash), False], headers.encode)

    async def logs(self, block: Block, addresses: Sequence[str]) -> tuple[Log, ...]:
        """All logs of `addresses` in exactly this block, in order.

        An endpoint whose empty reply contradicts the block's bloom filter is doubted and the next one asked; if none
        knows better, the filter was a false positive. Raises ReorgedAway when no endpoint has the block any more.
        """
        expected = any(block.may_log(address) for address in addresses)
        query = [{"blockHash": _hex(block.hash), "address": list(addresses)}]
        found = await self._read("eth_getLogs", query, parse_logs, doubt=(lambda logs: not logs) if expected else None)
        if found is None:
            raise ReorgedAway(f"block {block.number} left the chain")
        if any(log.block_hash != block.hash for log in found):
            raise RpcUnavailable("an endpoint returned logs of another block")
        return found

    async def logs_range(self, first: int, last: Block, addresses: Sequence[str]) -> tuple[Log, ...]:
        """All logs of `addresses` from block number `first` to `last`, from an endpoint that holds `last`.

        For ranges that are final: within them only `last` is pinned. Raises ReorgedAway if no endpoint holds it.
        """
        query = {"fromBlock": hex(first), "toBlock": hex(last.number), "address": list(addresses)}

        async def ask(endpoint: _Endpoint) -> tuple[Log, ...]:
            held = parse_block(await endpoint.request("eth_getBlockByNumber", [hex(last.number), False]) or {})
            if held.hash != last.hash:
                raise _Missing
            return parse_logs(await endpoint.request("eth_getLogs", [query]))

        found = await self._ask("eth_getLogs", ask)
        if found is None:
            raise ReorgedAway(f"block {last.number} left the chain")
        if any(not first <= log.block_number <= last.number for log in found):
            raise RpcUnavailable("an endpoint returned logs outside the range")
        return found

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """The receipt, from the first endpoint that has it; None if none does."""
        receipt = await self._read("eth_getTransactionReceipt", [_hex(tx_hash)], parse_receipt)
        if receipt is not None and receipt.tx_hash != tx_hash:
            raise RpcUnavailable("an endpoint returned another receipt than asked for")
        return receipt

    async def knows(self, tx_hash: bytes) -> bool:
        """Whether any endpoint has the transaction, pooled or mined."""
        return await self._read("eth_getTransactionByHash", [_hex(tx_hash)], lambda value: value is not None) or False

    async def call(self, to: str, data: bytes, block: Block, *, sender: str | None = None, value_wei: int = 0) -> bytes:
        """The return data of a call in the state after `block`.

        Raises CallReverted (with the revert data), or ReorgedAway when no endpoint has the block's state.
        """
        tx = _call_object(to, data, sender, value_wei)
        return await self._pinned("eth_call", [tx], block, parse_bytes)

    async def estimate_gas(self, to: str, data: bytes, block: Block, *, sender: str, value_wei: int = 0) -> int:
        """Gas that the call needs in the state after `block`. Raises as `call` does."""
        tx = _call_object(to, data, sender, value_wei)
        return await self._pinned("eth_estimateGas", [tx], block, parse_int)

    async def nonce(self, address: str, block: Block) -> int:
        """Transactions that `address` has had mined up to `block`."""
        return await self._pinned("eth_getTransactionCount", [address], block, parse_int)

    async def balance(self, address: str, block: Block) -> int:
        """Wei that `address` has after `block`."""
        return await self._pinned("eth_getBalance", [address], block, parse_int)

    async def code(self, address: str, block: Block) -> bytes:
        """The contract code at `address` after `block`; empty if there is none."""
        return await self._pinned("eth_getCode", [address], block, parse_bytes)

    async def pending_nonce(self, address: str) -> int:
        """The next nonce with the pool counted in. A hint: pools differ."""
        found = await self._read("eth_getTransactionCount", [address, "pending"], parse_int)
        if found is None:
            raise RpcUnavailable("no endpoint told the pending nonce")
        return found

    async def priority_fee(self) -> int:
        """The tip in wei per gas that an endpoint suggests; 0 where the method is unknown."""
        for endpoint in self._due():
            tip = await self._try(endpoint, "eth_maxPriorityFeePerGas", [], parse_int)
            if tip is not None:
                return tip
        return 0

    async def check_final(self, number: int, block_hash: bytes) -> None:
        """Asks all reachable endpoints, if there are several, for a final block. Raises FinalityViolated."""
        if len(self._endpoints) < 2:
            return
        found = await asyncio.gather(
            *(self._try(e, "eth_getBlockByNumber", [hex(number), False], parse_block) for e in self._due())
        )
        for block in found:
            if block is not None and block.hash != block_hash:
                raise FinalityViolated(
                    f"endpoints disagree on final block {number}: {_hex(block_hash)} and {_hex(block.hash)}; "
                    "find out which one is right before starting again"
                )

    def demote(self) -> None:
        """Sets the endpoint that reads go to first aside for a while: what it said turned out to be incomplete."""
        self._failed(self._due()[0], Trouble("eth_getLogs", "incomplete"))

    # -- sending -------------------------------------------------------------------------------------------------

    async def send(self, raw: bytes) -> tuple[SendOutcome, str]:
        """Hands a signed transaction to every healthy endpoint, once each. Returns the best outcome and its message.

        A lost reply is not a failure: UNREACHABLE means that nobody knows. Never raises for an endpoint's sake.
        """

        async def one(endpoint: _Endpoint) -> tuple[SendOutcome, str]:
            try:
                await self._verify(endpoint)
                await endpoint.request("eth_sendRawTransaction", [_hex(raw)])
            except _Missing:
                return SendOutcome.OTHER, "resource not found"
            except Fault as fault:
                if fault.trouble.kind.startswith("error "):
                    return classify_send(fault.trouble.words), fault.trouble.words
                self._failed(endpoint, fault.trouble)
                return SendOutcome.UNREACHABLE, fault.trouble.kind
            return SendOutcome.ACCEPTED, ""

        outcomes = await asyncio.gather(*(one(endpoint) for endpoint in self._due()))
        rank = list(SendOutcome)
        return min(outcomes, key=lambda outcome: rank.index(outcome[0]))

    # -- inside --------------------------------------------------------------------------------------------------

    async def _pinned(self, method: str, params: list[Any], block: Block, parse: Callable[[Any], T]) -> T:
        found = await self._read(method, [*params, {"blockHash": _hex(block.hash)}], parse)
        if found is None:
            raise ReorgedAway(f"no endpoint has the state of block {block.number}")
        return found

    async def _read(
        self,
        method: str,
        params: Sequence[Any],
        parse: Callable[[Any], T],
        doubt: Callable[[T], bool] | None = None,
    ) -> T | None:
        async def ask(endpoint: _Endpoint) -> T:
            result = await endpoint.request(method, params)
            if result is None:
                raise _Missing
            return parse(result)

        return await self._ask(method, ask, doubt)

    async def _ask(
        self, method: str, ask: Callable[[_Endpoint], Awaitable[T]], doubt: Callable[[T], bool] | None = None
    ) -> T | None:
        """The first undoubted answer; else a doubted one; else None if somebody said that there is none."""

        async def once() -> T | None:
            doubted: list[T] = []
            answered, due = False, self._due()
            for endpoint in due:
                try:
                    await self._verify(endpoint)
                    answer = await ask(endpoint)
                except Fault as fault:
                    self._failed(endpoint, fault.trouble)
                except (ValueError, KeyError, TypeError):
                    self._failed(endpoint, Trouble(method, "malformed"))
                except _Missing:
                    answered = True
                else:
                    if doubt is None or not doubt(answer):
                        return answer
                    doubted.append(answer)
            if doubted:
                return doubted[0]
            if not answered:
                raise self._nobody(due)
            return None

        return await self._retry(once)

    async def _try(
        self, endpoint: _Endpoint, method: str, params: Sequence[Any], parse: Callable[[Any], T]
    ) -> T | None:
        try:
            await self._verify(endpoint)
            result = await endpoint.request(method, params)
            return None if result is None else parse(result)
        except Fault as fault:
            self._failed(endpoint, fault.trouble)
        except (ValueError, KeyError, TypeError):
            self._failed(endpoint, Trouble(method, "malformed"))
        except _Missing:
            pass
        return None

    async def _retry(self, once: Callable[[], Awaitable[T]]) -> T:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RpcUnavailable),
            stop=stop_after_attempt(self._rounds),
            wait=wait_random_exponential(multiplier=0.2, max=5),
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(once)

    async def _verify(self, endpoint: _Endpoint) -> None:
        """Checks the chain id on the first use and after every fault. Raises WrongChain."""
        if endpoint.verified:
            return
        try:
            found = parse_int(await endpoint.request("eth_chainId", []))
        except ValueError:
            raise Fault(Trouble("eth_chainId", "malformed")) from None
        if found != self.chain_id:
            raise WrongChain(f"RPC endpoint {endpoint.index} serves chain {found}, configured is {self.chain_id}")
        endpoint.verified, endpoint.trouble, endpoint.failures = True, None, 0

    @staticmethod
    def _nobody(asked: Sequence[_Endpoint]) -> RpcUnavailable:
        """Why no endpoint could answer. One that was asked and has no trouble said that it has no such block."""
        said = "; ".join(f"endpoint {e.index}: {e.trouble or 'no such block'}" for e in asked)
        advice = next((e.trouble.advice for e in asked if e.trouble), "wait until it has read the chain")
        return RpcUnavailable(f"no RPC endpoint answered: {said}; {advice}")

    def _failed(self, endpoint: _Endpoint, trouble: Trouble) -> None:
        self.errors[endpoint.index, trouble.kind] += 1
        endpoint.verified, endpoint.trouble, endpoint.head = False, trouble, None
        endpoint.failures += 1
        pause = min(30.0, 0.25 * 2 ** min(endpoint.failures, 7)) * random.uniform(0.5, 1.0)
        endpoint.retry_at = self._clock() + pause

    def _is_fresh(self, endpoint: _Endpoint) -> bool:
        best = max((e.head for e in self._endpoints if e.head is not None), default=0)
        return endpoint.verified and endpoint.head is not None and best - endpoint.head <= self._max_lag

    def _due(self) -> list[_Endpoint]:
        """Endpoints not backing off, the fresh ones first; all of them when all are backing off."""
        now = self._clock()
        due = [e for e in self._endpoints if e.retry_at <= now] or self._endpoints
        return sorted(due, key=lambda e: (not self._is_fresh(e), e.index))


def _call_object(to: str, data: bytes, sender: str | None, value_wei: int) -> dict[str, str]:
    tx = {"to": to, "data": _hex(data)}
    if sender is not None:
        tx["from"] = sender
    if value_wei:
        tx["value"] = hex(value_wei)
    return tx


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()
