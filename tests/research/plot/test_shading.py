"""Coverage lies between the rows that the ids name, whatever the venue's clock says."""

import numpy as np

from tickmesh.bus.schema import COVERAGE, Coverage, Flag, Reason
from tickmesh.research.plot.shading import CoverageSpan, IntervalPlaces, placed_by_time

ROWS = np.dtype([("seq", "u8"), ("seq_ns", "i8"), ("flags", "u2"), ("first_id", "i8"), ("last_id", "i8")])


def rows(ids, seq_ns, flags=0, seq=1):
    out = np.zeros(len(ids), ROWS)
    out["first_id"] = out["last_id"] = ids
    out["seq_ns"], out["flags"], out["seq"] = seq_ns, flags, seq + np.arange(len(ids))
    return out


def ledger(*intervals):
    """(first_id, last_id, state[, era])"""
    out = np.zeros(len(intervals), COVERAGE)
    for row, (first, last, state, *era) in zip(out, intervals):
        row["first_id"], row["last_id"], row["state"], row["era"] = first, last, state, (era or [0])[0]
        row["begin_ns"] = row["end_ns"] = 7  # of another clock: it must not matter
        row["reason"] = Reason.skipped if state == Coverage.missing else 0
    return out


def found(places, start=0, end=1000):
    return [(one.state, one.begin_ns, one.end_ns) for one in places.spans(start, end)]


HOLED = ledger((1, 3, Coverage.complete), (4, 5, Coverage.missing), (6, 9, Coverage.complete))


def test_what_is_missing_lies_between_its_neighbours_however_rows_are_cut():
    whole = rows([1, 2, 3, 6, 7, 9], [10, 20, 30, 60, 70, 90])
    wanted = [("complete", 10, 30), ("missing", 30, 60), ("complete", 60, 90)]
    for cuts in ((6,), (3, 3), (2, 2, 2), (1,) * 6):
        places, at = IntervalPlaces("trade", HOLED), 0
        for size in cuts:
            places.add(whole[at : at + size])
            at += size
        assert found(places) == wanted, cuts
    assert places.spans(0, 100)[1] == CoverageSpan("trade", "missing", 30, 60, "skipped")


def test_what_was_repaired_lies_where_the_hole_was_not_where_it_came():
    known = [(1, 3, Coverage.complete), (4, 5, Coverage.repaired), (6, 7, Coverage.complete), (8, 8, Coverage.missing)]
    places = IntervalPlaces("trade", ledger(*known, (9, 9, Coverage.complete)))
    places.add(rows([1, 3, 6, 7], [10, 30, 60, 70]))
    places.add(rows([4, 5], [500, 501], Flag.REPAIRED, seq=5))
    places.add(rows([9], [900], seq=7))
    wanted = [("complete", 10, 30), ("repaired", 30, 60), ("complete", 60, 70), ("missing", 70, 900), ("complete", 900, 900)]
    assert found(places) == wanted


def test_edges_beyond_what_is_shown_are_its_own():
    places = IntervalPlaces("trade", ledger((1, 5, Coverage.missing), (6, 7, Coverage.complete), (8, 9, Coverage.missing)))
    places.add(rows([6, 7], [60, 70]))
    assert found(places, 50, 80) == [("missing", 50, 60), ("complete", 60, 70), ("missing", 70, 80)]
    places = IntervalPlaces("trade", ledger((1, 9, Coverage.complete)))
    for one, at in ((4, 60), (6, 70)):  # 1 to 3 and 7 to 9 lie outside of what is read
        places.add(rows([one], [at]))
    assert found(places, 50, 80) == [("complete", 50, 80)]
    places = IntervalPlaces("trade", ledger((1, 2, Coverage.complete), (6, 7, Coverage.complete)))
    places.add(rows([6, 7], [60, 70]))
    assert found(places) == [("complete", 60, 70)], "an interval without a row here is not here"


def test_ids_that_begin_anew_are_another_era():
    places = IntervalPlaces("trade", ledger((1, 2, Coverage.complete, 0), (1, 2, Coverage.complete, 3)))
    places.add(rows([1, 2, 1, 2], [10, 20, 30, 40]))
    assert found(places) == [("complete", 10, 20), ("complete", 30, 40)]


def test_without_rows_of_its_own_a_kind_is_placed_by_two_clocks():
    intervals = ledger((1, 2, Coverage.complete), (3, 3, Coverage.missing))
    intervals["begin_ns"], intervals["end_ns"] = [1000, 0], [1500, 0]
    venue, log = np.array([900, 1600]), np.array([100, 800])  # the log is 800 behind
    assert placed_by_time("depth", intervals, venue, log, 0, 5000) == [CoverageSpan("depth", "complete", 200, 700, "")]
    assert placed_by_time("depth", intervals, venue[:0], log[:0], 0, 5000) == []
