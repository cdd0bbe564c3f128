"""Records with their event's fields beside them: what research is handed, from a file or from events in memory."""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.hdf5.columns import Table, TableReader

By = Literal["seq", "venue"]
PART_ROWS = 1 << 17  # that `segment_parts` reads at once: some MB
_ROW_HEADER = ("seq", "seq_ns", "recv_ns", "flags", "first_id", "last_id", "venue_ns")
_ORIGIN = ("cause_seq", "k", "producer")  # which event made whom say this, and as which of its answers
DERIVED = frozenset(
    {Kind.signal, Kind.feature, Kind.intent, Kind.shadow, Kind.parent}
)  # kinds that somebody was caused to say, so that their origin is of use


def row_dtype(kind: Kind) -> np.dtype:
    """The dtype of a row: seq, seq_ns, recv_ns, flags, ids and venue_ns of the event, then its record's fields (which win).

    Of signals, features, intents, shadows and parents also cause_seq, k and producer of the event.
    """
    own = DTYPES[kind]
    fields = [(name, own[name].str) for name in own.names or () if not name.startswith("reserved")]
    fields = fields or [("msgpack", own.str)]
    names = {name for name, _ in fields}
    header = (*_ROW_HEADER, *_ORIGIN) if kind in DERIVED else _ROW_HEADER
    return np.dtype([(name, HEADER[name].str) for name in header if name not in names] + fields)


def check_order(kind: Kind, by: By) -> None:
    """Raises ArchiveError for a kind whose rows cannot be read by venue time, if `by` asks for that."""
    if by == "venue" and kind is not Kind.trade:
        raise ArchiveError(
            f"{kind.name} cannot be read in order of the venue's ids; trades can, and every kind in order of seq"
        )


def in_id_order(rows: np.ndarray, eras: np.ndarray) -> np.ndarray:
    """Sorts rows of trades by era and trade_id, each once: a strayed trade lies in its overlay and in the day it was sequenced.

    What is the same is told by seq and id: an id that came again (its line took it back, docs/messages.md) is another trade,
    and stands beside the first one in order of seq.
    """
    order = np.lexsort((rows["seq"], rows["trade_id"], eras))
    rows = rows[order]
    again = np.zeros(len(rows), bool)
    again[1:] = (rows["trade_id"][1:] == rows["trade_id"][:-1]) & (rows["seq"][1:] == rows["seq"][:-1])
    return rows[~again] if again.any() else rows


def segment_rows(
    segment: ArchiveFile, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, by: By = "seq"
) -> np.ndarray:
    """Reads rows as `rows_of` builds them from a file, only rows and columns that are wanted. Raises ArchiveError."""
    reader = segment.reader(kind)
    if len(reader.subjects) != 1 or by == "venue" or kind in DERIVED:  # a producer does not stand in one row
        parts = [rows_of(kind, tables[kind], subject, start_ns, end_ns, by) for tables in segment.windows((kind,))]
        return np.concatenate(parts) if parts else np.zeros(0, row_dtype(kind))
    if reader.subjects[0] != subject.encode():
        return np.zeros(0, row_dtype(kind))
    try:
        start = 0 if start_ns is None else reader.first_row("seq_ns", start_ns)
        stop = reader.events if end_ns is None else reader.first_row("seq_ns", end_ns, start)
        return _rows(reader, start, stop, reader.record_range(start, stop))
    except (KeyError, ValueError, IndexError, OSError, RuntimeError):
        segment.check()
        raise


