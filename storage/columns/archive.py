"""Columns from the archive: the files of a cut or a day side by side, a bounded span of `seq` after the other.

Of the header only what a row needs is read; records are put together from their columns as they are stored.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveGone, folder_of, subject_of
from tickmesh.storage.archive.reader import ArchiveReader, File, in_order
from tickmesh.storage.columns import merging
from tickmesh.storage.columns.span import ROW, ColumnSpan, SubjectColumns, with_streams
from tickmesh.storage.hdf5 import kernels
from tickmesh.storage.hdf5.chunks import OrderedColumn
from tickmesh.storage.hdf5.columns import TableReader
from tickmesh.storage.hdf5.packing import CHUNK_ROWS

SPAN_SEQS = 1 << 17  # a span has no more events, of whatever kinds: what is written for it stays in the processor's cache
SPAN_DOUBLED = 2  # times that may be, of several instruments: each costs a call a column


class KindRows(NamedTuple):
    """The events of one kind that a span has: what a row needs, (n,) each, and their records.

    `counts`: records of each event, (n,) i8, or (0,) where it is one.
    """

    kind: Kind
    flags: np.ndarray
    counts: np.ndarray
    records: np.ndarray


class KindCursor:
    """The events of one kind in one file, taken in order of `seq`."""

    def __init__(self, reader: TableReader, after: int):
        self.kind, self.dtype, self._events, self._records = reader.kind, DTYPES[reader.kind], reader.events, reader.records
        self._row = reader.first_row("seq", after + 1) if after else 0
        self._record = reader.record_range(self._row, self._row)[0]
        self._header = {
            name: OrderedColumn(reader.rows.group, name, self._events, kernels) for name in ("seq", "seq_ns", "flags", "count")
        }
        self._reader = reader
        self._body = {
            name: OrderedColumn(reader.body.group, name, self._records, kernels)
            for name in self.dtype.names or ()
            if reader.as_stored(name, True, self.dtype[name])
        }
        # Of records whose every byte is written none has to be 0 before.
        self._whole = sum(self.dtype[name].itemsize for name in self._body) == self.dtype.itemsize
        self._others = [name for name in self.dtype.names or () if name in reader.body and name not in self._body]

    def upto(self, last: int) -> int:
        """Finds how many events follow up to the seq `last`."""
        at = self._row
        while at < self._events:
            number = at // CHUNK_ROWS
            seqs = self._header["seq"].piece(number)
            if int(seqs.at(np.array([-1]))[0]) > last:
                return number * CHUNK_ROWS + int(np.searchsorted(seqs.values(), last, "right")) - self._row
            at = min((number + 1) * CHUNK_ROWS, self._events)
        return self._events - self._row

    def take(self, seqs: np.ndarray, times: np.ndarray) -> KindRows:
        """Reads as many events as `seqs` (u8) and `times` (i8) have room for: fills them, and gives what else they have."""
        start, stop = self._row, self._row + len(seqs)
        flags, counts = np.zeros(len(seqs), "u2"), np.zeros(0, "i8")
        for name, out in (("seq", seqs), ("seq_ns", times), ("flags", flags)):
            self._header[name].read_into(out, start, stop)
        first, end = self._record, self._record + len(seqs)
        if self._events != self._records:
            stored = np.zeros(len(seqs), HEADER["count"])
            self._header["count"].read_into(stored, start, stop)
            counts = stored.astype("i8")
            end = first + int(counts.sum())
        records = np.empty(end - first, self.dtype) if self._whole else np.zeros(end - first, self.dtype)
        for name, column in self._body.items():
            column.read_into(records[name], first, end)
        for name in self._others:
            records[name] = self._reader.record_column(name, first, end)
        self._row, self._record = stop, end
        return KindRows(self.kind, flags, counts, records)


class ArchiveColumns:
    """Reads the columns of `kinds`, and the events of `objects`, from an archive; of one `subject` only its own files."""

    def __init__(self, folder: Path, kinds: Iterable[Kind], objects: Iterable[Kind] = (), subject: str | None = None):
        self.reader = ArchiveReader(folder)
        self.folders = None if subject is None else {folder_of(Kind.trade, subject)}
        self.kinds, self.objects = tuple(kinds), tuple(objects)

    def spans(self, after: int = 0, until: int | None = None) -> Iterator[ColumnSpan]:
        """Reads the events with after < seq ≤ until, up to the archive's watermark. Raises ArchiveError and warns as its
        reader does."""
        self.reader.warn_of_pruned((*self.kinds, *self.objects), after, until)
        position = after
        while True:
            try:
                for files in self.reader.cuts(position, until, self.folders):
                    for span in self._cut(files, position, until):
                        yield span
                        position = span.last
                return
            except ArchiveGone:
                if not self.reader.moved():
                    raise

    def _cut(self, files: list[File], after: int, until: int | None) -> Iterator[ColumnSpan]:
        """Of one cut or one day."""
        if not files:
            return
        first, last = max(files[0].first, after + 1), min(files[0].last, files[0].last if until is None else until)
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(ArchiveFile(file.path)) for file in files]
            try:
                if self.folders is None:
                    self.reader.check_whole(files, sum(one.reader(kind).events for one in opened for kind in one.kinds))
                cursors: dict[str, list[KindCursor]] = {}
                for file, one in zip(files, opened):
                    if found := [KindCursor(one.reader(kind), after) for kind in one.kinds if kind in self.kinds]:
                        cursors[subject_of(file.folder)] = found
                objects = [one.reader(kind) for one in opened for kind in one.kinds if kind in self.objects]
                for reader in objects:
                    reader.seek(reader.first_row("seq", first))
                span = SPAN_SEQS << min(SPAN_DOUBLED, max(len(cursors) - 1, 0))
                for begin in range(first, last + 1, span):
                    end = min(begin + span - 1, last)
                    taken = (_taken(name, own, end) for name, own in cursors.items())
                    subjects = [columns for columns in taken if columns is not None]
                    tables = [reader.read(reader.first_row("seq", end + 1, reader.row)) for reader in objects]
                    yield ColumnSpan(begin, end, subjects, list(in_order(tables)) if tables else [])
            except (KeyError, ValueError, IndexError, OSError, RuntimeError) as error:
                for one in opened:
                    one.check()  # says which one it is
                raise ArchiveError(f"{self.reader.folder} cannot be read: {error!r}") from None


def _taken(subject: str, cursors: list[KindCursor], last: int) -> SubjectColumns | None:
    """One subject's columns up to the seq `last`, its kinds merged by seq; None where it has no event."""
    counts = [cursor.upto(last) for cursor in cursors]
    ends = np.cumsum(counts)
    begins, total = ends - counts, int(ends[-1])
    if not total:
        return None
    seqs, times = np.zeros(total, "u8"), np.zeros(total, "i8")
    parts = [cursor.take(seqs[begin:end], times[begin:end]) for cursor, begin, end in zip(cursors, begins, ends)]
    places, rows, ordered = np.empty(total, "i8"), np.empty(total, ROW), np.empty(total, "u8")
    merging.places(seqs, begins.copy(), ends, places)
    for part, begin, end in zip(parts, begins.tolist(), ends.tolist()):
        own = slice(begin, end)
        merging.put_rows(places[own], int(part.kind), part.flags, part.counts, seqs[own], times[own], rows, ordered)
    records = {part.kind: part.records for part in parts}
    with_streams(rows, records.get(Kind.gap))
    return SubjectColumns(subject, rows, ordered, records)
