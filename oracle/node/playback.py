"""Dispute games for people: each game's moves in words, both clocks after each, whose move it is, and who won what.

Everything follows from the journal's moves; the chain is not asked. The clocks run by the rules of `Games.sol`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from oracle.chain.requests import Ruling
from oracle.chain.services import GameTerms, PanelTerms
from oracle.client.gains import BURNT, Gain, Votes, of_panel
from oracle.disputes import commitments
from oracle.disputes.game import Stage
from oracle.disputes.telling import Place, sentence
from oracle.engines.exact.architecture import Architecture
from oracle.errors import OracleError
from oracle.ids import CaseId, ModelId
from oracle.journal.journal import Tx
from oracle.models.store import ModelStore
from oracle.node.history import MoveRecord, moves_of
from oracle.node.records import CaseRecord, GameRecord, RequestRecord, ServiceRecord, game_key, service_key

OPENINGS = ("TokensOpened", "ListOpened", "ValuesOpened")
PICKS = ("PositionPicked", "Picked")
NODE, CHALLENGER, ANYBODY = "node", "challenger", "anybody"


@dataclass(frozen=True)
class Clocks:
    """Of a game, after a move. Times in seconds."""

    node_seconds: int
    challenger_seconds: int
    to_move: str | None
    """NODE or CHALLENGER; None once it is over."""
    deadline: int
    """Unix time of the last moment of the side to move."""


@dataclass(frozen=True)
class Step:
    """One move."""

    depth: int
    """How many picks lie above it: where it stands in the tree."""
    who: str
    """NODE, CHALLENGER or ANYBODY."""
    text: str
    block: int
    at: int
    tx_hash: bytes
    clocks: Clocks


@dataclass(frozen=True)
class Played:
    """A game so far."""

    game: GameRecord
    steps: tuple[Step, ...]
    outcome: str
    """Empty while it goes on."""
    gains: tuple[Gain, ...]
    clocks: Clocks
    """As of the last move of any game about the answer."""
    openings: int
    """That the answerer made in this game. If the challenger loses, its bond pays for them."""


@dataclass(frozen=True)
class Told:
    """All disputes about one request."""

    games: tuple[Played, ...]
    refuted: tuple[Step, ...]
    """Answers whose tokens alone were at fault: no game was needed."""
    cases: tuple[tuple[CaseRecord, tuple[Gain, ...]], ...]
    """Before the panel, with what they brought whom once decided."""
    opening_wei: int = 0
    """What an opening costs a challenger that loses, at most."""
    reveal_seconds: int = 0
    """How long votes may be revealed after they must be in."""


def told(tx: Tx, record: RequestRecord, store: ModelStore, cases: Sequence[CaseRecord]) -> Told:
    """From the journal. cases: of the panel, about the request."""
    job = tx.job(service_key(record.request.service))
    if job is None:
        return Told((), (), ())
    service, moves = ServiceRecord.of(job), moves_of(tx, record.id)
    if not moves:
        panel = service.panel if cases else None
        by_panel = tuple((case, _panel_gains(case, panel, record)) for case in cases if panel is not None)
        return Told((), (), by_panel, 0, 0 if panel is None else panel.reveal_seconds)
    a = architecture(store, service.terms.model)
    opened = {move.game for move in moves if move.event == "GameOpened"}
    records = [GameRecord.of(found) for game in sorted(opened) if (found := tx.job(game_key(game))) is not None]
    games = [_Game(game, service.game, a, moves, record.request.bond_wei).played() for game in records]
    over = Clocks(0, 0, None, 0)
    refuted = tuple(
        Step(0, CHALLENGER, sentence(m.event, m.args, Place(0), a), m.block, m.at, m.tx_hash, over)
        for m in moves
        if m.event == "AnswerKilled" and not m.game
    )
    in_order = tuple(sorted(games, key=lambda played: played.game.opened_at))
    return Told(in_order, refuted, (), service.game.opening_wei)


def architecture(store: ModelStore, model: ModelId) -> Architecture | None:
    """Of a model on this machine's list that the dispute game can judge; None of another."""
    try:
        return commitments.shape(store.manifest(model).architecture)
    except (OracleError, ValueError):
        return None


