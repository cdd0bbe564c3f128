"""Arrow tables as nautilus_trader's ParquetDataCatalog reads them: trades, quotes, changes of books, instruments. Pure.

Written against nautilus_trader 1.231, by what its catalog writes and reads: prices and quantities are integers of 128 bits,
little-endian, in units of 10^-16. `ts_event` is the venue's time, `ts_init` when the mesh had it (`seq_ns`), which never
decreases, as its catalog demands.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tickmesh.bus.schema import Flag

if TYPE_CHECKING:
    import pyarrow as pa

DECIMALS_MAX = 16
BUYER, SELLER, NO_AGGRESSOR = 1, 2, 0
BUY, SELL, NO_SIDE = 1, 2, 0
ADD, UPDATE, DELETE, CLEAR = 1, 2, 3, 4
LAST, SNAPSHOT = 1 << 7, 1 << 5  # of flags: the last row of an event; it belongs to a whole book
_HALF = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class NautilusInstrument(NamedTuple):
    """How nautilus names an instrument, its exponents and the class of its definition; `definition`: fields of that."""

    name: str
    exponents: tuple[int, int]
    data_class: str
    definition: dict[str, object]

    @property
    def metadata(self) -> dict[str, str]:
        """What every file of its data has beside the columns."""
        price, quantity = (str(max(-one, 0)) for one in self.exponents)
        return {"instrument_id": self.name, "price_precision": price, "size_precision": quantity}


def fixed(mantissas: np.ndarray, exponent: int) -> "pa.Array":
    """Mantissas (n,) i8 of value = mantissa × 10^exponent as an Arrow array of 16 bytes each, in units of 10^-16.

    Raises ValueError for an exponent below -16, which those cannot hold.
    """
    import pyarrow as pa

    if not -DECIMALS_MAX <= exponent <= 0:
        raise ValueError(f"an exponent of {exponent}; nautilus_trader holds 0 to {DECIMALS_MAX} decimals")
    words = np.zeros((len(mantissas), 2), "<u8")
    words[:, 0], words[:, 1] = _product(mantissas.astype("i8"), 10 ** (DECIMALS_MAX + exponent))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(words), [None, pa.py_buffer(words.tobytes())])


def _product(values: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """(low, high) 64 bits of value × factor, in two's complement. `factor` is below 2^64."""
    magnitude = np.abs(values).view("u8")
    high_f, low_f = np.uint64(factor >> 32), np.uint64(factor & 0xFFFFFFFF)
    high_m, low_m = magnitude >> _SHIFT, magnitude & _HALF
    lowest, one, other = low_m * low_f, low_m * high_f, high_m * low_f
    middle = (lowest >> _SHIFT) + (one & _HALF) + (other & _HALF)
    low = (lowest & _HALF) | (middle << _SHIFT)
    high = high_m * high_f + (one >> _SHIFT) + (other >> _SHIFT) + (middle >> _SHIFT)
    negative = values < 0
    low_n = ~low + np.uint64(1)
    high_n = ~high + (low_n == 0)
    return np.where(negative, low_n, low), np.where(negative, high_n, high)


def trade_table(rows: np.ndarray, of: NautilusInstrument) -> "tuple[pa.Table, int]":
    """(trades, how many were left out: those off the book, and of no quantity). `rows`: as `reader.arrays` has them."""
    kept = rows[((rows["flags"] & Flag.OFF_BOOK) == 0) & (rows["quantity_lots"] > 0)]
    unnamed = kept["trade_id"] <= 0
    names = np.where(unnamed, kept["seq"].astype("i8"), kept["trade_id"]).astype("U20")
    price, quantity = of.exponents
    columns = {
        "price": fixed(kept["price_ticks"], price), "size": fixed(kept["quantity_lots"], quantity),
        "aggressor_side": np.select([kept["side"] > 0, kept["side"] < 0], [BUYER, SELLER], NO_AGGRESSOR).astype("u1"),
        "trade_id": names.tolist(),
    }  # fmt: skip
    return _table(columns, kept, of), len(rows) - len(kept)


def quote_table(rows: np.ndarray, of: NautilusInstrument) -> "tuple[pa.Table, int]":
    """(quotes, how many were left out: those of one side only, which a QuoteTick cannot say)."""
    kept = rows[(rows["bid_ticks"] > 0) & (rows["ask_ticks"] > 0)]
    price, quantity = of.exponents
    columns = {
        "bid_price": fixed(kept["bid_ticks"], price), "ask_price": fixed(kept["ask_ticks"], price),
        "bid_size": fixed(np.abs(kept["bid_lots"]), quantity), "ask_size": fixed(np.abs(kept["ask_lots"]), quantity),
    }  # fmt: skip
    return _table(columns, kept, of), len(rows) - len(kept)


