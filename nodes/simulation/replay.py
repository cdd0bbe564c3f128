"""A recorded market: lines of a raw capture to frames at their recorded pace, the book at the replay position, and our
orders matched against it. Pure: lines come from whoever opened the files.

A line is `<receive time> <json>`: the time is 16 digits of µs or 19 of ns; the JSON is a frame of a combined stream
(`{"stream":…,"data":…}`), or a REST depth snapshot (`{"lastUpdateId":…}`).

Our orders leave the recorded market as it is (no impact). A taker fills against the levels of the replayed book; a
resting order fills when a recorded trade prints through its price, or at its price after the quantity that stood ahead
of it has traded or left (nodes/simulation/queue.py says which of it leaves), or when the recorded opposite best quote
reaches it.
"""

from typing import Any, NamedTuple

import msgspec
from sortedcontainers import SortedDict

from nodes.simulation.captures import LINE, recv_ns
from nodes.simulation.instruments import Spec
from nodes.simulation.market import Execution, aggregate_frame, snapshot
from nodes.simulation.matching import EXPIRED, FILLED, NEW, PARTIALLY_FILLED, REJECTED, Order
from nodes.simulation.protocol import NotYet, VenueError, mantissa
from nodes.simulation.queue import Model, Place, risk_averse
from nodes.simulation.tape import RETAINED, Aggregate, Print, Tape

PENDING_MAX = 20_000  # depth changes kept while waiting for a snapshot; a capture holds ten per second
OWN_TRADES_FROM = 10**15  # ids of our own fills, far from the recorded ones, which stay as they were


class _Head(msgspec.Struct):
    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")
    lastUpdateId: int = -1
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []


class _Trade(msgspec.Struct):
    s: str
    t: int
    p: str
    q: str
    T: int
    m: bool


class _Ticker(msgspec.Struct):
    s: str
    u: int
    b: str
    B: str
    a: str
    A: str


class _Depth(msgspec.Struct):
    s: str
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class Frame(NamedTuple):
    """One line of a capture. `stream` "" = a snapshot, which was never on a stream."""

    recv_ns: int
    stream: str
    text: str
    head: Any

    @property
    def data(self) -> str:
        """The payload as it was recorded, character by character."""
        return bytes(self.head.data).decode()


_head = msgspec.json.Decoder(_Head)
_trade, _ticker, _depth = msgspec.json.Decoder(_Trade), msgspec.json.Decoder(_Ticker), msgspec.json.Decoder(_Depth)


def parse(line: str) -> Frame:
    """Raises ValueError with a sentence."""
    match = LINE.match(line)
    if not match:
        raise ValueError(f"{line[:60]!r} is not `<receive time in µs or ns> <json>`")
    try:
        head = _head.decode(match[2])
    except msgspec.DecodeError as error:
        raise ValueError(f"{line[:60]!r}: {error}") from None
    if not head.stream and head.lastUpdateId < 0:
        raise ValueError(f"{line[:60]!r} is neither a frame of a combined stream nor a depth snapshot")
    return Frame(recv_ns(line), head.stream, match[2], head)


