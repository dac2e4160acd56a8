"""Prompts and answers that only keys made inside a TEE, and the asker, can read.

A private prompt stands on chain in place of the plain one. A fresh content key is wrapped for each recipient by HPKE
(RFC 9180, base mode, X25519, HKDF-SHA256, AES-256-GCM); the body is AES-256-GCM under that key, the whole header its
associated data. Each wrapped key is bound to chain, oracle, requester, model, recipient and a salt: a copy that
somebody else asks again cannot be opened. Integers are big-endian:

    version    1     1
    count      1     of recipients, 1 to 16
    recipient  100   signer 20, HPKE encapsulation 32, content key 32, tag 16; `count` times
    salt       32    hash of the content key, so that all recipients read the same body
    body       256n  reply key 32 (zero: answer in the clear), max tokens 3, temperature 4, cutoff 4, prompt's length 4,
                     prompt, zeros
    tag        16

So a prompt of L bytes takes 50 + 100 * count bytes and L + 47 rounded up to a multiple of 256. In 4,096 bytes fit 3,793
for one recipient, 2,257 for sixteen. What is longer than a chain should carry is left with a node instead, and on chain
stand 33 bytes: version 2, and the Keccak-256 hash of the above. A private answer of L bytes is HPKE to the reply key:
encapsulation 32, length 4, output and zeros up to a multiple of 256, tag 16: L + 4 rounded up, and 48. Of lengths only
these steps show.

What this does not know: whether a key is attested; whether others than the one who opens can read a prompt, for a
sender may wrap rubbish for them; and who sealed an answer: the signer's signature over the sealed bytes says that.
AES-GCM does not commit to its key, and a sender with much computing power could find two that open one body; the salt
commits to it. There is no forward secrecy: whoever gets a recipient's key reads all that was ever sealed to it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from eth_abi.abi import encode
from eth_hash.auto import keccak
from eth_typing import ChecksumAddress
from eth_utils.address import to_canonical_address, to_checksum_address

from oracle.errors import NotForThisKey, NotPrivate, Unreadable, Unsealable

VERSION, LEFT_VERSION = 1, 2
MOST_RECIPIENTS = 16
STEP_BYTES = 256
"""Lengths show in multiples of this."""

PROMPT_DOMAIN = keccak(b"didyma.private-prompt.v1")
SALT_DOMAIN = keccak(b"didyma.private-prompt-key.v1")
ANSWER_DOMAIN = keccak(b"didyma.private-answer.v1")

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
NONCE = bytes(12)  # fixed, and rightly so: a content key encrypts one body and is never used again
KEY_BYTES = SALT_BYTES = 32
TAG_BYTES = 16
SIGNER_BYTES = 20
WRAPPED_BYTES = 32 + KEY_BYTES + TAG_BYTES
SAMPLING_BYTES = 3 + 4 + 4
LENGTH_BYTES = 4
SEAL_BYTES = 50 + MOST_RECIPIENTS * (SIGNER_BYTES + WRAPPED_BYTES) + 47 + STEP_BYTES - 1
"""The most that sealing adds to a prompt; `Prompts.SEAL_BYTES` in Solidity. A service takes private prompts that are
longer than others by this."""
IN_CLEAR = bytes(KEY_BYTES)
"""In place of a reply key: the answer need not be private."""
PROBE = X25519PrivateKey.from_private_bytes(bytes(32))
"""Any will do: scalars are multiples of 8, which takes points of small order to zero, and no others."""


@dataclass(frozen=True)
class Context:
    """What a prompt is bound to."""

    chain_id: int
    oracle: ChecksumAddress
    requester: ChecksumAddress
    """The request's payer."""
    model_root: bytes
    """32 bytes."""

    def info(self, signer: ChecksumAddress, salt: bytes) -> bytes:
        """HPKE's `info` for one recipient."""
        kinds = ["bytes32", "uint256", "address", "address", "bytes32", "address", "bytes32"]
        bound = [self.chain_id, self.oracle, self.requester, self.model_root, signer, salt]
        return keccak(encode(kinds, [PROMPT_DOMAIN, *bound]))


@dataclass(frozen=True)
class Recipient:
    """An attested key."""

    signer: ChecksumAddress
    encryption_key: bytes
    """X25519, 32 bytes."""


