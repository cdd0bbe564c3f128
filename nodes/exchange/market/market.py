"""One synthetic instrument: the matching book, its tape, and the public frames that follow from both.

Frames are JSON texts; the update ids of `bookTicker`, of the depth changes and of the REST snapshot are the book's own,
so a client that rebuilds the book holds exactly the bookTicker's best levels at every equal id.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeAlias

from tickmesh.nodes.exchange.ledger import LedgerRow
from tickmesh.nodes.exchange.market.instruments import InstrumentSpec
from tickmesh.nodes.exchange.market.matching import ANYONE, ExchangeOrder, MakerFill, MatchResult, OrderBook
from tickmesh.nodes.exchange.market.tape import Aggregate, Print, Tape
from tickmesh.nodes.exchange.protocol import Level, decimal_text

SLOW_EVERY = 10  # every tenth flush of the 100 ms depth stream is one of the 1000 ms stream


class Execution(NamedTuple):
    """A fill of one of our orders. `trade_id` is the public one (synthetic) or the venue's own count (replay)."""

    trade_id: int
    price: int
    quantity: int
    maker: bool


OnFill: TypeAlias = Callable[[int, Execution, int], None]  # order id, execution, time in ms
OnExpire: TypeAlias = Callable[[int, int], None]  # order id, time in ms


