"""The litigant: this node's side in dispute games, defending its own answers and attacking wrong ones.

Every move follows from the chain's state and the node's own computing, so that nothing needs to be remembered: after a
crash the same move is found again. What costs time runs in two threads: one makes prefills, one an answer, and finds
first moves; the other makes all other moves from what is traced, the one with the earliest deadline first. A move is
wanted as soon as it is found, for as long as the chain waits for it. `docs/economics.md`, "Many games at once", says
how fast that must be.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from eth_utils.crypto import keccak

from oracle.chain.bindings import Binding
from oracle.chain.contracts import Contracts
from oracle.chain.requests import RequestId
from oracle.chain.rpc import Rpc
from oracle.chain.services import GameTerms
from oracle.chain.types import Block
from oracle.disputes import faults, reading
from oracle.disputes.game import REFEREES, Claim, Game, Move, Stage, attack, defend, reveal
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer, Whole
from oracle.engines.base import Engine, TokenId
from oracle.errors import OracleError, ReorgedAway, Transient, UnknownHeader
from oracle.journal.journal import BlockRef
from oracle.merkle.tokens import Tokens
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.plan import View, Wanted
from oracle.node.records import GameRecord, PostedAnswer, RequestRecord, RewardRecord

log = structlog.get_logger()

LANES = ("first", "next")
"""Prefills and first moves; all other moves."""

PREFILL = "prefill:"
READ_TOGETHER = 16
"""Games: one after the other, hundreds of them would take longer to read than a block to come."""
WAIT_BLOCKS = 16
"""`Refutations.WAIT_BLOCKS`"""

Openings = Mapping[bytes, Sequence[bytes]]
EngineOf = Callable[[bytes], Engine | None]
"""The engine of a service, once it is loaded."""


@dataclass(frozen=True)
class _Knowledge:
    """One model, as the referee knows it."""

    manifest: Manifest
    model: ModelInputs
    tracer: Tracer


@dataclass(frozen=True)
class _Matter:
    """An answer in question and all that a move about it may need."""

    record: RequestRecord
    posted: PostedAnswer
    model: bytes
    engine: Engine
    prev_randao: bytes
    header: bytes
    openings: Openings
    game: GameTerms

    @property
    def key(self) -> tuple[RequestId, bytes]:
        return self.record.id, self.posted.answer.hash

    @property
    def claim(self) -> Claim:
        params = self.record.request.engine_params(self.prev_randao)
        return Claim(self.record.request.words, self.posted.answer.words, params, self.header)


@dataclass(frozen=True)
class _Task:
    """A move to be found."""

    deadline: int
    find: Callable[[], Move | None]
    traced: tuple[RequestId, bytes] | None = None
    """The answer whose prefill it needs to have been made; None for what takes a prefill of its own."""


@dataclass(frozen=True)
class Standing:
    """How one of this node's games stands."""

    side: str
    """challenger or answerer"""
    deadline: int | None
    """Unix time of this node's last moment to move; None if it is the other side's turn."""


