"""Private prompts and answers: who can read them, what they are bound to, and that nothing changed is ever read."""

import hashlib
import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from eth_abi.abi import encode
from eth_account import Account
from eth_hash.auto import keccak
from eth_typing import ChecksumAddress
from eth_utils.address import to_canonical_address
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle.attestation.private import (
    MOST_RECIPIENTS,
    SEAL_BYTES,
    STEP_BYTES,
    Context,
    Recipient,
    Sampling,
    open_answer,
    open_prompt,
    recipients_of,
    reference_to,
    seal_answer,
    seal_prompt,
)
from oracle.errors import NotForThisKey, NotPrivate, Unreadable, Unsealable


def address(name: str) -> ChecksumAddress:
    return Account.from_key(keccak(name.encode())).address


def secret(name: str) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(keccak(name.encode()))


def public(key: X25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def recipient(name: str) -> Recipient:
    return Recipient(address(name), public(secret(name)))


CONTEXT = Context(31337, address("oracle"), address("asker"), keccak(b"model"))
SAMPLING = Sampling(0x010203, 0x04050607, 0x08090A0B)
REPLY = secret("reply")
PROMPT = b"What is in the box?"
NODE, OTHER, STRANGER = "node", "other node", "stranger"
HEAD_BYTES = 32 + 3 + 4 + 4 + 4
HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)

P = 2**255 - 19
ORDER_8 = (
    0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
    0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
)
SMALL_ORDER = [n.to_bytes(32, "little") for n in (0, 1, P - 1, P, P + 1, *ORDER_8, 1 << 255)]
"""The list of https://cr.yp.to/ecdh.html#validate, and zero with the bit set that is ignored."""


def sealed_for(*names: str, prompt: bytes = PROMPT, reply_key: bytes | None = public(REPLY)) -> bytes:
    return seal_prompt(prompt, SAMPLING, [recipient(name) for name in names], CONTEXT, reply_key)


def opened(sealed: bytes, name: str = NODE, context: Context = CONTEXT, sampling: Sampling = SAMPLING):
    return open_prompt(sealed, secret(name), address(name), context, sampling)


def body_start(count: int) -> int:
    return 2 + 100 * count + 32


def flipped(data: bytes, at: int, by: int) -> bytes:
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


# PROMPTS: WHO READS THEM


def test_open_prompt__sealed_for_it__says_what_was_asked():
    found = opened(sealed_for(NODE))
    assert found.prompt == PROMPT
    assert found.reply_key == public(REPLY)


def test_open_prompt__no_reply_key__is_to_be_answered_in_the_clear():
    assert opened(sealed_for(NODE, reply_key=None)).reply_key is None


def test_opened__shown__keeps_the_prompt_out_of_logs():
    assert "box" not in repr(opened(sealed_for(NODE)))


