"""One synthetic instrument: the matching book, its tape, and the public frames that follow from both.

Frames are JSON texts; the update ids of `bookTicker`, of the depth changes and of the REST snapshot are the book's own,
so a client that rebuilds the book holds exactly the bookTicker's best levels at every equal id. What a frame looks like is
its venue's dialect: frames.py, usdm_frames.py.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

from tickmesh.nodes.exchange.last_books import UnsentLevels
from tickmesh.nodes.exchange.ledger import LastBook, LedgerRow
from tickmesh.nodes.exchange.market.changed_levels import ChangedLevels
from tickmesh.nodes.exchange.market.frames import FrameWriter, SpotFrames
from tickmesh.nodes.exchange.market.instruments import SPOT, InstrumentSpec
from tickmesh.nodes.exchange.market.matching import (
    ANYONE,
    ExchangeOrder,
    MakerFill,
    MatchResult,
    OrderBook,
    PreventedMatch,
    UpdateIds,
)
from tickmesh.nodes.exchange.market.tape import OFF_BOOK, Aggregate, Print, Tape
from tickmesh.nodes.exchange.market.usdm_frames import UsdmFrames

MARKED_EVERY = 10  # of the 100 ms: every depth stream has sent its frame by then


class Execution(NamedTuple):
    """A fill of one of our orders. `trade_id` is the public one (synthetic) or the venue's own count (replay)."""

    trade_id: int
    price: int
    quantity: int
    maker: bool


OnFill: TypeAlias = Callable[[int, Execution, int], None]  # order id, execution, time in ms
OnPrevented: TypeAlias = Callable[[int, PreventedMatch, int], None]  # the taker's order id, what was prevented, time in ms
OnTrades: TypeAlias = Callable[[str, list[int], int], None]  # symbol, prices in the order of the trades, time in ms


