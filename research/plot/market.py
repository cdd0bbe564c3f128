"""Reads what one instrument's market looked like over a span: quotes, trades, our orders and fills, coverage, the book."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import Flag, Kind, OrderType
from tickmesh.nodes.orders.states import FINAL
from tickmesh.research.database import Database
from tickmesh.research.plot.book_map import BookMap, book_map
from tickmesh.research.plot.series import GROUP, TimeSeries
from tickmesh.research.plot.shading import CoverageSpan, IntervalPlaces, placed_by_time
from tickmesh.research.sources import RowPart
from tickmesh.storage.query.names import resolve
from tickmesh.storage.query.times import ReadError, Time, span_ns

Shown = Callable[[int, int | None], object]  # (rows read, of how many)
OWN_ORDER = np.dtype([("begin_ns", "<i8"), ("end_ns", "<i8"), ("price", "<f8"), ("side", "i1")])


class PlotTerms(NamedTuple):
    """What is wanted of `instrument`: rows of start ≤ seq_ns < end, and whether with the book."""

    instrument: str
    start: Time = None
    end: Time = None
    book: bool = True


@dataclass
class PlottedMarket:
    """All that is drawn of one market. Times are `seq_ns`, of the log; prices and quantities in the instrument's units.

    quotes: columns bid, ask, spread; the other series: price and quantity, quantities added up. `orders`: OWN_ORDER, one for
    each of our limit orders that rested, in order of begin. `notes`: sentences on what is not drawn.
    """

    instrument: str
    start_ns: int = 0
    end_ns: int = 0
    quotes: TimeSeries = field(default_factory=lambda: TimeSeries(("bid", "ask", "spread"), optional=("bid", "ask", "spread")))
    bought: TimeSeries = field(default_factory=lambda: TimeSeries(("price", "quantity"), added=("quantity",)))
    sold: TimeSeries = field(default_factory=lambda: TimeSeries(("price", "quantity"), added=("quantity",)))
    fills_bought: TimeSeries = field(default_factory=lambda: TimeSeries(("price", "quantity"), added=("quantity",)))
    fills_sold: TimeSeries = field(default_factory=lambda: TimeSeries(("price", "quantity"), added=("quantity",)))
    orders: np.ndarray = field(default_factory=lambda: np.zeros(0, OWN_ORDER))
    coverage: list[CoverageSpan] = field(default_factory=list)
    book: BookMap | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many quotes, trades and fills there are."""
        return sum(series.rows for series in (self.quotes, self.bought, self.sold, self.fills_bought, self.fills_sold))


def read_market(db: Database, terms: PlotTerms, shown: Shown = lambda done, of: None) -> PlottedMarket:
    """Reads a market from what was recorded, part by part: memory is that of packed rows. `shown` is told how far it is.

    Raises ReadError for a name that is several instruments, and where neither a quote nor a trade lies in the span.
    """
    found = resolve(db.instruments, terms.instrument, db.place)
    if len(found) != 1:
        raise ReadError(f"{terms.instrument} are {len(found)} instruments; a plot is of one: {', '.join(found)}")
    (subject,) = found
    db.select(Kind.trade, subject, terms.start, terms.end).check_span()
    return _MarketReading(db, subject, *span_ns(terms.start, terms.end), shown).read(terms.book)


