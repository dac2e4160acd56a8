"""Judging a reply of a node's HTTP API: what it carries is run again, from the model's file alone.

A reply is nobody's bonded word: it says which tokens its node gave, and this says whether they are the model's.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from oracle.client.typed import type_asked
from oracle.client.verify import Make, in_worker, patiently
from oracle.engines.answer_types import Malformed, Pattern, Verdict, heading
from oracle.engines.base import Engine, Params, TokenId
from oracle.engines.choice import engine_setup
from oracle.engines.judging import Finding, Posted, judge
from oracle.engines.llama_settings import LlamaSettings
from oracle.engines.worker import OnProgress, ignore_progress
from oracle.errors import Refused
from oracle.ids import ModelId
from oracle.models.manifest import Manifest
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
    said: str | None = None
    """What the reply says to whoever reads it; None if that is not there, as in the last event of a stream."""

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
        return replace(cls.of(found[FIELD]), said=_said(found))

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


def _said(reply: Mapping[str, Any]) -> str | None:
    """Raises Refused where several things are said."""
    try:
        (choice,) = reply["choices"]
        return str(choice["message"]["content"] if "message" in choice else choice["text"])
    except (KeyError, TypeError, ValueError):
        if "usage" in reply and "choices" not in reply:
            raise Refused("the reply has no choices") from None
        return None


def _bytes(said: Mapping[str, Any], name: str) -> bytes:
    return bytes.fromhex(str(said[name]).removeprefix("0x"))


def _number(said: Mapping[str, Any], name: str) -> int:
    number = said[name]
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ValueError(f"{name} is no number of 32 bits")
    return number


def _spelled(engine: Engine, reply: Reply, manifest: Manifest) -> str:
    """What a reply must say whose output is the one it carries."""
    kind, output = type_asked(reply.prompt, manifest, reply.params.max_tokens), reply.posted.text
    if kind is None or isinstance(kind, Pattern):
        return output.decode("utf-8", "replace")
    said = Verdict.of(output)
    if isinstance(kind, Malformed) or said is None or said.index >= len(kind.rows):
        return ""
    row = [TokenId(token) for token in kind.rows[said.index]]
    return engine.detokenize(row).decode("utf-8", "replace").removeprefix(" ")


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
        if reply.said is not None and reply.said != patiently(lambda: _spelled(engine, reply, manifest)):
            return Finding(False, "what it says is not the output that it carries")
        found = patiently(lambda: judge(engine, reply.prompt, reply.posted, reply.params))
    finally:
        engine.close()
    if found.correct is None:
        raise Refused(f"the engine cannot tell: {found.reason}")
    return found
