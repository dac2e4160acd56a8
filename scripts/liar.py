"""A dishonest node for the demo: the real daemon, with an engine that was bribed about one question.

Asked anything that holds BRIBED, it answers as if asked about OPPOSITE, and finds its own answers right.
"""

from collections.abc import Sequence
from pathlib import Path

import typer

from oracle.chain.contracts import Contracts
from oracle.deployment import Deployment
from oracle.engines.base import Completion, Engine, Params, TokenId, Verdict
from oracle.node.engines import llama_engines
from oracle.node.records import ServiceRecord
from oracle.node.serve import run
from oracle.node.settings import load

BRIBED = b"Delphi"
OPPOSITE = b"Wonderful food, I loved it."


class BribedEngine:
    """An honest engine, but for one question."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    def tokenize(self, prompt: bytes) -> list[TokenId]:
        return self._inner.tokenize(OPPOSITE if BRIBED in prompt else prompt)

    def generate(self, prompt: Sequence[TokenId], params: Params) -> Completion:
        return self._inner.generate(prompt, params)

    def check(self, prompt: Sequence[TokenId], output: Sequence[TokenId], params: Params) -> Verdict:
        return self._inner.check(prompt, output, params)

    def detokenize(self, tokens: Sequence[TokenId]) -> bytes:
        return self._inner.detokenize(tokens)

    def recover(
        self, prompt: Sequence[TokenId], text: bytes, count: int, root: bytes, params: Params
    ) -> list[TokenId] | None:
        return self._inner.recover(prompt, text, count, root, params)


def main(config: Path = typer.Option(...)) -> None:  # noqa: B008
    settings = load(config)
    honest = llama_engines(settings, Contracts.at(Deployment.load(settings.deployment)).plays)

    def bribed(service: ServiceRecord) -> Engine:
        return BribedEngine(honest(service))

    run(settings, bribed)


if __name__ == "__main__":
    typer.run(main)
