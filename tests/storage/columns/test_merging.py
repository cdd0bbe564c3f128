"""The place of every event is that of its seq among all kinds'."""

import numpy as np
import pytest

from tickmesh.storage.columns import merging
from tickmesh.storage.columns.span import ROW


@pytest.mark.parametrize("kinds", [1, 2, 5])
@pytest.mark.parametrize("seed", range(5))
def test_kinds_are_merged_as_sorting_does_it(kinds, seed):
    random = np.random.default_rng(seed)
    all_seqs, of_kind = np.cumsum(random.integers(1, 4, 300)).astype("u8"), random.integers(0, kinds, 300)
    of_kind[100:160] = 0  # a long run of one kind, and a kind that may have none
    seqs = np.concatenate([all_seqs[of_kind == kind] for kind in range(kinds)])
    ends = np.cumsum(np.bincount(of_kind, minlength=kinds))
    begins, places = np.concatenate([[0], ends[:-1]]), np.full(len(seqs), -1)
    merging.places(seqs, begins.copy(), ends, places)
    assert places.tolist() == np.argsort(np.argsort(seqs)).tolist()
    rows, ordered = np.full(300, 7, "u1").repeat(ROW.itemsize).view(ROW), np.zeros(300, "u8")
    rows["kind"] = 99
    for kind, (begin, end) in enumerate(zip(begins.tolist(), ends.tolist())):
        counts = random.integers(0, 3, end - begin) if kind else np.zeros(0, "i8")
        flags, times = np.arange(begin, end).astype("u2"), np.arange(begin, end) + 10**18
        merging.put_rows(places[begin:end], kind, flags, counts, seqs[begin:end], times, rows, ordered)
        mine = rows[rows["kind"] == kind]
        if kind:
            assert mine["count"].tolist() == counts.tolist()
            assert mine["first"].tolist() == (np.cumsum(counts) - counts).tolist()
            assert mine["flags"].tolist() == flags.tolist() and mine["seq_ns"].tolist() == times.tolist()
    assert ordered.tolist() == all_seqs.tolist() and not rows["stream"].any() and not rows["reserved"].any()
    first = rows[rows["kind"] == 0]
    assert first["count"].tolist() == [1] * len(first) and first["first"].tolist() == list(range(len(first)))


def test_two_events_of_one_seq_are_refused():
    with pytest.raises(ValueError, match="two events have one seq"):
        merging.places(np.array([3, 5, 5], "u8"), np.array([0, 2]), np.array([2, 3]), np.zeros(3, "i8"))
