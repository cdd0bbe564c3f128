"""Coverage as arithmetic on ids: what the events of one stretch of the log prove, and the union of several. No I/O.

A stretch states only what it can see (the ids of its own events, of holes before them, of gaps that are told in it), so the
union of all stretches is what one look at everything would give, in whatever order they are put together.
docs/coverage.md says what each state means.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tickmesh.bus.id_rules import rule
from tickmesh.bus.schema import COVERAGE, DTYPES, HEADER, Coverage, Evidence, Flag, GapState, Kind, Reason
from tickmesh.bus.wire import CHECKED
from tickmesh.storage.hdf5.columns import Table

COVERED = (Kind.trade, Kind.quote, Kind.depth)  # the streams that have a ledger


class LedgerPosition(NamedTuple):
    """How far each stream's ledger is, before or after a stretch. None: nothing has been stated of it yet."""

    trade_id: int | None = None
    quote_id: int | None = None
    depth_id: int | None = None
    book: bool = False  # whether the book at `depth_id` is known
    era: int = 0  # seq of the event with which the depth ids last began anew
    trade_era: int = 0  # likewise
    quote_era: int = 0
    depth_head: int | None = None  # the newest change's last id, if no neighbour has confirmed it yet: above `depth_id`
    depth_head_ns: int = 0  # its time


BEGINNING = LedgerPosition()


class Interval(NamedTuple):
    """One statement, as a record of COVERAGE says it."""

    first: int
    last: int
    begin_ns: int
    end_ns: int
    state: int
    evidence: int = Evidence.none
    reason: int = Reason.none
    era: int = 0

    @property
    def claim(self) -> tuple[int, int, int]:
        return self.state, self.evidence, self.reason


def of_tables(
    tables: Mapping[Kind, Table], subject: str, state: LedgerPosition = BEGINNING
) -> tuple[np.ndarray, LedgerPosition]:
    """What a stretch's events prove: COVERAGE rows in canonical order, and the state after it.

    `tables`: events of one instrument by kind, each in order of seq; others than trade, quote, depth and gap are ignored.
    `state`: what the stretch before came to; the default is that of a log's beginning.
    """
    trades, quotes, depth, gaps = (_table(tables, kind) for kind in (*COVERED, Kind.gap))
    numbered = {kind: rule(kind, subject) != "exclusive" for kind in COVERED}  # else a feed counts the ids itself
    traded, trade_id, trade_era = _of_eras(
        _trades if numbered[Kind.trade] else _without_ids, trades, gaps, Kind.trade, state.trade_id, state.trade_era
    )
    quoted, quote_id, quote_era = _of_eras(
        _conflated if numbered[Kind.quote] else _without_ids, quotes, gaps, Kind.quote, state.quote_id, state.quote_era
    )
    book = _Book(state, numbered[Kind.depth])
    book.follow(depth.headers, gaps)
    parts = (_array(kind, rows) for kind, rows in zip(COVERED, (traded, quoted, book.rows)))
    pending = (book.head, book.head_ns) if book.head != book.id else (None, 0)
    return merge(parts), LedgerPosition(trade_id, quote_id, book.id, book.valid, book.era, trade_era, quote_era, *pending)


def _table(tables: Mapping[Kind, Table], kind: Kind) -> Table:
    return tables.get(kind, Table(np.zeros(0, HEADER), np.zeros(0, DTYPES[kind])))


def _array(kind: int, rows: list[Interval]) -> np.ndarray:
    out = np.zeros(len(rows), COVERAGE)
    names = ("first_id", "last_id", "begin_ns", "end_ns", "state", "evidence", "reason", "era")
    for name, values in zip(names, zip(*rows)):
        out[name] = values
    out["stream"] = kind
    return out


def _gap_rows(gaps: Table, kind: Kind) -> Iterator[tuple[int, np.void]]:
    """(seq, record) of every gap that says that ids of this stream are missing."""
    seqs = np.repeat(gaps.headers["seq"], gaps.headers["count"]).tolist()
    for seq, gap in zip(seqs, gaps.records):
        if gap["stream"] == kind and gap["state"] != GapState.repaired:  # what was repaired is told by the events themselves
            yield seq, gap


def _missing(first: int, last: int, reason: int, era: int = 0) -> Interval:
    return Interval(first, last, 0, 0, Coverage.missing, reason=reason, era=era)


