"""Coverage of a book: it is known from a snapshot on, as long as nothing is missing."""

import numpy as np

from tickmesh.bus.schema import Coverage, Evidence, Flag, Kind, Reason
from tickmesh.bus.wire import CHECKED
from tickmesh.storage.coverage.intervals import Interval, contradicted, missing
from tickmesh.storage.coverage.position import LedgerPosition
from tickmesh.storage.coverage.ticks import gap_rows, takes_back, times_of
from tickmesh.storage.hdf5.columns import Table


class BookCoverage:
    """Follows the coverage of a book: it is known from a SNAPSHOT through changes that chain, to a gap or a break of the chain.

    `id`: the highest id of which something is stated; `head`: the newest change's last one, which the next must confirm.
    """

    def __init__(self, state: LedgerPosition, numbered: bool):
        self.id, self.valid, self.era = state.depth_id, state.book, state.era
        self.head = state.depth_id if state.depth_head is None else state.depth_head
        self.head_ns = state.depth_head_ns
        self.numbered = numbered
        self.rows: list[Interval] = []

    def follow(self, headers: np.ndarray, gaps: Table) -> None:
        """Takes the next depth events and gaps. `headers`: of depth events in order of seq; `gaps`: of any stream."""
        single = np.flatnonzero(headers["flags"] & (Flag.SNAPSHOT | Flag.RESET)).tolist()
        marks: list[tuple[int, int, np.void | None]] = [(at, at + 1, None) for at in single]
        for seq, gap in gap_rows(gaps, Kind.depth):
            at = int(np.searchsorted(headers["seq"], seq))
            marks.append((at, at, gap))
        marks.sort(key=lambda mark: mark[:2])  # stable: gaps at one place stay in their order, before a snapshot there
        position = 0
        for at, after, told in marks:
            self._changes(headers[position:at])
            if told is not None:
                self._broken(told)
            for header in headers[at:after]:
                self._single(headers[at:after], header)
            position = after
        self._changes(headers[position:])

    def _known(self, first: int, last: int, times: tuple[int, int], checked: bool) -> None:
        """`checked`: the book had the venue's checksum."""
        if checked or self.numbered:
            evidence = Evidence.checksum if checked else Evidence.ids
            self.rows.append(Interval(first, last, *times, Coverage.complete, evidence, era=self.era))
        else:
            self.rows.append(Interval(first, last, *times, Coverage.unproven, reason=Reason.no_ids, era=self.era))

    def _confirm(self) -> None:
        """Something goes on after the newest change: its last id was true."""
        if self.valid and self.id is not None and self.head is not None and self.head > self.id:
            self._known(self.id + 1, self.head, (self.head_ns, self.head_ns), False)
            self.id = self.head

    def _lost(self, last: int, reason: int) -> None:
        """No book is known from here to the id `last`."""
        if self.id is not None and last > self.id:
            self.rows.append(missing(self.id + 1, last, reason, self.era))
            self.id = self.head = last

    def _single(self, headers: np.ndarray, header: np.void) -> None:
        """A snapshot, or a change with which a new era begins."""
        if header["flags"] & Flag.RESET:
            self.era, self.id, self.head, self.valid = int(header["seq"]), None, None, False
        if header["flags"] & Flag.SNAPSHOT:
            self._snapshot(header)
        else:
            self._changes(headers)

    def _snapshot(self, header: np.void) -> None:
        last_id, venue_ns = int(header["last_id"]), int(header["venue_ns"])
        first = last_id
        if self.head is not None and last_id >= self.head:
            self._confirm()
        if self.valid and not self.numbered and self.id is not None:
            first = min(self.id + 1, last_id)  # the same line's own book, said again: ids in between mean nothing
        else:
            self._lost(last_id - 1, Reason.resync)
        self.id, self.head, self.valid = last_id, last_id, True
        self._known(first, last_id, (venue_ns, venue_ns), bool(int(header["reserved"]) & CHECKED))

    def _broken(self, gap: np.void) -> None:
        """Coverage begins with the first id seen: what was missing before it is no part of the ledger."""
        first, last = int(gap["first_id"]), int(gap["last_id"])
        if takes_back(gap):
            self._taken_back(first, last)
            return
        if self.head is not None and first > self.head:
            self._confirm()
        self.valid = False
        self._lost(first - 1, Reason.none)
        self._lost(last, int(gap["reason"]) or Reason.skipped)

    def _taken_back(self, first: int, last: int) -> None:
        """What was said from `first` on is contradicted; the stream goes on after `last`."""
        own = [row for row in self.rows if row.era != self.era or row.first < first]
        self.rows = [row._replace(last=min(row.last, first - 1)) if row.era == self.era else row for row in own]
        self.valid = False
        if self.id is not None:
            self.id = self.head = min(self.id, first - 1)
        if last >= first:
            self.rows.append(contradicted(first, last, self.era))
            self.id = self.head = last

    def _changes(self, headers: np.ndarray) -> None:
        if not len(headers):
            return
        if not self.numbered:
            self._counted(headers)
        elif not self.valid:
            self._without_book(headers)
        else:
            assert self.id is not None and self.head is not None
            reached = np.maximum.accumulate(np.concatenate([[self.head], headers["last_id"]]))
            breaks = np.flatnonzero(headers["first_id"] > reached[:-1] + 1)
            whole = int(breaks[0]) if len(breaks) else len(headers)
            self._chained(headers[:whole], reached[: whole + 1])
            if whole < len(headers):  # a hole that no gap tells of
                self._confirm()
                self.valid = False
                self._without_book(headers[whole:])

    def _counted(self, headers: np.ndarray) -> None:
        """Changes of a book whose ids mean nothing by themselves."""
        if self.id is None:
            return
        reached = np.maximum.accumulate(np.concatenate([[self.id], headers["last_id"]]))
        if self.valid:
            new = np.flatnonzero(headers["last_id"] > reached[:-1])
            self._stated(headers, reached, new)
        else:
            self._lost(int(reached[-1]), Reason.resync)

    def _without_book(self, headers: np.ndarray) -> None:
        """Changes that are there, and no snapshot that they could be applied to."""
        before = int(headers["first_id"][0]) - 1 if self.id is None else self.id
        reached = np.maximum.accumulate(np.concatenate([[before], headers["last_id"]]))
        new = np.flatnonzero(headers["last_id"] > reached[:-1])
        if not len(new):
            return
        times = times_of(headers[new])
        firsts = np.maximum(reached[new] + 1, headers["first_id"][new])
        starts = np.concatenate([[0], np.flatnonzero(firsts[1:] > reached[new][1:] + 1) + 1])
        stops = np.concatenate([starts[1:], [len(new)]])
        begins, ends = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        for start, stop, begin, end in zip(starts, stops, begins.tolist(), ends.tolist()):
            first, last = int(firsts[start]), int(reached[new[stop - 1] + 1])
            if self.id is not None:
                self._lost(first - 1, Reason.none)
            self.rows.append(Interval(first, last, begin, end, Coverage.unproven, reason=Reason.no_snapshot, era=self.era))
            self.id = self.head = last

    def _chained(self, headers: np.ndarray, reached: np.ndarray) -> None:
        """Changes that chain; `reached`: the highest id before each, and after the last. The last is yet to be confirmed."""
        new = np.flatnonzero(headers["last_id"] > reached[:-1])
        if not len(new):
            return
        self._confirm()
        newest = headers[new[-1]]
        whole = bool(int(newest["reserved"]) & CHECKED) or newest["first_id"] == newest["last_id"]
        self._stated(headers, reached, new if whole else new[:-1])
        if not whole:
            assert self.id is not None
            self.head, self.head_ns = int(newest["last_id"]), int(times_of(headers[new[-1:]])[0])
            if (first := int(newest["first_id"])) > self.id:
                self._known(self.id + 1, first, (self.head_ns, self.head_ns), False)
                self.id = first

    def _stated(self, headers: np.ndarray, reached: np.ndarray, new: np.ndarray) -> None:
        """Claims these changes with all of their ids."""
        if not len(new):
            return
        checked = headers["reserved"][new] & np.uint64(CHECKED) != 0
        times = times_of(headers[new])
        starts = np.concatenate([[0], np.flatnonzero(checked[1:] != checked[:-1]) + 1])
        begins, ends = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        stops = np.concatenate([starts[1:], [len(new)]])
        for start, stop, begin, end in zip(starts, stops, begins.tolist(), ends.tolist()):
            first, last = int(reached[new[start]]) + 1, int(reached[new[stop - 1] + 1])
            self._known(first, last, (begin, end), bool(checked[start]))
        self.id = self.head = int(reached[new[-1] + 1])
