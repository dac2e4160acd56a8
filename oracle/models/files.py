"""A model file on disk, and whether it still is the one its manifest names.

Hashing gigabytes takes seconds, so it is done before the first use and again whenever the file's inode, size or times
have changed. That notices a file replaced, truncated or edited, also while it is mapped; it does not notice a disk that
returns other bytes than were written without touching the times.
"""

from dataclasses import dataclass, field
from pathlib import Path

from oracle.errors import BadModelFile, Refused
from oracle.models.download import OnBytes, file_sha256, ignore_bytes
from oracle.models.manifest import Manifest


def at_home(path: Path) -> Path:
    """A path as people write it, with its ~ as a folder. Raises Refused."""
    try:
        return path.expanduser()
    except RuntimeError:
        raise Refused(f"{path}: nobody knows where this home is: set HOME, or name another path") from None


@dataclass
class ModelFile:
    path: Path
    sha256: bytes
    size: int
    _verified_as: tuple[int, ...] | None = field(default=None, init=False)

    @classmethod
    def of(cls, manifest: Manifest, path: str | Path) -> "ModelFile":
        return cls(Path(path), manifest.file_sha256, manifest.file_bytes)

    def verify(self, on_bytes: OnBytes = ignore_bytes) -> None:
        """Hashes the file unless it is unchanged since the last time. Raises BadModelFile."""
        before = self.identity
        if before == self._verified_as:
            return
        self._verified_as = None
        if self.path.stat().st_size != self.size:
            raise BadModelFile(f"{self.path.name} has {self.path.stat().st_size} bytes, its manifest says {self.size}")
        digest = file_sha256(self.path, on_bytes)
        if digest != self.sha256:
            raise BadModelFile(
                f"{self.path.name} has SHA-256 {digest.hex()}, its manifest says {self.sha256.hex()}: "
                "damaged or replaced; fetch it again with `didyma model add`"
            )
        if self.identity != before:
            raise BadModelFile(f"{self.path.name} is being written to")
        self._verified_as = before

    @property
    def identity(self) -> tuple[int, ...]:
        """What changes when the file is replaced or written to. Raises BadModelFile if it cannot be read."""
        try:
            status = self.path.stat()
        except OSError as error:
            raise BadModelFile(f"{self.path} cannot be read: {error.strerror}") from error
        return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
