"""Judging a reply of a node's HTTP API: what it carries is run again, from the model's file alone.

A reply is nobody's bonded word: it says which tokens its node gave, and this says whether they are the model's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from oracle.client.verify import Make, in_worker, patiently
from oracle.engines.answer_types import heading
from oracle.engines.base import Params
from oracle.engines.choice import engine_setup
from oracle.engines.judging import Finding, Posted, judge
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.worker import OnProgress, ignore_progress
from oracle.errors import Refused
from oracle.ids import ModelId
from oracle.models.store import ModelStore

MOST_BYTES = 16 << 20
FIELD = "didyma"


@dataclass(frozen=True)
class Reply:
    """What judges a reply."""

    model: ModelId
    for_game: bool
    """Whether its root commits to the prompt as well."""
    prompt: bytes
    params: Params
    posted: Posted

    @classmethod
    def read(cls, file: Path) -> "Reply":
        """A whole reply, or the last event of a stream. Raises Refused."""
        try:
            if file.stat().st_size > MOST_BYTES:
                raise Refused(f"{file} is larger than any reply")
            found = json.loads(file.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise Refused(f"{file} is no reply: {error}") from None
        if not isinstance(found, dict) or not isinstance(found.get(FIELD), dict):
            raise Refused(f"{file} has no field {FIELD!r}: save the node's whole reply, or the last event of a stream")
        return cls.of(found[FIELD])

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Reply":
        """Raises Refused."""
        try:
            prompt, output = _bytes(said, "prompt"), _bytes(said, "output")
            if keccak(output) != _bytes(said, "output_digest"):
                raise ValueError("the output is not the one of its digest")
            if said["judged_by"] not in ("game", "panel"):
                raise ValueError("judged_by is neither game nor panel")
            most, temperature, count = (_number(said, name) for name in ("max_tokens", "temperature", "token_count"))
            params = Params(most, temperature, seed=_bytes(said, "seed"), answer_type=heading(prompt))
            posted = Posted(output, count, _bytes(said, "tokens_root"))
            return cls(ModelId(_bytes(said, "model")), said["judged_by"] == "game", prompt, params, posted)
        except KeyError as error:
            raise Refused(f"the reply carries no {error}") from None
        except ValueError as error:
            raise Refused(f"what the reply carries cannot be judged: {error}") from None


def _bytes(said: Mapping[str, Any], name: str) -> bytes:
    return bytes.fromhex(str(said[name]).removeprefix("0x"))


def _number(said: Mapping[str, Any], name: str) -> int:
    number = said[name]
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ValueError(f"{name} is no number of 32 bits")
    return number


def verify_reply(
    reply: Reply,
    store: ModelStore,
    *,
    file: Path | None = None,
    threads: int | None = None,
    on_progress: OnProgress = ignore_progress,
    make: Make = in_worker,
) -> Finding:
    """file: the model's, where the store lacks it. Raises Refused where it cannot be judged."""
    manifest = store.manifest(reply.model)
    path = store.file_path(manifest.file_sha256) if file is None else file
    if not path.is_file():
        raise Refused(f"the file of model {manifest.name!r} is not in {store.root}: name it with --file")
    tolerance = None if reply.for_game else 0
    engine = make(engine_setup(manifest, path, tolerance, LlamaSettings(), threads=threads), on_progress)
    try:
        found = patiently(lambda: judge(engine, reply.prompt, reply.posted, reply.params))
    finally:
        engine.close()
    if found.correct is None:
        raise Refused(f"the engine cannot tell: {found.reason}")
    return found
