"""Records with their event's fields beside them: what research is handed, from a file or from events in memory."""

from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.storage.archive.file import ArchiveError, ArchiveFile
from tickmesh.storage.hdf5.chunks import OrderedColumn
from tickmesh.storage.hdf5.columns import Table, TableReader

By = Literal["seq", "venue"]
PART_ROWS = 1 << 17  # that `segment_parts` reads at once: some MB
COMPILED_ROWS = 1 << 19  # events from which on compiled code reads them: loading numba takes half a second
_ROW_HEADER = ("seq", "seq_ns", "recv_ns", "flags", "first_id", "last_id", "venue_ns")
# Header fields that a file has as what is to be taken off another one (storage/hdf5/columns.py, header_column).
DIFFERENCES: dict[str, tuple[str, ...]] = {
    "recv_ns": ("seq_ns", "sent_to_seq_ns", "recv_to_sent_ns"),
    "first_id": ("last_id", "id_span"),
}
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


def joined(parts: Sequence[np.ndarray], dtype: np.dtype) -> np.ndarray:
    """Concatenates rows of one dtype as bytes: numpy copies records field by field, which takes several times as long."""
    if not parts:
        return np.zeros(0, dtype)
    opaque = np.dtype(f"V{dtype.itemsize}")
    out: np.ndarray = np.concatenate([np.ascontiguousarray(part).view(np.ndarray).view(opaque) for part in parts]).view(dtype)
    return out


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
        return _RowReader(reader, stop - start).rows(start, stop, reader.record_range(start, stop))
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
        record, rows = reader.record_range(0, start)[1], _RowReader(reader, stop - start)
        while start < stop:
            end, records = _part_end(reader, start, stop)
            yield rows.rows(start, end, (record, record + records))
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


class _RowReader:
    """Events of a reader as rows, part after part in order; a long stretch with compiled code, chunk by chunk.

    `events`: how many are to be read in all: of few, loading compiled code takes longer than reading them.
    """

    def __init__(self, reader: TableReader, events: int):
        self.reader, self.dtype, self.own = reader, row_dtype(reader.kind), reader.dtype.names or ("msgpack",)
        self._ordered: dict[str, OrderedColumn] = {}
        self._less: dict[str, list[OrderedColumn]] = {}
        if events < COMPILED_ROWS:
            return
        from tickmesh.storage.hdf5 import kernels

        for name in self.dtype.names or ():
            group, rows = (reader.body.group, reader.records) if name in self.own else (reader.rows.group, reader.events)
            if reader.as_stored(name, name in self.own, self.dtype[name]):
                self._ordered[name] = OrderedColumn(group, name, rows, kernels)
        for name, (base, *less) in DIFFERENCES.items():
            if base in self._ordered:
                self._less[name] = [OrderedColumn(reader.rows.group, one, reader.events, kernels) for one in less]

    def rows(self, start: int, stop: int, records: tuple[int, int]) -> np.ndarray:
        """Reads events start…stop, which have their records at `records`."""
        reader, (first, last) = self.reader, records
        out = np.zeros(last - first, self.dtype)
        counts = None if last - first == stop - start else reader.column("count", start, stop).astype("i8")
        waiting: list[str] = []
        less = np.zeros(stop - start, "i8")
        for name in self.dtype.names or ():
            own = name in self.own
            if name in self._ordered and (own or counts is None):
                self._ordered[name].read_into(out[name], *(records if own else (start, stop)))
            elif name in self._less and counts is None:
                waiting.append(name)
            elif own:
                out[name] = reader.record_column(name, first, last)
            else:
                values = reader.header_column(name, start, stop)
                out[name] = values if counts is None else np.repeat(values, counts)
        for name in waiting:  # for what they are counted from
            values = out[DIFFERENCES[name][0]].astype("i8")
            for column in self._less[name]:
                if not column.absent:
                    column.read_into(less, start, stop)
                    values -= less
            out[name] = values
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
