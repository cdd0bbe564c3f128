"""Bytes of whole events to rows and records, compiled. Nothing here holds the interpreter's lock or allocates.

Nothing calls what is in another file, and where a field lies is an argument, so numba's own cache, which looks at this file,
never serves stale code. `places`: where the header's fields PLACES begin, then how long a header is.
"""

from typing import Any

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room

go_on_without_room()
PLACES = ("size", "count", "kind", "flags", "subject", "seq", "seq_ns")
SIZE, COUNT, KIND, FLAGS, SUBJECT, SEQ, SEQ_NS, HEADER = range(len(PLACES) + 1)
NAME_BYTES = 32  # of a subject: four words
U8 = np.uint64


@njit(nogil=True, cache=True)
def number(data: np.ndarray, at: int, size: int) -> Any:
    """Reads a little-endian unsigned number of `size` bytes, 8 at most, as int64."""
    out = U8(0)
    for i in range(size):
        out |= U8(data[at + i]) << U8(8 * i)
    return np.int64(out)


@njit(nogil=True, cache=True)
def slot_of(names: np.ndarray, slots: np.ndarray, w0: Any, w1: Any, w2: Any, w3: Any) -> Any:
    """The slot of a name of four words: where its number stands, or an empty one where it belongs."""
    mixed = U8(0)
    for word in (w0, w1, w2, w3):  # an odd multiplier and a fold spread the bits
        mixed = (mixed ^ word) * U8(0x9E3779B97F4A7C15)
        mixed ^= mixed >> U8(29)
    mask = len(slots) - 1
    slot = np.int64(mixed & U8(mask))
    while True:
        found = slots[slot]
        if found < 0 or (names[found, 0] == w0 and names[found, 1] == w1 and names[found, 2] == w2 and names[found, 3] == w3):
            return slot
        slot = (slot + 1) & mask


@njit(nogil=True, cache=True)
def enter(names: np.ndarray, known: int, slots: np.ndarray) -> None:
    """Enters the first `known` names into empty slots."""
    for found in range(known):
        slots[slot_of(names, slots, names[found, 0], names[found, 1], names[found, 2], names[found, 3])] = found


@njit(nogil=True, cache=True)
def survey(
    data: np.ndarray, starts: np.ndarray, stops: np.ndarray, places: np.ndarray, itemsizes: np.ndarray, within: np.ndarray,
    events: np.ndarray, records: np.ndarray,
) -> Any:  # fmt: skip
    """Counts, of each kind, the events and the records with within[0] < seq ≤ within[1]; gives −1.

    data: (bytes,) u1; starts, stops: (m,) i8, bodies of whole events. itemsizes, events, records: (kinds,) i8, by number of
    the kind, itemsizes 0 where there is none. For bytes that are no event it gives the place where they begin.
    """
    header = places[HEADER]
    for m in range(len(starts)):
        at = starts[m]
        while at < stops[m]:
            if stops[m] - at < header:
                return at
            size = number(data, at + places[SIZE], 4)
            count = number(data, at + places[COUNT], 4)
            kind = number(data, at + places[KIND], 2)
            if kind >= len(itemsizes) or itemsizes[kind] == 0 or count == 0:
                return at
            if size != header + count * itemsizes[kind] or at + size > stops[m]:
                return at
            seq = number(data, at + places[SEQ], 8)
            if within[0] < seq <= within[1]:
                events[kind] += 1
                records[kind] += count
            at += size
    return -1


@njit(nogil=True, cache=True)
def fill(
    data: np.ndarray, starts: np.ndarray, stops: np.ndarray, places: np.ndarray, itemsizes: np.ndarray, within: np.ndarray,
    use: np.ndarray, names: np.ndarray, slots: np.ndarray, known: int, state: np.ndarray, bases: np.ndarray,
    bodies: np.ndarray, rows: np.ndarray, seqs: np.ndarray, subjects: np.ndarray, picked: np.ndarray,
) -> int:  # fmt: skip
    """Fills the columns from surveyed bytes; gives how many subjects are known now, −1 when `names` is full.

    use: (kinds,) u1, bit 1: rows and records, bit 2: the event's place into `picked`. names: (capacity, 4) u8 and slots:
    (a power of two,) i4, −1 where empty: the subjects by number, and where each is found. state: (kinds + 2,) i8, how many
    records of each kind, rows and places are filled. bodies: (bytes,) u1, the records of a kind from bases[kind] on.
    """
    header, kinds = places[HEADER], len(itemsizes)
    for m in range(len(starts)):
        at = starts[m]
        while at < stops[m]:
            size = number(data, at + places[SIZE], 4)
            kind = number(data, at + places[KIND], 2)
            seq = number(data, at + places[SEQ], 8)
            if use[kind] == 0 or seq <= within[0] or seq > within[1]:
                at += size
                continue
            if use[kind] & 2:
                picked[state[kinds + 1]] = at
                state[kinds + 1] += 1
            if use[kind] & 1:
                name = at + places[SUBJECT]
                w0, w1 = U8(number(data, name, 8)), U8(number(data, name + 8, 8))
                w2, w3 = U8(number(data, name + 16, 8)), U8(number(data, name + 24, 8))
                slot = slot_of(names, slots, w0, w1, w2, w3)
                found = slots[slot]
                if found < 0:
                    if known == len(names):
                        return -1
                    found = known
                    names[known, 0], names[known, 1], names[known, 2], names[known, 3] = w0, w1, w2, w3
                    slots[slot] = known
                    known += 1
                n = state[kinds]
                row = rows[n]
                row.kind = kind
                row.flags = number(data, at + places[FLAGS], 2)
                row.stream = 0
                row.reserved = 0
                row.first = state[kind]
                row.count = (size - header) // itemsizes[kind]
                row.seq_ns = number(data, at + places[SEQ_NS], 8)
                seqs[n] = seq
                subjects[n] = found
                into = bases[kind] + state[kind] * itemsizes[kind] - header
                for i in range(header, size):
                    bodies[into + i] = data[at + i]
                state[kind] += row.count
                state[kinds] = n + 1
            at += size
    return known


@njit(nogil=True, cache=True)
def group(
    rows: np.ndarray, seqs: np.ndarray, subjects: np.ndarray, nexts: np.ndarray, rows_out: np.ndarray, seqs_out: np.ndarray
) -> None:
    """Puts rows of one subject beside one another, in their order. nexts: (subjects,) i8, where those of each begin."""
    for i in range(len(rows)):
        at = nexts[subjects[i]]
        nexts[subjects[i]] = at + 1
        rows_out[at] = rows[i]
        seqs_out[at] = seqs[i]
