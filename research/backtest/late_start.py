"""Where in the archive a backtest begins to read, and what was in force there: a late day costs no more than an early one."""

from collections.abc import Collection, Iterable

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Kind
from tickmesh.storage.archive.catalog import day_of
from tickmesh.storage.archive.file import ArchiveFile, ArchiveGone, folder_of
from tickmesh.storage.archive.reader import ArchiveReader, File
from tickmesh.storage.columns.span import ROW, ColumnSpan, SubjectColumns
from tickmesh.storage.hdf5.columns import TableReader


def last_before(config: Config, begin_ns: int) -> int:
    """The last seq of the archive's days before the day of `begin_ns`; 0 where there is none."""
    files = ArchiveReader(config.archive_dir).files
    return max((file.last for file in files if file.day < day_of(begin_ns)), default=0)


def in_force(config: Config, after: int, traded: Collection[str], others: Iterable[str]) -> ColumnSpan:
    """What was in force after the archive's event `after`: of each subject the newest definition, of those that are traded the
    newest quote too, as a span that ends there.

    Only the last event of a kind is read, of the newest file that has one. Raises ArchiveError where a file is not there.
    """
    archive = ArchiveReader(config.archive_dir)
    while True:
        try:
            wanted: dict[str, tuple[Kind, ...]] = {subject: (Kind.instrument, Kind.quote) for subject in traded}
            wanted |= {subject: (Kind.instrument,) for subject in others if subject not in wanted}
            subjects = [_newest(archive, subject, kinds, after) for subject, kinds in sorted(wanted.items())]
            return ColumnSpan(1, after, [one for one in subjects if len(one.rows)], [])
        except ArchiveGone:
            if not archive.moved():
                raise


def _newest(archive: ArchiveReader, subject: str, kinds: tuple[Kind, ...], after: int) -> SubjectColumns:
    """The newest event of each kind of a subject, in order of `seq`."""
    folder = folder_of(Kind.quote, subject)
    files = [file for file in archive.files if file.folder == folder and file.last <= after]
    archive.require(folder, ("", files[-1].day if files else ""))
    found = [one for kind in kinds if (one := _last_event(files, kind)) is not None]
    found.sort(key=lambda one: one[0])
    rows = np.concatenate([np.zeros(0, ROW), *(row for _, row, _ in found)])
    seqs = np.array([seq for seq, *_ in found], "u8")
    return SubjectColumns(subject, rows, seqs, {Kind(int(row["kind"][0])): records for _, row, records in found})


def _last_event(files: list[File], kind: Kind) -> tuple[int, np.ndarray, np.ndarray] | None:
    """(seq, row, records) of the last event of a kind in some files; None where no file has one."""
    for file in reversed(files):
        with ArchiveFile(file.path) as segment:
            if kind in segment.kinds and (reader := segment.reader(kind)).events:
                return _event(reader, kind)
    return None


def _event(reader: TableReader, kind: Kind) -> tuple[int, np.ndarray, np.ndarray]:
    last = reader.events - 1
    first, stop = reader.record_range(last, last + 1)
    row, records = np.zeros(1, ROW), np.zeros(stop - first, DTYPES[kind])
    row["kind"], row["count"] = kind, stop - first
    for name in ("seq_ns", "flags"):
        row[name] = reader.column(name, last, last + 1)
    for name in records.dtype.names or ():
        records[name] = reader.record_column(name, first, stop)
    return int(reader.column("seq", last, last + 1)[0]), row, records
