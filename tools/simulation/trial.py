"""One run: parent orders at fixed times, worked by the executor's step in a simulated market, and what each came to.

An order takes `entry_ns` to the venue and its answer `response_ns` back; market data are known at once. A parent is a signal
of full strength, to one side and the other in turn; whatever is ordered until the next one is its. What is not filled at the
end of its window counts at the price that a market order would have got then, with its fee: no style can gain by not trading.
"""

from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import CLOCK, FILL, INSTRUMENT, QUOTE, SIGNAL, TRADE, UPDATE, Action, Kind, Status
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.exchange.market.instruments import InstrumentSpec
from tickmesh.nodes.exchange.orders.desk import OWNER
from tickmesh.nodes.exchange.protocol import UNIT
from tickmesh.nodes.executor.node import Step
from tickmesh.tools.simulation.markets import SimulatedMarket, TradeMoved, rules_row
from tickmesh.tools.simulation.simulated_log import SimulatedLog
from tickmesh.tools.simulation.venue import OrderSeen, TradeSeen, lost

MODEL = "planted"
SILENCE_NS = 100_000_000  # then the sequencer says what time it is
SETTLE_EVERY = 64  # steps of a market between two times that what it would send is let go of
RESOLVED_NS = 12_000_000_000  # an order of unknown outcome is proven absent: recv_window and absence_margin of [session]


class TrialTerms(NamedTuple):
    """What is the same in all runs that are compared. Times in ns from the beginning of the market."""

    begins_ns: tuple[int, ...]  # of each parent
    window_ns: int  # how long a parent has
    taker_fee: float  # a share, for what is not filled
    entry_ns: int = 5_000_000
    response_ns: int = 5_000_000


class ParentOutcome(NamedTuple):
    """What became of one parent order. Prices and amounts in the quote currency; `wanted`, `filled` in the base."""

    side: int
    arrival: float  # mid price at the signal
    wanted: float
    filled: float
    filled_value: float
    maker_value: float  # of filled_value: as maker
    fees: float
    rest_value: float  # of what was not filled: at the end of its window, its fee included (bought: added, sold: taken off)
    orders: int


class _Working:
    """A parent while its window is open."""

    def __init__(self, side: int, arrival: float, wanted: int):
        self.side, self.arrival, self.wanted = side, arrival, wanted
        self.filled = self.orders = 0
        self.filled_value = self.maker_value = self.fees = 0.0


