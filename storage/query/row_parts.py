"""A topic's rows in bounded parts, archive then log, up to a moment: so data are read that are larger than memory."""

from collections.abc import Iterator

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.log import LogReader
from tickmesh.bus.schema import Kind
from tickmesh.storage.archive.reader import ArchiveReader
from tickmesh.storage.archive.rows import rows_of
from tickmesh.storage.hdf5.columns import from_bytes
from tickmesh.storage.query.reader import events

EVENTS_EACH = 50_000  # of the log that are turned into rows at once
BYTES_EACH = 16 << 20  # or so many bytes of them: a book has thousands of levels


def row_parts(
    config: Config, kind: Kind, subject: str, start_ns: int | None = None, end_ns: int | None = None, until: int | None = None
) -> Iterator[np.ndarray]:
    """Reads the rows of `reader.arrays`, in order, some MB at a time; an event's rows lie in one part.

    dtype `tickmesh.storage.archive.reader.row_dtype(kind)`. `until`: up to this seq (None: to the end that there is by then).
    Raises ArchiveError, LogError or ReadError with a sentence.
    """
    archive = ArchiveReader(config.archive_dir)
    for part in archive.parts(kind, subject, start_ns, end_ns):
        if until is not None and int(part["seq"][-1]) > until:
            yield part[part["seq"] <= until]
            return
        yield part
    yield from log_parts(config, archive.archived_seq, kind, subject, start_ns, end_ns, until)


def log_parts(
    config: Config, after: int, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, until: int | None = None
) -> Iterator[np.ndarray]:
    """Reads the rows of events with `after` < seq ≤ `until` and start ≤ seq_ns < end from the log, in parts.

    What is archived meanwhile is read from the archive.
    """
    position = after if start_ns is None else max(after, LogReader(config.log_dir).seq_at(start_ns))
    raws: list[bytes] = []
    held = 0
    for event in events(config, position, until, (kind,), subject):
        if end_ns is not None and event.seq_ns >= end_ns:
            break
        raws.append(bytes(event.raw))
        held += len(raws[-1])
        if len(raws) >= EVENTS_EACH or held >= BYTES_EACH:
            yield _rows(kind, subject, raws, start_ns, end_ns)
            raws, held = [], 0
    if raws:
        yield _rows(kind, subject, raws, start_ns, end_ns)


def _rows(kind: Kind, subject: str, raws: list[bytes], start_ns: int | None, end_ns: int | None) -> np.ndarray:
    table = from_bytes(kind, b"".join(raws), np.array([len(raw) for raw in raws], "i8"))
    return rows_of(kind, table, subject, start_ns, end_ns)


def count_rows(config: Config, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> int:
    """Counts the rows of `row_parts`, mostly without reading them from the archive."""
    archive = ArchiveReader(config.archive_dir)
    archived = archive.count(kind, subject, start_ns, end_ns)
    logged = log_parts(config, archive.archived_seq, kind, subject, start_ns, end_ns)
    return archived + sum(len(part) for part in logged)
