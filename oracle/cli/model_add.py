"""From a model file in the store to a manifest.

The wrapper's text becomes token ids once, here; the manifest then fixes the ids, and chat templates found in files are
never looked at. The vocabulary is read by llama.cpp in a worker process, after the strict reader has passed the file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from oracle.engines.base import Description, TokenId
from oracle.engines.llama_settings import vocabulary_setup
from oracle.engines.worker import WorkerEngine
from oracle.errors import BadManifest
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore

USUAL_CONTEXT = 4096  # tokens; a longer one costs memory on every node
REPLACEMENT = "?"


@dataclass(frozen=True)
class Wrapper:
    """What the operator wants around a prompt, as text in which special tokens stand for themselves."""

    prefix: str = ""
    suffix: str = ""
    stops: Sequence[str] = ()
    """Each the text of one token, or its id; empty for what the file says."""


def make_manifest(
    store: ModelStore, sha256: bytes, *, name: str, uri: str, wrapper: Wrapper, context: int | None
) -> Manifest:
    """context: most tokens in all; None for what the model was trained on, up to USUAL_CONTEXT.

    Raises BadModelFile, BadManifest, EngineCrashed.
    """
    path = store.file_path(sha256)
    texts = [wrapper.prefix, wrapper.suffix, *wrapper.stops, REPLACEMENT]
    reader = WorkerEngine(vocabulary_setup(path))
    try:
        reader.start()
        described = reader.describe([text.encode() for text in texts])
    finally:
        reader.close()
    if context is not None and context > described.trained_context:
        raise BadManifest(f"the model was trained on {described.trained_context} tokens, fewer than {context}")
    return Manifest(
        name=name,
        file_sha256=sha256,
        file_bytes=path.stat().st_size,
        uri=uri,
        context_length=context or min(described.trained_context, USUAL_CONTEXT),
        prefix_tokens=_with_start(described.tokens[0], described),
        suffix_tokens=described.tokens[1],
        stop_tokens=_stop_tokens(wrapper.stops, described),
        replacement_token=_replacement(described),
    )


def _replacement(described: Description) -> int:
    """The last token of REPLACEMENT: some vocabularies put a space before it."""
    tokens = described.tokens[-1]
    if not tokens:
        raise BadManifest(f"no token of the file spells {REPLACEMENT!r}, which is read in place of unknown tokens")
    return tokens[-1]


def _with_start(prefix: Sequence[TokenId], described: Description) -> tuple[int, ...]:
    start = described.start_token
    return tuple(prefix) if start is None or list(prefix[:1]) == [start] else (start, *prefix)


def _stop_tokens(stops: Sequence[str], described: Description) -> tuple[int, ...]:
    if not stops:
        if not described.end_tokens:
            raise BadManifest("the file names no end token; give one with --stop")
        return described.end_tokens
    chosen = []
    for text, tokens in zip(stops, described.tokens[2:-1], strict=True):
        if text.isdecimal():
            chosen.append(int(text))
        elif len(tokens) == 1:
            chosen.append(tokens[0])
        else:
            raise BadManifest(f"{text!r} is {len(tokens)} tokens; a stop token is one")
    return tuple(chosen)
