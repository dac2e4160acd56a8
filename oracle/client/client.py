"""A typed client for dapps and shells: ask, follow to the end, take money back.

Synchronous and small; the node has its own asynchronous, reorg-safe way of reading the chain. What a contract refuses
is raised as CallReverted, with the error's name and arguments, before anything is sent; what no contract could be told,
as BadArgument, before the chain is asked.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from eth_abi.abi import encode
from eth_abi.exceptions import DecodingError
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.exceptions import ContractLogicError, Web3Exception
from web3.types import TxParams, TxReceipt, Wei

from oracle.chain.deployment import Deployment, artifact
from oracle.chain.refusals import reverted
from oracle.chain.requests import Answer, Request
from oracle.chain.services import Terms
from oracle.chain.units import FINNEY
from oracle.client.chat import check_words, enveloped
from oracle.client.given import (
    account_of,
    params_of,
    prompt_of,
    request_of,
    seconds_of,
    service_of,
    temperature_of,
    whole,
)
from oracle.client.logs import OnBlocks, in_order, unheard, whole_history
from oracle.client.typed import check_type
from oracle.engines.answer_types import is_typed
from oracle.errors import Refused, RpcUnavailable, TransactionFailed
from oracle.ids import ModelId, RequestId, ServiceId
from oracle.models.manifest import Manifest

CLOSING_EVENTS = frozenset({"RequestFinalized", "RequestRefunded", "RequestCancelled"})
MOST_FINNEY = (1 << 24) - 1
PRIVATE = 7  # of `IOracle.Params`
Decoders = Mapping[bytes, Callable[[Any], Any]]
"""What decodes a log, by its first topic."""


@dataclass(frozen=True)
class Step:
    """One event in a request's life."""

    name: str
    args: Mapping[str, Any]
    block: int
    tx_hash: str
    gas_used: int
    """By the whole transaction."""


@dataclass(frozen=True)
class Quote:
    """What a request costs, in wei."""

    fee_wei: int
    """For the answer at most; tokens not produced are given back."""
    callback_wei: int
    """To whoever finalizes."""
    forfeit_wei: int
    """Part of the fee: the most that is not refunded if nobody answers."""

    @property
    def total_wei(self) -> int:
        """What must be sent."""
        return self.fee_wei + self.callback_wei


