"""Engines: from prompt bytes to output tokens, the same way every time.

An engine knows nothing of chains, requests or bonds. Two nodes holding the same manifest
must return the same tokens, so whatever can change one (weights, dtype, sampler, seed) lives
in the manifest or in `Params`, never in the environment.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NewType, Protocol, runtime_checkable

from oracle.engines.prompts import FULL_OUTPUT_BYTES
from oracle.errors import NotServed, PromptTooLong

TokenId = NewType("TokenId", int)


@dataclass(frozen=True)
class Params:
    """What a request fixes about its answer."""

    max_tokens: int
    """Most output tokens, the end token included; at least 1."""
    temperature: int = 0
    """Fixed point, 16 fraction bits; 0 = greedy."""
    cutoff: int = 0
    """Fixed point, 16 fraction bits: tokens whose logit lies further below the best than this are never
    sampled (min-p as a difference of logits); 0 = no cutoff. Without effect when greedy."""
    seed: bytes = bytes(32)
    """32 bytes from the request and the chain; without effect when greedy."""
    answer_type: bytes = b""
    """A typed prompt's heading (`answer_types.py`); empty: any text answers. With one, tokens are chosen greedily,
    whatever the temperature and the cutoff."""
    said: int = 0
    """How many of the prompt's last tokens are the output's first, where `generate` goes on with one: what is sampled
    depends on the place in the output. The exact engine's alone."""
    later: int = 0
    """How many output tokens may come after `max_tokens`, where `generate` gives a piece of an output."""

    def __post_init__(self) -> None:
        numbers = (self.max_tokens - 1, self.temperature, self.cutoff, self.said, self.later)
        if min(numbers) < 0 or len(self.seed) != 32:
            raise ValueError(f"no request has such parameters: {self}")


OnProgress = Callable[[str, int, int], None]
"""(what is being done: measure, commit, hash, load, prove, read, generate, check, prefill or trees; units done; units
in all). Called in any thread; it must not raise."""


def ignore_progress(what: str, done: int, total: int) -> None:
    pass


GUEST = 1 << 60
"""Priority from which on a job gives way to any other: it gets no time beside one, and no memory that one waits for."""


@dataclass(frozen=True)
class Job:
    """How urgent a call of an engine is beside others. This decides when a result comes, never which."""

    priority: int = 0
    """What is smaller goes first."""
    wanted: Callable[[], bool] = lambda: True
    """Whether anybody waits for the result; asked from time to time, in any thread."""
    anew: bool = False
    """Whether to use nothing that earlier jobs have computed."""
    told: OnProgress = ignore_progress
    """Hears how far it is."""


_job: ContextVar[Job | None] = ContextVar("job", default=None)


@contextmanager
def as_job(job: Job) -> Iterator[None]:
    """Makes what this thread asks of engines, until the context ends, part of `job`."""
    token = _job.set(job)
    try:
        yield
    finally:
        _job.reset(token)


def the_job() -> Job:
    """The job that this thread works on."""
    return _job.get() or Job()


@dataclass(frozen=True)
class Completion:
    """An engine's whole output; never a partial one."""

    tokens: tuple[TokenId, ...]
    """Output token ids; the last is a stop token unless `max_tokens` was reached first."""
    text: bytes
    """What the tokens spell, not necessarily valid UTF-8: stop tokens spell nothing. Of a choice, the bytes of its
    verdict."""
    root: bytes
    """What an answer with these tokens commits to: 32 bytes."""


@dataclass(frozen=True)
class Weighed:
    """How likely the model finds an output token, and others in its place. Of no answer's judgement."""

    text: bytes
    """What the token spells; stop tokens spell nothing."""
    log_probability: float
    """Of the token: the natural logarithm, at temperature 1 and without a cutoff."""
    likeliest: tuple[tuple[bytes, float], ...]
    """What the likeliest tokens spell, and their logarithms, the likeliest first."""


MOST_WEIGHED = 20  # of the likeliest


@dataclass(frozen=True)
class Verdict:
    """What re-execution says about somebody's output tokens."""

    correct: bool
    position: int | None
    """Index of the first wrong output token (`len(tokens)` when the output stops too early); None if correct."""
    reason: str


@dataclass(frozen=True)
class Description:
    """What a model file's vocabulary says about texts in which special tokens stand for themselves."""

    tokens: tuple[tuple[TokenId, ...], ...]
    """For each text."""
    start_token: TokenId | None
    """To be put before everything, if the file asks for it."""
    end_tokens: tuple[TokenId, ...]
    trained_context: int


@dataclass(frozen=True)
class Trouble:
    """Why an engine, or what rests on it, cannot be relied on."""

    kind: str
    """One of TROUBLES."""
    text: str
    """What happened, and what to do where that is known."""


TROUBLES = ("unproven", "refused", "crashed", "crashing", "self-check", "unwatched", "chain")
"""Not yet proven; file or device refused; its worker died; died often of late; it rejects its own answers; answers of
others were not judged in time; the chain cannot keep what the service's terms need."""


