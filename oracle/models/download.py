"""Downloads of model files: resumable, bounded, complete or not there.

Nothing on the chain causes a download; an operator does, and the SHA-256 decides what was received. A file appears
under its final name only when its hash is known; never are more bytes written than expected. What arrived before
a failure stays in a `.part` file and is continued, but only towards a known hash: without one, two halves of two
different files would pass for a whole.
"""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from oracle.errors import BadModelFile, DiskFull, DownloadFailed
from oracle.models.download_guard import open_checked

CHUNK_BYTES = 1 << 20
TRIES_WITHOUT_PROGRESS = 4
SPARE_BYTES = 64 << 20  # left free for the journal, which must go on
GGUF_MAGIC = b"GGUF"
TIMEOUT = httpx.Timeout(30, read=60)

OnBytes = Callable[[int, int], None]
"""(bytes so far, bytes in all; 0 while unknown)."""


def ignore_bytes(done: int, total: int) -> None:
    pass


@dataclass(frozen=True)
class Source:
    """What to fetch and what is known about it."""

    url: str
    max_bytes: int
    """The file's size if a manifest or a hub tells it; else the most to accept."""
    sha256: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def download(
    source: Source, target: Path, on_bytes: OnBytes = ignore_bytes, pause: Callable[[float], None] = time.sleep
) -> bytes:
    """Fetches `source` to `target` and returns its SHA-256.

    Raises DownloadFailed and DiskFull (what arrived is kept; run it again), BadModelFile (the source serves something
    else; nothing is kept).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    if source.sha256 is None:
        part.unlink(missing_ok=True)
    try:
        _fetch_all(source, part, on_bytes, pause)
        digest = file_sha256(part)
        if source.sha256 not in (None, digest):
            raise BadModelFile(f"the file has SHA-256 {digest.hex()}, not the expected {(source.sha256 or b'').hex()}")
    except BadModelFile:
        part.unlink(missing_ok=True)
        raise
    os.replace(part, target)
    return digest


def file_sha256(path: Path, on_bytes: OnBytes = ignore_bytes) -> bytes:
    """32 bytes, streamed."""
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            on_bytes(done, total)
    return digest.digest()


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turns the operating system's "no space left" into DiskFull."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise DiskFull(f"{error.strerror}: free some space and run this again") from error
        raise


def need_space(folder: Path, size: int) -> None:
    """Raises DiskFull if `size` more bytes do not fit."""
    free = shutil.disk_usage(folder).free
    if free < size + SPARE_BYTES:
        raise DiskFull(f"{folder} has {free} bytes free; {size} are needed, and {SPARE_BYTES} to spare")


class _Interrupted(Exception):
    """The server ended early or is busy; asking again may give the rest."""


def _fetch_all(source: Source, part: Path, on_bytes: OnBytes, pause: Callable[[float], None]) -> None:
    tries = 0
    while True:
        before = _size(part)
        try:
            return _fetch(source, part, on_bytes)
        except (httpx.TransportError, _Interrupted) as error:
            tries = 1 if _size(part) > before else tries + 1
            if tries >= TRIES_WITHOUT_PROGRESS:
                how = str(error) or type(error).__name__
                raise DownloadFailed(f"broke off at {_size(part)} bytes ({how}); run this again") from error
            pause(2.0**tries / 2)


def _fetch(source: Source, part: Path, on_bytes: OnBytes) -> None:
    """One attempt: from where `part` ends to the end of the file. Raises _Interrupted, httpx.TransportError."""
    start = _size(part) if source.sha256 is not None else 0
    if start and start == source.max_bytes:
        return
    headers = {**source.headers, **({"Range": f"bytes={start}-"} if start else {})}
    with (
        httpx.Client(timeout=TIMEOUT, trust_env=False, verify=httpx.create_ssl_context()) as client,
        open_checked(client, source.url, headers) as response,
    ):
        if response.status_code == 416 and start:
            part.unlink()
            raise _Interrupted("the server's file is shorter than the part that arrived")
        start = _checked_start(response, start)
        length = response.headers.get("content-length", "")
        total = start + int(length) if length.isdecimal() else 0
        if total > source.max_bytes:
            raise BadModelFile(f"the server announces {total} bytes, more than {source.max_bytes}")
        need_space(part.parent, max(0, total - start))
        with disk_errors(), part.open("ab" if start else "wb") as file:
            done = _copy(response, file.write, start, source.max_bytes, lambda done: on_bytes(done, total))
    if done < total:
        raise _Interrupted("the connection closed early")


def _copy(
    response: httpx.Response, write: Callable[[bytes], int], start: int, max_bytes: int, on_done: Callable[[int], None]
) -> int:
    """Returns the file's size so far."""
    done, head = start, b""
    for chunk in response.iter_raw():
        done += len(chunk)
        if done > max_bytes:
            raise BadModelFile(f"the server sends more than {max_bytes} bytes")
        if start == 0 and len(head) < len(GGUF_MAGIC):
            head = (head + chunk)[: len(GGUF_MAGIC)]
            if not GGUF_MAGIC.startswith(head):
                raise BadModelFile("what the server sends is no GGUF file")
        write(chunk)
        on_done(done)
    return done


def _checked_start(response: httpx.Response, wanted: int) -> int:
    """Where the response's body begins in the file."""
    status = response.status_code
    if status == 429 or status >= 500:
        raise _Interrupted(f"the server answers {status}")
    if status not in (200, 206):
        raise DownloadFailed(f"the server answers {status} {response.reason_phrase}")
    if response.headers.get("content-type", "").startswith("text/html"):
        raise BadModelFile("the server sends a web page instead of a file; is the address right, or a login needed?")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise DownloadFailed("the server compresses the file, against what was asked")
    if status == 200:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("content-range", ""))
    if match is None or int(match[1]) != wanted:
        raise DownloadFailed("the server sends another part of the file than was asked for")
    return wanted


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
