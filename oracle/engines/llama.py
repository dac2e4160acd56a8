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
from functools import partial, reduce
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from oracle.engines import proof
from oracle.engines.answer_types import AnswerType, Choice, Contest, Malformed, Pattern, type_of, verdict
from oracle.engines.base import (
    Completion,
    InProcess,
    OnProgress,
    Params,
    TokenId,
    Verdict,
    ignore_progress,
    output_limit,
    the_job,
    well_formed,
)
from oracle.engines.exact.text_prompts import asked_of_panel
from oracle.engines.exact.vocabulary import entries_of, vocabulary_tree
from oracle.engines.llama_native import NativeModel, NativeSequence
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

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Row:
    """The logits of one place, as far as they are known."""

    logits: Logits
    rivals: Logits
    """What each token is measured against. The same, unless only a part is known: then readings are made of a row where
    tokens are as likely as they can be and their rivals as little, and of one the other way round."""


Reading = Callable[[int, Row], T]


class Rows(Protocol):
    """A sequence of tokens, and the logits of what comes after each."""

    def truncate(self, length: int) -> None:
        """Forgets all but the first `length` tokens."""

    def read(self, tokens: Sequence[TokenId], rows_from: int, reading: Reading[T]) -> list[T]:
        """Goes on with `tokens`; what `reading(i, row)` says for each index i >= rows_from of them.

        What a reading says must depend on nothing else, and compare by value. It may be asked more than once.
        """


class NativeRows:
    """Those that llama.cpp computes in this process."""

    def __init__(self, sequence: NativeSequence) -> None:
        self._sequence = sequence

    def truncate(self, length: int) -> None:
        self._sequence.truncate(length)

    def read(self, tokens: Sequence[TokenId], rows_from: int, reading: Reading[T]) -> list[T]:
        found: list[T] = []

        def read_one(at: int, row: npt.NDArray[np.float32]) -> None:
            logits = fixed(row)
            found.append(reading(at, Row(logits, logits)))

        self._sequence.extend(tokens, rows_from, read_one)
        return found


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
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        """tolerance: fixed point, 16 fraction bits of a logit, from the service's terms.
        on_progress: of loading and proving; how far a job is hears whoever gave it (`Job.told`).

        Raises BadModelFile.
        """
        self._file, self._manifest, self._tolerance = file, manifest, tolerance
        self._on_progress = on_progress
        self._slack = 0 if settings.same_in_any_batch else tolerance
        file.verify(self._on_hash)
        self._model = self._open(settings)
        check_manifest(manifest, self._model.pieces, self._model.trained_context)
        header = gguf.read(file.path)
        check_vocabulary(header)
        self._markers = markers(header, manifest)
        self._root = vocabulary_tree(entries_of(header)).root
        self._masks = Masks(self._model.pieces, manifest.stop_tokens)
        self._longest_piece = max(1, *map(len, self._model.pieces))
        self._rows = self._begun(settings)
        file.verify(self._on_hash)  # not replaced while it was being loaded

    def _open(self, settings: LlamaSettings) -> NativeModel:
        return NativeModel(self._file.path, settings.gpu_layers, self._on_load)

    def _begun(self, settings: LlamaSettings) -> Rows:
        return NativeRows(self._model.sequence(self._manifest.context_length, settings.batch, settings.threads))

    def prove(self) -> str:
        known, context = known_answer(self._manifest.file_sha256), self._manifest.context_length
        shown = proof.prove(self, self._model.vocabulary, context, known, self._slack, self._on_progress)
        return f"{shown}, within {self._slack / 65536:g} logits" if self._slack else f"{shown}, the same"

    def forget(self) -> None:
        self._rows.truncate(0)

    def read(self, tokens: Sequence[TokenId], rows: int) -> list[Logits]:
        return self._rows.read(tokens, len(tokens) - rows, lambda _, row: row.logits)

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
        told, tokens = the_job().told, list[TokenId]()
        unread = prompt
        spelled = 0  # bytes
        while True:
            token, _ = self._after(unread, partial(_picked, params, len(tokens), course))
            tokens.append(TokenId(token))
            course = None if course is None else course.then(tokens[-1])
            spelled += len(self.detokenize(tokens[-1:]))
            told("generate", len(tokens), limit)
            ended = tokens[-1] in self._manifest.stop_tokens or spelled >= FULL_OUTPUT_BYTES
            if ended or len(tokens) == limit:
                return Completion(tuple(tokens), self.detokenize(tokens), tokens_root(tokens))
            unread = tokens[-1:]

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
                contests.append(self._after(unread, partial(_contest, len(tokens), allowed)))
                unread, token = [], contests[-1].winner
            tokens.append(TokenId(token))
            unread.append(TokenId(token))
            the_job().told("generate", len(tokens), choice.longest)
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

        def contest(at: int, row: Row) -> Contest | None:
            step = at - len(prompt) + 1
            return _contest(step, allowed[step], row) if step in contested else None

        read = self._rows.read([*prompt, *output[:last]], len(prompt) - 1 + first, contest)
        contests = [found for found in read if found is not None]
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

        def short(at: int, row: Row) -> int:
            nonlocal course
            step = at - len(prompt) + 1
            the_job().told("check", step + 1, len(output))
            if course is not None:  # a row may be asked for again, never one before it
                course = reduce(Course.then, output[course.step : step], course)
            return int(_short(row, params, step, self._tolerance, course)[output[step]])

        return self._rows.read([*prompt, *output[:-1]], len(prompt) - 1, short) if output else []

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
        return self._search(prompt, _Wanted(text, count, root, params, limit, course))

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
        untried = [self._after(prompt, partial(self._spelling, wanted, found))]
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
            self._rows.truncate(len(prompt) + len(found) - 1)
            untried.append(self._after(found[-1:], partial(self._spelling, wanted, found)))
        return None

    def _spelling(self, wanted: _Wanted, found: Sequence[TokenId], row: Row) -> list[TokenId]:
        """The tokens within tolerance that may follow `found`, the likeliest first."""
        stops, rest = self._manifest.stop_tokens, wanted.text[len(self.detokenize(found)) :]
        left = wanted.count - len(found) - 1
        course = None if wanted.course is None else reduce(Course.then, found, wanted.course)
        short = _short(row, wanted.params, len(found), self._tolerance, course)
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

    def _after(self, tokens: Sequence[TokenId], reading: Callable[[Row], T]) -> T:
        """Extends the sequence; what `reading` says of what comes next."""
        return self._rows.read(tokens, len(tokens) - 1, lambda _, row: reading(row))[0]

    def _on_load(self, done: float) -> None:
        self._on_progress("load", int(done * 1000), 1000)

    def _on_hash(self, done: int, total: int) -> None:
        self._on_progress("hash", done, total)


