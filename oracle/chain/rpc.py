"""The chain as several JSON-RPC endpoints tell it, none of which is trusted to be up, fresh or whole.

Reads that decide something name their block by hash, so that two reads of one decision cannot see two chains. Sends are
never repeated here: the sender's journal decides about that. See `endpoints.py` for whom is asked, and when again. It
knows nothing of contracts: see bindings.py for encoding.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from oracle.chain import headers
from oracle.chain.endpoint import Endpoint, Missing
from oracle.chain.endpoints import Endpoints
from oracle.chain.rpc_errors import Fault, SendOutcome, classify_send
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
from oracle.errors import Doubtful, ReorgedAway, RpcRefused, RpcUnavailable

T = TypeVar("T")

# web3 logs every URL at DEBUG; nothing below WARNING of these libraries is wanted.
for _name in ("web3", "aiohttp", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Rpc(Endpoints):
    """Several endpoints as one. Make it, `await start()`, and `await close()` at the end."""

    _proves_blocks = False
    """Whether a block of this chain has been seen that hashes to its hash."""

    async def start(self) -> Block:
        """Checks the chain id of every endpoint that answers and returns the head.

        Raises WrongChain, or RpcUnavailable when none answers.
        """
        return await self.head()

    # -- reads ---------------------------------------------------------------------------------------------------

    async def head(self) -> Block:
        """The highest block that two endpoints have, or one if no other answers; asks all, and notes who lags.

        Raises RpcUnavailable; Doubtful if no two agree.
        """

        async def once() -> Block:
            due = await self._due()
            latest: list[Any] = ["latest", False]
            found = await asyncio.gather(*(self._try(e, "eth_getBlockByNumber", latest, parse_block) for e in due))
            for endpoint, block in zip(due, found, strict=True):
                endpoint.head = block.number if block else None
            said = [(endpoint.index, block) for endpoint, block in zip(due, found, strict=True) if block]
            if not said:
                raise self._nobody(due)
            agreed = await self._heads.agreed(said, self._block_of)
            return agreed if self._is_sure(agreed) else await self.block_by_hash(agreed.hash) or agreed

        return await self._retry(once)

    @property
    def waiting(self) -> str:
        """Blocks that one endpoint has and nobody confirms; empty if none is far ahead."""
        return self._heads.waiting

    async def block(self, number: int) -> Block | None:
        """The canonical block of that height; None if no endpoint has one."""
        return await self._block("eth_getBlockByNumber", hex(number), lambda block: block.number == number)

    async def block_by_hash(self, block_hash: bytes) -> Block | None:
        """That block, canonical or not; None if no endpoint has it."""
        return await self._block("eth_getBlockByHash", _hex(block_hash), lambda block: block.hash == block_hash)

    async def _block(self, method: str, named: str, is_asked_for: Callable[[Block], bool]) -> Block | None:
        """A block that proves itself, where blocks of this chain do. Else, of all endpoints' the one that most show."""

        def parse(value: Any) -> Block:
            block = parse_block(value)
            if not is_asked_for(block):
                raise ValueError("another block than asked for")
            return block

        async def ask(endpoint: Endpoint) -> Block:
            found = await endpoint.request(method, [named, False])
            if found is None:
                raise Missing
            return parse(found)

        block = await self._read(method, [named, False], parse)
        if block is None or self._is_sure(block):
            return block
        said = [found for _, found in await self._ask_all(method, ask)]
        return max(said, key=lambda each: (each.is_hashed, said.count(each)), default=block)

    def _is_sure(self, block: Block) -> bool:
        """Whether no endpoint can have made a block's fields up; or blocks of this chain prove nothing."""
        self._proves_blocks |= block.is_hashed
        return block.is_hashed or not self._proves_blocks

    async def header(self, block_hash: bytes) -> bytes | None:
        """That block's header as it is hashed; None if no endpoint has the block. Raises UnknownHeader."""
        return await self._read("eth_getBlockByHash", [_hex(block_hash), False], headers.encode)

    async def logs(
        self, block: Block, addresses: Sequence[str], *, everywhere: bool = False
    ) -> dict[int, tuple[Log, ...]]:
        """All logs of `addresses` in exactly this block: from one endpoint that has the block, or from each.

        Raises ReorgedAway when no endpoint has the block any more.
        """
        query = {"blockHash": _hex(block.hash), "address": list(addresses)}

        async def ask(endpoint: Endpoint) -> tuple[Log, ...]:
            return _of_block(_logs(await endpoint.request("eth_getLogs", [query])), block)

        found = await self._ask_all("eth_getLogs", ask, most=None if everywhere else 1)
        if not found:
            raise ReorgedAway(f"block {block.number} left the chain")
        return {endpoint.index: logs for endpoint, logs in found}

    async def receipts(self, tx_hash: bytes) -> dict[int, Receipt]:
        """A transaction's receipt, from each endpoint that has one. Raises RpcUnavailable."""

        async def ask(endpoint: Endpoint) -> Receipt:
            found = await endpoint.request("eth_getTransactionReceipt", [_hex(tx_hash)])
            if found is None:
                raise Missing
            return parse_receipt(found)

        found = await self._ask_all("eth_getTransactionReceipt", ask)
        return {endpoint.index: receipt for endpoint, receipt in found if receipt.tx_hash == tx_hash}

    async def logs_by_receipts(self, block: Block, *, everywhere: bool = False) -> dict[int, tuple[Log, ...]]:
        """All logs of a block, out of its receipts, which endpoints index apart from logs: from the first endpoint that
        gives them, or from each. Raises RpcUnavailable."""

        def parse(value: Any) -> tuple[Log, ...]:
            return _of_block(tuple(log for each in value for log in parse_logs(each["logs"])), block)

        found: dict[int, tuple[Log, ...]] = {}
        for endpoint in await self._due():
            logs = await self._if_served(endpoint, "eth_getBlockReceipts", [_hex(block.hash)], parse)
            if logs is not None:
                found[endpoint.index] = logs
                if not everywhere:
                    break
        return found

    async def logs_range(self, first: int, last: Block, addresses: Sequence[str]) -> list[tuple[Log, ...]]:
        """All logs of `addresses` from block number `first` to `last`: from two endpoints that hold `last` and give so
        many blocks, or from one. For ranges that are final: within them only `last` is pinned.

        Raises RpcRefused if all that hold it refuse so much at once; ReorgedAway if none holds it; RpcUnavailable.
        """
        query = {"fromBlock": hex(first), "toBlock": hex(last.number), "address": list(addresses)}
        blocks = last.number - first + 1
        refusals: list[str] = []

        async def ask(endpoint: Endpoint) -> tuple[Log, ...]:
            if await endpoint.hash_at(last.number) != last.hash:
                raise Missing
            try:
                logs = _logs(await endpoint.request("eth_getLogs", [query]))
            except Fault as fault:
                if not fault.trouble.refuses:
                    raise
                endpoint.refused_range(blocks)
                self.errors[endpoint.index, fault.trouble.kind] += 1
                refusals.append(f"endpoint {endpoint.index}: {fault.trouble}")
                raise Missing from None
            if any(not first <= log.block_number <= last.number for log in logs):
                raise ValueError("logs outside the range")
            return logs

        def serves(endpoint: Endpoint) -> bool:
            return endpoint.refused_blocks is None or endpoint.refused_blocks > blocks

        found = await self._ask_all("eth_getLogs", ask, most=2, serves=serves)
        if not found and refusals:
            raise RpcRefused(f"no endpoint gives the logs of {blocks} blocks at once: {'; '.join(refusals)}")
        if not found:
            raise ReorgedAway(f"block {last.number} left the chain")
        return [logs for _, logs in found]

    async def receipt(self, tx_hash: bytes) -> Receipt | None:
        """The receipt, from the first endpoint that has it; None if none does."""
        receipt = await self._read("eth_getTransactionReceipt", [_hex(tx_hash)], parse_receipt)
        if receipt is not None and receipt.tx_hash != tx_hash:
            raise RpcUnavailable("an endpoint returned another receipt than asked for")
        return receipt

    async def knows(self, tx_hash: bytes) -> bool:
        """Whether any endpoint has the transaction, pooled or mined."""
        return await self._read("eth_getTransactionByHash", [_hex(tx_hash)], lambda value: value is not None) or False

    async def input_of(self, tx_hash: bytes) -> bytes:
        """The call that a transaction made; nothing if no endpoint has it."""

        def parse(value: Any) -> bytes:
            return b"" if value is None else parse_bytes(value["input"])

        return await self._read("eth_getTransactionByHash", [_hex(tx_hash)], parse) or b""

    async def transactions_by(self, address: str, nonce: int, block: Block) -> list[bytes]:
        """Hashes of the transaction with which `address` used `nonce` in `block`: from each endpoint that has the
        block, b"" where it shows none. Raises RpcUnavailable if none answers."""

        def parse(value: Any) -> bytes:
            found = [t for t in value["transactions"] if t["from"].lower() == address.lower()]
            return next((parse_bytes(t["hash"], 32) for t in found if parse_int(t["nonce"]) == nonce), b"")

        due = await self._due()
        said = await asyncio.gather(
            *(self._try(endpoint, "eth_getBlockByHash", [_hex(block.hash), True], parse) for endpoint in due)
        )
        if not any(endpoint.trouble is None for endpoint in due):
            raise self._nobody(due)
        return [each for each in said if each is not None]

    async def call(self, to: str, data: bytes, block: Block, *, sender: str | None = None, value_wei: int = 0) -> bytes:
        """The return data of a call in the state after `block`.

        Raises CallReverted (with the revert data), or ReorgedAway when no endpoint has the block's state.
        """
        tx = _call_object(to, data, sender, value_wei)
        return await self._pinned("eth_call", [tx], block, parse_bytes)

    async def view(self, to: str, data: bytes, block: Block, parse: Callable[[bytes], T]) -> T:
        """What a call returns. parse: of the return data; an endpoint whose data it refuses with a ValueError is passed
        over. Raises as `call`."""
        return await self._pinned("eth_call", [_call_object(to, data)], block, lambda said: parse(parse_bytes(said)))

    async def views(self, to: str, data: bytes, block: Block, parse: Callable[[bytes], T]) -> list[T]:
        """The same in the words of every endpoint that has the block's state, each word once. Raises as `call`."""

        async def ask(endpoint: Endpoint) -> T:
            return parse(parse_bytes(await endpoint.request_at("eth_call", [_call_object(to, data)], block)))

        found: list[T] = []
        for _, said in await self._ask_all("eth_call", ask):
            if said not in found:
                found.append(said)
        if not found:
            raise ReorgedAway(f"no endpoint has the state of block {block.number}")
        return found

    async def estimate_gas(self, to: str, data: bytes, block: Block, *, sender: str, value_wei: int = 0) -> int:
        """Gas that the call needs in the state after `block`. Raises as `call` does."""
        tx = _call_object(to, data, sender, value_wei)
        return await self._pinned("eth_estimateGas", [tx], block, parse_int)

    async def nonce(self, address: str, block: Block) -> int:
        """Transactions that `address` has had mined up to `block`."""
        return await self._pinned("eth_getTransactionCount", [address], block, parse_int)

    async def nonces(self, address: str, block: Block) -> list[int]:
        """The same from every endpoint that has the state after `block`. Raises RpcUnavailable."""

        async def ask(endpoint: Endpoint) -> int:
            return parse_int(await endpoint.request_at("eth_getTransactionCount", [address], block))

        return [said for _, said in await self._ask_all("eth_getTransactionCount", ask)]

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
        """The least tip in wei per gas that an endpoint suggests; 0 where none knows the method."""
        return min(await self._of_each("eth_maxPriorityFeePerGas", [], parse_int), default=0)

    async def tips_paid(self, blocks: int, percentile: int) -> list[list[int]]:
        """The tip at that percentile of the gas of each of the last blocks, in wei per gas; 0 for an empty block. From
        each endpoint that keeps a history of fees."""

        def parse(value: Any) -> list[int]:
            return [parse_int(each[0]) for each in value.get("reward") or []]

        return await self._of_each("eth_feeHistory", [hex(blocks), "latest", [percentile]], parse)

    async def hashes_at(self, number: int) -> list[bytes]:
        """Hashes of the block of that height, from every reachable endpoint that has one."""
        found = await asyncio.gather(
            *(self._try(e, "eth_getBlockByNumber", [hex(number), False], parse_block) for e in await self._due())
        )
        return [block.hash for block in found if block is not None]

    async def check_final(self, number: int, block_hash: bytes) -> None:
        """Asks all reachable endpoints, if there are several, for a final block. Raises Doubtful if they disagree."""
        if len(self._endpoints) < 2:
            return
        due = await self._due()
        found = await asyncio.gather(
            *(self._try(e, "eth_getBlockByNumber", [hex(number), False], parse_block) for e in due)
        )
        for endpoint, block in zip(due, found, strict=True):
            if block is not None and block.hash != block_hash:
                raise Doubtful(
                    f"endpoints disagree on final block {number}: endpoint {endpoint.index} has {_hex(block.hash)}, "
                    f"others {_hex(block_hash)}; find out which is right, and take the other one out"
                )

    # -- sending -------------------------------------------------------------------------------------------------

    async def send(self, raw: bytes) -> tuple[SendOutcome, str]:
        """Hands a signed transaction to every healthy endpoint, once each. Returns the best outcome and its message.

        A lost reply is not a failure: UNREACHABLE means that nobody knows. Never raises because of an endpoint.
        """

        async def one(endpoint: Endpoint) -> tuple[SendOutcome, str]:
            try:
                await self._verify(endpoint)
                await endpoint.request("eth_sendRawTransaction", [_hex(raw)])
            except Missing:
                return SendOutcome.OTHER, "resource not found"
            except Fault as fault:
                if fault.trouble.kind.startswith("error ") and not fault.trouble.limits:
                    return classify_send(fault.trouble.words), fault.trouble.words
                self._failed(endpoint, fault.trouble)
                return SendOutcome.UNREACHABLE, fault.trouble.kind
            return SendOutcome.ACCEPTED, ""

        try:
            due = await self._due()
        except RpcUnavailable as error:
            return SendOutcome.UNREACHABLE, str(error)
        outcomes = await asyncio.gather(*map(one, due))
        rank = list(SendOutcome)
        return min(outcomes, key=lambda outcome: rank.index(outcome[0]))

    # -- inside --------------------------------------------------------------------------------------------------

    async def _block_of(self, index: int, number: int) -> Block | None:
        """An endpoint's block of that height."""
        endpoint = self._endpoints[index]
        return await self._try(endpoint, "eth_getBlockByNumber", [hex(number), False], parse_block)

    async def _pinned(self, method: str, params: list[Any], block: Block, parse: Callable[[Any], T]) -> T:
        async def ask(endpoint: Endpoint) -> T:
            return parse(await endpoint.request_at(method, params, block))

        found = await self._ask(method, ask)
        if found is None:
            raise ReorgedAway(f"no endpoint has the state of block {block.number}")
        return found


def _logs(value: Any) -> tuple[Log, ...]:
    """Raises Missing where some are of blocks that have left the chain; ValueError, KeyError."""
    if isinstance(value, list) and any(isinstance(each, Mapping) and each.get("removed") for each in value):
        raise Missing
    return parse_logs(value)


def _of_block(logs: tuple[Log, ...], block: Block) -> tuple[Log, ...]:
    if any(log.block_hash != block.hash for log in logs):
        raise ValueError("logs of another block")
    return logs


def _call_object(to: str, data: bytes, sender: str | None = None, value_wei: int = 0) -> dict[str, str]:
    tx = {"to": to, "data": _hex(data)}
    if sender is not None:
        tx["from"] = sender
    if value_wei:
        tx["value"] = hex(value_wei)
    return tx


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()
