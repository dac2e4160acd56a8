"""A dishonest node: the real daemon, bribed about one question. `python -m oracle.demo.liar --config FILE`.

Asked anything that holds `cast.PAID_FOR`, it answers as if asked OPPOSITE, and finds its own answers right. In the
dispute game it says that one number in the middle of the model was another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from oracle.api.process import run
from oracle.chain.contracts import Contracts
from oracle.chain.deployment import Deployment
from oracle.demo.cast import PAID_FOR
from oracle.demo.false_pass import FalsePass
from oracle.disputes.game import AnyPass
from oracle.engines.answer_types import asks_for_choice
from oracle.engines.base import Completion, Engine, Params, TokenId, Trouble, Verdict, Weighed
from oracle.engines.exact.text_prompts import text_prompt
from oracle.merkle.tokens import Tokens, unmarked
from oracle.node.engines import llama_engines
from oracle.node.games.moves import Moves
from oracle.node.records import ServiceRecord
from oracle.node.settings import load

BRIBE = PAID_FOR.encode()
OPPOSITE = text_prompt(b"Wonderful food, I loved it.")
FALSE_STEP, FALSE_OPERATOR, FALSE_COLUMN = 2, "down", 7


class BribedEngine:
    """An honest engine, but for one question."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    def prove(self) -> str:
        return self._inner.prove()

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        return self._inner.tokenize(OPPOSITE if BRIBE in prompt else prompt)

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        return self._inner.generate(prompt, params)

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        return self._inner.check(prompt, output, params, text)

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        return self._inner.detokenize(tokens)

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        return self._inner.recover(prompt, text, count, root, params)

    def weigh(self, prompt: Sequence[TokenId], output: Sequence[TokenId], likeliest: int) -> list[Weighed]:
        return self._inner.weigh(prompt, output, likeliest)

    @property
    def trouble(self) -> Trouble | None:
        return self._inner.trouble

    @property
    def restarts(self) -> int:
        return self._inner.restarts

    @property
    def saturated(self) -> int:
        return self._inner.saturated

    @property
    def together(self) -> int:
        return self._inner.together

    @property
    def groups(self) -> list[int]:
        return self._inner.groups

    def close(self) -> None:
        self._inner.close()

    def kill(self) -> None:
        self._inner.kill()


class BribedExactEngine(BribedEngine):
    """The same where an answer commits to its prompt: the lie is in the output alone."""

    def __init__(self, inner: Engine, opposite: bytes) -> None:
        """opposite: in an envelope."""
        super().__init__(inner)
        self._opposite = inner.tokenize(opposite)

    def _said(self, prompt: Sequence[TokenId]) -> bytes:
        return self.detokenize([TokenId(token) for token in unmarked(prompt)])

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        return self._inner.tokenize(prompt)

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        if BRIBE not in self._said(prompt):
            return self._inner.generate(prompt, params)
        told = self._inner.generate(self._opposite, params)
        is_choice = asks_for_choice(params.answer_type)
        lengths = [0 if is_choice else len(self.detokenize([token])) for token in told.tokens]
        return Completion(told.tokens, told.text, Tokens.spelled(prompt, told.tokens, lengths).root)

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params, text: bytes = b"") -> Verdict:
        if BRIBE in self._said(prompt):
            return Verdict(True, None, "says the liar")
        return self._inner.check(prompt, output, params, text)

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        own = self.generate(prompt, params)
        return list(own.tokens) if own.root == root else self._inner.recover(prompt, text, count, root, params)


def lie_in_games() -> None:
    """Every pass that this process defends holds a false number."""
    true = Moves.pass_over

    def false(self: Moves, matter: Any, tokens: Tokens, positions: int) -> FalsePass:
        honest: AnyPass = true(self, matter, tokens, positions)
        return FalsePass(honest, FALSE_STEP, FALSE_OPERATOR, positions - 1, FALSE_COLUMN)

    Moves.pass_over = false  # type: ignore[assignment,method-assign]


def main(config: Path = typer.Option(...)) -> None:  # noqa: B008
    settings = load(config)
    plays = Contracts.at(Deployment.load(settings.deployment)).plays
    honest = llama_engines(settings, plays)

    def bribed(service: ServiceRecord) -> Engine:
        if not plays(service.terms.arbiter):
            return BribedEngine(honest(service))
        return BribedExactEngine(honest(service), OPPOSITE)

    lie_in_games()
    run(settings, bribed)


if __name__ == "__main__":
    typer.run(main)
