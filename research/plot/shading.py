"""Where on the log's time the intervals of the coverage ledger lie, found by the ids of the rows around them."""

from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Coverage, Flag, Reason

INSIDE = (Coverage.complete, Coverage.unproven)  # bounded by their own rows; others by the rows around them


class CoverageSpan(NamedTuple):
    """What is known of a kind's rows of begin_ns ≤ seq_ns ≤ end_ns: a state of docs/coverage.md, and why."""

    kind: str
    state: str
    begin_ns: int
    end_ns: int
    reason: str


class IntervalPlaces:
    """Finds the `seq_ns` at the edges of ledger rows (COVERAGE, of one kind) from the rows of that kind, as they go by.

    An interval that has rows of its own lasts from its first to its last one; what is missing or was repaired, from the last
    row with a lower id to the first with a higher one.
    """

    def __init__(self, kind: str, ledger: np.ndarray):
        self._kind, self._ledger = kind, ledger
        self._eras = np.unique(ledger["era"])
        self._begin, self._end = np.zeros(len(ledger), "i8"), np.zeros(len(ledger), "i8")
        self._cut_before, self._cut_after = np.zeros(len(ledger), bool), np.zeros(len(ledger), bool)

    def add(self, rows: np.ndarray) -> None:
        """Takes rows in order of seq, with `seq`, `seq_ns`, `flags`, `first_id` and `last_id`."""
        rows = rows[(rows["flags"] & Flag.REPAIRED) == 0]
        era_of = np.searchsorted(self._eras, rows["seq"], "right") - 1
        for number, era in enumerate(self._eras):
            mine = rows[era_of == number]
            if len(mine):
                self._add(mine, np.flatnonzero(self._ledger["era"] == era))

    def _add(self, rows: np.ndarray, chosen: np.ndarray) -> None:
        ids, times = np.maximum.accumulate(rows["last_id"]), rows["seq_ns"]
        ledger = self._ledger[chosen]
        inside = np.isin(ledger["state"], INSIDE)
        first = np.searchsorted(ids, ledger["first_id"])  # the first row that is not below the interval
        after = np.searchsorted(ids, ledger["last_id"], "right")
        begin = np.where(inside, first, first - 1)
        end = np.where(inside, after - 1, after)
        own = np.where(inside, after > first, True)
        known = (begin >= 0) & (begin < len(ids)) & own
        at = chosen[known]
        new = self._begin[at] == 0
        self._cut_before[at[new]] = rows["first_id"][begin[known]][new] > ledger["first_id"][known][new]
        # the first row inside is found once; the last one below it as often as there is a later one
        self._begin[at] = np.where(inside[known] & (self._begin[at] > 0), self._begin[at], times[begin[known]])
        known = (end >= 0) & (end < len(ids)) & own
        at = chosen[known]
        self._cut_after[at] = ids[end[known]] < ledger["last_id"][known]
        self._end[at] = np.where(inside[known] | (self._end[at] == 0), times[end[known]], self._end[at])

    def spans(self, start_ns: int, end_ns: int) -> list[CoverageSpan]:
        """The intervals that have a place between two times; an edge without a row is at the edge of the whole."""
        out = []
        edges = (self._begin.tolist(), self._end.tolist(), self._cut_before.tolist(), self._cut_after.tolist())
        for row, begin, end, before, after in zip(self._ledger, *edges):
            if row["state"] in INSIDE and not end:
                continue  # it has no rows in here
            if row["state"] in INSIDE:  # rows of its own lie before or after what was read
                begin, end = 0 if before else begin, 0 if after else end
            low, high = max(begin or start_ns, start_ns), min(end or end_ns, end_ns)
            if low <= high:
                reason = Reason(row["reason"])
                out.append(CoverageSpan(self._kind, Coverage(row["state"]).name, low, high, reason.name if reason else ""))
        return out


def placed_by_time(
    kind: str, ledger: np.ndarray, venue_ns: np.ndarray, seq_ns: np.ndarray, start_ns: int, end_ns: int
) -> list[CoverageSpan]:
    """Places intervals by their venue times, where no rows of the kind are read: by pairs of both times of other rows.

    Those whose times are not known are left out.
    """
    out: list[CoverageSpan] = []
    if not len(venue_ns):
        return out
    order = np.argsort(venue_ns, kind="stable")
    for row in ledger[ledger["begin_ns"] > 0]:
        edges = np.array([row["begin_ns"], row["end_ns"] or venue_ns[order[-1]]], "i8")
        nearest = order[np.clip(np.searchsorted(venue_ns[order], edges), 0, len(order) - 1)]
        begin, end = (edges + (seq_ns[nearest] - venue_ns[nearest])).tolist()
        low, high = max(begin, start_ns), min(end, end_ns)
        if low <= high:
            reason = Reason(row["reason"])
            out.append(CoverageSpan(kind, Coverage(row["state"]).name, low, high, reason.name if reason else ""))
    return out
