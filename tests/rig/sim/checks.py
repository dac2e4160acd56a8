"""What must hold after every step of a daemon's life, whatever happened to it; and when the faults have stopped.

The witnesses are the wire (every transaction that the daemon handed to an endpoint, also one that the endpoint lost)
and every block there ever was. The journal is asked only for what it still has to do.
"""

import re
from collections import defaultdict

from oracle.chain.contracts import Contracts
from oracle.chain.reader import DOUBT_BLOCKS
from oracle.chain.requests import Ruling
from oracle.chain.types import parse_log
from oracle.journal.outbox import LIVE, Outbox
from oracle.node.working_set import WorkingSet
from rig.sim.play import DISPUTER, OPERATOR, OWN_SEATS, Play
from rig.sim.pool import Signed, decode
from rig.sim.strangers import CLOSED, Strangers

KEYS = (OPERATOR.address, DISPUTER.address)
BOUND_BLOCKS = 240
"""From the end of the last fault to the end of every request: some turns, a dispute, and finality."""
LATE_SECONDS = 120
"""A request that ends so soon after the last fault need not be answered any more."""


class Checks:
    """Keeps what it has seen, and compares."""

    def __init__(self, play: Play, strangers: Strangers) -> None:
        self.play, self.strangers = play, strangers
        self.sent: dict[bytes, Signed] = {}
        """By hash: what the daemon handed out."""
        self.seats: dict[tuple[int, int], int] = {}
        """By request and turn: the seat that answered."""
        self._oracle = Contracts.at(play.earth.deployment).oracle
        self._endpoints = list(play.endpoints)
        self._heard = [0] * len(play.endpoints)
        self._blocks = len(play.sim.made)

    def all(self) -> None:
        """Raises AssertionError."""
        self._listen()
        self.one_answer_for_a_seed()
        self.nonces_without_a_gap()
        self.jobs_within_the_width()
        self.never_slashed()
        self.working_set_is_the_journal()
        self.failures_are_known()
        self.troubles_name_endpoints_by_number()

    def hear(self, play: Play) -> None:
        """From now on also what this daemon hands to its endpoints."""
        self._endpoints += play.endpoints
        self._heard += [0] * len(play.endpoints)

    def _listen(self) -> None:
        for place, endpoint in enumerate(self._endpoints):
            for raw in endpoint.heard[self._heard[place] :]:
                signed = decode(raw)
                self.sent[signed.hash] = signed
            self._heard[place] = len(endpoint.heard)

    def one_answer_for_a_seed(self) -> None:
        """No two different answers to one request and seed were ever handed out."""
        payloads: dict[bytes, set[bytes]] = defaultdict(set)
        selector = self._oracle.encode("answer", *_NOTHING)[:4]
        for signed in self.sent.values():
            data = signed.tx.data
            if data[:4] == selector:  # five words of the request; then output's place, count, root and seed
                payloads[data[4 : 4 + 5 * 32] + data[4 + 8 * 32 : 4 + 9 * 32]].add(data)
        assert all(len(each) == 1 for each in payloads.values()), "two answers to one request and seed were signed"

    def nonces_without_a_gap(self) -> None:
        """Each key's nonces were handed out in a row, from the first that it ever used."""
        for key in KEYS:
            nonces = {each.tx.nonce for each in self.sent.values() if "0x" + each.tx.sender.hex() == key.lower()}
            gaps = set(range(min(nonces, default=0), max(nonces, default=-1) + 1)) - nonces
            assert not gaps, f"{key} left out the nonces {sorted(gaps)}"

    def jobs_within_the_width(self) -> None:
        """One job at a time, beside an engine that is being loaded."""
        node = self.play.node
        running = [] if node is None else [key for key in node.workshop.running if not key.startswith("engine:")]
        assert len(running) <= 1, running

    def working_set_is_the_journal(self) -> None:
        """What the daemon keeps of its journal is what somebody reads who reads all of it."""
        node = self.play.node
        if node is None:
            return
        kept, read = node._working, WorkingSet(node.journal)
        kept.refresh()
        read.refresh()
        for name in (
            "requests",
            "left",
            "outputs",
            "verdicts",
            "batches",
            "cases",
            "seats",
            "places",
            "games",
            "openings",
        ):
            assert getattr(kept, name) == getattr(read, name), name

    def has_failed(self) -> bool:
        """Whether a transaction of the daemon's failed in the head."""
        own = {bytes.fromhex(key[2:]) for key in KEYS}
        return any(m.signed.tx.sender in own and not m.outcome.succeeded for m in self.play.sim.head.mined)

    def failures_are_known(self) -> None:
        """No transaction that failed passes for one that had its effect."""
        if self.play.node is None:
            return
        with self.play.node.journal.read() as tx:
            rows = [row for key in KEYS for row in Outbox(tx, key).intents("mined") if row.mined_block is not None]
        for row in rows:
            found = self.play.sim.transactions.get(row.tx_hash or b"")
            assert found is None or found[1].outcome.succeeded, f"{row.intent.key} failed, and nobody noticed"

    def troubles_name_endpoints_by_number(self) -> None:
        """Never by an address, which may hold a key."""
        if self.play.node is not None:
            said = " ".join([self.play.node.status.trouble, *self.play.node.troubles()])
            assert "sim.invalid" not in said, said
            assert "no RPC endpoint answered" not in said or re.search(r"endpoint \d: ", said), said

    def rebuilt_is_the_same(self) -> None:
        """A journal made anew from the chain has the same ledger. Only while nothing keeps the daemon from reading."""
        for _ in range(2 * DOUBT_BLOCKS):
            self.play.work()
            node = self.play.node
            if node is not None and node.status.progress is not None and not node.status.progress.behind:
                break
            self.play.mine(1)
        kept, made = self.play.digests()
        assert kept == made, "the journal is not what the chain says"

    def never_slashed(self) -> None:
        """No answer of the daemon's was rejected in any block there ever was."""
        sim = self.play.sim
        for block in sim.made[self._blocks :]:
            for log in self.play.chain.serve("eth_getLogs", [{"blockHash": "0x" + block.hash.hex()}]):
                event = self._oracle.event(parse_log(log))
                if event is not None and event.name == "AnswerPosted":
                    head = event.args["answer"]["head"]
                    self.seats[event.args["requestId"], head % 2**32] = head >> 32 & 0xFFFF
                if event is not None and event.name == "AnswerRuled" and event.args["ruling"] == Ruling.REJECTED:
                    seat = self.seats[event.args["requestId"], event.args["turn"]]
                    assert seat not in OWN_SEATS, f"seat {seat} was slashed"
        self._blocks = len(sim.made)

    # -- when the faults have stopped ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Lets the daemon live without faults until every request has ended. Raises AssertionError."""
        play = self.play
        healed_at = play.now
        for _ in range(BOUND_BLOCKS // 4):
            if not self._open() and self._idle():
                break
            play.live(4)
        self.all()
        assert not self._open(), f"{BOUND_BLOCKS} blocks after the last fault: {self._open()}"
        assert self._idle(), f"{BOUND_BLOCKS} blocks after the last fault the journal still has {self._pending()}"
        assert play.node is not None
        assert play.node.troubles() == []
        for request in self.strangers.among("refunded"):
            deadline = play.earth.request(request).deadline
            assert deadline < healed_at + LATE_SECONDS, f"request {request:#x} was refunded: nobody answered in time"

    def _open(self) -> dict[str, str]:
        """Requests that have not ended. What the stranger answered rightly is the stranger's to finalize."""
        found = {}
        for request in self.strangers.asked:
            status = self.play.earth.status(request)
            if status in ("none", *CLOSED):
                continue
            if status == "answered" and self._ended_by_the_stranger(request):
                continue
            found[hex(request)] = status
        return found

    def _ended_by_the_stranger(self, request: int) -> bool:
        answer = self.strangers.last_answer(request)
        return answer.seat not in OWN_SEATS and answer.closes_at < self.play.now

    def _idle(self) -> bool:
        return not self._pending()

    def _pending(self) -> list[str]:
        """Transactions that are neither final nor given up."""
        if self.play.node is None:
            return ["no daemon"]
        with self.play.node.journal.read() as tx:
            return [row.intent.key for key in KEYS for row in Outbox(tx, key).intents(*LIVE)]


_NOTHING = ((b"\0" * 32, b"\0" * 32, 0, 0, 0), b"", 0, bytes(32), bytes(32))