class RecordedMarket:
    """One instrument of a capture, as far as it has been replayed."""

    def __init__(
        self, spec: Spec, has_snapshot_ahead: Any = lambda: False, trades_kept: int = RETAINED, queue: Model = risk_averse
    ):
        self.spec = spec
        self.tape = Tape(trades_kept)
        self.aggregates = True  # makes aggTrade frames, until the capture shows its own
        self.sides: dict[int, SortedDict] = {1: SortedDict(), -1: SortedDict()}  # −side × price → quantity
        self.book_id = -1  # −1: no book yet, or lost to a hole in the capture
        self.ticker: tuple[int, dict[int, tuple[int, int]]] = (-1, {1: (0, 0), -1: (0, 0)})
        self.own: dict[int, Order] = {}
        self.queue = queue
        self.places: dict[int, Place] = {}  # order id → where it stands among the recorded quantity at its price
        self.next_trade = OWN_TRADES_FROM
        self.frames: list = []
        self.happened: list[tuple] = []  # rows of the ledger, until someone takes them
        self.on_fill: Any = None
        self.on_expire: Any = None
        self._pending: list[_Depth] = []
        self._has_snapshot_ahead = has_snapshot_ahead

    # ---- the recorded side

    def apply(self, frame: Frame, now_ms: int) -> None:
        """Moves the market on by one frame of its own. Raises ValueError (or its msgspec kind) for a malformed one."""
        if frame.stream == "":
            self._snapshot(frame.head)
            return
        kind = frame.stream.partition("@")[2]
        if kind == "trade":
            self._traded(_trade.decode(frame.head.data), now_ms)
        elif kind == "bookTicker":
            tick = _ticker.decode(frame.head.data)
            self.ticker = (
                tick.u,
                {1: (mantissa(tick.b), mantissa(tick.B)), -1: (mantissa(tick.a), mantissa(tick.A))},
            )
            best = self.ticker[1]
            self.happened.append(("quote", self.spec.symbol, tick.u, *best[1], *best[-1]))
            self._crossed(now_ms)
        elif kind == "aggTrade":
            self.aggregates = False
        elif kind in ("depth", "depth@100ms"):
            change = _depth.decode(frame.head.data)
            self.happened.append(("depth", self.spec.symbol, change.U, change.u, _levels(change.b, change.a)))
            self._changed(change)

    def _snapshot(self, head: _Head) -> None:
        if head.lastUpdateId < self.book_id:
            return  # the stream is further already
        pending, self._pending = self._pending, []
        self.sides = {1: SortedDict(), -1: SortedDict()}
        for side, rows in ((1, head.bids), (-1, head.asks)):
            self.sides[side].update((-side * mantissa(p), mantissa(q)) for p, q in rows)
        self.book_id = head.lastUpdateId
        self.happened.append(("book", self.spec.symbol, self.book_id, _levels(head.bids, head.asks)))
        for change in pending:
            self._changed(change)

    def _changed(self, change: _Depth) -> None:
        if self.book_id >= 0:
            if change.u <= self.book_id:
                return
            if self.book_id + 1 < change.U:
                self.book_id = -1  # a hole in the capture: what is left belongs to no book
        if self.book_id < 0:
            self._pending.append(change)
            if len(self._pending) > PENDING_MAX:
                del self._pending[: PENDING_MAX // 2]
            return
        before = {order.id: self._recorded(order) for order in self.own.values()}
        for side, rows in ((1, change.b), (-1, change.a)):
            levels = self.sides[side]
            for price_text, quantity_text in rows:
                key, quantity = -side * mantissa(price_text), mantissa(quantity_text)
                if quantity:
                    levels[key] = quantity
                else:
                    levels.pop(key, None)
        self.book_id = change.u
        for order in self.own.values():
            there = self._recorded(order)
            if there != before[order.id]:
                self.queue(self.places[order.id], before[order.id], there)

    def _traded(self, row: _Trade, now_ms: int) -> None:
        trade = Print(row.t, mantissa(row.p), mantissa(row.q), row.T, int(row.m))
        self.tape.append(trade)
        if self.aggregates:
            alone = Aggregate(row.t, trade.price, trade.quantity, row.t, row.t, row.T, int(row.m))
            self.frames.append((f"{self.spec.symbol.lower()}@aggTrade", aggregate_frame(self.spec.symbol, alone)))
        side = -1 if row.m else 1
        self.happened.append(("trade", self.spec.symbol, trade.id, trade.price, trade.quantity, side, trade.time))
        for order in list(self.own.values()):
            beyond = (order.price - trade.price) * order.side
            if beyond > 0:
                self._fill(order, order.remaining, now_ms)
            elif beyond == 0 and (trade.buyer_is_maker == 1) == (order.side > 0):
                reaches = self.places[order.id].take(trade.quantity)
                if reaches := reaches - reaches % self.spec.lot:
                    self._fill(order, min(reaches, order.remaining), now_ms)

    def _recorded(self, order: Order) -> int:
        return self.sides[order.side].get(-order.side * order.price, 0)

    def _crossed(self, now_ms: int) -> None:
        for order in list(self.own.values()):
            if self.crosses(order.side, order.price):
                self._fill(order, order.remaining, now_ms)

    def _fill(self, order: Order, quantity: int, now_ms: int) -> None:
        order.remaining -= quantity
        if not order.remaining:
            del self.own[order.id], self.places[order.id]
        self.on_fill(order.id, Execution(self._trade_id(), order.price, quantity, True), now_ms)

    def standing(self) -> list[tuple]:
        """Rows of the ledger that say where this market stands, for one that begins or goes on here."""
        rows: list[tuple] = [("start", self.spec.symbol, self.book_id, self.tape.last_id, 0)]
        return rows + ([("book", self.spec.symbol, self.book_id, self.image())] if self.book_id >= 0 else [])

    def image(self) -> list[tuple[int, int, int]]:
        """The whole recorded book: (side, price, quantity)."""
        return [(side, abs(key), quantity) for side in (1, -1) for key, quantity in self.sides[side].items()]

    # ---- our side: what a synthetic market offers too

    @property
    def last_price(self) -> int:
        return self.tape.last_price

    def best(self, side: int) -> tuple[int, int]:
        return next(self.levels(side), (0, 0))

    def levels(self, side: int, owner: int = 0):
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
        opposite = self.best(-side)[0]
        return opposite != 0 and (opposite - price) * side <= 0

    def submit(self, order: Order, order_type: str, time_in_force: str, now_ms: int) -> tuple[str, list[Execution]]:
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
        self.own[order.id] = order
        self.places[order.id] = Place(self._standing(order.side, order.price))
        return PARTIALLY_FILLED if executions else NEW, executions

    def cancel(self, order_id: int, now_ms: int) -> bool:
        self.places.pop(order_id, None)
        return self.own.pop(order_id, None) is not None

    def snapshot(self, limit: int) -> str:
        """The book at the replay position, every level that is known. NotYet before the capture's snapshot."""
        if self.book_id < 0:
            if self._has_snapshot_ahead():
                raise NotYet
            raise VenueError(
                -1000, f"The capture holds no depth snapshot of {self.spec.symbol} that leads to this position.", 503
            )
        sides = (((abs(k), q) for k, q in self.sides[side].items()) for side in (1, -1))
        return snapshot(self.book_id, next(sides), next(sides), limit)

    def drain(self) -> tuple[list, list]:
        """Nothing of ours is public here: the recorded frames are sent on as they are, but for aggTrades that it lacks."""
        frames, self.frames = self.frames, []
        return [], frames

    def _standing(self, side: int, price: int) -> int:
        update_id, best = self.ticker
        if update_id > self.book_id and best[side][0] == price:
            return best[side][1]
        return self.sides[side].get(-side * price, 0) if self.book_id >= 0 else 0

    def _trade_id(self) -> int:
        self.next_trade += 1
        return self.next_trade - 1


def _levels(bids: list, asks: list) -> list[tuple[int, int, int]]:
    return [(side, mantissa(p), mantissa(q)) for side, rows in ((1, bids), (-1, asks)) for p, q in rows]


class Replay:
    """All markets of a capture, and where it stands. `position` counts lines, `frames` those that were on a stream."""

    def __init__(self, markets: dict[str, RecordedMarket]):
        self.markets = markets
        self.position = 0
        self.frames = 0
        self.refused = 0
        self.recv_ns = 0  # of the last frame
        self.error = ""

    def pass_line(self, line: str, now_ms: int) -> Frame | None:
        """One line further; the frame, or None for a line that is no frame (counted, and told in `error`)."""
        self.position += 1
        try:
            frame = parse(line)
            market = self._market(frame)
            if market is not None:
                market.apply(frame, now_ms)
        except (ValueError, msgspec.DecodeError) as error:
            self.refused += 1
            self.error = f"line {self.position} was left out: {error}"
            return None
        self.recv_ns = frame.recv_ns
        if frame.stream:
            self.frames += 1
        return frame

    def _market(self, frame: Frame) -> RecordedMarket | None:
        if frame.stream:
            return self.markets.get(frame.stream.partition("@")[0].upper())
        # a snapshot does not say whose it is: its id is nearest to its own instrument's
        last = frame.head.lastUpdateId
        return min(self.markets.values(), key=lambda m: abs(max(m.ticker[0], m.book_id) - last), default=None)


def symbols_of(lines: list[str]) -> dict[str, tuple[list[int], list[int]]]:
    """Symbols in the first lines of a capture, each with prices and quantities seen: their steps follow from these."""
    seen: dict[str, tuple[list[int], list[int]]] = {}
    for line in lines:
        try:
            frame = parse(line)
            if not frame.stream:
                continue
            name, _, kind = frame.stream.partition("@")
            prices, quantities = seen.setdefault(name.upper(), ([], []))
            if kind == "trade":
                trade = _trade.decode(frame.head.data)
                rows = [(trade.p, trade.q)]
            elif kind.startswith("depth"):
                change = _depth.decode(frame.head.data)
                rows = change.b + change.a
            else:
                continue
            prices.extend(mantissa(p) for p, _ in rows)
            quantities.extend(mantissa(q) for _, q in rows)
        except (ValueError, msgspec.DecodeError):
            continue
    return seen
