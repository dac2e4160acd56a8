"""Asking in private: who can read, what to post, and how to read the answer.

The keys are those that the service counts at this block: their evidence was verified on chain, and an endpoint says so.
An asker who does not believe the endpoint names the builds to trust; the evidence is then judged here (`trust.Trust`).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from web3 import Web3

from oracle.attestation.private import (
    MOST_RECIPIENTS,
    SEAL_BYTES,
    Context,
    Recipient,
    Sampling,
    open_answer,
    reference_to,
    seal_prompt,
)
from oracle.client import OracleClient, Step
from oracle.client.trust import Trust
from oracle.errors import Refused, SourceUnavailable
from oracle.ids import RequestId, ServiceId

PATIENCE_SECONDS = 60.0
NOT_YET = (0, httpx.codes.NOT_FOUND, httpx.codes.REQUEST_TIMEOUT, httpx.codes.SERVICE_UNAVAILABLE)
"""Refusals that pass: nobody answers, the request has not been seen, the prompt came slowly, others wait there."""
OCTETS = {"content-type": "application/octet-stream"}


@dataclass(frozen=True)
class PrivateQuestion:
    """A sealed prompt, and the key that its answer will be sealed to."""

    sealed: bytes
    is_left: bool
    """The chain names it, a node has it: `leave` it there once it is asked."""
    client: OracleClient
    reply: X25519PrivateKey = field(repr=False)

    @property
    def prompt(self) -> bytes:
        """What the request says."""
        return reference_to(self.sealed) if self.is_left else self.sealed

    def leave(
        self,
        nodes: Iterable[str],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> list[str]:
        """Leaves the sealed prompt with these nodes, as soon as they have seen the request. Returns those that took it.

        nodes: http(s) addresses that their operators published. Raises Refused if none took it, with each one's reason.
        """
        end = clock() + patience_seconds
        waiting, taken, reasons = list(nodes), [], dict[str, str]()
        while waiting:
            for node in list(waiting):
                status, reasons[node] = _leave(node, self.sealed)
                if status == httpx.codes.ACCEPTED:
                    taken.append(node)
                if status not in NOT_YET:
                    waiting.remove(node)
            if not waiting or clock() >= end:
                break
            sleep(1.0)
        if not taken:
            raise Refused("no node took the prompt: " + "; ".join(f"{node}: {why}" for node, why in reasons.items()))
        return taken

    def read(self, request: RequestId, steps: list[Step]) -> bytes:
        """The answer. steps: of the request. Raises Refused, Unreadable."""
        args = {step.name: step.args for step in steps}
        if "AnswerAttested" not in args:
            raise Refused("the request has no attested answer")
        deployment, signer = self.client.deployment, Web3.to_checksum_address(args["AnswerAttested"]["signer"])
        output = bytes(args["AnswerPosted"]["output"])
        return open_answer(output, self.reply, deployment.chain_id, deployment.oracle, request, signer)


def readers(client: OracleClient, service: ServiceId, trust: Trust | None = None) -> list[Recipient]:
    """Keys that the service counts now, of machines that it lists, the newest first; at most 16. Raises Refused.

    Other machines could read a private prompt, and not answer it. trust: whom to believe; None for the endpoint.
    """
    logs = client.history(client.attester.events.KeyAdmitted(), service=service)
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
    return (found if trust is None else _trusted(client, found, trust))[:MOST_RECIPIENTS]


def _trusted(client: OracleClient, found: Iterable[Recipient], trust: Trust) -> list[Recipient]:
    """Those whose evidence is good. Raises Refused if none is, with each one's reason."""
    trusted, reasons = [], []
    for recipient in found:
        try:
            trust.judge(client, recipient)
            trusted.append(recipient)
        except (Refused, SourceUnavailable) as error:
            reasons.append(f"{recipient.signer}: {error}")
    if not trusted:
        raise Refused("no key of this service can be trusted: " + "; ".join(reasons))
    return trusted


def question(
    client: OracleClient,
    service: ServiceId,
    prompt: bytes,
    params: tuple[int, ...],
    requester: str | None = None,
    *,
    trust: Trust | None = None,
    is_left: bool = False,
) -> PrivateQuestion:
    """Seals a prompt to all `readers`.

    params: as `client.params` made them. requester: the contract that will ask; the client itself by default. trust: as
    for `readers`. is_left: the prompt will be left with nodes, and be named on chain. Raises Refused, BadType,
    and Unsealable.
    """
    client.check_type(service, prompt, params[0])
    asker = Web3.to_checksum_address(requester or client.address)
    deployment, terms = client.deployment, client.terms(service)
    context = Context(deployment.chain_id, deployment.oracle, asker, bytes(terms["model"]))
    reply = X25519PrivateKey.generate()
    reply_key = reply.public_key().public_bytes_raw()
    sealed = seal_prompt(prompt, Sampling(*params[:3]), readers(client, service, trust), context, reply_key)
    asked, most = PrivateQuestion(sealed, is_left, client, reply), terms["maxPromptBytes"] + SEAL_BYTES
    if len(asked.prompt) > most:
        raise Refused(f"{len(sealed):,} sealed bytes, and the service takes {most:,}: leave the prompt with a node")
    return asked


def _leave(node: str, sealed: bytes) -> tuple[int, str]:
    """HTTP status, 0 if there was no answer and -1 if there can be none, and what the node said."""
    try:
        answer = httpx.post(f"{node.rstrip('/')}/prompts", content=sealed, headers=OCTETS)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        return -1, f"{type(error).__name__}: {error}"
    except httpx.HTTPError as error:
        return 0, f"{type(error).__name__}: {error}"
    try:
        said = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        said = answer.reason_phrase
    return answer.status_code, f"{answer.status_code}: {said}"
