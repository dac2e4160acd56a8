"""The service of the simulated chain that the dispute game judges: its model of one layer, and its games on chain."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from e2e.world import ETHER, STATUSES, World
from exact.random_model import Shape
from exact.random_store import store_of

from oracle.chain.bindings import Binding, Event
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.requests import Request
from oracle.chain.services import GameTerms
from oracle.chain.types import Log
from oracle.disputes.game import Game
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer
from oracle.engines.base import Params
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from rig.sim.chain import Block, Mined, SimChain
from rig.sim.local import Local
from rig.sim.osaka import Transaction

SHAPE = Shape(family="qwen3", layers=1, width=32, hidden=32, heads=2, kv_heads=1, head_width=16, rope_width=16)
GAME = GameTerms(ETHER // 10, 9 * ETHER // 1000, 600, 40, 120, queue_seconds=90, ceiling_percent=200)
WINDOW_SECONDS = 300
DEPOSIT_WEI = 20 * ETHER
OUTPUT = 3
"""Tokens that are asked for."""
CALL_GAS = 10_000_000


def by_game(deployment: Deployment) -> dict[str, Any]:
    return {"arbiter": deployment.game, "arbiter_terms": GAME.encoded()}


def small_model(folder: Path) -> ModelStore:
    return store_of(folder, SHAPE, "small")


@dataclass(frozen=True)
class Told:
    """An event of the oracle or of the game, and who caused it."""

    event: Event
    sender: bytes

    @property
    def name(self) -> str:
        return self.event.name

    @property
    def args(self) -> Any:
        return self.event.args


@dataclass
class SimWorld(World):
    """A world on the simulated chain, whose contracts are asked in this process. What they say is kept until a block
    changes something."""

    _requests: dict[int, Request] = field(default_factory=dict)
    _kept: dict[tuple[str, bytes], Any] = field(default_factory=dict)
    _kept_at: bytes = b""
    """The last block in which anything was mined."""

    @property
    def sim(self) -> SimChain:
        assert isinstance(self.chain, Local)
        return self.chain.sim

    def view(self, contract: Binding, function: str, *arguments: Any) -> Any:
        """What a contract says at the head, of its storage alone and not of the time."""
        changed_at = next(block.hash for block in reversed(self.sim.blocks) if block.mined)
        if self._kept_at != changed_at:
            self._kept, self._kept_at = {}, changed_at
        to, data = bytes.fromhex(contract.address[2:]), contract.encode(function, *arguments)
        if (contract.address, data) not in self._kept:
            found = self.sim.call(self.sim.head, Transaction(bytes(20), 0, to, 0, data, CALL_GAS, 0, 0))
            assert found.succeeded, function
            self._kept[contract.address, data] = contract.result(function, found.output)
        return self._kept[contract.address, data]

    def status(self, request: int) -> str:
        return STATUSES[self.view(self.contracts.oracle, "statusOf", request)]

    def request(self, request: int) -> Request:
        if request not in self._requests:
            self._requests[request] = super().request(request)  # its number is its hash
        return self._requests[request]


@dataclass
class Arena:
    """What everybody knows who plays there."""

    earth: SimWorld
    """The chain, with the service that the game judges."""
    store: ModelStore
    _told: dict[bytes, list[Told]] = field(default_factory=dict)
    """Events by block."""
    _answers: dict[bytes, Sequence[int]] = field(default_factory=dict)

    @cached_property
    def manifest(self) -> Manifest:
        (found,) = self.store.manifests()
        return found

    @cached_property
    def engine(self) -> ExactEngine:
        return ExactEngine(self.store.file(self.manifest), self.manifest, Device.named("cpu", 1), for_game=True)

    @cached_property
    def _known(self) -> tuple[ModelInputs, Tracer]:
        path = self.store.file(self.manifest).path
        return ModelInputs(path, self.manifest.weights_root), Tracer(path, 1)

    @property
    def contracts(self) -> Contracts:
        return self.earth.contracts

    @property
    def sim(self) -> SimChain:
        return self.earth.sim

    # -- the model -------------------------------------------------------------------------------------------------

    def prompt(self, number: int) -> bytes:
        """One of many to which the model answers with as many tokens as are asked for."""
        for last in range(7, 300):
            prompt = prompt_bytes([9, 4, 11 + number % 200, last])
            if len(self.answer(prompt)) == OUTPUT:
                return prompt
        raise AssertionError("the model ends all answers early")

    def answer(self, prompt: bytes) -> Sequence[int]:
        """The tokens that the model answers."""
        if prompt not in self._answers:
            self._answers[prompt] = self.engine.generate(self.engine.tokenize(prompt), Params(OUTPUT)).tokens
        return self._answers[prompt]

    def spelled(self, prompt: bytes, output: Sequence[Any]) -> Tokens:
        """An answer's tokens as its root commits to them."""
        lengths = [len(self.engine.detokenize([token])) for token in output]
        return Tokens.spelled(self.engine.tokenize(prompt), output, lengths)

    def pass_over(self, tokens: Tokens, positions: int) -> Pass:
        """The honest one."""
        return Pass(*self._known, tokens, positions)

    # -- the chain -------------------------------------------------------------------------------------------------

    def view(self, function: str, *arguments: Any) -> Any:
        """What the game's contract says at the head."""
        return self.earth.view(self.contracts.playing("DisputeGame"), function, *arguments)

    def state(self, game: int) -> Game:
        """How a game stands."""
        *items, turn = self.view("gameOf", game).values()
        return Game.from_abi([*items, list(turn.values())])

    def told(self, *names: str) -> Iterator[Told]:
        """Events with these names in canonical blocks, in order."""
        for block in self.sim.blocks[self.earth.deployment.block :]:
            if block.mined:
                yield from (each for each in self.told_in(block) if each.name in names)

    def told_in(self, block: Block) -> list[Told]:
        """A block's events."""
        if block.hash not in self._told:
            self._told[block.hash] = [told for mined in block.mined for told in self._events(block, mined)]
        return self._told[block.hash]

    def _events(self, block: Block, mined: Mined) -> Iterator[Told]:
        for index, (address, topics, data) in enumerate(mined.outcome.logs):
            words = tuple(topic.to_bytes(32, "big") for topic in topics)
            name = self._checksummed.get(address, "")
            place = (block.header.number, block.hash, mined.signed.hash, mined.first_log + index)
            event = self.contracts.event(Log(name, words, data, *place)) if name else None
            if event is not None:
                yield Told(event, mined.signed.tx.sender)

    @cached_property
    def _checksummed(self) -> dict[bytes, str]:
        return {bytes.fromhex(address[2:]): address for address in self.contracts.addresses}

    def openings(self) -> dict[bytes, list[bytes]]:
        """All that nodes have shown, by place."""
        found: dict[bytes, list[bytes]] = {}
        for told in self.told("ListOpened", "TokensOpened", "ValuesOpened"):
            found[told.args["place"]] = shown(told)
        return found


def shown(told: Told) -> list[bytes]:
    """What an opening's event shows, as the next move reads it."""
    if told.name == "ValuesOpened":
        return [told.args["values"]]
    promised = [told.args["promptCount"].to_bytes(32, "big")] if told.name == "TokensOpened" else []
    return [*promised, *told.args["nodes"]]


def arena(earth: World, service: Any, store: ModelStore) -> Arena:
    """On the same chain."""
    return Arena(SimWorld(**{**vars(earth), "service": service}), store)
