"""A recording of live orders, written by hand: a market of two prices, what was ordered there, and what the venue answered."""

from pathlib import Path

import numpy as np

from tests.support.backtest_scene import DEFINITION, MS, SUBJECTS, scene
from tests.support.stored import Market
from tickmesh.bus.config import Config
from tickmesh.bus.schema import DTYPES, Action, Flag, Kind, OrderType, Status, TimeInForce

BTC = SUBJECTS[0]
BID, ASK = 600_000, 600_001
VENUE_LAG_NS = 2 * MS  # an event is in the log so long after the venue's time of it


class LiveRun:
    """Builds the log. Prices are ticks, quantities lots; every event comes 1 ms after the one before.

    `subject`, `session`: the instrument, and the session of its account, of what comes next; see `move`.
    """

    def __init__(self):
        self.market, self.raws = Market(), []
        self._update_id, self._trade_id, self._flags = 10, 100, 0
        self.move(BTC, b"session")

    def move(self, subject: str, session: bytes) -> None:
        """What comes next is of this instrument; begins with its definition and book."""
        self.subject, self.session = subject, session
        self._add(Kind.instrument, np.array([DEFINITION], DTYPES[Kind.instrument]))
        self.book(100, 100, snapshot=True)
        self.quote(100, 100)

    def _add(self, kind: Kind, records, producer: bytes = b"feed-1", subject: str = "", **more) -> int:
        self.raws.append(self.market.event(kind, subject or self.subject, records, producer=producer, **more))
        return self.market.seq

    @property
    def venue_ns(self) -> int:
        """The venue's time of what the log has next."""
        return self.market.seq_ns + MS - VENUE_LAG_NS

    def quote(self, bid_lots: int, ask_lots: int, bid: int = BID, ask: int = ASK) -> int:
        """The best prices, newer than the book."""
        self._update_id += 1
        return self._add(Kind.quote, np.array([(self._update_id, bid, bid_lots, ask, ask_lots, 0)], DTYPES[Kind.quote]))

    def book(self, bid_lots: int, ask_lots: int, snapshot: bool = False) -> None:
        """A change of both levels; behind them stand 500 lots each, from the snapshot on."""
        self._update_id += 1
        far = [(BID - 1, 500, 1), (ASK + 1, 500, -1)] if snapshot else []
        levels = [(BID, bid_lots, 1), (ASK, ask_lots, -1), *far]
        self.raws.append(self.market.depth(levels, self._update_id, snapshot, subject=self.subject))

    def trade(self, price: int, lots: int, side: int) -> int:
        """Somebody trades; gives the trade's id."""
        self._trade_id += 1
        flags, self._flags = self._flags, 0
        rows = np.zeros(1, DTYPES[Kind.trade])
        rows[0] = (self._trade_id, price, lots, self.venue_ns, self.venue_ns, side, b"")
        self._add(Kind.trade, rows, first_id=self._trade_id, last_id=self._trade_id, venue_ns=self.venue_ns, flags=flags)
        return self._trade_id

    def begin_ids_anew(self) -> None:
        """The ids of trades begin anew with the next one, 2 s later."""
        self.market.seq_ns += 2000 * MS
        self._trade_id, self._flags = 100, Flag.RESET

    def signal(self) -> int:
        """A model answers the newest event."""
        return self._add(Kind.signal, np.zeros(1, DTYPES[Kind.signal]), b"model-m", cause_seq=self.market.seq)

    def intent(self, name: str, side: int, price: int, lots: int, order_type: OrderType, force: TimeInForce) -> None:
        """The executor wants an order, because of a signal; the session puts it on file."""
        row = np.zeros(1, DTYPES[Kind.intent])
        signal = self.signal()
        row["client_order_id"], row["action"], row["strategy"], row["parent_seq"] = name.encode(), Action.NEW, b"s", signal
        row["side"], row["order_type"], row["time_in_force"] = side, order_type, force
        row["price_ticks"], row["quantity_lots"] = price, lots
        self._add(Kind.intent, row, b"executor", cause_seq=signal)
        self.update(name, Status.PendingNew)

    def take(self, name: str, side: int, price: int, lots: int) -> None:
        """An order that takes at once or not at all."""
        self.intent(name, side, price, lots, OrderType.LIMIT, TimeInForce.IOC)

    def rest(self, name: str, side: int, price: int, lots: int) -> None:
        """An order that only rests."""
        self.intent(name, side, price, lots, OrderType.LIMIT_MAKER, TimeInForce.GTC)

    def cancel(self, name: str) -> None:
        """The executor wants a cancel."""
        row = np.zeros(1, DTYPES[Kind.intent])
        row["client_order_id"], row["target_id"], row["action"] = f"c-{name}".encode(), name.encode(), Action.CANCEL
        self._add(Kind.intent, row, b"executor")

    def update(
        self, name: str, status: Status, at_ns: int = 0, reason: str = "", origin: bytes = b"reply", lots: int = 0,
        filled: int = 0,
    ) -> None:  # fmt: skip
        """The session reports a state; `at_ns`: the venue's time of it, 0 where there is none; `lots`: as it is amended."""
        row = np.zeros(1, DTYPES[Kind.update])
        row["client_order_id"], row["status"], row["venue_ns"], row["reason"] = name.encode(), status, at_ns, reason.encode()
        row["origin"], row["quantity_lots"], row["filled_lots"] = origin, lots, filled
        self._add(Kind.update, row, self.session)

    def fill(self, name: str, trade_id: int, side: int, price: int, lots: int, maker: bool, at_ns: int) -> None:
        """The session reports a fill."""
        row = np.zeros(1, DTYPES[Kind.fill])
        row["client_order_id"], row["trade_id"], row["side"], row["maker"] = name.encode(), trade_id, side, maker
        row["price_ticks"], row["quantity_lots"], row["venue_ns"] = price, lots, at_ns
        self._add(Kind.fill, row, self.session)

    def health(self, name: str) -> None:
        """A process lives."""
        self._add(Kind.health, {"node": name}, name.encode(), name)

    def begin(self, name: str) -> None:
        """A process begins, once more."""
        self._add(Kind.run, {"node": name}, name.encode(), name)

    def laid(self, root: Path) -> Config:
        """Lays the log into a mesh's folder; gives its settings."""
        return scene(root, self.raws, ())