class Engine(Protocol):
    """One loaded model."""

    def prove(self) -> str:
        """Answers a question whose answer is known, on the loaded model; returns what that showed, for people.

        Nothing an engine says is believed before. Raises ProofFailed.
        """

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        """Ids of the whole input: wrapper prefix, `prompt` with special tokens as plain text, wrapper suffix. Where the
        dispute game judges, each has its mark (`merkle.tokens.marked`); so `generate`, `check` and `recover` take them.

        Any bytes have one reading, and it is not empty. Raises PromptTooLong when the context cannot hold it and one
        output token, as only private prompts can be that never stood on the chain.
        """

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        """Continue `prompt` until a stop token, `params.max_tokens`, the context's end, or until the output is full.

        Raises PromptTooLong.
        """

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        """Judge `output` by one batched forward pass over prompt + output.

        text: what the answer says; only where it is typed, since other tokens spell it (`recover`).
        """

    def weigh(self, prompt: Sequence[TokenId], output: Sequence[TokenId], likeliest: int) -> list[Weighed]:
        """How likely each output token is. likeliest: how many others to tell, MOST_WEIGHED at most.

        Raises NotServed where the engine cannot tell.
        """

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        """The bytes that output `tokens` spell; stop tokens spell nothing."""

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        """Find the `count` token ids under `root` that spell `text`, from the text alone; None if there are none.

        First by tokenizing `text`, then by following the model through the tokens that spell it. A choice's text says
        which row its tokens are.
        """

    @property
    def trouble(self) -> Trouble | None:
        """Why it cannot be relied on; None if it can."""

    @property
    def restarts(self) -> int:
        """How often a worker of it was lost."""

    @property
    def saturated(self) -> int:
        """Numbers of the exact engine that stood at their limits, since the start: its answers are then no better than
        the limits allow, though every machine gives the same."""

    @property
    def together(self) -> int:
        """Jobs that it takes at a time, from as many threads."""

    @property
    def groups(self) -> list[int]:
        """Process groups of its workers, for their memory; none where there are no workers."""

    def close(self) -> None:
        """Ends its workers, after the jobs that are running."""

    def kill(self) -> None:
        """Ends its workers at once; calls in hand raise EngineCrashed."""


@runtime_checkable
class Traces(Protocol):
    """What an engine offers besides whose machines also keep what passes compute, for dispute games."""

    def tracers(self, of: bytes) -> list[str]:
        """Names of these machines, in an order that depends on `of` and is the same for every process.

        Raises FleetUnavailable.
        """

    def traced(self, worker: str, question: dict[str, Any], limit_seconds: float) -> Any:
        """What one of them says to a question of `disputes/chunks.py`: JSON, not looked at yet.

        Raises EngineCrashed, JobCancelled, FleetUnavailable.
        """


class InProcess:
    """The part of an `Engine` that is about workers, where there are none."""

    trouble: Trouble | None = None
    restarts = 0
    together = 1
    saturated = 0
    groups: ClassVar[list[int]] = []

    def weigh(self, prompt: Sequence[TokenId], output: Sequence[TokenId], likeliest: int) -> list[Weighed]:
        raise NotServed("this engine tells no log-probabilities")

    def close(self) -> None:
        pass

    def kill(self) -> None:
        pass


def whole_limit(prompt: Sequence[int], context_length: int, params: Params) -> int:
    """Most tokens of the whole output, of which `generate` may give a piece. Raises as `output_limit`."""
    whole = replace(params, max_tokens=params.said + params.max_tokens + params.later)
    return output_limit(prompt[: len(prompt) - params.said], context_length, whole)


def output_limit(prompt: Sequence[int], context_length: int, params: Params) -> int:
    """Most output tokens that the request and the model's context allow.

    prompt: not empty. Raises PromptTooLong when not even one fits.
    """
    if len(prompt) >= context_length:
        raise PromptTooLong(f"{len(prompt)} tokens leave no room for an answer in a context of {context_length}")
    return min(params.max_tokens, context_length - len(prompt))


def well_formed(output: Sequence[TokenId], limit: int, stop_tokens: Sequence[int], pieces: Sequence[bytes]) -> Verdict:
    """What can be said about `output` without running the model.

    An output ends with its first stop token, or with the token that fills it, or holds exactly `limit` tokens.
    pieces: what each token of the vocabulary spells.
    """
    spelled = 0  # bytes
    for position, token in enumerate(output):
        if position >= limit:
            return Verdict(False, position, f"goes on after {limit} tokens, the most that was asked for")
        if not 0 <= token < len(pieces):
            return Verdict(False, position, f"{token} is not in the vocabulary")
        if position and output[position - 1] in stop_tokens:
            return Verdict(False, position, "goes on after a stop token")
        if spelled >= FULL_OUTPUT_BYTES:
            return Verdict(False, position, f"goes on after {spelled} bytes, which fill an output")
        spelled += 0 if token in stop_tokens else len(pieces[token])
    ended = spelled >= FULL_OUTPUT_BYTES or (output and output[-1] in stop_tokens)
    if len(output) < limit and not ended:
        return Verdict(False, len(output), "ends without a stop token")
    return Verdict(True, None, "well formed")
