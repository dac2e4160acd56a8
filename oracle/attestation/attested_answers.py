"""The attestation of an answer: an EIP-712 message that a key inside a TEE signs.

Types and names are those of `contracts/attestation/AttestedAnswers.sol`; a test compares the digests. A signature
covers the request with all its parameters, so the code that signs must have read the request itself, never a hash that
somebody handed it.
"""

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from oracle.attestation.attested_keys import sign
from oracle.chain.requests import Answer, Request

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
