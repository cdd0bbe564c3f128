"""A folder with a bus of its own, on which recorded events are published again: a mesh's folder to everything that listens.

It has the log that they are appended to before they ring, as everywhere: who comes late or misses a ring reads there. The log
is kept to its newest part. Its clock shows the time that is replayed. Nothing of the mesh that recorded is touched.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tickmesh.bus.clock import NAME as CLOCK
from tickmesh.bus.clock import ClockSegment, boot_bytes, elapsed_ns, pack
from tickmesh.bus.config import Config, load, merge
from tickmesh.bus.file_lock import FileLock, FileLocked
from tickmesh.bus.instruments import FILE as INSTRUMENTS
from tickmesh.bus.log_writer import LogWriter
from tickmesh.bus.segments import release
from tickmesh.bus.sockets import LANES, Publisher
from tickmesh.tools.terminal import Failure

CHOSEN = "overrides.json"  # what was chosen for a run, in its folder
MARK = "replay.lock"  # in a folder that was made here, and held while it is used
SEGMENT_BYTES = 16 << 20
SEGMENTS_KEPT = 16
SILENT_NS = 100_000_000  # a lane without an event rings empty then, as the sequencer's


class ReplayBus:
    """Publishes in a folder of its own until `close`, which removes what it has made. Raises Failure where that cannot be."""

    def __init__(self, config: Config, folder: Path):
        self.folder = folder
        self._lock = _taken(folder)
        try:
            self.config = _laid(config, folder)
            self.config.log_dir.mkdir(parents=True)
            self.log = LogWriter(self.config.log_dir, segment_bytes=SEGMENT_BYTES, sync_ms=0)
            self._clock = os.open(self.config.log_dir / CLOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._publisher = Publisher(self.config, self.log, [0] * LANES)
        except OSError as error:
            self._lock.close()
            raise Failure(f"{folder} cannot be made a folder for a replay: {error.strerror or error}") from None
        self._boot = boot_bytes()

    @property
    def last(self) -> int:
        """The seq of the newest event that was published; 0 before the first."""
        return self.log.last

    def publish(self, batch: Sequence[bytearray]) -> None:
        """Appends events that are stamped with the next numbers, and rings. Raises LogFull where the disk takes no more."""
        self._publisher.publish(self.log.last + 1, batch)
        release(self.config.log_dir, self.log.last, SEGMENTS_KEPT)

    def show_time(self, ns: int) -> None:
        """Sets the mesh's time that listeners see, and rings what is silent: to be called every 100 ms or so."""
        os.pwrite(self._clock, pack(ClockSegment(elapsed_ns(), ns, 0), self._boot), 0)
        self._publisher.ring_silent(SILENT_NS)

    def close(self) -> None:
        """Closes everything and removes the folder's content; a folder that was there before stays, empty."""
        self._publisher.close()
        self.log.close()
        os.close(self._clock)
        _emptied(self.folder)
        (self.folder / MARK).unlink()
        self._lock.close()


def _taken(folder: Path) -> FileLock:
    """Makes the folder, or takes one that a replay has left. Raises Failure for one with anything else in it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise Failure(f"{folder} is not empty, and no replay made it; give --into an empty folder, or a new name")
        return FileLock.acquired(folder / MARK)
    except FileLocked:
        raise Failure(f"{folder} is the bus of another replay; end that one, or give --into another folder") from None
    except OSError as error:
        raise Failure(f"{folder} cannot be made a folder for a replay: {error.strerror}") from None


def _laid(config: Config, folder: Path) -> Config:
    """Lays the settings and the decided exponents of a mesh into a folder; gives its settings as they are there."""
    if Path(config.run).is_absolute():
        raise Failure(f"run = {config.run!r} of mesh.toml is one place for all; name a folder below that of mesh.toml")
    _emptied(folder)
    shutil.copy(config.root / "mesh.toml", folder)
    choice = config.run_dir / CHOSEN
    chosen = msgspec.json.decode(choice.read_bytes()) if choice.is_file() else {}
    merge(chosen, {"data": "data", "source": config.source, "paths": {"models": str(config.models_dir)}})
    run = folder / config.run
    run.mkdir(parents=True)
    (run / CHOSEN).write_bytes(msgspec.json.encode(chosen))
    laid = load(folder)
    laid.source_dir.mkdir(parents=True)
    if (decided := config.source_dir / INSTRUMENTS).is_file():
        shutil.copy(decided, laid.source_dir)
    return laid


def _emptied(folder: Path) -> None:
    for one in folder.iterdir():
        if one.name == MARK:
            continue
        if one.is_dir() and not one.is_symlink():
            shutil.rmtree(one)
        else:
            one.unlink()
