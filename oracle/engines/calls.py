"""An engine that is somewhere else: what it is asked goes there as a message, and what comes back is looked at."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from oracle import errors
from oracle.engines.base import Completion, Params, TokenId, Verdict, Weighed
from oracle.engines.worker_wire import (
    MAX_MESSAGE_BYTES,
    Message,
    bytes_from_wire,
    completion_from_wire,
    params_to_wire,
    tokens_from_wire,
    verdict_from_wire,
    weighed_from_wire,
)
from oracle.merkle.tokens import ID_BITS

T = TypeVar("T")
MAX_PROMPT_BYTES = MAX_MESSAGE_BYTES // 4  # hexadecimal doubles it


class Calls(ABC):
    """The calls of an `Engine`, each a message that `worker_main.perform` reads."""

    @abstractmethod
    def _call(self, message: Message, parse: Callable[[Any], T], limit_seconds: float | None = None) -> T:
        """Sends a message and waits for its result. parse: of the result; raises BadMessage."""

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        if len(prompt) > MAX_PROMPT_BYTES:
            raise errors.PromptTooLong(f"a prompt of {len(prompt)} bytes fits no model")
        message = {"op": "tokenize", "prompt": prompt.hex()}
        return self._call(message, lambda reply: tokens_from_wire(reply, MAX_MESSAGE_BYTES, 2 * ID_BITS))

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        return self._call({"op": "detokenize", "tokens": list(tokens)}, bytes_from_wire)

    def generate(self, prompt: Sequence[TokenId], params: Params, *, limit_seconds: float | None = None) -> Completion:
        message = {"op": "generate", "prompt": list(prompt), "params": params_to_wire(params)}
        return self._call(message, lambda reply: completion_from_wire(reply, params), limit_seconds)

    def check(
        self,
        prompt: Sequence[TokenId],
        output: Sequence[TokenId],
        params: Params,
        text: bytes = b"",
        *,
        limit_seconds: float | None = None,
    ) -> Verdict:
        message = {"op": "check", "prompt": list(prompt), "output": list(output), "params": params_to_wire(params)}
        message["text"] = text.hex()
        return self._call(message, lambda reply: verdict_from_wire(reply, len(output)), limit_seconds)

    def weigh(self, prompt: Sequence[TokenId], output: Sequence[TokenId], likeliest: int) -> list[Weighed]:
        message = {"op": "weigh", "prompt": list(prompt), "output": list(output), "likeliest": likeliest}
        return self._call(message, lambda reply: weighed_from_wire(reply, len(output), likeliest))

    def recover(
        self,
        prompt: Sequence[TokenId],
        text: bytes,
        count: int,
        root: bytes,
        params: Params,
        *,
        limit_seconds: float | None = None,
    ) -> list[TokenId] | None:
        message = {"op": "recover", "prompt": list(prompt), "text": text.hex(), "count": count, "root": root.hex()}
        message["params"] = params_to_wire(params)
        return self._call(
            message, lambda reply: None if reply is None else tokens_from_wire(reply, count), limit_seconds
        )


def digest_of(message: Message) -> bytes:
    """The same for the same job, whoever asks."""
    return hashlib.sha256(json.dumps(message, sort_keys=True).encode()).digest()
