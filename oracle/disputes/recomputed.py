"""What manifests commit to, recomputed from their files: no node believes a manifest about a file that it can read.

A manifest may name a popular file by its true SHA-256 and commit to another vocabulary: whoever answers for that model
loses its bond to one refutation, however right the answer is. So commitments are made from the file before a model is
added, checked or served, and compared one by one.

Making them takes as long as hashing the file twice and more. They are remembered in the store, by the file's SHA-256,
with what the file looked like then (device, inode, size, times) and a checksum: a record that is damaged, edited,
copied from elsewhere or about a file that has changed since is not believed, and everything is made again. Whoever can
write the store as this user could forge a record, but could change this program as well.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError

from oracle.disputes import commitments
from oracle.errors import DiskFull, WrongCommitments, printable
from oracle.models.download import OnBytes, ignore_bytes
from oracle.models.manifest import Manifest
from oracle.models.store import ModelStore

log = structlog.get_logger()

FOLDER = "commitments"
RULES = 2
"""Raised whenever the same file would commit to something else than before: what was remembered is made again."""
_making = threading.Lock()  # services of one model would otherwise all read its file at once


@dataclass(frozen=True)
class Recomputed:
    """What a file's manifest must commit to."""

    weights_root: bytes
    architecture: bytes


def commits(manifest: Manifest) -> bool:
    """Whether a manifest says anything about its file's numbers."""
    return any(manifest.weights_root) or bool(manifest.architecture)


def verify(store: ModelStore, manifest: Manifest, on_bytes: OnBytes = ignore_bytes) -> None:
    """Raises WrongCommitments if the file says otherwise than the manifest, BadModelFile if it is not the file."""
    if commits(manifest):
        compare(manifest, of_file(store, manifest, on_bytes))


def of_file(store: ModelStore, manifest: Manifest, on_bytes: OnBytes = ignore_bytes) -> Recomputed:
    """The commitments of the file that `manifest` names, whatever it says about them.

    on_bytes: counts the file's bytes, then its weights'; nothing where they are remembered. Raises BadModelFile.
    """
    file, path = store.file(manifest), store.root / FOLDER / f"{manifest.file_sha256.hex()}.json"
    with _making:
        known = _remembered(path, file.identity)
        if known is not None:
            return known
        file.verify(on_bytes)
        made = commitments.commit(file.path, on_bytes)
        identity = file.identity
        file.verify(on_bytes)  # not replaced while it was being read
        found = Recomputed(made.weights_root, made.architecture)
        try:
            _remember(path, identity, found)
            commitments.keep(file.path, made.weights)
        except (OSError, DiskFull) as error:
            log.warning("commitments cannot be remembered", store=str(store.root), reason=str(error))
        return found


def compare(manifest: Manifest, made: Recomputed | commitments.Commitments) -> None:
    """Raises WrongCommitments with every difference."""
    found = list(_differences(manifest, made))
    if found:
        raise WrongCommitments(
            f"the manifest of {printable(manifest.name)} does not say what its file holds: {'; '.join(found)}. "
            "Whoever answers for this model loses: use another manifest"
        )


def _differences(manifest: Manifest, made: Recomputed | commitments.Commitments) -> Iterator[str]:
    if manifest.weights_root != made.weights_root:
        yield _differs("weights root", manifest.weights_root, made.weights_root)
    if manifest.architecture == made.architecture:
        return
    try:
        said = decode(commitments.NUMBERS, manifest.architecture)
    except DecodingError:
        yield f"its architecture of {len(manifest.architecture)} bytes cannot be read"
        return
    fields = list(zip(commitments.FIELDS, said, decode(commitments.NUMBERS, made.architecture), strict=True))
    yield from (_differs(name, here, there) for name, here, there in fields if here != there)
    if all(here == there for _, here, there in fields):
        yield "its architecture is encoded otherwise than the contracts read it"


def _differs(name: str, said: int | bytes, held: int | bytes) -> str:
    here, there = (f"0x{value.hex()}" if isinstance(value, bytes) else str(value) for value in (said, held))
    return f"{name} {here}, the file has {there}"


def _remembered(path: Path, identity: tuple[int, ...]) -> Recomputed | None:
    """None for anything but a whole record about the file as it is."""
    try:
        record = json.loads(path.read_bytes())
        checksum = record.pop("checksum")
        found = Recomputed(bytes.fromhex(record["weightsRoot"]), bytes.fromhex(record["architecture"]))
        known: list[int] = record["identity"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        checksum, known, record, found = "", [], {}, None
    if found is None or checksum != _checksum(path.stem, record) or known != list(identity):
        log.warning("commitments are made again", record=str(path), reason="the record is not about this file")
        return None
    return found


def _remember(path: Path, identity: tuple[int, ...], found: Recomputed) -> None:
    record: dict[str, object] = {
        "identity": list(identity),
        "weightsRoot": found.weights_root.hex(),
        "architecture": found.architecture.hex(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")  # nodes may share a store
    partial.write_text(json.dumps({**record, "checksum": _checksum(path.stem, record)}, indent=2) + "\n")
    os.replace(partial, path)


def _checksum(sha256: str, record: dict[str, object]) -> str:
    """Another where a manifest says other numbers of a file."""
    said = RULES, sha256, commitments.NUMBERS, commitments.LAYER_ROLES, record
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
