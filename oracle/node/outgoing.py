"""From wanted transactions to the senders' intents: enters what is new, drops what is no longer wanted.

An intent that the chain refused in simulation is tried again later and later; one that was mined and failed, or had
no effect, gets another key at once, a few times. An answer gets one only if it ran out of gas: otherwise one payload
for a request and turn is signed once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from oracle.chain.sender import Intent, Sender
from oracle.chain.sender_types import OUT_OF_GAS
from oracle.chain.types import Block
from oracle.ids import RequestId
from oracle.journal.journal import Journal, Tx
from oracle.journal.outbox import LIVE, Outbox
from oracle.node.plan import Wanted
from oracle.node.records import batch_key

log = structlog.get_logger()

MOST_TRIES = 5
LONGEST_PAUSE_BLOCKS = 64
KEPT = ("withdraw:",)
"""Beginnings of keys that no plan wants twice, and that are not dropped for it."""


@dataclass(frozen=True)
class _Step:
    wanted: Wanted
    key: str


class Outgoing:
    """The wanted transactions of one node and their senders."""

    def __init__(self, journal: Journal, operator: Sender, disputer: Sender) -> None:
        self._journal = journal
        self._operator = operator
        self._disputer = disputer
        self._pauses: dict[str, tuple[int, int]] = {}  # key: refusals so far, number of the block to try again at

    @property
    def senders(self) -> list[Sender]:
        """One for each key, the dispute key's first: its moves are the more urgent."""
        same = self._operator is self._disputer
        return [self._operator] if same else [self._disputer, self._operator]

    def enter(
        self,
        wanted: Sequence[Wanted],
        head: Block,
        undecided: Collection[str] = (),
        batches: Mapping[tuple[RequestId, bytes], str] = MappingProxyType({}),
    ) -> None:
        """Makes the journal's intents agree with a plan. Raises ConflictingAnswer.

        undecided: beginnings of keys that are not dropped though nobody wants them yet. batches: as for `covered`.
        """
        kept = (*KEPT, *undecided)
        with self._journal.read() as tx:
            steps, keep = self._steps(tx, wanted, batches, head)
            useless = [
                (sender, key)
                for sender in self.senders
                for key in Outbox(tx, sender.address).keys("planned", "sent")
                if key not in keep and not key.startswith(kept)
            ]
            sooner = [(sender, *each) for sender in self.senders for each in _sooner(tx, sender, wanted)]
        if not steps and not useless and not sooner:
            return
        with self._journal.write() as tx:
            for step in steps:
                self._sender(step.wanted).plan(tx, _intent(step), head.timestamp)
                for request, answer in step.wanted.covers:
                    tx.put_job("batch", batch_key(request, answer), "entered", {"intent": step.key}, None)
            for sender, key, deadline in sooner:
                Outbox(tx, sender.address).hasten(key, deadline)
            for sender, key in useless:
                log.info("transaction no longer wanted", key=key)
                sender.drop(tx, key, "no longer wanted")

    def covered(self, batches: Mapping[tuple[RequestId, bytes], str]) -> Mapping[tuple[RequestId, bytes], str]:
        """Answers that a finalizing transaction on its way covers: (request, answer hash) -> its key.

        batches: the key of the transaction that each went into, whatever became of it.
        """
        with self._journal.read() as tx:
            return self._covered(tx, batches)

    def _covered(self, tx: Tx, batches: Mapping[tuple[RequestId, bytes], str]) -> Mapping[tuple[RequestId, bytes], str]:
        states = Outbox(tx, self._operator.address).states(set(batches.values()))
        return {answer: key for answer, key in batches.items() if states.get(key) in LIVE}

    def _steps(
        self, tx: Tx, wanted: Sequence[Wanted], batches: Mapping[tuple[RequestId, bytes], str], head: Block
    ) -> tuple[list[_Step], set[str]]:
        """What to enter, and the keys of all that is wanted."""
        steps: list[_Step] = []
        keep = set(self._covered(tx, batches).values())
        outbox = Outbox(tx, self._operator.address)  # keys are unique over all signers
        states = outbox.states({want.key for want in wanted})
        for want in wanted:
            for attempt in range(1, MOST_TRIES + 1):
                key = want.key if attempt == 1 else f"{want.key}#{attempt}"
                state = states.get(key) if attempt == 1 else outbox.states({key}).get(key)
                if state is not None and self._is_over(outbox, key, state, want):
                    continue  # it had no effect, or nobody would want it any more
                keep.add(key)
                if state is None or (state in ("abandoned", "replaced") and self._may_retry(key, head)):
                    steps.append(_Step(want, key))
                break
        self._pauses = {key: pause for key, pause in self._pauses.items() if key in keep}
        return steps, keep

    @staticmethod
    def _is_over(outbox: Outbox, key: str, state: str, want: Wanted) -> bool:
        """Whether what is wanted needs another transaction than this one."""
        if state in ("failed", "reverted"):
            return not want.once or outbox.require(key).reason == OUT_OF_GAS
        return state == "final" and not want.once

    def _may_retry(self, key: str, head: Block) -> bool:
        refusals, at = self._pauses.get(key, (0, 0))
        if head.number < at:
            return False
        self._pauses[key] = (refusals + 1, head.number + min(1 << refusals, LONGEST_PAUSE_BLOCKS))
        return True

    def _sender(self, wanted: Wanted) -> Sender:
        return self._disputer if wanted.by_disputer else self._operator


def _sooner(tx: Tx, sender: Sender, wanted: Sequence[Wanted]) -> list[tuple[str, int]]:
    """Planned transactions that are wanted by an earlier time than they were planned for: for another game as well."""
    wanted_by = {want.key: want.deadline for want in wanted if want.deadline is not None}
    found = []
    for key, planned_for in Outbox(tx, sender.address).deadlines("planned"):
        deadline = wanted_by.get(key.partition("#")[0])
        if deadline is not None and planned_for is not None and deadline < planned_for:
            found.append((key, deadline))
    return found


def _intent(step: _Step) -> Intent:
    w = step.wanted
    return Intent(
        key=step.key,
        to=w.to,
        data=w.data,
        stake_wei=w.stake_wei,
        value_wei=w.value_wei,
        deadline=w.deadline,
        urgent=w.urgent,
        service=w.service,
    )
