"""Between executor and venue: intents on their way there, reports on their way back, each after its latency, in order.

A connection keeps the order of what is sent over it: whatever is sent later arrives no earlier.
"""

import math
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np

from tickmesh.bus.schema import DTYPES, Action, Kind, OrderType, Status
from tickmesh.bus.schema import FILL as FILL_EVENT
from tickmesh.bus.wire import Event, encode
from tickmesh.nodes.executor.rules import InstrumentRules
from tickmesh.research.backtest import venue_kernel
from tickmesh.research.backtest.account import BacktestAccounts, NewOrder
from tickmesh.research.backtest.follower import SEQ_BITS
from tickmesh.research.backtest.result import FILL, ORDER
from tickmesh.research.backtest.terms import VenueTerms
from tickmesh.research.backtest.venue import ColumnVenue, VenueReport

SECOND_NS = 1_000_000_000
PRODUCER = "session"
TO_VENUE, BACK = "to", "back"
POST_ONLY = "Order would immediately match and take."
REDUCED = "reduce-only: the position is too small"


@dataclass(slots=True)
class BacktestOrder:
    """An order from its intent on. Prices and quantities are mantissas; times ns of the log."""

    number: int
    slot: int
    strategy: str
    intent: np.void
    sent_ns: int
    parent_seq: int
    cause_seq: int
    arrived_ns: int = 0
    ended_ns: int = 0
    status: int = int(Status.PendingNew)
    lots: int = 0
    filled: int = 0


class Message(NamedTuple):
    """What is under way: an intent to the venue, or an event of the session to the log."""

    at_ns: int
    number: int  # of messages, so that one order holds among those of one time
    intent: np.void | None
    slot: int
    event: bytearray | None
    order: int = -1
    response_s: float = 0.0  # of an intent: how long the venue's answer to it takes


class _ParentSeen(NamedTuple):
    number: int
    mid: float  # in ticks, when it began
    wanted: int


NO_PARENT = _ParentSeen(-1, math.nan, 0)


@dataclass(slots=True)
class _Collected:
    fills: list[tuple[object, ...]] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)  # reason → how many orders the venue refused
    parents: dict[tuple[str, str, int], "_ParentSeen"] = field(default_factory=dict)  # by subject, strategy, parent_seq


