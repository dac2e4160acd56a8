"""This node's keys inside a TEE, round by round: made, registered, admitted, renewed in time.

Between rounds they sign and open (`signing.py`). No key outlives the vendor's documents on chain (`documents.py`). This
file knows nothing of policies: a service that refuses a key says so when the admission is simulated, and the node
answers there like any other.
"""

import asyncio
from functools import partial
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address

from oracle.attestation.attested_keys import EXACT_ENGINE, QuoteProducer, Registration
from oracle.attestation.collateral import Collateral
from oracle.attestation.keeper import Source
from oracle.chain.bindings import Binding
from oracle.chain.contracts import Contracts, viewed
from oracle.chain.deployment import artifact
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import EvidenceUnavailable, Refused, ReorgedAway
from oracle.ids import ServiceId
from oracle.journal.journal import BlockRef
from oracle.node.plan import View, Wanted
from oracle.node.records import ServiceRecord
from oracle.node.tee.beside import Beside
from oracle.node.tee.documents import Documents
from oracle.node.tee.keys import Keys, Registered
from oracle.node.tee.signing import Signing

log = structlog.get_logger()

RENEW_SECONDS = 86_400
"""How long before its end a key is registered again; keys live a week."""
CHALLENGE_BLOCKS = 128
"""How old the challenge of a registration on its way may get; `AttestedKeys` takes 256."""
REST_SECONDS = 60
"""How soon another quote is made when something was refused."""