class OracleClient:
    """One account's view of one deployment.

    `account` is a key to sign with, or the address of an account that the RPC endpoint holds (a development chain).
    """

    def __init__(self, w3: Web3, deployment: Deployment, account: LocalAccount | ChecksumAddress) -> None:
        if w3.eth.chain_id != deployment.chain_id:
            raise Refused(f"the endpoint serves chain {w3.eth.chain_id}, the deployment is on {deployment.chain_id}")
        self.w3 = w3
        self.deployment = deployment
        self.on_blocks: OnBlocks = unheard
        """Told of what has been read of a history that takes several calls."""
        self._width = whole_history()
        self._signer = account if isinstance(account, LocalAccount) else None
        self.address: ChecksumAddress = account.address if isinstance(account, LocalAccount) else account
        self.registry = self.contract("ModelRegistry", deployment.registry)
        self.oracle = self.contract("Oracle", deployment.oracle)
        self.lens = self.contract("Lens", deployment.lens)
        self.panel = self.contract("PanelArbiter", deployment.panel)

    @cached_property
    def referee(self) -> Contract:
        """Raises Refused where the deployment has none."""
        return self.contract("Referee", self._deployed(self.deployment.referee, "dispute game"))

    @cached_property
    def token_referee(self) -> Contract:
        """Raises Refused where the deployment has none."""
        return self.contract("TokenReferee", self._deployed(self.deployment.token_referee, "dispute game"))

    @cached_property
    def text_referee(self) -> Contract:
        """Raises Refused where the deployment has none."""
        return self.contract("TextReferee", self._deployed(self.deployment.text_referee, "dispute game"))

    @cached_property
    def answer_referee(self) -> Contract:
        """Raises Refused where the deployment has none."""
        return self.contract("AnswerReferee", self._deployed(self.deployment.answer_referee, "dispute game"))

    @cached_property
    def refutations(self) -> Contract:
        """Raises Refused where the deployment has none."""
        return self.contract("Refutations", self._deployed(self.deployment.refutations, "dispute game"))

    @cached_property
    def game(self) -> Contract:
        """Raises Refused where the deployment has none."""
        return self.contract("DisputeGame", self._deployed(self.deployment.game, "dispute game"))

    @cached_property
    def attester(self) -> Contract:
        """Raises Refused where the deployment has none; so do the next."""
        return self.contract("AttestedAnswers", self._deployed(self.deployment.attester, "attester"))

    @cached_property
    def verifier(self) -> Contract:
        """The attester's."""
        return self.contract("DcapVerifier", self.attester.functions.verifier().call())

    @cached_property
    def collateral(self) -> Contract:
        """The verifier's."""
        return self.contract("DcapCollateral", self.verifier.functions.collateral().call())

    @staticmethod
    def _deployed(address: ChecksumAddress | None, what: str) -> ChecksumAddress:
        if address is None:
            raise Refused(f"this deployment has no {what}")
        return address

    def contract(self, name: str, address: ChecksumAddress) -> Contract:
        return self.w3.eth.contract(address=address, abi=artifact(name)["abi"])

    # -- transactions --------------------------------------------------------------------------------------------

    def send(self, call: ContractFunction | Any, value_wei: int = 0) -> TxReceipt:
        """Simulate, send and wait. Raises CallReverted before anything is sent, TransactionFailed after."""
        fields: TxParams = {"from": self.address, "value": Wei(value_wei)}
        with refusals():
            if self._signer is None:
                tx_hash = call.transact(fields)
            else:
                nonce = self.w3.eth.get_transaction_count(self.address, "pending")
                ours: TxParams = {**fields, "nonce": nonce, "chainId": self.deployment.chain_id}  # whatever it says now
                tx: dict[str, Any] = dict(call.build_transaction(ours))
                tx_hash = self.w3.eth.send_raw_transaction(self._signer.sign_transaction(tx).raw_transaction)
        receipt = self.w3.eth.wait_for_transaction_receipt(tx_hash, timeout=300, poll_latency=0.2)
        if receipt["status"] != 1:
            raise TransactionFailed(
                f"transaction {tx_hash.to_0x_hex()} was mined and reverted: what it met was no longer what it was "
                "simulated on. It cost its gas and nothing else; try again"
            )
        return receipt

    def deploy(self, name: str, *args: Any) -> Contract:
        """Deploy a contract of the package."""
        built = artifact(name)
        factory = self.w3.eth.contract(abi=built["abi"], bytecode=built["bytecode"])
        address = self.send(factory.constructor(*args))["contractAddress"]
        assert address is not None
        return self.contract(name, address)

    # -- asking --------------------------------------------------------------------------------------------------

    def services(self) -> list[ServiceId]:
        """All services ever created, oldest first."""
        return [ServiceId(bytes(log["args"]["service"])) for log in self.history(self.oracle.events.ServiceCreated())]

    def terms(self, service: ServiceId) -> Mapping[str, Any]:
        """A service's terms, named as in `IServices.Terms`; they hash to its id. Raises Refused."""
        created = self.history(self.oracle.events.ServiceCreated(), service=service_of(service))
        if not created:
            raise Refused(f"no service 0x{service.hex()} on this deployment; `didyma service list` shows all")
        found: Mapping[str, Any] = created[0]["args"]["terms"]
        if Terms(*found.values()).service_id() != service:
            raise contradiction(f"the terms of service 0x{service.hex()} do not hash to its id")
        return found

    def manifest(self, model: ModelId) -> Manifest:
        """Of a registered model. Raises Refused."""
        registered = self.history(self.registry.events.ModelRegistered(), model=model)
        if not registered:
            raise Refused(f"the endpoint has forgotten the model 0x{model.hex()}: ask another one")
        found = Manifest.from_abi(registered[0]["args"]["manifest"])
        if found.model_id != model:
            raise contradiction(f"the manifest of model 0x{model.hex()} does not hash to its id")
        return found

    def prompt(self, service: ServiceId, *turns: bytes, system: bytes = b"") -> bytes:
        """Words as a service takes them. Raises Refused.

        turns: the asker's words, the model's, the asker's, and so on. system: what the model is told before them.
        """
        said, told = [prompt_of(words) for words in turns], prompt_of(system)
        manifest = self.manifest(self.terms(service)["model"])
        if self.oracle.functions.arbiterOf(service).call() == self.deployment.game:
            check_words(manifest)
        return enveloped(manifest, said, told)

    def params(
        self,
        max_tokens: int,
        temperature: float = 0.0,
        deadline_seconds: int | None = None,
        *,
        value_wei: int = 0,
        is_private: bool = False,
        callback_gas: int = 0,
        callback_gas_price_wei: int = 0,
    ) -> tuple[int, ...]:
        """Parameters of a request, in the order of `IOracle.Params`.

        deadline_seconds: from the latest block; None for ten minutes. value_wei: the value at stake.
        callback_gas: what `onAnswer` of the asking contract gets; 0 for no callback. callback_gas_price_wei: what it
        pays for each unit to whoever finalizes: more than gas will cost then.

        Raises BadArgument.
        """
        finney = min(-(-whole("valueWei", value_wei, 256) // FINNEY), MOST_FINNEY)
        price_wei = callback_gas_price_wei if callback_gas else 0
        heat = temperature_of(temperature)
        params_of((max_tokens, heat, 0, callback_gas, price_wei, 0, finney, is_private))
        seconds = 600 if deadline_seconds is None else seconds_of(deadline_seconds)
        deadline = self.w3.eth.get_block("latest")["timestamp"] + seconds
        return params_of((max_tokens, heat, 0, callback_gas, price_wei, deadline, finney, is_private))

    def quote(self, service: ServiceId, prompt: bytes | int, params: tuple[int, ...]) -> Quote:
        """What a request costs. prompt: or its length alone, where the type of its answer is checked elsewhere.

        Raises BadArgument, CallReverted, and BadType for a typed prompt that the service's model could not answer.
        """
        asked, checked = service_of(service), params_of(params)
        if isinstance(prompt, int):
            length = whole("promptBytes", prompt, 256)
        else:
            taken = prompt_of(prompt)
            length = len(taken)
            if not checked[PRIVATE]:
                self.check_type(asked, taken, checked[0])
        with refusals():
            return Quote(*self.oracle.functions.quote(asked, length, checked).call())

    def check_type(self, service: ServiceId, prompt: bytes, max_tokens: int) -> None:
        """Raises BadType for a typed prompt, not sealed, that the service's model could not answer."""
        if is_typed(prompt):
            check_type(prompt, self.manifest(self.terms(service)["model"]), max_tokens)

    def ask(self, service: ServiceId, prompt: bytes, params: tuple[int, ...]) -> tuple[RequestId, TxReceipt]:
        """Send a request and pay exactly what it costs. Raises as `quote` and `send`."""
        cost = self.quote(service, prompt_of(prompt), params)
        receipt = self.send(self.oracle.functions.request(service, prompt, params), cost.total_wei)
        return self.request_in(receipt), receipt

    def request_in(self, receipt: TxReceipt) -> RequestId:
        """The id of the first request that a transaction made, directly or through a dapp."""
        known = decoders(self.oracle)
        for log in receipt["logs"]:
            event = decode(known, log) if log["address"] == self.oracle.address else None
            if event is not None and event["event"] == "RequestPosted":
                return RequestId(event["args"]["requestId"])
        raise Refused(f"transaction {receipt['transactionHash'].to_0x_hex()} made no request")

    # -- what became of it ---------------------------------------------------------------------------------------

    def history(self, event: Any, **filters: Any) -> list[Any]:
        """All logs of an event of a contract since the deployment, decoded, oldest first.

        event: `contract.events.Name()`. filters: of indexed arguments.
        """
        signature = bytes(Web3.keccak(text=event.signature))
        indexed = [(entry["name"], entry["type"]) for entry in event.abi["inputs"] if entry["indexed"]]
        wanted = [Web3.to_hex(encode([kind], [filters[name]])) if name in filters else None for name, kind in indexed]
        return self._logs(event.address, {signature: event.process_log}, [Web3.to_hex(signature), *wanted])

    def logs_with(self, contract: Contract, topics: Sequence[str | None], from_block: int | None = None) -> list[Any]:
        """A contract's events with these topics since `from_block` or the deployment, decoded, oldest first."""
        return self._logs(contract.address, decoders(contract), topics, from_block)

    def _logs(
        self, address: str, known: Decoders, topics: Sequence[str | None], from_block: int | None = None
    ) -> list[Any]:
        """What does not match, or is none of the known events, is left out: endpoints may add to what was asked for."""

        def read(first: int, last: int) -> list[Any]:
            wanted: Any = {"address": address, "fromBlock": first, "toBlock": last, "topics": list(topics)}
            return list(self.w3.eth.get_logs(wanted))

        start = self.deployment.block if from_block is None else from_block
        logs = in_order(read, start, self.w3.eth.block_number, self._width, self.on_blocks)
        try:
            decoded = [decode(known, log) for log in logs if _matches(log, address, topics)]
            events = [event for event in decoded if event is not None]
            return sorted(events, key=lambda event: (event["blockNumber"], event["logIndex"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise RpcUnavailable(
                f"the RPC endpoint fails at eth_getLogs: what it gives makes no sense ({error!r}); use another one"
            ) from None

    def events_about(self, request_id: RequestId, from_block: int | None = None) -> list[Any]:
        """The oracle's events about a request, decoded, oldest first. from_block: None for the deployment's."""
        topic = f"0x{request_of(request_id):064x}"
        return self.logs_with(self.oracle, [None, topic], from_block)

    def steps(self, request_id: RequestId, from_block: int | None = None) -> list[Step]:
        """What has happened to a request since `from_block`, in order."""
        gas: dict[bytes, int] = {}
        found = []
        for event in self.events_about(request_id, from_block):
            tx_hash = event["transactionHash"]
            if tx_hash not in gas:
                gas[tx_hash] = self.w3.eth.get_transaction_receipt(tx_hash)["gasUsed"]
            block, name = event["blockNumber"], event["event"]
            found.append(Step(name, event["args"], block, tx_hash.to_0x_hex(), gas[tx_hash]))
        return found

    def follow(
        self,
        request_id: RequestId,
        from_block: int | None = None,
        poll_seconds: float = 0.5,
        timeout_seconds: float = 3600.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Step]:
        """Yield each step as it happens, until the request is closed and its consumer was called. Raises TimeoutError.

        A callback fails or is left in the transaction that closes its request: the last step is then CallbackFailed or
        CallbackLeft.
        """
        seen: set[tuple[str, int]] = set()
        waited = 0.0
        while True:
            is_closed = False
            order: dict[str, int] = {}  # a transaction may hold several events of one name
            for step in self.steps(request_id, from_block):
                order[step.tx_hash] = order.get(step.tx_hash, 0) + 1
                if (step.tx_hash, order[step.tx_hash]) not in seen:
                    seen.add((step.tx_hash, order[step.tx_hash]))
                    yield step
                is_closed |= step.name in CLOSING_EVENTS
            if is_closed:
                return
            if waited >= timeout_seconds:
                raise TimeoutError(f"request {request_id:#x} is still open after {timeout_seconds:.0f} s")
            sleep(poll_seconds)
            waited += poll_seconds

    # -- money and second tries ----------------------------------------------------------------------------------

    def credit(self, account: str | None = None) -> int:
        """What an account, or this one, may withdraw, in wei."""
        owner = self.address if account is None else account_of("account", account)
        found: int = self.oracle.functions.credit(owner).call()
        return found

    def withdraw(self, to: str | None = None, amount_wei: int | None = None) -> TxReceipt:
        """Take credit of this account: all of it, to itself, unless told otherwise. Raises Refused, and as `send`."""
        return self.send(self.withdrawal(to, amount_wei))

    def withdrawal(self, to: str | None = None, amount_wei: int | None = None) -> ContractFunction:
        """The call that `withdraw` sends. Raises Refused."""
        receiver = self.address if to is None else account_of("to", to)
        amount = self.credit() if amount_wei is None else whole("amountWei", amount_wei, 256)
        if amount == 0:
            raise Refused(f"{self.address} has no credit: nothing to withdraw")
        return self.oracle.functions.withdraw(receiver, amount)

    def cancel(self, request_id: RequestId) -> TxReceipt:
        """Take an unanswered request of this account back. Raises Refused, and as `send`."""
        return self.send(self.cancellation(request_id))

    def cancellation(self, request_id: RequestId) -> ContractFunction:
        """The call that `cancel` sends. Raises Refused."""
        return self.oracle.functions.cancel(asked(request_id, self.events_about(request_id)).words)

    def refund(self, request_id: RequestId) -> TxReceipt:
        """Have the payer of a request refunded whose deadline passed unanswered. Raises Refused, and as `send`."""
        return self.send(self.refunding(request_id))

    def refunding(self, request_id: RequestId) -> ContractFunction:
        """The call that `refund` sends. Raises Refused."""
        return self.oracle.functions.refund(asked(request_id, self.events_about(request_id)).words)

    def retry(self, request_id: RequestId, callback_gas: int | None = None) -> TxReceipt:
        """Repeat a callback that failed, or make one that was left: that one pays this account what it escrowed.

        callback_gas: as bought, if not given.

        Raises Refused, and as `send`.
        """
        return self.send(self.retrying(request_id, callback_gas))

    def retrying(self, request_id: RequestId, callback_gas: int | None = None) -> ContractFunction:
        """The call that `retry` sends. Raises Refused."""
        gas = None if callback_gas is None else whole("callbackGas", callback_gas, 256)
        events = self.events_about(request_id)
        request = asked(request_id, events)
        names = [event["event"] for event in events]
        if "CallbackFailed" not in names and "CallbackLeft" not in names:
            raise Refused(
                f"no callback of request {request_id:#066x} has failed or was left: there is nothing to repeat"
            )
        if "CallbackRetried" in names:
            raise Refused(f"the callback of request {request_id:#066x} was delivered already")
        posted = [event["args"] for event in events if event["event"] == "AnswerPosted"][-1]
        item = (request.words, Answer.from_abi(posted["answer"]).words, posted["output"])
        return self.oracle.functions.retryCallback(item, request.callback_gas if gas is None else gas)


def decoders(contract: Contract) -> Decoders:
    """What decodes a contract's logs, by their first topic."""
    events: list[Any] = [contract.events[entry["name"]]() for entry in contract.abi if entry["type"] == "event"]
    return {bytes(Web3.keccak(text=event.signature)): event.process_log for event in events}


def decode(known: Decoders, log: Any) -> Any:
    """An event; None for a log that is none of these, or malformed."""
    process = known.get(bytes(log["topics"][0])) if log["topics"] else None
    try:
        return None if process is None else process(log)
    except (Web3Exception, DecodingError, ValueError, OverflowError):
        return None


def _matches(log: Any, address: str, topics: Sequence[str | None]) -> bool:
    if log["address"] != address or len(log["topics"]) < len(topics) or log["blockNumber"] is None:
        return False
    return all(want in (None, Web3.to_hex(got)) for want, got in zip(topics, log["topics"], strict=False))


def asked(request_id: RequestId, events: Sequence[Any]) -> Request:
    """The request, of its events. Raises Refused where they are not this request's: endpoints may lie."""
    posted = next((event["args"] for event in events if event["event"] == "RequestPosted"), None)
    if posted is None:
        raise Refused(f"no request {request_id:#066x} on this deployment, or the endpoint has forgotten its events")
    request = Request.from_abi(posted["request"])
    if request.id != request_id:
        raise contradiction(f"what it says of request {request_id:#066x} does not hash to that id")
    return request


def contradiction(what: str) -> Refused:
    """The error of an endpoint that says what cannot be."""
    return Refused(f"the endpoint contradicts itself: {what}. Ask another one")


@contextmanager
def refusals() -> Iterator[None]:
    """What a contract refuses with, as CallReverted."""
    try:
        yield
    except ContractLogicError as error:
        raise reverted(error) from None
