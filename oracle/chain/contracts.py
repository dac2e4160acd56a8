"""The contracts of one deployment: their bindings, the events a node reads, and whether their code is as expected."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from eth_utils.crypto import keccak

from oracle.chain import refusals
from oracle.chain.bindings import Binding, Event
from oracle.chain.deployment import CONTRACTS, Deployment, artifact
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block, Log
from oracle.errors import ContractVersionMismatch

ORACLE_EVENTS = (
    "ServiceCreated",
    "SeatTaken",
    "SeatActivated",
    "SeatPlaced",
    "SeatSuspended",
    "SeatLeaving",
    "SeatLeft",
    "OperatorChanged",
    "RequestPosted",
    "AnswerPosted",
    "AnswerDisputed",
    "AnswerRuled",
    "RequestFinalized",
    "CallbackFailed",
    "CallbackLeft",
    "CallbackRetried",
    "CallbackReclaimed",
    "RequestRefunded",
    "RequestCancelled",
    "TurnMissed",
    "SeatFined",
    "Deposited",
)
PANEL_EVENTS = (
    "CaseOpened",
    "DrawPostponed",
    "PanelDrawn",
    "VoteCommitted",
    "VoteRevealed",
    "CaseDecided",
)


GAME_EVENTS = (
    "GameOpened",
    "TokensOpened",
    "PositionPicked",
    "Picked",
    "ListOpened",
    "ValuesOpened",
    "GameEnded",
    "AnswerKilled",
    "GameSettled",
)
REFUTATION_EVENTS = ("RewardWaits", "RewardPaid")


@dataclass(frozen=True)
class Contracts:
    """Bindings at a deployment's addresses."""

    deployment: Deployment
    oracle: Binding
    panel: Binding
    game: Binding | None = None
    """None where the deployment has no dispute game."""
    referee: Binding | None = None
    token_referee: Binding | None = None
    text_referee: Binding | None = None
    answer_referee: Binding | None = None
    refutations: Binding | None = None
    attester: Binding | None = None
    """None where the deployment knows no TEEs. Its events are not read, nor the referees'."""

    @classmethod
    def at(cls, deployment: Deployment) -> "Contracts":
        """Makes the bindings."""
        return cls(
            deployment,
            Binding(artifact("Oracle")["abi"], deployment.oracle),
            Binding(artifact("PanelArbiter")["abi"], deployment.panel),
            _optional("DisputeGame", deployment.game),
            _optional("Referee", deployment.referee),
            _optional("TokenReferee", deployment.token_referee),
            _optional("TextReferee", deployment.text_referee),
            _optional("AnswerReferee", deployment.answer_referee),
            _optional("Refutations", deployment.refutations),
            _optional("AttestedAnswers", deployment.attester),
        )

    @property
    def addresses(self) -> list[str]:
        """Whose events are read."""
        return [binding.address for binding in self._bindings]

    @property
    def topics(self) -> list[bytes]:
        """Which events are read."""
        wanted = (ORACLE_EVENTS, PANEL_EVENTS, GAME_EVENTS, REFUTATION_EVENTS)
        return [
            binding.topic(event) for binding, events in zip(self._bindings, wanted, strict=False) for event in events
        ]

    @property
    def _bindings(self) -> list[Binding]:
        return [self.oracle, self.panel, *(each for each in (self.game, self.refutations) if each is not None)]

    def playing(self, name: str) -> Binding:
        """A contract of the dispute game that takes moves."""
        wanted = {
            "DisputeGame": self.game,
            "Referee": self.referee,
            "TokenReferee": self.token_referee,
            "AnswerReferee": self.answer_referee,
            "Refutations": self.refutations,
        }
        binding = wanted[name]
        assert binding is not None  # nobody plays without
        return binding

    def plays(self, arbiter: str) -> bool:
        """Whether that is the dispute game."""
        return self.game is not None and arbiter.lower() == self.game.address.lower()

    def event(self, log: Log) -> Event | None:
        """Decodes a log; None if it is not one of ours."""
        return next((event for binding in self._bindings if (event := binding.event(log)) is not None), None)

    def explain(self, data: bytes) -> str:
        """A revert as text, whichever contract it comes from; hexadecimal if none of them knows it."""
        refusal = refusals.read(data)
        return refusal.text if refusal is not None else "0x" + data.hex() if data else "no reason given"

    async def check(self, rpc: Rpc, block: Block) -> None:
        """Compares the code at the addresses with this package's. Raises ContractVersionMismatch."""
        for field, name in CONTRACTS.items():
            address: str | None = getattr(self.deployment, field)
            if field == "lens":  # a node does not read it
                continue
            if address is not None and not same_code(await rpc.code(address, block), artifact(name)):
                raise ContractVersionMismatch(
                    f"{address} holds no {name} of this version: wrong deployment file, or a node too old or too new"
                )


def _optional(name: str, address: str | None) -> Binding | None:
    return None if address is None else Binding(artifact(name)["abi"], address)


async def viewed(rpc: Rpc, contract: Binding, function: str, *arguments: Any, block: Block) -> Any:
    """What a contract's view says in the state after `block`. Raises as `Rpc.call`."""
    data = contract.encode(function, *arguments)
    return await rpc.view(contract.address, data, block, partial(contract.result, function))


def same_code(code: bytes, built: Mapping[str, Any]) -> bool:
    """Whether `code` is what `built` leaves on the chain. Immutables are zero in the artifact.

    Ape appends the compiler's metadata, the package's build does not: bytes after the code that cannot be executed.
    """
    blank = bytearray(code)
    for start, length in built["immutables"]:
        blank[start : start + length] = bytes(length)
    wanted = bytes.fromhex(built["runtime_hash"][2:])
    return wanted in (keccak(bytes(blank)), keccak(without_metadata(bytes(blank))))


def without_metadata(code: bytes) -> bytes:
    """`code` less what solc appends: INVALID, a CBOR map, its length in two bytes. `code` itself if there is none.

    Source: Solidity documentation, "Encoding of the Metadata Hash in the Bytecode".
    """
    trailer = int.from_bytes(code[-2:], "big") + 2
    appended = 2 < trailer < min(64, len(code)) and code[-trailer - 1] == 0xFE and code[-trailer] >> 4 == 0xA
    return code[: -trailer - 1] if appended else code
