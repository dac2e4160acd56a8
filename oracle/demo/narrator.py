"""Tells what happens on a local chain: one line a transaction, with who sent it, what it did, its hash and gas."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import Web3Exception
from web3.types import TxData, TxReceipt

from oracle.devnet import ETHER

RULINGS = ("upheld", "rejected", "annulled")
SENTENCES: Mapping[str, Callable[[dict[str, Any]], str]] = {
    "register": lambda a: (
        f"registers the model {a['manifest']['name']}"
        if "manifest" in a
        else f"registers the key {a['r']['signer'][:10]}…, made inside its TEE"
    ),
    "admit": lambda a: f"has the service count the key {a['signer'][:10]}…",
    "postCertificate": lambda a: "posts a certificate of the TEE's vendor",
    "postCrl": lambda a: "posts a revocation list of the TEE's vendor",
    "postTcbInfo": lambda a: "posts what the vendor says of such machines",
    "postQeIdentity": lambda a: "posts what the vendor says of its quoting enclave",
    "createService": lambda a: "opens a service for it",
    "join": lambda a: "takes a seat, with its stake",
    "activate": lambda a: f"activates seat {a['seat']}",
    "ask": lambda a: f"asks the dapp: {a['prompt'].decode()}",
    "finalize": lambda a: f"finalizes {len(a['items'])} answer",
    "refund": lambda a: "closes the request; its money goes back to the payer",
    "draw": lambda a: "draws the panel",
    "commit": lambda a: f"votes for seat {a['seat']}, sealed",
    "reveal": lambda a: f"opens the vote of seat {a['seat']}: the answer is {'right' if a['vote'] == 1 else 'wrong'}",
    "request": lambda a: f"asks: {a['prompt'].decode('utf-8', 'replace')}",
    "enroll": lambda a: "makes the model known to the referee",
    "open": lambda a: f"shows {len(a['nodes'])} roots",
    "openTokens": lambda a: f"shows its {len(a['entries']) // 8} tokens",
    "openValues": lambda a: f"shows {len(a['values'])} bytes of numbers",
    "pickPosition": lambda a: f"disagrees about the token after {a['positions']}",
    "pick": lambda a: f"disagrees first about number {a['child']} of them",
    "prove": lambda a: f"has the referee compute number {a['element']}: it is another, the game is over",
    "proveChoice": lambda a: f"has the referee choose: it is token {a['better']}, the game is over",
    "refute": lambda a: "shows that the answer's tokens cannot be",
    "burn": lambda a: "sends what is to be burnt to the burn address",
}


class Narrator:
    """Knows people and contracts by name; `catch_up` prints every transaction not yet told."""

    def __init__(self, w3: Web3, console: Console) -> None:
        self.names: dict[str, str] = {}
        self.contracts: dict[str, Contract] = {}
        self.texts: dict[bytes, bytes] = {}
        """What prompts say that are no text."""
        self._w3 = w3
        self._console = console
        self._next_block = 1

    def knows(self, contract: Contract, name: str) -> None:
        self.contracts[contract.address] = contract
        self.names[contract.address] = name

    def say(self, who: str, what: str) -> None:
        self._console.print(f"  {who:<15} {what}")

    def catch_up(self) -> None:
        latest = self._w3.eth.block_number
        for number in range(self._next_block, latest + 1):
            for tx in self._w3.eth.get_block(number, full_transactions=True)["transactions"]:
                self._tell(tx)  # type: ignore[arg-type]
        self._next_block = latest + 1

    def _tell(self, tx: TxData) -> None:
        receipt = self._w3.eth.get_transaction_receipt(tx["hash"])
        who = self.names.get(tx["from"], tx["from"][:10])
        what = self._what(tx, receipt) if receipt["status"] else "sends a transaction that reverts"
        tx_hash = tx["hash"].to_0x_hex()[:12]
        self._console.print(f"  {who:<15} {what:<68} {tx_hash}…  gas {receipt['gasUsed']:>9,}")

    def _what(self, tx: TxData, receipt: TxReceipt) -> str:
        if "to" not in tx or tx["to"] is None:
            return f"deploys {self.names.get(str(receipt['contractAddress']), 'a contract')}"
        contract = self.contracts.get(tx["to"])
        if contract is None:
            return f"sends {tx['value'] / ETHER:g} ether to {self.names.get(tx['to'], tx['to'])}"
        function, args = contract.decode_function_input(tx["input"])
        name = function.fn_name
        args = {**args, "prompt": self.texts.get(args["prompt"], args["prompt"])} if "prompt" in args else args
        if name in ("answer", "answerAttested"):
            output = bytes(self._event(receipt, "AnswerPosted")["output"])
            said = self.texts.get(output, output).decode("utf-8", "replace").strip()
            return f"answers {said!r}" + (", signed inside its TEE" if name == "answerAttested" else "")
        if name in ("challenge", "challengeUnread"):
            return f"ran it again, disagrees, challenges with {tx['value'] / ETHER:g} ether"
        if name == "decide":
            ruled = self._event(receipt, "AnswerRuled")
            slashed = f"{ruled['slashedWei'] / ETHER:g} ether of the bond slashed"
            return f"counts the votes: {RULINGS[ruled['ruling']]}, {slashed}"
        return SENTENCES[name](args) if name in SENTENCES else f"calls {name}"

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
