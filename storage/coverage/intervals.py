"""Intervals of ids, each with what is known of it, and the union of several statements. No I/O.

A stretch states only what it can see (the ids of its own events, of holes before them, of gaps that are told in it), so the
union of all stretches is what one look at everything would give, in whatever order they are put together.
docs/coverage.md says what each state means; storage/coverage/stretch.py makes the statements.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import COVERAGE, Coverage, Evidence, Kind, Reason

COVERED = (Kind.trade, Kind.quote, Kind.depth)  # the streams that have a ledger


class Interval(NamedTuple):
    """One statement of coverage, with the fields of a COVERAGE record."""

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
        """The numbers of coverage, evidence and reason."""
        return self.state, self.evidence, self.reason


def missing(first: int, last: int, reason: int, era: int = 0) -> Interval:
    """Builds an interval of ids that are missing, for a reason of schema.Reason."""
    return Interval(first, last, 0, 0, Coverage.missing, reason=reason, era=era)


def contradicted(first: int, last: int, era: int = 0) -> Interval:
    """Builds an interval of ids that their own line took back."""
    return Interval(first, last, 0, 0, Coverage.unproven, reason=Reason.contradiction, era=era)


def array_of(kind: int, rows: list[Interval]) -> np.ndarray:
    """Builds COVERAGE rows of one stream, in the order given."""
    out = np.zeros(len(rows), COVERAGE)
    names = ("first_id", "last_id", "begin_ns", "end_ns", "state", "evidence", "reason", "era")
    for name, values in zip(names, zip(*rows)):
        out[name] = values
    out["stream"] = kind
    return out


def merge(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The union of one instrument's COVERAGE rows, shape (n,): by stream, era and id, each id at most once, runs joined.

    Of what several rows say of an id the best is true: complete, repaired, unproven, missing. Associative, and independent of
    order. Times of missing rows are those of the rows next to them.
    """
    rows = np.concatenate([np.zeros(0, COVERAGE), *parts])
    groups: dict[tuple[int, int], list[Interval]] = {}
    for row in rows.tolist():
        first, last, begin, end, stream, state, evidence, reason, era = row
        groups.setdefault((stream, era), []).append(Interval(first, last, begin, end, state, evidence, reason, era))
    out = [array_of(stream, _with_times(_united(group))) for (stream, _), group in sorted(groups.items())]
    return np.concatenate([np.zeros(0, COVERAGE), *out])


_STATES: dict[int, int] = {Coverage.missing: 0, Coverage.unproven: 1, Coverage.repaired: 2, Coverage.complete: 3}
# Why something is missing: what was asked for and refused says more than that it was skipped.
_VAGUE: dict[int, int] = {Reason.none: -3, Reason.skipped: -2, Reason.resync: -1}


def _rank(claim: tuple[int, int, int]) -> tuple[int, int, int]:
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
