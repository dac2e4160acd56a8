"""JSON-RPC over the chain: the methods that this project uses, as a server gives them, and no other.

What goes wrong is an `RpcError` with a server's code and words. It knows nothing of faults: see faults.py.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rig.sim.chain import BLOCK_GAS, COINBASE, GWEI, NO_UNCLES, Block, Mined, SimChain, bloom_of
from rig.sim.osaka import Outcome, Transaction
from rig.sim.pool import Rejected, Signed
from rig.sim.state import NOBODY

NOT_FOUND, NO_METHOD, BAD_PARAMS, REVERTED, SERVER = -32001, -32601, -32602, 3, -32000
REORG_SAFE_BLOCKS, FINAL_BLOCKS = 32, 64
TIP_WEI = GWEI
"""What the server suggests."""


class RpcError(Exception):
    """An error object."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"code": self.code, "message": self.message}
        return found if self.data is None else {**found, "data": self.data}


class SimRpc:
    """A server that tells the truth."""

    def __init__(self, chain: SimChain) -> None:
        self.chain = chain
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_blockNumber": lambda: hex(chain.head.header.number),
            "eth_gasPrice": lambda: hex(chain.head.header.next_base_fee_wei + TIP_WEI),
            "eth_maxPriorityFeePerGas": lambda: hex(TIP_WEI),
            "eth_getBlockByNumber": lambda number, full: self._block_json(self._numbered(number), full),
            "eth_getBlockByHash": lambda block_hash, full: self._block_json(chain.by_hash(_raw(block_hash)), full),
            "eth_getLogs": self._logs,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getBlockReceipts": self._receipts,
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionCount": self._nonce,
            "eth_getBalance": lambda address, at: hex(self._account(address, at)[1]),
            "eth_getCode": lambda address, at: _hex(self._account(address, at)[2]),
            "eth_getStorageAt": self._slot,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_feeHistory": self._fee_history,
            "eth_sendRawTransaction": self._send,
        }

    def __call__(self, method: str, params: Sequence[Any]) -> Any:
        """The result. Raises RpcError."""
        if method not in self._methods:
            raise RpcError(NO_METHOD, f"the method {method} does not exist/is not available")
        try:
            return self._methods[method](*params)
        except (TypeError, ValueError, KeyError) as error:
            raise RpcError(BAD_PARAMS, f"invalid argument: {error}") from error

    # -- blocks --------------------------------------------------------------------------------------------------

    def _numbered(self, tag: str) -> Block | None:
        blocks = self.chain.blocks
        named = {
            "latest": len(blocks) - 1,
            "pending": len(blocks) - 1,
            "earliest": 0,
            "safe": max(len(blocks) - 1 - REORG_SAFE_BLOCKS, 0),
            "finalized": max(len(blocks) - 1 - FINAL_BLOCKS, 0),
        }
        number = named[tag] if tag in named else _number(tag)
        return blocks[number] if number < len(blocks) else None

    def _at(self, named: str | Mapping[str, Any]) -> Block:
        """The block of a call, by number, word or hash (EIP-1898)."""
        if isinstance(named, str):
            block = self._numbered(named)
        elif "blockNumber" in named:
            block = self._numbered(named["blockNumber"])
        else:
            block = self.chain.by_hash(_raw(named["blockHash"]))
            if block is not None and named.get("requireCanonical") and not self.chain.is_canonical(block):
                raise RpcError(SERVER, "hash is not currently canonical")
        if block is None:
            raise RpcError(SERVER, "header not found")
        return block

    def _block_json(self, block: Block | None, full: bool) -> dict[str, Any] | None:
        if block is None:
            return None
        h = block.header
        found = {
            "number": hex(h.number),
            "hash": _hex(block.hash),
            "parentHash": _hex(h.parent_hash),
            "sha3Uncles": _hex(NO_UNCLES),
            "miner": _hex(COINBASE),
            "stateRoot": _hex(h.roots[0]),
            "transactionsRoot": _hex(h.roots[1]),
            "receiptsRoot": _hex(h.roots[2]),
            "logsBloom": _hex(h.bloom),
            "difficulty": "0x0",
            "gasLimit": hex(BLOCK_GAS),
            "gasUsed": hex(h.gas_used),
            "timestamp": hex(h.timestamp),
            "extraData": _hex(h.extra),
            "mixHash": _hex(h.prev_randao),
            "nonce": _hex(bytes(8)),
            "baseFeePerGas": hex(h.base_fee_wei),
            "withdrawalsRoot": _hex(bytes(32)),
            "blobGasUsed": "0x0",
            "excessBlobGas": "0x0",
            "parentBeaconBlockRoot": _hex(bytes(32)),
            "requestsHash": _hex(bytes(32)),
            "uncles": [],
            "withdrawals": [],
        }
        each = (self._mined_json(block, m) if full else _hex(m.signed.hash) for m in block.mined)
        return {**found, "transactions": list(each)}

    def _fee_history(self, count: str, newest: str, percentiles: Sequence[float] | None = None) -> dict[str, Any]:
        last = self._at(newest).header.number
        blocks = self.chain.blocks[max(last + 1 - _number(count), 0) : last + 1]
        found: dict[str, Any] = {
            "oldestBlock": hex(blocks[0].header.number),
            "baseFeePerGas": [hex(b.header.base_fee_wei) for b in blocks] + [hex(blocks[-1].header.next_base_fee_wei)],
            "gasUsedRatio": [b.header.gas_used / BLOCK_GAS for b in blocks],
        }
        if percentiles:
            found["reward"] = [[hex(_percentile(block, p)) for p in percentiles] for block in blocks]
        return found

    # -- transactions and logs -----------------------------------------------------------------------------------

    def _send(self, raw: str) -> str:
        try:
            return _hex(self.chain.send(_raw(raw)))
        except Rejected as refusal:
            raise RpcError(SERVER, str(refusal)) from None

    def _receipt(self, tx_hash: str) -> dict[str, Any] | None:
        found = self.chain.transactions.get(_raw(tx_hash))
        if found is None:
            return None
        return self._receipt_of(*found)

    def _receipt_of(self, block: Block, mined: Mined) -> dict[str, Any]:
        outcome, tx = mined.outcome, mined.signed.tx
        logs = self._logs_of(block, mined)
        return {
            **_place(block, mined),
            "from": _hex(tx.sender),
            "to": _hex(tx.to) if tx.to else None,
            "contractAddress": _hex(outcome.contract) if outcome.contract else None,
            "status": hex(outcome.succeeded),
            "gasUsed": hex(outcome.gas_used),
            "cumulativeGasUsed": hex(mined.gas_before + outcome.gas_used),
            "effectiveGasPrice": hex(mined.price_wei),
            "type": hex(tx.type_id),
            "logs": logs,
            "logsBloom": _hex(bloom_of([outcome])),
        }

    def _receipts(self, named: str) -> list[dict[str, Any]] | None:
        """Of a block, by hash or by number."""
        block = self.chain.by_hash(_raw(named)) if len(named) == 66 else self._numbered(named)
        return None if block is None else [self._receipt_of(block, mined) for mined in block.mined]

    def _transaction(self, tx_hash: str) -> dict[str, Any] | None:
        found = self.chain.transactions.get(_raw(tx_hash))
        if found is not None:
            return self._mined_json(*found)
        waiting = self.chain.pool.get(_raw(tx_hash))
        nowhere = {"blockHash": None, "blockNumber": None, "transactionIndex": None}
        return None if waiting is None else {**_signed_json(waiting), **nowhere}

    def _mined_json(self, block: Block, mined: Mined) -> dict[str, Any]:
        place = {key: value for key, value in _place(block, mined).items() if key != "transactionHash"}
        return {**_signed_json(mined.signed), **place}

    def _logs(self, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "blockHash" in query:
            block = self.chain.by_hash(_raw(query["blockHash"]))
            if block is None:
                raise RpcError(SERVER, "unknown block")
            blocks = [block]
        else:
            first, last = (self._numbered(query.get(name, "latest")) for name in ("fromBlock", "toBlock"))
            if first is None:
                raise RpcError(SERVER, "block range extends beyond current head block")
            end = self.chain.head if last is None else last
            blocks = self.chain.blocks[first.header.number : end.header.number + 1]
        return [log for block in blocks for mined in block.mined for log in self._logs_of(block, mined, query)]

    def _logs_of(self, block: Block, mined: Mined, query: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        found = []
        for i, (address, topics, data) in enumerate(mined.outcome.logs):
            words = [_hex(topic.to_bytes(32, "big")) for topic in topics]
            if query is None or _wanted(query, _hex(address), words):
                found.append(
                    {
                        **_place(block, mined),
                        "address": _hex(address),
                        "topics": words,
                        "data": _hex(data),
                        "logIndex": hex(mined.first_log + i),
                        "removed": False,
                    }
                )
        return found

    # -- state ---------------------------------------------------------------------------------------------------

    def _account(self, address: str, at: Any) -> tuple[int, int, bytes]:
        return self._at(at).state.accounts.get(_raw(address), NOBODY)

    def _nonce(self, address: str, at: Any) -> str:
        mined = self._account(address, at)[0]
        return hex(self.chain.pool.nonce(_raw(address), mined) if at == "pending" else mined)

    def _slot(self, address: str, slot: str, at: Any) -> str:
        return _hex(self._at(at).state.storage.get((_raw(address), int(slot, 16)), 0).to_bytes(32, "big"))

    def _call(self, call: Mapping[str, Any], at: Any = "latest") -> str:
        tx = _transaction(call, _number(call.get("gas", hex(BLOCK_GAS))))
        return _hex(_good(self.chain.call(self._at(at), tx)).output)

    def _estimate(self, call: Mapping[str, Any], at: Any = "latest") -> str:
        gas, outcome = self.chain.estimate(self._at(at), lambda gas: _transaction(call, gas))
        _good(outcome)
        return hex(gas)


def _good(outcome: Outcome) -> Outcome:
    if outcome.reverted:
        raise RpcError(REVERTED, "execution reverted", _hex(outcome.output))
    if not outcome.succeeded:
        raise RpcError(SERVER, "out of gas" if outcome.reason == "OutOfGas" else f"EVM error: {outcome.reason}")
    return outcome


def _transaction(call: Mapping[str, Any], gas: int) -> Transaction:
    """What a call would be as a transaction that pays nothing for its gas."""
    to = call.get("to") or "0x"
    data = call.get("data") or call.get("input") or "0x"
    return Transaction(
        _raw(call.get("from", _hex(bytes(20)))), 0, _raw(to), _number(call.get("value", "0x0")), _raw(data), gas, 0, 0
    )


def _place(block: Block, mined: Mined) -> dict[str, Any]:
    return {
        "blockHash": _hex(block.hash),
        "blockNumber": hex(block.header.number),
        "transactionHash": _hex(mined.signed.hash),
        "transactionIndex": hex(mined.index),
    }


def _signed_json(signed: Signed) -> dict[str, Any]:
    tx = signed.tx
    fees = {"maxFeePerGas": hex(tx.max_fee_per_gas), "maxPriorityFeePerGas": hex(tx.max_priority_fee_per_gas)}
    return {
        "hash": _hex(signed.hash),
        "type": hex(tx.type_id),
        "from": _hex(tx.sender),
        "to": _hex(tx.to) if tx.to else None,
        "nonce": hex(tx.nonce),
        "value": hex(tx.value),
        "gas": hex(tx.gas),
        "gasPrice": hex(tx.max_fee_per_gas),
        "input": _hex(tx.data),
        **(fees if tx.type_id == 2 else {}),
    }


def _wanted(query: Mapping[str, Any], address: str, topics: Sequence[str]) -> bool:
    addresses = query.get("address") or []
    addresses = [addresses] if isinstance(addresses, str) else addresses
    if addresses and address not in [each.lower() for each in addresses]:
        return False
    for place, choice in enumerate(query.get("topics") or []):
        choices = [choice] if isinstance(choice, str) else choice
        if choices and (place >= len(topics) or topics[place] not in [each.lower() for each in choices]):
            return False
    return True


def _percentile(block: Block, percent: float) -> int:
    """The tip below which that share of the block's gas was bought, in wei."""
    tips = sorted((m.price_wei - block.header.base_fee_wei, m.outcome.gas_used) for m in block.mined)
    below = 0
    for tip, gas in tips:
        below += gas
        if below >= block.header.gas_used * percent / 100:
            return tip
    return 0


def _number(text: str) -> int:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"not a quantity: {text!r}")
    return int(text, 16)


def _raw(text: str) -> bytes:
    if not isinstance(text, str) or not text.startswith("0x"):
        raise ValueError(f"not data: {text!r}")
    return bytes.fromhex(text[2:])


def _hex(raw: bytes) -> str:
    return "0x" + raw.hex()
