"""The moves of a request's life, so that tests say what happens and not how it is encoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ape import chain, networks, project
from ape.api import AccountAPI, ReceiptAPI
from ape.contracts import ContractInstance
from eth_abi import encode
from eth_utils import keccak

from oracle.chain.units import ETHER, GWEI
from oracle.engines.answer_types import Verdict, choice_type

BLOCK_SECONDS = 12

MODEL = {
    "name": "tester",
    "fileSha256": keccak(b"file"),
    "fileBytes": 1_000,
    "uri": "",
    "contextLength": 8_192,
    "prefixTokens": [1],
    "suffixTokens": [],
    "stopTokens": [2],
    "replacementToken": 3,
    "weightsRoot": bytes(32),
    "architecture": b"",
}

NONE, OPEN, ANSWERED, DISPUTED, FINAL, UNDELIVERED, REFUNDED, CANCELLED = range(8)
UPHELD, REJECTED, ANNULLED = range(3)
EMPTY, JOINING, ACTIVE, LEAVING, SUSPENDED, MOVED = range(6)
RIGHT, WRONG = 1, 2

ROOT = keccak(b"vocabulary")
THREE = choice_type([[7], [8], [9]], ROOT)
FOUR = choice_type([[7], [8], [9], [10]], ROOT)
"""Types of answers with so many choices of a token each."""
UNKNOWN = 255
MARGIN = 1 << 16
"""The least that the dapps ask for."""

PROMPT = b"Is water wet? Answer with one word, and think about what the word means before you say it to anyone."
OUTPUT = b" yes"
TOKENS_ROOT = keccak(b"tokens")
HISTORY = "0x0000F90827F1C53a10cb7A02335B175320002935"  # EIP-2935
BURN = "0x000000000000000000000000000000000000dEaD"

LEAVE_SECONDS = 1_800 + 3_600 + 3_600 + 600 + 600  # lifetime, window, longest dispute; seats wait for it, and retries
RETRY_SECONDS = 30 * 86_400 + LEAVE_SECONDS

PANEL_TERMS = {
    "challengeBondWei": ETHER // 10,
    "voteFeeWei": ETHER // 50,
    "absencePenaltyWei": ETHER // 20,
    "commitSeconds": 600,
    "revealSeconds": 600,
    "panelSize": 3,
    "tolerance": 1 << 12,
}


def panel_terms(**changes: int) -> bytes:
    """`arbiterTerms` of a service judged by a panel."""
    values = list({**PANEL_TERMS, **changes}.values())
    return encode(["(uint72,uint72,uint72,uint32,uint32,uint8,uint32)"], [values])


def terms(model: bytes, arbiter: ContractInstance, **changes: Any) -> dict[str, Any]:
    """Terms of a service with one-minute turns and an hour's window."""
    return {
        "model": model,
        "arbiter": arbiter,
        "arbiterTerms": panel_terms(),
        "attester": "0x" + "00" * 20,
        "attesterTerms": b"",
        "bondWei": ETHER,
        "seatWei": ETHER + ETHER // 2,
        "missPenaltyWei": 300 * GWEI,
        "basePriceWei": 20_000 * GWEI,
        "bytePriceWei": 10 * GWEI,
        "tokenPriceWei": 1_000 * GWEI,
        "maxPromptBytes": 4_096,
        "maxTokens": 256,
        "turnSeconds": 60,
        "windowSeconds": 3_600,
        "lifetimeSeconds": 1_800,
        "minOwners": 5,
        "valueCapWei": ETHER,
        **changes,
    }


def maker(sender: AccountAPI) -> Callable[[str, list[Any]], ContractInstance]:
    """How `wiring.deploy` makes a contract here."""
    return lambda name, arguments: getattr(project, name).deploy(*arguments, sender=sender)


def verdict(choice: int, margin: int = MARGIN) -> bytes:
    """The output that says it; its witness is any."""
    return bytes(Verdict(choice, margin, 1, 12))


@dataclass
class Asked:
    """A posted request: its id, and the struct that later calls pass back."""

    id: int
    request: Any
    receipt: ReceiptAPI


@dataclass
class Answered:
    """A posted answer to `asked`."""

    asked: Asked
    answer: Any
    output: bytes
    turn: int
    seat: int
    closes_at: int
    receipt: ReceiptAPI

    @property
    def id(self) -> int:
        return self.asked.id

    @property
    def request(self) -> Any:
        return self.asked.request

    @property
    def item(self) -> tuple[Any, Any, bytes]:
        """As `finalize` wants it."""
        return (self.asked.request, self.answer, self.output)


