"""The model that attested code runs: a copy in the guest's own memory that nobody can change any more.

Hardware measures the program, not its weights, and the disk belongs to the host. So the file is copied into a memfd,
the copy is sealed, and only then hashed: what is compared with the manifest is what the engine maps. The file on disk
may change before, meanwhile or after; it is not looked at again. `model_root` goes into the evidence's report data.

A sandboxed worker is in namespaces of its own and cannot open `/proc/<number of this process>/fd/...`. It must inherit
the copy: start it with `fd` among `pass_fds` (bubblewrap passes open files on) and name `passed_path` as its model
file, unresolved, since resolving the link names a file that does not exist. There is then no file for bubblewrap to
bind. The copy lives until `close` and until the last process that opened or mapped it ends.

A model must fit the guest's memory beside all that the engine needs. That this memory is encrypted and the guest's
alone is what the evidence is about; nothing here can know it.
"""

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from oracle.disputes import commitments, recomputed
from oracle.errors import BadModelFile, NotEnoughMemory
from oracle.models.download import CHUNK_BYTES, OnBytes, file_sha256, ignore_bytes
from oracle.models.manifest import Manifest

NAME = "didyma-model"
SEALS = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
MEMORY = Path("/proc/meminfo")


@dataclass
class MeasuredModel:
    """A sealed copy of exactly the file that a manifest names. Close it, or use it as a context manager."""

    model_root: bytes
    """32 bytes: the model's id, hash of the manifest and so of the file's hash and the root of its weights."""
    fd: int
    """Of the copy, for `pass_fds`; -1 once closed."""
    _pid: int = field(default_factory=os.getpid, init=False)

    @property
    def path(self) -> Path:
        """The copy's path while this process lives, for other processes of this user outside of sandboxes."""
        return Path(f"/proc/{self._pid}/fd/{self.fd}")

    @property
    def passed_path(self) -> Path:
        """The copy's path in this process, and in one that was started with `fd` among `pass_fds`."""
        return Path(f"/proc/self/fd/{self.fd}")

    def close(self) -> None:
        """Safe to call twice."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> "MeasuredModel":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def measure(manifest: Manifest, file: Path, on_bytes: OnBytes = ignore_bytes) -> MeasuredModel:
    """A sealed copy of `file`, which must be what `manifest` says: size, hash and, of an exact model, commitments.

    on_bytes: copying counts all bytes once, hashing once more; an exact model's commitments come after that.
    Raises BadModelFile, WrongCommitments, NotEnoughMemory.
    """
    model = MeasuredModel(manifest.model_id, os.memfd_create(NAME, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING))
    try:
        _copy(file, model.fd, manifest.file_bytes, on_bytes)
        fcntl.fcntl(model.fd, fcntl.F_ADD_SEALS, SEALS)
        _check(manifest, model.passed_path, file.name, on_bytes)
    except MemoryError as error:
        model.close()
        raise NotEnoughMemory(f"memory ran out while {file.name} was measured: give this guest more") from error
    except BaseException:
        model.close()
        raise
    return model


def _copy(file: Path, copy: int, size: int, on_bytes: OnBytes) -> None:
    """The first `size` bytes, if the file has as many. What they are is seen when nobody can write any more."""
    try:
        source = file.open("rb")
    except OSError as error:
        raise BadModelFile(f"{file} cannot be read: {error.strerror}") from error
    with source:
        found = os.fstat(source.fileno()).st_size
        if found != size:
            raise BadModelFile(f"{file.name} has {found} bytes, its manifest says {size}")
        free = available_bytes()
        if free < size:
            raise NotEnoughMemory(
                f"{file.name} has {size} bytes and this guest {free} bytes of memory to spare: give it more memory"
            )
        done = 0
        while done < size and (chunk := _read(source.fileno(), file, size - done)):
            _write(copy, chunk)
            done += len(chunk)
            on_bytes(done, 2 * size)


def _read(source: int, file: Path, at_most: int) -> bytes:
    try:
        return os.read(source, min(CHUNK_BYTES, at_most))
    except OSError as error:
        raise BadModelFile(f"{file} cannot be read: {error.strerror}") from error


def _write(copy: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        while rest:
            rest = rest[os.write(copy, rest) :]
    except OSError as error:
        raise NotEnoughMemory(
            f"the model's copy cannot be written to memory: {error.strerror}; give this guest more memory, or this "
            "process a higher limit"
        ) from error


def _check(manifest: Manifest, copy: Path, name: str, on_bytes: OnBytes) -> None:
    """Raises BadModelFile or WrongCommitments unless the sealed copy is the model."""
    size = manifest.file_bytes
    if copy.stat().st_size != size:
        raise BadModelFile(f"{name} became shorter while it was read")
    digest = file_sha256(copy, lambda done, _: on_bytes(size + done, 2 * size))
    if digest != manifest.file_sha256:
        raise BadModelFile(
            f"{name} has SHA-256 {digest.hex()}, its manifest says {manifest.file_sha256.hex()}: "
            "damaged or replaced; fetch it again with `didyma model add`"
        )
    if recomputed.commits(manifest):  # from the copy, each time: the host could have written any record on its disk
        recomputed.compare(manifest, commitments.commit(copy))


def available_bytes() -> int:
    """Memory available without swapping. Beyond it the kernel would kill this process rather than refuse."""
    for line in MEMORY.read_text().splitlines():
        name, _, amount = line.partition(":")
        if name == "MemAvailable":
            return int(amount.split()[0]) * 1024
    raise NotEnoughMemory(f"{MEMORY} does not say how much memory is available")
