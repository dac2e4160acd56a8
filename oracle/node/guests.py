"""Answers for those who ask this node over HTTP: computed as for the chain, and posted nowhere.

An answer is generated in pieces of a few tokens, so that what the chain wants never waits long for a guest, and so that
a guest reads along. The exact engine keeps what it has read; so a piece costs little more than its tokens. The same
prompt, parameters and seed give the same tokens as a request on chain would, and `didyma verify --reply` checks them.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from eth_hash.auto import keccak

from oracle.chain.contracts import Contracts
from oracle.client.choices import Choices, Reader
from oracle.client.patterns import forms
from oracle.client.patterns.patterned import Patterned
from oracle.engines.answer_types import asks_for_choice
from oracle.engines.base import Completion, Engine, Params, TokenId, Weighed
from oracle.engines.prompts import FULL_OUTPUT_BYTES
from oracle.errors import NotServed
from oracle.ids import ModelId, ServiceId
from oracle.merkle.tokens import Tokens, tokens_root
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore
from oracle.node.records import ServiceRecord
from oracle.node.workshop import Workshop

PIECE = 8  # tokens, and then another's turn


@dataclass(frozen=True)
class Offer:
    """A service as guests see it."""

    service: ServiceRecord
    manifest: Manifest
    for_game: bool
    """Whether the dispute game judges it: its roots commit to the prompt as well."""


@dataclass(frozen=True)
class Piece:
    """Some more of an answer."""

    tokens: tuple[TokenId, ...]
    text: bytes
    weights: tuple[Weighed, ...] = ()
    """Of each token, where they were asked for."""


@dataclass(frozen=True)
class Answer:
    """A whole answer, and what it commits to."""

    tokens: tuple[TokenId, ...]
    text: bytes
    root: bytes
    prompt_tokens: int
    ended: bool
    """Whether the model ended it; else it is as long as was asked for."""
    weights: tuple[Weighed, ...] = ()
    """Of each token, where they were asked for."""

    @property
    def digest(self) -> bytes:
        """keccak256 of the output, as an answer on chain has it."""
        return keccak(self.text)


class Guests:
    """Asks the node's engines for guests."""

    def __init__(self, workshop: Workshop, store: ModelStore, contracts: Contracts) -> None:
        self._workshop, self._store, self._contracts = workshop, store, contracts
        self._offers: dict[ServiceId, Offer] = {}
        self._readers: dict[ModelId, Reader] = {}
        self._reading, self._compiling = asyncio.Lock(), asyncio.Lock()

    def offer(self, service: ServiceRecord) -> Offer | None:
        """None for services that the exact engine does not answer: a piece of those would cost a whole prompt.

        Raises UnknownModel, BadManifest.
        """
        for_game = self._contracts.plays(service.terms.arbiter)
        if not for_game and not service.panel.exact:
            return None
        if service.id not in self._offers:
            self._offers[service.id] = Offer(service, self._store.manifest(service.terms.model), for_game)
        return self._offers[service.id]

    async def choices(self, offer: Offer, words: Sequence[str]) -> Choices[str]:
        """The choice of these words. Raises BadType, BadModelFile."""
        return (await self._reader(offer.manifest)).choices(words)

    async def pattern(self, offer: Offer, schema: Any) -> Patterned[Any]:
        """What a JSON schema allows. Raises BadType, BadModelFile. One is compiled at a time, for seconds at worst."""
        reader = await self._reader(offer.manifest)
        async with self._compiling:
            return await asyncio.to_thread(lambda: reader.pattern(forms.schema(schema)))

    async def _reader(self, manifest: Manifest) -> Reader:
        """A model's vocabulary is read once, which takes seconds, and in a thread that nothing else uses."""
        async with self._reading:
            if manifest.model_id not in self._readers:
                file = self._store.file_path(manifest.file_sha256)
                self._readers[manifest.model_id] = await asyncio.to_thread(lambda: Reader.of(manifest, file))
            return self._readers[manifest.model_id]

    async def tokenize(self, service: ServiceId, prompt: bytes) -> list[TokenId]:
        """The prompt's tokens, with the wrapper's. Raises PromptTooLong, NotServed, EngineCrashed."""
        return await self._workshop.beside(service, lambda engine: engine.tokenize(prompt))

    async def answer(
        self, offer: Offer, prompt: list[TokenId], params: Params, likeliest: int | None = None
    ) -> AsyncGenerator[Piece | Answer, None]:
        """The pieces of an answer as they come, then the answer. params: of a request on chain. likeliest: how many
        others to tell beside each token's log-probability; None for no weights. A typed answer has none.

        Raises NotServed, EngineCrashed.
        """
        service, stops = offer.service.id, offer.manifest.stop_tokens
        if asks_for_choice(params.answer_type):  # its answer is short, and no part of it is a text
            whole = await self._workshop.beside(service, lambda engine: engine.generate(prompt, params))
            yield Answer(whole.tokens, whole.text, whole.root, len(prompt), ended=True)
            return
        room = min(params.max_tokens, offer.manifest.context_length - len(prompt))
        tokens: list[TokenId] = []
        lengths: list[int] = []
        weights: list[Weighed] = []
        text = b""
        while True:
            left = room - len(tokens)
            piece = min(PIECE, left)
            asked = replace(params, max_tokens=piece, said=len(tokens), later=left - piece)
            others = None if params.answer_type else likeliest
            work = partial(_piece, prompt=[*prompt, *tokens], params=asked, likeliest=others)
            made, spelled, weighed = await self._workshop.beside(service, work)
            tokens += made.tokens
            lengths += spelled
            weights += weighed
            text += made.text
            yield Piece(made.tokens, made.text, tuple(weighed))
            ended = tokens[-1] in stops or len(text) >= FULL_OUTPUT_BYTES
            if ended or len(tokens) >= room:
                root = Tokens.spelled(prompt, tokens, lengths).root if offer.for_game else tokens_root(tokens)
                yield Answer(tuple(tokens), text, root, len(prompt), ended, tuple(weights))
                return


def _piece(
    engine: Engine, prompt: list[TokenId], params: Params, likeliest: int | None
) -> tuple[Completion, list[int], list[Weighed]]:
    """What comes next, how many bytes each of its tokens spells, and how likely each was."""
    made = engine.generate(prompt, params)
    if not 0 < len(made.tokens) <= params.max_tokens:
        raise NotServed(f"the engine gave {len(made.tokens)} tokens where {params.max_tokens} were asked for")
    weighed = [] if likeliest is None else engine.weigh(prompt, made.tokens, likeliest)
    return made, [len(engine.detokenize([token])) for token in made.tokens], weighed