class Trial:
    """A market, an executor's step, and a session between both."""

    def __init__(self, market: SimulatedMarket, step: Step, quantity: int, terms: TrialTerms):
        """`quantity`: of each parent, at 10^−8 of the base; the step's settings order as much."""
        self._market, self._terms, self._quantity = market, terms, quantity
        self._venue = market.venue
        self._spec: InstrumentSpec = market.venue.market.spec
        self._subject = market.venue.instrument.subject
        self._log = SimulatedLog(step)
        self._under_way: list[tuple[int, int, object]] = []  # a heap of (when, number, intent or reports)
        self._count = 0
        self._sides: dict[str, np.void] = {}  # intents by client order id
        self._parents: dict[str, _Working] = {}  # by client order id
        self._working: _Working | None = None
        self._quote: tuple[int, ...] = ()
        self._quote_seq = 0

    def run(self) -> list[ParentOutcome]:
        """Runs until the last window is over, or the market is."""
        market, log = self._market, self._log
        start_ns = market.due_ns
        log.open(start_ns)
        log.add(encode(Kind.instrument, self._subject, np.array([rules_row(self._spec)], INSTRUMENT)), "feed-1", start_ns)
        begins = [start_ns + begin for begin in self._terms.begins_ns]
        edges = sorted([(at, 1) for at in begins] + [(at + self._terms.window_ns, 0) for at in begins])
        outcomes: list[ParentOutcome] = []
        for at_ns, opens in edges:
            self._pass(at_ns)
            if not market.due_ns:
                break
            if opens:
                self._open(at_ns, len(outcomes))
            elif self._working is not None:
                outcomes.append(self._close())
        return outcomes

    # Time

    def _pass(self, to_ns: int) -> None:
        """Lets everything happen that is due before a time."""
        market, steps = self._market, 0
        while market.due_ns:
            queued = self._under_way[0][0] if self._under_way else market.due_ns
            at_ns = min(queued, market.due_ns)
            if at_ns >= to_ns:
                self._publish_clock(to_ns)
                return
            self._publish_clock(at_ns)
            if queued <= market.due_ns and self._under_way:
                self._arrive(*heappop(self._under_way))
            else:
                self._move(at_ns)
            self._look(at_ns)
            steps += 1
            if steps % SETTLE_EVERY == 0:
                market.settle()

    def _publish_clock(self, to_ns: int) -> None:
        while to_ns - self._log.now_ns > SILENCE_NS:
            now_ns = self._log.now_ns + SILENCE_NS
            self._take_answers(
                self._log.add(encode(Kind.clock, "sequencer", np.array([(now_ns, 0, 0)], CLOCK)), "sequencer", now_ns)
            )

    def _later(self, at_ns: int, what: object) -> None:
        self._count += 1
        heappush(self._under_way, (at_ns, self._count, what))

    # The market

    def _move(self, at_ns: int) -> None:
        for trade in self._market.act():
            self._publish(Kind.trade, _trade_row(trade, at_ns), at_ns)
        market = self._venue.market
        best = (*market.best(1), *market.best(-1))
        if best != self._quote:
            self._quote = best
            self._publish(Kind.quote, np.array([(market.book_id, *best, at_ns)], QUOTE), at_ns)

    def _publish(self, kind: Kind, rows: np.ndarray, at_ns: int, producer: str = "feed-1") -> None:
        event = encode(kind, self._subject, rows, venue_ns=at_ns, recv_ns=at_ns)
        answers = self._log.add(event, producer, at_ns)
        if kind == Kind.quote:
            self._quote_seq = self._log.seq - len(answers)
        self._take_answers(answers)

    # Parents

    def _open(self, at_ns: int, number: int) -> None:
        side = 1 if number % 2 == 0 else -1
        bid, _, ask, _ = self._quote
        self._working = _Working(side, (bid + ask) / 2, self._quantity)
        row = np.array([(MODEL.encode(), float(side), np.nan, 0, bid)], SIGNAL)
        signal = encode(Kind.signal, self._subject, row, cause_seq=self._quote_seq)
        self._take_answers(self._log.add(signal, f"model-{MODEL}", at_ns))

    def _close(self) -> ParentOutcome:
        one, self._working = self._working, None
        assert one is not None
        left, value = one.wanted - one.filled, 0.0
        for price, there in self._venue.market.levels(-one.side, OWNER):
            value += price * min(left, there) / UNIT**2
            left -= min(left, there)
            if not left:
                break
        value += one.arrival * left / UNIT**2  # no book at all: nothing can be said of it
        value *= 1 + one.side * self._terms.taker_fee
        return ParentOutcome(
            one.side, one.arrival / UNIT, one.wanted / UNIT, one.filled / UNIT, one.filled_value, one.maker_value, one.fees,
            value, one.orders,
        )  # fmt: skip

    # The session

    def _take_answers(self, own: list[Event]) -> None:
        """What the executor has said: intents go to the venue, and are noted as PendingNew."""
        for event in own:
            if event.kind != Kind.intent:
                continue
            for intent in event.records:
                self._later(self._log.now_ns + self._terms.entry_ns, intent)
                if intent["action"] == Action.NEW:
                    name = intent["client_order_id"].decode()
                    self._sides[name] = intent
                    if self._working is not None:
                        self._working.orders += 1
                        self._parents[name] = self._working
                    self._update(OrderSeen(name, 0, Status.PendingNew, 0), self._log.now_ns)

    def _arrive(self, at_ns: int, number: int, what: object) -> None:
        """An intent reaches the venue, or what the venue said reaches the log."""
        if isinstance(what, OrderSeen):
            self._update(what, at_ns)
        elif isinstance(what, TradeSeen):
            self._publish(Kind.fill, _fill_row(what, at_ns), at_ns, "session")
        elif isinstance(what, np.void):
            refusal = self._venue.carry_out(what, at_ns // 1_000_000)
            if refusal is not None and what["action"] == Action.NEW:
                back_ns, name = at_ns + self._terms.response_ns, what["client_order_id"].decode()
                if lost(refusal):
                    self._later(back_ns, OrderSeen(name, 0, Status.Unknown, 0))
                    back_ns += RESOLVED_NS
                self._later(back_ns, OrderSeen(name, 0, Status.Rejected, 0))

    def _look(self, at_ns: int) -> None:
        """Takes what the venue has to say; it is on its way to the log for `response_ns`."""
        orders, trades = self._venue.news()
        for trade in trades:
            self._count_fill(trade)
            self._later(at_ns + self._terms.response_ns, trade)
        for order in orders:
            self._later(at_ns + self._terms.response_ns, order)

    def _count_fill(self, trade: TradeSeen) -> None:
        parent = self._parents.get(trade.client_order_id)
        if parent is None or parent is not self._working:
            return  # its window is over: what it did not get by then has been counted
        value = trade.price * trade.quantity / UNIT**2
        parent.filled += trade.quantity
        parent.filled_value += value
        parent.maker_value += value if trade.maker else 0.0
        parent.fees += trade.fee / UNIT * (trade.price / UNIT if trade.fee_asset == self._spec.base else 1.0)

    def _update(self, order: OrderSeen, at_ns: int) -> None:
        intent = self._sides[order.client_order_id]
        row = np.zeros(1, UPDATE)
        for name in ("client_order_id", "side", "order_type", "time_in_force", "price_ticks", "quantity_lots"):
            row[name] = intent[name]
        row["order_id"], row["status"], row["filled_lots"], row["venue_ns"] = order.order_id, order.status, order.filled, at_ns
        self._publish(Kind.update, row, at_ns, "session")


def _trade_row(trade: TradeMoved, at_ns: int) -> np.ndarray:
    row = np.zeros(1, TRADE)
    row["trade_id"], row["price_ticks"], row["quantity_lots"], row["side"] = trade
    row["venue_ns"] = row["event_ns"] = at_ns
    return row


def _fill_row(trade: TradeSeen, at_ns: int) -> np.ndarray:
    row = np.zeros(1, FILL)
    row["client_order_id"], row["order_id"], row["trade_id"] = trade.client_order_id.encode(), trade.order_id, trade.trade_id
    row["side"], row["maker"], row["price_ticks"], row["quantity_lots"] = trade.side, trade.maker, trade.price, trade.quantity
    row["fee"], row["fee_asset"], row["venue_ns"] = trade.fee, trade.fee_asset.encode(), at_ns
    return row