Told = list[tuple[int, np.void]]  # gap records of one stream, each with its event's seq


def _of_eras(
    rows_of: Callable[[Table, Told, Kind, int | None], tuple[list[Interval], int | None]],
    table: Table, gaps: Table, kind: Kind, at: int | None, era: int,
) -> tuple[list[Interval], int | None, int]:  # fmt: skip
    """A stream's rows era by era, and how far it is afterwards, in which era."""
    told = list(_gap_rows(gaps, kind))
    headers, records = table
    begins = np.flatnonzero((headers["flags"] & Flag.RESET) != 0).tolist()
    ends = np.cumsum(headers["count"].astype("i8"))
    rows: list[Interval] = []
    start = 0
    for stop in [*begins, len(headers)]:
        until = headers["seq"][stop] if stop < len(headers) else None
        mine = [(seq, gap) for seq, gap in told if until is None or seq < until]
        told = told[len(mine) :]
        low, high = (ends[start - 1] if start else 0), (ends[stop - 1] if stop else 0)
        part, at = rows_of(Table(headers[start:stop], records[low:high]), mine, kind, at)
        rows += [row._replace(era=era) for row in part]
        if stop < len(headers):
            era, at = int(headers["seq"][stop]), None
        start = stop
    return rows, at, era


# -- trades: every id is there, or is missing


def _trades(table: Table, told: Told, kind: Kind, at: int | None) -> tuple[list[Interval], int | None]:
    rows = [
        _missing(int(gap["first_id"]), int(gap["last_id"]), int(gap["reason"]) or Reason.skipped)
        for _, gap in told
        if gap["last_id"] >= gap["first_id"]
    ]
    headers, records = table
    if not len(headers):
        return rows, _taken_back(told, at)
    counts = headers["count"].astype("i8")
    ends = np.cumsum(counts)
    begin_ns, end_ns = records["venue_ns"][ends - counts], records["venue_ns"][ends - 1]
    repaired = (headers["flags"] & Flag.REPAIRED) != 0
    for coverage, chosen in ((Coverage.complete, ~repaired), (Coverage.repaired, repaired)):
        for first, last, begin, end in _runs(headers[chosen], begin_ns[chosen], end_ns[chosen]):
            rows.append(Interval(first, last, begin, end, coverage, Evidence.ids))
    ordinary = headers[~repaired]
    backs = [(int(np.searchsorted(ordinary["seq"], seq)), int(gap["last_id"])) for seq, gap in told if _takes_back(gap)]
    start = 0
    for stop, back in [*backs, (len(ordinary), None)]:  # between two contradictions ids only rise
        holes, at = _holes(ordinary[start:stop], at)
        rows += holes
        if back is not None and at is not None:
            at = back
        start = stop
    return rows, at


def _takes_back(gap: np.void) -> bool:
    return int(gap["reason"]) == Reason.contradiction


def _taken_back(told: Told, at: int | None) -> int | None:
    """How far a stream without events is."""
    for _, gap in told:
        if at is not None and _takes_back(gap):
            at = int(gap["last_id"])
    return at


def _holes(headers: np.ndarray, at: int | None) -> tuple[list[Interval], int | None]:
    """Holes that are missing whether a gap tells of them or not, and the highest id."""
    if not len(headers):
        return [], at
    before = headers["first_id"][0] - 1 if at is None else at
    reached = np.maximum.accumulate(np.concatenate([[before], headers["last_id"]]))
    holes = np.flatnonzero(headers["first_id"] > reached[:-1] + 1)
    rows = [_missing(int(reached[hole]) + 1, int(headers["first_id"][hole]) - 1, Reason.none) for hole in holes]
    return rows, int(reached[-1])


def _runs(headers: np.ndarray, begin_ns: np.ndarray, end_ns: np.ndarray) -> Iterator[tuple[int, int, int, int]]:
    """(first_id, last_id, begin_ns, end_ns) of every run of ids without a hole. Events may come in any order."""
    if not len(headers):
        return
    order = np.argsort(headers["first_id"], kind="stable")
    first, last = headers["first_id"][order], headers["last_id"][order]
    reached = np.maximum.accumulate(last)
    starts = np.concatenate([[0], np.flatnonzero(first[1:] > reached[:-1] + 1) + 1])
    stops = np.concatenate([starts[1:], [len(first)]])
    begins, ends = np.minimum.reduceat(begin_ns[order], starts), np.maximum.reduceat(end_ns[order], starts)
    yield from zip(first[starts].tolist(), reached[stops - 1].tolist(), begins.tolist(), ends.tolist())


