"""Reads append-only segments while another process writes them: the mesh's log, and the outbox of every producer."""

import os
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from pathlib import Path

from tickmesh.bus.layout import header_reader
from tickmesh.bus.schema import SCHEMA_HASH
from tickmesh.bus.segments import (  # fmt: skip
    BATCH_HEAD,
    Batch,
    Folders,
    LogCorrupt,
    LogReleased,
    batch_size,
    folders_of,
    identities,
    read_durable,
    read_preamble,
    scan,
    segments,
)
from tickmesh.bus.wire import Event, events, seq_ns_of, sizes

READ_BYTES = 1 << 20
_read_kind_and_seq = header_reader("kind", "seq")
BatchScan = Callable[[bytes], Iterator[tuple[int, Batch]]]


class Tail:
    """Reads a log from a number on, to its present end and further as it grows; it keeps its place between reads.

    `batches_of`: `segments.scan`, or `scan_runs`, which gives runs of batches as they lie; of a segment of an older schema it
    is always `scan`, for its events are made anew.
    """

    def __init__(self, folder: Folders, after: int = 0, batches_of: BatchScan = scan):
        self.folders = folders_of(folder)
        self.folder = self.folders[0]
        self._path: Path | None = None  # of the segment that is open
        self._scan = batches_of
        self.log_id = 0
        self.next = after + 1
        self._fd = -1
        self._offset = 0
        self._number = 0  # of what begins at `_offset`
        self._convert: Callable[[memoryview], memoryview] | None = None

    def seek(self, after: int) -> None:
        """Moves the place: the next read begins after `after`. Forward in a segment it hops, else it opens the right one."""
        if after + 1 < self.next:
            self.close()
        self.next = after + 1

    def read(self, bytes_max: int = READ_BYTES) -> list[Batch]:
        """Reads the batches there are now from the place on (the first may begin before it); [] at the end.

        Raises LogReleased when the wanted number is gone, LogCorrupt for damage in the middle.
        """
        while True:
            if self._fd < 0 and not self._open():
                return []
            want = bytes_max
            while True:
                data = os.pread(self._fd, want, self._offset)
                out, used = self._parse(data)
                if used or len(data) < want:
                    break
                want *= 4  # one batch larger than the buffer
            if out or used:
                if out:
                    return out
                continue
            if self._advance():
                continue
            self._check_tail(data)
            return []

    def _parse(self, data: bytes) -> tuple[list[Batch], int]:
        out, used = [], 0
        for stop, batch in (self._scan if self._convert is None else scan)(data):
            used, self._number = stop, batch.last + 1
            if batch.last >= self.next:
                if batch.first > self.next:
                    raise LogCorrupt(f"{self.folder}: number {self.next} is missing; {batch.first} follows")
                self.next = batch.last + 1
                out.append(batch if self._convert is None else replace(batch, body=self._convert(batch.body)))
        self._offset += used
        return out, used

    def _open(self) -> bool:
        while True:
            found = segments(self.folders)
            if not found:
                return False
            if found[0][0] > self.next:
                raise LogReleased(
                    f"{self.folder} begins with number {found[0][0]}; {self.next} has been released, the archive has it"
                )
            first, path = [pair for pair in found if pair[0] <= self.next][-1]
            try:
                preamble = read_preamble(path)
                self._fd = os.open(path, os.O_RDONLY)
                break
            except FileNotFoundError:  # released, or begun anew elsewhere, between two looks
                continue
        self._offset = preamble.size
        self._first = self._number = first
        self._path = path
        self.log_id = preamble.log_id
        if preamble.schema_hash != SCHEMA_HASH:
            from tickmesh.bus.evolution import converter  # rarely needed

            self._convert = converter(preamble.description)
        else:
            self._convert = None
        return True

    def _advance(self) -> bool:
        """Goes to the next segment once the present one is read to its end."""
        if self._is_newest():
            return False
        found = [path for first, path in segments(self.folders) if first <= self.next]
        if found and found[-1] == self._path and os.fstat(self._fd).st_nlink:
            return False
        self.close()
        return self._open()

    def _is_newest(self) -> bool:
        """Whether it can be seen without a list of all segments that what comes next is in this one, or nowhere yet: a place
        at the end of a log is looked at often, and a log has hundreds of them."""
        if self._number != self.next:
            return False
        file = os.fstat(self._fd)
        if not file.st_nlink or file.st_size < self._offset:  # begun anew, or cut: what comes next is elsewhere
            return False
        following = f"{self.next:020d}.seg"
        return all(not (folder / following).exists() or folder / following == self._path for folder in self.folders)

    def _check_tail(self, data: bytes) -> None:
        """A batch that is still being written looks torn; one with more behind it is damaged."""
        if len(data) < BATCH_HEAD:
            return
        size = batch_size(data)
        if size and BATCH_HEAD + size < len(data):
            again = os.pread(self._fd, len(data), self._offset)
            if next(scan(again), None) is None and len(again) >= len(data):
                raise LogCorrupt(
                    f"{self.folder}: the batch at byte {self._offset} of segment {self._first:020d} does not match its "
                    f"CRC, and {len(data) - BATCH_HEAD - size} bytes follow; number {self.next} cannot be read"
                )

    def close(self) -> None:
        """Closes the segment that is open."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


def events_of(batch: Batch, kinds: Collection[int], after: int) -> Iterator[Event]:
    """Gives the events of a batch that are of these kinds and have a seq > `after`. (Of the mesh's log, not of an outbox.)"""
    body = batch.body
    for offset, _size in sizes(body):
        kind, seq = _read_kind_and_seq(body, offset)
        if kind in kinds and seq > after:
            yield Event(body, offset)


class LogReader:
    """Reads a log that may be written meanwhile; every call sees the files as they are at that moment."""

    def __init__(self, folder: Folders):
        self.folders = folders_of(folder)
        self.folder = self.folders[0]

    @property
    def first(self) -> int:
        """The oldest number that is still there; 0 for an empty log."""
        found = segments(self.folders)
        return found[0][0] if found else 0

    @property
    def last(self) -> int:
        """The newest number; 0 for an empty log."""
        found = segments(self.folders)
        if not found:
            return 0
        last = found[-1][0] - 1
        for batch in self.batches(last):
            last = batch.last
        return last

    @property
    def log_id(self) -> int:
        """The log's present identity; 0 for an empty log."""
        while True:
            found = segments(self.folders)
            try:
                return read_preamble(found[-1][1]).log_id if found else 0
            except FileNotFoundError:  # an outbox has begun it elsewhere between two looks
                continue

    @property
    def durable(self) -> int:
        """The number up to which the log is on disk at least; 0 if that is unknown."""
        return read_durable(self.folder)

    def foreign(self, seq: int, log_id: int = 0) -> str:
        """Why something kept of all events up to `seq` of the log `log_id` is not of this log, a sentence; "" if it is.

        It is, where the log has been `log_id` and has not lost `seq` since (docs/power-cuts.md). 0: not known.
        """
        last, known = self.last, identities(self.folder)
        ends = dict(zip((one.log_id for one in known), [*(one.first - 1 for one in known[1:]), last]))
        if log_id and log_id not in ends:
            now = f"is {known[-1].log_id:016x} and has never been that" if known else "is empty"
            return f"it is of log {log_id:016x}, and {self.folder} {now}"
        if seq > last:
            return f"it goes up to seq {seq}, and {self.folder} ends at {last}"
        if log_id and seq > ends[log_id]:
            return (
                f"it goes up to seq {seq} of log {log_id:016x}, of which {self.folder} has only what came up to {ends[log_id]}"
            )
        return ""

    def batches(self, after: int = 0, until: int | None = None) -> Iterator[Batch]:
        """Reads batches from the one that holds `after` + 1 on, to the present end or the one that holds `until`."""
        tail = Tail(self.folders, after)
        try:
            while batches := tail.read():
                for batch in batches:
                    if until is not None and batch.first > until:
                        return
                    yield batch
        finally:
            tail.close()

    def events(self, after: int = 0, until: int | None = None) -> Iterator[Event]:
        """Reads the events with `after` < number ≤ `until`, in order."""
        for batch in self.batches(after, until):
            for number, event in enumerate(events(batch.body), batch.first):
                if until is not None and number > until:
                    return
                if number > after:
                    yield event

    def seq_at(self, ns: int) -> int:
        """The last seq whose `seq_ns` is before `ns`; 0 if none. (For the mesh's log, not for an outbox.)"""
        found = segments(self.folders)

        def begins_later(segment: tuple[int, Path]) -> bool:
            head = next(self.events(segment[0] - 1), None)
            return head is None or head.seq_ns >= ns

        place = bisect_left(found, True, key=begins_later)
        if place == 0:
            return 0
        before = None  # the last batch that begins before: nothing but its events has to be looked at
        for batch in self.batches(found[place - 1][0] - 1):
            if seq_ns_of(batch.body) >= ns:
                break
            before = batch
        return 0 if before is None else max(event.seq for event in events(before.body) if event.seq_ns < ns)
