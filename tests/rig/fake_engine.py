"""An engine without a model, which answers at once and misbehaves on cue.

Its tokens are bytes; 256 ends an output. It answers a prompt with a few letters computed from it, so that any two of
them agree. `faults` maps a text to what happens when a prompt holds it: in a worker process the crashes are real.
"""

import ctypes
import hashlib
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

from oracle.engines.base import Completion, InProcess, Params, TokenId, Verdict, the_job
from oracle.errors import BadModelFile, PromptTooLong, ProofFailed
from oracle.merkle.tokens import tokens_root

STOP = TokenId(256)
CONTEXT_LENGTH = 8192
KNOWN_QUESTION = b"known question"
LEAK_BYTES = 1 << 40


def crash_by_segfault() -> None:
    ctypes.string_at(0)


def leak() -> None:
    kept: list[bytearray] = []
    while sum(map(len, kept)) < LEAK_BYTES:
        kept.append(bytearray(1 << 24))


CRASHES: dict[str, Callable[[], None]] = {
    "abort": os.abort,
    "segfault": crash_by_segfault,
    "out of memory": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leak": leak,
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(3600),
    "freeze": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "slow": lambda: time.sleep(0.5),
}


class FakeEngine(InProcess):
    """Faults: a key of CRASHES, "wrong token", "babble" (a reply of the wrong type), "too long", or "saturate"."""

    def __init__(self, faults: dict[str, str] | None = None) -> None:
        self.faults = faults or {}

    def prove(self) -> str:
        """Faults strike at the cue KNOWN_QUESTION; "wrong token" is what a proof finds."""
        if self._act([TokenId(byte) for byte in KNOWN_QUESTION]) == "wrong token":
            raise ProofFailed("the known question got another answer")
        return "the known answer"

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        if len(prompt) >= CONTEXT_LENGTH:
            raise PromptTooLong(f"{len(prompt)} tokens do not fit {CONTEXT_LENGTH}")
        return [TokenId(byte) for byte in prompt or b"?"]

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        tokens = self._answer(prompt, params)
        the_job().told("generate", len(tokens) - 1, len(tokens))
        match self._act(prompt):
            case "wrong token":
                tokens = (TokenId(tokens[0] ^ 1), *tokens[1:])
            case "babble":
                return Completion((TokenId(-1),), b"", bytes(32))
            case "saturate":
                self.saturated += 1
            case "too long":
                tokens = (TokenId(65),) * (params.max_tokens + 1)
        return Completion(tokens, self.detokenize(tokens), tokens_root(tokens) if tokens else bytes(32))

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        self._act(prompt)
        right = self._answer(prompt, params)
        for position in range(max(len(right), len(output))):
            if tuple(output[position : position + 1]) != right[position : position + 1]:
                return Verdict(False, position, "not the token that the fake engine gives")
        return Verdict(True, None, "every token agrees")

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        return bytes(token for token in tokens if token != STOP)

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        self._act(prompt)
        tokens = [TokenId(byte) for byte in text] + [STOP] * (count - len(text))
        return tokens if len(tokens) == count else None

    def _act(self, prompt: Sequence[TokenId]) -> str | None:
        text = bytes(token % 256 for token in prompt).decode("latin-1")
        fault = next((fault for cue, fault in self.faults.items() if cue in text), None)
        if fault in CRASHES:
            CRASHES[fault]()
        return fault

    @staticmethod
    def _answer(prompt: Sequence[TokenId], params: Params) -> tuple[TokenId, ...]:
        digest = hashlib.sha256(repr((list(prompt), params.temperature, params.seed)).encode()).hexdigest()
        return tuple([*(TokenId(ord(letter)) for letter in digest[:7]), STOP][: params.max_tokens])


def load(arguments: dict[str, Any], progress: Callable[[str, int, int], None]) -> FakeEngine:
    """For `WorkerSetup.factory`: `rig.fake_engine:load`. `arguments["load_fault"]` strikes while loading."""
    fault = arguments.get("load_fault")
    if fault == "bad file":
        raise BadModelFile("this is not a model")
    if fault in CRASHES:
        CRASHES[fault]()
    progress("load", 1, 1)
    return FakeEngine(arguments.get("faults"))