def _panel_gains(case: CaseRecord, terms: PanelTerms, record: RequestRecord) -> tuple[Gain, ...]:
    votes = Votes(case.challenger, case.members, case.votes, case.ruling)
    fees_wei = len(case.votes) * terms.vote_fee_wei
    slashed_wei = {Ruling.REJECTED: record.request.bond_wei, Ruling.ANNULLED: fees_wei // 2}.get(case.ruling, 0)  # type: ignore[arg-type]
    return tuple(of_panel(votes, terms, "the answer's node", slashed_wei))


@dataclass
class _Game:
    """Plays a game's moves through."""

    game: GameRecord
    terms: GameTerms
    a: Architecture | None
    moves: Sequence[MoveRecord]
    """About the whole request: what is open to one game is open to all of a case."""
    bond_wei: int
    """Of the answer."""
    opened: set[bytes] = field(default_factory=set)
    clocks: Clocks = field(default_factory=lambda: Clocks(0, 0, None, 0))
    place: Place = field(default_factory=lambda: Place(0))

    def played(self) -> Played:
        steps = tuple(self._steps())
        own = [move for move in self.moves if move.game == self.game.id]
        openings = sum(move.event in OPENINGS for move in own)
        outcome, gains = self._end(own)
        return Played(self.game, steps, outcome, gains, self.clocks, openings)

    def _steps(self) -> Iterator[Step]:
        depth = 0
        for move in self.moves:
            if move.case != self.game.case:
                continue
            if move.event in OPENINGS:
                self.opened.add(move.place)
                if move.game != self.game.id:
                    self._opened_elsewhere(move)
            if move.event == "AnswerKilled" and self.clocks.to_move is not None and move.game != self.game.id:
                self.clocks = replace(self.clocks, to_move=None)  # stranded: it only waits to be settled
            if move.game != self.game.id:
                continue
            if move.event == "GameOpened":
                self.place = Place.opened(move.args["positions"])
                self.clocks = Clocks(self.game.node_seconds, self.terms.clock_seconds, CHALLENGER, move.at)
                self._hand_over(move)
            self.place = self.place.after(move.event, move.args, self.a)
            depth += move.event in PICKS
            self._tick(move)
            text = _ended(move) if move.event == "GameEnded" else sentence(move.event, move.args, self.place, self.a)
            yield Step(depth, _mover(move), text, move.block, move.at, move.tx_hash, self.clocks)

    def _tick(self, move: MoveRecord) -> None:
        left = self.clocks.deadline - move.at
        if move.event in OPENINGS:
            challenger = max(self.clocks.challenger_seconds, self.terms.move_seconds)
            self.clocks = Clocks(left, self.clocks.challenger_seconds, CHALLENGER, move.at + challenger)
        elif move.event in PICKS:
            self.clocks = replace(self.clocks, challenger_seconds=left)
            self._hand_over(move)
        elif move.event != "GameOpened":
            self.clocks = replace(self.clocks, to_move=None)

    def _opened_elsewhere(self, move: MoveRecord) -> None:
        """Another game's opening serves this one as well, from when it was made, unless it came too late here."""
        here = move.place in self.place.names(CaseId(self.game.case))
        if here and self.clocks.to_move == NODE and move.at <= self.clocks.deadline:
            challenger = self.clocks.challenger_seconds
            until = move.at + max(challenger, self.terms.move_seconds)
            self.clocks = Clocks(self.clocks.deadline - move.at, challenger, CHALLENGER, until)

    def _hand_over(self, move: MoveRecord) -> None:
        """After the challenger's move: the node's turn, unless what it has to show is open already."""
        if self.place.names(CaseId(self.game.case)) & self.opened:
            least, clock, side = self.terms.move_seconds, self.clocks.challenger_seconds, CHALLENGER
        else:
            first = self.place.stage in (Stage.STEPS, Stage.TOKENS)
            least = self.terms.first_move_seconds if first else self.terms.move_seconds
            clock, side = self.clocks.node_seconds, NODE
        self.clocks = replace(self.clocks, to_move=side, deadline=move.at + max(clock, least))

    def _end(self, own: Sequence[MoveRecord]) -> tuple[str, tuple[Gain, ...]]:
        answerer = f"seat {self.game.seat}"
        for move in own:
            if move.event == "AnswerKilled":
                reward_wei = move.args["rewardWei"]
                won = Gain(move.args["prover"], reward_wei, "of the answer's bond")
                burnt = Gain(BURNT, self.bond_wei - reward_wei, "of the answer's bond, less shares")
                return "the answer was rejected", (won, Gain(answerer, -self.bond_wei, "its bond"), burnt)
            if move.event == "GameEnded" and not move.args["challengerWon"]:
                node_wei, bond_wei = move.args["toNodeWei"], self.game.bond_wei
                lost = Gain(self.game.challenger, -bond_wei, "its bond")
                paid = Gain(answerer, node_wei, "for its openings")
                return "the challenger lost", (lost, paid, Gain(BURNT, bond_wei - node_wei, "of the challenger's bond"))
            if move.event == "GameSettled":
                share = Gain(self.game.challenger, move.args["shareWei"], "a share of the answer's bond")
                return "settled: another game had the answer rejected", (share,) if share.amount_wei else ()
        return "", ()


def _mover(move: MoveRecord) -> str:
    if move.event in OPENINGS:
        return NODE
    return ANYBODY if move.event == "GameEnded" else CHALLENGER


def _ended(move: MoveRecord) -> str:
    return "the challenger has won" if move.args["challengerWon"] else "the challenger was silent and has lost"
