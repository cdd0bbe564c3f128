"""Events as columns of an HDF5 group, and back to the same bytes. The layout is in docs/archive.md.

Both ways go window by window, so that a whole day needs no more memory than a minute; what a column says of a row may depend
on the rows before (`link`, `number`), so reader and writer carry that along. A column that is 0 in every row is absent.
"""

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, NamedTuple, TypeVar

import numpy as np

from tickmesh.bus.layout import event_dtype, event_size, headers_at, records_at
from tickmesh.bus.schema import DTYPES, HEADER, Kind
from tickmesh.storage.hdf5.packing import U8, StoredColumn

SOURCE = np.dtype([("producer", HEADER["producer"]), ("epoch", "<u8"), ("first_number", "<u8")])
I8 = np.dtype("<i8")
U4 = np.dtype("<u4")
WINDOW = 1 << 17  # rows that are read at once
WINDOW_BYTES = 32 << 20  # and, about, the bytes of their events
WHOLE_BYTES = 256 << 20  # of events that may be read in one piece

PLAIN = ("seq", "seq_ns", "count", "flags", "k", "last_id", "venue_ns", "reserved")


class Table(NamedTuple):
    """Events of one kind. `headers`: shape (n,), HEADER. `records`: shape (sum of counts,), DTYPES[kind]."""

    headers: np.ndarray
    records: np.ndarray


def from_bytes(kind: Kind, data: bytes, sizes: np.ndarray) -> Table:
    """Builds a table from `data`, whole events of one kind back to back; `sizes`: the bytes of each."""
    return from_places(kind, memoryview(data), np.cumsum(sizes) - sizes, sizes)


def from_places(kind: Kind, buffer: memoryview, starts: np.ndarray, sizes: np.ndarray) -> Table:
    """Builds a table of the events of one kind that begin at these bytes of a buffer and have these sizes; both int64."""
    return Table(headers_at(buffer, starts), records_at(buffer, starts, sizes, DTYPES[kind]))


def joined(tables: Sequence[Table]) -> Table:
    """Builds one table of several of one kind that follow one another."""
    return tables[0] if len(tables) == 1 else Table(*(_bytes_joined(parts) for parts in zip(*tables)))