def segment_parts(
    segment: ArchiveFile, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None, after: int = 0
) -> Iterator[np.ndarray]:
    """Reads the rows of `segment_rows` with seq > `after` in parts of about PART_ROWS rows; an event lies in one part.

    Raises ArchiveError.
    """
    reader = segment.reader(kind)
    if len(reader.subjects) != 1 or kind in DERIVED:
        for tables in segment.windows((kind,), after):
            yield rows_of(kind, tables[kind], subject, start_ns, end_ns)
        return
    if reader.subjects[0] != subject.encode():
        return
    try:
        start = 0 if start_ns is None else reader.first_row("seq_ns", start_ns)
        start = reader.first_row("seq", after + 1, start) if after else start
        stop = reader.events if end_ns is None else reader.first_row("seq_ns", end_ns, start)
        record = reader.record_range(0, start)[1]
        while start < stop:
            end, records = _part_end(reader, start, stop)
            yield _rows(reader, start, end, (record, record + records))
            start, record = end, record + records
    except (KeyError, ValueError, IndexError, OSError, RuntimeError):
        segment.check()
        raise


def segment_count(segment: ArchiveFile, kind: Kind, subject: str, start_ns: int | None, end_ns: int | None) -> int:
    """Counts the rows of `segment_rows`. Raises ArchiveError."""
    reader = segment.reader(kind)
    if len(reader.subjects) != 1 or reader.subjects[0] != subject.encode():
        return sum(len(part) for part in segment_parts(segment, kind, subject, start_ns, end_ns))
    try:
        start = 0 if start_ns is None else reader.first_row("seq_ns", start_ns)
        stop = reader.events if end_ns is None else reader.first_row("seq_ns", end_ns, start)
        first, last = reader.record_range(start, stop) if stop - start < reader.events else (0, reader.records)
        return last - first
    except (KeyError, ValueError, IndexError, OSError, RuntimeError):
        segment.check()
        raise


def _part_end(reader: TableReader, start: int, stop: int) -> tuple[int, int]:
    """(where a part that begins with event `start` ends, its records): at most PART_ROWS records, or one event."""
    stop = min(stop, start + PART_ROWS)
    if reader.events == reader.records:
        return stop, stop - start
    ends = np.cumsum(reader.column("count", start, stop).astype("i8"))
    events = max(int(np.searchsorted(ends, PART_ROWS, "right")), 1)
    return start + events, int(ends[events - 1])


def _rows(reader: TableReader, start: int, stop: int, records: tuple[int, int]) -> np.ndarray:
    """Events start…stop of a reader, which has their records at `records`, as rows."""
    dtype = row_dtype(reader.kind)
    first, last = records
    out = np.zeros(last - first, dtype)
    own = reader.dtype.names or ("msgpack",)
    counts = None if last - first == stop - start else reader.column("count", start, stop).astype("i8")
    for name in dtype.names or ():
        if name in own:
            out[name] = reader.record_column(name, first, last)
        else:
            values = reader.header_column(name, start, stop)
            out[name] = values if counts is None else np.repeat(values, counts)
    return out


def rows_of(
    kind: Kind, table: Table, subject: str, start_ns: int | None = None, end_ns: int | None = None, by: By = "seq"
) -> np.ndarray:
    """Builds rows of a table's records with their event's fields, dtype `row_dtype(kind)`, of a span of time."""
    headers, records = table
    keep = headers["subject"] == subject.encode()
    if by == "seq":
        if start_ns is not None:
            keep &= headers["seq_ns"] >= start_ns
        if end_ns is not None:
            keep &= headers["seq_ns"] < end_ns
    counts = headers["count"].astype("i8")
    if not keep.all():
        records = records[np.repeat(keep, counts)]
        headers, counts = headers[keep], counts[keep]
    dtype = row_dtype(kind)
    out = np.zeros(len(records), dtype)
    single = len(headers) == len(records)
    own = records.dtype.names or ()
    for name in dtype.names or ():
        if name in own:
            out[name] = records[name]
        elif name == "msgpack":
            out[name] = records
        else:
            out[name] = headers[name] if single else np.repeat(headers[name], counts)
    if by == "venue":
        times = np.where(out["venue_ns"] != 0, out["venue_ns"], out["seq_ns"])
        inside = np.ones(len(out), bool)
        if start_ns is not None:
            inside &= times >= start_ns
        if end_ns is not None:
            inside &= times < end_ns
        out = out[inside]
    return out
