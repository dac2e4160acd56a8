"""The referee's contracts on a chain of their own, and a random model that they know."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from eth_abi.abi import decode, encode
from eth_hash.auto import keccak
from eth_utils.abi import function_abi_to_4byte_selector, get_abi_input_types, get_abi_output_types
from rig.anvil import ROOT, Anvil, anvil
from web3 import Web3
from web3.exceptions import ContractLogicError

from oracle.chain import wiring
from oracle.disputes import commitments
from oracle.engines.tables import creation_codes
from oracle.models.manifest import Manifest

BUILDS = [ROOT / ".build" / "forge"]
"""Where contracts are looked for that forge built, the first place first."""
LARGE = {"gas": 1 << 33}
FAMILIES = ("LinearReferee", "RowReferee", "AttentionReferee")
REFEREES = ("ModelRegistry", *FAMILIES, "Referee", "TokenReferee", "TextReferee", "AnswerReferee")


def artifact(name: str) -> Any:
    places = [build / f"{name}.sol" / f"{name}.json" for build in BUILDS]
    return json.loads(next(path for path in places if path.exists()).read_text())


def deploy(w3: Web3, name: str, *args: Any) -> Any:
    built = artifact(name)
    factory = w3.eth.contract(abi=built["abi"], bytecode=built["bytecode"]["object"])
    receipt = w3.eth.wait_for_transaction_receipt(factory.constructor(*args).transact())
    return w3.eth.contract(address=receipt["contractAddress"], abi=built["abi"])


def maker(w3: Web3) -> Callable[[str, list[Any]], str]:
    """How `wiring.deploy` makes a contract here: as its address."""
    return lambda name, arguments: str(deploy(w3, name, *arguments).address)


def tables(w3: Web3) -> dict[str, str]:
    """The contracts that referees read tables from, by their names in `wiring.GIVEN`."""
    sent = {name: w3.eth.send_transaction({"data": code}) for name, code in creation_codes().items()}
    made = {name: w3.eth.wait_for_transaction_receipt(each) for name, each in sent.items()}
    return {name: str(receipt["contractAddress"]) for name, receipt in made.items()}


@contextmanager
def harness(name: str) -> Iterator[Any]:
    """A contract of the tests, alone on a chain."""
    with anvil() as chain:
        chain.rpc("evm_setAutomine", True)
        yield deploy(chain.w3(), name)


def called(contract: Any, name: str, *arguments: Any) -> Any:
    """The first result of a view."""
    return results(contract, name, *arguments)[0]


def results(contract: Any, name: str, *arguments: Any) -> Any:
    """The results of a view, addresses in lower case. For calls with much in them or many times: web3's own way
    looks at each number several times."""
    abi = next(each for each in contract.abi if each.get("name") == name)
    data = function_abi_to_4byte_selector(abi) + encode(get_abi_input_types(abi), arguments)
    reply = contract.w3.eth.call({"to": contract.address, "data": data, **LARGE})
    return decode(get_abi_output_types(abi), reply)


def called_each(contract: Any, name: str, arguments: Sequence[Sequence[Any]]) -> list[Any]:
    """The same for several calls of one view, in one request to the chain."""
    return [results[0] for results in results_each(contract, name, arguments)]


def results_each(contract: Any, name: str, arguments: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """The same for views with several results."""
    abi = next(each for each in contract.abi if each.get("name") == name)
    selector, kinds = function_abi_to_4byte_selector(abi), get_abi_input_types(abi)
    calls = [
        {
            **{"jsonrpc": "2.0", "id": number, "method": "eth_call"},
            "params": [{"to": contract.address, "data": "0x" + (selector + encode(kinds, each)).hex()}, "latest"],
        }
        for number, each in enumerate(arguments)
    ]
    asked = Request(contract.w3.provider.endpoint_uri, json.dumps(calls).encode(), {"content-type": "application/json"})
    with urlopen(asked, timeout=60) as response:
        replies = sorted(json.load(response), key=lambda reply: reply["id"])
    return [decode(get_abi_output_types(abi), bytes.fromhex(reply["result"][2:])) for reply in replies]


def refused(call: Any, error: str, *arguments: Any) -> None:
    """Asserts that a call reverts with exactly this custom error. error: its signature."""
    with pytest.raises(ContractLogicError) as caught:
        call.call(LARGE)
    kinds = error[error.index("(") + 1 : -1]
    encoded = encode(kinds.split(","), arguments) if kinds else b""
    assert caught.value.data == "0x" + (keccak(error.encode())[:4] + encoded).hex(), (error, arguments)


@dataclass
class Stand:
    """Deployed contracts."""

    w3: Web3
    registry: Any
    referee: Any
    tokens: Any
    texts: Any
    answers: Any

    @classmethod
    def on(cls, chain: Anvil) -> "Stand":
        """Deploys them."""
        chain.rpc("evm_setAutomine", True)
        w3 = chain.w3()
        made = wiring.deploy(maker(w3), tables(w3), REFEREES)
        at = {name: w3.eth.contract(address=address, abi=artifact(name)["abi"]) for name, address in made.items()}
        return cls(
            w3, *(at[name] for name in ("ModelRegistry", "Referee", "TokenReferee", "TextReferee", "AnswerReferee"))
        )

    def register(self, path: Path, **changes: Any) -> Manifest:
        """Registers and enrolls a model file."""
        made = commitments.commit(path)
        fields: dict[str, Any] = {
            "name": path.name,
            "file_sha256": keccak(path.read_bytes()),
            "file_bytes": path.stat().st_size,
            "uri": "",
            "context_length": 64,
            "prefix_tokens": (1,),
            "suffix_tokens": (5, 6),
            "stop_tokens": (2,),
            "replacement_token": 3,
            "weights_root": made.weights_root,
            "architecture": made.architecture,
        }
        manifest = Manifest(**fields | changes)
        self.send(self.registry.functions.register(astuple(manifest)))
        self.send(self.referee.functions.enroll(astuple(manifest)))
        return manifest

    def send(self, call: Any, **options: Any) -> Any:
        return self.w3.eth.wait_for_transaction_receipt(call.transact(options))
