"""An engine whose logits come from an inference server, judged by the same tolerance as llama.cpp's own.

Vocabulary, sampling and checks are the llama.cpp engine's; only rows of logits are a server's (`servers.py`), asked
for through the worker's parent. Checks compare distances from the best logit, and log-probabilities have the same
distances. A server tells the likeliest tokens of a row and not all of it. Of the others it is known that they are no
likelier than the last that was told. So each row is read twice: with tokens as likely as they can be and their rivals
as little, and the other way round. Where both readings say the same, so does the whole row; else more is asked for.

A server is believed only after its rows were compared with those of the manifest's file, computed here by llama.cpp:
another model, quantization or vocabulary shows there, unless it differs by less than the tolerance.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from oracle.engines import proof
from oracle.engines.base import OnProgress, Params, TokenId, ignore_progress
from oracle.engines.llama import LlamaEngine, Reading, Row, Rows
from oracle.engines.llama_native import NativeModel
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.margins import HOPELESS, LARGEST_LOGIT, Logits, fixed_point
from oracle.engines.servers import MOST_VALUES
from oracle.errors import EngineServerFailed, ProofFailed
from oracle.models.files import ModelFile
from oracle.models.manifest import Manifest
from oracle.models.shipped import known_answer

T = TypeVar("T")
FIRST_WIDTH, WIDER = 32, 8
"""Tokens of a row that are asked for, and how many times as many where these do not decide."""
COMPARED = 8
"""The likeliest tokens of a row, here and there, whose distances from the best are compared."""

Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""A question of `EngineServer.answer`. Raises EngineServerFailed."""


class ServerRows:
    """A sequence whose rows a server computes."""

    def __init__(self, ask: Ask, vocabulary: int, filler: int) -> None:
        """vocabulary: how many tokens the model has. filler: one of them that spells nothing."""
        self._ask, self._vocabulary, self._filler = ask, vocabulary, filler
        self._tokens: list[int] = []

    def truncate(self, length: int) -> None:
        del self._tokens[length:]

    def read(self, tokens: Sequence[TokenId], rows_from: int, reading: Reading[T]) -> list[T]:
        before = len(self._tokens)
        self._tokens += tokens
        width = min(FIRST_WIDTH, self._vocabulary)
        most = MOST_VALUES // (width + 1)
        found: list[T] = []
        for start in range(rows_from, len(tokens), most):
            end = min(start + most, len(tokens))
            rows = self.rows(before + end, end - start, width)
            found += [self._decided(row, width, before, at, reading) for at, row in enumerate(rows, start)]
        return found

    def rows(self, length: int, rows: int, width: int) -> list[tuple[list[int], Logits]]:
        """Ids and log-probabilities, the likeliest first, after each of the last `rows` of the first `length` tokens.

        Raises EngineServerFailed.
        """
        question = {"tokens": self._tokens[:length], "rows": rows, "width": width, "filler": self._filler}
        return [(ids, np.array(values, np.int64)) for ids, values in self._ask(question)["rows"]]

    def _decided(self, row: tuple[list[int], Logits], width: int, before: int, at: int, reading: Reading[T]) -> T:
        """What a row says, of which more is asked for until what was not told makes no difference."""
        while True:
            ids, values = row
            if max(ids) >= self._vocabulary:
                raise EngineServerFailed(f"the engine's server tells of token {max(ids)}: it serves another model")
            most, least = (np.full(self._vocabulary, rest) for rest in (values[width - 1], -LARGEST_LOGIT))
            most[ids] = least[ids] = values
            said = reading(at, Row(most, least))
            if len(ids) == self._vocabulary or reading(at, Row(least, most)) == said:
                return said
            width = min(width * WIDER, self._vocabulary)
            (row,) = self.rows(before + at + 1, 1, width)


