"""A siege: an honest node's process, and attackers who ask it for as much as they can at one time.

The node is the daemon that operators run, with the shipped model, on Anvil. Blocks come at a steady pace of real time,
each says that twelve seconds have passed, and each takes few of the node's transactions: so the node has less time to
compute than its terms grant, and its transactions wait as on a chain that is full. In the end every game is over, and
seconds, gas and money are counted.
"""

import json
import os
import random
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_abi import decode
from eth_utils.abi import event_abi_to_log_topic
from hexbytes import HexBytes
from rig.anvil import Anvil, anvil, free_port
from rig.fault_rpc import FewABlock, fault_rpc

from oracle.chain.requests import Answer, Request
from oracle.client import OracleClient, devnet, devnodes
from oracle.disputes.game import Game, Stage
from oracle.engines.exact.device import Device
from oracle.engines.exact.engine import ExactEngine
from oracle.ids import RequestId, ServiceId
from oracle.merkle.tokens import Tokens, prompt_bytes
from oracle.merkle.tree import Tree
from oracle.models.shipped import SHIPPED_MODEL
from oracle.models.store import ModelStore

ETHER = 10**18
MINED = 4
"""Transactions of the node's that a block takes."""
BLOCK_SECONDS = 12
TERMS = replace(devnet.GAME, clock_seconds=570)
"""Those of `didyma dev`, with the shortest clock that the contract accepts beside the rest."""
OUTPUT = 64
HOT = 40 << 16
"""A temperature at which hardly any token is likelier than another, so that answers have all the tokens allowed."""
SEAT_WEI = 40 * ETHER
LIFETIME_SECONDS = 600
CHALLENGE_GAS, PICK_GAS = 700_000, 400_000
CHAIN = (
    *("--hardfork", "osaka", "--gas-limit", str(1 << 30)),
    *("--accounts", str(devnet.ACCOUNTS), "--mnemonic", devnet.MNEMONIC),
)
NODE = devnet.NodePlan("besieged", 0)
ATTACKER = devnet.account(2)
BURN = "0x000000000000000000000000000000000000dEaD"
READY_SECONDS = 240
LISTS = (Stage.STEPS, Stage.OPERATORS, Stage.NODES)
OPENINGS = ("open", "openValues", "openTokens")
ANSWERED, FINAL = 2, 4  # IOracle.Status


@dataclass(frozen=True)
class Target:
    """An answer of the node's, with the tokens that it commits to."""

    id: RequestId
    request: Request
    answer: Answer
    tokens: Tokens

    @property
    def words(self) -> tuple[Any, Any]:
        return self.request.words, self.answer.words

    @property
    def positions(self) -> range:
        """Those that a game can be about."""
        return range(len(self.tokens.prompt), len(self.tokens.ids))


@dataclass
class Attack:
    """One attacker's game: where it is opened, and which way it goes."""

    target: Target
    positions: int
    choose: Callable[[Game, int], int]
    """A child, among so many."""
    picks: int = 1 << 30
    """That it makes before it falls silent."""
    id: int = 0
    state: Game | None = None


@dataclass
class Costs:
    """What a siege cost both sides."""

    games: int
    openings: int = 0
    ended: int = 0
    most_due: int = 0
    """Openings demanded at one time."""
    blocks: int = 0
    """From the first challenge to the last opening."""
    left_seconds: int = 1 << 32
    """Of the node's clock, where an opening was closest to its deadline."""
    node_seconds: float = 0
    """Processor time of the node's processes until then."""
    opening_gas: int = 0
    ending_gas: int = 0
    """The node's, for all its other transactions."""
    attack_gas: int = 0
    paid_wei: int = 0
    """To the node."""
    burnt_wei: int = 0

    @property
    def lost_wei(self) -> int:
        """By the attackers, gas aside."""
        return self.paid_wei + self.burnt_wei

    def __str__(self) -> str:
        return (
            f"{self.games} games: {self.openings} openings in {self.blocks} blocks, {self.most_due} due at one time, "
            f"none late ({self.left_seconds} s left at least); node: {self.node_seconds:.1f} s of computing, "
            f"{self.opening_gas / 1e6:.2f} M gas for openings and {self.ending_gas / 1e6:.2f} M to end games, paid "
            f"{self.paid_wei / ETHER:.2f} ether; attackers: {self.lost_wei / ETHER:.2f} ether lost, "
            f"{self.burnt_wei / ETHER:.2f} of it burnt, and {self.attack_gas / 1e6:.2f} M gas"
        )


