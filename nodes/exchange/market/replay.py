"""A recorded market: lines of a raw capture to frames at their recorded pace, the book at the replay position, and our
orders matched against it. Pure: lines come from whoever opened the files.

Our orders leave the recorded market as it is (no impact). A taker fills against the levels of the replayed book; a
resting order fills when a recorded trade prints through its price, or at its price after the quantity that stood ahead
of it has traded or left (nodes/exchange/market/queue.py decides which of it leaves), or when the recorded opposite best quote
reaches it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from sortedcontainers import SortedDict

from tickmesh.nodes.exchange.ledger import LastBook, LedgerRow
from tickmesh.nodes.exchange.market.captures import (
    RecordedBook,
    RecordedDepth,
    RecordedFrame,
    RecordedQuote,
    RecordedTrade,
    Unserved,
    read_line,
)
from tickmesh.nodes.exchange.market.frames import SpotFrames
from tickmesh.nodes.exchange.market.instruments import InstrumentSpec
from tickmesh.nodes.exchange.market.market import Execution, OnExpire, OnFill
from tickmesh.nodes.exchange.market.matching import EXPIRED, FILLED, NEW, PARTIALLY_FILLED, REJECTED, ExchangeOrder
from tickmesh.nodes.exchange.market.queue import QueueModel, QueuePlace, risk_averse
from tickmesh.nodes.exchange.market.survey import coarser_stream_reason
from tickmesh.nodes.exchange.market.tape import RETAINED, Aggregate, Print, Tape
from tickmesh.nodes.exchange.protocol import Level, NotKnownYet, VenueError

PENDING_MAX = 20_000  # depth changes kept while waiting for a snapshot; a capture holds ten per second
OWN_TRADES_FROM = 10**15  # ids of our own fills, far from the recorded ones, which stay as they were
JUMP_IDS = 10**6  # an id that goes on by more counts when its successor confirms it; real changes join a few thousand
TIME_MS_MAX = 4_102_444_800_000  # the year 2100: a venue's time beyond it is no time


class RecordedMarket:
    """One instrument of a capture, as far as it has been replayed, and our orders in it."""

    def __init__(
        self, spec: InstrumentSpec, has_snapshot_ahead: Callable[[], bool] = lambda: False, trades_kept: int = RETAINED,
        queue: QueueModel = risk_averse,
    ):  # fmt: skip
        self.spec = spec
        self.tape = Tape(trades_kept)
        self.aggregates = True  # makes aggTrade frames, until the capture shows its own
        self.sides: dict[int, SortedDict] = {1: SortedDict(), -1: SortedDict()}  # −side × price → quantity
        self.book_id = -1  # −1: no book yet, or lost to a hole in the capture
        # of the newest bookTicker: update id, side → price and quantity
        self.ticker: tuple[int, dict[int, tuple[int, int]]] = (-1, {1: (0, 0), -1: (0, 0)})
        self.own_orders: dict[int, ExchangeOrder] = {}
        self.queue = queue
        self.places: dict[int, QueuePlace] = {}  # order id → where it stands among the recorded quantity at its price
        self.next_trade = OWN_TRADES_FROM  # id of our next execution
        self.frames: list[tuple[str, str]] = []
        self.ledger_rows: list[LedgerRow] = []  # rows of the ledger, until someone takes them
        self.on_fill: OnFill | None = None
        self.on_expire: OnExpire | None = None
        self._pending: list[RecordedDepth] = []
        self._doubtful: RecordedDepth | None = None  # a change whose last id jumps, until its successor shows what it is
        self._doubtful_print: Print | None = None  # a trade whose id jumps, until its successor shows what it is
        self._confirmed = False  # whether a change has gone on from the snapshot
        self._newest_id = -1  # last id of the newest change, whether or not there is a book
        self._newest_confirmed = False  # whether a second change was near: one that is far from both is absurd
        self._has_snapshot_ahead = has_snapshot_ahead

    # ---- the recorded side

    def apply(self, frame: RecordedFrame, now_ms: int) -> None:
        """Moves the market on by one frame of its own. Raises Unserved for a snapshot that cannot be of this book."""
        row, symbol = frame.row, self.spec.symbol
        if isinstance(row, RecordedBook):
            self._snapshot(row)
        elif isinstance(row, RecordedTrade):
            self._traded(row, now_ms)
        elif isinstance(row, RecordedQuote):
            self._quoted(row, now_ms)
        elif frame.kind == "aggTrade":
            self.aggregates = False
        elif isinstance(row, RecordedDepth):
            self.ledger_rows.append(("depth", symbol, row.first, row.last, row.levels))
            near = self._newest_id >= 0 and abs(row.last - self._newest_id) <= JUMP_IDS
            if near or not self._newest_confirmed:
                self._newest_id, self._newest_confirmed = row.last, near
            self._changed(row)

    def _snapshot(self, book: RecordedBook) -> None:
        if book.last < self.book_id:
            return  # the stream is further already
        if self._newest_id >= 0 and book.last - self._newest_id > JUMP_IDS:
            raise Unserved("a snapshot out of proportion", f"lastUpdateId {book.last}, its stream is at {self._newest_id}")
        pending, self._pending, self._doubtful = self._pending, [], None
        self.sides = {1: SortedDict(), -1: SortedDict()}
        for side, price, quantity in book.levels:
            self.sides[side][-side * price] = quantity
        self.book_id, self._confirmed = book.last, False
        self.ledger_rows.append(("book", self.spec.symbol, self.book_id, book.levels))
        for change in pending:
            if change.last > self.book_id:
                self._changed(change)

    def _changed(self, change: RecordedDepth) -> None:
        if self.book_id < 0:
            self._wait(change)
            return
        if (held := self._doubtful) is not None:
            self._doubtful = None
            if change.last >= held.last:
                self._take(held)  # the ids go on above it: it was right
            elif held.first <= self.book_id + 1 < change.first:
                self._take(held._replace(last=change.first - 1))  # its successor shows where it ends
        if self.book_id >= 0 and change.last - self.book_id > JUMP_IDS:
            self._doubtful = change
        else:
            self._take(change)

    def _wait(self, change: RecordedDepth) -> None:
        self._pending.append(change)
        if len(self._pending) > PENDING_MAX:
            del self._pending[: PENDING_MAX // 2]

    def _take(self, change: RecordedDepth) -> None:
        if self.book_id - change.last > JUMP_IDS and not self._confirmed:
            self.book_id = -1  # the snapshot's id was absurd
        elif 0 <= change.last <= self.book_id:
            return
        if self.book_id + 1 < change.first:
            self.book_id = -1  # a hole in the capture: what is left belongs to no book
        if self.book_id < 0:
            self._wait(change)
            return
        before = {order.id: self._recorded(order) for order in self.own_orders.values()}
        for side, price, quantity in change.levels:
            if quantity:
                self.sides[side][-side * price] = quantity
            else:
                self.sides[side].pop(-side * price, None)
        self.book_id, self._confirmed = change.last, True
        for order in self.own_orders.values():
            there = self._recorded(order)
            if there != before[order.id]:
                self.queue(self.places[order.id], before[order.id], there)

    def _quoted(self, tick: RecordedQuote, now_ms: int) -> None:
        best = {1: (tick.bid, tick.bid_quantity), -1: (tick.ask, tick.ask_quantity)}
        self.ticker = (tick.id, best)
        self.ledger_rows.append(("quote", self.spec.symbol, tick.id, *best[1], *best[-1]))
        self._crossed(now_ms)

    def _traded(self, row: RecordedTrade, now_ms: int) -> None:
        trade = Print(row.id, row.price, row.quantity, self._time(row.time), int(row.buyer_is_maker))
        self._print(trade)
        if self.aggregates:
            alone = Aggregate(row.id, row.price, row.quantity, row.id, row.id, row.time, trade.buyer_is_maker)
            self.frames.append((f"{self.spec.symbol.lower()}@aggTrade", SpotFrames(self.spec.symbol).aggregate(alone)))
        side = -1 if row.buyer_is_maker else 1
        self.ledger_rows.append(("trade", self.spec.symbol, trade.id, trade.price, trade.quantity, side, row.time))
        for order in list(self.own_orders.values()):
            beyond = (order.price - trade.price) * order.side
            if beyond > 0:
                self._fill(order, order.remaining, now_ms)
            elif beyond == 0 and (trade.buyer_is_maker == 1) == (order.side > 0):
                reaches = self.places[order.id].take(trade.quantity)
                if reaches := reaches - reaches % self.spec.lot:
                    self._fill(order, min(reaches, order.remaining), now_ms)

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

    def _recorded(self, order: ExchangeOrder) -> int:
        quantity: int = self.sides[order.side].get(-order.side * order.price, 0)
        return quantity

    def _crossed(self, now_ms: int) -> None:
        for order in list(self.own_orders.values()):
            if self.crosses(order.side, order.price):
                self._fill(order, order.remaining, now_ms)

    def _fill(self, order: ExchangeOrder, quantity: int, now_ms: int) -> None:
        order.remaining -= quantity
        if not order.remaining:
            del self.own_orders[order.id], self.places[order.id]
        if self.on_fill:
            self.on_fill(order.id, Execution(self._trade_id(), order.price, quantity, True), now_ms)

    def standing_rows(self) -> list[LedgerRow]:
        """Ledger rows with the state of this market, for a ledger that begins or goes on here."""
        rows: list[LedgerRow] = [("start", self.spec.symbol, self.book_id, self.tape.last_id, 0)]
        return rows + ([("book", self.spec.symbol, self.book_id, self.image())] if self.book_id >= 0 else [])

    def image(self) -> list[Level]:
        """Every level of the recorded book."""
        return [(side, abs(key), quantity) for side in (1, -1) for key, quantity in self.sides[side].items()]

    def standing_book(self) -> LastBook:
        """The book as it stands, for the exchange ledger."""
        return LastBook(self.book_id, self.image(), self.book_id)

    # ---- our side: what a synthetic market offers too

    @property
    def last_price(self) -> int:
        """The price of the newest trade; 0 before the first."""
        return self.tape.last_price

    def best(self, side: int) -> tuple[int, int]:
        """(price, quantity) of the best level of a side; (0, 0) when it is empty."""
        return next(self.levels(side), (0, 0))

    def levels(self, side: int, owner: int = 0) -> Iterator[tuple[int, int]]:
        """(price, quantity) from the best on. A bookTicker that is ahead of the depth stream decides where it begins."""
        update_id, best = self.ticker
        top = 0
        if update_id > self.book_id:
            top, quantity = best[side]
            if top:
                yield top, quantity
        if self.book_id < 0:
            return
        for key, quantity in self.sides[side].items():
            price = abs(key)
            if not top or (top - price) * side > 0:
                yield price, quantity

    def crosses(self, side: int, price: int) -> bool:
        """Whether an order of `side` at `price` would trade at once."""
        opposite = self.best(-side)[0]
        return opposite != 0 and (opposite - price) * side <= 0

    def submit(self, order: ExchangeOrder, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
        """Fills an order from the recorded levels and rests what is left; gives its status and its executions as taker."""
        crossing = order_type == "MARKET" or self.crosses(order.side, order.price)
        if order_type == "LIMIT_MAKER" and crossing:
            return REJECTED, []
        executions = []
        if crossing:
            reachable = []
            wanted = order.remaining
            for price, quantity in self.levels(-order.side):
                if not wanted or order_type != "MARKET" and (price - order.price) * order.side > 0:
                    break
                reachable.append((price, min(quantity, wanted)))
                wanted -= reachable[-1][1]
            if wanted and time_in_force == "FOK":
                return EXPIRED, []
            order.remaining = wanted
            executions = [Execution(self._trade_id(), price, quantity, False) for price, quantity in reachable]
        elif time_in_force == "FOK":
            return EXPIRED, []
        if not order.remaining:
            return FILLED, executions
        if order_type == "MARKET" or time_in_force != "GTC":
            return EXPIRED, executions
        self.own_orders[order.id] = order
        self.places[order.id] = QueuePlace(self._standing(order.side, order.price))
        return PARTIALLY_FILLED if executions else NEW, executions

    def cancel(self, order_id: int, now_ms: int) -> bool:
        """Takes a resting order out; False when there is no such order (any more)."""
        self.places.pop(order_id, None)
        return self.own_orders.pop(order_id, None) is not None

    def snapshot(self, limit: int) -> str:
        """The book at the replay position, every level that is known. NotKnownYet before the capture's snapshot."""
        if self.book_id < 0:
            if self._has_snapshot_ahead():
                raise NotKnownYet
            raise VenueError(
                -1000, f"The capture holds no depth snapshot of {self.spec.symbol} that leads to this position.", 503
            )
        sides = (((abs(k), q) for k, q in self.sides[side].items()) for side in (1, -1))
        return SpotFrames(self.spec.symbol).snapshot(self.book_id, next(sides), next(sides), limit)

    @property
    def moved(self) -> bool:
        """Whether anything came up since `drain` and the last taking of `ledger_rows`."""
        return bool(self.ledger_rows or self.frames)

    def drain(self) -> tuple[list[Print], list[tuple[str, str]]]:
        """Takes our aggTrade frames; the recorded frames are sent as they are, and our own trades are not public."""
        frames, self.frames = self.frames, []
        return [], frames

    def _standing(self, side: int, price: int) -> int:
        update_id, best = self.ticker
        if update_id > self.book_id and best[side][0] == price:
            return best[side][1]
        standing: int = self.sides[side].get(-side * price, 0) if self.book_id >= 0 else 0
        return standing

    def _trade_id(self) -> int:
        self.next_trade += 1
        return self.next_trade - 1


