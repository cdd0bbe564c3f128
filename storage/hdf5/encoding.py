"""Events to columns of an HDF5 group, window by window in two passes; storage/hdf5/columns.py reads them back.

What a column says of a row may depend on the rows before (`link`, `number`): that is carried along, so the columns do not
depend on the windows.
"""

from typing import Any, NamedTuple

import numpy as np

from tickmesh.bus.schema import HEADER, Kind
from tickmesh.storage.hdf5.columns import I8, PLAIN, SOURCE, U4, Table, dictionary, previous, records_name
from tickmesh.storage.hdf5.packing import U8, Sink, Span

PAIR = np.dtype([("producer", HEADER["producer"]), ("epoch", "<u8")])
# Header columns that may hold the same values as a record column: one dataset with two names then.
TWINS = {"last_id": ("trade_id", "update_id"), "venue_ns": ("event_ns", "venue_ns", "now_ns")}
DERIVED = ("id_span", "recv_to_sent_ns", "sent_to_seq_ns", "subject", "link_rows", "link_values", "source", "number_step")


class Encoder:
    """Turns headers into columns, window after window; the columns do not depend on the windows."""

    def __init__(self) -> None:
        self.row = 0
        self.subjects: dict[bytes, int] = {}
        self.latest: list[int] = []  # by subject: seq of its last row
        self.sources: dict[tuple[bytes, int], int] = {}
        self.firsts: list[int] = []  # by source: number of its first row
        self.numbers: list[int] = []  # and of its last

    def columns(self, headers: np.ndarray) -> dict[str, np.ndarray]:
        """Builds every column of `events`, also those that are absent in the file when they are 0 throughout."""
        out = {name: np.ascontiguousarray(headers[name]) for name in PLAIN}
        out["id_span"] = headers["last_id"] - headers["first_id"]
        out["recv_to_sent_ns"] = headers["sent_ns"] - headers["recv_ns"]
        out["sent_to_seq_ns"] = headers["seq_ns"] - headers["sent_ns"]
        out["cause_seq"] = np.ascontiguousarray(headers["cause_seq"])
        out["cause_back"] = np.where(headers["cause_seq"] != 0, headers["seq"] - headers["cause_seq"], U8.type(0))
        self._link(headers, out)
        self._number(headers, out)
        self.row += len(headers)
        return out

    def _link(self, headers: np.ndarray, out: dict[str, np.ndarray]) -> None:
        """`link` is the previous `seq` of the same subject, but in the rows that are listed as exceptions."""
        names, local = dictionary(np.ascontiguousarray(headers["subject"]))
        place = np.array([self.subjects.setdefault(name, len(self.subjects)) for name in names.tolist()], U4)
        self.latest += [0] * (len(self.subjects) - len(self.latest))
        out["subject"] = place[local]
        expected = previous(headers["seq"], out["subject"], self.latest)
        wrong = np.flatnonzero(expected != headers["link"])
        out["link_rows"] = wrong.astype(I8) + self.row
        out["link_values"] = headers["link"][wrong]

    def _number(self, headers: np.ndarray, out: dict[str, np.ndarray]) -> None:
        """`number_step`: from the same source's row before; 0 in its first row."""
        pair = np.zeros(len(headers), PAIR)
        pair["producer"], pair["epoch"] = headers["producer"], headers["epoch"]
        pairs, local = dictionary(pair)
        place = np.array([self.sources.setdefault(key, len(self.sources)) for key in pairs.tolist()], U4)
        step = np.zeros(len(headers), U8)
        for index, source in enumerate(place.tolist()):
            rows = np.flatnonzero(local == index) if len(place) > 1 else slice(None)
            numbers = headers["number"][rows]
            if source == len(self.firsts):
                self.firsts.append(int(numbers[0]))
                self.numbers.append(int(numbers[0]))
            step[rows] = np.diff(numbers, prepend=U8.type(self.numbers[source]))
            self.numbers[source] = int(numbers[-1])
        out["source"], out["number_step"] = place[local], step


