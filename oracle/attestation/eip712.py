"""What keys inside TEEs sign: EIP-712 messages under the domain of `AttestedAnswers`.

Types and names are the contract's; a test compares the digests. A signature covers the request with all its parameters,
so the code that signs must have read the request itself, never a hash that somebody handed it.
"""

from collections.abc import Mapping
from typing import Any

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from oracle.chain.requests import Answer, Request

REGISTRATION = {
    "node": "address",
    "signer": "address",
    "modelRoot": "bytes32",
    "engineId": "bytes32",
    "challengeBlock": "uint32",
    "evaluation": "uint16",
}
REQUEST = {
    "service": "bytes32",
    "promptHash": "bytes32",
    "head": "uint256",
    "rules": "uint256",
    "money": "uint256",
}
ANSWER = {
    "request": "Request",
    "outputHash": "bytes32",
    "tokensRoot": "bytes32",
    "tokenCount": "uint24",
    "seedBlockHash": "bytes32",
}


def sign(
    key: LocalAccount,
    chain_id: int,
    attester: ChecksumAddress,
    types: Mapping[str, Mapping[str, str]],
    message: Mapping[str, Any],
) -> bytes:
    """r, s, v. types: of the message first, then of the structs in it."""
    domain = {"name": "Didyma attestation", "version": "1", "chainId": chain_id, "verifyingContract": attester}
    fields = {name: [{"name": f, "type": t} for f, t in struct.items()] for name, struct in types.items()}
    return bytes(key.sign_typed_data(domain, fields, dict(message)).signature)


def signed_answer(
    key: LocalAccount, chain_id: int, attester: ChecksumAddress, request: Request, answer: Answer
) -> bytes:
    """The attestation of an answer. Of the answer's head only the token count counts."""
    message = {
        "request": dict(zip(REQUEST, request.words, strict=True)),
        "outputHash": answer.output_hash,
        "tokensRoot": answer.tokens_root,
        "tokenCount": answer.token_count,
        "seedBlockHash": answer.seed_block_hash,
    }
    return sign(key, chain_id, attester, {"Answer": ANSWER, "Request": REQUEST}, message)
