"""One cut of the log while it is made: its events sorted into kinds and folders, and what they prove. No I/O."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tickmesh.bus.layout import headers_at
from tickmesh.bus.schema import HEADER, Kind
from tickmesh.bus.segments import Batch
from tickmesh.bus.wire import starts
from tickmesh.storage.archive.catalog import DAY_NS
from tickmesh.storage.archive.file import folder_of, subject_of
from tickmesh.storage.coverage.intervals import merge
from tickmesh.storage.hdf5.columns import Table, dictionary, from_places, in_order_of_seq, joined

Part = list[Table]  # events of one kind and subject, one table after the other
TOPIC = np.dtype([("kind", "<u8"), ("subject", HEADER["subject"])])


class CutCoverage(NamedTuple):
    """The coverage that files of a finished cut, seq `first` to `last`, prove: COVERAGE rows in order, by subject."""

    first: int
    last: int
    rows: dict[str, np.ndarray]


class LogStretch:
    """Some batches of the log as arrays, an element an event: `headers` (dtype HEADER), `starts` and `sizes` in bytes.

    `ends`: the bytes up to the end of each event. `first`: the seq that the log gives the first one.
    """

    def __init__(self, batches: list[Batch]):
        self.first = batches[0].first
        self.buffer = memoryview(b"".join(batch.body for batch in batches))
        bounds = np.array(starts(self.buffer), "i8")
        self.starts, self.ends = bounds[:-1], bounds[1:]
        self.sizes = self.ends - self.starts
        self.headers = headers_at(self.buffer, self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    def day(self, at: int) -> int:
        """The UTC day in which event number `at` was sequenced, counted from 1970."""
        return int(self.headers["seq_ns"][at]) // DAY_NS

    def end_of_day(self, at: int, stop: int, day: int) -> int:
        """The end of the events from number `at` on that are of the day; at most `stop`."""
        others = np.flatnonzero(self.headers["seq_ns"][at:stop] // DAY_NS != day)
        return at + int(others[0]) if len(others) else stop

    def fit(self, at: int, bytes_max: int) -> int:
        """The end of the events from number `at` on that have at most `bytes_max` bytes together."""
        return int(np.searchsorted(self.ends, int(self.starts[at]) + bytes_max, "right"))

    def first_wrong(self, at: int, stop: int, expected: int) -> tuple[int, int] | None:
        """(wanted, found) of the first event at…stop whose `seq` is not the one after the last; `expected`: of the first."""
        wanted = np.arange(expected, expected + stop - at, dtype="u8")
        found = self.headers["seq"][at:stop]
        wrong = np.flatnonzero(found != wanted)
        return (int(wanted[wrong[0]]), int(found[wrong[0]])) if len(wrong) else None

    def tables(self, at: int, stop: int) -> Iterator[tuple[int, bytes, Table]]:
        """(kind, subject, events) of every topic among the events at…stop."""
        headers, begins, sizes = self.headers[at:stop], self.starts[at:stop], self.sizes[at:stop]
        topics = np.zeros(len(headers), TOPIC)
        topics["kind"], topics["subject"] = headers["kind"], headers["subject"]
        found, index = dictionary(topics)
        for number, (kind, subject) in enumerate(found.tolist()):
            rows = np.flatnonzero(index == number)
            yield kind, subject, from_places(Kind(kind), self.buffer, begins[rows], sizes[rows])


class Cut:
    """Sorts one day's events, added stretch after stretch, into kinds and folders, in memory.

    `held`: bytes in memory. `pieces`: by folder, files in which its earlier events were laid aside. `proven`: by folder, the
    COVERAGE rows of each part of its file, as they were computed.
    """

    def __init__(self, first: int, day: int):
        self.first, self.last, self.day = first, first - 1, day
        self.bytes = self.held = 0
        self.parts: dict[tuple[int, bytes], Part] = {}
        self.pieces: dict[str, list[Path]] = {}
        self.proven: dict[str, list[np.ndarray]] = {}

    def add(self, stretch: LogStretch, at: int, stop: int) -> None:
        """Takes copies of the next events: those at…stop of a stretch."""
        for kind, subject, table in stretch.tables(at, stop):
            self.parts.setdefault((kind, subject), []).append(table)
        self.last += stop - at
        size = int(stretch.ends[stop - 1] - stretch.starts[at])
        self.bytes += size
        self.held += size

    def folders(self) -> dict[str, dict[Kind, list[Part]]]:
        """The events in memory, by folder and kind."""
        grouped: dict[str, dict[Kind, list[Part]]] = {}
        for (kind, subject), part in self.parts.items():
            folder = folder_of(kind, subject.rstrip(b"\0").decode())
            grouped.setdefault(folder, {}).setdefault(Kind(kind), []).append(part)
        return grouped

    def largest(self, bytes_max: int) -> list[str]:
        """The folders that have to leave memory for the rest to be at most `bytes_max`."""
        held = {
            folder: sum(_bytes(part) for parts in kinds.values() for part in parts) for folder, kinds in self.folders().items()
        }
        chosen, rest = [], self.held
        for folder in sorted(held, key=held.__getitem__, reverse=True):
            if rest <= bytes_max:
                break
            chosen.append(folder)
            rest -= held[folder]
        return chosen

    def forget(self, folders: set[str]) -> None:
        """Drops the events of folders that were laid aside."""
        self.parts = {
            key: part for key, part in self.parts.items() if folder_of(key[0], key[1].rstrip(b"\0").decode()) not in folders
        }
        self.held = sum(map(_bytes, self.parts.values()))

    def coverage(self) -> CutCoverage:
        """The coverage that all files of the cut prove."""
        rows = {subject_of(folder): merge(parts) for folder, parts in self.proven.items()}
        return CutCoverage(self.first, self.last, {subject: own for subject, own in sorted(rows.items()) if len(own)})


def table_of(parts: list[Part]) -> Table:
    """Builds one kind's table in order of seq; several nodes' events are merged."""
    table = joined([table for part in parts for table in part])
    return table if len(parts) == 1 else in_order_of_seq(table)


def _bytes(part: Part) -> int:
    return sum(int(table.headers["size"].sum(dtype="i8")) for table in part)


def coverage_of(cuts: Iterable[CutCoverage], after: int, until: int) -> dict[str, np.ndarray] | None:
    """The coverage of seq `after` + 1 to `until` that the cuts prove, by subject; None where one of those between is not there.

    `cuts`: in order. One that lies partly before `after` counts as a whole: coverage is a union.
    """
    parts: dict[str, list[np.ndarray]] = {}
    reached = after
    for cut in cuts:
        if cut.last <= after:
            continue
        if cut.first > reached + 1:
            return None
        reached = cut.last
        for subject, rows in cut.rows.items():
            parts.setdefault(subject, []).append(rows)
    return {subject: merge(own) for subject, own in sorted(parts.items())} if reached >= until else None
