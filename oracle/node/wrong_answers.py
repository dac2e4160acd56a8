"""The files of wrong answers: what a person needs to see why this node called an answer wrong. One JSON file each."""

import json
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from oracle.chain.types import Block
from oracle.engines.judging import Finding
from oracle.node.records import PostedAnswer, RequestRecord

PACKAGES = ("didyma", "llama-cpp-python", "torch", "numpy")


def save(folder: Path, record: RequestRecord, posted: PostedAnswer, seed: Block, found: Finding) -> Path:
    """Writes the file, whole or not at all, readable by its owner only: prompts may be private. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.id:064x}-{posted.answer.turn}-{posted.answer.hash.hex()[:16]}.json"
    content = {
        "request_id": f"0x{record.id:064x}",
        "request": record.request.to_json(),
        "prompt": record.prompt.hex(),
        "turn": posted.answer.turn,
        "operator": posted.operator,
        "answer": posted.answer.to_json(),
        "output": posted.output.hex(),
        "seed_block": {"number": seed.number, "hash": seed.hash.hex(), "prev_randao": seed.prev_randao.hex()},
        "reason": found.reason,
        "position": found.position,
        "tokens": None if found.tokens is None else list(found.tokens),
        "versions": {name: found_version for name in PACKAGES if (found_version := _version(name))},
    }
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(content, file, indent=2)
    os.replace(partial, path)
    return path


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
