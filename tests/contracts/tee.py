"""A service with a policy for keys inside TEEs, the machine of software that makes them, and their moves."""

from dataclasses import dataclass, replace
from typing import Any

from ape import chain
from ape.api import ReceiptAPI
from ape.contracts import ContractInstance
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak
from world import ETHER, OUTPUT, TOKENS_ROOT, Answered, Asked, World, maker, terms

from oracle.attestation.attested_answers import signed_answer
from oracle.attestation.attested_keys import Registration
from oracle.attestation.collateral import Posting
from oracle.attestation.dev import DevTee
from oracle.chain import requests, wiring
from oracle.chain.services import Policy

DAY = 86_400
CAP, GRACE_CAP = 2 * ETHER, ETHER // 10
ENGINE = keccak(b"exact engine")
KEY: LocalAccount = Account.from_key(keccak(b"made inside"))
ENCRYPTION_KEY = keccak(b"x25519")
ADVISORY = 615


@dataclass
class Enclave:
    """The world of one attested service. Its keys are registered for operators of seats."""

    world: World
    tee: DevTee
    collateral: ContractInstance
    attester: ContractInstance
    people: Any
    evidence: bytes = b""
    verified: Any = None

    # DOCUMENTS

    def post(self, tee: DevTee, *, again: bool = False) -> list[ReceiptAPI]:
        """What the vendor says; certificates only the first time."""
        return [
            self.collateral.invoke_transaction(posting.function, *posting.arguments, sender=self.people.stranger)
            for posting in postings(tee, again=again)
        ]

    # SERVICE

    def policy(self, **changes: Any) -> Policy:
        """Of the machine and its code as they are."""
        return replace(
            Policy(
                guardian=self.people.deployer.address,
                engine_id=ENGINE,
                accepts_configuration=False,
                least_evaluation=17,
                grace_seconds=30 * DAY,
                grace_cap_wei=GRACE_CAP,
                advisories=(ADVISORY,),
                measurements=(bytes(self.verified.measurementId),),
                platforms=(bytes(self.verified.platformId),),
            ),
            **changes,
        )

    def terms(self, policy: Policy, **changes: Any) -> dict[str, Any]:
        attested = {"attester": self.attester.address, "attesterTerms": policy.encoded(), "valueCapWei": CAP}
        return terms(self.world.model, self.world.panel, **{**attested, **changes})

    def open(self, policy: Policy | None = None, **changes: Any) -> None:
        """A service with all seats active."""
        w = self.world
        w.service = w.create_service(self.terms(policy or self.policy(), **changes))
        for owner, operator in zip(self.people.owners, self.people.operators, strict=True):
            w.join(owner, operator)
        w.pass_time(w.terms["lifetimeSeconds"])
        for seat in range(len(self.people.owners)):
            w.oracle.activate(w.service, seat, sender=self.people.stranger)

    def raise_evaluation(self, least: int) -> None:
        """By the guardian."""
        caps = self.attester.capsOf(self.world.service)
        arguments = (self.world.service, [], caps.capWei, caps.graceCapWei, least)
        self.attester.shrink(*arguments, sender=self.people.deployer)

    # KEYS

    def registration(self, key: LocalAccount = KEY, evaluation: int = 17) -> Registration:
        head = chain.blocks.height
        self.world.mine(1)
        node = self.people.newcomers[0].address
        return Registration(node, key.address, self.world.model, ENGINE, head, evaluation)

    def register(self, tee: DevTee | None = None, key: LocalAccount = KEY) -> ReceiptAPI:
        used = tee or self.tee
        registration = self.registration(key, used.number)
        challenge = self.world.block_hash(registration.challenge_block)
        quote = used.quote(registration.binding(chain.chain_id, self.attester.address, challenge) + ENCRYPTION_KEY)
        evidence = quote.evidence(used.collateral().credential(quote))
        signature = registration.signed(key, chain.chain_id, self.attester.address)
        return self.attester.register(registration.words, evidence, signature, sender=self.people.stranger)

    def details(self, receipt: ReceiptAPI) -> Any:
        return self.attester.KeyRegistered.from_receipt(receipt)[0].details

    def admit(self, tee: DevTee | None = None, key: LocalAccount = KEY) -> ReceiptAPI:
        """Registers and admits."""
        details = self.details(self.register(tee, key))
        return self.attester.admit(self.world.service, key.address, details, sender=self.people.stranger)

    # ANSWERS

    def attestation(self, asked: Asked, output: bytes = OUTPUT, tokens: int = 2, key: LocalAccount = KEY) -> bytes:
        request = requests.Request(*(bytes(v) if isinstance(v, bytes) else v for v in asked.request))
        answer = requests.Answer(tokens << 96, keccak(output), TOKENS_ROOT, self.world.seed(asked))
        return signed_answer(key, chain.chain_id, self.attester.address, request, answer)

    def answer(
        self,
        asked: Asked,
        output: bytes = OUTPUT,
        tokens: int = 2,
        attestation: bytes | None = None,
        *,
        leaves: bool = False,
    ) -> Answered:
        """By whoever is in turn."""
        w = self.world
        operator = w.in_turn(asked)[2]
        signed = self.attestation(asked, output, tokens) if attestation is None else attestation
        seed = w.seed(asked)
        receipt = w.oracle.answerAttested(
            asked.request, output, tokens, TOKENS_ROOT, seed, signed, leaves, sender=operator
        )
        event = w.oracle.AnswerPosted.from_receipt(receipt)[0]
        parts = self.world.lens.unpackAnswer(event.answer)
        return Answered(asked, event.answer, output, parts.turn, parts.seat, parts.closesAt, receipt)


def postings(tee: DevTee, *, again: bool = False) -> list[Posting]:
    """again: without certificates."""
    wanted = tee.collateral().postings(tee.quote(bytes(64)))
    return [posting for posting in wanted if not (again and posting.function == "postCertificate")]


def enclave(world: World, people: Any) -> Enclave:
    """The contracts of a dev root, its documents, and no service yet."""
    tee = DevTee(world.now() - DAY, world.now() + 60 * DAY)
    root_x, root_y = tee.root_key
    known = {"Oracle": world.oracle, "root_x": root_x, "root_y": root_y}
    contracts = wiring.deploy(maker(people.deployer), known, ("DcapCollateral", "DcapVerifier", "AttestedAnswers"))
    verifier = contracts["DcapVerifier"]
    made = Enclave(world, tee, contracts["DcapCollateral"], contracts["AttestedAnswers"], people)
    made.post(tee)
    quote = tee.quote(bytes(64))
    made.verified = verifier.verify(quote.evidence(tee.collateral().credential(quote)), tee.number)
    return made