class _MarketReading:
    def __init__(self, db: Database, subject: str, start_ns: int | None, end_ns: int | None, shown: Shown):
        self._source, self._subject, self._span, self._shown = db.source, subject, (start_ns, end_ns), shown
        self._db, self._view = db, PlottedMarket(subject)
        self._until, _ = self._source.now()
        kinds = (Kind.quote, Kind.trade, Kind.update, Kind.fill)
        self._of = sum(self._source.count(kind, subject, start_ns, end_ns) for kind in kinds)
        self._done = 0
        self._edges: list[int] = []  # ns of the first and last row of every part
        self._clocks: list[np.ndarray] = []  # of some trades: venue_ns and seq_ns

    def read(self, with_book: bool) -> PlottedMarket:
        """Reads everything; gives it."""
        view = self._view
        quotes = self._kind(Kind.quote, self._quotes)
        trades = self._kind(Kind.trade, self._trades)
        if not self._edges:
            raise ReadError(
                f"{self._subject} has neither a quote nor a trade in that time; `mesh info quote.{self._subject}` shows what is"
            )
        start_ns, end_ns = self._span
        view.start_ns = min(self._edges) if start_ns is None else start_ns
        view.end_ns = max(self._edges) if end_ns is None else end_ns
        self._own()
        for places in (quotes, trades):
            view.coverage += places.spans(view.start_ns, view.end_ns)
        clocks = np.concatenate(self._clocks, axis=1) if self._clocks else np.zeros((2, 0), "i8")
        ledger = self._source.ledger(Kind.depth, self._subject, *self._span)
        view.coverage += placed_by_time("depth", ledger, clocks[0], clocks[1], view.start_ns, view.end_ns)
        if with_book:
            view.book = book_map(self._db, self._subject, view.start_ns, view.end_ns + 1)
            if view.book is None:
                view.notes.append("There is no book in here: no depth was recorded, or it is an export's.")
        return view

    def _kind(self, kind: Kind, take: Callable[[RowPart], None]) -> IntervalPlaces:
        places = IntervalPlaces(kind.name, self._source.ledger(kind, self._subject, *self._span))
        for part in self._parts(kind):
            self._edges += (int(part.rows["seq_ns"][0]), int(part.rows["seq_ns"][-1]))
            places.add(part.rows)
            take(part)
        return places

    def _parts(self, kind: Kind) -> Iterator[RowPart]:
        for part in self._source.parts(kind, self._subject, *self._span, self._until, True):
            yield part
            self._done += len(part.rows)
            self._shown(self._done, self._of)

    def _quotes(self, part: RowPart) -> None:
        rows, (price, _) = part.rows, part.exponents
        bid = np.where(rows["bid_lots"] > 0, rows["bid_ticks"], 0)
        ask = np.where(rows["ask_lots"] > 0, rows["ask_ticks"], 0)
        spread = np.where((bid != 0) & (ask != 0), ask - bid, 0)
        places = {"bid": -price, "ask": -price, "spread": -price}
        self._view.quotes.add(rows["seq_ns"], {"bid": bid, "ask": ask, "spread": spread}, places)

    def _trades(self, part: RowPart) -> None:
        rows = part.rows[(part.rows["flags"] & Flag.OFF_BOOK) == 0]
        self._sides(part._replace(rows=rows), self._view.bought, self._view.sold)
        timed = rows[rows["venue_ns"] > 0][::GROUP]
        self._clocks.append(np.array([timed["venue_ns"], timed["seq_ns"]]))

    def _sides(self, part: RowPart, bought: TimeSeries, sold: TimeSeries) -> None:
        price, quantity = part.exponents
        for side, series in ((1, bought), (-1, sold)):
            rows = part.rows[part.rows["side"] == side]
            columns = {"price": rows["price_ticks"], "quantity": rows["quantity_lots"]}
            series.add(rows["seq_ns"], columns, {"price": -price, "quantity": -quantity})

    def _own(self) -> None:
        for part in self._parts(Kind.fill):
            self._sides(part, self._view.fills_bought, self._view.fills_sold)
        kept = []
        for part in self._parts(Kind.update):
            rows = part.rows[(part.rows["order_type"] != OrderType.MARKET) & (part.rows["price_ticks"] > 0)]
            names = ["client_order_id", "seq_ns", "status", "price_ticks", "side"]
            kept.append((rows[names].copy(), part.exponents[0]))
        if kept:
            rows = np.concatenate([rows for rows, _ in kept])
            prices = np.concatenate([rows["price_ticks"] * 10.0**exponent for rows, exponent in kept])
            self._view.orders = own_orders(rows, prices, self._view.end_ns)


def own_orders(updates: np.ndarray, prices: np.ndarray, end_ns: int) -> np.ndarray:
    """The lives of limit orders (OWN_ORDER) from their updates, in order of seq, and the price of each update.

    An order lasts from its first update to the first final one; one that is open, until `end_ns`.
    """
    _, first, which = np.unique(updates["client_order_id"], return_index=True, return_inverse=True)
    out = np.zeros(len(first), OWN_ORDER)
    out["begin_ns"], out["price"], out["side"] = updates["seq_ns"][first], prices[first], updates["side"][first]
    out["end_ns"] = end_ns
    final = np.flatnonzero(np.isin(updates["status"], list(FINAL)))
    np.minimum.at(out["end_ns"], which[final], updates["seq_ns"][final])
    return np.sort(out, order="begin_ns")
