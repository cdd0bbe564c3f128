"""What the compiled venue works on: market rows, our orders, books, reports. dtypes, and the arrays of a venue together."""

from typing import NamedTuple

import numpy as np

# One event of the market: the fields of arrays.EVENT, its instrument's number, and what of it counts.
MARKET_ROW = np.dtype(
    [
        ("seq", "<i8"), ("seq_ns", "<i8"), ("last_id", "<i8"), ("venue_ns", "<i8"), ("first", "<i8"), ("count", "<i8"),
        ("flags", "<i4"), ("kind", "<i4"), ("slot", "<i4"), ("what", "<i4"),
    ]
)  # fmt: skip
# A resting order. `level`: its level's quantity when it was last looked at, `as_of` the update id of that.
RESTING = np.dtype(
    [(name, "<i8") for name in ("order", "slot", "side", "price", "left", "level", "as_of", "traded")] + [("ahead", "<f8")]
)
QUOTED = np.dtype([(name, "<i8") for name in ("ahead", "id", "bid", "bid_lots", "ask", "ask_lots")])  # ahead: of the book
TAKEN_LEVEL = np.dtype([(name, "<i8") for name in ("slot", "side", "price", "lots", "level")])  # what our orders took of it
REPORT = np.dtype([(name, "<i8") for name in ("what", "order", "price", "lots", "left", "maker")])
RULES = np.dtype([("model", "<i8"), ("exponent", "<f8"), ("whole", "<i8"), ("impact", "<i8"), ("quotes", "<i8")])
UNITS = np.dtype([("lot", "<i8"), ("unit", "<f8")])  # least step of a fill, and what one mantissa is worth


class VenueArrays(NamedTuple):
    """S instruments' books (storage/books/arrays.py, one behind the other) and our orders in them.

    heads (S,), sides (S, 2), lots (S, 2, width), far_keys and far_lots (S, 2, capacity); quoted (S,) QUOTED; units (S,) UNITS;
    rules (1,) RULES; orders (n,) RESTING, in order of slot, side, price from the best, age; taken (m,) TAKEN_LEVEL; counts
    (2,) i8: how many of both there are; reached: (LEVELS, 2) i8, scratch; prices, quantities: (LEVELS,) i8, scratch.
    """

    heads: np.ndarray
    sides: np.ndarray
    lots: np.ndarray
    far_keys: np.ndarray
    far_lots: np.ndarray
    quoted: np.ndarray
    units: np.ndarray
    rules: np.ndarray
    orders: np.ndarray
    taken: np.ndarray
    counts: np.ndarray
    reached: np.ndarray
    prices: np.ndarray
    quantities: np.ndarray
