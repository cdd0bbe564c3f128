"""One recorded instrument: the book and the tape at the replay position, and our orders matched against both. Pure.

Our orders leave the recorded market as it is (no impact), and recorded liquidity is consumed once:

- A taker fills against what is left of the levels of the replayed book (nodes/exchange/market/consumed.py).
- A resting order gets of a recorded trade that would have met it what our better placed orders leave of that trade: at its own
  price after the quantity that stood ahead of it has traded or left (nodes/exchange/market/queue.py decides what leaves), at a
  price beyond its own at once. Source: hftbacktest's `PartialFillExchange`, which fills the whole order where a trade is beyond
  its price; NautilusTrader's budget per trade (its issue 5017).
- And it gets what the other side comes to show at its price or beyond, once, whichever stream shows it: bookTicker, depth
  change or snapshot. Where depth proves the same quotes, a capture gives the same fills with and without bookTicker.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from tickmesh.nodes.exchange.ledger import LastBook, LedgerRow
from tickmesh.nodes.exchange.market.captures import (
    TIME_MS_MAX,
    RecordedBook,
    RecordedDepth,
    RecordedFrame,
    RecordedQuote,
    RecordedTrade,
)
from tickmesh.nodes.exchange.market.consumed import Consumed
from tickmesh.nodes.exchange.market.frames import MARKET
from tickmesh.nodes.exchange.market.instruments import SPOT, InstrumentSpec
from tickmesh.nodes.exchange.market.market import Execution, OnFill, OnPrevented, OnTrades, frame_writer, stream_head
from tickmesh.nodes.exchange.market.matching import (
    ANYONE,
    EXPIRED,
    FILLED,
    NEW,
    PARTIALLY_FILLED,
    REJECTED,
    ExchangeOrder,
    PreventedMatch,
)
from tickmesh.nodes.exchange.market.queue import QueueModel, QueuePlace, risk_averse
from tickmesh.nodes.exchange.market.recorded_book import JUMP_IDS, USDM_JUMP_IDS, ReplayedBook
from tickmesh.nodes.exchange.market.tape import OFF_BOOK, RETAINED, Aggregate, Print, Tape
from tickmesh.nodes.exchange.protocol import Level, NotKnownYet, VenueError

OWN_TRADES_FROM = 10**15  # ids of our own fills, far from the recorded ones, which stay as they were
OWNER = 1  # of all orders here but the recorded ones, as at the desk


class RecordedMarket:
    """One instrument of a capture, as far as it has been replayed, and our orders in it."""

    def __init__(
        self, spec: InstrumentSpec, has_snapshot_ahead: Callable[[], bool] = lambda: False, trades_kept: int = RETAINED,
        queue: QueueModel = risk_averse,
    ):  # fmt: skip
        self.spec = spec
        self.tape = Tape(trades_kept)
        self.aggregates = True  # makes aggTrade frames, until the capture shows its own
        self.book = self.empty_book()
        self.venue_ms = 0  # the venue's time of the newest frame that states it
        self.consumed = Consumed()  # what our orders have taken of it
        self.own_orders: dict[int, ExchangeOrder] = {}
        self.queue = queue
        self.places: dict[int, QueuePlace] = {}  # order id → where it stands among the recorded quantity at its price
        self.next_trade = OWN_TRADES_FROM  # id of our next execution
        self.frames: list[tuple[str, str]] = []
        self.ledger_rows: list[LedgerRow] = []  # rows of the ledger, until someone takes them
        self.on_fill: OnFill | None = None
        self.on_prevented: OnPrevented | None = None
        self.on_trades: OnTrades | None = None
        self.hides = False  # the queue models know of no hidden quantity
        self._doubtful_print: Print | None = None  # a trade whose id jumps, until its successor shows what it is
        self._has_snapshot_ahead = has_snapshot_ahead

    # ---- the recorded side

    def empty_book(self) -> ReplayedBook:
        """A book of which nothing is known, of this market's venue."""
        return ReplayedBook(JUMP_IDS if self.spec.venue == SPOT else USDM_JUMP_IDS)

    def distance(self, snapshot: RecordedBook) -> float:
        """How far a snapshot, which names no instrument, is from this market: 0 is nearest.

        By ids; those of USD-M are counted over all symbols, so there by prices."""
        if self.spec.venue == SPOT:
            return abs(max(self.book.ticker[0], self.book_id) - snapshot.last)
        bids, asks = ([price for side, price, _ in snapshot.levels if side == wanted] for wanted in (1, -1))
        price = max(bids, default=0) or min(asks, default=0)
        mine = self.best(1)[0] or self.last_price or self.spec.start
        return abs(math.log(price / mine)) if price and mine else math.inf

    def announce(self, frames: Iterable[tuple[str, str]]) -> None:
        """Adds frames that are made elsewhere, as (stream, data): mark prices."""
        self.frames.extend(frames)

    def apply(self, frame: RecordedFrame, now_ms: int) -> None:
        """Moves the market on by one frame of its own. Raises Unserved for a snapshot that cannot be of this book."""
        row, name = frame.row, self.spec.name
        self.venue_ms = max(frame.venue_ms, self.venue_ms)
        if isinstance(row, RecordedTrade):
            if row.type != MARKET:
                self._settle_off_book(row)
                return
            self._traded(row, now_ms)
        elif isinstance(row, RecordedBook):
            if self.book.take_snapshot(row):
                # with the changes that came before it and go beyond it, as it is given to those who ask
                known = self.book_id >= 0
                self.ledger_rows.append(("book", name, *((self.book_id, self.image()) if known else row)))
                self._shown(now_ms)
        elif isinstance(row, RecordedQuote):
            self.book.take_quote(row)
            self.ledger_rows.append(("quote", name, row.id, row.bid, row.bid_quantity, row.ask, row.ask_quantity))
            self._shown(now_ms)
        elif isinstance(row, RecordedDepth):
            self.ledger_rows.append(("depth", name, row.first, row.last, row.levels))
            self.book.take_change(row)
            self._shown(now_ms, row.levels)
        elif frame.kind == "aggTrade":
            self.aggregates = False
        if self.on_trades:
            self.on_trades(self.spec.symbol, [row.price] if isinstance(row, RecordedTrade) else [], now_ms)

    def _shown(self, now_ms: int, changed: Sequence[Level] = ()) -> None:
        """Follows what the book shows now, whichever stream has shown it: queues, what we took, orders that meet the touch."""
        book = self.book
        if book.id >= 0 and self.own_orders:
            named = {(side, price) for side, price, _ in changed}
            for order in self.own_orders.values():
                # by the depth stream alone: a bookTicker often comes before the trade that it shows, which then counted twice
                there = book.recorded(order.side, order.price)
                self.places[order.id].follow(self.queue, there, book.id, (order.side, order.price) in named)
        self.consumed.follow(book.shown)
        for order in self._by_priority():
            for price, quantity in self._reachable(order, order.remaining):
                self.consumed.take(-order.side, price, quantity)
                self._fill(order, quantity, now_ms)

    def _by_priority(self) -> list[ExchangeOrder]:
        """Our resting orders, the best price first, at one price the oldest."""
        return sorted(self.own_orders.values(), key=lambda order: (-order.side * order.price, order.id))

    def _reachable(self, order: ExchangeOrder, wanted: int, any_price: bool = False) -> list[tuple[int, int]]:
        """(price, quantity) of the other side that an order reaches, as much of it as is not taken and as is `wanted`."""
        reachable = []
        for price, quantity in self.levels(-order.side, order.owner):
            if not wanted or not any_price and (price - order.price) * order.side > 0:
                break
            reachable.append((price, min(quantity, wanted)))
            wanted -= reachable[-1][1]
        return reachable

    def _traded(self, row: RecordedTrade, now_ms: int) -> None:
        trade = Print(row.id, row.price, row.quantity, self._time(row.time), int(row.buyer_is_maker))
        self._print(trade)
        if self.aggregates:
            alone = Aggregate(row.id, row.price, row.quantity, row.id, row.id, row.time, trade.buyer_is_maker)
            self.announce([(f"{stream_head(self.spec)}aggTrade", frame_writer(self.spec).aggregate(alone))])
        side = -1 if row.buyer_is_maker else 1
        self.ledger_rows.append(("trade", self.spec.name, trade.id, trade.price, trade.quantity, side, row.time))
        had = 0  # of this trade, by our orders so far
        for order in self._by_priority():
            beyond = (order.price - trade.price) * order.side
            if order.side == side or beyond < 0:
                continue
            place = self.places[order.id]
            if beyond > 0:
                place.ahead = 0.0  # a trade beyond the price: nobody stands there any more
                reaches = trade.quantity - had
            else:
                reaches = place.take(trade.quantity, had)
            if quantity := min(reaches - reaches % self.spec.lot, order.remaining):
                had += quantity
                self._fill(order, quantity, now_ms)

    def _settle_off_book(self, row: RecordedTrade) -> None:
        """Keeps the id of a fill of the venue's own making: it met no order of the book, so it reaches none of ours."""
        if row.id - self.tape.last_id <= JUMP_IDS:
            self.tape.append(Print(row.id, row.price, row.quantity, row.time, int(row.buyer_is_maker), OFF_BOOK))
        if row.quantity:
            side = -1 if row.buyer_is_maker else 1
            self.ledger_rows.append(("off_book", self.spec.name, row.id, row.price, row.quantity, side, row.time, row.type))

    def _print(self, trade: Print) -> None:
        """Adds a trade to the tape; one whose id is out of proportion only when the next trade goes on from it."""
        if (held := self._doubtful_print) is not None:
            self._doubtful_print = None
            if trade.id > held.id:
                self.tape.append(held)
        if self.tape.prints and trade.id - self.tape.last_id > JUMP_IDS:
            self._doubtful_print = trade
        else:
            self.tape.append(trade)

    def _time(self, recorded: int) -> int:
        """A trade's time for the tape, where times never fall; an impossible one is the time of the trade before."""
        last = self.tape.prints[-1].time if self.tape.prints else 0
        possible = recorded < (TIME_MS_MAX if recorded < 10**14 else TIME_MS_MAX * 1000)  # ms, or µs
        return max(recorded, last) if possible else last

    def _fill(self, order: ExchangeOrder, quantity: int, now_ms: int) -> None:
        order.remaining -= quantity
        if not order.remaining:
            del self.own_orders[order.id], self.places[order.id]
        if self.on_fill:
            self.on_fill(order.id, Execution(self._trade_id(), order.price, quantity, True), now_ms)

    def _prevent(self, taker: ExchangeOrder, maker: ExchangeOrder, now_ms: int) -> None:
        """Takes out a resting order of ours that another one would meet (EXPIRE_MAKER)."""
        del self.own_orders[maker.id], self.places[maker.id]
        if self.on_prevented:
            self.on_prevented(taker.id, PreventedMatch(maker, maker.price, maker.remaining, maker.remaining, 0), now_ms)

    def standing_rows(self) -> list[LedgerRow]:
        """Ledger rows with the state of this market, for a ledger that begins or goes on here."""
        rows: list[LedgerRow] = [("start", self.spec.name, self.book_id, self.tape.last_id, 0)]
        return rows + ([("book", self.spec.name, self.book_id, self.image())] if self.book_id >= 0 else [])

    def image(self) -> list[Level]:
        """Every level of the recorded book."""
        return self.book.image()

    def standing_book(self) -> LastBook:
        """The book as it stands, for the exchange ledger."""
        return LastBook(self.book_id, self.image(), self.book_id)

    # ---- our side: what a synthetic market offers too

    @property
    def book_id(self) -> int:
        """The update id of the book; −1 when it is not known."""
        return self.book.id

    @property
    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first."""
        return self.tape.last_price

    def best(self, side: int) -> tuple[int, int]:
        """(price, quantity) of the best recorded level of a side; (0, 0) when it is empty."""
        return next(self.levels(side), (0, 0))

    def levels(self, side: int, owner: int = ANYONE) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best on, as recorded; for an owner (us) without what our orders have taken of it."""
        for price, quantity in self.book.levels(side):
            if owner == ANYONE:
                yield price, quantity
            elif (left := quantity - self.consumed.at(side, price)) > 0:
                yield price, left

    def crosses(self, side: int, price: int) -> bool:
        """Whether an order of ours would trade at once, of `side` at `price`, or meet one of ours."""
        opposite = next(self.levels(-side, OWNER), (0, 0))[0]
        return opposite != 0 and (opposite - price) * side <= 0 or bool(self._met(side, price))

    def _met(self, side: int, price: int | None) -> list[ExchangeOrder]:
        """Our resting orders that an order of ours meets, of `side` and down to `price` (None: at any)."""
        own = self.own_orders.values()
        return [o for o in own if o.side != side and (price is None or (o.price - price) * side <= 0)]

    def submit(self, order: ExchangeOrder, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
        """Fills an order from the recorded levels and rests what is left; gives its status and its executions as taker."""
        crossing = order_type == "MARKET" or self.crosses(order.side, order.price)
        if order_type == "LIMIT_MAKER" and crossing:
            return REJECTED, []
        reachable = self._reachable(order, order.remaining, order_type == "MARKET") if crossing else []
        left = order.remaining - sum(quantity for _, quantity in reachable)
        if left and time_in_force == "FOK":
            return EXPIRED, []
        order.remaining = left
        if crossing:
            # it never trades with ours: they give way as far as it has come, as in a synthetic market
            reached = reachable[-1][0] if not left else None if order_type == "MARKET" else order.price
            for met in self._met(order.side, reached):
                self._prevent(order, met, now_ms)
        executions = []
        for price, quantity in reachable:
            self.consumed.take(-order.side, price, quantity)
            executions.append(Execution(self._trade_id(), price, quantity, False))
        if not left:
            return FILLED, executions
        if order_type == "MARKET" or time_in_force in ("IOC", "FOK"):  # GTX, post-only of futures, rests
            return EXPIRED, executions
        self.rest(order, now_ms)
        return PARTIALLY_FILLED if executions else NEW, executions

    def rest(self, order: ExchangeOrder, now_ms: int) -> None:
        """Puts an order at the end of the queue of its price, whatever stands on the other side."""
        side, price, book = order.side, order.price, self.book
        standing = book.shown(side, price)
        self.own_orders[order.id] = order
        ahead = math.inf if standing is None else standing
        self.places[order.id] = QueuePlace(ahead, standing, book.knows_since(side, price))

    def cancel(self, order_id: int, now_ms: int) -> bool:
        """Takes a resting order out; False when there is no such order (any more)."""
        self.places.pop(order_id, None)
        return self.own_orders.pop(order_id, None) is not None

    def reduce(self, order_id: int, quantity: int) -> None:
        """Takes so much off a resting order, which keeps its place in the queue."""
        self.own_orders[order_id].remaining -= quantity

    def snapshot(self, limit: int) -> str:
        """The book at the replay position, every level that is known. NotKnownYet before the capture's snapshot."""
        if self.book_id < 0:
            if self._has_snapshot_ahead():
                raise NotKnownYet
            raise VenueError(
                -1000, f"The capture holds no depth snapshot of {self.spec.symbol} that leads to this position.", 503
            )
        sides = (((abs(k), q) for k, q in self.book.sides[side].items()) for side in (1, -1))
        return frame_writer(self.spec).snapshot(self.book_id, next(sides), next(sides), limit, self.venue_ms)

    @property
    def moved(self) -> bool:
        """Whether anything came up since `drain` and the last taking of `ledger_rows`."""
        return bool(self.ledger_rows or self.frames)

    def drain(self) -> tuple[list[Print], list[tuple[str, str]]]:
        """Takes our aggTrade frames; the recorded frames are sent as they are, and our own trades are not public."""
        frames, self.frames = self.frames, []
        return [], frames

    def _trade_id(self) -> int:
        self.next_trade += 1
        return self.next_trade - 1
