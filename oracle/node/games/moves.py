"""Moves in dispute games: what this node says next, about its own answer or somebody else's.

A move follows from the chain's state and the node's own computing alone, so nothing needs to be remembered: after a
crash the same move is found again. All of it is slow and runs in the threads of `searches.py`. Where workers of a fleet
trace passes, moves are found from what two of them say; if that fails for an answer, the node traces it by itself.

An answer commits to its tokens: those that a fleet tells count if they hash to that. A token that a fleet says is wrong
is, if the logits before it choose another. Where that fails, or nobody says anything in time, an engine of this node's
own does it, in a worker process that is started for that.
"""

import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from oracle.chain.services import GameTerms
from oracle.disputes import reading, token_referee
from oracle.disputes.answer_referee import named_tokens
from oracle.disputes.chunks import Far
from oracle.disputes.game import AnyPass, Claim, Game, Move, attack, choose, defend, reveal
from oracle.disputes.inputs import ModelInputs, list_tree
from oracle.disputes.passes import Pass, Tracer, Whole
from oracle.engines.answer_types import Pattern
from oracle.engines.base import Engine, Job, Params, TokenId, Traces, as_job, output_limit, the_job
from oracle.engines.exact.text_prompts import asked
from oracle.engines.exact.worker_setup import exact_setup
from oracle.engines.worker import WorkerEngine
from oracle.errors import OracleError
from oracle.ids import CaseId, ModelId, RequestId
from oracle.merkle.tokens import Tokens
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.records import PostedAnswer, RequestRecord

log = structlog.get_logger()
T = TypeVar("T")