@pytest.mark.parametrize("length", [1, 208, 209, 210, 256, 464, 465, 466, 3793])
def test_seal_prompt__any_length__opens_and_shows_only_its_step(length):
    """209 and 465 fill the body to the last byte."""
    prompt = b"\0" * length  # zeros: the padding must not be taken for it
    sealed = sealed_for(NODE, prompt=prompt)
    assert opened(sealed).prompt == prompt
    assert len(sealed) == 50 + 100 + -(-(length + HEAD_BYTES) // 256) * 256


def test_seal_prompt__longest_for_four_kilobytes__fits():
    assert len(sealed_for(NODE, prompt=bytes(3793))) <= 4096 < len(sealed_for(NODE, prompt=bytes(3794)))
    crowd = [f"node {i}" for i in range(16)]
    assert len(sealed_for(*crowd, prompt=bytes(2257))) <= 4096 < len(sealed_for(*crowd, prompt=bytes(2258)))


def test_seal_prompt__to_sixteen__adds_at_most_what_a_service_allows_for_it():
    everyone = [recipient(f"node {n}") for n in range(MOST_RECIPIENTS)]
    added = [len(seal_prompt(bytes(n), SAMPLING, everyone, CONTEXT)) - n for n in range(1, STEP_BYTES + 1)]
    assert max(added) == SEAL_BYTES


def test_seal_prompt__two_of_one_step__are_of_one_length():
    assert len(sealed_for(NODE, prompt=b"a")) == len(sealed_for(NODE, prompt=b"a" * 209))
    assert len(sealed_for(NODE, reply_key=None)) == len(sealed_for(NODE))


def test_seal_prompt__twice__shares_nothing_but_what_is_public():
    """The fixed nonce is safe only if the content key is fresh."""
    first, second = sealed_for(NODE), sealed_for(NODE)
    assert first[:22] == second[:22]
    for start, end in ((22, 54), (54, 102), (102, 134), (134, 390), (390, 406)):
        assert first[start:end] != second[start:end]


def test_open_prompt__several_recipients__each_reads_it_and_no_stranger():
    names = [NODE, OTHER, "third node"]
    sealed = sealed_for(*names)
    assert recipients_of(sealed) == [address(name) for name in names]
    for name in names:
        assert opened(sealed, name).prompt == PROMPT
    with pytest.raises(NotForThisKey, match=f"not for {address(STRANGER)}"):
        opened(sealed, STRANGER)
    with pytest.raises(NotForThisKey, match="another key"):
        open_prompt(sealed, secret(STRANGER), address(NODE), CONTEXT, SAMPLING)


def test_open_prompt__the_other_recipients_name__is_refused():
    with pytest.raises(NotForThisKey, match="another key"):
        open_prompt(sealed_for(NODE, OTHER), secret(OTHER), address(NODE), CONTEXT, SAMPLING)


@settings(max_examples=20, deadline=None)
@given(prompt=st.binary(min_size=1, max_size=1000), count=st.integers(1, 16), private=st.booleans())
def test_seal_prompt__anything__opens_as_it_was(prompt, count, private):
    names = [f"node {i}" for i in range(count)]
    reply_key = public(REPLY) if private else None
    found = opened(sealed_for(*names, prompt=prompt, reply_key=reply_key), names[-1])
    assert (found.prompt, found.reply_key) == (prompt, reply_key)


# PROMPTS: WHAT THEY ARE BOUND TO


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 1},
        {"oracle": address("another oracle")},
        {"requester": address("copycat")},
        {"model_root": keccak(b"another model")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_open_prompt__another_context__is_refused(change):
    with pytest.raises(NotForThisKey, match="another chain, oracle, requester or model"):
        opened(sealed_for(NODE), context=replace(CONTEXT, **change))


def test_open_prompt__put_under_another_signers_name__is_refused():
    """Even if that signer holds the same encryption key."""
    sealed = sealed_for(NODE)
    renamed = sealed[:2] + to_canonical_address(address(OTHER)) + sealed[22:]
    with pytest.raises(NotForThisKey, match="another key"):
        open_prompt(renamed, secret(NODE), address(OTHER), CONTEXT, SAMPLING)


def test_open_prompt__body_of_another_prompt__is_refused():
    mine, foreign = sealed_for(NODE), sealed_for(NODE)
    with pytest.raises(Unreadable, match="changed"):
        opened(mine[: body_start(1)] + foreign[body_start(1) :])


@pytest.mark.parametrize("field", ["max_tokens", "temperature", "cutoff"])
def test_open_prompt__other_parameters_than_the_requests__is_refused(field):
    other = replace(SAMPLING, **{field: getattr(SAMPLING, field) + 1})
    with pytest.raises(Unreadable, match="other parameters"):
        opened(sealed_for(NODE), sampling=other)


@pytest.mark.parametrize("by", [1, 0x80])
def test_open_prompt__one_byte_changed__is_refused(by):
    """A change where another recipient's key stands counts too: the header is authenticated as a whole.

    0x80 also covers the top bit of an X25519 key, which the curve ignores and HPKE does not.
    """
    sealed = sealed_for(NODE, OTHER)
    body = body_start(2)
    for at in range(len(sealed)):
        if at < 2:
            expected: type[Exception] = NotPrivate
        elif at < 102 or 202 <= at < body:  # name, wrapped key; salt
            expected = NotForThisKey
        else:
            expected = Unreadable
        with pytest.raises(expected):
            opened(flipped(sealed, at, by))


def test_open_prompt__cut_or_longer__is_refused():
    """By whole steps it still looks like a private prompt; the seal says otherwise."""
    sealed = sealed_for(NODE, prompt=bytes(300))
    for length in range(len(sealed)):
        whole_steps = length == len(sealed) - 256
        with pytest.raises(Unreadable if whole_steps else NotPrivate):
            opened(sealed[:length])
        if not whole_steps:
            with pytest.raises(NotPrivate):
                recipients_of(sealed[:length])
    with pytest.raises(NotPrivate):
        opened(sealed + b"\0")
    with pytest.raises(Unreadable, match="changed"):
        opened(sealed + bytes(256))


def test_reference__of_a_prompt_left_with_a_node__is_its_hash_and_no_prompt():
    sealed = seal_prompt(PROMPT, SAMPLING, [recipient(NODE)], CONTEXT)
    assert reference_to(sealed) == b"\x02" + keccak(sealed)
    with pytest.raises(NotPrivate):
        recipients_of(reference_to(sealed))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (b"", "no private prompt"),
        (b"What is in the box?", "no private prompt"),
        (b"\x02\x01" + bytes(404), "version 1"),
        (b"\x01\x00" + bytes(32 + 256 + 16), "0 recipients"),
        (b"\x01\x11" + bytes(1700 + 32 + 256 + 16), "17 recipients"),
        (b"\x01\x02" + bytes(200 + 32 + 256 + 16), "twice"),
        (b"\x01\x01" + bytes(100 + 32 + 16), "length"),
    ],
    ids=["empty", "plain", "version 2", "nobody", "too many", "same signer", "no body"],
)
def test_recipients_of__no_private_prompt__is_refused(plain, message):
    with pytest.raises(NotPrivate, match=message):
        recipients_of(plain)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=600) | st.binary(max_size=600).map(lambda rest: b"\x01\x01" + rest))