class Litigant:
    """Finds moves. `wanted` is called with every new head."""

    def __init__(
        self,
        contracts: Contracts,
        rpc: Rpc,
        store: ModelStore,
        engine_of: EngineOf,
        wake: Callable[[], None],
        threads: int | None = None,
    ) -> None:
        """threads: for passes."""
        self._threads = threads
        self._contracts, self._rpc, self._store = contracts, rpc, store
        self._engine_of, self._wake = engine_of, wake
        self._threads_of = {
            lane: ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"litigant-{lane}") for lane in LANES
        }
        self._queue: dict[str, _Task] = {}
        self._busy: set[str] = set()
        """Lanes whose thread is at work."""
        self._running: dict[str, asyncio.Future[Move | None]] = {}
        self._found: dict[str, Move | None] = {}
        self.undecided: set[str] = set()
        """Beginnings of the keys of moves that may be wanted, as far as the last call could tell."""
        self.standings: list[Standing] = []
        """Of this node's games that are not over, at the last call."""
        self._headers: dict[bytes, bytes] = {}
        self._known: dict[bytes, _Knowledge] = {}
        self._tokens: dict[tuple[RequestId, bytes], Tokens | None] = {}
        self._sealed: dict[bytes, tuple[RequestId, int, Wanted]] = {}
        """Refutations whose hash is posted, by case: request, block of the hash, and the call."""
        self._owned: dict[tuple[RequestId, bytes], Tokens] = {}
        self._wholes: dict[tuple[RequestId, bytes], Whole] = {}
        self._passes: dict[tuple[RequestId, bytes, int], Pass] = {}
        self._traced: set[tuple[RequestId, bytes]] = set()

    @property
    def running(self) -> list[str]:
        """Names of the moves in hand."""
        return [*self._running, *self._queue]

    async def wanted(
        self,
        view: View,
        games: Sequence[GameRecord],
        openings: Openings,
        rewards: Sequence[RewardRecord],
        at: BlockRef,
        *,
        watch: bool,
    ) -> list[Wanted]:
        """The transactions that this node's games need now.

        rewards: all that wait. at: the block up to which `games`, `openings` and `rewards` go. watch: whether to attack
        wrong answers.
        """
        binding = self._contracts.game
        self.undecided, self.standings = set(), []
        if binding is None:
            return []
        self._collect()
        found = [*self._rewarded(view, rewards)]
        asked: set[str] = set()
        requests = {record.id: record for record in view.requests}
        wrong = [record for record in view.requests if watch and self._is_wrong(view, record)]
        if not games and not wrong:
            self._forget(asked, requests)
            return found
        confirmed = await self._rpc.block_by_hash(at.hash)
        if confirmed is None:
            raise ReorgedAway(f"block {at.number} left the chain")
        ours = [game for game in games if _concerns(view, game, requests.get(game.request))]
        states: list[Game] = []
        for some in range(0, len(ours), READ_TOGETHER):
            calls = (self._state(binding, game.id, confirmed) for game in ours[some : some + READ_TOGETHER])
            states += await asyncio.gather(*calls)
        for game, state in sorted(zip(ours, states, strict=True), key=lambda pair: pair[1].deadline):
            record = requests.get(game.request)
            found += await self._game(view, binding, game, state, record, openings, confirmed, asked)
        challengers: dict[bytes, set[str]] = {}
        for game in games:
            challengers.setdefault(game.case, set()).add(game.challenger.lower())
        for record in wrong:
            found += await self._watched(view, binding, record, openings, challengers, confirmed, asked)
        self._forget(asked, requests)
        return found

    def close(self) -> None:
        """Lets the threads end after the moves in hand."""
        self._queue.clear()
        for thread in self._threads_of.values():
            thread.shutdown(wait=False, cancel_futures=True)

    # -- one game --------------------------------------------------------------------------------------------------

    async def _game(
        self,
        view: View,
        binding: Binding,
        game: GameRecord,
        state: Game,
        record: RequestRecord | None,
        openings: Openings,
        confirmed: Block,
        asked: set[str],
    ) -> list[Wanted]:
        mine = game.challenger.lower() == view.disputer.lower()
        if game.state == "stranded":
            return self._settled(view, binding, game, state) if mine else []
        matter = None if record is None else await self._matter(view, record, openings)
        if matter is None:
            self.undecided.add("move:")
            return []
        defends = matter.posted.operator.lower() == view.operator.lower()
        my_turn = defends if state.node_to_move else mine
        if state.stage not in (Stage.NONE, Stage.OVER):
            side = "challenger" if mine else "answerer"
            self.standings.append(Standing(side, state.deadline if my_turn else None))
        until = state.deadline - matter.game.clock_seconds // 2
        found: list[Wanted] = []
        for wanted in self._turn(view, binding, game.id, state, matter, asked, my_turn=my_turn):
            found += await self._hidden(view, wanted, matter, state.case, until, confirmed)
        return found

    def _settled(self, view: View, binding: Binding, game: GameRecord, state: Game) -> list[Wanted]:
        """The bond back, and perhaps a share, where another game has killed the answer."""
        if state.stage in (Stage.NONE, Stage.OVER):
            return []
        data = binding.encode("settle", game.id)
        return [self._wanted(f"settle:{game.id:x}", binding, data, view, state.bond_wei)]

    def _turn(
        self, view: View, binding: Binding, game: int, state: Game, matter: _Matter, asked: set[str], *, my_turn: bool
    ) -> Iterator[Wanted]:
        """This node's move, or the end of a game that the other side let run out of time."""
        stake = matter.record.request.bond_wei
        if state.stage in (Stage.NONE, Stage.OVER):
            return
        if view.head.timestamp > state.deadline:
            if not my_turn:
                data = binding.encode("timeout", game, *self._words(matter))
                yield self._wanted(f"timeout:{game:x}", binding, data, view, stake)
        elif my_turn and (state.node_to_move or state.place in matter.openings):
            side = "node" if state.node_to_move else f"{game:x}"  # one opening serves all games that come this way
            name = f"move:{state.place.hex()}:{side}"
            task = _Task(state.deadline, partial(self._answered_move, matter, state), matter.key)
            if name in asked:
                self._sooner(name, state.deadline)
                return
            move = self._move(name, asked, matter, task)
            if move is not None:
                taking, data = self._encoded(binding, game, move)
                defends = state.node_to_move
                yield self._wanted(name, taking, data, view, stake, deadline=state.deadline, defends=defends)

    def _answered_move(self, matter: _Matter, state: Game) -> Move | None:
        """In the thread."""
        if not state.positions and not state.node_to_move:
            return self._read(matter, state)
        tokens = self._tokens_of(matter, state.case)
        if tokens is None:
            return None
        if not state.positions:
            return reveal(state, matter.claim, tokens)
        view = self._pass(matter, tokens, state.positions)
        return defend(state, view) if state.node_to_move else attack(state, matter.openings, view, matter.claim)

    # -- one answer ------------------------------------------------------------------------------------------------

    def _is_wrong(self, view: View, record: RequestRecord) -> bool:
        """Whether this node has found an answer wrong that the game would judge and that can still be challenged."""
        posted, service = record.posted, view.services.get(record.request.service)
        if posted is None or service is None or record.state not in ("answered", "disputed"):
            return False
        verdict = view.verdicts.get((record.id, posted.answer.hash))
        in_time = view.head.timestamp <= posted.answer.closes_at
        return (
            in_time
            and verdict is not None
            and verdict.correct is False
            and self._contracts.plays(service.terms.arbiter)
        )

    async def _watched(
        self,
        view: View,
        binding: Binding,
        record: RequestRecord,
        openings: Openings,
        challengers: Mapping[bytes, set[str]],
        confirmed: Block,
        asked: set[str],
    ) -> list[Wanted]:
        """A challenge of a wrong answer, at once, unless this node has a game about it already.

        Other people's games say nothing: they may lose on purpose. It sends the most that a challenge may cost, so that
        no game opened in the block before makes it revert; what is too much becomes credit.
        """
        matter = await self._matter(view, record, openings)
        if matter is None:
            self.undecided.add(f"challenge:{record.id:064x}:")
            return []
        posted = matter.posted
        name = f"challenge:{record.id:064x}:{posted.answer.hash.hex()}:"
        if posted.operator.lower() == view.operator.lower():
            return []
        case = binding.result("caseIdOf", await self._call(binding, confirmed, "caseIdOf", *self._words(matter)))
        playing = challengers.get(case, set())
        closes_at = posted.answer.closes_at
        if view.disputer.lower() in playing:
            return []
        move = self._move(name, asked, matter, _Task(closes_at, partial(self._first_move, matter)))
        if move is None:
            return []
        price = 0 if move.function == "refute" else view.services[record.request.service].game.ceiling_wei
        if move.function in REFEREES:
            taking, data = self._encoded(binding, 0, move)
        else:
            taking, data = binding, binding.encode(move.function, *move.arguments)
        stake = record.request.bond_wei * 3 // 10
        key = f"{name}{move.function}"
        wanted = self._wanted(key, taking, data, view, stake, deadline=closes_at + 1, value=price)
        until = closes_at - record.request.window_seconds // 2
        return await self._hidden(view, wanted, matter, case, until, confirmed)

    async def _hidden(
        self, view: View, wanted: Wanted, matter: _Matter, case: bytes, until: int, confirmed: Block
    ) -> list[Wanted]:
        """A refutation waits for a hash of it to be posted, and to grow old, so that nobody earns by copying it.

        until: Unix time from which on it does not wait.
        """
        binding = self._contracts.refutations
        if binding is None or wanted.to != binding.address or view.head.timestamp >= until:
            return [wanted]
        digest = keccak(bytes.fromhex(view.disputer[2:]) + wanted.data)
        posted = int(binding.result("postedAt", await self._call(binding, confirmed, "postedAt", digest)))
        if not posted:
            data = binding.encode("post", digest)
            return [self._wanted(f"post:{digest.hex()}", binding, data, view, wanted.stake_wei, deadline=until)]
        self._sealed[case] = (matter.record.id, posted, wanted)
        if view.head.number >= posted + WAIT_BLOCKS:
            return [wanted]
        self.undecided.add(wanted.key)
        return []

    def _rewarded(self, view: View, rewards: Sequence[RewardRecord]) -> Iterator[Wanted]:
        """Asks for its own rewards that have waited, and takes those over that wait for its older hash."""
        binding = self._contracts.refutations
        if binding is None:
            return
        for reward in rewards:
            waits = view.head.number <= reward.until
            _, posted, refutation = self._sealed.get(reward.case, (None, reward.posted_at, None))
            if reward.refuter.lower() == view.disputer.lower():
                if not waits:
                    data = binding.encode("pay", reward.case)
                    yield self._wanted(f"pay:{reward.case.hex()}", binding, data, view, reward.amount_wei)
            elif waits and refutation is not None and posted < reward.posted_at:
                yield replace(refutation, key=f"claim:{reward.case.hex()}", deadline=None)

    def _first_move(self, matter: _Matter) -> Move | None:
        """In the thread."""
        tokens = self._tokens_of(matter)
        if tokens is None:
            return Move("challengeUnread", self._words(matter))
        return self._accusation(matter, tokens, "challenge")

    def _accusation(self, matter: _Matter, tokens: Tokens, function: str) -> Move | None:
        """Refutes tokens that are at fault; else names the first that the model does not choose."""
        request, known = matter.record.request, self._knowledge(matter)
        asked, said = matter.record.prompt, matter.posted.output
        fault = faults.find(tokens, asked, said, known.manifest, known.model, request.max_tokens)
        if fault is not None:
            return faults.refuting(matter.claim, tokens.words, fault)
        prompt, output = ([TokenId(token) for token in ids] for ids in (tokens.prompt, tokens.output))
        verdict = matter.engine.check(prompt, output, matter.claim.params)
        if verdict.position is None:
            return None
        return Move(function, (*self._words(matter), tokens.words, len(tokens.prompt) + verdict.position))

    def _read(self, matter: _Matter, state: Game) -> Move | None:
        """The challenger's move while an answer's tokens are being read."""
        told = self._told_tokens(matter)
        if told is not None:
            return self._accusation(matter, told, "pickPosition")
        own, model = self._own_tokens(matter), self._knowledge(matter).model
        asked, said = matter.record.prompt, matter.posted.output
        return reading.move(state, matter.openings, own, matter.claim, asked, said, model)

    # -- what moves are found from ---------------------------------------------------------------------------------

    def _tokens_of(self, matter: _Matter, case: bytes | None = None) -> Tokens | None:
        """The ids that the answer commits to, as far as they can be told from its text, or its node has shown them.

        case: of the game that asks, if one does.
        """
        told = self._told_tokens(matter)
        if told is not None or case is None:
            return told
        return reading.shown(self._own_tokens(matter), case, matter.openings)

    def _told_tokens(self, matter: _Matter) -> Tokens | None:
        """As they follow from its text, or from what the model answers."""
        if matter.key not in self._tokens:
            answer, claim = matter.posted.answer, matter.claim
            text, root = matter.posted.output, answer.tokens_root
            prompt = matter.engine.tokenize(matter.record.prompt)
            output = matter.engine.recover(prompt, text, answer.token_count, root, claim.params)
            if output is None:
                own = self._own_tokens(matter)
                self._tokens[matter.key] = own if own.root == root else None
            else:
                lengths = [len(matter.engine.detokenize([token])) for token in output]
                self._tokens[matter.key] = Tokens.spelled(prompt, output, lengths)
        return self._tokens[matter.key]

    def _own_tokens(self, matter: _Matter) -> Tokens:
        """What the model answers, as long as the answer."""
        if matter.key not in self._owned:
            count, params = matter.posted.answer.token_count, matter.claim.params
            prompt = matter.engine.tokenize(matter.record.prompt)
            params = replace(params, max_tokens=min(count, params.max_tokens))
            output = matter.engine.generate(prompt, params).tokens
            lengths = [len(matter.engine.detokenize([token])) for token in output]
            self._owned[matter.key] = reading.own_tokens(prompt, output, lengths, count)
        return self._owned[matter.key]

    def _knowledge(self, matter: _Matter) -> _Knowledge:
        if matter.model not in self._known:
            manifest = self._store.manifest(matter.model)
            path = self._store.file(manifest).path
            self._known[matter.model] = _Knowledge(
                manifest, ModelInputs(path, manifest.weights_root), Tracer(path, self._threads)
            )
        return self._known[matter.model]

    def _pass(self, matter: _Matter, tokens: Tokens, positions: int) -> Pass:
        key = (*matter.key, positions)
        if key not in self._passes:
            known = self._knowledge(matter)
            whole = self._whole(matter)
            self._passes[key] = Pass(known.model, known.tracer, tokens, positions, whole)
        return self._passes[key]

    def _whole(self, matter: _Matter) -> Whole:
        """Over the answer's tokens; where they cannot be told, over the model's, with which its passes begin."""
        if matter.key not in self._wholes:
            tokens = self._told_tokens(matter) or self._own_tokens(matter)
            self._wholes[matter.key] = Whole(self._knowledge(matter).tracer, reading.computable(tokens))
        return self._wholes[matter.key]

    async def _matter(self, view: View, record: RequestRecord, openings: Openings) -> _Matter | None:
        service = view.services.get(record.request.service)
        seed = view.seeds.get(record.request.seed_block)
        if service is None or seed is None or record.posted is None:
            return None
        engine = self._engine_of(service.id)
        if engine is None or not self._contracts.plays(service.terms.arbiter):
            return None
        header = await self._header(seed) if record.request.temperature else b""
        chances = (engine, seed.prev_randao, header)
        return _Matter(record, record.posted, service.terms.model, *chances, openings, service.game)

    async def _header(self, seed: Block) -> bytes:
        """Of a seed's block; nothing where headers have another layout, so that only the choice cannot be proven."""
        if seed.hash not in self._headers:
            try:
                found = await self._rpc.header(seed.hash)
            except UnknownHeader as error:
                log.error("no sampled choice can be proven on this chain", reason=str(error))
                found = b""
            if found is None:
                raise ReorgedAway(f"block {seed.number} left the chain")
            self._headers[seed.hash] = found
        return self._headers[seed.hash]

    async def _state(self, binding: Binding, game: int, head: Block) -> Game:
        values = binding.result("gameOf", await self._call(binding, head, "gameOf", game))
        return Game.from_abi(_flat(values))

    async def _call(self, binding: Binding, head: Block, function: str, *arguments: Any) -> bytes:
        return await self._rpc.call(binding.address, binding.encode(function, *arguments), head)

    def _encoded(self, binding: Binding, game: int, move: Move) -> tuple[Binding, bytes]:
        """The contract that takes a move, and the call."""
        taking = self._contracts.playing(move.contract)
        return taking, taking.encode(move.function, *move.words(binding.address, game))

    @staticmethod
    def _words(matter: _Matter) -> tuple[Any, Any]:
        return matter.record.request.words, matter.posted.answer.words

    # -- the thread ------------------------------------------------------------------------------------------------

    def _move(self, name: str, asked: set[str], matter: _Matter, task: _Task) -> Move | None:
        """What has been found; starts looking if nobody has."""
        asked.add(name)
        if name in self._found:
            return self._found[name]
        self.undecided.add(name)
        if name not in self._running and name not in self._queue:
            log.info("looking for a move", request_id=f"0x{matter.record.id:064x}", move=name)
            self._queue[name] = task
        self._sooner(name, task.deadline)
        if task.traced is not None and task.traced not in self._traced:
            prefill = _prefill_name(task.traced)
            if prefill not in self._running and prefill not in self._queue:
                self._queue[prefill] = _Task(task.deadline, partial(self._prefilled, matter))
            self._sooner(prefill, task.deadline)
        self._start()
        return None

    def _sooner(self, name: str, deadline: int) -> None:
        """Another game waits for the same move."""
        task = self._queue.get(name)
        if task is not None and deadline < task.deadline:
            self._queue[name] = replace(task, deadline=deadline)

    def _prefilled(self, matter: _Matter) -> None:
        """In the thread. Where it fails, so will the moves that need it, each with its own reason."""
        try:
            _ = self._whole(matter).residuals
        finally:
            self._traced.add(matter.key)

    def _start(self) -> None:
        """Gives each idle thread what is due first of what it can do."""
        for lane in LANES:
            able = [
                (task.deadline, name)
                for name, task in self._queue.items()
                if (task.traced is None if lane == "first" else task.traced in self._traced)
            ]
            if lane in self._busy or not able:
                continue
            _, name = min(able)
            self._busy.add(lane)
            future = asyncio.get_running_loop().run_in_executor(self._threads_of[lane], self._queue.pop(name).find)
            self._running[name] = future
            future.add_done_callback(partial(self._done, lane))

    def _done(self, lane: str, future: asyncio.Future[Any]) -> None:
        self._busy.discard(lane)
        self._start()
        if future.cancelled() or not isinstance(future.exception(), OSError):  # that is tried again with the next block
            self._wake()

    def _collect(self) -> None:
        """Keeps what was found; raises bugs, and lets what may succeed later be tried again."""
        for name, future in list(self._running.items()):
            if not future.done():
                continue
            del self._running[name]
            try:
                self._found[name] = future.result()
                found = self._found[name]
                log.info("move found", move=name, function=None if found is None else found.function)
            except (Transient, OSError) as error:  # its model's disk may fail
                log.warning("move to be looked for again", move=name, reason=str(error))
            except OracleError as error:
                log.error("no move", move=name, reason=f"{type(error).__name__}: {error}")
                self._found[name] = None

    def _forget(self, asked: set[str], requests: Mapping[RequestId, RequestRecord]) -> None:
        self._found = {name: move for name, move in self._found.items() if name in asked}
        self._queue = {name: task for name, task in self._queue.items() if name in asked or name.startswith(PREFILL)}
        # In place: the threads add to them meanwhile.
        for pass_of in [each for each in list(self._passes) if each[0] not in requests]:
            del self._passes[pass_of]
        for answer in {*self._tokens, *self._owned, *self._wholes, *self._traced}:
            if answer[0] not in requests:
                self._tokens.pop(answer, None)
                self._owned.pop(answer, None)
                self._wholes.pop(answer, None)
                self._traced.discard(answer)
        self._sealed = {case: sealed for case, sealed in self._sealed.items() if sealed[0] in requests}
        if not requests:
            self._headers.clear()

    def _wanted(
        self,
        key: str,
        binding: Binding,
        data: bytes,
        view: View,
        stake: int,
        *,
        deadline: int | None = None,
        value: int = 0,
        defends: bool = False,
    ) -> Wanted:
        """defends: the operator's key must sign; else the dispute key does."""
        return Wanted(
            key=key,
            to=binding.address,
            data=data,
            stake_wei=stake,
            value_wei=value,
            deadline=None if deadline is None else deadline + 1,
            urgent=deadline is not None,
            by_disputer=not defends and view.operator != view.disputer,
        )


def _concerns(view: View, game: GameRecord, record: RequestRecord | None) -> bool:
    """Whether this node is a side of a game, as far as it can tell."""
    defends = (
        record is not None and record.posted is not None and record.posted.operator.lower() == view.operator.lower()
    )
    return defends or record is None or game.challenger.lower() == view.disputer.lower()


def _prefill_name(answer: tuple[RequestId, bytes]) -> str:
    return f"{PREFILL}{answer[0]:064x}:{answer[1].hex()}"


def _flat(values: Any) -> list[Any]:
    """A decoded struct as a list, the struct within as one of its values."""
    items = list(values.values()) if isinstance(values, Mapping) else list(values)
    return [*items[:-1], list(items[-1].values()) if isinstance(items[-1], Mapping) else list(items[-1])]
