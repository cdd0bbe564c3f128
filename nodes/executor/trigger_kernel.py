"""When a trigger fires: quotes, trades and the passing of time against what styles wait for, compiled.

Nothing calls what is in another file, so numba's own cache, which looks at this one, never serves stale code.
"""

import numpy as np
from numba import njit

from tickmesh.bus.kernel_cache import go_on_without_room

go_on_without_room()
SKIPPED, TIME, QUOTE, TRADE = range(4)  # what a row is; of TIME nothing counts but when it was
NO_LAG = -(1 << 63)

# One event: when, of which instrument (a number; −1: of one that nobody waits for), and what of it counts. Prices of a trade
# event are its lowest and its highest, lots all of it together.
ROW = np.dtype(
    [
        (name, "<i8")
        for name in ("what", "slot", "time_ns", "lag_ns", "bid_ticks", "ask_ticks", "low_ticks", "high_ticks", "lots")
    ]
)
# What one instrument's styles wait for: the fields of styles.interface.Trigger, in its order.
TRIGGER = np.dtype(
    [
        (name, "<i8")
        for name in (
            "slot", "time_ns", "bid_low", "bid_high", "ask_low", "ask_high", "trade_low", "trade_high", "volume_lots",
            "lag_low_ns", "lag_high_ns",
        )  # fmt: skip
    ]
)  # fmt: skip


@njit(nogil=True, cache=True)
def mark_rows(rows: np.ndarray, begin: int, end: int, mark_ns: int, every_ns: int, newest: np.ndarray) -> int:
    """How many of rows[begin:end] are the first at or after `mark_ns`, which is `every_ns` later after each.

    newest: (n,) i8, the places of the last n of them, that of number k at k % n.
    """
    count = 0
    for i in range(begin, end):
        if rows[i].what != SKIPPED and rows[i].time_ns >= mark_ns:
            newest[count % len(newest)] = i
            count += 1
            mark_ns = rows[i].time_ns + every_ns
    return count


@njit(nogil=True, cache=True)
def first_fired(rows: np.ndarray, begin: int, end: int, triggers: np.ndarray, volumes: np.ndarray, fired: np.ndarray) -> int:
    """The first of rows[begin:end] at which a trigger fires, or `end`. The same for live lists and for whole columns.

    rows: (n,) ROW; triggers: (m,) TRIGGER; volumes: (slots,) i8, the volume traded before rows[begin], counted on in place;
    fired: (m,) u1, set to 1 for those that fire there.
    """
    fired[:] = 0
    for i in range(begin, end):
        row = rows[i]
        if row.what == SKIPPED:
            continue
        if row.what == TRADE and row.slot >= 0:
            volumes[row.slot] += row.lots
        found = False
        for j in range(len(triggers)):
            one = triggers[j]
            hit = row.time_ns >= one.time_ns
            if not hit and row.slot == one.slot:
                if row.lag_ns != NO_LAG:
                    hit = row.lag_ns <= one.lag_low_ns or row.lag_ns >= one.lag_high_ns
                if row.what == QUOTE:
                    hit |= row.bid_ticks <= one.bid_low or row.bid_ticks >= one.bid_high
                    hit |= row.ask_ticks <= one.ask_low or row.ask_ticks >= one.ask_high
                elif row.what == TRADE:
                    hit |= row.low_ticks <= one.trade_low or row.high_ticks >= one.trade_high
                    hit |= volumes[row.slot] >= one.volume_lots
            if hit:
                fired[j] = 1
                found = True
        if found:
            return i
    return end