def test_open_prompt__any_bytes__are_refused(data):
    with pytest.raises((NotPrivate, NotForThisKey)):
        opened(data)


# PROMPTS: WHAT CANNOT BE SEALED, AND WHAT A DISHONEST SENDER SEALS


def test_seal_prompt__nothing_asked__is_refused():
    with pytest.raises(Unsealable, match="empty"):
        sealed_for(NODE, prompt=b"")


@pytest.mark.parametrize("names", [[], [f"node {i}" for i in range(17)], [NODE, OTHER, NODE]])
def test_seal_prompt__none_too_many_or_repeated_recipients__is_refused(names):
    with pytest.raises(Unsealable, match="1 to 16, each once"):
        sealed_for(*names)


@pytest.mark.parametrize("change", [{"max_tokens": 1 << 24}, {"temperature": 1 << 32}, {"cutoff": -1}])
def test_seal_prompt__parameters_no_request_has__is_refused(change):
    with pytest.raises(Unsealable, match="parameters"):
        seal_prompt(PROMPT, replace(SAMPLING, **change), [recipient(NODE)], CONTEXT)


@pytest.mark.parametrize("key", [*SMALL_ORDER, b"", bytes(31), public(REPLY) + b"\0"], ids=bytes.hex)
def test_seal_prompt__key_of_small_order_or_wrong_length__is_refused(key):
    """With such a key anybody could read what was sealed."""
    with pytest.raises(Unsealable, match=f"encryption key of {address(OTHER)}"):
        seal_prompt(PROMPT, SAMPLING, [recipient(NODE), Recipient(address(OTHER), key)], CONTEXT)
    with pytest.raises(Unsealable, match="reply key"):
        sealed_for(NODE, reply_key=key)
    with pytest.raises(Unsealable, match="reply key"):
        seal_answer(b"A cat.", key, 31337, CONTEXT.oracle, 7, address(NODE))