def _bytes_joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Concatenates records of one dtype as bytes: numpy copies them field by field, which takes several times as long."""
    dtype = parts[0].dtype
    opaque = np.dtype(f"V{dtype.itemsize}")
    return np.concatenate([np.ascontiguousarray(part).view(opaque) for part in parts]).view(dtype)


def in_order_of_seq(table: Table) -> Table:
    """Builds the table of the same events in order of `seq`."""
    headers, records = table
    order = np.argsort(headers["seq"], kind="stable")
    counts = headers["count"].astype("i8")
    starts = np.cumsum(counts) - counts
    bounds = zip(starts[order].tolist(), (starts + counts)[order].tolist())
    rows = np.concatenate([np.arange(start, stop) for start, stop in bounds] or [np.zeros(0, "i8")])
    return Table(headers[order], records[rows])


def to_bytes(table: Table) -> tuple[bytearray, np.ndarray]:
    """Encodes a table as its events back to back, of the schema that its dtypes are of; gives them, and where each begins
    (int64)."""
    headers, records = table
    sizes = headers["size"].astype("i8")
    starts = np.cumsum(sizes) - sizes
    header_bytes, record_bytes = np.ascontiguousarray(headers), np.ascontiguousarray(records)
    if len(sizes) and (sizes == sizes[0]).all():
        out = bytearray(int(sizes.sum()))
        rows = np.frombuffer(out, event_dtype(int(sizes[0]), headers.itemsize))
        rows["header"] = header_bytes.view(rows.dtype["header"])
        rows["records"] = record_bytes.view(rows.dtype["records"])
        return out, starts
    heads, body, size = header_bytes.view("u1").data, record_bytes.view("u1").data, headers.itemsize
    ends = np.cumsum(sizes - size).tolist()
    parts: list[memoryview] = []
    for at, start, stop in zip(range(0, len(heads), size), [0, *ends], ends):
        parts += (heads[at : at + size], body[start:stop])
    return bytearray().join(parts), starts


class Columns:
    """The columns of a group, each opened when it is first asked for."""

    def __init__(self, group: Any, count: int):
        self.group, self.count = group, count
        self.names = frozenset(group)
        self.opened: dict[str, StoredColumn] = {}

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def get(self, name: str) -> StoredColumn | None:
        """Opens the column of that name; None where it is absent, which means 0 in every row."""
        if name not in self.opened and name in self.names:
            self.opened[name] = StoredColumn(self.group, name, self.count)
        return self.opened.get(name)


class TableReader:
    """Reads one kind's group, from any row on, in windows of any size. Raises KeyError, ValueError, OSError for damage."""

    def __init__(self, group: Any, kind: Kind, description: dict[str, Any]):
        self.kind, self.dtype = kind, DTYPES[kind]
        self.events, self.records = int(group.attrs["events"]), int(group.attrs["records"])
        body, rows = group[records_name(group)], group["events"]
        self.body, self.rows = Columns(body, self.records), Columns(rows, self.events)
        self.old = {name: np.dtype(code) for name, code in description[kind.name]}
        self.subjects = rows["subjects"][:]
        self.sources = rows["sources"][:]
        self._links: list[tuple[np.ndarray, np.ndarray]] = []  # shared by all readers of the columns (`again`)
        self._begin()

    @property
    def links(self) -> tuple[np.ndarray, np.ndarray]:
        """The rows whose `link` is not the `seq` of the subject's row before, and their links. Read when first asked for."""
        rows = self.rows.group
        if not self._links and "link_rows" not in rows:
            self._links.append((np.zeros(0, I8), np.zeros(0, U8)))
        if not self._links:
            exceptions = len(rows["link_rows"])
            where = StoredColumn(rows, "link_rows", exceptions).read(0, exceptions, I8)
            self._links.append((where, StoredColumn(rows, "link_values", exceptions).read(0, exceptions, U8)))
        return self._links[0]

    def _begin(self) -> None:
        self.row = self.record = 0  # the next ones
        self.latest = [0] * len(self.subjects)  # as in the encoder, of the rows before `row`
        self.numbers = [int(first) for first in self.sources["first_number"]]

    def again(self) -> "TableReader":
        """Another reader of the same columns, at the first row."""
        other = copy(self)
        other._begin()
        return other

    def column(self, name: str, start: int, stop: int, dtype: np.dtype | None = None) -> np.ndarray:
        """Reads rows start…stop of one dataset of `events`."""
        dtype = HEADER[name] if dtype is None else dtype
        stored = self.rows.get(name)
        return np.zeros(stop - start, dtype) if stored is None else stored.read(start, stop, dtype)

    def first_row(self, name: str, value: int, low: int = 0, high: int | None = None) -> int:
        """The first row of low…high whose `seq` or `seq_ns` (which never decrease) is `value` or more; `high` if none is."""
        high = self.events if high is None else high
        while low < high:
            middle = (low + high) // 2
            if int(self.column(name, middle, middle + 1)[0]) < value:
                low = middle + 1
            else:
                high = middle
        return low

    @property
    def bytes(self) -> int:
        """How many bytes its events had in the log."""
        return self.events * HEADER.itemsize + self.records * self.dtype.itemsize

    @property
    def window(self) -> int:
        """How many rows take some 32 MB as events."""
        return max(1, min(WINDOW, WINDOW_BYTES * self.events // max(self.bytes, 1)))

    def seek(self, row: int) -> None:
        """Moves to `row`, which is not before the present one: the next window begins there."""
        while self.row < row:
            stop = min(row, self.row + WINDOW)
            seq = self.column("seq", self.row, stop)
            previous(seq, self.column("subject", self.row, stop, U4), self.latest)
            self._numbers(self.row, stop)
            self.record += self._count(self.row, stop)
            self.row = stop

    def _count(self, start: int, stop: int) -> int:
        if self.events == self.records:
            return stop - start
        return int(self.column("count", start, stop).sum(dtype="i8"))

    def _numbers(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """(number, source) of the rows."""
        source = self.column("source", start, stop, U4)
        step = self.column("number_step", start, stop, U8)
        out = np.zeros(stop - start, U8)
        for index in np.unique(source).tolist():
            rows = np.flatnonzero(source == index) if len(self.sources) > 1 else slice(None)
            out[rows] = U8.type(self.numbers[index]) + np.cumsum(step[rows], dtype=U8)
            self.numbers[index] = int(out[rows][-1])
        return out, source

    def header_column(self, name: str, start: int, stop: int) -> np.ndarray:
        """Reads rows start…stop of one header field that can be read without the rows before."""
        if name in PLAIN:
            return self.column(name, start, stop)
        out: np.ndarray
        if name == "first_id":
            out = self.column("last_id", start, stop) - self.column("id_span", start, stop, I8)
            return out
        if name == "sent_ns":
            out = self.column("seq_ns", start, stop) - self.column("sent_to_seq_ns", start, stop, I8)
            return out
        if name == "recv_ns":
            out = self.header_column("sent_ns", start, stop) - self.column("recv_to_sent_ns", start, stop, I8)
            return out
        if name == "cause_seq":
            if "cause_seq" in self.rows:
                return self.column(name, start, stop)
            if "cause_back" not in self.rows:
                return np.zeros(stop - start, U8)
            back = self.column("cause_back", start, stop, U8)
            return np.where(back != 0, self.column("seq", start, stop) - back, U8.type(0))
        if name == "subject":
            out = self.subjects[self.column("subject", start, stop, U4)]
            return out
        raise ValueError(f"{name} is not a header field that stands in one row")

    def record_range(self, start: int, stop: int) -> tuple[int, int]:
        """The range of rows in `records` that belong to the events start…stop."""
        if self.events == self.records:
            return start, stop
        blocks = range(0, start, WINDOW)
        first = sum(self._count(block, min(block + WINDOW, start)) for block in blocks)
        return first, first + self._count(start, stop)

    def record_column(self, name: str, start: int, stop: int) -> np.ndarray:
        """Reads rows start…stop of one field of the records."""
        own = self.dtype[name] if self.dtype.names else self.dtype
        stored = self.body.get(name)
        return np.zeros(stop - start, own) if stored is None else stored.read(start, stop, self.old.get(name, own))

    def as_stored(self, name: str, of_record: bool, dtype: np.dtype) -> bool:
        """Whether a field of records, or of the header, is one column of whole numbers that the file has as this dtype."""
        if not of_record:
            return name in PLAIN and name in self.rows and dtype == HEADER[name]
        own = self.dtype[name] if self.dtype.names else self.dtype
        return name in self.body and own.kind in "iu" and dtype == own == self.old.get(name, own)

    def read(self, stop: int) -> Table:
        """Reads the events from the present row up to `stop`. Fields that the file's schema did not have are 0."""
        start, self.row = self.row, stop
        headers = np.zeros(stop - start, HEADER)
        for name in PLAIN:
            if name in self.rows:
                headers[name] = self.column(name, start, stop)
        headers["first_id"] = headers["last_id"] - self.column("id_span", start, stop, I8)
        headers["cause_seq"] = self.header_column("cause_seq", start, stop)
        headers["sent_ns"] = headers["seq_ns"] - self.column("sent_to_seq_ns", start, stop, I8)
        headers["recv_ns"] = headers["sent_ns"] - self.column("recv_to_sent_ns", start, stop, I8)
        headers["kind"] = self.kind
        headers["size"] = event_size(self.kind, headers["count"])
        subject = self.column("subject", start, stop, U4)
        headers["subject"] = self.subjects[subject]
        headers["link"] = previous(headers["seq"], subject, self.latest)
        link_rows, link_values = self.links
        low, high = np.searchsorted(link_rows, [start, stop])
        headers["link"][link_rows[low:high] - start] = link_values[low:high]
        headers["number"], source = self._numbers(start, stop)
        headers["producer"], headers["epoch"] = self.sources["producer"][source], self.sources["epoch"][source]
        end = self.record + int(headers["count"].sum(dtype="i8"))
        if end > self.records or (stop == self.events and end != self.records):
            raise ValueError(f"{self.kind.name} has {self.records} records, its events have {end}")
        records = np.zeros(end - self.record, self.dtype)
        if self.dtype.names is None:
            records = self.record_column("msgpack", self.record, end)
        for name in self.dtype.names or ():
            if name in self.body:
                records[name] = self.record_column(name, self.record, end)
        self.record = end
        return Table(headers, records)


def read_table(group: Any, kind: Kind, description: dict[str, Any]) -> Table:
    """Reads the whole table that `write_table` wrote. `description`: the file's schema."""
    reader = TableReader(group, kind, description)
    return reader.read(reader.events)


Key = TypeVar("Key")


def windows(
    readers: dict[Key, TableReader], after: int = 0, until: int | None = None, whole: bool = False
) -> Iterator[dict[Key, Table]]:
    """Reads events with after < seq ≤ until, one span of `seq` after the other: a bounded table from each reader.

    `whole`: all in one span, where that is at most WHOLE_BYTES: for files that are small by nature.
    """
    whole = whole and sum(reader.bytes for reader in readers.values()) <= WHOLE_BYTES
    ends = {key: r.events if until is None else r.first_row("seq", until + 1) for key, r in readers.items()}
    if after:
        for reader in readers.values():
            reader.seek(reader.first_row("seq", after + 1))
    while True:
        rest = {key: r for key, r in readers.items() if r.row < ends[key]}
        if not rest:
            return
        stops = dict(ends)
        large = {} if whole else {key: r.row + r.window for key, r in rest.items() if ends[key] - r.row > r.window}
        if large:
            bound = min(int(rest[key].column("seq", stop - 1, stop)[0]) for key, stop in large.items())
            for key, reader in rest.items():
                stops[key] = reader.first_row("seq", bound + 1, reader.row, large.get(key, ends[key]))
        yield {key: reader.read(stops[key]) for key, reader in rest.items() if stops[key] > reader.row}


def records_name(group: Any) -> str:
    """The name of the dataset group of a kind's records: `records`, or `levels` for depth."""
    return "levels" if group.name.rpartition("/")[2] == "depth" else "records"


def dictionary(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distinct values in order of first appearance, index of each row's value). Any fixed-size dtype of n × 8 bytes."""
    words = np.ascontiguousarray(values).view(U8).reshape(len(values), -1)
    if (words == words[0]).all():
        return values[:1], np.zeros(len(values), "<u4")
    mixed = np.zeros(len(words), U8)
    for column in range(words.shape[1]):  # an odd multiplier and a fold spread the bits; collisions are looked for below
        mixed = (mixed ^ words[:, column]) * U8.type(0x9E3779B97F4A7C15)
        mixed ^= mixed >> U8.type(29)
    _, firsts, index = np.unique(mixed, return_index=True, return_inverse=True)
    if not (words[firsts][index] == words).all():
        _, firsts, index = np.unique(words, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(firsts)
    rank = np.empty(len(order), "<u4")
    rank[order] = np.arange(len(order), dtype="<u4")
    return values[firsts[order]], rank[index.reshape(-1)]


def previous(seq: np.ndarray, subject: np.ndarray, latest: list[int]) -> np.ndarray:
    """The `seq` of the subject's row before each row; `latest` has those of earlier windows, and is brought up to date."""
    out = np.zeros(len(seq), U8)
    if not len(seq):
        return out
    for index in range(len(latest)):
        rows = np.flatnonzero(subject == index) if len(latest) > 1 else slice(None)
        own = seq[rows]
        if len(own):
            out[rows] = np.concatenate([np.array([latest[index]], U8), own[:-1]])
            latest[index] = int(own[-1])
    return out
