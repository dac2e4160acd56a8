"""Bindings: calldata, results, events and errors of the real contracts, there and back."""

from collections import Counter
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from rig.contract import ADDRESS
from web3 import Web3

from oracle.chain.bindings import Binding
from oracle.chain.deployment import artifact, artifact_names
from oracle.chain.types import Log

OTHER = "0x" + "22" * 20
ANSWER_PARTS = [{"name": "turn", "type": "uint32"}, {"name": "outputHash", "type": "bytes32"}]
PARAMS_PARTS = [{"name": "maxTokens", "type": "uint24"}, {"name": "deadline", "type": "uint48"}]
PARAMS = {"maxTokens": 16, "deadline": 99}
ANSWER = {"turn": 3, "outputHash": b"\x0a" * 32}
ABI: list[dict[str, Any]] = [
    {
        "type": "event",
        "name": "AnswerPosted",
        "anonymous": False,
        "inputs": [
            {"name": "requestId", "type": "uint256", "indexed": True},
            {"name": "operator", "type": "address", "indexed": True},
            {"name": "answer", "type": "tuple", "components": ANSWER_PARTS, "indexed": False},
            {"name": "output", "type": "bytes", "indexed": False},
        ],
    },
    {
        "type": "function",
        "name": "quote",
        "stateMutability": "view",
        "inputs": [
            {"name": "service", "type": "bytes32"},
            {"name": "params", "type": "tuple", "components": PARAMS_PARTS},
        ],
        "outputs": [{"name": "feeWei", "type": "uint256"}, {"name": "callbackWei", "type": "uint256"}],
    },
    {
        "type": "function",
        "name": "lastAnswer",
        "stateMutability": "view",
        "inputs": [],
        "outputs": [{"name": "", "type": "tuple", "components": ANSWER_PARTS}],
    },
    {
        "type": "error",
        "name": "WrongStatus",
        "inputs": [{"name": "requestId", "type": "uint256"}, {"name": "status", "type": "uint8"}],
    },
]


@pytest.fixture(scope="module")
def oracle() -> Binding:
    return Binding(ABI, ADDRESS)


def answer_log(oracle: Binding, **changes: object) -> Log:
    data = encode(["(uint32,bytes32)", "bytes"], [tuple(ANSWER.values()), b"yes"])
    topics = (oracle.topic("AnswerPosted"), (7).to_bytes(32, "big"), bytes(12) + bytes.fromhex(OTHER[2:]))
    fields = {"address": ADDRESS, "topics": topics, "data": data, "block_number": 1, "block_hash": b"\1" * 32}
    return Log(**{**fields, "tx_hash": b"\2" * 32, "index": 0, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Oracle", "ModelRegistry", "PanelArbiter"])
def test_binding__exported_contract__knows_its_topics(name):
    abi = artifact(name)["abi"]
    binding = Binding(abi, ADDRESS)
    assert set(binding.topics()) == {binding.topic(entry["name"]) for entry in abi if entry["type"] == "event"}


def test_event__another_contract__is_none(oracle):
    assert oracle.event(answer_log(oracle, address=OTHER)) is None


@pytest.mark.parametrize("changes", [{"topics": ()}, {"topics": (b"\x09" * 32,)}, {"data": b"\x01"}, {"data": b""}])
def test_event__unknown_or_malformed__is_none(oracle, changes):
    assert oracle.event(answer_log(oracle, **changes)) is None


def test_event__with_a_struct__has_its_fields_by_name(oracle):
    event = oracle.event(answer_log(oracle))
    assert event is not None
    assert (event.name, event.args["requestId"], event.args["output"]) == ("AnswerPosted", 7, b"yes")
    assert event.args["answer"] == ANSWER


def test_encode__struct_as_dict_or_tuple__is_the_same_calldata(oracle):
    named = oracle.encode("quote", b"\1" * 32, PARAMS)
    assert named == oracle.encode("quote", b"\1" * 32, tuple(PARAMS.values()))
    assert named[4:36] == b"\1" * 32


def sample(entry: dict[str, Any]) -> Any:
    """Some value of an ABI entry's type: arrays without a length have two elements."""
    kind: str = entry["type"]
    if kind.endswith("]"):
        element, _, length = kind[:-1].rpartition("[")
        return [sample({**entry, "type": element})] * int(length or 2)
    if kind == "tuple":
        return {part["name"]: sample(part) for part in entry["components"]}
    if kind.startswith("bytes"):
        return b"\x0b" * int(kind[5:] or 33)
    return {"address": OTHER, "bool": True, "string": "words"}.get(kind, 7)


@pytest.mark.parametrize("name", artifact_names())
def test_encode__every_function_of_every_contract__is_what_web3_encodes(name):
    abi = artifact(name)["abi"]
    plain: Any = Web3().eth.contract(address=Web3.to_checksum_address(ADDRESS), abi=abi)
    binding = Binding(abi, ADDRESS)
    functions = [entry for entry in abi if entry["type"] == "function"]
    names = Counter(entry["name"] for entry in functions)
    for entry in functions:
        if names[entry["name"]] > 1:
            with pytest.raises(KeyError):
                binding.encode(entry["name"])
        else:
            args = [sample(each) for each in entry["inputs"]]
            assert "0x" + binding.encode(entry["name"], *args).hex() == plain.encode_abi(entry["name"], args=args)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ((b"\1" * 32,), "quote takes 2 arguments, not 1"),
        ((b"\1" * 31, PARAMS), "quote: "),
        ((b"\1" * 32, (1 << 24, 99)), "quote: "),
        ((b"\1" * 32, (1,)), "quote: params has 2 fields, not 1"),
        ((b"\1" * 32, {"maxTokens": 1}), r"quote: params has the fields \['deadline', 'maxTokens'\], not"),
    ],
)
def test_encode__arguments_of_another_function__raise(oracle, args, match):
    with pytest.raises(ValueError, match=match):
        oracle.encode("quote", *args)


def test_result__bytes_that_are_no_encoding__raise(oracle):
    with pytest.raises(ValueError, match="not an encoding of"):
        oracle.result("quote", b"\x01")


def test_result__one_value_or_several__comes_back_plain(oracle):
    assert oracle.result("quote", encode(["uint256", "uint256"], [5, 6])) == (5, 6)
    assert oracle.result("lastAnswer", encode(["(uint32,bytes32)"], [tuple(ANSWER.values())])) == ANSWER


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "no reason given"),
        (b"\xde\xad", "0xdead"),
        (bytes.fromhex("08c379a0") + encode(["string"], ["too bad"]), "Error(message=too bad)"),
        (bytes.fromhex("4e487b71") + encode(["uint256"], [17]), "Panic(code=17)"),
        (
            keccak(text="WrongStatus(uint256,uint8)")[:4] + encode(["uint256", "uint8"], [7, 2]),
            "WrongStatus(requestId=7, status=2)",
        ),
        (keccak(text="WrongStatus(uint256,uint8)")[:4] + b"\x01", "WrongStatus: malformed"),
    ],
)
def test_explain__revert_data__is_text(oracle, data, text):
    assert oracle.explain(data) == text
