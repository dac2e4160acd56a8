"""The litigant: this node's side in dispute games, defending its own answers and attacking wrong ones.

It reads how games stand and says which transactions they need now. `moves.py` finds what to say in them, in the threads
of `searches.py`. A move is wanted as soon as it is found, for as long as the chain waits for it.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import structlog
from eth_utils.crypto import keccak

from oracle.chain.bindings import Binding
from oracle.chain.contracts import Contracts, viewed
from oracle.chain.rpc import Rpc
from oracle.chain.types import Block
from oracle.disputes.game import REFEREES, REFUTING, Game, Move, Stage
from oracle.engines.base import Engine
from oracle.errors import ReorgedAway, UnknownHeader
from oracle.ids import CaseId, GameId, RequestId, ServiceId
from oracle.journal.journal import BlockRef
from oracle.models.store import ModelStore
from oracle.node.games.moves import Matter, Moves, Openings
from oracle.node.games.searches import Search, Searches
from oracle.node.in_hand import InHand
from oracle.node.plan import View, Wanted
from oracle.node.records import GameRecord, RequestRecord, RewardRecord

log = structlog.get_logger()

READ_TOGETHER = 16
"""Games: one after the other, hundreds of them would take longer to read than a block to come."""
WAIT_BLOCKS = 16
"""`Refutations.WAIT_BLOCKS`"""

NO_GAME = GameId(0)
EngineOf = Callable[[ServiceId], Engine | None]
"""The engine of a service, once it is loaded."""


@dataclass(frozen=True)
class OpenGame:
    """One of this node's games that has not ended."""

    side: str
    """challenger or answerer"""
    deadline: int | None
    """Unix time of this node's last moment to move; None if it is the other side's turn."""
    request: RequestId


