"""Events of several kinds into one order of seq, compiled. Nothing here allocates or calls what is in another file."""

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room

go_on_without_room()
NONE_LEFT = np.uint64(0xFFFFFFFFFFFFFFFF)


@njit(nogil=True, cache=True)
def places(seqs: np.ndarray, begins: np.ndarray, ends: np.ndarray, out: np.ndarray) -> None:
    """Finds the place of every seq in the order of all.

    seqs: (n,) u8, one kind after the other, each rising, all different. begins (changed), ends: (kinds,) i8, of each kind.
    out: (n,) i8. Raises ValueError where two are equal.
    """
    place = 0
    while place < len(seqs):
        first, bound = -1, NONE_LEFT  # the kind whose seq is next, and the next one of any other
        least = NONE_LEFT
        for kind in range(len(ends)):
            if begins[kind] < ends[kind]:
                seq = seqs[begins[kind]]
                if seq < least:
                    first, bound, least = kind, least, seq
                elif seq < bound:
                    bound = seq
        at, end = begins[first], ends[first]
        while at < end and seqs[at] < bound:
            out[at] = place
            at += 1
            place += 1
        if at == begins[first]:
            raise ValueError("two events have one seq")
        begins[first] = at


@njit(nogil=True, cache=True)
def put_rows(
    places: np.ndarray, kind: int, flags: np.ndarray, counts: np.ndarray, seqs: np.ndarray, times: np.ndarray,
    rows: np.ndarray, ordered: np.ndarray,
) -> None:  # fmt: skip
    """Writes the events of one kind, in order, into their places of `rows`, (n,) ROW, and their seqs into `ordered`, (n,) u8.

    places: (m,) i8; flags: (m,) u2; counts: (m,) i8, or (0,) where each event has one record; seqs: (m,) u8; times: (m,) i8.
    """
    first, alone = 0, len(counts) == 0
    for i in range(len(places)):
        count = 1 if alone else counts[i]
        row = rows[places[i]]
        row.kind, row.flags, row.stream, row.reserved = kind, flags[i], 0, 0
        row.first, row.count, row.seq_ns = first, count, times[i]
        ordered[places[i]] = seqs[i]
        first += count