def fixed(row: npt.NDArray[np.float32]) -> Logits:
    """Raises BadModelFile."""
    if np.isnan(row).any():
        raise BadModelFile("the model computes values that are not numbers")
    return fixed_point(row)


def _picked(params: Params, position: int, course: Course | None, row: Row) -> tuple[int, int]:
    """A token; where a pattern answers its logit too, which is unknown if no token that is allowed was told of. Where
    nothing else may come it makes no difference."""
    if course is None:
        return pick(row.logits, params, position), 0
    token = course.pick(row.logits)
    is_only = token != int(row.logits.argmax()) and course.only is not None
    return token, 0 if is_only else int(row.logits[token])


def _short(row: Row, params: Params, position: int, tolerance: int, course: Course | None) -> Logits:
    """As `shortfalls`; where a pattern answers, among what it allows, and without temperature and cutoff."""
    if course is None:
        return shortfalls(row.logits, params, position, tolerance, row.rivals)
    if course.only is not None:  # whatever its logit
        short: Logits = np.full_like(row.logits, HOPELESS)
        short[course.only] = 0
        return short
    greedy = replace(params, temperature=0, cutoff=0)
    return shortfalls(course.masked(row.logits), greedy, position, tolerance, course.masked(row.rivals))


def _contest(step: int, allowed: Sequence[int], row: Row) -> Contest:
    return Contest(step, {token: int(row.logits[token]) for token in allowed})


def load(arguments: dict[str, Any], on_progress: OnProgress) -> LlamaEngine:
    """In a worker: the engine that `llama_settings.llama_setup` describes."""
    manifest = Manifest.from_json(arguments["manifest"])
    settings = LlamaSettings(**arguments["settings"])
    return LlamaEngine(
        ModelFile.of(manifest, arguments["path"]), manifest, arguments["tolerance"], settings, on_progress
    )
