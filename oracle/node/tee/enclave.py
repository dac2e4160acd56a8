"""This node's keys inside a TEE: made here, registered, admitted, renewed in time; what they sign and what they open.

One signing key for each model and TCB evaluation that its services ask for, and for each registration another key that
prompts are sealed to: the one before opens what was sealed to it until its registration ends, and is forgotten then.
All are in this process's memory alone, and die with it. The process runs inside the TEE, endpoints
that it reads the chain from do not. So nothing is signed but what was computed from the request itself: its id, the
prompt and the block behind the seed are hashed here and compared, whatever an endpoint calls them.

It also keeps the vendor's documents fresh on chain, for no key outlives them. It knows nothing of policies: a service
that refuses a key says so when the admission is simulated, and the node answers there like any other.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import rlp  # type: ignore[import-untyped]
import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from oracle.attestation import gpu, private
from oracle.attestation.collateral import ROOT, Collateral
from oracle.attestation.eip712 import signed_answer
from oracle.attestation.keeper import Source, Standing, changes, check, needed, view
from oracle.attestation.quote import Quote
from oracle.attestation.registration import EXACT_ENGINE, QuoteProducer, Registration
from oracle.chain.bindings import Binding
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import artifact
from oracle.chain.headers import FIELDS
from oracle.chain.requests import Answer
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import EvidenceUnavailable, NotForThisKey, NotPrivate, Refused, ReorgedAway, UnknownHeader
from oracle.journal.journal import BlockRef
from oracle.node.planner import View, Wanted
from oracle.node.records import Output, RequestRecord, ServiceRecord
from oracle.node.tee.mailbox import Mailbox

log = structlog.get_logger()

RENEW_SECONDS = 86_400
"""How long before its end a key is registered again; keys live a week."""
CHALLENGE_BLOCKS = 128
"""How old the challenge of a registration on its way may get; `AttestedKeys` takes 256."""
FETCH_SECONDS = 86_400
RETRY_SECONDS = 600
LOOK_SECONDS = 3_600
"""How often documents are fetched, how soon again when nobody answered, how often what stands on chain is looked at."""
REST_SECONDS = 60
"""How soon another quote is made when something was refused."""
REPLACE_SECONDS = 14 * 86_400
"""How long before the end of what stands on chain newer documents are posted that change nothing."""
LIFE_SECONDS = 7 * 86_400
"""How long a key lives at most: `AttestedKeys.MAX_LIFE`."""


@dataclass
class _Registered:
    """A registration made here."""

    registration: Registration
    evidence: bytes
    signature: bytes
    details: tuple[Any, ...]
    made_at: int
    encryption: X25519PrivateKey
    ends_at: int = 0
    """As the chain says, in Unix seconds; 0 as long as it was not seen there."""


@dataclass
class _Keys:
    """Of one model and TCB evaluation."""

    account: LocalAccount = field(default_factory=Account.create)
    made: list[_Registered] = field(default_factory=list)
    """The newest last; one that was given up has no end, and is forgotten when it could not be registered any more."""

    @property
    def signer(self) -> ChecksumAddress:
        return to_checksum_address(self.account.address)

    @property
    def last(self) -> _Registered | None:
        return self.made[-1] if self.made else None

    def forget(self, now: int) -> None:
        """What was sealed to registrations that have ended."""
        self.made = [each for each in self.made if now < (each.ends_at or each.made_at + LIFE_SECONDS)]


@dataclass
class _Documents:
    """Of the vendor, in the lowest TCB evaluation that some service takes."""

    collateral: Collateral | None = None
    fetch_at: int = 0
    look_at: int = 0
    end: int | None = None
    """Unix time at which what stands on chain ends, as last looked at."""


class Enclave:
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
        self._contracts, self._rpc, self._producer, self._source = contracts, rpc, producer, source
        self._node, self._stake_wei = node, 0
        self._keys: dict[tuple[bytes, int], _Keys] = {}
        self._guest = to_checksum_address(Account.create().address)
        self._mailbox = Mailbox()
        self._bindings: tuple[Binding, Binding] | None = None
        self._platform: Quote | None = None
        self._documents: dict[int, _Documents] = {}
        self._rest_until: dict[int, int] = {}
        self._troubles: dict[int, str] = {}
        self._making: dict[str, asyncio.Task[Any]] = {}
        self._served: dict[bytes, ServiceRecord] = {}
        self._least: dict[bytes, int] = {}
        self._signing: dict[bytes, _Keys] = {}
        self._challenge = bytes(32)
        self._randao: dict[bytes, bytes] = {}
        self.admitted: dict[bytes, int] = {}
        """Services that count this node's signatures now, and Unix times at which they cease to."""

    @property
    def documents_end(self) -> int | None:
        """Unix time at which the first of what stands on chain ends, as last looked at."""
        return min((each.end for each in self._documents.values() if each.end is not None), default=None)

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
        for each in (self._documents, self._rest_until, self._troubles):
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
        """For the services that take TCB evaluations from that number on."""
        served = [service for id_, service in self._served.items() if self._least[id_] == least]
        try:
            found = await self._keep(attester, least, block)
            ready, collateral = not found, self._documents[least].collateral
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

    async def _keep(self, attester: Binding, least: int, block: Block) -> list[Wanted]:
        """The vendor's documents."""
        kept = self._documents.setdefault(least, _Documents())
        if block.timestamp >= kept.fetch_at:
            fetched = self._made(f"documents from {least}", partial(self._fetch, least))
            if fetched is not None:
                kept.fetch_at = block.timestamp + RETRY_SECONDS
                platform, collateral = fetched.result()
                check(collateral, platform, block.timestamp, self._source.root)
                self._platform, kept.collateral, kept.look_at = platform, collateral, 0
                kept.fetch_at = block.timestamp + FETCH_SECONDS
                self._troubles.pop(least, None)
        if self._platform is None or kept.collateral is None or block.timestamp < kept.look_at:
            return []
        _, documents = await self._contracts_behind(attester, block)
        read = view(self._rpc, documents, block)
        standing = await Standing.read(read, self._platform, kept.collateral.evaluation, kept.collateral)
        kept.end = standing.expires_at
        postings = needed(kept.collateral, self._platform, standing)
        is_pressing = standing.expires_at - block.timestamp <= REPLACE_SECONDS
        if not postings or not (is_pressing or changes(postings, standing)):
            kept.look_at = block.timestamp + LOOK_SECONDS
            if standing.alarm_due(block.timestamp):
                log.error("the vendor's documents end soon and nobody has newer ones", ends_at=standing.expires_at)
            return []
        signers = [each for each in postings if each.function == "postCertificate" and each.arguments[0] == ROOT]
        wanted, lists = [], set[bytes]()
        for posting in signers or postings:  # what they sign is refused until they are known
            if posting.function == "postCrl":
                if posting.arguments[0] in lists:
                    continue  # a long list's next slice needs the one before
                lists.add(posting.arguments[0])
            data = documents.encode(posting.function, *posting.arguments)
            wanted.append(Wanted(f"collateral:{keccak(data).hex()}", documents.address, data, self._stake_wei))
        return wanted

    async def _fetch(self, least: int) -> tuple[Quote, Collateral]:
        platform = self._platform
        if platform is None:
            platform = await asyncio.to_thread(self._producer.quote, bytes(64))
        return platform, await self._source.fetch(platform, least)

    def _made(self, name: str, make: Callable[[], Coroutine[Any, Any, Any]]) -> asyncio.Task[Any] | None:
        """What takes long runs beside the rounds: starts it, and returns it once it is done."""
        task = self._making.get(name)
        if task is None:
            self._making[name] = asyncio.create_task(make())
            return None
        return self._making.pop(name) if task.done() else None

    @property
    def running(self) -> list[str]:
        """What is being made or fetched: not what is done and waits for its round."""
        return [name for name, task in self._making.items() if not task.done()]

    async def close(self) -> None:
        """Gives up what is in hand."""
        for task in self._making.values():
            task.cancel()
        await asyncio.gather(*self._making.values(), return_exceptions=True)

    async def _admission(
        self, attester: Binding, service: ServiceRecord, collateral: Collateral, block: Block, *, ready: bool
    ) -> list[Wanted]:
        """ready: whether the documents that a registration needs are on chain."""
        least = self._least[service.id]
        keys = self._keys.setdefault((service.terms.model, collateral.evaluation), _Keys())
        keys.forget(block.timestamp)
        admission = await self._call(attester, "admissionOf", block, service.id, keys.signer)
        is_admitted = await self._call(attester, "isAdmitted", block, service.id, keys.signer)
        if is_admitted:
            if service.id not in self.admitted:
                self._troubles.pop(least, None)
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
            made = self._made(keys.signer, partial(self._registered, attester, service, keys, collateral, block))
            if made is None:
                return []
            last = made.result()
            keys.made.append(last)
        name = f"register:{keys.signer}:{last.registration.challenge_block}"
        arguments = (last.registration.words, last.evidence, last.signature)
        return [self._wanted(attester, name, "register", *arguments)]

    async def _registered(
        self, attester: Binding, service: ServiceRecord, keys: _Keys, collateral: Collateral, block: Block
    ) -> _Registered:
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
        return _Registered(registration, evidence, signature, details, block.timestamp, encryption)

    async def _contracts_behind(self, attester: Binding, block: Block) -> tuple[Binding, Binding]:
        """Verifier and collateral."""
        if self._bindings is None:
            address = await self._call(attester, "verifier", block)
            verifier = Binding(artifact("DcapVerifier")["abi"], address)
            documents = Binding(artifact("DcapCollateral")["abi"], await self._call(verifier, "collateral", block))
            self._bindings = verifier, documents
        return self._bindings

    async def _learn_seeds(self, seen: View) -> None:
        """The seeds of sampled requests, out of headers that hash to what the chain calls them."""
        wanted = {
            seed.hash
            for record in seen.requests
            if record.request.service in self._served and record.request.temperature
            if (seed := seen.seeds.get(record.request.seed_block)) is not None
        }
        self._randao = {digest: randao for digest, randao in self._randao.items() if digest in wanted}
        for digest in wanted - self._randao.keys():
            try:
                header = await self._rpc.header(digest)
            except UnknownHeader as error:
                log.error("no sampled answer can be attested on this chain", reason=str(error))
                header = None
            self._randao[digest] = b"" if header is None else rlp.decode(header)[FIELDS.index("mixHash")]

    async def _call(self, contract: Binding, function: str, block: Block, *arguments: Any) -> Any:
        reply = await self._rpc.call(contract.address, contract.encode(function, *arguments), block)
        return contract.result(function, reply)

    def _wanted(self, attester: Binding, name: str, function: str, *arguments: Any) -> Wanted:
        return Wanted(name, attester.address, attester.encode(function, *arguments), self._stake_wei)

    # -- between rounds ----------------------------------------------------------------------------------------------

    def leave(self, sealed: bytes) -> None:
        """Takes a private prompt that an open request names. Raises as `Mailbox.leave`."""
        self._mailbox.leave(sealed, [keys.signer for keys in self._keys.values()])

    def opens(self, record: RequestRecord) -> bool:
        """Whether a private prompt is at hand and sealed to this node's key, which the service counts."""
        if record.request.service not in self.admitted:
            return False
        try:
            recipients = private.recipients_of(self._mailbox.sealed(record))
        except NotPrivate:
            return False
        return any(keys.signer in recipients for keys in self._keys_for(record))

    def opened(self, record: RequestRecord) -> private.Opened:
        """What a private prompt says. One that says nothing takes no more room here. Raises Refused."""
        request = record.request
        deployment = self._contracts.deployment
        payer = to_checksum_address(request.payer)
        context = private.Context(
            deployment.chain_id, deployment.oracle, payer, self._served[request.service].terms.model
        )
        sampling = private.Sampling(request.max_tokens, request.temperature, request.cutoff)
        sealed = self._mailbox.sealed(record)
        refusal: Refused = NotForThisKey("this node has no key that the prompt is for")
        for keys in self._keys_for(record):
            for made in reversed(keys.made):
                try:
                    return private.open_prompt(sealed, made.encryption, keys.signer, context, sampling)
                except NotForThisKey as error:  # to another of its registrations, perhaps
                    refusal = error
                except Refused:
                    self._mailbox.forget(record)
                    raise
        self._mailbox.forget(record)
        raise refusal

    def sealed(self, record: RequestRecord, reply_key: bytes, output: bytes) -> bytes:
        """The output for the asker alone; other bytes each time."""
        deployment, signer = self._contracts.deployment, self._keys_of(record).signer
        return private.seal_answer(output, reply_key, deployment.chain_id, deployment.oracle, record.id, signer)

    def attestation(self, record: RequestRecord, output: Output, seed: Block) -> tuple[str, bytes] | None:
        """Signer and signature; None if the service would not count it, or something is not what it is called."""
        request, attester = record.request, self._contracts.attester
        if attester is None or request.service not in self.admitted:
            return None
        keys, terms = self._keys_of(record), self._served[request.service].terms
        is_true = request.prompt_hash == keccak(record.prompt) and terms.service_id() == request.service
        is_seeded = not request.temperature or self._randao.get(seed.hash) == seed.prev_randao
        if not is_true or not is_seeded:
            log.error("not attested: the chain's data contradict each other", request_id=f"{record.id:#x}")
            return None
        answer = Answer(output.token_count << 96, keccak(output.text), output.tokens_root, seed.hash)
        address = to_checksum_address(attester.address)
        signature = signed_answer(keys.account, self._contracts.deployment.chain_id, address, request, answer)
        return keys.signer, signature

    def _keys_of(self, record: RequestRecord) -> _Keys:
        """Those that sign for the request's service. Raises Refused when it has ceased to count any."""
        try:
            return self._signing[record.request.service]
        except KeyError:
            raise Refused("the service counts no key of this node any more") from None

    def _keys_for(self, record: RequestRecord) -> list[_Keys]:
        """All that a prompt for the request's model may be sealed to: those of earlier evaluations too."""
        model = self._served[record.request.service].terms.model
        return [keys for (of, _), keys in self._keys.items() if of == model]

    def gpu_nonce(self, model: bytes) -> bytes:
        """What the evidence of GPUs must contain: it is of this guest, and of now."""
        return gpu.gpu_nonce(self._guest, self._challenge)