@dataclass(frozen=True)
class Sampling:
    """What the request says in the clear, and the sealed prompt again."""

    max_tokens: int
    temperature: int
    """Fixed point, 16 fraction bits."""
    cutoff: int
    """Fixed point, 16 fraction bits."""

    @property
    def packed(self) -> bytes:
        """11 bytes. Raises Unsealable for what no request can say."""
        try:
            return (
                self.max_tokens.to_bytes(3, "big")
                + self.temperature.to_bytes(4, "big")
                + self.cutoff.to_bytes(4, "big")
            )
        except OverflowError as error:
            raise Unsealable(f"no request has such parameters: {self}") from error


@dataclass(frozen=True)
class Opened:
    """What a private prompt says."""

    prompt: bytes = field(repr=False)  # a line in a log must not show it
    reply_key: bytes | None
    """X25519, 32 bytes: the answer is to be sealed to it. None: the answer is to be in the clear."""


def seal_prompt(
    prompt: bytes,
    sampling: Sampling,
    recipients: Sequence[Recipient],
    context: Context,
    reply_key: bytes | None = None,
) -> bytes:
    """For a request of `context` with `sampling`; every recipient can read it.

    prompt: at least one byte. recipients: 1 to 16, no signer twice. reply_key: X25519, 32 bytes; a fresh one for each
    prompt keeps answers apart. None: the answer will be in the clear.
    Raises Unsealable.
    """
    if not prompt:
        raise Unsealable("an empty prompt asks nothing")
    signers = {recipient.signer for recipient in recipients}
    if not 1 <= len(recipients) <= MOST_RECIPIENTS or len(signers) != len(recipients):
        raise Unsealable(f"{len(signers)} signers of {len(recipients)} recipients: seal for 1 to 16, each once")
    content_key = secrets.token_bytes(KEY_BYTES)
    salt = _salt(content_key)
    header = bytes([VERSION, len(recipients)])
    for recipient in recipients:
        public_key = _public_key(recipient.encryption_key, f"the encryption key of {recipient.signer}")
        wrapped = SUITE.encrypt(content_key, public_key, context.info(recipient.signer, salt))
        header += to_canonical_address(recipient.signer) + wrapped
    header += salt
    if reply_key is not None:
        _public_key(reply_key, "the reply key")
    plain = _padded((reply_key or IN_CLEAR) + sampling.packed, prompt)
    return header + AESGCM(content_key).encrypt(NONCE, plain, header)


def reference_to(sealed: bytes) -> bytes:
    """What stands on chain, 33 bytes, when `sealed` is left with a node."""
    return bytes([LEFT_VERSION]) + keccak(sealed)


def recipients_of(sealed: bytes) -> list[ChecksumAddress]:
    """Signers that a private prompt says it is for, in its order. Takes no key, proves nothing. Raises NotPrivate."""
    return list(_Parts.parse(sealed).wrapped)


def open_prompt(
    sealed: bytes, private_key: X25519PrivateKey, signer: ChecksumAddress, context: Context, sampling: Sampling
) -> Opened:
    """What was sealed for `signer`. context, sampling: of the request that the prompt came with.

    Raises NotPrivate, NotForThisKey, Unreadable.
    """
    parts = _Parts.parse(sealed)
    if signer not in parts.wrapped:
        raise NotForThisKey(f"the prompt is for {', '.join(parts.wrapped)}, not for {signer}")
    try:
        content_key = SUITE.decrypt(parts.wrapped[signer], private_key, context.info(signer, parts.salt))
    except InvalidTag as error:
        raise NotForThisKey(
            f"sealed to another key of {signer}, or for another chain, oracle, requester or model than {context}"
        ) from error
    if _salt(content_key) != parts.salt:
        raise Unreadable("the content key is not the one that the prompt commits to")
    try:
        plain = AESGCM(content_key).decrypt(NONCE, parts.body, parts.header)
    except InvalidTag as error:
        raise Unreadable("the prompt was changed after it was sealed") from error
    reply_key, sealed_sampling = plain[:KEY_BYTES], plain[KEY_BYTES : KEY_BYTES + SAMPLING_BYTES]
    if sealed_sampling != sampling.packed:
        raise Unreadable(f"the prompt was sealed for other parameters than the request's: {sampling}")
    prompt = _unpadded(plain, KEY_BYTES + SAMPLING_BYTES)
    if not prompt:
        raise Unreadable("the sealed prompt is empty")
    if reply_key == IN_CLEAR:
        return Opened(prompt, None)
    try:
        _public_key(reply_key, "the reply key")
    except Unsealable as error:
        raise Unreadable(f"no answer could be sealed: {error}") from error
    return Opened(prompt, reply_key)


