"""A node's checkpoint: its file, and when a snapshot of the node's state may be written to it.

A power cut may take the log's tail. A state that rests on events of that tail, or on events of the node's own that were
there, would be of a past that never was: so a snapshot waits until the log is durable up to both.
"""

import asyncio
import struct
import time
import zlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

from tickmesh.bus.files import make_folders, write_file
from tickmesh.bus.log import LogReader
from tickmesh.bus.operator_log import log_line

_HEAD = struct.Struct("<8sQQII")  # magic, log_id, seq, size, crc
NOTHING = (0, -1)  # the place of no event: lower than any (cause_seq, k)


class Loaded(NamedTuple):
    """What a node goes on from. `unused`: a sentence, why a checkpoint that is there cannot be used; seq is 0 then."""

    seq: int = 0
    state: bytes = b""
    unused: str = ""


class Checkpoint:
    """The file with a node's state at a seq and the log's identity then; a crash leaves the old or the new one, whole."""

    def __init__(self, folder: Path, name: str):
        self.path = folder / f"{name}.checkpoint"

    def save(self, seq: int, state: bytes, log_id: int) -> None:
        """Replaces the file by this state, and syncs it. Raises OSError; the old file is whole then."""
        make_folders(self.path.parent, 0o700)
        head = _HEAD.pack(b"tickmesh", log_id, seq, len(state), zlib.crc32(state))
        write_file(self.path, head + state)

    def load(self, log: LogReader) -> Loaded:
        """Reads the file: its state, if it is whole and of this log; seq 0 without `unused` where there is none."""
        try:
            data = self.path.read_bytes()
            written_ns = self.path.stat().st_mtime_ns
        except FileNotFoundError:
            return Loaded()
        except OSError as error:
            return Loaded(unused=f"{self.path} cannot be read: {error.strerror}")
        try:
            magic, log_id, seq, size, crc = _HEAD.unpack_from(data)
        except struct.error:
            return Loaded(unused=f"{self.path} is torn")
        state = data[_HEAD.size :]
        if magic != b"tickmesh" or len(state) != size or zlib.crc32(state) != crc:
            return Loaded(unused=f"{self.path} is torn")
        why = log.foreign(seq, log_id) or (_older(log, written_ns) if not log_id else "")
        return Loaded(unused=f"{self.path} is not used: {why}") if why else Loaded(seq, state)


def _older(log: LogReader, written_ns: int) -> str:
    """For a checkpoint of an older version, which has no identity: it is of another log if it was written before this began."""
    began = next(log.events(), None) if log.first == 1 else None  # else its beginning is released: it is old enough
    if began is not None and written_ns < began.seq_ns:
        return f"it has no log_id, and was written before {log.folder} began"
    return ""


class Snapshot(NamedTuple):
    """A node's state after the event `seq`, which waits to be written.

    `published`: the place (cause_seq, k) of the last event that the node gave out before it; `published_seq`: where that one,
    or a later one, stands in the log; None while it has not been read there.
    """

    seq: int
    state: bytes
    published: tuple[int, int]
    published_seq: int | None


class CheckpointWriter:
    """Takes a snapshot of a node's state every `interval_s`; writes it to `checkpoint` once all that it rests on is durable.

    One snapshot waits at a time. A disk that refuses it costs that snapshot only: the next one comes after the interval.
    `failures` counts those; the operator's log has a line when they begin and when they end.
    """

    def __init__(self, checkpoint: Checkpoint, interval_s: float):
        self.checkpoint = checkpoint
        self.interval_s = interval_s
        self._waiting: Snapshot | None = None
        self._taken_at = time.monotonic()  # when the last one was taken to be written
        self._logged = NOTHING  # place of the node's last event that was read in the log
        self._writing: asyncio.Task[None] | None = None
        self.failures = 0  # snapshots that could not be written
        self._failing = False  # the last one could not

    def read_back(self, place: tuple[int, int], seq: int) -> None:
        """Takes notice that one of the node's own events, with its place (cause_seq, k), stands in the log at `seq`."""
        self._logged = max(self._logged, place)
        waiting = self._waiting
        if waiting is not None and waiting.published_seq is None and self._logged >= waiting.published:
            self._waiting = waiting._replace(published_seq=seq)

    def offer(self, seq: int, pack: Callable[[], bytes], published: tuple[int, int] = NOTHING) -> None:
        """Takes a snapshot if none waits and the interval is over: `pack()` is the node's state after the event `seq`.

        `published`: the place of the last event that the node has given out; NOTHING where its state holds only what is logged.
        """
        if self._waiting is None and time.monotonic() - self._taken_at >= self.interval_s:
            self._waiting = Snapshot(seq, pack(), published, seq if self._logged >= published else None)

    def take(self, durable_seq: int) -> Snapshot | None:
        """Takes out the waiting snapshot if the log is durable up to it and up to what was published before it; else None."""
        waiting = self._waiting
        if waiting is None or waiting.published_seq is None or durable_seq < max(waiting.seq, waiting.published_seq):
            return None
        self._waiting, self._taken_at = None, time.monotonic()
        return waiting

    def write_if_durable(
        self, durable_seq: int, log_id: int, own: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    ) -> None:
        """Starts to write the waiting snapshot, in a thread and one at a time, if everything that it rests on is durable.

        `log_id`: the identity of the log that is durable up to `durable_seq`; `own`: `Context.own`, which keeps the task.
        """
        if self._waiting is None or (self._writing is not None and not self._writing.done()):
            return
        if (snapshot := self.take(durable_seq)) is not None:
            self._writing = own(asyncio.to_thread(self._save, snapshot, log_id))

    def _save(self, snapshot: Snapshot, log_id: int) -> None:
        path = self.checkpoint.path
        try:
            self.checkpoint.save(snapshot.seq, snapshot.state, log_id)
        except OSError as error:
            self.failures += 1
            if not self._failing:
                why = f"{path} cannot be written: {error.strerror}; the old one stays, and it is tried again"
                log_line(path.stem, "warning", f"{why} every {self.interval_s:g} s")
            self._failing = True
            return
        if self._failing:
            log_line(path.stem, "info", f"{path} is written again; {self.failures} tries have failed since this process began")
        self._failing = False
