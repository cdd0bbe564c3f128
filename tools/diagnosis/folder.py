"""A mesh's folder as `mesh doctor` finds it: its settings, and whether it runs."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import psutil

from tickmesh.bus.config import Config, find_root
from tickmesh.nodes.sentinel.supervisord import Away, ShuttingDown, Silent, Supervisord
from tickmesh.tools import started_with
from tickmesh.tools.running import living

ANSWER_S = 1.0
SPEED_S = 0.3  # the disk is tried for so long
BLOCK_BYTES = 4096
RATE_BYTES = 16 << 20


class DiskSpeed(NamedTuple):
    """What a disk takes: `sync_ms` for 4 KiB that are synced, the median; `mib_per_s` for a file of 16 MiB."""

    sync_ms: float
    mib_per_s: float


class Mount(NamedTuple):
    """Where a folder's file system is mounted, and of which type it is."""

    place: str
    type: str


@dataclass(frozen=True)
class MeshFolder:
    """A mesh's folder. `config`: None where mesh.toml is wrong and nothing was ever started, `wrong`: why it is, or "".

    `pids`: process → pid of what lives; `supervisord`: "answers", "is not there", or what it does instead.
    """

    root: Path
    config: Config | None
    wrong: str
    pids: dict[str, int]
    supervisord: str

    @property
    def is_up(self) -> bool:
        """Whether anything of the mesh lives."""
        return bool(self.pids) or self.supervisord != "is not there"

    @property
    def run(self) -> Path:
        """The folder run/."""
        return self.root / "run"

    @property
    def folders(self) -> list[Path]:
        """The folders that processes write into, as far as they are there."""
        places = [self.root, self.run, self.run / "logs", self.run / "sockets", self.run / "ready"]
        if self.config is not None:
            source = self.config.source_dir
            kinds = ("log", "recent", "archive", "checkpoints", "exchange", "outbox")
            places += [source.parent, source, *(source / name for name in kinds), *self.config.outbox_dirs]
        return [place for place in dict.fromkeys(places) if place.exists()]

    @property
    def data(self) -> Path:
        """The data folder, or the nearest one above it that is there."""
        place = self.root if self.config is None else self.config.source_dir
        while not place.is_dir():
            place = place.parent
        return place


def look_at(start: Path | None = None) -> MeshFolder:
    """The mesh's folder at or above `start`, or the working one. Raises ConfigError where there is none."""
    root = find_root(start)
    config, wrong = started_with.in_force(root)
    return MeshFolder(root, config, str(wrong or ""), living(root), _supervisord(root))


def _supervisord(root: Path) -> str:
    with contextlib.closing(Supervisord(root / "run", ANSWER_S)) as client:
        try:
            client.pid()
        except Silent as silent:
            return str(silent)
        except Away:
            return "is not there"
        except ShuttingDown:
            return "is shutting down"
        return "answers"


def mount_of(place: Path) -> Mount:
    """The file system that a folder is on."""
    where = os.path.realpath(place)
    best = Mount("/", "")
    for one in psutil.disk_partitions(all=True):
        inside = where == one.mountpoint or where.startswith(one.mountpoint.rstrip("/") + "/")
        if inside and len(one.mountpoint) >= len(best.place):
            best = Mount(one.mountpoint, one.fstype)
    return best


def disk_speed(folder: Path) -> DiskSpeed:
    """Tries the disk of a folder with a file that has no name, so nothing is left. Raises OSError."""
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        taken: list[float] = []
        end = time.monotonic() + SPEED_S / 2
        while time.monotonic() < end or not taken:
            begun = time.monotonic()
            file.write(b"x" * BLOCK_BYTES)
            os.fdatasync(file.fileno())
            taken.append(time.monotonic() - begun)
        begun, written = time.monotonic(), 0
        while written < RATE_BYTES and time.monotonic() - begun < SPEED_S:
            written += file.write(bytes(1 << 20)) or 0
        os.fsync(file.fileno())
        rate = written / (1 << 20) / max(time.monotonic() - begun, 1e-9)
    return DiskSpeed(sorted(taken)[len(taken) // 2] * 1000, rate)


def holders(path: Path) -> Iterator[int]:
    """The processes of this machine that hold a lock (flock) on a file, as far as the kernel tells."""
    with contextlib.suppress(OSError, ValueError):
        inode = path.stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()  # proc_locks(5): 1: FLOCK  ADVISORY  WRITE 4711 fe:00:123 0 EOF
            if words[1] == "FLOCK" and int(words[5].rpartition(":")[2]) == inode:
                yield int(words[4])
