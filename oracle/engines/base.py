"""Engines: from prompt bytes to output tokens, the same way every time.

An engine knows nothing of chains, requests or bonds. Two nodes holding the same manifest
must return the same tokens, so whatever can change one (weights, dtype, sampler, seed) lives
in the manifest or in `Params`, never in the environment.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NewType, Protocol

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


@dataclass(frozen=True)
class Completion:
    """An engine's whole output; never a partial one."""

    tokens: tuple[TokenId, ...]
    """Output token ids; the last is a stop token unless `max_tokens` was reached first."""
    text: bytes
    """What the tokens spell. Stop tokens spell nothing. Not necessarily valid UTF-8."""


@dataclass(frozen=True)
class Verdict:
    """What re-execution says about somebody's output tokens."""

    correct: bool
    position: int | None
    """Index of the first wrong output token (`len(tokens)` when the output stops too early); None if correct."""
    reason: str


class Engine(Protocol):
    """One loaded model."""

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        """Ids of the whole input: wrapper prefix, `prompt` with special tokens as plain text, wrapper suffix.

        Raises PromptTooLong when the context cannot hold the ids and one output token.
        """

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        """Continue `prompt` until a stop token or `params.max_tokens`. Raises PromptTooLong."""

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params) -> Verdict:
        """Judge `output` by one batched forward pass over prompt + output."""

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        """The bytes that output `tokens` spell; stop tokens spell nothing."""

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        """Find the `count` token ids under `root` that spell `text`, from the text alone; None if there are none.

        First by tokenizing `text`, then by following the model through the tokens that spell it.
        """
