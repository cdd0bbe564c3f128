"""Where outboxes lie: in RAM as long as it has room for everybody's, else on disk; and how large their segments are.

A tmpfs is shared, by all outboxes of a mesh and by other programs, and a full one takes nothing from anybody. So segments are
small enough that each outbox finds room for its newest two; beyond that RAM goes to whoever needs it, up to the mesh's budget;
and what has no room there goes on on disk, segment by segment, until RAM has room again. Sources: tmpfs(5), statvfs(3).
"""

import contextlib
import os
from pathlib import Path

from tickmesh.bus.config import Config
from tickmesh.bus.segments import folders_of
from tickmesh.bus.space import PLENTY

OTHERS = 8  # producers beside lines and models: backfill, executor, session, two sentinels, recorder, and what may come
OWN = 2  # segments that each outbox has room for, whatever the others do: the newest is never released, and its successor
SHARE = 4  # all of these together fill a fourth of the tmpfs at most
SEGMENT_BYTES_MIN = 64 << 10  # a head alone has some kilobytes
BACK = 4  # RAM is gone back to when another fourth of what is kept free is free as well: an outbox shall not flap


def outboxes(config: Config) -> list[str]:
    """The producers that have an outbox, in RAM or on disk, sorted."""
    names: set[str] = set()
    for folder in config.outbox_dirs:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            names.update(box.name for box in folder.iterdir() if box.is_dir())
    return sorted(names)


def used_in(folder: Path) -> int:
    """The bytes of all files under a folder; 0 where it is not there."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                is_folder = entry.is_dir(follow_symlinks=False)
                total += used_in(Path(entry.path)) if is_folder else entry.stat(follow_symlinks=False).st_size
    return total


class OutboxRoom:
    """The room for one producer's outbox at `folders` (config.outbox): which of them takes its next segment, and how large.

    `segment_bytes`: a segment's size. `budget_bytes`: RAM for all outboxes of the mesh; `kept_bytes`: what they leave free on
    the tmpfs, so that each of them has room for OWN segments.
    """

    def __init__(self, config: Config, name: str):
        self.folders = folders_of(config.outbox(name))
        self.ram, self.disk = self.folders[0], self.folders[-1]
        self._all = config.outbox_dir
        producers = OTHERS + config.lines_and_models
        total, _ = room_of(self._all)
        self.budget_bytes = config.log.outbox_ram_bytes or total // 2
        wanted = min(total, 2 * self.budget_bytes) // (SHARE * OWN * producers)
        least = min(SEGMENT_BYTES_MIN, config.log.outbox_segment_bytes)
        self.segment_bytes = max(least, min(config.log.outbox_segment_bytes, wanted))
        self.kept_bytes = min(total // SHARE, producers * OWN * self.segment_bytes)
        self._is_back = True

    def places(self) -> tuple[Path, ...]:
        """The folders in the order in which the next segment tries them."""
        if len(self.folders) == 1:
            return self.folders
        self._is_back = self._has_room(1 if self._is_back else BACK)
        return self.folders if self._is_back else self.folders[::-1]

    def words(self) -> str:
        """What there is of RAM, for a sentence."""
        total, free = room_of(self._all)
        return (
            f"{free} of {total} bytes are free at {self._all}; outboxes fill {used_in(self._all)} of the {self.budget_bytes} "
            f"that they may, and leave {self.kept_bytes} free for the newest of each other"
        )

    def _has_room(self, part: int) -> bool:
        """Whether RAM has room for a segment beside what is kept; `part`: and for a `part` of both again, where above 1."""
        more = (self.kept_bytes // part if part > 1 else 0) + self.segment_bytes
        try:
            _, free = room_of(self._all)
        except OSError:
            return False
        return free >= self.kept_bytes + more and used_in(self._all) + more <= self.budget_bytes


def room_of(folder: Path) -> tuple[int, int]:
    """The bytes of the file system of a folder, or of the nearest one above it that is there: in all, and free."""
    while not folder.exists():
        folder = folder.parent
    disk = os.statvfs(folder)
    if not disk.f_blocks:  # a tmpfs without a bound
        return PLENTY, PLENTY
    return disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize
