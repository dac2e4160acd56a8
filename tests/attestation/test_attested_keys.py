"""Attested keys: what evidence must be bound to, how long a key lives, and all that ends it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from attestation.test_dev_tee import DAY, HONEST, NOW, Bench
from disputes.stand import artifact, deploy, refused
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak
from rig.anvil import CHAIN_ID, Anvil
from web3.logs import DISCARD

from oracle.attestation.attested_keys import Registration
from oracle.attestation.dev import DevTee, Level
from oracle.chain.units import NOBODY

KEY: LocalAccount = Account.from_key(keccak(b"made inside"))
ENCRYPTION_KEY = keccak(b"x25519")
MODEL, ENGINE = keccak(b"model"), keccak(b"engine")
WEEK = 7 * DAY


@pytest.fixture(scope="module")
def chain(running: Anvil) -> Anvil:
    """The same for all tests here."""
    return running


class Keys(Bench):
    """The registry of keys beside the verifier, and a node."""

    def __init__(self, chain: Anvil, tee: DevTee = HONEST) -> None:
        super().__init__(chain, tee)
        self.post()
        self.keys = deploy(self.w3, "AttestedAnswers", NOBODY, self.verifier.address)
        self.node = self.w3.eth.accounts[3]
        self.relay = self.w3.eth.accounts[4]

    def registration(self, **changes: Any) -> Registration:
        head = self.w3.eth.block_number
        self.chain.mine()  # a call sees the hash of blocks before its own alone
        return replace(Registration(self.node, KEY.address, MODEL, ENGINE, head, self.tee.number), **changes)

    def evidence(self, registration: Registration, tee: DevTee | None = None, *, at: Any = None) -> bytes:
        """at: chain and registry to bind it to, if not these."""
        used = tee or self.tee
        block = self.w3.eth.get_block(registration.challenge_block)
        chain_id, registry = at or (CHAIN_ID, self.keys.address)
        binding = registration.binding(chain_id, registry, bytes(block["hash"]))
        quote = used.quote(binding + ENCRYPTION_KEY)
        return quote.evidence(used.collateral().credential(quote))

    def registering(self, registration: Registration, evidence: bytes, key: LocalAccount = KEY) -> Any:
        signature = registration.signed(key, CHAIN_ID, self.keys.address)
        return self.keys.functions.register(registration.words, evidence, signature)

    def register(self, tee: DevTee | None = None) -> tuple[Any, Any]:
        """Details and the receipt."""
        registration = self.registration(evaluation=(tee or self.tee).number)
        call = self.registering(registration, self.evidence(registration, tee))
        receipt = self.w3.eth.wait_for_transaction_receipt(call.transact({"from": self.relay, "gas": 16_000_000}))
        assert receipt["status"] == 1
        (event,) = self.keys.events.KeyRegistered().process_receipt(receipt, DISCARD)
        return tuple(event["args"]["details"].values()), receipt

    def active(self, details: Any) -> bool:
        return bool(self.keys.functions.isActive(KEY.address, details).call())

    def set_clock(self, time: int) -> None:
        self.chain.rpc("evm_setNextBlockTimestamp", time)
        self.chain.mine()


@pytest.fixture
def keys(chain: Anvil) -> Iterator[Keys]:
    snapshot = chain.rpc("evm_snapshot")
    yield Keys(chain)
    chain.rpc("evm_revert", snapshot)


def test_register__with_fresh_evidence__key_is_active_and_cheap(keys):
    details, receipt = keys.register()
    assert keys.active(details)
    assert details[3:6] == (MODEL, ENGINE, ENCRYPTION_KEY)
    assert receipt["gasUsed"] <= 260_000
    key = keys.keys.functions.keyOf(KEY.address).call()
    assert key[0] == keys.node
    assert key[1] == keys.w3.eth.get_block(receipt["blockNumber"])["timestamp"] + WEEK


def test_python__binding_and_digest__are_the_contract_s(keys):
    registration = keys.registration()
    challenge = keccak(b"a block")
    expected = keys.keys.functions.bindingOf(registration.words, challenge).call()
    assert registration.binding(CHAIN_ID, keys.keys.address, challenge) == expected
    digest = keys.keys.functions.digestOf(registration.words).call()
    signature = registration.signed(KEY, CHAIN_ID, keys.keys.address)
    assert Account._recover_hash(digest, signature=signature) == KEY.address


ELSEWHERE = {
    "node": {"node": "0x" + "11" * 20},
    "model": {"model_root": keccak(b"another model")},
    "engine": {"engine_id": keccak(b"another engine")},
    "evaluation": {"evaluation": 18},
}


@pytest.mark.parametrize("what", ELSEWHERE)
def test_register__evidence_made_for_something_else__is_refused(keys, what):
    keys.post(replace(HONEST, number=18, seconds_issued=10), again=True)
    registration = keys.registration()
    other = replace(registration, **ELSEWHERE[what])
    block = bytes(keys.w3.eth.get_block(registration.challenge_block)["hash"])
    expected = other.binding(CHAIN_ID, keys.keys.address, block)
    given = registration.binding(CHAIN_ID, keys.keys.address, block)
    call = keys.registering(other, keys.evidence(registration))
    refused(call, "WrongBinding(bytes32,bytes32)", expected, given)


def test_register__evidence_for_another_chain_or_registry__is_refused(keys):
    registration = keys.registration()
    block = bytes(keys.w3.eth.get_block(registration.challenge_block)["hash"])
    expected = registration.binding(CHAIN_ID, keys.keys.address, block)
    other = deploy(keys.w3, "AttestedAnswers", NOBODY, keys.verifier.address).address
    for elsewhere in ((1, keys.keys.address), (CHAIN_ID, other)):
        given = registration.binding(*elsewhere, block)
        call = keys.registering(registration, keys.evidence(registration, at=elsewhere))
        refused(call, "WrongBinding(bytes32,bytes32)", expected, given)


def test_register__without_the_key_s_own_signature__is_refused(keys):
    """Nobody registers a key that it does not hold, nor one under another name."""
    registration = keys.registration()
    evidence = keys.evidence(registration)
    thief: LocalAccount = Account.from_key(keccak(b"thief"))
    refused(keys.registering(registration, evidence, thief), "WrongSigner(address,address)", KEY.address, thief.address)
    nobody = keys.keys.functions.register(registration.words, evidence, b"\0" * 65)
    refused(nobody, "WrongSigner(address,address)", KEY.address, "0x" + "00" * 20)


def test_register__challenge_too_old_or_in_the_future__is_refused(keys):
    registration = keys.registration()
    evidence = keys.evidence(registration)
    keys.chain.rpc("anvil_mine", hex(257))
    call = keys.registering(registration, evidence)
    refused(call, "ChallengeNotRecent(uint256)", registration.challenge_block)
    future = replace(registration, challenge_block=keys.w3.eth.block_number + 5)
    refused(keys.registering(future, evidence), "ChallengeNotRecent(uint256)", future.challenge_block)


def test_register__the_same_evidence_twice__is_refused(keys):
    registration = keys.registration()
    call = keys.registering(registration, keys.evidence(registration))
    keys.w3.eth.wait_for_transaction_receipt(call.transact({"from": keys.relay, "gas": 16_000_000}))
    refused(call, "NotNewer(uint256,uint256)", registration.challenge_block, registration.challenge_block)


def test_key__after_a_week__is_dead_until_it_is_registered_again(keys):
    details, receipt = keys.register()
    born = keys.w3.eth.get_block(receipt["blockNumber"])["timestamp"]
    keys.set_clock(born + WEEK - 1)
    assert keys.active(details)
    keys.set_clock(born + WEEK)
    assert not keys.active(details)
    again, _ = keys.register()
    assert again == details
    assert keys.active(details)


def test_key__of_a_platform_whose_documents_end_sooner__ends_with_them(chain):
    snapshot = chain.rpc("evm_snapshot")
    try:
        short = replace(HONEST, until=NOW + 2 * DAY)
        keys = Keys(chain, short)
        keys.register()
        assert keys.keys.functions.keyOf(KEY.address).call()[1] == short.until
    finally:
        chain.rpc("evm_revert", snapshot)


def test_key__with_other_details__is_not_active(keys):
    """A policy is shown what was attested, and nothing else."""
    details, _ = keys.register()
    for at, value in ((1, keccak(b"x")), (2, keccak(b"x")), (3, keccak(b"x")), (5, keccak(b"x")), (6, 5), (8, 1)):
        assert not keys.active((*details[:at], value, *details[at + 1 :]))


def test_key__revoked__stays_dead(keys):
    details, _ = keys.register()
    call = keys.keys.functions.revoke(KEY.address)
    refused(call, "NotNode(address,address)", keys.w3.eth.default_account, keys.node)
    keys.w3.eth.wait_for_transaction_receipt(call.transact({"from": keys.node}))
    assert not keys.active(details)
    registration = keys.registration()
    refused(keys.registering(registration, keys.evidence(registration)), "KeyIsRevoked(address)", KEY.address)


def test_key__after_a_tcb_recovery__lives_on_until_it_is_registered_under_the_new_number(keys):
    details, _ = keys.register()
    recovery = replace(HONEST, number=18, seconds_issued=10, levels=(Level(6, date=NOW - 5), Level(5, "OutOfDate")))
    keys.post(recovery, again=True)
    assert keys.active(details)
    anew, _ = keys.register(recovery)
    assert keys.active(anew)
    assert anew[8] == 1
    assert not keys.active(details)


def test_key__whose_platform_is_revoked__is_dead_at_once(keys):
    details, _ = keys.register()
    revoking = replace(HONEST, revoked=(HONEST.platform.serial_number,), seconds_issued=10)
    keys.post(revoking, again=True)
    assert not keys.active(details)


def test_contracts__of_attestation__fit_eip_170():
    """With room to spare."""
    for name in ("AttestedAnswers", "DcapVerifier", "DcapCollateral"):
        assert len(artifact(name)["deployedBytecode"]["object"]) // 2 - 1 <= 24_576 - 2_048
