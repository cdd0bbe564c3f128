"""How much time intervals take: they overlap, so each moment is counted once. Times are ns. No I/O."""

import numpy as np


def ends_ns(rows: np.ndarray) -> np.ndarray:
    """The end of each row in time, ns; of one whose end is not known, when the next of `rows` begins, and 0 where none does."""
    end: np.ndarray = rows["end_ns"].copy()
    begins = np.sort(rows["begin_ns"][rows["begin_ns"] > 0])
    for at in np.flatnonzero((end == 0) & (rows["begin_ns"] > 0)):
        place = int(np.searchsorted(begins, rows["begin_ns"][at], "right"))
        end[at] = begins[place] if place < len(begins) else 0
    return end


def union_ns(begin_ns: np.ndarray, end_ns: np.ndarray) -> np.ndarray:
    """The union of intervals of time: shape (n, 2), begin and end, disjoint and in order, without those of no length."""
    has = end_ns > begin_ns
    order = np.argsort(begin_ns[has], kind="stable")
    begin, end = begin_ns[has][order], end_ns[has][order]
    if not len(begin):
        return np.zeros((0, 2), "i8")
    reached = np.maximum.accumulate(end)
    starts = np.concatenate([[0], np.flatnonzero(begin[1:] > reached[:-1]) + 1])
    return np.column_stack([begin[starts], reached[np.append(starts[1:], len(begin)) - 1]])


def length_ns(intervals: np.ndarray) -> int:
    """The length of disjoint intervals, shape (n, 2)."""
    return int((intervals[:, 1] - intervals[:, 0]).sum())