class WindowColumns(NamedTuple):
    """The columns of some events, by name: of their records, and of `events`."""

    body: dict[str, np.ndarray]
    events: dict[str, np.ndarray]


class TableWriter:
    """Writes one kind's group: `survey` every window, `begin`, `write` every window again, `close`."""

    def __init__(self, kind: Kind):
        self.kind = kind
        self.events = self.records = 0
        self.spans: dict[str, Span] = {}
        self.body_spans: dict[str, Span] = {}
        self.twins = {name: list(others) for name, others in TWINS.items()}  # that are equal so far
        self.aligned = True  # one record an event, so far
        self.whole = True  # cause_back can tell every cause, so far
        self.encoder = Encoder()

    def survey(self, table: Table) -> WindowColumns:
        """Learns what the columns of a window have in common; every window is surveyed before `begin`. Gives its columns.

        A window has one event at least.
        """
        headers, records = table
        window = self._window(table)
        body, columns = window
        self.events, self.records = self.events + len(headers), self.records + len(records)
        self.aligned = self.aligned and len(headers) == len(records)
        self.whole = self.whole and not ((columns["cause_seq"] != 0) & (columns["cause_back"] == 0)).any()
        for spans, found in ((self.body_spans, body), (self.spans, columns)):
            for name, values in found.items():
                spans.setdefault(name, Span(values.dtype)).add(values)
        for name, others in self.twins.items():
            same = [twin for twin in others if self.aligned and twin in body and _same(body[twin], columns[name])]
            self.twins[name] = same
        return window

    def _window(self, table: Table) -> WindowColumns:
        return WindowColumns(body_columns(table.records), self.encoder.columns(table.headers))

    def begin(self, group: Any) -> None:
        """Fills `group` (named after the kind) with `events` and `records` (for depth `levels`), as yet without values."""
        group.attrs["events"], group.attrs["records"] = self.events, self.records
        body, events = group.create_group(records_name(group)), group.create_group("events")
        self.body_sinks = {
            name: Sink(body, name, span)
            for name, span in self.body_spans.items()
            if not name.startswith("reserved") or not span.zero
        }
        self.sinks = {}
        for name in (*PLAIN, "cause_back" if self.whole else "cause_seq", *DERIVED):
            if self.twins.get(name):
                events[name] = body[self.twins[name][0]]
            elif name == "seq" or not self.spans[name].zero or (name.startswith("link") and self.spans[name].rows):
                self.sinks[name] = Sink(events, name, self.spans[name])
        encoder = self.encoder
        events.create_dataset("subjects", data=np.array(list(encoder.subjects), HEADER["subject"]))
        sources = np.zeros(len(encoder.sources), SOURCE)
        sources["producer"], sources["epoch"] = [p for p, _ in encoder.sources], [e for _, e in encoder.sources]
        sources["first_number"] = encoder.firsts
        events.create_dataset("sources", data=sources)
        self.encoder = Encoder()

    def write(self, table: Table) -> None:
        """Writes a window that was surveyed before, in the same order."""
        if len(table.headers):
            self.put(self._window(table))

    def put(self, window: WindowColumns) -> None:
        """Writes the columns of the next window, as `survey` gave them."""
        for sinks, found in ((self.body_sinks, window.body), (self.sinks, window.events)):
            for name, sink in sinks.items():
                sink.add(found[name])

    def close(self) -> None:
        """Writes the rows that are still kept back."""
        for sink in (*self.body_sinks.values(), *self.sinks.values()):
            sink.close()


def body_columns(records: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of a kind's records, by name."""
    names = records.dtype.names
    return {name: np.ascontiguousarray(records[name]) for name in names} if names else {"msgpack": records}


def write_table(group: Any, table: Table) -> None:
    """Writes a whole table into the group."""
    writer = TableWriter(Kind[group.name.rpartition("/")[2]])
    window = writer.survey(table)
    writer.begin(group)
    writer.put(window)
    writer.close()


def _same(column: np.ndarray, values: np.ndarray) -> bool:
    return column.dtype.itemsize == values.dtype.itemsize and bool((column == values).all())