class Replay:
    """All markets of a capture, and where it stands. `position` counts lines, `frames` those that were on a stream."""

    def __init__(self, markets: Mapping[str, RecordedMarket], depths: dict[str, str] | None = None):
        self.markets = markets
        self.depths = depths or {}  # symbol → the depth stream that is served, where a capture has several
        self.position = 0
        self.frames = 0
        self.not_served: Counter[str] = Counter()  # lines by reason
        self.recv_ns = 0  # of the last frame
        self.error = ""

    @property
    def refused(self) -> int:
        """The number of lines that were not served."""
        return self.not_served.total()

    def pass_line(self, line: str, now_ms: int) -> RecordedFrame | None:
        """Replays one line; gives its frame, or None for a line that is not served (counted, with its reason in `error`)."""
        self.position += 1
        try:
            frame = read_line(line)
            served = self.depths.get(frame.symbol)
            if frame.kind == "depth" and served and frame.stream.partition("@")[2] != served:
                raise Unserved(coarser_stream_reason(served), frame.stream[:60])
            market = self._market(frame)
            if market is not None:
                market.apply(frame, now_ms)
        except Unserved as error:
            self.not_served[error.reason] += 1
            self.error = f"line {self.position} was left out: {error}"
            return None
        self.recv_ns = frame.recv_ns
        if frame.stream:
            self.frames += 1
        return frame

    def _market(self, frame: RecordedFrame) -> RecordedMarket | None:
        if frame.stream:
            return self.markets.get(frame.symbol)
        # a snapshot does not name its instrument: its id is nearest to its own instrument's
        assert isinstance(frame.row, RecordedBook)
        last = frame.row.last
        return min(self.markets.values(), key=lambda m: abs(max(m.ticker[0], m.book_id) - last), default=None)
