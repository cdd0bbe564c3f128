"""Reads books, bars and coverage for who asks, as plain values: what `tickmesh.open()` gives, decimals as text."""

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from tickmesh.bus.clock import now_ns
from tickmesh.bus.config import Config
from tickmesh.bus.fields import decimal_text
from tickmesh.bus.schema import Kind
from tickmesh.storage.query.times import ReadError, Time, span_ns

if TYPE_CHECKING:
    from tickmesh.storage.books.newest import NewestBook
    from tickmesh.storage.books.reading import BookImage

JsonObject = dict[str, Any]
EXACT = Context(prec=60)  # digits: of a sum of products of two mantissas
BARS_MAX = 5000  # of one answer
BARS_USUAL = 100  # where no start is given
SECOND_NS = 1_000_000_000


def read_book_at(config: Config, subject: str, at: Time, levels: int) -> JsonObject:
    """Reads the book at a time in the past with the best `levels` of each side; none of them where it is not valid.

    Raises ReadError.
    """
    from tickmesh.storage.books.reading import book_at  # with numba, 55 MB: only where somebody asks for the past

    book = book_at(config, subject, at)
    return _book(config, book, (book.bids[:levels], book.asks[:levels]))


def read_newest_book(config: Config, subject: str) -> "NewestBook":
    """Reads the book as it is now, in a form that can be moved on. Raises ReadError."""
    from tickmesh.storage.books.newest import newest_book

    return newest_book(config, subject)


def shown_book(config: Config, book: "NewestBook", levels: int) -> JsonObject:
    """The plain values of a book, with the best `levels` of each side."""
    return _book(config, book, book.sides(levels))


def _book(config: Config, book: "NewestBook | BookImage", sides: tuple[np.ndarray, np.ndarray]) -> JsonObject:
    from tickmesh.storage.query.reader import definitions

    exponents = next(one[1:] for one in reversed(definitions(config, book.subject)) if one[0] <= book.seq)
    return plain_book(book, sides, exponents)


def plain_book(book: "NewestBook | BookImage", sides: tuple[np.ndarray, np.ndarray], exponents: tuple[int, int]) -> JsonObject:
    """The plain values of a book with these levels. `exponents`: of prices and quantities."""
    price, quantity = exponents

    def side(rows: np.ndarray) -> list[JsonObject]:
        return [
            {"price": _decimal(ticks, price), "quantity": _decimal(lots, quantity), "price_ticks": ticks, "quantity_lots": lots}
            for ticks, lots in rows[["price_ticks", "quantity_lots"]].tolist()
        ]

    return {
        "instrument": book.subject, "valid": book.valid, "seq": book.seq, "seq_ns": book.seq_ns, "venue_ns": book.venue_ns,
        "last_update_id": book.last_update_id, "price_exponent": price, "quantity_exponent": quantity,
        "bids": side(sides[0]), "asks": side(sides[1]),
    }  # fmt: skip


def read_bars(config: Config, subject: str, every: str, start: Time, end: Time) -> JsonObject:
    """Reads bars with start ≤ venue time < end; of the last hundred where no start is given. Raises ReadError.

    `open` … `close` are null before the first trade, `vwap` of a bar without one.
    """
    from tickmesh.storage.query.bars import bars, seconds
    from tickmesh.storage.query.reader import exponents

    every_ns = seconds(every) * SECOND_NS
    start_ns, end_ns = span_ns(start, end)
    stop_ns = now_ns() if end_ns is None else end_ns
    if start_ns is None:
        start_ns = (stop_ns // every_ns - BARS_USUAL + 1) * every_ns
    if (wanted := -(-(stop_ns - start_ns) // every_ns)) > BARS_MAX:
        raise ReadError(f"{wanted} bars of {every} lie between start and end; allowed are {BARS_MAX} at once: ask for a part")
    rows = bars(config, subject, every, start_ns, end_ns, gaps="ignore")
    price, quantity = exponents(config, subject)
    return {
        "instrument": subject, "every_s": every_ns // SECOND_NS, "price_exponent": price, "quantity_exponent": quantity,
        "bars": [_bar(one, price, quantity) for one in _plain(rows)],
    }  # fmt: skip


def _plain(rows: np.ndarray) -> list[JsonObject]:
    """Rows of BAR with Python's integers, sums whole."""
    from tickmesh.storage.bars.bar import SUMS, whole

    sums = {name: whole(rows, name) for name in SUMS}
    names = rows.dtype.names or ()
    plain = [dict(zip(names, one)) for one in rows.tolist()]
    return [one | {name: int(values[place]) for name, values in sums.items()} for place, one in enumerate(plain)]


def _bar(one: JsonObject, price: int, quantity: int) -> JsonObject:
    traded, quoted = one["count"] > 0, one["quotes"] > 0 or one["quote_id"] or one["bid_lots"] or one["ask_lots"]
    priced = traded or one["close_ticks"] != 0
    out: JsonObject = {"begin_ns": one["begin_ns"]}
    for name in ("open", "high", "low", "close"):
        out[name] = _decimal(one[f"{name}_ticks"], price) if priced else None
    for name in ("volume", "buy_volume"):
        out[name] = _decimal(one[f"{name}_lots"], quantity)
    out["notional"] = _decimal(one["notional"], price + quantity)
    out["vwap"] = one["notional"] / one["volume_lots"] * 10.0**price if traded and one["volume_lots"] else None
    out |= {name: one[name] for name in ("count", "first_id", "last_id", "quotes", "changes")}
    for side in ("bid", "ask"):
        out[f"{side}_price"] = _decimal(one[f"{side}_ticks"], price) if quoted and one[f"{side}_lots"] > 0 else None
        out[f"{side}_quantity"] = _decimal(one[f"{side}_lots"], quantity) if quoted else None
    return out


def read_coverage(
    config: Config, subjects: list[str], kinds: list[Kind], start: Time, end: Time, limit: int
) -> list[JsonObject]:
    """Reads what is known of each interval, at most the last `limit` of each stream. Raises ReadError."""
    from tickmesh.storage.query.coverage import described
    from tickmesh.storage.query.gaps import touched

    span = span_ns(start, end)
    return [
        {"instrument": subject, **one}
        for subject in subjects
        for kind in kinds
        for one in described(touched(config, kind, subject, *span)[-limit:])
    ]


def _decimal(mantissa: int, exponent: int) -> str:
    return decimal_text(Decimal(mantissa).scaleb(exponent, EXACT))