def prompt_info(signer: ChecksumAddress, salt: bytes) -> bytes:
    """As the format's description says, written without the module's help."""
    kinds = ["bytes32", "uint256", "address", "address", "bytes32", "address", "bytes32"]
    domain = keccak(b"didyma.private-prompt.v1")
    bound = [31337, address("oracle"), address("asker"), keccak(b"model"), signer, salt]
    return keccak(encode(kinds, [domain, *bound]))


def answer_info(request_id: int) -> bytes:
    kinds = ["bytes32", "uint256", "address", "uint256", "address"]
    domain = keccak(b"didyma.private-answer.v1")
    return keccak(encode(kinds, [domain, 31337, address("oracle"), request_id, address(NODE)]))


def sealed_by_hand(plain: bytes, salt: bytes = b"") -> bytes:
    """A body of the sender's choice for NODE."""
    content_key = keccak(b"content key")
    salt = salt or keccak(keccak(b"didyma.private-prompt-key.v1") + content_key)
    key = secret(NODE).public_key()
    wrapped = HPKE.encrypt(content_key, key, prompt_info(address(NODE), salt))
    header = b"\x01\x01" + to_canonical_address(address(NODE)) + wrapped + salt
    return header + AESGCM(content_key).encrypt(bytes(12), plain, header)


HEAD = public(REPLY) + bytes.fromhex("010203 04050607 08090a0b")


def body(length: int, prompt: bytes, total: int = 256, reply_key: bytes = HEAD[:32]) -> bytes:
    return (reply_key + HEAD[32:] + length.to_bytes(4, "big") + prompt).ljust(total, b"\0")


def test_open_prompt__sealed_by_hand__reads_it():
    """The sender of the following tests is able to seal."""
    assert opened(sealed_by_hand(body(3, b"abc"))).prompt == b"abc"


def test_open_prompt__content_key_that_the_salt_does_not_commit_to__is_refused():
    """Two keys that open one body would let two recipients read different prompts under one hash."""
    with pytest.raises(Unreadable, match="commits to"):
        opened(sealed_by_hand(body(3, b"abc"), salt=keccak(b"salt")))


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (body(0, b""), "empty"),
        (body(3, b"abcd"), "padding"),
        (body(3, b"abc".ljust(208, b"\0") + b"x"), "padding"),
        (body(210, b"a" * 209), "padding"),
        (body(0xFFFFFFFF, b"a" * 209), "padding"),
        (body(3, b"abc", total=512), "padding"),
    ],
    ids=["empty", "short length", "padding not zero", "long length", "longest length", "padding of another step"],
)
def test_open_prompt__sealed_with_wrong_length_or_padding__is_refused(plain, message):
    with pytest.raises(Unreadable, match=message):
        opened(sealed_by_hand(plain))


@pytest.mark.parametrize("key", SMALL_ORDER[1:], ids=bytes.hex)
def test_open_prompt__sealed_with_a_reply_key_of_small_order__is_refused(key):
    """Before any work is done for an answer that could not be sealed. All zero means no key."""
    with pytest.raises(Unreadable, match="no answer could be sealed"):
        opened(sealed_by_hand(body(3, b"abc", reply_key=key)))


@pytest.mark.parametrize("point", SMALL_ORDER, ids=bytes.hex)
def test_open_prompt__wrapped_with_a_point_of_small_order__is_refused(point):
    sealed = sealed_for(NODE)
    with pytest.raises(NotForThisKey):
        opened(sealed[:22] + point + sealed[54:])


# THE FORMAT, FROM ITS DESCRIPTION ALONE


