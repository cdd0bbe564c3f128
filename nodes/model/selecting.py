"""Rows of columns for one kernel call, and its signals out of it, compiled. Nothing here calls what is in another file."""

import numpy as np
from numba import njit

SKIPPED, RECORDS, GAP, DEFINITION = range(4)  # what a kind is to a model


@njit(nogil=True, cache=True)
def select(
    rows: np.ndarray, seqs: np.ndarray, use: np.ndarray, left_out: int, gaps: np.ndarray, gap_rule: np.ndarray,
    rows_out: np.ndarray, seqs_out: np.ndarray, breaks: np.ndarray,
) -> tuple[int, int]:  # fmt: skip
    """Copies the rows that a kernel is given; gives (how many rows, how many definitions).

    rows: (n,) ROW; use: (kinds,) u1, one of the above by kind; left_out: flags of which a row of records may have none; gaps:
    the records of gap rows; gap_rule: (3,) i8, the states open and unrecoverable, and the stream whose gaps were open before.
    rows_out: (≥ n,) ROW; breaks: (≥ n, 2) i8: before which of the rows given a definition stands, and its record.
    """
    n = definitions = 0
    for i in range(len(rows)):
        row = rows[i]
        what = use[row.kind]
        if what == SKIPPED or (what == RECORDS and row.flags & left_out):
            continue
        if what == DEFINITION:
            breaks[definitions, 0] = n
            breaks[definitions, 1] = row.first
            definitions += 1
            continue
        if what == GAP:
            gap = gaps[row.first]
            decided = gap.state == gap_rule[1] and gap.stream != gap_rule[2]
            if gap.state != gap_rule[0] and not decided:
                continue
        rows_out[n] = row
        seqs_out[n] = seqs[i]
        if what == GAP:
            rows_out[n].first = 0
            rows_out[n].count = 0
        n += 1
    return n, definitions


@njit(nogil=True, cache=True)
def gather(
    out: np.ndarray, count: int, seqs: np.ndarray, times: np.ndarray, per_row: int, limits: np.ndarray, instrument: int,
    signals: np.ndarray, at: int,
) -> tuple[int, int, int, int]:  # fmt: skip
    """Copies a kernel's signals from out[:count] to signals[at:], with their causes; `seqs`, `times`: of the rows it was given.

    limits: (2,) f8, least and most of a value. Gives (how many are copied, how many are refused, the first refused one or −1,
    the first one that breaks the rules of rows or −1: then nothing else is valid).
    """
    before, k = np.int64(-1), 0
    kept = refused = 0
    first = -1
    for i in range(count):
        one = out[i]
        if one.row < 0 or one.row >= len(seqs) or one.row < before:
            return kept, refused, first, i
        k = k + 1 if one.row == before else 0
        before = one.row
        if k >= per_row:
            return kept, refused, first, i
        if not (limits[0] <= one.value <= limits[1]) or np.isinf(one.price):
            refused += 1
            if first < 0:
                first = i
            continue
        signal = signals[at + kept]
        signal.cause_seq = seqs[one.row]
        signal.cause_ns = times[one.row].seq_ns
        signal.k = k
        signal.instrument = instrument
        signal.record.value = one.value
        signal.record.price = one.price
        signal.record.reference_ticks = one.reference_ticks
        kept += 1
    return kept, refused, first, -1
