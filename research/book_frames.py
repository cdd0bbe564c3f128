"""Books as pandas frames with decimals: at one moment, or sampled at an interval (docs/books.md has them as arrays)."""

from typing import TYPE_CHECKING

import numpy as np

from tickmesh.bus.config import Config
from tickmesh.bus.schema import Kind
from tickmesh.storage.query.gaps import check_recorded
from tickmesh.storage.query.reader import definitions
from tickmesh.storage.query.scales import scaled
from tickmesh.storage.query.times import Time, span_ns

if TYPE_CHECKING:
    import pandas

    from tickmesh.storage.query.durations import Every


def book_frame(config: Config, subject: str, at: Time) -> "pandas.DataFrame":
    """Rebuilds the book at a time (None: now): a row for each level with side, price, quantity; bids from the best, then asks.

    `attrs`: instrument, valid, seq, seq_ns, last_update_id. Not valid (between a gap and the next snapshot) means no level.
    """
    import pandas

    from tickmesh.storage.books.reading import book_at

    book = book_at(config, subject, at)
    price, quantity = (exponents[0] for exponents in _exponents(config, subject, np.array([book.seq])))
    frame = pandas.DataFrame(
        {
            "side": np.where(book.levels["side"] == 1, "bid", "ask").astype(object),
            "price": scaled(book.levels["price_ticks"], int(price)),
            "quantity": scaled(book.levels["quantity_lots"], int(quantity)),
        }
    )
    names = ("valid", "seq", "seq_ns", "last_update_id")
    frame.attrs = {"instrument": subject, **{name: getattr(book, name) for name in names}}
    return frame


def sampled_books(config: Config, subject: str, every: "Every", start: Time, end: Time, levels: int) -> "pandas.DataFrame":
    """Samples the book at every multiple of `every`: index `time` (UTC), `seq`, `valid`, then for n = 1 … levels bid_price_n,
    bid_quantity_n, ask_price_n, ask_quantity_n: NaN where there is no level.
    """
    import pandas

    from tickmesh.storage.books.reading import snapshots

    check_recorded(config, Kind.depth, subject, span_ns(start, end))
    samples = snapshots(config, subject, every, start, end, levels)
    price, quantity = _exponents(config, subject, samples["seq"])
    columns: dict[str, np.ndarray] = {name: samples[name] for name in ("seq", "valid")}
    for level in range(levels):
        for number, side in enumerate(("bid", "ask")):
            lots = samples["quantity_lots"][:, level, number]
            values = scaled(samples["price_ticks"][:, level, number], price), scaled(lots, quantity)
            for name, value in zip(("price", "quantity"), values):
                columns[f"{side}_{name}_{level + 1}"] = np.where(lots > 0, value, np.nan)
    return pandas.DataFrame(columns, index=pandas.DatetimeIndex(samples["at_ns"], name="time", tz="UTC"))


def _exponents(config: Config, subject: str, seqs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(of price, of quantity) that was in force at each seq."""
    known = np.array(definitions(config, subject), "i8").reshape(-1, 3)
    place = np.searchsorted(known[:, 0], seqs, "right") - 1
    return known[place, 1], known[place, 2]
