"""A small world for whole daemons: anvil, the contracts, one service with its seats, and a clock that a test turns.

Each block is one second. Nodes are real `Node`s with real journals and signed transactions; only their engine is
made of bytes. Nothing here waits for real time to pass, except for engine threads.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from pydantic import SecretStr
from rig.anvil import CHAIN_ID, Anvil, anvil
from rig.fake_engine import STOP, FakeEngine
from rig.sim.local import Local

from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.chain.keys import LocalSigner
from oracle.chain.requests import SEED_DELAY, Request
from oracle.chain.rpc import Rpc
from oracle.chain.services import PanelTerms, Terms
from oracle.chain.units import ETHER, NOBODY
from oracle.client import OracleClient, devnet
from oracle.disputes.commitments import longest_asked
from oracle.engines.base import Completion, Params, TokenId, Verdict
from oracle.engines.prompts import longest_prompt
from oracle.errors import ReorgedAway
from oracle.ids import RequestId, ServiceId
from oracle.merkle.tokens import tokens_root
from oracle.models.manifest import Manifest
from oracle.node import secret
from oracle.node.assembly import open_journal
from oracle.node.daemon import Node
from oracle.node.records import ServiceRecord
from oracle.node.settings import Settings

MANIFEST = Manifest("fake", b"\x11" * 32, 1000, "", 8192, (), (), (256,), 63)
# Account.from_mnemonic needs no network; anvil funds the first ten accounts of this public phrase.
Account.enable_unaudited_hdwallet_features()
ACCOUNTS: list[LocalAccount] = [
    Account.from_mnemonic(
        "test test test test test test test test test test test junk", account_path=f"m/44'/60'/0'/0/{i}"
    )
    for i in range(10)
]
DEPLOYER, DAPP = ACCOUNTS[0], ACCOUNTS[9]
NODES = ACCOUNTS[1:6]
LIFETIME, TURN, WINDOW, COMMIT, REVEAL = 600, 20, 15, 15, 15
STATUSES = ("none", "open", "answered", "disputed", "final", "undelivered", "refunded", "cancelled")
PATIENCE = 200  # rounds that an engine may take for one answer
MOST_ASKED = 60  # of five seats, one is not drawn in so many draws once in 600,000 runs


class LyingEngine(FakeEngine):
    """Answers every prompt with the same word and finds that right; judges others honestly otherwise."""

    LIE = b"lies"

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        tokens = (*(TokenId(byte) for byte in self.LIE), STOP)
        tokens = tokens[: params.max_tokens]
        return Completion(tokens, self.LIE[: params.max_tokens], tokens_root(tokens))

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        if self.detokenize(output) == self.LIE:
            return Verdict(True, None, "says the liar")
        return super().check(prompt, output, params, text)


@dataclass
class World:
    """A chain with the contracts on it."""

    chain: Anvil | Local
    deployment: Deployment
    service: bytes
    client: OracleClient = field(repr=False)

    @cached_property
    def contracts(self) -> Contracts:
        """Made once: daemons that start again and again need them each time."""
        return Contracts.at(self.deployment)

    def settings(self, folder: Path, **changes: Any) -> Settings:
        """A node's settings: confirmations 1, final after 8, no API."""
        file = folder / "deployment.json"
        if not file.exists():
            self.deployment.save(file)
        values: dict[str, Any] = {
            "rpc_urls": [SecretStr(self.chain.url)],
            "deployment": file,
            "services": ["0x" + self.service.hex()],
            "data_dir": folder,
            "ballast_mib": 1,
            "confirmations": 1,
            "finality": 8,
            "poll_seconds": 0.05,
            "stagger_seconds": 1,
            "api_port": 0,
            "reserve_wei": 0,
            "rpc_timeout_seconds": 5,
            **changes,
        }
        return Settings(**values)

    def ask(
        self,
        prompt: bytes = b"is water wet?",
        *,
        max_tokens: int = 16,
        temperature: int = 0,
        lifetime: int = 500,
        value_wei: int = 0,
        is_private: bool = False,
    ) -> RequestId:
        """A request of a dapp without a callback, mined at once. Nothing looks at the prompt before."""
        now = self.client.w3.eth.get_block("latest")["timestamp"]
        params = (max_tokens, temperature, 0, 0, 0, now + lifetime, value_wei // 10**15, is_private)
        self.chain.rpc("evm_setAutomine", True)
        try:
            cost = self.client.quote(ServiceId(self.service), len(prompt), params)
            call = self.client.oracle.functions.request(self.service, prompt, params)
            return self.client.request_in(self.client.send(call, cost.total_wei))
        finally:
            self.chain.rpc("evm_setAutomine", False)

    def status(self, request: int) -> str:
        """As the contract says."""
        return STATUSES[self.client.oracle.functions.statusOf(request).call()]

    def steps(self, request: int) -> list[str]:
        """Names of the events about a request."""
        return [step.name for step in self.client.steps(RequestId(request), self.deployment.block)]

    def act(self, account: LocalAccount, function: str, *args: Any, value_wei: int = 0) -> Any:
        """A call of the oracle by anybody, mined at once."""
        caller = OracleClient(self.client.w3, self.deployment, account)
        self.chain.rpc("evm_setAutomine", True)
        try:
            return caller.send(caller.oracle.functions[function](*args), value_wei)
        finally:
            self.chain.rpc("evm_setAutomine", False)

    def request(self, request: int) -> Request:
        """As its event says."""
        posted = next(s for s in self.client.steps(RequestId(request), self.deployment.block))
        return Request.from_abi(posted.args["request"])

    def turn_of(self, request: int) -> str:
        """Whose turn it is: an operator's address."""
        operator: str = self.client.lens.functions.turnOf(self.request(request).words).call()[2]
        return operator

    def lie(self, request: int, liar: LocalAccount) -> bool:
        """Answers falsely if it is the liar's turn."""
        words = self.request(request).words
        if self.status(request) != "open" or self.turn_of(request) != liar.address:
            return False
        tokens = [*LyingEngine.LIE, STOP]
        seed = self.client.w3.eth.get_block(self.request(request).seed_block)["hash"]
        self.act(liar, "answer", words, LyingEngine.LIE, len(tokens), tokens_root(tokens), seed)
        return True

    def lied(self, liar: LocalAccount, **asked: Any) -> RequestId:
        """A request whose first turn was the liar's, and its false answer. Other requests than this were never made."""
        for _ in range(MOST_ASKED):
            before = self.chain.rpc("evm_snapshot")
            request = self.ask(**asked)
            self.chain.mine(SEED_DELAY + 1)
            if self.lie(request, liar):
                return request
            self.chain.rpc("evm_revert", before)
            self.chain.mine()  # a later request has another draw
        raise AssertionError("the liar was never drawn")

    def seat(self, number: int) -> Any:
        """As the contract says."""
        return self.client.oracle.functions.seatOf(self.service, number).call()


async def make_node(
    world: World,
    folder: Path,
    account: LocalAccount | None = None,
    engine: Any = None,
    *,
    disputer: LocalAccount | None = None,
    rpc: Rpc | None = None,
    clock: Callable[[], float] = time.monotonic,
    wall: Callable[[], float] = time.time,
    engine_of: Callable[[ServiceRecord], Any] | None = None,
    **changes: Any,
) -> Node:
    """A node with a key in memory; the same folder again is a restart. Without an account it runs dry.

    engine: of all its services, unless `engine_of` says otherwise. rpc: other endpoints than the world's chain.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if account is not None:
        changes["keystore"] = folder / "in memory"
    settings = world.settings(folder, **changes)
    signer = None if account is None else LocalSigner(account)
    return Node(
        settings,
        world.contracts,
        rpc or Rpc(settings.rpc_urls, CHAIN_ID, timeout_seconds=5, sleep=_no_sleep, clock=lambda: 0.0),
        open_journal(settings, world.deployment),
        operator=signer,
        disputer=None if disputer is None else LocalSigner(disputer),
        node_secret=None if signer is None else await secret.derive(signer, CHAIN_ID),
        engine_factory=engine_of or (lambda service: engine or FakeEngine()),
        clock=clock,
        wall=wall,
    )


@asynccontextmanager
async def running_node(world: World, folder: Path, *account_and_engine: Any, **changes: Any) -> AsyncIterator[Node]:
    """A node as `make_node` makes it, closed in the end."""
    node = await make_node(world, folder, *account_and_engine, **changes)
    try:
        yield node
    finally:
        await node.workshop.close(1)
        await node.close()


@asynccontextmanager
async def team(world: World, folder: Path, *engines: Any, **changes: Any) -> AsyncIterator[list[Node]]:
    """One node for each engine (None for an honest one), on the first seats."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(running_node(world, folder / f"node{i}", NODES[i], engine, **changes))
            for i, engine in enumerate(engines)
        ]


