"""Where an operator says a model file is: on this machine, at an https address, or on the Hugging Face hub.

    /path/file.gguf    https://host/file.gguf    hf:ORG/REPO/FILE.gguf[@REVISION]

For the hub, the commit, size and SHA-256 are asked for first and pinned; the bytes then come through `download` like
any other. A branch may move tomorrow, the pinned commit may not.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from oracle.errors import BadModelFile, DownloadFailed
from oracle.models.download import OnBytes, Source, download
from oracle.models.files import at_home
from oracle.models.store import ModelStore

HUB = re.compile(r"hf:([\w.-]+/[\w.-]+)/([^@]+\.gguf)(?:@([\w./-]+))?")
SPLIT = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
HUB_ENDPOINT = "https://huggingface.co"
LARGEST_FILE = 1 << 40


@dataclass(frozen=True)
class Located:
    """A file that can be downloaded, with what is known about it beforehand."""

    uri: str
    """For the manifest; names a commit where there is one."""
    url: str
    sha256: bytes | None = None
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def locate(text: str) -> Located | Path:
    """What `text` names. Asks the hub if need be. Raises BadModelFile, DownloadFailed."""
    if SPLIT.search(text.partition("@")[0]):
        raise BadModelFile("this is one part of several; a model must be one file (join them with llama-gguf-split)")
    if text.startswith("hf:"):
        return _on_the_hub(text)
    if "://" in text:
        return Located(text, text)
    return at_home(Path(text))


def fetch(located: Located, store: ModelStore, on_bytes: OnBytes) -> bytes:
    """Downloads into the store, or finds it there; returns its SHA-256. Raises as `download` does."""
    source = Source(located.url, located.size or LARGEST_FILE, located.sha256, located.headers)
    if located.sha256 is None:
        incoming = store.incoming_path("download")
        download(source, incoming, on_bytes)
        return store.take(incoming)
    if not store.file_path(located.sha256).exists():
        download(source, store.file_path(located.sha256), on_bytes)
    return located.sha256


def _on_the_hub(text: str) -> Located:
    match = HUB.fullmatch(text)
    if match is None:
        raise BadModelFile(f"{text!r} is not of the form hf:ORG/REPO/FILE.gguf or hf:ORG/REPO/FILE.gguf@REVISION")
    try:
        import huggingface_hub as hub  # noqa: PLC0415  # an extra, and slow to import: only this road needs it
        from huggingface_hub import errors as hub_errors  # noqa: PLC0415
    except ImportError as error:
        raise BadModelFile("install didyma[hub] to fetch from the Hugging Face hub") from error
    repo, name, revision = match.groups()
    endpoint = os.environ.get("HF_ENDPOINT", HUB_ENDPOINT)
    token = hub.get_token()
    try:
        url = hub.hf_hub_url(repo, name, revision=revision, endpoint=endpoint)
        found = hub.get_hf_file_metadata(url, token=token or False, endpoint=endpoint)
    except (hub_errors.HfHubHTTPError, hub_errors.HFValidationError) as error:
        raise DownloadFailed(f"the hub does not give {repo}/{name}: {str(error).splitlines()[0]}") from error
    except (OSError, httpx.HTTPError) as error:
        raise DownloadFailed(f"the hub at {endpoint} cannot be reached") from error
    if found.commit_hash is None or found.size is None:
        raise DownloadFailed("the hub names neither commit nor size; is this a model repository?")
    known = re.fullmatch(r"[0-9a-f]{64}", found.etag or "")  # the SHA-256, for every large file
    return Located(
        uri=f"hf:{repo}/{name}@{found.commit_hash}",
        url=hub.hf_hub_url(repo, name, revision=found.commit_hash, endpoint=endpoint),
        sha256=bytes.fromhex(known[0]) if known else None,
        size=found.size,
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )
