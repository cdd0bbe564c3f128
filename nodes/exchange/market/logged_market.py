"""The markets of real venues as the mesh's own log has them, for orders that are filled on paper: its events, made into what a
recorded market replays: of Binance spot and of USD-M. Pure.

The book is the one that the depth events of the log give, from a snapshot on and without a hole; where the chain breaks
there is none until the next snapshot, and nothing fills. What is repaired later, or never met the book, fills nothing.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from tickmesh.bus.layout import record_reader
from tickmesh.bus.schema import Flag, Kind
from tickmesh.bus.settings import InstrumentSettings
from tickmesh.bus.wire import Event
from tickmesh.nodes.exchange.market.captures import (
    RecordedBook,
    RecordedDepth,
    RecordedFrame,
    RecordedQuote,
    RecordedTrade,
    Unserved,
)
from tickmesh.nodes.exchange.market.instruments import USDM, InstrumentSpec, market_name, quantity_max, spec
from tickmesh.nodes.exchange.market.queue import QueueModel
from tickmesh.nodes.exchange.market.recorded_market import RecordedMarket
from tickmesh.nodes.exchange.market.tape import RETAINED, Tape
from tickmesh.nodes.exchange.protocol import Level

READS = (Kind.instrument, Kind.trade, Kind.quote, Kind.depth)
EXPONENT = -8  # of all mantissas of the exchange
NO_FILL = Flag.REPAIRED | Flag.OFF_BOOK
_read_definition = record_reader(
    Kind.instrument, "price_exponent", "quantity_exponent", "tick_size", "lot_size", "min_quantity", "min_notional"
)
_NOTHING = msgspec.Raw(b"")

Row = RecordedTrade | RecordedQuote | RecordedDepth | RecordedBook


class LoggedMarket(RecordedMarket):
    """One instrument of a real venue, as far as the log has been read, and our orders in it."""

    def __init__(self, known: InstrumentSpec, exponents: tuple[int, int], trades_kept: int, queue: QueueModel):
        super().__init__(known, lambda: False, trades_kept, queue)
        self.aggregates = False  # nobody hears its streams here
        self.exponents = exponents
        self._kept = trades_kept

    def take(self, event: Event, now_ms: int) -> None:
        """Moves the market on by one event of the log."""
        if event.flags & (Flag.RESET | Flag.UNSYNCED):
            self._begin_anew(event)
        if event.kind == Kind.trade and not event.flags & NO_FILL:
            self._apply_all(event, self._trades(event), now_ms)
        elif event.kind == Kind.quote:
            self._apply_all(event, self._quotes(event), now_ms)
        elif event.kind == Kind.depth and not event.flags & Flag.UNSYNCED:
            levels = self._levels(event)
            snapshot = event.flags & Flag.SNAPSHOT
            row = RecordedBook(event.last_id, levels) if snapshot else RecordedDepth(event.first_id, event.last_id, levels)
            self._apply_all(event, (row,), now_ms)
        self.ledger_rows.clear()  # the log has the market; the exchange's ledger has what our orders did in it

    def _begin_anew(self, event: Event) -> None:
        """The ids of a stream began anew, or changes have no snapshot to go on from: what was known of it is over."""
        if event.kind == Kind.trade:
            self.tape = Tape(self._kept)
        elif event.kind == Kind.depth and self.book.id >= 0:
            self.book = self.empty_book()
            for place in self.places.values():
                place.as_of = -1

    def _apply_all(self, event: Event, rows: Iterable[Row], now_ms: int) -> None:
        kind, symbol = Kind(event.kind).name, self.spec.symbol
        for row in rows:
            try:
                self.apply(RecordedFrame(event.recv_ns, kind, symbol, kind, "", _NOTHING, row), now_ms)
            except Unserved:
                self.book = self.empty_book()  # ids that are out of all proportion: the next snapshot decides

    def _scaled(self, event: Event) -> list[dict[str, Any]]:
        """The records of an event with prices and quantities at 10^−8."""
        units = {"_ticks": 10 ** (self.exponents[0] - EXPONENT), "_lots": 10 ** (self.exponents[1] - EXPONENT)}
        factors = {
            name: next((unit for end, unit in units.items() if name.endswith(end)), 1)
            for name in event.records.dtype.names or ()
        }
        rows = event.records[[name for name in factors if not name.startswith("reserved")]]
        return [{name: value * factors[name] for name, value in zip(rows.dtype.names or (), row)} for row in rows.tolist()]

    def _trades(self, event: Event) -> list[Row]:
        return [
            RecordedTrade(one["trade_id"], one["price_ticks"], one["quantity_lots"], one["venue_ns"] // 10**6, one["side"] < 0)
            for one in self._scaled(event)
        ]

    def _quotes(self, event: Event) -> list[Row]:
        return [
            RecordedQuote(one["update_id"], one["bid_ticks"], one["bid_lots"], one["ask_ticks"], one["ask_lots"])
            for one in self._scaled(event)
        ]

    def _levels(self, event: Event) -> list[Level]:
        return [(one["side"], one["price_ticks"], one["quantity_lots"]) for one in self._scaled(event) if one["side"]]


class SavedMarket(msgspec.Struct):
    """What a checkpoint holds of one market: its definition, a price, and its book."""

    exponents: tuple[int, int]
    tick: int
    lot: int
    notional_min: int
    price: int
    book_id: int
    levels: list[Level]


class LoggedMarkets:
    """The markets of these instruments, each from its definition in the log on. A market's name is as the exchange has it."""

    def __init__(self, instruments: Iterable[InstrumentSettings], queue: QueueModel, trades_kept: int = RETAINED):
        self._wanted = {one.subject: one for one in instruments}
        self._names = {subject: market_name(one.venue, one.symbol) for subject, one in self._wanted.items()}
        self._queue, self._kept = queue, trades_kept
        self.known: dict[str, LoggedMarket] = {}  # by name
        self.last_ns: dict[str, int] = {}  # venue → seq_ns of the newest trade, quote or depth change of any of its

    @property
    def missing(self) -> list[str]:
        """The markets without a definition or a price so far."""
        return [name for name in self._names.values() if name not in self.known or not self.known[name].spec.start]

    @property
    def ready(self) -> list[str]:
        """The markets with a definition and a price."""
        return [name for name, market in self.known.items() if market.spec.start]

    def take(self, event: Event, now_ms: int) -> LoggedMarket | None:
        """Takes in an event of READS; gives the market that it moved. ValueError for a definition too fine to hold."""
        one = self._wanted.get(event.subject)
        if one is None or event.kind not in READS:
            return None
        if event.kind == Kind.instrument:
            self._define(one, *_read_definition(event.raw))
            return None
        self.last_ns[one.venue] = event.seq_ns
        market = self.known.get(self._names[event.subject])
        if market is not None:
            market.take(event, now_ms)
            if not market.spec.start and (price := market.best(1)[0] or market.last_price):
                market.spec = market.spec._replace(start=price, quantity_max=quantity_max(price))
        return market

    def _define(
        self, one: InstrumentSettings, price_exponent: int, quantity_exponent: int, tick: int, lot: int, _: int, notional: int
    ) -> None:
        if min(price_exponent, quantity_exponent) < EXPONENT:
            exponents = f"{price_exponent} and {quantity_exponent}"
            raise ValueError(f"{one.subject} has the exponents {exponents}; on paper {EXPONENT} is the finest")
        unit, size = 10 ** (price_exponent - EXPONENT), 10 ** (quantity_exponent - EXPONENT)
        market = self.known.get(self._names[one.subject]) or self._add(one, (price_exponent, quantity_exponent))
        least_notional = notional * unit or market.spec.notional_min
        market.spec = market.spec._replace(tick=max(tick * unit, 1), lot=max(lot * size, 1), notional_min=least_notional)
        market.exponents = price_exponent, quantity_exponent
        self._write_decimals(market)

    def _write_decimals(self, market: LoggedMarket) -> None:
        """Has the venue's texts written as it does: USD-M with as many decimals as a contract has."""
        if market.spec.venue == USDM:
            price, quantity = (max(-exponent, 0) for exponent in market.exponents)
            market.spec = market.spec._replace(price_decimals=price, quantity_decimals=quantity)

    def _add(self, one: InstrumentSettings, exponents: tuple[int, int]) -> LoggedMarket:
        known = spec(one.symbol, one.venue)._replace(start=0)
        market = self.known[known.name] = LoggedMarket(known, exponents, self._kept, self._queue)
        return market

    def closed(self, now_ns: int, stale_ns: int) -> set[str]:
        """The markets that nobody can trade now: their book is not known, or nothing has come from their venue for so long."""
        return {
            name for name, market in self.known.items()
            if market.book_id < 0 or now_ns - self.last_ns.get(market.spec.venue, 0) > stale_ns
        }  # fmt: skip

    def pack(self) -> bytes:
        """All markets, for `load`."""
        return msgspec.msgpack.encode({name: _saved(market) for name, market in self.known.items()})

    def load(self, state: bytes) -> None:
        """Goes on where `pack` was called. Raises msgspec.DecodeError for what it did not give."""
        saved = msgspec.msgpack.decode(state, type=dict[str, SavedMarket])
        for subject, name in self._names.items():
            if (one := saved.get(name)) is None:
                continue
            market = self._add(self._wanted[subject], one.exponents)
            market.spec = market.spec._replace(
                tick=one.tick, lot=one.lot, notional_min=one.notional_min, start=one.price, quantity_max=quantity_max(one.price)
            )
            self._write_decimals(market)
            if one.book_id >= 0:
                market.book.take_snapshot(RecordedBook(one.book_id, one.levels))


def _saved(market: LoggedMarket) -> SavedMarket:
    known = market.spec
    price = market.best(1)[0] or known.start
    return SavedMarket(market.exponents, known.tick, known.lot, known.notional_min, price, market.book_id, market.image())