class Siege:
    """A chain, a node's process and its attackers. Made by `besieged`."""

    def __init__(
        self, chain: Anvil, pool: FewABlock, client: OracleClient, service: ServiceId, node: devnodes.NodeProcess,
        engine: ExactEngine, pace: float,
    ) -> None:  # fmt: skip
        """pace: real seconds to a block."""
        self.chain, self.pool, self.client, self.service = chain, pool, client, service
        self.node, self.engine, self.pace = node, engine, pace
        self._next = time.monotonic()
        self._events = {event_abi_to_log_topic(each): each for each in client.game.abi if each["type"] == "event"}
        self._openings: dict[bytes, list[bytes]] = {}
        self._nonce = 0

    # -- the chain ------------------------------------------------------------------------------------------------

    def block(self, most: int = MINED) -> list[tuple[str, dict[str, Any]]]:
        """Mines the next block when it is due. Returns the game's events in it. most: transactions of the node's."""
        if ended := self.node.ended():
            raise AssertionError(ended)
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._next = max(self._next, time.monotonic() - self.pace) + self.pace
        self.pool.take(most)
        self.chain.mine()
        head = hex(self.chain.height())
        wanted = {"fromBlock": head, "toBlock": head, "address": self.client.game.address}
        return [self._decoded(log) for log in self.chain.rpc("eth_getLogs", wanted)]

    def _decoded(self, log: Any) -> tuple[str, dict[str, Any]]:
        signature, *topics = [bytes(HexBytes(topic)) for topic in log["topics"]]
        abi = self._events[signature]
        indexed, plain = ([each for each in abi["inputs"] if each["indexed"] == wanted] for wanted in (True, False))
        values = [decode([each["type"]], topic)[0] for each, topic in zip(indexed, topics, strict=True)]
        values += decode([each["type"] for each in plain], HexBytes(log["data"]))
        return abi["name"], dict(zip([each["name"] for each in (*indexed, *plain)], values, strict=True))

    @property
    def now(self) -> int:
        return int(self.chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def _send(self, call: Any, gas: int, value_wei: int = 0) -> None:
        """An attacker's transaction, for the next block."""
        price = {"maxFeePerGas": 100 * 10**9, "maxPriorityFeePerGas": 10**9}
        fields = {"nonce": self._nonce, "chainId": self.client.deployment.chain_id, "gas": gas, "value": value_wei}
        call_of = {"to": call.address, "data": call._encode_transaction_data()}
        signed = ATTACKER.sign_transaction({**fields, **price, **call_of})
        self.chain.rpc("eth_sendRawTransaction", signed.raw_transaction.to_0x_hex())
        self._nonce += 1

    def _states(self, games: Sequence[int]) -> list[Game]:
        """As they stand now."""
        game = self.client.game
        calls = [
            {
                **{"jsonrpc": "2.0", "id": number, "method": "eth_call"},
                "params": [{"to": game.address, "data": game.encode_abi("gameOf", [each])}, "latest"],
            }
            for number, each in enumerate(games)
        ]
        if not calls:
            return []
        asked = urllib.request.Request(self.chain.url, json.dumps(calls).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(asked, timeout=60) as response:
            replies = sorted(json.load(response), key=lambda reply: int(reply["id"]))
        (words,) = next(each for each in game.abi if each.get("name") == "gameOf")["outputs"]
        turn = words["components"][-1]["components"]
        kinds = [each["type"] for each in words["components"][:-1]] + [f"({','.join(each['type'] for each in turn)})"]
        return [Game.from_abi(decode(kinds, HexBytes(reply["result"]))) for reply in replies]

    def _processor_seconds(self) -> float:
        """Of the node's processes so far: they are a group of their own, and so are its workers."""
        ticks = 0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.node.process.pid:
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    # -- answers --------------------------------------------------------------------------------------------------

    def answers(self, count: int, rng: random.Random, positions: int = 1) -> list[Target]:
        """Asks, and lets the node answer, until there are so many answers of at least so many positions: the model may
        end one sooner."""
        found: list[Target] = []
        while len(found) < count:
            found += [each for each in self._asked(count - len(found), rng) if len(each.positions) >= positions]
        return found

    def _asked(self, count: int, rng: random.Random) -> list[Target]:
        asked = []
        self.chain.rpc("evm_setAutomine", True)
        for _ in range(count):
            prompt = prompt_bytes([rng.randrange(10, 300) for _ in range(rng.randrange(4, 24))])
            deadline = self.now + LIFETIME_SECONDS * 9 // 10
            asked.append(self.client.ask(self.service, prompt, (OUTPUT, HOT, 0, 0, 0, deadline, 0, False))[0])
        self.chain.rpc("evm_setAutomine", False)
        self._until(asked, ANSWERED)
        return [self._target(each) for each in asked]

    def _until(self, requests: Sequence[RequestId], status: int) -> None:
        for _ in range(400):
            self.block()
            states = [int(self.client.oracle.functions.statusOf(each).call()) for each in requests]
            if all(state == status for state in states):
                return
        raise AssertionError(f"the node leaves requests in states {states}")

    def _target(self, request: RequestId) -> Target:
        events = {event["event"]: event["args"] for event in self.client.events_about(request)}
        asked = Request.from_abi(events["RequestPosted"]["request"])
        answer = Answer.from_abi(events["AnswerPosted"]["answer"])
        seed = self.client.w3.eth.get_block(asked.seed_block)
        words = events["RequestPosted"]["prompt"]
        prompt = self.engine.tokenize(words)
        made = self.engine.generate(prompt, asked.engine_params(bytes(seed["mixHash"]), words))
        tokens = Tokens.spelled(prompt, made.tokens, [len(self.engine.detokenize([each])) for each in made.tokens])
        assert tokens.root == answer.tokens_root
        return Target(request, asked, answer, tokens)

    # -- games ----------------------------------------------------------------------------------------------------

    def play(self, attacks: Sequence[Attack]) -> Costs:
        """Opens all games in one block, and picks in all together as far as their clocks allow. Until all are over."""
        costs = Costs(len(attacks))
        before, began, burnt = self.chain.height(), self._processor_seconds(), self._burnt()
        self._nonce = self.chain.transactions(ATTACKER.address)
        for attack in attacks:
            challenge = self.client.game.functions.challenge
            call = challenge(*attack.target.words, attack.target.tokens.words, attack.positions)
            self._send(call, CHALLENGE_GAS, TERMS.ceiling_wei)
        opened = [args["gameId"] for name, args in self.block() if name == "GameOpened"]
        for attack, game in zip(attacks, opened, strict=True):
            attack.id = game
        self._look(attacks)
        while self._round(attacks, costs):
            pass
        costs.blocks, costs.node_seconds = self.chain.height() - before, self._processor_seconds() - began
        self.chain.rpc("evm_setNextBlockTimestamp", max(self.now, *(_state(each).deadline for each in attacks)) + 1)
        while costs.ended < len(attacks):
            self._counted(costs, most=len(attacks))
        self._until(sorted({attack.target.id for attack in attacks}), FINAL)
        assert self._balance() >= SEAT_WEI, "the node lost stake"
        costs.burnt_wei = self._burnt() - burnt
        assert costs.paid_wei + costs.burnt_wei == sum(state.bond_wei for state in self._states(opened))
        self._count_gas(before + 1, costs)
        return costs

    def _round(self, attacks: Sequence[Attack], costs: Costs) -> bool:
        """A block, and before it the picks that cannot or need not wait. Returns whether anything goes on.

        Raises AssertionError when the node is late.
        """
        due = [attack for attack in attacks if _state(attack).node_to_move]
        urgent = self.now + 3 * BLOCK_SECONDS
        picking = [
            attack
            for attack in attacks
            if attack.picks and _state(attack).stage in LISTS and not _state(attack).node_to_move
        ]
        picking = [attack for attack in picking if not due or _state(attack).deadline <= urgent]
        for attack in picking:
            self._pick(attack)
        if not due and not picking:
            return False
        costs.most_due = max(costs.most_due, len({_state(attack).place for attack in due}))
        was = {attack.id: attack.state for attack in picking}
        shown = {args["place"]: args for name, args in self._counted(costs) if name in ("ListOpened", "ValuesOpened")}
        now = self.now
        self._openings |= {place: [*args.get("nodes", ())] for place, args in shown.items()}
        costs.openings += len(shown)
        served = [attack for attack in due if _state(attack).place in shown]
        costs.left_seconds = min([costs.left_seconds, *(_state(attack).deadline - now for attack in served)])
        self._look([*picking, *served])
        assert not [attack for attack in served if _state(attack).node_to_move], f"an opening came too late: {costs}"
        assert not [attack for attack in picking if attack.state == was[attack.id]], "an attacker's pick failed"
        late = [attack for attack in due if _state(attack).node_to_move and _state(attack).deadline < now]
        assert not late, f"{len(late)} games have no opening in time: {costs}"
        return True

    def _counted(self, costs: Costs, most: int = MINED) -> list[tuple[str, dict[str, Any]]]:
        """A block, and the games that it ends."""
        events = self.block(most)
        for name, args in events:
            assert name != "AnswerKilled", "an honest answer is dead"
            if name == "GameEnded":
                costs.ended += 1
                costs.paid_wei += args["toNodeWei"]
        return events

    def _pick(self, attack: Attack) -> None:
        attack.picks -= 1
        state = _state(attack)
        nodes = self._openings[state.place]
        child = attack.choose(state, len(nodes))
        pick = self.client.game.functions.pick
        self._send(pick(attack.id, child, nodes[child], Tree(nodes).proof(child)), PICK_GAS)

    def _look(self, attacks: Sequence[Attack]) -> None:
        for attack, state in zip(attacks, self._states([attack.id for attack in attacks]), strict=True):
            attack.state = state

    # -- what it cost ---------------------------------------------------------------------------------------------

    def _balance(self) -> int:
        """The node's stake."""
        return int(self.client.oracle.functions.seatOf(self.service, 0).call()[2])

    def _burnt(self) -> int:
        return int(self.client.oracle.functions.credit(BURN).call())

    def _count_gas(self, first: int, costs: Costs) -> None:
        for number in range(first, self.chain.height() + 1):
            sent = self.chain.rpc("eth_getBlockByNumber", hex(number), True)["transactions"]
            receipts = self.chain.rpc("eth_getBlockReceipts", hex(number)) if sent else []
            for tx, receipt in zip(sent, receipts, strict=True):
                gas, sender = int(receipt["gasUsed"], 16), receipt["from"].lower()
                assert receipt["status"] == "0x1" or sender != ATTACKER.address.lower(), "an attacker's call failed"
                if sender == ATTACKER.address.lower():
                    costs.attack_gas += gas
                elif self._is_opening(tx):
                    costs.opening_gas += gas
                else:
                    costs.ending_gas += gas

    def _is_opening(self, tx: Any) -> bool:
        game = self.client.game
        if tx["to"].lower() != game.address.lower():
            return False
        return game.get_function_by_selector(HexBytes(tx["input"])[:4]).fn_name in OPENINGS


def _state(attack: Attack) -> Game:
    assert attack.state is not None
    return attack.state


def at_random(rng: random.Random) -> Callable[[Game, int], int]:
    return lambda game, count: rng.randrange(count)


def one_path_then(number: int) -> Callable[[Game, int], int]:
    """The first layer's scores; from their tree on, a child of its own."""
    return lambda game, count: {Stage.STEPS: 1, Stage.OPERATORS: count // 2}.get(game.stage, number % count)


@contextmanager
def besieged(folder: Path, pace: float) -> Iterator[Siege]:
    """A chain, the contracts, and a node that answers everything. pace: real seconds to a block."""
    with ExitStack() as stack:
        chain = stack.enter_context(anvil(*CHAIN, mining=True))
        w3 = chain.w3()
        deployment = devnet.deploy(w3)
        deployment.save(folder / "deployment.json")
        client = OracleClient(w3, deployment, devnet.account(devnet.DEPLOYER))
        manifest = devnet.add_model(folder / "models", SHIPPED_MODEL, committed=True)
        plain = devnet.dev_terms(deployment, manifest, devnet.Mode.GAME)
        times = {"window_seconds": 120, "turn_seconds": 200, "lifetime_seconds": LIFETIME_SECONDS}
        terms = replace(plain, arbiter_terms=TERMS.encoded(), min_owners=1, **times)
        service = devnet.open_service(client, manifest, terms)
        owner = OracleClient(w3, deployment, NODE.owner)
        owner.send(owner.oracle.functions.join(service, NODE.operator.address), SEAT_WEI)
        devnet.pass_time(w3, terms.lifetime_seconds + 1)
        client.send(client.oracle.functions.activate(service, 0))
        chain.rpc("anvil_setBlockTimestampInterval", BLOCK_SECONDS)
        chain.rpc("evm_setAutomine", False)
        pool = stack.enter_context(fault_rpc(chain.url, FewABlock))
        changes = {"api_port": (port := free_port()), "poll_seconds": 0.1}
        settings = devnet.write_node(folder / "node", NODE, pool.url, [service], folder / "models", changes=changes)
        process = devnet.start_node(settings, folder / "node.log")
        stack.callback(devnodes.stop, [process])
        node = devnodes.NodeProcess(NODE.name, process, port, folder / "node.log")
        store = ModelStore(folder / "models")
        engine = ExactEngine(store.file(manifest), manifest, Device.named("cpu", 1), for_game=True)
        siege = Siege(chain, pool, client, service, node, engine, pace)
        devnodes.await_ready([node], READY_SECONDS, lambda said: None, sleep=lambda seconds: _ignore(siege.block()))
        yield siege


def _ignore(_events: object) -> None:
    """Nobody plays yet."""


@dataclass(frozen=True)
class Force:
    """How many games the attackers open."""

    positions: int
    """Games on as many positions of one answer."""
    path: int
    """Games that go one way, down to a tree of which each picks another child."""
    answers: int
    """That are challenged at once,"""
    each: int
    """at as many positions each, to be let down after the first opening."""


WHOLE = Force(positions=OUTPUT, path=33, answers=0, each=0)
SHARE = Force(positions=6, path=0, answers=0, each=0)
FLOOD = Force(positions=0, path=0, answers=8, each=OUTPUT)


def sieges(folder: Path, seed: int, pace: float, force: Force) -> Iterator[tuple[str, Costs]]:
    """One game, then sieges of those kinds, one after the other. Raises AssertionError when the node loses anything."""
    rng = random.Random(seed)

    def at(target: Target, positions: int, picks: int = 1 << 30) -> list[Attack]:
        return [Attack(target, each, at_random(rng), picks) for each in rng.sample(target.positions, positions)]

    with besieged(folder, pace) as siege:
        yield "one game", siege.play(at(*siege.answers(1, rng), 1))
        if force.positions:
            yield "positions", siege.play(at(*siege.answers(1, rng, force.positions), force.positions))
        if force.path:
            (target,) = siege.answers(1, rng)
            where = rng.choice(target.positions)
            yield "one path", siege.play([Attack(target, where, one_path_then(each)) for each in range(force.path)])
        if force.answers:
            targets = siege.answers(force.answers, rng, force.each)
            yield "at once", siege.play([attack for target in targets for attack in at(target, force.each, 0)])