def delta_table(book: np.ndarray, rows: np.ndarray, of: NautilusInstrument) -> "tuple[pa.Table, int]":
    """(changes of the book, how many levels were left out, of which no book is known).

    `book`: levels of the book before them; with it they begin. A whole book clears the one before it.
    """
    unsynced = (rows["flags"] & Flag.UNSYNCED) != 0
    rows = rows[~unsynced]
    parts, places = [], []
    snapshot = (rows["flags"] & Flag.SNAPSHOT) != 0
    begins = np.flatnonzero(snapshot & np.concatenate(([True], np.diff(rows["seq"]) > 0))) if len(rows) else np.zeros(0, "i8")
    changed = np.flatnonzero(rows["side"] != 0)
    if len(book) and len(rows):
        image = np.zeros(len(book), rows.dtype)
        for name in ("seq_ns", "venue_ns", "recv_ns", "last_id"):
            image[name] = rows[name][0]
        for name in ("price_ticks", "quantity_lots", "side"):
            image[name] = book[name]
        parts += [_deltas(image[:1], CLEAR), _deltas(image, ADD)]
        places += [np.full(1, -2.0), np.full(len(image), -1.0)]
    parts += [_deltas(rows[begins], CLEAR), _deltas(rows[changed], np.where(snapshot[changed], ADD, UPDATE))]
    places += [begins - 0.5, changed.astype("f8")]
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    found = np.concatenate(parts)[order]
    found = found[(found["action"] != ADD) | (found["quantity_lots"] > 0)]
    # an event ends where the next row is of another moment: rows of the image are one, at the time of the first event
    ends = np.ones(len(found), bool)
    ends[:-1] = np.diff(found["seq"]) != 0
    found["flags"] |= np.where(ends, LAST, 0).astype("u1")
    price, quantity = of.exponents
    columns = {
        "action": found["action"], "side": found["as_side"], "price": fixed(found["price_ticks"], price),
        "size": fixed(found["quantity_lots"], quantity), "order_id": np.zeros(len(found), "u8"), "flags": found["flags"],
        "sequence": np.maximum(found["last_id"], 0).astype("u8"),
    }  # fmt: skip
    return _table(columns, found, of), int(unsynced.sum())


_DELTA = np.dtype([
    ("seq", "u8"), ("seq_ns", "<i8"), ("venue_ns", "<i8"), ("recv_ns", "<i8"), ("last_id", "<i8"), ("price_ticks", "<i8"),
    ("quantity_lots", "<i8"), ("as_side", "u1"), ("action", "u1"), ("flags", "u1"),
])  # fmt: skip


def _deltas(rows: np.ndarray, action: "np.ndarray | int") -> np.ndarray:
    out = np.zeros(len(rows), _DELTA)
    for name in ("seq", "seq_ns", "venue_ns", "recv_ns", "last_id"):
        out[name] = rows[name]
    out["action"] = action
    out["flags"] = np.where((out["action"] == ADD) | (out["action"] == CLEAR), SNAPSHOT, 0)
    levels = out["action"] != CLEAR
    for name in ("price_ticks", "quantity_lots"):
        out[name][levels] = rows[name][levels]
    out["as_side"][levels] = np.where(rows["side"][levels] > 0, BUY, SELL)
    out["action"][(out["action"] == UPDATE) & (out["quantity_lots"] == 0)] = DELETE
    return out


def _table(columns: dict[str, object], rows: np.ndarray, of: NautilusInstrument) -> "pa.Table":
    import pyarrow as pa

    event_ns = np.select([rows["venue_ns"] > 0, rows["recv_ns"] > 0], [rows["venue_ns"], rows["recv_ns"]], rows["seq_ns"])
    times = {"ts_event": event_ns.astype("u8"), "ts_init": rows["seq_ns"].astype("u8")}
    arrays = {
        name: pa.array(values) if not isinstance(values, pa.Array) else values for name, values in (columns | times).items()
    }
    schema = pa.schema([pa.field(name, one.type, nullable=False) for name, one in arrays.items()], of.metadata)
    return pa.table(list(arrays.values()), schema=schema)


def instrument_table(of: NautilusInstrument) -> "pa.Table":
    """The definition, as one row."""
    import pyarrow as pa

    types = {"is_inverse": pa.bool_(), "info": pa.binary()}
    types |= dict.fromkeys(("price_precision", "size_precision"), pa.uint8()) | dict.fromkeys(
        ("ts_event", "ts_init"), pa.uint64()
    )
    schema = pa.schema([(name, types.get(name, pa.string())) for name in of.definition], {"class": of.data_class})
    return pa.Table.from_pylist([of.definition], schema=schema)
