"""What must hold after every step of a daemon's life, whatever happened to it; and when the faults have stopped.

The witnesses are the wire (every transaction that the daemon handed to an endpoint, also one that the endpoint lost)
and every block there ever was. The journal is asked only for what it still has to do.
"""

import re
from collections import Counter, defaultdict

from oracle.chain.reader import DOUBT_BLOCKS
from oracle.chain.requests import Ruling
from oracle.journal.outbox import LIVE, Outbox
from oracle.node.working_set import WorkingSet
from rig.sim.arena import Arena, Told, shown
from rig.sim.books import every_ether_is_somebodys
from rig.sim.opponents import Opponents
from rig.sim.play import DISPUTER, OPERATOR, OWN_SEATS, Play
from rig.sim.pool import Signed, decode
from rig.sim.strangers import CLOSED, Strangers

MOVES_TAKEN_BY = ("DisputeGame", "Referee", "TokenReferee", "AnswerReferee", "Refutations")
KEYS = (OPERATOR.address, DISPUTER.address)
BOUND_BLOCKS = 240
"""From the end of the last fault to the end of every request: some turns, a dispute, and finality."""
SILENT_SECONDS, WAITING_SECONDS = 60, 15
"""To a block: while all games wait for who does not move; while only windows have to pass."""
READY_SECONDS = 60
"""From the end of the last fault until the node is ready."""
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
        self._oracle = play.earth.contracts.oracle
        self._endpoints = list(play.endpoints)
        self._heard = [0] * len(play.endpoints)
        self._blocks = len(play.sim.made)
        self._sides = [strangers]
        self._arena: Arena | None = None
        self._opponents: Opponents | None = None
        self._shown: dict[bytes, list[bytes]] = {}
        """What the daemon has shown in games, by place, in any block there ever was."""
        self._own_games: set[int] = set()

    def watch(self, arena: Arena, strangers: Strangers, opponents: Opponents) -> None:
        """From now on also the service that the game judges."""
        self._arena, self._opponents = arena, opponents
        self._sides.append(strangers)

    @property
    def pace(self) -> int:
        """Seconds to a block that do not make anybody late."""
        states = Counter(self._open().values())
        if states["open"] or any(self.strangers.among("disputed")):
            return 1
        if self._opponents is not None and self._opponents.open_games():
            return SILENT_SECONDS if self._opponents.is_silent() else 1
        return WAITING_SECONDS if states else 1

    def all(self) -> None:
        """Raises AssertionError."""
        self._listen()
        self.one_answer_for_a_seed()
        self.nonces_without_a_gap()
        self.jobs_within_the_width()
        self.look_at_blocks()
        self.no_move_twice()
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
        """One job at a time for each service, beside engines that are being loaded."""
        node = self.play.node
        running = [] if node is None else [key for key in node.workshop.running if not key.startswith("engine:")]
        assert len(running) <= len(self._sides), running

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

    def rebuilt_on_the_way(self) -> bool:
        """The same at any point, whatever faults work: a node without a doubt has read the chain as a new journal reads
        it, as far as it has read. Whether it could be compared."""
        node = self.play.node
        if node is None or node.troubles():
            return False
        with node.journal.read() as tx:
            cursor = tx.cursor()
        block = None if cursor is None else self.play.sim.by_hash(cursor.hash)
        if block is None or not self.play.sim.is_canonical(block):
            return False
        kept, made = self.play.digests()
        assert kept == made, "a node that is ready has read something else than the chain says"
        return True

    def look_at_blocks(self) -> None:
        """All that there ever were, each once."""
        sim = self.play.sim
        for block in sim.made[self._blocks :]:
            if self._arena is not None and block.mined:
                for told in self._arena.told_in(block):
                    self._look_at(told)
        self._blocks = len(sim.made)

    def _look_at(self, told: Told) -> None:
        """No answer of the daemon's is rejected, no game of its is lost, and it says nothing twice in two ways."""
        assert self._arena is not None
        args, own = told.args, "0x" + told.sender.hex() in [key.lower() for key in KEYS]
        if told.name == "AnswerPosted":
            head = args["answer"]["head"]
            self.seats[args["requestId"], head % 2**32] = head >> 32 & 0xFFFF
        elif told.name == "AnswerRuled" and args["ruling"] == Ruling.REJECTED:
            seat = self.seats[args["requestId"], args["turn"]]
            assert seat not in OWN_SEATS, f"seat {seat} was slashed"
        elif told.name == "GameOpened" and args["challenger"] == DISPUTER.address:
            assert own, "somebody else challenges in the daemon's name"
            self._own_games.add(args["gameId"])
        elif told.name == "GameEnded" and args["gameId"] in self._own_games:
            assert args["challengerWon"], "the daemon lost a game against a lie"
        elif told.name in ("ListOpened", "TokensOpened", "ValuesOpened") and own:
            before = self._shown.setdefault(args["place"], shown(told))
            assert before == shown(told), "the daemon shows two things at one place"

    def no_move_twice(self) -> None:
        """No move of the daemon's in a game succeeds twice in one chain."""
        if self._arena is None:
            return
        takers = [self._arena.contracts.playing(name).address for name in MOVES_TAKEN_BY]
        to, own = {bytes.fromhex(each[2:]) for each in takers}, {bytes.fromhex(key[2:]) for key in KEYS}
        calls = Counter(
            m.signed.tx.data
            for block in self.play.sim.blocks
            for m in block.mined
            if m.signed.tx.to in to and m.signed.tx.sender in own and m.outcome.succeeded
        )
        twice = [data.hex()[:80] for data, times in calls.items() if times > 1]
        assert not twice, f"the daemon made a move twice: {twice}"

    # -- when the faults have stopped ----------------------------------------------------------------------------

    def settle(self) -> None:
        """Lets the daemon live without faults until every request has ended. Raises AssertionError."""
        play = self.play
        healed_at = play.now
        while (doubts := self._troubles()) and play.now < healed_at + READY_SECONDS:
            play.live(1)
        assert not doubts, f"{READY_SECONDS} s after the last fault the node is not ready: {doubts}"
        for _ in range(BOUND_BLOCKS // 4):
            if not self._open() and self._idle():
                break
            play.live(4, self.pace)
        self.all()
        assert not self._open(), f"{BOUND_BLOCKS} blocks after the last fault: {self._open()}"
        assert self._idle(), f"{BOUND_BLOCKS} blocks after the last fault the journal still has {self._pending()}"
        assert self._troubles() == []
        self.no_lie_is_final()
        for request in [request for side in self._sides for request in side.among("refunded")]:
            deadline = play.earth.request(request).deadline
            assert deadline < max(healed_at, self._ruled_at(request)) + LATE_SECONDS, (
                f"request {request:#x} was refunded: nobody answered in time"
            )

    def books(self) -> bool:
        """Every ether is somebody's. Only once nothing is open any more; whether that is so."""
        for side in self._sides:
            side.finalize()
        if self._opponents is not None and self._opponents.open_games():
            return False
        every_ether_is_somebodys(self.play.earth, self._sides)
        return True

    def _troubles(self) -> list[str]:
        return ["it does not run"] if self.play.node is None else self.play.node.troubles()

    def _ruled_at(self, request: int) -> int:
        """When its last answer was judged, Unix seconds; until then nobody could give another."""
        ruled = [] if self._arena is None else self._arena.told("AnswerRuled")
        numbers = [told.event.log.block_number for told in ruled if told.args["requestId"] == request]
        return self.play.sim.blocks[numbers[-1]].header.timestamp if numbers else 0

    def no_lie_is_final(self) -> None:
        """No lie before the game outlives its window."""
        for request in [] if self._opponents is None else self._opponents.lies:
            if self.play.earth.status(request) in ("final", "undelivered"):
                assert self._sides[1].last_answer(request).seat in OWN_SEATS, f"a lie is final: {request:#x}"

    def _open(self) -> dict[str, str]:
        """Requests that have not ended. What the stranger answered rightly is the stranger's to finalize."""
        found = {}
        for request in [request for side in self._sides for request in side.asked]:
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