async def step(world: World, *nodes: Node, blocks: int = 1) -> None:
    """Every node does what it can, engine jobs included, then a block is mined."""
    for _ in range(blocks):
        for node in nodes:
            await settle(node)
        world.chain.mine()


def is_busy(node: Node) -> bool:
    """Whether it computes anything."""
    return bool(node.workshop.running or node._litigant.running or (node.enclave and node.enclave.running))


async def settle(node: Node) -> None:
    """Rounds until the node has nothing left to do at this head."""
    for _ in range(PATIENCE):
        was_busy = is_busy(node)
        try:
            await node.round()
        except ReorgedAway:
            continue  # half of a reorg was seen; the next round sees it whole
        if not was_busy and not is_busy(node):
            return
        await asyncio.sleep(0.005)
        node.again()  # what has been computed may have to be sent
    raise AssertionError("the engine does not finish")


async def finish(world: World, node: Node) -> None:
    """Until all that the node has sent is final."""
    await step(world, node, blocks=node.settings.finality + 2)
    await settle(node)


async def drive(world: World, nodes: Sequence[Node], until: Callable[[], bool], blocks: int = 150) -> None:
    """Steps until something holds."""
    for _ in range(blocks):
        if until():
            return
        await step(world, *nodes)
    raise AssertionError("it did not come to pass")