class Litigant:
    """Finds moves. `wanted` is called with every new head."""

    def __init__(
        self,
        contracts: Contracts,
        rpc: Rpc,
        store: ModelStore,
        engine_of: EngineOf,
        wake: Callable[[], None],
        threads: int | None,
        in_hand: InHand,
    ) -> None:
        """threads: for passes. in_hand: where searches are entered."""
        self._contracts, self._rpc, self._engine_of = contracts, rpc, engine_of
        self._moves = Moves(store, threads)
        self._searches = Searches(self._moves.prefill, wake, in_hand)
        self._undecided: set[str] = set()
        self.open_games: list[OpenGame] = []
        """Of this node's games that are not over, at the last call."""
        self._headers: dict[bytes, bytes] = {}
        self._sealed: dict[CaseId, tuple[RequestId, int, Wanted]] = {}
        """Refutations whose hash is posted, by case: request, block of the hash, and the call."""
        self._copied: dict[CaseId, tuple[int, Wanted]] = {}
        """Those of which somebody else has made the call, by case: the block of this node's hash, zero if none, and the
        call."""

    @property
    def running(self) -> list[str]:
        """Names of the moves in hand."""
        return self._searches.running

    @property
    def undecided(self) -> set[str]:
        """Beginnings of the keys of moves that may be wanted, as far as the last call could tell."""
        return self._undecided | self._searches.missing

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
        self._undecided, self.open_games = set(), []
        if binding is None:
            return []
        self._searches.begin()
        found = await self._rewarded(view, rewards, at)
        requests = {record.id: record for record in view.requests}
        wrong = [record for record in view.requests if watch and self._is_wrong(view, record)]
        if not games and not wrong:
            self._forget(requests)
            return found
        confirmed = await self._block(at)
        ours = [game for game in games if _concerns(view, game, requests.get(game.request))]
        states: list[tuple[GameRecord, Game]] = []
        for some in range(0, len(ours), READ_TOGETHER):
            part = ours[some : some + READ_TOGETHER]
            said = await asyncio.gather(*(self._states(binding, game.id, confirmed) for game in part))
            states += [(game, state) for game, own in zip(part, said, strict=True) for state in own]
        for game, state in sorted(states, key=lambda pair: pair[1].deadline):
            record = requests.get(game.request)
            found += await self._game(view, binding, game, state, record, openings, confirmed)
        found = list({wanted.key: wanted for wanted in reversed(found)}.values())[::-1]
        challengers: dict[CaseId, set[str]] = {}
        for game in games:
            challengers.setdefault(game.case, set()).add(game.challenger.lower())
        for record in wrong:
            found += await self._watched(view, binding, record, openings, challengers, confirmed)
        self._forget(requests)
        return found

    def close(self) -> None:
        """Lets the threads end after the moves in hand."""
        self._searches.close()
        self._moves.close()

    async def _block(self, at: BlockRef) -> Block:
        block = await self._rpc.block_by_hash(at.hash)
        if block is None:
            raise ReorgedAway(f"block {at.number} left the chain")
        return block

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
    ) -> list[Wanted]:
        mine = game.challenger.lower() == view.disputer.lower()
        if game.state == "stranded":
            return self._settled(view, binding, game, state) if mine else []
        matter = None if record is None else await self._matter(view, record, openings)
        if matter is None:
            self._undecided.add("move:")
            return []
        defends = matter.posted.operator.lower() == view.operator.lower()
        my_turn = defends if state.node_to_move else mine
        if state.stage not in (Stage.NONE, Stage.OVER):
            side = "challenger" if mine else "answerer"
            self.open_games.append(OpenGame(side, state.deadline if my_turn else None, game.request))
        until = state.deadline - matter.game.clock_seconds // 2
        found: list[Wanted] = []
        for wanted in self._turn(view, binding, game.id, state, matter, my_turn=my_turn):
            found += await self._hidden(view, wanted, matter, state.case, until, confirmed)
        return found

    def _settled(self, view: View, binding: Binding, game: GameRecord, state: Game) -> list[Wanted]:
        """The bond back, and perhaps a share, where another game has killed the answer."""
        if state.stage in (Stage.NONE, Stage.OVER):
            return []
        data = binding.encode("settle", game.id)
        wanted = self._wanted(f"settle:{game.id:x}", binding, data, view, state.bond_wei, service=game.service)
        return [wanted]

    def _turn(
        self, view: View, binding: Binding, game: GameId, state: Game, matter: Matter, *, my_turn: bool
    ) -> Iterator[Wanted]:
        """This node's move, or the end of a game that the other side let run out of time."""
        stake = matter.record.request.bond_wei
        if state.stage in (Stage.NONE, Stage.OVER):
            return
        if view.head.timestamp > state.deadline:
            if not my_turn:
                data = binding.encode("timeout", game, *matter.words)
                service = matter.record.request.service
                yield self._wanted(f"timeout:{game:x}", binding, data, view, stake, service=service)
        elif my_turn and (state.node_to_move or state.place in matter.openings):
            side = "node" if state.node_to_move else f"{game:x}"  # one opening serves all games that come this way
            name = f"move:{state.place.hex()}:{side}"
            search = Search(state.deadline, partial(self._moves.in_game, matter, state))
            move = self._searches.move(name, matter, search)
            if move is not None:
                taking, data = self._encoded(binding, game, move)
                service, defends = matter.record.request.service, state.node_to_move
                deadline = state.deadline
                yield self._wanted(name, taking, data, view, stake, deadline=deadline, service=service, defends=defends)

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
        challengers: Mapping[CaseId, set[str]],
        confirmed: Block,
    ) -> list[Wanted]:
        """A challenge of a wrong answer, at once, unless this node has a game about it already.

        Other people's games say nothing: they may lose on purpose. It sends the most that a challenge may cost, so that
        no game opened in the block before makes it revert; what is too much becomes credit.
        """
        matter = await self._matter(view, record, openings)
        if matter is None:
            self._undecided.add(f"challenge:{record.id:064x}:")
            return []
        posted = matter.posted
        name = f"challenge:{record.id:064x}:{posted.answer.hash.hex()}:"
        if posted.operator.lower() == view.operator.lower():
            return []
        case: CaseId = await viewed(self._rpc, binding, "caseIdOf", *matter.words, block=confirmed)
        playing = challengers.get(case, set())
        closes_at = posted.answer.closes_at
        if view.disputer.lower() in playing:
            return []
        search = Search(closes_at, partial(self._moves.against, matter), prefilled=False)
        move = self._searches.move(name, matter, search)
        if move is None:
            return []
        price = 0 if move.function in REFUTING else view.services[record.request.service].game.ceiling_wei
        if move.function in REFEREES:
            taking, data = self._encoded(binding, NO_GAME, move)
        else:
            taking, data = binding, binding.encode(move.function, *move.arguments)
        stake = record.request.bond_wei * 3 // 10
        key = f"{name}{move.function}"
        service = record.request.service
        wanted = self._wanted(key, taking, data, view, stake, deadline=closes_at + 1, value=price, service=service)
        until = closes_at - record.request.window_seconds // 2
        return await self._hidden(view, wanted, matter, case, until, confirmed)

    async def _hidden(
        self, view: View, wanted: Wanted, matter: Matter, case: CaseId, until: int, confirmed: Block
    ) -> list[Wanted]:
        """A refutation waits for a hash of it to be posted, and to grow old, so that nobody earns by copying it.

        until: Unix time from which on it does not wait.
        """
        binding = self._contracts.refutations
        if binding is None or wanted.to != binding.address or view.head.timestamp >= until:
            return [wanted]
        digest = keccak(bytes.fromhex(view.disputer[2:]) + wanted.data)
        posted = int(await viewed(self._rpc, binding, "postedAt", digest, block=confirmed))
        if not posted:
            data = binding.encode("post", digest)
            key, stake, service = f"post:{digest.hex()}", wanted.stake_wei, matter.record.request.service
            return [self._wanted(key, binding, data, view, stake, deadline=until, service=service)]
        self._sealed[case] = (matter.record.id, posted, wanted)
        if view.head.number >= posted + WAIT_BLOCKS:
            return [wanted]
        self._undecided.add(wanted.key)
        return []

    async def _rewarded(self, view: View, rewards: Sequence[RewardRecord], at: BlockRef) -> list[Wanted]:
        """Asks for its own rewards that have waited, and takes those over that wait for its older hash."""
        binding = self._contracts.refutations
        if binding is None:
            return []
        found = []
        for reward in rewards:
            waits = view.head.number <= reward.until
            if reward.refuter.lower() == view.disputer.lower():
                if not waits:
                    data = binding.encode("pay", reward.case)
                    key, stake = f"pay:{reward.case.hex()}", reward.amount_wei
                    found.append(self._wanted(key, binding, data, view, stake, service=reward.service))
            elif waits:
                posted, refutation = await self._posted(view, binding, reward, at)
                if 0 < posted < reward.posted_at:
                    found.append(replace(refutation, key=f"claim:{reward.case.hex()}", deadline=None))
        self._copied = {reward.case: self._copied[reward.case] for reward in rewards if reward.case in self._copied}
        return found

    async def _posted(self, view: View, binding: Binding, reward: RewardRecord, at: BlockRef) -> tuple[int, Wanted]:
        """The block of this node's hash of a refutation, zero if it posted none, and the refutation.

        A node that has restarted does not know its call any more. Whoever copied it has shown it to everybody.
        """
        if reward.case in self._sealed:
            return self._sealed[reward.case][1:]
        if reward.case not in self._copied:
            data = await self._rpc.input_of(reward.made_by)
            digest = keccak(bytes.fromhex(view.disputer[2:]) + data)
            posted = int(await viewed(self._rpc, binding, "postedAt", digest, block=await self._block(at)))
            copied = self._wanted("", binding, data, view, reward.amount_wei, service=reward.service)
            self._copied[reward.case] = posted, copied
        return self._copied[reward.case]

    async def _matter(self, view: View, record: RequestRecord, openings: Openings) -> Matter | None:
        service = view.services.get(record.request.service)
        seed = view.seeds.get(record.request.seed_block)
        if service is None or seed is None or record.posted is None:
            return None
        engine = self._engine_of(service.id)
        if engine is None or not self._contracts.plays(service.terms.arbiter):
            return None
        header = await self._header(seed) if record.request.temperature else b""
        chances = (engine, seed.prev_randao, header)
        return Matter(record, record.posted, service.terms.model, *chances, openings, service.game)

    async def _header(self, seed: Block) -> bytes:
        """The header of a seed's block; empty where headers have another layout: then only choices cannot be proven."""
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

    async def _states(self, binding: Binding, game: GameId, head: Block) -> list[Game]:
        """How a game stands, as every endpoint says that can be asked.

        Where they differ, this node moves in each state: a move that the contract does not wait for fails when it is
        simulated, and one that is left out, for an endpoint's sake, loses the game.
        """
        data = binding.encode("gameOf", game)
        said = await self._rpc.views(binding.address, data, head, lambda reply: _game_of(binding, reply))
        if len(said) > 1:
            log.warning("endpoints differ about a game", game_id=f"{game:#x}", states=len(said))
        return said

    def _encoded(self, binding: Binding, game: GameId, move: Move) -> tuple[Binding, bytes]:
        """The contract that takes a move, and the call."""
        taking = self._contracts.playing(move.contract)
        return taking, taking.encode(move.function, *move.words(binding.address, game))

    def _forget(self, kept: Mapping[RequestId, RequestRecord]) -> None:
        """Drops what belongs to requests other than these."""
        self._searches.forget(kept)
        self._moves.forget(kept)
        self._sealed = {case: sealed for case, sealed in self._sealed.items() if sealed[0] in kept}
        if not kept:
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
        service: ServiceId | None = None,
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
            service=service,
        )


def _concerns(view: View, game: GameRecord, record: RequestRecord | None) -> bool:
    """Whether this node is a side of a game, as far as it can tell."""
    defends = (
        record is not None and record.posted is not None and record.posted.operator.lower() == view.operator.lower()
    )
    return defends or record is None or game.challenger.lower() == view.disputer.lower()


def _game_of(binding: Binding, reply: bytes) -> Game:
    """Raises ValueError for what is no state of a game."""
    return Game.from_abi(_flat(binding.result("gameOf", reply)))


def _flat(values: Any) -> list[Any]:
    """A decoded struct as a list, the struct within as one of its values."""
    items = list(values.values()) if isinstance(values, Mapping) else list(values)
    return [*items[:-1], list(items[-1].values()) if isinstance(items[-1], Mapping) else list(items[-1])]
