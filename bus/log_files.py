"""The files that the writer of a log makes: its locks, its owner's word, and new segments; and why a disk took none."""

import contextlib
import ctypes
import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tickmesh.bus.file_lock import FileLock
from tickmesh.bus.files import make_folders, write_file
from tickmesh.bus.segments import LogFull
from tickmesh.bus.space import refusal

FALLOC_FL_KEEP_SIZE = 1  # of fallocate(2)


def acquire_locks(folders: Sequence[Path]) -> list[FileLock]:
    """Takes the lock in the first folder that can have one, and in the others where there is one: someone may hold it.

    Raises FileLocked when one is held, OSError when no folder can have one.
    """
    locks: list[FileLock] = []
    refused: OSError | None = None
    try:
        for folder in folders:
            if locks and not (folder / "lock").exists():
                continue
            try:
                make_folders(folder, 0o700)
                locks.append(FileLock.acquired(folder / "lock"))
            except OSError as error:
                refused = refused or error
        if not locks and refused is not None:
            raise refused
    except BaseException:
        for lock in locks:
            lock.close()
        raise
    return locks


def read_owner(folder: Path) -> dict[str, Any]:
    """Reads who wrote the log last: pid, boot, log_id, and whether it ended cleanly; {} where nothing says so."""
    try:
        owner: dict[str, Any] = json.loads((folder / "owner").read_bytes())
        return owner
    except (OSError, ValueError):
        return {}


def write_owner(folder: Path, boot: str, log_id: int, clean: bool) -> None:
    """Writes that this process, in this boot, writes the log; `clean`: that it has ended, and everything is synced."""
    text = json.dumps({"pid": os.getpid(), "boot": boot, "clean": clean, "log_id": f"{log_id:016x}"})
    write_file(folder / "owner", text.encode())


def begin_segment(path: Path, head: bytes, empty: Path | None = None) -> int:
    """Makes the file of a segment, visible when its head is whole; gives its descriptor. Raises OSError, and leaves nothing.

    `empty`: a segment of the same number elsewhere that has no event: it goes first, for there is only one.
    """
    fresh = path.with_suffix(".new")
    fd = -1
    try:
        make_folders(path.parent, 0o700)
        fd = os.open(fresh, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
        write_whole(fd, head)
        if empty is not None and empty != path:
            empty.unlink(missing_ok=True)
        os.rename(fresh, path)
    except OSError:
        if fd >= 0:
            os.close(fd)
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    return fd


def reserve(fd: int, size: int) -> None:
    """Has the disk keep room for this file to grow to `size` bytes; it does not grow by it, and nothing happens without room.

    An append that has to find room on the disk waits while a sync is writing down where the last ones lie.
    """
    ctypes.CDLL(None).fallocate(fd, FALLOC_FL_KEEP_SIZE, ctypes.c_long(0), ctypes.c_long(size))


def write_whole(fd: int, data: bytes) -> None:
    """Writes all of it with one call, or raises OSError."""
    if os.write(fd, data) < len(data):
        raise OSError(errno.ENOSPC, "the disk is full")


def refused_by(places: Sequence[tuple[Path, OSError]]) -> str:
    """Why each of the places took nothing, a sentence without its full stop."""
    return "; ".join(f"{folder} takes no more data: {refusal(error, folder)}" for folder, error in places)


def log_full(places: Sequence[tuple[Path, OSError]]) -> LogFull:
    """The exception that says why none of the places took anything."""
    return LogFull(f"{refused_by(places)}. Nothing was lost")
