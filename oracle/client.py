"""A typed client for dapps and shells: ask, follow to the end, withdraw.

Synchronous and small; the node has its own asynchronous, reorg-safe way of reading the chain.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NewType

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3 import Web3
from web3.contract import Contract
from web3.contract.contract import ContractFunction
from web3.types import TxParams, TxReceipt, Wei

from oracle.chain.requests import FINNEY
from oracle.deployment import Deployment, artifact
from oracle.errors import OracleError, Refused

RequestId = NewType("RequestId", int)
ServiceId = NewType("ServiceId", bytes)

CLOSING_EVENTS = frozenset({"RequestFinalized", "RequestRefunded", "RequestCancelled"})


class TransactionFailed(OracleError):
    """A transaction was mined but reverted."""


@dataclass(frozen=True)
class Step:
    """One event in a request's life."""

    name: str
    args: Mapping[str, Any]
    block: int
    tx_hash: str
    gas_used: int


class OracleClient:
    """One account's view of one deployment.

    `account` is a key to sign with, or the address of an account that the RPC endpoint holds (a development chain).
    """

    def __init__(self, w3: Web3, deployment: Deployment, account: LocalAccount | ChecksumAddress) -> None:
        if w3.eth.chain_id != deployment.chain_id:
            raise Refused(f"the endpoint serves chain {w3.eth.chain_id}, the deployment is on {deployment.chain_id}")
        self.w3 = w3
        self.deployment = deployment
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

    def send(self, call: ContractFunction | Any, value_wei: int = 0) -> TxReceipt:
        """Simulate, send and wait. Raises ContractLogicError (custom errors included) before anything is sent."""
        fields: TxParams = {"from": self.address, "value": Wei(value_wei)}
        if self._signer is None:
            tx_hash = call.transact(fields)
        else:
            nonce = self.w3.eth.get_transaction_count(self.address, "pending")
            tx: dict[str, Any] = dict(call.build_transaction({**fields, "nonce": nonce}))
            tx_hash = self.w3.eth.send_raw_transaction(self._signer.sign_transaction(tx).raw_transaction)
        receipt = self.w3.eth.wait_for_transaction_receipt(tx_hash, timeout=300, poll_latency=0.2)
        if receipt["status"] != 1:
            raise TransactionFailed(f"transaction {tx_hash.hex()} reverted")
        return receipt

    def deploy(self, name: str, *args: Any) -> Contract:
        """Deploy a contract of the package."""
        built = artifact(name)
        factory = self.w3.eth.contract(abi=built["abi"], bytecode=built["bytecode"])
        address = self.send(factory.constructor(*args))["contractAddress"]
        assert address is not None
        return self.contract(name, address)

    def services(self) -> list[ServiceId]:
        """All services ever created, oldest first."""
        logs = self.oracle.events.ServiceCreated().get_logs(from_block=self.deployment.block)
        return [ServiceId(bytes(log["args"]["service"])) for log in logs]

    def terms(self, service: ServiceId) -> Mapping[str, Any]:
        """Of a service, as `IServices.Terms` names them. Raises Refused."""
        created = self.oracle.events.ServiceCreated().get_logs(
            from_block=self.deployment.block, argument_filters={"service": service}
        )
        if not created:
            raise Refused(f"no service 0x{service.hex()} on this deployment; `didyma service list` shows all")
        found: Mapping[str, Any] = created[0]["args"]["terms"]
        return found

    def params(
        self,
        max_tokens: int,
        temperature: float = 0.0,
        deadline_seconds: int | None = None,
        *,
        value_wei: int = 0,
        is_private: bool = False,
    ) -> tuple[int, ...]:
        """Parameters of a request without a callback, in the order of `IOracle.Params`.

        deadline_seconds: from the latest block; None for ten minutes. value_wei: what hangs on the answer.
        """
        deadline = self.w3.eth.get_block("latest")["timestamp"] + (
            600 if deadline_seconds is None else deadline_seconds
        )
        finney = min(-(-value_wei // FINNEY), (1 << 24) - 1)
        return (max_tokens, round(temperature * 65536), 0, 0, 0, deadline, finney, is_private)

    def ask(self, service: ServiceId, prompt: bytes, params: tuple[int, ...]) -> tuple[RequestId, TxReceipt]:
        """Send a request and pay exactly what it costs."""
        fee_wei, callback_wei = self.oracle.functions.quote(service, len(prompt), params).call()
        receipt = self.send(self.oracle.functions.request(service, prompt, params), fee_wei + callback_wei)
        return self.request_in(receipt), receipt

    def request_in(self, receipt: TxReceipt) -> RequestId:
        """The id of the first request that a transaction made, directly or through a dapp."""
        for log in receipt["logs"]:
            if log["address"] == self.oracle.address:
                event = self._decode(log)
                if event is not None and event["event"] == "RequestPosted":
                    return RequestId(event["args"]["requestId"])
        raise Refused(f"transaction {receipt['transactionHash'].hex()} made no request")

    def steps(self, request_id: RequestId, from_block: int) -> list[Step]:
        """What has happened to a request since `from_block`, in order."""
        logs = self.w3.eth.get_logs(
            {
                "address": self.oracle.address,
                "fromBlock": from_block,
                "topics": [None, request_id.to_bytes(32, "big")],  # type: ignore[list-item]
            }
        )
        return [step for log in logs if (step := self._step(log)) is not None]

    def follow(
        self,
        request_id: RequestId,
        from_block: int,
        poll_seconds: float = 0.5,
        timeout_seconds: float = 3600.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[Step]:
        """Yield each step as it happens, until the request is closed. Raises TimeoutError."""
        seen: set[tuple[str, str]] = set()
        waited = 0.0
        while True:
            for step in self.steps(request_id, from_block):
                if (step.tx_hash, step.name) not in seen:
                    seen.add((step.tx_hash, step.name))
                    yield step
                    if step.name in CLOSING_EVENTS:
                        return
            if waited >= timeout_seconds:
                raise TimeoutError(f"request {request_id:#x} is still open after {timeout_seconds:.0f} s")
            sleep(poll_seconds)
            waited += poll_seconds

    def _step(self, log: Any) -> Step | None:
        event = self._decode(log)
        if event is None:
            return None
        tx_hash = log["transactionHash"]
        receipt = self.w3.eth.get_transaction_receipt(tx_hash)
        return Step(event["event"], event["args"], log["blockNumber"], tx_hash.to_0x_hex(), receipt["gasUsed"])

    def _decode(self, log: Any) -> Any:
        process = self._processors.get(bytes(log["topics"][0]))
        return process(log) if process else None

    @cached_property
    def _processors(self) -> dict[bytes, Callable[[Any], Any]]:
        """What decodes a log, by its first topic."""
        names = [entry["name"] for entry in artifact("Oracle")["abi"] if entry["type"] == "event"]
        events: list[Any] = [self.oracle.events[name]() for name in names]
        return {bytes(Web3.keccak(text=event.signature)): event.process_log for event in events}