# -- quotes, and trades without ids: what is there may be all there was


def _conflated(table: Table, told: Told, kind: Kind, at: int | None) -> tuple[list[Interval], int | None]:
    return _unproven(table, told, at, Reason.conflated)


def _without_ids(table: Table, told: Told, kind: Kind, at: int | None) -> tuple[list[Interval], int | None]:
    return _unproven(table, told, at, Reason.no_ids)


def _unproven(table: Table, told: Told, at: int | None, reason: Reason) -> tuple[list[Interval], int | None]:
    """Ids rise with holes that mean nothing: one interval, but for what a gap says."""
    rows: list[Interval] = []
    headers = table.headers
    places: list[tuple[int, np.void | None]] = [(int(np.searchsorted(headers["seq"], seq)), gap) for seq, gap in told]
    position = 0
    for place, gap in [*places, (len(headers), None)]:
        part = headers[position:place]
        if len(part):
            low, last = int(part["last_id"].min()), int(part["last_id"].max())
            times = _times(part)
            first = low if at is None else min(low, at + 1)
            rows.append(Interval(first, last, int(times.min()), int(times.max()), Coverage.unproven, reason=reason))
            at = last if at is None else max(at, last)
        if gap is not None and at is not None:
            first_id, last_id = int(gap["first_id"]), int(gap["last_id"])
            if _takes_back(gap):
                if last_id >= first_id:
                    rows.append(_contradicted(first_id, last_id))
                at = last_id
            elif last_id > at:
                rows.append(_missing(at + 1, last_id, int(gap["reason"]) or Reason.skipped))
                at = last_id
        position = place
    return rows, at


def _contradicted(first: int, last: int, era: int = 0) -> Interval:
    return Interval(first, last, 0, 0, Coverage.unproven, reason=Reason.contradiction, era=era)


def _times(headers: np.ndarray) -> np.ndarray:
    """The venue's time, or when the frame was received where it states none."""
    return np.where(headers["venue_ns"] > 0, headers["venue_ns"], headers["recv_ns"])


# -- depth: the book is known from a snapshot on, as long as nothing is missing


class _Book:
    """Follows what is known of a book: from a SNAPSHOT through changes that chain, to a gap or a break of the chain.

    `id`: the highest id of which something is stated; `head`: the newest change's last one, which the next must confirm.
    """

    def __init__(self, state: LedgerPosition, numbered: bool):
        self.id, self.valid, self.era = state.depth_id, state.book, state.era
        self.head = state.depth_id if state.depth_head is None else state.depth_head
        self.head_ns = state.depth_head_ns
        self.numbered = numbered
        self.rows: list[Interval] = []

    def follow(self, headers: np.ndarray, gaps: Table) -> None:
        """`headers`: of depth events in order of seq; `gaps`: of any stream."""
        single = np.flatnonzero(headers["flags"] & (Flag.SNAPSHOT | Flag.RESET)).tolist()
        marks: list[tuple[int, int, np.void | None]] = [(at, at + 1, None) for at in single]
        for seq, gap in _gap_rows(gaps, Kind.depth):
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
            self.rows.append(_missing(self.id + 1, last, reason, self.era))
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
        if _takes_back(gap):
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
            self.rows.append(_contradicted(first, last, self.era))
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
        times = _times(headers[new])
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
            self.head, self.head_ns = int(newest["last_id"]), int(_times(headers[new[-1:]])[0])
            if (first := int(newest["first_id"])) > self.id:
                self._known(self.id + 1, first, (self.head_ns, self.head_ns), False)
                self.id = first

    def _stated(self, headers: np.ndarray, reached: np.ndarray, new: np.ndarray) -> None:
        """Claims these changes with all of their ids."""
        if not len(new):
            return
        checked = headers["reserved"][new] & np.uint64(CHECKED) != 0
        times = _times(headers[new])
        starts = np.concatenate([[0], np.flatnonzero(checked[1:] != checked[:-1]) + 1])
        begins, ends = np.minimum.reduceat(times, starts), np.maximum.reduceat(times, starts)
        stops = np.concatenate([starts[1:], [len(new)]])
        for start, stop, begin, end in zip(starts, stops, begins.tolist(), ends.tolist()):
            first, last = int(reached[new[start]]) + 1, int(reached[new[stop - 1] + 1])
            self._known(first, last, (begin, end), bool(checked[start]))
        self.id = self.head = int(reached[new[-1] + 1])


