"""Judging an answer: recover its token ids from the text, check them, and call nothing wrong that was not twice.

Watchers judge so before they challenge, and so does whoever verifies a past answer. What is judged comes as bytes and
numbers: this module knows no chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from oracle.engines.base import Engine, Params, TokenId, as_job, the_job
from oracle.errors import Refused


@dataclass(frozen=True)
class Posted:
    """What an answer says."""

    text: bytes
    token_count: int
    """The end token included."""
    tokens_root: bytes


@dataclass(frozen=True)
class Finding:
    """What running the question again says about an answer. correct: None if the engine cannot tell."""

    correct: bool | None
    reason: str
    position: int | None = None
    """Index of the first wrong output token, where the answer's tokens are known."""
    tokens: tuple[TokenId, ...] | None = None
    """The answer's, where they could be recovered."""


def judge(engine: Engine, prompt: bytes, posted: Posted, params: Params) -> Finding:
    """Recovers the token ids and checks them, twice before calling them wrong. Raises Transient errors."""
    try:
        ids = engine.tokenize(prompt)
        anew = replace(the_job(), anew=True)  # a flipped bit in what an engine has kept would show twice
        tokens = _recovered(engine, ids, posted, params)
        if tokens is None:
            with as_job(anew):
                tokens = _recovered(engine, ids, posted, params)
        if tokens is None:
            return Finding(False, "no token ids under the committed root spell the output")
        verdict = engine.check(ids, tokens, params, posted.text)
        if verdict.correct:
            return Finding(True, verdict.reason, tokens=tuple(tokens))
        with as_job(anew):
            again = engine.check(ids, tokens, params, posted.text)
    except Refused as error:
        return Finding(None, f"{type(error).__name__}: {error}")
    if again != verdict:
        return Finding(None, f"two checks disagree: {verdict.reason}; {again.reason}")
    return Finding(False, f"token {verdict.position}: {verdict.reason}", verdict.position, tuple(tokens))


def _recovered(engine: Engine, prompt: Sequence[TokenId], posted: Posted, params: Params) -> list[TokenId] | None:
    return engine.recover(prompt, posted.text, posted.token_count, posted.tokens_root, params)
