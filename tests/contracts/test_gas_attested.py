"""Gas of TEE mode, from receipts on Anvil: with the dev TEE, whose evidence has the form and size of real quotes."""

from dataclasses import replace

import pytest
from ape import project
from eth_account import Account
from eth_utils import keccak
from tee import enclave, postings
from test_gas import OUTPUT_256, PROMPT_100, ask
from world import ETHER, FINAL, GWEI

from oracle.attestation.collateral import MOST_ENTRIES
from oracle.attestation.dev import Level


@pytest.fixture
def made(world, people):
    tee = enclave(world, people)
    tee.open()
    tee.admit()
    world.enrich(10 * ETHER)
    return tee


def test_gas__attested_loop_with_100_bytes__within_its_limit(made, world, oracle, people, check):
    """What the oracle costs: the consumer is called back and does nothing, the answer is a word."""
    listener = project.Listener.deploy(oracle, sender=people.deployer)
    oracle.deposit(listener, value=1, sender=people.payer)
    params = world.params(callbackGas=60_000, callbackGasPriceWei=GWEI, maxTokens=128)
    price = world.price(PROMPT_100, params)
    asked = world.posted(listener.ask(world.service, PROMPT_100, params, value=price, sender=people.payer))
    answered = made.answer(asked)
    assert answered.turn == 0
    assert oracle.statusOf(asked.id) == FINAL
    check("tee_loop_100b", asked.receipt.gas_used + answered.receipt.gas_used)


def test_gas__attested_loop_of_a_dapp__within_its_limit(made, world, oracle, people, check):
    """The loop of `loop_100b`: 256 bytes of output, and a dapp that stores its hash."""
    correspondent = project.Correspondent.deploy(oracle, world.service, people.deployer, sender=people.deployer)
    oracle.deposit(correspondent, value=1, sender=people.payer)
    asked = ask(world, correspondent, PROMPT_100)
    answered = made.answer(asked, OUTPUT_256, 64)
    assert answered.turn == 0
    assert correspondent.answerHash(asked.id) != bytes(32)
    check("tee_loop_100b_stored", asked.receipt.gas_used + answered.receipt.gas_used)


def test_gas__registration__within_its_limit(made, check):
    """Of a key not known before, with all certificates and documents in place."""
    key = Account.from_key(keccak(b"another key"))
    registered = made.register(key=key)
    check("tee_register", registered.gas_used)
    details = made.details(registered)
    receipt = made.attester.admit(made.world.service, key.address, details, sender=made.people.stranger)
    check("tee_admit", receipt.gas_used)


def test_gas__tcb_info_as_long_as_a_real_one__within_its_limit(made, check):
    """Three levels with eight advisories each, as Intel's of March 2026 for TDX on one kind of platform has them."""
    advisories = tuple(f"INTEL-SA-0{number:04}" for number in range(1001, 1009))
    levels = (Level(5), Level(4, "SWHardeningNeeded", advisories), Level(3, "OutOfDate", advisories))
    newer = replace(made.tee, levels=levels, seconds_issued=10)
    receipts = dict(zip([p.function for p in postings(newer, again=True)], made.post(newer, again=True), strict=True))
    check("tee_tcb_info", receipts["postTcbInfo"].gas_used)
    check("tee_qe_identity", receipts["postQeIdentity"].gas_used)


def test_gas__slice_of_a_long_revocation_list__within_a_transaction(made, check):
    """As many entries as a keeper posts at once."""
    revoking = replace(made.tee, revoked=tuple(range(1, MOST_ENTRIES + 2)), seconds_issued=10)
    first = next(each for each in postings(revoking, again=True) if each.arguments[-1] == MOST_ENTRIES)
    receipt = made.collateral.postCrl(*first.arguments, sender=made.people.stranger)
    check("tee_crl_500", receipt.gas_used)
