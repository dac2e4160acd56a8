"""Moves in dispute games: what this node says next, about its own answer or somebody else's.

A move follows from the chain's state and the node's own computing alone, so nothing needs to be remembered: after a
crash the same move is found again. All of it is slow and runs in the threads of `searches.py`. Where workers of a fleet
trace passes, moves are found from what two of them say; if that fails for an answer, the node traces it by itself.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from oracle.chain.services import GameTerms
from oracle.disputes import reading, token_referee
from oracle.disputes.answer_referee import named_tokens
from oracle.disputes.chunks import Far
from oracle.disputes.game import AnyPass, Claim, Game, Move, attack, defend, reveal
from oracle.disputes.inputs import ModelInputs
from oracle.disputes.passes import Pass, Tracer, Whole
from oracle.engines.answer_types import Pattern
from oracle.engines.base import Engine, Params, TokenId, Traces
from oracle.engines.worker_wire import BadMessage
from oracle.errors import OracleError
from oracle.ids import CaseId, ModelId, RequestId
from oracle.merkle.tokens import Tokens
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.records import PostedAnswer, RequestRecord

log = structlog.get_logger()

AnswerKey = tuple[RequestId, bytes]
"""A request, and the hash of an answer to it."""
PATIENCE = 1 / 10
"""Of the time that a move must be given, what workers of a fleet get for a question."""
Openings = Mapping[bytes, Sequence[bytes]]
"""What nodes have shown, by place."""


@dataclass(frozen=True)
class _Knowledge:
    """One model, as the referee knows it."""

    manifest: Manifest
    model: ModelInputs
    tracer: Tracer


@dataclass(frozen=True)
class Matter:
    """An answer in question and all that a move about it may need."""

    record: RequestRecord
    posted: PostedAnswer
    model: ModelId
    engine: Engine
    prev_randao: bytes
    header: bytes
    openings: Openings
    game: GameTerms

    @property
    def key(self) -> AnswerKey:
        return self.record.id, self.posted.answer.hash

    @property
    def params(self) -> Params:
        """How the answer's tokens were to be chosen."""
        return self.record.request.engine_params(self.prev_randao, self.record.prompt)

    @property
    def words(self) -> tuple[Any, Any]:
        """Request and answer as the contracts take them."""
        return self.record.request.words, self.posted.answer.words


