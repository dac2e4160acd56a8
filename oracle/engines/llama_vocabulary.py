"""The vocabulary of a GGUF file as llama.cpp reads it: for turning a wrapper's text into token ids."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from oracle.engines.base import Description, TokenId
from oracle.engines.llama_native import NativeModel


class Vocabulary:
    """Loaded without the weights."""

    def __init__(self, path: Path) -> None:
        self._model = NativeModel(path, vocabulary_only=True)

    def describe(self, texts: Sequence[bytes]) -> Description:
        """Special tokens in `texts` stand for themselves."""
        start = self._model.start_token()
        return Description(
            tokens=tuple(tuple(TokenId(token) for token in self._model.tokenize(text, True)) for text in texts),
            start_token=None if start is None else TokenId(start),
            end_tokens=tuple(TokenId(token) for token in self._model.end_tokens()),
            trained_context=self._model.trained_context,
        )


def load(arguments: dict[str, Any], on_progress: Callable[[str, int, int], None]) -> Vocabulary:
    """In a worker: for `llama_settings.vocabulary_setup`."""
    return Vocabulary(Path(arguments["path"]))
