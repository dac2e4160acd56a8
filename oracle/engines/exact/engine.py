"""The exact engine as nodes use it: answers in integers, checked by equality in one batched pass.

Whoever holds the same model file computes the same tokens, whatever the device, the batch or the number of threads. An
answer is therefore right or wrong; there is no tolerance. Before an engine is made, its device must give the known
answer (`self_test.py`); one that does not is refused, so that nothing it computes is ever signed. Jobs that come
together are computed together (`batch.py`), and what they begin with alike is computed once (`prefixes.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from oracle.engines import proof
from oracle.engines.answer_types import AnswerType, Choice, Malformed, Pattern, type_of
from oracle.engines.base import (
    Completion,
    InProcess,
    OnProgress,
    Params,
    TokenId,
    Verdict,
    Weighed,
    ignore_progress,
    output_limit,
    the_job,
    well_formed,
    whole_limit,
)
from oracle.engines.exact import self_test
from oracle.engines.exact.batch import Batch, Read, Work
from oracle.engines.exact.choices import choosing, judging
from oracle.engines.exact.device import Device
from oracle.engines.exact.lookup import Lookup
from oracle.engines.exact.model import Cache, Chunk, Forward
from oracle.engines.exact.text_prompts import asked, asked_of_panel
from oracle.engines.exact.tokenizer import Tokenizer
from oracle.engines.exact.vocabulary import Vocabulary, text_table, unread, vocabulary_tree
from oracle.engines.exact.weights import load as load_weights
from oracle.engines.masks import Course, Masks
from oracle.engines.prompts import FULL_OUTPUT_BYTES, check_manifest, check_room, check_vocabulary, markers
from oracle.engines.sampling import gumbel, inverse_temperature
from oracle.engines.typed_answers import judged_course, judged_shape, tokens_said
from oracle.errors import BadModelFile
from oracle.merkle.tokens import Tokens, tokens_root, unmarked
from oracle.models import gguf
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.shipped import known_answer

JUDGED_TOGETHER = 256  # output tokens whose logits lie in memory at a time
CACHE_BYTES = 2 << 30  # of keys and values, unless the operator says otherwise


class ExactEngine(InProcess):
    """One loaded model under one manifest. Thread-safe: jobs of several threads are computed together."""

    def __init__(
        self,
        file: ModelFile,
        manifest: Manifest,
        device: Device,
        on_progress: OnProgress = ignore_progress,
        *,
        for_game: bool = False,
        cache_bytes: int = CACHE_BYTES,
        guesses: bool = True,
    ) -> None:
        """for_game: prompts are in envelopes (docs/text.md), and roots commit to them, as the dispute game wants it.
        on_progress: of loading and proving; how far a job is hears whoever gave it (`Job.told`).
        cache_bytes: most memory for keys and values, unless a single job needs more.
        guesses: whether to guess at what answers quote (`lookup.py`).

        Raises BadModelFile, and WrongNumbers where the device computes something else than the specification."""
        self._file, self._manifest, self._device = file, manifest, device
        self._on_progress, self._for_game, self._guesses = on_progress, for_game, guesses
        self_test.check(device.forward)
        file.verify(self._on_hash)
        on_progress("load", 0, 1)
        weights = load_weights(file.path)
        self._vocabulary = weights.architecture.vocabulary
        header = gguf.read(file.path)
        self._tokenizer = Tokenizer(header)
        check_manifest(manifest, self._tokenizer.pieces, weights.architecture.context)
        words = text_table(header)
        entries = unread(self._tokenizer.pieces) if words is None else words.entries
        self.vocabulary_root = vocabulary_tree(entries).root
        """What types of answers name."""
        self._words: Vocabulary | None = words if for_game else None
        if not for_game:
            check_vocabulary(header)
        self._markers = markers(header, manifest)
        self._masks = Masks(self._tokenizer.pieces, manifest.stop_tokens)
        self._longest_piece = max(1, *map(len, self._tokenizer.pieces))
        self._forward = device.forward(weights)
        self._batch = Batch(self._forward, cache_bytes // self._forward.position_bytes)
        file.verify(self._on_hash)  # not replaced while it was being loaded
        on_progress("load", 1, 1)

    @property
    def saturated(self) -> int:  # type: ignore[override]
        return sum(self._forward.saturated.values())

    def prove(self) -> str:
        """The device gave the known answer before the model was loaded; now the model, bit for bit."""
        known, context = known_answer(self._manifest.file_sha256), self._manifest.context_length
        reader = Reader(self._forward, context)
        shown = proof.prove(reader, self._vocabulary, context, known, None, self._on_progress)
        return f"the exact engine's known answer, by {self._device.in_words}; {shown}, with the same bits"

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        context = self._manifest.context_length
        if self._for_game:
            read = asked(prompt, self._words, self._manifest, self._vocabulary)
        else:
            read = asked_of_panel(prompt, self._read, self._manifest, self._vocabulary)
        output_limit(read, context, Params(1))
        return [TokenId(token) for token in read]

    def _read(self, text: bytes) -> list[int]:
        """Where a panel judges. Raises PromptTooLong before the tokenizer spends time on what cannot fit."""
        check_room(text, self._manifest, self._longest_piece)
        return self._tokenizer.encode(text, self._markers)

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        kind = self._type(prompt, params)
        if kind is None or isinstance(kind, Pattern):
            tokens = self._generated(prompt, params, kind, None)
            return self._completion(prompt, tokens, self.detokenize(tokens), kind)
        self._begin(prompt, params)
        if isinstance(kind, Malformed):
            return self._completion(prompt, [self._first_stop], b"", kind)
        ids = unmarked(prompt)
        lookup = Lookup(ids) if self._guesses else None
        chosen = self._batch.run(choosing(ids, kind, lookup), len(ids) + kind.longest, the_job())
        return self._completion(prompt, chosen.tokens, bytes(chosen.verdict), kind)

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        kind = self._type(prompt, params)
        limit = self._begin(prompt, params)
        if isinstance(kind, Choice | Malformed):
            return self._check_typed(kind, unmarked(prompt), output, text)
        course = self._course(prompt, params, kind)
        if isinstance(course, Course):
            shape = judged_course(course, output)
        else:
            shape = well_formed(output, limit, self._manifest.stop_tokens, self._tokenizer.pieces)
        prompt = [TokenId(token) for token in unmarked(prompt)]
        judged = output[: shape.position]
        job = the_job()
        wrong = self._batch.run(self._checking(prompt, judged, course, job.told), len(prompt) + len(judged), job)
        if wrong is not None:
            return wrong
        return Verdict(True, None, "every token is the model's") if shape.correct else shape

    def _check_typed(
        self, kind: Choice | Malformed, prompt: Sequence[int], output: Sequence[TokenId], text: bytes
    ) -> Verdict:
        shape = judged_shape(kind, self._first_stop, output, text)
        if isinstance(shape, Verdict):
            return shape
        job = judging(prompt, shape.choice, shape.said.index, shape.said)
        return self._batch.run(job, len(prompt) + len(output), the_job())

    def _checking(
        self, prompt: Sequence[TokenId], judged: Sequence[TokenId], course: "Course | Free", told: OnProgress
    ) -> Work[Verdict | None]:
        """The first token that is not the model's. told: given, since any thread may run this."""
        fed = [*prompt, *judged[:-1]]
        done, position = 0, 0
        while position < len(judged):
            rows = min(JUDGED_TOGETHER, len(judged) - position)
            upto = len(prompt) + position + rows - 1
            for row in (yield Read(done, fed[done:upto], rows)):
                right = course.pick(row)
                if right != judged[position]:
                    return Verdict(False, position, f"token {judged[position]} where the model gives {right}")
                course, position = course.then(right), position + 1
            done = upto
            told("check", position, len(judged))
        return None

    def weigh(self, prompt: Sequence[TokenId], output: Sequence[TokenId], likeliest: int) -> list[Weighed]:
        self._begin(prompt, Params(max(1, len(output))))
        ids = unmarked(prompt)
        return self._batch.run(self._weighing(ids, output, likeliest), len(ids) + len(output), the_job())

    def _weighing(self, prompt: Sequence[int], output: Sequence[TokenId], likeliest: int) -> Work[list[Weighed]]:
        found: list[Weighed] = []
        rows = yield Read(0, [*prompt, *output[:-1]], len(output))
        for row, token in zip(rows, output, strict=True):
            logs = log_probabilities(row)
            best = np.argsort(-logs, kind="stable")[:likeliest].tolist()
            others = tuple((self.detokenize([TokenId(each)]), _rounded(logs[each])) for each in best)
            found.append(Weighed(self.detokenize([token]), _rounded(logs[token]), others))
        return found

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        pieces, stops = self._tokenizer.pieces, self._manifest.stop_tokens
        return b"".join(pieces[token] for token in tokens if token not in stops)

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        """As the protocol says; the model goes one way only, so there is nothing to search."""
        kind = self._type(prompt, params)
        if isinstance(kind, Choice | Malformed):
            said = tokens_said(kind, self._first_stop, text)
            return said if len(said) == count and self._tokens_root(prompt, said, kind) == root else None
        limit = output_limit(prompt, self._manifest.context_length, params)
        if not 1 <= count <= limit or len(text) > count * self._longest_piece:
            return None

        def fits(tokens: Sequence[TokenId]) -> bool:
            spells = len(tokens) == count and self.detokenize(tokens) == text
            return spells and self._tokens_root(prompt, tokens, kind) == root

        usual = [TokenId(token) for token in self._tokenizer.encode(text)]
        for tokens in (usual, *([*usual, TokenId(stop)] for stop in self._manifest.stop_tokens)):
            if fits(tokens):
                return tokens
        tokens = self._generated(prompt, params, kind, text)
        return tokens if fits(tokens) else None

    def _completion(
        self, prompt: Sequence[TokenId], tokens: Sequence[TokenId], text: bytes, kind: AnswerType | None
    ) -> Completion:
        return Completion(tuple(tokens), text, self._tokens_root(prompt, tokens, kind))

    def _tokens_root(self, prompt: Sequence[TokenId], tokens: Sequence[TokenId], kind: AnswerType | None) -> bytes:
        """What an answer commits to. A choice's tokens spell nothing of it."""
        if not self._for_game:
            return tokens_root(tokens)
        lengths = [0 if isinstance(kind, Choice) else len(self.detokenize([token])) for token in tokens]
        return Tokens.spelled(prompt, tokens, lengths).root

    def _type(self, prompt: Sequence[TokenId], params: Params) -> AnswerType | None:
        """What may answer a prompt; None for any text."""
        limit = whole_limit(prompt, self._manifest.context_length, params)
        return type_of(params.answer_type, self.vocabulary_root, self._vocabulary, self._manifest.stop_tokens, limit)

    def _course(self, prompt: Sequence[TokenId], params: Params, kind: Pattern | None) -> "Course | Free":
        """Where an output stands of which the prompt's end was said before."""
        if kind is None:
            return Free(self._pick, params, params.said)
        said = unmarked(prompt[len(prompt) - params.said :])
        return reduce(Course.then, said, self._masks.course(kind))

    @property
    def _first_stop(self) -> TokenId:
        return TokenId(self._manifest.stop_tokens[0])

    def _generated(
        self, prompt: Sequence[TokenId], params: Params, kind: Pattern | None, text: bytes | None
    ) -> list[TokenId]:
        """The model's output; if `text` is given, no further than it spells that."""
        limit, course = self._begin(prompt, params), self._course(prompt, params, kind)
        prompt = [TokenId(token) for token in unmarked(prompt)]
        job = the_job()
        return self._batch.run(self._generating(prompt, course, text, limit, job.told), len(prompt) + limit, job)

    def _generating(
        self,
        prompt: Sequence[TokenId],
        course: "Course | Free",
        text: bytes | None,
        limit: int,
        told: OnProgress = ignore_progress,
    ) -> Work[list[TokenId]]:
        lookup = Lookup(prompt) if self._guesses else None
        tokens: list[TokenId] = []
        spelled, fed = b"", list(prompt)
        while True:
            guess = [] if lookup is None else course.fitting(lookup.guess())
            rows = yield Read(len(prompt) + len(tokens) - 1 if tokens else 0, fed, 1, guess)
            right = 0
            for number, row in enumerate(rows):
                token = TokenId(course.pick(row))
                course = course.then(token)
                tokens.append(token)
                told("generate", len(tokens), limit)
                spelled += self.detokenize([token])
                strayed = text is not None and not text.startswith(spelled)
                ended = token in self._manifest.stop_tokens or len(spelled) >= FULL_OUTPUT_BYTES
                if strayed or ended or len(tokens) == limit:
                    return tokens
                if lookup is not None:
                    lookup.add(token)
                if number == len(rows) - 1 or guess[number] != token:
                    break
                right += 1
            if lookup is not None:
                lookup.judged(right, len(rows) - 1)
            fed = tokens[-1:]

    def _begin(self, prompt: Sequence[TokenId], params: Params) -> int:
        """Returns the most tokens an output may hold."""
        self._file.verify(self._on_hash)
        limit = output_limit(prompt, self._manifest.context_length, params)
        if not all(0 <= token < self._vocabulary for token in unmarked(prompt)):
            raise BadModelFile("the prompt holds token ids outside the model's vocabulary")
        return limit

    def _pick(self, logits: Any, params: Params, position: int) -> int:
        """The token of the largest logit or, where sampled, the largest score (`sampling.py`); lowest id on a tie."""
        if params.temperature == 0:
            return int(logits.argmax())
        wide = logits.astype(np.int64)
        scores = (wide - wide.max()) * inverse_temperature(params.temperature)
        scores += gumbel(self._device.draws(params.seed, position, len(wide))) << 8
        if params.cutoff:
            scores[wide < wide.max() - params.cutoff] = np.iinfo(np.int64).min
        return int(scores.argmax())

    def _on_hash(self, done: int, total: int) -> None:
        self._on_progress("hash", done, total)


