"""What keys inside a TEE sign and open, by what the last round saw.

The process runs inside the TEE, endpoints that it reads the chain from do not. So nothing is signed but what was
computed from the request itself: its id, the prompt and the block behind the seed are hashed here and compared,
whatever an endpoint calls them.
"""

import rlp  # type: ignore[import-untyped]
import structlog
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from oracle.attestation import gpu, private
from oracle.attestation.attested_answers import signed_answer
from oracle.chain.contracts import Contracts
from oracle.chain.headers import FIELDS
from oracle.chain.requests import Answer
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.errors import NotForThisKey, NotPrivate, Refused, UnknownHeader
from oracle.ids import ModelId, ServiceId
from oracle.node.plan import View
from oracle.node.records import Output, RequestRecord, ServiceRecord
from oracle.node.tee.keys import Keys
from oracle.node.tee.mailbox import Mailbox

log = structlog.get_logger()


class Signing:
    """The keys, and which services count them now."""

    def __init__(self, contracts: Contracts, rpc: Rpc) -> None:
        self._contracts, self._rpc = contracts, rpc
        self._keys: dict[tuple[ModelId, int], Keys] = {}
        """By model and TCB evaluation."""
        self._guest = to_checksum_address(Account.create().address)
        self._mailbox = Mailbox()
        self._served: dict[ServiceId, ServiceRecord] = {}
        self._signing: dict[ServiceId, Keys] = {}
        self._challenge = bytes(32)
        self._randao: dict[bytes, bytes] = {}
        self.admitted: dict[ServiceId, int] = {}
        """Services that count this node's signatures now, and Unix times at which they cease to."""

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
        """What a private prompt says. An unreadable one is dropped from the mailbox. Raises Refused."""
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

    def _keys_of(self, record: RequestRecord) -> Keys:
        """Those that sign for the request's service. Raises Refused when it has ceased to count any."""
        try:
            return self._signing[record.request.service]
        except KeyError:
            raise Refused("the service counts no key of this node any more") from None

    def _keys_for(self, record: RequestRecord) -> list[Keys]:
        """All that a prompt for the request's model may be sealed to: those of earlier evaluations too."""
        model = self._served[record.request.service].terms.model
        return [keys for (of, _), keys in self._keys.items() if of == model]

    def gpu_nonce(self, model: ModelId) -> bytes:
        """What the evidence of GPUs must contain, so that it can only be of this guest and of now."""
        return gpu.gpu_nonce(self._guest, self._challenge)

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