class Enclave(Signing):
    """Asked each round what it wants; between rounds it signs and opens by what it saw then."""

    def __init__(
        self,
        contracts: Contracts,
        rpc: Rpc,
        producer: QuoteProducer,
        source: Source,
        node: ChecksumAddress,
    ) -> None:
        """node: who may revoke the keys."""
        super().__init__(contracts, rpc)
        self._producer, self._node, self._stake_wei = producer, node, 0
        self._bindings: tuple[Binding, Binding] | None = None
        self._rest_until: dict[int, int] = {}
        self._troubles: dict[int, str] = {}
        self._least: dict[ServiceId, int] = {}
        self._beside = Beside()
        self._documents = Documents(rpc, producer, source, self._beside, self._collateral, self._went_well)

    @property
    def documents_end(self) -> int | None:
        """Unix time at which the first of what stands on chain ends, as last looked at."""
        return self._documents.end

    @property
    def trouble(self) -> str:
        """What last kept keys or documents from being kept; empty once it has gone well again."""
        return "; ".join(self._troubles.values())

    # -- each round --------------------------------------------------------------------------------------------------

    async def wanted(self, seen: View, at: BlockRef) -> list[Wanted]:
        """Documents to post, keys to register and to admit. Raises ReorgedAway and as `Rpc.call`."""
        attester = self._contracts.attester
        if attester is None:
            return []
        self._mailbox.update(seen.requests)
        address = attester.address.lower()
        self._served = {
            service.id: service
            for service in seen.services.values()
            if service.terms.attester.lower() == address and self._is_exact(service)
        }
        if not self._served:
            return []
        self._stake_wei = max(service.terms.bond_wei for service in self._served.values())
        block = await self._rpc.block_by_hash(at.hash)
        if block is None:
            raise ReorgedAway(f"block {at.number} left the chain")
        self._challenge = block.hash
        await self._learn_seeds(seen)
        self._least = {id_: await self._call(attester, "leastEvaluationOf", block, id_) for id_ in self._served}
        asked = set(self._least.values())
        self._documents.keep_only(asked)
        for each in (self._rest_until, self._troubles):
            for least in each.keys() - asked:
                each.pop(least)
        await self._look(attester, block)
        found = []
        for least in sorted(asked):  # what one service asks for holds up no other
            found += await self._kept(attester, least, block)
        return list({want.key: want for want in found}.values())  # services of one model share a registration

    async def _look(self, attester: Binding, block: Block) -> None:
        """Whether the services still count what signs for them."""
        for id_, keys in list(self._signing.items()):
            if id_ not in self._served or not await self._call(attester, "isAdmitted", block, id_, keys.signer):
                del self._signing[id_], self.admitted[id_]

    async def _kept(self, attester: Binding, least: int, block: Block) -> list[Wanted]:
        """What services need that take TCB evaluations from that number on."""
        served = [service for id_, service in self._served.items() if self._least[id_] == least]
        try:
            found = await self._documents.wanted(least, block, self._stake_wei)
            ready, collateral = not found, self._documents.collateral(least)
            if collateral is None:
                return found
            for service in served:
                found += await self._admission(attester, service, collateral, block, ready=ready)
        except (Refused, EvidenceUnavailable) as error:  # the node answers on, without attestation
            if (reason := f"{type(error).__name__}: {error}") != self._troubles.get(least):
                log.error("keys and documents cannot be kept", evaluation=least, reason=reason)
            self._troubles[least], self._rest_until[least] = reason, block.timestamp + REST_SECONDS
            return []
        return found

    def _is_exact(self, service: ServiceRecord) -> bool:
        """Whether the exact engine answers: the only one that keys made here vouch for."""
        return self._contracts.plays(service.terms.arbiter) or service.panel.exact

    @property
    def running(self) -> list[str]:
        """What is being made or fetched: not what is done and waits for its round."""
        return self._beside.running

    async def close(self) -> None:
        """Gives up what is in hand."""
        await self._beside.close()

    async def _admission(
        self, attester: Binding, service: ServiceRecord, collateral: Collateral, block: Block, *, ready: bool
    ) -> list[Wanted]:
        """ready: whether the documents that a registration needs are on chain."""
        least = self._least[service.id]
        keys = self._keys.setdefault((service.terms.model, collateral.evaluation), Keys())
        keys.forget(block.timestamp)
        admission = await self._call(attester, "admissionOf", block, service.id, keys.signer)
        is_admitted = await self._call(attester, "isAdmitted", block, service.id, keys.signer)
        if is_admitted:
            if service.id not in self.admitted:
                self._went_well(least)
            self.admitted[service.id], self._signing[service.id] = admission["until"], keys
        ends_soon = admission["until"] - block.timestamp <= RENEW_SECONDS
        if (is_admitted and not ends_soon) or not ready:
            return []
        last, key = keys.last, await self._call(attester, "keyOf", block, keys.signer)
        if last is not None and key["challengeBlock"] == last.registration.challenge_block:
            last.ends_at = key["expiresAt"]
            caps = await self._call(attester, "capsOf", block, service.id)
            judged = (admission["challengeBlock"], admission["version"]) == (key["challengeBlock"], caps["version"])
            is_active = await self._call(attester, "isActive", block, keys.signer, last.details)
            if is_active and not judged:
                name = f"admit:{service.id.hex()}:{keys.signer}:{key['challengeBlock']}:{caps['version']}"
                return [self._wanted(attester, name, "admit", service.id, keys.signer, last.details)]
            if is_active and block.timestamp - last.made_at < RENEW_SECONDS:
                return []  # it ends with the platform's grace: another registration would not help
            last = None
        if last is None or block.number - last.registration.challenge_block > CHALLENGE_BLOCKS:
            if block.timestamp < self._rest_until.get(least, 0):
                return []
            made = self._beside.made(keys.signer, partial(self._registered, attester, service, keys, collateral, block))
            if made is None:
                return []
            last = made.result()
            keys.made.append(last)
        name = f"register:{keys.signer}:{last.registration.challenge_block}"
        arguments = (last.registration.words, last.evidence, last.signature)
        return [self._wanted(attester, name, "register", *arguments)]

    async def _registered(
        self, attester: Binding, service: ServiceRecord, keys: Keys, collateral: Collateral, block: Block
    ) -> Registered:
        """Evidence of this moment. Raises CallReverted when the verifier refuses it."""
        verifier, _ = await self._contracts_behind(attester, block)
        model, evaluation, encryption = service.terms.model, collateral.evaluation, X25519PrivateKey.generate()
        registration = Registration(self._node, keys.signer, model, EXACT_ENGINE, block.number, evaluation)
        chain_id, address = self._contracts.deployment.chain_id, to_checksum_address(attester.address)
        binding = registration.binding(chain_id, address, block.hash)
        report_data = binding + encryption.public_key().public_bytes_raw()
        quote = await asyncio.to_thread(self._producer.quote, report_data)
        evidence = quote.evidence(collateral.credential(quote))
        seen = await self._call(verifier, "verify", block, evidence, evaluation)
        details = (
            *(seen["kind"], seen["measurementId"], seen["platformId"], registration.model_root),
            *(registration.engine_id, seen["encryptionKey"], seen["advisories"], seen["behindSince"]),
            seen["tcbStatus"],
        )
        log.info("evidence made", signer=keys.signer, measurement="0x" + seen["measurementId"].hex())
        signature = registration.signed(keys.account, chain_id, address)
        return Registered(registration, evidence, signature, details, block.timestamp, encryption)

    async def _contracts_behind(self, attester: Binding, block: Block) -> tuple[Binding, Binding]:
        """Verifier and collateral."""
        if self._bindings is None:
            address = await self._call(attester, "verifier", block)
            verifier = Binding(artifact("DcapVerifier")["abi"], address)
            documents = Binding(artifact("DcapCollateral")["abi"], await self._call(verifier, "collateral", block))
            self._bindings = verifier, documents
        return self._bindings

    async def _collateral(self, block: Block) -> Binding:
        attester = self._contracts.attester
        assert attester is not None  # there are rounds only with one
        _, documents = await self._contracts_behind(attester, block)
        return documents

    def _went_well(self, least: int) -> None:
        self._troubles.pop(least, None)

    async def _call(self, contract: Binding, function: str, block: Block, *arguments: Any) -> Any:
        return await viewed(self._rpc, contract, function, *arguments, block=block)

    def _wanted(self, attester: Binding, name: str, function: str, *arguments: Any) -> Wanted:
        return Wanted(name, attester.address, attester.encode(function, *arguments), self._stake_wei)
