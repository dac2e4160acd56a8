"""Whether trusted code made a key: judges its evidence here, whatever the endpoint says.

A build that anybody can repeat has a known measurement. Whoever has computed it, or got it from somebody trusted, needs
nobody's word about keys: the evidence of a key's registration stands on chain, and binds it to the measurement.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from eth_abi.exceptions import DecodingError
from web3.contract import Contract
from web3.exceptions import Web3Exception
from web3.types import EventData

from oracle.attestation import verifier
from oracle.attestation.attested_keys import Registration
from oracle.attestation.identity import measurement_id, platform_id
from oracle.attestation.keeper import Source
from oracle.attestation.private import Recipient
from oracle.attestation.quote import CREDENTIAL_BYTES, Quote
from oracle.client import OracleClient
from oracle.errors import NotTrusted


@dataclass(frozen=True)
class Trust:
    """Which builds and machines to trust, and by whose documents to judge."""

    measurements: Collection[bytes]
    """Ids as policies name them: `identity.measurement_id`."""
    source: Source
    now: int
    """Unix seconds."""
    policy: verifier.Policy = field(default_factory=verifier.Policy)
    platforms: Collection[bytes] = ()
    """Ids of machines, as policies name them; none: any, and whoever took a key out of one could read."""

    def judge(self, client: OracleClient, recipient: Recipient) -> None:
        """Raises NotTrusted for a key that other code made; EvidenceRefused, BadQuote, SourceUnavailable."""
        registration, evidence = _registered(client, recipient)
        quote = self._verified(client, evidence)
        found = measurement_id(quote, is_dev=self.source.root is not None)
        if found not in self.measurements:
            raise NotTrusted(f"it was made by code that measures 0x{found.hex()}")
        if self.platforms and platform_id(quote) not in self.platforms:
            raise NotTrusted(f"it was made on the machine 0x{platform_id(quote).hex()}")
        try:
            challenge = bytes(client.w3.eth.get_block(registration.challenge_block)["hash"])
        except Web3Exception as error:
            raise NotTrusted(f"the block that its evidence names cannot be found: {error}") from error
        binding = registration.binding(client.deployment.chain_id, client.attester.address, challenge)
        if registration.signer != recipient.signer or quote.report_data != binding + recipient.encryption_key:
            raise NotTrusted("its evidence is about another key, chain or contract")

    def _verified(self, client: OracleClient, evidence: bytes) -> Quote:
        """The quote, certificates included."""
        platform = _certificate(client, evidence[-CREDENTIAL_BYTES:])
        quote = Quote.of_evidence(evidence, platform)
        documents = asyncio.run(self.source.fetch(quote, self.policy.least_evaluation))
        quote = replace(quote, chain=platform + documents.pck_crl_issuer_chain.encode())
        verifier.judge(quote, documents, self.now, self.policy, self.source.root)
        return quote


def _registered(client: OracleClient, recipient: Recipient) -> tuple[Registration, bytes]:
    """The newest registration of a key, and its evidence. Raises NotTrusted."""
    logs = client.history(client.attester.events.KeyRegistered(), signer=recipient.signer)
    if not logs:
        raise NotTrusted("no registration can be found")
    registration, evidence, _ = _arguments(client, client.attester, logs[-1], "register")
    return Registration(*registration.values()), evidence


def _certificate(client: OracleClient, credential: bytes) -> bytes:
    """The platform's certificate as PEM: the collateral keeps its key alone. Raises NotTrusted."""
    logs = client.history(client.collateral.events.CertificatePosted(), id=credential)
    if not logs:
        raise NotTrusted(f"no certificate 0x{credential.hex()} was posted")
    _, der = _arguments(client, client.collateral, logs[-1], "postCertificate")
    try:
        return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM)
    except ValueError as error:
        raise NotTrusted(f"what was posted as 0x{credential.hex()} is no certificate: {error}") from error


def _arguments(client: OracleClient, contract: Contract, log: EventData, function: str) -> tuple[Any, ...]:
    """Arguments of the call whose event `log` is. Raises NotTrusted if a contract made it, or it is gone."""
    try:
        data = client.w3.eth.get_transaction(log["transactionHash"])["input"]
        called, arguments = contract.decode_function_input(data)
    except (Web3Exception, DecodingError) as error:
        raise NotTrusted(f"no transaction shows a call of {function}: {error}") from error
    if called.fn_name != function:
        raise NotTrusted(f"no transaction shows a call of {function}, but of {called.fn_name}")
    return tuple(arguments.values())
