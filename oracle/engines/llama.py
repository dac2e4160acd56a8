"""The llama.cpp engine: any GGUF, on CPU or GPU, answers checked by teacher forcing.

llama.cpp computes in floating point, so two honest machines differ in the last bits of their logits, and now and then
one of them picks another token. A check therefore evaluates prompt and answer in one pass and asks of every answer
token whether its logit, sampling noise included, lies within `tolerance` of the best. A swapped token, another model,
an answer cut short or drawn out do not pass; a near tie does, either way. A choice's margin is held to the same
tolerance. What tolerance serves is measured by `bench/llama_check.py`. An answer that stays within tolerance
everywhere passes, even if it is not the honest one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from oracle.engines import proof
from oracle.engines.answer_types import AnswerType, Choice, Contest, Malformed, Pattern, type_of, verdict
from oracle.engines.base import Completion, InProcess, Params, TokenId, Verdict, output_limit, well_formed
from oracle.engines.exact.text_prompts import asked_of_panel
from oracle.engines.exact.vocabulary import entries_of, vocabulary_tree
from oracle.engines.llama_native import NativeModel
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.margins import HOPELESS, Logits, choice_fault, fixed_point, pick, shortfalls
from oracle.engines.masks import Course, Masks
from oracle.engines.prompts import FULL_OUTPUT_BYTES, check_manifest, check_room, check_vocabulary, markers
from oracle.engines.typed_answers import judged_course, judged_shape, tokens_said
from oracle.errors import BadModelFile
from oracle.merkle.tokens import tokens_root
from oracle.models import gguf
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.shipped import known_answer

SEARCH_STEPS_PER_TOKEN = 8
SEARCH_STEPS = 256

OnProgress = Callable[[str, int, int], None]
"""(hash, load, prove, generate or check; units done; units in all)."""


@dataclass(frozen=True)
class _Wanted:
    """What `recover` looks for."""

    text: bytes
    count: int
    root: bytes
    params: Params
    limit: int
    course: Course | None
    """Of a pattern, before any token; None for any text."""


class LlamaEngine(InProcess):
    """One loaded model under one manifest. Not thread-safe."""

    def __init__(
        self,
        file: ModelFile,
        manifest: Manifest,
        tolerance: int,
        settings: LlamaSettings,
        on_progress: OnProgress = lambda what, done, total: None,
    ) -> None:
        """tolerance: fixed point, 16 fraction bits of a logit, from the service's terms.

        Raises BadModelFile.
        """
        self._file, self._manifest, self._tolerance = file, manifest, tolerance
        self._on_progress = on_progress
        self._slack = 0 if settings.same_in_any_batch else tolerance
        file.verify(self._on_hash)
        self._model = NativeModel(
            file.path, settings.gpu_layers, lambda done: on_progress("load", int(done * 1000), 1000)
        )
        check_manifest(manifest, self._model.pieces, self._model.trained_context)
        header = gguf.read(file.path)
        check_vocabulary(header)
        self._markers = markers(header, manifest)
        self._root = vocabulary_tree(entries_of(header)).root
        self._masks = Masks(self._model.pieces, manifest.stop_tokens)
        self._longest_piece = max(1, *map(len, self._model.pieces))
        self._sequence = self._model.sequence(manifest.context_length, settings.batch, settings.threads)
        file.verify(self._on_hash)  # not replaced while it was being loaded

    def prove(self) -> str:
        known, context = known_answer(self._manifest.file_sha256), self._manifest.context_length
        shown = proof.prove(self, self._model.vocabulary, context, known, self._slack, self._on_progress)
        return f"{shown}, within {self._slack / 65536:g} logits" if self._slack else f"{shown}, the same"

    def forget(self) -> None:
        self._sequence.truncate(0)

    def read(self, tokens: Sequence[TokenId], rows: int) -> list[Logits]:
        found: list[Logits] = []
        self._sequence.extend(tokens, len(tokens) - rows, lambda _, row: found.append(self._fixed(row)))
        return found

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        read = asked_of_panel(prompt, self._read, self._manifest, self._model.vocabulary)
        output_limit(read, self._manifest.context_length, Params(1))
        return [TokenId(token) for token in read]

    def _read(self, text: bytes) -> list[int]:
        """Raises PromptTooLong before the tokenizer spends time on what cannot fit."""
        check_room(text, self._manifest, self._longest_piece)
        return self._model.tokenize(text, False, self._markers)

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        kind = self._type(prompt, params)
        limit = self._begin(prompt, params)
        if isinstance(kind, Malformed):
            return Completion((self._first_stop,), b"", tokens_root([self._first_stop]))
        if isinstance(kind, Choice):
            return self._choose(prompt, kind)
        course = self._course(kind)
        params = _greedy(params, course)
        tokens: list[TokenId] = []
        logits = self._after(prompt)
        spelled = 0  # bytes
        while True:
            tokens.append(TokenId(pick(_masked(logits, course), params, len(tokens))))
            course = None if course is None else course.then(tokens[-1])
            spelled += len(self.detokenize(tokens[-1:]))
            self._on_progress("generate", len(tokens), limit)
            ended = tokens[-1] in self._manifest.stop_tokens or spelled >= FULL_OUTPUT_BYTES
            if ended or len(tokens) == limit:
                return Completion(tuple(tokens), self.detokenize(tokens), tokens_root(tokens))
            logits = self._after(tokens[-1:])

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        kind = self._type(prompt, params)
        if isinstance(kind, Choice | Malformed):
            return self._check_typed(kind, prompt, output, text)
        course = self._course(kind)
        if course is None:
            limit = output_limit(prompt, self._manifest.context_length, params)
            shape = well_formed(output, limit, self._manifest.stop_tokens, self._model.pieces)
        else:
            shape = judged_course(course, output)
        for position, short in enumerate(self.shortfalls(prompt, output[: shape.position], params, course)):
            if short == HOPELESS:
                return Verdict(False, position, f"token {output[position]} lies below the best by more than tolerated")
        return Verdict(True, None, "every token lies within tolerance") if shape.correct else shape

    def _choose(self, prompt: Sequence[TokenId], choice: Choice) -> Completion:
        """The model's answer among a few. Where one id alone may follow, nothing is computed."""
        tokens: list[TokenId] = []
        contests: list[Contest] = []
        unread = list(prompt)
        while allowed := choice.allowed(tokens):
            token = allowed[0]
            if len(allowed) > 1:
                contests.append(_contest(len(tokens), allowed, self._after(unread)))
                unread, token = [], contests[-1].winner
            tokens.append(TokenId(token))
            unread.append(TokenId(token))
            self._on_progress("generate", len(tokens), choice.longest)
        index = choice.index(tokens)
        assert index is not None, "what competes is a row's or stops it"
        return Completion(tuple(tokens), bytes(verdict(index, contests)), tokens_root(tokens))

    def _check_typed(
        self, kind: Choice | Malformed, prompt: Sequence[TokenId], output: Sequence[TokenId], text: bytes
    ) -> Verdict:
        """One pass over prompt and output, as far as tokens compete."""
        shape = judged_shape(kind, self._first_stop, output, text)
        if isinstance(shape, Verdict):
            return shape
        self._file.verify(self._on_hash)
        self.forget()
        allowed = {step: shape.choice.allowed(output[:step]) for step in range(len(output))}
        contested = [step for step, ids in allowed.items() if len(ids) > 1]
        first, last = contested[0], contested[-1]
        rows: list[Logits] = []
        fed = [*prompt, *output[:last]]
        self._sequence.extend(fed, len(prompt) - 1 + first, lambda _, row: rows.append(self._fixed(row)))
        contests = [_contest(step, allowed[step], rows[step - first]) for step in contested]
        fault = choice_fault(contests, output, shape.said, self._tolerance)
        if fault is None:
            return Verdict(True, None, "the choice and its margin lie within tolerance")
        return Verdict(False, *fault)

    def _type(self, prompt: Sequence[TokenId], params: Params) -> AnswerType | None:
        """What may answer a prompt; None for any text."""
        limit = output_limit(prompt, self._manifest.context_length, params)
        return type_of(params.answer_type, self._root, self._model.vocabulary, self._manifest.stop_tokens, limit)

    def course(self, prompt: Sequence[TokenId], params: Params) -> Course | None:
        """Before the output, where a pattern answers; None for any other prompt."""
        kind = self._type(prompt, params)
        return self._course(kind) if isinstance(kind, Pattern) else None

    def _course(self, kind: Pattern | None) -> Course | None:
        return None if kind is None else self._masks.course(kind)

    @property
    def _first_stop(self) -> TokenId:
        return TokenId(self._manifest.stop_tokens[0])

    def shortfalls(
        self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, course: Course | None = None
    ) -> list[int]:
        """How far each output token lies below the best, 16 fraction bits; HOPELESS beyond the tolerance.

        One pass over prompt and output. course: before an output that its pattern allows.
        """
        self._begin(prompt, params)
        params = _greedy(params, course)
        found: list[int] = []

        def judge(_: int, row: npt.NDArray[np.float32]) -> None:
            nonlocal course
            token = output[len(found)]
            logits = _masked(self._fixed(row), course)
            course = None if course is None else course.then(token)
            found.append(int(shortfalls(logits, params, len(found), self._tolerance)[token]))
            self._on_progress("check", len(found), len(output))

        if output:
            self._sequence.extend([*prompt, *output[:-1]], len(prompt) - 1, judge)
        return found

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        pieces, stops = self._model.pieces, self._manifest.stop_tokens
        return b"".join(pieces[token] for token in tokens if token not in stops)

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        kind = self._type(prompt, params)
        limit = self._begin(prompt, params)
        if isinstance(kind, Choice | Malformed):
            said = tokens_said(kind, self._first_stop, text)
            return said if len(said) == count and tokens_root(said) == root else None
        if not 1 <= count <= limit or len(text) > count * self._longest_piece:
            return None
        for tokens in self._retokenized(text, count):
            if self.detokenize(tokens) == text and tokens_root(tokens) == root:
                return tokens
        course = self._course(kind)
        return self._search(prompt, _Wanted(text, count, root, _greedy(params, course), limit, course))

    def _begin(self, prompt: Sequence[TokenId], params: Params) -> int:
        """Empties the sequence; returns the most tokens an output may hold."""
        self._file.verify(self._on_hash)
        limit = output_limit(prompt, self._manifest.context_length, params)
        self.forget()
        return limit

    def _retokenized(self, text: bytes, count: int) -> Iterator[list[TokenId]]:
        """The usual tokens of `text`, alone or with each stop token, where that makes `count`."""
        tokens = [TokenId(token) for token in self._model.tokenize(text, False)]
        if len(tokens) == count:
            yield tokens
        if len(tokens) == count - 1:
            for stop in self._manifest.stop_tokens:
                yield [*tokens, TokenId(stop)]

    def _search(self, prompt: Sequence[TokenId], wanted: _Wanted) -> list[TokenId] | None:
        """Depth first through the tokens within tolerance that spell what is left of `text`, the likeliest first.

        Another way to spell the same bytes is rarely within tolerance too, so this seldom turns back; the number of
        steps is bounded all the same, since the text may come from an adversary.
        """
        steps = SEARCH_STEPS_PER_TOKEN * wanted.count + SEARCH_STEPS
        found: list[TokenId] = []
        untried = [self._spelling(wanted, found, self._after(prompt))]
        while untried:
            if not untried[-1]:
                untried.pop()
                if found:
                    found.pop()
                continue
            found.append(untried[-1].pop(0))
            if len(found) == wanted.count:
                if tokens_root(found) == wanted.root:
                    return found
                found.pop()
                continue
            if steps == 0:
                return None
            steps -= 1
            self._sequence.truncate(len(prompt) + len(found) - 1)
            untried.append(self._spelling(wanted, found, self._after(found[-1:])))
        return None

    def _spelling(self, wanted: _Wanted, found: Sequence[TokenId], logits: Logits) -> list[TokenId]:
        """The tokens within tolerance that may follow `found`, the likeliest first."""
        stops, rest = self._manifest.stop_tokens, wanted.text[len(self.detokenize(found)) :]
        left = wanted.count - len(found) - 1
        course = None if wanted.course is None else reduce(Course.then, found, wanted.course)
        short = shortfalls(_masked(logits, course), wanted.params, len(found), self._tolerance)
        able = []
        for token in np.flatnonzero(short != HOPELESS):
            piece = b"" if token in stops else self._model.pieces[token]
            if not rest.startswith(piece) or len(rest) - len(piece) > left * self._longest_piece:
                continue
            must_stop = left == 0 and wanted.count < wanted.limit and len(wanted.text) < FULL_OUTPUT_BYTES
            if (token in stops and left) or (must_stop and token not in stops):
                continue
            able.append(TokenId(int(token)))
        return sorted(able, key=lambda token: int(short[token]))

    def _after(self, tokens: Sequence[TokenId]) -> Logits:
        """Extends the sequence; returns the logits of what comes next."""
        return self.read(tokens, 1)[0]

    @staticmethod
    def _fixed(row: npt.NDArray[np.float32]) -> Logits:
        if np.isnan(row).any():
            raise BadModelFile("the model computes values that are not numbers")
        return fixed_point(row)

    def _on_hash(self, done: int, total: int) -> None:
        self._on_progress("hash", done, total)


def _greedy(params: Params, course: Course | None) -> Params:
    """How tokens are chosen: where a pattern answers, by the largest logit."""
    return params if course is None else replace(params, temperature=0, cutoff=0)


def _masked(logits: Logits, course: Course | None) -> Logits:
    return logits if course is None else course.masked(logits)


def _contest(step: int, allowed: Sequence[int], logits: Logits) -> Contest:
    return Contest(step, {token: int(logits[token]) for token in allowed})


def load(arguments: dict[str, Any], on_progress: OnProgress) -> LlamaEngine:
    """In a worker: the engine that `llama_settings.llama_setup` describes."""
    manifest = Manifest.from_json(arguments["manifest"])
    settings = LlamaSettings(**arguments["settings"])
    return LlamaEngine(
        ModelFile.of(manifest, arguments["path"]), manifest, arguments["tolerance"], settings, on_progress
    )