async def _no_sleep(_seconds: float) -> None:
    """Back-off without waiting."""


def by_panel(deployment: Deployment) -> dict[str, Any]:
    panel = PanelTerms(ETHER // 10, ETHER // 100, ETHER // 100, COMMIT, REVEAL, 1, 1 << 16)
    return {"arbiter": deployment.panel, "arbiter_terms": panel.encoded()}


def seated(
    chain: Anvil | Local,
    client: OracleClient,
    manifest: Manifest,
    judging: dict[str, Any],
    *,
    window_seconds: int = WINDOW,
    deposit_wei: int = 3 * ETHER,
) -> ServiceId:
    """Opens a service and fills five seats of five owners, active at once. judging: its arbiter and the terms of it."""
    w3, in_game = client.w3, judging["arbiter"] == client.deployment.game
    longest = longest_asked(manifest) if in_game else longest_prompt(manifest)
    terms = Terms(
        model=manifest.model_id,
        **{"attester": NOBODY, "attester_terms": b"", **judging},
        bond_wei=ETHER,
        seat_wei=2 * ETHER,
        miss_penalty_wei=ETHER // 1000,
        base_price_wei=ETHER // 100,
        byte_price_wei=10**12,
        token_price_wei=10**13,
        max_prompt_bytes=min(4_096, longest),
        max_tokens=64,
        turn_seconds=TURN,
        window_seconds=window_seconds,
        lifetime_seconds=LIFETIME,
        min_owners=3,
        value_cap_wei=ETHER,
    )
    devnet.open_service(client, manifest, terms)
    for account in NODES:
        own = OracleClient(w3, client.deployment, account)
        own.send(own.oracle.functions.join(terms.service_id(), account.address), deposit_wei)
    chain.rpc("evm_setNextBlockTimestamp", w3.eth.get_block("latest")["timestamp"] + LIFETIME + 10)
    chain.mine()
    for seat in range(len(NODES)):
        client.send(client.oracle.functions.activate(terms.service_id(), seat))
    return ServiceId(terms.service_id())


@contextmanager
def world(
    manifest: Manifest = MANIFEST,
    judged: Callable[[Deployment], dict[str, Any]] = by_panel,
    made: Callable[[], AbstractContextManager[Anvil | Local]] = anvil,
) -> Iterator[World]:
    """A chain with the contracts, and five active seats of five owners. judged: a service's arbiter and its terms.

    made: Anvil, or the simulated chain.
    """
    with made() as chain:
        chain.rpc("anvil_setBlockTimestampInterval", 1)
        chain.rpc("evm_setAutomine", True)
        w3 = chain.w3()
        deployment = devnet.deploy(w3)
        client = OracleClient(w3, deployment, DAPP)
        service = seated(chain, client, manifest, judged(deployment))
        chain.rpc("evm_setAutomine", False)
        chain.mine(10)
        yield World(chain, deployment, service, client)


@contextmanager
def rewound(built: World) -> Iterator[World]:
    """The world as it was built, for one test."""
    snapshot = built.chain.rpc("evm_snapshot")
    try:
        yield built
    finally:
        built.chain.rpc("evm_setAutomine", False)
        built.chain.rpc("evm_revert", snapshot)
