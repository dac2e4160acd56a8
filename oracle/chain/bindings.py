"""Calls, events and errors of one contract as bytes, from the ABI that was exported with it.

Encoding only: nothing here talks to an endpoint. Structs are dicts or tuples going in, dicts coming out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eth_abi.exceptions import DecodingError, EncodingError
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector
from web3 import Web3
from web3._utils.abi import named_tree
from web3.exceptions import Web3Exception

from oracle.chain.types import Log

_BUILT_IN = (
    {"type": "error", "name": "Error", "inputs": [{"name": "message", "type": "string"}]},
    {"type": "error", "name": "Panic", "inputs": [{"name": "code", "type": "uint256"}]},
)


@dataclass(frozen=True)
class Event:
    """A decoded log."""

    name: str
    args: Mapping[str, Any]
    log: Log


class Binding:
    """One contract at one address."""

    def __init__(self, abi: Sequence[Mapping[str, Any]], address: str) -> None:
        self.address = address
        self._contract: Any = Web3().eth.contract(address=Web3.to_checksum_address(address), abi=list(abi))
        names = Counter(entry["name"] for entry in _typed(abi, "function"))
        # A name that two functions share means neither.
        self._functions = {entry["name"]: entry for entry in _typed(abi, "function") if names[entry["name"]] == 1}
        self._selectors = {
            name: bytes(function_abi_to_4byte_selector(entry))  # type: ignore[arg-type]
            for name, entry in self._functions.items()
        }
        self._events = {bytes(event_abi_to_log_topic(e)): e for e in _typed(abi, "event")}  # type: ignore[arg-type]
        self._errors = {
            bytes(function_abi_to_4byte_selector(e)): e  # type: ignore[arg-type]
            for e in [*_typed(abi, "error"), *_BUILT_IN]
        }

    def topic(self, event: str) -> bytes:
        """The first topic of an event. Raises KeyError."""
        return {entry["name"]: topic for topic, entry in self._events.items()}[event]

    def topics(self) -> list[bytes]:
        """The first topics of all events."""
        return list(self._events)

    def encode(self, function: str, *args: Any) -> bytes:
        """Calldata. Raises KeyError for an unknown function and for a name of several, ValueError for arguments of
        others."""
        inputs = self._functions[function]["inputs"]
        if len(args) != len(inputs):
            raise ValueError(f"{function} takes {len(inputs)} arguments, not {len(args)}")
        types = [collapse_if_tuple(entry) for entry in inputs]
        try:
            values = [_in_order(entry, value) for entry, value in zip(inputs, args, strict=True)]
            encoded: bytes = self._contract.w3.codec.encode(types, values)
        except (EncodingError, ValueError) as error:
            raise ValueError(f"{function}: {error}") from error
        return self._selectors[function] + encoded

    def result(self, function: str, data: bytes) -> Any:
        """What a call returned: one value, or a tuple. Raises ValueError if `data` is something else."""
        outputs = self._functions[function]["outputs"]
        values = self._decode(outputs, data)
        return values[0] if len(values) == 1 else tuple(values)

    def event(self, log: Log) -> Event | None:
        """Decodes a log of this contract; None if it is another's, unknown or malformed."""
        if log.address != self.address or not log.topics or log.topics[0] not in self._events:
            return None
        name = self._events[log.topics[0]]["name"]
        raw = {
            "address": log.address,
            "topics": [Web3.to_bytes(topic) for topic in log.topics],
            "data": Web3.to_bytes(log.data),
            "blockNumber": log.block_number,
            "blockHash": log.block_hash,
            "transactionHash": log.tx_hash,
            "transactionIndex": 0,
            "logIndex": log.index,
        }
        try:
            args = self._contract.events[name]().process_log(raw)["args"]
        except (Web3Exception, DecodingError, ValueError, OverflowError):
            return None
        return Event(name, _plain(args), log)

    def error(self, data: bytes) -> tuple[str, dict[str, Any]] | None:
        """Name and arguments of the error that a call reverted with; None if the ABI does not know it."""
        entry = self._errors.get(data[:4])
        if entry is None:
            return None
        try:
            values = self._decode(entry["inputs"], data[4:])
        except ValueError:
            return None
        named = zip(entry["inputs"], values, strict=True)
        return entry["name"], {
            i["name"]: Web3.to_checksum_address(value) if i["type"] == "address" else value for i, value in named
        }

    def explain(self, data: bytes) -> str:
        """A revert as text: `WrongStatus(requestId=7, status=2)`; hex if the ABI does not know it."""
        found = self.error(data)
        if found is not None:
            return f"{found[0]}({', '.join(f'{name}={_text(value)}' for name, value in found[1].items())})"
        entry = self._errors.get(data[:4])
        if entry is not None:
            return f"{entry['name']}: malformed"
        return "0x" + data.hex() if data else "no reason given"

    def _decode(self, entries: Sequence[Mapping[str, Any]], data: bytes) -> list[Any]:
        types = [collapse_if_tuple(dict(entry)) for entry in entries]
        try:
            values = self._contract.w3.codec.decode(types, data)
        except (DecodingError, OverflowError) as error:
            raise ValueError(f"not an encoding of {types}") from error
        return [
            named_tree(entry["components"], value) if entry["type"] == "tuple" else value
            for entry, value in zip(entries, values, strict=True)
        ]


def _typed(abi: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [entry for entry in abi if entry["type"] == kind]


def _in_order(entry: Mapping[str, Any], value: Any) -> Any:
    """A struct's fields as its contract orders them, where they are given by name; anything else as it is."""
    kind: str = entry["type"]
    if not kind.startswith("tuple"):
        return value
    if kind.endswith("]"):
        return [_in_order({**entry, "type": kind.rpartition("[")[0]}, each) for each in value]
    parts = entry["components"]
    if isinstance(value, Mapping):
        names = sorted(part["name"] for part in parts)
        if sorted(value) != names:
            raise ValueError(f"{entry['name']} has the fields {names}, not {sorted(value)}")
        value = [value[part["name"]] for part in parts]
    if len(value) != len(parts):
        raise ValueError(f"{entry['name']} has {len(parts)} fields, not {len(value)}")
    return tuple(_in_order(part, each) for part, each in zip(parts, value, strict=True))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value


def _text(value: Any) -> str:
    if isinstance(value, int) and value >= 1 << 160:  # a hash: ids of requests are numbers to a contract
        return f"{value:#066x}"
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