def hpke_opened(sealed: bytes, key: X25519PrivateKey, info: bytes) -> bytes:
    """RFC 9180, sections 4.1 and 5.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; base mode, one message."""

    def extract(suite: bytes, salt: bytes, label: bytes, value: bytes) -> bytes:
        return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + value, hashlib.sha256)

    def expand(suite: bytes, secret: bytes, label: bytes, value: bytes, length: int) -> bytes:
        """At most 32 bytes: one block of HKDF."""
        labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + value
        return hmac.digest(secret, labeled + b"\x01", hashlib.sha256)[:length]

    kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
    encapsulation = sealed[:32]
    dh = key.exchange(X25519PublicKey.from_public_bytes(encapsulation))
    shared = expand(kem, extract(kem, b"", b"eae_prk", dh), b"shared_secret", encapsulation + public(key), 32)
    context = b"\0" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    scheduled = extract(suite, shared, b"secret", b"")
    aead = AESGCM(expand(suite, scheduled, b"key", context, 32))
    return aead.decrypt(expand(suite, scheduled, b"base_nonce", context, 12), sealed[32:], b"")


def test_seal_prompt__read_by_its_description__says_what_was_asked():
    sealed = sealed_for(OTHER, NODE)
    assert sealed[:2] == b"\x01\x02"
    assert sealed[2:22] == to_canonical_address(address(OTHER))
    assert sealed[102:122] == to_canonical_address(address(NODE))
    header, salt = sealed[:234], sealed[202:234]
    assert CONTEXT.info(address(NODE), salt) == prompt_info(address(NODE), salt)
    content_key = hpke_opened(sealed[122:202], secret(NODE), prompt_info(address(NODE), salt))
    plain = AESGCM(content_key).decrypt(bytes(12), sealed[234:], header)
    assert plain == body(len(PROMPT), PROMPT)


def test_seal_answer__read_by_its_description__says_what_was_answered():
    sealed = seal_answer(b"A cat.", public(REPLY), 31337, CONTEXT.oracle, 7, address(NODE))
    assert hpke_opened(sealed, REPLY, answer_info(7)) == b"\0\0\0\x06A cat.".ljust(256, b"\0")


# ANSWERS


def answered(output: bytes = b"A cat.") -> bytes:
    return seal_answer(output, public(REPLY), CONTEXT.chain_id, CONTEXT.oracle, 7, address(NODE))


def heard(sealed: bytes, key: X25519PrivateKey = REPLY, **changes) -> bytes:
    bound = {"chain_id": CONTEXT.chain_id, "oracle": CONTEXT.oracle, "request_id": 7, "signer": address(NODE)}
    return open_answer(sealed, key, **{**bound, **changes})


@pytest.mark.parametrize("length", [0, 1, 251, 252, 253, 508, 509, 5000])
def test_seal_answer__any_length__opens_and_shows_only_its_step(length):
    """252 and 508 fill it to the last byte."""
    output = b"\0" * length
    sealed = answered(output)
    assert heard(sealed) == output
    assert len(sealed) == 48 + -(-(length + 4) // 256) * 256


def test_open_answer__another_key__is_refused():
    with pytest.raises(Unreadable, match="not sealed to this key"):
        heard(answered(), secret(STRANGER))


@pytest.mark.parametrize(
    "change",
    [{"chain_id": 1}, {"oracle": address("another oracle")}, {"request_id": 8}, {"signer": address(OTHER)}],
    ids=lambda change: next(iter(change)),
)
def test_open_answer__another_context__is_refused(change):
    with pytest.raises(Unreadable, match="not sealed to this key"):
        heard(answered(), **change)


def test_open_answer__changed_cut_or_longer__is_refused():
    sealed = answered()
    for at in range(len(sealed)):
        for by in (1, 0x80):
            with pytest.raises(Unreadable):
                heard(flipped(sealed, at, by))
        with pytest.raises(Unreadable):
            heard(sealed[:at])
    with pytest.raises(Unreadable):
        heard(sealed + b"\0")


@pytest.mark.parametrize(
    "plain",
    [b"", b"\0\0\0", b"\0\0\0\x01ab".ljust(256, b"\0"), b"\0\0\0\xffab".ljust(256, b"\0"), bytes(512), bytes(4)],
    ids=["nothing", "cut length", "padding not zero", "long length", "another step", "no padding"],
)
def test_open_answer__sealed_with_wrong_length_or_padding__is_refused(plain):
    with pytest.raises(Unreadable, match="padding"):
        heard(HPKE.encrypt(plain, REPLY.public_key(), answer_info(7)))