class Moves:
    """Finds moves, and keeps what they were found from as long as the answer is in question."""

    def __init__(self, store: ModelStore, threads: int | None) -> None:
        """threads: for passes."""
        self._store, self._threads = store, threads
        self._known: dict[ModelId, _Knowledge] = {}
        self._tokens: dict[AnswerKey, Tokens | None] = {}
        self._owned: dict[AnswerKey, Tokens] = {}
        self._wholes: dict[AnswerKey, Whole] = {}
        self._passes: dict[tuple[RequestId, bytes, int], AnyPass] = {}
        self._fars: dict[AnswerKey, Far | None] = {}
        """Where passes are traced by a fleet; None where this node does that."""

    def prefill(self, matter: Matter) -> None:
        """Makes the part that all passes over an answer share."""
        far = self._far(matter)
        if far is not None:
            try:
                return far.prefill()
            except (OracleError, BadMessage) as error:
                self._do_without(matter, error)
        _ = self._whole(matter).residuals

    def in_game(self, matter: Matter, state: Game) -> Move | None:
        """This side's next move in a game."""
        if not state.positions and not state.node_to_move:
            return self._read(matter, state)
        tokens = self._tokens_of(matter, state.case)
        if tokens is None:
            return None
        if not state.positions:
            return reveal(state, self._claim(matter), tokens)
        try:
            return self._next(matter, state, self.pass_over(matter, tokens, state.positions))
        except (OracleError, BadMessage) as error:
            if self._far(matter) is None:
                raise
            self._do_without(matter, error)
        return self._next(matter, state, self.pass_over(matter, tokens, state.positions))

    def _next(self, matter: Matter, state: Game, view: AnyPass) -> Move | None:
        return defend(state, view) if state.node_to_move else attack(state, matter.openings, view, self._claim(matter))

    def against(self, matter: Matter) -> Move | None:
        """What kills a wrong answer or challenges it; None if nothing is wrong."""
        tokens = self._tokens_of(matter)
        if tokens is None:
            return Move("challengeUnread", matter.words)
        return self._accusation(matter, tokens, "challenge")

    def _accusation(self, matter: Matter, tokens: Tokens, function: str) -> Move | None:
        """Refutes tokens that are at fault; else names the first that the model does not choose."""
        request, known = matter.record.request, self._knowledge(matter)
        asked, said = matter.record.prompt, matter.posted.output
        fault = token_referee.find(tokens, asked, said, known.manifest, known.model, request.max_tokens)
        if fault is not None:
            return token_referee.refuting(self._claim(matter), tokens.words, fault)
        prompt, output = ([TokenId(token) for token in ids] for ids in (tokens.prompt, tokens.output))
        verdict = matter.engine.check(prompt, output, matter.params, said)
        if verdict.position is None:
            return None
        return Move(function, (*matter.words, tokens.words, len(tokens.prompt) + verdict.position))

    def _read(self, matter: Matter, state: Game) -> Move | None:
        """The challenger's move while an answer's tokens are being read."""
        told = self._told_tokens(matter)
        if told is not None:
            return self._accusation(matter, told, "pickPosition")
        own, model = self._own_tokens(matter), self._knowledge(matter).model
        return reading.move(state, matter.openings, own, self._claim(matter), model)

    def _tokens_of(self, matter: Matter, case: CaseId | None = None) -> Tokens | None:
        """The ids that the answer commits to, as far as they can be told from its text, or its node has shown them.

        case: of the game that asks, if one does.
        """
        told = self._told_tokens(matter)
        if told is not None or case is None:
            return told
        return reading.shown(self._own_tokens(matter), case, matter.openings)

    def _told_tokens(self, matter: Matter) -> Tokens | None:
        """As they follow from its text, or from what the model answers."""
        if matter.key not in self._tokens:
            answer, output = matter.posted.answer, None
            text, root = matter.posted.output, answer.tokens_root
            prompt = matter.engine.tokenize(matter.record.prompt)
            typed = self._claim(matter).answer_type(len(prompt))
            if typed is None or isinstance(typed, Pattern):  # else its text says them, in one way
                output = matter.engine.recover(prompt, text, answer.token_count, root, matter.params)
            if output is None:
                own = self._own_tokens(matter)
                self._tokens[matter.key] = own if own.root == root else None
            else:
                lengths = [len(matter.engine.detokenize([token])) for token in output]
                self._tokens[matter.key] = Tokens.spelled(prompt, output, lengths)
        return self._tokens[matter.key]

    def _own_tokens(self, matter: Matter) -> Tokens:
        """What the model answers, as long as the answer; what its text says, where a type has it say tokens."""
        if matter.key not in self._owned:
            count, params = matter.posted.answer.token_count, matter.params
            prompt = matter.engine.tokenize(matter.record.prompt)
            typed = self._claim(matter).answer_type(len(prompt))
            if typed is not None and not isinstance(typed, Pattern):
                named = named_tokens(typed, matter.posted.output)
                said = named or matter.engine.generate(prompt, params).tokens
                self._owned[matter.key] = reading.own_tokens(prompt, said, [0] * len(said), count)
                return self._owned[matter.key]
            if typed is None:  # what a pattern allows depends on how many tokens may follow
                params = replace(params, max_tokens=min(count, params.max_tokens))
            output = matter.engine.generate(prompt, params).tokens
            lengths = [len(matter.engine.detokenize([token])) for token in output]
            self._owned[matter.key] = reading.own_tokens(prompt, output, lengths, count)
        return self._owned[matter.key]

    def _claim(self, matter: Matter) -> Claim:
        manifest, (request, answer) = self._knowledge(matter).manifest, matter.words
        prompt, output = matter.record.prompt, matter.posted.output
        return Claim(request, answer, matter.params, prompt, output, manifest, matter.header)

    def _knowledge(self, matter: Matter) -> _Knowledge:
        if matter.model not in self._known:
            manifest = self._store.manifest(matter.model)
            path = self._store.file(manifest).path
            self._known[matter.model] = _Knowledge(
                manifest, ModelInputs(path, manifest.weights_root), Tracer(path, self._threads)
            )
        return self._known[matter.model]

    def pass_over(self, matter: Matter, tokens: Tokens, positions: int) -> AnyPass:
        key = (*matter.key, positions)
        if key not in self._passes:
            known, far = self._knowledge(matter), self._far(matter)
            if far is not None:
                self._passes[key] = far.over(tokens, positions)
            else:
                self._passes[key] = Pass(known.model, known.tracer, tokens, positions, self._whole(matter))
        return self._passes[key]

    def _whole(self, matter: Matter) -> Whole:
        """Over the answer's tokens; where they cannot be told, over the model's, with which its passes begin."""
        if matter.key not in self._wholes:
            self._wholes[matter.key] = Whole(self._knowledge(matter).tracer, self._computable(matter))
        return self._wholes[matter.key]

    def _computable(self, matter: Matter) -> tuple[int, ...]:
        return reading.computable(self._told_tokens(matter) or self._own_tokens(matter))

    def _far(self, matter: Matter) -> Far | None:
        if matter.key not in self._fars:
            engine, terms, model = matter.engine, matter.game, self._knowledge(matter).model
            self._fars[matter.key] = (
                Far(
                    model,
                    self._computable(matter),
                    engine,
                    prefill_seconds=terms.first_move_seconds * PATIENCE,
                    limit_seconds=terms.move_seconds * PATIENCE,
                )
                if isinstance(engine, Traces)
                else None
            )
        return self._fars[matter.key]

    def _do_without(self, matter: Matter, why: Exception) -> None:
        """From now on this node traces the answer by itself."""
        log.warning("this node traces an answer by itself", request_id=f"0x{matter.record.id:064x}", reason=str(why))
        self._fars[matter.key] = None
        for each in [key for key in list(self._passes) if key[:2] == matter.key]:
            del self._passes[each]

    def forget(self, kept: Container[RequestId]) -> None:
        """Drops what belongs to requests other than these. In place, because threads add to it meanwhile."""
        for pass_of in [each for each in list(self._passes) if each[0] not in kept]:
            del self._passes[pass_of]
        for answer in {*self._tokens, *self._owned, *self._wholes, *self._fars}:
            if answer[0] not in kept:
                self._fars.pop(answer, None)
                self._tokens.pop(answer, None)
                self._owned.pop(answer, None)
                self._wholes.pop(answer, None)
