"""One process at a time: an exclusive flock on a file. The kernel lets go of it when its process ends, however it does."""

import fcntl
import os
from pathlib import Path
from types import TracebackType


class FileLocked(Exception):
    """Another process, or another FileLock of this one, holds the lock."""


class FileLock:
    """A lock on the file at `path`, not yet held. The file is made, unless `create` is False, and stays.

    What is held stays so until `close`, or the end of a `with` block: also when nobody refers to this object any more. Child
    processes do not inherit it. Raises OSError when the file cannot be opened.
    """

    def __init__(self, path: Path, create: bool = True):
        self.path = path
        self.fd = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC, 0o600)

    @classmethod
    def acquired(cls, path: Path) -> "FileLock":
        """Makes and takes the lock on the file at `path`. Raises FileLocked when it is not free, OSError like FileLock."""
        lock = cls(path)
        try:
            held = lock.try_acquire()
        except OSError:
            lock.close()
            raise
        if not held:
            lock.close()
            raise FileLocked(f"{path} is locked by another process")
        return lock

    def try_acquire(self) -> bool:
        """Takes the lock if it is free; returns whether it is held now."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def acquire(self) -> None:
        """Waits until the lock is free, and takes it."""
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """Lets go of the lock, if it is held, and closes the file. A second call does nothing."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> "FileLock":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