class BacktestSession:
    """Carries intents to the venue and its answers back. `subjects`: by slot, `venue.symbol`."""

    def __init__(self, venue: ColumnVenue, terms: VenueTerms, subjects: tuple[str, ...], strategies: tuple[str, ...]):
        self._venue, self._terms, self._subjects, self._strategies = venue, terms, subjects, strategies
        self._rules: dict[int, InstrumentRules] = {}
        self._orders: list[BacktestOrder] = []
        self._by_id: dict[bytes, BacktestOrder] = {}
        self._under_way: list[Message] = []
        self._count = self._trades = 0
        self._venues = [subject.partition(".")[0] for subject in subjects]
        self._last_ns: dict[tuple[str, str], int] = {}  # (way, venue) → when the newest message arrives: there, or at the log
        self._collected = _Collected()
        self.accounts = BacktestAccounts(terms, subjects, venue)

    def define(self, slot: int, record: np.void) -> None:
        """Takes a definition of an instrument: an INSTRUMENT record."""
        names = InstrumentRules.__struct_fields__
        self._rules[slot] = rules = InstrumentRules(*(int(record[name]) for name in names))
        self.accounts.define(slot, rules)
        self._venue.define(slot, int(record["lot_size"]), int(record["quantity_exponent"]))

    @property
    def next_ns(self) -> int | None:
        """When the next message arrives, None where none is under way."""
        return self._under_way[0].at_ns if self._under_way else None

    # To the venue

    def take_answers(self, answers: list[Event]) -> None:
        """Takes what the executor says: intents leave at once."""
        for event in answers:
            if event.kind == Kind.intent:
                for intent in event.records:
                    self._send(intent, self._subjects.index(event.subject), event.seq_ns, event.cause_seq)
            elif event.kind == Kind.parent:
                for one in event.records:
                    key = event.subject, _text(one["strategy"]), int(one["parent_seq"])
                    mid = (int(one["bid_ticks"]) + int(one["ask_ticks"])) / 2
                    seen = self._collected.parents.get(key) or _ParentSeen(len(self._collected.parents), mid, 0)
                    self._collected.parents[key] = seen._replace(wanted=int(one["wanted_lots"]))

    def _send(self, intent: np.void, slot: int, now_ns: int, cause_seq: int) -> None:
        number = -1
        if intent["action"] == Action.NEW:
            number = len(self._orders)
            strategy, parent = _text(intent["strategy"]), int(intent["parent_seq"])
            order = BacktestOrder(number, slot, strategy, intent, now_ns, parent, cause_seq, lots=int(intent["quantity_lots"]))
            self._orders.append(order)
            self._by_id[bytes(intent["client_order_id"])] = order
        latency = self._terms.latency.at(now_ns)  # a pair: what is slow there is mostly slow back
        at_ns = self._arrival(TO_VENUE, slot, now_ns, latency.entry_s)
        self._push(Message(at_ns, self._count, intent, slot, None, number, latency.response_s))

    def _arrival(self, way: str, slot: int, now_ns: int, seconds: float) -> int:
        """When a message arrives: no earlier than the one before it over the same connection, which is one for each venue."""
        line = way, self._venues[slot]
        self._last_ns[line] = at_ns = max(self._last_ns.get(line, 0), now_ns + round(seconds * SECOND_NS))
        return at_ns

    def _push(self, message: Message) -> None:
        heappush(self._under_way, message)
        self._count += 1

    def arrive(self) -> tuple[int, bytearray | None]:
        """The next message arrives: gives when, and the event, if it is one for the log."""
        message = heappop(self._under_way)
        if message.intent is None:
            return message.at_ns, message.event
        if message.order >= 0:
            self._enter(self._orders[message.order], message.at_ns, message.response_s)
        else:
            self._change(message.intent, message.at_ns, message.response_s)
        return message.at_ns, None

    def _enter(self, order: BacktestOrder, now_ns: int, response_s: float) -> None:
        order.arrived_ns = now_ns
        intent, rules = order.intent, self._rules.get(order.slot)
        kind, price = int(intent["order_type"]), int(intent["price_ticks"])
        side, force, number, slot = int(intent["side"]), int(intent["time_in_force"]), order.number, order.slot
        new = NewOrder(number, slot, side, kind, force, price, order.lots, bool(intent["reduce_only"]))
        if reason := _refusal(rules, kind, price, order.lots) or self.accounts.admit(new, now_ns):
            self._refuse(order, reason, now_ns, self._answer_ns(slot, now_ns, response_s))
            return
        lots = self.accounts.reach(new)
        self.take_reports(self._venue.enter(number, slot, side, kind, force, price, lots), now_ns, response_s)
        self._expire_beyond(slot, now_ns)  # itself, too, where it took as much as there was to reduce

    def _refuse(self, order: BacktestOrder, reason: str, now_ns: int, at_ns: int) -> None:
        self._end(order, Status.Rejected, now_ns)
        self._collected.rejected[reason] = self._collected.rejected.get(reason, 0) + 1
        self._report(order, now_ns, at_ns, reason)

    def _expire(self, order: BacktestOrder, now_ns: int) -> None:
        """Takes out what is left of an order that may only reduce: the position is too small for it."""
        self._venue.cut(order.number, order.lots)
        self._end(order, Status.Expired, now_ns)
        self._report(order, now_ns, self._answer_ns(order.slot, now_ns), REDUCED)

    def _expire_beyond(self, slot: int, now_ns: int) -> None:
        for number in self.accounts.beyond(slot):
            self._expire(self._orders[number], now_ns)

    def _change(self, intent: np.void, now_ns: int, response_s: float) -> None:
        """A cancel, or an amendment; where there is nothing to change only a refused amendment is worth a word."""
        order = self._by_id.get(bytes(intent["target_id"]))
        amends = intent["action"] == Action.AMEND
        done = False
        if order is not None and not order.ended_ns:
            lots = int(intent["quantity_lots"])
            taken = order.lots - (max(lots, order.filled) if amends else order.filled)
            if not amends:
                done = self._venue.cut(order.number, taken) == 0
            elif order.filled < lots < order.lots:
                done = self._venue.cut(order.number, taken) > 0
            if done and amends:
                order.lots = lots
                self.accounts.reduce(order.number, lots)
            elif done:
                self._end(order, Status.Canceled, now_ns)
        if order is not None and done:
            self._report(order, now_ns, self._answer_ns(order.slot, now_ns, response_s))
        elif order is not None and amends:
            why, name = "the order cannot be reduced so", bytes(intent["client_order_id"])
            self._report(order, now_ns, self._answer_ns(order.slot, now_ns, response_s), why, name, Status.Rejected)

    # From the venue

    def take_reports(self, reports: list[VenueReport], now_ns: int, response_s: float | None = None) -> None:
        """Takes what the venue says at a time; it is on its way to the log from then on, for so long if that is given."""
        if not reports:
            return
        slot = self._orders[reports[0].order].slot  # they are of one row, so of one instrument
        at_ns = self._answer_ns(slot, now_ns, response_s)
        for one in reports:
            order = self._orders[one.order]
            if one.what == venue_kernel.REJECTED:
                self._refuse(order, POST_ONLY, now_ns, at_ns)
                continue
            if one.what == venue_kernel.ACCEPTED:
                order.status = int(Status.New)
            elif one.what == venue_kernel.FILLED:
                self._fill(order, one, now_ns, at_ns)
            else:
                self._end(order, Status.Expired, now_ns)
            self._report(order, now_ns, at_ns)
        if any(one.what == venue_kernel.FILLED and one.maker for one in reports):
            self._expire_beyond(slot, now_ns)

    def _answer_ns(self, slot: int, now_ns: int, response_s: float | None = None) -> int:
        """When the log has what an instrument's venue says now."""
        seconds = self._terms.latency.at(now_ns).response_s if response_s is None else response_s
        return self._arrival(BACK, slot, now_ns, seconds)

    def _end(self, order: BacktestOrder, status: Status, now_ns: int) -> None:
        order.status, order.ended_ns = int(status), now_ns
        self.accounts.end(order.number)

    def _fill(self, order: BacktestOrder, one: VenueReport, now_ns: int, at_ns: int) -> None:
        cost = self.accounts.fill(order.number, one.price, one.lots, one.maker, now_ns)
        order.filled += one.lots
        order.status = int(Status.PartiallyFilled)
        if order.filled >= order.lots:
            self._end(order, Status.Filled, now_ns)
        rules = self._rules[order.slot]
        price, quantity = one.price * 10.0**rules.price_exponent, one.lots * 10.0**rules.quantity_exponent
        side = int(order.intent["side"])
        strategy = self._strategies.index(order.strategy) if order.strategy in self._strategies else -1
        self._collected.fills.append((now_ns, order.number, order.slot, strategy, side, one.maker, price, quantity, cost.worth))
        self._trades += 1
        row = np.zeros(1, FILL_EVENT)
        row["client_order_id"], row["side"], row["maker"] = order.intent["client_order_id"], side, one.maker
        row["order_id"], row["trade_id"], row["venue_ns"] = order.number + 1, self._trades, now_ns
        row["price_ticks"], row["quantity_lots"] = one.price, one.lots
        row["fee"], row["fee_asset"] = cost.fee, cost.asset.encode()[:16]
        self._back(Kind.fill, order, row, now_ns, at_ns)

    def _report(
        self, order: BacktestOrder, now_ns: int, at_ns: int, reason: str = "", request: bytes = b"",
        status: Status | None = None,
    ) -> None:  # fmt: skip
        """Reports an order's state, or what became of a request about it."""
        intent, row = order.intent, np.zeros(1, DTYPES[Kind.update])
        for name in ("side", "order_type", "time_in_force", "price_ticks"):
            row[name] = intent[name]
        row["client_order_id"], row["order_id"] = request or intent["client_order_id"], order.number + 1
        row["status"], row["quantity_lots"], row["filled_lots"] = status or order.status, order.lots, order.filled
        row["venue_ns"], row["reason"] = now_ns, reason.encode()[:80]
        self._back(Kind.update, order, row, now_ns, at_ns)

    def _back(self, kind: Kind, order: BacktestOrder, row: np.ndarray, now_ns: int, at_ns: int) -> None:
        event = encode(kind, self._subjects[order.slot], row, venue_ns=now_ns)
        self._push(Message(at_ns, self._count, None, order.slot, event))

    # What there was

    @property
    def rejected(self) -> dict[str, int]:
        """How many orders the venue refused, by its reason."""
        return dict(self._collected.rejected)

    def fills(self) -> np.ndarray:
        """The fills, (n,) result.FILL in order of time."""
        return np.array(self._collected.fills, FILL)

    def orders(self) -> np.ndarray:
        """The orders, (n,) result.ORDER in order of sending."""
        out = np.zeros(len(self._orders), ORDER)
        for row, order in zip(out, self._orders):
            rules, intent = self._rules.get(order.slot), order.intent
            price, lots = (10.0**rules.price_exponent, 10.0**rules.quantity_exponent) if rules else (np.nan, np.nan)
            parent = self._collected.parents.get((self._subjects[order.slot], order.strategy, order.parent_seq), NO_PARENT)
            strategy = self._strategies.index(order.strategy) if order.strategy in self._strategies else -1
            row["order"], row["instrument"], row["strategy"], row["side"] = order.number, order.slot, strategy, intent["side"]
            row["type"], row["status"] = intent["order_type"], order.status
            row["sent_ns"], row["arrived_ns"], row["ended_ns"] = order.sent_ns, order.arrived_ns, order.ended_ns
            row["price"], row["quantity"] = int(intent["price_ticks"]) * price, order.lots * lots
            row["filled"], row["arrival_mid"] = order.filled * lots, parent.mid * price
            row["parent"], row["parent_wanted"] = parent.number, parent.wanted * lots
            row["cause_seq"], row["parent_seq"] = order.cause_seq >> SEQ_BITS, order.parent_seq >> SEQ_BITS
        return out


def _refusal(rules: InstrumentRules | None, order_type: int, price: int, lots: int) -> str:
    """Why a venue's filters refuse an order; "" where they do not."""
    if rules is None:
        return "the instrument is not defined"
    if lots % max(rules.lot_size, 1):
        return "LOT_SIZE"
    if order_type != OrderType.MARKET and (price <= 0 or price % max(rules.tick_size, 1)):
        return "PRICE_FILTER"
    if lots < max(rules.min_quantity, 1) or (order_type != OrderType.MARKET and not rules.takes(lots, price)):
        return "MIN_NOTIONAL"
    return ""


def _text(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="replace")