AnswerKey = tuple[RequestId, bytes]
"""A request, and the hash of an answer to it."""
PATIENCE = 1 / 10
"""Of the time that a move must be given, what workers of a fleet get for a question."""
OPENINGS_IN_QUEUE = 18
"""An opening takes a node at most this part of what each game before another adds to its clock (docs/economics.md)."""
TELLING = 1 / 3
"""Of the time for a first move, what a fleet gets to tell an answer's tokens, and to check them."""
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
        self._engines: dict[ModelId, WorkerEngine] = {}
        """This node's own, where a fleet did not tell an answer's tokens."""
        self._helped: set[AnswerKey] = set()
        """Answers for which they were started."""
        self._changing = threading.Lock()

    def prefill(self, matter: Matter) -> None:
        """Makes the part that all passes over an answer share."""
        far = self._far(matter)
        if far is not None:
            try:
                return far.prefill()
            except OracleError as error:
                self._do_without(matter, error)
        _ = self._whole(matter).residuals

    def in_game(self, matter: Matter, state: Game) -> Move | None:
        """This side's next move in a game."""
        if not state.positions and not state.node_to_move:
            return self._read(matter, state)
        tokens = self._tokens_of(matter, state.case)
        if tokens is None and state.node_to_move and isinstance(matter.engine, Traces):
            tokens = self._tokens[matter.key] = self._alone(matter, "a fleet cannot tell them, and the answer is ours")
        if tokens is None:
            return None
        if not state.positions:
            return reveal(state, self._claim(matter), tokens)
        return self._seen(matter, tokens, state.positions, lambda view: self._next(matter, state, view))

    def _seen(self, matter: Matter, tokens: Tokens, positions: int, find: Callable[[AnyPass], T]) -> T:
        """What is found in a pass, which a fleet traced if it could."""
        try:
            return find(self.pass_over(matter, tokens, positions))
        except OracleError as error:
            if self._far(matter) is None:
                raise
            self._do_without(matter, error)
        return find(self.pass_over(matter, tokens, positions))

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
        position = self._wrong_token(matter, tokens)
        if position is None:
            return None
        return Move(function, (*matter.words, tokens.words, len(tokens.prompt) + position))

    def _wrong_token(self, matter: Matter, tokens: Tokens) -> int | None:
        """The first output token that the model does not choose. What a fleet says of it counts as far as the pass
        there bears it out: who accuses has a bond at stake."""
        if not isinstance(matter.engine, Traces):
            return self._checked(matter, tokens)
        try:
            with as_job(self._in_time(matter)):
                position = self._checked(matter, tokens)
            if position is None or self._is_beaten(matter, tokens, position):
                return position
            why = f"a fleet says that output token {position} is wrong, which the pass there does not show"
        except OracleError as error:
            why = str(error)
        log.warning("this node checks an answer by itself", request_id=f"0x{matter.record.id:064x}", reason=why)
        return self._checked(replace(matter, engine=self._own_engine(matter)), tokens)

    def _checked(self, matter: Matter, tokens: Tokens) -> int | None:
        prompt, output = ([TokenId(token) for token in ids] for ids in (tokens.prompt, tokens.output))
        return matter.engine.check(prompt, output, matter.params, matter.posted.output).position

    def _is_beaten(self, matter: Matter, tokens: Tokens, position: int) -> bool:
        """Whether the logits before an output token choose another."""

        def find(view: AnyPass) -> Move | None:
            return choose(view, list_tree(view.step(len(view.roots) - 1).roots), self._claim(matter))

        if position >= len(tokens.output):
            return False
        return self._seen(matter, tokens, len(tokens.prompt) + position, find) is not None

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
            tell = self._of_fleet if isinstance(matter.engine, Traces) else self._told
            self._tokens[matter.key] = tell(matter)
        return self._tokens[matter.key]

    def _of_fleet(self, matter: Matter) -> Tokens | None:
        """In a time that is known, and only if they are what the answer commits to."""
        try:
            with as_job(self._in_time(matter)):
                tokens = self._told(matter)
        except OracleError as error:
            return self._alone(matter, str(error))
        if tokens is None or tokens.root == matter.posted.answer.tokens_root:
            return tokens
        return self._alone(matter, "a fleet tells others than the answer commits to")

    def _in_time(self, matter: Matter) -> Job:
        """This thread's job, as long as a fleet may take for it."""
        job, until = the_job(), time.monotonic() + matter.game.first_move_seconds * TELLING
        return replace(job, wanted=lambda: time.monotonic() < until and job.wanted())

    def _alone(self, matter: Matter, why: str) -> Tokens | None:
        """As an engine of this node's own tells them."""
        log.warning("this node finds an answer's tokens by itself", request_id=f"0x{matter.record.id:064x}", reason=why)
        self._owned.pop(matter.key, None)
        return self._told(replace(matter, engine=self._own_engine(matter)))

    def _told(self, matter: Matter) -> Tokens | None:
        answer, output = matter.posted.answer, None
        text, root = matter.posted.output, answer.tokens_root
        prompt = self._prompt(matter)
        typed = self._claim(matter).answer_type(len(prompt))
        if typed is None or isinstance(typed, Pattern):  # else its text says them, in one way
            output = matter.engine.recover(prompt, text, answer.token_count, root, matter.params)
        if output is None:
            own = self._own_tokens(matter)
            return own if own.root == root else None
        return Tokens.spelled(prompt, output, self._lengths(matter, output))

    def _own_tokens(self, matter: Matter) -> Tokens:
        """What the model answers, as long as the answer; what its text says, where a type has it say tokens."""
        if matter.key not in self._owned:
            count, params = matter.posted.answer.token_count, matter.params
            prompt = self._prompt(matter)
            typed = self._claim(matter).answer_type(len(prompt))
            if typed is not None and not isinstance(typed, Pattern):
                named = named_tokens(typed, matter.posted.output)
                said = named or matter.engine.generate(prompt, params).tokens
                self._owned[matter.key] = reading.own_tokens(prompt, said, [0] * len(said), count)
                return self._owned[matter.key]
            if typed is None:  # what a pattern allows depends on how many tokens may follow
                params = replace(params, max_tokens=min(count, params.max_tokens))
            output = matter.engine.generate(prompt, params).tokens
            self._owned[matter.key] = reading.own_tokens(prompt, output, self._lengths(matter, output), count)
        return self._owned[matter.key]

    def _prompt(self, matter: Matter) -> list[TokenId]:
        """The prompt's tokens with their marks, as an exact engine reads them. Raises PromptTooLong."""
        known = self._knowledge(matter)
        size = known.model.architecture.vocabulary
        read = asked(matter.record.prompt, known.model.words, known.manifest, size)
        output_limit(read, known.manifest.context_length, Params(1))
        return [TokenId(token) for token in read]

    def _lengths(self, matter: Matter, output: Sequence[int]) -> list[int]:
        """Of what each output token spells, in bytes; 0 for one that is none."""
        known = self._knowledge(matter)
        pieces, stops = known.model.tokenizer.pieces, known.manifest.stop_tokens
        return [len(pieces[each]) if each not in stops and each < len(pieces) else 0 for each in output]

    def _own_engine(self, matter: Matter) -> Engine:
        """In a worker process of this node's, until nothing is in question for which it was started."""
        manifest = self._knowledge(matter).manifest
        with self._changing:
            self._helped.add(matter.key)
            if matter.model not in self._engines:
                path = self._store.file(manifest).path
                self._engines[matter.model] = WorkerEngine(exact_setup(manifest, path, self._threads, for_game=True))
            return self._engines[matter.model]

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
                    limit_seconds=min(terms.move_seconds * PATIENCE, terms.queue_seconds / OPENINGS_IN_QUEUE),
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
            self._passes.pop(each, None)  # the loop may forget it meanwhile

    def close(self) -> None:
        """Ends engines that were started, whatever they do."""
        with self._changing:
            for engine in self._engines.values():
                engine.kill()

    def forget(self, kept: Container[RequestId]) -> None:
        """Drops what belongs to requests other than these. In place, because threads add to it meanwhile."""
        for pass_of in [each for each in list(self._passes) if each[0] not in kept]:
            self._passes.pop(pass_of, None)
        for answer in {*self._tokens, *self._owned, *self._wholes, *self._fars}:
            if answer[0] not in kept:
                self._fars.pop(answer, None)
                self._tokens.pop(answer, None)
                self._owned.pop(answer, None)
                self._wholes.pop(answer, None)
        with self._changing:
            self._helped = {answer for answer in self._helped if answer[0] in kept}
            if not self._helped:
                for engine in self._engines.values():
                    threading.Thread(target=engine.close, daemon=True).start()  # it waits for jobs in hand
                self._engines.clear()
