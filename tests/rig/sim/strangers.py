"""Everybody but the daemon: the dapp that asks, the owner of the fifth seat, and those who challenge anything.

The fifth seat answers rightly, falsely or not at all, and never votes.
"""

from dataclasses import replace
from typing import Any

from e2e.world import ACCOUNTS, DAPP, ETHER, LIFETIME, NODES, LyingEngine, World
from eth_account.signers.local import LocalAccount

from oracle.chain.requests import Answer
from oracle.client import OracleClient
from oracle.errors import CallReverted, TransactionFailed
from oracle.ids import RequestId
from rig.fake_engine import FakeEngine
from rig.sim.local import Local

STRANGER, CHALLENGER = NODES[4], ACCOUNTS[7]
CHALLENGE_WEI = ETHER // 10
CLOSED = ("final", "undelivered", "refunded", "cancelled")


class Strangers:
    """Their transactions are mined at once."""

    def __init__(self, earth: World) -> None:
        self.earth = earth
        self.asked: dict[int, bytes] = {}
        """Prompts by request, also of those that a reorganisation took away."""
        self._clients = {
            account.address: OracleClient(earth.client.w3, earth.deployment, account)
            for account in (DAPP, STRANGER, CHALLENGER)
        }

    def ask(self, prompt: bytes, max_tokens: int, *, connected: bool = False) -> None:
        """connected: by a client that has just connected to the chain as commands do."""
        earth = self.earth
        if connected:
            assert isinstance(earth.chain, Local)
            earth = replace(earth, client=OracleClient(earth.chain.connected(), earth.deployment, DAPP))
        request = earth.ask(prompt, max_tokens=max_tokens, lifetime=LIFETIME - 10)
        self.asked[request] = prompt

    def among(self, *statuses: str) -> list[int]:
        """Requests that the contract says have one of these statuses."""
        return [request for request in self.asked if self.earth.status(request) in statuses]

    def answer(self, engine: FakeEngine) -> bool:
        """By the fifth seat, if it is its turn anywhere. Returns whether it was."""
        return any(self.answers(request, engine) for request in self.among("open"))

    def answers(self, request: int, engine: Any) -> bool:
        """By the fifth seat, if it is its turn. Returns whether it was."""
        posted = self.earth.request(request)
        if self.earth.chain.height() <= posted.seed_block:
            return False
        seed = self.earth.client.w3.eth.get_block(posted.seed_block)
        prompt = self.asked[request]
        given = engine.generate(engine.tokenize(prompt), posted.engine_params(bytes(seed["mixHash"]), prompt))
        try:
            if self.earth.turn_of(request) != STRANGER.address:
                return False
            words = (posted.words, given.text, len(given.tokens), given.root, seed["hash"])
            self._send(STRANGER, self._clients[STRANGER.address].oracle.functions.answer(*words))
        except (CallReverted, TransactionFailed):  # its turn has just passed, or its stake is used up
            return False
        return True

    def finalize(self) -> None:
        """What the fifth seat answered, and nobody closed."""
        for request in self.among("answered"):
            answer, output = self.last_answer(request), self.events(request, "AnswerPosted")[-1]["output"]
            item = (self.earth.request(request).words, answer.words, output)
            self._send(STRANGER, self._clients[STRANGER.address].oracle.functions.finalize([item]))

    def challenge(self) -> bool:
        """Of any answer whose window is open. Returns whether there was one."""
        panel = self._clients[CHALLENGER.address].panel.functions
        for request in self.among("answered"):
            words = self.earth.request(request).words
            try:
                self._send(CHALLENGER, panel.challenge(words, self.last_answer(request).words), CHALLENGE_WEI)
            except (CallReverted, TransactionFailed):  # its window is over, or a panel has upheld it
                continue
            return True
        return False

    def log(self, request: int) -> dict[str, Any]:
        """The log with which a request began, as endpoints show it."""
        logs: list[dict[str, Any]] = self.earth.chain.rpc(
            "eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": self.earth.deployment.oracle}
        )
        return next(log for log in logs if log["topics"][1:2] == [f"0x{request:064x}"])

    def ruled(self, request: int) -> bool:
        """Whether an answer to it was judged."""
        return bool(self.events(request, "AnswerRuled"))

    def last_answer(self, request: int) -> Answer:
        """As its event says."""
        return Answer.from_abi(self.events(request, "AnswerPosted")[-1]["answer"])

    def events(self, request: int, name: str) -> list[Any]:
        """Arguments of the oracle's events of that name about a request."""
        steps = self.earth.client.steps(RequestId(request), self.earth.deployment.block)
        return [step.args for step in steps if step.name == name]

    def _send(self, account: LocalAccount, call: Any, value_wei: int = 0) -> None:
        self.earth.chain.rpc("evm_setAutomine", True)
        try:
            self._clients[account.address].send(call, value_wei)
        finally:
            self.earth.chain.rpc("evm_setAutomine", False)


HONEST, LYING = FakeEngine(), LyingEngine()
