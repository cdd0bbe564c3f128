"""Coverage of trades and quotes: streams whose events stand for themselves, so that only their ids say what is missing.

Also what coverage of a book needs of them: the gaps that were published of a stream, and when its events were.
"""

from collections.abc import Callable, Iterator

import numpy as np

from tickmesh.bus.schema import Coverage, Evidence, Flag, GapState, Kind, Reason
from tickmesh.storage.coverage.intervals import Interval, contradicted, missing
from tickmesh.storage.hdf5.columns import Table

GapRows = list[tuple[int, np.void]]  # gap records of one stream, each with its event's seq


def gap_rows(gaps: Table, kind: Kind) -> Iterator[tuple[int, np.void]]:
    """(seq, record) of every gap record by which ids of this stream are missing."""
    seqs = np.repeat(gaps.headers["seq"], gaps.headers["count"]).tolist()
    for seq, gap in zip(seqs, gaps.records):
        if gap["stream"] == kind and gap["state"] != GapState.repaired:  # the events themselves show what was repaired
            yield seq, gap


def by_era(
    rows_of: Callable[[Table, GapRows, Kind, int | None], tuple[list[Interval], int | None]],
    table: Table, gaps: Table, kind: Kind, at: int | None, era: int,
) -> tuple[list[Interval], int | None, int]:  # fmt: skip
    """Computes a stream's rows era by era with `rows_of`; gives them, how far the stream is afterwards, and in which era."""
    waiting = list(gap_rows(gaps, kind))
    headers, records = table
    begins = np.flatnonzero((headers["flags"] & Flag.RESET) != 0).tolist()
    ends = np.cumsum(headers["count"].astype("i8"))
    rows: list[Interval] = []
    start = 0
    for stop in [*begins, len(headers)]:
        until = headers["seq"][stop] if stop < len(headers) else None
        mine = [(seq, gap) for seq, gap in waiting if until is None or seq < until]
        waiting = waiting[len(mine) :]
        low, high = (ends[start - 1] if start else 0), (ends[stop - 1] if stop else 0)
        part, at = rows_of(Table(headers[start:stop], records[low:high]), mine, kind, at)
        rows += [row._replace(era=era) for row in part]
        if stop < len(headers):
            era, at = int(headers["seq"][stop]), None
        start = stop
    return rows, at, era


# -- trades: every id is there, or is missing


def of_trades(table: Table, gaps: GapRows, kind: Kind, at: int | None) -> tuple[list[Interval], int | None]:
    """Computes the rows of one era of trades, and the highest id after it; `at`: the highest before."""
    rows = [
        missing(int(gap["first_id"]), int(gap["last_id"]), int(gap["reason"]) or Reason.skipped)
        for _, gap in gaps
        if gap["last_id"] >= gap["first_id"]
    ]
    headers, records = table
    if not len(headers):
        return rows, _taken_back(gaps, at)
    counts = headers["count"].astype("i8")
    ends = np.cumsum(counts)
    begin_ns, end_ns = records["venue_ns"][ends - counts], records["venue_ns"][ends - 1]
    repaired = (headers["flags"] & Flag.REPAIRED) != 0
    for coverage, chosen in ((Coverage.complete, ~repaired), (Coverage.repaired, repaired)):
        for first, last, begin, end in _runs(headers[chosen], begin_ns[chosen], end_ns[chosen]):
            rows.append(Interval(first, last, begin, end, coverage, Evidence.ids))
    ordinary = headers[~repaired]
    backs = [(int(np.searchsorted(ordinary["seq"], seq)), int(gap["last_id"])) for seq, gap in gaps if takes_back(gap)]
    start = 0
    for stop, back in [*backs, (len(ordinary), None)]:  # between two contradictions ids only rise
        holes, at = _holes(ordinary[start:stop], at)
        rows += holes
        if back is not None and at is not None:
            at = back
        start = stop
    return rows, at


def takes_back(gap: np.void) -> bool:
    """Whether a gap is a contradiction: its line's ids go on below what they had reached."""
    return int(gap["reason"]) == Reason.contradiction


def _taken_back(gaps: GapRows, at: int | None) -> int | None:
    """How far a stream without events is."""
    for _, gap in gaps:
        if at is not None and takes_back(gap):
            at = int(gap["last_id"])
    return at


def _holes(headers: np.ndarray, at: int | None) -> tuple[list[Interval], int | None]:
    """Holes that are missing whether a gap tells of them or not, and the highest id."""
    if not len(headers):
        return [], at
    before = headers["first_id"][0] - 1 if at is None else at
    reached = np.maximum.accumulate(np.concatenate([[before], headers["last_id"]]))
    holes = np.flatnonzero(headers["first_id"] > reached[:-1] + 1)
    rows = [missing(int(reached[hole]) + 1, int(headers["first_id"][hole]) - 1, Reason.none) for hole in holes]
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


def of_conflated(table: Table, gaps: GapRows, kind: Kind, at: int | None) -> tuple[list[Interval], int | None]:
    """Computes rows of quotes that a venue conflates, whose ids prove nothing; otherwise as of_trades."""
    return _unproven(table, gaps, at, Reason.conflated)


def of_unnumbered(table: Table, gaps: GapRows, kind: Kind, at: int | None) -> tuple[list[Interval], int | None]:
    """Computes rows of a stream whose ids the feed counts itself, which prove nothing; otherwise as of_trades."""
    return _unproven(table, gaps, at, Reason.no_ids)


def _unproven(table: Table, gaps: GapRows, at: int | None, reason: Reason) -> tuple[list[Interval], int | None]:
    """Ids rise with holes that mean nothing: one interval, but for what a gap says."""
    rows: list[Interval] = []
    headers = table.headers
    places: list[tuple[int, np.void | None]] = [(int(np.searchsorted(headers["seq"], seq)), gap) for seq, gap in gaps]
    position = 0
    for place, gap in [*places, (len(headers), None)]:
        part = headers[position:place]
        if len(part):
            low, last = int(part["last_id"].min()), int(part["last_id"].max())
            times = times_of(part)
            first = low if at is None else min(low, at + 1)
            rows.append(Interval(first, last, int(times.min()), int(times.max()), Coverage.unproven, reason=reason))
            at = last if at is None else max(at, last)
        if gap is not None and at is not None:
            first_id, last_id = int(gap["first_id"]), int(gap["last_id"])
            if takes_back(gap):
                if last_id >= first_id:
                    rows.append(contradicted(first_id, last_id))
                at = last_id
            elif last_id > at:
                rows.append(missing(at + 1, last_id, int(gap["reason"]) or Reason.skipped))
                at = last_id
        position = place
    return rows, at


def times_of(headers: np.ndarray) -> np.ndarray:
    """The venue time of each event, or when its frame was received where the venue states none."""
    return np.where(headers["venue_ns"] > 0, headers["venue_ns"], headers["recv_ns"])