# -- union


def merge(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The union of COVERAGE rows of one instrument, shape (n,): by stream, era and id, each id at most once, runs joined.

    Of what several rows say of an id the best is true: complete, repaired, unproven, missing. Associative, and independent of
    order. Times of missing rows are those of the rows next to them.
    """
    rows = np.concatenate([np.zeros(0, COVERAGE), *parts])
    groups: dict[tuple[int, int], list[Interval]] = {}
    for row in rows.tolist():
        first, last, begin, end, stream, state, evidence, reason, era = row
        groups.setdefault((stream, era), []).append(Interval(first, last, begin, end, state, evidence, reason, era))
    out = [_array(stream, _with_times(_united(group))) for (stream, _), group in sorted(groups.items())]
    return np.concatenate([np.zeros(0, COVERAGE), *out])


_STATES = {Coverage.missing: 0, Coverage.unproven: 1, Coverage.repaired: 2, Coverage.complete: 3}
# Why something is missing: what was asked for and refused says more than that it was skipped.
_VAGUE = {Reason.none: -3, Reason.skipped: -2, Reason.resync: -1}


def _rank(claim: tuple) -> tuple[int, int, int]:
    """Of state, evidence, reason: the greatest is believed."""
    state, evidence, reason = claim
    return _STATES[state], evidence, _VAGUE.get(reason, reason)


def _united(rows: list[Interval]) -> list[Interval]:
    """Disjoint rows in order of id."""
    claims: dict[tuple[int, int, int], list[Interval]] = {}
    for row in sorted(rows):
        runs = claims.setdefault(row.claim, [])
        if runs and row.first <= runs[-1].last + 1:
            runs[-1] = _joined(runs[-1], row)
        else:
            runs.append(row)
    ranked = [claims[claim] for claim in sorted(claims, key=_rank, reverse=True)]
    if len(ranked) == 1:
        return ranked[0]
    bounds = sorted({bound for runs in ranked for row in runs for bound in (row.first, row.last + 1)})
    places = [0] * len(ranked)
    out: list[Interval] = []
    for low, high in pairwise(bounds):
        for claim, runs in enumerate(ranked):
            while places[claim] < len(runs) and runs[places[claim]].last < low:
                places[claim] += 1
            if places[claim] < len(runs) and runs[places[claim]].first <= low:
                row = runs[places[claim]]._replace(first=low, last=high - 1)
                if out and out[-1].last == low - 1 and out[-1].claim == row.claim:
                    out[-1] = _joined(out[-1], row)
                else:
                    out.append(row)
                break
    return out


def _joined(one: Interval, other: Interval) -> Interval:
    """Two rows of one claim, next to one another. A time of 0 is not known."""
    begin_ns = min(one.begin_ns, other.begin_ns) or max(one.begin_ns, other.begin_ns)
    return one._replace(
        first=min(one.first, other.first),
        last=max(one.last, other.last),
        begin_ns=begin_ns,
        end_ns=max(one.end_ns, other.end_ns),
    )


def _with_times(rows: list[Interval]) -> list[Interval]:
    """A missing row begins when what is before it ended, and ends when what is after it began; 0 where that is not stated."""
    begins, ends = [row.begin_ns for row in rows], [row.end_ns for row in rows]
    missing = [row.state == Coverage.missing for row in rows]
    for i, row in enumerate(rows):
        if missing[i]:
            follows = i > 0 and rows[i - 1].last == row.first - 1
            begins[i] = (begins if follows and missing[i - 1] else ends)[i - 1] if follows else 0
    for i, row in reversed(list(enumerate(rows))):
        if missing[i]:
            precedes = i + 1 < len(rows) and rows[i + 1].first == row.last + 1
            ends[i] = (ends if precedes and missing[i + 1] else begins)[i + 1] if precedes else 0
    return [row._replace(begin_ns=begin, end_ns=end) for row, begin, end in zip(rows, begins, ends)]
