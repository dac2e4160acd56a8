"""The list of how contracts are wired, against their constructors."""

import pytest

from oracle.chain import wiring
from oracle.chain.deployment import CONTRACTS, artifact


@pytest.mark.parametrize("name", wiring.WIRING)
def test_wiring__each_contract__has_its_constructor_s_arguments(name):
    constructor = [entry for entry in artifact(name)["abi"] if entry["type"] == "constructor"]
    taken = [argument["internalType"] for entry in constructor for argument in entry["inputs"]]
    told = wiring.WIRING[name]
    assert len(taken) == len(told)
    for kind, source in zip(taken, told, strict=True):
        if kind.startswith("contract "):
            assert source in wiring.WIRING, f"{name} takes a {kind}"
            described = kind.removeprefix("contract ")
            family = source in ("LinearReferee", "RowReferee", "AttentionReferee")
            assert described in {source, f"I{source}", "IAttestationVerifier"} or (family and described == "IFamily")
        else:
            assert source in wiring.GIVEN, f"{name} takes a {kind}"


def test_wiring__order__nothing_is_told_of_what_is_made_later():
    made: list[str] = []
    for name, arguments in wiring.WIRING.items():
        assert set(arguments) <= {*made, *wiring.GIVEN}
        made.append(name)


def test_deploy__part_of_the_list__is_made_in_order_from_what_is_known():
    calls = []

    def make(name, arguments):
        calls.append((name, arguments))
        return name.lower()

    made = wiring.deploy(make, {"ModelRegistry": "0xaa", "block_millis": 5}, ("Oracle", "Seats"))
    assert calls == [("Seats", ["0xaa", 5]), ("Oracle", ["seats"])]
    assert made == {"Seats": "seats", "Oracle": "oracle"}
    with pytest.raises(KeyError, match="Referee"):
        wiring.deploy(make, {"noise_table": "0xbb"}, ("TokenReferee",))


def test_contracts__of_a_deployment__are_those_of_the_list_and_the_game_s_own():
    assert set(CONTRACTS.values()) - set(wiring.WIRING) == {"Refutations"}
