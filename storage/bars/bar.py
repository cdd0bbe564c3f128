"""Bars: what happened to one instrument in one bucket of venue time; rows of the same bucket merge, whoever saw what.

Merging is associative, and where the venue numbers its trades and quotes it does not depend on the order either: the open is
that of the lowest trade id, the close of the highest, the last quote that of the highest update id; where a venue began its
ids anew, of the lowest in the first of these eras, and of the highest in the last. So a trade that was
repaired into a later day's file just merges in. Buckets are aligned to the Unix epoch in UTC. docs/bars.md has the fields.
"""

import numpy as np

SECOND_NS = 1_000_000_000
LEVELS_S = (1, 10, 60, 600, 3600, 86_400)  # each divides the next; a day of minutes is 1,440 rows
I8 = np.dtype("<i8")
WORD = 1 << 63  # a sum is high × WORD + low, 0 ≤ low < WORD: one field until it is huge, exact to 2^126 in size

BAR = np.dtype(
    [
        ("begin_ns", "<i8"),
        ("count", "<i8"),
        ("first_id", "<i8"),
        ("last_id", "<i8"),
        ("open_ticks", "<i8"),
        ("high_ticks", "<i8"),
        ("low_ticks", "<i8"),
        ("close_ticks", "<i8"),
        ("volume_lots", "<i8"),
        ("buy_volume_lots", "<i8"),
        ("notional", "<i8"),
        ("quotes", "<i8"),
        ("quote_id", "<i8"),
        ("bid_ticks", "<i8"),
        ("bid_lots", "<i8"),
        ("ask_ticks", "<i8"),
        ("ask_lots", "<i8"),
        ("spreads", "<i8"),
        ("spread_sum_ticks", "<i8"),
        ("spread_min_ticks", "<i8"),
        ("spread_max_ticks", "<i8"),
        ("changes", "<i8"),
        ("volume_lots_high", "<i8"),
        ("buy_volume_lots_high", "<i8"),
        ("notional_high", "<i8"),
        ("spread_sum_ticks_high", "<i8"),
        ("first_era", "<i8"),
        ("last_era", "<i8"),
        ("quote_era", "<i8"),
    ]
)
SUMS = ("volume_lots", "buy_volume_lots", "notional", "spread_sum_ticks")
COUNTS = ("count", "quotes", "spreads", "changes")
LAST_QUOTE = ("quote_era", "quote_id", "bid_ticks", "bid_lots", "ask_ticks", "ask_lots")


def none() -> np.ndarray:
    """An array of no bars."""
    return np.zeros(0, BAR)


def whole(bars: np.ndarray, name: str) -> np.ndarray:
    """The exact values of a sum (one of SUMS) as Python integers: an array of dtype object."""
    out: np.ndarray = bars[f"{name}_high"].astype(object) * WORD + bars[name].astype(object)
    return out


