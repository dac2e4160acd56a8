"""Deployment through the CREATE2 factory: equal addresses, broken-off runs, and chains that lack something."""

import itertools

import pytest
from rig.anvil import anvil
from web3 import Web3

from oracle.chain.connect import connect
from oracle.chain.deployment import Deployment, artifact
from oracle.client import chain_needs, deploying, devnet
from oracle.errors import Refused


def plan():
    return deploying.plan(devnet.CHAIN_ID, devnet.BLOCK_MILLIS)


def sender(w3, sent):
    """Sends as the second account, and counts."""

    def send(to, data):
        sent.append(to)
        w3.eth.wait_for_transaction_receipt(
            w3.eth.send_transaction({"from": devnet.account(1).address, "to": to, "data": data})
        )

    return send


def test_planned__address__is_that_of_eip_1014():
    """Example of EIP-1014 with salt and code zero, from the deployer of the canonical factory."""
    made = deploying.Planned("x", bytes.fromhex("00"))
    parts = b"\xff" + bytes.fromhex(deploying.FACTORY[2:]) + bytes(32) + Web3.keccak(b"\x00")
    assert made.address == Web3.to_checksum_address(Web3.keccak(parts)[-20:])


def test_plan__other_block_time_or_root__gives_other_addresses():
    addresses = {each.name: each.address for each in plan()}
    slower = {each.name: each.address for each in deploying.plan(devnet.CHAIN_ID, 12_000)}
    abroad = {each.name: each.address for each in deploying.plan(1, devnet.BLOCK_MILLIS)}
    assert addresses["ModelRegistry"] == slower["ModelRegistry"] == abroad["ModelRegistry"]
    assert addresses["Oracle"] != slower["Oracle"]
    assert addresses["Oracle"] == abroad["Oracle"]
    assert addresses["DcapCollateral"] != abroad["DcapCollateral"]


def test_deploy__broken_off__goes_on_where_it_stopped_and_the_addresses_are_the_planned():
    with anvil(mining=True) as chain:
        w3, sent = connect(chain.url), []
        with pytest.raises(Refused, match="fewer than 3 blocks"):
            list(chain_needs.lacking(w3, plan()))
        chain.mine(3)
        assert list(chain_needs.lacking(w3, plan())) == []
        first = w3.eth.block_number

        count = itertools.count()

        def breaks(to, data):
            if next(count) == 5:
                raise Refused("the wallet is empty")
            sender(w3, sent)(to, data)

        with pytest.raises(Refused, match="wallet"):
            deploying.deploy(w3, plan(), breaks)
        made = deploying.deploy(w3, plan(), sender(w3, sent))
        assert len(sent) == len(plan())
        assert made == deploying.deployment_of(plan(), devnet.CHAIN_ID, made.block)
        assert first <= made.block <= first + 1
        assert isinstance(made, Deployment)
        game = w3.eth.contract(made.game, abi=artifact("DisputeGame")["abi"])
        assert game.functions.refutations().call() == made.refutations
        assert game.functions.oracle().call() == made.oracle
        again = deploying.deploy(w3, plan(), sender(w3, sent))
        assert len(sent) == len(plan())
        assert again.oracle == made.oracle == devnet.deploy(w3).oracle


def test_deploy__no_factory__is_refused():
    with anvil(mining=True) as chain:
        chain.rpc("anvil_setCode", deploying.FACTORY, "0x")
        with pytest.raises(Refused, match="CREATE2"):
            deploying.deploy(connect(chain.url), plan(), sender(connect(chain.url), []))


@pytest.mark.parametrize(
    ("spoil", "names"),
    [
        (["anvil_setCode", chain_needs.HISTORY, "0x"], ["block hashes (EIP-2935)"]),
        (["anvil_setCode", deploying.FACTORY, "0x"], ["the CREATE2 factory"]),
    ],
)
def test_lacking__chain_without_a_contract__is_named(spoil, names):
    with anvil(mining=True) as chain:
        chain.mine(3)
        chain.rpc(*spoil)
        assert [need.name for need in chain_needs.lacking(connect(chain.url), plan())] == names


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (["--hardfork", "prague"], "P-256 (EIP-7951)"),
        (["--hardfork", "prague"], "opcodes of Osaka (EIP-1153, EIP-5656, EIP-7939)"),
        (["--code-size-limit", "20000"], "code size (EIP-170, EIP-3860)"),
        (["--gas-limit", "10000000"], "transactions of 16,777,216 gas"),
    ],
)
def test_lacking__older_or_smaller_chain__is_named(options, name):
    with anvil(*options, mining=True) as chain:
        chain.mine(3)
        assert name in [need.name for need in chain_needs.lacking(connect(chain.url), plan())]


def test_lacking__blocks_are_drawn_by_nobody__is_named():
    with anvil(mining=True) as chain:
        chain.mine(3)
        w3 = connect(chain.url)
        get_block = w3.eth.get_block
        w3.eth.get_block = lambda number: {**get_block(number), "mixHash": bytes(31) + b"\x01"}
        assert [need.name for need in chain_needs.lacking(w3, plan())] == ["randomness (PREVRANDAO)"]
