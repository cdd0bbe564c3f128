"""The share of time that is covered: each moment counts once, whatever intervals overlap in it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.support.coverage_scene import Scene, ledger_of
from tickmesh.bus.schema import COVERAGE, Coverage, GapState, Kind, Reason
from tickmesh.storage.coverage.duration import union_ns
from tickmesh.storage.query.coverage import share

PROVEN = (Coverage.complete, Coverage.repaired)
MOMENTS = 40
intervals = st.lists(
    st.tuples(st.sampled_from(list(Coverage)), st.integers(1, MOMENTS), st.integers(0, 12)), min_size=1, max_size=12
)


def rows_of(spans: list[tuple[Coverage, int, int]]) -> np.ndarray:
    rows = np.zeros(len(spans), COVERAGE)
    for number, (row, (state, begin, length)) in enumerate(zip(rows, spans)):
        row["first_id"] = row["last_id"] = number
        row["state"], row["begin_ns"], row["end_ns"] = state, begin, begin + length
    return rows


@given(intervals)
def test_time_is_that_of_a_naive_union_of_moments(spans):
    lost = {at for state, begin, length in spans if state not in PROVEN for at in range(begin, begin + length)}
    first, last = min(begin for _, begin, _ in spans), max(begin + length for _, begin, length in spans)
    proven = float(all(state in PROVEN for state, _, _ in spans))
    expected = 1 - len(lost) / (last - first) if last > first else proven
    assert share(rows_of(spans))[1] == expected


@given(intervals)
def test_a_union_is_disjoint_in_order_and_covers_the_same_moments(spans):
    rows = rows_of(spans)
    union = union_ns(rows["begin_ns"], rows["end_ns"]).tolist()
    flat = [edge for interval in union for edge in interval]
    assert flat == sorted(set(flat)), "no two of them touch"
    mine = [at for begin, end in union for at in range(begin, end)]
    assert mine == sorted({at for _, begin, length in spans for at in range(begin, begin + length)})


def test_two_kinds_of_lack_in_the_same_time_are_subtracted_once():
    """A stop and a start: ids of no history, then up to the snapshot, both between the same two events."""
    second = 1_000_000_000
    spans = [(Coverage.complete, 1, 60), (Coverage.missing, 61, 521), (Coverage.missing, 61, 521), (Coverage.complete, 582, 92)]
    rows = rows_of([(state, begin * second, length * second) for state, begin, length in spans])
    assert round(share(rows)[1], 3) == round(152 / 673, 3) == 0.226


def test_what_an_era_still_had_is_unknown_until_the_next_begins():
    made = Scene().trades(1, 2, 3).lost(Kind.trade, 4, 4, GapState.unrecoverable, Reason.reset)
    rows = np.concatenate([ledger_of(made), rows_of([(Coverage.complete, 33_000_000_000, 10_000_000_000)])])
    rows["stream"], rows["era"][-1] = Kind.trade, 9
    assert share(rows)[1] == 1 - 30 / 42
