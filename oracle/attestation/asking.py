"""Asking in private: who can read, what to post, and how to read the answer.

The keys are those that the service counts at this block; their evidence was verified on chain. Whoever wants more reads
the policy (`didyma tee status`) and judges the measurements by a build of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from web3 import Web3

from oracle.attestation.private import MOST_RECIPIENTS, Context, Recipient, Sampling, open_answer, seal_prompt
from oracle.client import OracleClient, RequestId, ServiceId, Step
from oracle.errors import Refused


@dataclass(frozen=True)
class PrivateQuestion:
    """A sealed prompt, and the key that its answer will be sealed to."""

    sealed: bytes
    client: OracleClient
    reply: X25519PrivateKey = field(repr=False)

    def read(self, request: RequestId, steps: list[Step]) -> bytes:
        """The answer. steps: of the request. Raises Refused, Unreadable."""
        args = {step.name: step.args for step in steps}
        if "AnswerAttested" not in args:
            raise Refused("the request has no attested answer")
        deployment, signer = self.client.deployment, Web3.to_checksum_address(args["AnswerAttested"]["signer"])
        output = bytes(args["AnswerPosted"]["output"])
        return open_answer(output, self.reply, deployment.chain_id, deployment.oracle, request, signer)


def readers(client: OracleClient, service: ServiceId) -> list[Recipient]:
    """Keys that the service counts now, of machines that it lists, the newest first; at most 16. Raises Refused.

    Other machines could read a private prompt, and not answer it.
    """
    logs = client.attester.events.KeyAdmitted().get_logs(
        from_block=client.deployment.block, argument_filters={"service": service}
    )
    newest: dict[str, Mapping[str, Any]] = {}
    for log in reversed(logs):
        newest.setdefault(log["args"]["signer"], log["args"])
    counted = client.attester.functions.isAdmitted
    found = [
        Recipient(Web3.to_checksum_address(signer), bytes(args["encryptionKey"]))
        for signer, args in newest.items()
        if args["admission"]["isListed"] and counted(service, signer).call()
    ]
    if not found:
        raise Refused("no key inside a TEE is admitted to this service now: nobody could read a private prompt")
    return found[:MOST_RECIPIENTS]


def question(
    client: OracleClient, service: ServiceId, prompt: bytes, params: tuple[int, ...], requester: str | None = None
) -> PrivateQuestion:
    """Seals a prompt to all of them.

    params: as `client.params` made them. requester: the contract that will ask; the client itself by default. Raises
    Refused, and Unsealable.
    """
    asker = Web3.to_checksum_address(requester or client.address)
    deployment, model = client.deployment, client.terms(service)["model"]
    context, reply = Context(deployment.chain_id, deployment.oracle, asker, bytes(model)), X25519PrivateKey.generate()
    reply_key = reply.public_key().public_bytes_raw()
    sealed = seal_prompt(prompt, Sampling(*params[:3]), readers(client, service), context, reply_key)
    return PrivateQuestion(sealed, client, reply)