def seal_answer(
    output: bytes, reply_key: bytes, chain_id: int, oracle: ChecksumAddress, request_id: int, signer: ChecksumAddress
) -> bytes:
    """For the asker alone. signer: whose answer it is. Each call returns other bytes: keep those that were signed.

    output: may be empty. reply_key: X25519, 32 bytes, as `Opened` has it.
    Raises Unsealable.
    """
    info = _answer_info(chain_id, oracle, request_id, signer)
    return SUITE.encrypt(_padded(b"", output), _public_key(reply_key, "the reply key"), info)


def open_answer(
    sealed: bytes,
    private_key: X25519PrivateKey,
    chain_id: int,
    oracle: ChecksumAddress,
    request_id: int,
    signer: ChecksumAddress,
) -> bytes:
    """The output. private_key: of the reply key. signer: whose signature the answer carries. Raises Unreadable."""
    try:
        plain = SUITE.decrypt(sealed, private_key, _answer_info(chain_id, oracle, request_id, signer))
    except InvalidTag as error:
        raise Unreadable(f"not sealed to this key by {signer} for request {request_id}, or changed since") from error
    return _unpadded(plain, 0)


def _salt(content_key: bytes) -> bytes:
    return keccak(SALT_DOMAIN + content_key)


def _answer_info(chain_id: int, oracle: ChecksumAddress, request_id: int, signer: ChecksumAddress) -> bytes:
    kinds = ["bytes32", "uint256", "address", "uint256", "address"]
    return keccak(encode(kinds, [ANSWER_DOMAIN, chain_id, oracle, request_id, signer]))


def _public_key(raw: bytes, name: str) -> X25519PublicKey:
    """name: of the key, for the message. Raises Unsealable, also for points with which every secret would be zero."""
    try:
        key = X25519PublicKey.from_public_bytes(raw)
        PROBE.exchange(key)
    except ValueError as error:
        raise Unsealable(f"{name} is no X25519 public key to seal to, of {KEY_BYTES} bytes and large order") from error
    return key


def _padded(head: bytes, data: bytes) -> bytes:
    """head, the length of data, data, zeros."""
    filled = head + len(data).to_bytes(LENGTH_BYTES, "big") + data
    return filled + bytes(-len(filled) % STEP_BYTES)


def _unpadded(plain: bytes, at: int) -> bytes:
    """The data; `at`: bytes of the head. One form alone is accepted, `_padded`'s. Raises Unreadable."""
    start = at + LENGTH_BYTES
    data = plain[start : start + int.from_bytes(plain[at:start], "big")]
    if _padded(plain[:at], data) != plain:
        raise Unreadable("length and padding of what was sealed do not fit")
    return data


@dataclass(frozen=True)
class _Parts:
    """A private prompt, taken apart."""

    wrapped: dict[ChecksumAddress, bytes]
    """By signer, in the prompt's order."""
    salt: bytes
    header: bytes
    """All before the body."""
    body: bytes

    @classmethod
    def parse(cls, sealed: bytes) -> "_Parts":
        """Raises NotPrivate."""
        if len(sealed) < 2 or sealed[0] != VERSION:
            raise NotPrivate(f"{len(sealed)} bytes that are no private prompt of version {VERSION}")
        count = sealed[1]
        if not 1 <= count <= MOST_RECIPIENTS:
            raise NotPrivate(f"a private prompt for {count} recipients, not 1 to {MOST_RECIPIENTS}")
        entry = SIGNER_BYTES + WRAPPED_BYTES
        salt_at = 2 + count * entry
        body_at = salt_at + SALT_BYTES
        steps, rest = divmod(len(sealed) - body_at - TAG_BYTES, STEP_BYTES)
        if steps < 1 or rest:
            raise NotPrivate(f"a private prompt for {count} recipients has no length of {len(sealed)} bytes")
        entries = [sealed[at : at + entry] for at in range(2, salt_at, entry)]
        wrapped = {to_checksum_address(one[:SIGNER_BYTES]): one[SIGNER_BYTES:] for one in entries}
        if len(wrapped) != count:
            raise NotPrivate("a private prompt that names a signer twice")
        return cls(wrapped, sealed[salt_at:body_at], sealed[:body_at], sealed[body_at:])
