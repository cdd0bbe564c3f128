"""What a file system has left, bytes and inodes, and what of it is short: one judgement for all who ask."""

import errno
import os
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from tickmesh.bus.settings import DiskSettings

AGAIN = 20  # a mark and its twentieth part have to be free before a step is taken back: it shall not flap
PLENTY = 1 << 62


class Space(IntEnum):
    """How much room there is; the marks are in `disk` of mesh.toml."""

    enough = 0
    low = 1
    critical = 2


class Free(NamedTuple):
    """Bytes and inodes that are left for us. A file system that makes inodes as it needs them has PLENTY."""

    bytes: int
    inodes: int = PLENTY

    def __str__(self) -> str:
        return f"{self.bytes} bytes" + (f" and {self.inodes} inodes" if self.inodes < PLENTY else "")


class Room(NamedTuple):
    """How much room there is, of bytes and of inodes apart: a process that writes few files looks at bytes alone."""

    bytes: Space = Space.enough
    inodes: Space = Space.enough

    @property
    def worst(self) -> Space:
        """The scarcer of the two."""
        return max(self)


def free_of(place: Path) -> Free:
    """Bytes and inodes free on the file system of `place`, or of the nearest folder above it that is there. Raises OSError."""
    while not place.exists() and place != place.parent:
        place = place.parent
    disk = os.statvfs(place)
    return Free(disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else PLENTY)


def judge(before: Room, free: Free, disk: DiskSettings) -> Room:
    """How much room there is by what is free now; the state of the look before keeps it from flapping."""
    return Room(
        _step(before.bytes, free.bytes, disk.low_bytes, disk.critical_bytes),
        _step(before.inodes, free.inodes, disk.low_inodes, disk.critical_inodes),
    )


def _step(before: Space, free: int, low: int, critical: int) -> Space:
    step = Space.enough
    for at, mark in ((Space.low, low), (Space.critical, critical)):
        if free < mark + (mark // AGAIN if before >= at else 0):
            step = at
    return step


def short(room: Room, free: Free, disk: DiskSettings) -> str:
    """Names in a few words what is short; "" where nothing is."""
    named = []
    if room.bytes:
        mark = disk.critical_bytes if room.bytes is Space.critical else disk.low_bytes
        named.append(f"{free.bytes} bytes are free, less than {mark}")
    if room.inodes:
        mark = disk.critical_inodes if room.inodes is Space.critical else disk.low_inodes
        named.append(f"{free.inodes} inodes are free, less than {mark} (every file takes one)")
    return ", and ".join(named)


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room, which may come back by itself; not for a fault that somebody must mend."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def refusal(error: OSError, place: Path) -> str:
    """Why the disk refused to write at `place`, and what helps, a sentence: `No inodes left …; remove files …`."""
    said = error.strerror or str(error)
    if error.errno == errno.EDQUOT:
        return f"{said}: the quota of this user is used up, of bytes or of files; remove files of his, or raise it"
    if error.errno != errno.ENOSPC:
        return f"{said}; repair it or make it writable"
    try:
        free = free_of(place)
    except OSError:
        return f"{said}; free space"
    if free.inodes == 0:
        return (
            f"no inodes are left, though {free.bytes} bytes are free: a file system has room for only so many files; remove "
            "files that nobody needs, or move the folder to one with more inodes"
        )
    return f"{said}: {free} are free; free space"
