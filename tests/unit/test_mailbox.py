"""Private prompts left with a node: what it takes, and for how long."""

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account
from unit.test_node_planner import OPEN

from oracle.attestation.private import Context, Recipient, Sampling, reference_to, seal_prompt
from oracle.errors import MailboxFull, NobodyAsked, NotForThisKey
from oracle.node.records import RequestRecord
from oracle.node.tee.mailbox import MOST_PROMPTS, Mailbox

SIGNER = Account.from_key(bytes([1]) * 32).address
KEY = X25519PrivateKey.from_private_bytes(bytes([2]) * 32).public_key().public_bytes_raw()
CONTEXT = Context(31337, SIGNER, SIGNER, bytes(32))


def sealed(number: int) -> bytes:
    return seal_prompt(b"%d" % number, Sampling(16, 0, 0), [Recipient(SIGNER, KEY)], CONTEXT)


def naming(prompt: bytes) -> RequestRecord:
    """An open private request whose prompt was left with a node."""
    request = replace(OPEN.request, rules=OPEN.request.rules | 1 << 248)
    assert request.is_private
    return replace(OPEN, request=request, prompt=reference_to(prompt))


def test_leave__what_a_request_names__is_there_until_it_closes():
    box, prompt = Mailbox(), sealed(1)
    record = naming(prompt)
    assert box.sealed(record) == record.prompt, "not left yet: what the chain has"
    box.update([record])
    box.leave(prompt, [SIGNER])
    box.update([record, OPEN])
    assert box.sealed(record) == prompt
    box.update([OPEN])
    assert box.sealed(record) == record.prompt
    with pytest.raises(NobodyAsked):
        box.leave(prompt, [SIGNER])


def test_leave__request_that_is_not_private__names_nothing():
    prompt = sealed(1)
    box = Mailbox()
    box.update([replace(naming(prompt), request=OPEN.request)])
    with pytest.raises(NobodyAsked):
        box.leave(prompt, [SIGNER])


def test_leave__sealed_to_others__is_refused():
    prompt = sealed(1)
    box = Mailbox()
    box.update([naming(prompt)])
    with pytest.raises(NotForThisKey, match="no key of this node"):
        box.leave(prompt, [])


def test_leave__more_than_there_is_room_for__is_refused_and_loses_none():
    prompts = [sealed(number) for number in range(MOST_PROMPTS + 1)]
    records = [naming(prompt) for prompt in prompts]
    box = Mailbox()
    box.update(records)
    for prompt in prompts[:-1]:
        box.leave(prompt, [SIGNER])
    with pytest.raises(MailboxFull):
        box.leave(prompts[-1], [SIGNER])
    box.leave(prompts[0], [SIGNER])  # again: nothing new
    assert [box.sealed(record) for record in records[:-1]] == prompts[:-1]
    box.forget(records[0])
    box.leave(prompts[-1], [SIGNER])
    assert box.sealed(records[-1]) == prompts[-1]