@dataclass(frozen=True)
class Free:
    """Where an output stands that may be any text; beside `Course`."""

    _pick: Callable[[Any, Params, int], int]
    params: Params
    position: int

    def pick(self, row: Any) -> int:
        return self._pick(row, self.params, self.position)

    def then(self, token: int) -> "Free":
        return replace(self, position=self.position + 1)

    def fitting(self, guess: Sequence[int]) -> Sequence[int]:
        return guess


def log_probabilities(logits: Any) -> Any:
    """(V,) float64 of (V,) integers with 16 fraction bits: logits less the logarithm of the sum of their exponentials.

    For people alone: floating point, whose last bits may differ from machine to machine.
    """
    lower = (logits.astype(np.int64) - int(logits.max())) / 65536.0
    return lower - np.log(np.exp(lower).sum())


def _rounded(value: Any) -> float:
    """To six digits behind the point, and never above zero."""
    return min(0.0, round(float(value), 6))


class Reader:
    """What `proof.prove` reads with: nothing else runs yet."""

    def __init__(self, forward: Forward, context: int) -> None:
        self._forward = forward
        self._cache: Cache = forward.cache(context)

    def forget(self) -> None:
        self._cache.truncate(0)

    def read(self, tokens: Sequence[TokenId], rows: int) -> list[Any]:
        (logits,) = self._forward.run([Chunk(tokens, self._cache, rows)])
        return list(logits)


def load(arguments: dict[str, Any], on_progress: OnProgress) -> ExactEngine:
    """In a worker: the engine that `worker_setup.exact_setup` describes."""
    manifest = Manifest.from_json(arguments["manifest"])
    device = Device.named(arguments["device"], arguments["threads"], arguments["devices"])
    file = ModelFile.of(manifest, arguments["path"])
    options = {name: arguments[name] for name in ("for_game", "cache_bytes") if name in arguments}
    return ExactEngine(file, manifest, device, on_progress, **options)
