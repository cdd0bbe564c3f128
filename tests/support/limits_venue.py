"""A venue that an executor's step trades at, whose reports reach the log late: what its ledger has at every instant."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from tests.support.executor_tape import BID, LOT, Tape
from tickmesh.bus.schema import Action, OrderType, Status, TimeInForce
from tickmesh.bus.wire import Event


@dataclass
class Working:
    """An order at the venue. `left`: lots that may still be filled; `rests`: it stands in the book until then."""

    name: bytes
    subject: str
    strategy: str
    side: int
    price: int  # 0: a market order
    lots: int
    left: int
    rests: bool


@dataclass
class LimitsVenue:
    """Takes intents that are in the log, fills and cancels as a test says, and keeps what the log has not been given yet.

    Positions are of what it has filled. `sent`: (time, strategy) of each order, `messages`: times of all requests. `cancels`:
    what becomes of a cancel or an amendment: it is "done", it is "late" (done as soon as that is changed), it is "refused" and
    the order stands, or it comes when the order has been "filled".
    """

    tape: Tape
    working: dict[bytes, Working] = field(default_factory=dict)
    positions: dict[tuple[str, str], int] = field(default_factory=dict)
    unlogged: deque = field(default_factory=deque)
    sent: list[tuple[int, str]] = field(default_factory=list)
    messages: list[int] = field(default_factory=list)
    quotes: dict[str, tuple[int, int]] = field(default_factory=dict)
    trade_id: int = 0
    cancels: str = "done"
    late: list[tuple[str, np.void]] = field(default_factory=list)

    def take(self, subject: str, record) -> Working | None:
        """Takes an intent; gives the order where it is a new one."""
        self.messages.append(self.tape.now_ns)
        if record["action"] != Action.NEW:
            self.reduce(subject, record)
            return None
        assert record["action"] == Action.NEW
        lots, price = int(record["quantity_lots"]), int(record["price_ticks"])
        rests = record["order_type"] != OrderType.MARKET and record["time_in_force"] == TimeInForce.GTC
        price = 0 if record["order_type"] == OrderType.MARKET else price
        order = Working(
            record["client_order_id"], subject, record["strategy"].decode(), int(record["side"]), price, lots, lots, rests
        )
        self.working[order.name] = order
        self.sent.append((self.tape.now_ns, order.strategy))
        return order

    def reduce(self, subject: str, record) -> None:
        """Takes a cancel or an amendment, as `cancels` says."""
        name = bytes(record["target_id"])
        if self.cancels == "late":
            self.late.append((subject, record))
            return
        if self.cancels == "filled" and name in self.working:
            self.fill(name, 1.0)
        if self.cancels != "done" or name not in self.working:
            self.unlogged.append(("refused", subject, bytes(record["client_order_id"])))
        elif record["action"] == Action.CANCEL:
            self.end(name, Status.Canceled)
        else:
            self.amend(name, int(record["quantity_lots"]))

    def answer_cancels(self, how: str) -> None:
        """From now on it answers them so; those that are late have come."""
        self.cancels, late, self.late = how, self.late, []
        for subject, record in late:
            self.reduce(subject, record)

    def amend(self, name: bytes, lots: int) -> None:
        """Reduces an order to so many lots, filled ones included, if it is there and that is less."""
        order = self.working.get(name)
        if order is not None and order.lots - order.left < lots < order.lots:
            order.left -= order.lots - lots
            order.lots = lots
            self.accept(order)

    def accept(self, order: Working) -> None:
        self.unlogged.append(("update", order, Status.New, order.lots - order.left))

    def fill(self, name: bytes, share: float) -> None:
        """Fills a share of what is left, a lot at least."""
        order = self.working[name]
        quote = self.quotes[order.subject]
        lots = max(1, min(order.left, int(order.left * share)))
        order.left -= lots
        self.trade_id += 1
        key = order.strategy, order.subject
        self.positions[key] = self.positions.get(key, 0) + order.side * lots
        self.unlogged.append(("fill", order, self.trade_id, lots, order.price or quote[order.side > 0]))
        if order.left:
            self.unlogged.append(("update", order, Status.PartiallyFilled, order.lots - order.left))
        else:
            del self.working[name]
            self.unlogged.append(("update", order, Status.Filled, order.lots))

    def end(self, name: bytes, status: Status) -> None:
        """Cancels or refuses an order, if it is there."""
        order = self.working.pop(name, None)
        if order is not None:
            self.unlogged.append(("update", order, status, order.lots - order.left))

    def log(self) -> Event:
        """Gives the log the oldest report that it has not."""
        what, order, *values = self.unlogged.popleft()
        if what == "refused":  # the request, by its own id: unknown order, or not now
            (name,) = values
            return self.tape.update(name, Status.Rejected, lots=0, subject=order)
        terms = {"side": order.side, "subject": order.subject}
        if what == "fill":
            trade_id, lots, price = values
            return self.tape.fill(order.name, trade_id, lots, price=price, **terms)
        status, filled = values
        return self.tape.update(order.name, status, filled, lots=order.lots, price=order.price, **terms)

    def exposure(self, subject: str, strategy: str | None = None) -> tuple[int, int]:
        """(the longest, the shortest) that a position may become; `strategy` None: of the account."""
        mine = [o for o in self.working.values() if o.subject == subject and strategy in (None, o.strategy)]
        held = sum(lots for (name, on), lots in self.positions.items() if on == subject and strategy in (None, name))
        return held + sum(o.left for o in mine if o.side > 0), held - sum(o.left for o in mine if o.side < 0)


def moved(steps: int) -> tuple[int, int]:
    """Bid and ask so many ticks from the beginning's."""
    bid = BID + steps * 1_000_000
    return bid, bid + 1_000_000


__all__ = ["LOT", "LimitsVenue", "Working", "moved"]