@dataclass
class World:
    """The contracts, the people, one service."""

    oracle: ContractInstance
    lens: ContractInstance
    panel: ContractInstance
    people: Any
    model: bytes = b""
    service: bytes = b""
    terms: dict[str, Any] = field(default_factory=dict)

    # CHAIN

    def now(self) -> int:
        """Timestamp of the newest block."""
        return int(chain.blocks.head.timestamp)

    def pass_time(self, seconds: int) -> None:
        """Mines one block, `seconds` after the newest."""
        self.set_time(self.now() + seconds)
        self.mine(1)

    def live(self, seconds: int) -> None:
        """Passes at least so much time as a chain in good health does: block after block."""
        blocks = -(-seconds // BLOCK_SECONDS)
        networks.provider.make_request("anvil_setBlockTimestampInterval", [BLOCK_SECONDS])
        networks.provider.make_request("anvil_mine", [hex(blocks)])
        networks.provider.make_request("anvil_setBlockTimestampInterval", [1])

    def set_time(self, timestamp: int) -> None:
        """The next block, whatever is in it, gets this timestamp."""
        networks.provider.make_request("evm_setNextBlockTimestamp", [timestamp])

    def mine(self, blocks: int) -> None:
        networks.provider.make_request("anvil_mine", [hex(blocks), "0x0"])

    def forget(self, number: int) -> None:
        """Makes the chain forget the hash of a block, as it does after 8191 more: takes it out of EIP-2935's ring.

        (Anvil needs a minute for that many blocks; the exact boundary is tested in forge.)
        """
        self.mine(max(0, number + 257 - chain.blocks.height))
        slot = hex(number % 8_191)
        networks.provider.make_request("anvil_setStorageAt", [HISTORY, slot, "0x" + "00" * 32])

    def block_hash(self, number: int) -> bytes:
        return bytes(chain.blocks[number].hash)

    # SERVICE

    def create_service(self, wanted: dict[str, Any]) -> bytes:
        receipt = self.oracle.createService(wanted, sender=self.people.deployer)
        self.terms = wanted
        return bytes(self.oracle.ServiceCreated.from_receipt(receipt)[0].service)

    def join(self, owner: AccountAPI, operator: AccountAPI, value: int | None = None) -> int:
        value = self.terms["seatWei"] if value is None else value
        receipt = self.oracle.join(self.service, operator, value=value, sender=owner)
        return int(self.oracle.SeatTaken.from_receipt(receipt)[0].seat)

    def enrich(self, wei: int = 20 * ETHER) -> None:
        """Gives every seat enough for several bonds at once."""
        for index in range(self.oracle.counts(self.service)[0]):
            self.oracle.topUp(self.service, index, value=wei, sender=self.people.watcher)

    def beside(self, count: int) -> "list[World]":
        """So many worlds like this one with services of their own, with short windows; their seats have enough for
        several bonds."""
        others = [replace(self) for _ in range(count)]
        for number, other in enumerate(others, 1):
            other.service = other.create_service({**self.terms, "bondWei": ETHER + number, "windowSeconds": 100})
            for owner, operator in zip(self.people.owners, self.people.operators, strict=True):
                other.join(owner, operator, value=20 * ETHER)
        self.pass_time(self.terms["lifetimeSeconds"])
        for other in others:
            for seat in range(len(self.people.owners)):
                self.oracle.activate(other.service, seat, sender=self.people.stranger)
        return others

    def seat(self, index: int) -> Any:
        return self.oracle.seatOf(self.service, index)

    # REQUEST

    def params(self, **changes: int) -> dict[str, int]:
        return {
            "maxTokens": 16,
            "temperature": 0,
            "cutoff": 0,
            "callbackGas": 0,
            "callbackGasPriceWei": 0,
            "deadline": self.now() + self.terms["lifetimeSeconds"],
            "valueFinney": 0,
            "isPrivate": False,
            **changes,
        }

    def price(self, prompt: bytes, params: dict[str, int]) -> int:
        return sum(self.oracle.quote(self.service, len(prompt), params)[:2])

    def ask(
        self, prompt: bytes = PROMPT, *, wait: bool = True, payer: AccountAPI | None = None, **params: int
    ) -> Asked:
        """A request by an account. wait: until its seed is known."""
        filled = self.params(**params)
        receipt = self.oracle.request(
            self.service, prompt, filled, value=self.price(prompt, filled), sender=payer or self.people.payer
        )
        return self.posted(receipt, wait=wait)

    def ask_from(
        self, consumer: ContractInstance, prompt: bytes = PROMPT, *, wait: bool = True, **params: int
    ) -> Asked:
        """A request by a `Hostile` contract, with a callback."""
        filled = self.params(**{"callbackGas": 200_000, "callbackGasPriceWei": GWEI, **params})
        data = self.oracle.request.encode_input(self.service, prompt, filled)
        receipt = consumer.execute(self.oracle, data, value=self.price(prompt, filled), sender=self.people.payer)
        return self.posted(receipt, wait=wait)

    def posted(self, receipt: ReceiptAPI, *, wait: bool = True) -> Asked:
        """The request that a transaction made."""
        event = self.oracle.RequestPosted.from_receipt(receipt)[0]
        if wait:
            self.mine(3)
        return Asked(int(event.requestId), event.request, receipt)

    def seed(self, asked: Asked) -> bytes:
        return self.block_hash(self.lens.unpackRequest(asked.request).blockNumber + 2)

    def in_turn(self, asked: Asked) -> tuple[int, int, AccountAPI]:
        """Turn, seat and operator entitled now."""
        turn, seat, operator = self.lens.turnOf(asked.request)
        return turn, seat, self.account(operator)

    def account(self, address: str) -> AccountAPI:
        everyone = [*self.people.owners, *self.people.operators, *self.people.newcomers]
        return next(account for account in everyone if account.address == address)

    def answer(
        self, asked: Asked, output: bytes = OUTPUT, tokens: int = 2, sender: AccountAPI | None = None
    ) -> Answered:
        """An answer by whoever is in turn."""
        operator = sender or self.in_turn(asked)[2]
        receipt = self.oracle.answer(asked.request, output, tokens, TOKENS_ROOT, self.seed(asked), sender=operator)
        event = self.oracle.AnswerPosted.from_receipt(receipt)[0]
        parts = self.lens.unpackAnswer(event.answer)
        return Answered(asked, event.answer, output, parts.turn, parts.seat, parts.closesAt, receipt)

    def close_window(self, answered: Answered) -> None:
        """The next block is the first in which `answered` can be finalized."""
        self.set_time(answered.closes_at + 1)

    def finalize(self, *answers: Answered, sender: AccountAPI | None = None) -> ReceiptAPI:
        self.close_window(max(answers, key=lambda a: a.closes_at))
        return self.oracle.finalize([a.item for a in answers], sender=sender or self.people.stranger)

    # PANEL

    def challenge(self, answered: Answered, sender: AccountAPI | None = None) -> bytes:
        self.panel.challenge(
            answered.request,
            answered.answer,
            value=PANEL_TERMS["challengeBondWei"],
            sender=sender or self.people.challenger,
        )
        return bytes(self.panel.caseIdOf(answered.id, answered.turn))

    def draw(self, answered: Answered) -> list[int]:
        """Draws the panel of an answer challenged just before."""
        self.mine(3)
        receipt = self.panel.draw(answered.request, answered.answer, sender=self.people.stranger)
        return list(self.panel.PanelDrawn.from_receipt(receipt)[0].members)

    def salt(self, seat: int) -> bytes:
        return keccak(b"salt%d" % seat)

    def commit(self, case: bytes, seat: int, vote: int) -> ReceiptAPI:
        commitment = self.panel.commitmentOf(case, seat, vote, self.salt(seat))
        return self.panel.commit(case, seat, commitment, sender=self.account(self.seat(seat).operator))

    def open_reveals(self, case: bytes) -> None:
        self.set_time(self.panel.caseOf(case).commitEndsAt + 1)
        self.mine(1)

    def reveal(self, case: bytes, seat: int, vote: int) -> ReceiptAPI:
        return self.panel.reveal(case, seat, vote, self.salt(seat), sender=self.people.stranger)

    def vote(self, case: bytes, votes: dict[int, int]) -> None:
        """All given members commit, then reveal."""
        for seat, vote in votes.items():
            self.commit(case, seat, vote)
        self.open_reveals(case)
        for seat, vote in votes.items():
            self.reveal(case, seat, vote)

    def judge(self, answered: Answered, votes: Sequence[int]) -> ReceiptAPI:
        """A whole case: challenge, draw, votes (0: absent) of the members in order, decision."""
        case = self.challenge(answered)
        members = self.draw(answered)
        self.vote(case, {seat: vote for seat, vote in zip(members, votes, strict=True) if vote})
        if not all(votes):
            self.set_time(self.panel.caseOf(case).commitEndsAt + PANEL_TERMS["revealSeconds"] + 1)
        return self.panel.decide(answered.request, answered.answer, sender=self.people.stranger)

    # MONEY

    def owed(self) -> int:
        """Every wei the oracle owes beside open escrows and locked bonds: credits and seat balances."""
        everyone = [*self.people.owners, *self.people.operators, *self.people.newcomers]
        named = [
            self.people.deployer,
            self.people.payer,
            self.people.challenger,
            self.people.stranger,
            self.people.watcher,
        ]
        count = self.oracle.counts(self.service)[0]
        return sum(self.oracle.credit(account) for account in [*everyone, *named, BURN]) + sum(
            self.seat(index).balanceWei for index in range(count)
        )