class VenueMarket(Protocol):
    """One instrument as orders and answers need it: the synthetic `Market`, or `RecordedMarket` of a replayed capture."""

    spec: InstrumentSpec
    tape: Tape
    ledger_rows: list[LedgerRow]  # rows of the exchange ledger, until someone takes them
    on_fill: OnFill | None  # called when one of our resting orders was filled
    on_prevented: OnPrevented | None  # called when self-trade prevention took from our orders
    on_trades: OnTrades | None  # called when the book stands still again after trades, or after fills of our orders
    hides: bool  # whether orders can be icebergs, and choose how self-trades are prevented

    @property
    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first."""

    @property
    def book_id(self) -> int:
        """The update id of the book; −1 when the book is not known."""

    def best(self, side: int) -> tuple[int, int]:
        """(price, quantity) of the best level of a side; (0, 0) when it is empty."""

    def levels(self, side: int, owner: int = ANYONE) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best level on, hidden or not, without the orders of `owner`."""

    def crosses(self, side: int, price: int) -> bool:
        """Whether an order of `side` at `price` would trade at once."""

    def submit(self, order: ExchangeOrder, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
        """Matches an order and rests what is left of it; gives its status and its executions as taker."""

    def rest(self, order: ExchangeOrder, now_ms: int) -> None:
        """Puts an order back that rested before a restart: it takes nothing."""

    def cancel(self, order_id: int, now_ms: int) -> bool:
        """Takes a resting order out; False when there is no such order (any more)."""

    def reduce(self, order_id: int, quantity: int) -> None:
        """Takes so much off a resting order, which keeps its place in the queue."""

    def snapshot(self, limit: int) -> str:
        """The answer to a REST depth request, as JSON. Raises NotKnownYet or VenueError when the book is not known."""

    def standing_book(self) -> LastBook:
        """The book as it stands, for the exchange ledger."""

    @property
    def moved(self) -> bool:
        """Whether anything came up since `drain` and the last taking of `ledger_rows`."""

    def drain(self) -> tuple[list[Print], list[tuple[str, str]]]:
        """The trades, and the frames as (stream, data), that came up since the last call."""


def frame_writer(spec: InstrumentSpec) -> FrameWriter:
    """The writer of frames in the dialect of the instrument's venue."""
    return SpotFrames(spec.symbol) if spec.venue == SPOT else UsdmFrames(spec)


def stream_head(spec: InstrumentSpec) -> str:
    """The beginning of the names of an instrument's streams, `symbol@`; before it, but for spot, `venue.`"""
    return f"{spec.symbol.lower()}@" if spec.venue == SPOT else f"{spec.venue}.{spec.symbol.lower()}@"


class Market:
    """A synthetic market. Frames, trades and ledger rows collect in it until someone takes them."""

    def __init__(self, spec: InstrumentSpec, ids: UpdateIds, tape: Tape, era: int = 0, last: LastBook | None = None):
        """`last`: where its book ended in the process before; the ids go on from there, and say what became of each level."""
        self.spec = spec
        self.name = spec.name
        self.tape = tape
        self.book = OrderBook(ids)
        self.frames: list[tuple[str, str]] = []  # stream, data
        self.printed: list[Print] = []
        began_at = last.update_id if last else self.book.update_id
        self.ledger_rows: list[LedgerRow] = [("start", self.name, began_at, tape.last_id, era)]  # until `drain`
        self.on_fill: OnFill | None = None
        self.on_prevented: OnPrevented | None = None
        self.on_trades: OnTrades | None = None
        self.hides = True
        self._writer = frame_writer(spec)
        head = stream_head(spec)
        self._trade, self._agg_trade, self._ticker = f"{head}trade", f"{head}aggTrade", f"{head}bookTicker"
        self._changes = [ChangedLevels(head + name, every, self.book.update_id) for name, every in self._writer.depth_streams]
        self._unsent = UnsentLevels(self.book.update_id)
        self._best: tuple[int, ...] = ()
        self._flushes = 0
        self._now_ms = tape.prints[-1].time if tape.prints else 0
        if last is not None:
            self._go_on(last)

    def _go_on(self, last: LastBook) -> None:
        """Takes out every level of a book that stood before a restart: population and own orders come back by themselves."""
        for changes in self._changes:
            changes.go_on(last)
        self._unsent = UnsentLevels(last.sent_id, last.first_id, last.unsent)
        self.book.replace_standing(last.update_id, last.levels)
        self._take_touched()

    @property
    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first."""
        return self.tape.last_price

    def best(self, side: int) -> tuple[int, int]:
        """(price, quantity) of the best level of a side; (0, 0) when it is empty."""
        return self.book.best(side)

    def crosses(self, side: int, price: int) -> bool:
        """Whether an order of `side` at `price` would trade at once."""
        return self.book.crosses(side, price)

    def levels(self, side: int, owner: int = ANYONE) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best level on, hidden or not, without the orders of `owner`."""
        return self.book.levels(side, owner, hidden=True)

    def submit(self, order: ExchangeOrder, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
        """Matches an order and prints its trades; gives its status and its executions as taker."""
        # the population acts a few ms behind the wall clock, we act at it: the tape's time must not go back
        now_ms = self._now_ms = max(now_ms, self._now_ms)
        result = self.book.submit(order, order_type, time_in_force)
        executions = self._print(order, result, now_ms)
        self._settle(now_ms)
        if result.fills and self.on_trades:
            self.on_trades(self.spec.symbol, list(dict.fromkeys(fill.price for fill in result.fills)), now_ms)
        return result.status, executions

    def print_off_book(self, price: int, quantity: int, side: int, kind: str, now_ms: int) -> None:
        """Prints a fill of the venue's own making, `kind` of USD-M's `X`: no order of the book has a part in it."""
        now_ms = self._now_ms = max(now_ms, self._now_ms)
        trade = Print(self.tape.last_id + 1, price, quantity, now_ms, int(side < 0), OFF_BOOK)
        self.tape.append(trade)
        self.printed.append(trade)
        self.ledger_rows.append(("off_book", self.name, trade.id, price, quantity, side, now_ms, kind))
        self.frames.append((self._trade, self._writer.trade(trade, kind)))

    def announce(self, frames: Iterable[tuple[str, str]]) -> None:
        """Adds frames that are made elsewhere, as (stream, data): mark prices."""
        self.frames.extend(frames)

    def rest(self, order: ExchangeOrder, now_ms: int) -> None:
        """Puts an order back that rested before a restart, into a book in which only our orders stand yet."""
        self.submit(order, "LIMIT", "GTC", now_ms)

    def reduce(self, order_id: int, quantity: int) -> None:
        """Takes so much off a resting order, which keeps its place in the queue."""
        self.book.reduce(order_id, quantity)
        self._settle(self._now_ms)

    def cancel(self, order_id: int, now_ms: int) -> bool:
        """Takes a resting order out; False when there is no such order (any more)."""
        found = self.book.cancel(order_id) is not None
        if found:
            now_ms = self._now_ms = max(now_ms, self._now_ms)
            self._settle(now_ms)
        return found

    def flush_depth(self, now_ms: int, final: bool = False) -> None:
        """Adds depth frames with what has changed in the book; called every 100 ms. `final`: of all streams, at a stop."""
        self._flushes += 1
        for changes in self._changes:
            if final or self._flushes % changes.every == 0:
                frame = changes.frame(self._writer, self.book.update_id, now_ms)
                if frame:
                    self.frames.append((changes.stream, frame))
        if self._flushes % MARKED_EVERY == 0 and self._unsent.marked_id != self.book.update_id:
            self._unsent.mark(self.book.update_id)
            self.ledger_rows.append(("sent", self.name, self.book.update_id))

    def forget_unpublished_changes(self) -> None:
        """Drops the changes that built the first book, if no depth frame was sent yet: clients get that book over REST."""
        if not self._flushes:
            for changes in self._changes:
                changes.forget(self.book.update_id)
            self._unsent = UnsentLevels(self.book.update_id)

    def standing_book(self) -> LastBook:
        """The book as it stands, for the exchange ledger."""
        levels = [(side, price, quantity) for side in (1, -1) for price, quantity in self.book.levels(side)]
        unsent = self._unsent
        return LastBook(self.book.update_id, levels, unsent.sent_id, unsent.first_id, unsent.levels)

    @property
    def book_id(self) -> int:
        """The update id of the book."""
        return self.book.update_id

    def snapshot(self, limit: int) -> str:
        """The answer to a REST depth request, as JSON."""
        return self._writer.snapshot(self.book.update_id, self.book.levels(1), self.book.levels(-1), limit, self._now_ms)

    @property
    def moved(self) -> bool:
        """Whether anything came up since `drain` and the last taking of `ledger_rows`."""
        return bool(self.ledger_rows or self.frames)

    def drain(self) -> tuple[list[Print], list[tuple[str, str]]]:
        """Takes the trades, and the frames as (stream, data), that came up since the last call."""
        printed, frames = self.printed, self.frames
        self.printed, self.frames = [], []
        return printed, frames

    def _print(self, taker: ExchangeOrder, result: MatchResult, now_ms: int) -> list[Execution]:
        executions = []
        aggregate, price, since = self.tape.last_aggregate, 0, len(self.printed)
        for fill in result.fills:
            if fill.price != price:  # one aggregate per taker and price
                price, aggregate = fill.price, aggregate + 1
            trade = Print(self.tape.last_id + 1, price, fill.quantity, now_ms, int(taker.side < 0), aggregate)
            self.tape.append(trade)
            self.printed.append(trade)
            self.ledger_rows.append(("trade", self.name, trade.id, trade.price, trade.quantity, taker.side, trade.time))
            self.frames.append((self._trade, self._writer.trade(trade)))
            executions.append(Execution(trade.id, fill.price, fill.quantity, False))
            self._made(fill, trade, now_ms)
        if result.fills:
            self._aggregate(self.printed[since:])
        for prevented in result.prevented:
            if self.on_prevented:
                self.on_prevented(taker.id, prevented, now_ms)
        return executions

    def _aggregate(self, trades: list[Print]) -> None:
        first = trades[0]
        quantity = 0
        last = first
        for trade in trades:
            if trade.aggregate != first.aggregate:
                self._add_aggregate_frame(first, last, quantity)
                first, quantity = trade, 0
            last, quantity = trade, quantity + trade.quantity
        self._add_aggregate_frame(first, last, quantity)

    def _add_aggregate_frame(self, first: Print, last: Print, quantity: int) -> None:
        row = Aggregate(first.aggregate, first.price, quantity, first.id, last.id, first.time, first.buyer_is_maker)
        self.frames.append((self._agg_trade, self._writer.aggregate(row)))

    def _made(self, fill: MakerFill, trade: Print, now_ms: int) -> None:
        if fill.maker.owner != ANYONE and self.on_fill:
            self.on_fill(fill.maker.id, Execution(trade.id, fill.price, fill.quantity, True), now_ms)

    def _settle(self, now_ms: int) -> None:
        """Keeps the levels that an operation changed for the depth frames, and adds a quote when the best levels are others."""
        if not self.book.touched:
            return
        self._take_touched()
        best = (*self.book.best(1), *self.book.best(-1))
        if best == self._best:
            return
        self._best = best
        self.frames.append((self._ticker, self._writer.quote(self.book.update_id, best, now_ms)))

    def _take_touched(self) -> None:
        if not self.book.touched:
            return
        # every touch is one step of the update id, in order
        first = self.book.update_id - len(self.book.touched) + 1
        self.ledger_rows.append(("depth", self.name, first, self.book.update_id, list(self.book.touched)))
        for changes in self._changes:
            changes.take(first, self.book.touched)
        self._unsent.take(first, self.book.touched)
        self.book.touched.clear()