def set_whole(bars: np.ndarray, name: str, values: np.ndarray) -> None:
    """Writes the exact values of a sum, which `whole` gives back. `values`: dtype object."""
    bars[name] = (values % WORD).astype(I8)
    bars[f"{name}_high"] = (values // WORD).astype(I8)


def as_float(bars: np.ndarray, name: str) -> np.ndarray:
    """The values of a sum as float64, within 2^−52 of the exact ones."""
    out: np.ndarray = bars[f"{name}_high"] * float(WORD) + bars[name]
    return out


def floor(times_ns: np.ndarray, every_ns: int) -> np.ndarray:
    """The beginning of each time's bucket, also before 1970."""
    return times_ns // every_ns * every_ns


def merge(bars: np.ndarray) -> np.ndarray:
    """Merges rows of the same `begin_ns` into one each, in order of time. Shape (n,) and the result: dtype BAR.

    Rows without ids (a venue that has none) count in the order in which they are given.
    """
    begin = bars["begin_ns"]
    if (begin[1:] > begin[:-1]).all():
        return bars
    order = np.argsort(begin, kind="stable")
    bars = bars[order]
    starts = _starts(bars["begin_ns"])
    out = np.zeros(len(starts), BAR)
    out["begin_ns"] = bars["begin_ns"][starts]
    for name in COUNTS:
        out[name] = np.add.reduceat(bars[name], starts)
    for name in SUMS:
        out[name], out[f"{name}_high"] = _add(bars[name], bars[f"{name}_high"], starts)
    _merge_trades(bars[bars["count"] > 0], out)
    _merge_quotes(bars[bars["quotes"] > 0], out)
    return out


def _starts(begin: np.ndarray) -> np.ndarray:
    """The first row of each run of equal values."""
    return np.flatnonzero(np.concatenate([[True], begin[1:] != begin[:-1]])) if len(begin) else np.zeros(0, "i8")


def _add(low: np.ndarray, high: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of two-word numbers: the low words in halves, so that nothing overflows below 2^31 rows."""
    half = np.int64(0xFFFFFFFF)
    lower = np.add.reduceat(low & half, starts)
    upper = np.add.reduceat(low >> 32, starts) + (lower >> 32)
    return (upper & 0x7FFFFFFF) << 32 | lower & half, np.add.reduceat(high, starts) + (upper >> 31)


def _merge_trades(bars: np.ndarray, out: np.ndarray) -> None:
    if not len(bars):
        return
    starts = _starts(bars["begin_ns"])
    rows = np.searchsorted(out["begin_ns"], bars["begin_ns"][starts])
    ends = np.append(starts[1:], len(bars)) - 1
    opening = bars[np.lexsort((bars["first_id"], bars["first_era"], bars["begin_ns"]))][starts]
    closing = bars[np.lexsort((bars["last_id"], bars["last_era"], bars["begin_ns"]))][ends]
    for name in ("first_era", "first_id", "open_ticks"):
        out[name][rows] = opening[name]
    for name in ("last_era", "last_id", "close_ticks"):
        out[name][rows] = closing[name]
    out["high_ticks"][rows] = np.maximum.reduceat(bars["high_ticks"], starts)
    out["low_ticks"][rows] = np.minimum.reduceat(bars["low_ticks"], starts)


def _merge_quotes(bars: np.ndarray, out: np.ndarray) -> None:
    if not len(bars):
        return
    starts = _starts(bars["begin_ns"])
    rows = np.searchsorted(out["begin_ns"], bars["begin_ns"][starts])
    ends = np.append(starts[1:], len(bars)) - 1
    last = bars[np.lexsort((bars["quote_id"], bars["quote_era"], bars["begin_ns"]))][ends]
    for name in LAST_QUOTE:
        out[name][rows] = last[name]
    bars = bars[bars["spreads"] > 0]
    if len(bars):
        starts = _starts(bars["begin_ns"])
        rows = np.searchsorted(out["begin_ns"], bars["begin_ns"][starts])
        out["spread_min_ticks"][rows] = np.minimum.reduceat(bars["spread_min_ticks"], starts)
        out["spread_max_ticks"][rows] = np.maximum.reduceat(bars["spread_max_ticks"], starts)


def coarsen(bars: np.ndarray, every_ns: int) -> np.ndarray:
    """Merges bars into bars of `every_ns`, a multiple of their own length: the result is the same as from the ticks."""
    out = bars.copy()
    out["begin_ns"] = floor(bars["begin_ns"], every_ns)
    return merge(out)


def between(bars: np.ndarray, start_ns: int | None, end_ns: int | None) -> np.ndarray:
    """The bars with start_ns ≤ begin_ns < end_ns, of bars in order of time."""
    begin = bars["begin_ns"]
    first = 0 if start_ns is None else int(np.searchsorted(begin, start_ns))
    last = len(bars) if end_ns is None else int(np.searchsorted(begin, end_ns))
    return bars[first:last]
