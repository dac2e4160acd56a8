"""Every custom error of every contract of the package, read from what a call reverted with."""

import re
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.abi import collapse_if_tuple
from web3 import Web3

from oracle.chain import refusals
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment, artifact, artifact_names

ADDRESS = Web3.to_checksum_address("0x" + "cd" * 20)
VALUES: dict[str, Any] = {"address": ADDRESS, "bytes": b"\1\2", "string": "why", "bool": True}
DEPLOYMENT = Deployment(31337, 0, *(Web3.to_checksum_address("0x" + digit * 40) for digit in "123456789"))

ERRORS: dict[str, Any] = {}
for _name in artifact_names():
    for _entry in artifact(_name)["abi"]:
        if _entry["type"] == "error":
            _kinds = ",".join(collapse_if_tuple(each) for each in _entry["inputs"])
            ERRORS.setdefault(f"{_entry['name']}({_kinds})", _entry)  # arguments' names may differ: the first tells


def value(kind: str) -> Any:
    fixed = re.fullmatch(r"bytes(\d+)", kind)
    return b"\7" * int(fixed[1]) if fixed else VALUES.get(kind, 3)


def data_of(signature: str) -> tuple[bytes, dict[str, Any]]:
    """Revert data, and the arguments in it."""
    inputs = ERRORS[signature]["inputs"]
    kinds = [collapse_if_tuple(each) for each in inputs]
    given = [value(kind) for kind in kinds]
    return Web3.keccak(text=signature)[:4] + encode(kinds, given), {
        each["name"]: argument for each, argument in zip(inputs, given, strict=True)
    }


@pytest.mark.parametrize("signature", sorted(ERRORS))
def test_u6_refused__any_error_of_the_package__has_its_name_and_arguments(signature):
    data, arguments = data_of(signature)
    error = refusals.refused(data)
    assert (error.name, dict(error.arguments), error.data) == (ERRORS[signature]["name"], arguments, data)
    assert error.name in str(error)
    assert Contracts.at(DEPLOYMENT).explain(data).startswith(f"{error.name}(")


@pytest.mark.parametrize("data", [b"", b"\1", b"\1\2\3\4", b"\1\2\3\4" * 9])
def test_u6_refused__unknown_data__is_kept_as_it_is_and_has_no_name(data):
    error = refusals.refused(data)
    assert (error.name, dict(error.arguments), error.data) == ("", {}, data)
    assert Contracts.at(DEPLOYMENT).explain(data) == ("0x" + data.hex() if data else "no reason given")


def test_u6_refused__known_selector_with_malformed_arguments__is_unknown():
    data, _ = data_of("WrongFee(uint256,uint256)")
    assert refusals.refused(data[:-1]).name == ""
