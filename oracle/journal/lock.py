"""Locks that keep a second process away from a journal or a key."""

import fcntl
import os
from pathlib import Path

from oracle.errors import AlreadyRunning


class FileLock:
    """An exclusive lock of the operating system: the kernel frees it however the process ends."""

    def __init__(self, path: Path, what: str) -> None:
        """Raises AlreadyRunning when another process holds it."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise AlreadyRunning(f"another process (pid {holder}) uses {what}: {path}") from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        """Gives the lock back. The file stays: deleting it would let two processes lock two files of one name."""
        os.close(self._file)