class VenueMarket(Protocol):
    """One instrument as orders and answers need it: the synthetic `Market`, or `RecordedMarket` of a replayed capture."""

    spec: InstrumentSpec
    tape: Tape
    ledger_rows: list[LedgerRow]  # rows of the exchange ledger, until someone takes them
    on_fill: OnFill | None  # called when one of our resting orders was filled
    on_expire: OnExpire | None  # called when self-trade prevention took one of them out

    @property
    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first."""

    @property
    def book_id(self) -> int:
        """The update id of the book; −1 when the book is not known."""

    def best(self, side: int) -> tuple[int, int]:
        """(price, quantity) of the best level of a side; (0, 0) when it is empty."""

    def levels(self, side: int, owner: int = ANYONE) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best level on, without the orders of `owner`."""

    def crosses(self, side: int, price: int) -> bool:
        """Whether an order of `side` at `price` would trade at once."""

    def submit(self, order: ExchangeOrder, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
        """Matches an order and rests what is left of it; gives its status and its executions as taker."""

    def cancel(self, order_id: int, now_ms: int) -> bool:
        """Takes a resting order out; False when there is no such order (any more)."""

    def snapshot(self, limit: int) -> str:
        """The answer to a REST depth request, as JSON. Raises NotKnownYet or VenueError when the book is not known."""

    def image(self) -> list[Level]:
        """Every level of the book."""

    def drain(self) -> tuple[list[Print], list[tuple[str, str]]]:
        """The trades, and the frames as (stream, data), that came up since the last call."""


class ChangedLevels:
    """The levels of a book that changed since the last frame of one depth stream."""

    def __init__(self, stream: str, update_id: int):
        self.stream = stream
        self.update_id = update_id
        self.levels: dict[int, dict[int, int]] = {1: {}, -1: {}}

    def frame(self, symbol: str, update_id: int, now_ms: int) -> str | None:
        """Builds the next depthUpdate, whose U follows the u before; None when nothing has changed."""
        if update_id == self.update_id:
            return None
        bids, asks = (
            ",".join(
                [f'["{decimal_text(p)}","{decimal_text(q)}"]' for p, q in sorted(self.levels[side].items(), reverse=side > 0)]
            )
            for side in (1, -1)
        )
        first = self.update_id + 1
        self.update_id = update_id
        self.levels = {1: {}, -1: {}}
        return f'{{"e":"depthUpdate","E":{now_ms},"s":"{symbol}","U":{first},"u":{update_id},"b":[{bids}],"a":[{asks}]}}'


class Market:
    """A synthetic market. Frames, trades and ledger rows collect in it until someone takes them."""

    def __init__(self, spec: InstrumentSpec, update_id: int, tape: Tape, era: int = 0):
        self.spec = spec
        self.tape = tape
        self.book = OrderBook(update_id)
        self.frames: list[tuple[str, str]] = []  # stream, data
        self.printed: list[Print] = []
        self.ledger_rows: list[LedgerRow] = [
            ("start", spec.symbol, update_id, tape.last_id, era)
        ]  # rows of the ledger, until `drain`
        self.on_fill: OnFill | None = None
        self.on_expire: OnExpire | None = None
        lower = spec.symbol.lower()
        self._trade, self._agg_trade, self._ticker = f"{lower}@trade", f"{lower}@aggTrade", f"{lower}@bookTicker"
        self._fast, self._slow = ChangedLevels(f"{lower}@depth@100ms", update_id), ChangedLevels(f"{lower}@depth", update_id)
        self._best: tuple[int, ...] = ()
        self._flushes = 0
        self._now_ms = tape.prints[-1].time if tape.prints else 0

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
        """(price, quantity) from the best level on, without the orders of `owner`."""
        return self.book.levels(side, owner)

    def submit(self, order: ExchangeOrder, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
        """Matches an order and prints its trades; gives its status and its executions as taker."""
        # the population acts a few ms behind the wall clock, we act at it: the tape's time must not go back
        now_ms = self._now_ms = max(now_ms, self._now_ms)
        result = self.book.submit(order, order_type, time_in_force)
        executions = self._print(order, result, now_ms)
        self._settle(now_ms)
        return result.status, executions

    def cancel(self, order_id: int, now_ms: int) -> bool:
        """Takes a resting order out; False when there is no such order (any more)."""
        found = self.book.cancel(order_id) is not None
        if found:
            self._settle(now_ms)
        return found

    def flush_depth(self, now_ms: int) -> None:
        """Adds depth frames with what has changed in the book; called every 100 ms."""
        self._flushes += 1
        for changes in (self._fast, self._slow) if self._flushes % SLOW_EVERY == 0 else (self._fast,):
            frame = changes.frame(self.spec.symbol, self.book.update_id, now_ms)
            if frame:
                self.frames.append((changes.stream, frame))

    def forget_unpublished_changes(self) -> None:
        """Drops the changes that built the first book, if no depth frame was sent yet: clients get that book over REST."""
        if not self._flushes:
            for changes in (self._fast, self._slow):
                changes.update_id, changes.levels = self.book.update_id, {1: {}, -1: {}}

    def image(self) -> list[Level]:
        """Every level of the book."""
        return [(side, price, quantity) for side in (1, -1) for price, quantity in self.book.levels(side)]

    @property
    def book_id(self) -> int:
        """The update id of the book."""
        return self.book.update_id

    def snapshot(self, limit: int) -> str:
        """The answer to a REST depth request, as JSON."""
        return snapshot(self.book.update_id, self.book.levels(1), self.book.levels(-1), limit)

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
            self.ledger_rows.append(("trade", self.spec.symbol, trade.id, trade.price, trade.quantity, taker.side, trade.time))
            self.frames.append((self._trade, trade_frame(self.spec.symbol, trade)))
            executions.append(Execution(trade.id, fill.price, fill.quantity, False))
            self._made(fill, trade, now_ms)
        if result.fills:
            self._aggregate(self.printed[since:])
        for maker in result.expired:
            if self.on_expire:
                self.on_expire(maker.id, now_ms)
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
        self.frames.append((self._agg_trade, aggregate_frame(self.spec.symbol, row)))

    def _made(self, fill: MakerFill, trade: Print, now_ms: int) -> None:
        if fill.maker.owner != ANYONE and self.on_fill:
            self.on_fill(fill.maker.id, Execution(trade.id, fill.price, fill.quantity, True), now_ms)

    def _settle(self, now_ms: int) -> None:
        """Keeps the levels that an operation changed for the depth frames, and adds a quote when the best levels are others."""
        if not self.book.touched:
            return
        # every touch is one step of the update id, in order
        first = self.book.update_id - len(self.book.touched) + 1
        self.ledger_rows.append(("depth", self.spec.symbol, first, self.book.update_id, list(self.book.touched)))
        for side, price, quantity in self.book.touched:
            self._fast.levels[side][price] = quantity
            self._slow.levels[side][price] = quantity
        self.book.touched.clear()
        best = (*self.book.best(1), *self.book.best(-1))
        if best == self._best:
            return
        self._best = best
        bid, bid_quantity, ask, ask_quantity = best
        self.frames.append((
            self._ticker,
            f'{{"u":{self.book.update_id},"s":"{self.spec.symbol}","b":"{decimal_text(bid)}","B":"{decimal_text(bid_quantity)}",'
            f'"a":"{decimal_text(ask)}","A":"{decimal_text(ask_quantity)}"}}',
        ))  # fmt: skip


def trade_frame(symbol: str, trade: Print) -> str:
    """Builds the JSON of a trade event."""
    side = "true" if trade.buyer_is_maker else "false"
    return (
        f'{{"e":"trade","E":{trade.time},"s":"{symbol}","t":{trade.id},"p":"{decimal_text(trade.price)}",'
        f'"q":"{decimal_text(trade.quantity)}","T":{trade.time},"m":{side},"M":true}}'
    )


def aggregate_frame(symbol: str, row: Aggregate) -> str:
    """Builds the JSON of an aggTrade event."""
    side = "true" if row.buyer_is_maker else "false"
    return (
        f'{{"e":"aggTrade","E":{row.time},"s":"{symbol}","a":{row.id},"p":"{decimal_text(row.price)}",'
        f'"q":"{decimal_text(row.quantity)}","f":{row.first},"l":{row.last},"T":{row.time},"m":{side},"M":true}}'
    )


def snapshot(update_id: int, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], limit: int) -> str:
    """Builds the JSON of a REST depth answer from (price, quantity) of each side, best first."""
    sides = (
        ",".join([f'["{decimal_text(p)}","{decimal_text(q)}"]' for (p, q), _ in zip(s, range(limit))]) for s in (bids, asks)
    )
    return f'{{"lastUpdateId":{update_id},"bids":[{next(sides)}],"asks":[{next(sides)}]}}'
