"""The sender against anything at any time: hypothesis plays chain, endpoint, purse and power cuts.

After each step and at the end the invariants of a sender hold: one payload per key, one event per intent on the
chain, contiguous nonces, and once the faults stop every intent comes to an end.
"""

import asyncio
import tempfile
from contextlib import AsyncExitStack, ExitStack, suppress
from itertools import pairwise
from pathlib import Path

from eth_account import Account
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from rig import contract
from rig.anvil import KEYS, anvil
from rig.fault_rpc import fault_rpc
from rig.stack import Stack, intent, stack

from oracle.errors import Transient
from oracle.journal.outbox import Attempt, NonceRow

NODE = Account.from_key(KEYS[0]).address
DEPTH = 6
FAULTS = [
    ("eth_sendRawTransaction", "lose_reply", None),
    ("eth_sendRawTransaction", "drop", None),
    ("eth_sendRawTransaction", "error", {"code": -32000, "message": "txpool is full"}),
    ("eth_sendRawTransaction", "error", {"code": -32000, "message": "replacement transaction underpriced"}),
    ("eth_getTransactionReceipt", "result", None),
    ("eth_getTransactionByHash", "result", None),
    ("eth_estimateGas", "status", 503),
    ("*", "truncate", None),
    ("*", "lag", 2),
]
ENDS = {"final", "reverted", "replaced", "abandoned"}


class SenderMachine(RuleBasedStateMachine):
    """Rules are what the world does; `tick` is all that the node does."""

    @initialize()
    def start(self) -> None:
        self.outer = ExitStack()
        self.runner = self.outer.enter_context(asyncio.Runner())
        self.folder = Path(self.outer.enter_context(tempfile.TemporaryDirectory()))
        self.chain = self.outer.enter_context(anvil())
        self.proxy = self.outer.enter_context(fault_rpc(self.chain.url))
        contract.place(self.chain)
        self.chain.mine()
        self.planned: set[int] = set()
        self.reorgs = 0
        self.open()

    def open(self) -> None:
        self.inner = AsyncExitStack()
        made = stack(self.chain, self.folder, url=self.proxy.url, depth=DEPTH)
        self.s: Stack = self.runner.run(self.inner.enter_async_context(made))

    @rule(word=st.integers(0, 7), urgent=st.booleans(), lifetime=st.sampled_from([None, 5, 1000]))
    def plan(self, word: int, urgent: bool, lifetime: int | None) -> None:
        now = int(self.chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        deadline = None if lifetime is None else now + lifetime
        with self.s.journal.write() as tx:
            self.s.sender.plan(tx, intent(word, urgent=urgent, deadline=deadline), now)
        self.planned.add(word)

    @rule()
    def tick(self) -> None:
        with suppress(Transient):  # as the daemon's loop does
            self.runner.run(self.s.tick())

    @rule(blocks=st.integers(1, 3))
    def mine(self, blocks: int) -> None:
        self.chain.mine(blocks)

    @rule(depth=st.integers(1, DEPTH - 2))
    @precondition(lambda self: self.reorgs < 3)
    def reorg(self, depth: int) -> None:
        if self.chain.height() > depth + 1:
            self.chain.reorg(depth)
            self.chain.mine()
            self.reorgs += 1

    @rule()
    def evict(self) -> None:
        for row in self.nonces()[-1:]:
            for attempt in self.attempts(row.nonce)[-1:]:
                self.chain.rpc("anvil_dropTransaction", "0x" + attempt.hash.hex())

    @rule(word=st.integers(0, 7))
    @precondition(lambda self: self.planned)
    def drop(self, word: int) -> None:
        self.s.drop(f"answer:{word}")

    @rule(fault=st.sampled_from(FAULTS), times=st.integers(1, 4))
    def break_endpoint(self, fault: tuple[str, str, object], times: int) -> None:
        self.proxy.script(*fault, times=times)

    @rule(refusing=st.booleans())
    def change_contract(self, refusing: bool) -> None:
        contract.refuse(self.chain, refusing)

    @rule(gwei=st.sampled_from([1, 10, 100]))
    def base_fee(self, gwei: int) -> None:
        self.chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(gwei * 10**9))

    @rule()
    def restart(self) -> None:
        self.runner.run(self.inner.aclose())
        self.open()

    @invariant()
    def nonces_are_contiguous_and_serve_one_payload_each(self) -> None:
        if not hasattr(self, "s"):
            return
        rows = self.nonces()
        assert [row.nonce for row in rows] == list(range(len(rows)))
        for row in rows:
            attempts = self.attempts(row.nonce)
            assert attempts
            first_cancel = next((i for i, a in enumerate(attempts) if a.cancels), len(attempts))
            assert all(a.cancels for a in attempts[first_cancel:])  # never back from a self-transfer
            for before, after in pairwise(attempts):
                assert after.max_fee_wei * 8 >= before.max_fee_wei * 9

    @invariant()
    def each_intent_is_on_the_chain_at_most_once(self) -> None:
        if not hasattr(self, "s"):
            return
        logs = self.chain.rpc("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest", "address": contract.ADDRESS})
        words = [int(entry["data"], 16) for entry in logs]
        assert len(words) == len(set(words))
        assert set(words) <= self.planned

    def nonces(self) -> list[NonceRow]:
        return self.s.nonces()

    def attempts(self, nonce: int) -> list[Attempt]:
        return self.s.attempts(nonce)

    def teardown(self) -> None:
        if not hasattr(self, "s"):
            return
        try:
            self.proxy.heal()
            for _ in range(60):
                self.tick()
                states = {self.s.row(f"answer:{word}").state for word in self.planned}
                if states <= ENDS:
                    break
                self.chain.mine()
            assert states <= ENDS
            assert self.chain.transactions(NODE) == len(self.nonces())
        finally:
            self.runner.run(self.inner.aclose())
            self.outer.close()


def test_sender__any_sequence_of_faults__keeps_its_invariants_and_comes_to_an_end():
    run_state_machine_as_test(
        SenderMachine,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking would start hundreds of chains
            print_blob=True,
        ),
    )