class RemoteEngine(LlamaEngine):
    """One model on a server, under one manifest. Not thread-safe."""

    def __init__(
        self,
        file: ModelFile,
        manifest: Manifest,
        tolerance: int,
        settings: LlamaSettings,
        ask: Ask,
        on_progress: OnProgress = ignore_progress,
    ) -> None:
        """tolerance: as for LlamaEngine. settings: of the one comparison with the file.

        Raises BadModelFile.
        """
        self._ask, self._settings = ask, settings
        super().__init__(file, manifest, tolerance, settings, on_progress)

    def _open(self, settings: LlamaSettings) -> NativeModel:
        return NativeModel(self._file.path, vocabulary_only=True)

    def _begun(self, settings: LlamaSettings) -> Rows:
        self._server = ServerRows(self._ask, self._model.vocabulary, self._first_stop)
        return self._server

    def prove(self) -> str:
        """Raises ProofFailed, EngineServerFailed."""
        context, vocabulary = self._manifest.context_length, self._model.vocabulary
        question = [*proof.spread(vocabulary, context - 1), TokenId(vocabulary - 1)]
        here = self._computed_here(question)
        self.forget()
        self._server.read(question, len(question), lambda at, row: None)
        width = min(FIRST_WIDTH, vocabulary)
        there = self._server.rows(len(question), len(question), width)
        worst = max(self._apart(*pair) for pair in zip(here, there, strict=True))
        (whole,) = self._server.rows(len(question), 1, vocabulary)  # whether it tells all that a close call needs
        worst = max(worst, self._apart(here[-1], whole))
        known = known_answer(self._manifest.file_sha256)
        if known is not None and len(known.prompt) + len(known.tokens) <= context:
            prompt, tokens = ([TokenId(token) for token in each] for each in (known.prompt, known.tokens))
            if HOPELESS in self.shortfalls(prompt, tokens, Params(len(tokens))):
                raise ProofFailed("the server gives another answer than is known of this file")
        return f"{len(question)} rows of a server and of the file, at most {worst / 65536:.4f} logits apart"

    def _computed_here(self, question: Sequence[TokenId]) -> list[Logits]:
        """Rows of the file, loaded for this alone."""
        model = NativeModel(self._file.path, self._settings.gpu_layers, self._on_load)
        try:
            sequence = model.sequence(len(question), self._settings.batch, self._settings.threads)
            found: list[Logits] = []
            sequence.extend(question, 0, lambda _, row: found.append(fixed_point(row)))
            sequence.close()
        finally:
            model.close()
        self._on_progress("prove", len(found), len(found))
        return found

    def _apart(self, here: Logits, there: tuple[list[int], Logits]) -> int:
        """How far a row's likeliest tokens lie apart at most. Raises ProofFailed."""
        ids, values = there
        if max(ids) >= len(here):
            raise ProofFailed(f"the server tells of token {max(ids)}, the manifest's file has {len(here)}")
        told = {token: int(values[0] - value) for token, value in zip(ids, values, strict=True)}
        likeliest = np.argsort(-here, kind="stable")[:COMPARED]
        worst = 0
        for token in {*ids[:COMPARED], *likeliest.tolist()}:
            distance = int(here.max() - here[token])
            apart = abs(distance - told.get(token, int(values[0] - values[-1])))
            if apart > self._tolerance:
                raise ProofFailed(
                    f"the server's token {token} lies {apart / 65536:.4f} logits from where the manifest's file has it,"
                    " more than the service tolerates: it serves another model, or another quantization of it"
                )
            worst = max(worst, apart)
        return worst


def load(arguments: dict[str, Any], on_progress: OnProgress, ask: Ask) -> RemoteEngine:
    """In a worker: the engine that `llama_settings.remote_setup` describes."""
    manifest = Manifest.from_json(arguments["manifest"])
    settings = LlamaSettings(**arguments["settings"])
    file = ModelFile.of(manifest, arguments["path"])
    return RemoteEngine(file, manifest, arguments["tolerance"], settings, ask, on_progress)
