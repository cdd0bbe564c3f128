"""Columns from the archive: the files of a cut or a day side by side, a bounded span of `seq` after the other.

Of the header only what a row needs is read; records are put together from their columns as they are stored.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile, ArchiveGone, folder_of, subject_of
from tickmesh.storage.archive.reader import ArchiveReader, File, in_order
from tickmesh.storage.columns.span import ROW, ColumnSpan, SubjectColumns, with_streams
from tickmesh.storage.hdf5.columns import TableReader

SPAN_SEQS = 1 << 19  # a span has no more events, of whatever kinds; several reads of a column cost more than a long one

_OPAQUE = np.dtype(f"V{ROW.itemsize}")  # numpy copies bytes many times as fast as fields


class KindCursor:
    """The events of one kind in one file, taken in order of `seq`."""

    def __init__(self, reader: TableReader, after: int):
        self.reader, self.kind = reader, reader.kind
        self._row = reader.first_row("seq", after + 1) if after else 0
        self._record = reader.record_range(self._row, self._row)[0]

    def take(self, last: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads the events up to the seq `last`: (rows, seqs, records), `first` of a row counted in these records."""
        reader, start = self.reader, self._row
        stop = reader.first_row("seq", last + 1, start)
        rows, seqs = np.zeros(stop - start, ROW), reader.column("seq", start, stop)
        rows["kind"], rows["count"] = self.kind, 1
        rows["flags"], rows["seq_ns"] = reader.column("flags", start, stop), reader.column("seq_ns", start, stop)
        if reader.events != reader.records:
            rows["count"] = reader.column("count", start, stop)
        ends = np.cumsum(rows["count"])
        rows["first"] = ends - rows["count"]
        first, end = self._record, self._record + (int(ends[-1]) if len(ends) else 0)
        records = np.zeros(end - first, DTYPES[self.kind])
        for name in records.dtype.names or ():
            if name in reader.body:
                records[name] = reader.record_column(name, first, end)
        self._row, self._record = stop, end
        return rows, seqs, records


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
                for begin in range(first, last + 1, SPAN_SEQS):
                    end = min(begin + SPAN_SEQS - 1, last)
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
    taken = [cursor.take(last) for cursor in cursors]
    if not any(len(rows) for rows, _, _ in taken):
        return None
    rows, seqs = np.concatenate([rows for rows, _, _ in taken]), np.concatenate([seqs for _, seqs, _ in taken])
    records = {cursor.kind: found for cursor, (_, _, found) in zip(cursors, taken)}
    order = np.argsort(seqs, kind="stable")
    rows, seqs = rows.view(_OPAQUE)[order].view(ROW), seqs[order]
    with_streams(rows, records.get(Kind.gap))
    return SubjectColumns(subject, rows, seqs, records)
