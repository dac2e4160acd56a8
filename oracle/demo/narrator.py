"""Tells what happens on a local chain: one line a transaction, with when, who, what it did, and its gas."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3Exception
from web3.types import TxData, TxReceipt

from oracle.chain.units import ETHER
from oracle.engines.answer_types import MARGIN_BITS, Verdict

COLOURS = {"Ada": "green", "Ben": "green", "Cleo": "green", "Dan": "green", "Mallory": "red", "Wanda": "cyan"}
RULINGS = ("right", "wrong", "neither")
SENTENCES: Mapping[str, str] = {
    # models, services, seats
    "createService": "opens a service",
    "enroll": "makes the model known to the referee",
    "join": "takes a seat, with its stake",
    "activate": "activates seat {seat}",
    "topUp": "adds to the stake of seat {seat}",
    "setOperator": "gives seat {seat} to another key",
    "announceExit": "announces that it leaves seat {seat}",
    "suspend": "has seat {seat} drawn no more: it cannot cover a bond",
    "exit": "leaves seat {seat}",
    # requests
    "ask": "asks the dapp: {text}",
    "close": "tells the dapp that nobody answered",
    "request": "asks: {prompt}",
    "finalize": "closes it: final; the node is paid, the dapp called back",
    "leaveCallbacks": "closes it: final; the node is paid, and leaves the callback to others",
    "reclaim": "gives the payer back what a callback cost that nobody made",
    "refund": "closes the request; its money goes back to the payer",
    "cancel": "takes the request back",
    "retryCallback": "calls the dapp back again",
    "deposit": "pays into its credit",
    "sweep": "fetches what the dapp has as credit",
    "burn": "sends what is to be burnt to the burn address",
    # the dispute game
    "challenge": "ran it again, disagrees, and challenges with a bond",
    "challengeUnread": "does not know the answer's tokens, and challenges with a bond",
    "pickPosition": "disagrees first about the token after {positions}",
    "pick": "disagrees first about part {child} of it",
    "prove": "has a contract compute number {element}: the answer was wrong",
    "proveChoice": "has a contract choose the token: it is {better}",
    "proveMargin": "has a contract compare two logits: token {other} shows the answer wrong",
    "provePattern": "has a contract compare two logits: token {other}, which the pattern allows, was to be chosen",
    "post": "posts a hash of what it is about to show, so that nobody earns by copying it",
    "pay": "has a refutation's reward credited",
    "refute": "shows that the answer's tokens cannot be",
    "refutePrompt": "shows that the answer's tokens are not the prompt's",
    "refuteAnswer": "shows that the answer is none that the prompt's type allows",
    "refutePattern": "shows that the answer does not follow the prompt's pattern",
    "timeout": "ends the game: the other side was silent",
    "settle": "ends its own game about the same answer, and takes its share",
    # the panel
    "draw": "has three seats drawn as the panel",
    "commit": "votes, sealed",
    # the TEE
    "shrink": "narrows whom the service believes",
    "postCertificate": "posts a certificate of the TEE's vendor",
    "postCrl": "posts a revocation list of the TEE's vendor",
    "postTcbInfo": "posts what the vendor says of such machines",
    "postQeIdentity": "posts what the vendor says of its quoting enclave",
}
"""What a call does; arguments in braces."""
COMPUTED: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "withdrawFromSeat": lambda a: f"takes {a['amountWei'] / ETHER:g} ether out of seat {a['seat']}",
    "withdraw": lambda a: f"withdraws {a['amountWei'] / ETHER:g} ether of credit",
    "openTokens": lambda a: f"shows how its tokens are committed, as {len(a['nodes'])} hashes",
    "open": lambda a: f"shows what it computed, as {len(a['nodes'])} hashes",
    "openValues": lambda a: f"shows the numbers themselves, {len(a['values'])} bytes",
    "reveal": lambda a: f"opens its vote: the answer is {'right' if a['vote'] == 1 else 'wrong'}",
    "admit": lambda a: f"has the service count its key {a['signer'][:10]}…",
    "revoke": lambda a: f"takes its key {a['signer'][:10]}… back",
}
"""The same where a sentence is computed from the arguments."""


class Narrator:
    """Knows people and contracts by name; `catch_up` prints every transaction not yet told."""

    def __init__(self, w3: Web3, console: Console) -> None:
        self.names: dict[str, str] = {}
        self.contracts: dict[str, Contract] = {}
        self.texts: dict[bytes, str] = {}
        """What to say of prompts and outputs that are no text."""
        self.words: Sequence[str] = ()
        """What verdicts choose from."""
        self._w3 = w3
        self._console = console
        self._next_block = 1
        self._began_at: int | None = None

    def knows(self, contract: Contract, name: str) -> None:
        self.contracts[contract.address] = contract
        self.names[contract.address] = name

    def restart_clock(self) -> None:
        """From the next transaction on, seconds count anew."""
        self._began_at = None

    def say(self, who: str, what: str) -> None:
        self._line("", who, what, "")

    def skip(self) -> tuple[int, int]:
        """Does not tell what has happened. Returns how many transactions that were, and their gas."""
        latest = self._w3.eth.block_number
        blocks = [self._w3.eth.get_block(number) for number in range(self._next_block, latest + 1)]
        self._next_block = latest + 1
        return sum(len(block["transactions"]) for block in blocks), sum(block["gasUsed"] for block in blocks)

    def catch_up(self) -> None:
        latest = self._w3.eth.block_number
        for number in range(self._next_block, latest + 1):
            block = self._w3.eth.get_block(number, full_transactions=True)
            for tx in block["transactions"]:
                if self._began_at is None:
                    self._began_at = block["timestamp"]
                self._tell(tx, block["timestamp"] - self._began_at)  # type: ignore[arg-type]
        self._next_block = latest + 1

    def _tell(self, tx: TxData, seconds: int) -> None:
        receipt = self._w3.eth.get_transaction_receipt(tx["hash"])
        who = self.names.get(tx["from"], tx["from"][:10])
        what = self._what(tx, receipt)
        if not receipt["status"]:
            what = f"in vain, since it reverts: {what}"
        self._line(f"{seconds} s", who, what, f"gas {receipt['gasUsed']:,}")

    def _line(self, when: str, who: str, what: str, gas: str) -> None:
        line = Table.grid(padding=(0, 1))
        line.add_column(width=6, justify="right", style="dim")
        line.add_column(width=9, style=COLOURS.get(who, ""))
        line.add_column(width=68)
        line.add_column(width=14, justify="right", style="dim")
        line.add_row(when, who, escape(what), gas)
        self._console.print(line)

    def _what(self, tx: TxData, receipt: TxReceipt) -> str:
        if "to" not in tx or tx["to"] is None:
            return f"deploys {self.names.get(str(receipt['contractAddress']), 'a contract')}"
        contract = self.contracts.get(tx["to"])
        if contract is None:
            return f"sends {tx['value'] / ETHER:g} ether to {self.names.get(tx['to'], tx['to'])}"
        function, args = contract.decode_function_input(tx["input"])
        name = function.fn_name
        args = {**args, **{field: self._said(args[field]) for field in ("prompt", "text") if field in args}}
        if name in ("answer", "answerAttested"):
            said = self._said(args["output"])
            return f"answers {said}" + (
                ", signed in a TEE: final at once" if name == "answerAttested" else ", with 1 ether as its bond"
            )
        if name == "register":
            return "registers the model" if "manifest" in args else "registers a key that was made inside its TEE"
        if name == "decide" and receipt["status"]:
            ruled = self._event(receipt, "AnswerRuled")
            slashed = f"{ruled['slashedWei'] / ETHER:g} ether of the bond is lost"
            return f"counts the votes: the answer is {RULINGS[ruled['ruling']]}, {slashed}"
        return COMPUTED[name](args) if name in COMPUTED else SENTENCES.get(name, name).format_map(args)

    def _said(self, text: bytes) -> str:
        """A prompt or an output, for people."""
        verdict = Verdict.of(text)
        if verdict is not None and verdict.index < len(
            self.words
        ):  # control characters, which no text here begins with
            return self.verdict(verdict.index, verdict.margin)
        return self.texts[text] if text in self.texts else repr(text.decode("utf-8", "replace").strip())

    def verdict(self, choice: int, margin: int) -> str:
        """For people. margin: with MARGIN_BITS."""
        return f"{self.words[choice]!r}, by {margin / (1 << MARGIN_BITS):.1f} logits"

    def _event(self, receipt: TxReceipt, name: str) -> Mapping[str, Any]:
        """The first event of this name that any known contract emitted in the transaction."""
        for log in receipt["logs"]:
            contract = self.contracts.get(log["address"])
            try:
                if contract is not None:
                    args: Mapping[str, Any] = contract.events[name]().process_log(log)["args"]
                    return args
            except (Web3Exception, KeyError, AttributeError):
                continue
        raise LookupError(f"{name} was not emitted in {receipt['transactionHash'].to_0x_hex()}")
