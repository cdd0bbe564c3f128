"""hftbacktest's event array (version 2) of one instrument's depth and trades. Pure.

The array is what its `validate_event_order` demands: rows flagged for the exchange rise by `exch_ts`, rows flagged for the
local side by `local_ts`. A row whose two places disagree with others' is split into two, one for each side.
"""

from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Flag

EVENT = np.dtype([
    ("ev", "<u8"), ("exch_ts", "<i8"), ("local_ts", "<i8"), ("px", "<f8"), ("qty", "<f8"), ("order_id", "<u8"), ("ival", "<i8"),
    ("fval", "<f8"),
])  # fmt: skip
CHANGE, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
EXCHANGE, LOCAL, BUY, SELL = (np.uint64(1 << bit) for bit in (31, 30, 29, 28))


class EventArray(NamedTuple):
    """`rows`: dtype EVENT. `moved_ns`: by how much all local times were moved, so that none is before the exchange's.

    `unsynced`: levels left out, of which no book is known; `untimed`: rows for which one clock stands for both.
    """

    rows: np.ndarray
    moved_ns: int
    unsynced: int
    untimed: int


def event_array(book: np.ndarray, depth: np.ndarray, trades: np.ndarray, exponents: tuple[int, int]) -> EventArray:
    """Builds the array of a span.

    `book`: levels (dtype schema.DEPTH) of the book before it, none where it is not known; `depth`, `trades`: rows of the span
    in order of seq, as `tickmesh.storage.query.reader.arrays` has them; `exponents`: of price and quantity. Trades off the book
    are left out.
    """
    trades = trades[(trades["flags"] & Flag.OFF_BOOK) == 0]
    depth, trades = _timed(depth), _timed(trades)
    unsynced = (depth["flags"] & Flag.UNSYNCED) != 0
    depth = depth[~unsynced]
    parts = [_cleared(depth), _levels(depth), _trades(trades)]
    seqs = np.concatenate([_snapshot_seqs(depth), depth["seq"], trades["seq"]])
    kinds = np.repeat(np.arange(3), [len(part) for part in parts])  # a book is cleared before its levels are set
    rows = np.concatenate(parts)[np.lexsort((kinds, seqs))]
    rows = rows[rows["ev"] != 0]  # changes that changed nothing
    if len(book) and len(rows):
        rows = np.concatenate([_image(book, rows), rows])
    untimed = int(((rows["exch_ts"] == 0) | (rows["local_ts"] == 0)).sum())
    rows["exch_ts"] = np.where(rows["exch_ts"] == 0, rows["local_ts"], rows["exch_ts"])
    rows["local_ts"] = np.where(rows["local_ts"] == 0, rows["exch_ts"], rows["local_ts"])
    moved_ns = max(0, -int((rows["local_ts"] - rows["exch_ts"]).min())) if len(rows) else 0
    rows["local_ts"] += moved_ns
    _scale(rows, exponents)
    return EventArray(in_both_orders(rows), moved_ns, int(unsynced.sum()), untimed)


def in_both_orders(rows: np.ndarray) -> np.ndarray:
    """Flags rows for exchange and local side and orders them, splitting those that stand elsewhere on the other side.

    `rows`: dtype EVENT in the order in which they were heard, which decides among equal times.
    """
    by_exchange, by_local = (np.argsort(rows[name], kind="stable") for name in ("exch_ts", "local_ts"))
    place = np.empty(len(rows), "i8")  # of a row in the local order
    place[by_local] = np.arange(len(rows))
    places = place[by_exchange]
    joint = places <= np.minimum.accumulate(places[::-1])[::-1]
    other = places >= np.maximum.accumulate(places) if len(places) else joint
    if other.sum() > joint.sum():
        joint = other
    whole = np.zeros(len(rows), bool)
    whole[by_exchange] = joint
    parts, keys = [], []
    for order, flag, rank in ((by_exchange, EXCHANGE, 0), (by_local, LOCAL, 1)):
        own = whole[order]
        before = np.cumsum(own) - own  # joint rows before this one
        chosen = ~own
        part = rows[order[chosen]]
        part["ev"] |= flag
        parts.append(part)
        keys.append(np.stack([before[chosen], np.full(chosen.sum(), rank)]))
    both = rows[by_exchange[joint]]
    both["ev"] |= EXCHANGE | LOCAL
    parts.append(both)
    keys.append(np.stack([np.arange(len(both)), np.full(len(both), 2)]))
    anchors, ranks = np.concatenate(keys, axis=1)
    found: np.ndarray = np.concatenate(parts)[np.lexsort((ranks, anchors))]
    return found


def _timed(rows: np.ndarray) -> np.ndarray:
    """The rows with the log's time as that of receipt, where neither clock is known."""
    out = rows.copy()
    out["recv_ns"] = np.where((rows["recv_ns"] == 0) & (rows["venue_ns"] == 0), rows["seq_ns"], rows["recv_ns"])
    return out


def _events(count: int) -> np.ndarray:
    return np.zeros(count, EVENT)


def _side(side: np.ndarray) -> np.ndarray:
    return np.where(side > 0, BUY, SELL)


def _levels(depth: np.ndarray) -> np.ndarray:
    out = _events(len(depth))
    sort = np.where(depth["flags"] & Flag.SNAPSHOT, SNAPSHOT, CHANGE).astype("u8")
    out["ev"] = np.where(depth["side"] != 0, sort | _side(depth["side"]), 0)
    out["exch_ts"], out["local_ts"] = depth["venue_ns"], depth["recv_ns"]
    out["px"], out["qty"] = depth["price_ticks"], depth["quantity_lots"]
    return out


def _snapshot_seqs(depth: np.ndarray) -> np.ndarray:
    """The seq of every snapshot, twice: once for each side that it clears."""
    return np.repeat(np.unique(depth["seq"][(depth["flags"] & Flag.SNAPSHOT) != 0]), 2)


def _cleared(depth: np.ndarray) -> np.ndarray:
    seqs = _snapshot_seqs(depth)
    at = np.searchsorted(depth["seq"], seqs)
    out = _events(len(seqs))
    out["ev"] = CLEAR | np.where(np.arange(len(seqs)) % 2 == 0, BUY, SELL)
    out["exch_ts"], out["local_ts"] = depth["venue_ns"][at], depth["recv_ns"][at]
    out["px"] = np.nan  # no bound: the whole side
    return out


def _trades(trades: np.ndarray) -> np.ndarray:
    out = _events(len(trades))
    out["ev"] = np.uint64(TRADE) | _side(trades["side"])
    out["exch_ts"], out["local_ts"] = trades["venue_ns"], trades["recv_ns"]
    out["px"], out["qty"] = trades["price_ticks"], trades["quantity_lots"]
    return out


def _image(book: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The book before the span, at the span's first times."""
    out = _events(len(book))
    out["ev"] = np.uint64(SNAPSHOT) | _side(book["side"])
    for name in ("exch_ts", "local_ts"):
        known = rows[name][rows[name] > 0]
        out[name] = known.min() if len(known) else 0
    out["px"], out["qty"] = book["price_ticks"], book["quantity_lots"]
    return out


def _scale(rows: np.ndarray, exponents: tuple[int, int]) -> None:
    """Mantissas to the nearest float: one division of two exact numbers."""
    for name, exponent in zip(("px", "qty"), exponents):
        rows[name] = rows[name] / 10.0**-exponent if exponent <= 0 else rows[name] * 10.0**exponent
